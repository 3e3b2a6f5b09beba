//! GitLab's pipelines and GitHub's workflow runs on loopback, as far as our examples ask for them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pkgwarden::sys::process::Program;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::conformance::{HALF, Story, WHOLE};
use crate::support::forges::Exchange;
use crate::support::forges::http::{Asked, Reply};

/// Whose service it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    GitLab,
    GitHub,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Good,
    Bad,
    Lost,
    Cancelled,
}

/// A pipeline or a workflow run; its number is its place.
#[derive(Debug)]
struct Run {
    attempt: String,
    end: Option<End>,
    /// How often GitLab began its job again, each time under another number.
    again: usize,
}

/// What the number of a job is raised by when it is begun again.
const AGAIN: usize = 1000;

struct World {
    kind: Kind,
    stories: Mutex<BTreeMap<String, Story>>,
    runs: Mutex<Vec<Run>>,
    exchanges: Mutex<Vec<Exchange>>,
    /// Archives of what runs leave: after a good end, after a bad one.
    left: [Vec<u8>; 2],
    address: Mutex<Option<SocketAddr>>,
    /// How many questions came: every fifth is not answered, every seventh in half, and every second log is sent whole.
    asked: Mutex<usize>,
    /// Whether the token is good for no more questions.
    expired: AtomicBool,
}

/// A service that carries out builds.
pub struct Service {
    world: Arc<World>,
    server: JoinHandle<()>,
}

impl Drop for Service {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Service {
    pub async fn start(kind: Kind, dir: &Path) -> Self {
        let left = [archive(dir, true).await, archive(dir, false).await];
        let world = World {
            kind,
            left,
            stories: Mutex::default(),
            runs: Mutex::default(),
            exchanges: Mutex::default(),
            address: Mutex::default(),
            asked: Mutex::default(),
            expired: AtomicBool::default(),
        };
        let world = Arc::new(world);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        *world.address.lock().unwrap() = Some(listener.local_addr().unwrap());
        let app = axum::Router::new().fallback(answer).with_state(world.clone());
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { world, server }
    }

    pub fn url(&self) -> String {
        self.world.url()
    }

    pub fn tells(&self, attempt: &str, story: Story) {
        self.world.stories.lock().unwrap().insert(attempt.to_owned(), story);
    }

    pub fn lets_go(&self, attempt: &str) {
        self.world.ends(attempt, End::Good);
    }

    pub fn loses(&self, attempt: &str) {
        self.world.ends(attempt, End::Lost);
    }

    /// From now on, nothing more is told.
    pub fn expires(&self) {
        self.world.expired.store(true, Ordering::SeqCst);
    }

    /// The job is begun again.
    pub fn begins_again(&self, attempt: &str) {
        self.world.runs().iter_mut().rfind(|run| run.attempt == attempt).expect("it began").again += 1;
    }

    pub fn begun(&self, attempt: &str) -> usize {
        self.world.runs().iter().filter(|run| run.attempt == attempt).count()
    }

    /// The runs that are not over.
    pub fn running(&self) -> Vec<String> {
        let runs = self.world.runs();
        runs.iter().filter(|run| run.end.is_none()).map(|run| format!("a run of {}", run.attempt)).collect()
    }

    /// What was said, where it was JSON.
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.world.exchanges.lock().unwrap().clone()
    }
}

/// The archive that a run leaves.
async fn archive(dir: &Path, good: bool) -> Vec<u8> {
    let out = dir.join(format!("left-{good}/out"));
    std::fs::create_dir_all(&out).unwrap();
    std::fs::write(out.join("status"), if good { "0\n" } else { "4\n" }).unwrap();
    if good {
        std::fs::write(out.join("small-1-1-any.pkg.tar.zst"), "x").unwrap();
        std::fs::write(out.join("notes.txt"), "not a package").unwrap();
    }
    let path: PathBuf = dir.join(format!("left-{good}.zip"));
    let packed =
        Program::new("bsdtar").args(["--format", "zip", "-cf"]).arg(&path).arg("-C").arg(out.parent().unwrap());
    assert!(packed.arg("out").run().await.unwrap().status.success());
    std::fs::read(path).unwrap()
}

impl World {
    fn url(&self) -> String {
        format!("http://{}", self.address.lock().unwrap().unwrap())
    }

    fn runs(&self) -> MutexGuard<'_, Vec<Run>> {
        self.runs.lock().unwrap()
    }

    fn ends(&self, attempt: &str, end: End) {
        let mut runs = self.runs();
        let run = runs.iter_mut().rfind(|run| run.attempt == attempt).expect("it began");
        run.end.get_or_insert(end);
    }

    /// Starts a run of the build that was asked for; gives its number.
    fn begin(&self, build: &str) -> usize {
        let build: Value = serde_json::from_str(build).unwrap();
        assert!(build.get("package_dir").is_none() && build.get("token").is_none(), "{build}");
        let attempt = build["attempt"].as_str().unwrap().to_owned();
        let end = match self.stories.lock().unwrap()[&attempt] {
            Story::Succeeds => Some(End::Good),
            Story::Fails => Some(End::Bad),
            Story::Waits => None,
        };
        self.runs().push(Run { attempt, end, again: 0 });
        self.runs().len()
    }

    fn end(&self, number: usize) -> Option<End> {
        self.runs()[number - 1].end
    }

    /// The number of the job of a pipeline.
    fn job(&self, number: usize) -> usize {
        number + AGAIN * self.runs()[number - 1].again
    }

    fn cancel(&self, number: usize) {
        self.runs()[number - 1].end.get_or_insert(End::Cancelled);
    }

    fn left(&self, number: usize) -> Option<&[u8]> {
        match self.end(number)? {
            End::Good => Some(&self.left[0]),
            End::Bad => Some(&self.left[1]),
            End::Lost | End::Cancelled => None,
        }
    }
}

async fn answer(State(world): State<Arc<World>>, request: Request) -> Response<Body> {
    let headers = request.headers().clone();
    let is_question = request.method() == Method::GET;
    let asked = Asked::read(request, "").await;
    let count = {
        let mut count = world.asked.lock().unwrap();
        *count += 1;
        *count
    };
    if asked.raw_path.starts_with("/storage/") {
        let foreign = ["authorization", "private-token"].into_iter().find(|name| headers.contains_key(*name));
        assert_eq!(foreign, None, "a token goes to nobody else");
        return stored(&world, &asked);
    }
    assert_eq!(asked.who.as_deref(), Some("keeper"), "{asked:?}");
    if is_question && world.expired.load(Ordering::SeqCst) {
        return with(401, b"{}".to_vec());
    }
    if is_question && count.is_multiple_of(5) {
        return with(502, b"<html>Bad Gateway</html>".to_vec());
    }
    if is_question && count.is_multiple_of(7) {
        return broken_off();
    }
    match world.kind {
        Kind::GitLab => gitlab(&world, &asked, &headers, count),
        Kind::GitHub => github(&world, &asked),
    }
}

fn with(status: u16, body: Vec<u8>) -> Response<Body> {
    Response::builder().status(status).body(Body::from(body)).unwrap()
}

/// An answer whose connection breaks in the middle.
fn broken_off() -> Response<Body> {
    let pieces = [Ok("[{\"id"), Err(std::io::Error::other("the connection broke"))];
    let body = Body::from_stream(futures_util::stream::iter(pieces));
    Response::builder().status(200).header("content-length", 1000).body(body).unwrap()
}

/// An answer in JSON, which is kept to be compared with descriptions.
fn told(world: &World, asked: &Asked, status: u16, body: Value) -> Response<Body> {
    let bytes = if body.is_null() { Vec::new() } else { serde_json::to_vec(&body).unwrap() };
    world.exchanges.lock().unwrap().push(Exchange { asked: asked.clone(), reply: Reply::of(status, body) });
    with(status, bytes)
}

fn elsewhere(world: &World, asked: &Asked, path: &str) -> Response<Body> {
    world.exchanges.lock().unwrap().push(Exchange { asked: asked.clone(), reply: Reply::of(302, Value::Null) });
    let to = format!("{}/storage/{path}", world.url());
    Response::builder().status(302).header("location", to).body(Body::empty()).unwrap()
}

/// What lies with somebody else: `/storage/zip/1`, `/storage/log/1`.
fn stored(world: &World, asked: &Asked) -> Response<Body> {
    let number = asked.path[2].parse().unwrap();
    match asked.path[1].as_str() {
        "zip" => world.left(number).map_or_else(|| with(404, Vec::new()), |archive| with(200, archive.to_vec())),
        _ => with(200, log(world.end(number), "").into_bytes()),
    }
}

/// What a run has printed.
fn log(end: Option<End>, first: &str) -> String {
    let last = if end == Some(End::Good) { format!("{WHOLE}\n") } else { String::new() };
    format!("{first}\x1b[0K@ end {{\"status\": \"succeeded\"}}\n{last}")
}

fn gitlab(world: &World, asked: &Asked, headers: &HeaderMap, count: usize) -> Response<Body> {
    let parts = asked.parts();
    let (["api", "v4", "projects", "them/builds"], rest) = parts.split_at(4) else { return with(404, Vec::new()) };
    let number = |text: &str| text.parse::<usize>().unwrap();
    match (asked.method.as_str(), rest) {
        ("POST", ["pipeline"]) => {
            assert_eq!(asked.body["variables"][0]["key"], "PKGWARDEN_BUILD");
            let value = asked.body["variables"][0]["value"].as_str().unwrap();
            assert!(!value.contains('$'), "GitLab would fill something in: {value}");
            let number = world.begin(&String::from_utf8(STANDARD.decode(value).unwrap()).unwrap());
            told(world, asked, 201, json!({"id": number, "web_url": format!("https://gitlab.example/{number}")}))
        }
        ("GET", ["pipelines", id, "jobs"]) => {
            let (status, reason) = match world.end(number(id)) {
                None => ("running", Value::Null),
                Some(End::Good) => ("success", Value::Null),
                Some(End::Bad) => ("failed", json!("script_failure")),
                Some(End::Lost) => ("failed", json!("runner_system_failure")),
                Some(End::Cancelled) => ("canceled", Value::Null),
            };
            let jobs = json!([
                {"id": 7, "name": "lint", "status": "success"},
                {"id": world.job(number(id)), "name": "build", "status": status, "failure_reason": reason},
            ]);
            told(world, asked, 200, jobs)
        }
        ("GET", ["jobs", id, "trace"]) => {
            let first = if number(id) > AGAIN { "from its beginning\n" } else { "" };
            let text = log(world.end(number(id) % AGAIN), &format!("{first}{HALF}\n")).into_bytes();
            let from = headers["range"].to_str().unwrap().trim_start_matches("bytes=").trim_end_matches('-');
            match from.parse::<usize>().unwrap() {
                _ if count.is_multiple_of(2) => with(200, text),
                from if from >= text.len() => with(416, Vec::new()),
                from => with(206, text[from..].to_vec()),
            }
        }
        ("GET", ["jobs", id, "artifacts"]) => elsewhere(world, asked, &format!("zip/{}", number(id) % AGAIN)),
        ("POST", ["pipelines", id, "cancel"]) => {
            world.cancel(number(id));
            told(world, asked, 200, json!({"id": number(id)}))
        }
        other => panic!("nobody asks for {other:?}"),
    }
}

fn github(world: &World, asked: &Asked) -> Response<Body> {
    let parts = asked.parts();
    let (["repos", "them", "builds", "actions"], rest) = parts.split_at(4) else { return with(404, Vec::new()) };
    let number = |text: &str| text.parse::<usize>().unwrap();
    match (asked.method.as_str(), rest) {
        ("POST", ["workflows", "pkgwarden-build.yml", "dispatches"]) => {
            let number = world.begin(asked.body["inputs"]["build"].as_str().unwrap());
            let url = format!("https://github.example/{number}");
            let body = json!({"workflow_run_id": number, "run_url": url, "html_url": url});
            told(world, asked, 200, body)
        }
        ("GET", ["runs", id]) => {
            let end = world.end(number(id));
            let conclusion = end.map(|end| match end {
                End::Good => "success",
                End::Bad | End::Lost => "failure",
                End::Cancelled => "cancelled",
            });
            let status = if end.is_some() { "completed" } else { "in_progress" };
            with(
                200,
                serde_json::to_vec(&json!({"id": number(id), "status": status, "conclusion": conclusion})).unwrap(),
            )
        }
        ("GET", ["runs", id, "jobs"]) => {
            let status = if world.end(number(id)).is_some() { "completed" } else { "in_progress" };
            let steps = [HALF, "makepkg"].into_iter().enumerate().map(|(place, name)| {
                let (status, conclusion) =
                    if place == 0 { ("completed", json!("success")) } else { (status, Value::Null) };
                json!({"name": name, "number": place + 1, "status": status, "conclusion": conclusion})
            });
            let steps: Vec<Value> = steps.collect();
            let jobs = json!({"total_count": 1, "jobs": [{"id": number(id), "status": status, "steps": steps}]});
            with(200, serde_json::to_vec(&jobs).unwrap())
        }
        ("GET", ["jobs", id, "logs"]) => elsewhere(world, asked, &format!("log/{id}")),
        ("GET", ["runs", id, "artifacts"]) => {
            let made = world.left(number(id)).map(|_| json!({"id": number(id), "name": "packages"}));
            let made: Vec<Value> = made.into_iter().collect();
            with(200, serde_json::to_vec(&json!({"total_count": made.len(), "artifacts": made})).unwrap())
        }
        ("GET", ["artifacts", id, "zip"]) => elsewhere(world, asked, &format!("zip/{id}")),
        ("POST", ["runs", id, "cancel"]) => {
            world.cancel(number(id));
            told(world, asked, 202, json!({}))
        }
        other => panic!("nobody asks for {other:?}"),
    }
}
