//! A buildomat server on loopback: stateful, over HTTP, with the faults of a network and of its own event stream.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{Method, Response};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::executors::conformance::{HALF, Story, WHOLE};
use crate::support::forges::Exchange;
use crate::support::forges::http::{Asked, Reply};

/// The package that builds make.
const MADE: (&str, &[u8]) = ("/out/small-1-1-any.pkg.tar.zst", b"x");

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Good,
    Bad,
    Lost,
    Cancelled,
}

#[derive(Debug)]
struct Job {
    asked: Value,
    attempt: String,
    chunks: Vec<Vec<u8>>,
    /// How often each input was asked for: it takes a moment.
    inputs: BTreeMap<String, usize>,
    events: Vec<(&'static str, String)>,
    end: Option<End>,
    news: watch::Sender<usize>,
}

impl Job {
    fn state(&self) -> &'static str {
        match self.end {
            Some(End::Good) => "completed",
            Some(_) => "failed",
            None if !self.is_supplied() => "waiting",
            None => "running",
        }
    }

    fn is_supplied(&self) -> bool {
        let mut names = self.asked["inputs"].as_array().unwrap().iter().map(|name| name.as_str().unwrap());
        names.all(|name| self.inputs.get(name).is_some_and(|count| *count > 1))
    }

    fn says(&mut self, stream: &'static str, payload: &str) {
        self.events.push((stream, payload.to_owned()));
        self.news.send_modify(|news| *news += 1);
    }

    fn ends(&mut self, end: End) {
        if self.end.is_some() {
            return;
        }
        match end {
            End::Good => {
                self.says("stdout", WHOLE);
                self.says("task", "process exited: duration 12 ms, exit code 0");
            }
            End::Bad => self.says("task", "process exited: duration 12 ms, exit code 4"),
            End::Lost => self.says("worker", "worker lost"),
            End::Cancelled => self.says("control", "job cancelled"),
        }
        self.end = Some(end);
        self.news.send_modify(|news| *news += 1);
    }

    fn told(&self, id: usize) -> Value {
        let task = &self.asked["tasks"][0];
        let state = match self.end {
            Some(End::Good) => "completed",
            Some(End::Bad) => "failed",
            _ => "pending",
        };
        json!({
            "id": id.to_string(), "name": self.asked["name"], "owner": "us", "state": self.state(),
            "cancelled": self.end == Some(End::Cancelled), "target": self.asked["target"], "target_real": "arch",
            "tags": self.asked["tags"], "output_rules": self.asked["output_rules"], "times": {},
            "tasks": [{"name": task["name"], "script": task["script"], "env_clear": false, "env": task["env"], "state": state}],
        })
    }

    fn event(&self, seq: usize) -> Value {
        let (stream, payload) = &self.events[seq - 1];
        json!({"seq": seq, "stream": stream, "payload": payload, "time": "2026-11-22T00:00:00Z"})
    }
}

#[derive(Default)]
struct World {
    stories: Mutex<BTreeMap<String, Story>>,
    jobs: Mutex<Vec<Job>>,
    exchanges: Mutex<Vec<Exchange>>,
    asked: Mutex<usize>,
    /// Whether our token is good for no questions.
    expired: AtomicBool,
    /// Whether nobody is there.
    away: AtomicBool,
    /// The files that jobs were given beside the package.
    documents: Mutex<Vec<Vec<u8>>>,
}

/// A server that carries out builds.
pub struct Fake {
    pub url: String,
    world: Arc<World>,
    server: JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Fake {
    pub async fn start() -> Self {
        let world = Arc::new(World::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = axum::Router::new().fallback(answer).with_state(world.clone());
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, world, server }
    }

    pub fn tells(&self, attempt: &str, story: Story) {
        self.world.stories.lock().unwrap().insert(attempt.to_owned(), story);
    }

    pub fn ends(&self, attempt: &str, end: End) {
        let mut jobs = self.world.jobs.lock().unwrap();
        jobs.iter_mut().rfind(|job| job.attempt == attempt).expect("it began").ends(end);
    }

    pub fn begun(&self, attempt: &str) -> usize {
        self.world.jobs.lock().unwrap().iter().filter(|job| job.attempt == attempt).count()
    }

    /// A job prints this.
    pub fn prints(&self, attempt: &str, line: &str) {
        let mut jobs = self.world.jobs.lock().unwrap();
        jobs.iter_mut().rfind(|job| job.attempt == attempt).expect("it began").says("stdout", line);
    }

    /// Whether questions are answered for our token.
    pub fn expires(&self, expired: bool) {
        self.world.expired.store(expired, Ordering::SeqCst);
    }

    /// How much was asked.
    pub fn asked(&self) -> usize {
        *self.world.asked.lock().unwrap()
    }

    /// Waits until more was asked.
    pub async fn until_asked_more(&self) {
        let asked = self.asked();
        while self.asked() < asked + 10 {
            tokio::task::yield_now().await;
        }
    }

    /// From now on a proxy says that nobody is there.
    pub fn goes_away(&self) {
        self.world.away.store(true, Ordering::SeqCst);
        for job in self.world.jobs.lock().unwrap().iter() {
            job.news.send_modify(|news| *news += 1);
        }
    }

    /// The files that jobs were given beside the package.
    pub fn documents(&self) -> Vec<Vec<u8>> {
        self.world.documents.lock().unwrap().clone()
    }

    /// The jobs that are not over.
    pub fn running(&self) -> Vec<String> {
        let jobs = self.world.jobs.lock().unwrap();
        jobs.iter().filter(|job| job.end.is_none()).map(|job| format!("a job of {}", job.attempt)).collect()
    }

    /// What was said, but for files and streams.
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.world.exchanges.lock().unwrap().clone()
    }
}

async fn answer(State(world): State<Arc<World>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let bytes = axum::body::to_bytes(body, 64 << 20).await.unwrap();
    let is_question = parts.method == Method::GET;
    let again = Request::from_parts(parts, Body::from(bytes.clone()));
    let asked = Asked::read(again, "").await;
    let count = {
        let mut count = world.asked.lock().unwrap();
        *count += 1;
        *count
    };
    if world.away.load(Ordering::SeqCst) {
        return with(503, "<html>Service Unavailable</html>".into());
    }
    if asked.who.as_deref() != Some("keeper") || (is_question && world.expired.load(Ordering::SeqCst)) {
        return with(401, json!({"request_id": "1", "message": "not authorised"}).to_string().into());
    }
    if is_question && count.is_multiple_of(7) {
        return with(502, "<html>Bad Gateway</html>".into());
    }
    act(&world, &asked, bytes)
}

fn with(status: u16, body: Bytes) -> Response<Body> {
    Response::builder().status(status).header("content-type", "application/json").body(Body::from(body)).unwrap()
}

fn told(world: &World, asked: &Asked, status: u16, body: Value) -> Response<Body> {
    let bytes = if body.is_null() { Bytes::new() } else { body.to_string().into() };
    world.exchanges.lock().unwrap().push(Exchange { asked: asked.clone(), reply: Reply::of(status, body) });
    with(status, bytes)
}

fn act(world: &Arc<World>, asked: &Asked, bytes: Bytes) -> Response<Body> {
    let number = |text: &str| text.parse::<usize>().unwrap();
    let mut jobs = world.jobs.lock().unwrap();
    match (asked.method.as_str(), &asked.parts()[..]) {
        ("POST", ["0", "jobs"]) => {
            let attempt = asked.body["tags"]["pkgwarden.attempt"].as_str().unwrap().to_owned();
            let env = asked.body["tasks"][0]["env"].as_object().unwrap();
            assert!(env.iter().all(|(name, value)| name.len() + value.as_str().unwrap().len() < 128 << 10));
            let inputs =
                if env.contains_key("PKGWARDEN_BUILD") { &["package.tar"][..] } else { &["package.tar", "build.json"] };
            assert_eq!(asked.body["inputs"], json!(inputs));
            let is_first = jobs.iter().all(|job| job.attempt != attempt);
            let (asked_for, news) = (asked.body.clone(), watch::Sender::new(0));
            let (chunks, events) = (Vec::new(), Vec::new());
            jobs.push(Job { asked: asked_for, attempt, chunks, inputs: BTreeMap::new(), events, end: None, news });
            let answer = told(world, asked, 201, json!({"id": jobs.len().to_string()}));
            // The first answer of each attempt is lost on the way.
            if is_first { with(502, "<html>Bad Gateway</html>".into()) } else { answer }
        }
        ("GET", ["1", "jobs"]) => {
            let wanted = asked.query("tag").unwrap().strip_prefix("pkgwarden.attempt=").unwrap();
            let found = jobs.iter().enumerate().filter(|(_, job)| job.attempt == wanted).map(|(place, job)| {
                json!({"id": (place + 1).to_string(), "name": "x", "owner": "us", "state": job.state(),
                       "cancelled": false, "target": "archlinux", "target_id": "1"})
            });
            told(world, asked, 200, json!({"items": found.collect::<Vec<_>>()}))
        }
        ("GET", ["0", "job", id]) => told(world, asked, 200, jobs[number(id) - 1].told(number(id))),
        ("POST", ["0", "jobs", id, "chunk"]) => {
            let job = &mut jobs[number(id) - 1];
            job.chunks.push(bytes.to_vec());
            with(201, json!({"id": format!("chunk-{}", job.chunks.len())}).to_string().into())
        }
        ("POST", ["1", "jobs", id, "input"]) => {
            let job = &mut jobs[number(id) - 1];
            let is_complete = begin(world, job, &asked.body);
            told(world, asked, 200, json!({"complete": is_complete, "error": null}))
        }
        ("GET", ["0", "jobs", id, "events"]) => {
            let job = &jobs[number(id) - 1];
            let from = number(asked.query("minseq").unwrap()).max(1);
            // A page has two.
            let page = (from..=job.events.len()).take(2).map(|seq| job.event(seq));
            told(world, asked, 200, Value::Array(page.collect()))
        }
        ("GET", ["0", "jobs", id, "watch"]) => watched(
            world.clone(),
            number(id),
            number(asked.query("minseq").unwrap()),
            jobs[number(id) - 1].news.subscribe(),
        ),
        ("POST", ["0", "jobs", id, "cancel"]) => {
            jobs[number(id) - 1].ends(End::Cancelled);
            told(world, asked, 204, Value::Null)
        }
        ("GET", ["0", "jobs", id, "outputs"]) => {
            assert_eq!(jobs[number(id) - 1].end, Some(End::Good));
            let job_is_bulky = jobs[number(id) - 1].attempt.contains("bulky");
            let left = [
                json!({"id": "1", "path": MADE.0, "size": if job_is_bulky { 5_u64 << 30 } else { MADE.1.len() as u64 }}),
                json!({"id": "2", "path": "/out/../../etc/passwd", "size": 1}),
            ];
            told(world, asked, 200, json!(left))
        }
        ("GET", ["0", "jobs", id, "outputs", "1"]) if !jobs[number(id) - 1].attempt.contains("bulky") => {
            with(200, Bytes::from_static(MADE.1))
        }
        other => panic!("nobody asks for {other:?}"),
    }
}

/// An input of a job is complete the second time that it is asked for; with all of them the job begins.
fn begin(world: &World, job: &mut Job, input: &Value) -> bool {
    let place = |id: &Value| id.as_str().unwrap().strip_prefix("chunk-").unwrap().parse::<usize>().unwrap();
    let chunks = input["chunks"].as_array().unwrap().iter().map(|id| job.chunks[place(id) - 1].clone());
    let archive = chunks.collect::<Vec<_>>().concat();
    assert_eq!(input["size"], archive.len());
    let name = input["name"].as_str().unwrap();
    let count = job.inputs.entry(name.to_owned()).or_default();
    *count += 1;
    if *count != 2 {
        return *count > 2;
    }
    if name == "package.tar" {
        has_recipe(&archive);
    } else {
        world.documents.lock().unwrap().push(archive);
    }
    if job.is_supplied() {
        run(world, job);
    }
    true
}

fn has_recipe(archive: &[u8]) {
    let mut files = tar::Archive::new(archive);
    let paths = files.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string());
    assert!(paths.into_iter().any(|path| path == "PKGBUILD"));
}

fn run(world: &World, job: &mut Job) {
    job.says("worker", "job assigned to a worker");
    job.says("stdout", HALF);
    match world.stories.lock().unwrap()[&job.attempt] {
        Story::Succeeds => job.ends(End::Good),
        Story::Fails => job.ends(End::Bad),
        Story::Waits => {}
    }
}

/// The stream of events: begins one too early, as after a reconnection, and breaks off after every second.
fn watched(world: Arc<World>, id: usize, from: usize, news: watch::Receiver<usize>) -> Response<Body> {
    let start = (from.max(2) - 1, 0, news);
    let events = stream::unfold(start, move |(seq, sent, mut news)| {
        let world = world.clone();
        async move {
            loop {
                if sent == 2 || world.away.load(Ordering::SeqCst) {
                    return None;
                }
                let (event, is_over) = {
                    let jobs = world.jobs.lock().unwrap();
                    let job = &jobs[id - 1];
                    news.mark_unchanged();
                    ((seq <= job.events.len()).then(|| job.event(seq)), job.end.is_some())
                };
                if let Some(event) = event {
                    let text = format!(": nothing happens\n\nevent: job\nid: seq-{seq}\ndata: {event}\n\n");
                    return Some((Ok::<_, std::io::Error>(Bytes::from(text)), (seq + 1, sent + 1, news)));
                }
                if is_over {
                    let text = format!("event: state\nid: seq-{}\ndata: completed\n\n", seq - 1);
                    return Some((Ok(Bytes::from(text)), (seq, 2, news)));
                }
                news.changed().await.ok()?;
            }
        }
    });
    Response::builder().header("content-type", "text/event-stream").body(Body::from_stream(events)).unwrap()
}
