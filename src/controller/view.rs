//! What the faces (pages, API, `ctl`) may know: read models, made by [`super::query`].

use jiff::Timestamp;
use serde::Serialize;

use crate::domain::build::{BuildReason, BuildState};
use crate::domain::classify::Verdict;
use crate::domain::finding::Finding;
use crate::domain::name::{Oid, PkgBase};
use crate::domain::plan::Trees;
use crate::domain::version::Version;

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
    /// Its class.
    pub class: Option<String>,
    /// How far its source has been read.
    pub cursor: Option<CursorView>,
    /// What the last run that looked at it decided, as its document has it.
    pub decision: Option<serde_json::Value>,
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
}

/// One review.
#[derive(Debug, Clone, Serialize)]
pub struct ReviewView {
    /// The package.
    pub pkgbase: PkgBase,
    /// Its branch.
    pub branch: String,
    /// The tip of the branch: name it when approving, so that exactly what was seen is merged.
    pub head: Oid,
    /// The git trees of its folder that were compared: exactly the second is merged.
    pub trees: Trees,
    /// What the tip says: every reason for which the run held it, also those that files do not show.
    pub message: String,
    /// Why it needs a person, as far as files show it.
    pub verdict: Verdict,
    /// The files that differ.
    pub files: Vec<FileDiff>,
    /// Why it cannot be merged as it is, if it cannot.
    pub conflict: Option<String>,
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

/// One published state of the package repository.
#[derive(Debug, Clone, Serialize)]
pub struct GenerationView {
    /// Its number.
    pub number: u64,
    /// Whether it is what pacman sees now.
    pub current: bool,
    /// How many packages it has.
    pub packages: usize,
    /// When it was published.
    pub published: Option<Timestamp>,
}
