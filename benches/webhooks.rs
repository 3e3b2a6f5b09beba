//! 10,000 deliveries of a forge to the real program over loopback: how long each waits for its answer, and whether one
//! that was answered is lost when the program is killed in the middle.
//!
//! Fails if 99 of 100 are not answered within 20 ms, or one is lost. `.ci/bench` reads `target/webhooks-bench`.

#![expect(clippy::print_stdout, reason = "what was measured is for people")]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pkgwarden::sys::http;
use pkgwarden::sys::process::{Child, Program};
use pkgwarden::web::text::hex;
use sha2::Sha256;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

const DELIVERIES: usize = 10_000;
const AT_ONCE: usize = 8;
const KILLED_AFTER: usize = DELIVERIES / 2;
const TARGET: Duration = Duration::from_millis(20);
const SECRET: &str = "It's a Secret to Everybody";

/// The program, serving.
struct Serving {
    child: Child,
    url: String,
}

impl Serving {
    async fn start(dir: &Path) -> Self {
        let shown = |name: &str| dir.join(name).display().to_string();
        let mut child = Program::new(env!("CARGO_BIN_EXE_pkgwarden"))
            .args(["-C", &shown("packages.git"), "serve"])
            .env("PKGWARDEN__SERVER__DATA_DIR", shown("data"))
            .env("PKGWARDEN__SERVER__LISTEN", "127.0.0.1:0")
            .env("PKGWARDEN__EXECUTOR__KIND", "none")
            .env("PKGWARDEN__FORGE__KIND", "github")
            .env("PKGWARDEN__FORGE__WEBHOOK_SECRET_FILE", shown("secret"))
            .spawn()
            .expect("it starts");
        let mut lines = BufReader::new(child.stderr().expect("piped")).lines();
        let mut heard = String::new();
        while let Some(line) = lines.next_line().await.expect("readable") {
            if let Some((_, url)) = line.split_once("listening on ") {
                let url = format!("{}/hooks/packages", url.trim_end_matches('/'));
                // What it says later is read away, so that it never waits for a reader.
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                return Self { child, url };
            }
            heard.push_str(&line);
        }
        panic!("it ended: {heard}")
    }

    async fn end(mut self, signal: Signal) {
        let pid = self.child.id().expect("it runs").try_into().expect("a process id");
        kill(Pid::from_raw(pid), signal).expect("it runs");
        self.child.wait().await.expect("it ends");
    }
}

/// What became of deliveries.
#[derive(Default)]
struct Outcome {
    answered: Vec<(usize, Duration)>,
    unanswered: Vec<usize>,
}

/// Delivers one; how long the answer took, if there was one.
async fn deliver(client: &reqwest::Client, url: &str, number: usize) -> Option<Duration> {
    let after = format!("{:040x}", number + 1);
    let body = format!(r#"{{"ref":"refs/heads/main","before":"{}","after":"{after}"}}"#, "0".repeat(40));
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("any length");
    mac.update(body.as_bytes());
    let signature = hex(&mac.finalize().into_bytes());
    let request = client
        .post(url)
        .header("content-type", "application/json")
        .header("x-github-event", "push")
        .header("x-github-delivery", number.to_string())
        .header("x-hub-signature-256", format!("sha256={signature}"))
        .body(body);
    let begun = Instant::now();
    let answer = request.send().await.ok()?;
    assert_eq!(answer.status().as_u16(), 202, "delivery {number}");
    answer.bytes().await.ok()?;
    Some(begun.elapsed())
}

/// Delivers these, several at a time; `half` hears when so many have been answered as the program is to live.
async fn deliver_all(url: &str, numbers: Vec<usize>, half: Arc<Notify>) -> Outcome {
    let (numbers, next, answered) = (Arc::new(numbers), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut workers = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (numbers, next, answered, half) = (numbers.clone(), next.clone(), answered.clone(), half.clone());
        let (client, url) = (http::client(Duration::from_secs(30)), url.to_owned());
        workers.spawn(async move {
            let mut outcome = Outcome::default();
            while let Some(&number) = numbers.get(next.fetch_add(1, Ordering::SeqCst)) {
                match deliver(&client, &url, number).await {
                    Some(took) => outcome.answered.push((number, took)),
                    None => outcome.unanswered.push(number),
                }
                if answered.fetch_add(1, Ordering::SeqCst) + 1 == KILLED_AFTER {
                    half.notify_one();
                }
            }
            outcome
        });
    }
    let mut all = Outcome::default();
    for outcome in workers.join_all().await {
        all.answered.extend(outcome.answered);
        all.unanswered.extend(outcome.unanswered);
    }
    all
}

fn on_record(dir: &Path) -> BTreeSet<usize> {
    let record = rusqlite::Connection::open(dir.join("data/record.sqlite")).expect("a record");
    let mut statement = record.prepare("SELECT id FROM deliveries").expect("a table");
    let ids = statement.query_map([], |row| row.get::<_, String>(0)).expect("read");
    ids.map(|id| id.expect("read").parse().expect("a number")).collect()
}

#[tokio::main]
async fn main() {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("secret"), SECRET).expect("written");
    let made = Program::new("git").args(["init", "--quiet", "--bare"]).arg(dir.path().join("packages.git")).run().await;
    assert!(made.expect("git runs").status.success());

    let first = Serving::start(dir.path()).await;
    let (half, url) = (Arc::new(Notify::new()), first.url.clone());
    let killing = async {
        half.notified().await;
        first.end(Signal::SIGKILL).await;
    };
    // Some more than it lives to answer, so that it is killed in the midst of them.
    let before = (0..KILLED_AFTER + 1_000).collect();
    let (before, ()) = tokio::join!(deliver_all(&url, before, half.clone()), killing);
    assert!(!before.unanswered.is_empty(), "it was killed too late");

    let second = Serving::start(dir.path()).await;
    let rest = before.unanswered.iter().copied().chain(KILLED_AFTER + 1_000..DELIVERIES).collect();
    let after = deliver_all(&second.url, rest, Arc::default()).await;
    assert_eq!(after.unanswered, [0; 0]);
    second.end(Signal::SIGTERM).await;

    let recorded = on_record(dir.path());
    let answered = before.answered.iter().chain(&after.answered);
    let lost = answered.clone().filter(|(number, _)| !recorded.contains(number)).count();
    let mut took: Vec<Duration> = answered.map(|(_, took)| *took).collect();
    took.sort();
    let (median, p99, longest) = (took[took.len() / 2], took[took.len() * 99 / 100], took[took.len() - 1]);
    println!(
        "{} deliveries answered, {} again after SIGKILL: median {median:?}, 99 of 100 within {p99:?}, longest {longest:?}, lost {lost}",
        took.len(),
        before.unanswered.len()
    );
    let report = format!("median_ns={}\np99_ns={}\nlost={lost}\n", median.as_nanos(), p99.as_nanos());
    std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("target/webhooks-bench"), report).expect("written");
    assert_eq!(took.len(), DELIVERIES);
    assert_eq!(lost, 0, "what was answered is on the disk");
    assert!(p99 < TARGET, "99 of 100 were to be answered within {TARGET:?}");
}
