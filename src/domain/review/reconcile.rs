//! What has to be done on a forge so that its reviews are those that there should be.
//!
//! Level-triggered: only what should be and what was seen counts, not what was done before. What was not seen is
//! not known, and nothing follows from it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::group::GroupName;
use super::markdown::code;
use super::marker::{About, Marker};
use super::{Seen, Stage, Wanted};
use crate::domain::classify::Weight;
use crate::domain::name::{Oid, PkgBase};

/// The comment about a conflict.
pub const CONFLICT: &str = "conflict";
const CONFLICTS: &str = "It cannot be merged as it is: the files of the package have changed on the branch since this was \
                         proposed. The next update of its source takes its place; or merge the branch by hand.";
const CONFLICTS_NO_MORE: &str = "It can be merged again.";
/// The comment that a review was opened again.
pub const UNHEARD: &str = "unheard";
/// What is said below a review whose branch is gone.
const BRANCH_GONE: &str = "its branch is gone";
/// What is said below the review of a group that nobody needs any more.
const NOTHING_TOGETHER: &str = "nothing of it waits together any more";

/// A review as it should be, and what decides about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// The updates that are decided about with it: one, or those of a group.
    pub members: Vec<Member>,
    /// The tip of its branch.
    pub head: Oid,
    /// The heaviest of its reasons.
    pub weight: Weight,
    /// Title, text and people; the text ends with its marker.
    pub wanted: Wanted,
    /// What is hidden in the text.
    pub marker: Marker,
}

/// One update that a review is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The package.
    pub pkgbase: PkgBase,
    /// The tip of its own branch.
    pub head: Oid,
    /// Digest of the files that are proposed, without the monorepo's own.
    pub content: String,
    /// When it was proposed.
    pub proposed_at: Timestamp,
    /// Who has approved this head already, by their names.
    pub approved: BTreeSet<String>,
    /// Whether it may go in by itself when its time is up.
    pub patient: bool,
    /// Whether an approval could be followed: there is no conflict, and the package is in service.
    pub decidable: bool,
}

/// What a forge showed, and what is remembered beside it.
#[derive(Debug, Clone, Copy)]
pub struct Observed<'a> {
    /// The account that we act as.
    pub me: &'a str,
    /// All open reviews, and those that ended lately.
    pub reviews: &'a [Seen],
    /// Branches that the monorepo has, whether they propose anything or not.
    pub branches: &'a BTreeSet<String>,
    /// By package: digest of what was proposed last and not decided about, with or without its branch.
    pub proposed: &'a BTreeMap<PkgBase, String>,
    /// Branches whose review is being closed by us.
    pub closing: &'a BTreeSet<String>,
    /// Branches with which something failed too short a time ago.
    pub resting: &'a BTreeSet<String>,
    /// People who may not push: closing a review is no decision of theirs.
    pub unheard: &'a BTreeSet<String>,
}

/// How much may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Reviews that are opened or changed in one run.
    pub per_run: usize,
    /// Reviews that are opened within an hour.
    pub per_hour: usize,
    /// Reviews that are open at once.
    pub at_once: Option<usize>,
    /// Whether nobody is to be bothered now.
    pub quiet: bool,
    /// Whether approvals on the forge count.
    pub approvals: bool,
    /// After how long what nobody objected to goes in.
    pub automerge_after: Option<SignedDuration>,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Opens a review.
    Open(Wanted),
    /// Changes an open review in place.
    Update(u64, Wanted),
    /// Closes a review, and says why.
    Close {
        /// Its number.
        number: u64,
        /// Its branch.
        branch: String,
        /// One sentence.
        why: String,
    },
    /// Has one comment of this text below a review.
    Say {
        /// Its number.
        number: u64,
        /// Its branch.
        branch: String,
        /// What the comment is known by.
        key: &'static str,
        /// Its text.
        text: String,
    },
    /// Somebody closed it: its content is rejected.
    Reject {
        /// The package.
        pkgbase: PkgBase,
        /// The head that was rejected.
        head: Oid,
        /// Its content.
        content: String,
        /// Who did.
        by: Option<String>,
    },
    /// Somebody approved exactly this head; whether they may is not known here.
    Approve {
        /// The package.
        pkgbase: PkgBase,
        /// What was approved.
        head: Oid,
        /// Who did.
        by: String,
    },
    /// Its time is up, and nobody objected.
    Automerge {
        /// The package.
        pkgbase: PkgBase,
        /// What goes in.
        head: Oid,
    },
}

/// What follows from a look.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// What to do, in this order.
    pub steps: Vec<Step>,
    /// What is left for later, and why: by branch.
    pub later: BTreeMap<String, &'static str>,
}

/// Compares what should be with what was seen.
#[must_use]
pub fn reconcile(desired: &[Desired], observed: Observed<'_>, limits: Limits, now: Timestamp) -> Reconciled {
    let mut work = Work { observed, limits, now, changed: 0, done: Reconciled::default() };
    work.close_the_forgotten(desired);
    work.reject_the_vanished();
    let mut sorted: Vec<&Desired> = desired.iter().collect();
    // What is dangerous comes first where not all can.
    sorted.sort_by(|a, b| b.weight.cmp(&a.weight).then_with(|| a.wanted.branch.cmp(&b.wanted.branch)));
    let (open, missing): (Vec<_>, Vec<_>) = sorted.into_iter().partition(|it| work.open_of(it).is_some());
    for it in open {
        work.keep_up(it);
    }
    for it in missing {
        work.begin(it);
    }
    work.done
}

/// When something that waits goes in by itself, if it does.
#[must_use]
pub fn goes_in_at(member: &Member, limits: Limits) -> Option<Timestamp> {
    let after = limits.automerge_after.filter(|_| member.patient)?;
    member.proposed_at.checked_add(after).ok()
}

struct Work<'a> {
    observed: Observed<'a>,
    limits: Limits,
    now: Timestamp,
    changed: usize,
    done: Reconciled,
}

impl<'a> Work<'a> {
    fn open_of(&self, desired: &Desired) -> Option<&'a Seen> {
        let is_it = |seen: &&Seen| seen.stage == Stage::Open && seen.branch == desired.wanted.branch;
        self.observed.reviews.iter().find(is_it)
    }

    fn step(&mut self, step: Step) {
        self.done.steps.push(step);
    }

    fn later(&mut self, desired: &Desired, why: &'static str) {
        self.done.later.insert(desired.wanted.branch.clone(), why);
    }

    /// Closes what we opened and has no branch any more. A review that somebody opened is theirs.
    fn close_the_forgotten(&mut self, desired: &[Desired]) {
        let Observed { me, reviews, closing, resting, .. } = self.observed;
        for seen in reviews.iter().filter(|seen| seen.stage == Stage::Open) {
            let wanted = desired.iter().any(|it| it.wanted.branch == seen.branch);
            let ours = seen.author == me && Marker::find(&seen.body).is_some();
            let busy = closing.contains(&seen.branch) || resting.contains(&seen.branch);
            let why = self.why_forgotten(seen, desired);
            if let Some(why) = why.filter(|_| ours && !wanted && !busy) {
                let branch = seen.branch.clone();
                self.step(Step::Close { number: seen.number, branch, why });
            }
        }
    }

    /// Why an open review that is not wanted is of no use.
    fn why_forgotten(&self, seen: &Seen, desired: &[Desired]) -> Option<String> {
        if GroupName::from_branch(&seen.branch).is_some() {
            return Some(NOTHING_TOGETHER.to_owned());
        }
        let has_it = |it: &&Desired| it.members.iter().any(|member| member.pkgbase.review_branch() == seen.branch);
        match desired.iter().find(has_it) {
            Some(group) => Some(format!("it is decided about together with others, on {}", group.wanted.branch)),
            None if self.observed.branches.contains(&seen.branch) => None,
            None => Some(BRANCH_GONE.to_owned()),
        }
    }

    /// Somebody closed a review and deleted its branch: that is a rejection as well. Where we close one, nothing is
    /// recorded as proposed any more.
    fn reject_the_vanished(&mut self) {
        let Observed { me, reviews, branches, proposed, closing, unheard, .. } = self.observed;
        for seen in reviews.iter().filter(|seen| seen.author == me) {
            let (Stage::Closed { by }, Some(marker)) = (&seen.stage, Marker::find(&seen.body)) else { continue };
            let About::Package(pkgbase) = marker.about else { continue };
            let waits = proposed.get(&pkgbase) == Some(&marker.content);
            let ours = by.as_deref() == Some(me) || closing.contains(&seen.branch);
            let is_of_it = pkgbase.review_branch() == seen.branch;
            if waits && !ours && is_of_it && !branches.contains(&seen.branch) {
                let content = marker.content;
                // Only who may push can have deleted the branch, whoever closed the review.
                let by = by.clone().filter(|by| !unheard.contains(by));
                self.step(Step::Reject { pkgbase, head: seen.head, content, by });
            }
        }
    }

    /// An open review: decided about, or brought up to date.
    fn keep_up(&mut self, desired: &Desired) {
        let Some(seen) = self.open_of(desired) else { return };
        if seen.head == desired.head {
            self.decide(desired, seen);
        }
        let marker = Marker::find(&seen.body);
        if self.observed.resting.contains(&seen.branch) || marker.as_ref().is_some_and(|it| *it == desired.marker) {
            return;
        }
        if self.limits.quiet {
            return self.later(desired, "it is quiet now");
        }
        if self.changed >= self.limits.per_run {
            return self.later(desired, "one run changes no more");
        }
        self.changed += 1;
        let told = marker.is_some_and(|marker| marker.conflict);
        if told != desired.marker.conflict {
            let text = if told { CONFLICTS_NO_MORE } else { CONFLICTS }.to_owned();
            self.step(Step::Say { number: seen.number, branch: seen.branch.clone(), key: CONFLICT, text });
        }
        self.step(Step::Update(seen.number, desired.wanted.clone()));
    }

    /// Somebody decided about it, or its time is up.
    fn decide(&mut self, desired: &Desired, seen: &Seen) {
        let me = self.observed.me;
        for member in &desired.members {
            let Member { pkgbase, head, approved, decidable, .. } = member;
            let news = seen.approved_by.iter().filter(|&by| by != me && !approved.contains(by));
            for by in news.filter(|_| self.limits.approvals && *decidable) {
                self.done.steps.push(Step::Approve { pkgbase: pkgbase.clone(), head: *head, by: by.clone() });
            }
            if goes_in_at(member, self.limits).is_some_and(|at| at <= self.now) {
                self.step(Step::Automerge { pkgbase: pkgbase.clone(), head: *head });
            }
        }
    }

    /// Something that waits and has no open review.
    fn begin(&mut self, desired: &Desired) {
        let Observed { me, reviews, closing, resting, unheard, .. } = self.observed;
        let branch = &desired.wanted.branch;
        let of_it = reviews.iter().filter(|seen| seen.branch == *branch && seen.author == me);
        let same = |seen: &&Seen| {
            let content = Marker::find(&seen.body).map(|marker| marker.content);
            seen.head == desired.head || content.as_deref() == Some(desired.marker.content.as_str())
        };
        let newest = of_it.max_by_key(|seen| (seen.updated_at, seen.number)).filter(same);
        let mut unheard_on = None;
        match newest.map(|seen| &seen.stage) {
            // The next run over the commits finds its content.
            Some(Stage::Merged) => return,
            Some(Stage::Closed { by: Some(by) }) if unheard.contains(by) => {
                unheard_on = newest.map(|seen| (seen.number, by));
            }
            Some(Stage::Closed { by }) if by.as_deref() != Some(me) && !closing.contains(branch) => {
                for Member { pkgbase, head, content, .. } in desired.members.clone() {
                    self.step(Step::Reject { pkgbase, head, content, by: by.clone() });
                }
                return;
            }
            Some(Stage::Open | Stage::Closed { .. }) | None => {}
        }
        if resting.contains(branch) {
            return;
        }
        if let Some(why) = self.full() {
            return self.later(desired, why);
        }
        self.changed += 1;
        if let Some((number, by)) = unheard_on {
            let text = format!("{} may not reject it, because only who may push may: it is opened again.", code(by));
            self.step(Step::Say { number, branch: branch.clone(), key: UNHEARD, text });
        }
        self.step(Step::Open(desired.wanted.clone()));
    }

    /// Why no review is opened now.
    fn full(&self) -> Option<&'static str> {
        let Limits { per_run, per_hour, at_once, quiet, .. } = self.limits;
        let ours = || self.observed.reviews.iter().filter(|seen| seen.author == self.observed.me);
        let opening = self.done.steps.iter().filter(|step| matches!(step, Step::Open(_))).count();
        let hour_ago = self.now - SignedDuration::from_hours(1);
        let lately = ours().filter(|seen| seen.opened_at > hour_ago).count() + opening;
        let open = ours().filter(|seen| seen.stage == Stage::Open).count() + opening;
        match () {
            () if quiet => Some("it is quiet now"),
            () if self.changed >= per_run => Some("one run opens no more"),
            () if lately >= per_hour => Some("no more are opened within an hour"),
            () if at_once.is_some_and(|most| open >= most) => Some("so many are open already"),
            () => None,
        }
    }
}

#[cfg(test)]
mod tests;
