//! The one door to other programs.
//!
//! A child starts with an almost empty environment, nothing on its standard input, and a process
//! group of its own, so that stopping it also stops what it started. What it prints is kept up to a
//! limit; the rest is read and dropped, so that a talkative child never blocks and never fills memory.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};

use super::install::what_to_install;

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

/// How long output is still read after the child has ended, when something it started holds it open.
const LINGER: Duration = Duration::from_secs(2);

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

    fn cannot_start(&self, source: io::Error) -> ProcessError {
        let program = self.name.to_string_lossy().into_owned();
        if source.kind() != io::ErrorKind::NotFound {
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

#[expect(clippy::disallowed_methods, reason = "this is the door to other programs, which need some of our environment")]
fn inherited(key: &str) -> Option<OsString> {
    std::env::var_os(key)
}

/// A running program. Dropping it kills its whole process group.
#[derive(Debug)]
pub struct Child {
    inner: tokio::process::Child,
    group: Option<Pid>,
    name: String,
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
    async fn collect(
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
struct Kept {
    bytes: Vec<u8>,
    truncated: bool,
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

async fn feed(mut pipe: ChildStdin, bytes: Vec<u8>) {
    // A child that ends without reading everything says so by its status, not through this pipe.
    let _ = pipe.write_all(&bytes).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Program {
        Program::new("sh").args(["-c", script])
    }

    fn text(bytes: &[u8]) -> String {
        String::from_utf8(bytes.to_vec()).expect("text")
    }

    /// Whether a process is gone, or only waits to be collected by whoever inherited it.
    fn is_dead(pid: &str) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
        stat.map_or(true, |stat| stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')))
    }

    async fn wait_until_dead(pid: &str) {
        tokio::time::timeout(Duration::from_secs(20), async {
            while !is_dead(pid) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .expect("it is killed");
    }

    #[tokio::test]
    async fn a_child_sees_only_what_it_is_given() {
        let output = Program::new("env").env("GIVEN", "1").run().await.expect("runs");
        let allowed = |name: &str| INHERITED.contains(&name) || ["LANG", "LC_ALL", "GIVEN"].contains(&name);
        let names: Vec<String> =
            text(&output.stdout).lines().map(|line| line.split('=').next().unwrap_or_default().to_owned()).collect();
        assert!(names.contains(&"GIVEN".to_owned()) && names.contains(&"PATH".to_owned()));
        assert_eq!(names.iter().filter(|name| !allowed(name)).collect::<Vec<_>>(), Vec::<&String>::new());
        let path = inherited("PATH").expect("set");
        let env = std::env::split_paths(&path).map(|dir| dir.join("env")).find(|path| path.exists());
        let env = env.expect("env is installed");
        let output = Program::new(env).env_clear().env("ONLY", "1").run().await.expect("runs");
        assert_eq!(text(&output.stdout), "ONLY=1\n");
    }

    #[tokio::test]
    async fn arguments_are_not_read_by_a_shell() {
        let output = Program::new("printf").args(["%s|", "a b", "$HOME", "*"]).run().await.expect("runs");
        assert_eq!(text(&output.stdout), "a b|$HOME|*|");
    }

    #[tokio::test]
    async fn standard_input_is_empty_or_what_is_given() {
        let output = Program::new("cat").run().await.expect("runs");
        assert!(output.stdout.is_empty());
        let bytes = vec![b'x'; 1 << 20];
        let output = Program::new("cat").stdin_bytes(bytes.clone()).run().await.expect("runs");
        assert_eq!(output.stdout, bytes);
        let deaf = Program::new("true").stdin_bytes(bytes).run().await.expect("runs");
        assert!(deaf.status.success());
    }

    #[tokio::test]
    async fn a_failing_status_is_not_an_error() {
        let output = sh("echo out; echo err >&2; exit 7").run().await.expect("runs");
        assert_eq!(output.status.code(), Some(7));
        assert_eq!((text(&output.stdout).as_str(), output.stderr_text().as_str()), ("out\n", "err"));
    }

    #[tokio::test]
    async fn what_is_over_the_limit_is_dropped_and_flagged() {
        let program = || sh("head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2");
        let output = program().output_limit(1000).run().await.expect("runs");
        assert!(output.truncated && output.status.success());
        assert_eq!((output.stdout.len(), output.stderr.len()), (1000, 1000));
        assert!(!program().output_limit(300_000).run().await.expect("runs").truncated);
    }

    #[tokio::test]
    async fn a_time_limit_ends_everything_the_program_started() {
        let dir = tempfile::tempdir().expect("dir");
        let script = "sleep 1000 & echo $! > pid; trap 'echo bye > said' TERM; wait";
        let run = sh(script).current_dir(dir.path()).timeout(Duration::from_millis(500)).run();
        let error = run.await.expect_err("too slow");
        assert_eq!(error.to_string(), "`sh` was stopped after 0.5 s");
        let pid = std::fs::read_to_string(dir.path().join("pid")).expect("started");
        wait_until_dead(pid.trim()).await;
        assert!(dir.path().join("said").exists(), "it was asked to end before it was killed");
    }

    #[tokio::test]
    async fn dropping_a_child_kills_everything_it_started() {
        use tokio::io::{AsyncBufReadExt as _, BufReader};
        let mut child = sh("sleep 1000 & echo $!; wait").spawn().expect("starts");
        let mut line = String::new();
        BufReader::new(child.stdout().expect("piped")).read_line(&mut line).await.expect("read");
        let leader = child.id().expect("runs").to_string();
        drop(child);
        wait_until_dead(line.trim()).await;
        wait_until_dead(&leader).await;
    }

    #[tokio::test]
    async fn a_program_left_behind_does_not_hold_the_answer_back() {
        let output = sh("sleep 1000 & echo $!").run().await.expect("runs");
        assert!(output.status.success());
        wait_until_dead(text(&output.stdout).trim()).await;
    }

    #[tokio::test]
    async fn a_child_that_ignores_sigterm_is_killed() {
        use std::os::unix::process::ExitStatusExt as _;
        use tokio::io::AsyncReadExt as _;
        let mut child = sh("trap '' TERM; echo; while :; do sleep 1000; done").spawn().expect("starts");
        child.stdout().expect("piped").read_u8().await.expect("the trap is set");
        child.stop(Duration::from_millis(100)).await;
        assert_eq!(child.wait().await.expect("waited for").signal(), Some(9));
        assert_eq!(child.id(), None);
    }

    #[tokio::test]
    async fn a_missing_program_says_what_to_install() {
        let missing = Program { name: "/nowhere/makepkg".into(), ..Program::new("x") };
        let error = missing.run().await.expect_err("missing");
        assert_eq!(
            error.to_string(),
            "`/nowhere/makepkg` is not installed: install it with `apt install makepkg` (Debian) or \
             `pacman -S pacman` (Arch)"
        );
        let error = Program::new("pkgwarden-no-such-program").run().await.expect_err("missing");
        assert_eq!(error.to_string(), "`pkgwarden-no-such-program` is not installed");
        let error = Program::new("true").current_dir("/no/such/folder").run().await.expect_err("no folder");
        assert_eq!(error.to_string(), "cannot run `true`: there is no folder /no/such/folder");
    }

    #[tokio::test]
    async fn blocking_code_may_run_programs_even_inside_a_runtime() {
        let output = Program::new("echo").arg("hi").run_blocking().expect("runs");
        assert_eq!(text(&output.stdout), "hi\n");
    }

    #[tokio::test]
    async fn root_can_run_a_program_as_somebody_else() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let output = sh("id -u; id -g; id -G").user(65_534, 65_534).run().await.expect("runs");
        assert_eq!(text(&output.stdout), "65534\n65534\n65534\n");
    }
}
