//! What the repositories have that packages are built against: versions, and shared libraries by soname.
//!
//! Not for what follows from it: that is [`super::plan`].

pub mod database;
pub mod relink;
pub mod soname;
pub mod versions;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::name::PkgBase;
use super::version::Version;
use database::LibraryDatabase;
use soname::Soname;

/// One database of `CI_LIB_DB`, and what came of asking for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consulted {
    /// Its address, without logins: how people and the branch `state` name it.
    pub origin: String,
    /// What it holds, or why that is not known.
    pub answer: Result<Arc<LibraryDatabase>, String>,
}

/// What the files of one package need and have, all its members together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Linkage {
    /// The version that is published.
    pub version: Version,
    /// Shared libraries that they need and do not have themselves.
    pub needs: BTreeSet<Soname>,
    /// Shared libraries that others find in them.
    pub provides: BTreeSet<Soname>,
}

/// What we published ourselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Published {
    /// By package.
    pub packages: BTreeMap<PkgBase, Linkage>,
    /// Whether every published package is among them, so that what they do not have is not there.
    pub complete: bool,
}

/// Everything that was looked at for rebuilds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Libraries {
    /// The databases of `CI_LIB_DB`, in their order.
    pub consulted: Vec<Consulted>,
    /// What we published ourselves.
    pub published: Published,
}

impl Libraries {
    /// Whether somebody is known to have a shared library where the linker finds it by itself.
    #[must_use]
    pub fn have(&self, soname: &Soname) -> bool {
        let mut answers = self.consulted.iter().filter_map(|it| it.answer.as_ref().ok());
        self.published.packages.values().any(|linkage| linkage.provides.contains(soname))
            || answers.any(|database| database.sonames.contains_key(soname))
    }

    /// The version of a package that is published: our own record's, else that of the first database that
    /// has it.
    #[must_use]
    pub fn published_version(&self, pkgbase: &PkgBase) -> Option<&Version> {
        let own = self.published.packages.get(pkgbase).map(|linkage| &linkage.version);
        let mut answers = self.consulted.iter().filter_map(|it| it.answer.as_ref().ok());
        own.or_else(|| answers.find_map(|database| database.versions.get(pkgbase.as_str())))
    }
}
