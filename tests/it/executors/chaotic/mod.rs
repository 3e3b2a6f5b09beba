//! Builds by a Chaotic Manager, played by real nodes of Moleculer and real workers of `BullMQ` as it has (and had) them.
//!
//! - [`bus`]: what only the coordinator on the bus does
//! - [`queues`]: what only the queues of the time before do

mod bus;
mod queues;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use pkgwarden::domain::chaotic::Route;
use pkgwarden::domain::folder::Folder;
use pkgwarden::domain::name::{Oid, PkgBase};
use pkgwarden::executor::bullmq::server::RedisConfig;
use pkgwarden::executor::chaotic::{Chaotic, ChaoticConfig, ChaoticExecutor, Era, Pacing};
use pkgwarden::executor::{AttemptReport, BuildOrder, Ending, Executor, Handle, Kept};
use pkgwarden::logstore::LogStore;
use pkgwarden::sys::process::{Child, Program};
use serde_json::Value;
use tokio::io::AsyncBufReadExt as _;
use tokio::time::Instant;

use super::conformance::{self, HALF, Rig, Story};
use crate::support::node::services;
use crate::support::redis::Redis;
use crate::support::scene::names_in;

/// Often, so that tests are over soon. What a busy machine keeps from answering for some seconds is not missing.
fn pacing() -> Pacing {
    Pacing {
        look: Duration::from_millis(100),
        log: Duration::from_millis(20),
        grace: Duration::from_secs(10),
        rest: Duration::from_millis(50),
        lost_after: Duration::from_hours(1),
    }
}

/// What each attempt builds, so that the manager on stage can tell builds apart.
fn commit(attempt: &str) -> Oid {
    let mut bytes = [0xc0; 20];
    bytes[..attempt.len()].copy_from_slice(attempt.as_bytes());
    Oid::from_bytes(bytes)
}

/// A manager on a Redis of its own, and what it is told to do.
pub struct World {
    dir: tempfile::TempDir,
    pub redis: Redis,
    era: Era,
    /// The version of Moleculer that it has.
    moleculer: &'static str,
    manager: Option<Child>,
}

impl World {
    pub async fn new(era: Era) -> Self {
        let mut world = Self::empty(era).await;
        world.begin().await;
        world
    }

    /// Where the manager is yet to come.
    async fn empty(era: Era) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("play")).unwrap();
        let redis = Redis::start(&dir.path().join("redis"), &[]).await;
        Self { dir, redis, era, moleculer: "moleculer", manager: None }
    }

    fn program(&self) -> Program {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let tools = services();
        let script = match self.era {
            Era::Bus => "coordinator.cjs",
            Era::Queues => "queues.cjs",
        };
        Program::new(tools.join("node_modules/.bin/node"))
            .arg(here.join("tests/it/executors/chaotic").join(script))
            .arg(tools)
            .arg(self.redis.port.to_string())
            .arg(self.path("play"))
            .arg(self.moleculer)
    }

    /// Begins the manager, and waits until it is there.
    async fn begin(&mut self) {
        let mut child = self.program().spawn().expect("node starts");
        let mut lines = tokio::io::BufReader::new(child.stdout().unwrap()).lines();
        let first = lines.next_line().await.unwrap();
        assert_eq!(first.as_deref(), Some("ready"), "{}", self.path("play").display());
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        self.manager = Some(child);
    }

    /// Ends the manager at once.
    async fn kill(&mut self) {
        let mut child = self.manager.take().expect("it is there");
        child.kill();
        child.wait().await.unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Tells the manager something.
    pub fn tell(&self, name: &str, text: &str) {
        std::fs::write(self.path("play").join(name), text).unwrap();
    }

    fn forget(&self, name: &str) {
        std::fs::remove_file(self.path("play").join(name)).unwrap();
    }

    /// What was asked of the manager and begun by it.
    fn said(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.path("play/said")).unwrap_or_default();
        // A line may be half written.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// What was asked of one action or queue.
    pub fn asked(&self, what: &str) -> Vec<Value> {
        self.said().into_iter().filter(|said| said["action"] == what || said["queue"] == what).collect()
    }

    /// Waits until something was said.
    pub async fn until_said(&self, wanted: impl Fn(&Value) -> bool) {
        until(|| self.said().iter().any(&wanted)).await;
    }

    fn executor(&self) -> (Arc<dyn Executor>, LogStore) {
        open(self, LogStore::new(self.path("logs")).unwrap())
    }

    /// A build of `small` that does this.
    fn build(&self, attempt: &str, story: &str) -> BuildOrder {
        let commit = commit(attempt);
        self.tell(&commit.to_string(), story);
        let route = Route {
            target: "mine".into(),
            source: "packages".into(),
            mirror: Some("https://mirror.example/$repo/os/$arch".into()),
        };
        let files = Folder::default().with("PKGBUILD", "pkgname=small\n");
        BuildOrder { commit, route, ..conformance::order(attempt, files, Vec::new()) }
    }

    /// Asks for a build, and waits for its end.
    async fn see(&self, story: &str) -> (AttemptReport, String) {
        let (executor, logs) = self.executor();
        let handle = executor.submit(self.build("1-1", story)).await.unwrap();
        let report = executor.finished(&handle).await.unwrap();
        executor.discard(&handle).await.unwrap();
        (report, text(&logs, "1-1"))
    }

    /// Has a build begin, and then somebody else ask for the same package: what comes of the first, with its log.
    async fn see_replaced(&self, asked_for_second: &Value) -> (AttemptReport, String) {
        let (executor, logs) = self.executor();
        let handle = executor.submit(self.build("1-1", "waits")).await.unwrap();
        until_printed(&logs, &handle, HALF).await;
        self.build("2-1", "succeeds");
        let schedule = self.program().env("SCHEDULE", asked_for_second.to_string());
        assert!(schedule.run().await.unwrap().status.success());
        (executor.finished(&handle).await.unwrap(), text(&logs, "1-1"))
    }

    /// All keys that are there, without what changes from run to run.
    fn keys(&self) -> Vec<String> {
        let mut connection = redis::Client::open(self.redis.url()).unwrap().get_connection().unwrap();
        let mut keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut connection).unwrap();
        for key in &mut keys {
            if let Some((name, last)) = key.rsplit_once(':')
                && last.parse::<u64>().is_ok()
            {
                *key = format!("{name}:NUMBER");
            }
        }
        keys.sort();
        keys.dedup();
        keys
    }

    /// What the manager has of builds that are not over, and keys that it would not have without us.
    pub fn open_builds(&self) -> Vec<String> {
        let expected = |key: &String| match self.era {
            Era::Bus => key == "build-queue" || key.starts_with("build-logs:"),
            Era::Queues => {
                let kept = ["meta", "id", "events", "marker", "stalled-check", "pc"];
                let queues = ["dispatch", "builds", "database"];
                let mut ours = queues.iter().flat_map(|queue| kept.map(|name| format!("bull:{queue}:{name}")));
                key.starts_with("build-logs:") || ours.any(|name| name == *key)
            }
        };
        let mut open: Vec<String> = self.keys().into_iter().filter(|key| !expected(key)).collect();
        if let Era::Bus = self.era {
            let mut connection = redis::Client::open(self.redis.url()).unwrap().get_connection().unwrap();
            let queue: Option<String> = redis::cmd("GET").arg("build-queue").query(&mut connection).unwrap();
            open.extend(queue.filter(|queue| !queue.contains("\"save_queue\":[]")));
        }
        open
    }
}

/// What these stories come to in a world of this time, each told with a reason.
async fn each_ends(era: Era, ends: &[(&str, Ending)]) {
    for (story, ending) in ends {
        let (report, log) = World::new(era).await.see(story).await;
        assert_eq!(report.ending, *ending, "{story}: {report:?}\n{log}");
        assert!(!report.message.is_empty() && log.contains(HALF), "{story}: {report:?}\n{log}");
    }
}

/// Nothing stays but these packages.
fn kept(names: &[&str]) -> Kept {
    let packages = names.iter().map(|name| PkgBase::new(name).unwrap()).collect();
    Kept { repo: "mine".into(), arch: "x86_64".into(), packages }
}

/// The executor as a process opens it, with these logs.
fn open(world: &World, logs: LogStore) -> (Arc<dyn Executor>, LogStore) {
    open_at(&world.redis.url(), world.dir.path(), world.era, logs)
}

fn open_at(url: &str, dir: &Path, era: Era, logs: LogStore) -> (Arc<dyn Executor>, LogStore) {
    let redis = RedisConfig { url: url.parse().unwrap(), password: None, ca: None };
    let manager = Chaotic::open(ChaoticConfig { redis, era, pacing: pacing() }).unwrap();
    let executor = ChaoticExecutor::open(manager, dir.join("chaotic"), logs.clone(), None).unwrap();
    (Arc::new(executor), logs)
}

fn text(logs: &LogStore, attempt: &str) -> String {
    String::from_utf8(logs.read(attempt, 0, usize::MAX).unwrap()).unwrap()
}

/// Waits until something is so.
pub async fn until(is_so: impl Fn() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), wait).await.expect("it comes to be so");
}

/// Waits until a log has this.
async fn until_printed(logs: &LogStore, handle: &Handle, wanted: &str) {
    until(|| text(logs, &handle.attempt).contains(wanted)).await;
}

/// Asks for a removal until it is done.
async fn until_removed(executor: &Arc<dyn Executor>, kept: &Kept) {
    let wait = async {
        while !executor.keep_packages(kept.clone()).await.unwrap() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), wait).await.expect("it is done");
}

impl Rig for World {
    fn open(&self) -> BoxFuture<'static, (Arc<dyn Executor>, LogStore)> {
        let (url, dir, era) = (self.redis.url(), self.dir.path().to_owned(), self.era);
        async move { open_at(&url, &dir, era, LogStore::new(dir.join("logs")).unwrap()) }.boxed()
    }

    fn order(&self, attempt: &str, story: Story) -> BuildOrder {
        self.build(attempt, story.word())
    }

    fn let_go(&self, attempt: &str) -> BoxFuture<'_, ()> {
        self.tell(&format!("{}.go", commit(attempt)), "");
        async {}.boxed()
    }

    fn lose(&self, attempt: &str) -> BoxFuture<'_, ()> {
        self.tell(&format!("{}.lose", commit(attempt)), "");
        async {}.boxed()
    }

    fn begun(&self, attempt: &str) -> Option<usize> {
        let commit = commit(attempt).to_string();
        Some(self.said().iter().filter(|said| said["begun"] == commit.as_str()).count())
    }

    fn leftovers(&self) -> Vec<String> {
        // The manager clears up after it has told of an end.
        let patience = Instant::now() + Duration::from_mins(1);
        while Instant::now() < patience && !self.open_builds().is_empty() {
            std::thread::sleep(Duration::from_millis(10));
        }
        names_in(&self.path("chaotic")).into_iter().chain(self.open_builds()).collect()
    }
}
