//! Intents: what a run is about to push and what follows from it, written down before the push.
//!
//! Whatever the moment of a crash, the next start finds the intent. If the push had happened it is
//! settled, which enqueues its builds exactly once; if not, it is dropped and the run is done again.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row, Transaction, params};
use serde::{Deserialize, Serialize};

use super::outbox::{self, NewEntry};
use super::settle::Change;
use super::sql::{Millis, some_time};
use super::{Store, StoreError, builds, enqueue, removals, statuses};
use crate::domain::build::Wave;
use crate::domain::name::{Oid, PkgBase};
use crate::domain::policy::Overlap;
use crate::domain::queue::{BuildId, Disposition};

/// A ref that a run moves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefChange {
    /// Its full name.
    pub name: String,
    /// What it was; `None` if it did not exist.
    pub old: Option<Oid>,
    /// What it becomes; `None` if it is deleted.
    pub new: Option<Oid>,
}

/// What a run is about to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewIntent {
    /// The run, which has begun.
    pub run_id: String,
    /// The repository.
    pub repository: String,
    /// What will be pushed.
    pub refs: Vec<RefChange>,
    /// What is built once it is pushed.
    pub wave: Wave,
    /// What is told to others once it is pushed.
    pub outbox: Vec<NewEntry>,
}

/// An intent that is neither settled nor dropped.
#[derive(Debug, Clone, PartialEq)]
pub struct Intent {
    /// Its id.
    pub id: i64,
    /// When it was written down.
    pub recorded_at: Timestamp,
    /// What it says.
    pub intent: NewIntent,
}

/// What became of one request of a wave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enqueued {
    /// Its build.
    pub build: BuildId,
    /// The package.
    pub pkgbase: PkgBase,
    /// The architecture.
    pub arch: String,
    /// What became of it.
    pub disposition: Disposition,
}

impl Enqueued {
    /// Its package, if the request was dropped because that was being built.
    #[must_use]
    pub fn discarded(&self) -> Option<&PkgBase> {
        matches!(self.disposition, Disposition::Discarded { .. }).then_some(&self.pkgbase)
    }
}

/// What settling an intent led to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settled {
    /// What became of each request. The same answer comes again when the intent is settled again.
    pub enqueued: Vec<Enqueued>,
    /// Builds underway that have to be stopped, see [`Store::to_stop`].
    pub stop: Vec<BuildId>,
    /// Builds whose state changed; empty if it had been settled before.
    pub changes: Vec<Change>,
}

impl Store {
    /// Writes down what a run is about to push. Nothing of it is visible elsewhere until
    /// [`Store::settle_intent`].
    pub async fn record_intent(&self, intent: NewIntent, now: Timestamp) -> Result<i64, StoreError> {
        self.write(move |tx| {
            let body = serde_json::to_string(&intent)?;
            tx.execute(
                "INSERT INTO intents (run_id, repository, status, body, recorded_at) VALUES (?, ?, 'open', ?, ?)",
                params![intent.run_id, intent.repository, body, Millis(now)],
            )?;
            Ok(tx.last_insert_rowid())
        })
        .await
    }

    /// The intents of a repository that are neither settled nor dropped, oldest first.
    pub async fn pending_intents(&self, repository: &str) -> Result<Vec<Intent>, StoreError> {
        let repository = repository.to_owned();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id, recorded_at, body FROM intents WHERE status = 'open' AND repository = ? ORDER BY id",
            )?;
            let rows = statement.query_map([repository], raw)?;
            rows.map(|row| parse(row?)).collect()
        })
        .await
    }

    /// Does what follows from a push that has happened, in one transaction: builds are enqueued, packages
    /// to remove and messages to others become visible, the intent is done.
    ///
    /// Builds are enqueued exactly once for each run, however often this is called.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if the intent was dropped.
    pub async fn settle_intent(&self, id: i64, overlap: Overlap, now: Timestamp) -> Result<Settled, StoreError> {
        self.write(move |tx| {
            let (status, raw) = tx
                .query_row("SELECT * FROM intents WHERE id = ?", [id], |row| {
                    Ok((row.get::<_, String>("status")?, raw(row)?))
                })
                .optional()?
                .ok_or_else(|| StoreError::not_found("intent", &id))?;
            if status == "dropped" {
                return Err(StoreError::Refused(format!("intent {id} was dropped: its run has to be done again")));
            }
            let NewIntent { run_id, wave, outbox, .. } = parse(raw)?.intent;
            let settled = settle_wave(tx, &run_id, &wave, overlap, now)?;
            outbox::put(tx, &outbox, now)?;
            tx.execute(
                "UPDATE intents SET status = 'done', settled_at = coalesce(settled_at, ?) WHERE id = ?",
                params![Millis(now), id],
            )?;
            Ok(settled)
        })
        .await
    }

    /// Gives an intent up whose push did not happen.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if it has been settled.
    pub async fn drop_intent(&self, id: i64, now: Timestamp) -> Result<(), StoreError> {
        self.write(move |tx| {
            let sql = "UPDATE intents SET status = 'dropped', settled_at = ? WHERE id = ? AND status <> 'done'";
            match tx.execute(sql, params![Millis(now), id])? {
                0 => Err(StoreError::Refused(format!("intent {id} is settled or was never recorded"))),
                _ => Ok(()),
            }
        })
        .await
    }

    /// Enqueues a wave that follows from no push, such as a person's request; exactly once for each run.
    pub async fn enqueue(
        &self,
        wave: &Wave,
        run_id: &str,
        overlap: Overlap,
        now: Timestamp,
    ) -> Result<Settled, StoreError> {
        let (wave, run_id) = (wave.clone(), run_id.to_owned());
        self.write(move |tx| settle_wave(tx, &run_id, &wave, overlap, now)).await
    }
}

fn settle_wave(
    tx: &Transaction<'_>,
    run_id: &str,
    wave: &Wave,
    overlap: Overlap,
    now: Timestamp,
) -> Result<Settled, StoreError> {
    let answer: Option<String> =
        tx.query_row("SELECT answer FROM waves WHERE run_id = ?", [run_id], |row| row.get(0)).optional()?;
    if let Some(answer) = answer {
        return Ok(Settled { enqueued: serde_json::from_str(&answer)?, ..Settled::default() });
    }
    tx.execute(
        "INSERT INTO waves (run_id, repository, commit_id, enqueued_at, answer, told, pipeline)
         VALUES (?, ?, ?, ?, '[]', ?, ?)",
        params![
            run_id,
            wave.repository,
            wave.commit,
            Millis(now),
            wave.told.map(statuses::word),
            wave.pipeline.map(u64::cast_signed),
        ],
    )?;
    let number = tx.last_insert_rowid();
    let (mut stop, mut changes) = removals::request(tx, run_id, wave, now)?;
    let (asked, stopped) = builds::stop_all(tx, &wave.repository, &wave.stop, now)?;
    stop.extend(asked);
    changes.extend(stopped);
    let (enqueued, more) = enqueue::enqueue(tx, wave, number, overlap, now)?;
    changes.extend(more);
    stop.extend(enqueued.iter().filter_map(|one| match one.disposition {
        Disposition::Cancels { running } => Some(running),
        _ => None,
    }));
    let answer = serde_json::to_string(&enqueued)?;
    tx.execute("UPDATE waves SET answer = ? WHERE id = ?", params![answer, number])?;
    Ok(Settled { enqueued, stop, changes })
}

type RawIntent = (i64, Timestamp, String);

fn raw(row: &Row<'_>) -> rusqlite::Result<RawIntent> {
    Ok((row.get("id")?, some_time(row, "recorded_at")?, row.get("body")?))
}

fn parse((id, recorded_at, body): RawIntent) -> Result<Intent, StoreError> {
    Ok(Intent { id, recorded_at, intent: serde_json::from_str(&body)? })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{at, base, commit, wave};
    use super::*;

    fn intent(run: &str, wave: Wave) -> NewIntent {
        let refs = vec![RefChange { name: "refs/heads/main".into(), old: None, new: Some(commit(1)) }];
        let message =
            NewEntry { repository: "repo".into(), kind: "status".into(), key: run.into(), payload: json!(null) };
        NewIntent { run_id: run.into(), repository: "repo".into(), refs, wave, outbox: vec![message] }
    }

    #[tokio::test]
    async fn a_crash_after_the_push_loses_no_build_and_enqueues_none_twice() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("record.sqlite");
        let store = Store::open(&path).unwrap();
        let run = store.begin_run("repo", "on-commit", "test", at(0)).await.unwrap();
        let written = intent(&run, wave(1, &["a", "b:a"]));
        store.record_intent(written.clone(), at(0)).await.unwrap();
        assert!(store.queue(None).await.unwrap().is_empty());
        drop(store); // The push has happened; the program is gone.

        let store = Store::open(&path).unwrap();
        let found = store.pending_intents("repo").await.unwrap();
        assert_eq!(found[0].intent, written);
        let first = store.settle_intent(found[0].id, Overlap::Coalesce, at(1)).await.unwrap();
        let second = store.settle_intent(found[0].id, Overlap::Coalesce, at(2)).await.unwrap();
        assert_eq!(first.enqueued, second.enqueued);
        assert_eq!((first.changes.len(), second.changes.len()), (1, 0));
        assert_eq!(store.queue(None).await.unwrap().len(), 2);
        assert_eq!(store.outbox_due(at(3), 9).await.unwrap().len(), 1);
        assert!(store.pending_intents("repo").await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_dropped_intent_leaves_no_trace_in_the_queue() {
        let store = Store::in_memory().unwrap();
        let run = store.begin_run("repo", "on-commit", "test", at(0)).await.unwrap();
        let lost = store.record_intent(intent(&run, wave(1, &["a"])), at(0)).await.unwrap();
        store.drop_intent(lost, at(1)).await.unwrap();
        assert!(matches!(store.settle_intent(lost, Overlap::Coalesce, at(1)).await, Err(StoreError::Refused(_))));
        let again = store.record_intent(intent(&run, wave(2, &["a"])), at(2)).await.unwrap();
        let settled = store.settle_intent(again, Overlap::Coalesce, at(2)).await.unwrap();
        assert_eq!(settled.enqueued.len(), 1);
        assert!(matches!(store.drop_intent(again, at(3)).await, Err(StoreError::Refused(_))));
        assert!(store.pending_intents("repo").await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_package_that_leaves_is_not_built_and_one_that_returns_is_not_removed() {
        let store = Store::in_memory().unwrap();
        store.give(wave(1, &["a", "b:a"]), Overlap::Coalesce).await;
        let gone = Wave { remove: vec![base("a")], ..wave(2, &[]) };
        store.give(gone, Overlap::Coalesce).await;
        assert_eq!(store.states(&["a", "b"]).await, ["superseded", "ready"]);
        let removals = store.pending_removals("repo").await.unwrap();
        assert_eq!(removals.iter().map(|removal| removal.pkgbase.as_str()).collect::<Vec<_>>(), ["a"]);
        store.give(wave(3, &["a"]), Overlap::Coalesce).await;
        assert!(store.pending_removals("repo").await.unwrap().is_empty());
        store.give(Wave { remove: vec![base("b")], ..wave(4, &[]) }, Overlap::Coalesce).await;
        let removal = store.pending_removals("repo").await.unwrap().remove(0);
        store.finish_removals(&[removal.id], at(5)).await.unwrap();
        assert!(store.pending_removals("repo").await.unwrap().is_empty());
    }
}
