//! What holds for the queue whatever happens in whatever order.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::attempts::{AttemptEnd, AttemptEnding};
use super::testing::{at, base, commit};
use super::*;
use crate::domain::build::{BuildReason, BuildRequest, BuildState, Outcome, Wave};
use crate::domain::policy::Overlap;
use crate::domain::queue::{BuildId, Disposition};
use crate::domain::schedule::Lane;

const PACKAGES: usize = 6;

/// A build with its lane, and the lane that it was asked for in.
type Judged = (BuildId, u8, u8);

/// A build, and one that has to end before it.
type Wait = (BuildId, BuildId);

#[derive(Debug, Clone)]
enum Deed {
    /// Enqueues the packages of the first mask; each waits for those before it in the order that the
    /// second mask has, and needs those that the third has.
    Enqueue { lane: Lane, members: u8, order: [u8; PACKAGES], after: u64, needs: u64, overlap: Overlap },
    /// Starts one of the ready builds.
    Start(usize),
    /// Ends one of the attempts.
    End(usize, AttemptEnding),
    /// Has one of the last builds cancelled.
    Cancel(usize),
    /// Has one of the last builds tried again.
    Retry(usize),
    /// Lets one of the last builds go, if it is blocked.
    Release(usize),
}

/// What may happen: with failures or without, and with dependencies that turn round from one commit to
/// the next or without.
fn deeds(failures: bool, reversals: bool) -> impl Strategy<Value = Vec<Deed>> {
    let overlap =
        prop_oneof![Just(Overlap::Coalesce), Just(Overlap::Queue), Just(Overlap::Discard), Just(Overlap::Cancel)];
    let order = if reversals { any::<[u8; PACKAGES]>().boxed() } else { Just([0; PACKAGES]).boxed() };
    let lane = prop::sample::select(Lane::ALL.to_vec());
    let enqueue = (lane, any::<u8>(), order, any::<u64>(), any::<u64>(), overlap).prop_map(
        |(lane, members, order, after, needs, overlap)| Deed::Enqueue { lane, members, order, after, needs, overlap },
    );
    let good = Just(AttemptEnding::Done(Outcome::Succeeded)).boxed();
    let bad = prop_oneof![
        3 => Just(AttemptEnding::Done(Outcome::Succeeded)),
        2 => Just(AttemptEnding::Done(Outcome::Failed)),
        2 => Just(AttemptEnding::Infrastructure),
        1 => Just(AttemptEnding::Outage),
        1 => Just(AttemptEnding::Interrupted),
    ];
    let ending = if failures { bad.boxed() } else { good };
    let end = (0_usize..4, ending).prop_map(|(which, ending)| Deed::End(which, ending));
    let common = prop_oneof![2 => enqueue, 4 => (0_usize..4).prop_map(Deed::Start), 3 => end];
    let people = prop_oneof![(0_usize..9).prop_map(Deed::Cancel), (0_usize..9).prop_map(Deed::Retry)];
    // Who is let go does not come after anything any more.
    let release = (0_usize..9).prop_map(Deed::Release);
    let people = if reversals { prop_oneof![2 => people, 1 => release].boxed() } else { people.boxed() };
    let deed = if failures { prop_oneof![8 => common, 1 => people].boxed() } else { common.boxed() };
    prop::collection::vec(deed, 1..60)
}

struct Model {
    store: Store,
    reversals: bool,
    waves: u8,
    /// The builds of its wave that each build has to come after.
    after: BTreeMap<BuildId, Vec<BuildId>>,
    attempts: Vec<String>,
}

impl Model {
    async fn act(&mut self, deed: Deed) {
        match deed {
            Deed::Enqueue { lane, members, order, after, needs, overlap } => {
                self.enqueue(&wave(self.waves, lane, members, order, after, needs), overlap).await;
            }
            Deed::Start(which) => {
                let ready = self.store.ready_builds(at(1_000_000), 99).await.unwrap();
                if let Some(build) = ready.get(which) {
                    self.start(build.id).await;
                }
            }
            Deed::End(which, ending) if which < self.attempts.len() => self.end(which, ending).await,
            Deed::End(..) => {}
            Deed::Cancel(which) => {
                if let Some(build) = self.recent(which).await {
                    let _ = self.store.cancel_build(build, at(0)).await;
                }
            }
            Deed::Retry(which) => {
                if let Some(build) = self.recent(which).await {
                    let _ = self.store.retry_build(build, at(0)).await;
                }
            }
            Deed::Release(which) => {
                if let Some(build) = self.recent(which).await {
                    let _ = self.store.release_build(build, at(0)).await;
                }
            }
        }
        self.check().await;
    }

    async fn recent(&self, which: usize) -> Option<BuildId> {
        let builds = self.store.builds(super::queries::BuildFilter::default(), 9).await.unwrap();
        builds.get(which).map(|build| build.id)
    }

    async fn enqueue(&mut self, wave: &Wave, overlap: Overlap) {
        self.waves += 1;
        let enqueued = self.store.give(wave.clone(), overlap).await;
        let ids: BTreeMap<_, _> = enqueued
            .iter()
            .map(|one| match one.disposition {
                Disposition::Discarded { running } => (&one.pkgbase, running),
                _ => (&one.pkgbase, one.build),
            })
            .collect();
        for (request, one) in wave.builds.iter().zip(&enqueued) {
            self.after.insert(one.build, request.after.iter().map(|name| ids[name]).collect());
        }
    }

    async fn start(&mut self, build: BuildId) {
        // If a package has come to need what needed it, the old request and the new contradict each other.
        for &dependency in self.after[&build].iter().filter(|_| !self.reversals) {
            assert!(self.ended_well(dependency).await, "{build} starts before {dependency} ended well");
        }
        let attempt = self.store.begin_attempt(build, "test", at(0)).await.unwrap();
        self.store.attempt_started(&attempt, at(0)).await.unwrap();
        self.attempts.push(attempt);
    }

    /// Whether the build, or a later one of its package, ended well.
    async fn ended_well(&self, build: BuildId) -> bool {
        let package = self.store.build(build).await.unwrap().unwrap().build.pkgbase;
        let all = self.store.last_builds("repo", &package, 999).await.unwrap();
        all.iter().any(|other| other.id >= build && other.state.satisfies_dependants())
    }

    async fn end(&mut self, which: usize, ending: AttemptEnding) {
        let attempt = self.attempts.remove(which);
        let end = AttemptEnd { ending, exit_code: None, message: String::new(), log_length: 0 };
        self.store.finish_attempt(&attempt, end, at(0)).await.unwrap();
    }

    async fn check(&self) {
        let mut underway = BTreeMap::new();
        let mut live = BTreeMap::new();
        for queued in self.store.queue(None).await.unwrap() {
            let build = queued.build;
            *underway.entry(build.pkgbase.clone()).or_insert(0) += i32::from(build.state.is_underway());
            *live.entry(build.pkgbase.clone()).or_insert(0) += i32::from(build.behind.is_none());
        }
        assert!(underway.values().all(|&count| count <= 1), "{underway:?}");
        assert!(live.values().all(|&count| count == 1), "{live:?}");
        let (lanes, reckoned) = self.store.lanes().await;
        assert_eq!(
            lanes, reckoned,
            "each is as urgent as it was asked for, or as the most urgent of what waits for it"
        );
    }

    /// Lets every build succeed, as far as they go.
    async fn drain(&mut self) {
        loop {
            while !self.attempts.is_empty() {
                self.end(0, AttemptEnding::Done(Outcome::Succeeded)).await;
            }
            let ready = self.store.ready_builds(at(1_000_000), 99).await.unwrap();
            if ready.is_empty() {
                return;
            }
            for build in ready {
                self.start(build.id).await;
            }
            self.check().await;
        }
    }
}

impl Store {
    /// The lanes of the builds that have not ended, as they are on record and as they follow from what was asked for.
    async fn lanes(&self) -> (BTreeMap<BuildId, u8>, BTreeMap<BuildId, u8>) {
        let (builds, waits): (Vec<Judged>, Vec<Wait>) = self
            .read(|tx| {
                let live = super::settle::LIVE;
                let mut builds =
                    tx.prepare(&format!("SELECT id, lane, asked_lane FROM builds WHERE state IN ({live})"))?;
                let builds = builds.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
                let mut waits = tx.prepare(
                    "SELECT build, dependency FROM waits UNION ALL
                     SELECT id, behind FROM builds WHERE behind IS NOT NULL",
                )?;
                let waits = waits.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
                Ok((builds.collect::<Result<_, _>>()?, waits.collect::<Result<_, _>>()?))
            })
            .await
            .unwrap();
        let mut reckoned: BTreeMap<_, _> = builds.iter().map(|&(id, _, asked)| (id, asked)).collect();
        for _ in 0..builds.len() {
            for (waiting, needed) in &waits {
                let Some(&lane) = reckoned.get(waiting) else { continue };
                reckoned.entry(*needed).and_modify(|of| *of = lane.min(*of));
            }
        }
        (builds.into_iter().map(|(id, lane, _)| (id, lane)).collect(), reckoned)
    }
}

fn wave(number: u8, lane: Lane, members: u8, order: [u8; PACKAGES], after: u64, needs: u64) -> Wave {
    let name = |index: usize| base(&format!("p{index}"));
    let mut sorted: Vec<usize> = (0..PACKAGES).collect();
    sorted.sort_by_key(|&index| (order[index], index));
    sorted.retain(|index| members & (1 << index) != 0);
    let has = |mask: u64, from: usize, to: usize| mask >> (from * PACKAGES + to) & 1 == 1;
    let request = |place: usize, index: usize| BuildRequest {
        pkgbase: name(index),
        arch: "x86_64".into(),
        class: None,
        reason: BuildReason::Changed,
        lane,
        after: sorted[..place].iter().filter(|&&other| has(after, index, other)).map(|&other| name(other)).collect(),
        needs: (0..PACKAGES).filter(|&other| other != index && has(needs, index, other)).map(name).collect(),
    };
    let builds = sorted.iter().enumerate().map(|(place, &index)| request(place, index)).collect();
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

fn play(deeds: Vec<Deed>, reversals: bool) -> Model {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let store = Store::in_memory().unwrap();
        let mut model = Model { store, reversals, waves: 0, after: BTreeMap::new(), attempts: Vec::new() };
        for deed in deeds {
            model.act(deed).await;
        }
        model.drain().await;
        model
    })
}

fn left(model: &Model) -> Vec<BuildState> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let queue = model.store.queue(None).await.unwrap();
        queue.into_iter().filter(|queued| queued.build.behind.is_none()).map(|queued| queued.build.state).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_queue_drains_when_everything_succeeds(deeds in deeds(false, true)) {
        prop_assert_eq!(left(&play(deeds, true)), []);
    }

    #[test]
    fn no_build_starts_before_what_it_has_to_come_after_has_ended_well(deeds in deeds(true, false)) {
        play(deeds, false);
    }

    #[test]
    fn after_failures_only_blocked_builds_are_left_and_one_good_wave_releases_them(deeds in deeds(true, true)) {
        let mut model = play(deeds, true);
        prop_assert!(left(&model).iter().all(|&state| state == BuildState::Blocked), "{:?}", left(&model));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            model.enqueue(&wave(model.waves, Lane::Normal, 0xff, [0; PACKAGES], 0, 0), Overlap::Coalesce).await;
            model.drain().await;
        });
        prop_assert_eq!(left(&model), []);
    }
}
