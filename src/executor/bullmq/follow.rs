//! Sees one attempt through: into the queue, as often as Redis forgets it, and out with what became of it.

use std::sync::Arc;
use std::time::Duration;

use bullmq::{JobState, QueueKeys};
use tokio::time::Instant;

use super::bounded::{self, Field, Found};
use super::course::{Course, Seen, Step};
use super::server::RedisError;
use super::task::{Record, Task};
use super::{Inner, JOB};
use crate::domain::answer::{self, Thrown};
use crate::domain::build::Outcome;
use crate::domain::upload::LONGEST_ANSWER;
use crate::executor::tracked::{Progress, Reins};
use crate::executor::{AttemptReport, Ending, ExecutorError, kept};
use crate::logstore::{LogError, LogWriter};

/// How often it is looked even if nothing was heard.
const TICK: Duration = Duration::from_secs(3);
/// How long somebody may still be writing into the log.
const LOG_BUSY: Duration = Duration::from_millis(50);

/// An attempt that is followed to its end.
pub struct Followed {
    pub inner: Arc<Inner>,
    pub attempt: String,
    pub task: Task,
    pub record: Record,
    pub reins: Reins,
    /// It has never been in a queue.
    pub fresh: bool,
}

impl Followed {
    /// Follows it.
    pub async fn run(self) {
        let report = self.see_through().await;
        self.inner.bells.forget(&self.record.place.id);
        if let Err(error) = self.close(&report).await {
            tracing::warn!(
                attempt = self.attempt,
                error = &error as &dyn std::error::Error,
                "cannot record how a build ended"
            );
        }
        self.reins.progress.send_replace(Progress::Ended(Arc::new(report)));
    }

    async fn see_through(&self) -> AttemptReport {
        let (bell, began) = (self.inner.bells.of(&self.record.place.id), Instant::now());
        let may_take = Duration::from_secs(self.record.job["timeout_s"].as_u64().unwrap_or(u64::MAX));
        let mut course = Course::of(!self.fresh, may_take);
        let (mut wished, mut away) = (false, false);
        loop {
            let cancelled = self.reins.cancel.is_cancelled();
            if (cancelled || course.is_overdue()) && !wished {
                wished = self.wish_to_stop();
            }
            let seen = self.look().await.unwrap_or_else(|error| {
                if !away {
                    let error = error.to_string();
                    tracing::warn!(attempt = self.attempt, error, "a build is not followed until Redis answers");
                }
                Seen::Unknown
            });
            away = seen == Seen::Unknown;
            if let Some(report) = self.act(course.step(seen, cancelled, began.elapsed())).await {
                return if course.is_overdue() { overdue(report) } else { report };
            }
            let told =
                async { if cancelled { std::future::pending().await } else { self.reins.cancel.cancelled().await } };
            tokio::select! {
                () = bell.notified() => {}
                () = told => {}
                () = tokio::time::sleep(TICK) => {}
            }
        }
    }

    /// What Redis says of the job.
    async fn look(&self) -> Result<Seen, RedisError> {
        let place = &self.record.place;
        let failed = |error| self.inner.link.config().unusable(&error);
        let link = &self.inner.link;
        let queue = link.queue(&place.queue).await?;
        // Before what it says: what ends together with what is said of it.
        let state = queue.get_job_state(&place.id).await.map_err(failed);
        let [starts, returned, thrown] =
            match bounded::job(link, &place.queue, &place.id, ["ats", "returnvalue", "failedReason"], LONGEST_ANSWER)
                .await?
            {
                Found::Job(fields) => fields,
                Found::Nothing => return Ok(Seen::Missing { held: self.inner.is_held(&self.attempt) }),
                Found::Strange => {
                    self.make_room().await?;
                    return Ok(Seen::Missing { held: self.inner.is_held(&self.attempt) });
                }
            };
        Ok(match state? {
            JobState::Active => Seen::Active(starts.text().and_then(|starts| starts.parse().ok()).unwrap_or_default()),
            JobState::Completed => match returned {
                Field::Text(value) => Seen::Completed(value),
                Field::Absent => Seen::Completed(String::new()),
                Field::TooLong(bytes) => Seen::Failed(too_long("returned", bytes)),
            },
            JobState::Failed => Seen::Failed(match thrown {
                Field::Text(reason) => reason,
                Field::Absent => String::new(),
                Field::TooLong(bytes) => too_long("threw", bytes),
            }),
            JobState::Waiting | JobState::Delayed | JobState::Prioritized | JobState::WaitingChildren => Seen::Queued,
            JobState::Unknown => Seen::Missing { held: self.inner.is_held(&self.attempt) },
        })
    }

    /// Takes away what somebody else put where the job belongs, so that it can be put back.
    async fn make_room(&self) -> Result<(), RedisError> {
        let (link, place) = (&self.inner.link, &self.record.place);
        tracing::warn!(attempt = self.attempt, job = place.id, "something else is in the place of a job, and goes");
        let key = QueueKeys::new(&place.queue, Some(link.prefix())).job_key(&place.id);
        link.ask::<u64>(redis::cmd("DEL").arg(key)).await.map(drop)
    }

    async fn act(&self, step: Step) -> Option<AttemptReport> {
        match step {
            Step::Wait => None,
            Step::Add => {
                if let Err(error) = self.add().await {
                    tracing::warn!(
                        attempt = self.attempt,
                        error = error.to_string(),
                        "a build is not in the queue yet"
                    );
                }
                None
            }
            Step::Begin => {
                self.reins.tell_beginning();
                None
            }
            Step::Withdraw => self.withdraw().await.then(cancelled),
            Step::Cancelled => Some(cancelled()),
            Step::TimedOut => Some(overdue(cancelled())),
            Step::Returned(json) => Some(self.returned(&json)),
            Step::Thrown(text) => Some(thrown(answer::thrown(&text), self.is_wished_to_stop())),
        }
    }

    async fn add(&self) -> Result<(), RedisError> {
        let place = &self.record.place;
        let queue = self.inner.link.queue(&place.queue).await?;
        let added = queue.add(JOB, &self.record.job).job_id(place.id.clone()).await;
        added.map(drop).map_err(|error| self.inner.link.config().unusable(&error))
    }

    async fn withdraw(&self) -> bool {
        let Ok(queue) = self.inner.link.queue(&self.record.place.queue).await else { return false };
        queue.remove(&self.record.place.id).await.unwrap_or(false)
    }

    fn wish_to_stop(&self) -> bool {
        let told = self.inner.exchange.cancel(&self.attempt);
        if let Err(error) = &told {
            tracing::warn!(
                attempt = self.attempt,
                error = error as &dyn std::error::Error,
                "a builder is not told to stop"
            );
        }
        told.is_ok()
    }

    /// Whether somebody wanted it to stop, in this process or before.
    fn is_wished_to_stop(&self) -> bool {
        self.reins.cancel.is_cancelled() || self.inner.exchange.is_cancelled(&self.attempt)
    }

    /// What the builder returned, if it is what has arrived here.
    fn returned(&self, json: &str) -> AttemptReport {
        let read = match answer::returned(json) {
            Ok(read) => read,
            Err(message) => return AttemptReport::lost(message),
        };
        match self.inner.exchange.artefacts(&self.attempt, &read.artefacts) {
            Ok(artefacts) => {
                AttemptReport { artefacts, ..AttemptReport::ended(Ending::Done(Outcome::from(read.status)), "") }
            }
            Err(error) => AttemptReport::lost(error.to_string()),
        }
    }

    async fn close(&self, report: &AttemptReport) -> Result<(), ExecutorError> {
        let log = self.log().await?;
        // The builder's own log ends so, too.
        let line = format!("==> {}\n", kept::verdict(report));
        let tail = log.length().saturating_sub(line.len() as u64);
        if self.inner.logs.read(&self.attempt, tail, line.len())? == line.as_bytes() {
            return kept::close_silently(report, &self.task.dir, log);
        }
        kept::close(report, &self.task.dir, log)
    }

    /// The log, as soon as nobody else writes into it.
    async fn log(&self) -> Result<LogWriter, LogError> {
        loop {
            match self.inner.logs.writer(&self.attempt) {
                Err(LogError::Busy(_)) => tokio::time::sleep(LOG_BUSY).await,
                other => return other,
            }
        }
    }
}

/// What is said in place of something that is not read.
fn too_long(what: &str, bytes: u64) -> String {
    format!("what it {what} has {bytes} bytes, and no more than {LONGEST_ANSWER} are read")
}

fn cancelled() -> AttemptReport {
    AttemptReport::ended(Ending::Done(Outcome::Cancelled), "the build was cancelled")
}

/// What was stopped because it took too long was not cancelled.
fn overdue(report: AttemptReport) -> AttemptReport {
    if report.ending != Ending::Done(Outcome::Cancelled) {
        return report;
    }
    AttemptReport::ended(Ending::Done(Outcome::TimedOut), "its builder did not end it in time")
}

/// What a builder threw; that it stopped counts as an end only if that was `wished`.
fn thrown(thrown: Thrown, wished: bool) -> AttemptReport {
    let ending = match thrown.outcome() {
        Some(Outcome::Cancelled) if !wished => Ending::Infrastructure,
        Some(outcome) => Ending::Done(outcome),
        None => Ending::Infrastructure,
    };
    AttemptReport::ended(ending, thrown.message).with_status(thrown.exit_code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_builder_cancels_nothing_that_nobody_wished_to_stop() {
        let text = r#"{"status":"cancelled","kind":"infrastructure","message":"the build was stopped"}"#;
        assert_eq!(thrown(answer::thrown(text), true).ending, Ending::Done(Outcome::Cancelled));
        assert_eq!(thrown(answer::thrown(text), false).ending, Ending::Infrastructure, "another try is due");
    }
}
