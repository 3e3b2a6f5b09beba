//! Asks repositories of Mercurial, Subversion and Bazaar where they stand, with the programs of these systems.

use std::path::PathBuf;
use std::time::Duration;

use super::{Followed, System};
use crate::domain::revision::Revision;
use crate::source::lsremote::{self, LsError, shown};
use crate::sys::process::{Output, ProcessError, Program};

/// More of what a program prints is not kept.
const OUTPUT: usize = 64 << 10;

/// Why a program had no answer.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// It could not be run, or took too long.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// It failed.
    #[error("`{program}` says: {text}")]
    Failed {
        /// The program.
        program: String,
        /// What it says, safe to show.
        text: String,
    },
    /// What it prints is no revision.
    #[error("`{program}` answers `{text}`, which is no revision")]
    Strange {
        /// The program.
        program: String,
        /// What it prints, safe to show.
        text: String,
    },
}

impl ProgramError {
    /// Whether nobody answered.
    pub fn is_silence(&self) -> bool {
        const SIGNS: [&str; 5] =
            ["Name or service not known", "name resolution", "onnection refused", "timed out", "No route to host"];
        match self {
            Self::Process(error) => matches!(error, ProcessError::TimedOut { .. }),
            Self::Failed { text, .. } => SIGNS.iter().any(|sign| text.contains(sign)),
            Self::Strange { .. } => false,
        }
    }
}

/// The programs of other systems than git.
#[derive(Debug, Clone)]
pub struct Programs {
    timeout: Duration,
    /// Where they lie; wherever the system finds them if `None`.
    folder: Option<PathBuf>,
}

impl Programs {
    /// Gives each repository `timeout`.
    pub const fn new(timeout: Duration) -> Self {
        Self { timeout, folder: None }
    }

    /// As [`Programs::new`], with programs in this folder.
    #[cfg(test)]
    pub const fn in_folder(timeout: Duration, folder: PathBuf) -> Self {
        Self { timeout, folder: Some(folder) }
    }

    /// Where a repository stands.
    pub async fn revision(&self, followed: &Followed) -> Result<Revision, LsError> {
        let Followed { system, url, branch } = followed;
        check(*system, url)?;
        let name = system.name();
        let program = self.program(name).env("HGPLAIN", "1").env("HGRCPATH", "");
        let program = match system {
            System::Git => return Err(LsError::Refused { url: shown(url), reason: "git is asked in another way" }),
            System::Hg => {
                // As one word, so that no branch is taken for an option.
                let branch = format!("--rev={}", branch.as_deref().unwrap_or("default"));
                program.args(["identify", "--debug", "--id", &branch, "--", url])
            }
            System::Svn => {
                let reached = if url.starts_with("ssh://") { format!("svn+{url}") } else { url.clone() };
                let args = ["info", "--non-interactive", "--no-auth-cache", "--show-item", "last-changed-revision"];
                program.args(args).args(["--", &reached])
            }
            System::Bzr => program.args(["revno", "--", url]),
        };
        let found = async {
            let output = program.timeout(self.timeout).output_limit(OUTPUT).run().await?;
            read(*system, &output)
        };
        found.await.map_err(|source: ProgramError| LsError::Program { url: shown(url), source })
    }

    fn program(&self, name: &str) -> Program {
        self.folder.as_ref().map_or_else(|| Program::new(name), |folder| Program::new(folder.join(name)))
    }
}

/// The same rules as for git, and the addresses that only these systems have.
fn check(system: System, url: &str) -> Result<(), LsError> {
    match (system, url.split_once(':')) {
        (System::Bzr, Some(("lp", name))) if is_plain(name) => Ok(()),
        (System::Svn, Some(("svn", rest))) => lsremote::check(&format!("git:{rest}")),
        _ => lsremote::check(url),
    }
}

fn is_plain(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"~/._+-".contains(&byte);
    !name.is_empty() && !name.starts_with('-') && name.bytes().all(legal)
}

fn read(system: System, output: &Output) -> Result<Revision, ProgramError> {
    let program = || system.name().to_owned();
    if !output.status.success() {
        return Err(ProgramError::Failed { program: program(), text: last_line(&output.stderr_text()) });
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let text = text.trim().trim_end_matches('+');
    // An id that is all zeros stands for a repository without commits.
    let is_one = !text.is_empty() && text.bytes().any(|byte| byte != b'0');
    let revision = Revision::of(system.name(), text).filter(|_| is_one);
    revision.ok_or_else(|| ProgramError::Strange { program: program(), text: last_line(text) })
}

/// The end of what a program says, safe to show.
fn last_line(text: &str) -> String {
    let line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("nothing");
    line.trim().chars().take(200).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
