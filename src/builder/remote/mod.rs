//! What a builder on another machine asks of the controller and brings to it, for one build.
//!
//! The controller may be away for a while at any time, and starts anew: everything here waits for it and goes on where
//! it stopped, until it says that the build is over. Whoever does not want to wait any longer drops the future.

mod caches;
mod log;
mod upload;
mod wish;

use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response, StatusCode};

use super::bundle::unbundle;
use crate::domain::folder::Folder;
use crate::domain::job::{Job, JobToken, Places};
use crate::logstore::LogError;
use crate::sys::fs::FsError;
use crate::sys::http::client_without_redirects;

pub use wish::Unwanted;

/// How long a request may take, from its first byte to the last of its answer.
const PATIENCE: Duration = Duration::from_mins(5);
/// How long it rests before it asks again, at first and at most.
const FIRST_REST: Duration = Duration::from_millis(200);
const LONGEST_REST: Duration = Duration::from_secs(10);
/// The most that is read of what the controller says about a refusal, in bytes.
const MAX_DETAIL: usize = 4096;
/// The most that the files of a package may be, as an archive: 160 MiB.
const MAX_FILES: usize = 160 << 20;

/// Why something cannot be asked or brought, and will not be by trying again.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The attempt is over: nobody takes what it makes.
    #[error("the controller has ended this attempt")]
    Over,
    /// The log is as long as it may be.
    #[error("the controller takes no more of the log")]
    LogFull,
    /// The controller does not want it.
    #[error("the controller refuses {what}: {detail}")]
    Refused {
        /// What.
        what: String,
        /// What it says.
        detail: String,
    },
    /// The files are not those of a package.
    #[error("the files of the package cannot be read")]
    Files(#[source] std::io::Error),
    /// Something here cannot be read.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// The log here cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Speaks with the controller for one build. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    places: Places,
    token: JobToken,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client({})", self.places.artefacts)
    }
}

/// What came of one request.
enum Came {
    /// An answer that is to be looked at.
    Answer(Response),
    /// None, or one that may be another next time.
    Nothing(Option<Duration>),
}

impl Client {
    /// For the build of a document; `None` if it does not say where to bring what.
    ///
    /// It never follows a redirect, so that its token goes nowhere else.
    #[must_use]
    pub fn of(job: &Job) -> Option<Self> {
        let (places, token) = (job.places.clone()?, job.token.clone()?);
        Some(Self { http: client_without_redirects(PATIENCE), places, token })
    }

    /// The files of the package at exactly the commit that is built.
    ///
    /// # Errors
    /// [`RemoteError`], also if they are not those of a package.
    pub async fn files(&self) -> Result<Folder, RemoteError> {
        let mut rest = Rest::default();
        loop {
            let answer = match self.ask(self.request(Method::GET, &self.places.files)).await {
                Came::Answer(answer) => accepted("the files of the package", answer).await?,
                Came::Nothing(after) => {
                    rest.take(after).await;
                    continue;
                }
            };
            match body(answer).await {
                Ok(Some(archive)) => return unbundle(&*archive).map_err(RemoteError::Files),
                Ok(None) => return Err(RemoteError::Files(std::io::ErrorKind::FileTooLarge.into())),
                Err(_) => rest.take(None).await,
            }
        }
    }

    fn request(&self, method: Method, url: &str) -> RequestBuilder {
        self.http.request(method, url).bearer_auth(self.token.reveal())
    }

    async fn ask(&self, request: RequestBuilder) -> Came {
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => {
                tracing::debug!(error = &error.without_url() as &dyn std::error::Error, "the controller is away");
                return Came::Nothing(None);
            }
        };
        let status = answer.status();
        let passing = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS].contains(&status);
        if passing || status.is_server_error() {
            tracing::debug!(status = status.as_u16(), "the controller cannot now");
            return Came::Nothing(retry_after(answer.headers()));
        }
        Came::Answer(answer)
    }
}

/// The body of an answer; `None` if it is too long.
async fn body(mut answer: Response) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut bytes = Vec::new();
    while let Some(piece) = answer.chunk().await? {
        bytes.extend_from_slice(&piece);
        if bytes.len() > MAX_FILES {
            return Ok(None);
        }
    }
    Ok(Some(bytes))
}

/// An answer that says yes, or what it says instead.
async fn accepted(what: &str, answer: Response) -> Result<Response, RemoteError> {
    if answer.status().is_success() { Ok(answer) } else { Err(refused(what, answer).await) }
}

/// What an answer that says no means.
async fn refused(what: &str, answer: Response) -> RemoteError {
    let status = answer.status();
    if status == StatusCode::GONE {
        return RemoteError::Over;
    }
    if status.is_redirection() {
        let detail = "it leads elsewhere, where the token must not go; set server.public_url to the final address";
        return RemoteError::Refused { what: what.to_owned(), detail: detail.to_owned() };
    }
    RemoteError::Refused { what: what.to_owned(), detail: detail(status, answer).await }
}

/// What the controller says about a refusal, in a line.
async fn detail(status: StatusCode, mut answer: Response) -> String {
    let mut said = Vec::new();
    while let Ok(Some(piece)) = answer.chunk().await {
        said.extend_from_slice(&piece);
        if said.len() > MAX_DETAIL {
            break;
        }
    }
    let problem: Option<serde_json::Value> = serde_json::from_slice(&said).ok();
    let detail = problem.as_ref().and_then(|problem| problem["detail"].as_str());
    let detail: String = detail.unwrap_or_default().chars().filter(|char| !char.is_control()).take(500).collect();
    if detail.is_empty() { status.to_string() } else { detail }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok().map(Duration::from_secs)
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

/// How long to wait until the next request: longer each time, and not for ever.
#[derive(Debug)]
struct Rest(Duration);

impl Default for Rest {
    fn default() -> Self {
        Self(FIRST_REST)
    }
}

impl Rest {
    /// Rests, at least as long as the other side wants within reason.
    async fn take(&mut self, wanted: Option<Duration>) {
        tokio::time::sleep(self.0.max(wanted.unwrap_or_default()).min(LONGEST_REST)).await;
        self.0 = (self.0 * 2).min(LONGEST_REST);
    }

    /// It went on.
    fn reset(&mut self) {
        *self = Self::default();
    }
}
