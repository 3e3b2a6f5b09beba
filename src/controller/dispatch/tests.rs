//! Free places are used at once, and what keeps us from publishing keeps builds waiting.

use std::collections::BTreeSet;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::SignedDuration;
use nix::fcntl::{Flock, FlockArg};

use super::*;
use crate::domain::build::Wave;
use crate::domain::policy::Overlap;
use crate::domain::queue::MAX_ATTEMPTS;
use crate::executor::{AttemptReport, BuildOrder, Ending, ExecutorError};
use crate::publish::testing::{package, pkginfo};
use crate::publish::{Expected, PublishError, Publisher, Rules};
use crate::store::testing::{at, base, wave};
use crate::sys::clock::ManualClock;

/// Builds that fail at once, and take a second to be cleared away.
struct Untidy;

impl Executor for Untidy {
    fn name(&self) -> &'static str {
        "untidy"
    }

    fn ready(&self) -> Result<(), ExecutorError> {
        Ok(())
    }

    fn submit(&self, order: BuildOrder) -> BoxFuture<'_, Result<Handle, ExecutorError>> {
        async move { Ok(Handle { executor: self.name().to_owned(), attempt: order.attempt }) }.boxed()
    }

    fn started<'a>(&'a self, _: &'a Handle) -> BoxFuture<'a, Result<(), ExecutorError>> {
        async { Ok(()) }.boxed()
    }

    fn finished<'a>(&'a self, _: &'a Handle) -> BoxFuture<'a, Result<AttemptReport, ExecutorError>> {
        let ending = Ending::Done(crate::domain::build::Outcome::Failed);
        let message = "it failed".to_owned();
        async move { Ok(AttemptReport { ending, artefacts: Vec::new(), exit_code: None, message }) }.boxed()
    }

    fn cancel<'a>(&'a self, _: &'a Handle) -> BoxFuture<'a, Result<(), ExecutorError>> {
        async { Ok(()) }.boxed()
    }

    fn discard<'a>(&'a self, _: &'a Handle) -> BoxFuture<'a, Result<(), ExecutorError>> {
        tokio::time::sleep(Duration::from_secs(1)).map(Ok).boxed()
    }

    fn keep_only(&self, _: BTreeSet<String>) -> BoxFuture<'_, Result<(), ExecutorError>> {
        async { Ok(()) }.boxed()
    }
}

fn dispatcher(dir: &std::path::Path, store: &Store, publisher: Option<Publisher>) -> Arc<Dispatcher> {
    let limits = Limits {
        slots: 1,
        timeout: Duration::from_secs(1),
        package_repositories: Vec::new(),
        schedule: schedule::Limits::default(),
    };
    Dispatcher::new(Parts {
        store: store.clone(),
        sites: BTreeMap::new(),
        executor: Arc::new(Untidy),
        limits,
        outlets: publisher.into_iter().map(|publisher| ("repo".to_owned(), Outlets::only(publisher))).collect(),
        wakes: BTreeMap::new(),
        trials_dir: dir.join("trials"),
        logs: LogStore::new(dir.join("logs")).unwrap(),
        caches: Caches::in_tests(dir),
        clock: Arc::new(ManualClock::new(at(0))),
    })
}

/// One that has nothing to do.
pub fn idle(dir: &std::path::Path) -> Arc<Dispatcher> {
    dispatcher(dir, &Store::in_memory().unwrap(), None)
}

/// Nothing can be handed out: there is no clone of the repository.
#[tokio::test]
async fn an_outage_of_hours_costs_no_build_its_tries() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(ManualClock::new(at(0))));
    let store = Store::open(&dir.path().join("record.sqlite")).unwrap();
    let mut dispatcher = dispatcher(dir.path(), &store, None);
    Arc::get_mut(&mut dispatcher).unwrap().parts.clock = clock.clone();
    let names = ["a", "b", "c", "d", "e"];
    store.give(wave(1, &names), Overlap::Coalesce).await;
    for _ in 0..8 * 60 {
        for _ in names {
            dispatcher.step().await.unwrap();
            dispatcher.until_all_is_recorded(&store).await;
        }
        clock.advance(SignedDuration::from_secs(30));
    }
    assert_eq!(store.states(&names).await, ["ready"; 5], "after four hours");
    let mut tries = BTreeMap::new();
    for name in names {
        let build = store.build(store.newest(name).await).await.unwrap().unwrap();
        assert!(build.build.attempts < MAX_ATTEMPTS, "{build:?}");
        for attempt in build.attempts {
            *tries.entry(attempt.ending.unwrap().as_str()).or_insert(0) += 1;
        }
    }
    assert_eq!(tries["infrastructure"], 2, "those before it was clear");
    assert!((10..=35).contains(&tries["outage"]), "all were tried now and then, and not always: {tries:?}");

    clock.advance(SignedDuration::from_hours(1));
    assert_eq!(dispatcher.next_builds().await.unwrap().len(), 1, "there is one slot");
    let build = store.build(store.newest("a").await).await.unwrap().unwrap().build;
    let limits = dispatcher.limits.borrow().clone();
    dispatcher.limit(Limits { slots: 5, ..limits });
    assert_eq!(dispatcher.next_builds().await.unwrap().len(), 1, "one is tried");
    dispatcher.weigh(&build, end(AttemptEnding::Done(Outcome::Failed), None, String::new()));
    assert_eq!(dispatcher.next_builds().await.unwrap().len(), 5, "one came to an end of its own");
}

impl Dispatcher {
    /// What was handed out in vain is on record.
    async fn until_all_is_recorded(&self, store: &Store) {
        while !store.open_attempts().await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    }
}

/// The end of a build is on record, and told, before its slot is free: nobody may sleep on that.
#[tokio::test(start_paused = true)]
async fn a_slot_that_becomes_free_is_used_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("record.sqlite")).unwrap();
    store.give(wave(1, &["first", "second"]), Overlap::Coalesce).await;
    store.begin_attempt(store.newest("first").await, "untidy", at(0)).await.unwrap();
    let (begun, stop) = (tokio::time::Instant::now(), CancellationToken::new());
    let mut changes = store.subscribe();
    let running = tokio::spawn(dispatcher(dir.path(), &store, None).run(stop.clone()));
    let second = store.newest("second").await;
    while store.build(second).await.unwrap().unwrap().attempts.is_empty() {
        changes.changed().await.unwrap();
    }
    assert_eq!(begun.elapsed().as_secs(), 1, "as soon as the first was cleared away");
    stop.cancel();
    running.await.unwrap();
}

/// Whoever publishes, or promotes a whole repository, has the lock for long.
#[tokio::test]
async fn no_build_waits_until_packages_that_left_can_be_removed() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("record.sqlite")).unwrap();
    let publisher = Publisher::new(dir.path().join("repo"), "repo");
    std::fs::create_dir(publisher.dir()).unwrap();
    let lock = std::fs::File::create(publisher.dir().join(".lock")).unwrap();
    let lock = Flock::lock(lock, FlockArg::LockExclusive).unwrap();
    let remove = vec![base("gone")];
    store.give(Wave { remove, ..wave(1, &["first"]) }, Overlap::Coalesce).await;
    let (stop, mut changes) = (CancellationToken::new(), store.subscribe());
    let running = tokio::spawn(dispatcher(dir.path(), &store, Some(publisher)).run(stop.clone()));
    let first = store.newest("first").await;
    let begun = async {
        while store.build(first).await.unwrap().unwrap().attempts.is_empty() {
            changes.changed().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(30), begun).await.expect("it is handed out");
    assert_eq!(store.pending_removals("repo").await.unwrap().len(), 1);
    drop(lock);
    while !store.pending_removals("repo").await.unwrap().is_empty() {
        changes.changed().await.unwrap();
    }
    stop.cancel();
    running.await.unwrap();
}

/// A build of some hours is not done again because a file of ours is away.
#[tokio::test(start_paused = true)]
async fn what_was_built_waits_for_whatever_keeps_us_from_publishing_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("record.sqlite")).unwrap();
    store.give(wave(1, &["foo"]), Overlap::Coalesce).await;
    let build = store.build(store.newest("foo").await).await.unwrap().unwrap().build;
    let core = dir.path().join("core.db");
    let rules = Rules { official_databases: vec![core.clone()], ..Rules::default() };
    let publisher = Publisher::new(dir.path().join("repo"), "test").by_rules(rules);
    let files = [package(&dir.path().join("foo-1-1-any.pkg.tar.zst"), &pkginfo("foo", "foo", "1-1"))];
    let expected = expected(&build);
    let dispatcher = dispatcher(dir.path(), &store, None);
    let publishing = dispatcher.publish(&build, &publisher, &files, &expected);
    tokio::pin!(publishing);
    let hour = tokio::time::timeout(Duration::from_hours(1), &mut publishing).await;
    assert!(hour.is_err(), "it is still wanted after an hour: {hour:?}");
    let note = store.build(build.id).await.unwrap().unwrap().build.message.unwrap_or_default();
    assert!(note.starts_with("built, and waits to be published: ") && note.contains("core.db"), "{note}");
    std::fs::write(&core, tar::Builder::new(Vec::new()).into_inner().unwrap()).unwrap();
    assert_eq!(publishing.await.unwrap().entries.len(), 1);
}

/// Others publish for minutes, and meanwhile a person stops the build, or holds the package.
#[tokio::test]
async fn what_is_to_stop_is_not_published_when_its_turn_comes() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("record.sqlite")).unwrap();
    store.give(wave(1, &["foo"]), Overlap::Coalesce).await;
    let id = store.newest("foo").await;
    store.begin_attempt(id, "untidy", at(0)).await.unwrap();
    let build = store.build(id).await.unwrap().unwrap().build;
    let publisher = Publisher::new(dir.path().join("repo"), "test");
    std::fs::create_dir(publisher.dir()).unwrap();
    let lock = std::fs::File::create(publisher.dir().join(".lock")).unwrap();
    let lock = Flock::lock(lock, FlockArg::LockExclusive).unwrap();
    let files = [package(&dir.path().join("foo-1-1-any.pkg.tar.zst"), &pkginfo("foo", "foo", "1-1"))];
    let expected = expected(&build);
    let dispatcher = dispatcher(dir.path(), &store, None);
    let publishing = dispatcher.publish(&build, &publisher, &files, &expected);
    let stopping = async {
        store.cancel_build(id, at(1)).await.unwrap();
        drop(lock);
    };
    let (published, ()) = tokio::join!(publishing, stopping);
    assert!(matches!(published, Err(PublishError::Unwanted(_))), "{published:?}");
    assert_eq!(publisher.current().unwrap(), []);
}

fn expected(build: &Build) -> Expected {
    Expected {
        pkgbase: build.pkgbase.clone(),
        version: None,
        arch: "x86_64".into(),
        members: BTreeSet::new(),
        build: Some(build.id),
        allow_prohibited: false,
        official: Arc::default(),
    }
}
