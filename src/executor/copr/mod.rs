//! Builds on COPR, which clones or is sent the sources, builds for each of its chroots, and publishes by itself.
//!
//! A build is asked for once, whatever happens: before COPR is asked, it is written down that it is about to be, with
//! the number of the last build of the project. If the answer does not come, or we end before it does, ours is looked
//! for among the builds with higher numbers, by what it was made from, and only if it is not there is it asked for
//! again. Logs are followed as they are written: see [`tailer`] and [`crate::domain::copr`].

pub mod client;
mod error;
mod followed;
pub mod login;
pub mod logs;
pub mod method;
mod record;
pub mod tailer;
pub mod watch;
pub mod wire;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

pub use self::error::CoprError;

use self::client::Client;
use self::followed::Followed;
use self::logs::Logs;
use self::method::Method;
use self::record::{Task, Wish};
use self::watch::{Pacing, Watcher};
use self::wire::Options;
use super::elsewhere::{Attempt, Carrier, Elsewhere};
use super::{AttemptReport, BuildOrder, ExecutorError};
use crate::domain::copr::{Project, Show};
use crate::logstore::LogStore;
use crate::sys::clock::Clock;

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
pub type CoprExecutor = Elsewhere<Copr>;

/// A project on COPR.
pub struct Copr {
    config: CoprConfig,
    watcher: Watcher,
    /// One build is asked for at a time, so that each is known as whose it is.
    asking: tokio::sync::Mutex<()>,
}

impl CoprExecutor {
    /// Opens the executor.
    ///
    /// # Errors
    /// If its directory cannot be made.
    pub fn start(
        config: CoprConfig,
        client: Client,
        store: LogStore,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ExecutorError> {
        let (logs, pacing, work_dir) = (Logs::of(client.url()), config.pacing, config.work_dir.clone());
        let watcher = Watcher { client, logs, clock, pacing, show: Show::Live, prefix: String::new() };
        Self::open(Copr { config, watcher, asking: tokio::sync::Mutex::default() }, work_dir, store, None)
    }
}

impl Carrier for Copr {
    fn name(&self) -> &'static str {
        NAME
    }

    fn publishes(&self) -> bool {
        true
    }

    fn min_free(&self) -> u64 {
        MIN_FREE
    }

    fn has(&self, dir: &Path) -> bool {
        Task::at(dir).wish().is_some()
    }

    fn accept(&self, order: &BuildOrder, dir: &Path, _: &LogStore) -> Result<(), ExecutorError> {
        let bad = |reason| ExecutorError::BadOrder { attempt: order.attempt.clone(), reason };
        let source = self.config.method.source(order, dir).map_err(bad)?;
        let options = method::options(&self.config.project.name, order, &self.config.options);
        Ok(Task::at(dir).set_wish(&Wish { source, options })?)
    }

    fn follow<'a>(&'a self, attempt: &'a mut Attempt) -> BoxFuture<'a, AttemptReport> {
        let task = Task::at(&attempt.dir);
        async move {
            match task.wish() {
                Some(wish) => {
                    let Attempt { log, reins, .. } = attempt;
                    Followed { copr: self, task, wish, reins }.see_through(log).await
                }
                None => AttemptReport::lost("what was known of the build is gone from the disk"),
            }
        }
        .boxed()
    }

    /// What was asked for is COPR's to end.
    fn abandon(&self, _: &Path) {}
}
