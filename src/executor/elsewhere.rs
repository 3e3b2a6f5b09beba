//! What executors have in common whose builds somebody else carries out: each attempt has a directory with all there is
//! to know of it, so that a controller that begins anew finds it again and follows it on.

use std::collections::BTreeSet;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::exchange::Exchange;
use super::kept::{self, attempt_of, blocking};
use super::tracked::{Progress, Reins, Tracked};
use super::{AttemptReport, BuildOrder, Executor, ExecutorError, Handle, Kept};
use crate::builder::workspace::remove_all;
use crate::domain::schedule::BuilderInfo;
use crate::logstore::{LogStore, LogWriter};
use crate::sys::fs::{FsError, ensure_free};

/// An attempt, for whoever follows it.
#[derive(Debug)]
pub struct Attempt {
    /// Its id.
    pub id: String,
    /// Its directory.
    pub dir: PathBuf,
    /// Its log.
    pub log: LogWriter,
    /// How it is stopped, and who is told how far it has come.
    pub reins: Reins,
}

/// How one kind of executor has builds carried out.
pub trait Carrier: Send + Sync + 'static {
    /// What it is called in handles.
    fn name(&self) -> &'static str;

    /// Whether what is built is published where it is built.
    fn publishes(&self) -> bool {
        false
    }

    /// Without this room, in bytes, no build begins.
    fn min_free(&self) -> u64;

    /// Whether a build could begin now, as far as it is not about room.
    ///
    /// # Errors
    /// Why not.
    fn ready(&self) -> Result<(), ExecutorError> {
        Ok(())
    }

    /// The builders that are there, if that is known.
    fn builders(&self) -> Option<Vec<BuilderInfo>> {
        None
    }

    /// Has everything else removed where builds are published, as [`Executor::keep_packages`].
    fn keep_packages(&self, _kept: Kept) -> BoxFuture<'_, Result<bool, ExecutorError>> {
        async { Ok(true) }.boxed()
    }

    /// Whether the attempt with this directory was accepted.
    fn has(&self, dir: &Path) -> bool;

    /// Accepts a build: writes down in its new directory what has to be known to follow it. What is on the disk after
    /// this is never forgotten.
    ///
    /// # Errors
    /// If that cannot be done.
    fn accept(&self, order: &BuildOrder, dir: &Path, logs: &LogStore) -> Result<(), ExecutorError>;

    /// Has the build carried out, if nobody does, and follows it to its end. May be cut off at any point and called
    /// again by a later process.
    fn follow<'a>(&'a self, attempt: &'a mut Attempt) -> BoxFuture<'a, AttemptReport>;

    /// Ends what an earlier process left, and nobody waits for.
    fn abandon(&self, dir: &Path);
}

/// An executor whose builds go on while this process is away.
pub struct Elsewhere<C> {
    inner: Arc<Inner<C>>,
}

struct Inner<C> {
    carrier: C,
    work_dir: PathBuf,
    logs: LogStore,
    tracked: Tracked,
    /// One is taken up at a time: its log is opened before it counts as followed.
    taking_up: Mutex<()>,
    /// What builders bring over HTTP, where they may.
    exchange: Option<Exchange>,
}

impl<C: Carrier> Elsewhere<C> {
    /// Opens the executor, with a directory for those of its attempts.
    ///
    /// # Errors
    /// If that cannot be made.
    pub fn open(
        carrier: C,
        work_dir: PathBuf,
        logs: LogStore,
        exchange: Option<Exchange>,
    ) -> Result<Self, ExecutorError> {
        std::fs::create_dir_all(&work_dir).map_err(|error| FsError::new("create", &work_dir, error))?;
        let (tracked, taking_up) = (Tracked::default(), Mutex::default());
        Ok(Self { inner: Arc::new(Inner { carrier, work_dir, logs, tracked, taking_up, exchange }) })
    }

    fn dir(&self, attempt: &str) -> Result<PathBuf, ExecutorError> {
        // Checks that the id names a file in our directories.
        self.inner.logs.position(attempt)?;
        Ok(self.inner.work_dir.join(attempt))
    }

    fn accept(&self, order: &BuildOrder) -> Result<(), ExecutorError> {
        let dir = self.dir(&order.attempt)?;
        if !self.inner.carrier.has(&dir) && kept::report(&dir).is_none() {
            // What lies there may name what nobody else is to know: the token of the attempt.
            let fresh = remove_all(&dir).and_then(|()| DirBuilder::new().mode(0o700).create(&dir));
            fresh.map_err(|error| FsError::new("create", &dir, error))?;
            self.inner.carrier.accept(order, &dir, &self.inner.logs)?;
        }
        self.take_up(&order.attempt)
    }

    /// Follows an attempt that is under way, unless somebody does.
    fn take_up(&self, id: &str) -> Result<(), ExecutorError> {
        let dir = self.dir(id)?;
        let _alone = self.inner.taking_up.lock().expect("nobody panics while taking up an attempt");
        if self.inner.tracked.has(id) || kept::report(&dir).is_some() || !self.inner.carrier.has(&dir) {
            return Ok(());
        }
        // First: who is tracked and not followed would count as over.
        let log = self.inner.logs.writer(id)?;
        let Some(reins) = self.inner.tracked.begin(id) else { return Ok(()) };
        let attempt = Attempt { id: id.to_owned(), dir, log, reins };
        tokio::spawn(see_through(Arc::clone(&self.inner), attempt));
        Ok(())
    }

    async fn wait(&self, attempt: &str) -> Result<AttemptReport, ExecutorError> {
        self.take_up(attempt)?;
        if let Some(report) = self.inner.tracked.ended(attempt).await {
            return Ok(report);
        }
        if let Some(report) = kept::report(&self.dir(attempt)?) {
            return Ok(report);
        }
        Ok(AttemptReport::lost("the controller ended before the build was handed on"))
    }

    async fn forget(&self, attempt: &str) -> Result<(), ExecutorError> {
        self.take_up(attempt)?;
        self.inner.tracked.forget(attempt).await;
        if let Some(exchange) = &self.inner.exchange {
            exchange.close(attempt).await?;
        }
        let dir = self.dir(attempt)?;
        blocking(move || remove_all(&dir).map_err(|error| FsError::new("remove", &dir, error))).await?;
        Ok(())
    }
}

async fn see_through<C: Carrier>(inner: Arc<Inner<C>>, mut attempt: Attempt) {
    let report = inner.carrier.follow(&mut attempt).await;
    let Attempt { dir, log, reins, .. } = attempt;
    if let Err(error) = kept::close(&report, &dir, log) {
        let dir = dir.display();
        tracing::warn!(%dir, error = &error as &dyn std::error::Error, "cannot record how a build ended");
    }
    reins.progress.send_replace(Progress::Ended(Arc::new(report)));
}

impl<C: Carrier> Executor for Elsewhere<C> {
    fn name(&self) -> &'static str {
        self.inner.carrier.name()
    }

    fn outlives_us(&self) -> bool {
        true
    }

    fn publishes(&self) -> bool {
        self.inner.carrier.publishes()
    }

    fn ready(&self) -> Result<(), ExecutorError> {
        ensure_free(&self.inner.work_dir, self.inner.carrier.min_free())?;
        self.inner.carrier.ready()
    }

    fn builders(&self) -> Option<Vec<BuilderInfo>> {
        self.inner.carrier.builders()
    }

    fn keep_packages(&self, kept: Kept) -> BoxFuture<'_, Result<bool, ExecutorError>> {
        self.inner.carrier.keep_packages(kept)
    }

    fn submit(&self, order: BuildOrder) -> BoxFuture<'_, Result<Handle, ExecutorError>> {
        async move {
            self.accept(&order)?;
            Ok(Handle { executor: self.name().to_owned(), attempt: order.attempt })
        }
        .boxed()
    }

    fn started<'a>(&'a self, handle: &'a Handle) -> BoxFuture<'a, Result<(), ExecutorError>> {
        async move {
            let attempt = attempt_of(handle, self.name())?;
            self.take_up(attempt)?;
            self.inner.tracked.started(attempt).await;
            Ok(())
        }
        .boxed()
    }

    fn finished<'a>(&'a self, handle: &'a Handle) -> BoxFuture<'a, Result<AttemptReport, ExecutorError>> {
        async move { self.wait(attempt_of(handle, self.name())?).await }.boxed()
    }

    fn cancel<'a>(&'a self, handle: &'a Handle) -> BoxFuture<'a, Result<(), ExecutorError>> {
        async move {
            let attempt = attempt_of(handle, self.name())?;
            self.take_up(attempt)?;
            self.inner.tracked.cancel(attempt);
            if let Some(exchange) = &self.inner.exchange {
                exchange.cancel(attempt)?;
            }
            Ok(())
        }
        .boxed()
    }

    fn discard<'a>(&'a self, handle: &'a Handle) -> BoxFuture<'a, Result<(), ExecutorError>> {
        async move { self.forget(attempt_of(handle, self.name())?).await }.boxed()
    }

    fn keep_only(&self, attempts: BTreeSet<String>) -> BoxFuture<'_, Result<(), ExecutorError>> {
        let inner = Arc::clone(&self.inner);
        async move {
            if let Some(exchange) = &inner.exchange {
                exchange.keep_only(&attempts).await?;
            }
            blocking(move || kept::keep_only(&inner.work_dir, &attempts, |dir| inner.carrier.abandon(dir))).await
        }
        .boxed()
    }
}
