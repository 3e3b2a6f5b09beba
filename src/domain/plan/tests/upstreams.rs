//! What packages are built from.

use super::*;
use crate::domain::revision::Revision;

/// Where sources are, a letter each; `-` where that is not known.
fn at(places: &str) -> Vec<Option<Revision>> {
    places.chars().map(|place| (place != '-').then(|| oid(place).into())).collect()
}

/// What a schedule makes of a package whose sources stood at `before`, of which `now` is known.
fn moved(before: &str, now: &str) -> (Plan, Vec<Option<Revision>>) {
    let mut story = Story::new().package("x-git", "1.0-1", &[]);
    story.snapshot.states.get_mut("x-git").expect("there").set_upstream(&at(before));
    let partly = Upstream::Partly { seen: at(now), error: "timed out".into(), retry_at: None };
    story.observations.upstream.insert(name("x-git"), partly);
    story.observations.files.insert(name("x-git"), Observation::Current { cursor: None });
    let plan = story.plan(&Pipeline::OnSchedule);
    let state = story.after(&plan).snapshot.states.remove("x-git").expect("there");
    (plan, state.upstream())
}

#[test]
fn an_upstream_commit_builds_and_is_recorded_in_the_same_run() {
    let mut story = Story::new().package("x-git", "1.0-1", &[]);
    story.snapshot.states.get_mut("x-git").expect("there").set_upstream(&[Some(oid('3').into())]);
    story.observations.upstream.insert(name("x-git"), Upstream::At(vec![oid('4').into()]));
    let plan = story.plan(&Pipeline::OnSchedule);
    assert_eq!(plan.builds[0].reason, crate::domain::build::BuildReason::Upstream);
    assert_eq!(plan.states[&name("x-git")].as_ref().expect("kept").upstream(), [Some(oid('4').into())]);
}

#[test]
fn an_upstream_that_does_not_answer_keeps_the_recorded_commit() {
    let mut story = Story::new().package("x-git", "1.0-1", &[]);
    story.snapshot.states.get_mut("x-git").expect("there").set_upstream(&[Some(oid('3').into())]);
    story.observations.upstream.insert(name("x-git"), Upstream::Unknown { error: "timed out".into(), retry_at: None });
    let plan = story.plan(&Pipeline::OnSchedule);
    assert!(plan.states.is_empty() && plan.builds.is_empty());
    assert_eq!(codes(&plan), ["upstream-unknown"]);
    assert_eq!(decision(&plan, "x-git").observation, Heard::Unknown, "by itself");
    story.observations.files.insert(name("x-git"), Observation::Current { cursor: None });
    let plan = story.plan(&Pipeline::OnSchedule);
    let decision = decision(&plan, "x-git");
    assert_eq!((decision.observation, decision.why.as_str()), (Heard::Unknown, "timed out"), "with current files");
}

#[test]
fn what_is_known_to_have_moved_is_built_and_what_is_not_known_keeps_its_place() {
    let (plan, after) = moved("ab", "c-");
    assert_eq!((built(&plan), after), (vec!["x-git"], at("cb")));
    assert_eq!(codes(&plan), ["upstream-unknown"]);
    let told = "its upstream has new commits, though timed out (1 of its 2 upstreams not known)";
    let moved = decision(&plan, "x-git");
    assert_eq!((moved.observation, moved.action, moved.why.as_str()), (Heard::Changed, Action::State, told));
}

#[test]
fn a_package_that_is_partly_not_known_is_never_current() {
    for now in ["a-", "-b"] {
        let (plan, after) = moved("ab", now);
        assert_eq!((built(&plan), after), (vec![], at("ab")));
        assert_eq!((decision(&plan, "x-git").observation, codes(&plan)), (Heard::Unknown, vec!["upstream-unknown"]));
    }
}

#[test]
fn a_source_that_can_never_be_asked_does_not_keep_the_others_from_being_followed() {
    let (first, seen) = moved("", "a-");
    assert_eq!((built(&first), seen), (vec!["x-git"], at("a-")));
    let (again, seen) = moved("a-", "a-");
    assert_eq!((built(&again), seen, decision(&again, "x-git").observation), (vec![], at("a-"), Heard::Unknown));
    let (other, seen) = moved("a-", "-b");
    assert_eq!((built(&other), seen), (vec!["x-git"], at("ab")), "it is seen at last");
    let (more, seen) = moved("ab", "a-c");
    assert_eq!((built(&more), seen), (vec!["x-git"], at("a-c")), "nobody can tell which source is new");
}
