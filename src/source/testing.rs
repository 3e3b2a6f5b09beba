//! A stand-in for the AUR and its mirror on loopback, for tests: an index that can misbehave, and real
//! git repositories behind git's own HTTP server.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, Response, StatusCode};
use jiff::Timestamp;
use tempfile::TempDir;

use super::forge::ForgesConfig;
use super::{AurConfig, SourceRequest, SourcesConfig};
use crate::domain::folder::Folder;
use crate::domain::name::{Oid, PkgBase};
use crate::domain::policy::{Identity, SourceKind};
use crate::domain::state::Cursor;
use crate::git::{NewCommit, Repository};
use crate::sys::process::Program;

/// How the index behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// As it should.
    Fine,
    /// It answers with this status and nothing else.
    Status(u16),
    /// It sends half of the document.
    Truncated,
    /// It sends a web page.
    Page,
    /// It never answers.
    Silent,
    /// It claims to be ten gigabytes long, and sends next to nothing of them.
    Endless,
    /// It says in JSON that something is wrong (the RPC interface).
    Error,
    /// It wants to be left alone for so many seconds.
    Throttled(u32),
}

#[derive(Debug)]
struct Inner {
    repositories: PathBuf,
    index: Mutex<BTreeMap<String, (String, i64)>>,
    mood: Mutex<Mood>,
    rpc: Mutex<Mood>,
    hangs: AtomicBool,
    log: Mutex<Vec<String>>,
}

/// The world outside.
#[derive(Debug)]
pub struct World {
    dir: TempDir,
    url: String,
    inner: Arc<Inner>,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.server.abort();
    }
}

pub fn name(name: &str) -> PkgBase {
    PkgBase::new(name).expect("legal")
}

pub fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("in range")
}

/// The files of a package at some version.
pub fn package(pkgbase: &str, version: &str) -> Folder {
    let (pkgver, pkgrel) = version.split_once('-').expect("pkgver-pkgrel");
    let srcinfo =
        format!("pkgbase = {pkgbase}\n\tpkgver = {pkgver}\n\tpkgrel = {pkgrel}\n\tarch = any\n\npkgname = {pkgbase}\n");
    Folder::default().with("PKGBUILD", format!("pkgver={pkgver}\n")).with(".SRCINFO", srcinfo)
}

impl World {
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().expect("dir");
        let inner = Arc::new(Inner {
            repositories: dir.path().join("git"),
            index: Mutex::default(),
            mood: Mutex::new(Mood::Fine),
            rpc: Mutex::new(Mood::Fine),
            hangs: AtomicBool::new(false),
            log: Mutex::default(),
        });
        Repository::create_workspace(&inner.repositories.join("mirror.git"), None).expect("created");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let app = axum::Router::new().fallback(serve).with_state(Arc::clone(&inner));
        let server = tokio::spawn(async move { axum::serve(listener, app).await.expect("serves") });
        Self { dir, url, inner, server }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.url)
    }

    /// Settings that use the mirror of this world.
    pub fn config(&self) -> SourcesConfig {
        SourcesConfig {
            aur: AurConfig {
                metadata_url: self.url("index.json.gz"),
                rpc_url: self.url("rpc/v5"),
                mirror_url: Some(self.url("git/mirror.git")),
                git_url: Some(self.url("git/{pkgbase}.git")),
                prefer_mirror: true,
                proxy: None,
                clone_delay: Duration::ZERO,
                max_parallel: 4,
            },
            nvchecker: super::nvchecker::NvcheckerConfig::default(),
            forges: ForgesConfig::default(),
            cache_dir: self.dir.path().join("cache"),
            timeout: Duration::from_secs(20),
            parallel: Some(8),
            per_host: 4,
            pass: Duration::from_hours(1),
        }
    }

    pub fn set_mood(&self, mood: Mood) {
        *self.inner.mood.lock().expect("sound") = mood;
    }

    /// How the RPC interface behaves.
    pub fn set_rpc(&self, mood: Mood) {
        *self.inner.rpc.lock().expect("sound") = mood;
    }

    /// From now on the git server takes requests for objects and never answers them.
    pub fn hang(&self) {
        self.inner.hangs.store(true, Ordering::SeqCst);
    }

    /// The index announces this push.
    pub fn announce(&self, pkgbase: &str, version: &str, stamp: i64) {
        self.inner.index.lock().expect("sound").insert(pkgbase.to_owned(), (version.to_owned(), stamp));
    }

    /// The package leaves the index.
    pub fn withdraw(&self, pkgbase: &str) {
        self.inner.index.lock().expect("sound").remove(pkgbase);
    }

    /// The mirror gets this push.
    pub fn mirror(&self, pkgbase: &str, version: &str, time: i64) -> Oid {
        self.commit("mirror.git", pkgbase, &package(pkgbase, version), time)
    }

    /// A repository gets a commit on a branch.
    pub fn commit(&self, repository: &str, branch: &str, folder: &Folder, time: i64) -> Oid {
        let path = self.inner.repositories.join(repository);
        let repository = Repository::create_workspace(&path, None).expect("repository");
        let commit = NewCommit {
            tree: repository.write_folder(folder).expect("written"),
            parents: repository.resolve(&format!("refs/heads/{branch}")).expect("readable").into_iter().collect(),
            message: "push\n".to_owned(),
            identity: Identity { name: "packager".to_owned(), email: "packager@localhost".to_owned() },
            time: at(time),
        };
        let id = repository.commit(&commit).expect("committed");
        std::fs::write(path.join("refs/heads").join(branch), format!("{id}\n")).expect("written");
        id
    }

    /// The branch of a package on the mirror points at something that is not there.
    pub fn break_branch(&self, pkgbase: &str) {
        let path = self.inner.repositories.join("mirror.git");
        let repository = Repository::open(&path).expect("repository");
        let commit = repository.resolve(&format!("refs/heads/{pkgbase}")).expect("readable").expect("there");
        let tree = repository.tree_of(commit).expect("readable").to_string();
        std::fs::remove_file(path.join("objects").join(&tree[..2]).join(&tree[2..])).expect("removed");
    }

    /// Where a repository of this world lies.
    pub fn repository(&self, name: &str) -> PathBuf {
        self.inner.repositories.join(name)
    }

    /// What was asked since the last call, as `METHOD path`.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut *self.inner.log.lock().expect("sound"))
    }

    /// How many packs were asked for since the last call of this or of [`World::requests`].
    pub fn fetches(&self) -> usize {
        self.requests().iter().filter(|request| request.ends_with("fetch")).count()
    }
}

/// A request about a package of the AUR.
pub fn asking(pkgbase: &str, cursor: Option<Cursor>) -> SourceRequest {
    SourceRequest { pkgbase: name(pkgbase), kind: SourceKind::Aur, cursor, version: None, members: Vec::new() }
}

async fn serve(State(inner): State<Arc<Inner>>, request: Request) -> Response<Body> {
    let path = request.uri().path().to_owned();
    if path.starts_with("/git/") {
        return git(&inner, request).await;
    }
    if let Some(file) = path.strip_prefix("/files/") {
        return files(&inner, file);
    }
    if path == "/rpc/v5/info" {
        return inner.rpc(request.uri().query().unwrap_or_default());
    }
    let known = request.headers().get(IF_NONE_MATCH).cloned();
    let label = if known.is_some() { "GET index (conditional)" } else { "GET index" };
    inner.log.lock().expect("sound").push(label.to_owned());
    let mood = *inner.mood.lock().expect("sound");
    let document = inner.document();
    let etag = format!("\"{}\"", Folder::default().with("index", &document).digest());
    match mood {
        Mood::Silent => std::future::pending().await,
        Mood::Status(_) | Mood::Throttled(_) | Mood::Error => refusal(mood),
        Mood::Endless => {
            let begun = futures_util::stream::once(async move { Ok::<_, std::io::Error>(document[..10].to_vec()) });
            let never_ends = futures_util::StreamExt::chain(begun, futures_util::stream::pending());
            let response = Response::builder().header("content-length", "10000000000");
            response.body(Body::from_stream(never_ends)).expect("well formed")
        }
        Mood::Page => plain(StatusCode::OK, "<html>maintenance</html>".into()),
        Mood::Truncated => plain(StatusCode::OK, document[..document.len() / 2].to_vec().into()),
        Mood::Fine if known.is_some_and(|known| known == *etag) => plain(StatusCode::NOT_MODIFIED, Body::empty()),
        Mood::Fine => Response::builder().header(ETAG, etag).body(document.into()).expect("well formed"),
    }
}

/// An answer that is none.
fn refusal(mood: Mood) -> Response<Body> {
    match mood {
        Mood::Status(status) => plain(StatusCode::from_u16(status).expect("a status"), Body::empty()),
        Mood::Throttled(seconds) => {
            let response = Response::builder().status(429).header("retry-after", seconds.to_string());
            response.body(Body::empty()).expect("well formed")
        }
        Mood::Error => {
            let error = serde_json::json!({"version": 5, "type": "error", "resultcount": 0, "results": [],
                "error": "Too many package results."});
            plain(StatusCode::OK, error.to_string().into())
        }
        _ => plain(StatusCode::OK, "<html>maintenance</html>".into()),
    }
}

impl Inner {
    /// The RPC interface, which knows packages by the names that are installed.
    fn rpc(&self, query: &str) -> Response<Body> {
        let names = query.split('&').filter_map(|part| part.strip_prefix("arg[]="));
        let names: Vec<String> = names.map(|name| name.replace("%2B", "+")).collect();
        self.log.lock().expect("sound").push(format!("GET rpc {}", names.len()));
        let mood = *self.rpc.lock().expect("sound");
        if mood != Mood::Fine {
            return refusal(mood);
        }
        let results: Vec<_> =
            self.entries().into_iter().filter(|it| names.iter().any(|name| it["Name"] == **name)).collect();
        let answer =
            serde_json::json!({"version": 5, "type": "multiinfo", "resultcount": results.len(), "results": results});
        plain(StatusCode::OK, answer.to_string().into())
    }

    fn entries(&self) -> Vec<serde_json::Value> {
        let index = self.index.lock().expect("sound");
        let entry = |(name, (version, stamp)): (&String, &(String, i64))| {
            serde_json::json!({"Name": name, "PackageBase": name, "Version": version, "LastModified": stamp,
                "Maintainer": "ann", "NumVotes": 1, "Popularity": 0.1, "FirstSubmitted": 1})
        };
        index.iter().map(entry).collect()
    }

    fn document(&self) -> Vec<u8> {
        let entries = self.entries();
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(serde_json::to_string(&entries).expect("plain").as_bytes()).expect("in memory");
        encoder.finish().expect("in memory")
    }
}

/// A server that knows nothing of git: files as they lie there, and the lists that git prepares for it.
fn files(inner: &Inner, path: &str) -> Response<Body> {
    let (repository, file) = path.split_once('/').expect("a file in a repository");
    let folder = inner.repositories.join(repository);
    let head = Repository::open(&folder).expect("repository").resolve("main").expect("readable").expect("there");
    match file {
        "info/refs" => plain(StatusCode::OK, format!("{head}\trefs/heads/main\n").into()),
        _ => std::fs::read(folder.join(file))
            .map_or_else(|_| plain(StatusCode::NOT_FOUND, Body::empty()), |bytes| plain(StatusCode::OK, bytes.into())),
    }
}

fn plain(status: StatusCode, body: Body) -> Response<Body> {
    Response::builder().status(status).body(body).expect("well formed")
}

/// `git http-backend`, which speaks CGI.
async fn git(inner: &Inner, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.expect("readable");
    let header = |name: &str| header(&parts.headers, name);
    let path = parts.uri.path().trim_start_matches("/git");
    inner.log.lock().expect("sound").push(format!("{} {path}{}", parts.method, command(&parts.headers, &body)));
    if parts.method == "POST" && inner.hangs.load(Ordering::SeqCst) {
        return std::future::pending().await;
    }
    let output = Program::new("git")
        .args(["-c", "safe.directory=*", "http-backend"])
        .env("GIT_PROJECT_ROOT", &inner.repositories)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", parts.method.as_str())
        .env("PATH_INFO", path)
        .env("QUERY_STRING", parts.uri.query().unwrap_or(""))
        .env("CONTENT_TYPE", header(CONTENT_TYPE.as_str()))
        .env("HTTP_CONTENT_ENCODING", header(CONTENT_ENCODING.as_str()))
        .env("GIT_PROTOCOL", header("git-protocol"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .stdin_bytes(body.to_vec())
        .run()
        .await
        .expect("git runs");
    let end = output.stdout.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("headers end");
    let mut response = Response::builder();
    for line in String::from_utf8_lossy(&output.stdout[..end]).lines() {
        let (name, value) = line.split_once(": ").expect("a header");
        response = if name == "Status" {
            response.status(value.split(' ').next().expect("a number"))
        } else {
            response.header(name, value)
        };
    }
    response.body(output.stdout[end + 4..].to_vec().into()).expect("well formed")
}

fn header(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned()
}

/// Which command of protocol version 2 a body holds.
fn command(headers: &HeaderMap, body: &Bytes) -> &'static str {
    let mut text = body.to_vec();
    if header(headers, CONTENT_ENCODING.as_str()) == "gzip" {
        text.clear();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&body[..]), &mut text).expect("gzip");
    }
    let has = |word: &[u8]| text.windows(word.len()).any(|bytes| bytes == word);
    if has(b"command=fetch") {
        " fetch"
    } else if has(b"command=ls-refs") {
        " ls-refs"
    } else {
        ""
    }
}
