//! Attempts end once, and what their end means for the builds that follow.

use serde_json::json;

use super::super::builds::Cancelled;
use super::super::testing::{at, base, wave};
use super::*;
use crate::domain::policy::Overlap;

fn end(ending: AttemptEnding) -> AttemptEnd {
    AttemptEnd { ending, exit_code: Some(4), message: "said so".into(), log_length: 12 }
}

impl Store {
    pub(in crate::store) async fn start(&self, name: &str) -> String {
        let attempt = self.begin_attempt(self.newest(name).await, "local", at(1)).await.unwrap();
        self.attempt_started(&attempt, at(2)).await.unwrap();
        attempt
    }

    pub(in crate::store) async fn end(&self, attempt: &str, outcome: Outcome) -> Finished {
        self.finish_attempt(attempt, end(AttemptEnding::Done(outcome)), at(3)).await.unwrap()
    }

    async fn build_it(&self, name: &str, outcome: Outcome) -> Finished {
        let attempt = self.start(name).await;
        self.end(&attempt, outcome).await
    }
}

#[tokio::test]
async fn an_attempt_is_found_again_after_a_restart_and_ends_once() {
    let store = Store::in_memory().unwrap();
    store.give(wave(1, &["a"]), Overlap::Coalesce).await;
    let attempt = store.start("a").await;
    store.set_handle(&attempt, &json!({"pid": 7})).await.unwrap();
    let open = store.open_attempts().await.unwrap();
    assert_eq!((open[0].id.as_str(), open[0].handle.clone()), (attempt.as_str(), Some(json!({"pid": 7}))));
    assert_eq!(store.end(&attempt, Outcome::Failed).await.state, BuildState::Failed);
    assert_eq!(store.end(&attempt, Outcome::Succeeded).await.changes, []);
    let detail = store.build(open[0].build).await.unwrap().unwrap();
    assert_eq!(detail.build.state, BuildState::Failed);
    assert_eq!((detail.attempts[0].log_length, detail.attempts[0].exit_code), (Some(12), Some(4)));
    assert_eq!(detail.attempts[0].ending, Some(AttemptEnding::Done(Outcome::Failed)));
    assert_eq!(serde_json::to_value(detail.attempts[0].ending).unwrap(), json!("failed"));
    assert!(store.open_attempts().await.unwrap().is_empty());
}

/// Loses the build of `a` so, as soon as it may be tried. Returns after how many seconds it is tried again.
async fn loses(store: &Store, now: &mut Timestamp, ending: AttemptEnding) -> Option<i64> {
    let attempt = store.start("a").await;
    let finished = store.finish_attempt(&attempt, end(ending), *now).await.unwrap();
    let delay = finished.retry_at.map(|retry| retry.duration_since(*now).as_secs());
    *now = finished.retry_at.unwrap_or(*now);
    delay
}

#[tokio::test]
async fn what_is_interrupted_or_lost_with_all_others_has_all_its_tries_left() {
    let (store, mut now) = (Store::in_memory().unwrap(), at(10));
    store.give(wave(1, &["a"]), Overlap::Coalesce).await;
    for (ending, delay) in [
        (AttemptEnding::Interrupted, 0),
        (AttemptEnding::Interrupted, 0),
        (AttemptEnding::Outage, 300),
        (AttemptEnding::Infrastructure, 30),
        (AttemptEnding::Outage, 600),
        (AttemptEnding::Interrupted, 30),
        (AttemptEnding::Infrastructure, 120),
    ] {
        assert_eq!(loses(&store, &mut now, ending).await, Some(delay), "{ending:?}");
    }
    assert_eq!(loses(&store, &mut now, AttemptEnding::Infrastructure).await, None, "the third that counts");
    let build = store.build(store.newest("a").await).await.unwrap().unwrap();
    assert_eq!((build.build.state, build.build.attempts), (BuildState::Lost, 3));
    let words: Vec<_> = build.attempts.iter().filter_map(|attempt| attempt.ending).map(AttemptEnding::as_str).collect();
    assert_eq!((words.len(), words[0], words[2]), (8, "interrupted", "outage"), "all of them are on record");
}

#[tokio::test]
async fn a_build_that_is_underway_at_each_crash_is_given_up() {
    let (store, mut now) = (Store::in_memory().unwrap(), at(10));
    store.give(wave(1, &["a"]), Overlap::Coalesce).await;
    let mut crashes = 1;
    while loses(&store, &mut now, AttemptEnding::Interrupted).await.is_some() {
        crashes += 1;
    }
    assert_eq!((crashes, store.states(&["a"]).await), (10, vec!["lost"]));
}

#[tokio::test]
async fn an_infrastructure_failure_is_tried_again_later_and_the_third_is_the_last() {
    let store = Store::in_memory().unwrap();
    store.give(wave(1, &["a", "b:a"]), Overlap::Coalesce).await;
    let lost = end(AttemptEnding::Infrastructure);
    let mut now = at(10);
    for expected in [Some(30), Some(120)] {
        let attempt = store.start("a").await;
        let finished = store.finish_attempt(&attempt, lost.clone(), now).await.unwrap();
        let retry = finished.retry_at.unwrap();
        assert_eq!(Some(retry.duration_since(now).as_secs()), expected);
        assert!(store.ready_builds(now, 9).await.unwrap().is_empty());
        assert_eq!(store.next_retry(now).await.unwrap(), Some(retry));
        assert_eq!(store.ready_builds(retry, 9).await.unwrap().len(), 1);
        now = retry;
    }
    let attempt = store.start("a").await;
    assert_eq!(store.newest_builds("repo").await.unwrap()[&base("a")].last_attempt, Some(attempt.clone()));
    let finished = store.finish_attempt(&attempt, lost, now).await.unwrap();
    assert_eq!((finished.state, finished.retry_at), (BuildState::Lost, None));
    assert_eq!(store.states(&["a", "b"]).await, ["lost", "blocked"]);
    let changes = store.retry_build(finished.build, now).await.unwrap();
    assert_eq!(changes.len(), 3, "{changes:?}");
    assert_eq!(store.states(&["a", "b"]).await, ["ready", "waiting"]);
}

#[tokio::test]
async fn a_failure_blocks_all_that_follows_and_a_later_success_releases_it() {
    let store = Store::in_memory().unwrap();
    store.give(wave(1, &["a", "b:a", "c:b", "d"]), Overlap::Coalesce).await;
    assert_eq!(store.states(&["a", "b", "c", "d"]).await, ["ready", "waiting", "waiting", "ready"]);
    store.build_it("a", Outcome::Failed).await;
    assert_eq!(store.states(&["a", "b", "c", "d"]).await, ["failed", "blocked", "blocked", "ready"]);
    store.give(wave(2, &["a"]), Overlap::Coalesce).await;
    assert_eq!(store.states(&["a", "b", "c"]).await, ["ready", "waiting", "waiting"]);
    store.build_it("a", Outcome::TimedOut).await;
    assert_eq!(store.states(&["b", "c"]).await, ["blocked", "blocked"]);
    store.give(wave(3, &["a"]), Overlap::Coalesce).await;
    store.build_it("a", Outcome::Succeeded).await;
    assert_eq!(store.states(&["b", "c"]).await, ["ready", "waiting"]);
    store.build_it("b", Outcome::AlreadyBuilt).await;
    assert_eq!(store.states(&["c"]).await, ["ready"]);
}

#[tokio::test]
async fn the_replacement_of_a_dependency_counts() {
    let store = Store::in_memory().unwrap();
    store.give(wave(1, &["a", "b:a"]), Overlap::Coalesce).await;
    let old = store.newest("a").await;
    store.give(wave(2, &["a"]), Overlap::Coalesce).await;
    let superseded = store.build(old).await.unwrap().unwrap().build;
    assert_eq!((superseded.state, superseded.replaced_by), (BuildState::Superseded, Some(store.newest("a").await)));
    assert_eq!(store.states(&["b"]).await, ["waiting"]);
    store.build_it("a", Outcome::Succeeded).await;
    assert_eq!(store.states(&["b"]).await, ["ready"]);
}

#[tokio::test]
async fn coalesce_keeps_one_request_behind_the_running_build_for_the_newest_commit() {
    let store = Store::in_memory().unwrap();
    store.give(wave(1, &["a", "b:a"]), Overlap::Coalesce).await;
    let attempt = store.start("a").await;
    for number in 2..6 {
        store.give(wave(number, &["a"]), Overlap::Coalesce).await;
    }
    let line = store.queue(Some("repo")).await.unwrap();
    let commits: Vec<_> = line.iter().map(|queued| queued.build.commit.as_bytes()[0]).collect();
    assert_eq!(commits, [1, 1, 5]);
    assert!(store.ready_builds(at(9), 9).await.unwrap().is_empty());
    store.end(&attempt, Outcome::Failed).await;
    assert_eq!(store.states(&["a", "b"]).await, ["ready", "waiting"]);
    store.build_it("a", Outcome::Succeeded).await;
    assert_eq!(store.states(&["a", "b"]).await, ["succeeded", "ready"]);
}

#[tokio::test]
async fn queue_builds_each_request_in_turn() {
    let store = Store::in_memory().unwrap();
    store.give(wave(1, &["a"]), Overlap::Queue).await;
    let mut attempt = store.start("a").await;
    for number in 2..5 {
        store.give(wave(number, &["a"]), Overlap::Queue).await;
    }
    for number in 2..5 {
        store.end(&attempt, Outcome::Succeeded).await;
        let ready = store.ready_builds(at(9), 9).await.unwrap();
        assert_eq!(ready.iter().map(|build| build.commit.as_bytes()[0]).collect::<Vec<_>>(), [number]);
        attempt = store.begin_attempt(ready[0].id, "local", at(1)).await.unwrap();
    }
}

#[tokio::test]
async fn discard_records_what_it_drops() {
    let store = Store::in_memory().unwrap();
    store.give(wave(1, &["a"]), Overlap::Discard).await;
    let running = store.newest("a").await;
    let attempt = store.start("a").await;
    store.give(wave(2, &["a", "b:a"]), Overlap::Discard).await;
    let dropped = store.build(store.newest("a").await).await.unwrap().unwrap().build;
    assert_eq!((dropped.state, dropped.replaced_by), (BuildState::Superseded, Some(running)));
    assert!(dropped.message.unwrap().contains("was running"));
    assert_eq!(store.states(&["b"]).await, ["waiting"]);
    store.end(&attempt, Outcome::Succeeded).await;
    assert_eq!(store.states(&["b"]).await, ["ready"]);
}

#[tokio::test]
async fn cancel_starts_anew_when_the_running_build_has_stopped() {
    let store = Store::in_memory().unwrap();
    store.give(wave(1, &["a", "b:a"]), Overlap::Cancel).await;
    let attempt = store.start("a").await;
    let running = store.newest("a").await;
    store.give(wave(2, &["a"]), Overlap::Cancel).await;
    assert_eq!(store.to_stop().await.unwrap(), [running]);
    assert!(store.ready_builds(at(9), 9).await.unwrap().is_empty());
    let finished = store.finish_attempt(&attempt, end(AttemptEnding::Infrastructure), at(4)).await.unwrap();
    assert_eq!(finished.state, BuildState::Superseded);
    assert_eq!(store.states(&["a", "b"]).await, ["ready", "waiting"]);
    assert!(store.to_stop().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_build_stopped_for_another_that_was_cancelled_satisfies_nobody() {
    let store = Store::in_memory().unwrap();
    store.give(wave(1, &["a", "b:a"]), Overlap::Cancel).await;
    let attempt = store.start("a").await;
    store.give(wave(2, &["a"]), Overlap::Cancel).await;
    store.cancel_build(store.newest("a").await, at(3)).await.unwrap();
    assert_eq!(store.end(&attempt, Outcome::Failed).await.state, BuildState::Cancelled);
    assert_eq!(store.states(&["b"]).await, ["blocked"]);
}

#[tokio::test]
async fn a_person_may_cancel_retry_and_release() {
    let store = Store::in_memory().unwrap();
    store.give(wave(1, &["a", "b:a"]), Overlap::Coalesce).await;
    let (a, b) = (store.newest("a").await, store.newest("b").await);
    let attempt = store.start("a").await;
    let changes = store.subscribe();
    assert_eq!(store.cancel_build(a, at(3)).await.unwrap(), Cancelled::Asked);
    assert!(changes.has_changed().unwrap(), "whoever is to stop it hears of it at once");
    assert_eq!(store.end(&attempt, Outcome::Failed).await.state, BuildState::Cancelled);
    assert_eq!(store.states(&["b"]).await, ["blocked"]);
    assert!(matches!(store.cancel_build(a, at(3)).await, Err(StoreError::Illegal(_))));
    store.release_build(b, at(4)).await.unwrap();
    assert_eq!(store.states(&["b"]).await, ["ready"]);
    assert!(matches!(store.release_build(b, at(4)).await, Err(StoreError::Refused(_))));
    assert!(matches!(store.cancel_build(b, at(4)).await.unwrap(), Cancelled::Done(_)));
    store.give(wave(2, &["b"]), Overlap::Coalesce).await;
    let error = store.retry_build(b, at(5)).await.unwrap_err();
    assert!(error.to_string().contains("not the newest"), "{error}");
    store.retry_build(a, at(5)).await.unwrap();
    assert_eq!(store.states(&["a"]).await, ["ready"]);
}

#[tokio::test]
async fn what_was_asked_for_earlier_and_is_needed_comes_first() {
    let store = Store::in_memory().unwrap();
    store.give(wave(1, &["lib"]), Overlap::Coalesce).await;
    store.give(wave(2, &["app?lib"]), Overlap::Coalesce).await;
    assert_eq!(store.states(&["app"]).await, ["waiting"]);
    let queued = store.queue(None).await.unwrap();
    assert_eq!(queued[1].waits[0].pkgbase.as_str(), "lib");
    store.build_it("lib", Outcome::Failed).await;
    assert_eq!(store.states(&["app"]).await, ["ready"]);
}

#[tokio::test]
async fn waves_that_wait_for_each_other_do_not_stop_the_queue() {
    let store = Store::in_memory().unwrap();
    store.give(wave(1, &["a", "b:a"]), Overlap::Coalesce).await;
    // `a` is replaced by a build that needs `b`, which waits for `a`.
    store.give(wave(2, &["a?b"]), Overlap::Coalesce).await;
    assert_eq!(store.states(&["a", "b"]).await, ["ready", "waiting"]);
    store.build_it("a", Outcome::Succeeded).await;
    assert_eq!(store.states(&["b"]).await, ["ready"]);
}

#[tokio::test]
async fn a_retried_build_follows_the_newest_build_of_what_failed() {
    let store = Store::in_memory().unwrap();
    store.give(wave(1, &["a", "b:a"]), Overlap::Coalesce).await;
    store.build_it("a", Outcome::Failed).await;
    let b = store.newest("b").await;
    store.cancel_build(b, at(4)).await.unwrap();
    store.give(wave(2, &["a"]), Overlap::Coalesce).await;
    store.build_it("a", Outcome::Succeeded).await;
    store.retry_build(b, at(5)).await.unwrap();
    assert_eq!(store.states(&["b"]).await, ["ready"]);
}
