//! What follows from what a forge shows.

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
        limits: Limits { per_run: 9, per_hour: 9, at_once: None, quiet: false, approvals: true, automerge_after: None },
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
    assert_eq!(story(&[wants("a", "1")], &[stranger]).told(), ["open update-a"], "nobody rejects by a copy of theirs");
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
