//! What packages are built from.

use super::*;
use crate::domain::desired::Interfere;
use crate::domain::observed::Opinion;
use crate::domain::revision::{Revision, Seen};

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

/// What a schedule makes of a package with a `.CI/changed.sh` that said this. Its sources stand at `c`, and stood at
/// `a` when the script, which saw `then`, last had it built.
fn judged(opinion: Option<Opinion>) -> (Plan, PackageState) {
    let mut story = Story::new()
        .package("x-git", "1.0-1", &[])
        .configured("x-git", |package| package.interfere.push(Interfere::Changed));
    let state = story.snapshot.states.get_mut("x-git").expect("there");
    state.set_upstream(&at("a"));
    state.set_seen(Some(&seen("then")));
    story.observations.upstream.insert(name("x-git"), Upstream::At(vec![oid('c').into()]));
    story.observations.opinions.extend(opinion.map(|opinion| (name("x-git"), opinion)));
    let plan = story.plan(&Pipeline::OnSchedule);
    let state = story.after(&plan).snapshot.states.remove("x-git").expect("there");
    (plan, state)
}

fn seen(word: &str) -> Seen {
    Seen::new(word).expect("a word")
}

#[test]
fn a_script_that_says_build_has_it_built_and_what_it_saw_is_recorded_with_where_upstream_stands() {
    let (plan, state) = judged(Some(Opinion::Build { seen: Some(seen("now")) }));
    assert_eq!((built(&plan), state.upstream(), state.seen()), (vec!["x-git"], at("c"), Some(seen("now"))));
    let watched = &plan.watched[&name("x-git")];
    assert_eq!((watched.by, &watched.before, &watched.after), (Judge::Script, &at("a"), &at("c")));
    assert_eq!((&watched.seen_before, &watched.seen_after), (&Some(seen("then")), &Some(seen("now"))));
    let (plan, state) = judged(Some(Opinion::Build { seen: None }));
    assert_eq!((built(&plan), state.seen()), (vec!["x-git"], None), "it remembers nothing, and is asked again");
}

#[test]
fn a_script_that_says_no_wins_over_upstream_commits_and_nothing_is_recorded() {
    let (plan, state) = judged(Some(Opinion::Unchanged));
    assert_eq!((built(&plan), plan.states.len(), state.upstream()), (vec![], 0, at("a")));
    let told = decision(&plan, "x-git");
    assert_eq!((told.observation, told.why.as_str()), (Heard::Current, "its .CI/changed.sh says that nothing has changed"));
}

#[test]
fn a_script_that_fails_is_a_problem_and_builds_nothing() {
    let (plan, state) = judged(Some(Opinion::None { error: "ended with status 3".into() }));
    assert_eq!((built(&plan), codes(&plan), state.upstream()), (vec![], vec!["changed-script-failed"], at("a")));
    assert_eq!(decision(&plan, "x-git").observation, Heard::Unknown);
    let (plan, _) = judged(None);
    assert!(built(&plan).is_empty() && codes(&plan).is_empty(), "of what is held nobody asks, and upstream decides nothing");
}

#[test]
fn a_build_says_where_its_upstream_stood_and_stands() {
    let (plan, _) = moved("ab", "c-");
    let document = serde_json::to_value(plan.document(&Story::new().snapshot)).expect("it is JSON");
    let watched = &document["builds"][0]["watched"];
    let ids = |places: &str| serde_json::to_value(at(places)).expect("it is JSON");
    assert_eq!((&watched["by"], &watched["before"], &watched["after"]), (&"revisions".into(), &ids("ab"), &ids("cb")));
}
