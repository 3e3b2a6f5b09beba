//! Attempts: each try at a build, from the moment an executor is about to get it.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Serialize;
use serde_json::Value;

use super::builds::Stop;
use super::schedule::note_duration;
use super::settle::{Change, Consequences, happen, settle, successor_of};
use super::sql::{Millis, some_time, time};
use super::{Store, StoreError};
use crate::domain::build::{BuildEvent, BuildState, Outcome};
use crate::domain::queue::{self, BuildId};

/// One try at a build.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Attempt {
    /// Its id, also the name of its log. Ids are not given again by a record that replaces a lost one.
    pub id: String,
    /// The build.
    pub build: BuildId,
    /// Its number among the attempts of the build, from 1.
    pub number: u32,
    /// The executor that got it.
    pub executor: String,
    /// What the executor needs to find it again; `None` if it had not answered yet.
    pub handle: Option<Value>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it began to run.
    pub started_at: Option<Timestamp>,
    /// When it ended; `None` while it is open.
    pub ended_at: Option<Timestamp>,
    /// How it ended.
    pub ending: Option<AttemptEnding>,
    /// The exit status of what ran, if it got that far.
    pub exit_code: Option<i32>,
    /// What there is to say about how it ended.
    pub message: Option<String>,
    /// The final length of its log in bytes; a reader that has read this much has read all.
    pub log_length: Option<u64>,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptEnding {
    /// Through no fault of the package.
    Infrastructure,
    /// So, by what the package is.
    #[serde(untagged)]
    Done(Outcome),
}

impl AttemptEnding {
    /// The word used in output and in the record.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Infrastructure => "infrastructure",
            Self::Done(outcome) => outcome.as_str(),
        }
    }
}

/// What is known when an attempt has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptEnd {
    /// How it ended.
    pub ending: AttemptEnding,
    /// The exit status of what ran.
    pub exit_code: Option<i32>,
    /// What there is to say.
    pub message: String,
    /// The final length of its log in bytes.
    pub log_length: u64,
}

/// What followed from the end of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// The build.
    pub build: BuildId,
    /// Its state now.
    pub state: BuildState,
    /// When the next attempt may begin, if there is one.
    pub retry_at: Option<Timestamp>,
    /// Every build whose state changed; empty if the end had been recorded before.
    pub changes: Vec<Change>,
}

impl Store {
    /// Takes a ready build for an executor. To be called before the executor gets it: an attempt without
    /// a handle after a restart may or may not have reached the executor.
    ///
    /// # Errors
    /// [`StoreError::Illegal`] if the build is not ready (any more).
    pub async fn begin_attempt(&self, build: BuildId, executor: &str, now: Timestamp) -> Result<String, StoreError> {
        let executor = executor.to_owned();
        self.write(move |tx| {
            happen(tx, build, BuildEvent::Submitted, now, &mut Consequences::default())?;
            let number: u32 =
                tx.query_row("SELECT coalesce(max(number), 0) + 1 FROM attempts WHERE build = ?", [build], |row| {
                    row.get(0)
                })?;
            let id = format!("{build}-{number}-{:x}", now.as_second());
            tx.execute(
                "INSERT INTO attempts (id, build, number, executor, created_at) VALUES (?, ?, ?, ?, ?)",
                params![id, build, number, executor, Millis(now)],
            )?;
            tx.execute("UPDATE builds SET attempts = attempts + 1, not_before = NULL WHERE id = ?", [build])?;
            Ok(id)
        })
        .await
    }

    /// Keeps what the executor needs to find an attempt again.
    pub async fn set_handle(&self, attempt: &str, handle: &Value) -> Result<(), StoreError> {
        let (attempt, handle) = (attempt.to_owned(), handle.to_string());
        self.write(move |tx| {
            match tx.execute("UPDATE attempts SET handle = ? WHERE id = ?", params![handle, attempt])? {
                0 => Err(StoreError::not_found("attempt", &attempt)),
                _ => Ok(()),
            }
        })
        .await
    }

    /// Notes that an attempt began to run. Said twice, or too late, it changes nothing.
    pub async fn attempt_started(&self, attempt: &str, now: Timestamp) -> Result<(), StoreError> {
        let attempt = attempt.to_owned();
        self.write(move |tx| {
            let Open { build, state, ended, .. } = open(tx, &attempt)?;
            if ended || state != BuildState::Dispatched {
                return Ok(());
            }
            happen(tx, build, BuildEvent::Started, now, &mut Consequences::default())?;
            tx.execute("UPDATE attempts SET started_at = ? WHERE id = ?", params![Millis(now), attempt])?;
            tx.execute("UPDATE builds SET started_at = ? WHERE id = ?", params![Millis(now), build])?;
            Ok(())
        })
        .await
    }

    /// Notes how a build stands that has not ended. Said too late, it changes nothing.
    pub async fn note_build(&self, build: BuildId, note: String) -> Result<(), StoreError> {
        self.write(move |tx| {
            let sql = "UPDATE builds SET message = ? WHERE id = ? AND finished_at IS NULL";
            tx.execute(sql, params![note, build])?;
            Ok(())
        })
        .await
    }

    /// Ends an attempt and, in the same transaction, its build: with its outcome; or, after an
    /// infrastructure failure, with another attempt later or with `lost`. Whoever waited for the build
    /// is released or blocked. Said twice, it changes nothing.
    pub async fn finish_attempt(&self, attempt: &str, end: AttemptEnd, now: Timestamp) -> Result<Finished, StoreError> {
        let attempt = attempt.to_owned();
        self.write(move |tx| {
            let open = open(tx, &attempt)?;
            if open.ended {
                return Ok(Finished { build: open.build, state: open.state, retry_at: None, changes: Vec::new() });
            }
            close(tx, &attempt, &end, now)?;
            end_build(tx, &open, &end, now)
        })
        .await
    }

    /// Attempts that have not ended, oldest first: what a restart takes up again.
    pub async fn open_attempts(&self) -> Result<Vec<Attempt>, StoreError> {
        self.read(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT * FROM attempts WHERE ended_at IS NULL ORDER BY build, number")?;
            let rows = statement.query_map([], read)?;
            rows.map(|row| row.map_err(StoreError::from).and_then(with_handle)).collect()
        })
        .await
    }
}

struct Open {
    build: BuildId,
    state: BuildState,
    stop: Option<Stop>,
    attempts: u32,
    ended: bool,
}

fn open(tx: &Connection, attempt: &str) -> Result<Open, StoreError> {
    let sql = "SELECT builds.id, builds.state, builds.stop, builds.attempts, attempts.ended_at IS NOT NULL AS ended
               FROM attempts JOIN builds ON builds.id = attempts.build WHERE attempts.id = ?";
    let read = |row: &Row<'_>| {
        Ok(Open {
            build: row.get("id")?,
            state: row.get("state")?,
            stop: row.get::<_, Option<String>>("stop")?.map(|word| Stop::from_word(&word)),
            attempts: row.get("attempts")?,
            ended: row.get("ended")?,
        })
    };
    tx.query_row(sql, [attempt], read).optional()?.ok_or_else(|| StoreError::not_found("attempt", attempt))
}

fn close(tx: &Connection, attempt: &str, end: &AttemptEnd, now: Timestamp) -> Result<(), StoreError> {
    let word = match end.ending {
        AttemptEnding::Done(outcome) => BuildState::from(outcome).as_str(),
        AttemptEnding::Infrastructure => INFRASTRUCTURE,
    };
    tx.execute(
        "UPDATE attempts SET ended_at = ?, ending = ?, exit_code = ?, message = ?, log_length = ? WHERE id = ?",
        params![Millis(now), word, end.exit_code, end.message, end.log_length.cast_signed(), attempt],
    )?;
    Ok(())
}

fn end_build(tx: &Connection, open: &Open, end: &AttemptEnd, now: Timestamp) -> Result<Finished, StoreError> {
    let stop = match open.stop {
        // What was to replace it was cancelled meanwhile: nothing is left that would satisfy who waits for it.
        Some(Stop::Superseded) if successor_of(tx, open.build)?.is_none() => Some(Stop::Cancelled),
        stop => stop,
    };
    let (event, delay) = match (end.ending, stop) {
        (AttemptEnding::Done(outcome @ (Outcome::Succeeded | Outcome::AlreadyBuilt | Outcome::Skipped)), _) => {
            (BuildEvent::Ended(outcome), None)
        }
        (_, Some(stop)) => (stop.event(), None),
        (AttemptEnding::Done(outcome), None) => (BuildEvent::Ended(outcome), None),
        (AttemptEnding::Infrastructure, None) => match queue::retry_delay(open.attempts) {
            Some(delay) => (BuildEvent::AttemptLost, Some(delay)),
            None => (BuildEvent::Ended(Outcome::Lost), None),
        },
    };
    let mut consequences = Consequences::default();
    let state = happen(tx, open.build, event, now, &mut consequences)?;
    if state == BuildState::Succeeded {
        note_duration(tx, open.build)?;
    }
    let retry_at = delay.map(|delay| now + delay);
    tx.execute(
        "UPDATE builds SET not_before = ?, exit_code = ?, message = ? WHERE id = ?",
        params![retry_at.map(Millis), end.exit_code, end.message, open.build],
    )?;
    // What it needs may have changed while it was underway.
    consequences.concerned.insert(open.build);
    let changes = settle(tx, now, consequences)?;
    Ok(Finished { build: open.build, state, retry_at, changes })
}

const INFRASTRUCTURE: &str = "infrastructure";

/// The attempts of a build, first to last.
pub(super) fn of_build(connection: &Connection, build: BuildId) -> Result<Vec<Attempt>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT * FROM attempts WHERE build = ? ORDER BY number")?;
    let rows = statement.query_map([build], read)?;
    rows.map(|row| row.map_err(StoreError::from).and_then(with_handle)).collect()
}

fn read(row: &Row<'_>) -> rusqlite::Result<(Attempt, Option<String>)> {
    let ending = match row.get::<_, Option<String>>("ending")?.as_deref() {
        None => None,
        Some(INFRASTRUCTURE) => Some(AttemptEnding::Infrastructure),
        Some(_) => Some(AttemptEnding::Done(row.get("ending")?)),
    };
    let attempt = Attempt {
        id: row.get("id")?,
        build: row.get("build")?,
        number: row.get("number")?,
        executor: row.get("executor")?,
        handle: None,
        created_at: some_time(row, "created_at")?,
        started_at: time(row, "started_at")?,
        ended_at: time(row, "ended_at")?,
        ending,
        exit_code: row.get("exit_code")?,
        message: row.get("message")?,
        log_length: row.get::<_, Option<i64>>("log_length")?.map(i64::cast_unsigned),
    };
    Ok((attempt, row.get("handle")?))
}

fn with_handle((attempt, handle): (Attempt, Option<String>)) -> Result<Attempt, StoreError> {
    Ok(Attempt { handle: handle.map(|text| serde_json::from_str(&text)).transpose()?, ..attempt })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::builds::Cancelled;
    use super::super::testing::{at, base, wave};
    use super::*;
    use crate::domain::policy::Overlap;

    fn end(ending: AttemptEnding) -> AttemptEnd {
        AttemptEnd { ending, exit_code: Some(4), message: "said so".into(), log_length: 12 }
    }

    impl Store {
        pub(in crate::store) async fn start(&self, name: &str) -> String {
            let attempt = self.begin_attempt(self.newest(name).await, "local", at(1)).await.unwrap();
            self.attempt_started(&attempt, at(2)).await.unwrap();
            attempt
        }

        pub(in crate::store) async fn end(&self, attempt: &str, outcome: Outcome) -> Finished {
            self.finish_attempt(attempt, end(AttemptEnding::Done(outcome)), at(3)).await.unwrap()
        }

        async fn build_it(&self, name: &str, outcome: Outcome) -> Finished {
            let attempt = self.start(name).await;
            self.end(&attempt, outcome).await
        }
    }

    #[tokio::test]
    async fn an_attempt_is_found_again_after_a_restart_and_ends_once() {
        let store = Store::in_memory().unwrap();
        store.give(wave(1, &["a"]), Overlap::Coalesce).await;
        let attempt = store.start("a").await;
        store.set_handle(&attempt, &json!({"pid": 7})).await.unwrap();
        let open = store.open_attempts().await.unwrap();
        assert_eq!((open[0].id.as_str(), open[0].handle.clone()), (attempt.as_str(), Some(json!({"pid": 7}))));
        assert_eq!(store.end(&attempt, Outcome::Failed).await.state, BuildState::Failed);
        assert_eq!(store.end(&attempt, Outcome::Succeeded).await.changes, []);
        let detail = store.build(open[0].build).await.unwrap().unwrap();
        assert_eq!(detail.build.state, BuildState::Failed);
        assert_eq!((detail.attempts[0].log_length, detail.attempts[0].exit_code), (Some(12), Some(4)));
        assert_eq!(detail.attempts[0].ending, Some(AttemptEnding::Done(Outcome::Failed)));
        assert_eq!(serde_json::to_value(detail.attempts[0].ending).unwrap(), json!("failed"));
        assert!(store.open_attempts().await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn an_infrastructure_failure_is_tried_again_later_and_the_third_is_the_last() {
        let store = Store::in_memory().unwrap();
        store.give(wave(1, &["a", "b:a"]), Overlap::Coalesce).await;
        let lost = end(AttemptEnding::Infrastructure);
        let mut now = at(10);
        for expected in [Some(30), Some(120)] {
            let attempt = store.start("a").await;
            let finished = store.finish_attempt(&attempt, lost.clone(), now).await.unwrap();
            let retry = finished.retry_at.unwrap();
            assert_eq!(Some(retry.duration_since(now).as_secs()), expected);
            assert!(store.ready_builds(now, 9).await.unwrap().is_empty());
            assert_eq!(store.next_retry(now).await.unwrap(), Some(retry));
            assert_eq!(store.ready_builds(retry, 9).await.unwrap().len(), 1);
            now = retry;
        }
        let attempt = store.start("a").await;
        assert_eq!(store.newest_builds("repo").await.unwrap()[&base("a")].last_attempt, Some(attempt.clone()));
        let finished = store.finish_attempt(&attempt, lost, now).await.unwrap();
        assert_eq!((finished.state, finished.retry_at), (BuildState::Lost, None));
        assert_eq!(store.states(&["a", "b"]).await, ["lost", "blocked"]);
        let changes = store.retry_build(finished.build, now).await.unwrap();
        assert_eq!(changes.len(), 3, "{changes:?}");
        assert_eq!(store.states(&["a", "b"]).await, ["ready", "waiting"]);
    }

    #[tokio::test]
    async fn a_failure_blocks_all_that_follows_and_a_later_success_releases_it() {
        let store = Store::in_memory().unwrap();
        store.give(wave(1, &["a", "b:a", "c:b", "d"]), Overlap::Coalesce).await;
        assert_eq!(store.states(&["a", "b", "c", "d"]).await, ["ready", "waiting", "waiting", "ready"]);
        store.build_it("a", Outcome::Failed).await;
        assert_eq!(store.states(&["a", "b", "c", "d"]).await, ["failed", "blocked", "blocked", "ready"]);
        store.give(wave(2, &["a"]), Overlap::Coalesce).await;
        assert_eq!(store.states(&["a", "b", "c"]).await, ["ready", "waiting", "waiting"]);
        store.build_it("a", Outcome::TimedOut).await;
        assert_eq!(store.states(&["b", "c"]).await, ["blocked", "blocked"]);
        store.give(wave(3, &["a"]), Overlap::Coalesce).await;
        store.build_it("a", Outcome::Succeeded).await;
        assert_eq!(store.states(&["b", "c"]).await, ["ready", "waiting"]);
        store.build_it("b", Outcome::AlreadyBuilt).await;
        assert_eq!(store.states(&["c"]).await, ["ready"]);
    }

    #[tokio::test]
    async fn the_replacement_of_a_dependency_counts() {
        let store = Store::in_memory().unwrap();
        store.give(wave(1, &["a", "b:a"]), Overlap::Coalesce).await;
        let old = store.newest("a").await;
        store.give(wave(2, &["a"]), Overlap::Coalesce).await;
        let superseded = store.build(old).await.unwrap().unwrap().build;
        assert_eq!((superseded.state, superseded.replaced_by), (BuildState::Superseded, Some(store.newest("a").await)));
        assert_eq!(store.states(&["b"]).await, ["waiting"]);
        store.build_it("a", Outcome::Succeeded).await;
        assert_eq!(store.states(&["b"]).await, ["ready"]);
    }

    #[tokio::test]
    async fn coalesce_keeps_one_request_behind_the_running_build_for_the_newest_commit() {
        let store = Store::in_memory().unwrap();
        store.give(wave(1, &["a", "b:a"]), Overlap::Coalesce).await;
        let attempt = store.start("a").await;
        for number in 2..6 {
            store.give(wave(number, &["a"]), Overlap::Coalesce).await;
        }
        let line = store.queue(Some("repo")).await.unwrap();
        let commits: Vec<_> = line.iter().map(|queued| queued.build.commit.as_bytes()[0]).collect();
        assert_eq!(commits, [1, 1, 5]);
        assert!(store.ready_builds(at(9), 9).await.unwrap().is_empty());
        store.end(&attempt, Outcome::Failed).await;
        assert_eq!(store.states(&["a", "b"]).await, ["ready", "waiting"]);
        store.build_it("a", Outcome::Succeeded).await;
        assert_eq!(store.states(&["a", "b"]).await, ["succeeded", "ready"]);
    }

    #[tokio::test]
    async fn queue_builds_each_request_in_turn() {
        let store = Store::in_memory().unwrap();
        store.give(wave(1, &["a"]), Overlap::Queue).await;
        let mut attempt = store.start("a").await;
        for number in 2..5 {
            store.give(wave(number, &["a"]), Overlap::Queue).await;
        }
        for number in 2..5 {
            store.end(&attempt, Outcome::Succeeded).await;
            let ready = store.ready_builds(at(9), 9).await.unwrap();
            assert_eq!(ready.iter().map(|build| build.commit.as_bytes()[0]).collect::<Vec<_>>(), [number]);
            attempt = store.begin_attempt(ready[0].id, "local", at(1)).await.unwrap();
        }
    }

    #[tokio::test]
    async fn discard_records_what_it_drops() {
        let store = Store::in_memory().unwrap();
        store.give(wave(1, &["a"]), Overlap::Discard).await;
        let running = store.newest("a").await;
        let attempt = store.start("a").await;
        store.give(wave(2, &["a", "b:a"]), Overlap::Discard).await;
        let dropped = store.build(store.newest("a").await).await.unwrap().unwrap().build;
        assert_eq!((dropped.state, dropped.replaced_by), (BuildState::Superseded, Some(running)));
        assert!(dropped.message.unwrap().contains("was running"));
        assert_eq!(store.states(&["b"]).await, ["waiting"]);
        store.end(&attempt, Outcome::Succeeded).await;
        assert_eq!(store.states(&["b"]).await, ["ready"]);
    }

    #[tokio::test]
    async fn cancel_starts_anew_when_the_running_build_has_stopped() {
        let store = Store::in_memory().unwrap();
        store.give(wave(1, &["a", "b:a"]), Overlap::Cancel).await;
        let attempt = store.start("a").await;
        let running = store.newest("a").await;
        store.give(wave(2, &["a"]), Overlap::Cancel).await;
        assert_eq!(store.to_stop().await.unwrap(), [running]);
        assert!(store.ready_builds(at(9), 9).await.unwrap().is_empty());
        let finished = store.finish_attempt(&attempt, end(AttemptEnding::Infrastructure), at(4)).await.unwrap();
        assert_eq!(finished.state, BuildState::Superseded);
        assert_eq!(store.states(&["a", "b"]).await, ["ready", "waiting"]);
        assert!(store.to_stop().await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_build_stopped_for_another_that_was_cancelled_satisfies_nobody() {
        let store = Store::in_memory().unwrap();
        store.give(wave(1, &["a", "b:a"]), Overlap::Cancel).await;
        let attempt = store.start("a").await;
        store.give(wave(2, &["a"]), Overlap::Cancel).await;
        store.cancel_build(store.newest("a").await, at(3)).await.unwrap();
        assert_eq!(store.end(&attempt, Outcome::Failed).await.state, BuildState::Cancelled);
        assert_eq!(store.states(&["b"]).await, ["blocked"]);
    }

    #[tokio::test]
    async fn a_person_may_cancel_retry_and_release() {
        let store = Store::in_memory().unwrap();
        store.give(wave(1, &["a", "b:a"]), Overlap::Coalesce).await;
        let (a, b) = (store.newest("a").await, store.newest("b").await);
        let attempt = store.start("a").await;
        let changes = store.subscribe();
        assert_eq!(store.cancel_build(a, at(3)).await.unwrap(), Cancelled::Asked);
        assert!(changes.has_changed().unwrap(), "whoever is to stop it hears of it at once");
        assert_eq!(store.end(&attempt, Outcome::Failed).await.state, BuildState::Cancelled);
        assert_eq!(store.states(&["b"]).await, ["blocked"]);
        assert!(matches!(store.cancel_build(a, at(3)).await, Err(StoreError::Illegal(_))));
        store.release_build(b, at(4)).await.unwrap();
        assert_eq!(store.states(&["b"]).await, ["ready"]);
        assert!(matches!(store.release_build(b, at(4)).await, Err(StoreError::Refused(_))));
        assert!(matches!(store.cancel_build(b, at(4)).await.unwrap(), Cancelled::Done(_)));
        store.give(wave(2, &["b"]), Overlap::Coalesce).await;
        let error = store.retry_build(b, at(5)).await.unwrap_err();
        assert!(error.to_string().contains("not the newest"), "{error}");
        store.retry_build(a, at(5)).await.unwrap();
        assert_eq!(store.states(&["a"]).await, ["ready"]);
    }

    #[tokio::test]
    async fn what_was_asked_for_earlier_and_is_needed_comes_first() {
        let store = Store::in_memory().unwrap();
        store.give(wave(1, &["lib"]), Overlap::Coalesce).await;
        store.give(wave(2, &["app?lib"]), Overlap::Coalesce).await;
        assert_eq!(store.states(&["app"]).await, ["waiting"]);
        let queued = store.queue(None).await.unwrap();
        assert_eq!(queued[1].waits[0].pkgbase.as_str(), "lib");
        store.build_it("lib", Outcome::Failed).await;
        assert_eq!(store.states(&["app"]).await, ["ready"]);
    }

    #[tokio::test]
    async fn waves_that_wait_for_each_other_do_not_stop_the_queue() {
        let store = Store::in_memory().unwrap();
        store.give(wave(1, &["a", "b:a"]), Overlap::Coalesce).await;
        // `a` is replaced by a build that needs `b`, which waits for `a`.
        store.give(wave(2, &["a?b"]), Overlap::Coalesce).await;
        assert_eq!(store.states(&["a", "b"]).await, ["ready", "waiting"]);
        store.build_it("a", Outcome::Succeeded).await;
        assert_eq!(store.states(&["b"]).await, ["ready"]);
    }

    #[tokio::test]
    async fn a_retried_build_follows_the_newest_build_of_what_failed() {
        let store = Store::in_memory().unwrap();
        store.give(wave(1, &["a", "b:a"]), Overlap::Coalesce).await;
        store.build_it("a", Outcome::Failed).await;
        let b = store.newest("b").await;
        store.cancel_build(b, at(4)).await.unwrap();
        store.give(wave(2, &["a"]), Overlap::Coalesce).await;
        store.build_it("a", Outcome::Succeeded).await;
        store.retry_build(b, at(5)).await.unwrap();
        assert_eq!(store.states(&["b"]).await, ["ready"]);
    }
}
