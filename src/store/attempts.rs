//! Attempts: each try at a build, from the moment an executor is about to get it.

use jiff::{SignedDuration, Timestamp};
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
    /// Through no fault of the package, like everybody's at the time: it does not count.
    Outage,
    /// The controller ended while it was underway: it does not count.
    Interrupted,
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
            Self::Outage => "outage",
            Self::Interrupted => "interrupted",
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
        other => other.as_str(),
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
        (lost, None) => match next_try(tx, open, lost)? {
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

/// How long after a try that told nothing of the package the next one begins, if there is one.
fn next_try(tx: &Connection, open: &Open, lost: AttemptEnding) -> Result<Option<SignedDuration>, StoreError> {
    if lost == AttemptEnding::Infrastructure {
        return Ok(queue::retry_delay(open.attempts));
    }
    tx.execute("UPDATE builds SET attempts = attempts - 1 WHERE id = ?", [open.build])?;
    let sql = "SELECT count(*) FROM attempts WHERE build = ? AND ending = ?";
    let times = tx.query_row(sql, params![open.build, lost.as_str()], |row| row.get(0))?;
    Ok(match lost {
        AttemptEnding::Interrupted => queue::resume_delay(times),
        _ => Some(queue::outage_delay(times)),
    })
}

/// The attempts of a build, first to last.
pub(super) fn of_build(connection: &Connection, build: BuildId) -> Result<Vec<Attempt>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT * FROM attempts WHERE build = ? ORDER BY number")?;
    let rows = statement.query_map([build], read)?;
    rows.map(|row| row.map_err(StoreError::from).and_then(with_handle)).collect()
}

fn read(row: &Row<'_>) -> rusqlite::Result<(Attempt, Option<String>)> {
    let ending = match row.get::<_, Option<String>>("ending")?.as_deref() {
        None => None,
        Some("infrastructure") => Some(AttemptEnding::Infrastructure),
        Some("outage") => Some(AttemptEnding::Outage),
        Some("interrupted") => Some(AttemptEnding::Interrupted),
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
mod tests;
