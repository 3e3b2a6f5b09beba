//! Listening: on TCP and on the unix socket of the data directory.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, UnixListener, UnixStream};

use super::Server;
use super::access::Arrival;

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
    /// A listener failed.
    #[error("cannot go on listening")]
    Listener(#[source] io::Error),
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
pub async fn serve(server: &Server, tcp: Option<TcpListener>, unix: Option<UnixSocket>) -> Result<(), ServeError> {
    let over_tcp = async {
        let Some(listener) = tcp else { return Ok(()) };
        let router = server.router(Arrival::Tcp);
        let serving = axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>());
        serving.with_graceful_shutdown(server.stop().clone().cancelled_owned()).await.map_err(ServeError::Listener)
    };
    let over_unix = async {
        let Some(UnixSocket { listener, path }) = unix else { return Ok(()) };
        let serving = axum::serve(listener, server.router(Arrival::Socket).into_make_service());
        let ended = serving.with_graceful_shutdown(server.stop().clone().cancelled_owned()).await;
        drop(path);
        ended.map_err(ServeError::Listener)
    };
    tokio::try_join!(over_tcp, over_unix).map(drop)
}
