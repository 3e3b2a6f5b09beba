//! The outermost layer: an id for every request, one shape for every error, headers that keep browsers
//! careful.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderName, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tracing::Instrument as _;

use super::Server;
use super::access::Arrival;
use crate::web::fault::Fault;
use crate::web::pages::fault_page;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest text of a foreign error that is passed on.
const MAX_DETAIL: usize = 2_000;

const CAREFUL: [(&str, &str); 6] = [
    (
        "content-security-policy",
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// Wraps every request. The [`Arrival`] is put in by the listener.
pub async fn outermost(State(server): State<Server>, mut request: Request, next: Next) -> Response {
    let id = server.next_request_id();
    let arrival = request.extensions().get::<Arrival>().copied().unwrap_or(Arrival::Tcp);
    let visitor = server.access().visitor(arrival, request.headers());
    request.extensions_mut().insert(visitor.clone());
    let wants_page = is_page(request.uri().path()) && accepts_html(request.headers());
    let span = tracing::info_span!("request", id = %id, method = %request.method(), path = request.uri().path());
    let ours = server.hosts().check(arrival, &request);
    let mut response = async {
        // A page would say more than that to whoever is not to read us.
        if let Err(fault) = ours {
            return problem(&fault, &id);
        }
        let response = next.run(request).await;
        tracing::debug!(status = response.status().as_u16(), "answered");
        match fault_of(response).await {
            Ok(response) => response,
            Err(fault) if wants_page => fault_page(server.pages(), visitor, &fault, &id).await,
            Err(fault) => problem(&fault, &id),
        }
    }
    .instrument(span)
    .await;
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, HeaderValue::from_str(&id).expect("ids are plain"));
    for (name, value) in CAREFUL {
        headers.entry(HeaderName::from_static(name)).or_insert(HeaderValue::from_static(value));
    }
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn is_page(path: &str) -> bool {
    !["/api/", "/hooks/", "/repo/", "/healthz", "/readyz", "/metrics", "/assets/"]
        .iter()
        .any(|prefix| path.starts_with(prefix))
}

fn accepts_html(headers: &HeaderMap) -> bool {
    headers.get(ACCEPT).and_then(|value| value.to_str().ok()).is_some_and(|accept| accept.contains("text/html"))
}

/// The fault that a response stands for: ours, or what the framework says about a request it refuses.
async fn fault_of(mut response: Response) -> Result<Response, Fault> {
    if let Some(fault) = response.extensions_mut().remove::<Fault>() {
        return Err(fault);
    }
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return Ok(response);
    }
    // These carry headers that say more than a text could, and have no body.
    if status == StatusCode::RANGE_NOT_SATISFIABLE {
        return Ok(response);
    }
    let body = axum::body::to_bytes(response.into_body(), MAX_DETAIL).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&body).into_owned();
    Err(Fault::new(status, if text.is_empty() { said_by(status) } else { text }))
}

fn said_by(status: StatusCode) -> String {
    match status {
        StatusCode::NOT_FOUND => "there is nothing at this address".to_owned(),
        StatusCode::METHOD_NOT_ALLOWED => "this address does not take that method".to_owned(),
        StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => "it took too long".to_owned(),
        StatusCode::PAYLOAD_TOO_LARGE => "the request is too large".to_owned(),
        other => other.canonical_reason().unwrap_or("it did not work").to_lowercase(),
    }
}

fn problem(fault: &Fault, id: &str) -> Response {
    let body = json!({
        "type": "about:blank",
        "title": fault.title,
        "status": fault.status.as_u16(),
        "detail": fault.detail,
        "hint": fault.hint,
        "request_id": id,
    });
    let mut response = (fault.status, Body::from(body.to_string())).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    for (name, value) in &fault.headers {
        let value = HeaderValue::from_str(value).expect("what faults say in headers is ASCII");
        response.headers_mut().insert(HeaderName::from_static(name), value);
    }
    if fault.status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}
