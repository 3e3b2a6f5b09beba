//! What runs builds, wherever they run.
//!
//! An executor is only given builds that are ready: order, retries and what a result means for other
//! builds are decided elsewhere.

pub mod api;
pub mod buildomat;
pub mod bullmq;
pub mod chaotic;
pub mod command;
pub mod copr;
pub mod elsewhere;
pub mod exchange;
pub mod kept;
pub mod local;
#[cfg(test)]
pub mod testing;
pub mod tracked;

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::builder::artefact::Artefact;
use crate::builder::pacman::{PackageRepository, Server};
use crate::builder::user::UserError;
use crate::caches::CacheError;
use crate::domain::build::Outcome;
use crate::domain::cache::Plan;
use crate::domain::cache::told::Told;
use crate::domain::chaotic::Route;
use crate::domain::folder::Folder;
use crate::domain::job::{Job, PacmanKeyring, PacmanRepository};
use crate::domain::name::{Oid, PkgBase};
use crate::domain::policy::{BuildClass, Bump};
use crate::domain::schedule::BuilderInfo;
use crate::domain::version::Version;
use crate::logstore::LogError;
use crate::sys::fs::FsError;
use crate::sys::process::ProcessError;

/// Everything an executor needs to know about one attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct BuildOrder {
    /// The id of the attempt, unique for ever; it names the log.
    pub attempt: String,
    /// The monorepo.
    pub repository: String,
    /// Its address for git, without secrets; `None` where only this machine has it.
    pub url: Option<String>,
    /// The architecture to build for.
    pub arch: String,
    /// The package.
    pub pkgbase: PkgBase,
    /// The commit of the monorepo its files are from.
    pub commit: Oid,
    /// The proposal that it is a test build of; `None` for a build.
    pub proposal: Option<u64>,
    /// The package folder at that commit, `.CI` included.
    pub files: Folder,
    /// The version it should come out with; `None` if that is known only after the build.
    pub expected_version: Option<Version>,
    /// The class of builders that it asks for.
    pub class: Option<BuildClass>,
    /// The rebuild asked for.
    pub bump: Option<Bump>,
    /// Where it may take its dependencies from; earlier ones win.
    pub package_repositories: Vec<PackageRepository>,
    /// File names that are published already; a build that would make one of them again ends with
    /// [`Outcome::AlreadyBuilt`].
    pub published: Vec<String>,
    /// How long it may take, from when it begins.
    pub timeout: Duration,
    /// `BUILDER_EXTRA_TIMEOUT`: it may take this many times as long.
    pub extra_timeout: f64,
    /// `BUILDER_CACHE_SOURCES`: its sources are kept for the next build.
    pub cache_sources: bool,
    /// `BUILDER_ALLOW_PROHIBITED`: its packages may name groups, and packages that they replace.
    pub allow_prohibited: bool,
    /// What else it may keep for the next build of its package, and find of an earlier one.
    pub caches: Plan,
    /// The time that is written into the package, in seconds since 1970.
    pub source_date_epoch: i64,
    /// `CI_CODE_SKIP`.
    pub skip_exit_code: i32,
    /// What a Chaotic Manager calls where it comes from and goes to.
    pub route: Route,
}

/// The longest a build may take, whatever is asked for: 30 days.
const MAX_TIME: Duration = Duration::from_hours(30 * 24);

impl BuildOrder {
    /// How long it may take in the end.
    #[must_use]
    pub fn may_take(&self) -> Duration {
        let factor = if self.extra_timeout > 0.0 { self.extra_timeout } else { 1.0 };
        let seconds = (self.timeout.as_secs_f64() * factor).min(MAX_TIME.as_secs_f64());
        Duration::try_from_secs_f64(seconds).unwrap_or(MAX_TIME)
    }

    /// As whoever carries it out elsewhere is told of it.
    #[must_use]
    pub fn job(&self) -> Job {
        let repositories = self.package_repositories.iter().map(|repository| PacmanRepository {
            name: repository.name.clone(),
            server: match &repository.server {
                Server::Url(url) => url.clone(),
                Server::Directory(path) => format!("file://{}", path.display()),
            },
            sig_level: repository.sig_level.clone(),
        });
        let keyrings = self.package_repositories.iter().filter_map(|repository| {
            let keys = repository.keys.clone()?;
            Some(PacmanKeyring { name: repository.name.clone(), keys })
        });
        Job {
            schema: 1,
            attempt: self.attempt.clone(),
            repository: self.repository.clone(),
            url: self.url.clone(),
            commit: self.commit.to_string(),
            proposal: self.proposal,
            pkgbase: self.pkgbase.to_string(),
            version: self.expected_version.as_ref().map(ToString::to_string),
            bump: self.bump.as_ref().map(|bump| bump.count),
            bump_of: self.bump.as_ref().map(|bump| bump.version.to_string()),
            arch: self.arch.clone(),
            class: self.class.as_ref().map(ToString::to_string),
            pacman_repositories: repositories.collect(),
            pacman_keyrings: keyrings.collect(),
            published: self.published.clone(),
            timeout_s: self.may_take().as_secs(),
            cache_sources: self.cache_sources,
            allow_prohibited: self.allow_prohibited,
            caches: self.caches.clone(),
            source_date_epoch: self.source_date_epoch,
            skip_exit_code: self.skip_exit_code,
            package_dir: None,
            artefact_dir: None,
            places: None,
            token: None,
        }
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// It came to an end of its own.
    Done(Outcome),
    /// Something failed that is not the package's; another attempt may succeed.
    Infrastructure,
    /// Whoever carried it out ended while it was underway.
    Interrupted,
}

impl Ending {
    /// Whether the build itself came to an end, which counts whoever is told of it and when.
    #[must_use]
    pub const fn stands(self) -> bool {
        !matches!(self, Self::Infrastructure | Self::Interrupted | Self::Done(Outcome::Cancelled | Outcome::Lost))
    }
}

/// What is known of an attempt that has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptReport {
    /// How it ended.
    pub ending: Ending,
    /// What it made; they stay where they are until [`Executor::discard`].
    pub artefacts: Vec<Artefact>,
    /// The status of the step that ended it, where there was one.
    pub exit_code: Option<i32>,
    /// The reason, in a sentence for people; empty for a success without anything to say.
    pub message: String,
}

impl AttemptReport {
    /// An attempt that something ended which is not the package's fault.
    #[must_use]
    pub fn lost(message: impl Into<String>) -> Self {
        Self::ended(Ending::Infrastructure, message)
    }

    /// An attempt that made nothing, and of which no status is known.
    #[must_use]
    pub fn ended(ending: Ending, message: impl Into<String>) -> Self {
        Self { ending, artefacts: Vec::new(), exit_code: None, message: message.into() }
    }

    /// The same, with the status of the step that ended it.
    #[must_use]
    pub fn with_status(self, exit_code: Option<i32>) -> Self {
        Self { exit_code, ..self }
    }
}

/// What is to stay in a package repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// What it is called.
    pub repo: String,
    /// The architecture.
    pub arch: String,
    /// Every package that stays; never empty.
    pub packages: Vec<PkgBase>,
}

/// A hold on an attempt that outlives this process.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Handle {
    /// The kind of the executor that has it.
    pub executor: String,
    /// The id of the attempt.
    pub attempt: String,
}

/// An executor that could not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum ExecutorError {
    /// Programs are missing on this machine.
    #[error("this machine cannot build packages: {missing} not installed; {remedy}")]
    MissingPrograms {
        /// The programs, listed.
        missing: String,
        /// What to install.
        remedy: String,
    },
    /// The order cannot be carried out as it is.
    #[error("the build order of attempt {attempt} is not usable: {reason}")]
    BadOrder {
        /// The attempt.
        attempt: String,
        /// Why.
        reason: String,
    },
    /// Builds have no user to run as, or that user cannot reach what it needs.
    #[error(transparent)]
    User(#[from] UserError),
    /// The log could not be opened.
    #[error(transparent)]
    Log(#[from] LogError),
    /// What builds run in cannot be had on this machine.
    #[error("this machine cannot build packages: {0}; `pkgwarden doctor --builder` looks at the whole machine")]
    NoSandbox(String),
    /// What builds are handed over through is away.
    #[error("{0}")]
    Away(String),
    /// The caches of builds cannot be opened.
    #[error(transparent)]
    Caches(#[from] CacheError),
    /// The file system said no.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// A program could not be started.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// What builders elsewhere bring cannot be kept.
    #[error(transparent)]
    Exchange(#[from] exchange::ExchangeError),
    /// The handle is another executor's.
    #[error("attempt {attempt} belongs to the executor `{executor}`")]
    NotOurs {
        /// The attempt.
        attempt: String,
        /// Whose it is.
        executor: String,
    },
}

/// Runs builds. Each method may be called again at any time, also by another process after a restart.
pub trait Executor: Send + Sync {
    /// What it is called in handles.
    fn name(&self) -> &'static str;

    /// Whether builds go on while this process is away, so that it may end without stopping them.
    fn outlives_us(&self) -> bool {
        false
    }

    /// Whether it publishes what it builds by itself, so that nothing is to be published here.
    fn publishes(&self) -> bool {
        false
    }

    /// The builders that are there, each with its class; `None` if whoever builds takes anything, so that only the
    /// number of builds at once counts.
    fn builders(&self) -> Option<Vec<BuilderInfo>> {
        None
    }

    /// Has everything removed from what it publishes by itself, except this; whether that is done, now or by an
    /// earlier call. One that cannot do it has nothing to do.
    fn keep_packages(&self, _kept: Kept) -> BoxFuture<'_, Result<bool, ExecutorError>> {
        async { Ok(true) }.boxed()
    }

    /// Whether a build could begin now; the error says why not.
    fn ready(&self) -> Result<(), ExecutorError>;

    /// Whether builds can be carried out at all, for whoever carries them out on this machine. It is tried, which takes
    /// longer than [`Executor::ready`].
    fn fit(&self) -> BoxFuture<'_, Result<(), ExecutorError>> {
        async { Ok(()) }.boxed()
    }

    /// Takes a build. Asked twice for the same attempt, it is the same build.
    fn submit(&self, order: BuildOrder) -> BoxFuture<'_, Result<Handle, ExecutorError>>;

    /// Waits until the build has begun, or has ended without beginning.
    fn started<'a>(&'a self, handle: &'a Handle) -> BoxFuture<'a, Result<(), ExecutorError>>;

    /// Waits until the build has ended.
    fn finished<'a>(&'a self, handle: &'a Handle) -> BoxFuture<'a, Result<AttemptReport, ExecutorError>>;

    /// Stops the build; [`Executor::finished`] then tells that it was cancelled, unless it had ended.
    fn cancel<'a>(&'a self, handle: &'a Handle) -> BoxFuture<'a, Result<(), ExecutorError>>;

    /// What a build did with archives that are kept where it ran, for whoever gave the order there. Nothing where the
    /// controller keeps them, or nobody knows.
    fn caches_of<'a>(&'a self, _handle: &'a Handle) -> BoxFuture<'a, Vec<Told>> {
        Box::pin(std::future::ready(Vec::new()))
    }

    /// Forgets an attempt, with what it made: for every attempt, once its end is recorded and its artefacts
    /// are taken. One that has not ended is cancelled.
    fn discard<'a>(&'a self, handle: &'a Handle) -> BoxFuture<'a, Result<(), ExecutorError>>;

    /// Forgets what an earlier process left of attempts whose end is on record: all but these.
    fn keep_only(&self, attempts: BTreeSet<String>) -> BoxFuture<'_, Result<(), ExecutorError>>;
}
