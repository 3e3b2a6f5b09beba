//! The one door to other programs.
//!
//! A child starts with an almost empty environment, nothing on its standard input, and a process
//! group of its own, so that stopping it also stops what it started. What it prints is kept up to a
//! limit; the rest is read and dropped, so that a talkative child never blocks and never fills memory.

mod child;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::unistd::Pid;

pub use child::Child;

use super::install::what_to_install;
use child::{Kept, feed};

/// Variables every child inherits. Whatever else it needs is given by name.
pub const INHERITED: [&str; 13] = [
    "PATH",
    "HOME",
    "TMPDIR",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

/// How much of each of stdout and stderr is kept unless said otherwise: 64 MiB.
pub const DEFAULT_OUTPUT_LIMIT: usize = 64 << 20;

/// How long a child may take to end after SIGTERM before it gets SIGKILL.
const GRACE: Duration = Duration::from_secs(3);

/// A program that could not be run to its end.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It is not installed.
    #[error("`{program}` is not installed{hint}")]
    Missing {
        /// What was to be run.
        program: String,
        /// What to install, beginning with `: `; empty if unknown.
        hint: String,
    },
    /// It took too long and was stopped, with everything it had started.
    #[error("`{program}` was stopped after {} s", after.as_secs_f64())]
    TimedOut {
        /// What was run.
        program: String,
        /// Its time limit.
        after: Duration,
    },
    /// The system did not let us start it or talk to it.
    #[error("cannot run `{program}`")]
    Io {
        /// What was to be run.
        program: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The folder it was to run in is not there.
    #[error("cannot run `{program}`: there is no folder {}", folder.display())]
    NoFolder {
        /// What was to be run.
        program: String,
        /// Where.
        folder: PathBuf,
    },
}

/// How a program ended and what it printed.
#[derive(Debug, Clone)]
pub struct Output {
    /// How it ended; a failure is not an error of running it.
    pub status: ExitStatus,
    /// What it wrote to stdout, up to the limit.
    pub stdout: Vec<u8>,
    /// What it wrote to stderr, up to the limit.
    pub stderr: Vec<u8>,
    /// Whether something it wrote is missing from `stdout` or `stderr`.
    pub truncated: bool,
}

impl Output {
    /// What it wrote to stderr, for messages: without what is not UTF-8 and without the last newline.
    #[must_use]
    pub fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).trim_end().to_owned()
    }
}

/// How a program ended, or that it was stopped, and what it printed.
#[derive(Debug, Clone)]
pub struct Stopped {
    /// How it ended; `None` if its time was over first.
    pub status: Option<ExitStatus>,
    /// What it wrote to stdout, up to the limit.
    pub stdout: Vec<u8>,
    /// What it wrote to stderr, up to the limit.
    pub stderr: Vec<u8>,
    /// Whether something it wrote is missing from `stdout` or `stderr`.
    pub truncated: bool,
}

/// A program to be run. Arguments are passed as they are; no shell is involved.
#[derive(Debug, Clone)]
#[must_use = "nothing runs until `run` or `spawn`"]
pub struct Program {
    name: OsString,
    args: Vec<OsString>,
    env: BTreeMap<OsString, OsString>,
    folder: Option<PathBuf>,
    stdin: Input,
    timeout: Option<Duration>,
    output_limit: usize,
    user: Option<(u32, u32)>,
}

/// What a program finds on its standard input.
#[derive(Debug, Clone)]
enum Input {
    Nothing,
    Bytes(Vec<u8>),
    Open,
}

impl Program {
    /// A program by its path, or by its name in `PATH`.
    pub fn new(name: impl AsRef<OsStr>) -> Self {
        let mut env = BTreeMap::from([("LANG".into(), "C.UTF-8".into()), ("LC_ALL".into(), "C".into())]);
        env.extend(INHERITED.iter().filter_map(|&key| Some((key.into(), inherited(key)?))));
        Self {
            name: name.as_ref().to_owned(),
            args: Vec::new(),
            env,
            folder: None,
            stdin: Input::Nothing,
            timeout: None,
            output_limit: DEFAULT_OUTPUT_LIMIT,
            user: None,
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets a variable of the child.
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.insert(key.as_ref().to_owned(), value.as_ref().to_owned());
        self
    }

    /// Lets the child inherit one more variable, if it is set.
    pub fn inherit(self, key: &str) -> Self {
        match inherited(key) {
            Some(value) => self.env(key, value),
            None => self,
        }
    }

    /// Starts the child with no variables but those set after this.
    pub fn env_clear(mut self) -> Self {
        self.env.clear();
        self
    }

    /// Runs it in this folder.
    pub fn current_dir(mut self, folder: impl AsRef<Path>) -> Self {
        self.folder = Some(folder.as_ref().to_owned());
        self
    }

    /// Gives it this on its standard input, which is empty otherwise.
    pub fn stdin_bytes(mut self, bytes: Vec<u8>) -> Self {
        self.stdin = Input::Bytes(bytes);
        self
    }

    /// Leaves its standard input open for whoever spawns it: [`Child::stdin`].
    pub fn open_stdin(mut self) -> Self {
        self.stdin = Input::Open;
        self
    }

    /// Stops it, with everything it started, after this time. Only for [`Program::run`]; whoever
    /// spawns a child watches the time.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Keeps at most this many bytes of each of stdout and stderr.
    pub fn output_limit(mut self, bytes: usize) -> Self {
        self.output_limit = bytes;
        self
    }

    /// Runs it as this user and group, without supplementary groups. Needs to be root.
    pub fn user(mut self, uid: u32, gid: u32) -> Self {
        self.user = Some((uid, gid));
        self
    }

    /// Starts it, with stdout and stderr to be read while it runs.
    ///
    /// # Errors
    /// [`ProcessError`] if it cannot be started.
    pub fn spawn(self) -> Result<Child, ProcessError> {
        let mut command = self.command();
        command.stdin(if matches!(self.stdin, Input::Nothing) { Stdio::null() } else { Stdio::piped() });
        let mut inner = command.spawn().map_err(|error| self.cannot_start(error))?;
        if let Input::Bytes(bytes) = self.stdin {
            tokio::spawn(feed(inner.stdin.take().expect("it is a pipe"), bytes));
        }
        let group = inner.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        Ok(Child { inner, group, name: self.name.to_string_lossy().into_owned() })
    }

    /// Starts it as one that outlives this process, which keeps no hold on it: it reads from `input`, prints to
    /// `output`, and complains to `complaint`, which it also holds open for as long as it lives.
    ///
    /// # Errors
    /// [`ProcessError`] if it cannot be started.
    pub fn detach(self, input: File, output: File, complaint: File) -> Result<(), ProcessError> {
        let mut command = self.command();
        command.kill_on_drop(false).stdin(input).stdout(output).stderr(complaint);
        // The runtime waits for it, should it end before we do.
        command.spawn().map(drop).map_err(|error| self.cannot_start(error))
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// [`ProcessError`] if it cannot be started or takes too long. A failing status is not an error.
    pub async fn run(self) -> Result<Output, ProcessError> {
        let (program, after) = (self.name.to_string_lossy().into_owned(), self.timeout.unwrap_or_default());
        let Stopped { status, stdout, stderr, truncated } = Box::pin(self.run_or_stop()).await?;
        let status = status.ok_or(ProcessError::TimedOut { program, after })?;
        Ok(Output { status, stdout, stderr, truncated })
    }

    /// Runs it to its end, or stops it when its time is over. What it has printed is kept in either case.
    ///
    /// # Errors
    /// [`ProcessError`] if it cannot be started. Neither a failing status nor a stop is an error.
    pub async fn run_or_stop(self) -> Result<Stopped, ProcessError> {
        let (limit, timeout) = (self.output_limit, self.timeout);
        let mut child = self.spawn()?;
        let (mut out, mut err) = (Kept::default(), Kept::default());
        let ended = child.collect(&mut out, &mut err, limit);
        let ended = match timeout {
            Some(after) => tokio::time::timeout(after, ended).await.ok().transpose()?,
            None => Some(ended.await?),
        };
        if ended.is_none() {
            child.stop(GRACE).await;
        }
        let truncated = out.truncated || err.truncated || ended.is_some_and(|(_, lingering)| lingering);
        let status = ended.map(|(status, _)| status);
        Ok(Stopped { status, truncated, stdout: out.bytes, stderr: err.bytes })
    }

    /// [`Program::run`] from code that is not `async`; safe to call on any thread.
    ///
    /// # Errors
    /// As [`Program::run`].
    pub fn run_blocking(self) -> Result<Output, ProcessError> {
        blocking(self, Self::run)
    }

    /// [`Program::run_or_stop`] from code that is not `async`; safe to call on any thread.
    ///
    /// # Errors
    /// As [`Program::run_or_stop`].
    pub fn run_or_stop_blocking(self) -> Result<Stopped, ProcessError> {
        blocking(self, Self::run_or_stop)
    }

    #[expect(clippy::disallowed_methods, reason = "this is the door to other programs")]
    fn command(&self) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(&self.name);
        command.args(&self.args).env_clear().envs(&self.env);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }

    fn is_on_path(&self) -> bool {
        let path = self.env.iter().find(|(name, _)| *name == "PATH").map(|(_, path)| path.clone());
        path.is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(&self.name).exists()))
    }

    fn cannot_start(&self, source: io::Error) -> ProcessError {
        let program = self.name.to_string_lossy().into_owned();
        // A folder of PATH that may not be entered is named in place of a program that is nowhere.
        let hidden = source.kind() == io::ErrorKind::PermissionDenied && !program.contains('/') && !self.is_on_path();
        if source.kind() != io::ErrorKind::NotFound && !hidden {
            return ProcessError::Io { program, source };
        }
        match &self.folder {
            Some(folder) if !folder.is_dir() => ProcessError::NoFolder { program, folder: folder.clone() },
            _ => ProcessError::Missing { hint: what_to_install(&program), program },
        }
    }
}

/// Runs a program on a thread of its own, because the caller's may belong to a runtime that must not be blocked.
fn blocking<T, F>(program: Program, run: impl FnOnce(Program) -> F + Send) -> Result<T, ProcessError>
where
    T: Send,
    F: Future<Output = Result<T, ProcessError>>,
{
    let name = program.name.to_string_lossy().into_owned();
    std::thread::scope(|scope| {
        let runs = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|source| ProcessError::Io { program: name, source })?;
            runtime.block_on(run(program))
        });
        runs.join().expect("running a program does not panic")
    })
}

/// Keeps from every program that is started from now on the files that whoever started this process left open in it:
/// sandboxes would have them, too. Nothing is closed here, and programs are still given what they are to have. To be
/// called before there are other threads.
pub fn keep_inherited_files() {
    const BEHIND_STDERR: i32 = 3;
    close_fds::set_fds_cloexec(BEHIND_STDERR, &[]);
}

#[expect(clippy::disallowed_methods, reason = "this is the door to other programs, which need some of our environment")]
fn inherited(key: &str) -> Option<OsString> {
    std::env::var_os(key)
}
