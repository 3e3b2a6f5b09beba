//! Builds by a builder of ours, as a process of its own, through a real Redis and over HTTP.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use pkgwarden::app;
use pkgwarden::config::settings;
use pkgwarden::controller::face::Face as _;
use pkgwarden::domain::build::Outcome;
use pkgwarden::domain::folder::Folder;
use pkgwarden::executor::{BuildOrder, Ending, Executor};
use pkgwarden::http;
use pkgwarden::logstore::LogStore;
use pkgwarden::sys::clock::SystemClock;
use pkgwarden::sys::process::{Child, Program};
use tokio_util::sync::CancellationToken;

use super::conformance::{self, Rig, Story, conforms};
use crate::support::redis::{Redis, free_port};
use crate::support::scene::names_in;

/// How often the builders of a job have to be lost until it counts as failed.
const LOSSES: usize = 4;

/// A Redis, a builder, and the address at which the controller is.
struct BullmqRig {
    dir: tempfile::TempDir,
    port: u16,
    redis: Redis,
    builder: Mutex<Child>,
}

impl BullmqRig {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let (port, redis) = (free_port(), Redis::start(&dir.path().join("redis"), &[]).await);
        let config = format!(
            "[server]\nlisten = \"127.0.0.1:{port}\"\ndata_dir = \"{0}/data\"\n[publish]\ndir = \"{0}/published\"\n\
             [[repository]]\nname = \"mine\"\nurl = \"{0}/packages.git\"\n[executor]\nkind = \"bullmq\"\n\
             [executor.bullmq]\nurl = \"{1}\"\n",
            dir.path().display(),
            redis.url()
        );
        fs::write(dir.path().join("pkgwarden.toml"), config).unwrap();
        let builder = Mutex::new(builder(dir.path()));
        Self { dir, port, redis, builder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The builder is gone, and the lock that it had on this job; another one begins in its place.
    async fn replace_builder(&self, lock: &str) {
        self.builder.lock().unwrap().kill();
        // What a builder does that ends so is all over before another one looks at its directory.
        while fs::read_dir("/proc").unwrap().filter_map(Result::ok).any(|entry| is_of(&entry.path(), self.dir.path())) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // As if the time had passed that it lasts.
        self.redis.ask::<usize>(&["DEL", lock]).await;
        *self.builder.lock().unwrap() = builder(self.dir.path());
    }

    fn left(&self) -> Vec<String> {
        let places = ["data/queued", "data/attempts", "data/builders/one/work", "data/builders/one/logs"];
        let mut left: Vec<String> = places.iter().flat_map(|place| names_in(&self.path(place))).collect();
        let mut redis = redis::Client::open(self.redis.url()).unwrap().get_connection().unwrap();
        let jobs: Vec<String> = redis::cmd("KEYS").arg("bull:builds*:mine/*").query(&mut redis).unwrap();
        left.extend(jobs);
        left
    }
}

/// Whether a process is a builder of this directory, or one of its sandboxes.
fn is_of(process: &Path, dir: &Path) -> bool {
    let words = fs::read(process.join("cmdline")).unwrap_or_default();
    let words = String::from_utf8_lossy(&words).into_owned();
    words.contains(&dir.display().to_string()) && !words.contains("redis-server")
}

fn builder(dir: &Path) -> Child {
    let program = Program::new(env!("CARGO_BIN_EXE_pkgwarden")).env_clear().inherit("PATH").env("HOME", dir);
    let config = dir.join("pkgwarden.toml").display().to_string();
    let mut child = program.args(["--config", &config, "builder", "--name", "one"]).spawn().unwrap();
    let mut said = child.stderr().expect("piped");
    tokio::spawn(async move { tokio::io::copy(&mut said, &mut tokio::io::sink()).await });
    child
}

/// The controller without what hands out builds: that is done by the cases.
async fn controller(config: PathBuf, port: u16) -> (Arc<dyn Executor>, LogStore) {
    let text = fs::read_to_string(&config).unwrap();
    let settings = settings::load(Some(("pkgwarden.toml", &text)), &BTreeMap::new()).unwrap();
    let serving = app::serving(&settings, config.parent().unwrap(), Arc::new(SystemClock)).unwrap();
    let app::Serving { controller, dispatcher, exchange, lock } = serving;
    let (exchange, executor) = (exchange.unwrap(), dispatcher.unwrap().executor());
    let (logs, builders) = (controller.logs().clone(), controller.serve_builders(exchange.clone()));
    let server = http::Server::new(http::Options {
        face: Arc::new(controller),
        inbox: None,
        builders: Some(builders),
        published: BTreeMap::new(),
        clock: Arc::new(SystemClock),
        keys: http::Keys { token: None, pages: None },
        public_url: None,
        hosts: Vec::new(),
        stop: CancellationToken::new(),
    });
    let (server, tcp) = (server.unwrap(), tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap());
    exchange.reached_at(&format!("http://127.0.0.1:{port}"));
    tokio::spawn(async move {
        // Given back when the process ends, as everything else.
        let _lock = lock;
        http::serve(&server, Some(tcp), None).await;
    });
    (executor, logs)
}

impl Rig for BullmqRig {
    fn open(&self) -> BoxFuture<'static, (Arc<dyn Executor>, LogStore)> {
        controller(self.path("pkgwarden.toml"), self.port).boxed()
    }

    fn order(&self, attempt: &str, story: Story) -> BuildOrder {
        let srcinfo = "pkgbase = small\n\tpkgver = 1\n\tpkgrel = 1\n\tarch = any\n\npkgname = small\n";
        let files = Folder::default().with("PKGBUILD", story.recipe()).with(".SRCINFO", srcinfo);
        conformance::order(attempt, files, Vec::new())
    }

    fn let_go(&self, attempt: &str) -> BoxFuture<'_, ()> {
        fs::write(self.path("data/builders/one/work").join(attempt).join("tree/start/go"), "").unwrap();
        async {}.boxed()
    }

    fn lose(&self, attempt: &str) -> BoxFuture<'_, ()> {
        let id = format!("mine/x86_64/small/{attempt}");
        let lock = format!("bull:builds:{id}:lock");
        async move {
            let is_over = async || {
                let ended: Option<f64> = self.redis.ask(&["ZSCORE", "bull:builds:failed", &id]).await;
                ended.is_some()
            };
            for _ in 0..LOSSES {
                self.replace_builder(&lock).await;
                while self.redis.ask::<usize>(&["EXISTS", &lock]).await == 0 && !is_over().await {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        .boxed()
    }

    fn leftovers(&self) -> Vec<String> {
        // What a builder or Redis still has is taken away as soon as they let go of it.
        let looks = std::iter::repeat_with(|| {
            std::thread::sleep(Duration::from_millis(50));
            self.left()
        });
        let mut last = self.left();
        for left in looks.take(1200) {
            if last.is_empty() {
                break;
            }
            last = left;
        }
        last
    }
}

conforms!(BullmqRig::new().await);

/// The question waits for a minute, and who asks it for a third of that: only what is told at once is heard.
#[tokio::test]
async fn whoever_asks_whether_to_go_on_is_answered_when_that_changes_and_not_later() {
    let rig = BullmqRig::new().await;
    rig.builder.lock().unwrap().kill();
    let (executor, _) = rig.open().await;
    let handle = executor.submit(rig.order("1-1", Story::Succeeds)).await.unwrap();
    let job: serde_json::Value = {
        let record = fs::read(rig.path("data/queued/1-1/record.json")).unwrap();
        serde_json::from_slice::<serde_json::Value>(&record).unwrap()["job"].take()
    };
    let ask = async |wait: u64| {
        let client = pkgwarden::sys::http::client(Duration::from_secs(20));
        let url = format!("{}?wait={wait}", job["wish"].as_str().unwrap());
        let asked = client.get(url).bearer_auth(job["token"].as_str().unwrap()).send().await;
        asked.expect("an answer in time").json::<serde_json::Value>().await.unwrap()["wish"].take()
    };
    let cancel = async {
        // What is asked after it is answered, so that it has been heard.
        for _ in 0..3 {
            assert_eq!(ask(0).await, "go_on");
        }
        executor.cancel(&handle).await.unwrap();
    };
    let (told, ()) = tokio::join!(ask(60), cancel);
    assert_eq!(told, "cancelled");
    executor.discard(&handle).await.unwrap();
}

#[tokio::test]
async fn what_somebody_put_in_the_place_of_a_job_goes_and_the_build_is_carried_out() {
    let rig = BullmqRig::new().await;
    rig.builder.lock().unwrap().kill();
    let (executor, _) = rig.open().await;
    let handle = executor.submit(rig.order("1-1", Story::Succeeds)).await.unwrap();
    let job = "bull:builds:mine/x86_64/small/1-1";
    let until = async |kind: &str| {
        while rig.redis.ask::<String>(&["TYPE", job]).await != kind {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    until("hash").await;
    rig.redis.ask::<String>(&["SET", job, "theirs"]).await;
    until("hash").await;
    *rig.builder.lock().unwrap() = builder(rig.dir.path());
    let report = executor.finished(&handle).await.unwrap();
    assert_eq!(report.ending, Ending::Done(Outcome::Succeeded), "{report:?}");
}
