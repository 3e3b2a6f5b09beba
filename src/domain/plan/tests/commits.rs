//! What people commit and ask for.

use super::*;

#[test]
fn a_changed_folder_is_built_and_scheduled_moves() {
    let story = Story::new().package("a", "1.0-1", &[]).package("b", "1.0-1", &[]).committed("fix(a): x").changed("a");
    let plan = story.plan(&Pipeline::OnCommit);
    assert_eq!(built(&plan), ["a"]);
    assert_eq!(plan.scheduled, Scheduled::Tip);
    assert!(plan.commit.is_none() && plan.states.is_empty());
}

#[test]
fn every_directive_of_every_commit_counts() {
    let story = Story::new().package("a", "1.0-1", &[]).package("b", "1.0-1", &[]).package("c", "1.0-1", &[]);
    let story = story.committed("x [deploy a] [deploy b/9]").committed("y\n\n[deploy c]");
    let plan = story.plan(&Pipeline::OnCommit);
    assert_eq!(built(&plan), ["a", "b", "c"]);
    assert_eq!(plan.builds[1].class, Some(crate::domain::policy::BuildClass("9".into())));
}

#[test]
fn what_somebody_names_is_more_urgent_than_everything_that_somebody_asks_for() {
    use crate::domain::schedule::Lane;
    let story = || Story::new().package("a", "1.0-1", &[]).package("b", "1.0-1", &[]).package("c", "1.0-1", &[]);
    let lanes = |plan: &Plan| plan.builds.iter().map(|build| build.lane).collect::<Vec<_>>();
    let plan = story().committed("x [deploy a]").changed("b").plan(&Pipeline::OnCommit);
    assert_eq!(lanes(&plan), [Lane::Deploy, Lane::Normal]);
    let plan = story().committed("x [deploy all]").changed("b").plan(&Pipeline::OnCommit);
    assert_eq!(lanes(&plan), [Lane::Mass, Lane::Normal, Lane::Mass], "a change of its own is no mass rebuild");
    let targets = |names: &[&str]| names.iter().map(|name| Target::parse(name).expect("a target")).collect();
    let plan = story().plan(&Pipeline::Deploy(targets(&["all", "c"])));
    assert_eq!(lanes(&plan), [Lane::Mass, Lane::Mass, Lane::Deploy]);
}

#[test]
fn the_class_that_is_asked_for_wins_over_that_of_the_package_and_that_over_the_default() {
    use crate::domain::policy::BuildClass;
    let class = |text: &str| Some(BuildClass(text.to_owned()));
    let mut story = Story::new().package("a", "1.0-1", &[]).package("b", "1.0-1", &[]).package("c", "1.0-1", &[]);
    story.snapshot.settings.default_class = class("3");
    let story = story.configured("a", |package| package.settings.class = class("5"));
    let story = story.configured("b", |package| package.settings.class = class("5"));
    let targets = ["a/heavy", "b", "c"].map(|name| Target::parse(name).expect("a target"));
    let plan = story.plan(&Pipeline::Deploy(targets.to_vec()));
    assert_eq!(
        plan.builds.iter().map(|build| build.class.clone()).collect::<Vec<_>>(),
        [class("heavy"), class("5"), class("3")]
    );
}

#[test]
fn an_unknown_directive_is_reported_and_stops_nothing() {
    let story = Story::new()
        .package("firefox", "1.0-1", &[])
        .package("b", "1.0-1", &[])
        .committed("[deploy firefx]")
        .changed("b");
    let plan = story.plan(&Pipeline::OnCommit);
    assert_eq!(built(&plan), ["b"]);
    assert_eq!(codes(&plan), ["unknown-directive"]);
    assert!(plan.problems[0].hint.contains("firefox"), "{}", plan.problems[0].hint);
    assert_eq!(plan.scheduled, Scheduled::Tip);
}

#[test]
fn the_policy_stop_holds_everything_until_the_directive_is_mended() {
    let mut story = Story::new().package("a", "1.0-1", &[]).committed("[deploy nope]").changed("a");
    story.policy.unknown_directive = UnknownDirective::Stop;
    let plan = story.plan(&Pipeline::OnCommit);
    assert!(plan.is_empty(&story.snapshot) && plan.needs_a_person());
}

#[test]
fn a_skip_keeps_a_changed_folder_from_being_built() {
    let story = Story::new()
        .package("a", "1.0-1", &[])
        .package("b", "1.0-1", &[])
        .committed("[skip a]")
        .changed("a")
        .changed("b");
    let plan = story.plan(&Pipeline::OnCommit);
    assert_eq!(built(&plan), ["b"]);
    assert_eq!(decision(&plan, "a").action, Action::Skip);
    assert_eq!(plan.scheduled, Scheduled::Tip);
}

#[test]
fn a_folder_that_must_not_be_handed_out_is_a_problem_and_no_build() {
    let mut story = Story::new().package("a", "1.0-1", &[]).package("b", "1.0-1", &[]).committed("x").changed("a");
    let problem = Finding::error("folder-unusable", "`l` is a link out of the folder").with_package(&name("a"));
    story.observations.unbuildable.insert(name("a"), problem);
    for pipeline in [
        Pipeline::OnCommit,
        Pipeline::Deploy(vec![Target::parse("a").expect("no class, or a right one")]),
        Pipeline::Bump(vec![Target::parse("a").expect("no class, or a right one")]),
        Pipeline::Trigger("daily".into()),
    ] {
        story = story.configured("a", |package| package.settings.trigger = Some("daily".into()));
        let plan = story.plan(&pipeline);
        assert_eq!((built(&plan), codes(&plan)), (vec![], vec!["folder-unusable"]), "{pipeline:?}");
        assert_eq!(decision(&plan, "a").action, Action::Skip, "{pipeline:?}");
        assert!(plan.commit.is_none(), "{pipeline:?}");
    }
}

#[test]
fn builds_come_after_what_they_need() {
    let story = Story::new()
        .package("app", "1.0-1", &["lib"])
        .package("lib", "1.0-1", &[])
        .committed("x")
        .changed("app")
        .changed("lib");
    let plan = story.plan(&Pipeline::OnCommit);
    assert_eq!(built(&plan), ["lib", "app"]);
    assert_eq!(plan.builds[1].after, [name("lib")]);
}

#[test]
fn commits_of_people_are_handed_out_by_a_scheduled_run_too() {
    let story = Story::new().package("a", "1.0-1", &[]).package("b", "1.0-1", &[]);
    let story = story.committed("fix(a): x").changed("a").source_has("b", files("b", "1.1-1", &[]));
    let plan = story.plan(&Pipeline::OnSchedule);
    assert_eq!(built(&plan), ["a", "b"]);
    assert_eq!(plan.scheduled, Scheduled::Tip);
}

#[test]
fn a_missing_tag_and_a_rewritten_branch_are_said() {
    let mut story = Story::new().package("a", "1.0-1", &[]).committed("x").changed("a");
    story.since.base = RangeBase::LastCommit;
    assert_eq!(codes(&story.plan(&Pipeline::OnCommit)), ["scheduled-missing"]);
    story.since.base = RangeBase::Rewritten(oid('9'));
    let plan = story.plan(&Pipeline::OnCommit);
    assert_eq!(codes(&plan), ["scheduled-not-ancestor"]);
    assert_eq!(built(&plan), ["a"]);
}

#[test]
fn an_empty_repository_plans_nothing() {
    let mut story = Story::new();
    story.snapshot.main = None;
    story.snapshot.refs = Refs { branch: "main".into(), ..Refs::default() };
    story.since = Since { base: RangeBase::Empty, commits: Vec::new(), changes: Changes::default(), head: None };
    let plan = story.plan(&Pipeline::OnSchedule);
    assert!(plan.is_empty(&story.snapshot));
    assert_eq!(codes(&plan), ["repository-empty"]);
}

#[test]
fn a_push_that_deletes_everything_unpublishes_nothing() {
    let removed = |mut story: Story| {
        story.since.changes.removed.extend([name("gone"), name("lost")]);
        let plan = story.plan(&Pipeline::OnCommit);
        (plan.remove.len(), codes(&plan).join(","))
    };
    assert_eq!(removed(Story::new().package("a", "1.0-1", &[])), (2, String::new()));
    assert_eq!(removed(Story::new()), (0, "monorepo-emptied".to_owned()));
}

#[test]
fn a_deploy_of_an_unknown_name_builds_the_others() {
    let story = Story::new().package("a", "1.0-1", &[]);
    let plan = story.plan(&Pipeline::Deploy(vec![
        Target::parse("a/7").expect("no class, or a right one"),
        Target::parse("bb").expect("no class, or a right one"),
    ]));
    assert_eq!(built(&plan), ["a"]);
    assert_eq!(codes(&plan), ["unknown-package"]);
    assert_eq!(plan.scheduled, Scheduled::Stays);
}

#[test]
fn the_document_names_every_ref_that_moves() {
    let story = Story::new().package("a", "1.0-1", &[]).source_has("a", files("a", "1.1-1", &[]));
    let document = story.plan(&Pipeline::OnSchedule).document(&story.snapshot);
    let names: Vec<_> = document.refs.iter().map(|change| (change.name.as_str(), change.change)).collect();
    assert_eq!(
        names,
        [("refs/heads/main", "update"), ("refs/heads/state", "update"), ("refs/tags/scheduled", "update")]
    );
    let json = serde_json::to_value(&document).expect("serialisable");
    for key in [
        "repository",
        "pipeline",
        "now",
        "base",
        "packages",
        "refs",
        "builds",
        "remove",
        "reviews",
        "aur_push",
        "problems",
    ] {
        assert!(json.get(key).is_some(), "{key}");
    }
}
