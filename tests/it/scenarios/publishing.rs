//! SIGKILL between any two steps of a publication, or while `repo-add` is at work, which is not killed with it: what
//! pacman reads is whole at every moment, and the next publication ends as if nothing had happened. And programs of
//! pacman that write something else than what was checked.
//!
//! The publication runs in a process of its own: this test program, started again for one test.
#![cfg(feature = "failpoints")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use pkgwarden::domain::name::PkgName;
use pkgwarden::domain::version::Version;
use pkgwarden::publish::{Expected, Generation, Publisher};
use pkgwarden::sys::process::{Child, Program};
use sha2::{Digest as _, Sha256};

use super::full_disk::until;
use crate::support::scene::{base, names_in, write_program};

/// Where the process that is killed finds its folder.
const FOLDER: &str = "PKGWARDEN_TEST_PUBLISH_IN";

/// A package file as a build of `foo` leaves it.
fn built(folder: &Path, name: &str, version: &str) -> PathBuf {
    let info = format!(
        "pkgname = {name}\npkgbase = foo\npkgver = {version}\npkgdesc = \nurl = \nbuilddate = 1700000000\n\
         packager = Nobody\nsize = 1\narch = any\n"
    );
    let mut archive = tar::Builder::new(Vec::new());
    for (path, text) in [(".PKGINFO", info.as_str()), ("usr/share/content", version)] {
        let mut header = tar::Header::new_ustar();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, path, text.as_bytes()).unwrap();
    }
    let path = folder.join(format!("{name}-{version}-any.pkg.tar.zst"));
    std::fs::write(&path, zstd::encode_all(&*archive.into_inner().unwrap(), 1).unwrap()).unwrap();
    path
}

/// Publishes a version of `foo`; the second one has lost a member and gained another.
async fn publish(folder: &Path, version: &str) -> Generation {
    let members = if version.starts_with('1') { ["foo", "foo-docs"] } else { ["foo", "foo-tools"] };
    let files = members.map(|name| built(folder, name, version));
    let expected = Expected {
        pkgbase: base("foo"),
        version: Some(Version::new(version)),
        arch: "x86_64".to_owned(),
        members: members.iter().map(|name| PkgName::new(name).unwrap()).collect(),
        build: None,
        allow_prohibited: false,
        official: std::sync::Arc::default(),
    };
    Publisher::new(folder.join("repo"), "test").publish(&files, &expected).await.unwrap()
}

/// Names and versions, every file of which is there with the checksum the database gives.
fn published(folder: &Path) -> Vec<String> {
    let repo = folder.join("repo");
    let current = Publisher::new(&repo, "test").current().unwrap();
    for package in &current {
        let bytes = std::fs::read(repo.join(&package.file)).unwrap();
        let digest = Sha256::digest(&bytes).iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        });
        assert_eq!(digest, package.sha256, "{}", package.file);
    }
    current.iter().map(|package| format!("{} {}", package.name, package.version)).collect()
}

#[tokio::test]
#[ignore = "the process that `a_publication_killed_anywhere_is_whole_and_is_finished_by_the_next` kills"]
async fn publishes_until_killed() {
    let folder = pkgwarden::sys::env::var(FOLDER).expect("started by the test");
    let _fail_points = fail::FailScenario::setup();
    publish(Path::new(&folder), "2-1").await;
}

/// [`publishes_until_killed`] as a process of its own.
fn publication(folder: &Path) -> Program {
    Program::new(std::env::current_exe().unwrap())
        .args(["--exact", "scenarios::publishing::publishes_until_killed", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
}

/// Has [`publishes_until_killed`] killed at this step.
async fn killed_at(step: &str, folder: &Path) {
    let child = publication(folder).env("FAILPOINTS", format!("{step}=return"));
    let ended = child.run().await.unwrap();
    assert_eq!(ended.status.code(), None, "{step} kills: {}", ended.stderr_text());
}

#[tokio::test]
async fn a_publication_killed_anywhere_is_whole_and_is_finished_by_the_next() {
    let (before, after) = (["foo 1-1", "foo-docs 1-1"], ["foo 2-1", "foo-tools 2-1"]);
    let undisturbed = tempfile::tempdir().unwrap();
    publish(undisturbed.path(), "1-1").await;
    publish(undisturbed.path(), "2-1").await;
    for step in ["checked", "signed", "begun", "placed", "written", "sealed", "completed", "swapped"] {
        let dir = tempfile::tempdir().unwrap();
        publish(dir.path(), "1-1").await;
        killed_at(&format!("publish::{step}"), dir.path()).await;
        assert_eq!(published(dir.path()), if step == "swapped" { after } else { before }, "{step}");
        publish(dir.path(), "2-1").await;
        assert_eq!(published(dir.path()), after, "{step}");
        let [left, expected] = [&dir, &undisturbed].map(|dir| names_in(&dir.path().join("repo")));
        assert_eq!(left, expected, "{step}: nothing is left over");
    }
}

/// Has `folder/bin/bsdtar`, which `repo-add` packs and reads with, begin with this; `PATH` to find it first.
fn instead_of_bsdtar(folder: &Path, begins: &str) -> String {
    let bin = folder.join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    let path = pkgwarden::sys::env::var("PATH").unwrap();
    write_program(&bin.join("bsdtar"), &format!("#!/bin/sh\n{begins}\nPATH='{path}' exec bsdtar \"$@\"\n"));
    format!("{}:{path}", bin.display())
}

/// A publication that was killed while `repo-add` was about to write the database.
struct Orphaned {
    gate: PathBuf,
    repo_add: String,
}

impl Orphaned {
    async fn in_folder(folder: &Path) -> Self {
        let (gate, held) = (folder.join("gate"), folder.join("held"));
        mkfifo(&gate, Mode::S_IRWXU).unwrap();
        let (at, told) = (gate.display(), held.display());
        let waits =
            format!("if [ \"$1\" = -cf ] && [ ! -e '{told}' ]; then echo $PPID > '{told}'; read -r _ < '{at}'; fi");
        let path = instead_of_bsdtar(folder, &waits);
        let mut child: Child = publication(folder).env("PATH", path).spawn().unwrap();
        until(async || std::fs::read_to_string(&held).is_ok_and(|pid| pid.ends_with('\n'))).await;
        child.kill();
        assert_eq!(child.wait().await.unwrap().code(), None, "it was killed");
        let orphan = Self { gate, repo_add: std::fs::read_to_string(&held).unwrap().trim().to_owned() };
        assert!(orphan.lives(), "nobody ends it with the process that was killed");
        orphan
    }

    fn lives(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.repo_add)).unwrap_or_default();
        stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
    }

    /// Lets it go on, to its end.
    async fn goes_on(&self) {
        let gate = self.gate.clone();
        tokio::task::spawn_blocking(move || std::fs::write(gate, "go\n").unwrap()).await.unwrap();
        until(async || !self.lives()).await;
    }
}

/// What `repo verify` says of it.
async fn verify(folder: &Path) -> String {
    let program = Program::new(env!("CARGO_BIN_EXE_pkgwarden")).args(["repo", "verify"]).arg(folder.join("repo"));
    let output = program.run().await.unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &output.stderr_text()
}

#[tokio::test]
async fn what_repo_add_still_writes_after_its_controller_was_killed_is_in_nothing_that_is_published() {
    const WHOLE: &str = "test, generation 2: 2 packages, not signed: whole\n";
    let after = ["foo 3-1", "foo-tools 3-1"];
    let undisturbed = tempfile::tempdir().unwrap();
    publish(undisturbed.path(), "1-1").await;
    publish(undisturbed.path(), "3-1").await;
    // It goes on after the next publication, or before it.
    for late in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path();
        publish(folder, "1-1").await;
        let orphan = Orphaned::in_folder(folder).await;
        if !late {
            orphan.goes_on().await;
        }
        assert_eq!(published(folder), ["foo 1-1", "foo-docs 1-1"]);
        let generation = publish(folder, "3-1").await;
        assert_eq!(generation.number, 2, "the number that the killed one had begun");
        if late {
            orphan.goes_on().await;
        }
        assert_eq!(published(folder), after, "late: {late}");
        assert_eq!(verify(folder).await, WHOLE, "late: {late}");
        for part in ["repo", "repo/.generations", "repo/.generations/2"] {
            let [left, expected] = [folder, undisturbed.path()].map(|dir| names_in(&dir.join(part)));
            assert_eq!(left, expected, "late: {late}: nothing is left over in {part}");
        }
    }
}

/// Whatever reads a package otherwise than we do: pacman would offer everybody to replace `bash` by `foo`.
#[tokio::test]
async fn a_database_that_says_something_else_than_what_was_checked_is_not_published() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    publish(folder, "1-1").await;
    // Only where repo-add reads it, as a shell does.
    let lies = "case $(cat /proc/$PPID/comm) in repo-add | bash) [ \"$1\" = -xOqf ] && echo 'replaces = bash' ;; esac";
    let path = instead_of_bsdtar(folder, lies);
    let ended = publication(folder).env("PATH", path).run().await.unwrap();
    let said = String::from_utf8_lossy(&ended.stdout).into_owned() + &ended.stderr_text();
    assert!(!ended.status.success(), "{said}");
    for told in ["WrongDatabase", "foo-2-1-any.pkg.tar.zst", "%REPLACES%", "bash"] {
        assert!(said.contains(told), "{told}: {said}");
    }
    assert_eq!(published(folder), ["foo 1-1", "foo-docs 1-1"]);
    assert_eq!(verify(folder).await, "test, generation 1: 2 packages, not signed: whole\n");
    publish(folder, "2-1").await;
    assert_eq!(published(folder), ["foo 2-1", "foo-tools 2-1"]);
}
