//! Our side: the record in a file, as `serve` has it, and the scheduler.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use pkgwarden::domain::build::{BuildRequest, Outcome, Wave};
use pkgwarden::domain::name::{Oid, PkgBase};
use pkgwarden::domain::policy::Overlap;
use pkgwarden::domain::schedule::{Limits, Situation, Turns, choose};
use pkgwarden::store::Store;
use pkgwarden::store::attempts::{AttemptEnd, AttemptEnding};
use pkgwarden::store::builds::Build;
use pkgwarden::store::intents::NewIntent;

use crate::Pass;

/// So many builds are timed together.
pub const SLICE: usize = 10_000;

/// A whole pass, and how long each slice of it took.
pub async fn pass(builds: &[BuildRequest]) -> (Pass, Vec<Duration>) {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Store::open(&dir.path().join("record.sqlite")).expect("a record");
    let begun = Instant::now();
    add(&store, builds).await;
    let add = begun.elapsed();
    let (begun, mut order, mut slices, mut turns) = (Instant::now(), Vec::new(), Vec::new(), Turns::default());
    let mut slice = Instant::now();
    while let Some(build) = next(&store, &mut turns).await {
        carry_out(&store, &build).await;
        order.push(build.pkgbase);
        if order.len().is_multiple_of(SLICE) {
            slices.push(slice.elapsed());
            slice = Instant::now();
        }
    }
    let work = begun.elapsed();
    check(builds, &order);
    (Pass { add, work }, slices)
}

/// As a run does it: an intent, and its settlement.
async fn add(store: &Store, builds: &[BuildRequest]) {
    let now = Timestamp::now();
    let run_id = store.begin_run("repo", "on-commit", "bench", now).await.expect("written");
    let wave = Wave {
        repository: "repo".to_owned(),
        commit: Oid::from_bytes([1; 20]),
        builds: builds.to_vec(),
        remove: Vec::new(),
        stop: Vec::new(),
        told: None,
        pipeline: None,
    };
    let intent = NewIntent { run_id, repository: "repo".to_owned(), refs: Vec::new(), wave, outbox: Vec::new() };
    let intent = store.record_intent(intent, now).await.expect("written");
    let settled = store.settle_intent(intent, Overlap::Coalesce, now).await.expect("written");
    assert_eq!(settled.enqueued.len(), builds.len());
}

/// As the dispatcher does it with one free slot.
async fn next(store: &Store, turns: &mut Turns) -> Option<Build> {
    let heads = store.heads(Timestamp::now(), 1).await.expect("readable");
    let limits = Limits::default();
    let situation = Situation { heads: &heads, running: &[], free: 1, builders: None, limits: &limits };
    let chosen = *choose(&situation, turns).first()?;
    store.keep_turns(turns).await.expect("written");
    Some(store.build(chosen).await.expect("readable").expect("it is there").build)
}

/// Everything that is written of a build that succeeds.
async fn carry_out(store: &Store, build: &Build) {
    let attempt = store.begin_attempt(build.id, "bench", Timestamp::now()).await.expect("written");
    store.set_handle(&attempt, &serde_json::json!({"attempt": attempt})).await.expect("written");
    store.attempt_started(&attempt, Timestamp::now()).await.expect("written");
    let ending = AttemptEnding::Done(Outcome::Succeeded);
    let end = AttemptEnd { ending, exit_code: Some(0), message: String::new(), log_length: 0 };
    store.finish_attempt(&attempt, end, Timestamp::now()).await.expect("written");
}

fn check(builds: &[BuildRequest], order: &[PkgBase]) {
    let after: HashMap<&PkgBase, &[PkgBase]> =
        builds.iter().map(|build| (&build.pkgbase, build.after.as_slice())).collect();
    let mut done = HashSet::new();
    for build in order {
        assert!(after[build].iter().all(|needed| done.contains(needed)), "{build} went before what it comes after");
        assert!(done.insert(build), "{build} went twice");
    }
    assert_eq!(done.len(), builds.len(), "some were never handed out");
}
