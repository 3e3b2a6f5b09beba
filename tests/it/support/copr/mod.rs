//! A COPR: its API and the web server with its logs, over HTTP, with what goes wrong there.
//!
//! Time passes in it only when it is asked how a build stands: before each such answer, the test moves the build on
//! ([`World::life`]). What is wrong with an answer, the test says beforehand ([`Fault`]).

mod api;
mod logs;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::body::{Body, Bytes};
use axum::http::{Request, Response, StatusCode};
use futures_util::stream;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Which server has the logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// As in production.
    Lighttpd,
    /// As in its development setup.
    Nginx,
}

/// Something wrong with one answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Nothing but this status.
    Status(u16),
    /// This status, with `Retry-After` in seconds.
    Later(u16, u64),
    /// The connection breaks after so many bytes of the body.
    Reset(usize),
    /// What was asked for is done, and the answer is lost.
    Lost,
    /// As the log was when it had so many bytes.
    Stale(usize),
    /// The range that was asked for does not matter.
    Whole,
    /// A page for people.
    Page,
    /// Goes to this address.
    Redirect(String),
}

/// A log on the server.
#[derive(Debug, Default)]
pub struct Log {
    /// As it grows; `None` if it is not there, or no longer.
    pub raw: Option<Vec<u8>>,
    /// Packed.
    pub gz: Option<Vec<u8>>,
    pub faults: VecDeque<Fault>,
    /// How often it was asked for, in either form.
    pub asked: usize,
}

impl Log {
    pub fn print(&mut self, text: impl AsRef<[u8]>) {
        self.raw.get_or_insert_default().extend_from_slice(text.as_ref());
    }

    /// As COPR does after a build: only the packed form is left.
    pub fn pack(&mut self) {
        if let Some(raw) = self.raw.take() {
            self.gz = Some(packed(&raw));
        }
    }

    pub fn ail(&mut self, faults: impl IntoIterator<Item = Fault>) {
        self.faults.extend(faults);
    }
}

pub fn packed(text: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(text).unwrap();
    gz.finish().unwrap()
}

/// A chroot of a build, or its source stage.
#[derive(Debug, Default)]
pub struct Chroot {
    pub name: String,
    pub state: &'static str,
    /// Whether there is a directory of results.
    pub has_place: bool,
    pub live: Log,
    pub backend: Log,
}

impl Chroot {
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), state: "waiting", ..Self::default() }
    }

    /// A builder is at work.
    pub fn run(&mut self) {
        (self.state, self.has_place) = ("running", true);
    }

    /// It is over, and its logs are packed, as they are a moment later.
    pub fn end(&mut self, state: &'static str) {
        self.state = state;
        self.live.pack();
        self.backend.pack();
    }
}

#[derive(Debug)]
pub struct Build {
    pub id: u64,
    pub project: (String, String),
    pub dirname: String,
    pub submitter: String,
    pub source: Chroot,
    /// Only after the source stage.
    pub chroots: Vec<Chroot>,
    pub is_canceled: bool,
    pub source_type: &'static str,
    pub source_dict: Value,
    /// All that was asked for.
    pub asked: Value,
    /// What was uploaded.
    pub upload: Vec<u8>,
    /// How often it was asked how it stands.
    pub looks: usize,
}

impl Build {
    /// How COPR sums it up.
    pub fn state(&self) -> &'static str {
        if self.is_canceled {
            return "canceled";
        }
        let early = ["starting", "pending", "running", "importing", "failed"];
        if early.contains(&self.source.state) {
            return self.source.state;
        }
        let order = ["running", "starting", "pending", "failed", "succeeded", "skipped", "forked"];
        order.into_iter().find(|state| self.chroots.iter().any(|chroot| chroot.state == *state)).unwrap_or("pending")
    }

    pub fn chroot(&mut self, name: &str) -> &mut Chroot {
        self.chroots.iter_mut().find(|chroot| chroot.name == name).expect("such a chroot")
    }

    /// The source stage is over, and there are chroots.
    pub fn imported(&mut self, chroots: &[&str]) {
        self.source.has_place = true;
        self.source.end("succeeded");
        self.chroots = chroots.iter().map(|name| Chroot::new(name)).collect();
    }
}

/// A request, for tests that look at it.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub authorization: Option<String>,
    pub range: Option<String>,
    pub encoding: Option<String>,
}

/// Moves a build on.
type Life = Box<dyn FnMut(&mut Build) + Send>;

pub struct World {
    pub style: Style,
    pub builds: Vec<Build>,
    pub asked: Vec<Asked>,
    /// For requests whose method and path begin so, in order.
    pub faults: Vec<(&'static str, VecDeque<Fault>)>,
    life: Option<Life>,
    url: String,
}

impl World {
    pub fn build(&mut self, id: u64) -> &mut Build {
        self.builds.iter_mut().find(|build| build.id == id).expect("such a build")
    }

    /// What goes wrong with requests like `GET /api_3/build/1`.
    pub fn ail(&mut self, request: &'static str, faults: impl IntoIterator<Item = Fault>) {
        self.faults.push((request, faults.into_iter().collect()));
    }

    pub fn asked_for(&self, path: &str) -> Vec<&Asked> {
        self.asked.iter().filter(|asked| asked.path.contains(path)).collect()
    }

    fn fault(&mut self, method: &str, path: &str) -> Option<Fault> {
        let request = format!("{method} {path}");
        let mut faults = self.faults.iter_mut().filter(|(start, _)| request.starts_with(start));
        faults.find_map(|(_, faults)| faults.pop_front())
    }
}

/// A running COPR; gone when it is dropped.
pub struct Copr {
    pub url: String,
    world: Arc<Mutex<World>>,
    server: JoinHandle<()>,
}

impl Copr {
    pub async fn start(style: Style) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (builds, asked, faults) = (Vec::new(), Vec::new(), Vec::new());
        let world = World { style, builds, asked, faults, life: None, url: url.clone() };
        let world = Arc::new(Mutex::new(world));
        let shared = world.clone();
        let router = axum::Router::new().fallback(move |request| answer(shared.clone(), request));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, world, server }
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// What happens to builds each time somebody looks.
    pub fn live(&self, life: impl FnMut(&mut Build) + Send + 'static) {
        self.world().life = Some(Box::new(life));
    }

    /// A login file, as COPR hands it out.
    pub fn login(&self, dir: &Path) -> PathBuf {
        let path = dir.join("copr");
        let text = format!("[copr-cli]\nlogin = me-login\nusername = me\ntoken = me-token\ncopr_url = {}\n", self.url);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Copr {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(world: Arc<Mutex<World>>, request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 64 << 20).await.unwrap();
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let asked = Asked {
        method: parts.method.to_string(),
        path: parts.uri.to_string(),
        authorization: header("authorization"),
        range: header("range"),
        encoding: header("accept-encoding"),
    };
    let mut world = world.lock().unwrap();
    world.asked.push(asked.clone());
    if asked.path.starts_with("/results/") {
        return logs::answer(&mut world, &asked);
    }
    let fault = world.fault(&asked.method, &asked.path);
    if let Some(fault) = fault.as_ref().filter(|fault| **fault != Fault::Lost) {
        return broken(fault, Bytes::from_static(b"{}"));
    }
    let kind = header("content-type").unwrap_or_default();
    let (status, body) = api::answer(&mut world, &asked, &kind, &body);
    if fault == Some(Fault::Lost) {
        return broken(&Fault::Reset(0), Bytes::from_static(b"{}"));
    }
    let response = Response::builder().status(status).header("content-type", "application/json");
    response.body(Body::from(body.to_string())).unwrap()
}

/// An answer with something wrong.
fn broken(fault: &Fault, body: Bytes) -> Response<Body> {
    let response = Response::builder();
    match fault {
        Fault::Status(status) => response.status(*status).body(Body::from("<html>oh no</html>")).unwrap(),
        Fault::Later(status, seconds) => {
            response.status(*status).header("retry-after", seconds.to_string()).body(Body::empty()).unwrap()
        }
        Fault::Page => response.header("content-type", "text/html").body(Body::from("<html>wait</html>")).unwrap(),
        Fault::Redirect(to) => response.status(302).header("location", to).body(Body::empty()).unwrap(),
        Fault::Reset(after) => response.body(cut(&body, *after)).unwrap(),
        Fault::Lost | Fault::Stale(_) | Fault::Whole => unreachable!("not of this answer"),
    }
}

/// A body whose connection breaks.
fn cut(body: &Bytes, after: usize) -> Body {
    let part = body.slice(..after.min(body.len()));
    Body::from_stream(stream::iter([Ok(part), Err(std::io::Error::other("broken"))]))
}

fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap()
}

/// Something that happens to a build, once it is time for it.
pub struct Turn {
    when: Box<dyn FnMut(&mut Build) -> bool + Send>,
    what: Box<dyn FnMut(&mut Build) + Send>,
}

/// Happens at the next look.
pub fn next(what: impl FnMut(&mut Build) + Send + 'static) -> Turn {
    once(|_| true, what)
}

/// Happens at the first look at which something holds.
pub fn once(
    when: impl FnMut(&mut Build) -> bool + Send + 'static,
    what: impl FnMut(&mut Build) + Send + 'static,
) -> Turn {
    Turn { when: Box::new(when), what: Box::new(what) }
}

impl Copr {
    /// What happens to the build, at most one thing at each look, in this order.
    pub fn happens(&self, turns: impl IntoIterator<Item = Turn>) {
        let mut turns: VecDeque<_> = turns.into_iter().collect();
        self.live(move |build| {
            if turns.front_mut().is_some_and(|turn| (turn.when)(build)) {
                (turns.pop_front().expect("there is one").what)(build);
            }
        });
    }

    /// A build that somebody asked for, and its number.
    pub fn put(&self) -> u64 {
        let mut world = self.world();
        let id = world.builds.last().map_or(101, |build| build.id + 1);
        world.builds.push(Build {
            id,
            project: ("me".to_owned(), "tools".to_owned()),
            dirname: "tools".to_owned(),
            submitter: "me".to_owned(),
            source: Chroot { state: "pending", ..Chroot::new("srpm-builds") },
            chroots: Vec::new(),
            is_canceled: false,
            source_type: "scm",
            source_dict: Value::Null,
            asked: Value::Null,
            upload: Vec::new(),
            looks: 0,
        });
        id
    }
}
