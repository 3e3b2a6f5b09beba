//! SIGKILL between any two steps of a publication: what pacman reads is whole at every moment, and the
//! next publication ends as if nothing had happened.
//!
//! The publication runs in a process of its own: this test program, started again for one test.
#![cfg(feature = "failpoints")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use pkgwarden::domain::name::PkgName;
use pkgwarden::domain::version::Version;
use pkgwarden::publish::{Expected, Generation, Publisher};
use pkgwarden::sys::process::Program;
use sha2::{Digest as _, Sha256};

use crate::support::scene::{base, names_in};

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

/// Starts [`publishes_until_killed`] and has it killed at this step.
async fn killed_at(step: &str, folder: &Path) {
    let child = Program::new(std::env::current_exe().unwrap())
        .args(["--exact", "scenarios::publishing::publishes_until_killed", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .env("FAILPOINTS", format!("{step}=return"));
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
