//! One job as the worker hands it out: begins its build or finds it under way, keeps hold of it, and says how it ended.

use std::sync::Arc;
use std::time::Duration;

use bullmq::{Error, Job};
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio_util::sync::CancellationToken;

use super::carry::{self, Carrier};
use super::{HOLD, Inner, LOCK, Underway};
use crate::builder::remote::Client;
use crate::domain::answer::{self, Failure, Kind, Thrown};
use crate::domain::job::Job as Document;
use crate::executor::bullmq::hold::{Held, Hold};

/// How long what was said of a build is kept, for a job that comes again because Redis was away at that moment.
const KEPT: Duration = Duration::from_mins(10);
/// How long it is asked whether a job that is gone is still wanted.
const ASKING: Duration = Duration::from_secs(2);

/// Carries out a job. Its value and failures are those of the contract.
pub async fn process(inner: Arc<Inner>, queue: String, job: Job) -> Result<Value, Error> {
    let token = job.token().expect("a worker that hands out a job has its lock").to_owned();
    let hold = Hold::of(&inner.link, &queue, &job, &token, LOCK);
    let document = match serde_json::from_value::<Document>(job.data().clone()) {
        Ok(document) => document,
        Err(error) => return Err(refused(format!("this is no build document: {error}"))),
    };
    if let Some(Err(reason)) = document.places.as_ref().map(|places| inner.config.rules.check_places(places)) {
        return Err(refused(format!("the build document is not usable: {reason}")));
    }
    let Some(client) = Client::of(&document) else {
        return Err(refused("the build document does not say where to bring what".to_owned()));
    };
    let client = client.holding(&token);
    let known = inner.underway().get(job.id()).cloned();
    let underway = match known {
        Some(underway) => underway,
        None => match Arc::clone(&inner.slots).try_acquire_owned() {
            Ok(permit) if inner.may_take() => begin(&inner, &job, document, client.clone(), permit),
            _ => return give_back(&inner, &job).await,
        },
    };
    inner.mind_the_room();
    let said = See { inner: &inner, hold, client, job: &job, token: &token }.through(&underway).await;
    inner.mind_the_room();
    said
}

/// There is no room, or none is taken now: another may have it.
async fn give_back(inner: &Inner, job: &Job) -> Result<Value, Error> {
    inner.mind_the_room();
    // If this is not heard, it is taken from us when the lock ends.
    if let Err(error) = job.move_to_wait(None).await {
        tracing::debug!(job = job.id(), error = error.to_string(), "a job is not given back");
    }
    Err(Error::Delayed)
}

fn begin(
    inner: &Arc<Inner>,
    job: &Job,
    document: Document,
    client: Client,
    permit: OwnedSemaphorePermit,
) -> Arc<Underway> {
    let (sender, said) = watch::channel(None);
    let stop = CancellationToken::new();
    let underway = Arc::new(Underway { attempt: document.attempt.clone(), said, stop: stop.clone() });
    inner.underway().insert(job.id().to_owned(), Arc::clone(&underway));
    let carrier = Carrier {
        executor: Arc::clone(&inner.executor),
        logs: inner.logs.clone(),
        rules: inner.config.rules.clone(),
        name: inner.config.name.clone(),
        is_again: job.attempts_started() > 1,
        client,
        stop,
        give_back: inner.give_back.clone(),
        unsent: Arc::clone(&inner.unsent),
    };
    let (inner, id, run) = (Arc::clone(inner), job.id().to_owned(), Arc::clone(&underway));
    tokio::spawn(async move {
        tracing::info!(package = document.pkgbase, attempt = document.attempt, "a build began");
        let said = carry::out(&carrier, document).await;
        tell_end(&id, &said);
        inner.look_after(&said).await;
        sender.send_replace(Some(said));
        drop(permit);
        inner.mind_the_room();
        tokio::time::sleep(KEPT).await;
        inner.forget(&id, &run);
    });
    underway
}

/// Has whoever reads our log see how a build ended.
fn tell_end(job: &str, said: &Result<Value, String>) {
    match said {
        Ok(said) => tracing::info!(job, status = said["status"].as_str(), "a build ended"),
        Err(text) => match answer::thrown(text) {
            Thrown { kind: Kind::Infrastructure, message, .. } => {
                tracing::warn!(job, reason = message, "a build could not be carried out here");
            }
            Thrown { message, .. } => tracing::info!(job, reason = message, "a build ended"),
        },
    }
}

/// Keeps hold of a job while it is built.
struct See<'a> {
    inner: &'a Inner,
    hold: Hold,
    client: Client,
    job: &'a Job,
    token: &'a str,
}

impl See<'_> {
    /// Waits for the end of the build, for as long as the job is ours.
    async fn through(&self, underway: &Arc<Underway>) -> Result<Value, Error> {
        loop {
            tokio::select! {
                said = ended(underway) => return self.tell(said).await,
                () = self.inner.give_back.cancelled() => {
                    underway.stop.cancel();
                    // Whatever it says: another builder is to say it.
                    let _ = ended(underway).await;
                    self.inner.forget(self.job.id(), underway);
                    return give_back(self.inner, self.job).await;
                }
                () = tokio::time::sleep(HOLD) => {}
            }
            if !self.keep(underway).await {
                return Err(Error::Delayed);
            }
        }
    }

    /// What is said counts only for whoever has the job, so that is made sure of first. While Redis is away, it waits.
    async fn tell(&self, said: Result<Value, String>) -> Result<Value, Error> {
        loop {
            match self.hold.keep(false).await {
                Ok(Held::Ours) => return said.map_err(Error::Unrecoverable),
                Ok(Held::Gone) if self.is_wanted().await => {
                    let _ = self.hold.keep(true).await;
                }
                Ok(Held::Gone | Held::Over | Held::Theirs(_)) => return Err(Error::Delayed),
                Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
            }
        }
    }

    /// Keeps hold; `false` if the job is not ours any more.
    async fn keep(&self, underway: &Arc<Underway>) -> bool {
        match self.hold.keep(false).await {
            // While Redis is away, nobody else gets it either.
            Ok(Held::Ours) | Err(_) => true,
            Ok(Held::Gone) => {
                if self.is_wanted().await {
                    tracing::warn!(job = self.job.id(), "Redis has forgotten a job that is built here: it is put back");
                    let _ = self.hold.keep(true).await;
                }
                true
            }
            Ok(Held::Theirs(token)) if self.is_ours(&token) => false,
            Ok(Held::Theirs(_) | Held::Over) => {
                tracing::warn!(
                    job = self.job.id(),
                    "another builder has a job that was built here; the build is stopped"
                );
                underway.stop.cancel();
                self.inner.forget(self.job.id(), underway);
                false
            }
        }
    }

    /// Whether a token is of a worker in this process, which then sees the build through.
    fn is_ours(&self, token: &str) -> bool {
        let worker = |token: &str| token.split(':').next().map(str::to_owned);
        let ids = self.inner.workers.get().into_iter().flatten().map(|worker| worker.id().to_owned());
        worker(token) == worker(self.token) || ids.into_iter().any(|id| worker(token).as_ref() == Some(&id))
    }

    /// Whether the controller has not said that nobody wants the build.
    async fn is_wanted(&self) -> bool {
        tokio::time::timeout(ASKING, self.client.until_unwanted()).await.is_err()
    }
}

/// What is said of a build at its end.
async fn ended(underway: &Underway) -> Result<Value, String> {
    let mut said = underway.said.clone();
    let said = said.wait_for(Option::is_some).await.ok().and_then(|said| said.clone());
    said.unwrap_or_else(|| Err(broke_off("the build stopped without a word".to_owned())))
}

fn broke_off(message: String) -> String {
    let (status, kind) = (Failure::Failed, Kind::Infrastructure);
    serde_json::to_string(&Thrown { status, kind, exit_code: None, message }).expect("texts are JSON")
}

fn refused(message: String) -> Error {
    Error::Unrecoverable(broke_off(message))
}
