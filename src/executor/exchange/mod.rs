//! What controller and builders elsewhere give each other for one attempt: the files of the package one way, log and
//! artefacts the other. This is the storage; how it travels is told by [`crate::http`], what is taken by
//! [`crate::domain::upload`].
//!
//! Executors that hand builds to other machines admit an attempt here before anybody hears of it, take its artefacts
//! when its end was told, and close it. Whatever a builder brings stays here until then: nothing else sees it.

mod attempt;
mod claim;
mod earlier;
mod key;
mod log;
mod receive;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use tokio::sync::watch;

use super::BuildOrder;
use super::kept::blocking;
use crate::builder::artefact::{Artefact, Expectation};
use crate::builder::bundle::bundle;
use crate::builder::pacman::Server;
use crate::builder::workspace::remove_all;
use crate::domain::job::{Job, JobToken, Places};
use crate::domain::keyring::PublicKeys;
use crate::domain::upload::{ArtefactClaim, Held, Limits, Refusal};
use crate::logstore::{LogError, LogStore};
use crate::sys::fs::FsError;
use crate::sys::secret::ExposeSecret as _;
use attempt::{Attempt, Record};

pub use claim::{Caller, Judge, Verdict};
pub use key::Key;
pub use log::LogRoom;
pub use receive::Received;

/// What comes of a key that cannot be given to builders.
const NO_KEY: &str = "builders elsewhere cannot verify what is published";

/// What a builder of an attempt is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// To build.
    GoOn,
    /// To stop; nobody wants the result.
    Cancelled,
}

/// How long a builder may let us wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For the next bytes of a body.
    pub idle: Duration,
    /// For a whole body. What came until then is kept.
    pub request: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { idle: Duration::from_secs(30), request: Duration::from_mins(15) }
    }
}

/// Why something was not taken, given or done.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The builder did what it may not.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The file system said no.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// The log cannot be written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// It cannot be told now who has the attempt.
    #[error("it cannot be told now who has this attempt: {0}")]
    Unsure(String),
}

/// What an attempt needs to be built elsewhere.
#[derive(Debug, Clone)]
pub struct Grant {
    /// What whoever builds it proves itself with.
    pub token: JobToken,
}

/// The exchange of all attempts. Cheap to clone.
#[derive(Clone)]
pub struct Exchange(Arc<Inner>);

struct Inner {
    dir: PathBuf,
    logs: LogStore,
    key: Key,
    patience: Patience,
    /// Where builders reach us, once that is known.
    address: OnceLock<String>,
    /// Directories of published repositories, with the name they are served under.
    published: BTreeMap<PathBuf, String>,
    /// How much an attempt may bring.
    limits: Limits,
    /// Who knows which builder has an attempt, where several may.
    judge: OnceLock<Arc<dyn Judge>>,
    open: Mutex<HashMap<String, Arc<Attempt>>>,
}

impl Exchange {
    /// Opens the exchange in `dir`, which only we can read. `published` says which directories of packages are served
    /// to builders, under which name.
    ///
    /// # Errors
    /// If the directory cannot be made.
    pub fn open(dir: PathBuf, logs: LogStore, key: Key, published: BTreeMap<PathBuf, String>) -> Result<Self, FsError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        made.map_err(|error| FsError::new("create", &dir, error))?;
        let (patience, limits, address, judge, open) = Default::default();
        Ok(Self(Arc::new(Inner { dir, logs, key, patience, address, published, limits, judge, open })))
    }

    /// With another patience than usual.
    #[must_use]
    pub fn with_patience(self, patience: Patience) -> Self {
        self.anew(patience, self.0.limits)
    }

    /// With other limits of what attempts may bring that are admitted from now on.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        self.anew(self.0.patience, limits)
    }

    fn anew(&self, patience: Patience, limits: Limits) -> Self {
        let Inner { dir, logs, key, published, .. } = &*self.0;
        let (dir, logs, key, published) = (dir.clone(), logs.clone(), key.clone(), published.clone());
        let (address, judge, open) = Default::default();
        Self(Arc::new(Inner { dir, logs, key, patience, address, published, limits, judge, open }))
    }

    /// Tells where builders reach us, without a slash at its end. The first that is told counts.
    pub fn reached_at(&self, address: &str) {
        let _ = self.0.address.set(address.trim_end_matches('/').to_owned());
    }

    /// Takes up an attempt: from now on, whoever has its token may bring what it makes. Said twice, it is the same.
    ///
    /// # Errors
    /// If it cannot be kept.
    pub fn admit(&self, order: &BuildOrder) -> Result<Grant, ExchangeError> {
        let dir = self.dir_of(&order.attempt)?;
        let token = JobToken::new(self.0.key.token(&order.attempt).expose_secret());
        if Record::read(&dir).is_some() {
            return Ok(Grant { token });
        }
        let failed = |error| FsError::new("keep the attempt in", &dir, error);
        remove_all(&dir).map_err(failed)?;
        let expected = Expectation::of(&order.pkgbase, &order.arch, &order.files);
        let limits = self.0.limits.for_packages(expected.count().unwrap_or(0));
        let record = Record { expected, limits, log_begins: self.0.logs.position(&order.attempt)?.len };
        Attempt::create(&dir, &bundle(&order.files).map_err(failed)?, &record)?;
        Ok(Grant { token })
    }

    /// The build as a builder elsewhere is told of it: where it gets its files and packages, and where it brings what
    /// it makes. `None` until it is known where builders reach us. Directories that are not served are left out.
    #[must_use]
    pub fn job(&self, order: &BuildOrder, grant: &Grant) -> Option<Job> {
        self.job_for(order, grant, false)
    }

    /// As [`Exchange::job`], for a program on this machine that may hand it on: directories that are not served stay, for
    /// it sees them, and the log is what it prints.
    #[must_use]
    pub fn job_of_program(&self, order: &BuildOrder, grant: &Grant) -> Option<Job> {
        let job = self.job_for(order, grant, true)?;
        Some(Job { places: job.places.map(|places| Places { log: None, ..places }), ..job })
    }

    fn job_for(&self, order: &BuildOrder, grant: &Grant, is_here: bool) -> Option<Job> {
        let places = self.places(&order.attempt)?;
        let address = self.0.address.get()?;
        let mut order = order.clone();
        order.package_repositories.retain_mut(|repository| match &repository.server {
            Server::Url(_) => true,
            Server::Directory(dir) => match self.0.published.get(dir) {
                // Where nothing was published yet, there is no repository, and pacman would miss it.
                Some(name) if dir.join(format!("{}.db", repository.name)).exists() => {
                    let is_signed = dir.join(format!("{}.db.sig", repository.name)).is_file();
                    repository.keys = is_signed.then(|| published_key(dir, &repository.name)).flatten();
                    // `Optional` would forgive a missing signature, and so anybody on the way could leave it out.
                    let level = if is_signed { "Required" } else { "Never" };
                    repository.sig_level.get_or_insert_with(|| level.to_owned());
                    repository.server = Server::Url(format!("{address}/repo/{name}"));
                    true
                }
                Some(_) => false,
                None => is_here,
            },
        });
        Some(order.job().for_builders(places, grant.token.clone()))
    }

    /// Where builders of an attempt get and bring what belongs to it; `None` until it is known where they reach us.
    #[must_use]
    pub fn places(&self, attempt: &str) -> Option<Places> {
        let below = format!("{}/api/v1/attempts/{attempt}", self.0.address.get()?);
        let places = Places::of(&below);
        Some(if self.0.judge.get().is_some() { places.claimed(&below) } else { places })
    }

    /// Whether a token is that of an attempt.
    #[must_use]
    pub fn accepts(&self, attempt: &str, token: &str) -> bool {
        self.0.key.accepts(attempt, token)
    }

    /// The tar archive with the files of the package.
    ///
    /// # Errors
    /// If the attempt is over.
    pub fn files<'a>(&self, caller: impl Into<Caller<'a>>) -> Result<PathBuf, ExchangeError> {
        Ok(self.served(caller.into())?.files_path())
    }

    /// What is there of a file; `None` if nothing is.
    ///
    /// # Errors
    /// If the attempt is over, or makes no such file.
    pub fn held<'a>(&self, caller: impl Into<Caller<'a>>, name: &str) -> Result<Option<Held>, ExchangeError> {
        let attempt = self.served(caller.into())?;
        attempt.check_name(name)?;
        Ok(attempt.offered(name))
    }

    /// What a builder has made, if it is what it says, all of it is there, and the build may make it.
    ///
    /// # Errors
    /// [`Refusal::Untrue`] or [`Refusal::Foreign`], if not.
    pub fn artefacts(&self, attempt: &str, told: &[ArtefactClaim]) -> Result<Vec<Artefact>, ExchangeError> {
        let attempt = self.attempt(attempt)?;
        let mut names = BTreeSet::new();
        for claim in told {
            attempt.check_name(&claim.name)?;
            if !names.insert(&claim.name) {
                return Err(Refusal::Untrue(format!("`{}` is named twice", claim.name)).into());
            }
        }
        told.iter().map(|claim| attempt.artefact(claim)).collect()
    }

    /// What the builder of an attempt is to do, now and from now on. The channel closes with the attempt, and when a
    /// builder claims it.
    ///
    /// # Errors
    /// If the attempt is over.
    pub fn wish<'a>(&self, caller: impl Into<Caller<'a>>) -> Result<watch::Receiver<Wish>, ExchangeError> {
        self.served(caller.into())?.wish().ok_or_else(|| Refusal::Over.into())
    }

    /// Whether the builder of an attempt is to stop, whoever that is.
    #[must_use]
    pub fn is_cancelled(&self, attempt: &str) -> bool {
        let wish = self.attempt(attempt).ok().and_then(|attempt| attempt.wish());
        wish.is_some_and(|wish| *wish.borrow() == Wish::Cancelled)
    }

    /// Has the builder of an attempt stop. For one that is over, nothing is done.
    ///
    /// # Errors
    /// If that cannot be kept for later processes.
    pub fn cancel(&self, attempt: &str) -> Result<(), ExchangeError> {
        match self.attempt(attempt) {
            Ok(attempt) => Ok(attempt.cancel()?),
            Err(ExchangeError::Refused(Refusal::Over)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Ends an attempt, and removes all that was brought for it. Requests that bring more end now.
    ///
    /// # Errors
    /// If something cannot be removed.
    pub async fn close(&self, attempt: &str) -> Result<(), ExchangeError> {
        let dir = self.dir_of(attempt)?;
        if let Ok(attempt) = self.attempt(attempt) {
            attempt.end().await;
        }
        let removed = dir.clone();
        // First what makes it an attempt: half of one is none.
        let gone = blocking(move || Record::remove(&removed).and_then(|()| remove_all(&removed))).await;
        gone.map_err(|error| FsError::new("remove", &dir, error))?;
        self.known().remove(attempt);
        Ok(())
    }

    /// Removes what an earlier process left of all attempts but these.
    ///
    /// # Errors
    /// If something cannot be removed.
    pub async fn keep_only(&self, attempts: &BTreeSet<String>) -> Result<(), ExchangeError> {
        let failed = |error| FsError::new("clean", &self.0.dir, error);
        let entries: Vec<_> = fs::read_dir(&self.0.dir).map_err(failed)?.filter_map(Result::ok).collect();
        for entry in entries {
            match entry.file_name().to_str() {
                Some(name) if attempts.contains(name) => {}
                Some(name) if self.dir_of(name).is_ok() => self.close(name).await?,
                _ => remove_all(&entry.path()).map_err(failed)?,
            }
        }
        Ok(())
    }

    fn attempt(&self, attempt: &str) -> Result<Arc<Attempt>, ExchangeError> {
        let dir = self.dir_of(attempt).map_err(|_| Refusal::Over)?;
        let mut known = self.known();
        if let Some(known) = known.get(attempt) {
            return if known.is_over() { Err(Refusal::Over.into()) } else { Ok(known.clone()) };
        }
        let Some(record) = Record::read(&dir) else { return Err(Refusal::Over.into()) };
        let found = Arc::new(Attempt::load(dir, record)?);
        known.insert(attempt.to_owned(), found.clone());
        Ok(found)
    }

    fn dir_of(&self, attempt: &str) -> Result<PathBuf, LogError> {
        // Checks that the id names a file in our directories.
        self.0.logs.position(attempt)?;
        Ok(self.0.dir.join(Path::new(attempt)))
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Arc<Attempt>>> {
        self.0.open.lock().expect("nobody panics while holding the map of attempts")
    }
}

/// The key that what is published in a directory is signed with. It stays there where signing has ended.
fn published_key(dir: &Path, name: &str) -> Option<PublicKeys> {
    let path = dir.join(format!("{name}.gpg"));
    let bytes = fs::read(&path).inspect_err(|error| tracing::warn!(path = %path.display(), %error, "{NO_KEY}")).ok()?;
    PublicKeys::read(&bytes).inspect_err(|error| tracing::warn!(path = %path.display(), %error, "{NO_KEY}")).ok()
}
