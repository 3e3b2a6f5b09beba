//! Which packages need a shared library that is gone.
//!
//! What was there is remembered in a file of the branch `state`, one `SONAME PKGBASE ORIGIN` a line: for each
//! library that a published package needs, who had it when it was last looked at. So a library is known to be
//! gone only if whoever had it was asked and has it no more.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::soname::{Bits, Soname};
use super::{Libraries, Linkage};
use crate::domain::name::PkgBase;
use crate::domain::version::Version;

/// Where it stands in the branch `state`.
pub const PATH: &str = ".soname-state";

/// The origin of what we published ourselves.
const OURSELVES: &str = "published";

/// Who has a library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The package.
    pub pkgbase: String,
    /// The database it is in.
    origin: String,
}

/// Libraries that published packages need, and who had them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SonameState {
    holders: BTreeMap<Soname, Holder>,
}

impl SonameState {
    /// Reads the file; lines that make no sense are left out.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let line = |line: &str| {
            let mut parts = line.splitn(3, ' ');
            let soname = parts.next()?.parse().ok()?;
            let holder = Holder { pkgbase: parts.next()?.to_owned(), origin: parts.next()?.to_owned() };
            Some((soname, holder))
        };
        Self { holders: text.lines().filter_map(line).collect() }
    }

    /// The file as it is written.
    #[must_use]
    pub fn to_text(&self) -> String {
        let line = |(soname, holder): (&Soname, &Holder)| {
            format!("{} {} {}\n", soname.to_text(), holder.pkgbase, holder.origin)
        };
        self.holders.iter().map(line).collect()
    }
}

/// A library that a package needs and that is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gone {
    /// The library.
    pub soname: Soname,
    /// The package that had it, if that was ever known.
    pub had: Option<String>,
    /// Other versions of it, with the package that has each, and that package's version.
    pub others: Vec<(Soname, String, Option<Version>)>,
}

impl Gone {
    /// One clause: what is gone, and what is there in its place.
    #[must_use]
    pub fn sentence(&self) -> String {
        match (&self.others.first(), &self.had) {
            (Some((other, pkgbase, version)), _) => {
                let version = version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
                format!("{} is gone, {pkgbase}{version} has {other}", self.soname)
            }
            (None, Some(pkgbase)) => format!("{} is gone, {pkgbase} has it no more", self.soname),
            (None, None) => format!("{} is gone", self.soname),
        }
    }

    /// The packages on whose account it is gone.
    pub fn culprits(&self) -> impl Iterator<Item = &str> {
        self.had.iter().chain(self.others.iter().map(|(_, pkgbase, _)| pkgbase)).map(String::as_str)
    }
}

/// What a look at all libraries finds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Look {
    /// What is remembered from now on.
    pub after: SonameState,
    /// By package: the libraries it needs that are gone.
    pub gone: BTreeMap<PkgBase, Vec<Gone>>,
    /// By package: libraries it needs that nothing is known to have, or to have had.
    pub unknown: BTreeMap<PkgBase, BTreeSet<Soname>>,
}

/// Looks for libraries that published packages of this monorepo need and that are gone: somebody had them and
/// has them no more, or another version is there in their place. `needs` tells whether a package is built with another
/// one of the monorepo.
#[must_use]
pub fn look<'a>(
    before: &SonameState,
    libraries: &'a Libraries,
    members: impl Iterator<Item = (&'a PkgBase, &'a Linkage)>,
    needs: impl Fn(&PkgBase, &str) -> bool,
) -> Look {
    let there = There::of(libraries);
    let mut found = Look::default();
    for (pkgbase, linkage) in members {
        for soname in &linkage.needs {
            if let Some(holder) = there.holders.get(soname) {
                found.after.holders.insert(soname.clone(), holder.clone());
                continue;
            }
            let had = before.holders.get(soname);
            match had.map(|holder| there.has_answered(&holder.origin)) {
                Some(Answered::No) => {
                    found.after.holders.extend(had.map(|holder| (soname.clone(), holder.clone())));
                    continue;
                }
                Some(Answered::Yes) => {}
                Some(Answered::NotAsked) | None if !there.is_displaced(soname, pkgbase, &needs) => {
                    if there.complete && !there.elsewhere(soname) {
                        found.unknown.entry(pkgbase.clone()).or_default().insert(soname.clone());
                    }
                    continue;
                }
                Some(Answered::NotAsked) | None => {}
            }
            let gone = Gone {
                soname: soname.clone(),
                had: had.map(|holder| holder.pkgbase.clone()),
                others: there.others(soname),
            };
            found.gone.entry(pkgbase.clone()).or_default().push(gone);
        }
    }
    found
}

/// Whether a database was asked and answered.
enum Answered {
    Yes,
    No,
    /// It is not configured any more.
    NotAsked,
}

/// What is there now.
struct There<'a> {
    libraries: &'a Libraries,
    holders: BTreeMap<&'a Soname, Holder>,
    /// Whether what is not there is nowhere: every database has answered and lists its files.
    complete: bool,
}

impl<'a> There<'a> {
    fn of(libraries: &'a Libraries) -> Self {
        let Libraries { consulted, published } = libraries;
        let mut holders = BTreeMap::new();
        for (pkgbase, linkage) in &published.packages {
            for soname in &linkage.provides {
                let holder = || Holder { pkgbase: pkgbase.to_string(), origin: OURSELVES.to_owned() };
                holders.entry(soname).or_insert_with(holder);
            }
        }
        let answers = || consulted.iter().filter_map(|it| Some((&it.origin, it.answer.as_ref().ok()?)));
        for (origin, database) in answers() {
            for (soname, pkgbase) in &database.sonames {
                let holder = || Holder { pkgbase: pkgbase.clone(), origin: origin.clone() };
                holders.entry(soname).or_insert_with(holder);
            }
        }
        let listing = answers().filter(|(_, database)| database.lists_files).count();
        let complete = published.complete && !consulted.is_empty() && listing == consulted.len();
        Self { libraries, holders, complete }
    }

    fn has_answered(&self, origin: &str) -> Answered {
        let answered = if origin == OURSELVES {
            Some(self.libraries.published.complete)
        } else {
            self.libraries.consulted.iter().find(|it| it.origin == origin).map(|it| it.answer.is_ok())
        };
        match answered {
            Some(true) => Answered::Yes,
            Some(false) => Answered::No,
            None => Answered::NotAsked,
        }
    }

    /// The other versions of a library, with who has each. They stand side by side, because names are sorted.
    fn versions_of(&self, soname: &Soname) -> impl Iterator<Item = (&'a Soname, &Holder)> {
        let begin = Soname::new(soname.library(), Bits::B64).expect("a library without a version is one too");
        let (library, soname) = (soname.library().to_owned(), soname.clone());
        let near = self.holders.range::<Soname, _>((Bound::Included(&begin), Bound::Unbounded));
        let near: Vec<_> = near
            .take_while(|(other, _)| other.name().starts_with(&library))
            .filter(|(other, _)| soname.is_other_version(other))
            .map(|(&other, holder)| (other, holder))
            .collect();
        near.into_iter()
    }

    fn others(&self, soname: &Soname) -> Vec<(Soname, String, Option<Version>)> {
        let others = self.versions_of(soname).map(|(other, holder)| {
            let version = PkgBase::new(&holder.pkgbase).ok();
            let version = version.and_then(|pkgbase| self.libraries.published_version(&pkgbase).cloned());
            (other.clone(), holder.pkgbase.clone(), version)
        });
        others.collect()
    }

    /// Whether another version of a library is in its place. Where not everything is known, the library may be
    /// somewhere all the same, unless it is one of a package that is built with.
    fn is_displaced(&self, soname: &Soname, pkgbase: &PkgBase, needs: impl Fn(&PkgBase, &str) -> bool) -> bool {
        let is_own = |holder: &Holder| holder.origin == OURSELVES && needs(pkgbase, &holder.pkgbase);
        let nowhere = self.complete && !self.elsewhere(soname);
        self.versions_of(soname).any(|(_, holder)| nowhere || is_own(holder))
    }

    fn elsewhere(&self, soname: &Soname) -> bool {
        let answers = self.libraries.consulted.iter().filter_map(|it| it.answer.as_ref().ok());
        answers.into_iter().any(|database| database.elsewhere.contains(soname.name()))
    }
}
