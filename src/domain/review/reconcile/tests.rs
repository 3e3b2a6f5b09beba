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
    Marker {
        about: About::Package(name(pkgbase)),
        content: content.to_owned(),
        text: content.to_owned(),
        conflict: false,
    }
}

fn wants(pkgbase: &str, content: &str) -> Desired {
    let marker = marker(pkgbase, content);
    let wanted = Wanted {
        branch: format!("update-{pkgbase}"),
        base: "main".into(),
        title: "t".into(),
        body: marker.to_string(),
        labels: BTreeSet::new(),
        labels_off: BTreeSet::new(),
        assignees: BTreeSet::new(),
        reviewers: BTreeSet::new(),
    };
    Desired { members: vec![member(pkgbase, 'a', content)], head: oid('a'), weight: Weight::Review, wanted, marker }
}

fn member(pkgbase: &str, head: char, content: &str) -> Member {
    Member {
        pkgbase: name(pkgbase),
        head: oid(head),
        content: content.to_owned(),
        proposed_at: at(0),
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
#[derive(Debug)]
struct Story {
    desired: Vec<Desired>,
    reviews: Vec<Seen>,
    branches: BTreeSet<String>,
    proposed: BTreeMap<PkgBase, String>,
    closing: BTreeSet<String>,
    resting: BTreeSet<String>,
    unheard: BTreeSet<String>,
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
        unheard: BTreeSet::new(),
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
            unheard: &self.unheard,
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
    story.desired[0].members[0].approved.insert("pia".into());
    assert_eq!(story.told(), ["mira approves a"]);
    story.desired[0].members[0].decidable = false;
    assert_eq!(story.told(), [""; 0], "a conflict, or in quarantine");
    story.desired[0].members[0].decidable = true;
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
    story.desired[0].members[0].patient = false;
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

/// The review of a group of `a` and `b`.
fn together(content: &str) -> Desired {
    let group = GroupName::new("pair").expect("a name");
    let about = About::Group(group.clone());
    let marker = Marker { about, content: content.to_owned(), text: content.to_owned(), conflict: false };
    let mut desired = wants("a", content);
    desired.wanted.branch = group.branch();
    desired.wanted.body = marker.to_string();
    desired.head = oid('f');
    desired.members = vec![member("a", 'a', "1"), member("b", 'b', "2")];
    Desired { marker, ..desired }
}

fn seen_together(number: u64, content: &str, stage: Stage) -> Seen {
    let desired = together(content);
    Seen {
        branch: desired.wanted.branch,
        body: desired.wanted.body,
        head: oid('f'),
        ..seen(number, "a", content, stage)
    }
}

#[test]
fn a_decision_about_a_group_is_one_about_each_of_its_updates() {
    let mut approved = seen_together(1, "x", Stage::Open);
    approved.approved_by.insert("mira".into());
    let mut open = story(&[together("x")], &[approved]);
    assert_eq!(open.told(), ["mira approves a", "mira approves b"]);
    open.desired[0].members[0].approved.insert("mira".into());
    assert_eq!(open.told(), ["mira approves b"]);
    open.desired[0].members[1].decidable = false;
    assert_eq!(open.told(), [""; 0]);
    open.desired[0].members[1].decidable = true;
    open.reviews[0].head = oid('e');
    assert_eq!(open.told(), [""; 0], "something else was approved");
    let closed = story(&[together("x")], &[seen_together(1, "x", closed_by(Some("mira")))]);
    assert_eq!(closed.told(), ["mira rejects a", "mira rejects b"]);
    let other = Desired { head: oid('e'), ..together("y") };
    let closed = story(&[other], &[seen_together(1, "x", closed_by(Some("mira")))]);
    assert_eq!(closed.told(), ["open updates-pair"]);
}

#[test]
fn an_update_has_one_review_alone_or_with_others() {
    let alone = [seen(1, "a", "1", Stage::Open), seen(2, "c", "1", Stage::Open)];
    let mut moved = story(&[together("x"), wants("c", "1")], &alone);
    moved.branches = ["update-a", "update-b", "update-c"].map(str::to_owned).into();
    let why = "it is decided about together with others, on updates-pair";
    assert_eq!(moved.told(), [format!("close #1: {why}"), "open updates-pair".to_owned()]);
    moved.desired = vec![wants("a", "1"), wants("b", "1"), wants("c", "1")];
    moved.reviews = vec![seen_together(3, "x", Stage::Open), seen(2, "c", "1", Stage::Open)];
    let why = "nothing of it waits together any more";
    assert_eq!(moved.told(), [format!("close #3: {why}"), "open update-a".to_owned(), "open update-b".to_owned()]);
    moved.desired.clear();
    moved.resting.insert("updates-pair".into());
    assert!(!moved.told().contains(&format!("close #3: {why}")), "its branch could not be brought up to date");
}

mod anything {
    use proptest::prelude::*;

    use super::*;

    fn stage() -> impl Strategy<Value = Stage> {
        prop_oneof![
            Just(Stage::Open),
            Just(Stage::Merged),
            prop_oneof![Just(None), Just(Some(ME)), Just(Some("mira"))].prop_map(closed_by),
        ]
    }

    prop_compose! {
        fn review()(
            pkgbase in "[ab]",
            content in "[12]",
            stage in stage(),
            ours in any::<bool>(),
            approves in any::<bool>(),
            opened in -120..0_i64,
            head in "[ab]",
        ) -> Seen {
            let author = if ours { ME } else { "eve" };
            let approved_by = approves.then(|| "mira".to_owned()).into_iter().collect();
            let head = oid(head.chars().next().expect("one"));
            Seen { author: author.into(), approved_by, opened_at: at(opened), head, ..seen(1, &pkgbase, &content, stage) }
        }
    }

    prop_compose! {
        fn any_story()(
            wanted in prop::collection::btree_map("[abc]", ("[12]", any::<bool>(), any::<bool>()), 0..3),
            reviews in prop::collection::vec(review(), 0..5),
            (per_run, per_hour, at_once) in (0..3_usize, 0..3_usize, prop::option::of(0..3_usize)),
            (quiet, approvals) in (any::<bool>(), any::<bool>()),
            after in prop::option::of(0..3_i64),
        ) -> Story {
            let desired: Vec<Desired> = wanted.iter().map(|(pkgbase, (content, patient, decidable))| {
                let mut desired = wants(pkgbase, content);
                (desired.members[0].patient, desired.members[0].decidable) = (*patient && *decidable, *decidable);
                desired
            }).collect();
            let reviews: Vec<Seen> =
                (1..).zip(reviews).map(|(number, review): (u64, Seen)| Seen { number, ..review }).collect();
            let automerge_after = after.map(SignedDuration::from_mins);
            let limits = Limits { per_run, per_hour, at_once, quiet, approvals, automerge_after };
            Story { limits, ..story(&desired, &reviews) }
        }
    }

    proptest! {
        #[test]
        fn limits_and_decisions_hold_whatever_a_forge_shows(story in any_story()) {
            let done = story.at(at(1)).steps;
            let count = |is: fn(&Step) -> bool| done.iter().filter(|step| is(step)).count();
            let opened = count(|step| matches!(step, Step::Open(_)));
            let changed = opened + count(|step| matches!(step, Step::Update(..)));
            let ours = |is: &dyn Fn(&Seen) -> bool| story.reviews.iter().filter(|it| it.author == ME && is(it)).count();
            let Limits { per_run, per_hour, at_once, quiet, approvals, automerge_after } = story.limits;
            prop_assert!(changed <= per_run);
            prop_assert!(!quiet || changed == 0);
            let lately = ours(&|it| it.opened_at > at(1) - SignedDuration::from_hours(1));
            prop_assert!(opened == 0 || lately + opened <= per_hour);
            let open = ours(&|it| it.stage == Stage::Open);
            prop_assert!(opened == 0 || at_once.is_none_or(|most| open + opened <= most));
            for step in &done {
                let of = |pkgbase: &PkgBase| story.desired.iter().flat_map(|it| &it.members).find(|it| it.pkgbase == *pkgbase);
                match step {
                    Step::Approve { pkgbase, head, by } => {
                        let member = of(pkgbase).expect("it waits");
                        prop_assert!(approvals && member.decidable && member.head == *head && by == "mira");
                        let shown = |it: &&Seen| it.is_open_on(&pkgbase.review_branch()) && it.head == *head;
                        prop_assert!(story.reviews.iter().any(|it| shown(&it) && it.approved_by.contains(by)));
                    }
                    Step::Automerge { pkgbase, head } => {
                        let member = of(pkgbase).expect("it waits");
                        prop_assert!(member.patient && member.head == *head);
                        prop_assert!(member.proposed_at + automerge_after.expect("it is on") <= at(1));
                    }
                    Step::Close { number, .. } => {
                        let closed = |it: &&Seen| it.number == *number && it.author == ME && it.stage == Stage::Open;
                        prop_assert!(story.reviews.iter().any(|it| closed(&it)));
                    }
                    Step::Reject { by, .. } => prop_assert!(by.as_deref() != Some(ME)),
                    Step::Open(wanted) => {
                        prop_assert!(!story.reviews.iter().any(|it| it.is_open_on(&wanted.branch)));
                    }
                    Step::Update(..) | Step::Say { .. } => {}
                }
            }
        }

        #[test]
        fn nothing_is_left_to_do_once_everything_was_done(story in any_story()) {
            let mut story = story;
            story.limits = Limits { per_run: 99, per_hour: 99, at_once: None, quiet: false, approvals: false, automerge_after: None };
            let mut number = 100;
            for step in story.at(at(1)).steps {
                match step {
                    Step::Open(wanted) => {
                        number += 1;
                        let review = Seen { body: wanted.body, branch: wanted.branch, ..seen(number, "a", "1", Stage::Open) };
                        story.reviews.push(review);
                    }
                    Step::Update(number, wanted) => {
                        for review in story.reviews.iter_mut().filter(|it| it.number == number && it.is_open_on(&wanted.branch)) {
                            review.body.clone_from(&wanted.body);
                        }
                    }
                    Step::Close { number, .. } => {
                        for review in story.reviews.iter_mut().filter(|it| it.number == number) {
                            review.stage = closed_by(Some(ME));
                        }
                    }
                    Step::Reject { pkgbase, .. } => story.desired.retain(|it| it.members[0].pkgbase != pkgbase),
                    Step::Say { .. } | Step::Approve { .. } | Step::Automerge { .. } => {}
                }
            }
            let left: Vec<_> = story.told().into_iter().filter(|it| it.starts_with("open") || it.starts_with("update")).collect();
            prop_assert_eq!(left, Vec::<String>::new());
        }
    }
}
