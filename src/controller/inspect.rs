//! Reads a repository where it lies, for commands that only look: no workspace, no network, nothing
//! written.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;

use super::Kept;
use super::audit;
use super::observe;
use super::range;
use super::rules;
use super::site::Look;
use super::snapshot::SnapshotReader;
use crate::domain::audit::{Audit, Indicator, Searcher};
use crate::domain::desired::{Package, Refs, Snapshot};
use crate::domain::finding::Finding;
use crate::domain::folder::Folder;
use crate::domain::graph::Graph;
use crate::domain::lint;
use crate::domain::name::{Oid, PkgBase};
use crate::domain::plan::{RangeBase, Since};
use crate::git::{Limits, Repository};
use crate::source::nvchecker::{self, CheckRequest};

/// The most that is read of one text file, in bytes.
const MOST_TEXT: usize = 1 << 20;

/// A repository on this machine.
pub struct Inspection {
    git: Repository,
}

impl Inspection {
    /// Opens the repository that holds a directory.
    ///
    /// # Errors
    /// If there is none.
    pub fn open(dir: &Path) -> Result<Self> {
        Ok(Self { git: Repository::discover(dir)? })
    }

    /// Everything known about a revision but what reviews propose. A repository without commits is an
    /// empty one.
    ///
    /// # Errors
    /// If there is no such revision.
    pub fn snapshot(&self, rev: &str) -> Result<Snapshot> {
        let refs = self.refs(rev)?;
        SnapshotReader::default().read_packages(&self.git, &self.name(), refs)
    }

    /// The refs as this repository knows them, with the revision in the place of the branch.
    ///
    /// # Errors
    /// If there is no such revision.
    pub fn refs(&self, rev: &str) -> Result<Refs> {
        let main = self.git.resolve(rev)?;
        if main.is_none() && rev != "HEAD" {
            bail!(self.no_revision(rev));
        }
        let branch = self.git.head_branch().unwrap_or_else(|| "main".to_owned());
        let state = self.first_of(&["refs/heads/state", "refs/remotes/origin/state"])?;
        let scheduled = self.first_of(&["refs/tags/scheduled"])?;
        Ok(Refs { branch, main, state, scheduled, reviews: self.reviews()?, ..Refs::default() })
    }

    fn first_of(&self, names: &[&str]) -> Result<Option<Oid>> {
        for name in names {
            if let Some(id) = self.git.resolve(name)? {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    fn reviews(&self) -> Result<std::collections::BTreeMap<PkgBase, Oid>> {
        let mut reviews = std::collections::BTreeMap::new();
        for prefix in ["refs/remotes/origin/", "refs/heads/"] {
            for (name, id) in self.git.refs(&format!("{prefix}update-"))? {
                let branch = name.strip_prefix(prefix).unwrap_or(&name);
                reviews.extend(PkgBase::from_review_branch(branch).map(|pkgbase| (pkgbase, id)));
            }
        }
        Ok(reviews)
    }

    /// What the repository is called where nothing else is said: the name of its directory.
    #[must_use]
    pub fn name(&self) -> String {
        let path = self.git.path();
        let path =
            if path.file_name().is_some_and(|name| name == ".git") { path.parent().unwrap_or(path) } else { path };
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        name.strip_suffix(".git").unwrap_or(&name).to_owned()
    }

    /// What happened between two revisions.
    ///
    /// # Errors
    /// If there is no such revision.
    pub fn since(&self, from: &str, to: &str) -> Result<(Since, BTreeSet<PkgBase>)> {
        let (from, to) = (self.commit(from)?, self.commit(to)?);
        let since = range::between(&self.git, RangeBase::Scheduled(from), Some(from), Some(to))?;
        let entries = self.git.entries(self.git.tree_of(to)?)?;
        let names = entries.iter().filter(|entry| entry.is_tree).filter_map(|entry| PkgBase::new(&entry.name).ok());
        Ok((since, names.collect()))
    }

    fn no_revision(&self, rev: &str) -> String {
        format!("`{rev}` is no revision of {}; name a branch, a tag or a commit", self.git.path().display())
    }

    /// What was committed since builds were last handed out.
    ///
    /// # Errors
    /// If the objects cannot be read.
    pub fn since_scheduled(&self, refs: &Refs) -> Result<Since> {
        range::since_scheduled(&self.git, refs)
    }

    /// The commit that a revision names. `HEAD~500` is counted back each time it is asked for, so whoever asks about
    /// many packages asks this once.
    ///
    /// # Errors
    /// If there is no such revision.
    pub fn commit(&self, rev: &str) -> Result<Oid> {
        self.git.resolve(rev)?.with_context(|| self.no_revision(rev))
    }

    /// The folder of a package at two commits; `None` where it does not exist.
    ///
    /// # Errors
    /// If the objects cannot be read.
    pub fn sides(&self, from: Oid, to: Oid, pkgbase: &PkgBase) -> Result<(Option<Folder>, Option<Folder>)> {
        Ok((self.folder(from, pkgbase)?, self.folder(to, pkgbase)?))
    }

    fn folder(&self, commit: Oid, pkgbase: &PkgBase) -> Result<Option<Folder>> {
        let entry = self.git.entry_at(self.git.tree_of(commit)?, pkgbase.as_str())?;
        entry.map(|entry| Ok(self.git.folder(entry.id, &Limits::default())?)).transpose()
    }

    /// Everything that is wrong at a revision, contradictions and rules that have ended included.
    ///
    /// # Errors
    /// If the objects cannot be read.
    pub fn lints(&self, snapshot: &Snapshot, official: &BTreeSet<String>, now: Timestamp) -> Result<Vec<Finding>> {
        let mut findings: Vec<Finding> = snapshot.all_findings().cloned().collect();
        let packages: BTreeSet<&str> = snapshot.packages.keys().map(PkgBase::as_str).collect();
        findings.extend(snapshot.gate.lints(&packages, now));
        findings.extend(rules::unused(&self.git, snapshot, now)?);
        for package in snapshot.packages.values() {
            match self.files(package) {
                Ok(files) => findings.extend(package_lints(package, &files)),
                Err(unusable) => findings.push(*unusable),
            }
        }
        let graph = Graph::build(snapshot.packages.values().map(Arc::as_ref), official);
        findings.extend(lint::repository(snapshot, &graph, official));
        findings.sort_by(|a, b| {
            (&a.pkgbase, &a.file, a.line, a.code, &a.message).cmp(&(&b.pkgbase, &b.file, b.line, b.code, &b.message))
        });
        Ok(findings)
    }

    /// What indicators find at a revision, in reviews, in records, and in so many commits of the past.
    ///
    /// # Errors
    /// If there is no such revision, or the objects cannot be read.
    pub fn audit(&self, rev: &str, indicators: Vec<Indicator>, commits: Option<usize>) -> Result<Audit> {
        audit::audit(&self.git, &self.refs(rev)?, &Searcher::new(indicators), commits)
    }

    /// A text file at a revision; `None` if it is not there.
    ///
    /// # Errors
    /// If there is no such revision, or the file is larger than 1 MiB.
    pub fn text(&self, rev: &str, path: &str) -> Result<Option<String>> {
        let Some(commit) = self.git.resolve(rev)? else { return Ok(None) };
        let Some(entry) = self.git.entry_at(self.git.tree_of(commit)?, path)? else { return Ok(None) };
        let bytes = self.git.blob(entry.id, MOST_TEXT)?;
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// The files of a package.
    ///
    /// # Errors
    /// Why its folder must not be read.
    pub fn files(&self, package: &Package) -> Result<Folder, Box<Finding>> {
        let folder = self.git.folder(package.tree, &Limits::default());
        folder.map_err(|error| Box::new(observe::unusable(&package.pkgbase, &error)))
    }
}

/// Contradictions inside one package folder, and what is wrong with the file by which its newest version is found.
#[must_use]
pub fn package_lints(package: &Package, files: &Folder) -> Vec<Finding> {
    let mut findings = lint::package(package, files);
    let request = CheckRequest::of(&package.pkgbase, files).filter(|_| package.settings.nvchecker);
    if let Some(bad) = request.and_then(|request| nvchecker::problem(&request)) {
        findings.push(
            Finding::error("nvchecker-invalid", bad.message)
                .with_package(&package.pkgbase)
                .at(format!("{}/{}", package.pkgbase, bad.path), bad.line)
                .hint("docs/nvchecker.md lists the sources and their options"),
        );
    }
    findings
}

/// Who is built before whom, as the last look found it.
pub(super) fn graph_of(kept: &Kept, look: &Look) -> Graph {
    let packages = look.snapshot.packages.values().map(|package| &**package);
    Graph::build_for(&kept.site().arch, packages, &recorded_names(&look.snapshot))
}

/// Names of packages in the repositories that are built against, as the `state` branch recorded them.
#[must_use]
pub fn recorded_names(snapshot: &Snapshot) -> BTreeSet<String> {
    lint::known_elsewhere(snapshot.version_state.as_deref())
}

/// Names of the packages in a pacman database.
///
/// # Errors
/// If the file is no such database.
pub fn database_names(file: &Path) -> Result<Vec<String>> {
    let entries = crate::publish::database::read(file)?;
    Ok(entries.into_iter().map(|entry| entry.name.to_string()).collect())
}
