//! Jobs in a real Redis: how they are held, and who says that he is there.

use std::collections::BTreeMap;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use bullmq::{Worker, WorkerOptions};

use super::hold::{Held, Hold};
use super::link::Link;
use super::roster::{self, Announcement};
use super::server::RedisConfig;
use super::{BullmqConfig, BullmqExecutor, strangers};
use crate::domain::lane::{Lane, Lanes};
use crate::domain::upload::Refusal;
use crate::executor::exchange::{Caller, Exchange, ExchangeError, Key, Wish};
use crate::executor::{BuildOrder, Executor as _, testing};
use crate::logstore::LogStore;
use crate::sys::process::{Child, Program};

/// What says that a port is this process's; the system takes it away with the process.
static OURS: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());

/// A port on which nobody will listen but whoever asked: it is none of those that the system gives out by itself, and
/// other tests ask for theirs in the same way (`tests/it/support/redis.rs`).
fn free_port() -> u16 {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let given_out: u16 = range.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(32_768);
    let (first, last) = if given_out > 20_000 { (10_000, given_out - 1) } else { (10_000, u16::MAX) };
    let mut ports = (first..=last).cycle().skip(std::process::id() as usize % usize::from(last - first));
    ports.find(|port| is_ours(*port)).unwrap()
}

/// Takes a port if nobody has it.
fn is_ours(port: u16) -> bool {
    let name = SocketAddr::from_abstract_name(format!("pkgwarden-test-port-{port}")).unwrap();
    let Ok(taken) = UnixListener::bind_addr(&name) else { return false };
    OURS.lock().unwrap().push(taken);
    std::net::TcpListener::bind(("127.0.0.1", port)).is_ok()
}

pub(super) struct Redis {
    pub(super) url: String,
    child: Child,
    dir: tempfile::TempDir,
}

impl Redis {
    pub(super) async fn start(arguments: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let program = Program::new("redis-server").args(["--port", &port.to_string(), "--bind", "127.0.0.1"]);
        let program = program.args(["--save", "", "--dir", &dir.path().display().to_string()]).args(arguments);
        let child = program.spawn().expect("redis-server is installed");
        let up = async {
            while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), up).await.expect("it comes up");
        Self { url: format!("redis://127.0.0.1:{port}/0"), child, dir }
    }

    async fn kill(&mut self) {
        self.child.kill();
        self.child.wait().await.unwrap();
    }

    fn port(&self) -> &str {
        self.url.trim_start_matches("redis://127.0.0.1:").trim_end_matches("/0")
    }

    pub(super) fn link(&self) -> Link {
        link(&self.url)
    }
}

fn link(url: &str) -> Link {
    let redis = RedisConfig { url: url.parse().unwrap(), password: None, ca: None };
    Link::new(redis, "bull".to_owned())
}

async fn flush(link: &Link) {
    link.ask::<String>(&redis::cmd("FLUSHALL")).await.unwrap();
}

/// A worker that only takes jobs by hand.
async fn worker(link: &Link, lock: Duration) -> Worker {
    let options = WorkerOptions {
        connection: link.server().await.unwrap().options.clone(),
        lock_duration: lock.as_millis().try_into().unwrap(),
        autorun: false,
        ..WorkerOptions::default()
    };
    Worker::with_options("builds", |_, _| async { Ok(serde_json::Value::Null) }, options).await.unwrap()
}

const ID: &str = "packages/x86_64/foo/a1";
const LOCK: Duration = Duration::from_secs(30);

async fn taken(link: &Link, token: &str, lock: Duration) -> Hold {
    let job = worker(link, lock).await.get_next_job_nonblocking(token).await.unwrap().expect("a job");
    assert_eq!(job.id(), ID);
    Hold::of(link, "builds", &job, token, LOCK)
}

#[tokio::test]
async fn a_job_that_redis_forgot_is_taken_back_with_its_data_and_ends_as_any_other() {
    let redis = Redis::start(&[]).await;
    let link = link(&redis.url);
    let queue = link.queue("builds").await.unwrap();
    queue.add("build", serde_json::json!({"pkgbase": "foo"})).job_id(ID).await.unwrap();
    let hold = taken(&link, "one:1", LOCK).await;
    assert_eq!(hold.keep(false).await.unwrap(), Held::Ours);
    flush(&link).await;
    assert_eq!(hold.keep(false).await.unwrap(), Held::Gone);
    assert_eq!(hold.keep(true).await.unwrap(), Held::Ours);
    let job = queue.get_job(ID).await.unwrap().expect("it is there again");
    assert_eq!(job.data()["pkgbase"], "foo");
    assert!(job.is_active().await.unwrap());
    let counts = queue.get_job_counts().await.unwrap();
    assert_eq!((counts.active, counts.waiting), (1, 0));
}

#[tokio::test]
async fn a_job_that_was_put_back_meanwhile_is_taken_out_of_the_queue_again() {
    let redis = Redis::start(&[]).await;
    let link = link(&redis.url);
    let queue = link.queue("builds").await.unwrap();
    queue.add("build", serde_json::json!({})).job_id(ID).await.unwrap();
    let hold = taken(&link, "one:1", LOCK).await;
    flush(&link).await;
    queue.add("build", serde_json::json!({})).job_id(ID).await.unwrap();
    assert_eq!(hold.keep(false).await.unwrap(), Held::Ours);
    let counts = queue.get_job_counts().await.unwrap();
    assert_eq!((counts.active, counts.waiting), (1, 0));
    assert!(worker(&link, LOCK).await.get_next_job_nonblocking("two:1").await.unwrap().is_none());
}

#[tokio::test]
async fn of_two_builders_only_the_one_with_the_lock_goes_on() {
    let redis = Redis::start(&[]).await;
    let link = link(&redis.url);
    let queue = link.queue("builds").await.unwrap();
    queue.add("build", serde_json::json!({})).job_id(ID).await.unwrap();
    let first = taken(&link, "one:1", LOCK).await;
    flush(&link).await;
    queue.add("build", serde_json::json!({})).job_id(ID).await.unwrap();
    let second = taken(&link, "two:1", LOCK).await;
    assert_eq!(first.keep(true).await.unwrap(), Held::Theirs("two:1".to_owned()));
    assert_eq!(second.keep(true).await.unwrap(), Held::Ours);
}

#[tokio::test]
async fn a_builder_says_that_it_is_there_until_it_goes() {
    let redis = Redis::start(&["--requirepass", "s3cret"]).await;
    let link = link(&redis.url.replace("redis://", "redis://:s3cret@"));
    let said = |name: &str| Announcement {
        name: name.to_owned(),
        class: 2,
        slots: 4,
        version: "1".to_owned(),
        builds: vec!["a1".to_owned()],
        process: "p1".to_owned(),
        trouble: None,
    };
    for name in ["two", "one"] {
        roster::announce(&link, &said(name)).await.unwrap();
    }
    assert_eq!(roster::present(&link).await.unwrap(), [said("one"), said("two")]);
    assert_eq!(roster::said_as(&link, "one").await.unwrap(), Some(said("one")));
    roster::withdraw(&link, "one").await.unwrap();
    assert_eq!(roster::said_as(&link, "one").await.unwrap(), None);
    assert_eq!(roster::present(&link).await.unwrap(), [said("two")]);
}

#[tokio::test]
async fn a_wrong_password_is_said_without_it_and_a_user_of_an_acl_may_come_in() {
    let users = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(users.path(), "user default off\nuser warden on >p@ss ~* &* +@all\n").unwrap();
    let redis = Redis::start(&["--aclfile", &users.path().display().to_string()]).await;
    let wrong = link(&redis.url.replace("redis://", "redis://warden:wr0ng@"));
    let said = wrong.ask::<String>(&redis::cmd("PING")).await.unwrap_err().to_string();
    assert!(said.contains(&format!("redis://127.0.0.1:{}/0 cannot be used", redis.port())), "{said}");
    assert!(!said.contains("wr0ng"), "{said}");
    let right = link(&redis.url.replace("redis://", "redis://warden:p%40ss@"));
    right.ask::<String>(&redis::cmd("PING")).await.unwrap();
}

#[tokio::test]
async fn workers_are_seen_by_their_connections_and_where_that_is_not_allowed_it_is_said() {
    let users = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(users.path(), "user default on nopass ~* &* +@all\nuser careful on >x ~* &* +@all -@dangerous\n")
        .unwrap();
    let redis = Redis::start(&["--aclfile", &users.path().display().to_string()]).await;
    let careful = link(&redis.url.replace("redis://", "redis://careful:x@"));
    let lanes = Lanes { base: "builds".to_owned() };
    assert_eq!(strangers::workers(&careful, &lanes).await.unwrap(), None);
    let link = redis.link();
    assert_eq!(strangers::workers(&link, &lanes).await.unwrap(), Some(vec![]));
    let worker = worker(&link, LOCK).await;
    worker.run().await.unwrap();
    while strangers::workers(&link, &lanes).await.unwrap() != Some(vec![(Lane::Class(0), String::new())]) {
        tokio::task::yield_now().await;
    }
    drop(redis);
    strangers::workers(&link, &lanes).await.unwrap_err();
}

#[tokio::test]
async fn the_master_is_found_by_its_sentinel() {
    let redis = Redis::start(&[]).await;
    found_by_its_sentinel(&redis, "", "").await;
}

#[tokio::test]
async fn a_sentinel_that_wants_a_password_is_given_that_of_the_server() {
    let redis = Redis::start(&["--requirepass", "s3cret"]).await;
    let more = "sentinel auth-pass warden s3cret\n";
    found_by_its_sentinel(&redis, ":s3cret@", &format!("{more}requirepass s3cret\n")).await;
    found_by_its_sentinel(&redis, ":s3cret@", more).await;
}

async fn found_by_its_sentinel(redis: &Redis, login: &str, more: &str) {
    let conf = tempfile::NamedTempFile::new_in(redis.dir.path()).unwrap().into_temp_path();
    let text = format!("port 0\nsentinel monitor warden 127.0.0.1 {} 1\n{more}", redis.port());
    let port = free_port();
    std::fs::write(&conf, text.replace("port 0", &format!("port {port}"))).unwrap();
    let _sentinel = Program::new("redis-server").arg(&conf).arg("--sentinel").spawn().unwrap();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        tokio::task::yield_now().await;
    }
    let link = link(&format!("redis-sentinel://{login}127.0.0.1:1,127.0.0.1:{port}/warden"));
    let queue = link.queue("builds").await.unwrap();
    queue.add("build", serde_json::json!({})).job_id(ID).await.unwrap();
    let direct = super::tests::link(&redis.url.replace("redis://", &format!("redis://{login}")));
    assert!(direct.queue("builds").await.unwrap().get_job(ID).await.unwrap().is_some());
}

async fn certificate(dir: &Path) {
    let words = "req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out ca.pem -days 2 -subj /CN=localhost \
                 -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE";
    let made = Program::new("openssl").args(words.split_whitespace()).current_dir(dir).run().await.unwrap();
    assert!(made.status.success(), "{}", made.stderr_text());
}

#[tokio::test]
async fn tls_is_spoken_with_a_server_that_our_own_file_vouches_for() {
    let dir = tempfile::tempdir().unwrap();
    certificate(dir.path()).await;
    let port = free_port();
    let file = |name: &str| dir.path().join(name).display().to_string();
    let port_word = port.to_string();
    let (cert, key) = (file("ca.pem"), file("key.pem"));
    let arguments =
        ["--tls-port", &port_word, "--tls-cert-file", &cert, "--tls-key-file", &key, "--tls-ca-cert-file", &cert];
    let _redis = Redis::start(&[&arguments[..], &["--tls-auth-clients", "no"]].concat()).await;
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        tokio::task::yield_now().await;
    }
    let url = format!("rediss://localhost:{port}/0").parse().unwrap();
    let ca = Some(std::fs::read(dir.path().join("ca.pem")).unwrap());
    let trusting = Link::new(RedisConfig { url, password: None, ca }, "bull".to_owned());
    trusting.ask::<String>(&redis::cmd("PING")).await.unwrap();
    let strange = super::tests::link(&format!("rediss://localhost:{port}/0"));
    strange.ask::<String>(&redis::cmd("PING")).await.unwrap_err();
}

/// A controller whose Redis is there or not, and the exchange of its builders.
pub(super) fn controller(dir: &Path, url: &str) -> (BullmqExecutor, Exchange) {
    let logs = LogStore::new(dir.join("logs")).unwrap();
    let key = Key::keep(&dir.join("key")).unwrap();
    let exchange = Exchange::open(dir.join("attempts"), logs.clone(), key, BTreeMap::new()).unwrap();
    exchange.reached_at("http://127.0.0.1:1");
    let redis = RedisConfig { url: url.parse().unwrap(), password: None, ca: None };
    let (prefix, queue) = ("bull".to_owned(), "builds".to_owned());
    let config = BullmqConfig { redis, prefix, queue, work_dir: dir.join("queued") };
    (BullmqExecutor::open(config, logs, exchange.clone()).unwrap(), exchange)
}

pub(super) fn order(attempt: &str) -> BuildOrder {
    BuildOrder { repository: "packages".to_owned(), ..testing::order(attempt) }
}

/// The clock stands still here unless everybody waits for it, so that whoever waits for it is found out.
#[tokio::test(start_paused = true)]
async fn that_a_build_is_cancelled_reaches_its_builder_without_redis_and_without_a_clock() {
    let dir = tempfile::tempdir().unwrap();
    let (executor, exchange) = controller(dir.path(), "redis://127.0.0.1:1/0");
    let handle = executor.submit(order("a1")).await.unwrap();
    let mut wish = exchange.wish("a1").unwrap();
    let told = tokio::spawn(async move {
        wish.wait_for(|wish| *wish == Wish::Cancelled).await.unwrap();
        tokio::time::Instant::now()
    });
    tokio::task::yield_now().await;
    let cancelled = tokio::time::Instant::now();
    executor.cancel(&handle).await.unwrap();
    assert_eq!(told.await.unwrap(), cancelled);
}

#[tokio::test]
async fn a_claim_is_right_for_whoever_has_the_lock_and_for_nobody_while_that_is_unknown() {
    let mut redis = Redis::start(&[]).await;
    let dir = tempfile::tempdir().unwrap();
    let (executor, exchange) = controller(dir.path(), &redis.url);
    let handle = executor.submit(order("a1")).await.unwrap();
    let link = link(&redis.url);
    let worker = worker(&link, LOCK).await;
    let job = async {
        loop {
            if let Some(job) = worker.get_next_job_nonblocking("one:1").await.unwrap() {
                return job;
            }
            tokio::task::yield_now().await;
        }
    };
    let job = tokio::time::timeout(Duration::from_secs(30), job).await.expect("it is put into the queue");
    exchange.claim("a1", "one:1").await.unwrap();
    let refused = exchange.claim("a1", "two:1").await;
    assert!(matches!(refused, Err(ExchangeError::Refused(Refusal::Taken))), "{refused:?}");
    let lock = format!("bull:builds:{}:lock", job.id());
    link.ask::<String>(redis::cmd("SET").arg(&lock).arg("two:1")).await.unwrap();
    exchange.claim("a1", "two:1").await.unwrap();
    let late = exchange.claim("a1", "one:1").await;
    assert!(matches!(late, Err(ExchangeError::Refused(Refusal::Taken))), "{late:?}");
    link.ask::<i64>(redis::cmd("DEL").arg(&lock)).await.unwrap();
    let nobody = exchange.claim("a1", "three:1").await;
    assert!(matches!(nobody, Err(ExchangeError::Unsure(_))), "{nobody:?}");
    redis.kill().await;
    let away = exchange.claim("a1", "three:1").await;
    assert!(matches!(away, Err(ExchangeError::Unsure(_))), "{away:?}");
    exchange.wish(Caller { attempt: "a1", claim: Some("two:1") }).unwrap();
    drop((executor, handle));
}
