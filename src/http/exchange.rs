//! What builders elsewhere ask for and bring, below `/api/v1/attempts/{attempt}`: each request proves itself with the
//! token of that attempt. What is taken is decided behind it ([`crate::domain::upload`]).

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::{Json, body};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};
use tokio_util::io::ReaderStream;
use tokio_util::sync::CancellationToken;

use super::describe::{Answer, Described, Operation};
use super::{Server, idempotency};
use crate::controller::builders::{Brought, Builder, BuildersError};
use crate::domain::cache::told::{LONGEST, told};
use crate::domain::upload::{Checksum, Put, Refusal, content_range};
use crate::web::fault::Fault;

/// The most that one request may add to a log, in bytes.
const MAX_LOG_PIECE: usize = 1 << 20;
/// How long a piece of a log may take to arrive.
const LOG_PATIENCE: Duration = Duration::from_secs(30);
/// The longest that a question for the wish waits, in seconds.
const LONGEST_WAIT: u64 = 60;
const UPLOAD_OFFSET: &str = "upload-offset";
const UPLOAD_COMPLETE: &str = "upload-complete";
const LOG_LENGTH: &str = "log-length";
const REPR_DIGEST: &str = "repr-digest";
const CLAIM: &str = "claim";
/// A longer claim is none, in bytes.
const LONGEST_CLAIM: usize = 200;

/// The routes of builders.
pub fn routes() -> Described {
    let of_builder = Operation::of_builder;
    Described::new()
        .route(
            &of_builder(
                Method::PUT,
                "/api/v1/attempts/{attempt}/claim",
                "From now on only requests with this `Claim` are served, if who names it has the build",
                Answer::Empty,
            ),
            claim,
        )
        .route(
            &of_builder(
                Method::GET,
                "/api/v1/attempts/{attempt}/files",
                "The files of the package at exactly the commit that is built",
                Answer::Media("application/x-tar"),
            ),
            files,
        )
        .route(
            &of_builder(
                Method::HEAD,
                "/api/v1/attempts/{attempt}/artefacts/{name}",
                "How much of a file is there: `Upload-Offset`, `Upload-Complete`",
                Answer::Empty,
            ),
            held,
        )
        .route(
            &of_builder(
                Method::PUT,
                "/api/v1/attempts/{attempt}/artefacts/{name}",
                "Brings a file or, with `Content-Range`, a part of it; `Repr-Digest` is that of the whole file",
                Answer::Empty,
            ),
            receive,
        )
        .route(
            &of_builder(
                Method::PUT,
                "/api/v1/attempts/{attempt}/log",
                "Adds what the build printed; what is there already is passed over",
                Answer::Empty,
            )
            .query("offset", "where in the output of the build it begins"),
            log,
        )
        .route(
            &of_builder(
                Method::PUT,
                "/api/v1/attempts/{attempt}/caches",
                "Says which archives of cache sets it used and saved on its own machine, in place of what was said before",
                Answer::Empty,
            ),
            caches,
        )
        .route(
            &of_builder(Method::GET, "/api/v1/attempts/{attempt}/wish", "Whether to go on", Answer::One("Wish"))
                .query("wait", "so many seconds, or until it changes"),
            wish,
        )
}

fn builder<'a>(server: &'a Server, attempt: &'a str, headers: &'a HeaderMap) -> Result<Builder<'a>, Fault> {
    let builders = server.builders().ok_or_else(|| Fault::not_found("builds here are not carried out elsewhere"))?;
    let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (kind, token) = given.split_once(' ').unwrap_or_default();
    if !kind.eq_ignore_ascii_case("bearer") {
        return Err(Fault::new(StatusCode::UNAUTHORIZED, "this needs the token of the attempt")
            .hint("send `Authorization: Bearer TOKEN` with the `token` of the build"));
    }
    let claim = headers.get(CLAIM).map(|value| value.to_str().unwrap_or_default());
    if claim.is_some_and(|claim| claim.is_empty() || claim.len() > LONGEST_CLAIM) {
        return Err(Fault::bad_request("a claim is a word of up to 200 characters"));
    }
    Ok(builders.with_token(attempt, token.trim(), claim)?)
}

async fn claim(
    State(server): State<Server>,
    Path(attempt): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Fault> {
    builder(&server, &attempt, &headers)?;
    // Half a claim would leave the builder before without its files, and with the right to bring more.
    let claimed =
        idempotency::detached(async move { Ok::<_, Fault>(builder(&server, &attempt, &headers)?.claim().await?) });
    claimed.await??;
    Ok(StatusCode::NO_CONTENT)
}

async fn files(
    State(server): State<Server>,
    Path(attempt): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let path = builder(&server, &attempt, &headers)?.files()?;
    let gone = |_| Fault::from(BuildersError::from(Refusal::Over));
    let file = tokio::fs::File::open(path).await.map_err(gone)?;
    let length = file.metadata().await.map_err(gone)?.len();
    let headers = [(CONTENT_TYPE, "application/x-tar".to_owned()), (CONTENT_LENGTH, length.to_string())];
    let content = ReaderStream::new(file).take_until(server.stop().clone().cancelled_owned());
    Ok((headers, Body::from_stream(content)).into_response())
}

async fn held(
    State(server): State<Server>,
    Path((attempt, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let held = builder(&server, &attempt, &headers)?.held(&name)?;
    Ok(offset(StatusCode::OK, held.received, held.complete))
}

fn offset(status: StatusCode, offset: u64, complete: bool) -> Response {
    let complete = if complete { "?1" } else { "?0" };
    let name = HeaderName::from_static;
    (status, [(name(UPLOAD_OFFSET), offset.to_string()), (name(UPLOAD_COMPLETE), complete.to_owned())]).into_response()
}

async fn receive(
    State(server): State<Server>,
    Path((attempt, name)): Path<(String, String)>,
    request: Request,
) -> Result<Response, Fault> {
    let (parts, body) = request.into_parts();
    builder(&server, &attempt, &parts.headers)?;
    let put = put(&parts.headers)?;
    let body = until_stopped(body, server.stop());
    // Who hangs up must not leave half a step behind: the body then ends, and what came is kept.
    let brought = idempotency::detached(async move {
        let builder = builder(&server, &attempt, &parts.headers)?;
        Ok::<_, Fault>(builder.receive(&name, &put, body).await?)
    });
    Ok(match brought.await?? {
        Brought::Known => StatusCode::OK.into_response(),
        Brought::Complete => StatusCode::CREATED.into_response(),
        Brought::Part(at) => offset(StatusCode::ACCEPTED, at, false),
    })
}

/// A body that breaks off when the program ends, which does not wait for it.
fn until_stopped(body: Body, stop: &CancellationToken) -> impl Stream<Item = Result<Bytes, ()>> + Send + use<> {
    let stopped = stop.clone();
    let broken = stream::once(async move { stopped.is_cancelled().then_some(Err(())) });
    let body = body.into_data_stream().map_err(drop).take_until(stop.clone().cancelled_owned());
    body.chain(broken.filter_map(std::future::ready))
}

/// What the headers say about the body.
fn put(headers: &HeaderMap) -> Result<Put, Fault> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let checksum = text(REPR_DIGEST).and_then(Checksum::from_header).ok_or_else(|| {
        Fault::bad_request("the checksum of the whole file is missing")
            .hint("send `Repr-Digest: sha-256=:BASE64:` with the SHA-256 of the whole file")
    })?;
    let length = text(CONTENT_LENGTH.as_str()).and_then(|length| length.parse().ok());
    let Some(range) = text(CONTENT_RANGE.as_str()) else { return Ok(Put { range: None, total: length, checksum }) };
    let (range, total) = content_range(range).ok_or_else(|| {
        Fault::bad_request("the Content-Range is none of a part").hint("send `Content-Range: bytes FIRST-LAST/TOTAL`")
    })?;
    if length.is_some_and(|length| length != range.end - range.start) {
        return Err(Fault::bad_request("Content-Length and Content-Range do not say the same"));
    }
    Ok(Put { range: Some(range), total: Some(total), checksum })
}

#[derive(Debug, serde::Deserialize)]
struct LogQuery {
    offset: u64,
}

async fn log(
    State(server): State<Server>,
    Path(attempt): Path<String>,
    Query(query): Query<LogQuery>,
    request: Request,
) -> Result<Response, Fault> {
    let (parts, body) = request.into_parts();
    let builder = builder(&server, &attempt, &parts.headers)?;
    let _room = builder.log_room()?;
    let came = tokio::time::timeout(LOG_PATIENCE, body::to_bytes(body, MAX_LOG_PIECE)).await;
    let bytes = came.map_err(|_| BuildersError::from(Refusal::Slow))?.map_err(|_| {
        let fault = Fault::new(StatusCode::PAYLOAD_TOO_LARGE, "this piece of the log broke off, or is too long");
        fault.hint(format!("send at most {MAX_LOG_PIECE} bytes at once"))
    })?;
    match builder.append_log(query.offset, &bytes).await {
        Ok(length) => {
            Ok((StatusCode::NO_CONTENT, [(HeaderName::from_static(LOG_LENGTH), length.to_string())]).into_response())
        }
        Err(BuildersError::Refused(refusal @ Refusal::Elsewhere { at })) => {
            Err(Fault::new(StatusCode::CONFLICT, refusal.to_string()).header(LOG_LENGTH, at))
        }
        Err(error) => Err(error.into()),
    }
}

async fn caches(
    State(server): State<Server>,
    Path(attempt): Path<String>,
    request: Request,
) -> Result<StatusCode, Fault> {
    let (parts, body) = request.into_parts();
    let builder = builder(&server, &attempt, &parts.headers)?;
    let came = tokio::time::timeout(LOG_PATIENCE, body::to_bytes(body, LONGEST)).await;
    let bytes = came
        .map_err(|_| BuildersError::from(Refusal::Slow))?
        .map_err(|_| Fault::new(StatusCode::PAYLOAD_TOO_LARGE, "this broke off, or is too long"))?;
    builder.note_caches(told(&bytes).map_err(Fault::bad_request)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, serde::Deserialize)]
struct WishQuery {
    #[serde(default)]
    wait: u64,
}

async fn wish(
    State(server): State<Server>,
    Path(attempt): Path<String>,
    Query(query): Query<WishQuery>,
    headers: HeaderMap,
) -> Result<Json<Value>, Fault> {
    let builder = builder(&server, &attempt, &headers)?;
    let mut wish = builder.wish()?;
    // Whoever finds all places taken hears at once how things are, and asks again.
    let place = server.waiting().try_acquire();
    let wait = Duration::from_secs(if place.is_ok() { query.wait.min(LONGEST_WAIT) } else { 0 });
    let stop = tokio::select! {
        // The answer that is there counts, also to whoever does not wait.
        biased;
        stop = wish.stop() => Some(stop),
        () = server.stop().cancelled() => None,
        () = tokio::time::sleep(wait) => None,
    };
    match stop {
        // It is over, or another builder has it; else it was this one that claimed it, and may ask again.
        Some(false) => builder.wish().map(|_| Json(json!({ "wish": "go_on" }))).map_err(Fault::from),
        Some(true) => Ok(Json(json!({ "wish": "cancelled" }))),
        None => Ok(Json(json!({ "wish": "go_on" }))),
    }
}

impl From<BuildersError> for Fault {
    fn from(error: BuildersError) -> Self {
        let message = error.to_string();
        let refusal = match error {
            BuildersError::Refused(refusal) => refusal,
            BuildersError::Unavailable(_) => {
                return Self::new(StatusCode::SERVICE_UNAVAILABLE, message).header("retry-after", 5);
            }
        };
        let fault = Self::new(status(&refusal), message);
        match refusal {
            Refusal::Elsewhere { at } => fault.header(UPLOAD_OFFSET, at).header(UPLOAD_COMPLETE, "?0"),
            Refusal::NotYours => fault.hint("each attempt has a token of its own, which is in its build document"),
            Refusal::Over | Refusal::Taken => fault.hint("stop building it: whatever it makes, nobody takes it"),
            Refusal::Crowd | Refusal::Overtaken => fault.header("retry-after", 1),
            _ => fault,
        }
    }
}

const fn status(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::NotYours => StatusCode::UNAUTHORIZED,
        Refusal::Over | Refusal::Taken => StatusCode::GONE,
        Refusal::Foreign(_) => StatusCode::FORBIDDEN,
        Refusal::Nothing(_) => StatusCode::NOT_FOUND,
        Refusal::TooLarge { .. } | Refusal::TooMany(_) => StatusCode::PAYLOAD_TOO_LARGE,
        Refusal::Elsewhere { .. } | Refusal::Settled { .. } | Refusal::Overtaken => StatusCode::CONFLICT,
        Refusal::Lie { .. } | Refusal::Untrue(_) => StatusCode::UNPROCESSABLE_ENTITY,
        Refusal::Broken(_) => StatusCode::BAD_REQUEST,
        Refusal::Slow | Refusal::Interrupted => StatusCode::REQUEST_TIMEOUT,
        Refusal::Crowd => StatusCode::TOO_MANY_REQUESTS,
    }
}
