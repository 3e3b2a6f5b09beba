//! What the tests of the record share.

use jiff::Timestamp;

use super::builds::Build;
use super::intents::{Enqueued, NewIntent};
use super::{Store, StoreError};
use crate::domain::build::{BuildReason, BuildRequest, Wave};
use crate::domain::name::{Oid, PkgBase};
use crate::domain::policy::Overlap;
use crate::domain::queue::BuildId;
use crate::domain::schedule::Lane;

/// A number of seconds after the first of January 2026.
pub fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + second).unwrap()
}

pub fn base(name: &str) -> PkgBase {
    PkgBase::new(name).unwrap()
}

pub fn commit(number: u8) -> Oid {
    Oid::from_bytes([number; 20])
}

/// A wave written as `a`, `b:a` (b after a) or `c?d` (c needs d, which is not in the wave).
pub fn wave(number: u8, builds: &[&str]) -> Wave {
    let names = |text: &str| text.split(',').filter(|name| !name.is_empty()).map(base).collect::<Vec<_>>();
    let request = |written: &&str| {
        let (written, needs) = written.split_once('?').unwrap_or((written, ""));
        let (name, after) = written.split_once(':').unwrap_or((written, ""));
        let (after, needs) = (names(after), names(needs));
        BuildRequest {
            pkgbase: base(name),
            arch: "x86_64".into(),
            class: None,
            reason: BuildReason::Changed,
            lane: Lane::Normal,
            needs: after.iter().chain(&needs).cloned().collect(),
            after,
        }
    };
    let builds = builds.iter().map(request).collect();
    Wave {
        repository: "repo".into(),
        commit: commit(number),
        builds,
        remove: Vec::new(),
        stop: Vec::new(),
        told: None,
        pipeline: None,
    }
}

impl Store {
    /// Records a wave as a run would, and settles it.
    pub async fn give(&self, wave: Wave, overlap: Overlap) -> Vec<Enqueued> {
        let run = self.begin_run(&wave.repository, "on-commit", "test", at(0)).await.unwrap();
        let intent = NewIntent { run_id: run, repository: wave.repository.clone(), refs: vec![], wave, outbox: vec![] };
        let intent = self.record_intent(intent, at(0)).await.unwrap();
        self.settle_intent(intent, overlap, at(0)).await.unwrap().enqueued
    }

    /// Builds that may be handed to an executor now, oldest first.
    pub async fn ready_builds(&self, now: Timestamp, limit: usize) -> Result<Vec<Build>, StoreError> {
        let heads = self.heads(now, limit).await?;
        let mut builds = Vec::new();
        for id in heads.into_iter().flat_map(|heads| heads.oldest).collect::<std::collections::BTreeSet<_>>() {
            builds.extend(self.build(id).await?.map(|detail| detail.build));
        }
        Ok(builds)
    }

    /// Whether what is written from now on finds room.
    pub async fn has_room(&self, has: bool) {
        let pages = if has { u32::MAX - 1 } else { 1 };
        let limit = move |tx: &rusqlite::Transaction<'_>| {
            Ok(tx.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))?)
        };
        self.write(limit).await.unwrap();
    }

    /// The newest build of a package.
    pub async fn newest(&self, name: &str) -> BuildId {
        let builds = self.last_builds("repo", &base(name), 1).await.unwrap();
        builds.first().unwrap_or_else(|| panic!("no build of {name}")).id
    }

    /// The states of the newest builds of the named packages, as words.
    pub async fn states(&self, names: &[&str]) -> Vec<&'static str> {
        let mut states = Vec::new();
        for name in names {
            let build = self.build(self.newest(name).await).await.unwrap().unwrap();
            states.push(build.build.state.as_str());
        }
        states
    }
}
