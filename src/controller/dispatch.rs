//! Hands ready builds to the executor and follows them to their end, which is [`super::conclude`]'s. What
//! may go is decided by the record ([`crate::domain::queue`]); this only carries it out.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::conclude::end;
use super::removing::Refused;
use super::site::Site;
use super::slots::Underway;
use crate::builder::pacman::PackageRepository;
use crate::caches::Caches;
use crate::domain::build::Outcome;
use crate::domain::outage::Outage;
use crate::domain::queue::BuildId;
use crate::domain::schedule::{self, Running, Turns};
use crate::executor::{Executor, ExecutorError, Handle};
use crate::logstore::LogStore;
use crate::publish::outlets::Outlets;
use crate::store::Store;
use crate::store::attempts::{Attempt, AttemptEnding};
use crate::store::builds::Build;
use crate::sys::clock::Clock;

/// How often it is looked whether a disk that was full has room again, or a builder has come.
pub(super) const ROOM_PAUSE: Duration = Duration::from_secs(2);

/// What the dispatcher works with.
pub struct Parts {
    /// The record.
    pub store: Store,
    /// The repositories, by name.
    pub sites: BTreeMap<String, Arc<Site>>,
    /// What runs builds.
    pub executor: Arc<dyn Executor>,
    /// How much at once, and for how long, to begin with.
    pub limits: Limits,
    /// What publishes, by repository.
    pub outlets: BTreeMap<String, Outlets>,
    /// What is told, by repository, when a published library is gone that others need.
    pub wakes: BTreeMap<String, Arc<Notify>>,
    /// Where test builds of proposals keep what they make for each other.
    pub trials_dir: PathBuf,
    /// The logs.
    pub logs: LogStore,
    /// What builds keep for the next one.
    pub caches: Caches,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// What the operator may change while builds are handed out.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How many builds at once.
    pub slots: usize,
    /// How long a build may take, before the package's own multiplier.
    pub timeout: Duration,
    /// Repositories that builds may install from, beside the published one.
    pub package_repositories: Vec<PackageRepository>,
    /// How much of what may run at once.
    pub schedule: schedule::Limits,
}

/// Hands out builds until it is told to stop.
pub struct Dispatcher {
    pub(super) parts: Parts,
    pub(super) limits: watch::Sender<Limits>,
    pub(super) underway: Mutex<HashMap<BuildId, Underway>>,
    /// Who had how many turns; `None` before it was read from the record.
    pub(super) turns: tokio::sync::Mutex<Option<Turns>>,
    /// Test builds of proposals, by their ids.
    pub(super) trials: Mutex<HashMap<i64, Handle>>,
    /// Whether builds are lost one after the other.
    pub(super) outage: Mutex<Outage>,
    /// What test builds made is removed by one at a time.
    pub(super) clearing: tokio::sync::Mutex<()>,
    /// Told when a build gives its slot back, which is after its end is on record.
    pub(super) freed: Notify,
    /// By repository: why packages that left it are still published. Held by whoever removes some.
    pub(super) removing: Arc<tokio::sync::Mutex<BTreeMap<String, Refused>>>,
    pub(super) followers: TaskTracker,
    /// Whether nothing can be built now.
    held_up: AtomicBool,
    /// Whether builds are being stopped because the program ends: then nobody has cancelled them.
    pub(super) ending: AtomicBool,
}

impl Dispatcher {
    /// A dispatcher that has not begun.
    #[must_use]
    pub fn new(parts: Parts) -> Arc<Self> {
        Arc::new(Self {
            limits: watch::Sender::new(parts.limits.clone()),
            parts,
            underway: Mutex::default(),
            turns: tokio::sync::Mutex::default(),
            trials: Mutex::default(),
            outage: Mutex::default(),
            clearing: tokio::sync::Mutex::default(),
            freed: Notify::new(),
            removing: Arc::default(),
            followers: TaskTracker::new(),
            held_up: AtomicBool::new(false),
            ending: AtomicBool::new(false),
        })
    }

    /// Goes by these limits from now on; builds under way end by those they began with.
    pub fn limit(&self, limits: Limits) {
        self.limits.send_replace(limits);
    }

    /// Whether no build begins because none could be carried out, for example on a full disk.
    #[must_use]
    pub fn is_held_up(&self) -> bool {
        self.held_up.load(Ordering::Relaxed)
    }

    /// Takes up what an earlier process left, then hands out builds until `stop`. What is underway then
    /// is left to [`Dispatcher::drain`].
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        while let Err(error) = self.take_up().await {
            tracing::error!(error = format!("{error:#}"), "builds of an earlier process cannot be taken up yet");
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(ROOM_PAUSE) => {}
            }
        }
        let mut changes = self.parts.store.subscribe();
        let mut limits = self.limits.subscribe();
        while !stop.is_cancelled() {
            changes.mark_unchanged();
            limits.mark_unchanged();
            if let Err(error) = self.step().await {
                tracing::error!(error = format!("{error:#}"), "builds could not be handed out");
            }
            let retry = self.until_next_retry().await;
            tokio::select! {
                () = stop.cancelled() => break,
                changed = changes.changed() => if changed.is_err() { break },
                _ = limits.changed() => {}
                () = self.freed.notified() => {}
                () = tokio::time::sleep(retry) => {}
            }
        }
    }

    /// Waits for builds underway, at most so long; what is left then is stopped and built again by the
    /// next process. Builds that go on by themselves are left to it as they are.
    pub async fn drain(&self, patience: Duration) {
        self.followers.close();
        if self.parts.executor.outlives_us() {
            return;
        }
        if tokio::time::timeout(patience, self.followers.wait()).await.is_ok() {
            return;
        }
        self.ending.store(true, Ordering::Relaxed);
        let mut handles: Vec<Handle> =
            self.underway.lock().expect("nobody panics with it").values().map(|build| build.handle.clone()).collect();
        handles.extend(self.trials.lock().expect("nobody panics with it").values().cloned());
        if !patience.is_zero() {
            tracing::warn!(
                builds = handles.len(),
                "stopping builds that did not end in time; they are taken up again after the next start"
            );
        }
        for handle in handles {
            self.stop(&handle).await;
        }
        self.followers.wait().await;
    }

    /// Stops a build. One that cannot be stopped now holds up no other.
    pub(super) async fn stop(&self, handle: &Handle) {
        if let Err(error) = self.parts.executor.cancel(handle).await {
            tracing::error!(attempt = handle.attempt, error = error.to_string(), "a build could not be stopped");
        }
    }

    /// What runs the builds.
    #[must_use]
    pub fn executor(&self) -> Arc<dyn Executor> {
        self.parts.executor.clone()
    }

    /// How long until a build that waits for another attempt may begin. Never very long, so that a clock
    /// that is set does not matter.
    async fn until_next_retry(&self) -> Duration {
        let now = self.parts.clock.now();
        let next = self.parts.store.next_retry(now).await.ok().flatten();
        let trial = self.parts.store.next_trial(now).await.ok().flatten();
        let tried = self.outage.lock().expect("nobody panics with it").next();
        let next = next.into_iter().chain(trial).chain(tried).min();
        let wait = next.and_then(|next| Duration::try_from(next.duration_since(now)).ok());
        // Builders come and go without telling.
        let soon = self.is_held_up() || self.parts.executor.builders().is_some();
        let longest = if soon { ROOM_PAUSE } else { Duration::from_secs(30) };
        wait.unwrap_or(longest).clamp(Duration::from_millis(50), longest)
    }

    /// Follows what is underway by the record. If that cannot be read, nothing is followed yet.
    async fn take_up(self: &Arc<Self>) -> Result<()> {
        let (open, trials) = (self.parts.store.open_attempts().await?, self.parts.store.running_trials().await?);
        let mut builds = Vec::with_capacity(open.len());
        for attempt in &open {
            builds.push(self.parts.store.build(attempt.build).await?.context("an attempt has no build")?.build);
        }
        // An earlier process may have ended after it recorded an end and before it cleared up.
        let attempts = open.iter().map(|attempt| attempt.id.clone());
        let attempts = attempts.chain(trials.iter().filter_map(|trial| trial.attempt.clone())).collect();
        if let Err(error) = self.parts.executor.keep_only(attempts).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "what earlier builds left is not cleared up");
        }
        for (Attempt { id, handle, .. }, build) in open.into_iter().zip(builds) {
            let handle = handle.and_then(|handle| serde_json::from_value(handle).ok());
            let handle = handle.unwrap_or(Handle { executor: self.parts.executor.name().to_owned(), attempt: id });
            self.follow(build, handle);
        }
        self.take_up_trials(trials);
        self.clear_trials().await;
        Ok(())
    }

    /// Stops what is to be stopped and fills free slots.
    async fn step(self: &Arc<Self>) -> Result<()> {
        for build in self.parts.store.to_stop().await? {
            let underway = self.underway.lock().expect("nobody panics with it").get(&build).cloned();
            if let Some(Underway { handle, .. }) = underway {
                self.stop(&handle).await;
            }
        }
        self.stop_trials().await?;
        self.begin_removals();
        if !self.can_build() {
            return Ok(());
        }
        for build in self.next_builds().await? {
            if let Err(error) = self.hand_out(build).await {
                tracing::error!(%build, error = format!("{error:#}"), "a build could not be handed out");
            }
        }
        let begun = self.hand_out_trials().await;
        self.clear_trials().await;
        begun
    }

    /// Whether builds can begin. One that is handed out only to end at once would use up its attempts.
    fn can_build(&self) -> bool {
        let ready = self.parts.executor.ready();
        let was_held_up = self.held_up.swap(ready.is_err(), Ordering::Relaxed);
        match &ready {
            Err(error) if !was_held_up => {
                tracing::error!(error = error.to_string(), "no build begins until this is mended");
            }
            Ok(()) if was_held_up => tracing::info!("builds begin again"),
            _ => {}
        }
        ready.is_ok()
    }

    async fn hand_out(self: &Arc<Self>, build: BuildId) -> Result<()> {
        let build = self.parts.store.build(build).await?.context("a ready build is not on record")?.build;
        let now = self.parts.clock.now();
        let attempt = self.parts.store.begin_attempt(build.id, self.parts.executor.name(), now).await?;
        self.outage.lock().expect("nobody panics with it").begins(build.id);
        let submitted = match self.order(&build, &attempt).await {
            Ok(order) => self.parts.executor.submit(order).await.map_err(anyhow::Error::from),
            Err(error) => Err(error),
        };
        match submitted {
            Ok(handle) => {
                let recorded = self.parts.store.set_handle(&attempt, &serde_json::to_value(&handle)?).await;
                self.follow(build, handle);
                recorded?;
            }
            Err(error) => {
                let (ending, message) = not_taken(&error);
                tracing::error!(package = build.pkgbase.as_str(), "{message}");
                let end = self.weigh(&build, end(ending, None, message));
                let this = self.clone();
                self.followers.spawn(async move {
                    if let Err(error) = this.record(&attempt, end).await {
                        tracing::error!(
                            attempt,
                            error = format!("{error:#}"),
                            "the end of a build could not be recorded"
                        );
                    }
                });
            }
        }
        Ok(())
    }

    fn follow(self: &Arc<Self>, build: Build, handle: Handle) {
        let running = Running { repository: build.repository.clone(), class: build.class.clone() };
        let underway = Underway { handle: handle.clone(), running };
        self.underway.lock().expect("nobody panics with it").insert(build.id, underway);
        let this = self.clone();
        self.followers.spawn(async move {
            if let Err(error) = this.see_through(&build, &handle).await {
                tracing::error!(
                    package = build.pkgbase.as_str(),
                    error = format!("{error:#}"),
                    "the end of a build could not be recorded"
                );
            }
            this.underway.lock().expect("nobody panics with it").remove(&build.id);
            this.freed.notify_one();
        });
    }
}

/// How the attempt ends that no executor took, and what is said of it. An order that makes no sense is not given twice.
pub(super) fn not_taken(error: &anyhow::Error) -> (AttemptEnding, String) {
    let senseless = matches!(error.downcast_ref(), Some(ExecutorError::BadOrder { .. }));
    let ending = if senseless { AttemptEnding::Done(Outcome::Failed) } else { AttemptEnding::Infrastructure };
    (ending, format!("it could not be handed to the executor: {error:#}"))
}

#[cfg(test)]
pub(super) mod tests;
