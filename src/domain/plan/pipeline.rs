//! What a run is for.

use crate::domain::addition::{Addition, Provenance};
use crate::domain::classify::text::shown;
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
    Reject(PkgBase, Oid, Refusal),
    /// Take these packages out of service, for this reason.
    Quarantine(Vec<PkgBase>, String),
    /// Take them back into service, for this reason.
    Lift(Vec<PkgBase>, String),
    /// Take these packages into the monorepo, and build them.
    Add(Vec<Addition>, Provenance),
    /// Take the packages of these names out of the monorepo and of the published repository, perhaps for a reason.
    Drop(Vec<String>, Option<String>),
}

/// What is said when something is rejected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refusal {
    /// Who does, as far as that is known.
    pub by: Option<String>,
    /// Why, for whoever reads it later.
    pub reason: Option<String>,
    /// Digest of what is rejected, if the branch may be gone already.
    pub content: Option<String>,
}

impl Refusal {
    /// One sentence; who and why can be anybody's text.
    #[must_use]
    pub fn told(&self) -> String {
        let safe = |text: &String| shown(text.trim().as_bytes());
        let by = self.by.as_ref().map_or_else(|| "a person".to_owned(), safe);
        let reason = self.reason.as_ref().filter(|reason| !reason.trim().is_empty());
        format!("{by} rejected it{}", reason.map(|reason| format!(": {}", safe(reason))).unwrap_or_default())
    }
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
