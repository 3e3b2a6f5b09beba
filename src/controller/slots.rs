//! Which builds the dispatcher hands out next: what is underway and what is ready, laid before
//! [`crate::domain::schedule`].

use anyhow::Result;

use super::dispatch::Dispatcher;
use crate::domain::queue::BuildId;
use crate::domain::schedule::{Running, Situation, choose};
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
            builders.iter().fold(0_usize, |sum, builder| sum.saturating_add(builder.slots))
        });
        self.limits.borrow().slots.min(places).saturating_sub(builds + trials)
    }

    /// The builds that begin now, in this order.
    pub(super) async fn next_builds(&self) -> Result<Vec<BuildId>> {
        let free = self.free_slots();
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
        Ok(choose(&situation, &mut self.turns.lock().expect("nobody panics with it")))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use futures_util::FutureExt as _;
    use futures_util::future::BoxFuture;

    use super::super::dispatch::{Limits, Parts};
    use super::*;
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

    #[tokio::test]
    async fn a_build_goes_as_soon_as_a_builder_of_its_class_comes_and_holds_up_only_what_comes_after_it() {
        let dir = tempfile::tempdir().unwrap();
        let (store, fleet) = (Store::in_memory().unwrap(), Arc::new(Fleet::default()));
        let mut wave = wave(1, &["large", "user:large", "small"]);
        wave.builds[0].class = Some(BuildClass("9".into()));
        wave.builds[2].lane = Lane::Mass;
        store.give(wave, Overlap::Coalesce).await;
        let schedule = schedule::Limits::default();
        let limits = Limits { slots: 9, timeout: Duration::from_secs(1), package_repositories: Vec::new(), schedule };
        let dispatcher = Dispatcher::new(Parts {
            store: store.clone(),
            sites: BTreeMap::new(),
            executor: fleet.clone(),
            limits: limits.clone(),
            outlets: BTreeMap::new(),
            wakes: BTreeMap::new(),
            trials_dir: dir.path().join("trials"),
            logs: LogStore::new(dir.path().join("logs")).unwrap(),
            clock: Arc::new(ManualClock::new(at(0))),
        });
        let (large, small) = (store.newest("large").await, store.newest("small").await);
        assert_eq!(dispatcher.next_builds().await.unwrap(), [], "nobody is there");
        let builder = |class| BuilderInfo {
            name: format!("class-{class}"),
            class: Some(class),
            slots: 1,
            ..BuilderInfo::default()
        };
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
