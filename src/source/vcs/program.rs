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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::vcs::tests::request;

    /// A folder with programs that stand in for those of other systems: what they print, and how they end.
    fn programs(texts: &[(&str, &str)]) -> (tempfile::TempDir, Programs) {
        let dir = tempfile::tempdir().expect("a directory");
        for (name, text) in texts {
            let path = dir.path().join(name);
            std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("written");
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(&path, mode).expect("changed");
        }
        let programs = Programs::in_folder(Duration::from_secs(1), dir.path().to_owned());
        (dir, programs)
    }

    async fn revision(programs: &Programs, source: &str) -> Result<String, String> {
        let followed = request("x", &[source]).followed.remove(0);
        let found = programs.revision(&followed).await;
        found.map(|revision| revision.to_string()).map_err(|error| crate::source::error_text(&error))
    }

    #[tokio::test]
    async fn mercurial_subversion_and_bazaar_are_asked_through_their_programs() {
        let (_dir, programs) = programs(&[
            ("hg", r#"[ "$4" = --rev=stable ] && [ "$6" = https://h/r ] && printf '%040d\n' 7"#),
            ("svn", r#"[ "$7" = svn+ssh://h/r ] && echo 1234"#),
            ("bzr", r#"[ "$3" = lp:thing ] && echo 17"#),
        ]);
        let said = |number: &str| Ok(number.to_owned());
        assert_eq!(revision(&programs, "x::hg+https://h/r#branch=stable").await, said(&format!("hg:{:040}", 7)));
        assert_eq!(revision(&programs, "svn+ssh://h/r").await, said("svn:1234"));
        assert_eq!(revision(&programs, "bzr+lp:thing").await, said("bzr:17"));
    }

    #[tokio::test]
    async fn a_real_bazaar_branch_says_where_it_stands() {
        let dir = tempfile::tempdir().expect("a directory");
        let bzr = async |args: &[&str]| {
            let program = Program::new("bzr").args(args).env("HOME", dir.path()).env("BRZ_EMAIL", "A <a@example.org>");
            let ran = program.current_dir(dir.path()).run().await.expect("bzr runs");
            assert!(ran.status.success(), "bzr {args:?}: {}", ran.stderr_text());
        };
        let programs = Programs::new(Duration::from_mins(1));
        let source = format!("bzr+file://{}/branch", dir.path().display());
        let missing = revision(&programs, &source).await.expect_err("nothing is there");
        assert!(missing.contains("Not a branch"), "{missing}");
        bzr(&["init", "--quiet", "branch"]).await;
        let empty = revision(&programs, &source).await.expect_err("nothing is in it");
        assert!(empty.ends_with("`bzr` answers `0`, which is no revision"), "{empty}");
        for number in 1..=2 {
            bzr(&["commit", "--quiet", "--unchanged", "--message=more", "branch"]).await;
            assert_eq!(revision(&programs, &source).await, Ok(format!("bzr:{number}")));
        }
    }

    #[tokio::test]
    async fn programs_that_are_missing_fail_or_say_nonsense_are_named() {
        let (_dir, programs) = programs(&[
            ("svn", "echo 'svn: E170013: Unable to connect' >&2; exit 1"),
            ("bzr", "echo 'no revision at all'"),
        ]);
        let complaint = async |source: &str| revision(&programs, source).await.expect_err("no answer");
        let missing = complaint("hg+https://h/r").await;
        assert!(missing.contains("hg` is not installed: install it with `apt install mercurial`"), "{missing}");
        assert_eq!(complaint("svn+https://h/r").await, "https://h/r: `svn` says: svn: E170013: Unable to connect");
        let nonsense = complaint("bzr+https://h/r").await;
        assert_eq!(nonsense, "https://h/r: `bzr` answers `no revision at all`, which is no revision");
        for hostile in ["hg+--config=alias.identify=!id", "bzr+lp:-x", "bzr+lp:a b"] {
            assert!(complaint(hostile).await.contains("refused"), "{hostile}");
        }
    }

    #[tokio::test]
    async fn a_program_that_never_ends_is_stopped() {
        let (_dir, programs) = programs(&[("hg", "while :; do :; done")]);
        let error = revision(&programs, "hg+https://h/r").await.expect_err("no answer");
        assert!(error.contains("was stopped after 1 s"), "{error}");
    }
}
