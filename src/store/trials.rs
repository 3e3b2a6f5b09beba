//! What people propose on a forge, as it was judged, and test builds of it.
//!
//! Test builds are kept apart from builds: they replace none, keep none waiting and stand in no line with them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::json;

use super::attempts::AttemptEnding;
use super::sql::Millis;
use super::statuses::{self, Subject};
use super::{Store, StoreError, events};
use crate::domain::build::Outcome;
use crate::domain::name::{Oid, PkgBase};
use crate::domain::queue;
use crate::domain::review::Vote;
use crate::domain::review::proposal::trial::{Part, Step, TrialState, next};

/// What was said of a proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// The repository.
    pub repository: String,
    /// The proposal, as people name it.
    pub number: u64,
    /// The commit that was judged.
    pub head: Oid,
    /// The ref of the remote at which it can be fetched.
    pub fetch: String,
    /// Whether it can go in; `None` if nothing is to be said of that.
    pub vote: Option<Vote>,
    /// One sentence.
    pub summary: String,
    /// What stands below it, if there is more to say.
    pub comment: Option<String>,
}

/// A package of a proposal that is to be built for a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTrial {
    /// The package.
    pub pkgbase: PkgBase,
    /// The architecture.
    pub arch: String,
    /// What of the same proposal has to be built before.
    pub after: Vec<PkgBase>,
}

/// A test build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// Its id.
    pub id: i64,
    /// The repository.
    pub repository: String,
    /// The proposal.
    pub number: u64,
    /// Its commit that is built.
    pub head: Oid,
    /// The architecture.
    pub arch: String,
    /// Whether somebody asked it to stop.
    pub stop: bool,
    /// How often it was tried.
    pub attempts: u32,
    /// The last attempt, which names its log.
    pub attempt: Option<String>,
    /// When the next attempt may begin.
    pub not_before: Option<Timestamp>,
    /// The package, and how it stands.
    pub part: Part,
}

impl Store {
    /// The proposals of a repository that were judged, and at which commit.
    pub async fn judged(&self, repository: &str) -> Result<BTreeMap<u64, Oid>, StoreError> {
        let repository = repository.to_owned();
        self.read(move |connection| {
            let sql = "SELECT number, head FROM proposals WHERE repository = ?";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map([repository], |row| Ok((number(row)?, row.get("head")?)))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Records what was said of a proposal, and what has to be built of it; the forge is told. What was said of an
    /// earlier commit is over, and its test builds are stopped.
    pub async fn judge(&self, judgement: Judgement, trials: Vec<NewTrial>, now: Timestamp) -> Result<(), StoreError> {
        self.write(move |tx| {
            let Judgement { repository, number, head, fetch, vote, summary, comment } = judgement;
            stop(tx, &repository, number, now)?;
            let word = vote.map(|vote| if vote == Vote::Failure { "failure" } else { "success" });
            tx.execute(
                "INSERT INTO proposals (repository, number, head, fetch, vote, summary, comment, judged_at)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?)
                 ON CONFLICT (repository, number) DO UPDATE SET head = excluded.head, fetch = excluded.fetch,
                 vote = excluded.vote, summary = excluded.summary, comment = excluded.comment,
                 judged_at = excluded.judged_at",
                params![repository, number.cast_signed(), head, fetch, word, summary, comment, Millis(now)],
            )?;
            for trial in &trials {
                insert(tx, (&repository, number, head), trial, now)?;
            }
            if vote.is_some() {
                statuses::mark(tx, &repository, &Subject::Gate { number, head }, now)?;
            }
            if !trials.is_empty() {
                statuses::mark(tx, &repository, &Subject::Trial { number, head }, now)?;
            }
            events::note(tx, now, "proposal", &number.to_string(), &json!({ "head": head, "vote": word }))?;
            Ok(())
        })
        .await
    }

    /// Forgets the proposals of a repository that are not open any more, and stops test builds of commits that nobody
    /// proposes now.
    pub async fn keep_proposals(
        &self,
        repository: &str,
        open: BTreeMap<u64, Oid>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let repository = repository.to_owned();
        self.write(move |tx| {
            let known: Vec<(u64, Oid)> = tx
                .prepare_cached("SELECT number, head FROM proposals WHERE repository = ?")?
                .query_map([&repository], |row| Ok((number(row)?, row.get("head")?)))?
                .collect::<Result<_, _>>()?;
            for (number, head) in known {
                if open.get(&number) != Some(&head) {
                    stop(tx, &repository, number, now)?;
                }
                if !open.contains_key(&number) {
                    let sql = "DELETE FROM proposals WHERE repository = ? AND number = ?";
                    tx.execute(sql, params![repository, number.cast_signed()])?;
                }
            }
            Ok(())
        })
        .await
    }

    /// What was said of a proposal, and whether something of ours stands below it.
    pub async fn judgement(&self, repository: &str, number: u64) -> Result<Option<(Judgement, bool)>, StoreError> {
        let repository = repository.to_owned();
        self.read(move |connection| {
            let sql = "SELECT * FROM proposals WHERE repository = ? AND number = ?";
            let found = connection.prepare_cached(sql)?.query_row(params![repository, number.cast_signed()], |row| {
                let vote: Option<String> = row.get("vote")?;
                let vote = vote.map(|word| if word == "failure" { Vote::Failure } else { Vote::Success });
                let (repository, head, fetch) = (row.get("repository")?, row.get("head")?, row.get("fetch")?);
                let (summary, comment) = (row.get("summary")?, row.get("comment")?);
                let judgement = Judgement { repository, number, head, fetch, vote, summary, comment };
                Ok((judgement, row.get("commented")?))
            });
            Ok(found.optional()?)
        })
        .await
    }

    /// Notes that something of ours stands below a proposal.
    pub async fn commented(&self, repository: &str, number: u64) -> Result<(), StoreError> {
        let repository = repository.to_owned();
        self.write(move |tx| {
            let sql = "UPDATE proposals SET commented = 1 WHERE repository = ? AND number = ?";
            tx.execute(sql, params![repository, number.cast_signed()])?;
            Ok(())
        })
        .await
    }

    /// The test builds of a commit of a proposal; of each package the newest.
    pub async fn trials_of(&self, repository: &str, number: u64, head: Oid) -> Result<Vec<Trial>, StoreError> {
        let repository = repository.to_owned();
        self.read(move |connection| of_head(connection, &repository, number, head)).await
    }

    /// Test builds that run, whoever began them.
    pub async fn running_trials(&self) -> Result<Vec<Trial>, StoreError> {
        self.read(|connection| select(connection, "state = 'running' ORDER BY id", [])).await
    }

    /// Test builds that wait or run.
    pub async fn live_trials(&self) -> Result<Vec<Trial>, StoreError> {
        self.read(|connection| select(connection, "state IN ('waiting', 'running')", [])).await
    }

    /// Takes the test build that is next, if one may begin now, and gives the id of its attempt. Those that need what
    /// could not be built end.
    pub async fn begin_trial(&self, now: Timestamp) -> Result<Option<(Trial, String)>, StoreError> {
        let waits = move |connection: &Connection| {
            let due = "state = 'waiting' AND coalesce(not_before, 0) <= ? ORDER BY id";
            select(connection, due, [Millis(now)])
        };
        if self.read(waits).await?.is_empty() {
            return Ok(None);
        }
        self.write(move |tx| {
            for trial in waits(tx)? {
                let all = of_head(tx, &trial.repository, trial.number, trial.head)?;
                let parts: Vec<Part> = all.into_iter().map(|trial| trial.part).collect();
                match next(&trial.part, &parts) {
                    Step::Wait => {}
                    Step::End(state, why) => end(tx, &trial, state, &why, now)?,
                    Step::Build => {
                        let tries = trial.attempts + 1;
                        let attempt = format!("trial-{}-{tries}-{:x}", trial.id, now.as_second());
                        tx.execute(
                            "UPDATE trials SET state = 'running', attempts = ?, attempt = ?, not_before = NULL
                             WHERE id = ?",
                            params![tries, attempt, trial.id],
                        )?;
                        changed(tx, &trial, TrialState::Running, now)?;
                        return Ok(Some((trial, attempt)));
                    }
                }
            }
            Ok(None)
        })
        .await
    }

    /// When the next test build that has to wait for another attempt may begin.
    pub async fn next_trial(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.read(move |connection| {
            let sql = "SELECT min(not_before) AS next FROM trials WHERE state = 'waiting' AND not_before > ?";
            Ok(connection.prepare_cached(sql)?.query_row([Millis(now)], |row| super::sql::time(row, "next"))?)
        })
        .await
    }

    /// Test builds that run and are to stop.
    pub async fn trials_to_stop(&self) -> Result<Vec<i64>, StoreError> {
        self.read(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT id FROM trials WHERE state = 'running' AND stop = 1")?;
            Ok(statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Ends an attempt at a test build: with what came of it; or, where that says nothing about the package, with another
    /// attempt later, three in all. Said twice, it changes nothing. Whether all test builds of its commit are over.
    pub async fn finish_trial(
        &self,
        id: i64,
        ending: AttemptEnding,
        message: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let message = message.to_owned();
        self.write(move |tx| {
            let found = select(tx, "id = ?", [id])?.pop().ok_or_else(|| StoreError::not_found("test build", &id))?;
            if found.part.state == TrialState::Running {
                conclude(tx, &found, ending, &message, now)?;
            }
            let all = of_head(tx, &found.repository, found.number, found.head)?;
            Ok(all.iter().all(|trial| trial.part.state.is_final()))
        })
        .await
    }
}

fn conclude(
    tx: &Connection,
    trial: &Trial,
    ending: AttemptEnding,
    message: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let state = match ending {
        _ if trial.stop => TrialState::Cancelled,
        AttemptEnding::Done(Outcome::Succeeded | Outcome::AlreadyBuilt | Outcome::Skipped) => TrialState::Succeeded,
        AttemptEnding::Done(Outcome::Failed | Outcome::TimedOut) => TrialState::Failed,
        AttemptEnding::Done(Outcome::Cancelled) => TrialState::Cancelled,
        AttemptEnding::Done(Outcome::Lost) => TrialState::Lost,
        AttemptEnding::Infrastructure | AttemptEnding::Outage | AttemptEnding::Interrupted => {
            match queue::retry_delay(trial.attempts) {
                Some(delay) => {
                    tx.execute(
                        "UPDATE trials SET state = 'waiting', not_before = ?, message = ? WHERE id = ?",
                        params![Millis(now + delay), message, trial.id],
                    )?;
                    return changed(tx, trial, TrialState::Waiting, now);
                }
                None => TrialState::Lost,
            }
        }
    };
    end(tx, trial, state, message, now)
}

fn end(tx: &Connection, trial: &Trial, state: TrialState, message: &str, now: Timestamp) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE trials SET state = ?, message = ?, finished_at = ? WHERE id = ?",
        params![state, message, Millis(now), trial.id],
    )?;
    changed(tx, trial, state, now)
}

/// Tells the forge, and whoever watches.
fn changed(tx: &Connection, trial: &Trial, to: TrialState, now: Timestamp) -> Result<(), StoreError> {
    let Trial { repository, number, head, part, .. } = trial;
    statuses::mark(tx, repository, &Subject::Trial { number: *number, head: *head }, now)?;
    let payload = json!({ "proposal": number, "head": head, "pkgbase": part.pkgbase, "to": to });
    events::note(tx, now, "trial", &trial.id.to_string(), &payload)?;
    Ok(())
}

/// Nobody wants the test builds of a proposal any more.
fn stop(tx: &Connection, repository: &str, number: u64, now: Timestamp) -> Result<(), StoreError> {
    let live = "repository = ? AND number = ? AND state IN ('waiting', 'running') ORDER BY id";
    for trial in select(tx, live, params![repository, number.cast_signed()])? {
        if trial.part.state == TrialState::Waiting {
            end(tx, &trial, TrialState::Cancelled, "a newer commit took its place, or the proposal is closed", now)?;
        } else if !trial.stop {
            tx.execute("UPDATE trials SET stop = 1 WHERE id = ?", [trial.id])?;
            changed(tx, &trial, TrialState::Running, now)?;
        }
    }
    Ok(())
}

fn insert(
    tx: &Connection,
    (repository, number, head): (&str, u64, Oid),
    trial: &NewTrial,
    now: Timestamp,
) -> Result<(), StoreError> {
    let after: Vec<&str> = trial.after.iter().map(PkgBase::as_str).collect();
    tx.prepare_cached(
        "INSERT INTO trials (repository, number, head, arch, pkgbase, after, state, requested_at)
         VALUES (?, ?, ?, ?, ?, ?, 'waiting', ?)",
    )?
    .execute(params![
        repository,
        number.cast_signed(),
        head,
        trial.arch,
        trial.pkgbase,
        after.join(" "),
        Millis(now)
    ])?;
    Ok(())
}

/// The newest of each package: a commit can be proposed, taken back, and proposed again.
fn of_head(connection: &Connection, repository: &str, number: u64, head: Oid) -> Result<Vec<Trial>, StoreError> {
    let newest = "id IN (SELECT max(id) FROM trials WHERE repository = ? AND number = ? AND head = ?
                  GROUP BY pkgbase, arch) ORDER BY id";
    select(connection, newest, params![repository, number.cast_signed(), head])
}

fn select(connection: &Connection, condition: &str, values: impl rusqlite::Params) -> Result<Vec<Trial>, StoreError> {
    let mut statement = connection.prepare_cached(&format!("SELECT * FROM trials WHERE {condition}"))?;
    Ok(statement.query_map(values, read)?.collect::<Result<_, _>>()?)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Trial> {
    let after: String = row.get("after")?;
    let after = after.split(' ').filter(|name| !name.is_empty()).map(PkgBase::new).collect::<Result<_, _>>();
    let after = after
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error)))?;
    let (pkgbase, state, message) = (row.get("pkgbase")?, row.get("state")?, row.get("message")?);
    Ok(Trial {
        id: row.get("id")?,
        repository: row.get("repository")?,
        number: number(row)?,
        head: row.get("head")?,
        arch: row.get("arch")?,
        stop: row.get("stop")?,
        attempts: row.get("attempts")?,
        attempt: row.get("attempt")?,
        not_before: super::sql::time(row, "not_before")?,
        part: Part { pkgbase, after, state, message },
    })
}

fn number(row: &Row<'_>) -> rusqlite::Result<u64> {
    row.get::<_, i64>("number").map(i64::cast_unsigned)
}

impl ToSql for TrialState {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.as_str().to_sql()
    }
}

impl FromSql for TrialState {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Self::from_word(value.as_str()?).ok_or(FromSqlError::InvalidType)
    }
}

#[cfg(test)]
mod tests;
