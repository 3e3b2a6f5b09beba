//! The requests of one pass: each distinct one is made once, within the budget, and a host that is asked too
//! much is left alone for the rest of the pass.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH};
use tokio::sync::OnceCell;
use url::Url;

use super::cache::{Cache, Validators};
use super::call::{Call, Mirrors};
use super::git::{Git, Wanted};
use super::release::Said;
use super::trouble::{remedy, throttled};
use crate::domain::name::Oid;
use crate::source::budget::Budget;
use crate::source::failure::{Cause, Failure};
use crate::source::lsremote::{self, LsError, RefReader, shown};
use crate::sys::http;
use crate::sys::secret::ExposeSecret as _;

/// More of an answer is not read.
const ANSWER_LIMIT: usize = 16 << 20;

/// What requests need.
#[derive(Debug)]
pub struct Door {
    /// For HTTP.
    pub client: reqwest::Client,
    /// For git.
    pub refs: RefReader,
    /// Answers of earlier passes.
    pub cache: Cache,
    /// Addresses asked in place of others.
    pub mirrors: Mirrors,
    /// How long one request may take, for messages.
    pub timeout: Duration,
}

/// One pass.
#[derive(Debug)]
pub struct Round<'a> {
    door: &'a Door,
    budget: &'a Budget,
    now: Timestamp,
    bodies: Once<Arc<[u8]>>,
    tags: Once<Arc<[(String, Oid)]>>,
    commits: Once<Option<Oid>>,
    throttled: Mutex<HashMap<String, Failure>>,
}

/// Answers by what was asked. Whoever asks the same waits for the first one's answer.
#[derive(Debug)]
struct Once<T>(Mutex<HashMap<String, Arc<Answer<T>>>>);

type Answer<T> = OnceCell<Result<T, Failure>>;

impl<T> Default for Once<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Once<T> {
    async fn get(&self, question: String, ask: BoxFuture<'_, Result<T, Failure>>) -> Result<T, Failure> {
        let cell = Arc::clone(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(question).or_default());
        cell.get_or_init(|| ask).await.clone()
    }
}

impl<'a> Round<'a> {
    /// Begins a pass.
    pub fn new(door: &'a Door, budget: &'a Budget, now: Timestamp) -> Self {
        let (bodies, tags, commits) = (Once::default(), Once::default(), Once::default());
        Self { door, budget, now, bodies, tags, commits, throttled: Mutex::default() }
    }

    /// The answer to a request.
    pub async fn ask(&self, call: &Call) -> Result<Arc<[u8]>, Failure> {
        let request = Box::pin(async {
            let url = self.door.mirrors.apply(&call.url);
            let host = lsremote::host(&url).to_owned();
            self.budget.ask(&host, self.exchange(call, &url)).await?
        });
        self.bodies.get(call.identity(), request).await
    }

    /// What a git repository says.
    pub async fn ask_git(&self, git: &Git) -> Result<Said, Failure> {
        let url = self.door.mirrors.apply(&git.url);
        let host = lsremote::host(&url);
        match &git.wanted {
            Wanted::Tags => {
                let request = Box::pin(async {
                    let found = self.budget.ask(host, self.door.refs.tags(&url)).await?;
                    Ok(found.into())
                });
                let found = self.tags.get(url.clone(), request).await?;
                Ok(Git::tags(found.to_vec()))
            }
            Wanted::Commit(name) => {
                let request = Box::pin(async {
                    let found = self.budget.ask(host, self.door.refs.tips(&url, &[name])).await?;
                    Ok(found.get(name).copied())
                });
                let found = self.commits.get(format!("{url} {name}"), request).await?;
                let found = found.ok_or_else(|| format!("{} has no ref `{}`", shown(&url), name.escape_debug()))?;
                Ok(Git::commit(name, found))
            }
        }
    }

    /// Only what is nobody's answer is an error of the outer kind: it counts as silence of the host.
    async fn exchange(&self, call: &Call, url: &str) -> Result<Result<Arc<[u8]>, Failure>, LsError> {
        // By the name of the service: several may be behind one mirror.
        let host = lsremote::host(&call.url);
        if let Some(trouble) = self.lock().get(host) {
            return Ok(Err(trouble.clone()));
        }
        if Url::parse(url).is_ok_and(|url| http::is_link_local(&url)) {
            let refused = format!("{} is a link-local address, which is not asked", shown(url));
            return Ok(Err(Failure::question(refused)));
        }
        let identity = call.identity();
        let keepable = call.post.is_none() && !call.headers.iter().any(|(name, _)| *name == "range");
        let kept = if keepable { self.door.cache.load(&identity) } else { None };
        let validators = kept.as_ref().map(|(validators, _)| validators);
        let response = self.request(call, url, validators).send().await.map_err(|error| self.unheard(url, error))?;
        let status = response.status();
        if let (StatusCode::NOT_MODIFIED, Some((_, body))) = (status, kept) {
            return Ok(Ok(body.into()));
        }
        if !status.is_success() {
            return Ok(Err(self.refused(url, host, status, response.headers())));
        }
        let validators = Validators::of(response.headers()).filter(|_| keepable && status == StatusCode::OK);
        let body = match self.body(response, url).await? {
            Ok(body) => body,
            Err(trouble) => return Ok(Err(trouble)),
        };
        if let Some(validators) = validators {
            self.door.cache.store(&identity, &validators, &body);
        }
        Ok(Ok(body.into()))
    }

    fn request(&self, call: &Call, url: &str, validators: Option<&Validators>) -> reqwest::RequestBuilder {
        let mut request = match &call.post {
            Some(post) => self.door.client.post(url).header(CONTENT_TYPE, &post.kind).body(post.body.clone()),
            None => self.door.client.get(url),
        };
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        if let Some(authorization) = &call.authorization
            && let Ok(mut value) = HeaderValue::from_str(authorization.expose_secret())
        {
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        if let Some(Validators { etag, last_modified }) = validators {
            request = etag.iter().fold(request, |request, etag| request.header(IF_NONE_MATCH, etag));
            request = last_modified.iter().fold(request, |request, time| request.header(IF_MODIFIED_SINCE, time));
        }
        request
    }

    async fn body(&self, mut response: reqwest::Response, url: &str) -> Result<Result<Vec<u8>, Failure>, LsError> {
        let longer = || format!("the answer of {} is longer than {ANSWER_LIMIT} bytes", shown(url));
        let too_long = || Ok(Err(Failure::question(longer())));
        if response.content_length().is_some_and(|length| length > ANSWER_LIMIT as u64) {
            return too_long();
        }
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| self.unheard(url, error))? {
            body.extend_from_slice(&piece);
            if body.len() > ANSWER_LIMIT {
                return too_long();
            }
        }
        Ok(Ok(body))
    }

    fn unheard(&self, url: &str, error: reqwest::Error) -> LsError {
        let url = shown(url);
        if error.is_timeout() {
            return LsError::TooSlow { url, after: self.door.timeout };
        }
        LsError::Unreachable { url, source: error.without_url() }
    }

    fn refused(&self, url: &str, host: &str, status: StatusCode, headers: &reqwest::header::HeaderMap) -> Failure {
        let Some(rest) = throttled(status, headers, self.now) else {
            let cause = if status.is_server_error() { Cause::Server } else { Cause::Question };
            return Failure { text: format!("{} answers {status}{}", shown(url), remedy(status)), cause };
        };
        let text = format!("{host} is asked too much and wants to be left alone; a token in the keyfile may help");
        let trouble = Failure { text, cause: Cause::Wait(Some(rest)) };
        tracing::warn!(host, seconds = rest.as_secs(), "{host} is asked too much and is left alone in this pass");
        self.lock().insert(host.to_owned(), trouble.clone());
        trouble
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Failure>> {
        self.throttled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
