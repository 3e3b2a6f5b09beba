//! Makes what follows from a PKGBUILD: the checksums of its sources, and `.SRCINFO`. Real makepkg does both, in
//! sandboxes without secrets; only the one that fetches has the network.
//!
//! Nothing is built here.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use super::makepkg::Job;
use super::user::{BuildUser, UserError};
use super::workspace::{Workspace, WorkspaceError, make_enterable};
use crate::domain::folder::{File, FileMode, Folder};
use crate::domain::pkgbuild::{self, Uneditable};
use crate::sys::fs::{FsError, ensure_free};
use crate::sys::process::{ProcessError, Program};
use crate::sys::sandbox::{ANSWER, Access, Mount, Network, SandboxSpec, System, explain};
use crate::sys::scratch::Scratch;

const PKGBUILD: &str = "PKGBUILD";
const SRCINFO: &str = ".SRCINFO";

/// Sources are not fetched with less room than this: 256 MiB.
const MIN_FREE: u64 = 256 << 20;
/// How much of what makepkg prints is kept.
const PRINTED: usize = 1 << 20;
/// What makepkg's own work may take without fetching.
const SHORT: Duration = Duration::from_mins(1);

/// Where and as whom files are refreshed.
#[derive(Debug, Clone)]
pub struct Refresher {
    /// Who makepkg runs as when the controller is root.
    pub user: String,
    /// Where it works, if the user may enter it; otherwise in `TMPDIR`.
    pub work_dir: PathBuf,
    /// What every step shares.
    pub job: Job,
    /// How long fetching the sources of one package may take.
    pub timeout: Duration,
}

/// Files that cannot be refreshed.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// The checksums cannot be put in.
    #[error(transparent)]
    Uneditable(#[from] Uneditable),
    /// It cannot be written out.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
    /// Nobody is there to run it.
    #[error(transparent)]
    User(#[from] UserError),
    /// There is no place for it.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// It could not be run, or took too long.
    #[error("{what} did not come to an end")]
    Process {
        /// What makepkg was to do.
        what: &'static str,
        /// Why.
        #[source]
        source: ProcessError,
    },
    /// The sandbox could not be set up.
    #[error("{0}")]
    Sandbox(String),
    /// makepkg did not do it.
    #[error("{what} failed: {message}")]
    Failed {
        /// What makepkg was to do.
        what: &'static str,
        /// What it says.
        message: String,
    },
}

/// One thing that makepkg does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Task {
    /// Fetch the sources and compute their checksums.
    Checksums,
    /// Write `.SRCINFO`.
    Summary,
}

impl Task {
    const fn what(self) -> &'static str {
        match self {
            Self::Checksums => "fetching the sources and computing their checksums",
            Self::Summary => "writing .SRCINFO",
        }
    }

    const fn network(self) -> Network {
        match self {
            Self::Checksums => Network::Shared,
            Self::Summary => Network::None,
        }
    }

    /// What is printed goes into a file of its own: everything else is for people.
    fn command(self) -> Vec<String> {
        let script = match self {
            Self::Checksums => "exec makepkg --geninteg --nocolor --noprogressbar >/pkgdest/printed",
            Self::Summary => "exec makepkg --printsrcinfo --nocolor >/pkgdest/printed",
        };
        ["/bin/sh", "-c", script].map(str::to_owned).into()
    }
}

impl Refresher {
    /// The folder of a package with new checksums in its PKGBUILD, where it has any, and the `.SRCINFO` that
    /// belongs to it. Only these two files change.
    ///
    /// # Errors
    /// [`RefreshError`], which says what could not be done and why.
    pub async fn refresh(&self, folder: Folder) -> Result<Folder, RefreshError> {
        self.run_all(folder, &[Task::Checksums, Task::Summary]).await
    }

    /// The folder of a package with the `.SRCINFO` that belongs to it.
    ///
    /// # Errors
    /// As [`Refresher::refresh`].
    pub async fn summarize(&self, folder: Folder) -> Result<Folder, RefreshError> {
        self.run_all(folder, &[Task::Summary]).await
    }

    async fn run_all(&self, mut folder: Folder, tasks: &'static [Task]) -> Result<Folder, RefreshError> {
        let this = self.clone();
        let work = move |workspace: &Workspace, user| this.work(workspace, user, &mut folder, tasks).map(|()| folder);
        self.in_workspace(work).await
    }

    /// Works in a workspace that goes afterwards, on a thread that stays until the end: a sandbox does not outlive
    /// the thread that started it.
    pub(super) async fn in_workspace<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Workspace, BuildUser) -> Result<T, RefreshError> + Send + 'static,
    ) -> Result<T, RefreshError> {
        let this = self.clone();
        let whole = tokio::task::spawn_blocking(move || {
            let user = BuildUser::resolve(&this.user)?;
            let scratch = this.place(user)?;
            ensure_free(scratch.path(), MIN_FREE)?;
            let workspace = Workspace::create(scratch.path().join("work"), user)?;
            let done = work(&workspace, user);
            // Before the scratch goes: it may hold directories that were closed to their owner.
            workspace.remove()?;
            done
        });
        whole.await.expect("nothing panics in it")
    }

    fn place(&self, user: BuildUser) -> Result<Scratch, RefreshError> {
        let made = make_enterable(&self.work_dir).is_ok();
        let scratch = if made && user.check_access(&self.work_dir).is_ok() {
            Scratch::within(&self.work_dir)?
        } else {
            Scratch::new()?
        };
        let opened = fs::set_permissions(scratch.path(), Permissions::from_mode(0o711));
        opened.map_err(|error| FsError::new("open", scratch.path(), error))?;
        user.check_access(scratch.path())?;
        Ok(scratch)
    }

    fn work(
        &self,
        workspace: &Workspace,
        user: BuildUser,
        folder: &mut Folder,
        tasks: &[Task],
    ) -> Result<(), RefreshError> {
        workspace.write_package(folder)?;
        for (name, text) in self.job.config_files() {
            workspace.write_config(name, &text)?;
        }
        let pkgbuild = folder.get(PKGBUILD).unwrap_or_default().to_vec();
        if tasks.contains(&Task::Checksums) && pkgbuild::has_checksums(&pkgbuild)? {
            let printed = self.run(Task::Checksums, workspace, user)?;
            let verified = pkgbuild::with_checksums(&pkgbuild, &printed)?;
            workspace.replace_pkgbuild(&verified)?;
            put(folder, PKGBUILD, &verified);
        }
        let summary = self.run(Task::Summary, workspace, user)?;
        put(folder, SRCINFO, &summary);
        Ok(())
    }

    fn run(&self, task: Task, workspace: &Workspace, user: BuildUser) -> Result<Vec<u8>, RefreshError> {
        let what = task.what();
        let sandbox = self.sandbox(workspace, task.network(), task.command());
        let program = Program::new("bwrap").args(sandbox.arguments()).current_dir("/");
        let program = if user.switch { program.user(user.uid, user.gid) } else { program };
        let time = if task.network() == Network::Shared { self.timeout } else { SHORT };
        let program = program.stdin_bytes(ANSWER.to_vec()).timeout(time).output_limit(PRINTED);
        let output = program.run_blocking().map_err(|source| RefreshError::Process { what, source })?;
        if !output.status.success() {
            let complaint = output.stderr_text();
            if !complaint.trim().is_empty() {
                return Err(RefreshError::Sandbox(explain(&complaint)));
            }
            return Err(RefreshError::Failed { what, message: last_words(&output.stdout) });
        }
        let printed = workspace.take_printed()?;
        printed.ok_or_else(|| RefreshError::Failed { what, message: "makepkg printed nothing".to_owned() })
    }

    /// The sandbox around a command that works in a workspace.
    pub(super) fn sandbox(&self, workspace: &Workspace, network: Network, command: Vec<String>) -> SandboxSpec {
        let mount = |from: &str, to, access| Mount { from: workspace.path(from), to, access };
        let mut env = self.job.env();
        if network == Network::Shared {
            env.extend(self.job.proxies.clone());
        }
        SandboxSpec {
            system: self.job.system.clone(),
            network,
            mounts: vec![
                mount("etc/makepkg.conf", "/etc/pkgwarden/makepkg.conf", Access::Read),
                mount("etc/passwd", "/etc/passwd", Access::Read),
                mount("etc/group", "/etc/group", Access::Read),
                mount("start", "/startdir", Access::Write),
                mount("build", "/build", Access::Write),
                mount("pkgdest", "/pkgdest", Access::Write),
                mount("srcdest", "/srcdest", Access::Write),
            ],
            repositories: Vec::new(),
            env,
            directory: "/startdir",
            command,
        }
    }
}

fn put(folder: &mut Folder, path: &str, bytes: &[u8]) {
    let mode = folder.files.get(path).map_or(FileMode::Regular, |file| file.mode);
    folder.files.insert(path.to_owned(), File { mode, bytes: bytes.into() });
}

/// What makepkg says went wrong, in one line and safe to show.
fn last_words(printed: &[u8]) -> String {
    let text = String::from_utf8_lossy(printed);
    let errors: Vec<&str> = text.lines().filter(|line| line.contains("ERROR:") || line.starts_with("curl:")).collect();
    let lines = if errors.is_empty() { text.lines().rev().take(1).collect() } else { errors };
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let words: Vec<&str> = lines.iter().map(|line| line.trim_start_matches(['=', '>', ' '])).collect();
    words.join("; ").chars().map(plain).take(400).collect()
}

/// What the sandboxes of a refresher share.
#[must_use]
pub fn job(arch: &str, proxies: BTreeMap<String, String>) -> Job {
    Job {
        system: System::of_this_machine(),
        arch: arch.to_owned(),
        repositories: Vec::new(),
        packager: "Unknown Packager".to_owned(),
        source_date_epoch: 0,
        skip_exit_code: 0,
        allow_prohibited: true,
        jobs: None,
        verified: false,
        proxies,
        variables: BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refresher(dir: &tempfile::TempDir, timeout: Duration) -> Refresher {
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).expect("ours");
        let work_dir = dir.path().join("work");
        Refresher { user: "nobody".to_owned(), work_dir, job: job("x86_64", BTreeMap::new()), timeout }
    }

    fn package(top: &str, source: &str, sum: &str) -> Folder {
        let text = format!(
            "pkgname=foo\npkgver=1\npkgrel=1\narch=(any)\nsource=({source})\nsha256sums=({sum})\n{top}\npackage() {{ :; }}\n"
        );
        Folder::default().with("PKGBUILD", text).with("local", "hello\n")
    }

    fn text<'f>(folder: &'f Folder, path: &str) -> &'f str {
        std::str::from_utf8(folder.get(path).expect("there")).expect("text")
    }

    const ZERO: &str = "0000000000000000000000000000000000000000000000000000000000000000";
    /// `sha256sum` of `hello\n`.
    const HELLO: &str = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";

    #[tokio::test]
    async fn checksums_and_the_summary_are_those_of_makepkg_and_nothing_is_left() {
        let dir = tempfile::tempdir().expect("dir");
        let folder = package("", "local", ZERO);
        let new = refresher(&dir, Duration::from_mins(2)).refresh(folder.clone()).await.expect("refreshed");
        assert_eq!(text(&new, "PKGBUILD"), text(&folder, "PKGBUILD").replace(ZERO, HELLO));
        assert!(text(&new, ".SRCINFO").contains(&format!("\tsha256sums = {HELLO}\n")), "{}", text(&new, ".SRCINFO"));
        assert_eq!(fs::read_dir(dir.path().join("work")).expect("made").count(), 0);
    }

    #[tokio::test]
    async fn a_package_that_cannot_be_fetched_or_does_not_end_is_told_in_bounded_time() {
        let dir = tempfile::tempdir().expect("dir");
        let missing = package("", "http://127.0.0.1:1/x", ZERO);
        let missing = refresher(&dir, Duration::from_mins(2)).refresh(missing).await.expect_err("nobody listens");
        assert!(
            missing.to_string().starts_with("fetching the sources and computing their checksums failed: "),
            "{missing}"
        );
        let endless = package("while :; do :; done", "local", ZERO);
        let endless = refresher(&dir, Duration::from_secs(5)).refresh(endless).await.expect_err("it never ends");
        assert!(matches!(endless, RefreshError::Process { source: ProcessError::TimedOut { .. }, .. }), "{endless:?}");
        assert_eq!(fs::read_dir(dir.path().join("work")).expect("made").count(), 0);
    }

    #[tokio::test]
    async fn what_a_package_runs_sees_no_secrets_and_nothing_of_this_machine() {
        let dir = tempfile::tempdir().expect("dir");
        fs::write(dir.path().join("secret"), "hush").expect("written");
        let look =
            format!("pkgdesc=\"$(cat {0}/secret 2>&1; ls {0} 2>&1; env | grep -c PKGWARDEN)\"", dir.path().display());
        let new = refresher(&dir, Duration::from_mins(2)).summarize(package(&look, "local", ZERO)).await.expect("made");
        assert!(!text(&new, ".SRCINFO").contains("hush"), "{}", text(&new, ".SRCINFO"));
        assert!(text(&new, ".SRCINFO").contains("No such file"), "{}", text(&new, ".SRCINFO"));
    }
}
