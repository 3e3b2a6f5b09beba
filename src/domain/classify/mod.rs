//! May this update go in without a person?
//!
//! [`classify`] compares two package folders and gives a verdict with a reason for every difference.
//! It never runs anything, and what it does not understand is major.

mod strict;

use serde::Serialize;

use super::folder::Folder;
use super::version::Version;

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// It may go in.
    Minor,
    /// A person has to look.
    Major,
}

/// How much a difference weighs. Everything above `Stronger` needs a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Weight {
    /// Nothing that bash or makepkg would see.
    Cosmetic,
    /// The version moved forward, and what has to move with it.
    Version,
    /// Verification became stronger.
    Stronger,
    /// Somebody should read it.
    Review,
    /// It changes whom or what is trusted.
    Trust,
    /// It looks like an attack.
    Hostile,
}

/// One difference, and what it means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// Stable, `kebab-case`.
    pub code: &'static str,
    /// How much it weighs.
    pub severity: Weight,
    /// The file it is in.
    pub file: String,
    /// The line in the new file (in the old one if it is gone), from 1.
    pub line: Option<u32>,
    /// What stood there; control characters are escaped.
    pub old: Option<String>,
    /// What stands there now; control characters are escaped.
    pub new: Option<String>,
    /// One sentence that a maintainer understands.
    pub message: String,
}

/// The answer with every reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Minor exactly if no reason is above [`Weight::Stronger`].
    pub verdict: Decision,
    /// The weight of the heaviest reason.
    pub severity: Weight,
    /// One for every difference, in the order of files and lines.
    pub reasons: Vec<Reason>,
    /// The version before, as far as it can be read.
    pub old_version: Option<Version>,
    /// The version after.
    pub new_version: Option<Version>,
}

impl Verdict {
    /// The verdict that follows from reasons.
    #[must_use]
    pub fn from_reasons(reasons: Vec<Reason>, old_version: Option<Version>, new_version: Option<Version>) -> Self {
        let severity = reasons.iter().map(|reason| reason.severity).max().unwrap_or(Weight::Cosmetic);
        let verdict = if severity > Weight::Stronger { Decision::Major } else { Decision::Minor };
        Self { verdict, severity, reasons, old_version, new_version }
    }
}

/// Compares two package folders. Entries that belong to the monorepo (`.CI`) are not looked at.
#[must_use]
pub fn classify(old: &Folder, new: &Folder) -> Verdict {
    strict::classify(&old.from_source(), &new.from_source())
}
