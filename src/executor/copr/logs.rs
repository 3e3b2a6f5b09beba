//! The web server with the logs: asks for a piece of a file, and does not go where it is sent.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, RANGE, RETRY_AFTER};
use url::Url;

use crate::domain::copr::tail::{Form, Head, Range};
use crate::sys::http;

/// How long an answer may take to begin, and to go on.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long it may take in all.
const WHOLE: Duration = Duration::from_mins(30);

/// The way to logs. It knows no login.
#[derive(Debug, Clone)]
pub struct Logs {
    http: reqwest::Client,
    /// Whether logs have to come encrypted, as COPR itself does.
    is_https: bool,
}

/// An answer, of which the body is still to be read.
pub struct Answer {
    /// What stands before it.
    pub head: Head,
    /// When to come again, if the server says that.
    pub after: Option<Duration>,
    response: reqwest::Response,
}

/// A body that broke off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken;

impl Logs {
    /// For the logs of the COPR at this address.
    #[must_use]
    pub fn of(copr: &Url) -> Self {
        Self { http: http::client_without_redirects(WHOLE), is_https: copr.scheme() == "https" }
    }

    /// The address of a log in a directory of results; `None` if nobody should ask there.
    #[must_use]
    pub fn address(&self, directory: &str, name: &str, form: Form) -> Option<Url> {
        let packed = if form == Form::Packed { ".gz" } else { "" };
        let url = Url::parse(&format!("{}/{name}{packed}", directory.trim_end_matches('/'))).ok()?;
        let is_web = url.scheme() == "https" || (url.scheme() == "http" && !self.is_https);
        (is_web && !http::is_link_local(&url)).then_some(url)
    }

    /// Asks for a log from a byte on; `None` if there is no answer.
    pub async fn ask(&self, url: Url, from: Option<u64>) -> Option<Answer> {
        let mut request = self.http.get(url).header(ACCEPT_ENCODING, "identity");
        if let Some(from) = from {
            request = request.header(RANGE, format!("bytes={from}-"));
        }
        let response = tokio::time::timeout(PATIENCE, request.send()).await.ok()?.ok()?;
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let head = Head {
            status: response.status().as_u16(),
            range: Range::parse(header(CONTENT_RANGE)),
            is_packed: matches!(header(CONTENT_ENCODING), "gzip" | "x-gzip"),
            is_page: header(CONTENT_TYPE).starts_with("text/html"),
        };
        let after = http::retry_after(header(RETRY_AFTER));
        Some(Answer { head, after, response })
    }
}

impl Answer {
    /// The next piece of the body; `None` at its end.
    ///
    /// # Errors
    /// [`Broken`] if it ends before, or does not go on.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, Broken> {
        match tokio::time::timeout(PATIENCE, self.response.chunk()).await {
            Ok(Ok(piece)) => Ok(piece),
            Ok(Err(_)) | Err(_) => Err(Broken),
        }
    }
}
