//! What builds yield.

use super::*;

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
        assert_eq!(
            report.message,
            "it needs packages that neither this repository nor `executor.local.repository` has: libanswer>=1"
        );
        let other = world.succeed(world.small(&format!("{attempt}-small"), PACKAGE)).await;
        world.publish(&other).await;
    }
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
async fn a_repository_without_a_readable_database_is_not_the_packages_fault() {
    let world = World::new();
    fs::write(world.dir.path().join("repo/mine.db"), "not a database").unwrap();
    let order = world.order("a1", "ask", program());
    let report = world.build(order.clone()).await;
    assert_eq!(report.ending, Ending::Infrastructure, "{report:?} {}", world.log("a1"));
    assert!(report.message.starts_with("a package database cannot be read"), "{report:?}");
    assert_eq!(world.executor.submit(order).await.unwrap(), handle("a1"), "the same attempt is the same build");
}
