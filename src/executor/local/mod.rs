//! Builds on this machine: makepkg in bubblewrap, as a user that is not root.

mod attempt;
mod caching;
mod desk;
mod hooks;
pub mod image;
mod inside;
mod launcher;
pub mod probe;
mod step;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::builder::pacman::Server;
use crate::builder::user::BuildUser;
use crate::builder::workspace::{make_enterable, remove_all};
use crate::caches::{CacheConfig, Caches};
use crate::domain::build::Outcome;
use crate::domain::cache::told::Told;
use crate::domain::schedule::BuilderInfo;
use crate::domain::signature::Verification;
use crate::logstore::{LogStore, LogWriter};
use crate::sys::clock::SystemClock;
use crate::sys::fs::{FsError, ensure_free};

use super::kept::{self, attempt_of, blocking, report_path};
use super::tracked::{Progress, Reins, Tracked};
use super::{AttemptReport, BuildOrder, Ending, Executor, ExecutorError, Handle};
use attempt::{Attempt, MIN_FREE};
use caching::Caching;
use image::{ImageConfig, Images};
use launcher::Launcher;
use step::Limits;

/// The name of this executor in handles.
pub const NAME: &str = "local";

/// The most bytes of all cache sets together where nothing is said: 20 GiB.
pub const DEFAULT_QUOTA: u64 = 20 << 30;

/// Variables that name the proxies of this machine.
const PROXIES: [&str; 8] =
    ["http_proxy", "https_proxy", "no_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"];

/// How this machine builds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalConfig {
    /// Where attempts have their directories.
    pub work_dir: PathBuf,
    /// Where cache sets are kept for packages that have some.
    pub caches: CacheConfig,
    /// How many builds run at once.
    pub slots: usize,
    /// Who builds run as when the controller is root.
    pub user: String,
    /// Who is named as the packager.
    pub packager: String,
    /// Compiler processes of one build at once; what the machine's makepkg.conf says if not given.
    pub jobs: Option<usize>,
    /// The image that builds are done in; on this machine's own system without it.
    pub image: Option<ImageConfig>,
    /// pacman's database of what is installed on this machine, where it has one (Arch).
    pub installed: Option<PathBuf>,
    /// pacman's keyring, by which packages are verified that builds install; without it that of the image, if it has one.
    pub keyring: Option<PathBuf>,
    /// When PGP signatures of sources are verified.
    pub pgp: Verification,
    /// What this machine is among builders; it takes everything if that is not given.
    pub builder: Option<BuilderInfo>,
}

/// The proxies that this process was given, for steps with the network.
#[must_use]
pub fn proxies() -> BTreeMap<String, String> {
    PROXIES.iter().filter_map(|&name| Some((name.to_owned(), crate::sys::env::var(name)?))).collect()
}

impl LocalConfig {
    /// One build at a time, everything under `data_dir`.
    #[must_use]
    pub fn under(data_dir: &Path) -> Self {
        Self {
            work_dir: data_dir.join("work"),
            caches: CacheConfig { dir: data_dir.join("caches"), quota: DEFAULT_QUOTA },
            slots: 1,
            user: "nobody".to_owned(),
            packager: "Unknown Packager".to_owned(),
            jobs: None,
            image: None,
            installed: Some("/var/lib/pacman/local".into()),
            keyring: keyring(),
            pgp: Verification::default(),
            builder: None,
        }
    }
}

/// pacman's keyring on this machine, if it has one.
#[must_use]
pub fn keyring() -> Option<PathBuf> {
    keyring_in(Path::new("/"))
}

/// pacman's keyring of the system that begins there, if it has one.
fn keyring_in(root: &Path) -> Option<PathBuf> {
    Some(root.join("etc/pacman.d/gnupg")).filter(|keyring| is_keyring(keyring))
}

/// Whether a directory is what `pacman-key --init` makes.
#[must_use]
pub fn is_keyring(dir: &Path) -> bool {
    dir.join("trustdb.gpg").is_file()
}

/// Builds packages on this machine.
#[derive(Debug, Clone)]
pub struct LocalExecutor {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: LocalConfig,
    user: BuildUser,
    logs: LogStore,
    slots: Semaphore,
    launcher: Launcher,
    tracked: Tracked,
    caches: Caches,
    images: Option<Images>,
}

impl Inner {
    fn attempt_dir(&self, attempt: &str) -> PathBuf {
        self.config.work_dir.join(attempt)
    }
}

impl LocalExecutor {
    /// Opens the executor, if builds can run here. What attempts of an earlier process left behind without a
    /// report is removed.
    pub fn open(config: LocalConfig, logs: LogStore) -> Result<Self, ExecutorError> {
        let user = BuildUser::resolve(&config.user)?;
        let made = make_enterable(&config.work_dir);
        made.map_err(|error| FsError::new("create", &config.work_dir, error))?;
        user.check_access(&config.work_dir)?;
        remove_unfinished(&config.work_dir).map_err(|error| FsError::new("clean", &config.work_dir, error))?;
        let launcher =
            Launcher::start().map_err(|error| FsError::new("start a thread for", &config.work_dir, error))?;
        let slots = Semaphore::new(config.slots.max(1));
        let tracked = Tracked::default();
        let caches = Caches::open(config.caches.clone(), Arc::new(SystemClock))?;
        let images = config.image.clone().map(Images::open).transpose()?;
        Ok(Self { inner: Arc::new(Inner { config, user, logs, slots, launcher, tracked, caches, images }) })
    }

    /// The attempts of an earlier process that came to an end of their own, and what they made is here.
    ///
    /// # Errors
    /// If the directory of attempts cannot be read.
    pub fn ended(&self) -> Result<BTreeSet<String>, ExecutorError> {
        let dir = &self.inner.config.work_dir;
        let failed = |error| FsError::new("read", dir, error);
        let mut ended = BTreeSet::new();
        for entry in std::fs::read_dir(dir).map_err(failed)? {
            let Ok(attempt) = entry.map_err(failed)?.file_name().into_string() else { continue };
            if self.stored_report(&attempt).is_some_and(|report| report.ending.stands()) {
                ended.insert(attempt);
            }
        }
        Ok(ended)
    }

    fn check(&self, order: &BuildOrder) -> Result<(), ExecutorError> {
        let bad = |reason: String| ExecutorError::BadOrder { attempt: order.attempt.clone(), reason };
        probe::require_programs(self.inner.config.image.as_ref())?;
        let word = |text: &str| {
            let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._+@-".contains(&byte);
            !text.is_empty() && !text.starts_with('.') && text.bytes().all(legal)
        };
        for (what, text) in [("repository", &order.repository), ("architecture", &order.arch)] {
            if !word(text) {
                return Err(bad(format!("`{text}` cannot be the name of a {what}")));
            }
        }
        self.inner.user.check_access(&self.inner.config.work_dir)?;
        for repository in &order.package_repositories {
            repository.clone().checked().map_err(|error| bad(error.to_string()))?;
            if let Server::Directory(path) = &repository.server
                && path.exists()
            {
                self.inner.user.check_access(path)?;
            }
        }
        Ok(())
    }

    fn accept(&self, order: BuildOrder) -> Result<Handle, ExecutorError> {
        let handle = Handle { executor: NAME.to_owned(), attempt: order.attempt.clone() };
        if self.inner.tracked.has(&order.attempt) || self.stored_report(&order.attempt).is_some() {
            return Ok(handle);
        }
        self.check(&order)?;
        let log = self.inner.logs.writer(&order.attempt)?;
        if let Some(reins) = self.inner.tracked.begin(&order.attempt) {
            tokio::spawn(carry_out(Arc::clone(&self.inner), order, log, reins));
        }
        Ok(handle)
    }

    fn stored_report(&self, attempt: &str) -> Option<AttemptReport> {
        kept::report(&self.inner.attempt_dir(attempt))
    }

    /// What is said about an attempt that an earlier process had begun: its report if it has one.
    fn left_behind(&self, attempt: &str) -> Result<AttemptReport, ExecutorError> {
        if let Some(report) = self.stored_report(attempt) {
            return Ok(report);
        }
        let message = "the controller restarted during this build".to_owned();
        if self.inner.logs.position(attempt)?.final_len.is_none() {
            let mut log = self.inner.logs.writer(attempt)?;
            log.note(&message)?;
            log.finish()?;
        }
        Ok(AttemptReport::ended(Ending::Interrupted, message))
    }

    async fn wait(&self, attempt: &str) -> Result<AttemptReport, ExecutorError> {
        match self.inner.tracked.ended(attempt).await {
            Some(report) => Ok(report),
            None => self.left_behind(attempt),
        }
    }

    async fn forget(&self, attempt: &str) -> Result<(), ExecutorError> {
        self.inner.tracked.forget(attempt).await;
        // Checks that the id names a file in our directories.
        self.inner.logs.position(attempt)?;
        let dir = self.inner.attempt_dir(attempt);
        blocking(move || remove_all(&dir).map_err(|error| FsError::new("remove", &dir, error))).await?;
        Ok(())
    }
}

/// Waits for a slot, builds, and lets everybody know.
async fn carry_out(inner: Arc<Inner>, order: BuildOrder, log: LogWriter, reins: Reins) {
    let Reins { cancel, progress } = reins;
    let dir = inner.attempt_dir(&order.attempt);
    let permit = tokio::select! {
        biased;
        () = cancel.cancelled() => None,
        permit = inner.slots.acquire() => permit.ok(),
    };
    let (report, log) = if permit.is_some() {
        progress.send_replace(Progress::Running);
        let limits = Limits { cancel, deadline: Instant::now() + order.may_take() };
        let order = Arc::new(order);
        let caching = Caching::begin(inner.caches.clone(), Arc::clone(&order));
        Attempt { inner: Arc::clone(&inner), order, log, limits, keys: Vec::new(), image: None, caching }.run().await
    } else {
        let message = "the build was cancelled before it began".to_owned();
        let ending = Ending::Done(Outcome::Cancelled);
        (AttemptReport::ended(ending, message), log)
    };
    drop(permit);
    if let Err(error) = kept::close(&report, &dir, log) {
        tracing::warn!(dir = %dir.display(), error = &error as &dyn std::error::Error, "cannot record how a build ended");
    }
    progress.send_replace(Progress::Ended(Arc::new(report)));
}

fn remove_unfinished(work_dir: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(work_dir)? {
        let path = entry?.path();
        if path.is_dir() && !report_path(&path).exists() {
            remove_all(&path)?;
        }
    }
    Ok(())
}

impl Executor for LocalExecutor {
    fn name(&self) -> &'static str {
        NAME
    }

    fn caches_of<'a>(&'a self, handle: &'a Handle) -> BoxFuture<'a, Vec<Told>> {
        let (caches, attempt) = (self.inner.caches.clone(), handle.attempt.clone());
        async move {
            let told = blocking(move || caches.told(&attempt)).await;
            told.unwrap_or_else(|error| {
                tracing::warn!(error = &error as &dyn std::error::Error, "it is not known which caches a build used");
                Vec::new()
            })
        }
        .boxed()
    }

    fn builders(&self) -> Option<Vec<BuilderInfo>> {
        self.inner.config.builder.clone().map(|builder| vec![builder])
    }

    fn ready(&self) -> Result<(), ExecutorError> {
        Ok(ensure_free(&self.inner.config.work_dir, MIN_FREE)?)
    }

    fn fit(&self) -> BoxFuture<'_, Result<(), ExecutorError>> {
        let config = &self.inner.config;
        async move {
            probe::require_programs(config.image.as_ref())?;
            probe::require_sandbox(&config.user).await
        }
        .boxed()
    }

    fn submit(&self, order: BuildOrder) -> BoxFuture<'_, Result<Handle, ExecutorError>> {
        async move { self.accept(order) }.boxed()
    }

    fn started<'a>(&'a self, handle: &'a Handle) -> BoxFuture<'a, Result<(), ExecutorError>> {
        async move {
            self.inner.tracked.started(attempt_of(handle, NAME)?).await;
            Ok(())
        }
        .boxed()
    }

    fn finished<'a>(&'a self, handle: &'a Handle) -> BoxFuture<'a, Result<AttemptReport, ExecutorError>> {
        async move { self.wait(attempt_of(handle, NAME)?).await }.boxed()
    }

    fn cancel<'a>(&'a self, handle: &'a Handle) -> BoxFuture<'a, Result<(), ExecutorError>> {
        async move {
            self.inner.tracked.cancel(attempt_of(handle, NAME)?);
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
