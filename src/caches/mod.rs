//! The archives of cache sets on this machine: immutable objects under their SHA-256, and an index of which is found
//! by which key.
//!
//! An object is written aside, flushed and renamed; only then does the index name it, in one transaction: whoever looks
//! sees it whole or not at all. Objects in use are locked, also against other processes, and the lock goes with
//! whoever has it. What an archive may hold is decided in [`crate::domain::cache::archive`].

mod archive;
mod condemned;
mod entry;
mod index;
mod objects;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use jiff::Timestamp;
use rusqlite::Connection;

pub use self::archive::{Content, Rejected};
use self::entry::TOLD;
pub use self::entry::{Entry, Place, Use, Wanted};
pub use self::objects::{Leased, Staged};
use crate::domain::cache::retention::Whom;
pub use crate::domain::cache::told::Action;
use crate::domain::cache::told::Told;
use crate::domain::cache::{SetName, retention};
use crate::sys::clock::Clock;
use crate::sys::fs::{FsError, ensure_free};

/// No archive is begun with less room than this: 64 MiB.
const MIN_FREE: u64 = 64 << 20;

/// Why an archive cannot be kept or found.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// What was to be saved may not be.
    #[error("it may not be kept")]
    Rejected(#[from] Rejected),
    /// Other builds are about to save so much that it has no place beside.
    #[error("builds are about to save {staged} bytes, this one among them, and all caches together may have {quota}")]
    Crowded {
        /// The bytes of all that is about to be saved.
        staged: u64,
        /// The most bytes of all objects together.
        quota: u64,
    },
    /// Those who share its room are about to save more than their share.
    #[error("builds of {whose} are about to save {staged} bytes, and may take {share} of the room for all caches")]
    Share {
        /// Who they are.
        whose: &'static str,
        /// The bytes of all that they are about to save.
        staged: u64,
        /// The most that may be.
        share: u64,
    },
    /// There is no room beside what builds keep that are published.
    #[error("there is no room for it, and test builds of proposals take none from builds that are published")]
    Full,
    /// The file system said no.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// Reading or writing the index went wrong.
    #[error("the index of caches cannot be used")]
    Index(#[from] rusqlite::Error),
}

/// Where archives are kept, and how many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheConfig {
    /// The directory.
    pub dir: PathBuf,
    /// The most bytes of all objects together, with those that are about to be saved.
    pub quota: u64,
}

/// What came of looking for an archive.
#[derive(Debug)]
pub enum Found {
    /// It is there, and whole.
    Archive(Box<Leased>),
    /// There is none.
    Absent,
    /// There was one, but not with the content that was saved. It is gone now.
    Damaged(String),
}

/// What came of saving an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Published {
    /// It is found from now on.
    New(Box<Entry>),
    /// Another build was first: what it saved stays.
    Already,
    /// The set has been invalidated since the build began.
    Invalidated,
}

/// What was made room for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Archives that are not found any more.
    pub archives: usize,
    /// Objects that were removed.
    pub objects: usize,
    /// The bytes they had.
    pub bytes: u64,
}

/// The archives of this machine. Cheap to clone; every method may block on files.
#[derive(Debug, Clone)]
pub struct Caches(Arc<Inner>);

struct Inner {
    config: CacheConfig,
    clock: Arc<dyn Clock>,
    index: Mutex<Connection>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Caches").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Caches {
    /// Opens the archives, and clears away what was being written by processes that are gone.
    ///
    /// # Errors
    /// If the directory or its index cannot be opened.
    pub fn open(config: CacheConfig, clock: Arc<dyn Clock>) -> Result<Self, CacheError> {
        objects::prepare(&config.dir)?;
        let index = index::open(&config.dir)?;
        Ok(Self(Arc::new(Inner { config, clock, index: Mutex::new(index) })))
    }

    /// Caches of a test, in this directory.
    #[cfg(test)]
    pub fn in_tests(dir: &Path) -> Self {
        let config = CacheConfig { dir: dir.join("caches"), quota: 1 << 30 };
        Self::open(config, Arc::new(crate::sys::clock::SystemClock)).unwrap()
    }

    /// How often a set has been invalidated: part of its keys.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn epoch(&self, place: &Place) -> Result<u64, CacheError> {
        Ok(index::epoch(&self.index(), place)?)
    }

    /// Finds an archive, makes sure that it is what was saved, and notes that the build uses it. What is found stays as long
    /// as it is held.
    ///
    /// # Errors
    /// If it cannot be told whether there is one.
    pub fn find(&self, wanted: &Wanted) -> Result<Found, CacheError> {
        let Some((entry, file)) = self.choose(wanted)? else { return Ok(Found::Absent) };
        let path = objects::path(&self.0.config.dir, &entry.sha256);
        let whole = file.and_then(|file| match archive::verify(&file, &entry.sha256, &entry.content) {
            Ok(()) => Ok(file),
            Err(error) => Err(error),
        });
        match whole {
            Ok(object) => {
                index::note_use(&self.index(), &wanted.attempt, Action::Used, &entry, self.now())?;
                Ok(Found::Archive(Box::new(Leased { entry, object, path })))
            }
            Err(error) => {
                self.forget_object(&entry.sha256)?;
                Ok(Found::Damaged(error.to_string()))
            }
        }
    }

    /// Chooses under the lock of the index, so that what is chosen is locked before anybody can remove it.
    fn choose(&self, wanted: &Wanted) -> Result<Option<(Entry, io::Result<File>)>, CacheError> {
        let mut index = self.index();
        let transaction = index::begin(&mut index)?;
        if index::epoch(&transaction, &wanted.place)? != wanted.epoch {
            return Ok(None);
        }
        let Some(entry) = index::choose(&transaction, wanted)? else { return Ok(None) };
        let object = objects::lease(&self.0.config.dir, &entry.sha256);
        index::touch(&transaction, entry.id, self.now())?;
        transaction.commit()?;
        Ok(Some((entry, object)))
    }

    /// Packs what `tar` holds, an archive that somebody else made: checked, and without owners. Nobody finds it before
    /// [`Caches::publish`], which is to be called with the same `wanted`; if that never comes, it goes. It takes its room
    /// from now on: others go for it, but none that are found by builds that are published if it is of a proposal.
    ///
    /// # Errors
    /// If it holds anything that no archive may, or more than `max` bytes; [`CacheError::Crowded`],
    /// [`CacheError::Share`], [`CacheError::Full`].
    pub fn stage(&self, tar: impl Read, max: u64, wanted: &Wanted) -> Result<Staged, CacheError> {
        ensure_free(&self.0.config.dir, MIN_FREE)?;
        let staged = Staged::write(&self.0.config.dir, &wanted.owner(), |file| archive::pack(tar, file, max))?;
        if staged.size > retention::share(self.0.config.quota, wanted.whom()) {
            return Err(Rejected::new("it is larger than its share of the room for all caches").into());
        }
        self.take_room(wanted)?;
        fail::fail_point!("cache.staged", |_| crate::sys::signal::die());
        Ok(staged)
    }

    /// Makes room for what was just written aside.
    fn take_room(&self, wanted: &Wanted) -> Result<(), CacheError> {
        let (dir, quota, whom) = (&self.0.config.dir, self.0.config.quota, wanted.whom());
        let (incoming, own) = (objects::incoming(dir, "")?, objects::incoming(dir, &wanted.owner())?);
        let share = retention::share(quota, whom);
        if own > share {
            let whose = if whom == Whom::Proposals { "proposals" } else { "this package" };
            return Err(CacheError::Share { whose, staged: own, share });
        }
        if incoming > quota {
            return Err(CacheError::Crowded { staged: incoming, quota });
        }
        let is_full = || Ok::<_, CacheError>(index::size(&self.index())?.saturating_add(incoming) > quota);
        if is_full()? {
            self.prune_for(whom)?;
        }
        if whom == Whom::Proposals && is_full()? { Err(CacheError::Full) } else { Ok(()) }
    }

    /// Lets others find an archive, if they do not find one by that key already and the set has not been invalidated
    /// since the build began.
    ///
    /// # Errors
    /// If it cannot be put in its place; then nobody finds it.
    pub fn publish(&self, staged: Staged, wanted: &Wanted) -> Result<Published, CacheError> {
        let mut index = self.index();
        let transaction = index::begin(&mut index)?;
        if index::epoch(&transaction, &wanted.place)? != wanted.epoch {
            return Ok(Published::Invalidated);
        }
        if index::is_taken(&transaction, wanted)? {
            return Ok(Published::Already);
        }
        let (sha256, size, content) = (staged.sha256.clone(), staged.size, staged.content);
        staged.put(&self.0.config.dir)?;
        fail::fail_point!("cache.renamed", |_| crate::sys::signal::die());
        let now = self.now();
        let entry = Entry {
            id: 0,
            place: wanted.place.clone(),
            class: wanted.class.writes().word(),
            key: wanted.key.exact.clone(),
            sha256,
            size,
            content,
            origin: wanted.attempt.clone(),
            created: now,
            last_used: now,
            condemned: None,
        };
        let entry = index::insert(&transaction, entry, &wanted.key.scope, wanted.kind())?;
        index::note_use(&transaction, &wanted.attempt, Action::Created, &entry, now)?;
        transaction.commit()?;
        fail::fail_point!("cache.indexed", |_| crate::sys::signal::die());
        Ok(Published::New(Box::new(entry)))
    }

    /// Removes what the limits leave no room for, and objects that no archive has. Nothing that is in use goes.
    ///
    /// # Errors
    /// If the index or the disk says no.
    pub fn prune(&self) -> Result<Pruned, CacheError> {
        self.prune_for(Whom::Releases)
    }

    fn prune_for(&self, whom: Whom) -> Result<Pruned, CacheError> {
        let dir = &self.0.config.dir;
        let mut index = self.index();
        let transaction = index::begin(&mut index)?;
        let held = index::held(&transaction, |sha256| objects::is_leased(dir, sha256))?;
        // What is about to be saved has its room already.
        let all = self.0.config.quota;
        let gone = retention::evicted(&held, all.saturating_sub(objects::incoming(dir, "")?), all, whom);
        for id in &gone {
            index::remove(&transaction, *id)?;
        }
        index::forget_old_uses(&transaction)?;
        let named = index::objects(&transaction)?;
        // Objects go while nobody else can name them.
        let (objects, bytes) = objects::sweep(dir, &named)?;
        fail::fail_point!("cache.swept", |_| crate::sys::signal::die());
        transaction.commit()?;
        Ok(Pruned { archives: gone.len(), objects, bytes })
    }

    /// Makes sure that nobody finds what was saved of a set until now, and says how many archives that were. Builds that
    /// are under way neither find it any more nor save what they may have made with it. Without a repository or a package, all
    /// are meant.
    ///
    /// # Errors
    /// If the index cannot be written.
    pub fn invalidate(
        &self,
        set: &SetName,
        repository: Option<&str>,
        pkgbase: Option<&str>,
    ) -> Result<usize, CacheError> {
        let mut index = self.index();
        let transaction = index::begin(&mut index)?;
        index::raise_epoch(&transaction, set, repository, pkgbase)?;
        let removed = index::remove_set(&transaction, set, repository, pkgbase)?;
        transaction.commit()?;
        Ok(removed)
    }

    /// Every archive, the one used last first.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn list(&self) -> Result<Vec<Entry>, CacheError> {
        Ok(index::list(&self.index())?)
    }

    /// What attempts did with archives, in order.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn uses(&self, attempts: &[String]) -> Result<Vec<Use>, CacheError> {
        let mut uses = index::uses(&self.index(), attempts)?;
        for one in &mut uses {
            one.kept = one.entry.id != TOLD && objects::path(&self.0.config.dir, &one.entry.sha256).is_file();
        }
        Ok(uses)
    }

    /// What an attempt did with archives of this machine, for whoever gave the order.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn told(&self, attempt: &str) -> Result<Vec<Told>, CacheError> {
        let uses = index::uses(&self.index(), &[attempt.to_owned()])?;
        Ok(uses.iter().filter_map(Use::told).collect())
    }

    /// Notes what a builder elsewhere tells of an attempt, in place of what it told before.
    ///
    /// # Errors
    /// If the index cannot be written.
    pub fn note_told(&self, attempt: &str, told: &[Told]) -> Result<(), CacheError> {
        let mut index = self.index();
        let transaction = index::begin(&mut index)?;
        index::forget_uses(&transaction, attempt)?;
        for one in told {
            index::note_use(&transaction, attempt, one.action, &Entry::of(one), self.now())?;
        }
        Ok(transaction.commit()?)
    }

    /// The object of an archive, to be handed on; `None` if there is none.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn object(&self, sha256: &str) -> Result<Option<File>, CacheError> {
        if sha256.len() != 64 || !sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(None);
        }
        match objects::lease(&self.0.config.dir, sha256) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(FsError::new("open", &objects::path(&self.0.config.dir, sha256), error).into()),
        }
    }

    /// The most bytes of all objects together.
    #[must_use]
    pub fn quota(&self) -> u64 {
        self.0.config.quota
    }

    fn forget_object(&self, sha256: &str) -> Result<(), CacheError> {
        let mut index = self.index();
        let transaction = index::begin(&mut index)?;
        index::remove_object(&transaction, sha256)?;
        objects::remove(&self.0.config.dir, sha256)?;
        transaction.commit()?;
        Ok(())
    }

    fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    fn index(&self) -> MutexGuard<'_, Connection> {
        self.0.index.lock().expect("nobody panics with the index")
    }
}

/// A directory that may be missing.
fn create_dir(path: &Path) -> Result<(), FsError> {
    std::fs::create_dir_all(path).map_err(|error| FsError::new("create", path, error))
}
