//! The one function that builds every git command, and what its failures mean.

use std::path::Path;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};

use super::parse;
use crate::sys::process::{Output, ProcessError, Program};

/// Transports that may be used. Above all not `ext`, which runs any program.
const TRANSPORTS: &str = "file:git:http:https:ssh";

/// Asks no questions, since nobody is there to answer.
const SSH: &str = "ssh -oBatchMode=yes -oConnectTimeout=20";

/// Bytes of output that are kept: enough for the refs of a repository with half a million branches.
const OUTPUT_LIMIT: usize = 64 << 20;

/// A setting of git that may be secret, so that it travels in the environment and not in the arguments.
#[derive(Debug, Clone)]
pub(super) struct SecretSetting {
    pub(super) key: String,
    pub(super) value: SecretString,
}

/// Builds a git command in a bare repository: no questions, no settings of the machine or the user, no
/// hooks of ours, no background work, only the transports that fetch and push.
pub(super) fn git(repository: &Path, settings: &[SecretSetting], timeout: Duration) -> Program {
    let mut program = Program::new("git")
        .inherit("SSH_AUTH_SOCK")
        .inherit("GIT_ASKPASS")
        .env("GIT_SSH_COMMAND", SSH)
        .inherit("GIT_SSH_COMMAND")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_ALLOW_PROTOCOL", TRANSPORTS)
        .env("GIT_CONFIG_COUNT", settings.len().to_string());
    for (index, SecretSetting { key, value }) in settings.iter().enumerate() {
        program = program.env(format!("GIT_CONFIG_KEY_{index}"), key);
        program = program.env(format!("GIT_CONFIG_VALUE_{index}"), value.expose_secret());
    }
    program
        .args(["-c", "protocol.ext.allow=never", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"])
        .args(["-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "advice.pushUpdateRejected=false"])
        .arg("--git-dir")
        .arg(repository)
        .timeout(timeout)
        .output_limit(OUTPUT_LIMIT)
}

/// How talking to a remote ended, before anybody asks what that means.
pub(super) enum Ending {
    /// With status 0.
    Done(Output),
    /// With another status.
    Failed(Output),
    /// Not in time.
    TooSlow(Duration),
}

/// Runs a git command to its end.
pub(super) async fn run(program: Program) -> Result<Ending, ProcessError> {
    ended(program.run().await)
}

fn ended(output: Result<Output, ProcessError>) -> Result<Ending, ProcessError> {
    match output {
        Ok(output) if output.status.success() => Ok(Ending::Done(output)),
        Ok(output) => Ok(Ending::Failed(output)),
        Err(ProcessError::TimedOut { after, .. }) => Ok(Ending::TooSlow(after)),
        Err(error) => Err(error),
    }
}

/// As [`run`], from code that blocks.
pub(super) fn run_blocking(program: Program) -> Result<Ending, ProcessError> {
    ended(program.run_blocking())
}

/// What a failed command says, in one line, and what to do about it.
pub(super) fn explain(output: &Output) -> (String, String) {
    let stderr = output.stderr_text();
    let message = parse::message(&stderr);
    let message = if message.is_empty() { format!("git ended with {}", output.status) } else { message };
    let hint = parse::hint(&stderr).map_or_else(String::new, |hint| format!("; {hint}"));
    (message, hint)
}
