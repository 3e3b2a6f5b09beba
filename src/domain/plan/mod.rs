//! What one run would do, as a value: `plan` prints it, `run` and `serve` perform it.
//!
//! [`plan`] is the only place where that is decided. It is a pure function of what was read
//! ([`Inputs`]), so that a dry run, a test and the live controller cannot disagree.

mod builds;
mod document;
mod hold;
mod membership;
mod pipeline;
mod problems;
mod rebuilds;
mod requests;
mod reviews;
mod since;
#[cfg(test)]
mod tests;
mod updates;
mod upstreams;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

pub use document::{Base, Document, Problem, RefChange, ReviewChange};
pub use pipeline::{Pipeline, Refusal};
pub use requests::{Request, VersionCheck, needs_published, requests, version_checks};
pub use reviews::considers_review;
pub use upstreams::{Judge, Watched};

use super::build::BuildRequest;
use super::changes::Changes;
use super::classify::{Decision, Reason};
use super::desired::{Package, Snapshot};
use super::finding::Finding;
use super::folder::Folder;
use super::name::{Oid, PkgBase};
use super::observed::Observations;
use super::policy::Policy;
use super::quarantine;
use super::state::PackageState;
use super::version::Version;

/// From where the commits of a range are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangeBase {
    /// The tag `scheduled`.
    Scheduled(Oid),
    /// There is no such tag: only the last commit counts.
    LastCommit,
    /// The tag is not an ancestor of the branch: somebody pushed with force.
    Rewritten(Oid),
    /// There is no commit at all.
    Empty,
}

/// One commit, as far as decisions need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its id.
    pub id: Oid,
    /// Its parents.
    pub parents: Vec<Oid>,
    /// Who wrote it, as `name <address>`.
    pub author: String,
    /// The whole message.
    pub message: String,
}

/// What people did since builds were last handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Since {
    /// From where it is counted.
    pub base: RangeBase,
    /// The commits, oldest first.
    pub commits: Vec<Commit>,
    /// The folders that differ between both ends.
    pub changes: Changes,
    /// The last commit of the branch, in the range or not.
    pub head: Option<Commit>,
}

/// Everything a plan is made from.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The monorepo.
    pub snapshot: &'a Snapshot,
    /// What people did.
    pub since: &'a Since,
    /// What sources said.
    pub observations: &'a Observations,
    /// What the operator decides.
    pub policy: &'a Policy,
    /// Names of packages in the repositories that are built against: they win over a `provides`.
    pub official: &'a BTreeSet<String>,
    /// The architecture that is built for.
    pub arch: &'a str,
    /// The time of the run.
    pub now: Timestamp,
}

/// What was heard about a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Heard {
    /// Nothing has moved.
    Current,
    /// Something has.
    Changed,
    /// It could not be asked.
    Unknown,
}

/// What happens with a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Nothing.
    None,
    /// Its update is committed.
    Commit,
    /// Its update waits for a person.
    Review,
    /// Only what has been seen is recorded.
    State,
    /// Something would have to happen and deliberately does not; `why` says why.
    Skip,
}

/// What happens with one package, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PackageDecision {
    /// The package.
    pub pkgbase: PkgBase,
    /// What was heard.
    pub observation: Heard,
    /// What happens.
    pub action: Action,
    /// The verdict on its update.
    pub verdict: Option<Decision>,
    /// What the verdict rests on.
    pub reasons: Vec<Reason>,
    /// The git trees that were compared: exactly the second is merged, or proposed.
    pub trees: Option<Trees>,
    /// The version now.
    pub from_version: Option<Version>,
    /// The version after the update.
    pub to_version: Option<Version>,
    /// One sentence.
    pub why: String,
}

/// The git trees of a package's folder that a verdict is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Trees {
    /// As it is on the branch with the packages.
    pub from: Oid,
    /// As it would be.
    pub to: Oid,
}

/// One change to the tree of the branch with the packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// The whole folder of a package becomes this.
    Folder(PkgBase, Folder),
    /// One file becomes this; the path is inside the monorepo.
    File(String, Vec<u8>),
    /// The whole folder of a package goes.
    Remove(PkgBase),
}

/// What happens to a review.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReviewStep {
    /// A branch is made, or moved to newer content.
    Propose {
        /// The package.
        pkgbase: PkgBase,
        /// Its whole folder as proposed.
        folder: Folder,
        /// The message of the commit.
        message: String,
        /// The tip of the branch it replaces, if there is one.
        replaces: Option<Oid>,
    },
    /// The branch goes.
    Close {
        /// The package.
        pkgbase: PkgBase,
        /// The tip it has now.
        head: Oid,
        /// One sentence.
        why: String,
    },
}

/// Where the tag `scheduled` goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheduled {
    /// It stays.
    Stays,
    /// To the tip of the branch, after the commit of this plan if there is one.
    Tip,
}

/// The commit a plan makes on the branch with the packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCommit {
    /// What changes.
    pub edits: Vec<Edit>,
    /// Its message.
    pub message: String,
    /// Its parents: the tip, or the tip's parents if the tip is overwritten.
    pub parents: Vec<Oid>,
}

/// What one run would do.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What the run is for.
    pub pipeline: Pipeline,
    /// The time it is made at.
    pub now: Timestamp,
    /// What happens with each package that was looked at, sorted by name.
    pub packages: Vec<PackageDecision>,
    /// The commit on the branch with the packages.
    pub commit: Option<NewCommit>,
    /// State files that change; `None` removes one.
    pub states: BTreeMap<PkgBase, Option<PackageState>>,
    /// Files of the branch `state` that are about no single package, and change: path and text.
    pub state_files: BTreeMap<&'static str, String>,
    /// Reviews that are opened, updated or closed.
    pub reviews: Vec<ReviewStep>,
    /// Where `scheduled` goes.
    pub scheduled: Scheduled,
    /// What is built, in an order in which it can be.
    pub builds: Vec<BuildRequest>,
    /// What builds of packages that are built from something that moves were decided by.
    pub watched: BTreeMap<PkgBase, Watched>,
    /// Packages that are new in the monorepo after this plan.
    pub added: BTreeMap<PkgBase, Arc<Package>>,
    /// Packages that left the monorepo, or leave it with this plan.
    pub remove: Vec<PkgBase>,
    /// Packages whose builds are stopped.
    pub stop: Vec<PkgBase>,
    /// Packages that go back to the AUR, sorted.
    pub aur_push: Vec<PkgBase>,
    /// What is wrong.
    pub problems: Vec<Finding>,
}

impl Plan {
    /// Whether there is anything to do.
    #[must_use]
    pub fn is_empty(&self, snapshot: &Snapshot) -> bool {
        self.commit.is_none()
            && !self.moves_state()
            && self.reviews.is_empty()
            && self.builds.is_empty()
            && self.remove.is_empty()
            && self.stop.is_empty()
            && (self.scheduled == Scheduled::Stays || snapshot.refs.scheduled == snapshot.refs.main)
    }

    /// The packages of the monorepo after this plan, as far as they are named.
    pub fn packages_after<'a>(&'a self, snapshot: &'a Snapshot) -> impl Iterator<Item = &'a Package> {
        let staying = snapshot.packages.values().filter(|package| !self.remove.contains(&package.pkgbase));
        staying.chain(self.added.values()).map(Arc::as_ref)
    }

    /// Whether the branch `state` moves.
    #[must_use]
    pub fn moves_state(&self) -> bool {
        !(self.states.is_empty() && self.state_files.is_empty())
    }

    /// Whether a person has to act: on a problem, or on an update that waits for a review.
    #[must_use]
    pub fn needs_a_person(&self) -> bool {
        self.packages.iter().any(|decision| decision.action == Action::Review)
            || self.problems.iter().any(|problem| problem.severity == super::finding::Severity::Error)
    }
}

/// Decides what a run does.
#[must_use]
pub fn plan(pipeline: &Pipeline, inputs: &Inputs) -> Plan {
    let mut draft = Draft::new(pipeline, inputs);
    match pipeline {
        Pipeline::OnCommit => {
            if draft.hand_out_commits() {
                draft.follow_changes();
            }
            draft.prune_reviews();
        }
        Pipeline::OnSchedule => {
            if draft.hand_out_commits() {
                draft.take_updates();
                draft.follow_upstreams();
                draft.follow_libraries();
                draft.follow_changes();
            }
            draft.prune_reviews();
        }
        Pipeline::Trigger(name) => draft.fire_trigger(name),
        Pipeline::Deploy(targets) => draft.deploy(targets),
        Pipeline::Bump(targets) => {
            if draft.hand_out_commits() {
                draft.bump(targets, super::build::BuildReason::Bump);
            }
        }
        Pipeline::Approve(pkgbase, head, person) => {
            if draft.hand_out_commits() {
                draft.approve(pkgbase, *head, person);
            }
        }
        Pipeline::Reject(pkgbase, head, refusal) => draft.reject(pkgbase, *head, refusal),
        Pipeline::Quarantine(packages, reason) => draft.quarantine(packages, reason),
        Pipeline::Lift(packages, reason) => draft.lift(packages, reason),
        Pipeline::Add(additions, provenance) => {
            if draft.hand_out_commits() {
                draft.add(additions, provenance);
            }
        }
        Pipeline::Drop(names, reason) => {
            if draft.hand_out_commits() {
                draft.drop_packages(names, reason.as_deref());
            }
        }
    }
    draft.finish()
}

/// A plan in the making.
struct Draft<'a> {
    inputs: &'a Inputs<'a>,
    pipeline: Pipeline,
    packages: BTreeMap<PkgBase, PackageDecision>,
    edits: Vec<Edit>,
    entries: Vec<(super::message::Topic, super::message::Entry)>,
    states: BTreeMap<PkgBase, Option<PackageState>>,
    state_files: BTreeMap<&'static str, String>,
    reviews: Vec<ReviewStep>,
    scheduled: Scheduled,
    builds: BTreeMap<PkgBase, builds::Wanted>,
    watched: BTreeMap<PkgBase, Watched>,
    added: BTreeMap<PkgBase, Arc<Package>>,
    remove: Vec<PkgBase>,
    stop: Vec<PkgBase>,
    aur_push: BTreeSet<PkgBase>,
    problems: Vec<Finding>,
    /// Packages that nothing happens with, and on account of which package.
    held: BTreeMap<PkgBase, PkgBase>,
    /// What only all updates of the run together show, by package.
    campaigns: BTreeMap<PkgBase, Vec<Reason>>,
}

impl<'a> Draft<'a> {
    fn new(pipeline: &Pipeline, inputs: &'a Inputs<'a>) -> Self {
        Self {
            inputs,
            pipeline: pipeline.clone(),
            packages: BTreeMap::new(),
            edits: Vec::new(),
            entries: Vec::new(),
            states: BTreeMap::new(),
            state_files: BTreeMap::new(),
            reviews: Vec::new(),
            scheduled: Scheduled::Stays,
            builds: BTreeMap::new(),
            watched: BTreeMap::new(),
            added: BTreeMap::new(),
            remove: Vec::new(),
            stop: Vec::new(),
            aur_push: BTreeSet::new(),
            problems: inputs.observations.findings.clone(),
            held: quarantine::held(inputs.snapshot, inputs.snapshot.states.iter(), inputs.arch, inputs.official),
            campaigns: BTreeMap::new(),
        }
    }

    fn finish(mut self) -> Plan {
        let builds = self.ordered_builds();
        let commit = self.new_commit();
        let problems = problems::gathered(self.problems);
        Plan {
            pipeline: self.pipeline,
            now: self.inputs.now,
            packages: self.packages.into_values().collect(),
            commit,
            states: self.states,
            state_files: self.state_files,
            reviews: self.reviews,
            scheduled: self.scheduled,
            builds,
            watched: self.watched,
            added: self.added,
            aur_push: self.aur_push.into_iter().filter(|pkgbase| !self.remove.contains(pkgbase)).collect(),
            remove: self.remove,
            stop: self.stop,
            problems,
        }
    }

    /// Has a package go back to the AUR, if its maintainers are those of the monorepo.
    fn hand_back(&mut self, pkgbase: &PkgBase) {
        let package = self.inputs.snapshot.packages.get(pkgbase);
        let managed = package.is_some_and(|package| package.settings.manage_aur);
        if managed && !self.held.contains_key(pkgbase) {
            self.aur_push.insert(pkgbase.clone());
        }
    }

    /// Files of a source as they are committed. The gate is never shown these.
    fn as_committed(&self, pkgbase: &PkgBase, incoming: &Folder) -> Folder {
        let mut folder = incoming.clone();
        if let Some(formatted) = self.inputs.observations.formatted.get(pkgbase)
            && let Some(file) = folder.files.get_mut("PKGBUILD")
        {
            file.bytes = formatted.as_slice().into();
        }
        folder
    }

    /// The state of a package as this plan leaves it so far.
    fn state(&self, pkgbase: &PkgBase) -> PackageState {
        match self.states.get(pkgbase) {
            Some(state) => state.clone().unwrap_or_default(),
            None => self.inputs.snapshot.states.get(pkgbase).cloned().unwrap_or_default(),
        }
    }

    /// Changes the state of a package, if it is a change.
    fn put_state(&mut self, pkgbase: &PkgBase, state: PackageState) {
        // An absent file and an empty one say the same.
        if self.inputs.snapshot.states.get(pkgbase).cloned().unwrap_or_default() == state {
            self.states.remove(pkgbase);
        } else {
            self.states.insert(pkgbase.clone(), Some(state));
        }
    }
}
