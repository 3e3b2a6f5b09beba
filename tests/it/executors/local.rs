//! Builds on this machine, by the real makepkg in the real sandbox.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pkgwarden::builder::pacman::{PackageRepository, Server};
use pkgwarden::domain::folder::Folder;
use pkgwarden::executor::local::{LocalConfig, LocalExecutor};
use pkgwarden::executor::{BuildOrder, Executor};
use pkgwarden::logstore::LogStore;

use super::conformance::{self, Rig, Story, conforms};

/// A machine that builds.
struct LocalRig {
    dir: tempfile::TempDir,
}

impl LocalRig {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(dir.path().join("repo")).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What a build waits for: a file in its package folder.
    fn go(&self, attempt: &str) -> PathBuf {
        self.path("work").join(attempt).join("tree/start/go")
    }
}

impl Rig for LocalRig {
    fn open(&self) -> BoxFuture<'static, (Arc<dyn Executor>, LogStore)> {
        let (dir, logs) = (self.dir.path().to_owned(), self.path("logs"));
        async move {
            let logs = LogStore::new(logs).unwrap();
            let config = LocalConfig { installed: None, ..LocalConfig::under(&dir) };
            (Arc::new(LocalExecutor::open(config, logs.clone()).unwrap()) as Arc<dyn Executor>, logs)
        }
        .boxed()
    }

    fn order(&self, attempt: &str, story: Story) -> BuildOrder {
        let server = Server::Directory(self.path("repo"));
        let repository = PackageRepository { name: "mine".into(), server, sig_level: None, keys: None };
        conformance::order(attempt, Folder::default().with("PKGBUILD", story.recipe()), vec![repository])
    }

    fn let_go(&self, attempt: &str) -> BoxFuture<'_, ()> {
        fs::write(self.go(attempt), "").unwrap();
        async {}.boxed()
    }

    fn lose(&self, attempt: &str) -> BoxFuture<'_, ()> {
        let ours = self.path("work").join(attempt).display().to_string();
        for process in fs::read_dir("/proc").unwrap() {
            let path = process.unwrap().path();
            let words = fs::read(path.join("cmdline")).unwrap_or_default();
            let is_sandbox = words.split(|&byte| byte == 0).next().is_some_and(|word| word.ends_with(b"bwrap"));
            if is_sandbox && String::from_utf8_lossy(&words).contains(&ours) {
                let id = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
                // Its child may have gone with it.
                let _ = kill(Pid::from_raw(id), Signal::SIGKILL);
            }
        }
        async {}.boxed()
    }

    fn leftovers(&self) -> Vec<String> {
        crate::support::scene::names_in(&self.path("work"))
    }
}

conforms!(LocalRig::new());
