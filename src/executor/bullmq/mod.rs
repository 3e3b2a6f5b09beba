//! Builds by any number of machines, through queues of `BullMQ` in Redis ([why so](../../../docs/decisions/0015-queues-of-builders.md)).
//!
//! Redis holds nothing that cannot be lost: what is to be built, and with whom an attempt is, is known here and put back
//! when Redis forgets it. Artefacts come through the [`Exchange`] only.

pub mod bounded;
pub mod builder;
mod course;
pub mod examine;
mod follow;
pub mod hold;
mod judge;
pub mod link;
pub mod roster;
pub mod server;
mod strangers;
mod task;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::exchange::Exchange;
use super::kept::{self, attempt_of, blocking};
use super::tracked::Tracked;
use super::{AttemptReport, BuildOrder, Executor, ExecutorError, Handle};
use crate::builder::workspace::remove_all;
use crate::domain::lane::{Lane, Lanes};
use crate::domain::schedule::BuilderInfo;
use crate::logstore::LogStore;
use crate::sys::fs::{FsError, ensure_free};
use follow::Followed;
use judge::Locks;
use link::Link;
use roster::Announcement;
use server::RedisConfig;
use strangers::Strangers;
use task::{Place, Record, Task, task};
use watch::{Bells, Sweeper};

/// The name of this executor in handles.
pub const NAME: &str = "bullmq";
/// What a job of ours is called in its queue.
pub const JOB: &str = "build";
/// How many builds workers are given at once that do not say how many they take.
const FOREIGN_SLOTS: usize = 256;
/// As much is shown of why a builder takes no builds, in characters.
const SHOWN: usize = 300;
/// No build begins with less room than this for what is brought: 64 MiB.
const MIN_FREE: u64 = 64 << 20;

/// Where builds are put.
#[derive(Debug, Clone)]
pub struct BullmqConfig {
    /// The server.
    pub redis: RedisConfig,
    /// What its keys begin with.
    pub prefix: String,
    /// The queue of builds that any builder may take; those of classes are called after it.
    pub queue: String,
    /// Where attempts have their directories.
    pub work_dir: PathBuf,
}

/// Hands builds to builders elsewhere.
pub struct BullmqExecutor {
    inner: Arc<Inner>,
    /// End with the executor.
    tasks: Mutex<JoinSet<()>>,
    heard: Mutex<HashSet<String>>,
}

struct Inner {
    config: BullmqConfig,
    link: Link,
    logs: LogStore,
    exchange: Exchange,
    tracked: Tracked,
    bells: Arc<Bells>,
    sweeper: Arc<Sweeper>,
    /// Who is there.
    roster: Mutex<Roster>,
}

/// Who builds, as it was seen last.
#[derive(Default)]
struct Roster {
    /// Builders that say of themselves what they are.
    announced: Vec<Announcement>,
    /// What workers take from that do not, which others have written.
    foreign: BTreeSet<Lane>,
}

impl BullmqExecutor {
    /// Opens the executor, within the runtime. Redis need not be there yet.
    ///
    /// # Errors
    /// If its directory cannot be made.
    pub fn open(config: BullmqConfig, logs: LogStore, exchange: Exchange) -> Result<Self, ExecutorError> {
        let dir = &config.work_dir;
        std::fs::create_dir_all(dir).map_err(|error| FsError::new("create", dir, error))?;
        let link = Link::new(config.redis.clone(), config.prefix.clone());
        exchange.judged_by(Arc::new(Locks { link: link.clone(), work_dir: dir.clone() }));
        let sweeper = Arc::new(Sweeper::new(link.clone()));
        let (tracked, bells, roster) = (Tracked::default(), Arc::default(), Mutex::default());
        let inner = Arc::new(Inner { config, link, logs, exchange, tracked, bells, sweeper, roster });
        let mut tasks = JoinSet::new();
        tasks.spawn(inner.link.clone().watch());
        tasks.spawn(Arc::clone(&inner.sweeper).run());
        tasks.spawn(call_roll(Arc::clone(&inner)));
        Ok(Self { inner, tasks: Mutex::new(tasks), heard: Mutex::default() })
    }

    fn accept(&self, order: &BuildOrder) -> Result<(), ExecutorError> {
        let task = self.task(&order.attempt)?;
        let fresh = task.record().is_none() && kept::report(&task.dir).is_none();
        if fresh {
            let record = self.inner.record(order)?;
            remove_all(&task.dir).map_err(|error| FsError::new("clean", &task.dir, error))?;
            task.write(&record)?;
        }
        self.follow(&order.attempt, fresh)
    }

    /// Follows an attempt whose end is not known, unless somebody does.
    fn take_up(&self, attempt: &str) -> Result<(), ExecutorError> {
        self.follow(attempt, false)
    }

    /// Follows an attempt; a fresh one has never been in a queue.
    fn follow(&self, attempt: &str, fresh: bool) -> Result<(), ExecutorError> {
        let task = self.task(attempt)?;
        if self.inner.tracked.has(attempt) || kept::report(&task.dir).is_some() {
            return Ok(());
        }
        let Some(record) = task.record() else { return Ok(()) };
        let Some(reins) = self.inner.tracked.begin(attempt) else { return Ok(()) };
        self.hear(&record.place.queue);
        let (inner, attempt) = (Arc::clone(&self.inner), attempt.to_owned());
        tokio::spawn(Followed { inner, attempt, task, record, reins, fresh }.run());
        Ok(())
    }

    /// Hears of what happens in a queue from now on.
    fn hear(&self, queue: &str) {
        let new = self.heard.lock().expect("nobody panics with it").insert(queue.to_owned());
        if new {
            let bells = Arc::clone(&self.inner.bells);
            let listening = watch::listen(self.inner.link.clone(), queue.to_owned(), bells);
            self.tasks.lock().expect("nobody panics with it").spawn(listening);
        }
    }

    fn task(&self, attempt: &str) -> Result<Task, ExecutorError> {
        // Checks that the id names a file in our directories.
        self.inner.logs.position(attempt)?;
        Ok(task(&self.inner.config.work_dir, attempt))
    }

    async fn wait(&self, attempt: &str) -> Result<AttemptReport, ExecutorError> {
        self.take_up(attempt)?;
        if let Some(report) = self.inner.tracked.ended(attempt).await {
            return Ok(report);
        }
        if let Some(report) = kept::report(&self.task(attempt)?.dir) {
            return Ok(report);
        }
        Ok(AttemptReport::lost("the controller ended before the build was put into the queue"))
    }

    async fn forget(&self, attempt: &str) -> Result<(), ExecutorError> {
        self.take_up(attempt)?;
        self.inner.tracked.forget(attempt).await;
        self.inner.exchange.close(attempt).await?;
        self.inner.clear_away(self.task(attempt)?).await
    }

    async fn forget_all_but(&self, attempts: BTreeSet<String>) -> Result<(), ExecutorError> {
        self.inner.exchange.keep_only(&attempts).await?;
        let dir = &self.inner.config.work_dir;
        let failed = |error| FsError::new("clean", dir, error);
        for entry in std::fs::read_dir(dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_name().to_str().is_none_or(|name| !attempts.contains(name)) {
                self.inner.clear_away(Task { dir: entry.path() }).await?;
            }
        }
        Ok(())
    }
}

impl Inner {
    /// The job of an order, which may be brought to us from now on.
    fn record(&self, order: &BuildOrder) -> Result<Record, ExecutorError> {
        let bad = |reason: &str| ExecutorError::BadOrder { attempt: order.attempt.clone(), reason: reason.to_owned() };
        let lanes = Lanes { base: self.config.queue.clone() };
        let queue = lanes.of(order.class.as_ref()).ok_or_else(|| {
            bad("its class is neither a number up to 64 nor the name of a builder; see BUILDER_CLASS in its `.CI/config`")
        })?;
        let grant = self.exchange.admit(order)?;
        let job = self.exchange.job(order, &grant).ok_or_else(|| bad("builders have no address yet to bring it to"))?;
        let id = format!("{}/{}/{}/{}", order.repository, order.arch, order.pkgbase, order.attempt);
        if id.contains(':') {
            return Err(bad("BullMQ takes no `:` in the name of a repository, a package or an architecture"));
        }
        Ok(Record { place: Place { queue, id }, job: serde_json::to_value(job).expect("texts and numbers are JSON") })
    }

    /// Takes the job out of Redis, and then forgets it.
    async fn clear_away(&self, task: Task) -> Result<(), ExecutorError> {
        match task.record() {
            Some(record) => self.sweeper.take_out(record.place, task).await,
            None => {
                blocking(move || remove_all(&task.dir).map_err(|error| FsError::new("remove", &task.dir, error)))
                    .await?;
            }
        }
        Ok(())
    }

    /// Whether a builder says that it has an attempt.
    fn is_held(&self, attempt: &str) -> bool {
        let roster = self.roster.lock().expect("nobody panics with it");
        roster.announced.iter().any(|builder| builder.builds.iter().any(|held| held == attempt))
    }
}

/// Asks again and again who is there. While Redis is away, whoever was there is taken to be there.
async fn call_roll(inner: Arc<Inner>) {
    let mut strangers = Strangers::default();
    let lanes = Lanes { base: inner.config.queue.clone() };
    loop {
        if let Ok(announced) = roster::present(&inner.link).await
            && let Ok(workers) = strangers::workers(&inner.link, &lanes).await
        {
            let foreign = strangers.lanes(&announced, workers.as_deref(), Instant::now());
            *inner.roster.lock().expect("nobody panics with it") = Roster { announced, foreign };
        }
        tokio::time::sleep(roster::BEAT / 2).await;
    }
}

/// Workers of others that take from a lane, as one builder.
fn stranger(lane: &Lane) -> BuilderInfo {
    let (name, class) = match lane {
        Lane::Class(class) => ("workers of others".to_owned(), Some(u64::from(*class))),
        Lane::Builder(name) => (name.clone(), None),
    };
    BuilderInfo { name, class, slots: FOREIGN_SLOTS, only: true, ..BuilderInfo::default() }
}

impl Executor for BullmqExecutor {
    fn name(&self) -> &'static str {
        NAME
    }

    fn outlives_us(&self) -> bool {
        true
    }

    fn builders(&self) -> Option<Vec<BuilderInfo>> {
        let roster = self.inner.roster.lock().expect("nobody panics with it");
        let ours = roster.announced.iter().map(|builder| BuilderInfo {
            name: builder.name.clone(),
            class: Some(u64::from(builder.class)),
            slots: builder.slots,
            only: false,
            attempts: builder.builds.clone(),
            trouble: builder.trouble.as_deref().map(|trouble| trouble.chars().take(SHOWN).collect()),
        });
        Some(ours.chain(roster.foreign.iter().map(stranger)).collect())
    }

    fn ready(&self) -> Result<(), ExecutorError> {
        ensure_free(&self.inner.config.work_dir, MIN_FREE)?;
        match self.inner.link.state() {
            Some(Err(reason)) => Err(ExecutorError::Away(reason)),
            Some(Ok(())) | None => Ok(()),
        }
    }

    fn submit(&self, order: BuildOrder) -> BoxFuture<'_, Result<Handle, ExecutorError>> {
        async move {
            self.accept(&order)?;
            Ok(Handle { executor: NAME.to_owned(), attempt: order.attempt })
        }
        .boxed()
    }

    fn started<'a>(&'a self, handle: &'a Handle) -> BoxFuture<'a, Result<(), ExecutorError>> {
        async move {
            let attempt = attempt_of(handle, NAME)?;
            self.take_up(attempt)?;
            self.inner.tracked.started(attempt).await;
            Ok(())
        }
        .boxed()
    }

    fn finished<'a>(&'a self, handle: &'a Handle) -> BoxFuture<'a, Result<AttemptReport, ExecutorError>> {
        async move { self.wait(attempt_of(handle, NAME)?).await }.boxed()
    }

    fn cancel<'a>(&'a self, handle: &'a Handle) -> BoxFuture<'a, Result<(), ExecutorError>> {
        async move {
            let attempt = attempt_of(handle, NAME)?;
            self.take_up(attempt)?;
            // First what reaches the builder without Redis: who follows the build may wait for that.
            self.inner.exchange.cancel(attempt)?;
            self.inner.tracked.cancel(attempt);
            Ok(())
        }
        .boxed()
    }

    fn discard<'a>(&'a self, handle: &'a Handle) -> BoxFuture<'a, Result<(), ExecutorError>> {
        async move { self.forget(attempt_of(handle, NAME)?).await }.boxed()
    }

    fn keep_only(&self, attempts: BTreeSet<String>) -> BoxFuture<'_, Result<(), ExecutorError>> {
        self.forget_all_but(attempts).boxed()
    }
}
