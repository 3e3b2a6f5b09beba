//! Knows when everything in a sandbox has ended.
//!
//! bubblewrap's outer process ends with the command. What the command left running is killed a moment later, together
//! with process 1 of the sandbox, and until then could still change what is looked at, collected or removed.
//! The kernel lets process 1 go only when nothing else is left.

use std::time::Duration;

use tokio::time::Instant;

/// How long is waited for what was killed: it may be in the middle of something that cannot be interrupted.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often is looked meanwhile.
const PACE: Duration = Duration::from_millis(2);

/// Process 1 of a sandbox, as this machine knows it.
#[derive(Debug)]
pub struct Inside {
    outer: Option<u32>,
    first: Option<Process>,
}

/// A process, and when it began, since numbers are given again.
#[derive(Debug)]
struct Process {
    id: u32,
    began: String,
}

impl Inside {
    /// Of the sandbox that this process is the outer one of.
    pub const fn of(outer: Option<u32>) -> Self {
        Self { outer, first: None }
    }

    /// Looks for process 1. It is there once the sandbox has said its first line.
    pub fn look(&mut self) {
        let Some(outer) = self.outer else { return };
        let children = std::fs::read_to_string(format!("/proc/{outer}/task/{outer}/children")).unwrap_or_default();
        let first = children.split_whitespace().next().and_then(|id| id.parse().ok());
        self.first = first.and_then(|id| began(id).map(|began| Process { id, began }));
    }

    /// Waits until nothing is left. The outer process has to have ended.
    pub async fn gone(&self) {
        let Some(first) = &self.first else { return };
        let until = Instant::now() + PATIENCE;
        while began(first.id).is_some_and(|began| began == first.began) {
            if Instant::now() >= until {
                tracing::warn!(process = first.id, "a sandbox does not end, although it was killed");
                return;
            }
            tokio::time::sleep(PACE).await;
        }
    }
}

/// When a process began, in the kernel's words; `None` if it has ended.
fn began(id: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name of the program, which may hold anything, stands in brackets.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(18).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::fs::{File, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::builder::user::BuildUser;
    use crate::builder::verdict::Exit;
    use crate::executor::local::launcher::Launcher;
    use crate::executor::local::step::{self, Limits};
    use crate::logstore::LogStore;
    use crate::sys::sandbox::{Access, Mount, Network, SandboxSpec};

    #[tokio::test]
    async fn a_step_is_over_when_nothing_in_its_sandbox_runs_any_more() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        // Whatever runs in the sandbox has it locked.
        let held = File::create(dir.path().join("held")).unwrap();
        let logs = LogStore::new(dir.path().join("logs")).unwrap();
        let launcher = Launcher::start().unwrap();
        let script = "exec 9</held; flock -s 9; for _ in {1..400}; do sleep 1000 >/dev/null 2>&1 & done; echo started";
        let spec = SandboxSpec {
            network: Network::None,
            mounts: vec![Mount { from: dir.path().join("held"), to: "/held", access: Access::Read }],
            repositories: Vec::new(),
            env: [("PATH".to_owned(), "/usr/bin:/bin".to_owned())].into(),
            directory: "/",
            command: ["/bin/bash", "-c", script].map(str::to_owned).into(),
        };
        let limits = Limits { cancel: CancellationToken::new(), deadline: Instant::now() + Duration::from_mins(1) };
        let user = BuildUser::resolve("nobody").unwrap();
        for attempt in ["a1", "a2", "a3"] {
            let mut log = logs.writer(attempt).unwrap();
            let end = step::run(&launcher, step::sandboxed(&spec, user), &mut log, &limits).await.unwrap();
            let nobody_has_it = held.try_lock();
            assert!(end.exit == Exit::Code(0) && end.printed.contains("started"), "{}", end.printed);
            nobody_has_it.expect("everything in it has ended");
            held.unlock().unwrap();
        }
    }
}
