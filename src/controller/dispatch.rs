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
use crate::domain::queue::BuildId;
use crate::domain::schedule::{self, Running, Turns};
use crate::executor::{Executor, Handle};
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
    /// Who had how many turns.
    pub(super) turns: Mutex<Turns>,
    /// Test builds of proposals, by their ids.
    pub(super) trials: Mutex<HashMap<i64, Handle>>,
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
            turns: Mutex::default(),
            trials: Mutex::default(),
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
        if let Err(error) = self.take_up().await {
            tracing::error!(error = format!("{error:#}"), "builds of an earlier process could not be taken up");
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
            if let Err(error) = self.parts.executor.cancel(&handle).await {
                tracing::error!(attempt = handle.attempt, error = error.to_string(), "a build could not be stopped");
            }
        }
        self.followers.wait().await;
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
        let next = next.into_iter().chain(trial).min();
        let wait = next.and_then(|next| Duration::try_from(next.duration_since(now)).ok());
        // Builders come and go without telling.
        let soon = self.is_held_up() || self.parts.executor.builders().is_some();
        let longest = if soon { ROOM_PAUSE } else { Duration::from_secs(30) };
        wait.unwrap_or(longest).clamp(Duration::from_millis(50), longest)
    }

    async fn take_up(self: &Arc<Self>) -> Result<()> {
        let (open, trials) = (self.parts.store.open_attempts().await?, self.parts.store.running_trials().await?);
        // An earlier process may have ended after it recorded an end and before it cleared up.
        let attempts = open.iter().map(|attempt| attempt.id.clone());
        let attempts = attempts.chain(trials.iter().filter_map(|trial| trial.attempt.clone())).collect();
        if let Err(error) = self.parts.executor.keep_only(attempts).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "what earlier builds left is not cleared up");
        }
        for attempt in open {
            let Attempt { id, build, handle, .. } = attempt;
            let handle = handle.and_then(|handle| serde_json::from_value(handle).ok());
            let handle = handle.unwrap_or(Handle { executor: self.parts.executor.name().to_owned(), attempt: id });
            let detail = self.parts.store.build(build).await?.context("an attempt has no build")?;
            self.follow(detail.build, handle);
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
                self.parts.executor.cancel(&handle).await?;
            }
        }
        self.stop_trials().await?;
        self.begin_removals();
        if !self.can_build() {
            return Ok(());
        }
        for build in self.next_builds().await? {
            let build = self.parts.store.build(build).await?.context("a ready build is not on record")?;
            self.hand_out(build.build).await?;
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

    async fn hand_out(self: &Arc<Self>, build: Build) -> Result<()> {
        let now = self.parts.clock.now();
        let attempt = self.parts.store.begin_attempt(build.id, self.parts.executor.name(), now).await?;
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
                let message = format!("it could not be handed to the executor: {error:#}");
                tracing::error!(package = build.pkgbase.as_str(), "{message}");
                let this = self.clone();
                self.followers.spawn(async move {
                    if let Err(error) = this.record(&attempt, end(AttemptEnding::Infrastructure, None, message)).await {
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use futures_util::FutureExt as _;
    use futures_util::future::BoxFuture;
    use nix::fcntl::{Flock, FlockArg};

    use super::*;
    use crate::domain::build::Wave;
    use crate::domain::policy::Overlap;
    use crate::executor::{AttemptReport, BuildOrder, Ending, ExecutorError};
    use crate::publish::testing::{package, pkginfo};
    use crate::publish::{Expected, Publisher, Rules};
    use crate::store::testing::{at, base, wave};
    use crate::sys::clock::ManualClock;

    /// Builds that fail at once, and take a second to be cleared away.
    struct Untidy;

    impl Executor for Untidy {
        fn name(&self) -> &'static str {
            "untidy"
        }

        fn ready(&self) -> Result<(), ExecutorError> {
            Ok(())
        }

        fn submit(&self, order: BuildOrder) -> BoxFuture<'_, Result<Handle, ExecutorError>> {
            async move { Ok(Handle { executor: self.name().to_owned(), attempt: order.attempt }) }.boxed()
        }

        fn started<'a>(&'a self, _: &'a Handle) -> BoxFuture<'a, Result<(), ExecutorError>> {
            async { Ok(()) }.boxed()
        }

        fn finished<'a>(&'a self, _: &'a Handle) -> BoxFuture<'a, Result<AttemptReport, ExecutorError>> {
            let ending = Ending::Done(crate::domain::build::Outcome::Failed);
            let message = "it failed".to_owned();
            async move { Ok(AttemptReport { ending, artefacts: Vec::new(), exit_code: None, message }) }.boxed()
        }

        fn cancel<'a>(&'a self, _: &'a Handle) -> BoxFuture<'a, Result<(), ExecutorError>> {
            async { Ok(()) }.boxed()
        }

        fn discard<'a>(&'a self, _: &'a Handle) -> BoxFuture<'a, Result<(), ExecutorError>> {
            tokio::time::sleep(Duration::from_secs(1)).map(Ok).boxed()
        }

        fn keep_only(&self, _: BTreeSet<String>) -> BoxFuture<'_, Result<(), ExecutorError>> {
            async { Ok(()) }.boxed()
        }
    }

    fn dispatcher(dir: &std::path::Path, store: &Store, publisher: Option<Publisher>) -> Arc<Dispatcher> {
        let limits = Limits {
            slots: 1,
            timeout: Duration::from_secs(1),
            package_repositories: Vec::new(),
            schedule: schedule::Limits::default(),
        };
        Dispatcher::new(Parts {
            store: store.clone(),
            sites: BTreeMap::new(),
            executor: Arc::new(Untidy),
            limits,
            outlets: publisher.into_iter().map(|publisher| ("repo".to_owned(), Outlets::only(publisher))).collect(),
            wakes: BTreeMap::new(),
            trials_dir: dir.join("trials"),
            logs: LogStore::new(dir.join("logs")).unwrap(),
            clock: Arc::new(ManualClock::new(at(0))),
        })
    }

    /// The end of a build is on record, and told, before its slot is free: nobody may sleep on that.
    #[tokio::test(start_paused = true)]
    async fn a_slot_that_becomes_free_is_used_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("record.sqlite")).unwrap();
        store.give(wave(1, &["first", "second"]), Overlap::Coalesce).await;
        store.begin_attempt(store.newest("first").await, "untidy", at(0)).await.unwrap();
        let (begun, stop) = (tokio::time::Instant::now(), CancellationToken::new());
        let mut changes = store.subscribe();
        let running = tokio::spawn(dispatcher(dir.path(), &store, None).run(stop.clone()));
        let second = store.newest("second").await;
        while store.build(second).await.unwrap().unwrap().attempts.is_empty() {
            changes.changed().await.unwrap();
        }
        assert_eq!(begun.elapsed().as_secs(), 1, "as soon as the first was cleared away");
        stop.cancel();
        running.await.unwrap();
    }

    /// Whoever publishes, or promotes a whole repository, has the lock for long.
    #[tokio::test]
    async fn no_build_waits_until_packages_that_left_can_be_removed() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("record.sqlite")).unwrap();
        let publisher = Publisher::new(dir.path().join("repo"), "repo");
        std::fs::create_dir(publisher.dir()).unwrap();
        let lock = std::fs::File::create(publisher.dir().join(".lock")).unwrap();
        let lock = Flock::lock(lock, FlockArg::LockExclusive).unwrap();
        let remove = vec![base("gone")];
        store.give(Wave { remove, ..wave(1, &["first"]) }, Overlap::Coalesce).await;
        let (stop, mut changes) = (CancellationToken::new(), store.subscribe());
        let running = tokio::spawn(dispatcher(dir.path(), &store, Some(publisher)).run(stop.clone()));
        let first = store.newest("first").await;
        let begun = async {
            while store.build(first).await.unwrap().unwrap().attempts.is_empty() {
                changes.changed().await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(30), begun).await.expect("it is handed out");
        assert_eq!(store.pending_removals("repo").await.unwrap().len(), 1);
        drop(lock);
        while !store.pending_removals("repo").await.unwrap().is_empty() {
            changes.changed().await.unwrap();
        }
        stop.cancel();
        running.await.unwrap();
    }

    /// A build of some hours is not done again because a file of ours is away.
    #[tokio::test(start_paused = true)]
    async fn what_was_built_waits_for_whatever_keeps_us_from_publishing_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("record.sqlite")).unwrap();
        store.give(wave(1, &["foo"]), Overlap::Coalesce).await;
        let build = store.build(store.newest("foo").await).await.unwrap().unwrap().build;
        let core = dir.path().join("core.db");
        let rules = Rules { official_databases: vec![core.clone()], ..Rules::default() };
        let publisher = Publisher::new(dir.path().join("repo"), "test").by_rules(rules);
        let files = [package(&dir.path().join("foo-1-1-any.pkg.tar.zst"), &pkginfo("foo", "foo", "1-1"))];
        let expected = Expected {
            pkgbase: build.pkgbase.clone(),
            version: None,
            arch: "x86_64".into(),
            members: BTreeSet::new(),
            build: Some(build.id),
            allow_prohibited: false,
            official: Arc::default(),
        };
        let dispatcher = dispatcher(dir.path(), &store, None);
        let publishing = dispatcher.publish(&build, &publisher, &files, &expected);
        tokio::pin!(publishing);
        let hour = tokio::time::timeout(Duration::from_hours(1), &mut publishing).await;
        assert!(hour.is_err(), "it is still wanted after an hour: {hour:?}");
        let note = store.build(build.id).await.unwrap().unwrap().build.message.unwrap_or_default();
        assert!(note.starts_with("built, and waits to be published: ") && note.contains("core.db"), "{note}");
        std::fs::write(&core, tar::Builder::new(Vec::new()).into_inner().unwrap()).unwrap();
        assert_eq!(publishing.await.unwrap().entries.len(), 1);
    }
}
