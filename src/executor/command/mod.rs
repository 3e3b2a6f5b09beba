//! Builds by a program of the operator's own, which may hand them to anybody: a pipeline of a CI service, a queue, a
//! machine behind ssh.
//!
//! The program runs on by itself: a controller that starts anew finds it again, with all that it has printed. What it
//! is given and what it may say stand in `docs/executors.md`.

mod follow;
mod frames;
mod task;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use nix::sys::signal::Signal;

use super::exchange::Exchange;
use super::kept::{self, attempt_of, blocking};
use super::tracked::Tracked;
use super::{AttemptReport, BuildOrder, Ending, Executor, ExecutorError, Handle};
use crate::builder::artefact::Expectation;
use crate::builder::workspace::{remove_all, write_folder};
use crate::domain::job::{Job, Places};
use crate::domain::upload::Limits;
use crate::logstore::LogStore;
use crate::sys::clock::Clock;
use crate::sys::fs::{FsError, ensure_free, write_atomic};
use crate::sys::process::Program;
use follow::Followed;
use task::{Record, Task, task};

/// The name of this executor in handles.
pub const NAME: &str = "command";

/// No build begins with less room than this for what it makes: 64 MiB.
const MIN_FREE: u64 = 64 << 20;

/// How builds are handed to a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandConfig {
    /// The program and its arguments.
    pub words: Vec<String>,
    /// Variables that it inherits beside those that every program does.
    pub env: Vec<String>,
    /// Where attempts have their directories.
    pub work_dir: PathBuf,
}

/// Hands builds to a program.
#[derive(Clone)]
pub struct CommandExecutor {
    inner: Arc<Inner>,
}

struct Inner {
    config: CommandConfig,
    logs: LogStore,
    clock: Arc<dyn Clock>,
    tracked: Tracked,
    /// What the program may have others bring.
    exchange: Option<Exchange>,
}

impl CommandExecutor {
    /// Opens the executor.
    ///
    /// # Errors
    /// If its directory cannot be made.
    pub fn open(config: CommandConfig, logs: LogStore, clock: Arc<dyn Clock>) -> Result<Self, ExecutorError> {
        let dir = &config.work_dir;
        std::fs::create_dir_all(dir).map_err(|error| FsError::new("create", dir, error))?;
        Ok(Self { inner: Arc::new(Inner { config, logs, clock, tracked: Tracked::default(), exchange: None }) })
    }

    /// Lets packages be brought over HTTP, too.
    ///
    /// # Panics
    /// If it is in use already.
    #[must_use]
    pub fn with_exchange(self, exchange: Option<Exchange>) -> Self {
        let inner = Arc::into_inner(self.inner).expect("nobody uses it yet");
        Self { inner: Arc::new(Inner { exchange, ..inner }) }
    }

    fn task(&self, attempt: &str) -> Result<Task, ExecutorError> {
        // Checks that the id names a file in our directories.
        self.inner.logs.position(attempt)?;
        Ok(task(&self.inner.config.work_dir, attempt))
    }

    fn accept(&self, order: &BuildOrder) -> Result<(), ExecutorError> {
        let task = self.task(&order.attempt)?;
        if task.record().is_none() && kept::report(&task.dir).is_none() {
            self.start(order, &task)?;
        }
        self.take_up(&order.attempt)
    }

    fn start(&self, order: &BuildOrder, task: &Task) -> Result<(), ExecutorError> {
        let fresh = remove_all(&task.dir).and_then(|()| std::fs::create_dir_all(task.made()));
        fresh.map_err(|error| FsError::new("create", &task.dir, error))?;
        let bad = |reason: String| ExecutorError::BadOrder { attempt: order.attempt.clone(), reason };
        write_folder(&order.files, &task.package(), |_| Ok(())).map_err(|error| bad(error.to_string()))?;
        let job = self.job(order)?.with_dirs(&task.package(), &task.made());
        write_atomic(&task.document(), &serde_json::to_vec_pretty(&job).expect("texts and numbers are JSON"))?;
        let words = &self.inner.config.words;
        let mut log = self.inner.logs.writer(&order.attempt)?;
        log.note(&format!("by {}", words.join(" ")))?;
        drop(log);
        let record = Record {
            log_begins: self.inner.logs.position(&order.attempt)?.len,
            may_take: i64::try_from(order.may_take().as_millis()).unwrap_or(i64::MAX),
            skip_exit_code: order.skip_exit_code,
            expected: Expectation::of(&order.pkgbase, &order.arch, &order.files),
        };
        // First, so that what was started is never forgotten; what has this and was not started is lost.
        task.write_record(&record)?;
        task.start(&self.program(), words)
    }

    /// What the program is told: everything that it needs on this machine, and what others need to bring packages.
    fn job(&self, order: &BuildOrder) -> Result<Job, ExecutorError> {
        let Some(exchange) = &self.inner.exchange else { return Ok(order.job()) };
        let grant = exchange.admit(order, Limits::default())?;
        // The log is what the program prints.
        let places = exchange.places(&order.attempt).map(|places| Places { log: None, ..places });
        Ok(places.map_or_else(|| order.job(), |places| order.job().for_builders(places, grant.token)))
    }

    fn program(&self) -> Program {
        self.inner.config.env.iter().fold(Program::new("/bin/sh"), |program, name| program.inherit(name))
    }

    /// Follows an attempt that is under way, unless somebody does.
    fn take_up(&self, attempt: &str) -> Result<(), ExecutorError> {
        let task = self.task(attempt)?;
        if self.inner.tracked.has(attempt) || kept::report(&task.dir).is_some() {
            return Ok(());
        }
        let Some(record) = task.record() else { return Ok(()) };
        let Some(reins) = self.inner.tracked.begin(attempt) else { return Ok(()) };
        let log = self.inner.logs.writer(attempt)?;
        tokio::spawn(Followed { inner: Arc::clone(&self.inner), task, record, log, reins }.run());
        Ok(())
    }

    async fn wait(&self, attempt: &str) -> Result<AttemptReport, ExecutorError> {
        self.take_up(attempt)?;
        if let Some(report) = self.inner.tracked.ended(attempt).await {
            return Ok(report);
        }
        if let Some(report) = kept::report(&self.task(attempt)?.dir) {
            return Ok(report);
        }
        let message = "the controller ended before the program was started".to_owned();
        Ok(AttemptReport { ending: Ending::Infrastructure, artefacts: Vec::new(), exit_code: None, message })
    }

    async fn forget(&self, attempt: &str) -> Result<(), ExecutorError> {
        self.take_up(attempt)?;
        self.inner.tracked.forget(attempt).await;
        if let Some(exchange) = &self.inner.exchange {
            exchange.close(attempt).await?;
        }
        let dir = self.task(attempt)?.dir;
        blocking(move || remove_all(&dir).map_err(|error| FsError::new("remove", &dir, error))).await?;
        Ok(())
    }
}

impl Executor for CommandExecutor {
    fn name(&self) -> &'static str {
        NAME
    }

    fn outlives_us(&self) -> bool {
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
            if let Some(exchange) = &self.inner.exchange {
                exchange.cancel(attempt)?;
            }
            Ok(())
        }
        .boxed()
    }

    fn discard<'a>(&'a self, handle: &'a Handle) -> BoxFuture<'a, Result<(), ExecutorError>> {
        async move { self.forget(attempt_of(handle, NAME)?).await }.boxed()
    }

    fn keep_only(&self, attempts: BTreeSet<String>) -> BoxFuture<'_, Result<(), ExecutorError>> {
        let dir = self.inner.config.work_dir.clone();
        let end = |dir: &Path| Task { dir: dir.to_owned() }.signal(Signal::SIGKILL);
        async move {
            if let Some(exchange) = &self.inner.exchange {
                exchange.keep_only(&attempts).await?;
            }
            blocking(move || kept::keep_only(&dir, &attempts, end)).await
        }
        .boxed()
    }
}
