//! Updates that wait for a person, and what the person says.

use super::*;

#[test]
fn a_changed_build_function_waits_for_a_person() {
    let story = Story::new().package("a", "1.0-1", &[]).source_has("a", with_other_build(&files("a", "1.1-1", &[])));
    let plan = story.plan(&Pipeline::OnSchedule);
    let decision = decision(&plan, "a");
    assert_eq!((decision.action, decision.verdict), (Action::Review, Some(Decision::Major)));
    assert!(!decision.reasons.is_empty() && plan.needs_a_person());
    assert!(plan.commit.is_none() && plan.builds.is_empty());
    assert!(matches!(&plan.reviews[..], [ReviewStep::Propose { replaces: None, .. }]));
    assert!(plan.states[&name("a")].as_ref().expect("kept").proposed().is_some());
}

#[test]
fn an_identical_review_is_not_pushed_again_and_newer_content_updates_it() {
    let proposed = with_other_build(&files("a", "1.1-1", &[]));
    let mut story = Story::new().package("a", "1.0-1", &[]).source_has("a", proposed.clone());
    let review = ReviewBranch { head: oid('e'), folder: Some(oid('d')), arrived: false, identical: false };
    story.snapshot.reviews.insert(name("a"), review);
    story.observations.waiting.insert(name("a"), proposed.digest());
    let plan = story.plan(&Pipeline::OnSchedule);
    assert!(plan.reviews.is_empty());
    assert_eq!(decision(&plan, "a").action, Action::Review);

    let story = story.source_has("a", with_other_build(&files("a", "1.2-1", &[])));
    let plan = story.plan(&Pipeline::OnSchedule);
    assert!(matches!(&plan.reviews[..], [ReviewStep::Propose { replaces: Some(head), .. }] if *head == oid('e')));
}

#[test]
fn rejected_content_is_not_proposed_again_until_it_changes() {
    let proposed = with_other_build(&files("a", "1.1-1", &[]));
    let mut story = Story::new().package("a", "1.0-1", &[]).source_has("a", proposed.clone());
    story.snapshot.states.get_mut("a").expect("there").set_rejected(Some(&proposed.digest()));
    let plan = story.plan(&Pipeline::OnSchedule);
    assert_eq!(decision(&plan, "a").action, Action::Skip);
    assert!(plan.reviews.is_empty());

    let story = story.source_has("a", with_other_build(&files("a", "1.2-1", &[])));
    assert_eq!(story.plan(&Pipeline::OnSchedule).reviews.len(), 1);
}

#[test]
fn obsolete_review_branches_are_pruned_however_old() {
    let mut story = Story::new().package("a", "1.0-1", &[]);
    let merged = ReviewBranch { head: oid('e'), folder: Some(oid('d')), arrived: true, identical: true };
    let orphan = ReviewBranch { head: oid('f'), folder: Some(oid('d')), arrived: false, identical: false };
    story.snapshot.reviews.insert(name("a"), merged);
    story.snapshot.reviews.insert(name("left"), orphan);
    let plan = story.plan(&Pipeline::OnSchedule);
    assert_eq!(plan.reviews.len(), 2);
    assert!(plan.reviews.iter().all(|step| matches!(step, ReviewStep::Close { .. })));
    assert!(!plan.states.contains_key(&name("left")));
}

#[test]
fn commits_prune_the_reviews_of_the_packages_they_change() {
    let mut story = Story::new().package("a", "1.0-1", &[]).package("b", "1.0-1", &[]).changed("a");
    let merged = ReviewBranch { head: oid('e'), folder: Some(oid('d')), arrived: true, identical: true };
    for pkgbase in ["a", "b", "left"] {
        story.snapshot.reviews.insert(name(pkgbase), merged.clone());
    }
    story.since.changes.removed.push(name("left"));
    let closed = |pipeline: &Pipeline| {
        let steps = story.plan(pipeline).reviews.into_iter();
        let closed = steps.map(|step| match step {
            ReviewStep::Close { pkgbase, .. } | ReviewStep::Propose { pkgbase, .. } => pkgbase.to_string(),
        });
        closed.collect::<Vec<_>>()
    };
    assert_eq!(closed(&Pipeline::OnCommit), ["a", "left"]);
    assert_eq!(closed(&Pipeline::OnSchedule), ["a", "b", "left"]);
    assert!(closed(&Pipeline::Trigger("x".into())).is_empty());
}

#[test]
fn a_review_ends_when_its_update_becomes_minor() {
    let mut story = Story::new().package("a", "1.0-1", &[]).source_has("a", files("a", "1.1-1", &[]));
    let review = ReviewBranch { head: oid('e'), folder: Some(oid('d')), arrived: false, identical: false };
    story.snapshot.reviews.insert(name("a"), review);
    let plan = story.plan(&Pipeline::OnSchedule);
    assert_eq!(decision(&plan, "a").action, Action::Commit);
    assert!(matches!(&plan.reviews[..], [ReviewStep::Close { .. }]));
}

#[test]
fn a_deleted_review_branch_loses_no_update() {
    let mut story = Story::new().package("a", "1.0-1", &[]);
    story.snapshot.states.get_mut("a").expect("there").set_proposed(Some("digest"));
    assert_eq!(requests(&story.snapshot)[0].cursor, None);
    let review = ReviewBranch { head: oid('e'), folder: Some(oid('d')), arrived: false, identical: false };
    story.snapshot.reviews.insert(name("a"), review);
    assert!(requests(&story.snapshot)[0].cursor.is_some());
}

#[test]
fn an_approval_merges_what_was_seen_and_refuses_what_moved() {
    let present = files("a", "1.0-1", &[]).with(".CI/config", "CI_PKGBUILD_SOURCE=aur\n");
    let proposed = with_other_build(&files("a", "1.1-1", &[])).with(".CI/config", "CI_PKGBUILD_SOURCE=aur\n");
    let mut story = Story::new().package("a", "1.0-1", &[]);
    let review = ReviewBranch { head: oid('e'), folder: Some(oid('d')), arrived: false, identical: false };
    story.snapshot.reviews.insert(name("a"), review);
    let proposal = Proposal { base: present.clone(), present: present.clone(), proposed: proposed.clone() };
    story.observations.proposals.insert(name("a"), proposal);

    let plan = story.plan(&Pipeline::Approve(name("a"), oid('e'), person()));
    let [Edit::Folder(_, folder)] = &plan.commit.as_ref().expect("a commit").edits[..] else { panic!("one folder") };
    assert_eq!(*folder, proposed);
    assert_eq!(built(&plan), ["a"]);
    assert!(matches!(&plan.reviews[..], [ReviewStep::Close { .. }]));

    assert_eq!(codes(&story.plan(&Pipeline::Approve(name("a"), oid('f'), person()))), ["review-moved"]);
    story.observations.proposals.get_mut("a").expect("there").present = files("a", "1.0-2", &[]);
    let conflict = story.plan(&Pipeline::Approve(name("a"), oid('e'), person()));
    assert_eq!(codes(&conflict), ["review-conflict"]);
    assert!(conflict.commit.is_none());
}

#[test]
fn a_rejection_is_remembered_and_closes_the_review() {
    let folder = files("a", "1.0-1", &[]);
    let mut story = Story::new().package("a", "1.0-1", &[]);
    let review = ReviewBranch { head: oid('e'), folder: Some(oid('d')), arrived: false, identical: false };
    story.snapshot.reviews.insert(name("a"), review);
    let proposal = Proposal { base: folder.clone(), present: folder.clone(), proposed: with_other_build(&folder) };
    story.observations.proposals.insert(name("a"), proposal);
    let plan = story.plan(&Pipeline::Reject(name("a"), oid('e'), Refusal::default()));
    assert_eq!(plan.states[&name("a")].as_ref().expect("kept").rejected(), Some(&*with_other_build(&folder).digest()));
    assert!(matches!(&plan.reviews[..], [ReviewStep::Close { .. }]));
    assert_eq!(plan.scheduled, Scheduled::Stays);
}
