//! The thread that starts sandboxes.
//!
//! bubblewrap's `--die-with-parent` means the *thread* that started it. A worker thread of the runtime may
//! go away while a build runs (after `block_in_place`), so builds are started from a thread that stays as
//! long as their executor.

use std::io;
use std::sync::mpsc;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::sys::process::{Child, ProcessError, Program};

struct Order {
    program: Program,
    runtime: Handle,
    answer: oneshot::Sender<Result<Child, ProcessError>>,
}

/// Starts programs from a thread of its own.
#[derive(Debug)]
pub struct Launcher {
    orders: mpsc::Sender<Order>,
}

impl Launcher {
    /// Starts the thread. It ends, and with it what it started, when this value is dropped.
    pub fn start() -> io::Result<Self> {
        let (orders, inbox) = mpsc::channel::<Order>();
        std::thread::Builder::new().name("launcher".into()).spawn(move || {
            for Order { program, runtime, answer } in inbox {
                let _entered = runtime.enter();
                // Nobody waiting means that the build was given up; the child is killed as it is dropped.
                let _ = answer.send(program.spawn());
            }
        })?;
        Ok(Self { orders })
    }

    /// Starts a program.
    pub async fn spawn(&self, program: Program) -> Result<Child, ProcessError> {
        let (answer, result) = oneshot::channel();
        let order = Order { program, runtime: Handle::current(), answer };
        self.orders.send(order).expect("the thread lives as long as its launcher");
        result.await.expect("the thread answers every order")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::sync::Arc;
    use std::time::Duration;

    use nix::sys::signal::Signal;
    use nix::unistd::Pid;
    use tokio::io::{AsyncBufReadExt, BufReader};
    use tokio::time::Instant;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::builder::user::BuildUser;
    use crate::executor::local::step::{self, Limits, sandboxed};
    use crate::logstore::LogStore;
    use crate::sys::sandbox::{ANSWER, Network, SandboxSpec, System};

    fn sandbox(script: &str) -> Program {
        let spec = SandboxSpec {
            system: System::of_this_machine(),
            network: Network::None,
            mounts: Vec::new(),
            repositories: Vec::new(),
            env: [].into(),
            directory: "/",
            command: ["/bin/sh", "-c", script].map(str::to_owned).into(),
        };
        sandboxed(&spec, BuildUser::resolve("nobody").unwrap())
    }

    #[tokio::test]
    async fn a_sandbox_does_not_outlive_the_thread_that_started_it() {
        let launcher = Launcher::start().unwrap();
        let program = sandbox("echo ready; sleep 1000").stdin_bytes(ANSWER.to_vec());
        let mut child = launcher.spawn(program).await.unwrap();
        let mut output = BufReader::new(child.stdout().unwrap()).lines();
        while output.next_line().await.unwrap().expect("it says so") != "ready" {}
        drop(launcher);
        let status = tokio::time::timeout(Duration::from_mins(1), child.wait()).await;
        assert_eq!(status.expect("it ends").unwrap().signal(), Some(9));
    }

    /// The command lines of processes of this machine, except zombies, that have `marker` in them.
    fn running(marker: &str) -> Vec<String> {
        let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        let lines = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
        lines.map(|line| String::from_utf8_lossy(&line).into_owned()).filter(|line| line.contains(marker)).collect()
    }

    async fn none_left(marker: &str, counts: impl Fn(&str) -> bool) {
        let gone = async {
            while running(marker).iter().any(|line| counts(line)) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let gone = tokio::time::timeout(Duration::from_mins(1), gone).await;
        gone.unwrap_or_else(|_| panic!("left: {:#?}", running(marker)));
    }

    #[tokio::test]
    async fn a_sandbox_killed_at_any_moment_of_its_setup_leaves_nothing_behind() {
        let launcher = Launcher::start().unwrap();
        let marker = format!("1000.{}5", std::process::id());
        for moment in 0..120 {
            let program = sandbox(&format!("sleep {marker}"));
            let program = if moment % 2 == 0 { program.stdin_bytes(ANSWER.to_vec()) } else { program.open_stdin() };
            let mut child = launcher.spawn(program).await.unwrap();
            tokio::time::sleep(Duration::from_micros(moment / 2 * 250)).await;
            if moment % 2 == 0 {
                child.kill();
            } else {
                // The outer process alone, as by a machine that is short of memory; nobody answers.
                kill(child.id().unwrap());
            }
            child.wait().await.unwrap();
        }
        none_left(&marker, |_| true).await;
    }

    /// Which command line the sandboxes of a controller to be killed have, and how long it lives, in microseconds.
    const DOOMED: [&str; 2] = ["PKGWARDEN_TEST_MARKER", "PKGWARDEN_TEST_LIFE"];

    #[tokio::test]
    async fn a_controller_killed_at_any_moment_leaves_no_build_behind() {
        let (marker, dir) = (format!("1000.{}7", std::process::id()), tempfile::tempdir().unwrap());
        for moment in 0..30 {
            let life = (moment * 500).to_string();
            let test = "executor::local::launcher::tests::a_controller_that_is_killed";
            let controller = Program::new(std::env::current_exe().unwrap()).env(DOOMED[0], &marker);
            let controller = controller.args(["--exact", test, "--ignored", "--nocapture"]).env(DOOMED[1], life);
            let ended = controller.current_dir(dir.path()).run().await.unwrap();
            assert_eq!(ended.status.signal(), Some(9), "{}", ended.stderr_text());
        }
        // A bubblewrap whose outer process is killed before it lets the inner one begin leaves that behind,
        // waiting for ever: it has set up nothing and runs nothing.
        none_left(&marker, |line| !line.starts_with("bwrap")).await;
    }

    /// Has builds at different moments of the setup of their sandboxes when it is killed.
    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "is started by a_controller_killed_at_any_moment_leaves_no_build_behind"]
    async fn a_controller_that_is_killed() {
        let [Some(marker), Some(life)] = DOOMED.map(crate::sys::env::var) else { return };
        let life = Duration::from_micros(life.parse().unwrap());
        let logs = LogStore::new(".").unwrap();
        let launcher = Arc::new(Launcher::start().unwrap());
        let limits = Limits { cancel: CancellationToken::new(), deadline: Instant::now() + Duration::from_hours(1) };
        for build in 0..10 {
            let (launcher, limits) = (Arc::clone(&launcher), limits.clone());
            let (program, mut log) = (sandbox(&format!("sleep {marker}")), logs.writer(&build.to_string()).unwrap());
            tokio::spawn(async move { step::run(&launcher, program, &mut log, &limits).await });
        }
        tokio::time::sleep(life).await;
        kill(std::process::id());
    }

    fn kill(process: u32) {
        nix::sys::signal::kill(Pid::from_raw(i32::try_from(process).unwrap()), Signal::SIGKILL).unwrap();
    }

    #[tokio::test]
    async fn a_build_has_no_terminal_to_type_into() {
        let program = sandbox("stat -c %t:%T /dev/tty /dev/null; echo x >/dev/tty && echo written");
        let output = program.stdin_bytes(ANSWER.to_vec()).run().await.unwrap();
        let (null, lines) = ("1:3", String::from_utf8_lossy(&output.stdout).into_owned());
        assert_eq!(lines.lines().skip(1).collect::<Vec<_>>(), [null, null, "written"], "{}", output.stderr_text());
    }

    #[tokio::test]
    async fn a_program_that_is_missing_is_an_answer() {
        let launcher = Launcher::start().unwrap();
        assert!(matches!(launcher.spawn(Program::new("no-such-program")).await, Err(ProcessError::Missing { .. })));
    }
}
