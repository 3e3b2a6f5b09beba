//! What a forge has to be told by statuses, through the outbox.
//!
//! An entry says what a status is about, and not what it says: that follows from the record when it is told. So one that
//! is told late, or twice, tells what is so by then, and newer states take the place of those that nobody was told. Entries
//! are written in the transaction that changes what they are about.

use jiff::Timestamp;
use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};

use super::outbox::{self, NewEntry};
use super::{Store, StoreError};
use crate::domain::build::BuildState;
use crate::domain::name::{Oid, PkgBase};
use crate::domain::queue::BuildId;
use crate::domain::review::status::Told;

/// The kind of the entries.
pub const KIND: &str = "status";

/// What a status is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "about")]
pub enum Subject {
    /// The builds of a package at a commit.
    Build {
        /// The commit.
        commit: Oid,
        /// The package.
        pkgbase: PkgBase,
    },
    /// All builds at a commit that are told together.
    Builds {
        /// The commit.
        commit: Oid,
    },
    /// What is said of a proposal.
    Gate {
        /// The proposal.
        number: u64,
        /// The commit that was judged.
        head: Oid,
    },
    /// The test builds of a proposal.
    Trial {
        /// The proposal.
        number: u64,
        /// The commit that is built.
        head: Oid,
    },
}

impl Subject {
    /// There is one entry for each of these.
    fn key(&self, repository: &str) -> String {
        let rest = match self {
            Self::Build { commit, pkgbase } => format!("{commit}/{pkgbase}"),
            Self::Builds { commit } => commit.to_string(),
            Self::Gate { number, head } => format!("gate/{number}/{head}"),
            Self::Trial { number, head } => format!("trial/{number}/{head}"),
        };
        format!("{KIND}/{repository}/{rest}")
    }
}

/// The newest build of a package at a commit, as a forge is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToldBuild {
    /// Its id.
    pub id: BuildId,
    /// The package.
    pub pkgbase: PkgBase,
    /// Where it stands.
    pub state: BuildState,
    /// What there is to say about its end.
    pub message: Option<String>,
    /// The pipeline by which it came.
    pub pipeline: Option<u64>,
}

impl Store {
    /// The newest builds of packages at a commit that are told so; of one package, if one is named.
    pub async fn told_builds(
        &self,
        repository: &str,
        commit: Oid,
        told: Told,
        pkgbase: Option<PkgBase>,
    ) -> Result<Vec<ToldBuild>, StoreError> {
        let repository = repository.to_owned();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(TOLD)?;
            let rows = statement.query_map(params![repository, commit, word(told), pkgbase], |row| {
                Ok(ToldBuild {
                    id: row.get("id")?,
                    pkgbase: row.get("pkgbase")?,
                    state: row.get("state")?,
                    message: row.get("message")?,
                    pipeline: row.get::<_, Option<i64>>("pipeline")?.map(i64::cast_unsigned),
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }
}

/// The newest builds of a commit that the forge is told of.
const TOLD: &str = "SELECT builds.id, pkgbase, state, message, waves.pipeline FROM builds
     JOIN waves ON waves.id = builds.wave
     WHERE builds.id IN (SELECT max(builds.id) FROM builds JOIN waves ON waves.id = builds.wave
         WHERE builds.repository = ?1 AND builds.commit_id = ?2 AND waves.told = ?3
         AND (?4 IS NULL OR pkgbase = ?4) GROUP BY pkgbase, arch)
     ORDER BY pkgbase";

pub(super) const fn word(told: Told) -> &'static str {
    match told {
        Told::Each => "each",
        Told::Together => "together",
    }
}

/// Has the forge told about something anew.
pub(super) fn mark(tx: &Connection, repository: &str, subject: &Subject, now: Timestamp) -> Result<(), StoreError> {
    let payload = serde_json::to_value(subject)?;
    let entry =
        NewEntry { repository: repository.to_owned(), kind: KIND.to_owned(), key: subject.key(repository), payload };
    outbox::renew(tx, &entry, now)
}

/// Has the forge told where a build stands, if it is told of its wave.
pub(super) fn mark_build(tx: &Connection, build: BuildId, now: Timestamp) -> Result<(), StoreError> {
    let sql = "SELECT builds.repository, builds.commit_id, pkgbase, waves.told FROM builds
               JOIN waves ON waves.id = builds.wave WHERE builds.id = ?";
    let found: (String, Oid, PkgBase, Option<String>) =
        tx.prepare_cached(sql)?.query_row([build], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    let (repository, commit, pkgbase, told) = found;
    match told.as_deref() {
        Some("each") => mark(tx, &repository, &Subject::Build { commit, pkgbase }, now),
        Some(_) => mark(tx, &repository, &Subject::Builds { commit }, now),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{at, base, commit, wave};
    use super::*;
    use crate::domain::build::{Outcome, Wave};
    use crate::domain::policy::Overlap;
    use crate::store::attempts::{AttemptEnd, AttemptEnding};

    fn told(number: u8, builds: &[&str], told: Told) -> Wave {
        Wave { told: Some(told), pipeline: Some(5), ..wave(number, builds) }
    }

    impl Store {
        async fn marks(&self) -> Vec<(i64, String)> {
            let open = self.outbox_open("repo", KIND).await.unwrap();
            open.into_iter().map(|entry| (entry.id, entry.entry.key)).collect()
        }

        async fn ends(&self, name: &str, outcome: Outcome) {
            let attempt = self.begin_attempt(self.newest(name).await, "local", at(1)).await.unwrap();
            let ending = AttemptEnding::Done(outcome);
            let end = AttemptEnd { ending, exit_code: None, message: "why".into(), log_length: 0 };
            self.finish_attempt(&attempt, end, at(2)).await.unwrap();
        }
    }

    /// Whoever told an older state must not end the entry of a newer one.
    #[tokio::test]
    async fn what_changes_while_it_is_told_is_told_again() {
        let store = Store::in_memory().unwrap();
        store.give(told(1, &["a"], Told::Each), Overlap::Coalesce).await;
        let before = store.marks().await;
        assert_eq!(before[0].1, format!("status/repo/{}/a", commit(1)));
        store.ends("a", Outcome::Failed).await;
        store.outbox_drop(before[0].0).await.unwrap();
        let after = store.marks().await;
        assert_eq!(after.len(), 1, "one for each package, the newest");
        assert_ne!(after, before);
        store.outbox_drop(after[0].0).await.unwrap();
        assert_eq!(store.marks().await, []);
        let builds = store.told_builds("repo", commit(1), Told::Each, Some(base("a"))).await.unwrap();
        assert_eq!((builds[0].state, builds[0].pipeline), (BuildState::Failed, Some(5)));
    }

    #[tokio::test]
    async fn five_hundred_builds_are_one_entry_and_a_wave_that_nobody_is_told_of_is_none() {
        let store = Store::in_memory().unwrap();
        let names: Vec<String> = (0..500).map(|n| format!("p{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        store.give(wave(1, &names), Overlap::Coalesce).await;
        assert_eq!(store.marks().await, []);
        store.give(told(2, &names, Told::Together), Overlap::Coalesce).await;
        assert_eq!(store.marks().await.len(), 1);
        assert_eq!(store.told_builds("repo", commit(2), Told::Together, None).await.unwrap().len(), 500);
        assert_eq!(store.told_builds("repo", commit(2), Told::Each, None).await.unwrap().len(), 0);
    }

    #[tokio::test]
    async fn of_a_commit_no_other_builds_are_read() {
        let store = Store::in_memory().unwrap();
        let read = |tx: &Connection| {
            let mut statement = tx.prepare(&format!("EXPLAIN QUERY PLAN {TOLD}"))?;
            let rows = statement.query_map(["repo", "x", "each", "a"], |row| row.get::<_, String>("detail"))?;
            Ok(rows.collect::<Result<Vec<_>, _>>()?.join("; "))
        };
        let plan = store.read(read).await.unwrap();
        assert!(plan.contains("builds_of_commit (repository=? AND commit_id=?)"), "{plan}");
    }

    #[tokio::test]
    async fn a_build_that_another_replaces_is_told_too() {
        let store = Store::in_memory().unwrap();
        store.give(told(1, &["a"], Told::Each), Overlap::Coalesce).await;
        store.give(told(2, &["a"], Told::Each), Overlap::Coalesce).await;
        let keys: Vec<_> = store.marks().await.into_iter().map(|(_, key)| key).collect();
        assert_eq!(keys, [1, 2].map(|n| format!("status/repo/{}/a", commit(n))));
    }
}
