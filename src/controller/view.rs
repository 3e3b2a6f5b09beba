//! What the faces (pages, API, `ctl`) may know: read models, made for [`super::query`] from
//! the last look and the record.

use std::collections::{BTreeMap, BTreeSet};

pub use super::generations::{EntryView, GenerationPage, GenerationView};
pub use super::revisions::{AskedView, RevisionView, RevisionsView};
pub use super::sources::{ScriptView, SourceView};
use jiff::Timestamp;
use serde::Serialize;

use super::caches::CacheUseView;
use super::site::Look;
use super::summary::{errors, summary};
use crate::domain::build::{BuildReason, BuildState};
use crate::domain::classify::Verdict;
use crate::domain::desired::Package;
use crate::domain::finding::Finding;
use crate::domain::folder::Folder;
use crate::domain::name::{Oid, PkgBase};
use crate::domain::plan::Trees;
use crate::domain::policy::Person;
use crate::domain::schedule::{BuilderInfo, Lane, nobody_builds};
use crate::domain::version::Version;
use crate::store::attempts::{Attempt, AttemptEnding};
use crate::store::builds::Build;
use crate::store::queries::Wait;
use crate::store::runs::Run;

/// One repository that is kept.
#[derive(Debug, Clone, Serialize)]
pub struct RepositoryView {
    /// Its name in the configuration.
    pub name: String,
    /// Where it is.
    pub url: String,
    /// The branch with the packages.
    pub branch: String,
    /// Its tip, if it has been read and is not empty.
    pub main: Option<Oid>,
    /// Where `scheduled` points.
    pub scheduled: Option<Oid>,
    /// How many packages it has.
    pub packages: usize,
    /// How many reviews wait.
    pub reviews: usize,
    /// Whether schedules and polling are paused.
    pub paused: bool,
    /// When it was last looked at.
    pub looked_at: Option<Timestamp>,
    /// Why it could not be looked at, if the last try failed.
    pub error: Option<String>,
}

/// One line of the list of packages.
#[derive(Debug, Clone, Serialize)]
pub struct PackageView {
    /// Its name.
    pub pkgbase: PkgBase,
    /// The version in the monorepo.
    pub version: Option<Version>,
    /// The version in the published repository.
    pub published: Option<String>,
    /// `aur`, `git`, `custom`, …
    pub source: &'static str,
    /// How its last build stands.
    pub last_build: Option<BuildView>,
    /// Whether an update waits for a person.
    pub review: bool,
    /// Why nothing happens with it: it is in quarantine, or built with something that is.
    pub held: Option<String>,
    /// How many findings it has.
    pub problems: usize,
}

/// Everything about one package.
#[derive(Debug, Clone, Serialize)]
pub struct PackagePage {
    /// The line of the list.
    #[serde(flatten)]
    pub package: PackageView,
    /// The packages it yields.
    pub pkgnames: Vec<String>,
    /// What it needs in this repository.
    pub needs: Vec<PkgBase>,
    /// What has to be rebuilt when it changes, in order.
    pub needed_by: Vec<PkgBase>,
    /// Its trigger.
    pub trigger: Option<String>,
    /// Packages of other repositories that it is rebuilt with.
    pub rebuild_triggers: Vec<String>,
    /// Shared libraries that its published files need: it is rebuilt when one is gone.
    pub libraries: Vec<String>,
    /// Why these are not known, if they are not.
    pub libraries_unknown: Option<&'static str>,
    /// Its class.
    pub class: Option<String>,
    /// How far its source has been read.
    pub cursor: Option<CursorView>,
    /// Each of its sources, and how asking it goes: first that of its files, then what it is built from.
    pub sources: Vec<SourceView>,
    /// What its `.CI/update.sh` printed the last time it was run, if that is kept.
    pub script: Option<ScriptView>,
    /// Who may push to it at its source, as it was seen last; the maintainer comes first, `-` if there is none.
    pub keepers: Option<String>,
    /// What the last run that looked at it decided, as its document has it.
    pub decision: Option<serde_json::Value>,
    /// Which revision was observed, which was tried last, and which was built last.
    pub revisions: RevisionsView,
    /// Its builds, newest first.
    pub builds: Vec<BuildView>,
    /// What is wrong with it.
    pub findings: Vec<Finding>,
}

/// How far a source has been read.
#[derive(Debug, Clone, Serialize)]
pub struct CursorView {
    /// The commit of the source.
    pub commit: Oid,
    /// What the index said then.
    pub modified: Option<Timestamp>,
}

/// One run.
#[derive(Debug, Clone, Serialize)]
pub struct RunView {
    /// Its id.
    pub id: String,
    /// The repository.
    pub repository: String,
    /// The word for the pipeline.
    pub pipeline: String,
    /// What started it: `schedule`, `poll`, `webhook`, `ctl`, …
    pub trigger: String,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// `running`, `done`, `failed`.
    pub state: String,
    /// One line: what it did, or why it failed.
    pub summary: String,
    /// How many of its problems are errors: something that was asked for did not happen.
    pub errors: usize,
}

/// Everything about one run.
#[derive(Debug, Clone, Serialize)]
pub struct RunPage {
    /// The line of the list.
    #[serde(flatten)]
    pub run: RunView,
    /// The document that `run` prints; null while it runs.
    pub document: serde_json::Value,
}

/// One build.
#[derive(Debug, Clone, Serialize)]
pub struct BuildView {
    /// Its id.
    pub id: String,
    /// The repository.
    pub repository: String,
    /// The architecture.
    pub arch: String,
    /// The package.
    pub pkgbase: PkgBase,
    /// The commit that is built.
    pub commit: Oid,
    /// Where it stands.
    pub state: BuildState,
    /// Why it was asked for.
    pub reason: BuildReason,
    /// The class asked for.
    pub class: Option<String>,
    /// How urgent it is.
    pub lane: Lane,
    /// Why nobody who is there can build it, if so.
    pub nobody: Option<String>,
    /// What it waits for or is blocked by.
    pub waits_for: Vec<PkgBase>,
    /// When it was asked for.
    pub created: Timestamp,
    /// When the last attempt began.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// One line about how it ended.
    pub message: Option<String>,
    /// The attempt whose log is the build's log.
    pub attempt: Option<String>,
    /// The run that asked for it.
    pub run: Option<String>,
}

/// Everything about one build.
#[derive(Debug, Clone, Serialize)]
pub struct BuildPage {
    /// The line of the list.
    #[serde(flatten)]
    pub build: BuildView,
    /// Why the run that asked for it did: the sentence that stands in its document. Null while it goes on.
    pub why: Option<String>,
    /// The run that asked for it, and what that knew.
    pub asked: Option<AskedView>,
    /// Its attempts, oldest first.
    pub attempts: Vec<AttemptView>,
}

impl BuildPage {
    /// Whether an attempt is one of this build.
    #[must_use]
    pub fn has_attempt(&self, attempt: &str) -> bool {
        self.build.attempt.as_deref() == Some(attempt) || self.attempts.iter().any(|known| known.id == attempt)
    }
}

/// One try at a build.
#[derive(Debug, Clone, Serialize)]
pub struct AttemptView {
    /// Its id.
    pub id: String,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// How it ended.
    pub outcome: Option<String>,
    /// The exit status of makepkg.
    pub exit_code: Option<i32>,
    /// One line.
    pub message: Option<String>,
    /// Length of its log in bytes, once final.
    pub log_length: Option<u64>,
    /// What it used and created of cache sets, in order.
    pub caches: Vec<CacheUseView>,
}

/// The queue: everything that is not final.
#[derive(Debug, Clone, Serialize)]
pub struct QueueView {
    /// Builds an executor has.
    pub underway: Vec<BuildView>,
    /// Builds that may start.
    pub ready: Vec<BuildView>,
    /// Builds that wait for others.
    pub waiting: Vec<BuildView>,
    /// Builds that wait for a person, because something they need failed.
    pub blocked: Vec<BuildView>,
    /// Who builds; null where that is one machine, or not known.
    pub builders: Option<Vec<BuilderView>>,
}

/// Somebody who builds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BuilderView {
    /// Its name.
    pub name: String,
    /// Its class; null where it has none.
    pub class: Option<u64>,
    /// Whether it takes builds of exactly that class, and not of lower ones.
    pub only: bool,
    /// How many builds it takes at once; null where the controller counts.
    pub slots: Option<usize>,
    /// What it builds now, as far as it says so.
    pub builds: Vec<AtWorkView>,
    /// Why it takes no build now; null while it does.
    pub trouble: Option<String>,
}

/// What somebody builds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AtWorkView {
    /// The id of the build.
    pub id: String,
    /// The package.
    pub pkgbase: PkgBase,
}

/// One review.
#[derive(Debug, Clone, Serialize)]
pub struct ReviewView {
    /// The package.
    pub pkgbase: PkgBase,
    /// Its branch.
    pub branch: String,
    /// The group with which it is decided about, if it is with one.
    pub group: Option<String>,
    /// Whether people committed on its branch.
    #[serde(skip)]
    pub by_people: bool,
    /// The tip of the branch: name it when approving, so that exactly what was seen is merged.
    pub head: Oid,
    /// The git trees of its folder that were compared: exactly the second is merged.
    pub trees: Trees,
    /// What the tip says: every reason for which the run held it, also those that files do not show.
    pub message: String,
    /// Why it needs a person, as far as files show it.
    pub verdict: Verdict,
    /// How many people have to approve it, and who has.
    pub approvals: ApprovalsView,
    /// The files that differ.
    pub files: Vec<FileDiff>,
    /// Why it cannot be merged as it is, if it cannot.
    pub conflict: Option<String>,
}

/// The approvals of a review.
#[derive(Debug, Clone, Serialize)]
pub struct ApprovalsView {
    /// How many people have to approve it.
    pub needed: u8,
    /// Who has approved what it holds now.
    pub by: BTreeSet<Person>,
}

/// One file of a review.
#[derive(Debug, Clone, Serialize)]
pub struct FileDiff {
    /// Its path inside the folder.
    pub path: String,
    /// The text before; `None` if it is new or not text.
    pub old: Option<String>,
    /// The text after; `None` if it is gone or not text.
    pub new: Option<String>,
    /// Whether it is not text on either side.
    pub binary: bool,
}

impl FileDiff {
    /// The files that differ between two folders.
    #[must_use]
    pub fn between(old: &Folder, new: &Folder) -> Vec<Self> {
        let paths: BTreeSet<&String> = old.files.keys().chain(new.files.keys()).collect();
        let differs = |path: &&&String| old.files.get(**path) != new.files.get(**path);
        let text =
            |folder: &Folder, path: &str| folder.get(path).map(|bytes| std::str::from_utf8(bytes).map(str::to_owned));
        let diff = |path: &String| {
            let (before, after) = (text(old, path), text(new, path));
            let binary = matches!(before, Some(Err(_))) || matches!(after, Some(Err(_)));
            Self { path: path.clone(), old: before.and_then(Result::ok), new: after.and_then(Result::ok), binary }
        };
        paths.iter().filter(differs).map(|path| diff(path)).collect()
    }
}

/// A package that a person has taken out of service.
#[derive(Debug, Clone, Serialize)]
pub struct QuarantineView {
    /// The repository.
    pub repository: String,
    /// The package.
    pub pkgbase: PkgBase,
    /// Why.
    pub reason: String,
    /// Since when, if that was written down.
    pub since: Option<Timestamp>,
    /// The packages that are held with it, because they are built with it.
    pub holds: Vec<PkgBase>,
    /// What of all of them is published already, or was, and is still kept.
    pub published: Vec<ArtefactView>,
}

/// A published file.
#[derive(Debug, Clone, Serialize)]
pub struct ArtefactView {
    /// The package it came from.
    pub pkgbase: PkgBase,
    /// Its name.
    pub file: String,
    /// The version.
    pub version: Version,
    /// Its checksum.
    pub sha256: String,
    /// The build that made it, if that is known.
    pub build: Option<String>,
    /// Whether pacman finds it now; else an earlier generation has it.
    pub current: bool,
}

impl PackageView {
    /// The line of a package.
    pub(super) fn new(
        package: &Package,
        look: &Look,
        last_build: Option<BuildView>,
        published: &BTreeMap<String, String>,
        held: Option<&String>,
    ) -> Self {
        Self {
            pkgbase: package.pkgbase.clone(),
            version: package.version().cloned(),
            published: published.get(package.pkgbase.as_str()).cloned(),
            source: if package.settings.nvchecker { "nvchecker" } else { package.settings.source.name() },
            last_build,
            review: look.snapshot.waits_for_a_person(&package.pkgbase),
            held: held.cloned(),
            problems: package.findings.len(),
        }
    }
}

impl BuildView {
    /// A build, and what it waits for.
    pub(super) fn new(build: &Build, waits: &[Wait], builders: Option<&[BuilderInfo]>) -> Self {
        let pending = !build.state.is_final() && !build.state.is_underway();
        Self {
            id: build.id.to_string(),
            repository: build.repository.clone(),
            arch: build.arch.clone(),
            pkgbase: build.pkgbase.clone(),
            commit: build.commit,
            state: build.state,
            reason: build.reason,
            class: build.class.as_ref().map(|class| class.0.clone()),
            lane: build.lane,
            nobody: nobody_builds(builders, build.class.as_ref()).filter(|_| pending),
            waits_for: waiting_for(waits),
            created: build.requested_at,
            started: build.started_at,
            ended: build.finished_at,
            message: build.message.clone().map(|message| match build.not_before.filter(|_| pending) {
                Some(at) => format!("{message}; tried again after {}", at.strftime("%H:%M:%S UTC")),
                None => message,
            }),
            attempt: build.last_attempt.clone(),
            run: Some(build.run_id.clone()),
        }
    }
}

/// The packages whose builds a build still waits for, or is blocked by.
fn waiting_for(waits: &[Wait]) -> Vec<PkgBase> {
    let open = waits.iter().filter(|wait| !wait.state.satisfies_dependants());
    let names: BTreeSet<PkgBase> = open.map(|wait| wait.pkgbase.clone()).collect();
    names.into_iter().collect()
}

impl From<&Attempt> for AttemptView {
    fn from(attempt: &Attempt) -> Self {
        Self {
            id: attempt.id.clone(),
            started: attempt.started_at.unwrap_or(attempt.created_at),
            ended: attempt.ended_at,
            outcome: attempt.ending.map(AttemptEnding::as_str).map(str::to_owned),
            exit_code: attempt.exit_code,
            message: attempt.message.clone(),
            log_length: attempt.log_length,
            caches: Vec::new(),
        }
    }
}

impl From<&Run> for RunView {
    fn from(run: &Run) -> Self {
        Self {
            id: run.id.clone(),
            repository: run.repository.clone(),
            pipeline: run.pipeline.clone(),
            trigger: run.cause.clone(),
            started: run.started_at,
            ended: run.finished_at,
            state: run.outcome.map_or("running", |outcome| outcome.as_str()).to_owned(),
            summary: run.document.as_ref().map(summary).unwrap_or_default(),
            errors: run.document.as_ref().map(errors).unwrap_or_default(),
        }
    }
}

impl From<Run> for RunPage {
    fn from(run: Run) -> Self {
        Self { run: RunView::from(&run), document: run.document.unwrap_or_default() }
    }
}
