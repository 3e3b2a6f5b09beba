//! GitLab, GitHub and Gitea on loopback: projects that people tag, with the archives of their tags.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Response, StatusCode};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::task::JoinHandle;

use super::scene::Scene;

/// A tag as its forge has it.
#[derive(Debug, Clone)]
struct Tag {
    name: String,
    commit: String,
    prerelease: bool,
}

/// What everybody sees.
#[derive(Debug, Default)]
struct World {
    projects: BTreeMap<String, Vec<Tag>>,
    /// What is answered in place of everything below such a path.
    broken: Vec<(String, StatusCode)>,
    asked: Vec<String>,
}

/// All three forges, at one address.
pub struct Forge {
    pub address: SocketAddr,
    world: Arc<Mutex<World>>,
    server: JoinHandle<()>,
}

impl Drop for Forge {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Forge {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("bound");
        let world = Arc::new(Mutex::new(World::default()));
        let app = axum::Router::new().fallback(answer).with_state(world.clone());
        let server = tokio::spawn(async move { axum::serve(listener, app).await.expect("serves") });
        Self { address, world, server }
    }

    /// Has the program take this for gitlab.com and github.com.
    pub fn stands_in(&self, scene: &mut Scene) {
        let urls = [("GITLAB__URL", ""), ("GITHUB__URL", ""), ("GITHUB__API_URL", "/github-api")];
        for (key, path) in urls {
            scene.env.insert(format!("PKGWARDEN__SOURCES__{key}"), self.url(path));
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Somebody tags a project, which may be new. Returns the commit.
    pub fn tag(&self, project: &str, tag: &str) -> String {
        self.add(project, tag, false)
    }

    /// Somebody tags a project and says that it is no release yet.
    pub fn prerelease(&self, project: &str, tag: &str) -> String {
        self.add(project, tag, true)
    }

    fn add(&self, project: &str, tag: &str, prerelease: bool) -> String {
        let commit = hex(format!("{project} {tag}"))[..40].to_owned();
        let tag = Tag { name: tag.to_owned(), commit: commit.clone(), prerelease };
        self.world().projects.entry(project.to_owned()).or_default().push(tag);
        commit
    }

    /// From now on, whatever begins with this path is answered with a status.
    pub fn breaks(&self, path: &str, status: u16) {
        self.world().broken.push((path.to_owned(), StatusCode::from_u16(status).expect("a status")));
    }

    pub fn works_again(&self) {
        self.world().broken.clear();
    }

    /// What was asked since the last call, without the archives.
    pub fn asked(&self) -> Vec<String> {
        let asked = std::mem::take(&mut self.world().asked);
        asked.into_iter().filter(|line| !line.contains("/archive/")).collect()
    }

    /// Which archives were fetched since the last call.
    pub fn fetched(&self) -> Vec<String> {
        let asked = std::mem::take(&mut self.world().asked);
        asked.into_iter().filter(|line| line.contains("/archive/")).collect()
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("nobody panics with it")
    }
}

/// The checksum of the archive of a tag.
pub fn sum_of_archive(project: &str, tag: &str) -> String {
    hex(archive(&format!("/{project}/archive/{tag}.tar.gz")))
}

fn archive(path: &str) -> String {
    format!("everything that lies at {path}\n")
}

fn hex(text: String) -> String {
    Sha256::digest(text).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

async fn answer(State(world): State<Arc<Mutex<World>>>, request: Request) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let mut world = world.lock().expect("nobody panics with it");
    world.asked.push(format!("{} {path}", request.method()));
    if let Some((_, status)) = world.broken.iter().find(|(prefix, _)| path.starts_with(prefix)) {
        return plain(*status, "text/plain", String::new());
    }
    let tags = |project: &str| world.projects.get(project).cloned();
    if let Some(project) = path.strip_prefix("/api/v4/projects/").and_then(|rest| rest.strip_suffix("/repository/tags"))
    {
        return tags(&project.replace("%2F", "/")).map_or_else(missing, |tags| gitlab(&tags));
    }
    for api in ["/github-api/repos/", "/api/v1/repos/"] {
        if let Some(project) = path.strip_prefix(api).and_then(|rest| rest.strip_suffix("/releases")) {
            return tags(project).map_or_else(missing, |tags| releases(&tags));
        }
    }
    if let Some(project) = path.trim_start_matches('/').strip_suffix("/git-upload-pack") {
        return tags(project).map_or_else(missing, |tags| refs(&tags));
    }
    if let Some(project) = path.trim_start_matches('/').strip_suffix("/info/refs") {
        return tags(project).map_or_else(missing, |tags| advertised(&tags));
    }
    match path.trim_start_matches('/').trim_end_matches(".tar.gz").split_once("/archive/") {
        Some((project, tag)) if tags(project).is_some_and(|tags| tags.iter().any(|it| it.name == tag)) => {
            plain(StatusCode::OK, "application/gzip", archive(&path))
        }
        _ => missing(),
    }
}

fn missing() -> Response<Body> {
    plain(StatusCode::NOT_FOUND, "text/plain", String::new())
}

fn plain(status: StatusCode, kind: &str, body: String) -> Response<Body> {
    Response::builder().status(status).header("content-type", kind).body(body.into()).expect("well formed")
}

/// In the order in which they were made: who asks has to know which is the newest version.
fn gitlab(tags: &[Tag]) -> Response<Body> {
    let tags: Vec<_> = tags.iter().map(|tag| json!({"name": tag.name, "commit": {"id": tag.commit}})).collect();
    plain(StatusCode::OK, "application/json", json!(tags).to_string())
}

fn releases(tags: &[Tag]) -> Response<Body> {
    let release = |tag: &Tag| json!({"tag_name": tag.name, "prerelease": tag.prerelease, "draft": false});
    plain(StatusCode::OK, "application/json", json!(tags.iter().map(release).collect::<Vec<_>>()).to_string())
}

/// What a git server says of itself first.
fn advertised(tags: &[Tag]) -> Response<Body> {
    let packet = |line: String| format!("{:04x}{line}", line.len() + 4);
    let features = |at: usize| if at == 0 { "\0agent=forge" } else { "" };
    let lines = tags.iter().enumerate().map(|(at, tag)| {
        let Tag { name, commit, .. } = tag;
        packet(format!("{commit} refs/tags/{name}{}\n", features(at)))
    });
    let service = packet("# service=git-upload-pack\n".to_owned());
    let body = format!("{service}0000{}0000", lines.collect::<String>());
    plain(StatusCode::OK, "application/x-git-upload-pack-advertisement", body)
}

/// What a git server says to `ls-refs`.
fn refs(tags: &[Tag]) -> Response<Body> {
    let line = |tag: &Tag| {
        let line = format!("{} refs/tags/{}\n", tag.commit, tag.name);
        format!("{:04x}{line}", line.len() + 4)
    };
    let body = tags.iter().map(line).collect::<String>() + "0000";
    plain(StatusCode::OK, "application/x-git-upload-pack-result", body)
}
