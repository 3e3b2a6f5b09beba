//! `pkgwarden serve`, and what else goes on until it is told to end, as a process of its own, told things by signals and heard on standard error.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pkgwarden::sys::process::{Child, Program};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::ChildStderr;

use super::scene::Scene;

/// How long anything may take before a test counts as failed.
const PATIENCE: Duration = Duration::from_mins(2);

/// A running `serve` or `demo`; killed when it is dropped.
pub struct Serve {
    child: Child,
    stderr: Lines<BufReader<ChildStderr>>,
    /// Everything it said so far, as far as it was waited for.
    pub heard: String,
}

impl Scene {
    /// Starts `pkgwarden ARGS serve` on the monorepo, with more variables in its environment.
    pub fn serve(&self, args: &[&str], env: &[(&str, &str)]) -> Serve {
        self.start(&[args, &["serve"]].concat(), env)
    }

    /// Starts `pkgwarden ARGS`, which goes on until it is told to end.
    pub fn start(&self, args: &[&str], env: &[(&str, &str)]) -> Serve {
        Serve::of(self.program(self.monorepo.path(), args, env))
    }
}

impl Serve {
    /// Any program that goes on until it is told to end.
    pub fn of(program: Program) -> Self {
        let mut child = program.spawn().expect("it starts");
        let stderr = BufReader::new(child.stderr().expect("piped")).lines();
        Self { child, stderr, heard: String::new() }
    }

    /// Reads on until a line has this text, and returns the line.
    pub async fn says(&mut self, text: &str) -> String {
        let read = async {
            while let Some(line) = self.stderr.next_line().await.expect("readable") {
                self.heard.push_str(&line);
                self.heard.push('\n');
                if line.contains(text) {
                    return line;
                }
            }
            panic!("it ended without `{text}`: {}", self.heard)
        };
        tokio::time::timeout(PATIENCE, read).await.unwrap_or_else(|_| panic!("`{text}` was never said"))
    }

    pub fn signal(&self, signal: Signal) {
        let pid = self.pid().try_into().expect("a process id");
        kill(Pid::from_raw(pid), signal).expect("it runs");
    }

    pub fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// Waits for its end and returns the status (`None` after a signal) and what it said since the last
    /// line that was waited for.
    pub async fn ended(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        let read = async {
            while let Some(line) = self.stderr.next_line().await.expect("readable") {
                rest.push_str(&line);
                rest.push('\n');
            }
            self.child.wait().await.expect("it ends").code()
        };
        let code = tokio::time::timeout(PATIENCE, read).await.expect("it ends");
        (code, rest)
    }
}
