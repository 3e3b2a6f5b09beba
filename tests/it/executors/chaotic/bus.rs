//! The coordinator on Moleculer's bus.

use std::time::Duration;

use pkgwarden::domain::build::Outcome;
use pkgwarden::domain::name::PkgBase;
use pkgwarden::domain::policy::BuildClass;
use pkgwarden::domain::schedule::BuilderInfo;
use pkgwarden::executor::chaotic::Era;
use pkgwarden::executor::{BuildOrder, Ending, ExecutorError};
use pkgwarden::logstore::LogStore;
use serde_json::json;

use super::{World, commit, each_ends, kept, open, pacing, text, until, until_printed, until_removed};
use crate::executors::conformance::{HALF, Rig as _, WHOLE, conforms};
use crate::support::full_disk::{Disk, on_a_disk_of_its_own};

conforms!(World::new(Era::Bus).await);

/// What a manager is asked for a build without a class.
fn asked(attempt: &str) -> serde_json::Value {
    json!({
        "arch": "x86_64",
        "commit": commit(attempt).to_string(),
        "packages": [{"pkgbase": "small", "build_class": null}],
        "source_repo": "packages",
        "target_repo": "mine",
        "arch_mirror": "https://mirror.example/$repo/os/$arch",
    })
}

#[tokio::test]
async fn a_build_is_asked_for_as_the_managers_own_program_asks_and_leaves_no_more_in_redis() {
    let (ours, theirs) = (World::new(Era::Bus).await, World::new(Era::Bus).await);
    let (report, log) = ours.see("succeeds").await;
    assert_eq!(report.ending, Ending::Done(Outcome::Succeeded), "{report:?}\n{log}");
    theirs.build("1-1", "succeeds");
    let schedule = theirs.program().env("SCHEDULE", asked("1-1").to_string());
    assert!(schedule.run().await.unwrap().status.success());
    let over = |world: &World| world.leftovers().is_empty();
    until(|| over(&theirs) && theirs.keys().len() == 3).await;
    assert!(over(&ours));
    assert_eq!(ours.keys(), theirs.keys());
    assert_eq!(ours.asked("coordinator.addJobsToQueue"), theirs.asked("coordinator.addJobsToQueue"));
    assert_eq!(ours.asked("coordinator.addJobsToQueue")[0]["params"], asked("1-1"));
}

#[tokio::test]
async fn a_class_is_a_number_or_the_name_of_a_builder_and_no_mirror_is_none() {
    let world = World::new(Era::Bus).await;
    let (executor, _) = world.executor();
    for (attempt, class) in [("1-1", "2"), ("1-2", "rook")] {
        let order = world.build(attempt, "succeeds");
        let route = pkgwarden::domain::chaotic::Route { mirror: None, ..order.route.clone() };
        let order = BuildOrder { class: Some(BuildClass(class.to_owned())), route, ..order };
        executor.submit(order).await.unwrap();
        let is_asked = commit(attempt).to_string();
        world.until_said(|said| said["params"]["commit"] == is_asked.as_str()).await;
    }
    let params = world.asked("coordinator.addJobsToQueue");
    let classes: Vec<_> = params.iter().map(|said| said["params"]["packages"][0]["build_class"].clone()).collect();
    assert_eq!(classes, [json!(2), json!("rook")]);
    assert!(params.iter().all(|said| said["params"].get("arch_mirror").is_none()), "{params:?}");
}

#[tokio::test]
async fn every_end_is_told_as_what_it_is() {
    let ends = [
        ("is-there", Ending::Done(Outcome::AlreadyBuilt)),
        ("skips", Ending::Done(Outcome::Skipped)),
        ("is-slow", Ending::Done(Outcome::TimedOut)),
        ("explodes", Ending::Infrastructure),
        ("is-not-brought", Ending::Infrastructure),
    ];
    each_ends(Era::Bus, &ends).await;
}

#[tokio::test]
async fn an_end_that_nobody_told_of_is_read_from_the_log() {
    for (story, outcome) in [("succeeds", Outcome::Succeeded), ("fails", Outcome::Failed), ("skips", Outcome::Skipped)]
    {
        let world = World::new(Era::Bus).await;
        world.tell("fault-event", "");
        let (report, log) = world.see(story).await;
        assert_eq!(report.ending, Ending::Done(outcome), "{story}: {report:?}\n{log}");
    }
}

#[tokio::test]
async fn an_end_that_is_told_after_the_last_line_of_the_log_is_what_was_told() {
    let world = World::new(Era::Bus).await;
    world.tell("fault-late", "");
    let (report, log) = world.see("explodes").await;
    assert_eq!(report.ending, Ending::Infrastructure, "{report:?}\n{log}");
}

#[tokio::test]
async fn a_request_without_an_answer_is_not_made_twice_if_it_was_heard() {
    let world = World::new(Era::Bus).await;
    world.tell("fault-silent-addJobsToQueue", "");
    let (report, log) = world.see("succeeds").await;
    assert_eq!(report.ending, Ending::Done(Outcome::Succeeded), "{report:?}\n{log}");
    assert_eq!(world.asked("coordinator.addJobsToQueue").len(), 1);
}

#[tokio::test]
async fn a_request_that_nobody_heard_is_made_again() {
    let world = World::new(Era::Bus).await;
    world.tell("fault-deaf-addJobsToQueue", "");
    let (executor, logs) = world.executor();
    let handle = executor.submit(world.build("1-1", "succeeds")).await.unwrap();
    until(|| world.asked("coordinator.addJobsToQueue").len() == 1).await;
    world.forget("fault-deaf-addJobsToQueue");
    let report = executor.finished(&handle).await.unwrap();
    assert_eq!(report.ending, Ending::Done(Outcome::Succeeded), "{report:?}\n{}", text(&logs, "1-1"));
    assert_eq!(world.asked("coordinator.addJobsToQueue").len(), 2);
}

#[tokio::test]
async fn a_manager_that_answers_with_an_error_is_at_fault() {
    let world = World::new(Era::Bus).await;
    world.tell("fault-error-addJobsToQueue", "");
    let (report, _) = world.see("succeeds").await;
    assert_eq!(report.ending, Ending::Infrastructure);
    assert!(report.message.contains("something is wrong"), "{report:?}");
}

#[tokio::test]
async fn a_manager_that_comes_later_is_waited_for_and_its_builders_are_known() {
    let mut world = World::empty(Era::Bus).await;
    let (executor, logs) = world.executor();
    assert_eq!(executor.builders(), Some(Vec::new()));
    let handle = executor.submit(world.build("1-1", "succeeds")).await.unwrap();
    until(|| matches!(executor.ready(), Err(ExecutorError::Away(_)))).await;
    world.begin().await;
    let report = executor.finished(&handle).await.unwrap();
    assert_eq!(report.ending, Ending::Done(Outcome::Succeeded), "{report:?}\n{}", text(&logs, "1-1"));
    executor.ready().unwrap();
    let rook = BuilderInfo { name: "rook".to_owned(), class: Some(5), slots: 1, ..BuilderInfo::default() };
    assert_eq!(executor.builders(), Some(vec![rook]));
}

#[tokio::test]
async fn a_manager_of_the_version_before_is_spoken_to_as_it_speaks() {
    let mut world = World::empty(Era::Bus).await;
    world.moleculer = "old-moleculer";
    world.begin().await;
    let (report, log) = world.see("succeeds").await;
    assert_eq!(report.ending, Ending::Done(Outcome::Succeeded), "{report:?}\n{log}");
    assert_eq!(world.leftovers(), Vec::<String>::new());
}

#[tokio::test]
async fn a_manager_that_begins_anew_goes_on_with_what_it_saved() {
    let mut world = World::new(Era::Bus).await;
    let (executor, logs) = world.executor();
    let handle = executor.submit(world.build("1-1", "waits")).await.unwrap();
    until_printed(&logs, &handle, HALF).await;
    world.kill().await;
    world.begin().await;
    until(|| text(&logs, "1-1").matches(HALF).count() == 2).await;
    world.let_go("1-1").await;
    let report = executor.finished(&handle).await.unwrap();
    let log = text(&logs, "1-1");
    assert_eq!(report.ending, Ending::Done(Outcome::Succeeded), "{report:?}\n{log}");
    assert!(log.contains("==> Chaotic Manager began anew") && log.matches(WHOLE).count() == 1, "{log}");
    assert_eq!(world.asked("coordinator.addJobsToQueue").len(), 1, "it kept what it was asked for");
}

#[tokio::test]
async fn a_redis_that_is_restarted_is_found_again() {
    let mut world = World::new(Era::Bus).await;
    let (executor, logs) = world.executor();
    let handle = executor.submit(world.build("1-1", "waits")).await.unwrap();
    until_printed(&logs, &handle, HALF).await;
    world.redis.kill().await;
    world.redis.begin().await;
    // Both nodes of the manager, and ours.
    while world.redis.ask::<Vec<String>>(&["PUBSUB", "CHANNELS", "MOL.REQ.*"]).await.len() < 3 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    world.let_go("1-1").await;
    let report = executor.finished(&handle).await.unwrap();
    let log = text(&logs, "1-1");
    assert_eq!(report.ending, Ending::Done(Outcome::Succeeded), "{report:?}\n{log}");
    assert_eq!((log.matches(HALF).count(), log.matches(WHOLE).count()), (1, 1), "{log}");
}

#[tokio::test]
async fn a_build_that_somebody_else_replaces_is_cancelled() {
    let (report, log) = World::new(Era::Bus).await.see_replaced(&asked("2-1")).await;
    assert_eq!(report.ending, Ending::Done(Outcome::Cancelled), "{report:?}\n{log}");
    assert!(report.message.contains("in its place"), "{report:?}");
}

#[tokio::test]
async fn a_build_that_waits_at_the_manager_is_stopped_as_soon_as_it_begins() {
    let world = World::new(Era::Bus).await;
    let (executor, logs) = world.executor();
    let first = executor.submit(world.build("1-1", "waits")).await.unwrap();
    until_printed(&logs, &first, HALF).await;
    let order = BuildOrder { pkgbase: PkgBase::new("other").unwrap(), ..world.build("1-2", "waits") };
    let second = executor.submit(order).await.unwrap();
    until_printed(&logs, &second, "Waiting for builder").await;
    executor.cancel(&second).await.unwrap();
    world.let_go("1-1").await;
    let report = executor.finished(&second).await.unwrap();
    assert_eq!(report.ending, Ending::Done(Outcome::Cancelled), "{report:?}\n{}", text(&logs, "1-2"));
    let first = executor.finished(&first).await.unwrap();
    assert_eq!(first.ending, Ending::Done(Outcome::Succeeded), "only the one was stopped: {first:?}");
}

#[tokio::test]
async fn a_build_that_prints_without_end_is_stopped_and_fails() {
    let world = World::new(Era::Bus).await;
    let (executor, logs) = open(&world, LogStore::with_limit(world.path("logs"), 100_000).unwrap());
    let handle = executor.submit(world.build("1-1", "floods")).await.unwrap();
    let report = executor.finished(&handle).await.unwrap();
    assert_eq!(report.ending, Ending::Done(Outcome::Failed), "{report:?}");
    assert!(report.message.contains("more than a log may hold"), "{report:?}");
    assert!(logs.position("1-1").unwrap().len < 101_000);
    executor.discard(&handle).await.unwrap();
    assert_eq!(world.leftovers(), Vec::<String>::new());
}

#[tokio::test]
async fn packages_that_left_are_removed_by_naming_those_that_stay() {
    let world = World::new(Era::Bus).await;
    let (executor, _) = world.executor();
    until_removed(&executor, &kept(&["a", "b+c"])).await;
    let asked = world.asked("coordinator.autoRepoRemove");
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0]["params"], json!({"pkgbases": ["a", "b+c"], "arch": "x86_64", "repo": "mine"}));
}

#[tokio::test]
async fn a_removal_that_went_wrong_is_not_done_whatever_the_coordinator_answers() {
    let world = World::new(Era::Bus).await;
    world.tell("fault-removal", "");
    let (executor, _) = world.executor();
    while !world.said().iter().any(|said| said["removal"] == false) {
        assert!(!executor.keep_packages(kept(&["a"])).await.unwrap());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for _ in 0..50 {
        assert!(!executor.keep_packages(kept(&["a"])).await.unwrap());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(world.asked("coordinator.autoRepoRemove").len(), 1, "it is not asked again at once");
}

#[tokio::test]
async fn what_the_manager_would_pass_over_or_publish_unasked_is_refused() {
    let world = World::empty(Era::Bus).await;
    let (executor, _) = world.executor();
    let upper = BuildOrder { pkgbase: PkgBase::new("small@home").unwrap(), ..world.build("1-1", "succeeds") };
    let trial = BuildOrder { proposal: Some(7), ..world.build("1-2", "succeeds") };
    for order in [upper, trial] {
        let refused = executor.submit(order).await;
        assert!(matches!(refused, Err(ExecutorError::BadOrder { .. })), "{refused:?}");
    }
}

#[tokio::test]
async fn a_manager_that_refuses_to_tell_is_asked_on_while_it_builds() {
    let world = World::new(Era::Bus).await;
    let (executor, logs) = world.executor();
    let handle = executor.submit(world.build("1-1", "waits")).await.unwrap();
    until_printed(&logs, &handle, HALF).await;
    world.tell("fault-error-getQueue", "");
    world.until_said(|said| said["refused"] == "getQueue").await;
    world.forget("fault-error-getQueue");
    world.let_go("1-1").await;
    let report = executor.finished(&handle).await.unwrap();
    assert_eq!(report.ending, Ending::Done(Outcome::Succeeded), "{report:?}\n{}", text(&logs, "1-1"));
    assert_eq!(world.asked("coordinator.addJobsToQueue").len(), 1);
}

#[tokio::test]
async fn a_log_that_cannot_be_written_now_costs_no_build() {
    on_a_disk_of_its_own("executors::chaotic::bus::builds_without_room").await;
}

#[tokio::test]
#[ignore = "the process of `a_log_that_cannot_be_written_now_costs_no_build`"]
async fn builds_without_room() {
    let (disk, world) = (Disk::given(), World::new(Era::Bus).await);
    let (executor, logs) = open(&world, LogStore::new(disk.path("logs")).unwrap());
    let handle = executor.submit(world.build("1-1", "waits")).await.unwrap();
    until_printed(&logs, &handle, HALF).await;
    let full = disk.keep_full();
    let line = "more than there is room for ".repeat(10_000);
    let key = world.keys().into_iter().find(|key| key.starts_with("build-logs:") && key.ends_with("NUMBER")).unwrap();
    let number: String = world.redis.ask(&["GET", &key.replace("NUMBER", "default")]).await;
    world.redis.ask::<i64>(&["APPEND", &key.replace("NUMBER", &number), &line]).await;
    let ends = executor.finished(&handle);
    let ends = tokio::time::timeout(20 * pacing().look, ends).await;
    assert!(ends.is_err(), "it goes on, for the manager would publish it: {ends:?}");
    drop(full);
    world.let_go("1-1").await;
    let report = executor.finished(&handle).await.unwrap();
    assert_eq!(report.ending, Ending::Done(Outcome::Succeeded), "{report:?}");
    let log = text(&logs, "1-1");
    assert_eq!((log.matches(&line).count(), log.matches(WHOLE).count()), (1, 1));
}
