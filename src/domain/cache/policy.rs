//! Who reads and writes which sets.
//!
//! What is written by a test build of a proposal is read by test builds of the same proposal and by nobody else:
//! whoever may propose may not leave anything for a build that is published.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Plan, Set};

/// For what a build is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RefClass {
    /// To be published: a commit of the branch.
    Release,
    /// To test the proposal with this number.
    Proposal(u64),
}

impl RefClass {
    /// Of a build of this proposal, if it is one of a proposal.
    #[must_use]
    pub const fn of(proposal: Option<u64>) -> Self {
        match proposal {
            Some(number) => Self::Proposal(number),
            None => Self::Release,
        }
    }

    /// The word for it: `release` or `proposal/12`.
    #[must_use]
    pub fn word(self) -> String {
        match self {
            Self::Release => "release".to_owned(),
            Self::Proposal(number) => format!("proposal/{number}"),
        }
    }

    /// What it reads, the first first. It writes only the first of them.
    #[must_use]
    pub fn reads(self) -> Vec<Self> {
        match self {
            Self::Release => vec![Self::Release],
            Self::Proposal(_) => vec![self, Self::Release],
        }
    }

    /// What it writes.
    #[must_use]
    pub const fn writes(self) -> Self {
        self
    }
}

/// What builds that are published may keep and find.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReleaseCaches {
    /// Nothing.
    None,
    /// Only what is checked before it is used: sources with a sum.
    #[default]
    Verified,
    /// Every set, and `pkgwarden-cache`.
    All,
}

/// What the operator decides about sets of one repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CachePolicy {
    /// What builds that are published may keep and find.
    pub release: ReleaseCaches,
    /// Whether test builds of proposals may keep and find anything.
    pub proposals: bool,
}

impl Default for CachePolicy {
    fn default() -> Self {
        Self { release: ReleaseCaches::default(), proposals: true }
    }
}

impl CachePolicy {
    /// What a build may keep and find of what its package declares.
    #[must_use]
    pub fn plan(self, declared: Vec<Set>, class: RefClass) -> Plan {
        let all = match class {
            RefClass::Release => self.release == ReleaseCaches::All,
            RefClass::Proposal(_) => self.proposals,
        };
        let verified = class == RefClass::Release && self.release == ReleaseCaches::Verified;
        let allowed = |set: Set| match () {
            () if all => Some(set),
            () if verified && set.is_early() => Some(Set { verified: true, ..set }),
            () => None,
        };
        Plan { sets: declared.into_iter().filter_map(allowed).collect(), commands: all, ..Plan::default() }
    }

    /// The same for what a machine elsewhere was told: not more than that, and of verified sets only what they are made for.
    #[must_use]
    pub fn limit(self, told: Plan, class: RefClass) -> Plan {
        let mut plan = self.plan(told.sets, class);
        plan.commands &= told.commands;
        (plan.condemned, plan.invalidated) = (told.condemned, told.invalidated);
        for set in plan.sets.iter_mut().filter(|set| set.is_early()) {
            let ready = super::ready::srcdest();
            (set.include, set.exclude) = (ready.include, ready.exclude);
        }
        plan
    }

    /// Whether a build may keep and find its sources.
    #[must_use]
    pub fn lets_sources(self, class: RefClass) -> bool {
        match class {
            RefClass::Release => self.release != ReleaseCaches::None,
            RefClass::Proposal(_) => self.proposals,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::cache::ready;

    fn names(release: ReleaseCaches, proposals: bool, class: RefClass) -> (Vec<String>, bool) {
        let declared = vec![ready::srcdest(), ready::set("ccache").unwrap()];
        let plan = CachePolicy { release, proposals }.plan(declared, class);
        (plan.sets.into_iter().map(|set| set.name.to_string()).collect(), plan.commands)
    }

    #[test]
    fn releases_find_only_what_is_checked_unless_the_operator_opens_it() {
        let release = |setting| names(setting, false, RefClass::Release);
        assert_eq!(release(ReleaseCaches::None), (vec![], false));
        assert_eq!(release(ReleaseCaches::Verified), (vec!["srcdest".to_owned()], false));
        assert_eq!(release(ReleaseCaches::All), (vec!["srcdest".to_owned(), "ccache".to_owned()], true));
        let srcdest = |release| {
            let policy = CachePolicy { release, proposals: true };
            policy.plan(vec![ready::srcdest()], RefClass::Release).sets.remove(0).verified
        };
        assert_eq!((srcdest(ReleaseCaches::Verified), srcdest(ReleaseCaches::All)), (true, false));
        let proposal = |allowed| names(ReleaseCaches::All, allowed, RefClass::Proposal(1));
        assert_eq!((proposal(true).0.len(), proposal(true).1), (2, true));
        assert_eq!(proposal(false), (vec![], false));
    }

    #[test]
    fn what_a_proposal_writes_no_release_and_no_other_proposal_reads() {
        let classes = [RefClass::Release, RefClass::Proposal(1), RefClass::Proposal(2)];
        for writer in classes {
            let readers: Vec<_> =
                classes.into_iter().filter(|reader| reader.reads().contains(&writer.writes())).collect();
            match writer {
                RefClass::Release => assert_eq!(readers, classes),
                RefClass::Proposal(_) => assert_eq!(readers, [writer]),
            }
            assert!(writer.reads().contains(&writer.writes()), "a build finds what it left itself");
        }
    }
}
