//! Packages whose newest version is found by the `nvchecker.toml` in their folders: which file each has, and
//! what follows from the version that was found.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::domain::desired::Snapshot;
use crate::domain::finding::Finding;
use crate::domain::name::PkgBase;
use crate::domain::plan::{self, VersionCheck};
use crate::git::Repository;
use crate::source::nvchecker::{self, CheckRequest};
use crate::source::{Pass, SourceAnswer};

/// What is asked in one pass.
#[derive(Debug, Default)]
pub struct Checks {
    /// By package: what is known of it before it is asked.
    known: BTreeMap<PkgBase, VersionCheck>,
    /// Their files.
    requests: Vec<CheckRequest>,
    /// Those that cannot be asked, and why.
    unreadable: BTreeMap<PkgBase, SourceAnswer>,
}

impl Checks {
    /// Reads the files of all packages that have their versions looked for.
    pub fn read(git: &Repository, snapshot: &Snapshot) -> Self {
        let mut checks = Self::default();
        for check in plan::version_checks(snapshot) {
            let pkgbase = check.pkgbase.clone();
            match file(git, snapshot, &check) {
                Ok(request) => checks.requests.push(request),
                Err(error) => drop(checks.unreadable.insert(pkgbase.clone(), SourceAnswer::unknown(error))),
            }
            checks.known.insert(pkgbase, check);
        }
        checks
    }

    /// The same for all of them, if nothing can be read.
    pub fn none(snapshot: &Snapshot, error: &str) -> Self {
        let unreadable = plan::version_checks(snapshot).into_iter();
        let unreadable = unreadable.map(|check| (check.pkgbase, SourceAnswer::unknown(error))).collect();
        Self { unreadable, ..Self::default() }
    }

    /// Asks, and says what is new for each package. Whatever cannot be found out is unknown.
    pub async fn ask(self, pass: &Pass<'_>, now: Timestamp) -> (BTreeMap<PkgBase, SourceAnswer>, Vec<Finding>) {
        let mut answers = self.unreadable;
        let found = pass.newest(&self.requests, now).await;
        for (pkgbase, newest) in found.packages {
            let Some(check) = self.known.get(&pkgbase) else { continue };
            answers.insert(pkgbase, newest.answer(check.cursor.as_ref(), check.version.as_ref()));
        }
        (answers, found.findings)
    }
}

fn file(git: &Repository, snapshot: &Snapshot, check: &VersionCheck) -> Result<CheckRequest, String> {
    let Some(path) = &check.file else { return Err(nvchecker::MISSING.to_owned()) };
    let read = || {
        let tree = snapshot.packages[&check.pkgbase].tree;
        let entry = git.entry_at(tree, path)?.filter(|entry| !entry.is_tree);
        entry.map(|entry| git.blob(entry.id, nvchecker::LARGEST)).transpose()
    };
    match read() {
        Ok(Some(file)) => Ok(CheckRequest { pkgbase: check.pkgbase.clone(), path: path.clone(), file }),
        Ok(None) => Err(format!("{path} is not a file")),
        Err(error) => Err(format!("{path} is not read: {error}")),
    }
}
