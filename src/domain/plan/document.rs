//! A plan as the JSON document that `plan` and `run` print.

use jiff::Timestamp;
use serde::Serialize;

use super::{PackageDecision, Plan, ReviewStep, Scheduled, Watched};
use crate::domain::build::{BuildReason, BuildRequest};
use crate::domain::desired::Snapshot;
use crate::domain::finding::{Finding, Severity};
use crate::domain::name::{Oid, PkgBase};
use crate::domain::policy::BuildClass;

/// What `plan` and `run` print.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Document {
    /// The repository.
    pub repository: String,
    /// The word for the pipeline.
    pub pipeline: String,
    /// When it was planned.
    pub now: Timestamp,
    /// What it was planned on.
    pub base: Base,
    /// Every package that was looked at.
    pub packages: Vec<PackageDecision>,
    /// Every ref that moves.
    pub refs: Vec<RefChange>,
    /// What is built, in order.
    pub builds: Vec<Build>,
    /// Packages that leave the published repository.
    pub remove: Vec<PkgBase>,
    /// Packages whose builds are stopped, because they are held by a quarantine.
    pub stop: Vec<PkgBase>,
    /// What happens to reviews.
    pub reviews: Vec<ReviewChange>,
    /// Packages that are pushed to the AUR.
    pub aur_push: Vec<PkgBase>,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

/// The refs a plan rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Base {
    /// The branch with the packages.
    pub main: Option<Oid>,
    /// Branch `state`.
    pub state: Option<Oid>,
    /// Tag `scheduled`.
    pub scheduled: Option<Oid>,
}

/// One ref that moves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RefChange {
    /// Its full name.
    pub name: String,
    /// Where it is.
    pub old: Option<Oid>,
    /// Where it goes; null if the ref goes away, or to a commit that is not made yet.
    pub new: Option<Oid>,
    /// `create`, `update` or `delete`.
    pub change: &'static str,
}

/// One build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Build {
    /// The package.
    pub pkgbase: PkgBase,
    /// The class asked for.
    pub class: Option<BuildClass>,
    /// The architecture.
    pub arch: String,
    /// Why.
    pub reason: BuildReason,
    /// What has to be built before.
    pub after: Vec<PkgBase>,
    /// What it was decided by, if that is where its upstream stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watched: Option<Watched>,
}

/// What happens to one review.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReviewChange {
    /// The package.
    pub pkgbase: PkgBase,
    /// Its branch.
    pub branch: String,
    /// `open`, `update` or `close`.
    #[serde(rename = "do")]
    pub action: &'static str,
    /// One sentence; empty for reviews that are opened, whose reasons stand with the package.
    pub why: String,
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Stable, `kebab-case`.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// The package it is about.
    pub pkgbase: Option<PkgBase>,
    /// The commit that brought it.
    pub commit: Option<Oid>,
    /// The file it is about, inside the monorepo.
    pub file: Option<String>,
    /// The line in that file, from 1.
    pub line: Option<u32>,
    /// One sentence, which begins with the file and the line.
    pub message: String,
    /// What to do.
    pub hint: String,
}

impl From<&Finding> for Problem {
    fn from(finding: &Finding) -> Self {
        let place = match (&finding.file, finding.line) {
            (Some(file), Some(line)) => format!("{file}:{line}: "),
            (Some(file), None) => format!("{file}: "),
            (None, _) => String::new(),
        };
        Self {
            code: finding.code,
            severity: finding.severity,
            pkgbase: finding.pkgbase.clone(),
            commit: finding.commit,
            file: finding.file.clone(),
            line: finding.line,
            message: format!("{place}{}", finding.message),
            hint: finding.hint.clone(),
        }
    }
}

impl Plan {
    /// The document of this plan. `refs` are those that [`Plan::ref_changes`] foresees; a run puts
    /// the real ones in their place.
    #[must_use]
    pub fn document(&self, snapshot: &Snapshot) -> Document {
        let refs = &snapshot.refs;
        Document {
            repository: snapshot.repository.clone(),
            pipeline: self.pipeline.name().to_owned(),
            now: self.now,
            base: Base { main: refs.main, state: refs.state, scheduled: refs.scheduled },
            packages: self.packages.clone(),
            refs: self.ref_changes(snapshot),
            builds: self.builds.iter().map(|request| self.build(request)).collect(),
            remove: self.remove.clone(),
            stop: self.stop.clone(),
            reviews: self.reviews.iter().map(ReviewChange::from).collect(),
            aur_push: self.aur_push.clone(),
            problems: self.problems.iter().map(Problem::from).collect(),
        }
    }

    fn build(&self, request: &BuildRequest) -> Build {
        Build {
            pkgbase: request.pkgbase.clone(),
            class: request.class.clone(),
            arch: request.arch.clone(),
            reason: request.reason,
            after: request.after.clone(),
            watched: self.watched.get(&request.pkgbase).cloned(),
        }
    }

    /// The refs that will move, as far as that is known before any object is written.
    #[must_use]
    pub fn ref_changes(&self, snapshot: &Snapshot) -> Vec<RefChange> {
        let refs = &snapshot.refs;
        let to_new_commit = |name: String, old: Option<Oid>| RefChange { name, old, new: None, change: verb(old) };
        let mut changes = Vec::new();
        if self.commit.is_some() {
            changes.push(to_new_commit(format!("refs/heads/{}", refs.branch), refs.main));
        }
        if self.moves_state() {
            changes.push(to_new_commit("refs/heads/state".to_owned(), refs.state));
        }
        if self.scheduled == Scheduled::Tip && (self.commit.is_some() || refs.scheduled != refs.main) {
            let new = refs.main.filter(|_| self.commit.is_none());
            changes.push(RefChange {
                name: "refs/tags/scheduled".to_owned(),
                old: refs.scheduled,
                new,
                change: verb(refs.scheduled),
            });
        }
        changes.extend(self.reviews.iter().map(|step| match step {
            ReviewStep::Propose { pkgbase, replaces, .. } => to_new_commit(branch_ref(pkgbase), *replaces),
            ReviewStep::Close { pkgbase, head, .. } => {
                RefChange { name: branch_ref(pkgbase), old: Some(*head), new: None, change: "delete" }
            }
        }));
        changes
    }
}

fn verb(old: Option<Oid>) -> &'static str {
    if old.is_some() { "update" } else { "create" }
}

fn branch_ref(pkgbase: &PkgBase) -> String {
    format!("refs/heads/{}", pkgbase.review_branch())
}

impl From<&ReviewStep> for ReviewChange {
    fn from(step: &ReviewStep) -> Self {
        match step {
            ReviewStep::Propose { pkgbase, replaces, .. } => Self {
                pkgbase: pkgbase.clone(),
                branch: pkgbase.review_branch(),
                action: if replaces.is_some() { "update" } else { "open" },
                why: String::new(),
            },
            ReviewStep::Close { pkgbase, why, .. } => {
                Self { pkgbase: pkgbase.clone(), branch: pkgbase.review_branch(), action: "close", why: why.clone() }
            }
        }
    }
}
