//! Builds with the real makepkg, pacman and bubblewrap of this machine.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

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

    fn order(&self, attempt: &str, pkgbase: &str, files: Folder) -> BuildOrder {
        let server = Server::Directory(self.dir.path().join("repo"));
        BuildOrder {
            attempt: attempt.into(),
            repository: "mine".into(),
            arch: "x86_64".into(),
            pkgbase: PkgBase::new(pkgbase).unwrap(),
            commit: Oid::from_bytes([7; 20]),
            files,
            expected_version: None,
            bump: None,
            package_repositories: vec![PackageRepository { name: "mine".into(), server, sig_level: None }],
            published: Vec::new(),
            timeout: Duration::from_hours(1),
            extra_timeout: 1.0,
            cache_sources: false,
            source_date_epoch: 1_700_000_000,
            skip_exit_code: 123,
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

/// A program that needs it.
fn program() -> Folder {
    let lines = r#"
depends=('libanswer>=1')
source=(ask.c)
sha256sums=(SKIP)
build() { gcc -o ask ask.c -lanswer; }
check() { [ "$(./ask)" = 42 ]; }
package() { install -Dm755 ask "$pkgdir/usr/bin/ask"; }"#;
    Folder::default()
        .with("PKGBUILD", pkgbuild("ask", lines))
        .with("ask.c", "#include <answer.h>\n#include <stdio.h>\nint main(void) { printf(\"%d\\n\", answer()); }\n")
}

/// One member of a package file.
async fn member(package: &Path, name: &str) -> String {
    let output = Program::new("bsdtar").args(["-xOf", package.to_str().unwrap(), name]).run().await.unwrap();
    assert!(output.status.success(), "{}", output.stderr_text());
    String::from_utf8(output.stdout).unwrap()
}

/// Serves the files of a directory over HTTP until the test ends; says where.
async fn serve(dir: &Path) -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, dir) = (listener.local_addr().unwrap(), dir.to_owned());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            let read = stream.read(&mut request).await.unwrap_or_default();
            let request = String::from_utf8_lossy(&request[..read]).into_owned();
            let path = request.split([' ', '?']).nth(1).unwrap_or_default().trim_start_matches('/');
            let (status, body) = match fs::read(dir.join(path)) {
                Ok(body) => ("200 OK", body),
                Err(_) => ("404 Not Found", Vec::new()),
            };
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(&[head.as_bytes(), &body].concat()).await;
        }
    });
    address
}

async fn git(dir: &Path, args: &[&str]) {
    let identity = ["-c", "user.name=t", "-c", "user.email=t@example.invalid"];
    let output = Program::new("git").args(identity).args(args).current_dir(dir).run().await.unwrap();
    assert!(output.status.success(), "{}", output.stderr_text());
}

/// Whether a process of this machine has `marker` among its arguments.
fn running(marker: &str) -> bool {
    let processes =
        fs::read_dir("/proc").unwrap().filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok());
    let mut processes = processes.map(|cmdline| String::from_utf8_lossy(&cmdline).into_owned());
    processes.any(|cmdline| cmdline.split('\0').any(|word| word == marker))
}

/// Waits for something that the kernel does in a moment of its own.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), wait)
        .await
        .unwrap_or_else(|_| panic!("not so after a minute: {what}"));
}

#[tokio::test]
async fn a_program_links_to_a_library_that_was_built_and_published_before_it() {
    let world = World::new();
    let library = world.succeed(world.order("a1", "libanswer", library())).await;
    world.publish(&library).await;
    let program = world.succeed(world.order("a2", "ask", program())).await;
    let [artefact] = &program.artefacts[..] else { panic!("one package: {program:?}") };
    assert_eq!(artefact.name, "ask-1.0-1-x86_64.pkg.tar.zst");
    assert_eq!(artefact.size, fs::metadata(&artefact.path).unwrap().len());
    let info = member(&artefact.path, ".BUILDINFO").await;
    assert!(info.contains("installed = libanswer-1.0-1-x86_64"), "{info}");
    assert!(world.log("a2").contains("==> build: makepkg"), "{}", world.log("a2"));
    assert!(world.log("a2").ends_with("==> succeeded\n"));
}

#[tokio::test]
async fn a_build_before_its_dependency_fails_and_names_it() {
    let world = World::new();
    for attempt in ["nothing-published", "other-published"] {
        let report = world.build(world.order(attempt, "ask", program())).await;
        assert_eq!(report.ending, Ending::Done(Outcome::Failed), "{}", world.log(attempt));
        assert_eq!(report.exit_code, Some(8));
        assert_eq!(report.message, "it needs packages that are in no repository: libanswer>=1");
        let other = world.succeed(world.small(&format!("{attempt}-small"), PACKAGE)).await;
        world.publish(&other).await;
    }
}

#[tokio::test]
async fn sources_are_fetched_with_the_network_and_the_build_has_none() {
    let site = tempfile::tempdir().unwrap();
    fs::write(site.path().join("hello.txt"), "hello\n").unwrap();
    let address = serve(site.path()).await;
    let world = World::new();
    let source = format!(
        "source=(http://{address}/hello.txt)\nsha256sums=(5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03)"
    );
    let good = format!("{source}\npackage() {{ install -D hello.txt \"$pkgdir/usr/share/hello.txt\"; }}");
    let report = world.succeed(world.small("a1", &good)).await;
    assert_eq!(member(&report.artefacts[0].path, "usr/share/hello.txt").await, "hello\n");
    let curious = format!("{source}\nbuild() {{ curl -sS --max-time 5 http://{address}/; }}\n{PACKAGE}");
    let report = world.build(world.small("a2", &curious)).await;
    assert_eq!(report.ending, Ending::Done(Outcome::Failed), "{}", world.log("a2"));
    assert_eq!(report.exit_code, Some(4));
    assert!(world.log("a2").contains("curl: (7)"), "{}", world.log("a2"));
}

#[tokio::test]
async fn a_vcs_package_is_cloned_with_the_network_and_built_without_it() {
    let site = tempfile::tempdir().unwrap();
    let (upstream, work) = (site.path().join("upstream.git"), site.path().join("work"));
    git(site.path(), &["init", "-q", "-b", "main", "--bare", "upstream.git"]).await;
    git(site.path(), &["init", "-q", "-b", "main", "work"]).await;
    let world = World::new();
    let address = serve(site.path()).await;
    let lines = format!(
        "source=(git+http://{address}/upstream.git)\nsha256sums=(SKIP)\n\
         pkgver() {{ cd upstream; echo \"r$(git rev-list --count HEAD).$(git rev-parse --short=7 HEAD)\"; }}\n\
         package() {{ install -D upstream/file \"$pkgdir/usr/share/file\"; }}"
    );
    for (attempt, content) in [("a1", "one"), ("a2", "two")] {
        fs::write(work.join("file"), content).unwrap();
        git(&work, &["add", "file"]).await;
        git(&work, &["commit", "-qm", content]).await;
        git(&work, &["push", "-q", "../upstream.git", "main"]).await;
        git(&upstream, &["update-server-info"]).await;
        let order = BuildOrder { cache_sources: true, ..world.small(attempt, &lines) };
        let report = world.succeed(order).await;
        let count = if attempt == "a1" { "r1" } else { "r2" };
        assert!(report.artefacts[0].name.starts_with(&format!("small-{count}.")), "{report:?}");
        assert_eq!(member(&report.artefacts[0].path, "usr/share/file").await, content);
    }
    assert!(world.log("a1").contains("Cloning upstream") && world.log("a2").contains("Updating upstream"));
}

#[tokio::test]
async fn an_unreachable_source_is_not_the_packages_fault_and_a_wrong_checksum_is() {
    let world = World::new();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let lines = format!(
        "source=(http://{closed}/x)\nsha256sums=(SKIP)\nDLAGENTS=('http::/usr/bin/curl -sS -o %o %u')\n{PACKAGE}"
    );
    let report = world.build(world.small("a1", &lines)).await;
    assert_eq!(report.ending, Ending::Infrastructure, "{report:?} {}", world.log("a1"));
    let wrong = format!("source=(x)\nsha256sums=({})\n{PACKAGE}", "0".repeat(64));
    let order = world.small("a2", &wrong);
    let report = world.build(BuildOrder { files: order.files.clone().with("x", "x"), ..order }).await;
    assert_eq!(report.ending, Ending::Done(Outcome::Failed));
    assert!(report.message.contains("did not pass the validity check"), "{report:?}");
}

#[tokio::test]
async fn the_build_sees_no_secret_and_is_not_root() {
    let world = World::new();
    let lines = format!(
        "source=(marker)\nsha256sums=(SKIP)\nbuild() {{\n\
         echo \"id=$(id -u)\"; ls /root /home /work {dir} 2>&1 || true; env | sort; cat /proc/1/environ 2>&1 | tr '\\0' '\\n' || true\n\
         cat /etc/shadow 2>&1 || true; touch /usr/evil 2>&1 || true; ls /\n}}\n{PACKAGE}",
        dir = world.dir.path().display()
    );
    let order = world.small("a1", &lines);
    let order = BuildOrder { files: order.files.clone().with("marker", ""), cache_sources: true, ..order };
    world.succeed(order).await;
    let log = world.log("a1");
    assert!(log.contains("id=1000"), "{log}");
    for unseen in ["CARGO", "TOKEN", "SECRET", "root:", "/logs", "NEXTEST"] {
        assert!(!log.contains(unseen), "`{unseen}` is in {log}");
    }
    assert!(log.contains("ls: cannot access '/root'") && log.contains("touch: cannot touch '/usr/evil'"), "{log}");
    let cache = fs::metadata(world.dir.path().join("sources/mine/small")).unwrap();
    assert_ne!(cache.uid(), 0, "what the build owns outside is not root's");
}

#[tokio::test]
async fn a_build_that_takes_too_long_is_stopped_with_its_grandchildren() {
    let world = World::new();
    let marker = format!("{}.25", 1_000_000 + std::process::id());
    let lines = format!(
        "build() {{ (setsid nohup sleep {marker} >/dev/null 2>&1 &) ; trap '' TERM; echo waiting; sleep {marker}; }}\n{PACKAGE}"
    );
    let order = world.small("a1", &lines);
    let order = BuildOrder { timeout: Duration::from_secs(6), extra_timeout: 2.0, ..order };
    let handle = world.executor.submit(order).await.unwrap();
    world.wait_for_log("a1", "\nwaiting\n").await;
    until("the sleep runs", || running(&marker)).await;
    let report = world.executor.finished(&handle).await.unwrap();
    assert_eq!(report.ending, Ending::Done(Outcome::TimedOut));
    until("nothing of the build runs", || !running(&marker)).await;
    assert_eq!(world.leftovers(), ["a1", "a1/report.json"]);
    assert!(world.log("a1").ends_with("==> timed_out: the build took too long\n"), "{}", world.log("a1"));
}

#[tokio::test]
async fn cancelling_stops_a_running_build_and_a_queued_one_before_it_begins() {
    let world = World::new();
    let marker = format!("{}.75", 1_000_000 + std::process::id());
    let lines = format!("build() {{ echo waiting; sleep {marker}; }}\n{PACKAGE}");
    let running_one = world.executor.submit(world.small("a1", &lines)).await.unwrap();
    world.executor.started(&running_one).await.unwrap();
    let queued = world.executor.submit(world.small("a2", &lines)).await.unwrap();
    world.wait_for_log("a1", "\nwaiting\n").await;
    world.executor.cancel(&queued).await.unwrap();
    let report = world.executor.finished(&queued).await.unwrap();
    assert_eq!(report.message, "the build was cancelled before it began");
    world.executor.cancel(&running_one).await.unwrap();
    let report = world.executor.finished(&running_one).await.unwrap();
    assert_eq!(report.ending, Ending::Done(Outcome::Cancelled));
    until("nothing of the build runs", || !running(&marker)).await;
    let end = world.logs.position("a1").unwrap();
    assert_eq!(end.final_len, Some(end.len));
    for handle in [&running_one, &queued] {
        world.executor.discard(handle).await.unwrap();
    }
    assert_eq!(world.leftovers(), Vec::<String>::new());
}

#[tokio::test]
async fn what_a_build_leaves_running_ends_with_it_and_holds_up_nothing() {
    let world = World::new();
    let marker = format!("{}.5", 1_000_000 + std::process::id());
    let lines = format!("build() {{ sleep {marker} & (setsid sleep {marker} &); }}\n{PACKAGE}");
    let report = world.succeed(world.small("a1", &lines)).await;
    assert_eq!(report.artefacts.len(), 1);
    until("nothing of the build runs", || !running(&marker)).await;
}

#[tokio::test]
async fn a_build_is_cancelled_while_a_source_never_comes() {
    let world = World::new();
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let source = format!("source=(http://{address}/never)\nsha256sums=(SKIP)\n{PACKAGE}");
    let handle = world.executor.submit(world.small("a1", &source)).await.unwrap();
    let (mut fetching, _) = silent.accept().await.unwrap();
    let mut asked = [0; 10];
    fetching.read_exact(&mut asked).await.unwrap();
    assert_eq!(&asked, b"GET /never");
    world.executor.cancel(&handle).await.unwrap();
    let report = world.executor.finished(&handle).await.unwrap();
    assert_eq!(report.ending, Ending::Done(Outcome::Cancelled));
    fetching.read_to_end(&mut Vec::new()).await.expect("whoever fetched is gone");
    assert_eq!(world.leftovers(), ["a1", "a1/report.json"]);
}

#[tokio::test]
async fn a_package_file_without_end_holds_up_nobody() {
    let world = World::new();
    let endless = "/pkgdest/small-9.0-1-any.pkg.tar.zst";
    let order = world.small("a1", &format!("build() {{ truncate -s 4T {endless}; }}\n{PACKAGE}"));
    let handle = world.executor.submit(order).await.unwrap();
    world.wait_for_log("a1", "Finished making: small").await;
    world.executor.cancel(&handle).await.unwrap();
    let report = world.executor.finished(&handle).await.unwrap();
    assert_eq!(report.ending, Ending::Done(Outcome::Cancelled), "{report:?} {}", world.log("a1"));
    assert_eq!(world.leftovers(), ["a1", "a1/report.json"]);
}

#[tokio::test]
async fn what_is_not_a_package_of_the_build_is_not_collected() {
    let world = World::new();
    let lines = "build() {\n\
        echo evil >/pkgdest/glibc-9-1-x86_64.pkg.tar.zst; ln -s /etc/passwd /pkgdest/small-2.0-1-any.pkg.tar.zst\n\
        mkdir /pkgdest/small-3.0-1-any.pkg.tar.zst; echo x >/pkgdest/notes.txt\n}";
    let srcinfo = "pkgbase = small\n\tpkgver = 1.0\n\tpkgrel = 1\n\tarch = x86_64\n\npkgname = small\n";
    let order = world.small("a1", &format!("{lines}\n{PACKAGE}"));
    let report = world.succeed(BuildOrder { files: order.files.clone().with(".SRCINFO", srcinfo), ..order }).await;
    let names: Vec<_> = report.artefacts.iter().map(|artefact| artefact.name.as_str()).collect();
    assert_eq!(names, ["small-1.0-1-x86_64.pkg.tar.zst"]);
    assert!(world.log("a1").contains("==> left out `glibc-9-1-x86_64.pkg.tar.zst`"));
}

#[tokio::test]
async fn two_builds_of_the_same_commit_are_the_same_to_the_bit() {
    let world = World::with(2, crate::logstore::DEFAULT_LIMIT);
    let (one, other) = tokio::join!(
        world.succeed(world.order("a1", "libanswer", library())),
        world.succeed(world.order("a2", "libanswer", library()))
    );
    assert_eq!(one.artefacts[0].sha256, other.artefacts[0].sha256);
    assert_ne!(one.artefacts[0].path, other.artefacts[0].path);
}

#[tokio::test]
async fn a_version_that_is_published_is_not_built_again_and_a_bump_makes_a_new_one() {
    let world = World::new();
    let order = world.small("a1", PACKAGE);
    let report = world.succeed(order.clone()).await;
    let published = vec![report.artefacts[0].name.clone()];
    let again = BuildOrder { attempt: "a2".into(), published, ..order };
    let report = world.build(again.clone()).await;
    assert_eq!((report.ending, report.exit_code), (Ending::Done(Outcome::AlreadyBuilt), Some(13)));
    let bump = Some(Bump { version: Version::new("1.0-1"), count: 2 });
    let report = world.succeed(BuildOrder { attempt: "a3".into(), bump, ..again }).await;
    assert_eq!(report.artefacts[0].name, "small-1.0-1.2-x86_64.pkg.tar.zst");
}

#[tokio::test]
async fn the_files_of_the_monorepo_change_the_package_before_it_is_built() {
    let world = World::new();
    let patch =
        "--- a/PKGBUILD\n+++ b/PKGBUILD\n@@ -1,3 +1,3 @@\n pkgname=small\n-pkgver=1.0\n+pkgver=1.1\n pkgrel=1\n";
    let order = world.small("a1", PACKAGE);
    let files = order.files.clone().with(".CI/interfere.patch", patch);
    let files = files.with(".CI/PKGBUILD.prepend", "_seen=yes").with(".CI/PKGBUILD.append", "pkgdesc=\"seen $_seen\"");
    let report = world.succeed(BuildOrder { files, ..order.clone() }).await;
    assert_eq!(report.artefacts[0].name, "small-1.1-1-x86_64.pkg.tar.zst");
    assert!(member(&report.artefacts[0].path, ".PKGINFO").await.contains("pkgdesc = seen yes\n"));
    let files = order.files.clone().with(".CI/interfere.patch", patch.replace("1.0", "7.0"));
    let report = world.build(BuildOrder { attempt: "a2".into(), files, ..order }).await;
    assert_eq!(report.ending, Ending::Done(Outcome::Failed));
    assert_eq!(report.message, ".CI/interfere.patch does not apply");
}

#[tokio::test]
async fn a_package_can_say_that_there_is_nothing_to_build() {
    let world = World::new();
    let report = world.build(world.small("a1", "exit \"$CI_CODE_SKIP\"")).await;
    assert_eq!((report.ending, report.exit_code), (Ending::Done(Outcome::Skipped), Some(123)));
    let report = world.build(world.small("a2", &format!("prepare() {{ exit 123; }}\n{PACKAGE}"))).await;
    assert_eq!(report.ending, Ending::Done(Outcome::Skipped), "{}", world.log("a2"));
}

#[tokio::test]
async fn a_broken_package_fails_and_says_where() {
    let world = World::new();
    for (attempt, lines, message) in [
        ("a1", "build() { false; }\npackage() { :; }", "the package does not build: A failure occurred in build()."),
        ("a2", "package() { false; }", "the package does not build: A failure occurred in package()."),
        ("a3", "pkgver='a b'", "the PKGBUILD is not valid: pkgver is not allowed to contain"),
    ] {
        let report = world.build(world.small(attempt, lines)).await;
        assert_eq!(report.ending, Ending::Done(Outcome::Failed), "{}", world.log(attempt));
        assert!(report.message.starts_with(message), "{report:?}\n{}", world.log(attempt));
    }
    let report = world.build(world.order("a4", "small", Folder::default())).await;
    assert_eq!(report.message, "the package folder has no PKGBUILD that is an ordinary file");
    assert!(world.leftovers().iter().all(|path| path.len() == 2 || path.ends_with("/report.json")));
}

#[tokio::test]
async fn a_build_that_floods_its_log_is_stopped() {
    let world = World::with(1, 100_000);
    let report = world.build(world.small("a1", &format!("build() {{ yes 2>&1; }}\n{PACKAGE}"))).await;
    assert_eq!(report.ending, Ending::Done(Outcome::Failed));
    assert!(report.message.contains("more than the 100000 bytes"), "{report:?}");
    let end = world.logs.position("a1").unwrap();
    assert!(end.len < 101_000 && end.final_len == Some(end.len), "{end:?}");
    assert!(world.log("a1").contains("the log reached its limit of 100000 bytes"));
}

#[tokio::test]
async fn output_and_errors_of_a_build_stay_in_order_and_resume_by_offset() {
    let world = World::new();
    let lines =
        format!("build() {{ for i in $(seq 2000); do echo \"out $i\"; echo \"err $i\" >&2; done; }}\n{PACKAGE}");
    let attempt = world.executor.submit(world.small("a1", &lines)).await.unwrap();
    let mut news = world.logs.subscribe("a1").unwrap();
    let mut seen = Vec::new();
    loop {
        let position = *news.borrow_and_update();
        seen.extend(world.logs.read("a1", seen.len() as u64, 333).unwrap());
        if position.final_len == Some(seen.len() as u64) {
            break;
        }
        if seen.len() as u64 >= position.len {
            news.changed().await.unwrap();
        }
    }
    world.executor.finished(&attempt).await.unwrap();
    let expected = (1..=2000).map(|i| format!("out {i}\nerr {i}\n")).collect::<Vec<_>>().concat();
    let text = String::from_utf8(seen).unwrap();
    assert!(text.contains(&expected), "{text}");
    assert_eq!(text, world.log("a1"));
}

#[tokio::test]
async fn a_restarted_controller_knows_what_was_finished_and_what_was_not() {
    let world = World::new();
    let report = world.succeed(world.small("done", PACKAGE)).await;
    let failed = world.build(world.small("failed", "package() { false; }")).await;
    fs::create_dir_all(world.dir.path().join("work/half/tree/start")).unwrap();
    world.logs.writer("half").unwrap().write(b"==> Starting build()...\n").unwrap();
    let config = LocalConfig { installed: None, ..LocalConfig::under(world.dir.path()) };
    let logs = LogStore::new(world.dir.path().join("logs")).unwrap();
    let again = LocalExecutor::open(config, logs.clone()).unwrap();
    assert_eq!(again.finished(&handle("done")).await.unwrap(), report);
    assert_eq!(again.submit(world.small("done", PACKAGE)).await.unwrap(), handle("done"), "it is not built again");
    let lost = again.finished(&handle("half")).await.unwrap();
    assert_eq!(lost.ending, Ending::Infrastructure);
    assert_eq!(lost.message, "the controller restarted during this build");
    assert!(logs.position("half").unwrap().final_len.is_some());
    assert_eq!(again.finished(&handle("failed")).await.unwrap(), failed);
    assert!(!world.dir.path().join("work/half").exists());
    again.discard(&handle("done")).await.unwrap();
    again.discard(&handle("failed")).await.unwrap();
    assert_eq!(world.leftovers(), Vec::<String>::new());
    assert!(again.discard(&handle("../repo")).await.is_err());
    let foreign = Handle { executor: "copr".into(), attempt: "done".into() };
    assert!(matches!(again.finished(&foreign).await, Err(ExecutorError::NotOurs { .. })));
}

#[tokio::test]
async fn an_order_that_would_lead_out_of_our_directories_is_refused() {
    let world = World::new();
    let order = world.small("a1", PACKAGE);
    for bad in [
        BuildOrder { attempt: "../a".into(), ..order.clone() },
        BuildOrder { repository: "..".into(), ..order.clone() },
        BuildOrder { arch: "x/../y".into(), ..order.clone() },
    ] {
        assert!(world.executor.submit(bad).await.is_err());
    }
    let files = order.files.clone().with("../../evil", "x");
    let report = world.build(BuildOrder { attempt: "a2".into(), files, ..order }).await;
    assert_eq!(report.ending, Ending::Done(Outcome::Failed));
    assert_eq!(report.message, "`../../evil` cannot be a file of a package folder");
}

#[tokio::test]
async fn a_directory_the_build_user_cannot_enter_is_named() {
    let world = World::new();
    if !world.executor.inner.user.switch {
        return;
    }
    fs::set_permissions(world.dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let later = world.executor.submit(world.small("a1", PACKAGE)).await.unwrap_err().to_string();
    let at_once = LocalExecutor::open(LocalConfig::under(world.dir.path()), world.logs.clone()).unwrap_err();
    assert_eq!(later, at_once.to_string());
    let dir = world.dir.path().canonicalize().unwrap().display().to_string();
    let user = world.executor.inner.user.to_string();
    insta::assert_snapshot!(later.replace(&dir, "<dir>").replace(&user, "<user>"), @"the build user <user> cannot enter <dir>, which is above <dir>/work: set `server.data_dir` (and `publish.dir`, if given) to a directory that everybody can enter, such as /var/lib/pkgwarden, or `chmod o+x <dir>`");
}

#[tokio::test]
async fn a_repository_without_a_readable_database_is_not_the_packages_fault() {
    let world = World::new();
    fs::write(world.dir.path().join("repo/mine.db"), "not a database").unwrap();
    let order = world.order("a1", "ask", program());
    let report = world.build(order.clone()).await;
    assert_eq!(report.ending, Ending::Infrastructure, "{report:?} {}", world.log("a1"));
    assert!(report.message.starts_with("a package database cannot be read"), "{report:?}");
    assert_eq!(world.executor.submit(order).await.unwrap(), handle("a1"), "the same attempt is the same build");
}

#[tokio::test]
async fn what_the_machine_has_installed_counts_as_installed() {
    let world = World::new();
    let library = world.succeed(world.order("a1", "libanswer", library())).await;
    world.publish(&library).await;
    let root = world.dir.path().join("machine");
    fs::create_dir_all(root.join("var/lib/pacman")).unwrap();
    let install = Program::new("fakeroot").args(["pacman", "--root", root.to_str().unwrap(), "--noconfirm", "-U"]);
    let config = world.dir.path().join("pacman.conf");
    fs::write(&config, "[options]\nArchitecture = x86_64\nSigLevel = Never\nLocalFileSigLevel = Never\n").unwrap();
    let install = install.args(["--config", config.to_str().unwrap()]).arg(&library.artefacts[0].path);
    let output = install.run().await.unwrap();
    assert!(output.status.success(), "{}", output.stderr_text());
    fs::remove_file(world.dir.path().join("repo/mine.db")).unwrap();
    let config =
        LocalConfig { installed: Some(root.join("var/lib/pacman/local")), ..LocalConfig::under(world.dir.path()) };
    let executor = LocalExecutor::open(config, world.logs.clone()).unwrap();
    let lines = format!("depends=(libanswer)\n{PACKAGE}");
    let handle = executor.submit(world.small("a2", &lines)).await.unwrap();
    let report = executor.finished(&handle).await.unwrap();
    assert_eq!(report.ending, Ending::Done(Outcome::Succeeded), "{}", world.log("a2"));
    let info = member(&report.artefacts[0].path, ".BUILDINFO").await;
    assert!(info.contains("installed = libanswer-1.0-1-x86_64"), "{info}");
}
