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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::database::LibraryDatabase;
    use super::super::{Consulted, Published};
    use super::*;

    fn soname(name: &str) -> Soname {
        Soname::new(name, Bits::B64).expect(name)
    }

    fn sonames(names: &str) -> BTreeSet<Soname> {
        names.split_whitespace().map(soname).collect()
    }

    /// A database with the lists of files: `pkgbase: libraries`.
    fn database(origin: &str, packages: &[(&str, &str)]) -> Consulted {
        let mut database = LibraryDatabase { lists_files: true, ..LibraryDatabase::default() };
        for (pkgbase, libraries) in packages {
            database.versions.insert((*pkgbase).to_owned(), Version::new("2-1"));
            database.sonames.extend(sonames(libraries).into_iter().map(|soname| (soname, (*pkgbase).to_owned())));
        }
        Consulted { origin: origin.to_owned(), answer: Ok(Arc::new(database)) }
    }

    fn silent(origin: &str) -> Consulted {
        Consulted { origin: origin.to_owned(), answer: Err("it is away".to_owned()) }
    }

    /// Published packages: name, what they need, what they have.
    fn published(packages: &[(&str, &str, &str)]) -> Published {
        let linkage = |&(name, needs, provides): &(&str, &str, &str)| {
            let version = Version::new("1-1");
            let linkage = Linkage { version, needs: sonames(needs), provides: sonames(provides) };
            (PkgBase::new(name).expect("legal"), linkage)
        };
        Published { packages: packages.iter().map(linkage).collect(), complete: true }
    }

    /// What is gone and what is unknown, one a line, and what is remembered.
    fn told(before: &str, consulted: Vec<Consulted>, published: Published) -> (String, String) {
        let libraries = Libraries { consulted, published };
        let members = libraries.published.packages.iter();
        let found = look(&SonameState::parse(before), &libraries, members, |_, other| other == "libneeded");
        let gone = found.gone.iter().flat_map(|(pkgbase, all)| all.iter().map(move |it| (pkgbase, it)));
        let mut lines: Vec<String> = gone.map(|(pkgbase, it)| format!("{pkgbase}: {}", it.sentence())).collect();
        let unknown = found.unknown.iter().flat_map(|(pkgbase, all)| all.iter().map(move |it| (pkgbase, it)));
        lines.extend(unknown.map(|(pkgbase, it)| format!("{pkgbase}: nobody has {it}")));
        (lines.join("\n"), found.after.to_text())
    }

    const BEFORE: &str = "lib:liba.so.1 a core\n";

    #[test]
    fn what_somebody_had_and_has_no_more_is_gone() {
        let app = || published(&[("app", "liba.so.1", "")]);
        assert_eq!(told("", vec![database("core", &[("a", "liba.so.1")])], app()), (String::new(), BEFORE.to_owned()));
        let renamed = told(BEFORE, vec![database("core", &[("a", "liba.so.2")])], app());
        assert_eq!(renamed, ("app: liba.so.1 is gone, a 2-1 has liba.so.2".to_owned(), String::new()));
        let dropped = told(BEFORE, vec![database("core", &[("b", "libb.so.1")])], app());
        assert_eq!(dropped.0, "app: liba.so.1 is gone, a has it no more");
        let elsewhere = told(BEFORE, vec![database("core", &[]), database("extra", &[("a1", "liba.so.1")])], app());
        assert_eq!(elsewhere, (String::new(), "lib:liba.so.1 a1 extra\n".to_owned()));
    }

    #[test]
    fn what_is_not_known_is_not_gone() {
        let app = || published(&[("app", "liba.so.1", "")]);
        let away = told(BEFORE, vec![silent("core"), database("extra", &[("a2", "liba.so.2")])], app());
        assert_eq!(away, (String::new(), BEFORE.to_owned()), "a database that is away keeps its lines");
        let own = Published { complete: false, ..app() };
        let unread = told("lib:liba.so.1 a published\n", vec![database("core", &[("b", "")])], own);
        assert_eq!(unread.0, "", "not every published file was read yet");
        let removed = told(BEFORE, vec![database("extra", &[("b", "")])], app());
        assert_eq!(removed, ("app: nobody has liba.so.1".to_owned(), String::new()), "core is not configured any more");
    }

    #[test]
    fn another_version_in_its_place_counts_only_where_it_is_known_to_be_that() {
        let app = || published(&[("app", "liba.so.1", "")]);
        let extra = || database("extra", &[("a", "liba.so.2")]);
        assert_eq!(told("", vec![extra()], app()).0, "app: liba.so.1 is gone, a 2-1 has liba.so.2");
        assert_eq!(told("", vec![extra(), silent("core")], app()).0, "");
        let mut without_files = extra();
        let narrow = LibraryDatabase { lists_files: false, ..(**without_files.answer.as_ref().unwrap()).clone() };
        without_files.answer = Ok(Arc::new(narrow));
        assert_eq!(told("", vec![without_files], app()).0, "", "who knows whether some package has it");
        let own = |name| published(&[("app", "liba.so.1", ""), (name, "", "liba.so.2")]);
        assert_eq!(told("", vec![], own("libneeded")).0, "app: liba.so.1 is gone, libneeded 1-1 has liba.so.2");
        assert_eq!(told("", vec![], own("liba-git")).0, "", "it is not built with that");
    }

    #[test]
    fn libraries_in_folders_of_their_own_are_neither_gone_nor_unknown() {
        let mut extra = database("extra", &[("a", "liba.so.2")]);
        let mut known = (**extra.answer.as_ref().unwrap()).clone();
        known.elsewhere.insert("liba.so.1".to_owned());
        extra.answer = Ok(Arc::new(known));
        assert_eq!(told("", vec![extra], published(&[("app", "liba.so.1", "")])).0, "");
    }

    #[test]
    fn what_is_remembered_is_read_back_and_nonsense_is_left_out() {
        let text = "lib:liba.so.1 a http://host/core.files\nlib32:liba.so.1 lib32-a published\n";
        assert_eq!(SonameState::parse(text).to_text(), text);
        assert_eq!(SonameState::parse("x\nlib:liba.so.1\nfoo bar baz\n\n").to_text(), "");
    }
}
