//! `.version-state` in the branch `state`: the version of everything that packages are built against, one
//! `pkgbase:[epoch:]pkgver-pkgrel` a line, sorted, as Chaotic's scripts read and write it.

use std::collections::BTreeMap;

use super::Consulted;
use crate::domain::version::Version;

/// Where it stands in the branch `state`.
pub const PATH: &str = ".version-state";

/// Versions by pkgbase.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VersionState {
    versions: BTreeMap<String, Version>,
}

/// The version that a text of this kind has of one package, without reading all of it.
#[must_use]
pub fn version_in(text: &str, pkgbase: &str) -> Option<Version> {
    let of = |line: &str| Some(line.strip_prefix(pkgbase)?.strip_prefix(':')?.to_owned());
    text.lines().find_map(of).filter(|version| !version.is_empty()).map(Version::new)
}

/// A package that has another version than before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// Before.
    pub from: Version,
    /// Now.
    pub to: Version,
}

impl VersionState {
    /// Reads the file. The name ends at the first colon: what follows, an epoch included, is the version.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter_map(|line| line.split_once(':'));
        let lines = lines.filter(|(name, version)| !name.is_empty() && !version.is_empty());
        Self { versions: lines.map(|(name, version)| (name.to_owned(), Version::new(version))).collect() }
    }

    /// The file as it is written.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut lines: Vec<String> =
            self.versions.iter().map(|(name, version)| format!("{name}:{version}\n")).collect();
        // Whole lines are sorted, not names: `0ad-data:` comes before `0ad:`.
        lines.sort_unstable();
        lines.concat()
    }

    /// What it says after these databases were asked. Where several have a package, the first counts. As long
    /// as one did not answer, nothing is known to be gone.
    #[must_use]
    pub fn after(&self, consulted: &[Consulted]) -> Self {
        let mut versions = BTreeMap::new();
        for database in consulted.iter().filter_map(|it| it.answer.as_ref().ok()) {
            for (name, version) in &database.versions {
                versions.entry(name.clone()).or_insert_with(|| version.clone());
            }
        }
        if consulted.iter().any(|it| it.answer.is_err()) {
            for (name, version) in &self.versions {
                versions.entry(name.clone()).or_insert_with(|| version.clone());
            }
        }
        Self { versions }
    }

    /// What has another version in `after`. What comes or goes has not changed: a database that is seen for the
    /// first time is no reason to rebuild anything.
    #[must_use]
    pub fn moved<'a>(&self, after: &'a Self) -> BTreeMap<&'a str, Moved> {
        let moved = after.versions.iter().filter_map(|(name, to)| {
            let from = self.versions.get(name).filter(|from| from.as_str() != to.as_str())?;
            Some((name.as_str(), Moved { from: from.clone(), to: to.clone() }))
        });
        moved.collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::super::database::LibraryDatabase;
    use super::*;

    fn has(lines: &[&str]) -> Consulted {
        let versions = VersionState::parse(&lines.join("\n")).versions;
        let database = LibraryDatabase { versions, ..LibraryDatabase::default() };
        Consulted { origin: "http://host/x.db".to_owned(), answer: Ok(Arc::new(database)) }
    }

    fn silent() -> Consulted {
        Consulted { origin: "http://host/y.db".to_owned(), answer: Err("it does not answer".to_owned()) }
    }

    #[test]
    fn it_is_written_as_it_was_read_epochs_included() {
        let text = "0ad-data:0.28.0-1\n0ad:0.28.0-3\n2bwm-git:0.3.r42.ga1f80ac-1.2\nacorn:1:8.18.0-1\n";
        assert_eq!(VersionState::parse(text).to_text(), text);
        assert_eq!(VersionState::parse("\n:1\nx:\ngarbage\n").to_text(), "");
    }

    #[test]
    fn the_epoch_is_a_part_of_the_version() {
        let before = VersionState::parse("zlib:1:1.3-1\nperl:5.40-1\n");
        let after = before.after(&[has(&["zlib:2:1.3-1", "perl:5.40-1"])]);
        let moved = before.moved(&after);
        assert_eq!(moved.keys().copied().collect::<Vec<_>>(), ["zlib"]);
        assert_eq!((moved["zlib"].from.as_str(), moved["zlib"].to.as_str()), ("1:1.3-1", "2:1.3-1"));
    }

    #[test]
    fn a_database_that_does_not_answer_keeps_its_lines() {
        let before = VersionState::parse("boost:1.86-1\nglibc:2.40-1\n");
        let after = before.after(&[silent(), has(&["glibc:2.41-1"])]);
        assert_eq!(after.to_text(), "boost:1.86-1\nglibc:2.41-1\n");
        assert_eq!(before.after(&[silent()]), before);
        assert_eq!(before.after(&[has(&["glibc:2.40-1"])]).to_text(), "glibc:2.40-1\n", "all have answered");
    }

    #[test]
    fn what_is_seen_for_the_first_time_has_not_changed() {
        let first = has(&["boost:1.86-1"]);
        let after = VersionState::default().after(std::slice::from_ref(&first));
        assert!(VersionState::default().moved(&after).is_empty());
        let more = after.after(&[first, has(&["icu:75-1", "boost:9-9"])]);
        assert!(after.moved(&more).is_empty(), "the first database that has a package counts");
        assert!(more.moved(&after).is_empty(), "what is gone has no version");
    }

    proptest! {
        #[test]
        fn any_text_is_read_and_its_own_text_means_the_same(text in "([a-z0-9+-]{0,4}:{0,2}[0-9.-]{0,4}\n?){0,9}|\\PC{0,20}") {
            let state = VersionState::parse(&text);
            prop_assert_eq!(VersionState::parse(&state.to_text()), state);
        }
    }
}
