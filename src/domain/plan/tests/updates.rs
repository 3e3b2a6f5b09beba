//! What sources have that the monorepo has not.

use super::*;

#[test]
fn a_version_bump_is_committed_with_its_cursor_and_built() {
    let story = Story::new().package("a", "1.0-1", &[]).source_has("a", files("a", "1.1-1", &[]));
    let plan = story.plan(&Pipeline::OnSchedule);
    assert_eq!(decision(&plan, "a").action, Action::Commit);
    assert_eq!(built(&plan), ["a"]);
    let commit = plan.commit.as_ref().expect("a commit");
    assert_eq!(commit.message, "chore(update): a\n\n- a: 1.0-1 -> 1.1-1\n");
    assert_eq!(commit.parents, [oid('a')]);
    let state = plan.states[&name("a")].as_ref().expect("kept");
    assert_eq!(state.cursor().expect("moved").commit, oid('2'));
}

#[test]
fn what_could_not_be_asked_is_unknown_and_moves_nothing() {
    let mut story =
        Story::new().package("a", "1.0-1", &[]).package("b", "1.0-1", &[]).source_has("b", files("b", "1.1-1", &[]));
    let unknown = Observation::Unknown { error: "the mirror does not answer".into(), retry_at: None };
    story.observations.files.insert(name("a"), unknown);
    let review = ReviewBranch { head: oid('e'), folder: Some(oid('d')), arrived: false, identical: false };
    story.snapshot.reviews.insert(name("a"), review);
    let plan = story.plan(&Pipeline::OnSchedule);
    assert_eq!(decision(&plan, "a").observation, Heard::Unknown);
    assert!(!plan.states.contains_key(&name("a")));
    assert!(plan.reviews.is_empty(), "a failed answer closes no review");
    assert_eq!(built(&plan), ["b"]);
}

#[test]
fn updates_of_a_package_with_a_trigger_are_committed_and_built_when_it_fires() {
    let story = Story::new().package("heavy", "1.0-1", &[]).source_has("heavy", files("heavy", "1.1-1", &[]));
    let story = story.configured("heavy", |package| package.settings.trigger = Some("daily".into()));
    let plan = story.plan(&Pipeline::OnSchedule);
    assert!(plan.commit.is_some() && plan.builds.is_empty());
    assert_eq!(built(&story.plan(&Pipeline::Trigger("daily".into()))), ["heavy"]);
    let wrong = story.plan(&Pipeline::Trigger("daly".into()));
    assert!(wrong.problems[0].hint.contains("daily") && wrong.needs_a_person());
}

#[test]
fn an_automated_tip_is_overwritten_and_its_names_are_kept() {
    let mut story =
        Story::new().package("a", "1.0-1", &[]).package("b", "1.0-1", &[]).source_has("a", files("a", "1.1-1", &[]));
    story.snapshot.settings.overwrite_commits = true;
    let head = story.since.head.as_mut().expect("there");
    head.author = story.snapshot.settings.identity.to_string();
    head.message = "chore(update): b\n\n- b: 0.9-1 -> 1.0-1\n".into();
    let commit = story.plan(&Pipeline::OnSchedule).commit.expect("a commit");
    assert_eq!(commit.parents, [oid('9')]);
    assert_eq!(commit.message, "chore(update): a, b\n\n- a: 1.0-1 -> 1.1-1\n- b: 0.9-1 -> 1.0-1\n");

    story.since.head.as_mut().expect("there").author = "a person".into();
    assert_eq!(story.plan(&Pipeline::OnSchedule).commit.expect("a commit").parents, [oid('a')]);
}

#[test]
fn the_first_look_at_a_source_adopts_what_only_a_formatter_changed() {
    let indented =
        String::from_utf8_lossy(files("a", "1.0-1", &[]).get("PKGBUILD").expect("there")).replace("  make", "\tmake");
    let mut story =
        Story::new().package("a", "1.0-1", &[]).source_has("a", files("a", "1.0-1", &[]).with("PKGBUILD", &indented));
    story.snapshot.states.remove("a");
    let plan = story.plan(&Pipeline::OnSchedule);
    assert_eq!(decision(&plan, "a").action, Action::State);
    assert!(plan.commit.is_none() && plan.reviews.is_empty());

    let mut story = story.source_has("a", with_other_build(&files("a", "1.0-1", &[])));
    story.snapshot.states.remove("a");
    assert_eq!(decision(&story.plan(&Pipeline::OnSchedule), "a").action, Action::Review);
}

#[test]
fn trust_in_maintainers_ends_with_whatever_changes_about_who_may_push() {
    let risky = with_other_build(&files("foo", "1.1-1", &[]));
    let told = |before: &str, now: &str| {
        let mut story = Story::new().package("foo", "1.0-1", &[]).source_has("foo", risky.clone());
        story.snapshot.settings.human_review = Some(true);
        story.snapshot.settings.trusted_maintainers = ["ann", "bob", "eve"].map(str::to_owned).into();
        let state = story.snapshot.states.get_mut(&name("foo")).expect("there");
        state.set_keepers(Some(&Keepers::parse(before)));
        story.observations.keepers.insert(name("foo"), Keepers::parse(now));
        decision(&story.plan(&Pipeline::OnSchedule), "foo").action
    };
    assert_eq!(told("ann,bob", "ann,bob"), Action::Commit);
    for now in ["eve,bob", "bob,ann", "ann", "ann,bob,eve", "bob", "-,ann,bob", "mallory,ann,bob"] {
        assert_eq!(told("ann,bob", now), Action::Review, "{now}");
    }
    assert_eq!(told("ann;Ann <a@x>", "ann;Ann <a@x>"), Action::Commit);
    assert_eq!(told("ann;Ann <a@x>", "ann;Eve <e@x>"), Action::Review, "somebody else made the files");
}
