//! Deliveries of forges, as they arrive: their size and their time are bounded here, all else is decided behind it.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tower_http::timeout::TimeoutLayer;

use super::{Server, idempotency};
use crate::controller::inbox::{Inbox, InboxError, Taken};
use crate::web::fault::Fault;

/// The most a delivery may have, in bytes: what GitHub sends at most.
const MAX_BODY: usize = 25 << 20;
/// What a delivery usually has at most.
const USUAL: usize = 512 << 10;
/// How many that are larger, or do not say, may be in memory at the same time.
const LARGE_AT_ONCE: usize = 4;
/// How long a delivery may take to arrive; forges themselves wait no longer for the answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where deliveries go.
pub struct Hooks {
    inbox: Option<Inbox>,
    large: Semaphore,
}

impl Hooks {
    /// Without an inbox, no repository takes any.
    pub fn new(inbox: Option<Inbox>) -> Self {
        Self { inbox, large: Semaphore::new(LARGE_AT_ONCE) }
    }

    fn inbox(&self, repository: &str) -> Result<&Inbox, InboxError> {
        let inbox = self.inbox.as_ref().ok_or_else(|| InboxError::Closed(repository.to_owned()))?;
        inbox.expects(repository)?;
        Ok(inbox)
    }
}

/// The layer that ends deliveries that do not arrive.
pub fn patience() -> TimeoutLayer {
    TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, PATIENCE)
}

/// `POST /hooks/{repository}`
pub async fn deliver(
    State(server): State<Server>,
    Path(repository): Path<String>,
    request: Request,
) -> Result<(StatusCode, Json<Value>), Fault> {
    let inbox = server.hooks().inbox(&repository)?.clone();
    let (parts, body) = request.into_parts();
    check_type(&parts.headers)?;
    let length = declared_length(&parts.headers);
    if length.is_some_and(|length| length > MAX_BODY) {
        return Err(too_large());
    }
    let _room = match length {
        Some(length) if length <= USUAL => None,
        _ => Some(server.hooks().large.acquire().await.expect("the semaphore is never closed")),
    };
    let body: Bytes = axum::body::to_bytes(body, MAX_BODY).await.map_err(|_| too_large())?;
    let headers = texts(&parts.headers);
    // On record, it has to be answered as such, even if the forge has gone away.
    let taken = idempotency::detached(async move { inbox.take(&repository, headers, body).await }).await??;
    let state = match taken {
        Taken::New => "taken",
        Taken::Known => "known",
    };
    Ok((StatusCode::ACCEPTED, Json(json!({ "delivery": state }))))
}

/// As form fields, what is signed would differ from forge to forge.
fn check_type(headers: &HeaderMap) -> Result<(), Fault> {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media = given.split(';').next().unwrap_or_default().trim();
    if media.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let fault = Fault::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "a delivery has to be JSON");
    Err(fault.hint("set the content type of the webhook to application/json"))
}

fn declared_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn too_large() -> Fault {
    Fault::new(StatusCode::PAYLOAD_TOO_LARGE, format!("a delivery may have {MAX_BODY} bytes"))
}

/// The headers that are text: those that count are.
fn texts(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |(name, value): (&axum::http::HeaderName, &axum::http::HeaderValue)| {
        Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
    };
    headers.iter().filter_map(text).collect()
}

impl From<InboxError> for Fault {
    fn from(error: InboxError) -> Self {
        let message = error.to_string();
        match error {
            InboxError::Unknown(_) => Self::not_found(message),
            InboxError::Closed(_) => Self::not_found(message)
                .hint("set forge.kind to the forge that it is hosted on, and forge.webhook_secret_file"),
            InboxError::Unproven => Self::new(StatusCode::FORBIDDEN, message)
                .hint("compare the secret of the webhook with the file that forge.webhook_secret_file names"),
            InboxError::Unreadable(_) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, message),
            InboxError::Unavailable(_) => Self::new(StatusCode::SERVICE_UNAVAILABLE, message)
                .hint("deliver it again; until then, the repository is looked at as often as server.poll says"),
        }
    }
}
