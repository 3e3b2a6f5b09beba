//! Looks at what a proposal changes: its tree against the commit at which it left the branch.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use jiff::Timestamp;

use crate::controller::{inspect, observe, snapshot};
use crate::domain::changes::Changes;
use crate::domain::classify::{self, Context, Subject, Verdict};
use crate::domain::desired::{Package, Snapshot};
use crate::domain::finding::{Finding, Severity};
use crate::domain::folder::Folder;
use crate::domain::graph::Graph;
use crate::domain::lint;
use crate::domain::name::{Oid, PkgBase};
use crate::domain::pkgbuild::Pkgbuild;
use crate::domain::review::proposal::{Assessment, Touch, Touched};
use crate::git::{Entry, FolderError, Limits, Repository};
use crate::store::trials::NewTrial;

/// A proposal of more packages is judged as none.
const MOST: usize = 500;

/// What a proposal is, and what would have to be built of it.
#[derive(Debug)]
pub(super) struct Assessed {
    pub assessment: Assessment,
    pub trials: Vec<NewTrial>,
}

/// Looks at one proposal, whose commit is here. `None` if it cannot be told what it changes, because this clone does not
/// have enough of the history.
///
/// # Errors
/// If objects cannot be read.
pub(super) fn assess(
    git: &Repository,
    snapshot: &Snapshot,
    head: Oid,
    arch: &str,
    now: Timestamp,
) -> Result<Option<Assessed>> {
    let tip = snapshot.main.context("the branch has no commit")?;
    let base = match *git.merge_bases(tip.commit, head)? {
        [base] => base,
        [] if !git.cut_at().is_empty() => return Ok(None),
        [] => {
            let why = "it has no commit in common with the branch that it goes into";
            return Ok(Some(refused("unrelated", why, "begin it at a commit of that branch")));
        }
        // Against one of them, it would not show what it takes back of the others.
        [_, _, ..] => {
            let why = "it has several merge bases: merge the branch that it goes into first";
            return Ok(Some(refused("merge-bases", why, "merge that branch into it, or rebase it onto that branch")));
        }
    };
    let looking = Looking { git, snapshot, base: root(git, base)?, head: root(git, head)?, now };
    let (changes, outside, findings) = looking.changes();
    if changes.changed.len() + changes.added.len() + changes.removed.len() > MOST {
        return Ok(Some(refused("too-many", "it touches too many packages to judge", "propose at most 500 at once")));
    }
    let mut packages = Vec::new();
    let mut parsed = BTreeMap::new();
    for (touch, names) in
        [(Touch::Changed, &changes.changed), (Touch::Added, &changes.added), (Touch::Removed, &changes.removed)]
    {
        for pkgbase in names {
            let (touched, package) = looking.one(pkgbase, touch)?;
            packages.push(touched);
            parsed.extend(package.map(|package| (pkgbase.clone(), package)));
        }
    }
    packages.sort_by(|a, b| a.pkgbase.cmp(&b.pkgbase));
    let assessment = Assessment { packages, outside, findings, refused: None };
    let trials = trials(snapshot, &assessment, &parsed, arch);
    Ok(Some(Assessed { assessment, trials }))
}

struct Looking<'a> {
    git: &'a Repository,
    snapshot: &'a Snapshot,
    base: Vec<Entry>,
    head: Vec<Entry>,
    now: Timestamp,
}

impl Looking<'_> {
    /// What differs at the root: packages, and what is none.
    fn changes(&self) -> (Changes, Vec<String>, Vec<Finding>) {
        let (old, new) = (&self.base, &self.head);
        let (changes, findings) = Changes::between(folders(old), folders(new));
        // Names that were there before are none of this proposal's.
        let (_, known) = Changes::between([], folders(old));
        let findings = findings.into_iter().filter(|finding| !known.contains(finding)).collect();
        let (before, after) = (others(old), others(new));
        let names: BTreeSet<&str> = before.keys().chain(after.keys()).copied().collect();
        let outside = names.into_iter().filter(|name| before.get(name) != after.get(name)).map(str::to_owned).collect();
        (changes, outside, findings)
    }

    fn one(&self, pkgbase: &PkgBase, touch: Touch) -> Result<(Touched, Option<Package>)> {
        let (old, new) = (self.side(&self.base, pkgbase)?, self.side(&self.head, pkgbase)?);
        let Some(new) = new else {
            let verdict = Verdict::from_reasons(Vec::new(), None, None);
            return Ok((touched(pkgbase, touch, verdict), None));
        };
        let known = old.as_ref().map(|old| old.findings.iter().map(told).collect()).unwrap_or_default();
        let findings = fresh(new.findings, &known);
        let before = old.and_then(|old| old.files).unwrap_or_default();
        let Some(files) = new.files else {
            let verdict = Verdict::from_reasons(Vec::new(), None, None);
            return Ok((Touched { findings, ..touched(pkgbase, touch, verdict) }, None));
        };
        let verdict = self.judged(pkgbase, &before, &files);
        let unreadable = files.get("PKGBUILD").is_none_or(|text| Pkgbuild::read(text).is_err());
        let own = own(&before) != own(&files);
        Ok((Touched { own, unreadable, findings, ..touched(pkgbase, touch, verdict) }, new.package))
    }

    /// By the rules of the branch, and not by those that are proposed.
    fn judged(&self, pkgbase: &PkgBase, old: &Folder, new: &Folder) -> Verdict {
        let settings = self.snapshot.packages.get(pkgbase).map(|it| it.settings.clone()).unwrap_or_default();
        let line_rules = &settings.line_rules;
        let subject = Subject { package: pkgbase.as_str(), old, new, line_rules, now: self.now };
        classify::judge(classify::classify(old, new), subject, &self.snapshot.gate, &Context::default()).verdict
    }

    /// One side of a package, with what is wrong there; `None` if it is not there.
    fn side(&self, root: &[Entry], pkgbase: &PkgBase) -> Result<Option<Side>> {
        let entry = root.iter().find(|entry| entry.is_tree && entry.name == pkgbase.as_str());
        let Some(entry) = entry else { return Ok(None) };
        let files = match self.git.folder(entry.id, &Limits::default()) {
            Ok(files) => files,
            Err(FolderError::Git(error)) => return Err(error.into()),
            Err(unusable) => {
                let findings = vec![observe::unusable(pkgbase, &unusable)];
                return Ok(Some(Side { files: None, package: None, findings }));
            }
        };
        let package = snapshot::package_at(self.git, pkgbase, entry.id)?;
        let mut findings = package.findings.clone();
        findings.extend(inspect::package_lints(&package, &files));
        Ok(Some(Side { files: Some(files), package: Some(package), findings }))
    }
}

fn refused(code: &'static str, why: &'static str, hint: &'static str) -> Assessed {
    Assessed { assessment: Assessment::refused(code, why, hint), trials: Vec::new() }
}

/// What stands at the root of a commit.
fn root(git: &Repository, commit: Oid) -> Result<Vec<Entry>> {
    Ok(git.entries(git.tree_of(commit)?)?)
}

/// The folders at a root.
fn folders(root: &[Entry]) -> impl Iterator<Item = (&str, Oid)> {
    root.iter().filter(|entry| entry.is_tree).map(|entry| (entry.name.as_str(), entry.id))
}

/// What is no package at a root.
fn others(root: &[Entry]) -> BTreeMap<&str, (Oid, u32)> {
    let others = root.iter().filter(|entry| !entry.is_tree || entry.name.starts_with('.'));
    others.map(|entry| (entry.name.as_str(), (entry.id, entry.mode))).collect()
}

/// One side of a package.
struct Side {
    files: Option<Folder>,
    package: Option<Package>,
    findings: Vec<Finding>,
}

fn touched(pkgbase: &PkgBase, touch: Touch, verdict: Verdict) -> Touched {
    let pkgbase = pkgbase.clone();
    Touched { pkgbase, touch, verdict, own: false, unreadable: false, findings: Vec::new() }
}

/// What a finding says, wherever it stands by now.
fn told(finding: &Finding) -> (&'static str, Severity, String) {
    (finding.code, finding.severity, finding.message.clone())
}

/// What was not wrong before.
fn fresh(findings: Vec<Finding>, known: &BTreeSet<(&'static str, Severity, String)>) -> Vec<Finding> {
    findings.into_iter().filter(|finding| !known.contains(&told(finding))).collect()
}

/// The entries that belong to the monorepo.
fn own(folder: &Folder) -> Folder {
    let source = folder.from_source();
    let files = folder.files.iter().filter(|(path, _)| !source.files.contains_key(*path));
    Folder { files: files.map(|(path, file)| (path.clone(), file.clone())).collect() }
}

/// What would be built, in an order in which everything comes after what it needs.
fn trials(
    snapshot: &Snapshot,
    assessment: &Assessment,
    parsed: &BTreeMap<PkgBase, Package>,
    arch: &str,
) -> Vec<NewTrial> {
    let wanted: BTreeSet<PkgBase> = assessment.to_build().filter(|it| parsed.contains_key(*it)).cloned().collect();
    let kept = snapshot.packages.values().map(AsRef::as_ref).filter(|package| !parsed.contains_key(&package.pkgbase));
    let official = lint::known_elsewhere(snapshot.version_state.as_deref());
    let graph = Graph::build_for(arch, kept.chain(parsed.values()), &official);
    let mut before = graph.wave(&wanted);
    let trial = |pkgbase: PkgBase| {
        let after = before.remove(&pkgbase).map(|before| before.members).unwrap_or_default();
        NewTrial { pkgbase, arch: arch.to_owned(), after }
    };
    graph.order_of(&wanted).into_iter().map(trial).collect()
}
