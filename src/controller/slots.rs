//! Which builds the dispatcher hands out next: what is underway and what is ready, laid before
//! [`crate::domain::schedule`].

use anyhow::Result;

use super::dispatch::Dispatcher;
use crate::domain::queue::BuildId;
use crate::domain::schedule::{Running, Situation, Turns, choose};
use crate::executor::Handle;

/// A build that the executor has.
#[derive(Debug, Clone)]
pub(super) struct Underway {
    pub handle: Handle,
    /// What it counts as.
    pub running: Running,
}

impl Dispatcher {
    /// How many builds more may run at once.
    pub(super) fn free_slots(&self) -> usize {
        let builds = self.underway.lock().expect("nobody panics with it").len();
        let trials = self.trials.lock().expect("nobody panics with it").len();
        let places = self.parts.executor.builders().map_or(usize::MAX, |builders| {
            builders.iter().fold(0_usize, |sum, builder| sum.saturating_add(builder.places()))
        });
        self.limits.borrow().slots.min(places).saturating_sub(builds + trials)
    }

    /// Whether builds are lost one after the other.
    pub(super) fn is_outage(&self) -> bool {
        self.outage.lock().expect("nobody panics with it").is_on()
    }

    /// The builds that begin now, in this order.
    pub(super) async fn next_builds(&self) -> Result<Vec<BuildId>> {
        let free = self.free_slots();
        let free = self.outage.lock().expect("nobody panics with it").room(free, self.parts.clock.now());
        if free == 0 {
            return Ok(Vec::new());
        }
        let heads = self.parts.store.heads(self.parts.clock.now(), free).await?;
        if heads.is_empty() {
            return Ok(Vec::new());
        }
        let running: Vec<Running> = {
            let underway = self.underway.lock().expect("nobody panics with it");
            underway.values().map(|build| build.running.clone()).collect()
        };
        let (builders, limits) = (self.parts.executor.builders(), self.limits.borrow().schedule.clone());
        let builders = builders.as_deref();
        let situation = Situation { heads: &heads, running: &running, free, builders, limits: &limits };
        self.take_turns(&situation).await
    }

    /// Chooses, and keeps whose turn it was before anything of it begins: a restart takes no turn from anybody.
    async fn take_turns(&self, situation: &Situation<'_>) -> Result<Vec<BuildId>> {
        let store = &self.parts.store;
        let mut kept = self.turns.lock().await;
        let mut turns = match kept.take() {
            Some(turns) => turns,
            None => store.turns().await.unwrap_or_else(|error| {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "whose turn it is cannot be read: everybody begins anew");
                Turns::default()
            }),
        };
        let chosen = choose(situation, &mut turns);
        let noted = if chosen.is_empty() { Ok(()) } else { store.keep_turns(&turns).await };
        *kept = Some(turns);
        noted?;
        Ok(chosen)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::path::Path;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use futures_util::FutureExt as _;
    use futures_util::future::BoxFuture;

    use super::super::dispatch::{Limits, Parts};
    use super::*;
    use crate::caches::Caches;
    use crate::domain::build::Wave;
    use crate::domain::policy::{BuildClass, Overlap};
    use crate::domain::schedule::{self, BuilderInfo, Lane};
    use crate::executor::{AttemptReport, BuildOrder, Executor, ExecutorError};
    use crate::logstore::LogStore;
    use crate::store::Store;
    use crate::store::testing::{at, wave};
    use crate::sys::clock::ManualClock;

    /// Builders that come and go, and never get anything.
    #[derive(Default)]
    struct Fleet(Mutex<Vec<BuilderInfo>>);

    impl Executor for Fleet {
        fn name(&self) -> &'static str {
            "fleet"
        }

        fn builders(&self) -> Option<Vec<BuilderInfo>> {
            Some(self.0.lock().unwrap().clone())
        }

        fn ready(&self) -> Result<(), ExecutorError> {
            Ok(())
        }

        fn submit(&self, order: BuildOrder) -> BoxFuture<'_, Result<Handle, ExecutorError>> {
            async move { Ok(Handle { executor: self.name().to_owned(), attempt: order.attempt }) }.boxed()
        }

        fn started<'a>(&'a self, _: &'a Handle) -> BoxFuture<'a, Result<(), ExecutorError>> {
            std::future::pending().boxed()
        }

        fn finished<'a>(&'a self, _: &'a Handle) -> BoxFuture<'a, Result<AttemptReport, ExecutorError>> {
            std::future::pending().boxed()
        }

        fn cancel<'a>(&'a self, _: &'a Handle) -> BoxFuture<'a, Result<(), ExecutorError>> {
            async { Ok(()) }.boxed()
        }

        fn discard<'a>(&'a self, _: &'a Handle) -> BoxFuture<'a, Result<(), ExecutorError>> {
            async { Ok(()) }.boxed()
        }

        fn keep_only(&self, _: BTreeSet<String>) -> BoxFuture<'_, Result<(), ExecutorError>> {
            async { Ok(()) }.boxed()
        }
    }

    /// A dispatcher of this record with so many slots.
    fn dispatcher(store: &Store, fleet: &Arc<Fleet>, dir: &Path, limits: Limits) -> Arc<Dispatcher> {
        Dispatcher::new(Parts {
            store: store.clone(),
            sites: BTreeMap::new(),
            executor: fleet.clone(),
            limits,
            outlets: BTreeMap::new(),
            wakes: BTreeMap::new(),
            trials_dir: dir.join("trials"),
            logs: LogStore::new(dir.join("logs")).unwrap(),
            caches: Caches::in_tests(dir),
            clock: Arc::new(ManualClock::new(at(0))),
        })
    }

    fn limits(slots: usize) -> Limits {
        let schedule = schedule::Limits::default();
        Limits { slots, timeout: Duration::from_secs(1), package_repositories: Vec::new(), schedule }
    }

    fn builder(class: u64) -> BuilderInfo {
        BuilderInfo { name: format!("class-{class}"), class: Some(class), slots: 1, ..BuilderInfo::default() }
    }

    /// Each process chooses one build, of two repositories with two each, and ends before any begins.
    #[tokio::test]
    async fn whose_turn_it_is_outlives_the_process() {
        let (dir, fleet) = (tempfile::tempdir().unwrap(), Arc::new(Fleet(Mutex::new(vec![builder(1)]))));
        let path = dir.path().join("record.sqlite");
        let mut turns = Vec::new();
        for process in 0..4 {
            let store = Store::open(&path).unwrap();
            if process == 0 {
                store.give(wave(1, &["a", "b"]), Overlap::Coalesce).await;
                store.give(Wave { repository: "other".into(), ..wave(2, &["c", "d"]) }, Overlap::Coalesce).await;
            }
            let chosen = dispatcher(&store, &fleet, dir.path(), limits(1)).next_builds().await.unwrap();
            let [build] = chosen[..] else { panic!("{chosen:?}") };
            turns.push(store.build(build).await.unwrap().unwrap().build.repository);
        }
        assert_eq!(turns, ["other", "repo", "other", "repo"]);
    }

    #[tokio::test]
    async fn a_build_goes_as_soon_as_a_builder_of_its_class_comes_and_holds_up_only_what_comes_after_it() {
        let dir = tempfile::tempdir().unwrap();
        let (store, fleet) = (Store::in_memory().unwrap(), Arc::new(Fleet::default()));
        let mut wave = wave(1, &["large", "user:large", "small"]);
        wave.builds[0].class = Some(BuildClass("9".into()));
        wave.builds[2].lane = Lane::Mass;
        store.give(wave, Overlap::Coalesce).await;
        let limits = limits(9);
        let dispatcher = dispatcher(&store, &fleet, dir.path(), limits.clone());
        let (large, small) = (store.newest("large").await, store.newest("small").await);
        assert_eq!(dispatcher.next_builds().await.unwrap(), [], "nobody is there");
        fleet.0.lock().unwrap().push(builder(5));
        assert_eq!(dispatcher.next_builds().await.unwrap(), [small]);
        fleet.0.lock().unwrap().push(builder(9));
        assert_eq!(dispatcher.next_builds().await.unwrap(), [large, small]);
        let classes = [("9".to_owned(), 0)].into();
        dispatcher.limit(Limits { schedule: schedule::Limits { classes, ..schedule::Limits::default() }, ..limits });
        assert_eq!(dispatcher.next_builds().await.unwrap(), [small], "a limit counts at once");
        assert_eq!(store.states(&["large", "user"]).await, ["ready", "waiting"]);
    }
}
