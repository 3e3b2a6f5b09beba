//! The one way to a forge: requests to one address, with the manners that forges ask for.
//!
//! A token goes to its own address and nowhere else: redirects are followed only within it. What was answered before is
//! asked for with its `ETag`. Who wants to be left alone is left alone, for every question and not only for the one that
//! was refused. What can be said twice is said again when a connection breaks; a POST never is: whoever sends one has to
//! look what became of it.
//!
//! Not for what is asked: that is for the modules of the forges.

pub mod answer;
pub mod ask;
mod limit;
mod remembered;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, ETAG, IF_NONE_MATCH, LOCATION};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use jiff::Timestamp;
use tokio::sync::Semaphore;
use url::Url;

use self::remembered::Remembered;
use super::ForgeError;
use crate::sys::clock::Clock;
use crate::sys::http as doors;

/// How long one answer may take, from the first byte sent to the last byte read.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// A longer answer is not read: 32 MiB.
const LARGEST: usize = 32 << 20;
/// How often something is asked, beside the first time.
const AGAIN: usize = 2;
/// How long is waited before that, and twice as long before the last.
const PAUSE: Duration = Duration::from_millis(200);
/// Hops within one address; more are a loop.
const HOPS: usize = 3;
/// Questions on their way at once. Forges take more for an attack.
const AT_ONCE: usize = 4;

/// Where a forge is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// What people call it: `GitHub at github.com`.
    pub forge: String,
    /// The address of its API, without a slash at the end.
    pub api: Url,
    /// What a token has to be allowed, for the one whose token is not.
    pub scopes: &'static str,
}

/// The way to one forge.
pub struct Wire {
    place: Place,
    client: reqwest::Client,
    clock: Arc<dyn Clock>,
    /// What every request says of who asks.
    identity: Option<(HeaderName, HeaderValue)>,
    at_once: Semaphore,
    /// Until when nothing is asked.
    closed: Mutex<Option<Timestamp>>,
    remembered: Mutex<Remembered>,
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Wire").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Wire {
    /// A way to a place, which every request says `identity` to.
    pub fn new(
        place: Place,
        identity: Option<(HeaderName, HeaderValue)>,
        patience: Duration,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let identity = identity.map(|(name, mut value)| {
            value.set_sensitive(true);
            (name, value)
        });
        Self {
            place,
            client: doors::client_without_redirects(patience),
            clock,
            identity,
            at_once: Semaphore::new(AT_ONCE),
            closed: Mutex::default(),
            remembered: Mutex::default(),
        }
    }

    /// Where it leads.
    pub const fn place(&self) -> &Place {
        &self.place
    }

    /// Something that could not be asked.
    pub fn unreachable(&self, message: impl Into<String>) -> ForgeError {
        ForgeError::Unreachable { forge: self.place.forge.clone(), message: message.into() }
    }

    /// What is answered to a request, whose address is whole or begins after that of the API. Every status below 500 that
    /// is no limit and no redirect is an answer.
    ///
    /// # Errors
    /// [`ForgeError::Limited`] and [`ForgeError::Unreachable`].
    pub async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, ForgeError> {
        if *request.method() == Method::POST {
            return self.once(&request).await;
        }
        let pauses = ExponentialBuilder::default().with_min_delay(PAUSE).with_max_times(AGAIN);
        (|| self.once(&request))
            .retry(pauses)
            .when(|error| matches!(error, ForgeError::Unreachable { .. }))
            .notify(|error, _| tracing::debug!(error = error as &dyn std::error::Error, "asking once more"))
            .await
    }

    async fn once(&self, request: &Request<Bytes>) -> Result<Response<Bytes>, ForgeError> {
        let turn = self.at_once.acquire().await;
        let _turn = turn.expect("nobody closes it");
        self.open_now()?;
        let url = self.url(request.uri())?;
        let known = (*request.method() == Method::GET).then(|| self.remembered().etag(&url)).flatten();
        let response = self.go(request, url.clone(), known).await?;
        let response = self.read(response).await?;
        self.heed(&response)?;
        let status = response.status();
        if status == StatusCode::NOT_MODIFIED {
            let kept = self.remembered().answer(&url);
            return kept.ok_or_else(|| self.unreachable("it says that nothing changed, of what was never asked"));
        }
        if status.is_server_error() {
            return Err(self.unreachable(answer::told(&response)));
        }
        if status == StatusCode::OK && *request.method() == Method::GET && response.headers().contains_key(ETAG) {
            self.remembered().keep(&url, &response);
        }
        Ok(response)
    }

    /// Sends a request and follows where it leads, within the address.
    async fn go(
        &self,
        request: &Request<Bytes>,
        mut url: Url,
        known: Option<HeaderValue>,
    ) -> Result<reqwest::Response, ForgeError> {
        for _ in 0..=HOPS {
            let mut headers = request.headers().clone();
            headers.remove(CONTENT_LENGTH);
            headers.extend(self.identity.clone());
            headers.extend(known.clone().map(|etag| (IF_NONE_MATCH, etag)));
            let sent = self.client.request(request.method().clone(), url.clone()).headers(headers);
            let sent = if request.body().is_empty() { sent } else { sent.body(request.body().clone()) };
            let response = sent.send().await.map_err(|error| self.broken(error))?;
            if !response.status().is_redirection() || response.status() == StatusCode::NOT_MODIFIED {
                return Ok(response);
            }
            url = self.next(request.method(), &url, &response)?;
        }
        Err(self.unreachable("it leads in circles"))
    }

    /// Where a redirect leads, if we may go there.
    fn next(&self, method: &Method, from: &Url, response: &reqwest::Response) -> Result<Url, ForgeError> {
        let status = response.status();
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let to = location.and_then(|location| from.join(location).ok());
        let to = to.ok_or_else(|| self.unreachable(format!("it answers {status} and does not say where to")))?;
        let keeps_method = matches!(status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
        if to.origin() != self.place.api.origin() {
            let host = to.host_str().unwrap_or("nowhere");
            let message = format!("it leads to {host}, where our token does not belong; name the right forge.api_url");
            return Err(self.unreachable(message));
        }
        if *method != Method::GET && !keeps_method {
            let message = format!("it answers {status}: the project was moved; name the new one in forge.project");
            return Err(self.unreachable(message));
        }
        Ok(to)
    }

    async fn read(&self, mut response: reqwest::Response) -> Result<Response<Bytes>, ForgeError> {
        let mut read = Response::builder().status(response.status());
        if let Some(headers) = read.headers_mut() {
            headers.clone_from(response.headers());
        }
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| self.broken(error))? {
            if body.len() + piece.len() > LARGEST {
                return Err(self.unreachable(format!("its answer is longer than {LARGEST} bytes")));
            }
            body.extend_from_slice(&piece);
        }
        Ok(read.body(body.into()).expect("a status and headers that were answered"))
    }

    /// Notices when it wants to be left alone.
    fn heed(&self, response: &Response<Bytes>) -> Result<(), ForgeError> {
        let Some(rest) = limit::rest(response) else { return Ok(()) };
        let until = self.clock.now().saturating_add(jiff::SignedDuration::try_from(rest.after).unwrap_or_default());
        *self.closed.lock().unwrap_or_else(PoisonError::into_inner) = until.ok();
        if rest.refused { Err(self.limited(rest.after)) } else { Ok(()) }
    }

    fn open_now(&self) -> Result<(), ForgeError> {
        let mut closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(until) = *closed else { return Ok(()) };
        match Duration::try_from(until.duration_since(self.clock.now())) {
            Ok(after) if !after.is_zero() => Err(self.limited(after)),
            _ => {
                *closed = None;
                Ok(())
            }
        }
    }

    fn limited(&self, after: Duration) -> ForgeError {
        ForgeError::Limited { forge: self.place.forge.clone(), after }
    }

    /// The whole address of a request, which is never another forge's.
    fn url(&self, uri: &Uri) -> Result<Url, ForgeError> {
        let api = self.place.api.as_str().trim_end_matches('/');
        let text = if uri.authority().is_some() { uri.to_string() } else { format!("{api}{uri}") };
        let url = Url::parse(&text).map_err(|error| self.unreachable(format!("`{text}` is no address: {error}")))?;
        if url.origin() == self.place.api.origin() {
            Ok(url)
        } else {
            Err(self.unreachable(format!("`{text}` is not its address, and our token does not belong there")))
        }
    }

    fn broken(&self, error: reqwest::Error) -> ForgeError {
        self.unreachable(format!("{:#}", anyhow::Error::from(error.without_url())))
    }

    fn remembered(&self) -> std::sync::MutexGuard<'_, Remembered> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The header with a bearer's token.
///
/// # Errors
/// If there is something in the token that a header cannot hold.
pub fn bearer(token: &str) -> Result<(HeaderName, HeaderValue), http::header::InvalidHeaderValue> {
    Ok((AUTHORIZATION, HeaderValue::try_from(format!("Bearer {token}"))?))
}

#[cfg(test)]
mod tests;
