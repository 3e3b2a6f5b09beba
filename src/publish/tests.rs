//! Publishing with the real `repo-add`, `makepkg` and `pacman`.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use jiff::Timestamp;

use super::difference::sha256;
use super::testing::{pack, pkginfo};
use super::*;
use crate::domain::name::PkgName;
use crate::domain::queue::BuildId;
use crate::domain::version::Version;
use crate::sys::clock::ManualClock;
use crate::sys::process::Program;

mod checked;
mod kept;
mod refused;
mod signed;
mod taken_over;
mod whole;

const NOW: i64 = 1_767_225_600;

struct World {
    root: tempfile::TempDir,
    publisher: Publisher,
}

fn world() -> World {
    let root = tempfile::tempdir().unwrap();
    let clock = ManualClock::new(Timestamp::from_second(NOW).unwrap());
    let publisher = Publisher::new(root.path().join("repo"), "test").with_clock(Arc::new(clock));
    World { root, publisher }
}

fn base(name: &str) -> PkgBase {
    PkgBase::new(name).unwrap()
}

fn expected(pkgbase: &str, version: &str, members: &[&str]) -> Expected {
    Expected {
        pkgbase: base(pkgbase),
        version: Some(Version::new(version)),
        arch: "x86_64".into(),
        members: members.iter().map(|name| PkgName::new(name).unwrap()).collect(),
        build: Some(BuildId(7)),
        allow_prohibited: false,
        official: std::sync::Arc::default(),
    }
}

impl World {
    /// Packs a package file with this `.PKGINFO` beside some content.
    fn pack(&self, file: &str, pkginfo: &str, content: &str) -> PathBuf {
        pack(&self.root.path().join(file), pkginfo, content)
    }

    fn member(&self, pkgbase: &str, name: &str, version: &str) -> PathBuf {
        self.pack(&format!("{name}-{version}-any.pkg.tar.zst"), &pkginfo(pkgbase, name, version), name)
    }

    async fn publish(&self, pkgbase: &str, version: &str, members: &[&str]) -> Result<Generation, PublishError> {
        let files: Vec<_> = members.iter().map(|name| self.member(pkgbase, name, version)).collect();
        self.publisher.publish(&files, &expected(pkgbase, version, members)).await
    }

    /// Names and versions as the published database has them; also checks that every file is there with
    /// the checksum the database gives.
    fn published(&self) -> Vec<String> {
        let current = self.publisher.current().unwrap();
        for package in &current {
            let path = self.publisher.dir().join(&package.file);
            assert_eq!(sha256(&path).unwrap(), package.sha256, "{}", package.file);
        }
        current.iter().map(|package| format!("{} {}", package.name, package.version)).collect()
    }

    /// Package files in the folder.
    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.publisher.dir()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| name.contains(".pkg.tar"));
        names.sort();
        names
    }
}

fn codes(error: &PublishError) -> Vec<&'static str> {
    let PublishError::NotTheBuilds { findings } = error else { panic!("{error}") };
    findings.iter().map(|finding| finding.code).collect()
}

#[tokio::test]
async fn generations_follow_each_other_and_name_where_each_package_came_from() {
    let world = world();
    let first = world.publish("foo", "1-1", &["foo", "foo-docs"]).await.unwrap();
    assert_eq!((first.number, first.entries.len()), (1, 2));
    let second = world.publish("c++x", "1:2.0+r3-1.1", &["c++x"]).await.unwrap();
    assert_eq!(world.published(), ["c++x 1:2.0+r3-1.1", "foo 1-1", "foo-docs 1-1"]);
    let origins: Vec<_> = second.entries.iter().map(|entry| (entry.origin, entry.build)).collect();
    assert_eq!(origins[0], (Origin::Built, Some(BuildId(7))));
    assert_eq!(origins[1], (Origin::Reused, Some(BuildId(7))));
    let listed = world.publisher.generations().unwrap();
    assert_eq!(listed, [second, first]);
    assert_eq!(std::fs::read_to_string(world.publisher.dir().join("lastupdate")).unwrap(), format!("{NOW}\n"));
}

#[tokio::test]
async fn a_member_that_is_gone_leaves_with_the_new_version() {
    let world = world();
    world.publish("foo", "1-1", &["foo", "foo-docs"]).await.unwrap();
    let generation = world.publish("foo", "2-1", &["foo"]).await.unwrap();
    assert_eq!(generation.removed.iter().map(PkgName::as_str).collect::<Vec<_>>(), ["foo-docs"]);
    assert_eq!(world.published(), ["foo 2-1"]);
}

#[tokio::test]
async fn a_removed_package_leaves_with_all_its_members() {
    let world = world();
    assert_eq!(world.publisher.remove(&[base("foo")]).await.unwrap(), None);
    world.publish("foo", "1-1", &["foo", "libfoo"]).await.unwrap();
    world.publish("bar", "1-1", &["bar"]).await.unwrap();
    assert_eq!(world.publisher.remove(&[base("unknown")]).await.unwrap(), None);
    let generation = world.publisher.remove(&[base("foo"), base("unknown")]).await.unwrap().unwrap();
    assert_eq!((generation.number, generation.removed.len()), (3, 2));
    assert_eq!(world.published(), ["bar 1-1"]);
    world.publisher.remove(&[base("bar")]).await.unwrap().unwrap();
    assert_eq!(world.published(), Vec::<String>::new());
    world.publish("bar", "1-1", &["bar"]).await.unwrap();
    assert_eq!(world.published(), ["bar 1-1"]);
}

#[tokio::test]
async fn publishing_again_changes_nothing_and_what_is_published_is_never_replaced() {
    let world = world();
    let first = world.publish("foo", "1-1", &["foo"]).await.unwrap();
    assert_eq!(world.publish("foo", "1-1", &["foo"]).await.unwrap(), first);
    let other = world.pack("foo-1-1-any.pkg.tar.zst", &pkginfo("foo", "foo", "1-1"), "other content");
    let same = world.publisher.publish(&[other], &expected("foo", "1-1", &["foo"])).await.unwrap();
    assert_eq!((same.number, same.not_replaced.as_slice()), (1, &["foo-1-1-any.pkg.tar.zst".to_owned()][..]));
    let told: Vec<_> = same.findings.iter().map(|finding| (finding.code, finding.file.as_deref())).collect();
    assert_eq!(told, [("package-not-replaced", Some("foo-1-1-any.pkg.tar.zst"))]);
    assert_eq!(world.published(), ["foo 1-1"]);
}

/// Somebody took an update back: the old version is built again, and its file is still there.
#[tokio::test]
async fn an_older_version_that_is_still_there_comes_back_as_what_it_was() {
    let world = world();
    world.publish("foo", "1-1", &["foo"]).await.unwrap();
    world.publish("foo", "2-1", &["foo"]).await.unwrap();
    let other = world.pack("foo-1-1-any.pkg.tar.zst", &pkginfo("foo", "foo", "1-1"), "other content");
    let later = Expected { build: Some(BuildId(9)), ..expected("foo", "1-1", &["foo"]) };
    let back = world.publisher.publish(&[other], &later).await.unwrap();
    assert_eq!((back.number, back.not_replaced.as_slice()), (3, &["foo-1-1-any.pkg.tar.zst".to_owned()][..]));
    assert_eq!((back.entries[0].origin, back.entries[0].build), (Origin::Reused, Some(BuildId(7))));
    assert!(back.findings.iter().any(|finding| finding.code == "package-not-replaced"));
    assert_eq!(world.published(), ["foo 1-1"]);
    // What has the same content is the later build's.
    world.publish("foo", "3-1", &["foo"]).await.unwrap();
    let same = Expected { build: Some(BuildId(9)), ..expected("foo", "2-1", &["foo"]) };
    let back = world.publisher.publish(&[world.member("foo", "foo", "2-1")], &same).await.unwrap();
    assert_eq!((back.entries[0].origin, back.entries[0].build), (Origin::Built, Some(BuildId(9))));
}

#[tokio::test]
async fn a_file_of_one_package_does_not_become_anothers() {
    let world = world();
    world.publish("foo", "1-1", &["foo", "foo-docs"]).await.unwrap();
    let error = world.publish("docs", "1-1", &["foo-docs"]).await.unwrap_err();
    assert_eq!(codes(&error), ["package-not-its-own"]);
    assert!(error.is_the_builds_fault());
    let moved = world.publish("docs", "1-2", &["foo-docs"]).await.unwrap();
    let bases: Vec<_> = moved.entries.iter().map(|entry| entry.base.as_str()).collect();
    assert_eq!(bases, ["foo", "docs"]);
}

#[tokio::test]
async fn old_generations_go_with_the_files_only_they_name() {
    let mut world = world();
    world.publisher = world.publisher.clone().keep_generations(2);
    world.publish("stays", "1-1", &["stays"]).await.unwrap();
    for version in ["1-1", "2-1", "3-1"] {
        world.publish("foo", version, &["foo"]).await.unwrap();
    }
    let numbers: Vec<_> = world.publisher.generations().unwrap().iter().map(|one| one.number).collect();
    assert_eq!(numbers, [4, 3]);
    assert_eq!(world.files(), ["foo-2-1-any.pkg.tar.zst", "foo-3-1-any.pkg.tar.zst", "stays-1-1-any.pkg.tar.zst"]);
    assert_eq!(world.published(), ["foo 3-1", "stays 1-1"]);
}

/// A wave makes a generation for each build, and somebody still reads the database of this morning.
#[tokio::test]
async fn replaced_files_stay_for_a_day_whatever_comes_after_them() {
    let mut world = world();
    let clock = Arc::new(ManualClock::new(Timestamp::from_second(NOW).unwrap()));
    let day = SignedDuration::from_hours(24);
    world.publisher = world.publisher.clone().keep_generations(1).keep_files(day).with_clock(clock.clone());
    let whole = |world: &World| prove::prove(&world.publisher, &prove::Against::default()).unwrap().findings;
    for version in ["1-1", "2-1", "3-1"] {
        world.publish("foo", version, &["foo"]).await.unwrap();
    }
    assert_eq!((world.files().len(), world.published()), (3, vec!["foo 3-1".to_owned()]));
    assert_eq!(whole(&world), []);
    // Nobody who is downloading it sees it change.
    let other = world.pack("foo-1-1-any.pkg.tar.zst", &pkginfo("foo", "foo", "1-1"), "other content");
    let back = world.publisher.publish(&[other], &expected("foo", "1-1", &["foo"])).await.unwrap();
    assert_eq!((back.not_replaced.len(), world.published()), (1, vec!["foo 1-1".to_owned()]));
    world.publish("foo", "3-1", &["foo"]).await.unwrap();
    clock.advance(day);
    world.publish("foo", "4-1", &["foo"]).await.unwrap();
    assert_eq!(world.files(), ["foo-3-1-any.pkg.tar.zst", "foo-4-1-any.pkg.tar.zst"]);
    assert_eq!(whole(&world), []);
}

#[tokio::test]
async fn a_member_nobody_knew_is_published_and_reported() {
    let world = world();
    let files = [world.member("foo-git", "foo-git", "r9.abc-1"), world.member("foo-git", "foo-git-debug", "r9.abc-1")];
    let unknown_version = Expected { version: None, ..expected("foo-git", "1-1", &["foo-git"]) };
    let generation = world.publisher.publish(&files, &unknown_version).await.unwrap();
    assert_eq!(generation.unexpected.iter().map(PkgName::as_str).collect::<Vec<_>>(), ["foo-git-debug"]);
    assert_eq!(world.published(), ["foo-git r9.abc-1", "foo-git-debug r9.abc-1"]);
}

#[tokio::test]
async fn a_crash_between_any_two_steps_leaves_the_old_or_the_new_generation() {
    for step in Step::ALL {
        let mut world = world();
        world.publish("foo", "1-1", &["foo", "foo-docs"]).await.unwrap();
        let sound = world.publisher.clone();
        world.publisher.stop_after = Some(step);
        let error = world.publish("foo", "2-1", &["foo"]).await.unwrap_err();
        assert!(matches!(error, PublishError::Stopped(_)), "{error}");
        let seen = world.published();
        let old = step != Step::Swapped;
        assert_eq!(seen, if old { vec!["foo 1-1", "foo-docs 1-1"] } else { vec!["foo 2-1"] }, "{step:?}");

        // A lock that a dead `repo-add` left is in nobody's way.
        let dead = world.publisher.layout.generation(2);
        if dead.exists() {
            std::fs::write(dead.join("test.db.tar.zst.lck"), "999999").unwrap();
        }
        world.publisher = sound;
        let generation = world.publish("foo", "2-1", &["foo"]).await.unwrap();
        assert_eq!((generation.number, world.published()), (2, vec!["foo 2-1".to_owned()]), "{step:?}");
        world.publisher.remove(&[base("foo")]).await.unwrap().unwrap();
        let wanted = ["foo-1-1-any.pkg.tar.zst", "foo-2-1-any.pkg.tar.zst", "foo-docs-1-1-any.pkg.tar.zst"];
        assert_eq!(world.files(), wanted, "{step:?}");
    }
}

#[tokio::test]
async fn a_crashed_publication_that_is_never_repeated_leaves_no_file() {
    let mut world = world();
    world.publish("foo", "1-1", &["foo"]).await.unwrap();
    let sound = world.publisher.clone();
    world.publisher.stop_after = Some(Step::Placed);
    world.publish("bar", "1-1", &["bar"]).await.unwrap_err();
    assert_eq!(world.files().len(), 2);
    world.publisher = sound;
    world.publish("foo", "1-1", &["foo"]).await.unwrap();
    assert_eq!(world.files(), ["foo-1-1-any.pkg.tar.zst"]);
}

#[tokio::test]
async fn a_full_disk_is_said_and_the_old_generation_stays() {
    let world = world();
    world.publish("foo", "1-1", &["foo"]).await.unwrap();
    // A file that claims to be larger than any disk.
    let path = world.member("foo", "foo", "2-1");
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(1 << 43).unwrap();
    let error = world.publisher.publish(&[path], &expected("foo", "2-1", &["foo"])).await.unwrap_err();
    assert!(error.to_string().contains("the disk is full"), "{error}");
    assert!(!error.is_the_builds_fault());
    assert_eq!(world.published(), ["foo 1-1"]);
    assert_eq!(world.files().len(), 1);
}

#[tokio::test]
async fn a_damaged_manifest_stops_nothing() {
    let mut world = world();
    world.publisher = world.publisher.clone().keep_generations(2);
    world.publish("foo", "1-1", &["foo"]).await.unwrap();
    world.publish("foo", "2-1", &["foo"]).await.unwrap();
    std::fs::write(world.publisher.layout.generation(2).join("manifest.json"), "{").unwrap();
    assert_eq!(world.publisher.generations().unwrap().len(), 1);
    world.publish("foo", "3-1", &["foo"]).await.unwrap();
    assert_eq!(world.files(), ["foo-2-1-any.pkg.tar.zst", "foo-3-1-any.pkg.tar.zst"]);
    world.publish("foo", "4-1", &["foo"]).await.unwrap();
    assert_eq!(world.files(), ["foo-3-1-any.pkg.tar.zst", "foo-4-1-any.pkg.tar.zst"]);
}

#[tokio::test]
async fn publications_of_several_handles_take_turns() {
    let world = world();
    let other = Publisher::new(world.publisher.dir(), "test");
    let (foo, bar) = (world.member("foo", "foo", "1-1"), world.member("bar", "bar", "1-1"));
    let (foos, bars) = (expected("foo", "1-1", &["foo"]), expected("bar", "1-1", &["bar"]));
    let (files, others) = ([foo], [bar]);
    let (one, two) = tokio::join!(world.publisher.publish(&files, &foos), other.publish(&others, &bars));
    assert_eq!(one.unwrap().number + two.unwrap().number, 3);
    assert_eq!(world.published(), ["bar 1-1", "foo 1-1"]);
}

const PKGBUILD: &str = "pkgbase=c++x\npkgname=(c++x libc++x)\nepoch=1\npkgver=2.0\npkgrel=1\narch=(any)\n\
    package_c++x() { depends=('libc++x>=1:2'); install -Dm644 /dev/null \"$pkgdir/usr/share/cx\"; }\n\
    package_libc++x() { install -Dm644 /dev/null \"$pkgdir/usr/share/libcx\"; }\n";

/// Builds with the real makepkg, which refuses to run as root.
fn makepkg(folder: &Path) -> Vec<PathBuf> {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("PKGBUILD"), PKGBUILD).unwrap();
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o777)).unwrap();
    let mut program = Program::new("makepkg")
        .args(["-d", "-f", "-C", "--noconfirm", "-m"])
        .current_dir(folder)
        .env("PKGEXT", ".pkg.tar.zst")
        .env("BUILDDIR", folder.join("build"))
        .env("PKGDEST", folder)
        .env("HOME", folder);
    if nix::unistd::geteuid().is_root() {
        let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
        program = program.user(nobody.uid.as_raw(), nobody.gid.as_raw());
    }
    let output = program.run_blocking().unwrap();
    assert!(output.status.success(), "{}", output.stderr_text());
    let names = ["c++x-1:2.0-1-any.pkg.tar.zst", "libc++x-1:2.0-1-any.pkg.tar.zst"];
    names.iter().map(|name| folder.join(name)).collect()
}

#[tokio::test]
async fn pacman_installs_what_makepkg_built_and_we_published() {
    let world = world();
    let root = world.root.path();
    std::fs::set_permissions(root, std::fs::Permissions::from_mode(0o755)).unwrap();
    let files = makepkg(&root.join("work"));
    let now = SystemClock.now();
    let publisher = world.publisher.clone().with_clock(Arc::new(ManualClock::new(now)));
    publisher.publish(&files, &expected("c++x", "1:2.0-1", &["c++x", "libc++x"])).await.unwrap();

    let target = root.join("root");
    for folder in ["var/lib/pacman", "var/cache/pacman/pkg", "var/log", "etc/hooks", "gpg"] {
        std::fs::create_dir_all(target.join(folder)).unwrap();
    }
    let (at, repo) = (target.display(), publisher.dir().display());
    let conf = format!(
        "[options]\nArchitecture = x86_64\nSigLevel = Never\nCacheDir = {at}/var/cache/pacman/pkg\n\
         LogFile = {at}/var/log/pacman.log\nHookDir = {at}/etc/hooks\nGPGDir = {at}/gpg\n[test]\nServer = file://{repo}\n"
    );
    std::fs::write(root.join("pacman.conf"), conf).unwrap();
    let pacman = |args: &[&str]| {
        let program = Program::new("fakeroot").arg("pacman").arg("--config").arg(root.join("pacman.conf"));
        let program = program.arg("--root").arg(&target).arg("--dbpath").arg(target.join("var/lib/pacman"));
        let output = program.args(args).run_blocking().unwrap();
        assert!(output.status.success(), "{args:?}: {}", output.stderr_text());
        String::from_utf8(output.stdout).unwrap()
    };
    pacman(&["-Sy", "--noconfirm"]);
    assert_eq!(pacman(&["-Sl", "test"]), "test c++x 1:2.0-1\ntest libc++x 1:2.0-1\n");
    pacman(&["-S", "--noconfirm", "c++x"]);
    assert_eq!(pacman(&["-Q"]), "c++x 1:2.0-1\nlibc++x 1:2.0-1\n");
    pacman(&["-Fy", "--noconfirm"]);
    assert!(pacman(&["-F", "/usr/share/libcx"]).contains("libc++x"));
}

#[test]
fn a_link_that_leads_nowhere_of_ours_is_not_followed() {
    let world = world();
    std::fs::create_dir_all(world.publisher.dir()).unwrap();
    symlink("/etc/passwd", world.publisher.dir().join(".current")).unwrap();
    assert!(world.publisher.current().unwrap_err().to_string().contains(".current"));
}
