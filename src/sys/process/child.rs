//! A program that runs: reading what it prints, waiting for its end, and ending it with all that it started.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};

use super::ProcessError;

/// How long output is still read after the child has ended, when something it started holds it open.
const LINGER: Duration = Duration::from_secs(2);

/// A running program. Dropping it kills its whole process group.
#[derive(Debug)]
pub struct Child {
    pub(super) inner: tokio::process::Child,
    pub(super) group: Option<Pid>,
    pub(super) name: String,
}

impl Child {
    /// What it reads from stdin, if that was left open; `None` the second time, and once it was waited for.
    pub fn stdin(&mut self) -> Option<ChildStdin> {
        self.inner.stdin.take()
    }

    /// What it writes to stdout; `None` the second time.
    pub fn stdout(&mut self) -> Option<ChildStdout> {
        self.inner.stdout.take()
    }

    /// What it writes to stderr; `None` the second time.
    pub fn stderr(&mut self) -> Option<ChildStderr> {
        self.inner.stderr.take()
    }

    /// Its process id, which is also its process group; `None` once it has ended and been waited for.
    pub fn id(&self) -> Option<u32> {
        self.inner.id()
    }

    /// Waits until it ends, then kills whatever is left of its process group.
    ///
    /// # Errors
    /// [`ProcessError::Io`] if the system cannot wait for it.
    pub async fn wait(&mut self) -> Result<ExitStatus, ProcessError> {
        let status = self.inner.wait().await.map_err(|source| self.io(source))?;
        self.kill();
        self.group = None;
        Ok(status)
    }

    /// Asks the whole process group to end (SIGTERM), and kills it after `grace`.
    pub async fn stop(&mut self, grace: Duration) {
        self.signal(Signal::SIGTERM);
        if tokio::time::timeout(grace, self.wait()).await.is_err() {
            self.kill();
            // It was killed; there is nothing to do about a system that cannot even wait for it.
            let _ = self.wait().await;
        }
    }

    /// Kills the whole process group (SIGKILL).
    pub fn kill(&self) {
        self.signal(Signal::SIGKILL);
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // The only likely error is that nobody is left in the group, which is what we want.
            let _ = killpg(group, signal);
        }
    }

    /// Waits for its end. The second is whether something still held its output open.
    pub(super) async fn collect(
        &mut self,
        out: &mut Kept,
        err: &mut Kept,
        limit: usize,
    ) -> Result<(ExitStatus, bool), ProcessError> {
        let (stdout, stderr) = (self.stdout(), self.stderr());
        let (status, lingering) = {
            let reads = async { tokio::join!(out.fill(stdout, limit), err.fill(stderr, limit)) };
            tokio::pin!(reads);
            tokio::select! {
                (one, other) = &mut reads => {
                    one.and(other).map_err(|source| ProcessError::Io { program: self.name.clone(), source })?;
                    (None, false)
                }
                status = self.inner.wait() => {
                    let status = status.map_err(|source| ProcessError::Io { program: self.name.clone(), source })?;
                    (Some(status), tokio::time::timeout(LINGER, &mut reads).await.is_err())
                }
            }
        };
        let status = match status {
            Some(status) => status,
            None => self.inner.wait().await.map_err(|source| self.io(source))?,
        };
        self.kill();
        self.group = None;
        Ok((status, lingering))
    }

    fn io(&self, source: io::Error) -> ProcessError {
        ProcessError::Io { program: self.name.clone(), source }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The first bytes of a stream.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) bytes: Vec<u8>,
    pub(super) truncated: bool,
}

impl Kept {
    /// Reads the stream to its end, keeping `limit` bytes.
    async fn fill(&mut self, stream: Option<impl AsyncRead + Unpin>, limit: usize) -> io::Result<()> {
        let Some(mut stream) = stream else { return Ok(()) };
        let mut buffer = vec![0; 32 << 10];
        loop {
            let read = stream.read(&mut buffer).await?;
            if read == 0 {
                return Ok(());
            }
            let room = limit.saturating_sub(self.bytes.len()).min(read);
            self.bytes.extend_from_slice(&buffer[..room]);
            self.truncated |= room < read;
        }
    }
}

/// Gives a child what it reads.
pub(super) async fn feed(mut pipe: ChildStdin, bytes: Vec<u8>) {
    // A child that ends without reading everything says so by its status, not through this pipe.
    let _ = pipe.write_all(&bytes).await;
}
