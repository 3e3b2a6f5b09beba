//! Builds by a program of the operator's.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use pkgwarden::domain::folder::Folder;
use pkgwarden::executor::command::{CommandConfig, CommandExecutor};
use pkgwarden::executor::{BuildOrder, Executor};
use pkgwarden::logstore::LogStore;
use pkgwarden::sys::clock::SystemClock;

use super::conformance::{self, HALF, Rig, Story, WHOLE, conforms};

/// An executor that has builds carried out by the script `program` of this directory.
pub fn open(dir: &Path) -> BoxFuture<'static, (Arc<dyn Executor>, LogStore)> {
    let dir = dir.to_owned();
    async move {
        let logs = LogStore::new(dir.join("logs")).unwrap();
        let words = vec!["/bin/sh".to_owned(), dir.join("program").display().to_string()];
        let config = CommandConfig { words, env: Vec::new(), work_dir: dir.join("commands") };
        let executor = CommandExecutor::start(config, logs.clone(), None, Arc::new(SystemClock)).unwrap();
        (Arc::new(executor) as Arc<dyn Executor>, logs)
    }
    .boxed()
}

/// A machine with a program that carries out builds.
struct CommandRig {
    dir: tempfile::TempDir,
}

impl CommandRig {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let go = dir.path().join("go");
        fs::create_dir(&go).unwrap();
        let script = format!(
            "GO={}/$(basename \"$PWD\")\necho begun >>\"$GO.begun\"\nstory=$(cat package/PKGBUILD)\n\
             [ \"$story\" != waits ] || mkfifo \"$GO\"\necho '{HALF}'\ncase $story in\n\
             fails) exit 1 ;;\nwaits) read -r _ <\"$GO\" ;;\nesac\necho '{WHOLE}'\n\
             echo x >artefacts/small-1-1-any.pkg.tar.zst\n",
            go.display()
        );
        fs::write(dir.path().join("program"), script).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Rig for CommandRig {
    fn open(&self) -> BoxFuture<'static, (Arc<dyn Executor>, LogStore)> {
        open(self.dir.path())
    }

    fn order(&self, attempt: &str, story: Story) -> BuildOrder {
        conformance::order(attempt, Folder::default().with("PKGBUILD", story.word()), Vec::new())
    }

    fn let_go(&self, attempt: &str) -> BoxFuture<'_, ()> {
        let go = self.path("go").join(attempt);
        async move { tokio::task::spawn_blocking(move || fs::write(go, "on\n")).await.unwrap().unwrap() }.boxed()
    }

    fn lose(&self, attempt: &str) -> BoxFuture<'_, ()> {
        let pid = fs::read_to_string(self.path("commands").join(attempt).join("pid")).unwrap();
        let group = pid.split_whitespace().next().unwrap().parse().unwrap();
        killpg(Pid::from_raw(group), Signal::SIGKILL).unwrap();
        async {}.boxed()
    }

    fn begun(&self, attempt: &str) -> Option<usize> {
        let text = fs::read_to_string(self.path("go").join(format!("{attempt}.begun"))).unwrap_or_default();
        Some(text.lines().count())
    }

    fn leftovers(&self) -> Vec<String> {
        crate::support::scene::names_in(&self.path("commands"))
    }
}

conforms!(CommandRig::new());
