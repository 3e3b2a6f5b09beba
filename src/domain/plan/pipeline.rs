//! What a run is for.

use crate::domain::addition::{Addition, Provenance};
use crate::domain::name::{Oid, PkgBase};
use crate::domain::policy::Person;
use crate::domain::target::Target;

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
    Deploy(Vec<Target>),
    /// Raise the bump of these packages and build them.
    Bump(Vec<Target>),
    /// Count the approval of this person for the review of this package, if it is still this commit, and merge
    /// it once there are enough.
    Approve(PkgBase, Oid, Person),
    /// Close the review of this package, and remember what was rejected, if it is still this commit.
    Reject(PkgBase, Oid),
    /// Take these packages out of service, for this reason.
    Quarantine(Vec<PkgBase>, String),
    /// Take them back into service, for this reason.
    Lift(Vec<PkgBase>, String),
    /// Take these packages into the monorepo, and build them.
    Add(Vec<Addition>, Provenance),
    /// Take the packages of these names out of the monorepo and of the published repository, perhaps for a reason.
    Drop(Vec<String>, Option<String>),
}

impl Pipeline {
    /// The word used on the command line and in output.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::OnCommit => "on-commit",
            Self::OnSchedule => "on-schedule",
            Self::Trigger(_) => "trigger",
            Self::Deploy(_) => "deploy",
            Self::Bump(_) => "bump",
            Self::Approve(..) => "approve",
            Self::Reject(..) => "reject",
            Self::Quarantine(..) => "quarantine",
            Self::Lift(..) => "lift",
            Self::Add(..) => "add",
            Self::Drop(..) => "drop",
        }
    }
}
