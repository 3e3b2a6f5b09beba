//! Workers, observers and producers that other people write with the npm package of `BullMQ`, beside a real controller.

use nix::sys::signal::Signal;
use pkgwarden::domain::build::BuildState;
use pkgwarden::store::builds::Build;
use serde_json::{Value, json};

use crate::support::fleet::Fleet;
use crate::support::{Change, Pkg};

fn is(builds: &[Build], name: &str, state: BuildState) -> bool {
    builds.iter().any(|it| it.pkgbase.as_str() == name && it.state == state)
}

/// What the observer sees of a job, in one line.
fn line(job: &Value) -> String {
    let text = |field: &str| job[field].as_str().unwrap_or_default().to_owned();
    assert_eq!(job["state"], job["is"], "{job}");
    format!("{} {} {} {}", text("state"), job["progress"], text("failedReason"), job["logs"])
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_worker_builds_with_the_real_makepkg_fails_and_stops() {
    let good = Pkg::new("good").config("CI_PKGBUILD_SOURCE=custom\nBUILDER_CLASS=1\n");
    let packages =
        [good.clone(), Pkg::new("bad").built_by("return 7"), Pkg::new("long").built_by("echo here; sleep 1000")];
    let fleet = Fleet::of(&packages, &[]).await;
    let worker = fleet.begin_foreign("builds,builds-class-1", 3).await;
    let is_so = |builds: &[Build]| {
        let ended = is(builds, "good", BuildState::Succeeded) && is(builds, "bad", BuildState::Failed);
        ended && is(builds, "long", BuildState::Running)
    };
    fleet.until("two of three ended", is_so).await;
    let seen = fleet.asks(&["look"]).await;
    assert_eq!(seen["counts"]["active"], 1, "{seen}");
    assert!(seen["jobs"]["long"]["logs"][0].as_str().unwrap().starts_with("makepkg runs on "), "{seen}");

    let cancelled = fleet.scene.pkgwarden(&["ctl", "cancel", "long"]).await;
    assert_eq!(cancelled.code, Some(0), "{}", cancelled.stderr);
    fleet.until("the end of the third", |builds| is(builds, "long", BuildState::Cancelled)).await;
    let log = async |name: &str| {
        let attempt = fleet.attempt(name).await;
        std::fs::read_to_string(fleet.scene.path(&format!("data/logs/{}.log", attempt.id))).unwrap()
    };
    let made = log("good").await;
    assert!(made.contains("==> Finished making: good 1.0-2") && made.ends_with("==> succeeded\n"), "{made}");
    let bad = log("bad").await;
    assert!(bad.ends_with("==> failed: makepkg ended with status 4\n"), "{bad}");
    let long = log("long").await;
    assert!(long.contains("here\n") && long.ends_with("==> cancelled: the build was cancelled\n"), "{long}");
    for package in ["good", "bad", "long"] {
        let build = fleet.builds().await.into_iter().find(|build| build.pkgbase.as_str() == package).unwrap();
        assert_eq!(build.attempts, 1, "{package}");
    }
    assert_eq!(fleet.published(), ["good-1.0-2-any.pkg.tar.zst"]);

    // Once more with changes of the monorepo before the build, and then at the same version.
    let files = [
        (".CI/prepare", "echo prepared >note\n"),
        (".CI/PKGBUILD.append", "build() { echo \"this is $(<../note)\"; }\n"),
    ];
    let mut changes = good.release("3").changes();
    changes.extend(files.map(|(path, text)| Change::put(&format!("good/{path}"), text)));
    fleet.scene.push("feat(good): three", &changes).await;
    let is_out = |file: &str| fleet.published().iter().any(|name| name == file);
    fleet.until("the third", |_| is_out("good-1.0-3-any.pkg.tar.zst")).await;
    assert!(log("good").await.contains("this is prepared"));
    let bumped = fleet.scene.pkgwarden(&["ctl", "bump", "good"]).await;
    assert_eq!(bumped.code, Some(0), "{}", bumped.stderr);
    fleet.until("the bump", |_| is_out("good-1.0-3.1-any.pkg.tar.zst")).await;
    worker.signal(Signal::SIGTERM);
    let (code, said) = worker.ended().await;
    assert_eq!(code, Some(0), "{said}");
    fleet.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_knows_bullmq_sees_every_job_in_every_state_and_what_they_do_counts() {
    let names = ["one", "two", "three", "four", "five"];
    let mut fleet = Fleet::of(&names.map(Pkg::new), &[]).await;
    let idle = fleet.begin_idle().await;
    fleet.until("jobs", |builds| builds.iter().all(|build| build.state == BuildState::Dispatched)).await;
    while fleet.redis.ask::<usize>(&["LLEN", "bull:builds:wait"]).await < names.len() {
        tokio::task::yield_now().await;
    }
    // So that what has ended is not taken away before it is seen.
    fleet.serve.as_ref().unwrap().signal(Signal::SIGSTOP);
    let waiting = fleet.asks(&["look"]).await;
    assert_eq!(waiting["counts"]["waiting"], 5, "{waiting}");
    let urgent = waiting["jobs"].as_object().unwrap().keys().next().unwrap().clone();
    fleet.asks(&["urge", &urgent]).await;
    let thrown = r#"{"status":"failed","kind":"package","exit_code":4,"message":"no"}"#;
    let carried = fleet.asks(&["carry", r#"{"status":"already_built"}"#, thrown]).await;
    let seen = fleet.asks(&["look"]).await;
    assert_eq!(
        seen["counts"],
        json!({"waiting": 1, "prioritized": 1, "active": 1, "completed": 1, "failed": 1}),
        "{seen}"
    );
    let job = |name: &Value| &seen["jobs"][name.as_str().unwrap()];
    assert_eq!(line(job(&json!(urgent))), "prioritized 0  []");
    assert_eq!(line(job(&carried["good"])), "completed 0  []");
    assert_eq!(job(&carried["good"])["returnvalue"], json!({"status": "already_built"}));
    assert_eq!(line(job(&carried["bad"])), format!("failed 0 {thrown} []"));
    assert_eq!(line(job(&carried["left"])), r#"active 50  ["half of it"]"#);
    for job in seen["jobs"].as_object().unwrap().values() {
        assert_eq!(job["name"], "build");
        assert!(job["id"].as_str().unwrap().starts_with("packages/x86_64/"), "{job}");
    }

    fleet.serve.as_ref().unwrap().signal(Signal::SIGCONT);
    fleet.begin("real", &["--slots", "2"]);
    let over = |builds: &[Build]| {
        let state = |name: &Value, state| is(builds, name.as_str().unwrap(), state);
        let left = builds.iter().filter(|build| build.state == BuildState::Succeeded).count();
        state(&carried["good"], BuildState::AlreadyBuilt) && state(&carried["bad"], BuildState::Failed) && left == 3
    };
    fleet.until("the end of all", over).await;
    assert_eq!(fleet.published().len(), 3);
    let seen = fleet.asks(&["look"]).await;
    let ours = |worker: &Value| worker.as_str().unwrap().ends_with(":w:real");
    assert!(seen["workers"].as_array().unwrap().iter().any(ours), "{seen}");
    idle.signal(Signal::SIGKILL);
    idle.ended().await;
    fleet.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_nobody_ordered_are_refused_and_harm_nothing() {
    let mut fleet = Fleet::of(&[Pkg::new("good")], &[]).await;
    let idle = fleet.begin_idle().await;
    while fleet.redis.ask::<usize>(&["LLEN", "bull:builds:wait"]).await == 0 {
        tokio::task::yield_now().await;
    }
    let added = fleet.asks(&["add"]).await;
    assert_eq!(added, json!({"ordered": "good", "again": true}));
    fleet.begin("real", &[]);
    fleet.until("what was ordered", |builds| is(builds, "good", BuildState::Succeeded)).await;
    while fleet.redis.ask::<usize>(&["ZCARD", "bull:builds:failed"]).await < 2 {
        tokio::task::yield_now().await;
    }
    let seen = fleet.asks(&["look"]).await;
    let reasons: Vec<Value> =
        seen["jobs"].as_object().unwrap().values().map(|job| job["failedReason"].clone()).collect();
    let reasons: Vec<Value> =
        reasons.iter().map(|text| serde_json::from_str(text.as_str().unwrap()).unwrap()).collect();
    let said = |text: &str| reasons.iter().any(|reason| reason["message"].as_str().unwrap().contains(text));
    assert!(said("this is no build document") && said("this is not the token of this attempt"), "{reasons:#?}");
    assert!(reasons.iter().all(|reason| reason["kind"] == "infrastructure"), "{reasons:#?}");
    assert_eq!(fleet.scene.builds().await, "good changed succeeded\n");
    assert_eq!(fleet.published(), ["good-1.0-2-any.pkg.tar.zst"]);
    idle.signal(Signal::SIGKILL);
    idle.ended().await;
    fleet.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_makepkg_that_a_signal_ended_is_no_fault_of_the_package() {
    let fleet = Fleet::of(&[Pkg::new("killed").built_by("kill -9 $$")], &[]).await;
    let _worker = fleet.begin_foreign("builds", 1).await;
    let is_told = |builds: &[Build]| builds[0].message.as_ref().is_some_and(|message| message.contains("ended"));
    let builds = fleet.until("its end", is_told).await;
    assert_ne!(builds[0].state, BuildState::Failed, "{builds:?}");
    assert!(builds[0].message.as_ref().unwrap().contains("makepkg was ended by SIGKILL"), "{builds:?}");
    fleet.end().await;
}
