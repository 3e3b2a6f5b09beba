//! Builds: what the record knows of one, and what people may do to it.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};

use super::removals::live;
use super::schedule::{lower, needed_by, raise};
use super::settle::{Change, Consequences, dependants, happen, open_circles, settle};
use super::sql::{some_time, time};
use super::{Store, StoreError};
use crate::domain::build::{BuildEvent, BuildReason, BuildState, Outcome};
use crate::domain::name::{Oid, PkgBase};
use crate::domain::policy::BuildClass;
use crate::domain::queue::BuildId;
use crate::domain::schedule::Lane;

/// Why a build that is underway has to stop: the state it then ends in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stop {
    /// A person cancelled it.
    Cancelled,
    /// A newer request takes its place, or the package is gone.
    Superseded,
}

impl Stop {
    /// The word used in output and in the record.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::Superseded => "superseded",
        }
    }

    pub(super) fn event(self) -> BuildEvent {
        match self {
            Self::Cancelled => BuildEvent::Ended(Outcome::Cancelled),
            Self::Superseded => BuildEvent::Supersede,
        }
    }

    pub(super) fn from_word(word: &str) -> Self {
        if word == Self::Cancelled.as_str() { Self::Cancelled } else { Self::Superseded }
    }
}

/// A build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Build {
    /// Its id; a later request has a higher one.
    pub id: BuildId,
    /// The run that asked for it.
    pub run_id: String,
    /// The repository.
    pub repository: String,
    /// The architecture.
    pub arch: String,
    /// The package.
    pub pkgbase: PkgBase,
    /// The commit of the monorepo that is built.
    pub commit: Oid,
    /// The class asked for.
    pub class: Option<BuildClass>,
    /// Why it is built.
    pub reason: BuildReason,
    /// How urgent it is, or the most urgent of what waits for it.
    pub lane: Lane,
    /// Where it stands.
    pub state: BuildState,
    /// The build of the same package that has to end first.
    pub behind: Option<BuildId>,
    /// The build that took its place.
    pub replaced_by: Option<BuildId>,
    /// Set while it is underway and has been asked to stop.
    pub stop: Option<Stop>,
    /// The attempt that was begun last: its log is the build's.
    pub last_attempt: Option<String>,
    /// How often it was tried since it, or another try of it, was asked for.
    pub attempts: u32,
    /// When the next attempt may begin.
    pub not_before: Option<Timestamp>,
    /// The exit status of the last attempt.
    pub exit_code: Option<i32>,
    /// What there is to say about how it ended.
    pub message: Option<String>,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// When its state last changed.
    pub changed_at: Timestamp,
    /// When its last attempt began to run.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

/// Every column of [`Build`]; to be followed by conditions on `builds`.
pub(super) const SELECT: &str = "SELECT builds.*, waves.run_id,
     (SELECT attempts.id FROM attempts WHERE attempts.build = builds.id ORDER BY number DESC LIMIT 1) AS last_attempt
     FROM builds JOIN waves ON waves.id = builds.wave";

pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Build> {
    Ok(Build {
        id: row.get("id")?,
        run_id: row.get("run_id")?,
        repository: row.get("repository")?,
        arch: row.get("arch")?,
        pkgbase: row.get("pkgbase")?,
        commit: row.get("commit_id")?,
        class: row.get::<_, Option<String>>("class")?.map(BuildClass),
        reason: row.get("reason")?,
        lane: Lane::of_rank(row.get("lane")?),
        state: row.get("state")?,
        behind: row.get("behind")?,
        replaced_by: row.get("replaced_by")?,
        stop: row.get::<_, Option<String>>("stop")?.map(|word| Stop::from_word(&word)),
        last_attempt: row.get("last_attempt")?,
        attempts: row.get("attempts")?,
        not_before: time(row, "not_before")?,
        exit_code: row.get("exit_code")?,
        message: row.get("message")?,
        requested_at: some_time(row, "requested_at")?,
        changed_at: some_time(row, "changed_at")?,
        started_at: time(row, "started_at")?,
        finished_at: time(row, "finished_at")?,
    })
}

/// What became of a wish to cancel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cancelled {
    /// It had not started, and is cancelled.
    Done(Vec<Change>),
    /// It is underway: the executor has to stop it, and the end of its attempt ends it.
    Asked,
}

impl Store {
    /// Builds underway that have been asked to stop.
    pub async fn to_stop(&self) -> Result<Vec<BuildId>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id FROM builds WHERE stop IS NOT NULL AND state IN ('dispatched', 'running') ORDER BY id",
            )?;
            let rows = statement.query_map([], |row| row.get(0))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Cancels a build, or has it stopped if it is underway.
    ///
    /// # Errors
    /// [`StoreError::Illegal`] if it has ended; [`StoreError::NotFound`].
    pub async fn cancel_build(&self, build: BuildId, now: Timestamp) -> Result<Cancelled, StoreError> {
        self.write(move |tx| {
            if state_of(tx, build)?.is_underway() {
                ask_to_stop(tx, build, Stop::Cancelled)?;
                return Ok(Cancelled::Asked);
            }
            let mut consequences = Consequences::default();
            happen(tx, build, BuildEvent::Cancel, now, &mut consequences)?;
            // What was said of a try before is not why it ended.
            tx.execute("UPDATE builds SET message = NULL WHERE id = ?", params![build])?;
            Ok(Cancelled::Done(settle(tx, now, consequences)?))
        })
        .await
        .inspect(|_| self.tell())
    }

    /// Cancels the builds of these packages that have not ended, and has those underway stopped.
    ///
    /// # Errors
    /// If the record cannot be written.
    pub async fn stop_builds(
        &self,
        repository: &str,
        packages: Vec<PkgBase>,
        now: Timestamp,
    ) -> Result<Vec<BuildId>, StoreError> {
        let repository = repository.to_owned();
        self.write(move |tx| Ok(stop_all(tx, &repository, &packages, now)?.0)).await.inspect(|_| self.tell())
    }

    /// Has a build that ended tried again, at the same commit.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if there is a newer build of the package: its commit is the one to build.
    /// [`StoreError::Illegal`] if it has not ended, or succeeded.
    pub async fn retry_build(&self, build: BuildId, now: Timestamp) -> Result<Vec<Change>, StoreError> {
        self.write(move |tx| {
            if let Some(newer) = newer_than(tx, build)? {
                let message = format!("build {build} is not the newest of its package: retry build {newer}");
                return Err(StoreError::Refused(message));
            }
            let mut consequences = Consequences::default();
            happen(tx, build, BuildEvent::Retry, now, &mut consequences)?;
            tx.execute(
                "UPDATE builds SET attempts = 0, not_before = NULL, stop = NULL, exit_code = NULL, message = NULL,
                 started_at = NULL WHERE id = ?",
                [build],
            )?;
            catch_up(tx, build)?;
            open_circles(tx, build, &mut consequences)?;
            // It was no more urgent than it had been at its end, whatever came to wait for it, or went.
            lower(tx, vec![build])?;
            raise(tx, dependants(tx, build)?.into_iter().chain([build]).collect())?;
            consequences.concerned.insert(build);
            settle(tx, now, consequences)
        })
        .await
    }

    /// Lets a build go that waits for builds that ended badly or are blocked.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if it is not blocked, or only because an earlier build of its package is.
    pub async fn release_build(&self, build: BuildId, now: Timestamp) -> Result<Vec<Change>, StoreError> {
        self.write(move |tx| {
            if state_of(tx, build)? != BuildState::Blocked {
                return Err(StoreError::Refused(format!("build {build} is not blocked")));
            }
            if let Some(ahead) = blocked_ahead(tx, build)? {
                let message = format!("build {build} stands behind build {ahead} of the same package: release that");
                return Err(StoreError::Refused(message));
            }
            let needed = needed_by(tx, build)?;
            tx.execute(
                "DELETE FROM waits WHERE build = ? AND dependency IN
                 (SELECT id FROM builds WHERE state IN ('failed', 'timed_out', 'cancelled', 'lost', 'blocked'))",
                [build],
            )?;
            lower(tx, needed)?;
            let concerned = [build].into();
            settle(tx, now, Consequences { concerned, ..Consequences::default() })
        })
        .await
    }
}

/// Cancels the builds of these packages that have not ended. Those underway are asked to stop, and are given
/// first.
pub(super) fn stop_all(
    tx: &Connection,
    repository: &str,
    packages: &[PkgBase],
    now: Timestamp,
) -> Result<(Vec<BuildId>, Vec<Change>), StoreError> {
    let (mut asked, mut consequences) = (Vec::new(), Consequences::default());
    for pkgbase in packages {
        for (build, state) in live(tx, repository, pkgbase)? {
            if state.is_underway() {
                ask_to_stop(tx, build, Stop::Cancelled)?;
                asked.push(build);
            } else {
                happen(tx, build, BuildEvent::Cancel, now, &mut consequences)?;
                tx.execute("UPDATE builds SET message = ? WHERE id = ?", params![QUARANTINED, build])?;
            }
        }
    }
    Ok((asked, settle(tx, now, consequences)?))
}

/// Why a build was cancelled.
const QUARANTINED: &str = "the package, or one that it is built with, is in quarantine";

fn state_of(tx: &Connection, build: BuildId) -> Result<BuildState, StoreError> {
    let state = tx.query_row("SELECT state FROM builds WHERE id = ?", [build], |row| row.get(0)).optional()?;
    state.ok_or_else(|| StoreError::not_found("build", &build))
}

fn blocked_ahead(tx: &Connection, build: BuildId) -> Result<Option<BuildId>, StoreError> {
    let sql = "SELECT ahead.id FROM builds JOIN builds AS ahead ON ahead.id = builds.behind
               WHERE builds.id = ? AND ahead.state = 'blocked'";
    Ok(tx.query_row(sql, [build], |row| row.get(0)).optional()?)
}

/// Notes that a build underway has to stop. A cancellation by a person outweighs a newer request.
pub(super) fn ask_to_stop(tx: &Connection, build: BuildId, stop: Stop) -> Result<(), StoreError> {
    tx.prepare_cached("UPDATE builds SET stop = ? WHERE id = ? AND stop IS NOT 'cancelled'")?
        .execute(params![stop.as_str(), build])?;
    Ok(())
}

fn newer_than(tx: &Connection, build: BuildId) -> Result<Option<BuildId>, StoreError> {
    let sql = "SELECT newer.id FROM builds JOIN builds AS newer ON newer.repository = builds.repository
               AND newer.pkgbase = builds.pkgbase AND newer.arch = builds.arch AND newer.id > builds.id
               WHERE builds.id = ? AND newer.replaced_by IS NULL ORDER BY newer.id DESC LIMIT 1";
    Ok(tx.query_row(sql, [build], |row| row.get(0)).optional()?)
}

/// Waits of a build that had ended were not moved on; this makes up for it.
fn catch_up(tx: &Connection, build: BuildId) -> Result<(), StoreError> {
    let mut statement = tx.prepare_cached("SELECT dependency FROM waits WHERE build = ?")?;
    let waits = statement.query_map([build], |row| row.get(0))?.collect::<Result<Vec<BuildId>, _>>()?;
    let mut movement =
        tx.prepare_cached("UPDATE OR REPLACE waits SET dependency = ?, moved = 1 WHERE build = ? AND dependency = ?")?;
    for dependency in waits {
        let state = state_of(tx, dependency)?;
        let over = state.is_final() && !state.satisfies_dependants();
        if let Some(newer) = newer_than(tx, dependency)?.filter(|_| over) {
            movement.execute(params![newer, build, dependency])?;
        }
    }
    Ok(())
}
