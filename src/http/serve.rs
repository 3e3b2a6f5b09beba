//! Listening: on TCP and on the unix socket of the data directory.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::middleware::from_fn_with_state;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;
use tower::Service as _;

use super::access::Arrival;
use super::{Server, connections};

/// Why the server cannot listen, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// No random bytes.
    #[error("the machine has no randomness (/dev/urandom)")]
    Randomness(#[source] io::Error),
    /// Another process answers on the socket.
    #[error("another controller is running with this data directory: {} answers; stop it, or set another `server.data_dir`", path.display())]
    Running {
        /// The socket.
        path: PathBuf,
    },
    /// The socket cannot be made.
    #[error("cannot listen on {}", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// The unix socket: whoever may open it may do everything. It goes away with this value.
pub struct UnixSocket {
    listener: UnixListener,
    path: Removed,
}

/// A file that goes away with this value.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl UnixSocket {
    /// Listens on `path` with mode 0600. What an earlier process left there is replaced.
    pub async fn bind(path: &Path) -> Result<Self, ServeError> {
        if UnixStream::connect(path).await.is_ok() {
            return Err(ServeError::Running { path: path.to_owned() });
        }
        let listener = bind_closed(path).map_err(|source| ServeError::Socket { path: path.to_owned(), source })?;
        Ok(Self { listener, path: Removed(path.to_owned()) })
    }
}

/// Binds where nobody else can look, closes the socket to others, and only then moves it into place.
fn bind_closed(path: &Path) -> io::Result<UnixListener> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let private = tempfile::Builder::new().prefix(".s").rand_bytes(4).tempdir_in(parent)?;
    let hidden = private.path().join("s");
    let listener = UnixListener::bind(&hidden)?;
    std::fs::set_permissions(&hidden, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&hidden, path)?;
    Ok(listener)
}

/// Answers requests until the server's `stop` is cancelled, then lets those that are underway end.
pub async fn serve(server: &Server, tcp: Option<TcpListener>, unix: Option<UnixSocket>) {
    let over_tcp = async {
        if let Some(listener) = tcp {
            serve_tcp(server, &listener).await;
        }
    };
    let over_unix = async {
        if let Some(UnixSocket { listener, path }) = unix {
            serve_unix(server, &listener).await;
            drop(path);
        }
    };
    tokio::join!(over_tcp, over_unix);
}

async fn serve_tcp(server: &Server, listener: &TcpListener) {
    let (open, stop, places) = (TaskTracker::new(), server.stop(), Arc::new(Semaphore::new(connections::MOST)));
    let router = server.router(Arrival::Tcp).layer(from_fn_with_state(places.clone(), connections::spare));
    let mut services = router.into_make_service_with_connect_info::<SocketAddr>();
    while let Some((place, connected)) = stop.run_until_cancelled(next(listener, &places)).await {
        let Some((stream, address)) = connections::accepted(connected).await else { continue };
        let Ok(service) = services.call(address).await;
        let stop = stop.clone();
        open.spawn(async move {
            connections::serve(stream, service, stop).await;
            drop(place);
        });
    }
    open.close();
    open.wait().await;
}

/// A place for a connection, and then a connection.
async fn next(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (OwnedSemaphorePermit, io::Result<(TcpStream, SocketAddr)>) {
    let place = places.clone().acquire_owned().await.expect("it is never closed");
    (place, listener.accept().await)
}

async fn serve_unix(server: &Server, listener: &UnixListener) {
    let router = server.router(Arrival::Socket);
    let (open, stop) = (TaskTracker::new(), server.stop());
    while let Some(connected) = stop.run_until_cancelled(listener.accept()).await {
        if let Some((stream, _)) = connections::accepted(connected).await {
            open.spawn(connections::serve(stream, router.clone(), stop.clone()));
        }
    }
    open.close();
    open.wait().await;
}
