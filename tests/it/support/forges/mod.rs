//! GitHub, GitLab and Gitea on loopback, each with one project over a real git repository: a world of plain structs
//! ([`world`]), a thin layer for each forge that speaks its API, and knobs for what goes wrong ([`http`]).

mod checks;
pub mod description;
mod gitea;
mod github;
mod gitlab;
pub mod http;
pub mod world;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Response;
use pkgwarden::demo::server::backend;
use pkgwarden::sys::clock::Clock;
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::JoinHandle;

use self::http::{Asked, Reply, Trouble};
use self::world::{Kind, Line, World};
use super::Repo;

/// The project that every forge here has.
pub const PROJECT: &str = "them/packages";
/// The account that the program acts as; its token is `token-of-keeper`.
pub const KEEPER: &str = "keeper";

/// One question and what was answered.
#[derive(Debug, Clone)]
pub struct Exchange {
    pub asked: Asked,
    pub reply: Reply,
}

/// Something that will go wrong.
#[derive(Debug)]
struct Knob {
    method: &'static str,
    path: String,
    trouble: Trouble,
    times: usize,
}

struct Shared {
    kind: Kind,
    /// The path of its host that it is below: empty, or `/forge`.
    below: &'static str,
    clock: Arc<dyn Clock>,
    world: Mutex<World>,
    knobs: Mutex<Vec<Knob>>,
    exchanges: Mutex<Vec<Exchange>>,
    /// What was answered over the wire, beside that: `GET /repos/them/packages 304`.
    told: Mutex<Vec<String>>,
}

/// A forge.
pub struct Fake {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Fake {
    /// A forge whose project is this repository.
    pub async fn start(kind: Kind, repo: Repo, clock: Arc<dyn Clock>) -> Self {
        Self::start_below("", kind, repo, clock).await
    }

    /// The same below a path of its host, such as `/forge`.
    pub async fn start_below(below: &'static str, kind: Kind, repo: Repo, clock: Arc<dyn Clock>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("bound");
        repo.git(&["config", "http.receivepack", "true"]).await;
        let world = World::new(kind, PROJECT, repo, format!("http://{address}{below}"), clock.now());
        let shared = Shared {
            kind,
            below,
            clock,
            world: Mutex::new(world),
            knobs: Mutex::default(),
            exchanges: Mutex::default(),
            told: Mutex::default(),
        };
        let shared = Arc::new(shared);
        let app = axum::Router::new().fallback(answer).with_state(shared.clone());
        let server = tokio::spawn(async move { axum::serve(listener, app).await.expect("serves") });
        Self { address, shared, server }
    }

    /// Where the project is cloned from and pushed to.
    pub fn git_url(&self) -> String {
        format!("http://{}{}/{PROJECT}.git", self.address, self.shared.below)
    }

    /// Where its API is.
    pub fn api_url(&self) -> String {
        format!("http://{}{}{}", self.address, self.shared.below, api(self.shared.kind))
    }

    /// What is so, for people who change it; pushes are seen first.
    pub async fn world(&self) -> MutexGuard<'_, World> {
        let mut world = self.shared.world.lock().await;
        world.now = self.shared.clock.now();
        world.sees_pushes().await;
        world
    }

    /// The next so many questions of this kind go wrong: `POST`, `/pulls`.
    pub async fn spoils(&self, method: &'static str, path: &str, trouble: Trouble, times: usize) {
        self.shared.knobs.lock().await.push(Knob { method, path: path.to_owned(), trouble, times });
    }

    /// From now on everything goes wrong.
    pub async fn is_down(&self) {
        self.spoils("", "", Trouble::status(503), usize::MAX).await;
    }

    pub async fn works_again(&self) {
        self.shared.knobs.lock().await.clear();
    }

    /// What was asked and answered so far, without what never came to the forge.
    pub async fn exchanges(&self) -> Vec<Exchange> {
        self.shared.exchanges.lock().await.clone()
    }

    /// What was asked since the last call, one line each, with the status: `GET /repos/them/packages 200`.
    pub async fn told(&self) -> Vec<String> {
        std::mem::take(&mut *self.shared.told.lock().await)
    }

    /// What the program is told in its settings to use this forge.
    pub fn env(&self, token_file: &std::path::Path) -> BTreeMap<String, String> {
        let kind = match self.shared.kind {
            Kind::GitHub => "github",
            Kind::GitLab => "gitlab",
            Kind::Gitea => "gitea",
        };
        std::fs::write(token_file, format!("token-of-{KEEPER}\n")).expect("written");
        let set = |(key, value): (&str, String)| (format!("PKGWARDEN__FORGE__{key}"), value);
        let settings = [
            ("KIND", kind.to_owned()),
            ("API_URL", self.api_url()),
            ("PROJECT", PROJECT.to_owned()),
            ("TOKEN_FILE", token_file.display().to_string()),
        ];
        settings.into_iter().map(set).collect()
    }
}

/// Where an API begins below its host.
fn api(kind: Kind) -> &'static str {
    match kind {
        Kind::GitHub => "/api/v3",
        Kind::GitLab => "/api/v4",
        Kind::Gitea => "/api/v1",
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let path = request.uri().path().to_owned();
    if let Some(rest) = path.strip_prefix(&format!("{}/{PROJECT}.git/", shared.below)) {
        let repo = shared.world.lock().await.repo.clone();
        let (root, name) = (repo.path().parent().expect("a folder"), repo.path().file_name().expect("a name"));
        return backend(root, &name.to_string_lossy(), rest, None, request).await.expect("git answers");
    }
    let asked = Asked::read(request, &format!("{}{}", shared.below, api(shared.kind))).await;
    let trouble = trouble(&shared, &asked).await;
    if let Some(response) = trouble.as_ref().and_then(Trouble::instead) {
        tell(&shared, &asked, response.status().as_u16()).await;
        return response;
    }
    if let Some(Trouble::Slow(pause)) = trouble {
        tokio::time::sleep(pause).await;
    }
    let mut world = shared.world.lock().await;
    world.now = shared.clock.now();
    world.sees_pushes().await;
    let reply = match shared.kind {
        Kind::GitHub => github::answer(&mut world, &asked).await,
        Kind::GitLab => gitlab::answer(&mut world, &asked).await,
        Kind::Gitea => gitea::answer(&mut world, &asked).await,
    };
    let reply = reply.page(&asked, &format!("{}{}", world.url, api(shared.kind)));
    if let Some(Trouble::Meanwhile(number, who)) = &trouble {
        world.closes(*number, who).expect("it is there");
    }
    drop(world);
    let response = reply.response(&asked);
    tell(&shared, &asked, response.status().as_u16()).await;
    shared.exchanges.lock().await.push(Exchange { asked, reply });
    match trouble {
        Some(trouble) => trouble.spoil(response).await,
        None => response,
    }
}

/// Somebody puts a status beside a commit; `context` is what the forge calls the field that says what it is about.
fn puts_status(world: &mut World, asked: &Asked, commit: &str, context: &str) -> Line {
    let text = |key| asked.text(key).unwrap_or_default().to_owned();
    let line = Line {
        id: world.id(),
        commit: commit.to_owned(),
        state: text("state"),
        context: text(context),
        summary: text("description"),
        url: asked.text("target_url").map(str::to_owned),
        pipeline: asked.text("pipeline_id").and_then(|id| id.parse().ok()),
        author: asked.me().to_owned(),
        at: world.now,
    };
    world.lines.push(line.clone());
    line
}

/// Somebody edits an issue, if it is there; `body` is what the forge calls its text.
fn edits_issue(world: &mut World, asked: &Asked, number: u64, body: &str) -> bool {
    let now = world.now;
    let Some(found) = world.issues.get_mut(&number) else { return false };
    if let Some(title) = asked.text("title") {
        title.clone_into(&mut found.title);
    }
    if let Some(body) = asked.text(body) {
        body.clone_into(&mut found.body);
    }
    found.updated_at = now;
    true
}

async fn tell(shared: &Shared, asked: &Asked, status: u16) {
    shared.told.lock().await.push(format!("{} {} {status}", asked.method, asked.raw_path));
}

async fn trouble(shared: &Shared, asked: &Asked) -> Option<Trouble> {
    let mut knobs = shared.knobs.lock().await;
    let fits = |knob: &&mut Knob| {
        knob.times > 0 && (knob.method.is_empty() || asked.method == knob.method) && asked.raw_path.contains(&knob.path)
    };
    let knob = knobs.iter_mut().find(fits)?;
    knob.times -= 1;
    Some(knob.trouble.clone())
}
