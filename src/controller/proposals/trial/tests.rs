use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::controller::dispatch::{Limits, Parts};
use crate::executor::{Executor, ExecutorError};
use crate::logstore::LogStore;
use crate::store::Store;
use crate::store::testing::{at, base, commit};
use crate::store::trials::{Judgement, NewTrial};
use crate::sys::clock::ManualClock;

/// Builds that go on until they are stopped, or fail once they may.
#[derive(Default)]
struct Patient {
    stopped: CancellationToken,
    /// What the dispatcher asked for.
    asked: Mutex<Vec<String>>,
    /// Whether no build can begin.
    unready: bool,
    /// Whether builds succeed, and leave nothing here.
    publishes: bool,
}

impl Patient {
    fn hears(&self, what: String) {
        self.asked.lock().unwrap().push(what);
    }
}

impl Executor for Patient {
    fn name(&self) -> &'static str {
        "patient"
    }

    fn ready(&self) -> Result<(), ExecutorError> {
        let error = || FsError::full(Path::new("/")).into();
        if self.unready { Err(error()) } else { Ok(()) }
    }

    fn submit(&self, order: BuildOrder) -> BoxFuture<'_, Result<Handle, ExecutorError>> {
        async move { Ok(Handle { executor: self.name().to_owned(), attempt: order.attempt }) }.boxed()
    }

    fn started<'a>(&'a self, _: &'a Handle) -> BoxFuture<'a, Result<(), ExecutorError>> {
        async { Ok(()) }.boxed()
    }

    fn publishes(&self) -> bool {
        self.publishes
    }

    fn finished<'a>(&'a self, _: &'a Handle) -> BoxFuture<'a, Result<AttemptReport, ExecutorError>> {
        let outcome = if self.publishes { Outcome::Succeeded } else { Outcome::Failed };
        let report = AttemptReport {
            ending: Ending::Done(outcome),
            artefacts: Vec::new(),
            exit_code: None,
            message: "no ".repeat(100_000),
        };
        self.stopped.cancelled().map(|()| Ok(report)).boxed()
    }

    fn cancel<'a>(&'a self, handle: &'a Handle) -> BoxFuture<'a, Result<(), ExecutorError>> {
        self.hears(format!("cancel {}", handle.attempt));
        self.stopped.cancel();
        async { Ok(()) }.boxed()
    }

    fn discard<'a>(&'a self, handle: &'a Handle) -> BoxFuture<'a, Result<(), ExecutorError>> {
        self.hears(format!("discard {}", handle.attempt));
        async { Ok(()) }.boxed()
    }

    fn keep_only(&self, attempts: BTreeSet<String>) -> BoxFuture<'_, Result<(), ExecutorError>> {
        for attempt in attempts {
            self.hears(format!("keep {attempt}"));
        }
        async { Ok(()) }.boxed()
    }
}

struct World {
    dir: tempfile::TempDir,
    store: Store,
    executor: Arc<Patient>,
}

impl World {
    /// A proposal of which an earlier process was building `a`, while `b` waits for it.
    async fn new(executor: Patient) -> (Self, String) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("record.sqlite")).unwrap();
        let world = Self { dir, store, executor: Arc::new(executor) };
        world.judge(1, &[("a", None), ("b", Some("a"))]).await;
        let (_, attempt) = world.store.begin_trial(at(0)).await.unwrap().unwrap();
        (world, attempt)
    }

    async fn judge(&self, head: u8, packages: &[(&str, Option<&str>)]) {
        let (head, fetch, summary) = (commit(head), "refs/pull/7/head".to_owned(), String::new());
        let judgement =
            Judgement { repository: "repo".into(), number: 7, head, fetch, vote: None, summary, comment: None };
        let trials = packages.iter().map(|(name, after)| NewTrial {
            pkgbase: base(name),
            arch: "x86_64".into(),
            after: after.iter().map(|name| base(name)).collect(),
        });
        self.store.judge(judgement, trials.collect(), at(0)).await.unwrap();
    }

    fn dispatcher(&self) -> Arc<Dispatcher> {
        Dispatcher::new(Parts {
            store: self.store.clone(),
            sites: BTreeMap::new(),
            executor: self.executor.clone(),
            limits: Limits {
                slots: 1,
                timeout: Duration::from_secs(1),
                package_repositories: Vec::new(),
                schedule: crate::domain::schedule::Limits::default(),
            },
            outlets: BTreeMap::new(),
            wakes: BTreeMap::new(),
            trials_dir: self.dir.path().join("trials"),
            logs: LogStore::new(self.dir.path().join("logs")).unwrap(),
            caches: crate::caches::Caches::in_tests(self.dir.path()),
            clock: Arc::new(ManualClock::new(at(0))),
        })
    }

    /// Makes what test builds of a commit leave for each other.
    fn leaves(&self, repository: &str, name: &str) -> PathBuf {
        let overlay = self.dir.path().join("trials").join(repository).join(name);
        std::fs::create_dir_all(overlay.join(REPOSITORY)).unwrap();
        overlay
    }

    fn overlay(&self, head: u8) -> PathBuf {
        self.leaves("repo", &format!("7-{}", commit(head).short()))
    }

    async fn words(&self, head: u8) -> Vec<&'static str> {
        let trials = self.store.trials_of("repo", 7, commit(head)).await.unwrap();
        trials.iter().map(|trial| trial.part.state.as_str()).collect()
    }

    fn asked(&self) -> Vec<String> {
        self.executor.asked.lock().unwrap().clone()
    }

    /// The dispatcher runs until this is so.
    async fn until(&self, is_so: impl AsyncFn() -> bool) {
        let stop = CancellationToken::new();
        let dispatcher = self.dispatcher();
        let running = tokio::spawn(dispatcher.clone().run(stop.clone()));
        let mut changes = self.store.subscribe();
        for _ in 0..100 {
            if is_so().await {
                break;
            }
            let _ = tokio::time::timeout(Duration::from_secs(1), changes.changed()).await;
        }
        assert!(is_so().await, "it comes to that");
        stop.cancel();
        running.await.unwrap();
        dispatcher.followers.close();
        dispatcher.followers.wait().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_test_build_that_an_earlier_process_began_is_kept_and_followed_to_its_end() {
    let (world, attempt) = World::new(Patient::default()).await;
    let keep = format!("keep {attempt}");
    world
        .until(async || {
            if world.asked() == [keep.as_str()] && !world.executor.stopped.is_cancelled() {
                assert_eq!(world.words(1).await, ["running", "waiting"]);
                world.executor.stopped.cancel();
            }
            world.words(1).await == ["failed", "failed"]
        })
        .await;
    assert_eq!(world.asked(), [keep, format!("discard {attempt}")]);
}

/// As COPR does, where test builds are looked at there.
#[tokio::test(start_paused = true)]
async fn a_test_build_of_who_publishes_by_himself_succeeds_although_nothing_of_it_comes_here() {
    let (world, _) = World::new(Patient { publishes: true, ..Patient::default() }).await;
    world.executor.stopped.cancel();
    world.until(async || world.words(1).await[0] == "succeeded").await;
}

#[tokio::test(start_paused = true)]
async fn what_test_builds_made_goes_whichever_way_the_last_of_them_ended() {
    let (world, _) = World::new(Patient::default()).await;
    let (live, stale) = (world.overlay(1), [world.overlay(2), world.leaves("gone", "3-0000000000")]);
    world
        .until(async || {
            if !stale.iter().any(|overlay| overlay.exists()) && !world.executor.stopped.is_cancelled() {
                assert!(live.exists(), "one runs and one waits");
                world.executor.stopped.cancel();
            }
            // The last of them is never begun, because it needs the first.
            !live.exists()
        })
        .await;
    assert_eq!(world.words(1).await, ["failed", "failed"]);
}

#[tokio::test(start_paused = true)]
async fn what_test_builds_made_goes_when_nobody_wants_those_that_wait() {
    let (world, attempt) = World::new(Patient::default()).await;
    world.store.finish_trial(1, AttemptEnding::Done(Outcome::Succeeded), "", at(0)).await.unwrap();
    let overlay = world.overlay(1);
    world.store.keep_proposals("repo", BTreeMap::new(), at(0)).await.unwrap();
    assert_eq!(world.words(1).await, ["succeeded", "cancelled"]);
    world.until(async || !overlay.exists()).await;
    assert!(!world.asked().contains(&format!("discard {attempt}")));
}

#[tokio::test(start_paused = true)]
async fn a_test_build_is_stopped_also_while_none_can_begin() {
    let (world, attempt) = World::new(Patient { unready: true, ..Patient::default() }).await;
    world.judge(2, &[]).await;
    world.until(async || world.words(1).await == ["cancelled", "cancelled"]).await;
    assert_eq!(world.asked(), ["keep", "cancel", "discard"].map(|what| format!("{what} {attempt}")));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_test_build_is_recorded_when_there_is_room_again() {
    let (world, _) = World::new(Patient::default()).await;
    world.executor.stopped.cancel();
    world.store.has_room(false).await;
    let began = tokio::time::Instant::now();
    world
        .until(async || {
            if began.elapsed() > Duration::from_secs(3) {
                world.store.has_room(true).await;
            } else {
                assert_eq!(world.words(1).await[0], "running");
            }
            world.words(1).await == ["failed", "failed"]
        })
        .await;
}
