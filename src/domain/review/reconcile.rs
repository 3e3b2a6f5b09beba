//! What has to be done on a forge so that its reviews are those that there should be.
//!
//! Level-triggered: only what should be and what was seen counts, not what was done before. What was not seen is
//! not known, and nothing follows from it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::marker::Marker;
use super::{Seen, Stage, Wanted};
use crate::domain::classify::Weight;
use crate::domain::name::{Oid, PkgBase};

/// The comment about a conflict.
pub const CONFLICT: &str = "conflict";
const CONFLICTS: &str = "It cannot be merged as it is: the files of the package have changed on the branch since this was \
                         proposed. The next update of its source takes its place; or merge the branch by hand.";
const CONFLICTS_NO_MORE: &str = "It can be merged again.";
/// What is said below a review whose branch is gone.
const BRANCH_GONE: &str = "its branch is gone";

/// A review as it should be, and what decides about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// The package.
    pub pkgbase: PkgBase,
    /// The tip of its branch.
    pub head: Oid,
    /// When that was committed.
    pub proposed_at: Timestamp,
    /// The heaviest of its reasons.
    pub weight: Weight,
    /// Title, text and people; the text ends with its marker.
    pub wanted: Wanted,
    /// What is hidden in the text.
    pub marker: Marker,
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
    sorted.sort_by(|a, b| b.weight.cmp(&a.weight).then_with(|| a.pkgbase.cmp(&b.pkgbase)));
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
pub fn goes_in_at(desired: &Desired, limits: Limits) -> Option<Timestamp> {
    let after = limits.automerge_after.filter(|_| desired.patient)?;
    desired.proposed_at.checked_add(after).ok()
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
        let Observed { me, reviews, branches, closing, resting, .. } = self.observed;
        for seen in reviews.iter().filter(|seen| seen.stage == Stage::Open) {
            let known = branches.contains(&seen.branch) || closing.contains(&seen.branch);
            let wanted = desired.iter().any(|it| it.wanted.branch == seen.branch);
            let ours = seen.author == me && Marker::find(&seen.body).is_some();
            if ours && !known && !wanted && !resting.contains(&seen.branch) {
                self.step(Step::Close { number: seen.number, branch: seen.branch.clone(), why: BRANCH_GONE.into() });
            }
        }
    }

    /// Somebody closed a review and deleted its branch: that is a rejection as well. Where we close one, nothing is
    /// recorded as proposed any more.
    fn reject_the_vanished(&mut self) {
        let Observed { me, reviews, branches, proposed, closing, .. } = self.observed;
        for seen in reviews.iter().filter(|seen| seen.author == me) {
            let (Stage::Closed { by }, Some(marker)) = (&seen.stage, Marker::find(&seen.body)) else { continue };
            let waits = proposed.get(&marker.pkgbase) == Some(&marker.content);
            let ours = by.as_deref() == Some(me) || closing.contains(&seen.branch);
            let is_of_it = marker.pkgbase.review_branch() == seen.branch;
            if waits && !ours && is_of_it && !branches.contains(&seen.branch) {
                let (pkgbase, content) = (marker.pkgbase, marker.content);
                self.step(Step::Reject { pkgbase, head: seen.head, content, by: by.clone() });
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
        let Desired { pkgbase, head, .. } = desired;
        let me = self.observed.me;
        let news = seen.approved_by.iter().filter(|&by| by != me && !desired.approved.contains(by));
        if self.limits.approvals && desired.decidable {
            for by in news {
                self.done.steps.push(Step::Approve { pkgbase: pkgbase.clone(), head: *head, by: by.clone() });
            }
        }
        if goes_in_at(desired, self.limits).is_some_and(|at| at <= self.now) {
            self.step(Step::Automerge { pkgbase: pkgbase.clone(), head: *head });
        }
    }

    /// Something that waits and has no open review.
    fn begin(&mut self, desired: &Desired) {
        let Observed { me, reviews, closing, resting, .. } = self.observed;
        let branch = &desired.wanted.branch;
        let of_it = reviews.iter().filter(|seen| seen.branch == *branch && seen.author == me);
        let same = |seen: &&Seen| {
            let content = Marker::find(&seen.body).map(|marker| marker.content);
            seen.head == desired.head || content.as_deref() == Some(desired.marker.content.as_str())
        };
        match of_it.max_by_key(|seen| (seen.updated_at, seen.number)).filter(same).map(|seen| &seen.stage) {
            // The next run over the commits finds its content.
            Some(Stage::Merged) => return,
            Some(Stage::Closed { by }) if by.as_deref() != Some(me) && !closing.contains(branch) => {
                let (pkgbase, content) = (desired.pkgbase.clone(), desired.marker.content.clone());
                return self.step(Step::Reject { pkgbase, head: desired.head, content, by: by.clone() });
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
mod tests {
    use super::*;

    const ME: &str = "bot";

    fn oid(digit: char) -> Oid {
        digit.to_string().repeat(40).parse().expect("valid")
    }

    fn at(minutes: i64) -> Timestamp {
        let begin: Timestamp = "2026-05-01T12:00:00Z".parse().expect("a time");
        begin + SignedDuration::from_mins(minutes)
    }

    fn name(text: &str) -> PkgBase {
        PkgBase::new(text).expect("legal")
    }

    fn marker(pkgbase: &str, content: &str) -> Marker {
        Marker { pkgbase: name(pkgbase), content: content.to_owned(), text: content.to_owned(), conflict: false }
    }

    fn wants(pkgbase: &str, content: &str) -> Desired {
        let marker = marker(pkgbase, content);
        let wanted = Wanted {
            branch: format!("update-{pkgbase}"),
            base: "main".into(),
            title: "t".into(),
            body: marker.to_string(),
            labels: BTreeSet::new(),
            assignees: BTreeSet::new(),
            reviewers: BTreeSet::new(),
        };
        Desired {
            pkgbase: name(pkgbase),
            head: oid('a'),
            proposed_at: at(0),
            weight: Weight::Review,
            wanted,
            marker,
            approved: BTreeSet::new(),
            patient: true,
            decidable: true,
        }
    }

    fn seen(number: u64, pkgbase: &str, content: &str, stage: Stage) -> Seen {
        Seen {
            number,
            url: String::new(),
            branch: format!("update-{pkgbase}"),
            head: oid('a'),
            stage,
            author: ME.into(),
            title: "t".into(),
            body: marker(pkgbase, content).to_string(),
            labels: BTreeSet::new(),
            assignees: BTreeSet::new(),
            reviewers: BTreeSet::new(),
            approved_by: BTreeSet::new(),
            mergeable: None,
            opened_at: at(-600),
            updated_at: at(0),
        }
    }

    fn closed_by(who: Option<&str>) -> Stage {
        Stage::Closed { by: who.map(str::to_owned) }
    }

    /// A look, as simple as it can be.
    struct Story {
        desired: Vec<Desired>,
        reviews: Vec<Seen>,
        branches: BTreeSet<String>,
        proposed: BTreeMap<PkgBase, String>,
        closing: BTreeSet<String>,
        resting: BTreeSet<String>,
        limits: Limits,
    }

    fn story(desired: &[Desired], reviews: &[Seen]) -> Story {
        Story {
            desired: desired.to_vec(),
            reviews: reviews.to_vec(),
            branches: desired.iter().map(|it| it.wanted.branch.clone()).collect(),
            proposed: BTreeMap::new(),
            closing: BTreeSet::new(),
            resting: BTreeSet::new(),
            limits: Limits {
                per_run: 9,
                per_hour: 9,
                at_once: None,
                quiet: false,
                approvals: true,
                automerge_after: None,
            },
        }
    }

    impl Story {
        fn at(&self, now: Timestamp) -> Reconciled {
            let observed = Observed {
                me: ME,
                reviews: &self.reviews,
                branches: &self.branches,
                proposed: &self.proposed,
                closing: &self.closing,
                resting: &self.resting,
            };
            reconcile(&self.desired, observed, self.limits, now)
        }

        /// What is done, in few words.
        fn told(&self) -> Vec<String> {
            self.at(at(1)).steps.iter().map(told).collect()
        }
    }

    fn told(step: &Step) -> String {
        match step {
            Step::Open(wanted) => format!("open {}", wanted.branch),
            Step::Update(number, _) => format!("update #{number}"),
            Step::Close { number, why, .. } => format!("close #{number}: {why}"),
            Step::Say { number, key, .. } => format!("say #{number} {key}"),
            Step::Reject { pkgbase, by, .. } => format!("{} rejects {pkgbase}", by.as_deref().unwrap_or("somebody")),
            Step::Approve { pkgbase, by, .. } => format!("{by} approves {pkgbase}"),
            Step::Automerge { pkgbase, .. } => format!("time approves {pkgbase}"),
        }
    }

    #[test]
    fn what_is_as_it_should_be_is_left_alone() {
        let done = story(&[wants("a", "1")], &[seen(1, "a", "1", Stage::Open)]);
        assert_eq!(done.at(at(1)), Reconciled::default());
        assert_eq!(story(&[wants("a", "1")], &[]).told(), ["open update-a"]);
        assert_eq!(story(&[wants("a", "2")], &[seen(1, "a", "1", Stage::Open)]).told(), ["update #1"]);
        let mut edited = seen(1, "a", "1", Stage::Open);
        edited.body = format!("a person's words\r\n{}", edited.body);
        assert_eq!(story(&[wants("a", "1")], &[edited]).told(), [""; 0], "people may change the text");
    }

    #[test]
    fn only_what_we_opened_and_has_no_branch_is_closed() {
        let mut story = story(&[], &[seen(1, "a", "1", Stage::Open), seen(2, "b", "1", Stage::Open)]);
        story.branches.insert("update-b".into());
        assert_eq!(story.told(), ["close #1: its branch is gone"]);
        story.reviews[0].body = "by hand".into();
        assert_eq!(story.told(), [""; 0]);
        story.reviews[0] = Seen { author: "mira".into(), ..seen(1, "a", "1", Stage::Open) };
        assert_eq!(story.told(), [""; 0], "a marker can be copied");
    }

    #[test]
    fn what_a_person_closed_is_rejected_and_other_content_is_opened() {
        for (stage, content, expected) in [
            (closed_by(Some("mira")), "1", "mira rejects a"),
            (closed_by(None), "1", "somebody rejects a"),
            (closed_by(Some(ME)), "1", "open update-a"),
            (Stage::Merged, "1", ""),
        ] {
            let told = story(&[wants("a", "1")], &[seen(1, "a", content, stage.clone())]).told();
            assert_eq!(told.join(""), expected, "{stage:?}");
        }
        let other = Desired { head: oid('b'), ..wants("a", "2") };
        assert_eq!(story(&[other], &[seen(1, "a", "1", closed_by(Some("mira")))]).told(), ["open update-a"]);
        let stranger = Seen { author: "eve".into(), ..seen(1, "a", "1", closed_by(Some("eve"))) };
        assert_eq!(
            story(&[wants("a", "1")], &[stranger]).told(),
            ["open update-a"],
            "nobody rejects by a copy of theirs"
        );
    }

    #[test]
    fn a_review_that_is_closed_with_its_branch_is_rejected_if_nothing_else_was_decided() {
        let mut story = story(&[], &[seen(1, "a", "1", closed_by(Some("mira")))]);
        assert_eq!(story.told(), [""; 0], "it is not proposed any more");
        story.proposed.insert(name("a"), "1".into());
        assert_eq!(story.told(), ["mira rejects a"]);
        story.closing.insert("update-a".into());
        assert_eq!(story.told(), [""; 0], "we closed it");
    }

    #[test]
    fn approvals_count_for_exactly_this_head_and_once() {
        let mut review = seen(1, "a", "1", Stage::Open);
        review.approved_by = ["mira", "pia", ME].map(str::to_owned).into();
        let mut story = story(&[wants("a", "1")], &[review]);
        story.desired[0].approved.insert("pia".into());
        assert_eq!(story.told(), ["mira approves a"]);
        story.desired[0].decidable = false;
        assert_eq!(story.told(), [""; 0], "a conflict, or in quarantine");
        story.desired[0].decidable = true;
        story.desired[0].head = oid('b');
        assert_eq!(story.told(), [""; 0]);
        story.desired[0].head = oid('a');
        story.limits.approvals = false;
        assert_eq!(story.told(), [""; 0]);
    }

    #[test]
    fn time_approves_only_what_is_patient() {
        let mut story = story(&[wants("a", "1")], &[seen(1, "a", "1", Stage::Open)]);
        story.limits.automerge_after = Some(SignedDuration::from_mins(60));
        let told_at = |story: &Story, minutes| story.at(at(minutes)).steps.iter().map(told).collect::<Vec<_>>();
        assert_eq!(told_at(&story, 59), [""; 0]);
        assert_eq!(told_at(&story, 60), ["time approves a"]);
        story.desired[0].patient = false;
        assert_eq!(told_at(&story, 9999), [""; 0]);
    }

    #[test]
    fn the_heaviest_come_first_within_the_limits() {
        let heavy = Desired { weight: Weight::Hostile, ..wants("z", "1") };
        let desired = [wants("a", "1"), wants("b", "2"), heavy];
        let mut story = story(&desired, &[seen(1, "b", "1", Stage::Open)]);
        story.limits.per_run = 2;
        assert_eq!(story.told(), ["update #1", "open update-z"]);
        assert_eq!(
            story.at(at(1)).later.into_iter().collect::<Vec<_>>(),
            [("update-a".to_owned(), "one run opens no more")]
        );
        story.limits = Limits { per_run: 9, per_hour: 1, ..story.limits };
        assert_eq!(story.told(), ["update #1", "open update-z"]);
        story.reviews[0].opened_at = at(0);
        assert_eq!(story.told(), ["update #1"], "one was opened within the hour");
        story.limits = Limits { per_hour: 9, at_once: Some(2), ..story.limits };
        assert_eq!(story.told(), ["update #1", "open update-z"]);
        story.limits.quiet = true;
        assert_eq!(story.told(), [""; 0]);
        story.branches.clear();
        story.desired.clear();
        assert_eq!(story.told(), ["close #1: its branch is gone"], "reviews are closed at any time");
    }

    #[test]
    fn what_failed_rests() {
        let mut story = story(&[wants("a", "2"), wants("b", "1")], &[seen(1, "a", "1", Stage::Open)]);
        story.resting = ["update-a", "update-b"].map(str::to_owned).into();
        assert_eq!(story.told(), [""; 0]);
    }

    #[test]
    fn a_conflict_is_told_once_and_so_is_its_end() {
        let mut conflict = wants("a", "2");
        conflict.marker.conflict = true;
        let mut story = story(&[conflict], &[seen(1, "a", "1", Stage::Open)]);
        assert_eq!(story.told(), ["say #1 conflict", "update #1"]);
        story.reviews[0].body = story.desired[0].marker.to_string();
        assert_eq!(story.told(), [""; 0]);
        story.desired[0] = wants("a", "2");
        assert_eq!(story.told(), ["say #1 conflict", "update #1"]);
    }
}
