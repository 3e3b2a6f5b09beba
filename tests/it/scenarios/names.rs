//! Names with `+`, `.`, `@` and `_`, and versions with epochs, through everything.

use pkgwarden::domain::plan::Pipeline;

use crate::support::scene::{MAIN, base, person};
use crate::support::{Pkg, Scene};

fn packages() -> [Pkg; 4] {
    [
        Pkg::from_aur("c++utilities").epoch(2).version("5.26.1"),
        Pkg::from_aur("ss14.launcher").epoch(1).needs(&["c++utilities"]),
        Pkg::from_aur("font@home").version("1.0_beta+r3").needs(&["ss14.launcher"]),
        Pkg::from_aur("python-jaraco.vcs_x").members(&["python-jaraco.vcs", "python-jaraco.vcs-docs"]),
    ]
}

#[tokio::test]
async fn odd_names_and_epochs_go_through_updates_reviews_and_directives() {
    let scene = Scene::with_aur().await;
    scene.keeps(&packages()).await;
    let [utilities, launcher, font, _] = packages();
    scene.aur_release(&utilities.version("5.27.0")).await;
    scene.aur_release(&launcher.version("1.1").built_by("make")).await;
    scene.aur_release(&font.epoch(1).version("0.9")).await;
    scene.push("chore: [bump python-jaraco.vcs_x] [deploy font@home/heavy,c++utilities]", &[]).await;
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    commit c++utilities [minor]: 2:5.26.1-1 -> 2:5.27.0-1
    review font@home [major]: 1.0_beta+r3-1 -> 1:0.9-1 needs a person
    commit python-jaraco.vcs_x: bumped to 1.0-1.1
    review ss14.launcher [major]: 1:1.0-1 -> 1:1.1-1 needs a person
    build c++utilities (directive)
    build python-jaraco.vcs_x (directive)
    build font@home (directive) class heavy after c++utilities
    open update-font@home
    open update-ss14.launcher
    update refs/heads/main
    update refs/heads/state
    update refs/tags/scheduled
    create refs/heads/update-font@home
    create refs/heads/update-ss14.launcher
    ");
    insta::assert_snapshot!(scene.monorepo.file(MAIN, "python-jaraco.vcs_x/.CI/config").await.unwrap(), @"
    CI_PKGBUILD_SOURCE=aur
    CI_PACKAGE_BUMP=1.0-1/1
    ");
    let head = scene.monorepo.id("refs/heads/update-ss14.launcher").await.unwrap().parse().unwrap();
    insta::assert_snapshot!(scene.told(Pipeline::Approve(base("ss14.launcher"), head, person("mira"))).await, @"
    commit ss14.launcher [major]: 1:1.0-1 -> 1:1.1-1, approved by mira
    build ss14.launcher (changed)
    close update-ss14.launcher: a person approved it
    update refs/heads/main
    update refs/heads/state
    update refs/tags/scheduled
    delete refs/heads/update-ss14.launcher
    ");
    insta::assert_snapshot!(scene.builds().await, @"
    tidewatch-git upstream ready
    c++utilities directive ready
    python-jaraco.vcs_x directive ready
    font@home directive waiting
    ss14.launcher changed waiting
    ");
    let deptree = scene.pkgwarden(&["graph", "--rev", "main", "--as", "deptree", "--only", "font@home"]).await.text();
    for entry in ["c++utilities:c++utilities:", "font@home:font@home:ss14.launcher"] {
        assert!(deptree.contains(entry), "{deptree}");
    }
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main chore(update): ss14.launcher
    refs/heads/state chore(state): update state
    refs/heads/update-font@home chore(update): font@home
    refs/tags/scheduled chore(update): ss14.launcher
    ");
}
