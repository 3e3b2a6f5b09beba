//! HTTP as all forges speak it: who asks, pages, `ETag`, and what goes wrong on the way.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Method, Request, Response, StatusCode};
use base64::Engine as _;
use futures_util::stream;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// A request, as it is answered.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: Method,
    /// Below the address of the API, decoded: `["repos", "them", "packages"]`.
    pub path: Vec<String>,
    pub query: BTreeMap<String, String>,
    /// The document or the form that was sent; null if nothing was.
    pub body: Value,
    /// The account that asks.
    pub who: Option<String>,
    /// Whether an app asks in its own name.
    pub is_app: bool,
    etag: Option<String>,
    pub raw_path: String,
}

impl Asked {
    /// Takes a request apart; `api` is what its path begins with.
    pub async fn read(request: Request<Body>, api: &str) -> Self {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, 8 << 20).await.expect("a whole request");
        let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let token = header("authorization").or_else(|| header("private-token")).unwrap_or_default();
        let token = token.trim_start_matches("Bearer ").trim_start_matches("token ").to_owned();
        let is_form = header("content-type").is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
        let path = parts.uri.path().strip_prefix(api).unwrap_or(parts.uri.path()).to_owned();
        let decoded = |part: &str| {
            let part = part.replace('+', "%2B");
            url::form_urlencoded::parse(format!("x={part}").as_bytes()).next().map(|(_, value)| value.into_owned())
        };
        Self {
            method: parts.method.clone(),
            path: path.split('/').filter(|part| !part.is_empty()).filter_map(decoded).collect(),
            query: pairs(parts.uri.query().unwrap_or_default().as_bytes()),
            body: if is_form { form(&body) } else { serde_json::from_slice(&body).unwrap_or(Value::Null) },
            who: token.strip_prefix("token-of-").map(str::to_owned),
            is_app: is_jwt(&token),
            etag: header("if-none-match"),
            raw_path: path,
        }
    }

    /// The parts of the path, for a match.
    pub fn parts(&self) -> Vec<&str> {
        self.path.iter().map(String::as_str).collect()
    }

    /// A text in the body.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.body.get(key).and_then(Value::as_str)
    }

    /// A list of texts in the body.
    pub fn texts(&self, key: &str) -> Vec<String> {
        let list = self.body.get(key).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    pub fn query(&self, key: &str) -> Option<&str> {
        self.query.get(key).map(String::as_str)
    }

    /// Who asks; everything but the app's own questions is asked by somebody.
    pub fn me(&self) -> &str {
        self.who.as_deref().expect("checked before")
    }
}

fn pairs(text: &[u8]) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(text).map(|(key, value)| (key.into_owned(), value.into_owned())).collect()
}

/// A form as a document; keys that end in `[]` are lists.
fn form(body: &Bytes) -> Value {
    let mut fields = serde_json::Map::new();
    for (key, value) in url::form_urlencoded::parse(body) {
        match key.strip_suffix("[]") {
            Some(key) => {
                let list = fields.entry(key).or_insert_with(|| json!([]));
                list.as_array_mut().expect("a list").push(json!(value));
            }
            None => drop(fields.insert(key.into_owned(), json!(value))),
        }
    }
    Value::Object(fields)
}

fn is_jwt(token: &str) -> bool {
    let parts: Vec<_> = token.split('.').collect();
    let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    parts.len() == 3 && engine.decode(parts[1]).is_ok_and(|claims| String::from_utf8_lossy(&claims).contains("\"iss\""))
}

/// An answer, before it is put into pages.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub body: Value,
    /// Whether the body is a list that is told in pages.
    pub is_list: bool,
    pub headers: Vec<(&'static str, String)>,
}

impl Reply {
    pub fn of(status: u16, body: Value) -> Self {
        Self { status, body, is_list: false, headers: Vec::new() }
    }

    pub fn list(items: Vec<Value>) -> Self {
        Self { is_list: true, ..Self::of(200, Value::Array(items)) }
    }

    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The page that was asked for, with links to the others.
    pub fn page(mut self, asked: &Asked, url: &str) -> Self {
        let Value::Array(items) = &mut self.body else { return self };
        if !self.is_list {
            return self;
        }
        let number = |key: &str, default: usize| asked.query(key).and_then(|it| it.parse().ok()).unwrap_or(default);
        let (size, page) = (number("per_page", number("limit", 30)).clamp(1, 100), number("page", 1).max(1));
        let pages = items.len().div_ceil(size).max(1);
        let total = items.len();
        *items = items.iter().skip((page - 1) * size).take(size).cloned().collect();
        let link = |page: usize, rel: &str| {
            let mut query = asked.query.clone();
            query.insert("page".to_owned(), page.to_string());
            let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
            format!("<{url}{}?{query}>; rel=\"{rel}\"", asked.raw_path)
        };
        let mut links = vec![link(pages, "last"), link(1, "first")];
        if page < pages {
            links.insert(0, link(page + 1, "next"));
        }
        self.header("link", links.join(", "))
            .header("x-total", total.to_string())
            .header("x-total-count", total.to_string())
    }

    /// As it goes over the wire.
    pub fn response(&self, asked: &Asked) -> Response<Body> {
        let text = if self.body.is_null() { String::new() } else { self.body.to_string() };
        let etag = format!("\"{}\"", &hex(&text)[..16]);
        let mut response = Response::builder().header("content-type", "application/json; charset=utf-8");
        for (name, value) in &self.headers {
            response = response.header(*name, value);
        }
        let is_document = asked.method == Method::GET && self.status == 200;
        if is_document && asked.etag.as_deref() == Some(&etag) {
            let links = response.status(StatusCode::NOT_MODIFIED).header("etag", etag);
            return links.body(Body::empty()).expect("well formed");
        }
        if is_document {
            response = response.header("etag", etag);
        }
        response.status(self.status).body(text.into()).expect("well formed")
    }
}

fn hex(text: &str) -> String {
    Sha256::digest(text).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// What goes wrong.
#[derive(Debug, Clone)]
pub enum Trouble {
    /// Answered in place of the forge, and nothing happens.
    Answer { status: u16, headers: Vec<(&'static str, String)>, body: String },
    /// The forge takes its time.
    Slow(Duration),
    /// It happens, and half of the answer arrives.
    Truncated,
    /// It happens, and the connection breaks before the answer.
    Lost,
    /// The forge answers, and says that this was the last answer for so many seconds.
    Last(u64),
    /// The forge answers, and right after that somebody closes this review.
    Meanwhile(u64, &'static str),
}

impl Trouble {
    pub fn status(status: u16) -> Self {
        let body = json!({"message": "Something went wrong"}).to_string();
        Self::Answer { status, headers: Vec::new(), body }
    }

    /// GitHub's secondary limit.
    pub fn secondary(seconds: u64) -> Self {
        let body = json!({"message": "You have exceeded a secondary rate limit."}).to_string();
        Self::Answer { status: 403, headers: vec![("retry-after", seconds.to_string())], body }
    }

    /// What is answered in place of the forge.
    pub fn instead(&self) -> Option<Response<Body>> {
        let Self::Answer { status, headers, body } = self else { return None };
        let mut response = Response::builder().status(*status).header("content-type", "application/json");
        for (name, value) in headers {
            response = response.header(*name, value);
        }
        Some(response.body(body.clone().into()).expect("well formed"))
    }

    /// What becomes of an answer.
    pub async fn spoil(&self, response: Response<Body>) -> Response<Body> {
        let (mut parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.expect("our own");
        let broken = |kept: Bytes, parts| {
            let pieces = [Ok(kept), Err(std::io::Error::other("the connection broke"))];
            Response::from_parts(parts, Body::from_stream(stream::iter(pieces)))
        };
        match self {
            Self::Truncated | Self::Lost => {
                parts.headers.insert("content-length", (body.len() + 1).into());
                broken(if matches!(self, Self::Lost) { Bytes::new() } else { body.slice(..body.len() / 2) }, parts)
            }
            Self::Last(seconds) => {
                parts.headers.insert("x-ratelimit-remaining", 0.into());
                let reset = jiff::Timestamp::from_second(i64::try_from(*seconds).expect("few")).expect("a time");
                parts.headers.insert("x-ratelimit-reset", reset.as_second().into());
                parts.headers.insert("date", "Thu, 01 Jan 1970 00:00:00 GMT".parse().expect("a date"));
                Response::from_parts(parts, body.into())
            }
            Self::Slow(_) | Self::Answer { .. } | Self::Meanwhile(..) => Response::from_parts(parts, body.into()),
        }
    }
}
