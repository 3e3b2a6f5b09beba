//! What an archive is called and known by, and what builds did with it: here, or as a builder elsewhere tells.

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::Content;
use crate::domain::cache::key::Key;
use crate::domain::cache::policy::RefClass;
use crate::domain::cache::retention::Whom;
use crate::domain::cache::told::{Action, Told};
use crate::domain::cache::{Set, SetName};
use crate::domain::name::PkgBase;

/// The number of an archive that is on another machine.
pub(super) const TOLD: i64 = 0;

/// Which set of which package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The monorepo.
    pub repository: String,
    /// The package.
    pub pkgbase: String,
    /// The set.
    pub set: SetName,
}

impl Place {
    /// The set of a package.
    #[must_use]
    pub fn of(repository: &str, pkgbase: &str, set: &Set) -> Self {
        Self { repository: repository.to_owned(), pkgbase: pkgbase.to_owned(), set: set.name.clone() }
    }
}

/// What a build looks for, or saves as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The set.
    pub place: Place,
    /// For what the build is.
    pub class: RefClass,
    /// Its key.
    pub key: Key,
    /// How often the set had been invalidated when the build began: [`super::Caches::epoch`].
    pub epoch: u64,
    /// Whether the newest of the same kind will do.
    pub renew: bool,
    /// The build that asks, by its attempt.
    pub attempt: String,
}

impl Wanted {
    /// Which archives replace each other.
    pub(super) fn kind(&self) -> Option<String> {
        self.renew.then(|| format!("{} {}", self.class.word(), self.key.scope))
    }

    /// For whom it takes room.
    pub(super) const fn whom(&self) -> Whom {
        match self.class {
            RefClass::Release => Whom::Releases,
            RefClass::Proposal(_) => Whom::Proposals,
        }
    }

    /// How the names begin of what those are about to save that share its room.
    pub(super) fn owner(&self) -> String {
        match self.whom() {
            Whom::Proposals => "proposals-".to_owned(),
            Whom::Releases => {
                let package = format!("{}/{}", self.place.repository, self.place.pkgbase);
                let digest = Sha256::digest(package.as_bytes());
                digest.iter().take(8).fold("release-".to_owned(), |name, byte| format!("{name}{byte:02x}")) + "-"
            }
        }
    }
}

/// One archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number in the index.
    pub id: i64,
    /// The set.
    pub place: Place,
    /// For what the build was that saved it: `release` or `proposal/N`.
    pub class: String,
    /// Its key, in hexadecimal.
    pub key: String,
    /// The SHA-256 of the object, in hexadecimal.
    pub sha256: String,
    /// The size of the object in bytes.
    pub size: u64,
    /// What it holds.
    pub content: Content,
    /// The attempt that saved it.
    pub origin: String,
    /// When.
    pub created: Timestamp,
    /// When a build last used it.
    pub last_used: Timestamp,
    /// Why nobody finds it any more, if that is so: see [`super::Caches::condemn`].
    pub condemned: Option<String>,
}

/// One line of the record of a build: what it did with an archive, which may be gone by now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// The attempt.
    pub attempt: String,
    /// What it did.
    pub action: Action,
    /// The archive as it was then.
    pub entry: Entry,
    /// Whether its object is still there.
    pub kept: bool,
}

impl Use {
    pub(super) fn told(&self) -> Option<Told> {
        let entry = &self.entry;
        Some(Told {
            action: self.action,
            repository: entry.place.repository.clone(),
            pkgbase: PkgBase::new(&entry.place.pkgbase).ok()?,
            name: entry.place.set.clone(),
            class: entry.class.clone(),
            key: entry.key.clone(),
            sha256: entry.sha256.clone(),
            size: entry.size,
            files: entry.content.members,
            bytes: entry.content.bytes,
            origin: entry.origin.clone(),
            created: entry.created,
        })
    }
}

impl Entry {
    /// As a builder elsewhere tells of it.
    pub(super) fn of(told: &Told) -> Self {
        Self {
            id: TOLD,
            place: Place {
                repository: told.repository.clone(),
                pkgbase: told.pkgbase.to_string(),
                set: told.name.clone(),
            },
            class: told.class.clone(),
            key: told.key.clone(),
            sha256: told.sha256.clone(),
            size: told.size,
            content: Content { members: told.files, bytes: told.bytes },
            origin: told.origin.clone(),
            created: told.created,
            last_used: told.created,
            condemned: None,
        }
    }
}
