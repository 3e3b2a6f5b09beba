//! What one run would do, as a value: `plan` prints it, `run` and `serve` perform it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::build::BuildRequest;
use super::classify::{Decision, Reason};
use super::finding::Finding;
use super::folder::Folder;
use super::name::{Oid, PkgBase};
use super::state::PackageState;
use super::version::Version;

/// What a run is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pipeline {
    /// Hand what people committed to builds.
    OnCommit,
    /// That, and ask every source for updates.
    OnSchedule,
    /// Build the packages that wait for this trigger.
    Trigger(String),
    /// Build these packages now.
    Deploy(Vec<super::policy::Target>),
    /// Raise the bump of these packages and build them.
    Bump(Vec<super::policy::Target>),
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
#[derive(Debug, Clone, PartialEq, Serialize)]
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
    /// The version now.
    pub from_version: Option<Version>,
    /// The version after the update.
    pub to_version: Option<Version>,
    /// One sentence.
    pub why: String,
}
