//! Runs `.CI/update.sh`, with which people keep a package up to date that no source of ours fits, and `.CI/changed.sh`,
//! which says whether it has to be built: in a sandbox without secrets, that sees its own folder and may change nothing
//! else.

use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use super::harvest::{HarvestError, harvest};
use super::refresh::{RefreshError, Refresher};
use super::user::BuildUser;
use super::workspace::Workspace;
use crate::domain::folder::Folder;
use crate::domain::name::PkgBase;
use crate::domain::observed::Opinion;
use crate::domain::revision::{Seen, Unmemorable};
use crate::sys::process::{Program, Stopped};
use crate::sys::sandbox::{ANSWER, Access, Mount, Network, SandboxSpec, explain};

/// How much of what a script prints is kept: 1 MiB.
const PRINTED: usize = 1 << 20;

/// The memory that each process of a script may ask for, in bytes: what raises a version needs little of it.
const MEMORY: u64 = 1 << 30;

/// How long a script may take that only says whether something has changed: every run waits for it.
const LOOKING: Duration = Duration::from_mins(1);

/// The exit status by which a script says that nothing has changed. No mistake in it ends bash with this one.
const UNCHANGED: i32 = 1;

/// What a script is run for.
struct Task {
    what: &'static str,
    /// As Chaotic's scripts source it: unset variables and failures in pipes are failures, and it may go on after one.
    command: &'static str,
    network: Network,
    variables: Vec<(String, String)>,
    timeout: Duration,
}

/// How a script ended, and what it printed.
struct Ended {
    /// `None` if it was stopped.
    status: Option<ExitStatus>,
    printed: Vec<u8>,
}

/// A script that has said something.
#[derive(Debug)]
pub struct Judged {
    /// What it printed, the first of it if that is too much.
    pub printed: Vec<u8>,
    /// What it said.
    pub opinion: Result<Opinion, ScriptError>,
}

/// A script that has been run.
#[derive(Debug)]
pub struct Ran {
    /// What it printed, the first of it if that is too much.
    pub printed: Vec<u8>,
    /// The folder as it left it.
    pub left: Result<Folder, ScriptError>,
}

/// A script whose work is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// It says so itself.
    #[error("ended with {0}")]
    Failed(String),
    /// It did not end.
    #[error("was stopped after {} s", .0.as_secs_f64())]
    TooSlow(std::time::Duration),
    /// It left something that cannot be read back.
    #[error("left what is not taken: {0}")]
    Unusable(#[from] HarvestError),
    /// It wrote down what nobody can remember.
    #[error(transparent)]
    Unmemorable(#[from] Unmemorable),
}

/// Says how a script ended that did not end well.
fn failure(status: ExitStatus) -> ScriptError {
    ScriptError::Failed(status.to_string().replace("exit status: ", "status "))
}

const fn network(wanted: bool) -> Network {
    if wanted { Network::Shared } else { Network::None }
}

impl Refresher {
    /// Runs the `.CI/changed.sh` in the folder of a package. It is told `variables`, and writes what it sees into the
    /// file that `SEEN_FILE` names.
    ///
    /// # Errors
    /// [`RefreshError`] if it cannot be run. What comes of running it is in [`Judged`].
    pub async fn judge(
        &self,
        pkgbase: &PkgBase,
        folder: Folder,
        reaches_network: bool,
        variables: Vec<(String, String)>,
    ) -> Result<Judged, RefreshError> {
        let (this, pkgbase) = (self.clone(), pkgbase.clone());
        let task = Task {
            what: "running .CI/changed.sh",
            command: "set -uo pipefail; . ./.CI/changed.sh",
            network: network(reaches_network),
            variables: variables.into_iter().chain([("SEEN_FILE".to_owned(), "/pkgdest/printed".to_owned())]).collect(),
            timeout: self.timeout.min(LOOKING),
        };
        let work = move |workspace: &Workspace, user| {
            this.lay_out(workspace, &folder)?;
            let Ended { status, printed } = this.run_sandboxed(&pkgbase, workspace, user, &task)?;
            let written = workspace.take_printed()?;
            let opinion = match status {
                None => Err(ScriptError::TooSlow(task.timeout)),
                Some(status) if status.success() => seen_in(written.as_deref()).map(|seen| Opinion::Build { seen }),
                Some(status) if status.code() == Some(UNCHANGED) => Ok(Opinion::Unchanged),
                Some(status) => Err(failure(status)),
            };
            Ok(Judged { printed, opinion })
        };
        self.in_workspace(work).await
    }

    fn lay_out(&self, workspace: &Workspace, folder: &Folder) -> Result<(), RefreshError> {
        workspace.write_package(folder)?;
        for (name, text) in self.job.config_files() {
            workspace.write_config(name, &text)?;
        }
        Ok(())
    }

    /// Runs the `.CI/update.sh` in the folder of a package.
    ///
    /// # Errors
    /// [`RefreshError`] if it cannot be run. What comes of running it is in [`Ran`].
    pub async fn run_script(
        &self,
        pkgbase: &PkgBase,
        folder: Folder,
        reaches_network: bool,
    ) -> Result<Ran, RefreshError> {
        let (this, pkgbase) = (self.clone(), pkgbase.clone());
        let task = Task {
            what: "running .CI/update.sh",
            command: "set -uo pipefail; . ./.CI/update.sh",
            network: network(reaches_network),
            variables: Vec::new(),
            timeout: self.timeout,
        };
        let work = move |workspace: &Workspace, user| {
            this.lay_out(workspace, &folder)?;
            let Ended { status, printed } = this.run_sandboxed(&pkgbase, workspace, user, &task)?;
            let left = match status {
                None => Err(ScriptError::TooSlow(task.timeout)),
                Some(status) if !status.success() => Err(failure(status)),
                Some(_) => harvest(&workspace.path("start")).map_err(ScriptError::from),
            };
            Ok(Ran { printed, left })
        };
        self.in_workspace(work).await
    }

    fn run_sandboxed(
        &self,
        pkgbase: &PkgBase,
        workspace: &Workspace,
        user: BuildUser,
        task: &Task,
    ) -> Result<Ended, RefreshError> {
        // Its own environment can be looked at from inside.
        let program = Program::new("bwrap").env_clear().inherit("PATH");
        let program = program.args(self.script_sandbox(pkgbase, workspace, task).arguments());
        let program = if user.switch { program.user(user.uid, user.gid) } else { program };
        let program = program.current_dir("/").stdin_bytes(ANSWER.to_vec());
        let stopped = program.timeout(task.timeout).output_limit(PRINTED).run_or_stop_blocking();
        let Stopped { status, stdout, stderr, .. } =
            stopped.map_err(|source| RefreshError::Process { what: task.what, source })?;
        let complaint = String::from_utf8_lossy(&stderr);
        if !complaint.trim().is_empty() {
            return Err(RefreshError::Sandbox(explain(&complaint)));
        }
        Ok(Ended { status, printed: without_first_line(stdout) })
    }

    fn script_sandbox(&self, pkgbase: &PkgBase, workspace: &Workspace, task: &Task) -> SandboxSpec {
        let memory = format!("--data={MEMORY}");
        let command = ["prlimit", &memory, "--", "/bin/bash", "-c", task.command];
        let mut spec = self.sandbox(workspace, task.network, command.map(str::to_owned).into());
        // The folder for temporary files is one on a disk: what is in memory is the machine's.
        let own = [("PACKAGE", pkgbase.as_str()), ("TMPDIR", "/build")];
        spec.env.extend(own.map(|(name, value)| (name.to_owned(), value.to_owned())));
        spec.env.extend(task.variables.iter().cloned());
        // After the folder that it lies in.
        spec.mounts.push(Mount { from: workspace.path("start/.CI"), to: "/startdir/.CI", access: Access::Read });
        spec
    }
}

/// What a script wrote down of what it saw, if it did.
fn seen_in(written: Option<&[u8]>) -> Result<Option<Seen>, ScriptError> {
    let text = written.map(String::from_utf8_lossy);
    Ok(text.map(|text| Seen::new(&text)).transpose()?)
}

/// Without the line by which the sandbox says that it is ready.
fn without_first_line(printed: Vec<u8>) -> Vec<u8> {
    match printed.iter().position(|byte| *byte == b'\n') {
        Some(end) => printed[end + 1..].to_vec(),
        None => printed,
    }
}

/// The end of what a script printed, in one line and safe to show; empty if it printed nothing.
#[must_use]
pub fn last_lines(printed: &[u8]) -> String {
    const SHOWN: usize = 300;
    let text = String::from_utf8_lossy(printed);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let text = lines[lines.len().saturating_sub(3)..].join("; ");
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let skipped = text.chars().count().saturating_sub(SHOWN);
    text.chars().skip(skipped).map(plain).collect()
}

/// Where the output of the last run of a package's script is kept, below `dir`.
#[must_use]
pub fn log_path(dir: &Path, pkgbase: &PkgBase) -> std::path::PathBuf {
    dir.join(format!("{pkgbase}.log"))
}
