//! Builds on COPR, which clones or is sent the sources, builds for each of its chroots, and publishes by itself.
//!
//! A build is asked for once, whatever happens: before COPR is asked, it is written down that it is about to be, with
//! the number of the last build of the project. If the answer does not come, or we end before it does, ours is looked
//! for among the builds with higher numbers, by what it was made from, and only if it is not there is it asked for
//! again. Logs are followed as they are written: see [`tailer`] and [`crate::domain::copr`].

mod attempt;
pub mod client;
mod error;
mod followed;
pub mod login;
pub mod logs;
pub mod method;
pub mod tailer;
pub mod watch;
pub mod wire;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

pub use self::error::CoprError;

use self::attempt::{Attempt, Wish};
use self::client::Client;
use self::followed::Followed;
use self::logs::Logs;
use self::method::Method;
use self::watch::{Pacing, Watcher};
use self::wire::Options;
use super::kept::{self, attempt_of, blocking};
use super::tracked::Tracked;
use super::{AttemptReport, BuildOrder, Ending, Executor, ExecutorError, Handle};
use crate::builder::workspace::remove_all;
use crate::domain::copr::{Project, Show};
use crate::logstore::LogStore;
use crate::sys::clock::Clock;
use crate::sys::fs::{FsError, ensure_free};

/// The name of this executor in handles.
pub const NAME: &str = "copr";

/// No build begins with less room than this for what is kept of it: 16 MiB.
const MIN_FREE: u64 = 16 << 20;

/// How builds are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoprConfig {
    /// In which project.
    pub project: Project,
    /// From what.
    pub method: Method,
    /// How; time and part of the project are those of the build.
    pub options: Options,
    /// How often COPR is asked.
    pub pacing: Pacing,
    /// Where attempts have their directories.
    pub work_dir: PathBuf,
}

/// Has packages built on COPR.
#[derive(Clone)]
pub struct CoprExecutor {
    inner: Arc<Inner>,
}

struct Inner {
    config: CoprConfig,
    watcher: Watcher,
    store: LogStore,
    tracked: Tracked,
    /// One build is asked for at a time, so that each is known as whose it is.
    asking: tokio::sync::Mutex<()>,
}

impl CoprExecutor {
    /// Opens the executor.
    ///
    /// # Errors
    /// If its directory cannot be made.
    pub fn open(
        config: CoprConfig,
        client: Client,
        store: LogStore,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ExecutorError> {
        let dir = &config.work_dir;
        std::fs::create_dir_all(dir).map_err(|error| FsError::new("create", dir, error))?;
        let (logs, pacing) = (Logs::of(client.url()), config.pacing);
        let watcher = Watcher { client, logs, clock, pacing, show: Show::Live, prefix: String::new() };
        let (tracked, asking) = (Tracked::default(), tokio::sync::Mutex::default());
        Ok(Self { inner: Arc::new(Inner { config, watcher, store, tracked, asking }) })
    }

    fn attempt(&self, attempt: &str) -> Result<Attempt, ExecutorError> {
        // Checks that the id names a file in our directories.
        self.inner.store.position(attempt)?;
        Ok(Attempt { dir: self.inner.config.work_dir.join(attempt) })
    }

    fn accept(&self, order: &BuildOrder) -> Result<(), ExecutorError> {
        let attempt = self.attempt(&order.attempt)?;
        if attempt.wish().is_none() && kept::report(&attempt.dir).is_none() {
            let dir = &attempt.dir;
            let fresh = remove_all(dir).and_then(|()| std::fs::create_dir_all(dir));
            fresh.map_err(|error| FsError::new("create", dir, error))?;
            let config = &self.inner.config;
            let bad = |reason| ExecutorError::BadOrder { attempt: order.attempt.clone(), reason };
            let source = config.method.source(order, dir).map_err(bad)?;
            let options = method::options(&config.project.name, order, &config.options);
            attempt.set_wish(&Wish { source, options })?;
        }
        self.take_up(&order.attempt)
    }

    /// Follows an attempt that is under way, unless somebody does.
    fn take_up(&self, id: &str) -> Result<(), ExecutorError> {
        let attempt = self.attempt(id)?;
        if self.inner.tracked.has(id) || kept::report(&attempt.dir).is_some() {
            return Ok(());
        }
        let Some(wish) = attempt.wish() else { return Ok(()) };
        let Some(reins) = self.inner.tracked.begin(id) else { return Ok(()) };
        let log = self.inner.store.writer(id)?;
        tokio::spawn(Followed { inner: Arc::clone(&self.inner), attempt, wish, reins }.run(log));
        Ok(())
    }

    async fn wait(&self, id: &str) -> Result<AttemptReport, ExecutorError> {
        self.take_up(id)?;
        if let Some(report) = self.inner.tracked.ended(id).await {
            return Ok(report);
        }
        if let Some(report) = kept::report(&self.attempt(id)?.dir) {
            return Ok(report);
        }
        let message = "the controller ended before COPR was asked".to_owned();
        Ok(AttemptReport { ending: Ending::Infrastructure, artefacts: Vec::new(), exit_code: None, message })
    }

    async fn forget(&self, id: &str) -> Result<(), ExecutorError> {
        self.take_up(id)?;
        self.inner.tracked.forget(id).await;
        let dir = self.attempt(id)?.dir;
        blocking(move || remove_all(&dir).map_err(|error| FsError::new("remove", &dir, error))).await?;
        Ok(())
    }
}

impl Executor for CoprExecutor {
    fn name(&self) -> &'static str {
        NAME
    }

    fn outlives_us(&self) -> bool {
        true
    }

    fn publishes(&self) -> bool {
        true
    }

    fn ready(&self) -> Result<(), ExecutorError> {
        Ok(ensure_free(&self.inner.config.work_dir, MIN_FREE)?)
    }

    fn submit(&self, order: BuildOrder) -> BoxFuture<'_, Result<Handle, ExecutorError>> {
        async move {
            self.accept(&order)?;
            Ok(Handle { executor: NAME.to_owned(), attempt: order.attempt })
        }
        .boxed()
    }

    fn started<'a>(&'a self, handle: &'a Handle) -> BoxFuture<'a, Result<(), ExecutorError>> {
        async move {
            let attempt = attempt_of(handle, NAME)?;
            self.take_up(attempt)?;
            self.inner.tracked.started(attempt).await;
            Ok(())
        }
        .boxed()
    }

    fn finished<'a>(&'a self, handle: &'a Handle) -> BoxFuture<'a, Result<AttemptReport, ExecutorError>> {
        async move { self.wait(attempt_of(handle, NAME)?).await }.boxed()
    }

    fn cancel<'a>(&'a self, handle: &'a Handle) -> BoxFuture<'a, Result<(), ExecutorError>> {
        async move {
            let attempt = attempt_of(handle, NAME)?;
            self.take_up(attempt)?;
            self.inner.tracked.cancel(attempt);
            Ok(())
        }
        .boxed()
    }

    fn discard<'a>(&'a self, handle: &'a Handle) -> BoxFuture<'a, Result<(), ExecutorError>> {
        async move { self.forget(attempt_of(handle, NAME)?).await }.boxed()
    }

    fn keep_only(&self, attempts: BTreeSet<String>) -> BoxFuture<'_, Result<(), ExecutorError>> {
        let dir = self.inner.config.work_dir.clone();
        blocking(move || kept::keep_only(&dir, &attempts, |_| ())).boxed()
    }
}
