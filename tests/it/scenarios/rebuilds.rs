//! Packages are built anew when something they name in `CI_REBUILD_TRIGGERS` moves in the repositories that they are
//! built against.

use pkgwarden::domain::plan::Pipeline;
use pkgwarden::domain::target::Target;

use crate::support::pacman::{Binary, Mirror};
use crate::support::scene::MAIN;
use crate::support::{Change, Pkg, Scene};

/// `.ci/config` with these databases.
fn config(mirror: &Mirror, databases: &[&str], more: &str) -> Change {
    let urls: Vec<String> = databases.iter().map(|name| mirror.url(name)).collect();
    let text = format!(
        "REPO_NAME=test\nGIT_AUTHOR_NAME=\"The Keeper\"\nGIT_AUTHOR_EMAIL=keeper@example.org\nCI_LIB_DB=\"{}\"\n{more}",
        urls.join(" ")
    );
    Change::put(".ci/config", text)
}

/// The text of a package's `.CI/config` with triggers.
fn triggered(by: &str) -> String {
    format!("CI_PKGBUILD_SOURCE=custom\nCI_REBUILD_TRIGGERS={by}\n")
}

/// A monorepo built against `core` and `extra`, both looked at once.
async fn scene_with(packages: &[Pkg], more: &str) -> (Scene, Mirror) {
    let (scene, mirror) = (Scene::of(packages).await, Mirror::start().await);
    mirror.holds("core", "zst", &[Binary::new("glibc", "2.40-1"), Binary::new("zlib", "1:1.3-1")]).await;
    let boost = [Binary::new("boost", "1.86.0-1"), Binary::new("boost-libs", "1.86.0-1").base("boost")];
    mirror.holds("extra", "gz", &[&boost[..], &[Binary::new("icu", "75.1-1")]].concat()).await;
    scene.push("ci: databases", &[config(&mirror, &["core.db", "extra.db"], more)]).await;
    scene.run(Pipeline::OnSchedule).await;
    (scene, mirror)
}

async fn boost_moves(mirror: &Mirror) {
    mirror.holds("extra", "xz", &[Binary::new("boost", "1.87.0-1"), Binary::new("icu", "75.1-1")]).await;
}

#[tokio::test]
async fn what_names_a_library_that_has_moved_is_bumped_and_built_once_in_order() {
    let packages = [
        Pkg::new("app").needs(&["kit"]).config(&triggered("boost:icu")),
        Pkg::new("kit").config(&triggered("boost")),
        Pkg::new("other").config(&triggered("icu")),
        Pkg::new("heavy").config(&format!("{}CI_ON_TRIGGER=daily\n", triggered("boost"))),
        Pkg::new("held").config(&format!("{}CI_PACKAGE_BUMP=1.0-1/4\n", triggered("boost"))),
    ];
    let (scene, mirror) = scene_with(&packages, "").await;
    insta::assert_snapshot!(scene.monorepo.file("state", ".version-state").await.unwrap(), @"
    boost:1.86.0-1
    glibc:2.40-1
    icu:75.1-1
    zlib:1:1.3-1
    ");
    assert_eq!(mirror.asked(), ["/core.db 200", "/extra.db 200"]);
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"");
    assert_eq!(mirror.asked(), ["/core.db 304", "/extra.db 304"], "nothing is fetched twice");

    boost_moves(&mirror).await;
    scene.later();
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    commit app: bumped to 1.0-1.1: boost 1.86.0-1 -> 1.87.0-1
    commit heavy: bumped to 1.0-1.1: boost 1.86.0-1 -> 1.87.0-1
    commit held: bumped to 1.0-1.5: boost 1.86.0-1 -> 1.87.0-1
    commit kit: bumped to 1.0-1.1: boost 1.86.0-1 -> 1.87.0-1
    build held (rebuild)
    build kit (rebuild)
    build app (rebuild) after kit
    update refs/heads/main
    update refs/heads/state
    update refs/tags/scheduled
    ");
    insta::assert_snapshot!(scene.monorepo.git(&["log", "-1", "--format=%B", MAIN]).await, @"
    chore(bump): app, heavy, held, kit

    - app: bumped to 1.0-1.1: boost 1.86.0-1 -> 1.87.0-1
    - heavy: bumped to 1.0-1.1: boost 1.86.0-1 -> 1.87.0-1
    - held: bumped to 1.0-1.5: boost 1.86.0-1 -> 1.87.0-1
    - kit: bumped to 1.0-1.1: boost 1.86.0-1 -> 1.87.0-1
    ");
    insta::assert_snapshot!(scene.monorepo.file(MAIN, "held/.CI/config").await.unwrap(), @"
    CI_PKGBUILD_SOURCE=custom
    CI_REBUILD_TRIGGERS=boost
    CI_PACKAGE_BUMP=1.0-1/5
    ");
    assert_eq!(mirror.asked(), ["/core.db 304", "/extra.db 200"]);
    scene.later();
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"");
    insta::assert_snapshot!(scene.builds().await, @"
    held rebuild ready
    kit rebuild ready
    app rebuild waiting
    ");
    scene.ends().await;
}

/// D3: the lines of a database that was away vanished, so that everything in it was new when it was back.
#[tokio::test]
async fn a_database_that_is_away_or_broken_keeps_its_lines_and_rebuilds_nothing() {
    let (scene, mirror) = scene_with(&[Pkg::new("app").config(&triggered("boost:zlib"))], "").await;
    let before = scene.monorepo.file("state", ".version-state").await.unwrap();
    let mut told = Vec::new();
    for (status, body) in [(503, &b""[..]), (404, b""), (200, b"<html>maintenance</html>"), (200, b"")] {
        mirror.breaks("extra.db", status, body);
        told.push(scene.told(Pipeline::OnSchedule).await);
    }
    mirror.works_again();
    boost_moves(&mirror).await;
    mirror.cuts("extra.db", 100);
    told.push(scene.told(Pipeline::OnSchedule).await);
    insta::assert_snapshot!(told.concat().replace(&mirror.url(""), "URL/"), @"
    warning [library-database] URL/extra.db is not known: it answers 503 Service Unavailable; what it had is taken to be unchanged -> it is asked again in the next run; CI_LIB_DB in .ci/config names it
    warning [library-database] URL/extra.db is not known: it answers 404 Not Found; what it had is taken to be unchanged -> it is asked again in the next run; CI_LIB_DB in .ci/config names it
    warning [library-database] URL/extra.db is not known: it cannot be read: failed to read entire block; what it had is taken to be unchanged -> it is asked again in the next run; CI_LIB_DB in .ci/config names it
    warning [library-database] URL/extra.db is not known: it lists no packages; what it had is taken to be unchanged -> it is asked again in the next run; CI_LIB_DB in .ci/config names it
    warning [library-database] URL/extra.db is not known: it cannot be read: premature eof; what it had is taken to be unchanged -> it is asked again in the next run; CI_LIB_DB in .ci/config names it
    ");
    assert_eq!(scene.monorepo.file("state", ".version-state").await.unwrap(), before);

    // The others go on meanwhile.
    mirror.breaks("extra.db", 500, b"");
    mirror.holds("core", "zst", &[Binary::new("glibc", "2.40-1"), Binary::new("zlib", "1:1.4-1")]).await;
    scene.later();
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await.replace(&mirror.url(""), "URL/"), @"
    commit app: bumped to 1.0-1.1: zlib 1:1.3-1 -> 1:1.4-1
    build app (rebuild)
    update refs/heads/main
    update refs/heads/state
    update refs/tags/scheduled
    warning [library-database] URL/extra.db is not known: it answers 500 Internal Server Error; what it had is taken to be unchanged -> it is asked again in the next run; CI_LIB_DB in .ci/config names it
    ");
    insta::assert_snapshot!(scene.monorepo.file("state", ".version-state").await.unwrap(), @"
    boost:1.86.0-1
    glibc:2.40-1
    icu:75.1-1
    zlib:1:1.4-1
    ");
    mirror.works_again();
    scene.later();
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    commit app: bumped to 1.0-1.2: boost 1.86.0-1 -> 1.87.0-1
    build app (rebuild)
    update refs/heads/main
    update refs/heads/state
    update refs/tags/scheduled
    ");
    scene.ends().await;
}

/// D4: the epoch was taken for the version, so these packages were never bumped, and a library that moved by its
/// epoch alone moved nothing.
#[tokio::test]
async fn a_package_and_a_library_with_an_epoch_are_like_all_others() {
    let package = Pkg::new("firedragon").epoch(1).version("12.7").config(&triggered("zlib"));
    let (scene, mirror) = scene_with(&[package], "").await;
    mirror.holds("core", "gz", &[Binary::new("zlib", "2:1.3-1")]).await;
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    commit firedragon: bumped to 1:12.7-1.1: zlib 1:1.3-1 -> 2:1.3-1
    build firedragon (rebuild)
    update refs/heads/main
    update refs/heads/state
    update refs/tags/scheduled
    ");
    insta::assert_snapshot!(scene.monorepo.file(MAIN, "firedragon/.CI/config").await.unwrap(), @"
    CI_PKGBUILD_SOURCE=custom
    CI_REBUILD_TRIGGERS=zlib
    CI_PACKAGE_BUMP=1:12.7-1/1
    ");
    insta::assert_snapshot!(scene.monorepo.file("state", ".version-state").await.unwrap(), @"
    boost:1.86.0-1
    icu:75.1-1
    zlib:2:1.3-1
    ");
    scene.ends().await;
}

/// Chaotic's fix 20: the expression that looked for the triggers was none that bash knows, so that for two months
/// no library rebuilt anything.
#[tokio::test]
async fn every_name_in_a_list_of_triggers_counts_whatever_letters_it_has_and_no_part_of_one_does() {
    let libraries = |version: &str| {
        let mut all = vec![Binary::new("boost", "1.86.0-1"), Binary::new("icu", "75.1-1")];
        all.extend(["c++utilities", "lib.so", "qt6-base", "libx"].map(|name| Binary::new(name, version)));
        all
    };
    let lists = [
        ("alone", "c++utilities"),
        ("first", "lib.so:none"),
        ("last", "none:qt6-base"),
        ("middle", "none:c++utilities:nothing"),
        ("part", "utilities:lib:libxx:qt6:base:x"),
        ("spaced", "none qt6-base"),
    ];
    let packages = lists.map(|(name, triggers)| Pkg::new(name).config(&triggered(&format!("\"{triggers}\""))));
    let (scene, mirror) = scene_with(&packages, "").await;
    mirror.holds("extra", "gz", &libraries("1-1")).await;
    scene.run(Pipeline::OnSchedule).await;
    mirror.holds("extra", "gz", &libraries("2-1")).await;
    scene.later();
    let told = scene.told(Pipeline::OnSchedule).await;
    let bumped: Vec<&str> = told.lines().filter_map(|line| line.strip_prefix("commit ")).collect();
    insta::assert_snapshot!(bumped.join("\n"), @"
    alone: bumped to 1.0-1.1: c++utilities 1-1 -> 2-1
    first: bumped to 1.0-1.1: lib.so 1-1 -> 2-1
    last: bumped to 1.0-1.1: qt6-base 1-1 -> 2-1
    middle: bumped to 1.0-1.1: c++utilities 1-1 -> 2-1
    ");
    scene.ends().await;
}

/// A `.SRCINFO` of a VCS package is older than what was built of it.
#[tokio::test]
async fn a_person_bumps_from_the_version_that_is_published_as_a_library_does() {
    let package = Pkg::new("app-git").epoch(1).config("CI_PKGBUILD_SOURCE=custom\nCI_PACKAGE_BUMP=1:1.0-1\n");
    let (scene, mirror) = scene_with(&[package], "").await;
    mirror.holds("test", "gz", &[Binary::new("app-git", "1:1.0.r7.gabc-1.2")]).await;
    scene.push("ci: our own", &[config(&mirror, &["core.db", "extra.db", "test.db"], "")]).await;
    scene.run(Pipeline::OnSchedule).await;
    let bump = Pipeline::Bump(vec![Target::parse("app-git").expect("no class, or a right one")]);
    assert!(scene.told(bump.clone()).await.starts_with("commit app-git: bumped to 1:1.0.r7.gabc-1.3\n"));
    scene.push("chore: once more [bump app-git]", &[]).await;
    assert!(scene.told(Pipeline::OnCommit).await.starts_with("commit app-git: bumped to 1:1.0.r7.gabc-1.4\n"));
    insta::assert_snapshot!(scene.monorepo.file(MAIN, "app-git/.CI/config").await.unwrap(), @"
    CI_PKGBUILD_SOURCE=custom
    CI_PACKAGE_BUMP=1:1.0.r7.gabc-1/4
    ");
    // Somebody builds a newer one meanwhile.
    mirror.holds("test", "gz", &[Binary::new("app-git", "1:1.0.r9.gdef-1")]).await;
    scene.later();
    scene.run(Pipeline::OnSchedule).await;
    assert!(scene.told(bump).await.starts_with("commit app-git: bumped to 1:1.0.r9.gdef-1.1\n"));
    scene.ends().await;
}

/// Chaotic's fix 22: the bump was counted from a version that was out of date, so the same pkgrel came out again.
#[tokio::test]
async fn a_rebuild_comes_out_with_a_version_that_was_never_published() {
    let (scene, mirror) = scene_with(&[Pkg::new("app").config(&triggered("icu"))], "").await;
    let urls = ["core.db", "extra.db", "test.db"];
    mirror.holds("test", "gz", &[Binary::new("app", "1.0-1.6")]).await;
    scene.push("ci: our own", &[config(&mirror, &urls, "")]).await;
    scene.run(Pipeline::OnSchedule).await;
    for icu in ["76.1-1", "76.1-2"] {
        mirror.holds("extra", "gz", &[Binary::new("boost", "1.86.0-1"), Binary::new("icu", icu)]).await;
        scene.later();
        scene.run(Pipeline::OnSchedule).await;
    }
    insta::assert_snapshot!(scene.monorepo.git(&["log", "-2", "--format=%b", MAIN]).await, @"
    - app: bumped to 1.0-1.8: icu 76.1-1 -> 76.1-2

    - app: bumped to 1.0-1.7: icu 75.1-1 -> 76.1-1
    ");
    scene.ends().await;
}

#[tokio::test]
async fn the_first_sight_of_a_database_and_what_is_on_the_blacklist_rebuild_nothing() {
    let packages = [Pkg::new("app").config(&triggered("boost:qt6-base"))];
    let (scene, mirror) = scene_with(&packages, "CI_REBUILD_BLACKLIST=\"glibc:boost\"\n").await;
    mirror.holds("more", "gz", &[Binary::new("qt6-base", "6.8-1")]).await;
    let blacklist = "CI_REBUILD_BLACKLIST=\"glibc:boost\"\n";
    scene.push("ci: more", &[config(&mirror, &["core.db", "extra.db", "more.db"], blacklist)]).await;
    scene.run(Pipeline::OnCommit).await;
    boost_moves(&mirror).await;
    scene.later();
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"update refs/heads/state");
    mirror.holds("more", "gz", &[Binary::new("qt6-base", "6.8-2")]).await;
    scene.later();
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    commit app: bumped to 1.0-1.1: qt6-base 6.8-1 -> 6.8-2
    build app (rebuild)
    update refs/heads/main
    update refs/heads/state
    update refs/tags/scheduled
    ");
    scene.ends().await;
}

#[tokio::test]
async fn a_database_is_read_from_this_machine_too_and_an_update_is_not_bumped_besides() {
    let scene = Scene::with_aur().await;
    scene.keeps(&[Pkg::from_aur("foo").config("CI_PKGBUILD_SOURCE=aur\nCI_REBUILD_TRIGGERS=boost\n")]).await;
    let mirror = Mirror::start().await;
    mirror.holds("extra", "gz", &[Binary::new("boost", "1.86.0-1")]).await;
    let path = scene.path("extra.db");
    mirror.saves("extra.db", &path);
    let url = format!("CI_LIB_DB=file://{}\n", path.display());
    scene.push("ci: here", &[Change::put(".ci/config", url)]).await;
    scene.run(Pipeline::OnSchedule).await;
    mirror.holds("extra", "gz", &[Binary::new("boost", "1.87.0-1")]).await;
    mirror.saves("extra.db", &path);
    let update = Pkg::from_aur("foo").version("1.1");
    scene.aur_release(&update).await;
    scene.later();
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    commit foo [minor]: 1.0-1 -> 1.1-1
    build foo (changed)
    update refs/heads/main
    update refs/heads/state
    update refs/tags/scheduled
    ");
    scene.ends().await;
}
