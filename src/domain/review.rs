//! Reviews: updates that wait for a person.

use serde::Serialize;

use super::classify::Verdict;
use super::name::{Oid, PkgBase};

/// A review as it stands: a branch, what it proposes and why it needs a person.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Review {
    /// The package it would change.
    pub pkgbase: PkgBase,
    /// The branch that holds the proposal.
    pub branch: String,
    /// The tip of that branch.
    pub head: Oid,
    /// Digest of the proposed files.
    pub content: String,
    /// Why it needs a person.
    pub verdict: Verdict,
}
