//! Carries out one build: files from the controller, the build on this machine, log and packages to the controller.

use std::sync::Arc;

use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::order::order;
use crate::builder::remote::{Client, RemoteError};
use crate::domain::answer::{Failure, Kind, Returned, Success, Thrown};
use crate::domain::build::Outcome;
use crate::domain::job::Job;
use crate::executor::{AttemptReport, Ending, Executor, ExecutorError, Handle};
use crate::logstore::{LogError, LogStore};

/// What a build is carried out with.
pub struct Carrier {
    pub executor: Arc<dyn Executor>,
    pub logs: LogStore,
    /// What the builder is called.
    pub name: String,
    /// Another builder had begun it.
    pub is_again: bool,
    pub client: Client,
    /// Has it stopped.
    pub stop: CancellationToken,
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
    #[error("the build document is not usable: {0}")]
    Document(String),
}

/// Carries it out: what is to be returned, or thrown. Nothing of it stays on this machine.
pub async fn out(carrier: &Carrier, job: Job) -> Result<Value, String> {
    let (began, attempt) = (Instant::now(), job.attempt.clone());
    let handle = Handle { executor: carrier.executor.name().to_owned(), attempt: attempt.clone() };
    let ended = carrier.build(job, &handle, began).await;
    if let Err(error) = carrier.executor.discard(&handle).await {
        tracing::warn!(attempt, error = &error as &dyn std::error::Error, "what a build left is not cleared away");
    }
    if let Err(error) = carrier.logs.remove(&attempt) {
        tracing::warn!(attempt, error = &error as &dyn std::error::Error, "the log of a build is not cleared away");
    }
    let said = ended.unwrap_or_else(|trouble| {
        let status = if matches!(trouble, Trouble::Stopped) { Failure::Cancelled } else { Failure::Failed };
        Err(Thrown { status, kind: Kind::Infrastructure, exit_code: None, message: with_causes(&trouble) })
    });
    match said {
        Ok(returned) => Ok(serde_json::to_value(returned).expect("texts and numbers are JSON")),
        Err(thrown) => Err(serde_json::to_string(&thrown).expect("texts and numbers are JSON")),
    }
}

impl Carrier {
    async fn build(&self, job: Job, handle: &Handle, began: Instant) -> Result<Result<Returned, Thrown>, Trouble> {
        let ready = async {
            let files = self.client.files().await?;
            Ok::<_, RemoteError>((files, self.client.log_length().await?))
        };
        let (files, begins) = self.unless_stopped(ready).await??;
        let order = order(&job, files).map_err(Trouble::Document)?;
        let goes_on = if self.is_again { "goes on with a build that another had begun" } else { "builds" };
        self.logs.writer(&job.attempt)?.note(&format!("builder {} {goes_on}", self.name))?;
        self.executor.submit(order).await?;
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
        let (mut told, mut brought) = (false, false);
        let report = loop {
            tokio::select! {
                report = &mut finished => break report?,
                () = &mut unwanted, if !told => {
                    (told, stopped) = (true, true);
                    self.executor.cancel(handle).await?;
                }
                log = &mut log, if !brought => {
                    brought = true;
                    if log.is_err() {
                        self.executor.cancel(handle).await?;
                    }
                }
            }
        };
        if stopped || self.stop.is_cancelled() {
            return Err(Trouble::Stopped);
        }
        if !brought {
            self.unless_stopped(log).await??;
        }
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
        Ending::Done(Outcome::Lost) | Ending::Infrastructure => (Failure::Failed, Kind::Infrastructure),
    };
    Err(Thrown { status, kind, exit_code: report.exit_code, message: report.message.clone() })
}

/// An error and what caused it, in one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
