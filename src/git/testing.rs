//! Real repositories for tests, made by the git program.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use tempfile::TempDir;

use super::{NewCommit, Remote, Repository};
use crate::domain::folder::{File, FileMode, Folder};
use crate::domain::name::Oid;
use crate::domain::policy::Identity;
use crate::sys::process::Program;

/// A folder with repositories in it.
pub(super) struct World {
    dir: TempDir,
}

impl World {
    pub(super) fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a temporary folder") }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A new bare repository.
    pub(super) fn bare(&self, name: &str) -> Repository {
        Repository::create_workspace(&self.path(name), None).expect("created")
    }

    /// A bare repository `hub` with one commit on `main`, and a workspace `work` with its objects.
    pub(super) fn hub_and_workspace(&self) -> (Repository, Repository, Oid) {
        let hub = self.bare("hub");
        let first = commit(&hub, &[], &[("README", "hello")]);
        self.set("hub", "refs/heads/main", first);
        let work = Repository::create_workspace(&self.path("work"), Some(hub.path())).expect("created");
        (hub, work, first)
    }

    /// `hub` as a remote of `work`.
    pub(super) fn remote(&self) -> Remote {
        Remote::new(self.path("work"), self.path("hub").display().to_string())
    }

    pub(super) fn set(&self, repository: &str, name: &str, id: Oid) {
        self.git(repository, &["update-ref", name, &id.to_string()]);
    }

    pub(super) fn get(&self, repository: &str, name: &str) -> Option<Oid> {
        let found = self.git(repository, &["for-each-ref", "--format=%(objectname)", name]);
        found.trim().parse().ok()
    }

    /// Runs git in a repository, and returns what it prints.
    pub(super) fn git(&self, repository: &str, args: &[&str]) -> String {
        git(&self.path(repository), args, &[])
    }

    /// Has `hub` run this script when somebody pushes.
    pub(super) fn hook(&self, name: &str, script: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.path("hub/hooks").join(name);
        std::fs::create_dir_all(path.parent().expect("has one")).expect("folder");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("hook");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("mode");
    }
}

pub(super) fn git(repository: &Path, args: &[&str], stdin: &[u8]) -> String {
    let program = Program::new("git").args(args).current_dir(repository).stdin_bytes(stdin.to_vec());
    let program = program.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    let who = ["AUTHOR", "COMMITTER"];
    let program = who.iter().fold(program, |program, who| {
        program.env(format!("GIT_{who}_NAME"), "T").env(format!("GIT_{who}_EMAIL"), "t@example.org")
    });
    let output = program.run_blocking().expect("git runs");
    assert!(output.status.success(), "git {args:?}: {}", output.stderr_text());
    String::from_utf8(output.stdout).expect("text")
}

pub(super) fn folder(files: &[(&str, &str)]) -> Folder {
    files.iter().fold(Folder::default(), |folder, (path, text)| folder.with(path, text))
}

pub(super) fn link(mut folder: Folder, path: &str, target: &str) -> Folder {
    folder.files.insert(path.to_owned(), File { mode: FileMode::Symlink, bytes: target.as_bytes().into() });
    folder
}

pub(super) fn commit(repository: &Repository, parents: &[Oid], files: &[(&str, &str)]) -> Oid {
    commit_at(repository, parents, files, "message", 1_700_000_000)
}

pub(super) fn commit_at(
    repository: &Repository,
    parents: &[Oid],
    files: &[(&str, &str)],
    message: &str,
    second: i64,
) -> Oid {
    let tree = repository.write_folder(&folder(files)).expect("tree");
    let identity = Identity { name: "T".to_owned(), email: "t@example.org".to_owned() };
    let time = Timestamp::from_second(second).expect("in range");
    let new = NewCommit { tree, parents: parents.to_vec(), message: message.to_owned(), identity, time };
    repository.commit(&new).expect("commit")
}
