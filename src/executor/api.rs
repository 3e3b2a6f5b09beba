//! The API of a service that builds: asked in JSON, with something that proves who we are and goes to it alone.
//!
//! That is never sent without encryption, and redirects are not followed. Answers are bounded. Nothing is asked twice
//! here: whoever asks knows what may be.

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
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
    /// What proves who we are would go through the network for everybody to read.
    #[error("{url} is not asked, because a secret would be sent without encryption; write https://")]
    Insecure {
        /// The address.
        url: String,
    },
    /// No answer came, or not all of it.
    #[error("{service} cannot be asked to {what}")]
    Unreachable {
        /// The service.
        service: &'static str,
        /// What it was asked.
        what: &'static str,
        /// Why not, without the address.
        #[source]
        source: reqwest::Error,
    },
    /// It has trouble of its own, or wants to be left alone.
    #[error("{service} cannot {what} now (status {status}): {message}")]
    Later {
        /// The service.
        service: &'static str,
        /// What it was asked.
        what: &'static str,
        /// The status of HTTP.
        status: u16,
        /// What it says.
        message: String,
        /// When to come again, if it says that; no later than in some minutes.
        after: Option<Duration>,
    },
    /// It says no.
    #[error("{service} does not {what} (status {status}): {message}")]
    Refused {
        /// The service.
        service: &'static str,
        /// What it was asked.
        what: &'static str,
        /// The status of HTTP.
        status: u16,
        /// What it says.
        message: String,
    },
    /// It sends us to another address.
    #[error("{service} is not where it is asked: it names {to}; write that address, if it is right, as its url")]
    Moved {
        /// The service.
        service: &'static str,
        /// The other address.
        to: String,
    },
    /// Its answer cannot be understood.
    #[error("{service} was asked to {what}, and its answer cannot be understood: {reason}")]
    Nonsense {
        /// The service.
        service: &'static str,
        /// What it was asked.
        what: &'static str,
        /// Why not.
        reason: String,
    },
}

impl ApiError {
    /// Whether the service may be there later, or able.
    #[must_use]
    pub const fn will_pass(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Later { .. })
    }

    /// Whether what was asked for may have been done though there is no answer that says so.
    #[must_use]
    pub fn may_have_worked(&self) -> bool {
        match self {
            Self::Unreachable { source, .. } => !source.is_connect(),
            Self::Later { status, .. } => *status != 429,
            Self::Nonsense { .. } => true,
            Self::Insecure { .. } | Self::Refused { .. } | Self::Moved { .. } => false,
        }
    }

    /// Whether what was asked about is not there.
    #[must_use]
    pub const fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }

    /// When to come again, if the service said that.
    #[must_use]
    pub const fn after(&self) -> Option<Duration> {
        match self {
            Self::Later { after, .. } => *after,
            _ => None,
        }
    }
}

/// What proves who we are.
#[derive(Debug, Clone)]
pub enum Proof {
    /// Nothing: anybody may ask.
    Nothing,
    /// A token.
    Token(SecretString),
    /// Two halves of a login.
    Login(SecretString, SecretString),
}

/// The way to one service.
#[derive(Debug, Clone)]
pub struct Api {
    service: &'static str,
    base: Url,
    proof: Proof,
    http: reqwest::Client,
}

impl Api {
    /// A way to the service of this name at this address.
    ///
    /// # Errors
    /// [`ApiError::Insecure`] if what proves who we are could be overheard.
    pub fn new(service: &'static str, base: Url, proof: Proof) -> Result<Self, ApiError> {
        if !matches!(proof, Proof::Nothing) && !keeps_secrets(&base) {
            return Err(ApiError::Insecure { url: base.to_string() });
        }
        Ok(Self { service, base, proof, http: http::client_without_redirects(PATIENCE) })
    }

    /// The address.
    #[must_use]
    pub const fn url(&self) -> &Url {
        &self.base
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
        let request = self.http.request(method, url);
        match &self.proof {
            Proof::Nothing => request,
            Proof::Token(token) => request.bearer_auth(token.expose_secret()),
            Proof::Login(name, password) => request.basic_auth(name.expose_secret(), Some(password.expose_secret())),
        }
    }

    /// The answer to a request, if it is not a refusal.
    pub async fn answer(&self, what: &'static str, request: RequestBuilder) -> Result<Response, ApiError> {
        let response = request.send().await.map_err(|error| self.unreachable(what, error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(self.refusal(what, response).await)
    }

    /// The answer to a request, as JSON.
    pub async fn json<T: DeserializeOwned>(&self, what: &'static str, request: RequestBuilder) -> Result<T, ApiError> {
        let body = self.bounded(what, self.answer(what, request).await?).await?;
        serde_json::from_slice(&body).map_err(|error| self.nonsense(what, error.to_string()))
    }

    /// That an answer broke off.
    pub fn unreachable(&self, what: &'static str, error: reqwest::Error) -> ApiError {
        ApiError::Unreachable { service: self.service, what, source: error.without_url() }
    }

    /// That an answer cannot be understood.
    pub fn nonsense(&self, what: &'static str, reason: impl Into<String>) -> ApiError {
        ApiError::Nonsense { service: self.service, what, reason: reason.into() }
    }

    async fn bounded(&self, what: &'static str, mut response: Response) -> Result<Vec<u8>, ApiError> {
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| self.unreachable(what, error))? {
            body.extend_from_slice(&piece);
            if body.len() > LARGEST {
                return Err(self.nonsense(what, format!("it is longer than {LARGEST} bytes")));
            }
        }
        Ok(body)
    }

    /// What an answer says that is no success.
    async fn refusal(&self, what: &'static str, response: Response) -> ApiError {
        let (service, status) = (self.service, response.status());
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        if status.is_redirection() {
            let to = header(LOCATION).and_then(|to| response.url().join(&to).ok());
            return ApiError::Moved { service, to: to.map_or_else(|| "no other".to_owned(), |to| shown(to.as_str())) };
        }
        let is_json = header(CONTENT_TYPE).is_some_and(|kind| kind.starts_with("application/json"));
        let after = header(RETRY_AFTER).and_then(|seconds| http::retry_after(&seconds));
        let body = match self.bounded(what, response).await {
            Ok(body) => body,
            Err(error) => return error,
        };
        let said: Option<Value> = if is_json { serde_json::from_slice(&body).ok() } else { None };
        let said = ["message", "error"].iter().find_map(|key| said.as_ref()?.get(key)?.as_str());
        let silent = || status.canonical_reason().unwrap_or("it does not say why").to_owned();
        let (message, number) = (said.map_or_else(silent, shown), status.as_u16());
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::REQUEST_TIMEOUT
        {
            return ApiError::Later { service, what, status: number, message, after };
        }
        ApiError::Refused { service, what, status: number, message }
    }
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

/// What comes from outside, in one line that steers nothing.
fn shown(text: &str) -> String {
    text.chars().take(SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(url: &str, proof: Proof) -> Result<Api, ApiError> {
        Api::new("builds.example", Url::parse(url).unwrap(), proof)
    }

    #[test]
    fn a_secret_is_not_sent_where_it_could_be_overheard() {
        let token = || Proof::Token("secret".to_owned().into());
        let safe = ["https://builds.example", "http://127.0.0.1:8080", "http://[::1]/", "http://localhost:5000"];
        for url in safe {
            assert!(api(url, token()).is_ok(), "{url}");
        }
        for url in ["http://builds.example", "http://localhost.example", "ftp://127.0.0.1/"] {
            assert!(matches!(api(url, token()), Err(ApiError::Insecure { .. })), "{url}");
            assert!(api(url, Proof::Nothing).is_ok(), "{url}");
        }
    }

    #[test]
    fn what_is_asked_for_is_below_the_address_whatever_it_is_called() {
        let api = api("https://builds.example/below/", Proof::Nothing).unwrap();
        let request = api.ask(Method::GET, &["0", "job", "../whoami?x"], &[("tag", "a=1&b")]).build().unwrap();
        assert_eq!(request.url().as_str(), "https://builds.example/below/0/job/..%2Fwhoami%3Fx?tag=a%3D1%26b");
    }
}
