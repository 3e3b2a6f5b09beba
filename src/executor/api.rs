//! The API of a service that builds: asked in JSON, with a token that goes to it alone.
//!
//! The token is never sent without encryption, and redirects are not followed. Answers are bounded. Nothing is asked
//! twice here: whoever asks knows what may be.

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::{Host, Url};

use crate::sys::http;
use crate::sys::secret::{ExposeSecret as _, SecretString};

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_mins(1);
/// A longer answer is not read: 16 MiB.
const LARGEST: usize = 16 << 20;
/// So much of what a service says is shown.
const SHOWN: usize = 400;

/// A service that could not be asked, or said no.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The token could be overheard.
    #[error("the token is not sent to {url} without encryption; give an address that begins with https://")]
    Insecure {
        /// The address.
        url: String,
    },
    /// There was no answer, or not all of it.
    #[error("it cannot be asked to {what}")]
    Unreachable {
        /// What it was asked to do.
        what: &'static str,
        /// Why there was none.
        #[source]
        source: reqwest::Error,
    },
    /// It said that it cannot now.
    #[error("it cannot {what} now: {message} (status {status})")]
    Later {
        /// What it was asked to do.
        what: &'static str,
        /// The status of HTTP.
        status: u16,
        /// What it said.
        message: String,
        /// When to ask again, if it says that.
        after: Option<Duration>,
    },
    /// It said no.
    #[error("it refuses to {what}: {message} (status {status})")]
    Refused {
        /// What it was asked to do.
        what: &'static str,
        /// The status of HTTP.
        status: u16,
        /// What it said.
        message: String,
    },
    /// It said something that cannot be.
    #[error("its answer, asked to {what}, is of no use: {reason}")]
    Nonsense {
        /// What it was asked to do.
        what: &'static str,
        /// What is wrong with the answer.
        reason: String,
    },
}

impl ApiError {
    /// Whether it may be another answer later.
    #[must_use]
    pub const fn will_pass(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Later { .. })
    }

    /// Whether what was asked about is not there.
    #[must_use]
    pub const fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }
}

/// The way to one service.
#[derive(Debug, Clone)]
pub struct Api {
    base: Url,
    token: SecretString,
    http: reqwest::Client,
}

impl Api {
    /// A way to the service at this address.
    ///
    /// # Errors
    /// [`ApiError::Insecure`] if the token could be overheard.
    pub fn new(base: Url, token: SecretString) -> Result<Self, ApiError> {
        if !keeps_secrets(&base) {
            return Err(ApiError::Insecure { url: base.to_string() });
        }
        Ok(Self { base, token, http: http::client_without_redirects(PATIENCE) })
    }

    /// A request, by the parts of its path and what is asked.
    pub fn ask(&self, method: Method, path: &[&str], query: &[(&str, &str)]) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut parts) = url.path_segments_mut() {
            parts.pop_if_empty().extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.http.request(method, url).bearer_auth(self.token.expose_secret())
    }

    /// The answer to a request, if it is not a refusal.
    pub async fn answer(&self, what: &'static str, request: RequestBuilder) -> Result<Response, ApiError> {
        let response = request.send().await.map_err(|error| unreachable(what, error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(refusal(what, response).await)
    }

    /// The answer to a request, as JSON.
    pub async fn json<T: DeserializeOwned>(&self, what: &'static str, request: RequestBuilder) -> Result<T, ApiError> {
        let body = bounded(what, self.answer(what, request).await?).await?;
        serde_json::from_slice(&body).map_err(|error| ApiError::Nonsense { what, reason: error.to_string() })
    }
}

/// The way of an answer that broke off.
pub fn unreachable(what: &'static str, error: reqwest::Error) -> ApiError {
    ApiError::Unreachable { what, source: error.without_url() }
}

/// Whether nobody can listen to what is sent there.
fn keeps_secrets(url: &Url) -> bool {
    let is_here = match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && is_here)
}

async fn bounded(what: &'static str, mut response: Response) -> Result<Vec<u8>, ApiError> {
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|error| unreachable(what, error))? {
        body.extend_from_slice(&piece);
        if body.len() > LARGEST {
            return Err(ApiError::Nonsense { what, reason: format!("it is longer than {LARGEST} bytes") });
        }
    }
    Ok(body)
}

/// What an answer says that is no success.
async fn refusal(what: &'static str, response: Response) -> ApiError {
    let status = response.status();
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (kind, after) = (header(CONTENT_TYPE), header(RETRY_AFTER));
    let said = match bounded(what, response).await {
        Ok(body) if kind.is_some_and(|kind| kind.starts_with("application/json")) => {
            serde_json::from_slice::<Value>(&body).ok()
        }
        _ => None,
    };
    let said = said.as_ref().and_then(|said| said.get("message").or_else(|| said.get("error"))).and_then(Value::as_str);
    let silent = || status.canonical_reason().unwrap_or("it does not say why").to_owned();
    let (message, status_code) = (said.map_or_else(silent, shown), status.as_u16());
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::REQUEST_TIMEOUT {
        let after = after.and_then(|seconds| seconds.trim().parse().ok()).map(Duration::from_secs);
        return ApiError::Later { what, status: status_code, message, after };
    }
    ApiError::Refused { what, status: status_code, message }
}

/// What comes from outside, in one line that steers nothing.
fn shown(text: &str) -> String {
    text.chars().take(SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_not_sent_where_it_could_be_overheard() {
        let api = |url: &str| Api::new(Url::parse(url).unwrap(), "secret".to_owned().into());
        assert!(api("https://builds.example").is_ok() && api("http://127.0.0.1:8080").is_ok());
        for url in ["http://builds.example", "http://localhost.example", "ftp://127.0.0.1/"] {
            assert!(matches!(api(url), Err(ApiError::Insecure { .. })), "{url}");
        }
    }

    #[test]
    fn what_is_asked_for_is_below_the_address_whatever_it_is_called() {
        let api = Api::new(Url::parse("https://builds.example/below/").unwrap(), "secret".to_owned().into()).unwrap();
        let request = api.ask(Method::GET, &["0", "job", "../whoami?x"], &[("tag", "a=1&b")]).build().unwrap();
        assert_eq!(request.url().as_str(), "https://builds.example/below/0/job/..%2Fwhoami%3Fx?tag=a%3D1%26b");
    }
}
