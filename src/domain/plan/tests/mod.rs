//! Decisions as stories: a small monorepo, what happened, and what follows.

mod commits;
mod rebuilds;
mod reviews;
mod updates;
mod upstreams;

use std::sync::Arc;

use super::*;
use crate::domain::desired::{Package, Refs, ReviewBranch, Tip};
use crate::domain::keepers::Keepers;
use crate::domain::library::database::LibraryDatabase;
use crate::domain::library::soname::{Bits, Soname};
use crate::domain::library::{Consulted, Libraries, Linkage, Published, versions};
use crate::domain::observed::{Observation, Proposal, Upstream};
use crate::domain::policy::{PackageSettings, Person, SourceKind, UnknownDirective};
use crate::domain::srcinfo::Srcinfo;
use crate::domain::state::Cursor;
use crate::domain::target::Target;

fn oid(digit: char) -> Oid {
    digit.to_string().repeat(40).parse().expect("valid")
}

fn person() -> Person {
    Person::new("mira").expect("legal")
}

fn name(text: &str) -> PkgBase {
    PkgBase::new(text).expect("legal")
}

/// The files of a package at a version, needing others.
fn files(pkgbase: &str, version: &str, depends: &[&str]) -> Folder {
    let (pkgver, pkgrel) = version.split_once('-').expect("a release");
    let sum = format!("{:064x}", pkgver.len() * 31 + usize::from(pkgver.as_bytes()[pkgver.len() - 1]));
    let depends_lines = depends.iter().map(|name| format!("\tdepends = {name}\n")).collect::<Vec<_>>().concat();
    let srcinfo = format!(
        "pkgbase = {pkgbase}\n\tpkgver = {pkgver}\n\tpkgrel = {pkgrel}\n\tarch = x86_64\n{depends_lines}\tsource = https://host/{pkgbase}.tar.gz\n\tsha256sums = {sum}\n\npkgname = {pkgbase}\n"
    );
    let pkgbuild = format!(
        "pkgname={pkgbase}\npkgver={pkgver}\npkgrel={pkgrel}\narch=(x86_64)\ndepends=({})\nsource=(https://host/{pkgbase}.tar.gz)\nsha256sums=('{sum}')\nbuild() {{\n  make\n}}\n",
        depends.join(" ")
    );
    Folder::default().with("PKGBUILD", pkgbuild).with(".SRCINFO", srcinfo)
}

fn with_other_build(folder: &Folder) -> Folder {
    let text = String::from_utf8_lossy(folder.get("PKGBUILD").expect("there")).replace("  make\n", "  make CC=evil\n");
    folder.clone().with("PKGBUILD", text)
}

/// A monorepo, what people did to it, and what sources said.
struct Story {
    snapshot: Snapshot,
    since: Since,
    observations: Observations,
    policy: Policy,
    folders: BTreeMap<PkgBase, Folder>,
}

impl Story {
    fn new() -> Self {
        let refs = Refs {
            branch: "main".into(),
            main: Some(oid('a')),
            scheduled: Some(oid('a')),
            state: Some(oid('b')),
            ..Refs::default()
        };
        let head = Commit { id: oid('a'), parents: vec![oid('9')], author: "somebody".into(), message: "x\n".into() };
        Self {
            snapshot: Snapshot {
                repository: "test".into(),
                refs,
                main: Some(Tip { commit: oid('a'), tree: oid('c') }),
                settings: crate::domain::policy::RepositorySettings::default(),
                gate: crate::domain::classify::Policy::default(),
                packages: BTreeMap::new(),
                reviews: BTreeMap::new(),
                states: BTreeMap::new(),
                version_state: None,
                soname_state: None,
                findings: Vec::new(),
            },
            since: Since {
                base: RangeBase::Scheduled(oid('a')),
                commits: Vec::new(),
                changes: Changes::default(),
                head: Some(head),
            },
            observations: Observations::default(),
            policy: Policy::default(),
            folders: BTreeMap::new(),
        }
    }

    fn package(mut self, pkgbase: &str, version: &str, depends: &[&str]) -> Self {
        let folder = files(pkgbase, version, depends);
        let package = Package {
            pkgbase: name(pkgbase),
            tree: oid('d'),
            srcinfo: Srcinfo::parse(folder.get(".SRCINFO").expect("there")).ok(),
            settings: PackageSettings { source: SourceKind::Aur, ..PackageSettings::default() },
            config: "CI_PKGBUILD_SOURCE=aur\n".into(),
            interfere: Vec::new(),
            has_pkgbuild: true,
            version_file: None,
            findings: Vec::new(),
        };
        self.snapshot.packages.insert(name(pkgbase), Arc::new(package));
        self.folders.insert(name(pkgbase), folder);
        let mut state = PackageState::default();
        state.set_cursor(&Cursor { commit: oid('1'), stamp: Some(1), version: None });
        self.snapshot.states.insert(name(pkgbase), state);
        self
    }

    fn configured(mut self, pkgbase: &str, change: impl FnOnce(&mut Package)) -> Self {
        let package = self.snapshot.packages.get_mut(pkgbase).expect("there");
        change(Arc::make_mut(package));
        self
    }

    fn committed(mut self, message: &str) -> Self {
        let id = oid(char::from_digit(u32::try_from(self.since.commits.len() + 2).expect("few"), 16).expect("few"));
        self.since.commits.push(Commit { id, parents: vec![], author: "somebody".into(), message: message.into() });
        self.since.base = RangeBase::Scheduled(oid('9'));
        self.snapshot.refs.scheduled = Some(oid('9'));
        self
    }

    fn changed(mut self, pkgbase: &str) -> Self {
        self.since.changes.changed.push(name(pkgbase));
        self
    }

    fn source_has(mut self, pkgbase: &str, incoming: Folder) -> Self {
        let present = self.folders[&name(pkgbase)].clone();
        let cursor = Cursor { commit: oid('2'), stamp: Some(2), version: None };
        self.observations.files.insert(name(pkgbase), Observation::Changed { cursor, incoming, present });
        self
    }

    fn plan(&self, pipeline: &Pipeline) -> Plan {
        let official = BTreeSet::new();
        plan(
            pipeline,
            &Inputs {
                snapshot: &self.snapshot,
                since: &self.since,
                observations: &self.observations,
                policy: &self.policy,
                official: &official,
                arch: "x86_64",
                now: Timestamp::UNIX_EPOCH,
            },
        )
    }
}

fn built(plan: &Plan) -> Vec<&str> {
    plan.builds.iter().map(|build| build.pkgbase.as_str()).collect()
}

fn decision<'a>(plan: &'a Plan, pkgbase: &str) -> &'a PackageDecision {
    plan.packages.iter().find(|decision| decision.pkgbase.as_str() == pkgbase).expect("decided")
}

fn codes(plan: &Plan) -> Vec<&str> {
    plan.problems.iter().map(|problem| problem.code).collect()
}
