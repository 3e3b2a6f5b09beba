//! Observe, plan, apply: what ties the decisions of [`crate::domain`] to the world.
//!
//! [`Controller`] is what the faces see: it keeps repositories, performs runs, and answers questions.

pub mod apply;
mod ask;
pub mod audit;
pub mod bind;
pub mod builders;
pub mod caches;
mod conclude;
mod departed;
pub mod dispatch;
pub mod doctor;
pub mod face;
pub mod foresee;
mod format;
pub mod generations;
pub mod handback;
pub mod handwork;
pub mod inbox;
pub mod inspect;
pub mod linkage;
pub mod observe;
mod opinions;
mod order;
mod pages;
mod proposals;
mod quarantine;
pub mod query;
pub mod raise;
pub mod range;
pub mod recover;
mod removing;
mod review;
mod revisions;
mod rules;
pub mod run;
pub mod scripts;
pub mod shelves;
pub mod site;
mod slots;
pub mod snapshot;
pub mod sources;
pub mod statuses;
mod summary;
pub mod supervise;
mod talk;
pub mod tend;
mod turn;
pub mod versions;
pub mod view;
pub mod workflow;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;
use tokio::sync::{Notify, watch};

use crate::caches::Caches;
use crate::config::settings::Schedule;
use crate::domain::name::{Oid, PkgBase};
use crate::domain::plan::Pipeline;
use crate::domain::policy::Person;
use crate::domain::schedule::BuilderInfo;
use crate::executor::Executor;
use crate::executor::exchange::Exchange;
use crate::logstore::LogStore;
use crate::publish::outlets::Outlets;
use crate::store::Store;
use crate::sys::clock::Clock;
use inbox::Inbox;
use run::{Report, Runner};
use site::{Look, Site, Upstream};

/// One repository and what is done for it.
pub struct Kept {
    /// Performs runs on it.
    pub runner: Runner,
    /// What publishes its packages, if it is published here.
    pub outlets: Option<Outlets>,
    /// Told when what is published makes rebuilds due that only a schedule finds.
    pub wake: Arc<Notify>,
    /// When pipelines run by themselves.
    schedules: RwLock<Vec<Schedule>>,
    /// The last look at it.
    looked: RwLock<Looked>,
    /// Reviews as they were last shown, by package, with what they follow from: comparing hundreds of them anew
    /// for every page would be slow.
    reviews: Mutex<BTreeMap<PkgBase, (ReviewKey, Option<view::ReviewView>)>>,
}

/// What the page of a review follows from.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ReviewKey {
    /// The tip of its branch.
    head: Oid,
    /// The git tree of the package that it would change, settings included.
    tree: Option<Oid>,
    /// The policy in force.
    gate: crate::domain::classify::Policy,
    /// What is known about who can push to the package.
    people: crate::domain::classify::Context,
    /// Who has approved it.
    approvals: BTreeSet<Person>,
    /// What our commits are known by: our identity, and the content that was recorded as proposed.
    ours: (crate::domain::policy::Identity, Option<String>),
}

/// What the last look found.
#[derive(Debug, Clone, Default)]
struct Looked {
    look: Option<Look>,
    at: Option<Timestamp>,
    error: Option<String>,
}

impl Kept {
    /// A repository nobody has looked at yet.
    #[must_use]
    pub fn new(runner: Runner, outlets: Option<Outlets>, schedules: Vec<Schedule>) -> Self {
        let (wake, schedules) = (Arc::default(), RwLock::new(schedules));
        Self { runner, outlets, wake, schedules, looked: RwLock::default(), reviews: Mutex::default() }
    }

    /// The repository.
    #[must_use]
    pub fn site(&self) -> &Arc<Site> {
        &self.runner.site
    }

    /// When pipelines run by themselves.
    fn schedules(&self) -> Vec<Schedule> {
        self.schedules.read().expect("nobody panics with it").clone()
    }

    fn looked(&self) -> Looked {
        self.looked.read().expect("nobody panics with it").clone()
    }

    /// Looks at the remote and keeps what was found for the faces.
    async fn look(&self, now: Timestamp) -> Result<Look> {
        let found = self.site().look().await;
        self.keep(&found, now);
        let look = found?;
        self.stop_held(&look, now).await?;
        Ok(look)
    }

    fn keep(&self, found: &Result<Look>, now: Timestamp) {
        let mut looked = self.looked.write().expect("nobody panics with it");
        looked.at = Some(now);
        looked.error = found.as_ref().err().map(|error| format!("{error:#}"));
        if let Ok(look) = found {
            looked.look = Some(look.clone());
        }
    }
}

/// Keeps repositories, performs runs, answers questions. Cheap to clone.
#[derive(Clone)]
pub struct Controller(Arc<Inner>);

/// What a controller consists of.
pub struct Inner {
    /// The repositories, by name; at least one.
    pub kept: BTreeMap<String, Kept>,
    /// The record.
    pub store: Store,
    /// The logs.
    pub logs: LogStore,
    /// What builds keep for the next one.
    pub caches: Caches,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Whether schedules and polling rest.
    pub paused: AtomicBool,
    /// How often remotes are looked at. A change is also how the loops hear of new schedules.
    pub poll: watch::Sender<Duration>,
    /// What forges tell by themselves.
    pub inbox: Inbox,
    /// What runs builds, if they are handed out from here.
    pub executor: Option<Arc<dyn Executor>>,
}

impl Controller {
    /// A controller that does nothing by itself before it is supervised.
    #[must_use]
    pub fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    /// The record.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// What forges tell by themselves.
    #[must_use]
    pub fn inbox(&self) -> &Inbox {
        &self.0.inbox
    }

    /// Serves the builders of the attempts in this exchange.
    #[must_use]
    pub fn serve_builders(&self, exchange: Exchange) -> builders::Builders {
        builders::Builders::new(exchange, self.0.caches.clone())
    }

    /// The directories of published packages, by repository.
    #[must_use]
    pub fn published(&self) -> BTreeMap<String, PathBuf> {
        let folders = |(name, kept): (&String, &Kept)| Some(kept.outlets.as_ref()?.folders(name));
        self.0.kept.iter().filter_map(folders).flatten().collect()
    }

    /// Takes over what may change while it runs: how often remotes are looked at, and for each repository
    /// its schedules and how others are dealt with. What is under way ends as it began.
    pub fn reconfigure(&self, poll: Duration, repositories: BTreeMap<String, (Vec<Schedule>, Upstream)>) {
        for (name, (schedules, upstream)) in repositories {
            if let Some(kept) = self.0.kept.get(&name) {
                *kept.schedules.write().expect("nobody panics with it") = schedules;
                kept.site().deal_as(upstream);
            }
        }
        self.0.poll.send_replace(poll);
    }

    fn kept(&self) -> impl Iterator<Item = &Kept> {
        self.0.kept.values()
    }

    /// The builders that are there; `None` if whoever builds takes anything.
    fn builders(&self) -> Option<Vec<BuilderInfo>> {
        self.0.executor.as_ref().and_then(|executor| executor.builders())
    }

    fn is_paused(&self) -> bool {
        self.0.paused.load(Ordering::Relaxed)
    }

    /// Performs a run on one repository and looks at what it left.
    async fn perform(&self, kept: &Kept, pipeline: &Pipeline, cause: &str) -> Result<Report> {
        let report = kept.runner.run(pipeline, cause).await;
        if let Err(error) = self.look(kept).await {
            tracing::warn!(
                repository = kept.site().name,
                error = format!("{error:#}"),
                "the remote could not be looked at after a run"
            );
        }
        report
    }
}
