//! Every state change, told to everybody who listens: found by comparing what the controller says
//! before and after it says that something has changed. One comparison serves all listeners.
//!
//! Events have numbers, and the latest are kept: a listener that comes back goes on where it was.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::controller::face::{BuildFilter, ControllerError, Face};
use crate::controller::view::BuildView;

/// How many events are kept for listeners that come back.
const KEPT: usize = 2_048;
/// How far back builds and runs are compared.
const BUILDS: usize = 300;
const RUNS: usize = 50;

/// One change.
#[derive(Debug, Clone)]
pub struct Change {
    /// Its number in this process. The first look at the world has 1, what changes comes after it.
    pub number: u64,
    /// `build`, `run`, `review` or `repository`.
    pub kind: &'static str,
    /// What changed.
    pub data: Arc<Value>,
}

/// How often something has happened since the process began.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// Builds that ended, by state.
    pub builds: BTreeMap<&'static str, u64>,
    /// Runs that ended, by pipeline and state.
    pub runs: BTreeMap<(String, String), u64>,
}

/// The place where changes are found and kept.
pub struct Hub {
    inner: Mutex<Inner>,
    latest: watch::Sender<u64>,
}

#[derive(Default)]
struct Inner {
    changes: VecDeque<Change>,
    counters: Counters,
}

/// What a listener gets who has heard everything up to a number.
pub enum Heard {
    /// These, in order; perhaps none.
    All(Vec<Change>),
    /// Some are no longer kept: it has to look again at everything. The latest number.
    Missed(u64),
}

impl Hub {
    /// A hub over a controller. It ends with `stop`.
    pub fn start(face: Arc<dyn Face>, stop: CancellationToken) -> Arc<Self> {
        let hub = Arc::new(Self { inner: Mutex::default(), latest: watch::Sender::new(0) });
        let task = Arc::clone(&hub);
        tokio::spawn(async move {
            tokio::select! { () = stop.cancelled() => {}, () = task.compare(&*face) => {} }
        });
        hub
    }

    /// The number of the latest change, and of each that comes; 0 before the first look at the world.
    pub fn latest(&self) -> watch::Receiver<u64> {
        self.latest.subscribe()
    }

    /// What happened after a number.
    pub fn after(&self, number: u64) -> Heard {
        let inner = self.inner();
        let latest = *self.latest.borrow();
        let first = inner.changes.front().map_or(latest + 1, |change| change.number);
        if number > latest || number + 1 < first {
            return Heard::Missed(latest);
        }
        Heard::All(inner.changes.iter().filter(|change| change.number > number).cloned().collect())
    }

    /// How often something has happened.
    pub fn counters(&self) -> Counters {
        self.inner().counters.clone()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nobody panics while holding the changes")
    }

    async fn compare(&self, face: &dyn Face) {
        let mut news = face.events();
        let mut known: Option<World> = None;
        loop {
            news.mark_unchanged();
            match World::look(face).await {
                Ok(world) => {
                    match &known {
                        Some(before) => self.publish(before.changes_to(&world), before, &world),
                        None => drop(self.latest.send_replace(1)),
                    }
                    known = Some(world);
                }
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "cannot see what has changed");
                }
            }
            if news.changed().await.is_err() {
                return;
            }
        }
    }

    fn publish(&self, changes: Vec<(&'static str, Value)>, before: &World, after: &World) {
        let mut inner = self.inner();
        let mut number = *self.latest.borrow();
        for (kind, data) in changes {
            number += 1;
            inner.changes.push_back(Change { number, kind, data: Arc::new(data) });
        }
        let surplus = inner.changes.len().saturating_sub(KEPT);
        inner.changes.drain(..surplus);
        inner.counters.add(before, after);
        drop(inner);
        self.latest.send_if_modified(|latest| std::mem::replace(latest, number) != number);
    }
}

impl Counters {
    fn add(&mut self, before: &World, after: &World) {
        for (id, build) in &after.builds {
            let was_final = before.builds.get(id).is_some_and(|build| build.state.is_final());
            if build.state.is_final() && !was_final && !before.is_older(build) {
                *self.builds.entry(build.state.as_str()).or_default() += 1;
            }
        }
        for (id, run) in &after.runs {
            let ended = |run: &RunState| run.state != "running";
            if ended(run) && !before.runs.get(id).is_some_and(ended) {
                *self.runs.entry((run.pipeline.clone(), run.state.clone())).or_default() += 1;
            }
        }
    }
}

/// What is compared.
struct World {
    builds: HashMap<String, BuildView>,
    oldest: Option<jiff::Timestamp>,
    runs: HashMap<String, RunState>,
    reviews: BTreeMap<String, String>,
    repositories: BTreeMap<String, Value>,
}

#[derive(PartialEq)]
struct RunState {
    pipeline: String,
    state: String,
    summary: String,
}

impl World {
    async fn look(face: &dyn Face) -> Result<Self, ControllerError> {
        let recent = face.builds(BuildFilter { limit: BUILDS, ..BuildFilter::default() }).await?;
        let oldest = (recent.len() == BUILDS).then(|| recent.iter().map(|build| build.created).min()).flatten();
        let queue = face.queue().await?;
        let live = [queue.underway, queue.ready, queue.waiting, queue.blocked].into_iter().flatten();
        let builds = recent.into_iter().chain(live).map(|build| (build.id.clone(), build)).collect();
        let runs = face.runs(RUNS).await?.into_iter();
        let runs =
            runs.map(|run| (run.id, RunState { pipeline: run.pipeline, state: run.state, summary: run.summary }));
        let reviews = face.reviews().await?.into_iter();
        let repositories = face.repositories().await?.into_iter().map(|repository| {
            let data = json!({
                "name": repository.name, "main": repository.main, "scheduled": repository.scheduled,
                "paused": repository.paused, "error": repository.error,
            });
            (repository.name, data)
        });
        Ok(Self {
            builds,
            oldest,
            runs: runs.collect(),
            reviews: reviews.map(|review| (review.pkgbase.to_string(), review.head.to_string())).collect(),
            repositories: repositories.collect(),
        })
    }

    /// Whether a build that was not seen before is one that had only fallen out of sight.
    fn is_older(&self, build: &BuildView) -> bool {
        !self.builds.contains_key(&build.id) && self.oldest.is_some_and(|oldest| build.created < oldest)
    }

    fn changes_to(&self, after: &Self) -> Vec<(&'static str, Value)> {
        let mut changes = Vec::new();
        for (name, data) in &after.repositories {
            if self.repositories.get(name) != Some(data) {
                changes.push(("repository", data.clone()));
            }
        }
        for (id, run) in &after.runs {
            if self.runs.get(id) != Some(run) {
                let data = json!({"id": id, "pipeline": run.pipeline, "state": run.state, "summary": run.summary});
                changes.push(("run", data));
            }
        }
        changes.extend(self.build_changes(after));
        for (pkgbase, head) in &after.reviews {
            let state = match self.reviews.get(pkgbase) {
                Some(known) if known == head => continue,
                Some(_) => "updated",
                None => "opened",
            };
            changes.push(("review", json!({"pkgbase": pkgbase, "head": head, "state": state})));
        }
        for pkgbase in self.reviews.keys().filter(|pkgbase| !after.reviews.contains_key(*pkgbase)) {
            changes.push(("review", json!({"pkgbase": pkgbase, "head": null, "state": "closed"})));
        }
        changes
    }

    fn build_changes(&self, after: &Self) -> Vec<(&'static str, Value)> {
        let mut changed: Vec<_> = after
            .builds
            .values()
            .filter(|build| !self.is_older(build))
            .filter_map(|build| {
                let before = self.builds.get(&build.id);
                let same =
                    before.is_some_and(|before| (before.state, &before.attempt) == (build.state, &build.attempt));
                (!same).then_some((build, before.map(|before| before.state)))
            })
            .collect();
        changed.sort_by(|(a, _), (b, _)| (a.created, &a.id).cmp(&(b.created, &b.id)));
        let data = |(build, before): (&BuildView, Option<_>)| {
            json!({
                "id": build.id, "repository": build.repository, "arch": build.arch, "pkgbase": build.pkgbase,
                "state": build.state, "previous": before, "attempt": build.attempt, "message": build.message,
                "run": build.run,
            })
        };
        changed.into_iter().map(|change| ("build", data(change))).collect()
    }
}
