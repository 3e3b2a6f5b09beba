//! Runs `.CI/update.sh`, with which people keep a package up to date that no source of ours fits: in a sandbox
//! without secrets, that sees its own folder and may change nothing else.

use std::path::Path;

use super::harvest::{HarvestError, harvest};
use super::refresh::{RefreshError, Refresher};
use super::user::BuildUser;
use super::workspace::Workspace;
use crate::domain::folder::Folder;
use crate::domain::name::PkgBase;
use crate::sys::process::{Program, Stopped};
use crate::sys::sandbox::{ANSWER, Access, Mount, Network, SandboxSpec, explain};

/// How much of what a script prints is kept: 1 MiB.
const PRINTED: usize = 1 << 20;

/// The memory that each process of a script may ask for, in bytes: what raises a version needs little of it.
const MEMORY: u64 = 1 << 30;

/// As Chaotic's scripts source it: unset variables and failures in pipes are failures, and it may go on after one.
const RUN: &str = "set -uo pipefail; . ./.CI/update.sh";

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
}

impl Refresher {
    /// Runs the `.CI/update.sh` in the folder of a package.
    ///
    /// # Errors
    /// [`RefreshError`] if it cannot be run. What comes of running it is in [`Ran`].
    pub async fn run_script(&self, pkgbase: &PkgBase, folder: Folder, network: bool) -> Result<Ran, RefreshError> {
        let (this, pkgbase) = (self.clone(), pkgbase.clone());
        let network = if network { Network::Shared } else { Network::None };
        let work = move |workspace: &Workspace, user| {
            workspace.write_package(&folder)?;
            for (name, text) in this.job.config_files() {
                workspace.write_config(name, &text)?;
            }
            this.run_sandboxed(&pkgbase, workspace, user, network)
        };
        self.in_workspace(work).await
    }

    fn run_sandboxed(
        &self,
        pkgbase: &PkgBase,
        workspace: &Workspace,
        user: BuildUser,
        network: Network,
    ) -> Result<Ran, RefreshError> {
        // Its own environment can be looked at from inside.
        let program = Program::new("bwrap").env_clear().inherit("PATH");
        let program = program.args(self.script_sandbox(pkgbase, workspace, network).arguments());
        let program = if user.switch { program.user(user.uid, user.gid) } else { program };
        let program = program.current_dir("/").stdin_bytes(ANSWER.to_vec());
        let stopped = program.timeout(self.timeout).output_limit(PRINTED).run_or_stop_blocking();
        let what = "running .CI/update.sh";
        let Stopped { status, stdout, stderr, .. } =
            stopped.map_err(|source| RefreshError::Process { what, source })?;
        let complaint = String::from_utf8_lossy(&stderr);
        if !complaint.trim().is_empty() {
            return Err(RefreshError::Sandbox(explain(&complaint)));
        }
        let left = match status {
            None => Err(ScriptError::TooSlow(self.timeout)),
            Some(status) if !status.success() => {
                Err(ScriptError::Failed(status.to_string().replace("exit status: ", "status ")))
            }
            Some(_) => harvest(&workspace.path("start")).map_err(ScriptError::from),
        };
        Ok(Ran { printed: without_first_line(stdout), left })
    }

    fn script_sandbox(&self, pkgbase: &PkgBase, workspace: &Workspace, network: Network) -> SandboxSpec {
        let memory = format!("--data={MEMORY}");
        let command = ["prlimit", &memory, "--", "/bin/bash", "-c", RUN];
        let mut spec = self.sandbox(workspace, network, command.map(str::to_owned).into());
        // The folder for temporary files is one on a disk: what is in memory is the machine's.
        let own = [("PACKAGE", pkgbase.as_str()), ("TMPDIR", "/build")];
        spec.env.extend(own.map(|(name, value)| (name.to_owned(), value.to_owned())));
        // After the folder that it lies in.
        spec.mounts.push(Mount { from: workspace.path("start/.CI"), to: "/startdir/.CI", access: Access::Read });
        spec
    }
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
