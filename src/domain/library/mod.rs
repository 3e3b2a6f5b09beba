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

impl Linkage {
    /// Published at a version, and not known to need or have anything.
    #[must_use]
    pub const fn of_nothing(version: Version) -> Self {
        Self { version, needs: BTreeSet::new(), provides: BTreeSet::new() }
    }
}

/// What we published ourselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Published {
    /// By package.
    pub packages: BTreeMap<PkgBase, Linkage>,
    /// Whether every published package is among them, so that what they do not have is not there.
    pub complete: bool,
}

/// Libraries that published packages need, and that `before` had and `after` has no more.
#[must_use]
pub fn lost(before: &Published, after: &Published) -> BTreeSet<Soname> {
    let all = |published: &Published, pick: fn(&Linkage) -> &BTreeSet<Soname>| -> BTreeSet<Soname> {
        published.packages.values().flat_map(pick).cloned().collect()
    };
    let (had, has) = (all(before, |it| &it.provides), all(after, |it| &it.provides));
    let needed = all(after, |it| &it.needs);
    had.difference(&has).filter(|soname| needed.contains(*soname)).cloned().collect()
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

    /// What a package needs that is published elsewhere: the first database that has it says what it is declared to
    /// need. `None` if no database has it.
    #[must_use]
    pub fn declared(&self, pkgbase: &PkgBase) -> Option<Linkage> {
        let name = pkgbase.as_str();
        let mut answers = self.consulted.iter().filter_map(|it| it.answer.as_ref().ok());
        let database = answers.find(|database| database.versions.contains_key(name))?;
        let needs = database.needs.get(name).cloned().unwrap_or_default();
        Some(Linkage { needs, ..Linkage::of_nothing(database.versions[name].clone()) })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn published(packages: &[(&str, &str, &str)]) -> Published {
        let sonames = |text: &str| text.split_whitespace().map(|it| it.parse().expect("a soname")).collect();
        let package = |&(name, needs, provides): &(&str, &str, &str)| {
            let linkage = Linkage {
                needs: sonames(needs),
                provides: sonames(provides),
                ..Linkage::of_nothing(Version::new("1-1"))
            };
            (PkgBase::new(name).expect("legal"), linkage)
        };
        Published { packages: packages.iter().map(package).collect(), complete: true }
    }

    #[test]
    fn a_library_is_lost_if_somebody_had_it_and_nobody_has_and_a_package_that_is_published_needs_it() {
        let before = published(&[
            ("app", "lib:liba.so.1 lib:libb.so.1 lib:libelsewhere.so.1", ""),
            ("a", "", "lib:liba.so.1 lib:libunused.so.1"),
            ("b", "", "lib:libb.so.1"),
        ]);
        let lost = |after: &[(&str, &str, &str)]| -> Vec<String> {
            super::lost(&before, &published(after)).iter().map(ToString::to_string).collect()
        };
        let app = ("app", "lib:liba.so.1 lib:libb.so.1 lib:libelsewhere.so.1", "");
        let (a, b) = (("a", "", "lib:liba.so.2"), ("b", "", "lib:libb.so.1"));
        assert_eq!(lost(&[app, a, b]), ["liba.so.1"]);
        assert_eq!(lost(&[app, a]), ["liba.so.1", "libb.so.1"], "one that left the repository has nothing");
        assert_eq!(lost(&[app, a, b, ("other", "", "lib:liba.so.1")]), [""; 0], "another package has it now");
        assert_eq!(lost(&[("app", "lib:liba.so.2", ""), a, b]), [""; 0], "nobody needs it any more");
    }
}
