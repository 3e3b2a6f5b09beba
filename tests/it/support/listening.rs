//! Hosts that do not do what they should.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A host that takes connections, hangs up, and counts.
pub struct Listening {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
    server: JoinHandle<()>,
}

impl Listening {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("bound");
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = connections.clone();
        let server = tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                counter.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { address, connections, server }
    }

    /// A floating source that would be there.
    pub fn source(&self, number: u32) -> String {
        format!("git+http://{}/{number}.git", self.address)
    }

    /// How often anybody connected.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// A git host with every repository. It answers as often as it is allowed to, and keeps the others waiting.
pub struct Busy {
    address: SocketAddr,
    left: Arc<AtomicUsize>,
    server: JoinHandle<()>,
}

impl Busy {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("bound");
        let left = Arc::new(AtomicUsize::new(0));
        let allowed = left.clone();
        let server = tokio::spawn(async move {
            let mut waiting = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                if allowed.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_err() {
                    waiting.push(stream);
                    continue;
                }
                let mut request = BufReader::new(&mut stream).lines();
                while request.next_line().await.is_ok_and(|line| line.is_some_and(|line| !line.is_empty())) {}
                // Somebody who has hung up gets no answer.
                let _ = stream.write_all(refs().as_bytes()).await;
            }
        });
        Self { address, left, server }
    }

    /// A floating source on this host.
    pub fn source(&self, name: &str) -> String {
        format!("git+http://{}/{name}.git", self.address)
    }

    /// From now on it answers so often.
    pub fn answer(&self, times: usize) {
        self.left.store(times, Ordering::SeqCst);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// The refs of a repository whose `HEAD` is a commit.
fn refs() -> String {
    let packet = |line: &str| format!("{:04x}{line}", line.len() + 4);
    let head = packet(&format!("{} HEAD\0agent=busy\n", "1".repeat(40)));
    let body = format!("{}0000{head}0000", packet("# service=git-upload-pack\n"));
    let kind = "application/x-git-upload-pack-advertisement";
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
}
