//! Connections: each is served by itself, and none for longer than it says something, or takes what it is told.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Request, Response, StatusCode};
use axum::middleware::Next;
use axum::response::IntoResponse as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Semaphore;
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;
use tower::Service;

use crate::web::fault::Fault;

/// So many at once over TCP: well below the 1024 files that a process may have open unless it is told otherwise, so that
/// whoever opens them without end takes none from git and from builds. Others wait for a place.
pub const MOST: usize = 400;
/// How long the head of a request may take, the time between two requests included.
const HEAD: Duration = Duration::from_secs(15);
/// How long whoever asked may take nothing of the answer that is there.
const STALLED: Duration = Duration::from_secs(30);
/// How long nobody is accepted after the machine had no room for one.
const PAUSE: Duration = Duration::from_secs(1);

/// So many of them may follow something at once: whoever follows says nothing more, and stays.
pub const MOST_FOLLOWING: usize = 250;
/// So many requests of builders elsewhere are under way at once. With those who follow, that leaves places to people and
/// to forges, however many builds there are.
pub const MOST_OF_BUILDERS: usize = 100;
/// So many of them may wait until there is something to tell; others hear at once that nothing has changed.
pub const MOST_WAITING: usize = 60;
/// Once so many are connected, each goes with its answer: whoever asks often would else hold a place between its requests.
const CROWDED: usize = MOST / 2;

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

/// Lets only so many builders at once bring or ask something. They ask again.
pub async fn of_builders(State(places): State<Arc<Semaphore>>, request: Request<Body>, next: Next) -> Response<Body> {
    let Ok(_place) = places.try_acquire() else {
        let detail = format!("{MOST_OF_BUILDERS} builds bring or ask something at this moment");
        let fault = Fault::new(StatusCode::SERVICE_UNAVAILABLE, detail).header("retry-after", 1);
        return fault.hint("try again").into_response();
    };
    next.run(request).await
}

/// Has connections end with their answer where there are many.
pub async fn spare(State(places): State<Arc<Semaphore>>, request: Request<Body>, next: Next) -> Response<Body> {
    let mut answer = next.run(request).await;
    if places.available_permits() < MOST - CROWDED {
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

/// Answers the requests of one connection; once `stop` is cancelled, only the one that is under way.
pub async fn serve<S, A>(stream: S, service: A, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin,
    A: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Clone,
{
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD);
    let stream = TokioIo::new(Taking { stream, stalled: None });
    let connection = http.serve_connection(stream, TowerToHyperService::new(service));
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

/// A stream that breaks when the other side takes nothing of what is written for too long.
struct Taking<S> {
    stream: S,
    /// Ends the wait for it.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Taking<S> {
    /// What became of writing: an error where that has waited for too long.
    fn minded<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(STALLED)));
        match stalled.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Taking<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Taking<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.minded(context, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(context, pieces);
        this.minded(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.stream).poll_flush(context);
        this.minded(context, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let shut = Pin::new(&mut this.stream).poll_shutdown(context);
        this.minded(context, shut)
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
