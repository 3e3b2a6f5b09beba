//! What the monorepo does to a package: scripts before and after, and what is left out of packages.

use super::*;

#[tokio::test]
async fn the_script_of_the_monorepo_goes_before_its_patch_and_sees_no_march_native() {
    let world = World::new();
    let order = world.small("a1", &format!("_flags='-march=native -O2'\n{PACKAGE}"));
    let prepare = "grep -q march=native PKGBUILD && exit 3\nsed -i 's/^pkgver=1.0/pkgver=1.1/' PKGBUILD\n";
    let patch =
        "--- a/PKGBUILD\n+++ b/PKGBUILD\n@@ -1,3 +1,3 @@\n pkgname=small\n-pkgver=1.1\n+pkgver=1.2\n pkgrel=1\n";
    let files = order.files.clone().with(".CI/prepare", prepare).with(".CI/interfere.patch", patch);
    let files = files.with(".CI/PKGBUILD.prepend", "_seen=yes").with(".CI/PKGBUILD.append", "pkgrel=\"4\"");
    let bump = Some(Bump { version: Version::new("1.2-4"), count: 7 });
    let report = world.succeed(BuildOrder { files, bump, ..order }).await;
    assert_eq!(report.artefacts[0].name, "small-1.2-4.7-x86_64.pkg.tar.zst");
}

#[tokio::test]
async fn the_script_of_the_monorepo_may_say_that_there_is_nothing_to_build_or_fail() {
    let world = World::new();
    let prepared = |attempt: &str, script: &str| {
        let order = world.small(attempt, PACKAGE);
        BuildOrder { files: order.files.clone().with(".CI/prepare", script), ..order }
    };
    let report = world.build(prepared("a1", "return \"$CI_CODE_SKIP\"\n")).await;
    assert_eq!((report.ending, report.exit_code), (Ending::Done(Outcome::Skipped), Some(123)));
    let report = world.build(prepared("a2", "false\ntrue\n")).await;
    assert_eq!(report.ending, Ending::Done(Outcome::Failed));
    assert_eq!(report.message, ".CI/prepare ended with status 1");
    let report = world.build(prepared("a3", "echo \"$nothing\"\n")).await;
    assert_eq!(report.ending, Ending::Done(Outcome::Failed), "a variable that is not set is a failure");
}

fn hooked(order: BuildOrder, success: &str) -> BuildOrder {
    let files = order.files.clone().with(".CI/on-success.sh", success);
    BuildOrder { files: files.with(".CI/on-failure.sh", "echo \"sorry: $(ls /pkgdest)\""), ..order }
}

#[tokio::test]
async fn the_script_for_success_sees_what_was_made_and_can_neither_change_it_nor_fail_the_build() {
    let world = World::new();
    let report = world.succeed(hooked(world.small("a1", PACKAGE), "echo \"made $(ls /pkgdest)\"")).await;
    assert_eq!(report.message, "");
    let log = world.log("a1");
    assert!(log.contains("made small-1.0-1-x86_64.pkg.tar.zst") && !log.contains("sorry"), "{log}");
    let spoil = "rm -f /pkgdest/*; echo x >/pkgdest/other-1-1-any.pkg.tar.zst; exit 5";
    let report = world.succeed(hooked(world.small("a2", PACKAGE), spoil)).await;
    assert_eq!(report.message, ".CI/on-success.sh ended with status 5");
    assert_eq!(report.artefacts.len(), 1);
    assert!(world.log("a2").contains(".CI/on-success.sh ended with status 5"));
}

#[tokio::test]
async fn the_script_for_success_takes_none_of_the_time_of_the_build() {
    let world = World::new();
    let time = std::time::Duration::from_secs(20);
    let slow = hooked(world.small("a1", PACKAGE), "until (( SECONDS > 20 )); do sleep 1; done; echo rested");
    let report = world.succeed(BuildOrder { timeout: time, ..slow }).await;
    assert_eq!((report.message.as_str(), report.artefacts.len()), ("", 1));
    assert!(world.log("a1").contains("rested"));
}

#[tokio::test]
async fn the_script_for_failure_runs_after_a_failure_and_after_nothing_else() {
    let world = World::new();
    let report = world.build(hooked(world.small("a1", "build() { false; }\npackage() { :; }"), "exit 1")).await;
    assert_eq!(report.ending, Ending::Done(Outcome::Failed));
    assert!(report.message.starts_with("the package does not build"), "{report:?}");
    assert!(world.log("a1").contains("sorry"), "{}", world.log("a1"));
    let report = world.build(hooked(world.small("a2", "exit \"$CI_CODE_SKIP\""), "exit 1")).await;
    assert_eq!(report.ending, Ending::Done(Outcome::Skipped));
    assert!(!world.log("a2").contains("sorry"));
}

#[tokio::test]
async fn a_build_that_takes_too_long_has_its_script_for_failure_too() {
    let world = World::new();
    let order = hooked(world.small("a1", "build() { sleep 1000; }\npackage() { :; }"), "exit 1");
    let report = world.build(BuildOrder { timeout: Duration::from_secs(4), extra_timeout: 0.5, ..order }).await;
    assert_eq!(report.ending, Ending::Done(Outcome::TimedOut));
    assert!(world.log("a1").contains("sorry"), "{}", world.log("a1"));
}

#[tokio::test]
async fn packages_name_groups_and_what_they_replace_only_if_that_is_allowed() {
    let world = World::new();
    let lines = format!("groups=(base)\n{}", PACKAGE.replace("install", "replaces=(glibc); install"));
    let report = world.succeed(world.small("a1", &lines)).await;
    let info = member(&report.artefacts[0].path, ".PKGINFO").await;
    assert!(!info.contains("replaces") && !info.contains("group") && info.contains("pkgname = small"), "{info}");
    assert!(world.log("a1").contains("left out of the package: replaces = glibc"), "{}", world.log("a1"));
    let order = BuildOrder { allow_prohibited: true, ..world.small("a2", &lines) };
    let report = world.succeed(order).await;
    let info = member(&report.artefacts[0].path, ".PKGINFO").await;
    assert!(info.contains("replaces = glibc") && info.contains("group = base"), "{info}");
}
