//! Packages that a person has taken out of service, and what is held with them.
//!
//! A quarantine stands in the package's file of the `state` branch, so that whoever runs on the monorepo keeps
//! to it. It ends only when a person lifts it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::desired::Snapshot;
use super::graph::Graph;
use super::name::PkgBase;
use super::state::PackageState;

/// That a package is out of service, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantine {
    /// Since when; `None` if somebody wrote it by hand without a time.
    pub since: Option<Timestamp>,
    /// Why, in the words of the person.
    pub reason: String,
}

impl Quarantine {
    /// Reads what [`Quarantine::to_text`] wrote. Whatever stands there, the package is in quarantine.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
        match first.parse() {
            Ok(since) => Self { since: Some(since), reason: rest.to_owned() },
            Err(_) => Self { since: None, reason: text.to_owned() },
        }
    }

    /// The form in which it is remembered: the time, then the reason on one line.
    #[must_use]
    pub fn to_text(&self) -> String {
        let words = self.reason.split_whitespace().filter(|word| !word.chars().any(char::is_control));
        // Quotes and signs of comments mean something in the file.
        let reason = words.collect::<Vec<_>>().join(" ").replace('"', "'").replace('#', "");
        self.since.map_or_else(|| reason.clone(), |since| format!("{since:.0} {reason}")).trim().to_owned()
    }
}

/// Every package that is held, with the quarantined package on whose account: itself, or one that it is
/// built with, directly or through others.
#[must_use]
pub fn held<'a>(
    snapshot: &Snapshot,
    states: impl Iterator<Item = (&'a PkgBase, &'a PackageState)>,
    arch: &str,
    official: &BTreeSet<String>,
) -> BTreeMap<PkgBase, PkgBase> {
    let quarantined: Vec<&PkgBase> =
        states.filter(|(_, state)| state.quarantine().is_some()).map(|(pkgbase, _)| pkgbase).collect();
    let mut held: BTreeMap<PkgBase, PkgBase> =
        quarantined.iter().map(|&pkgbase| (pkgbase.clone(), pkgbase.clone())).collect();
    if held.is_empty() {
        return held;
    }
    let graph = Graph::build_for(arch, snapshot.packages.values().map(Arc::as_ref), official);
    for pkgbase in quarantined {
        for dependant in graph.dependants(pkgbase) {
            held.entry(dependant).or_insert_with(|| pkgbase.clone());
        }
    }
    held
}

/// One sentence about why a package is held.
#[must_use]
pub fn sentence(pkgbase: &PkgBase, by: &PkgBase, quarantine: Option<&Quarantine>) -> String {
    let reason = quarantine.map(|it| format!(": {}", it.reason)).unwrap_or_default();
    if pkgbase == by {
        format!("it is in quarantine{reason}")
    } else {
        format!("it is built with `{by}`, which is in quarantine{reason}")
    }
}

#[cfg(test)]
mod tests {
    use super::super::keyvalue::KeyValues;
    use super::*;

    #[test]
    fn a_quarantine_is_read_back_and_whatever_stands_there_is_one() {
        let since = Some("2026-06-12T08:00:00Z".parse().expect("a time"));
        let written = Quarantine { since, reason: "wave 2 \"#1\"\nIGNORE=1 \u{7} see the list".to_owned() };
        let mut file = KeyValues::parse("A=1\n");
        file.set("Q", &written.to_text());
        let read = Quarantine::parse(KeyValues::parse(&file.to_text()).get("Q").expect("there"));
        assert_eq!(read, Quarantine { since, reason: "wave 2 '1' IGNORE=1 see the list".to_owned() });
        assert_eq!(Quarantine::parse("by hand"), Quarantine { since: None, reason: "by hand".to_owned() });
    }
}
