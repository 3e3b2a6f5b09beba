//! Commands that come twice happen once: answers are kept by `Idempotency-Key`, in memory and bounded.
//!
//! A command also runs to its end when the one who asked goes away, so that nothing is left half done.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tracing::Instrument as _;

use super::Server;
use super::access::Arrival;
use crate::web::fault::Fault;

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// The most a command may be told, in bytes.
pub const MAX_BODY: usize = 64 * 1024;
/// The most an answer may have to be kept.
const MAX_ANSWER: usize = 16 * 1024 * 1024;
/// How many answers are kept.
const KEPT: usize = 128;
const MAX_KEY: usize = 200;

/// An answer that can be given again.
#[derive(Debug, Clone)]
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    fault: Option<Fault>,
}

impl Reply {
    async fn of(mut response: Response) -> Self {
        let fault = response.extensions_mut().remove::<Fault>();
        let (parts, body) = response.into_parts();
        match axum::body::to_bytes(body, MAX_ANSWER).await {
            Ok(body) => Self { status: parts.status, headers: parts.headers, body, fault },
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the answer of a command cannot be kept");
                let fault =
                    Fault::new(StatusCode::INTERNAL_SERVER_ERROR, "it is done, but the answer is too long to be given");
                Self { status: fault.status, headers: HeaderMap::new(), body: Bytes::new(), fault: Some(fault) }
            }
        }
    }

    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        if let Some(fault) = self.fault {
            response.extensions_mut().insert(fault);
        }
        response
    }
}

/// A command that was begun: what it was, and its answer once there is one. The channel closes without
/// an answer if there is nothing to keep.
#[derive(Debug, Clone)]
struct Begun {
    request: [u8; 32],
    answer: watch::Receiver<Option<Reply>>,
}

/// The answers that are kept.
#[derive(Default)]
pub struct Replies(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    begun: HashMap<String, Begun>,
    order: VecDeque<String>,
}

impl Replies {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().expect("nobody panics while holding the answers")
    }

    /// Registers a command; or gives what was registered under this key before.
    fn begin(&self, key: &str, request: [u8; 32]) -> Result<watch::Sender<Option<Reply>>, Begun> {
        let mut kept = self.kept();
        if let Some(begun) = kept.begun.get(key) {
            return Err(begun.clone());
        }
        if kept.order.len() >= KEPT
            && let Some(place) = kept.order.iter().position(|key| kept.begun[key].answer.borrow().is_some())
            && let Some(oldest) = kept.order.remove(place)
        {
            kept.begun.remove(&oldest);
        }
        let (sender, answer) = watch::channel(None);
        kept.begun.insert(key.to_owned(), Begun { request, answer });
        kept.order.push_back(key.to_owned());
        Ok(sender)
    }

    fn forget(&self, key: &str) {
        let mut kept = self.kept();
        kept.begun.remove(key);
        kept.order.retain(|other| other != key);
    }
}

/// The layer around every command of the API.
pub async fn command(State(server): State<Server>, request: Request, next: Next) -> Result<Response, Fault> {
    let arrival = request.extensions().get::<Arrival>().copied().unwrap_or(Arrival::Tcp);
    server.access().check_api(arrival, request.headers())?;
    let key = key_of(request.headers())?;
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, MAX_BODY)
        .await
        .map_err(|_| Fault::new(StatusCode::PAYLOAD_TOO_LARGE, format!("a command may have {MAX_BODY} bytes")))?;
    let digest = Sha256::new().chain_update(parts.uri.to_string()).chain_update([0]).chain_update(&body).finalize();
    let request = Request::from_parts(parts, Body::from(body));
    let Some(key) = key else {
        return Ok(run(next, request).await?.into_response());
    };
    match server.replies().begin(&key, digest.into()) {
        Ok(sender) => first_time(server, key, sender, next, request).await,
        Err(begun) => again(begun, digest.into()).await,
    }
}

async fn first_time(
    server: Server,
    key: String,
    sender: watch::Sender<Option<Reply>>,
    next: Next,
    request: Request,
) -> Result<Response, Fault> {
    let work = async move {
        let reply = run(next, request).await;
        match &reply {
            Ok(reply) if !reply.status.is_server_error() => {
                sender.send_replace(Some(reply.clone()));
            }
            // What went wrong here may go right the next time.
            _ => server.replies().forget(&key),
        }
        reply
    };
    Ok(detached(work).await??.into_response())
}

async fn again(mut begun: Begun, request: [u8; 32]) -> Result<Response, Fault> {
    if begun.request != request {
        return Err(Fault::new(StatusCode::UNPROCESSABLE_ENTITY, "this Idempotency-Key was used for another request")
            .hint("use a new key for every new command"));
    }
    let answered = begun.answer.wait_for(Option::is_some).await.ok().and_then(|reply| reply.clone());
    let reply = answered.ok_or_else(|| {
        Fault::new(StatusCode::SERVICE_UNAVAILABLE, "the first request with this key failed").hint("repeat it")
    })?;
    let mut response = reply.into_response();
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}

async fn run(next: Next, request: Request) -> Result<Reply, Fault> {
    detached(async move { Reply::of(next.run(request).await).await }).await
}

/// Lets work end even if nobody waits for it any more.
pub async fn detached<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Result<T, Fault> {
    tokio::spawn(work.in_current_span()).await.map_err(|error| {
        tracing::error!(error = &error as &dyn std::error::Error, "a command ended in a panic");
        Fault::new(StatusCode::INTERNAL_SERVER_ERROR, "the controller could not do that")
    })
}

fn key_of(headers: &HeaderMap) -> Result<Option<String>, Fault> {
    let Some(value) = headers.get(KEY) else { return Ok(None) };
    let key = value.to_str().unwrap_or_default().trim();
    if key.is_empty() || key.len() > MAX_KEY {
        return Err(Fault::bad_request(format!("an Idempotency-Key has 1 to {MAX_KEY} visible ASCII characters")));
    }
    Ok(Some(key.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_answer_goes_first_and_a_command_that_runs_never() {
        let replies = Replies::default();
        let running = replies.begin("running", [0; 32]).unwrap();
        for number in 0..KEPT + 10 {
            let sender = replies.begin(&number.to_string(), [1; 32]).unwrap();
            sender.send_replace(Some(Reply {
                status: StatusCode::OK,
                headers: HeaderMap::new(),
                body: Bytes::new(),
                fault: None,
            }));
        }
        assert!(replies.begin("running", [0; 32]).is_err());
        assert!(replies.begin("0", [0; 32]).is_ok());
        assert!(replies.begin(&(KEPT + 9).to_string(), [0; 32]).is_err());
        assert!(replies.kept().begun.len() <= KEPT + 1);
        drop(running);
    }
}
