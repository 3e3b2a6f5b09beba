//! The queues of the time before the bus.

use std::collections::BTreeMap;

use pkgwarden::domain::build::Outcome;
use pkgwarden::executor::Ending;
use pkgwarden::executor::chaotic::Era;
use serde_json::{Value, json};

use super::{World, commit, each_ends, kept, text, until, until_printed, until_removed};
use crate::executors::conformance::{HALF, Rig as _, conforms, end_at_once};

conforms!(World::new(Era::Queues).await);

/// What is put into `dispatch` for a build.
fn asked(attempt: &str) -> Value {
    let data = json!({
        "target_repo": "mine",
        "source_repo": "packages",
        "commit": commit(attempt).to_string(),
        "arch": "x86_64",
        "packages": [{"pkgbase": "small"}],
    });
    json!({"type": "add-job", "data": data})
}

/// A process of the controller, which can end between any two steps.
fn process() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// A job as it is in Redis, without when it was put there; what is JSON in it is read.
async fn job(world: &World, key: &str) -> BTreeMap<String, Value> {
    let hash: BTreeMap<String, String> = world.redis.ask(&["HGETALL", key]).await;
    let read = |text: String| serde_json::from_str(&text).unwrap_or(Value::String(text));
    hash.into_iter().filter(|(field, _)| field != "timestamp").map(|(field, text)| (field, read(text))).collect()
}

#[tokio::test]
async fn a_build_is_asked_for_as_the_managers_own_program_asked_and_leaves_no_more_in_redis() {
    let (ours, theirs) = (World::new(Era::Queues).await, World::new(Era::Queues).await);
    let (report, log) = ours.see("succeeds").await;
    assert_eq!(report.ending, Ending::Done(Outcome::Succeeded), "{report:?}\n{log}");
    theirs.build("1-1", "succeeds");
    let schedule = theirs.program().env("SCHEDULE", asked("1-1").to_string());
    assert!(schedule.run().await.unwrap().status.success());
    theirs.until_said(|said| said["begun"] != Value::Null).await;
    let over = |world: &World| world.leftovers().is_empty();
    until(|| over(&theirs) && over(&ours) && theirs.keys() == ours.keys()).await;
    assert_eq!(ours.asked("dispatch"), theirs.asked("dispatch"));
    let asked_for = &ours.asked("dispatch")[0];
    assert_eq!((&asked_for["name"], &asked_for["id"]), (&json!("add-job"), &json!("1")));
    assert_eq!(asked_for["data"], asked("1-1"));
    let begun = ours.said().into_iter().find_map(|said| said.get("job").cloned()).unwrap();
    assert_eq!(begun["id"], "mine/small");
}

#[tokio::test]
async fn what_is_put_into_redis_is_what_the_managers_own_library_puts_there() {
    let (ours, theirs) = (World::empty(Era::Queues).await, World::empty(Era::Queues).await);
    let (executor, _) = ours.executor();
    executor.submit(ours.build("1-1", "succeeds")).await.unwrap();
    let schedule = theirs.program().env("SCHEDULE", asked("1-1").to_string());
    assert!(schedule.run().await.unwrap().status.success());
    until(|| ours.keys().contains(&"bull:dispatch:NUMBER".to_owned())).await;
    let (one, other) = (job(&ours, "bull:dispatch:1").await, job(&theirs, "bull:dispatch:1").await);
    for field in ["name", "data", "delay", "priority"] {
        assert_eq!(one.get(field), other.get(field), "{field}: {one:?} {other:?}");
    }
    for removed in ["removeOnComplete", "removeOnFail"] {
        assert_eq!((&one["opts"][removed], &other["opts"][removed]), (&json!(true), &json!(true)), "{one:?}");
    }
    let queue = ["LRANGE", "bull:dispatch:wait", "0", "-1"];
    assert_eq!(ours.redis.ask::<Vec<String>>(&queue).await, theirs.redis.ask::<Vec<String>>(&queue).await);
    let keys = |world: &World| world.keys().into_iter().filter(|key| key.contains("dispatch")).collect::<Vec<_>>();
    assert_eq!(keys(&ours), keys(&theirs));
}

#[tokio::test]
async fn every_end_is_told_as_what_it_is() {
    let ends = [
        ("is-there", Ending::Done(Outcome::AlreadyBuilt)),
        ("skips", Ending::Done(Outcome::Skipped)),
        ("is-slow", Ending::Done(Outcome::TimedOut)),
        ("is-not-brought", Ending::Infrastructure),
        ("is-not-published", Ending::Infrastructure),
    ];
    each_ends(Era::Queues, &ends).await;
}

#[tokio::test]
async fn a_request_that_nobody_took_up_is_taken_back_when_the_build_is_cancelled() {
    let world = World::empty(Era::Queues).await;
    let (executor, _) = world.executor();
    let handle = executor.submit(world.build("1-1", "succeeds")).await.unwrap();
    until(|| world.keys().contains(&"bull:dispatch:NUMBER".to_owned())).await;
    executor.cancel(&handle).await.unwrap();
    let report = executor.finished(&handle).await.unwrap();
    assert_eq!(report.ending, Ending::Done(Outcome::Cancelled), "{report:?}");
    executor.discard(&handle).await.unwrap();
    assert_eq!(world.leftovers(), Vec::<String>::new());
}

#[tokio::test]
async fn a_request_that_nobody_took_up_is_not_made_again_by_a_controller_that_begins_anew() {
    let mut world = World::empty(Era::Queues).await;
    let (process, opening, order) = (process(), world.open(), world.build("1-1", "succeeds"));
    let submitting = process.spawn(async move { opening.await.0.submit(order).await.unwrap() });
    let handle = submitting.await.unwrap();
    until(|| world.keys().contains(&"bull:dispatch:NUMBER".to_owned())).await;
    end_at_once(process);
    let (executor, logs) = world.executor();
    executor.keep_only(["1-1".to_owned()].into()).await.unwrap();
    world.begin().await;
    let report = executor.finished(&handle).await.unwrap();
    assert_eq!(report.ending, Ending::Done(Outcome::Succeeded), "{report:?}\n{}", text(&logs, "1-1"));
    assert_eq!(world.asked("dispatch").len(), 1);
}

#[tokio::test]
async fn a_build_in_a_redis_that_was_emptied_is_lost_and_nobodys_fault() {
    let world = World::new(Era::Queues).await;
    let (executor, logs) = world.executor();
    let handle = executor.submit(world.build("1-1", "waits")).await.unwrap();
    until_printed(&logs, &handle, HALF).await;
    world.redis.ask::<String>(&["FLUSHALL"]).await;
    let report = executor.finished(&handle).await.unwrap();
    assert_eq!(report.ending, Ending::Infrastructure, "{report:?}\n{}", text(&logs, "1-1"));
}

#[tokio::test]
async fn a_build_that_somebody_else_replaces_is_cancelled() {
    let (report, log) = World::new(Era::Queues).await.see_replaced(&asked("2-1")).await;
    // Its container is killed, which is all that is told. The other one may be gone before anybody looks whose it is.
    let ends = [Ending::Done(Outcome::Cancelled), Ending::Done(Outcome::Failed), Ending::Infrastructure];
    assert!(ends.contains(&report.ending), "{report:?}\n{log}");
}

#[tokio::test]
async fn packages_that_left_are_removed_by_naming_those_that_stay() {
    let world = World::new(Era::Queues).await;
    let (executor, _) = world.executor();
    until_removed(&executor, &kept(&["a", "b+c"])).await;
    world.until_said(|said| said["queue"] == "database").await;
    let asked = &world.asked("database")[0];
    assert_eq!((&asked["name"], &asked["id"]), (&json!("auto-repo-remove"), &json!("mine/repo-remove/internal")));
    assert_eq!(asked["data"], json!({"arch": "x86_64", "repo": "mine", "pkgbases": ["a", "b+c"]}));
    assert_eq!(world.leftovers(), Vec::<String>::new());
}
