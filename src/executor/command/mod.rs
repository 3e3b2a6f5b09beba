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

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use nix::sys::signal::Signal;

use super::elsewhere::{Attempt, Carrier, Elsewhere};
use super::exchange::Exchange;
use super::{AttemptReport, BuildOrder, ExecutorError};
use crate::builder::artefact::Expectation;
use crate::builder::workspace::write_folder;
use crate::domain::job::Job;
use crate::logstore::LogStore;
use crate::sys::clock::Clock;
use crate::sys::fs::{FsError, write_atomic};
use crate::sys::lookup::startable;
use crate::sys::process::Program;
use follow::Followed;
use task::{Record, Task};

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
pub type CommandExecutor = Elsewhere<Command>;

/// A program that carries out builds.
pub struct Command {
    words: Vec<String>,
    env: Vec<String>,
    clock: Arc<dyn Clock>,
    /// What the program may have others bring.
    exchange: Option<Exchange>,
}

impl CommandExecutor {
    /// Opens the executor; with an exchange, packages may be brought over HTTP, too.
    ///
    /// # Errors
    /// If its directory cannot be made.
    pub fn start(
        config: CommandConfig,
        logs: LogStore,
        exchange: Option<Exchange>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ExecutorError> {
        let CommandConfig { words, env, work_dir } = config;
        let program = Command { words, env, clock, exchange: exchange.clone() };
        Self::open(program, work_dir, logs, exchange)
    }
}

impl Command {
    /// What the program is told: everything that it needs on this machine, and what others need to bring packages.
    fn job(&self, order: &BuildOrder) -> Result<Job, ExecutorError> {
        let Some(exchange) = &self.exchange else { return Ok(order.job()) };
        let grant = exchange.admit(order)?;
        Ok(exchange.job_of_program(order, &grant).unwrap_or_else(|| order.job()))
    }

    fn program(&self) -> Program {
        self.env.iter().fold(Program::new("/bin/sh"), |program, name| program.inherit(name))
    }
}

impl Carrier for Command {
    fn name(&self) -> &'static str {
        NAME
    }

    fn min_free(&self) -> u64 {
        MIN_FREE
    }

    fn ready(&self) -> Result<(), ExecutorError> {
        startable(&self.words[0]).map_err(ExecutorError::Away)
    }

    fn has(&self, dir: &Path) -> bool {
        Task::at(dir).record().is_some()
    }

    fn accept(&self, order: &BuildOrder, dir: &Path, logs: &LogStore) -> Result<(), ExecutorError> {
        let task = Task::at(dir);
        std::fs::create_dir(task.made()).map_err(|error| FsError::new("create", &task.made(), error))?;
        let bad = |reason: String| ExecutorError::BadOrder { attempt: order.attempt.clone(), reason };
        write_folder(&order.files, &task.package(), |_| Ok(())).map_err(|error| bad(error.to_string()))?;
        let job = self.job(order)?.with_dirs(&task.package(), &task.made());
        write_atomic(&task.document(), &serde_json::to_vec_pretty(&job).expect("texts and numbers are JSON"))?;
        let mut log = logs.writer(&order.attempt)?;
        log.note(&format!("by {}", self.words.join(" ")))?;
        drop(log);
        let record = Record {
            log_begins: logs.position(&order.attempt)?.len,
            may_take: i64::try_from(order.may_take().as_millis()).unwrap_or(i64::MAX),
            skip_exit_code: order.skip_exit_code,
            expected: Expectation::of(&order.pkgbase, &order.arch, &order.files),
        };
        // First, so that what was started is never forgotten; what has this and was not started is lost.
        task.write_record(&record)?;
        task.start(&self.program(), &self.words)
    }

    fn follow<'a>(&'a self, attempt: &'a mut Attempt) -> BoxFuture<'a, AttemptReport> {
        let task = Task::at(&attempt.dir);
        async move {
            match task.record() {
                Some(record) => Followed { program: self, task, record, attempt }.see_through().await,
                None => AttemptReport::lost("what was known of the build is gone from the disk"),
            }
        }
        .boxed()
    }

    fn abandon(&self, dir: &Path) {
        Task::at(dir).signal(Signal::SIGKILL);
    }
}
