//! Builds by an existing Chaotic Manager, which publishes by itself ([what it can be asked and what it
//! tells](../../../docs/decisions/0016-what-a-chaotic-manager-tells.md)): through its bus, or for one of the time before that, through its
//! queues.
//!
//! It knows nothing of attempts. Before it is asked, what is there of the package is written down, so that what comes
//! later can be told apart, also after a restart.

mod bus;
mod coordinator;
mod course;
mod follow;
mod logs;
mod queues;
mod removals;
mod sight;
mod state;

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::bus::{Bus, CallError};
use self::coordinator::{AtCoordinator, Coordinator};
use self::follow::{Followed, Line};
use self::logs::Logs;
use self::queues::{InQueues, Queues};
use self::removals::Removals;
use self::state::{Record, State};
use super::bullmq::link::Link;
use super::bullmq::server::{RedisConfig, RedisError};
use super::elsewhere::{Attempt, Carrier, Elsewhere};
use super::{AttemptReport, BuildOrder, ExecutorError, Kept};
use crate::domain::schedule::BuilderInfo;
use crate::logstore::{LogError, LogStore};
use crate::sys::fs::FsError;

/// The name of this executor in handles.
pub const NAME: &str = "chaotic";
/// What keys of `BullMQ` begin with at a manager, which never sets another.
const PREFIX: &str = "bull";
/// No build begins with less room than this for its log: 64 MiB.
const MIN_FREE: u64 = 64 << 20;
/// How long after the start it is not held against a manager that it was not heard yet.
const HELLO: Duration = Duration::from_secs(5);
/// How often it is looked meanwhile, if somebody waits.
const GLANCE: Duration = Duration::from_millis(50);

/// Which manager it is, and how it is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Era {
    /// Over Moleculer's bus: since October 2024.
    Bus,
    /// Over queues of `BullMQ`: from April 2024 until then.
    Queues,
}

/// How long what is waited for.
#[derive(Debug, Clone, Copy)]
pub struct Pacing {
    /// How often it is looked how a build stands.
    pub look: Duration,
    /// How often its log is read.
    pub log: Duration,
    /// How long a build may be missing at the manager until that is believed.
    pub grace: Duration,
    /// How long after the end of a build more of its log may come.
    pub rest: Duration,
    /// How long the manager may be away until a build counts as lost.
    pub lost_after: Duration,
}

impl Default for Pacing {
    fn default() -> Self {
        Self {
            look: Duration::from_secs(5),
            log: Duration::from_secs(1),
            grace: Duration::from_secs(20),
            rest: Duration::from_secs(1),
            lost_after: Duration::from_hours(24),
        }
    }
}

/// How a manager is reached.
#[derive(Debug, Clone)]
pub struct ChaoticConfig {
    /// Its Redis server.
    pub redis: RedisConfig,
    /// How it is spoken to.
    pub era: Era,
    /// How long what is waited for.
    pub pacing: Pacing,
}

/// Has packages built by a Chaotic Manager.
pub type ChaoticExecutor = Elsewhere<Chaotic>;

/// A Chaotic Manager.
pub struct Chaotic {
    manager: Manager,
    link: Link,
    logs: Logs,
    pacing: Pacing,
    opened: Instant,
    removals: Removals,
    /// End with the executor.
    _tasks: JoinSet<()>,
}

#[derive(Clone)]
enum Manager {
    Coordinator(Coordinator),
    Queues(Queues),
}

/// Why something cannot be known or done.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The manager is away, which passes.
    #[error("{0}")]
    Away(String),
    /// The manager says no.
    #[error("{0}")]
    Refused(String),
    /// The file system said no.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// The log cannot be written.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl From<RedisError> for Trouble {
    fn from(error: RedisError) -> Self {
        Self::Away(error.to_string())
    }
}

impl From<CallError> for Trouble {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Refused { .. } => Self::Refused(error.to_string()),
            CallError::Nobody(_) | CallError::Silent(_) | CallError::Redis(_) => Self::Away(error.to_string()),
        }
    }
}

impl Chaotic {
    /// Opens the way to a manager, within the runtime. It need not be there yet.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub fn open(config: ChaoticConfig) -> Result<Self, ExecutorError> {
        let link = Link::new(config.redis, PREFIX.to_owned());
        let logs = Logs::new(link.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(link.clone().watch());
        let manager = match config.era {
            Era::Bus => {
                let bus = Arc::new(Bus::new(link.clone(), &unique()?));
                tasks.spawn(Arc::clone(&bus).run());
                Manager::Coordinator(Coordinator { bus, logs: logs.clone() })
            }
            Era::Queues => Manager::Queues(Queues { link: link.clone() }),
        };
        let (opened, removals) = (Instant::now(), Removals::default());
        Ok(Self { manager, link, logs, pacing: config.pacing, opened, removals, _tasks: tasks })
    }

    /// What is there of the manager, for somebody who wonders whether it can be used.
    ///
    /// # Errors
    /// If nothing is.
    pub async fn examine(&self) -> Result<String, Trouble> {
        self.link.ask::<String>(&redis::cmd("PING")).await?;
        let Manager::Coordinator(coordinator) = &self.manager else { return Ok("its Redis answers".to_owned()) };
        while !coordinator.is_there() {
            if self.opened.elapsed() > HELLO {
                return Err(Trouble::Away(format!("no coordinator is on the bus of {}", self.link.config().url)));
            }
            tokio::time::sleep(GLANCE).await;
        }
        Ok(format!("its coordinator is there, with {} builders", coordinator.builders().len()))
    }

    fn line(&self, record: &Record) -> Line {
        match &self.manager {
            Manager::Coordinator(coordinator) => {
                Line::Coordinator(Box::new(AtCoordinator::new(coordinator.clone(), record.clone())))
            }
            Manager::Queues(queues) => Line::Queues(Box::new(InQueues::new(queues.clone(), record.clone()))),
        }
    }
}

impl Carrier for Chaotic {
    fn name(&self) -> &'static str {
        NAME
    }

    fn publishes(&self) -> bool {
        true
    }

    fn min_free(&self) -> u64 {
        MIN_FREE
    }

    fn ready(&self) -> Result<(), ExecutorError> {
        if let Some(Err(reason)) = self.link.state() {
            return Err(ExecutorError::Away(reason));
        }
        match &self.manager {
            Manager::Coordinator(coordinator) if !coordinator.is_there() && self.opened.elapsed() > HELLO => {
                Err(ExecutorError::Away(format!(
                    "no coordinator of a Chaotic Manager is on the bus of {}",
                    self.link.config().url
                )))
            }
            Manager::Coordinator(_) | Manager::Queues(_) => Ok(()),
        }
    }

    fn builders(&self) -> Option<Vec<BuilderInfo>> {
        match &self.manager {
            Manager::Coordinator(coordinator) => Some(coordinator.builders()),
            Manager::Queues(_) => None,
        }
    }

    fn has(&self, dir: &Path) -> bool {
        State::at(dir).record().is_some()
    }

    fn accept(&self, order: &BuildOrder, dir: &Path, logs: &LogStore) -> Result<(), ExecutorError> {
        let bad = |reason: &str| ExecutorError::BadOrder { attempt: order.attempt.clone(), reason: reason.to_owned() };
        if order.proposal.is_some() {
            return Err(bad("a Chaotic Manager publishes whatever it builds, so that it makes no test builds"));
        }
        let pkgbase = order.pkgbase.to_string();
        let is_taken = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.+".contains(&byte);
        if !pkgbase.bytes().all(is_taken) {
            return Err(bad(
                "a Chaotic Manager takes lower case letters, digits and `-_.+` only in the name of a package",
            ));
        }
        let mut log = logs.writer(&order.attempt)?;
        log.note(&format!("by Chaotic Manager, for {}", order.route.target))?;
        State::at(dir).write_record(&Record {
            pkgbase,
            arch: order.arch.clone(),
            commit: order.commit.to_string(),
            class: order.class.as_ref().map(ToString::to_string),
            route: order.route.clone(),
        })?;
        Ok(())
    }

    fn follow<'a>(&'a self, attempt: &'a mut Attempt) -> BoxFuture<'a, AttemptReport> {
        let state = State::at(&attempt.dir);
        async move {
            match state.record() {
                Some(record) => {
                    let line = self.line(&record);
                    Followed::new(line, self.logs.clone(), self.pacing, (state, record), attempt).see_through().await
                }
                None => AttemptReport::lost("what was known of the build is gone from the disk"),
            }
        }
        .boxed()
    }

    /// The end of what nobody waits for is on record, so it is over there.
    fn abandon(&self, _dir: &Path) {}

    fn keep_packages(&self, kept: Kept) -> BoxFuture<'_, Result<bool, ExecutorError>> {
        let manager = self.manager.clone();
        let remove = move |kept: Kept| async move {
            match manager {
                Manager::Coordinator(coordinator) => coordinator.remove_others(&kept).await,
                Manager::Queues(queues) => queues.remove_others(&kept).await,
            }
        };
        async move { Ok(self.removals.carry_out(kept, remove).await) }.boxed()
    }
}

/// What no other node has in its id.
fn unique() -> Result<String, ExecutorError> {
    let (mut random, path) = ([0; 8], Path::new("/dev/urandom"));
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut random));
    read.map_err(|error| FsError::new("read", path, error))?;
    Ok(format!("{:016x}", u64::from_ne_bytes(random)))
}
