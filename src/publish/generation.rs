//! One complete published state, as its manifest has it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::database::DatabaseEntry;
use super::verify::Verified;
use super::{PublishError, Publisher};
use crate::domain::finding::Finding;
use crate::domain::name::{PkgBase, PkgName};
use crate::domain::queue::BuildId;
use crate::domain::version::Version;

/// Where the file of an entry came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// This generation brought it.
    Built,
    /// An earlier one did.
    Reused,
}

impl Origin {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Built => "built",
            Self::Reused => "reused",
        }
    }
}

/// A package of a generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedPackage {
    /// Its name.
    pub name: PkgName,
    /// The package it is a member of.
    pub base: PkgBase,
    /// Its version.
    pub version: Version,
    /// Its architecture.
    pub arch: String,
    /// The name of its file.
    pub file: String,
    /// The checksum of its file.
    pub sha256: String,
    /// Whether this generation brought it.
    pub origin: Origin,
    /// The build it came from; `None` if that is not known.
    pub build: Option<BuildId>,
}

/// One complete published state: its manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// Its number; later ones have higher numbers.
    pub number: u64,
    /// When it was made.
    pub created: Timestamp,
    /// Every package, sorted by name.
    pub entries: Vec<PublishedPackage>,
    /// Packages that are not in it any more.
    pub removed: Vec<PkgName>,
    /// Packages that a build yielded without being known to.
    pub unexpected: Vec<PkgName>,
    /// Files of a build that were not published because this version is published already, with other
    /// content: what is published never changes. A higher `pkgrel` publishes it.
    pub not_replaced: Vec<String>,
    /// What is to be told of the files of the build; empty when it is read again.
    #[serde(skip)]
    pub findings: Vec<Finding>,
    /// The generation whose packages these are again, if people went back to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restores: Option<u64>,
}

/// A published state without what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Its number.
    pub number: u64,
    /// When it was made.
    pub created: Timestamp,
    /// How many packages it has.
    pub packages: usize,
    /// How many of them it brought.
    pub built: usize,
    /// The generation whose packages these are again, if people went back to it.
    pub restores: Option<u64>,
}

impl Generation {
    /// It without what is in it.
    #[must_use]
    pub fn summary(&self) -> Summary {
        Summary {
            number: self.number,
            created: self.created,
            packages: self.entries.len(),
            built: self.entries.iter().filter(|entry| entry.origin == Origin::Built).count(),
            restores: self.restores,
        }
    }
}

/// What is kept.
impl Publisher {
    /// The kept generations, newest first; the first is the published one. One with a damaged manifest
    /// is left out.
    ///
    /// # Errors
    /// [`PublishError::Fs`] if the folder cannot be read.
    pub fn generations(&self) -> Result<Vec<Generation>, PublishError> {
        let current = self.layout.current()?.unwrap_or(0);
        let numbers = self.layout.numbers()?.into_iter().filter(|&number| number <= current);
        Ok(numbers.filter_map(|number| self.layout.manifest(number).ok()).collect())
    }

    /// As [`Publisher::generations`], without what is in them: each is read once only.
    ///
    /// # Errors
    /// As [`Publisher::generations`].
    pub fn summaries(&self) -> Result<Vec<Summary>, PublishError> {
        let current = self.layout.current()?.unwrap_or(0);
        let numbers: Vec<u64> = self.layout.numbers()?.into_iter().filter(|&number| number <= current).collect();
        // Like a damaged one, one that another publication is just removing is left out.
        let (known, _) = self.layout.known(&numbers);
        Ok(numbers.into_iter().filter_map(|number| known.summary(number)).collect())
    }

    /// A kept generation, the published one if none is named; `None` if it is not kept or its manifest is damaged.
    ///
    /// # Errors
    /// As [`Publisher::generations`].
    pub fn generation(&self, number: Option<u64>) -> Result<Option<Generation>, PublishError> {
        let Some(current) = self.layout.current()? else { return Ok(None) };
        let number = number.unwrap_or(current);
        Ok(self.layout.manifest(number).ok().filter(|_| number <= current))
    }

    /// The number of the published generation.
    ///
    /// # Errors
    /// As [`Publisher::generations`].
    pub fn current_number(&self) -> Result<Option<u64>, PublishError> {
        self.layout.current()
    }
}

/// Entries of a database with where they came from.
pub(super) fn published(
    entries: Vec<DatabaseEntry>,
    known: Option<&Generation>,
    added: &[Verified],
    builds: &BTreeMap<String, BuildId>,
) -> Vec<PublishedPackage> {
    let added: BTreeSet<&str> = added.iter().map(|added| added.entry.file.as_str()).collect();
    let known: BTreeMap<&str, &PublishedPackage> =
        known.iter().flat_map(|known| &known.entries).map(|entry| (entry.file.as_str(), entry)).collect();
    let package = |entry: DatabaseEntry| {
        let new = added.contains(entry.file.as_str());
        let before = known.get(entry.file.as_str());
        PublishedPackage {
            origin: if new { Origin::Built } else { Origin::Reused },
            build: match before {
                Some(before) if !new => before.build,
                _ => builds.get(&entry.file).copied(),
            },
            name: entry.name,
            base: entry.base,
            version: entry.version,
            arch: entry.arch,
            file: entry.file,
            sha256: entry.sha256,
        }
    };
    entries.into_iter().map(package).collect()
}
