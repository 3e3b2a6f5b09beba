//! Connections: each is served by itself, and none for longer than it says something.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, Response, StatusCode};
use axum::middleware::Next;
use axum::response::IntoResponse as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::Service;

use crate::web::fault::Fault;

/// So many at once over TCP: well below the 1024 files that a process may have open unless it is told otherwise, so that
/// whoever opens them without end takes none from git and from builds. Others wait for a place.
pub const MOST: usize = 400;
/// How long the head of a request may take, the time between two requests included.
const HEAD: Duration = Duration::from_secs(15);
/// How long nobody is accepted after the machine had no room for one.
const PAUSE: Duration = Duration::from_secs(1);

/// So many of them may follow something at once: whoever follows says nothing more, and stays.
pub const MOST_FOLLOWING: usize = 250;

/// Lets nobody follow who finds all places taken. A place is given back when the answer has ended.
pub async fn following(State(places): State<Arc<Semaphore>>, request: Request<Body>, next: Next) -> Response<Body> {
    let Ok(place) = places.try_acquire_owned() else {
        let detail = format!("{MOST_FOLLOWING} others are following something here");
        let fault = Fault::new(StatusCode::SERVICE_UNAVAILABLE, detail).header("retry-after", 30);
        return fault.hint("try again later, or ask over the unix socket of the controller").into_response();
    };
    next.run(request).await.map(|body| {
        Body::new(body.map_frame(move |frame| {
            // It is given back with what holds it.
            let _ = &place;
            frame
        }))
    })
}

/// Answers the requests of one connection; once `stop` is cancelled, only the one that is under way.
pub async fn serve<S, A>(stream: S, service: A, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin,
    A: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Clone,
{
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD);
    let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!("a connection ended: {error}");
    }
}

/// What was accepted; `None` if there was nobody, or no room for them.
pub async fn accepted<T>(accepted: io::Result<T>) -> Option<T> {
    match accepted {
        Ok(accepted) => Some(accepted),
        Err(error) if is_theirs(&error) => None,
        Err(error) => {
            tracing::error!("nobody can connect for a moment: {error}");
            tokio::time::sleep(PAUSE).await;
            None
        }
    }
}

/// Whoever wanted to connect went away again.
fn is_theirs(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
