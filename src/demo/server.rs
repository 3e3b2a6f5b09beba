//! What the world serves over loopback HTTP: the AUR (metadata dump, a git repository for each
//! package, the mirror), upstream repositories, source tarballs and the monorepo for reading.
//!
//! Git is served by the real `git http-backend`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path as UrlPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use jiff::Timestamp;
use jiff::fmt::rfc2822;

use super::aur::{Aur, Dump};
use super::repository::git;
use crate::domain::name::PkgBase;

/// The longest request body taken; a negotiation over thousands of refs stays far below.
const MAX_REQUEST: usize = 64 << 20;

/// What the server shows.
pub(super) struct Shown {
    /// The AUR.
    pub(super) aur: Aur,
    /// Where the bare repositories lie.
    pub(super) git: PathBuf,
    /// Where the tarballs lie.
    pub(super) sources: PathBuf,
}

/// The world's server. Once it is dropped, it takes no new connection.
#[derive(Debug)]
pub struct Server {
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts to answer on `listener`.
pub(super) fn serve(listener: std::net::TcpListener, shown: Shown) -> Result<Server> {
    listener.set_nonblocking(true).context("cannot listen without blocking")?;
    let listener = tokio::net::TcpListener::from_std(listener).context("cannot listen")?;
    let router = router(Arc::new(shown));
    let task = tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(error = &error as &dyn std::error::Error, "the demo's server ended");
        }
    });
    Ok(Server { task })
}

fn router(shown: Arc<Shown>) -> Router {
    Router::new()
        .route("/packages-meta-ext-v1.json.gz", get(metadata))
        .route("/sources/{file}", get(source))
        .route("/aur/{repository}/{*rest}", any(aur_package))
        .route("/mirror/aur.git/{*rest}", any(mirror))
        .route("/upstream/{repository}/{*rest}", any(upstream))
        .route("/packages.git/{*rest}", any(monorepo))
        .with_state(shown)
}

/// An error of the world is a 500 with its whole story: whoever reads it is its developer.
struct Failure(anyhow::Error);

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        tracing::error!("the demo's server: {:#}", self.0);
        (StatusCode::INTERNAL_SERVER_ERROR, format!("{:#}\n", self.0)).into_response()
    }
}

async fn metadata(State(shown): State<Arc<Shown>>, headers: HeaderMap) -> Result<Response, Failure> {
    let dump = shown.aur.dump().await?;
    let mut answer = HeaderMap::new();
    answer.insert(header::ETAG, HeaderValue::from_str(&dump.etag).context("an ETag is plain")?);
    answer.insert(header::LAST_MODIFIED, HeaderValue::from_str(&http_date(dump.modified)?).context("a date is plain")?);
    if is_known(&headers, &dump) {
        return Ok((StatusCode::NOT_MODIFIED, answer).into_response());
    }
    answer.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/gzip"));
    Ok((answer, dump.gzip).into_response())
}

/// Whether the asker has this dump already (RFC 9110, section 13: an `ETag` overrides a date).
fn is_known(headers: &HeaderMap, dump: &Dump) -> bool {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(tags) = text(header::IF_NONE_MATCH) {
        return tags.split(',').any(|tag| tag.trim().trim_start_matches("W/") == dump.etag || tag.trim() == "*");
    }
    let since = text(header::IF_MODIFIED_SINCE).and_then(|date| rfc2822::parse(date).ok());
    since.is_some_and(|since| since.timestamp().as_second() >= dump.modified.as_second())
}

fn http_date(time: Timestamp) -> Result<String> {
    rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&time).context("a time that HTTP cannot say")
}

async fn source(State(shown): State<Arc<Shown>>, UrlPath(file): UrlPath<String>) -> Response {
    let is_plain = !file.starts_with('.') && !file.contains('/');
    let bytes = if is_plain { tokio::fs::read(shown.sources.join(&file)).await.ok() } else { None };
    bytes.map_or_else(not_found, |bytes| ([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response())
}

async fn aur_package(
    State(shown): State<Arc<Shown>>,
    UrlPath((repository, rest)): UrlPath<(String, String)>,
    request: Request,
) -> Result<Response, Failure> {
    match repository_name(&repository) {
        Some(pkgbase) => Ok(backend(&shown.git, "aur.git", &rest, Some(&pkgbase), request).await?),
        None => Ok(not_found()),
    }
}

async fn mirror(
    State(shown): State<Arc<Shown>>,
    UrlPath(rest): UrlPath<String>,
    request: Request,
) -> Result<Response, Failure> {
    Ok(backend(&shown.git, "aur.git", &rest, None, request).await?)
}

async fn upstream(
    State(shown): State<Arc<Shown>>,
    UrlPath((repository, rest)): UrlPath<(String, String)>,
    request: Request,
) -> Result<Response, Failure> {
    match repository_name(&repository) {
        Some(_) => Ok(backend(&shown.git, &format!("upstream/{repository}"), &rest, None, request).await?),
        None => Ok(not_found()),
    }
}

async fn monorepo(
    State(shown): State<Arc<Shown>>,
    UrlPath(rest): UrlPath<String>,
    request: Request,
) -> Result<Response, Failure> {
    Ok(backend(&shown.git, "packages.git", &rest, None, request).await?)
}

fn repository_name(repository: &str) -> Option<PkgBase> {
    PkgBase::new(repository.strip_suffix(".git")?).ok()
}

fn not_found() -> Response {
    (StatusCode::NOT_FOUND, "nothing here\n").into_response()
}

/// Answers as `git http-backend` does below `root`, seen through a namespace if one is given. What may be pushed, the
/// repository says (`http.receivepack`).
///
/// # Errors
/// If git cannot be run, or says what is no answer.
pub async fn backend(
    root: &Path,
    repository: &str,
    rest: &str,
    namespace: Option<&PkgBase>,
    request: Request,
) -> Result<Response> {
    if rest.split('/').any(|part| part == "..") {
        return Ok(not_found());
    }
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, MAX_REQUEST).await.context("cannot read the request")?;
    let header = |name: HeaderName| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut program = git()
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", format!("/{repository}/{rest}"))
        .env("REQUEST_METHOD", parts.method.as_str())
        .env("QUERY_STRING", parts.uri.query().unwrap_or_default())
        .env("CONTENT_TYPE", header(header::CONTENT_TYPE))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", header(header::CONTENT_ENCODING))
        .env("GIT_PROTOCOL", header(HeaderName::from_static("git-protocol")))
        .stdin_bytes(body.to_vec());
    if let Some(pkgbase) = namespace {
        program = program.env("GIT_NAMESPACE", pkgbase.as_str());
    }
    let output = program.run().await.context("cannot serve git")?;
    from_cgi(&output.stdout.into(), &output.stderr)
}

/// Turns what a CGI program wrote into a response: headers, an empty line, the body.
fn from_cgi(output: &Bytes, stderr: &[u8]) -> Result<Response> {
    let end = output.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let end = end.with_context(|| format!("git http-backend: {}", String::from_utf8_lossy(stderr).trim()))?;
    let mut response = Response::new(Body::from(output.slice(end + 4..)));
    for line in String::from_utf8_lossy(&output[..end]).lines() {
        let (name, value) = line.split_once(": ").with_context(|| format!("`{line}` is no header"))?;
        if name == "Status" {
            let code = value.split(' ').next().unwrap_or_default();
            *response.status_mut() = code.parse().with_context(|| format!("`{value}` is no status"))?;
        } else {
            let name: HeaderName = name.parse().with_context(|| format!("`{name}` is no header"))?;
            response.headers_mut().insert(name, value.parse().with_context(|| format!("`{value}` is no value"))?);
        }
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use jiff::SignedDuration;
    use serde_json::Value;

    use super::*;
    use crate::demo::testing::{dump, name, run, scene};
    use crate::sys::clock::Clock as _;

    #[test]
    fn a_cgi_answer_becomes_a_response() {
        let output = Bytes::from_static(b"Status: 403 Forbidden\r\nContent-Type: text/plain\r\n\r\nno\r\n\r\n");
        let response = from_cgi(&output, b"").unwrap();
        assert_eq!(response.status(), StatusCode::FORBIDDEN);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/plain");
        let plain = Bytes::from_static(b"Expires: 0\r\n\r\n");
        assert_eq!(from_cgi(&plain, b"").unwrap().status(), StatusCode::OK);
    }

    #[test]
    fn a_cgi_program_that_said_nothing_is_quoted() {
        let error = from_cgi(&Bytes::new(), b"fatal: out of paper\n").unwrap_err();
        assert_eq!(error.to_string(), "git http-backend: fatal: out of paper");
    }

    #[tokio::test]
    async fn every_package_of_the_aur_is_a_repository_and_a_branch_of_the_mirror() {
        let scene = scene(3).await;
        let urls = scene.world.aur_urls();
        let mirror = run("git", &["ls-remote", "--heads", &urls.mirror_url]).await;
        let tips: BTreeMap<&str, &str> = mirror
            .lines()
            .map(|line| line.split_once('\t').unwrap())
            .map(|(tip, reference)| (reference.strip_prefix("refs/heads/").unwrap(), tip))
            .collect();
        let names = ["abacus++", "banner", "knotwork", "libtally", "moonphase"];
        let others = ["pebble-0001", "pebble-0002", "pebble-0003", "tidewatch-git"];
        assert_eq!(tips.keys().copied().collect::<Vec<_>>(), [&names[..], &others].concat());
        for (pkgbase, tip) in tips {
            let own = run("git", &["ls-remote", &urls.git_url.replace("{pkgbase}", pkgbase)]).await;
            let own: std::collections::BTreeSet<_> = own.lines().collect();
            assert_eq!(own, [&*format!("{tip}\tHEAD"), &*format!("{tip}\trefs/heads/master")].into());
        }
        let unknown = run("git", &["ls-remote", &urls.git_url.replace("{pkgbase}", "no-such")]).await;
        assert_eq!(unknown, "", "as in the AUR, a package nobody has is an empty repository");
    }

    #[tokio::test]
    async fn nothing_but_sources_is_served_as_a_source() {
        let scene = scene(0).await;
        let client = crate::sys::http::client(Duration::from_secs(10));
        for (path, status) in [
            ("sources/banner-3.0.1.tar.gz", 200),
            ("sources/..%2Faddress", 404),
            ("sources/no-such.tar.gz", 404),
            ("upstream/..%2F..%2Faddress.git/HEAD", 404),
            ("aur/..%2Faur.git/HEAD", 404),
            ("packages.git/..%2F..%2Faddress", 404),
        ] {
            let url = format!("http://{}/{path}", scene.world.address());
            assert_eq!(client.get(url).send().await.unwrap().status(), status, "{path}");
        }
    }

    #[tokio::test]
    async fn one_fetch_takes_many_packages_from_the_mirror() {
        // Enough of them that git compresses its request.
        let scene = scene(60).await;
        let clone = tempfile::tempdir().unwrap();
        let path = clone.path().to_str().unwrap();
        run("git", &["init", "--quiet", "--bare", path]).await;
        let mirror = scene.world.aur_urls().mirror_url;
        run("git", &["-C", path, "fetch", "--quiet", &mirror, "refs/heads/*:refs/heads/*"]).await;
        assert_eq!(run("git", &["-C", path, "for-each-ref"]).await.lines().count(), 66);
        let files = run("git", &["-C", path, "ls-tree", "--name-only", "refs/heads/abacus++"]).await;
        assert_eq!(files, ".SRCINFO\nPKGBUILD\n", "what belongs to the monorepo is not on the AUR");
    }

    #[tokio::test]
    async fn the_dump_tells_what_the_repositories_hold() {
        let scene = scene(0).await;
        let before = dump(&scene.world).await;
        let banner = &before["banner"];
        assert_eq!(banner["Version"], "1:3.0.1-1");
        assert_eq!(banner["Maintainer"], "bo");
        assert_eq!(banner["Depends"], serde_json::json!(["libglyph"]));
        assert_eq!(banner["LastModified"], (scene.clock.now() - SignedDuration::from_hours(1)).as_second());
        assert_eq!(banner["OutOfDate"], Value::Null);

        scene.clock.advance(SignedDuration::from_hours(1));
        let version = scene.world.aur_minor_update(&name("banner")).await.unwrap();
        let after = dump(&scene.world).await;
        assert_eq!((version.as_str(), after["banner"]["Version"].as_str()), ("3.0.2", Some("1:3.0.2-1")));
        assert_eq!(after["banner"]["LastModified"], scene.clock.now().as_second());
        assert_eq!(after["banner"]["FirstSubmitted"], banner["FirstSubmitted"]);
        assert_eq!(after["knotwork"], before["knotwork"]);
    }

    #[tokio::test]
    async fn a_dump_that_did_not_change_is_answered_with_304() {
        let scene = scene(0).await;
        let client = crate::sys::http::client(Duration::from_secs(10));
        let ask = |header: &'static str, value: String| {
            let request = client.get(scene.world.aur_urls().metadata_url).header(header, value);
            async move { request.send().await.unwrap() }
        };
        let first = ask("accept", "*/*".to_owned()).await;
        let header = |name: &str| first.headers()[name].to_str().unwrap().to_owned();
        let (etag, modified) = (header("etag"), header("last-modified"));
        assert_eq!(modified, "Fri, 01 May 2026 11:00:00 GMT");
        assert_eq!(ask("if-none-match", etag.clone()).await.status(), 304);
        assert_eq!(ask("if-none-match", format!("\"old\", W/{etag}")).await.status(), 304);
        assert_eq!(ask("if-modified-since", modified.clone()).await.status(), 304);
        scene.world.aur_minor_update(&name("knotwork")).await.unwrap();
        assert_eq!(ask("if-none-match", etag).await.status(), 200);
        assert_eq!(ask("if-modified-since", modified).await.status(), 200);
    }
}
