//! Test builds beside the queue, and what a newer commit does to them.

use super::super::testing::{at, base, commit, wave};
use super::*;
use crate::domain::policy::Overlap;

fn judgement(number: u64, head: u8) -> Judgement {
    let (head, fetch) = (commit(head), format!("refs/pull/{number}/head"));
    let (vote, summary) = (Some(Vote::Success), "1 package: 1 minor".to_owned());
    Judgement { repository: "repo".into(), number, head, fetch, vote, summary, comment: None }
}

fn trials(written: &[&str]) -> Vec<NewTrial> {
    let one = |written: &&str| {
        let (name, after) = written.split_once(':').unwrap_or((written, ""));
        let after = after.split(',').filter(|it| !it.is_empty()).map(base).collect();
        NewTrial { pkgbase: base(name), arch: "x86_64".into(), after }
    };
    written.iter().map(one).collect()
}

impl Store {
    async fn next(&self) -> Option<(i64, String)> {
        self.begin_trial(at(1)).await.unwrap().map(|(trial, _)| (trial.id, trial.part.pkgbase.to_string()))
    }

    async fn words(&self, number: u64, head: u8) -> String {
        let trials = self.trials_of("repo", number, commit(head)).await.unwrap();
        let line = |it: &Trial| format!("{} {}\n", it.part.pkgbase, it.part.state.as_str());
        trials.iter().map(line).collect()
    }
}

const FAILED: AttemptEnding = AttemptEnding::Done(Outcome::Failed);
const GOOD: AttemptEnding = AttemptEnding::Done(Outcome::Succeeded);

#[tokio::test]
async fn a_test_build_neither_replaces_nor_delays_a_build_of_the_package() {
    let store = Store::in_memory().unwrap();
    store.give(wave(1, &["a"]), Overlap::Coalesce).await;
    store.judge(judgement(7, 9), trials(&["a"]), at(0)).await.unwrap();
    assert_eq!(store.next().await, Some((1, "a".to_owned())));
    assert_eq!(store.states(&["a"]).await, ["ready"]);
    assert_eq!(store.queue(None).await.unwrap().len(), 1);
    store.give(wave(2, &["a"]), Overlap::Coalesce).await;
    assert_eq!(store.words(7, 9).await, "a running\n");
}

#[tokio::test]
async fn a_newer_commit_takes_the_place_of_what_was_judged_and_stops_its_test_builds() {
    let store = Store::in_memory().unwrap();
    store.judge(judgement(7, 1), trials(&["a", "b"]), at(0)).await.unwrap();
    let (first, _) = store.next().await.unwrap();
    store.judge(judgement(7, 2), trials(&["a"]), at(2)).await.unwrap();
    assert_eq!(store.words(7, 1).await, "a running\nb cancelled\n");
    assert_eq!(store.trials_to_stop().await.unwrap(), [first]);
    assert!(store.finish_trial(first, GOOD, "", at(3)).await.unwrap(), "all of that commit are over");
    assert_eq!(store.words(7, 1).await, "a cancelled\nb cancelled\n", "whatever it came to");
    assert_eq!(store.words(7, 2).await, "a waiting\n");
    assert_eq!(store.judged("repo").await.unwrap(), BTreeMap::from([(7, commit(2))]));
    store.keep_proposals("repo", BTreeMap::new(), at(4)).await.unwrap();
    assert_eq!(store.words(7, 2).await, "a cancelled\n", "the proposal was closed");
    assert_eq!(store.judged("repo").await.unwrap(), BTreeMap::new());
}

#[tokio::test]
async fn what_needs_a_failure_is_not_built_and_the_machine_has_three_tries() {
    let store = Store::in_memory().unwrap();
    store.judge(judgement(7, 1), trials(&["a", "b:a", "c"]), at(0)).await.unwrap();
    let (a, _) = store.next().await.unwrap();
    assert_eq!(store.next().await, None, "one at a time");
    store.finish_trial(a, FAILED, "no", at(1)).await.unwrap();
    let (c, name) = store.next().await.unwrap();
    assert_eq!(name, "c");
    assert_eq!(store.words(7, 1).await, "a failed\nb failed\nc running\n");
    let mut now = 1;
    for _ in 0..2 {
        store.finish_trial(c, AttemptEnding::Infrastructure, "no room", at(now)).await.unwrap();
        let next = store.next_trial(at(now)).await.unwrap().expect("another attempt");
        assert!(store.begin_trial(at(now)).await.unwrap().is_none(), "not yet");
        assert!(store.begin_trial(next).await.unwrap().is_some());
        now += 600;
    }
    assert!(store.finish_trial(c, AttemptEnding::Infrastructure, "no room", at(now)).await.unwrap());
    assert_eq!(store.words(7, 1).await, "a failed\nb failed\nc lost\n");
}
