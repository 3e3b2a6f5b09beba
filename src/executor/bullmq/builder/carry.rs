//! Carries out one build: files from the controller, the build on this machine, log and packages to the controller.

use std::sync::Arc;

use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::order::{Rules, order};
use super::unsent::Unsent;
use crate::builder::remote::{Client, RemoteError};
use crate::domain::answer::{Failure, Kind, Returned, Success, Thrown};
use crate::domain::build::Outcome;
use crate::domain::job::Job;
use crate::executor::{AttemptReport, Ending, Executor, ExecutorError, Handle};
use crate::logstore::{LogError, LogStore};
use crate::sys::fs::FsError;
use crate::telemetry::in_full;

/// What a build is carried out with.
pub struct Carrier {
    pub executor: Arc<dyn Executor>,
    pub logs: LogStore,
    pub rules: Rules,
    /// What the builder is called.
    pub name: String,
    /// Another builder had begun it.
    pub is_again: bool,
    pub client: Client,
    /// Has it stopped.
    pub stop: CancellationToken,
    /// It is stopped because the builder ends, and for nothing else.
    pub give_back: CancellationToken,
    /// What has ended here and is to be brought.
    pub unsent: Arc<Unsent>,
}

/// Why a build did not come to an end of its own.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("the build was stopped")]
    Stopped,
    #[error(transparent)]
    Remote(#[from] RemoteError),
    #[error(transparent)]
    Executor(#[from] ExecutorError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Fs(#[from] FsError),
    #[error("the build document is not usable: {0}")]
    Document(String),
}

impl Trouble {
    /// What it means for the build, and whose fault it is.
    const fn blame(&self) -> (Failure, Kind) {
        match self {
            Self::Stopped => (Failure::Cancelled, Kind::Infrastructure),
            // It will be as much next time.
            Self::Remote(RemoteError::LogFull | RemoteError::TooLarge { .. }) => (Failure::Failed, Kind::Package),
            Self::Remote(_) | Self::Executor(_) | Self::Log(_) | Self::Fs(_) | Self::Document(_) => {
                (Failure::Failed, Kind::Infrastructure)
            }
        }
    }
}

/// Carries it out: what is to be returned, or thrown. Nothing of it stays on this machine, unless it has ended and the
/// builder ends before the controller has everything of it.
pub async fn out(carrier: &Carrier, job: Job) -> Result<Value, String> {
    let (began, attempt) = (Instant::now(), job.attempt.clone());
    let handle = Handle { executor: carrier.executor.name().to_owned(), attempt: attempt.clone() };
    let ended = carrier.build(job, &handle, began).await;
    if !carrier.is_to_be_kept(&handle, &ended).await {
        clear(&*carrier.executor, &carrier.logs, &carrier.unsent, &handle).await;
    }
    let said = ended.unwrap_or_else(|trouble| {
        let (status, kind) = trouble.blame();
        Err(Thrown { status, kind, exit_code: None, message: in_full(&trouble) })
    });
    match said {
        Ok(returned) => Ok(serde_json::to_value(returned).expect("texts and numbers are JSON")),
        Err(thrown) => Err(serde_json::to_string(&thrown).expect("texts and numbers are JSON")),
    }
}

/// Removes everything of a build from this machine.
pub async fn clear(executor: &dyn Executor, logs: &LogStore, unsent: &Unsent, handle: &Handle) {
    let attempt = &handle.attempt;
    if let Err(error) = executor.discard(handle).await {
        tracing::warn!(attempt, error = &error as &dyn std::error::Error, "what a build left is not cleared away");
    }
    // The log says first whether this can be the name of a file.
    let forgotten = logs.remove(attempt).and_then(|()| Ok(unsent.forget(attempt)?));
    if let Err(error) = forgotten {
        tracing::warn!(attempt, error = &error as &dyn std::error::Error, "the log of a build is not cleared away");
    }
}

impl Carrier {
    /// Whether it has come to its end, and only the end of the builder keeps that from the controller.
    async fn is_to_be_kept<T>(&self, handle: &Handle, ended: &Result<T, Trouble>) -> bool {
        let is_given_back = self.give_back.is_cancelled() && matches!(ended, Err(Trouble::Stopped));
        is_given_back
            && self.unsent.has(&handle.attempt)
            && self.executor.finished(handle).await.is_ok_and(|report| report.ending.stands())
    }

    async fn build(&self, job: Job, handle: &Handle, began: Instant) -> Result<Result<Returned, Thrown>, Trouble> {
        // Before anything is asked: until then another builder may count as the one that has it.
        tokio::select! {
            () = self.stop.cancelled() => return Err(Trouble::Stopped),
            claimed = self.client.claim() => claimed?,
        }
        let ready = async {
            let files = self.client.files().await?;
            Ok::<_, RemoteError>((files, self.client.log_length().await?))
        };
        let (files, begins) = self.unless_stopped(ready).await??;
        let order = order(&job, files, &self.rules).map_err(Trouble::Document)?;
        let begins = if let Some(began) = self.unsent.take(&job.attempt) {
            tracing::info!(attempt = job.attempt, "brings what was built before this builder was started");
            // That one may have ended between the end of the build and that of its log.
            self.logs.finish(&job.attempt)?;
            began
        } else {
            let goes_on = if self.is_again { "goes on with a build that another had begun" } else { "builds" };
            self.logs.writer(&job.attempt)?.note(&format!("builder {} {goes_on}", self.name))?;
            self.unsent.begin(&job.attempt, begins)?;
            self.executor.submit(order).await?;
            begins
        };
        let report = self.watch(handle, begins).await?;
        let told = self.executor.caches_of(handle).await;
        // It is for people to see; the build does not depend on it.
        if let Err(error) = self.unless_stopped(self.client.tell_caches(&told)).await? {
            tracing::debug!(error = &error as &dyn std::error::Error, "nobody wants to know which caches a build used");
        }
        let bring = async {
            let mut artefacts = Vec::new();
            for artefact in &report.artefacts {
                artefacts.push(self.client.bring(artefact).await?);
            }
            Ok::<_, RemoteError>(artefacts)
        };
        let artefacts = self.unless_stopped(bring).await??;
        let duration_s = began.elapsed().as_secs_f64();
        Ok(said(&report).map(|status| Returned { status, artefacts, duration_s }))
    }

    /// Waits for the end of the build and of its log, and stops it when nobody wants it.
    async fn watch(&self, handle: &Handle, begins: u64) -> Result<AttemptReport, Trouble> {
        let mut stopped = false;
        let unwanted = async {
            tokio::select! {
                _ = self.client.until_unwanted() => {}
                () = self.stop.cancelled() => {}
            }
        };
        let log = self.client.bring_log(&self.logs, &handle.attempt, begins);
        let finished = self.executor.finished(handle);
        tokio::pin!(unwanted, log, finished);
        let (mut told, mut brought) = (false, None);
        let report = loop {
            tokio::select! {
                report = &mut finished => break report?,
                () = &mut unwanted, if !told => {
                    (told, stopped) = (true, true);
                    self.executor.cancel(handle).await?;
                }
                log = &mut log, if brought.is_none() => {
                    if log.is_err() {
                        self.executor.cancel(handle).await?;
                    }
                    brought = Some(log);
                }
            }
        };
        if stopped || self.stop.is_cancelled() {
            return Err(Trouble::Stopped);
        }
        // A build that was stopped for its log did not end as somebody wished.
        match brought {
            Some(log) => log?,
            None => self.unless_stopped(log).await??,
        };
        Ok(report)
    }

    /// Does something for as long as the build is wanted.
    async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Result<T, Trouble> {
        tokio::select! {
            () = self.stop.cancelled() => Err(Trouble::Stopped),
            _ = self.client.until_unwanted() => Err(Trouble::Stopped),
            done = work => Ok(done),
        }
    }
}

/// What a report means in the words of the contract.
fn said(report: &AttemptReport) -> Result<Success, Thrown> {
    let (status, kind) = match report.ending {
        Ending::Done(Outcome::Succeeded) => return Ok(Success::Succeeded),
        Ending::Done(Outcome::AlreadyBuilt) => return Ok(Success::AlreadyBuilt),
        Ending::Done(Outcome::Skipped) => return Ok(Success::Skipped),
        Ending::Done(Outcome::Failed) => (Failure::Failed, Kind::Package),
        Ending::Done(Outcome::TimedOut) => (Failure::TimedOut, Kind::Package),
        Ending::Done(Outcome::Cancelled) => (Failure::Cancelled, Kind::Package),
        Ending::Done(Outcome::Lost) | Ending::Infrastructure | Ending::Interrupted => {
            (Failure::Failed, Kind::Infrastructure)
        }
    };
    Err(Thrown { status, kind, exit_code: report.exit_code, message: report.message.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_too_much_each_time_is_the_packages_fault_and_nothing_else_is() {
        let text = String::new;
        let large = RemoteError::TooLarge { detail: text() };
        for error in [large, RemoteError::LogFull] {
            assert_eq!(Trouble::Remote(error).blame(), (Failure::Failed, Kind::Package));
        }
        for trouble in [
            Trouble::Remote(RemoteError::Over),
            Trouble::Remote(RemoteError::Refused { what: text(), detail: text() }),
            Trouble::Document(text()),
        ] {
            assert_eq!(trouble.blame(), (Failure::Failed, Kind::Infrastructure), "{trouble}");
        }
        assert_eq!(Trouble::Stopped.blame(), (Failure::Cancelled, Kind::Infrastructure));
    }
}
