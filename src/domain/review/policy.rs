//! What the operator decides about reviews on a forge.

use std::collections::BTreeSet;

use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::group::Group;

/// What the operator decides about reviews on a forge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReviewPolicy {
    /// Labels that every review gets.
    pub labels: BTreeSet<String>,
    /// A label more for those that cannot be merged as they are.
    pub conflict_label: Option<String>,
    /// Who is asked to care for every review.
    pub assignees: BTreeSet<String>,
    /// Who is asked to look at every review.
    pub reviewers: BTreeSet<String>,
    /// How many reviews one run opens or changes at most.
    pub per_run: usize,
    /// How many reviews are opened within an hour at most.
    pub per_hour: usize,
    /// How many reviews are open at once at most.
    pub at_once: Option<usize>,
    /// When nobody is bothered: nothing is opened or changed then.
    pub quiet: Option<Quiet>,
    /// Whether approvals that people give on the forge count.
    pub approvals: bool,
    /// How long an update waits before it goes in without anybody having objected; only what weighs no more than
    /// *review*, and never if nothing is said.
    pub automerge_after: Option<SignedDuration>,
    /// Packages whose updates are decided about together; the first that has a package counts.
    pub groups: Vec<Group>,
}

impl Default for ReviewPolicy {
    fn default() -> Self {
        Self {
            labels: BTreeSet::new(),
            conflict_label: None,
            assignees: BTreeSet::new(),
            reviewers: BTreeSet::new(),
            per_run: 30,
            per_hour: 60,
            at_once: None,
            quiet: None,
            approvals: true,
            automerge_after: None,
            groups: Vec::new(),
        }
    }
}

/// Whose proposals are built for a test.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TestBuild {
    /// Nobody's.
    #[default]
    Never,
    /// Those of people who may push to the monorepo.
    Trusted,
    /// Everybody's.
    Always,
}

/// What the operator decides about proposals of people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProposalPolicy {
    /// Whether they are judged by the gate and checked.
    pub classify: bool,
    /// Whose are built for a test.
    pub test_build: TestBuild,
}

impl Default for ProposalPolicy {
    fn default() -> Self {
        Self { classify: true, test_build: TestBuild::Never }
    }
}

/// What the operator decides about statuses of builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusPolicy {
    /// Whether the forge is told how builds stand.
    pub builds: bool,
    /// The most packages of one run that get a status each; of more there is one for all.
    pub per_commit: usize,
}

impl Default for StatusPolicy {
    fn default() -> Self {
        Self { builds: true, per_commit: 20 }
    }
}

/// Hours of the day in which nobody is bothered; they may go over midnight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quiet {
    /// When they begin.
    pub from: Time,
    /// When they are over.
    pub until: Time,
    /// Where that is the time.
    pub zone: TimeZone,
}

impl Quiet {
    /// Whether it is quiet now. From a time until the same time is never.
    #[must_use]
    pub fn is_now(&self, now: Timestamp) -> bool {
        let time = self.zone.to_datetime(now).time();
        if self.from <= self.until {
            self.from <= time && time < self.until
        } else {
            self.from <= time || time < self.until
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_hours_go_over_midnight_and_by_the_clock_on_the_wall() {
        let quiet = |from: i8, until: i8, hour: i8| {
            let zone = TimeZone::fixed(jiff::tz::offset(2));
            let quiet = Quiet { from: Time::constant(from, 0, 0, 0), until: Time::constant(until, 0, 0, 0), zone };
            quiet.is_now(format!("2026-05-01T{hour:02}:30:00Z").parse().expect("a time"))
        };
        assert!(quiet(22, 7, 21) && quiet(22, 7, 4));
        assert!(!quiet(22, 7, 19) && !quiet(22, 7, 5));
        assert!(quiet(9, 17, 8) && !quiet(9, 17, 16));
        assert!(!quiet(9, 9, 7));
    }
}
