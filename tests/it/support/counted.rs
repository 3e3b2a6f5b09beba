//! Stands between the program and the AUR of a world, and counts what is asked.

use std::io::Read as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Response, header};
use tokio::task::JoinHandle;

use super::Scene;

/// What is asked of the AUR, and how often.
pub struct Counted {
    asked: Arc<Mutex<Vec<String>>>,
    server: JoinHandle<()>,
}

#[derive(Clone)]
struct Between {
    target: String,
    client: reqwest::Client,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Counted {
    /// Has the program ask the AUR of this scene through here.
    pub async fn before(scene: &mut Scene) -> Self {
        let target = format!("http://{}", scene.world().address());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let ours = format!("http://{}", listener.local_addr().expect("bound"));
        for (key, url) in &mut scene.env {
            if key.contains("SOURCES__AUR") {
                *url = url.replace(&target, &ours);
            }
        }
        let asked = Arc::new(Mutex::default());
        let client = pkgwarden::sys::http::client(Duration::from_mins(2));
        let app =
            axum::Router::new().fallback(pass_on).with_state(Between { target, client, asked: Arc::clone(&asked) });
        let server = tokio::spawn(async move { axum::serve(listener, app).await.expect("serves") });
        Self { asked, server }
    }

    /// What was asked since the last call: everything, and how many of these were negotiations about objects.
    pub fn take(&self) -> (Vec<String>, usize) {
        let asked = std::mem::take(&mut *self.asked.lock().expect("nobody panics with it"));
        let fetches = asked.iter().filter(|line| line.ends_with(" fetch")).count();
        (asked, fetches)
    }
}

async fn pass_on(State(between): State<Between>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 64 << 20).await.expect("readable");
    let path = parts.uri.path_and_query().expect("a path").as_str();
    let is_gzip = parts.headers.get(header::CONTENT_ENCODING).is_some_and(|value| value == "gzip");
    let line = format!("{} {}{}", parts.method, parts.uri.path(), command(&body, is_gzip));
    between.asked.lock().expect("nobody panics with it").push(line);
    let mut headers = parts.headers.clone();
    headers.remove(header::HOST);
    let url = format!("{}{path}", between.target);
    let answer = between.client.request(parts.method, url).headers(headers).body(body).send().await.expect("answered");
    let mut response = Response::builder().status(answer.status());
    for (name, value) in answer.headers().iter().filter(|(name, _)| **name != header::TRANSFER_ENCODING) {
        response = response.header(name, value);
    }
    response.body(answer.bytes().await.expect("readable").into()).expect("well formed")
}

/// Which command of git's protocol a body holds.
fn command(body: &[u8], is_gzip: bool) -> &'static str {
    let mut text = body.to_vec();
    if is_gzip {
        text.clear();
        flate2::read::GzDecoder::new(body).read_to_end(&mut text).expect("gzip");
    }
    let has = |word: &[u8]| text.windows(word.len()).any(|bytes| bytes == word);
    if has(b"command=fetch") { " fetch" } else { "" }
}
