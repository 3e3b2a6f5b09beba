//! `pkgwarden builder`: takes builds out of the queues that are for it, and carries each out with the executor of this
//! machine.

mod carry;
mod fitness;
mod order;
mod unsent;
mod work;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bullmq::worker::WorkerEvent;
use bullmq::{Worker, WorkerOptions};
use futures_util::future::join_all;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::link::Link;
use super::roster::{self, Announcement};
use super::server::{RedisConfig, RedisError};
use crate::domain::lane::{Lanes, Station};
use crate::executor::{Executor, Handle};
use crate::logstore::LogStore;

pub use order::Rules;
pub use unsent::Unsent;

/// How long a job stays ours without our word.
const LOCK: Duration = Duration::from_secs(15);
/// How often we give it.
const HOLD: Duration = Duration::from_secs(3);
/// How often it is looked for jobs that their builders have left.
const STALLED: Duration = Duration::from_secs(5);
/// How often a job may be left by its builders before it counts as failed.
const MAX_STALLED: u32 = 3;
/// How long it is waited for a server that is away.
const PAUSE: Duration = Duration::from_secs(1);
/// How long it is waited for somebody to ask for what was built before this builder was started: by then, all that are
/// still wanted have been handed out again.
const WANTED: Duration = Duration::from_hours(1);
/// How long what has ended may take to be told.
const CLOSING: Duration = Duration::from_secs(20);

/// What a builder is.
#[derive(Debug, Clone)]
pub struct BuilderConfig {
    /// The server.
    pub redis: RedisConfig,
    /// What its keys begin with.
    pub prefix: String,
    /// The queue of builds that any builder may take.
    pub queue: String,
    /// What it is called.
    pub name: String,
    /// Its class.
    pub class: u32,
    /// How many builds it takes at once.
    pub slots: usize,
    /// How long builds under way may go on after it was told to end.
    pub patience: Duration,
    /// What it does, and what not.
    pub rules: Rules,
}

/// A builder.
pub struct Builder {
    inner: Arc<Inner>,
}

struct Inner {
    config: BuilderConfig,
    link: Link,
    executor: Arc<dyn Executor>,
    logs: LogStore,
    unsent: Arc<Unsent>,
    slots: Arc<Semaphore>,
    underway: Mutex<HashMap<String, Arc<Underway>>>,
    workers: OnceLock<Vec<Worker>>,
    draining: AtomicBool,
    /// Why no build is taken now.
    trouble: Mutex<Option<String>>,
    /// Builds are to be stopped and given back.
    give_back: CancellationToken,
}

/// A build that is carried out here, or was until just now.
struct Underway {
    attempt: String,
    /// What is said of it at the end: the value to return, or the failure to throw.
    said: watch::Receiver<Option<Result<serde_json::Value, String>>>,
    /// Has it stopped.
    stop: CancellationToken,
}

impl Builder {
    /// A builder that has not begun. `logs` is where `executor` writes, and `unsent` what it has built and not brought.
    #[must_use]
    pub fn new(config: BuilderConfig, executor: Arc<dyn Executor>, logs: LogStore, unsent: Unsent) -> Self {
        let link = Link::new(config.redis.clone(), config.prefix.clone());
        let slots = Arc::new(Semaphore::new(config.slots.max(1)));
        let inner = Inner {
            config,
            link,
            executor,
            logs,
            unsent: Arc::new(unsent),
            slots,
            underway: Mutex::default(),
            workers: OnceLock::new(),
            draining: AtomicBool::new(false),
            trouble: Mutex::default(),
            give_back: CancellationToken::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Takes builds until `drain`, lets those under way end, not for ever, and ends. With `stop`, and after that time,
    /// what still runs is stopped and given back.
    ///
    /// # Errors
    /// If the server refuses what a builder has to do.
    pub async fn run(&self, drain: CancellationToken, stop: CancellationToken) -> Result<(), RedisError> {
        let inner = &self.inner;
        // Said before the first worker is there: one that does not say what it is counts as somebody else's.
        let mut tasks = JoinSet::new();
        tasks.spawn(beat(Arc::clone(inner)));
        tasks.spawn(give_up_unsent(Arc::clone(inner)));
        let worked = self.work(&drain, &stop, &mut tasks).await;
        tasks.shutdown().await;
        // If Redis is away, it forgets us by itself.
        let _ = roster::withdraw(&inner.link, &inner.config.name).await;
        worked
    }

    async fn work(
        &self,
        drain: &CancellationToken,
        stop: &CancellationToken,
        tasks: &mut JoinSet<()>,
    ) -> Result<(), RedisError> {
        let inner = &self.inner;
        let Some(workers) = self.begin(drain).await else { return Ok(()) };
        for index in 0..workers.len() {
            tasks.spawn(drain_events(Arc::clone(inner), index));
        }
        let taken = inner.queues();
        tracing::info!(name = inner.config.name, queues = ?taken, slots = inner.config.slots, "takes builds");
        drain.cancelled().await;
        inner.draining.store(true, Ordering::SeqCst);
        workers.iter().for_each(Worker::pause);
        tokio::select! {
            () = inner.idle() => {}
            () = stop.cancelled() => {}
            () = tokio::time::sleep(inner.config.patience) => {}
        }
        inner.give_back.cancel();
        let closing = CLOSING.as_millis().try_into().unwrap_or(u64::MAX);
        for closed in join_all(workers.iter().map(|worker| worker.close(closing))).await {
            closed.map_err(|error| inner.config.redis.unusable(&error))?;
        }
        Ok(())
    }

    /// Begins to take builds, as soon as the server is there; `None` if it is to end before.
    async fn begin(&self, drain: &CancellationToken) -> Option<&[Worker]> {
        let mut told = false;
        while !drain.is_cancelled() {
            match self.workers().await {
                Ok(workers) => {
                    let workers = self.inner.workers.get_or_init(|| workers);
                    for worker in workers {
                        worker.run().await.expect("a worker that was just made does not run yet");
                    }
                    return Some(workers);
                }
                Err(error) if !told => {
                    told = true;
                    tracing::warn!(error = error.to_string(), "takes builds as soon as Redis is there");
                }
                Err(_) => {}
            }
            tokio::select! {
                () = drain.cancelled() => {}
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
        None
    }

    async fn workers(&self) -> Result<Vec<Worker>, RedisError> {
        let server = self.inner.link.server().await?;
        let mut workers = Vec::new();
        for queue in self.inner.queues() {
            let options = WorkerOptions {
                connection: server.options.clone(),
                prefix: self.inner.config.prefix.clone(),
                name: Some(self.inner.config.name.clone()),
                concurrency: self.inner.config.slots.max(1),
                lock_duration: millis(LOCK),
                stalled_interval: millis(STALLED),
                max_stalled_count: MAX_STALLED,
                drain_delay: 2,
                autorun: false,
                skip_lock_renewal: true,
                ..WorkerOptions::default()
            };
            let (inner, from) = (Arc::clone(&self.inner), queue.clone());
            let process = move |job: bullmq::Job, _| work::process(Arc::clone(&inner), from.clone(), job);
            let worker = Worker::with_options(&queue, process, options).await;
            workers.push(worker.map_err(|error| self.inner.config.redis.unusable(&error))?);
        }
        Ok(workers)
    }
}

impl Inner {
    fn queues(&self) -> Vec<String> {
        let lanes = Lanes { base: self.config.queue.clone() };
        lanes.taken_by(&Station { name: &self.config.name, class: self.config.class })
    }

    /// Waits until nothing is built any more.
    async fn idle(&self) {
        let all = u32::try_from(self.config.slots.max(1)).unwrap_or(u32::MAX);
        drop(self.slots.acquire_many(all).await);
    }

    /// Whether another build may be taken.
    fn may_take(&self) -> bool {
        !self.draining.load(Ordering::SeqCst) && self.trouble().is_none()
    }

    /// Takes nothing as long as there is no room, and something again when there is.
    fn mind_the_room(&self) {
        let may = self.slots.available_permits() > 0 && self.may_take();
        for worker in self.workers.get().into_iter().flatten() {
            match (may, worker.is_paused()) {
                (true, true) => worker.resume(),
                (false, false) => worker.pause(),
                _ => {}
            }
        }
    }

    /// Forgets a run of a job, if no later one has taken its place.
    fn forget(&self, job: &str, run: &Arc<Underway>) {
        let mut underway = self.underway();
        if underway.get(job).is_some_and(|known| Arc::ptr_eq(known, run)) {
            underway.remove(job);
        }
    }

    fn underway(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Underway>>> {
        self.underway.lock().expect("nobody panics while holding the map of builds")
    }
}

/// Says again and again that it is there, and what it builds.
async fn beat(inner: Arc<Inner>) {
    let process = crate::sys::env::drawn_word();
    let (mut has_said, mut has_warned) = (false, false);
    loop {
        // Who was there before is silent by the second time; who speaks then is another.
        if has_said
            && !has_warned
            && let Ok(Some(other)) = roster::said_as(&inner.link, &inner.config.name).await
            && other.process != process
        {
            has_warned = true;
            tracing::warn!(
                name = inner.config.name,
                "another builder has the same name: what is said of one counts for both; give each its own --name"
            );
        }
        let building = |underway: &&Arc<Underway>| underway.said.borrow().is_none();
        let builds = inner.underway().values().filter(building).map(|underway| underway.attempt.clone()).collect();
        let config = &inner.config;
        let said = Announcement {
            name: config.name.clone(),
            class: config.class,
            slots: config.slots,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            builds,
            process: process.clone(),
            trouble: inner.trouble(),
        };
        match roster::announce(&inner.link, &said).await {
            Ok(()) => has_said = true,
            Err(error) => {
                tracing::debug!(error = error.to_string(), "Redis does not hear that this builder is there");
            }
        }
        tokio::time::sleep(roster::BEAT).await;
    }
}

/// Clears away what was built before this builder was started, and nobody has asked for.
async fn give_up_unsent(inner: Arc<Inner>) {
    tokio::time::sleep(WANTED).await;
    for attempt in inner.unsent.left() {
        if inner.unsent.take(&attempt).is_some() {
            let handle = Handle { executor: inner.executor.name().to_owned(), attempt };
            carry::clear(&*inner.executor, &inner.logs, &inner.unsent, &handle).await;
        }
    }
}

/// Takes what a worker tells of itself, which it keeps in memory until somebody does.
async fn drain_events(inner: Arc<Inner>, worker: usize) {
    let Some(worker) = inner.workers.get().and_then(|workers| workers.get(worker)) else { return };
    while let Some(event) = worker.next_event().await {
        if let WorkerEvent::Error(error) = event {
            tracing::debug!(error, "a worker of a queue has trouble");
        }
    }
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use futures_util::FutureExt as _;
    use futures_util::future::BoxFuture;

    use super::super::tests::Redis;
    use super::*;
    use crate::domain::cache::policy::CachePolicy;
    use crate::executor::{AttemptReport, BuildOrder, ExecutorError};

    /// Nobody gives it anything to build.
    struct Idle;

    impl Executor for Idle {
        fn name(&self) -> &'static str {
            "idle"
        }

        fn ready(&self) -> Result<(), ExecutorError> {
            Ok(())
        }

        fn submit(&self, _: BuildOrder) -> BoxFuture<'_, Result<Handle, ExecutorError>> {
            unreachable!()
        }

        fn started<'a>(&'a self, _: &'a Handle) -> BoxFuture<'a, Result<(), ExecutorError>> {
            unreachable!()
        }

        fn finished<'a>(&'a self, _: &'a Handle) -> BoxFuture<'a, Result<AttemptReport, ExecutorError>> {
            unreachable!()
        }

        fn cancel<'a>(&'a self, _: &'a Handle) -> BoxFuture<'a, Result<(), ExecutorError>> {
            unreachable!()
        }

        fn discard<'a>(&'a self, _: &'a Handle) -> BoxFuture<'a, Result<(), ExecutorError>> {
            unreachable!()
        }

        fn keep_only(&self, _: BTreeSet<String>) -> BoxFuture<'_, Result<(), ExecutorError>> {
            unreachable!()
        }
    }

    fn builder(redis: RedisConfig, dir: &std::path::Path) -> Builder {
        let config = BuilderConfig {
            redis,
            prefix: "bull".to_owned(),
            queue: "builds".to_owned(),
            name: "one".to_owned(),
            class: 0,
            slots: 1,
            patience: Duration::ZERO,
            rules: Rules { directories: BTreeSet::new(), caches: CachePolicy::default(), controller: None },
        };
        let unsent = Unsent::open(dir.join("unsent"), &BTreeSet::new()).unwrap();
        Builder::new(config, Arc::new(Idle), LogStore::new(dir).unwrap(), unsent)
    }

    #[tokio::test]
    async fn the_end_of_a_run_forgets_no_later_one_of_the_same_job() {
        let dir = tempfile::tempdir().unwrap();
        let redis = RedisConfig { url: "redis://127.0.0.1:1/0".parse().unwrap(), password: None, ca: None };
        let inner = builder(redis, dir.path()).inner;
        let run = || {
            let (said, stop) = (watch::channel(None).1, CancellationToken::new());
            Arc::new(Underway { attempt: "a".to_owned(), said, stop })
        };
        let (earlier, later) = (run(), run());
        inner.underway().insert("job".to_owned(), Arc::clone(&later));
        inner.forget("job", &earlier);
        assert!(inner.underway().contains_key("job"));
        inner.forget("job", &later);
        assert!(inner.underway().is_empty());
    }

    #[tokio::test]
    async fn what_workers_tell_of_themselves_piles_up_nowhere() {
        let (redis, dir) = (Redis::start(&[]).await, tempfile::tempdir().unwrap());
        let builder = builder(redis.link().config().clone(), dir.path());
        let (drain, stop) = (CancellationToken::new(), CancellationToken::new());
        let link = redis.link();
        let look = async {
            // Each time that nothing was there for it, a worker tells so, and asks again.
            let asked = || async {
                let said: String = link.ask(redis::cmd("INFO").arg("commandstats")).await.unwrap();
                let calls = said.split("cmdstat_bzpopmin:calls=").nth(1).and_then(|rest| rest.split(',').next());
                calls.map_or(0, |calls| calls.parse::<usize>().unwrap())
            };
            while asked().await < 4 * builder.inner.queues().len() {
                tokio::task::yield_now().await;
            }
            let worker = &builder.inner.workers.get().unwrap()[0];
            let left = std::iter::from_fn(|| worker.next_event().now_or_never().flatten()).count();
            drain.cancel();
            stop.cancel();
            left
        };
        let (ran, left) = tokio::join!(builder.run(drain.clone(), stop.clone()), look);
        ran.unwrap();
        assert!(left < 2, "{left} things that a worker told are left");
    }
}
