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
    use std::time::Duration;

    use nix::sys::signal::Signal;
    use nix::unistd::Pid;
    use tokio::io::{AsyncBufReadExt, BufReader};

    use super::*;
    use crate::builder::sandbox::{Network, SandboxSpec};
    use crate::builder::user::BuildUser;
    use crate::executor::local::step::sandboxed;

    fn sandbox(script: &str) -> Program {
        let spec = SandboxSpec {
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
        let mut child = launcher.spawn(sandbox("echo ready; sleep 1000")).await.unwrap();
        let mut output = BufReader::new(child.stdout().unwrap()).lines();
        while output.next_line().await.unwrap().expect("it says so") != "ready" {}
        drop(launcher);
        let status = tokio::time::timeout(Duration::from_mins(1), child.wait()).await;
        assert_eq!(status.expect("it ends").unwrap().signal(), Some(9));
    }

    /// Processes of this machine, except zombies, that have `marker` in their arguments.
    fn running(marker: &str) -> usize {
        let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        let lines = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
        lines.filter(|line| String::from_utf8_lossy(line).contains(marker)).count()
    }

    async fn none_left(marker: &str) {
        let gone = async {
            while running(marker) > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), gone).await.expect("no sandbox is left");
    }

    #[tokio::test]
    async fn a_sandbox_killed_at_any_moment_of_its_setup_leaves_nothing_behind() {
        let launcher = Launcher::start().unwrap();
        let marker = format!("1000.{}5", std::process::id());
        for moment in 0..120 {
            let mut child = launcher.spawn(sandbox(&format!("sleep {marker}"))).await.unwrap();
            tokio::time::sleep(Duration::from_micros(moment / 2 * 250)).await;
            if moment % 2 == 0 {
                child.kill();
            } else {
                // As if the controller died: the outer process alone is killed, and nobody reads.
                drop(child.stdout());
                kill(child.id().unwrap());
            }
            child.wait().await.unwrap();
        }
        none_left(&marker).await;
    }

    fn kill(process: u32) {
        nix::sys::signal::kill(Pid::from_raw(i32::try_from(process).unwrap()), Signal::SIGKILL).unwrap();
    }

    #[tokio::test]
    async fn a_build_has_no_terminal_to_type_into() {
        let output = sandbox("stat -c %t:%T /dev/tty /dev/null; echo x >/dev/tty && echo written").run().await.unwrap();
        let (null, lines) = ("1:3", String::from_utf8_lossy(&output.stdout).into_owned());
        assert_eq!(lines.lines().skip(1).collect::<Vec<_>>(), [null, null, "written"], "{}", output.stderr_text());
    }

    #[tokio::test]
    async fn a_program_that_is_missing_is_an_answer() {
        let launcher = Launcher::start().unwrap();
        assert!(matches!(launcher.spawn(Program::new("no-such-program")).await, Err(ProcessError::Missing { .. })));
    }
}
