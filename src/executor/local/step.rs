//! One step of a build: a sandbox that runs, its output going to the log, and what can end it early.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::ChildStdin;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::builder::user::BuildUser;
use crate::builder::verdict::Exit;
use crate::logstore::{LogError, LogWriter};
use crate::sys::process::{Child, ProcessError, Program};
use crate::sys::sandbox::{ANSWER, SandboxSpec, explain};

use super::image::ImageError;
use super::inside::Inside;
use super::launcher::Launcher;

/// How long output that is still in the pipe is read after a sandbox was stopped.
const DRAIN: Duration = Duration::from_secs(1);

/// How much of the end of the output is kept for [`crate::builder::verdict::judge`].
const TAIL: usize = 16 << 10;

/// A step that ended by itself.
#[derive(Debug)]
pub struct StepEnd {
    /// How.
    pub exit: Exit,
    /// The end of what it printed.
    pub printed: String,
}

/// A step that did not end by itself.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// Somebody wanted it to stop.
    #[error("the build was cancelled")]
    Cancelled,
    /// The build took too long.
    #[error("the build took too long")]
    TimedOut,
    /// It printed too much.
    #[error("the build printed more than the {limit} bytes a log may hold")]
    LogLimit {
        /// The limit.
        limit: u64,
    },
    /// There is no image to run it in.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// bubblewrap did not get as far as running it.
    #[error("{0}")]
    Sandbox(String),
    /// It could not be started.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// Its output could not be written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Its output could not be read.
    #[error("cannot read what the build prints")]
    Pipe(#[source] std::io::Error),
}

impl StepError {
    /// Whether it is what the package did that ended the step.
    pub const fn is_the_packages(&self) -> bool {
        matches!(self, Self::TimedOut | Self::LogLimit { .. })
    }
}

/// What can end a step early.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Somebody wants it to stop.
    pub cancel: CancellationToken,
    /// The build has to be done by then.
    pub deadline: Instant,
}

impl Limits {
    /// Why the build has to end now, if it has to.
    pub fn check(&self) -> Result<(), StepError> {
        if self.cancel.is_cancelled() {
            return Err(StepError::Cancelled);
        }
        if Instant::now() >= self.deadline { Err(StepError::TimedOut) } else { Ok(()) }
    }
}

/// The program that runs a step, once it is answered.
pub fn sandboxed(spec: &SandboxSpec, user: BuildUser) -> Program {
    let program = Program::new("bwrap").args(spec.arguments()).current_dir("/");
    if user.switch { program.user(user.uid, user.gid) } else { program }
}

/// Runs a step to its end, everything it prints going to the log as it comes.
pub async fn run(
    launcher: &Launcher,
    program: Program,
    log: &mut LogWriter,
    limits: &Limits,
) -> Result<StepEnd, StepError> {
    let mut child = launcher.spawn(program.open_stdin()).await?;
    let mut inside = Inside::of(child.id());
    let answer = child.stdin();
    let mut output = child.stdout().expect("it was just started");
    let complaint = tokio::spawn(complaint_of(child.stderr().expect("it was just started")));
    let mut tail = Tail::default();
    let ended = tokio::select! {
        biased;
        () = limits.cancel.cancelled() => Err(StepError::Cancelled),
        () = tokio::time::sleep_until(limits.deadline) => Err(StepError::TimedOut),
        copied = copy(&mut output, answer.map(|answer| (answer, &mut inside)), log, &mut tail) => copied,
    };
    if let Err(error) = ended {
        stop(child, &mut output, log, &mut tail).await;
        inside.gone().await;
        return Err(error);
    }
    // The output ends before the process does only if the build closed it; the limits still hold.
    let exit = tokio::select! {
        biased;
        () = limits.cancel.cancelled() => Err(StepError::Cancelled),
        () = tokio::time::sleep_until(limits.deadline) => Err(StepError::TimedOut),
        status = child.wait() => Ok(Exit::from(status?)),
    };
    if exit.is_err() {
        end(&mut child).await;
    }
    inside.gone().await;
    let exit = exit?;
    let complaint = complaint.await.unwrap_or_default();
    if exit != Exit::Code(0) && !complaint.trim().is_empty() {
        return Err(StepError::Sandbox(explain(&complaint)));
    }
    Ok(StepEnd { exit, printed: tail.text() })
}

/// Copies output to its end. The first of it says that the sandbox is set up, and is answered.
async fn copy(
    output: &mut (impl AsyncRead + Unpin),
    mut begin: Option<(ChildStdin, &mut Inside)>,
    log: &mut LogWriter,
    tail: &mut Tail,
) -> Result<(), StepError> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = output.read(&mut buffer).await.map_err(StepError::Pipe)?;
        if read == 0 {
            return Ok(());
        }
        tail.push(&buffer[..read]);
        log.write(&buffer[..read]).map_err(|error| match error {
            LogError::LimitReached { limit } => StepError::LogLimit { limit },
            other => other.into(),
        })?;
        if let Some((mut sandbox, inside)) = begin.take() {
            inside.look();
            // One that has ended meanwhile says so by its status, not through this pipe.
            let _ = sandbox.write_all(ANSWER).await;
        }
    }
}

/// Ends everything inside the sandbox.
///
/// SIGTERM would end only its outer process, which takes the rest along by SIGKILL: nothing inside could
/// use a warning. Killing both processes of a sandbox that is being set up leaves none behind.
async fn end(child: &mut Child) {
    child.kill();
    // It was killed; there is nothing to do about a system that cannot even wait for it.
    let _ = child.wait().await;
}

/// Ends everything inside the sandbox, and keeps what was printed until then.
async fn stop(mut child: Child, output: &mut (impl AsyncRead + Unpin), log: &mut LogWriter, tail: &mut Tail) {
    end(&mut child).await;
    // Whether the rest can be kept changes nothing: the build is over.
    let _ = tokio::time::timeout(DRAIN, copy(output, None, log, tail)).await;
}

/// What bubblewrap itself says; the build's own errors go where its output goes.
async fn complaint_of(stderr: impl AsyncRead + Unpin) -> String {
    let mut bytes = Vec::new();
    // What could be read until then says what there is to say.
    let _ = stderr.take(TAIL as u64).read_to_end(&mut bytes).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The end of a stream.
#[derive(Default)]
struct Tail(Vec<u8>);

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        if self.0.len() > 2 * TAIL {
            self.0.drain(..self.0.len() - TAIL);
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }
}
