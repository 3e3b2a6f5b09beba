//! Builds with the real makepkg, pacman and bubblewrap of this machine.

mod building;
mod caching;
mod ending;
mod imaged;
mod interfering;
mod isolation;
mod signatures;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::builder::pacman::PackageRepository;
use crate::domain::folder::Folder;
use crate::domain::name::{Oid, PkgBase};
use crate::domain::policy::Bump;
use crate::domain::version::Version;
use crate::sys::process::Program;

/// A machine with an executor and a package repository.
struct World {
    dir: tempfile::TempDir,
    logs: LogStore,
    executor: LocalExecutor,
}

impl World {
    fn new() -> Self {
        Self::with(1, crate::logstore::DEFAULT_LIMIT)
    }

    fn with(slots: usize, log_limit: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(dir.path().join("repo")).unwrap();
        let logs = LogStore::with_limit(dir.path().join("logs"), log_limit).unwrap();
        let config = LocalConfig { slots, installed: None, ..LocalConfig::under(dir.path()) };
        let executor = LocalExecutor::open(config, logs.clone()).unwrap();
        Self { dir, logs, executor }
    }

    /// Goes on with another setting for signatures.
    fn reopen(&mut self, pgp: crate::domain::signature::Verification) {
        let config = LocalConfig { installed: None, pgp, ..LocalConfig::under(self.dir.path()) };
        self.executor = LocalExecutor::open(config, self.logs.clone()).unwrap();
    }

    /// Goes on as a machine with this keyring of pacman.
    fn trust(&mut self, keyring: Option<std::path::PathBuf>) {
        let config = LocalConfig { installed: None, keyring, ..LocalConfig::under(self.dir.path()) };
        self.executor = LocalExecutor::open(config, self.logs.clone()).unwrap();
    }

    fn order(&self, attempt: &str, pkgbase: &str, files: Folder) -> BuildOrder {
        let server = Server::Directory(self.dir.path().join("repo"));
        BuildOrder {
            attempt: attempt.into(),
            repository: "mine".into(),
            url: None,
            arch: "x86_64".into(),
            pkgbase: PkgBase::new(pkgbase).unwrap(),
            commit: Oid::from_bytes([7; 20]),
            files,
            expected_version: None,
            class: None,
            bump: None,
            package_repositories: vec![PackageRepository { name: "mine".into(), server, sig_level: None, keys: None }],
            published: Vec::new(),
            timeout: Duration::from_hours(1),
            extra_timeout: 1.0,
            cache_sources: false,
            allow_prohibited: false,
            caches: crate::domain::cache::Plan::default(),
            source_date_epoch: 1_700_000_000,
            proposal: None,
            skip_exit_code: 123,
            route: crate::domain::chaotic::Route::default(),
        }
    }

    /// An order for a package whose PKGBUILD has these lines beside its name and version.
    fn small(&self, attempt: &str, lines: &str) -> BuildOrder {
        self.order(attempt, "small", Folder::default().with("PKGBUILD", pkgbuild("small", lines)))
    }

    async fn build(&self, order: BuildOrder) -> AttemptReport {
        let handle = self.executor.submit(order).await.unwrap();
        self.executor.finished(&handle).await.unwrap()
    }

    fn log(&self, attempt: &str) -> String {
        String::from_utf8(self.logs.read(attempt, 0, usize::MAX).unwrap()).unwrap()
    }

    /// Builds, and shows the log if it does not succeed.
    async fn succeed(&self, order: BuildOrder) -> AttemptReport {
        let attempt = order.attempt.clone();
        let report = self.build(order).await;
        assert_eq!(report.ending, Ending::Done(Outcome::Succeeded), "{report:?}\n{}", self.log(&attempt));
        report
    }

    /// Puts what was built into the repository, as a publisher does.
    async fn publish(&self, report: &AttemptReport) {
        let repo = self.dir.path().join("repo");
        for artefact in &report.artefacts {
            fs::copy(&artefact.path, repo.join(&artefact.name)).unwrap();
            let add = Program::new("repo-add").args(["-n", "mine.db.tar.zst", &artefact.name]).current_dir(&repo);
            let output = add.run().await.unwrap();
            assert!(output.status.success(), "{}", output.stderr_text());
        }
    }

    /// Waits until the log of an attempt holds some text.
    async fn wait_for_log(&self, attempt: &str, text: &str) {
        let mut news = self.logs.subscribe(attempt).unwrap();
        while !self.log(attempt).contains(text) {
            news.changed().await.unwrap_or_else(|_| panic!("the log ended without `{text}`: {}", self.log(attempt)));
        }
    }

    /// What there is in the directories of attempts.
    fn leftovers(&self) -> Vec<String> {
        let work = self.dir.path().join("work");
        let files = walkdir::WalkDir::new(&work).min_depth(1).into_iter().map(|entry| entry.unwrap().into_path());
        files.map(|path| path.strip_prefix(&work).unwrap().to_string_lossy().into_owned()).collect()
    }
}

fn handle(attempt: &str) -> Handle {
    Handle { executor: NAME.into(), attempt: attempt.into() }
}

fn pkgbuild(name: &str, lines: &str) -> String {
    format!("pkgname={name}\npkgver=1.0\npkgrel=1\npkgdesc=x\narch=(x86_64)\nlicense=(GPL)\n{lines}\n")
}

const PACKAGE: &str = "package() { install -d \"$pkgdir/usr/share/small\"; echo x >\"$pkgdir/usr/share/small/x\"; }";

/// A C library of our own.
fn library() -> Folder {
    let lines = r#"
source=(answer.c answer.h)
sha256sums=(SKIP SKIP)
build() { gcc -shared -fPIC -Wl,-soname,libanswer.so.1 -o libanswer.so.1 answer.c; }
package() {
  install -Dm755 libanswer.so.1 "$pkgdir/usr/lib/libanswer.so.1"
  ln -s libanswer.so.1 "$pkgdir/usr/lib/libanswer.so"
  install -Dm644 answer.h "$pkgdir/usr/include/answer.h"
}"#;
    Folder::default()
        .with("PKGBUILD", pkgbuild("libanswer", lines))
        .with("answer.h", "int answer(void);\n")
        .with("answer.c", "#include \"answer.h\"\nint answer(void) { return 42; }\n")
}

/// One member of a package file.
async fn member(package: &Path, name: &str) -> String {
    let output = Program::new("bsdtar").args(["-xOf", package.to_str().unwrap(), name]).run().await.unwrap();
    assert!(output.status.success(), "{}", output.stderr_text());
    String::from_utf8(output.stdout).unwrap()
}
