//! Several packages change alike in one run: an attack, until a person says otherwise, or a rebuild.

use pkgwarden::controller::face::Face as _;
use pkgwarden::domain::plan::Pipeline;

use crate::support::scene::base;
use crate::support::{Pkg, Scene};

const NAMES: [&str; 4] = ["ashes", "birch", "cedar", "douglas"];

/// Four packages from the AUR, the last of which nobody attacks.
async fn kept() -> Scene {
    let scene = Scene::with_aur().await;
    scene.keeps(&NAMES.map(Pkg::from_aur)).await;
    scene
}

async fn released(scene: &Scene, packages: impl IntoIterator<Item = Pkg>) {
    for package in packages {
        scene.aur_release(&package).await;
    }
}

/// Wave two of June 2026, spelt in three ways.
#[tokio::test]
async fn a_package_of_npm_that_three_packages_fetch_at_once_holds_them_all_and_the_run_says_so() {
    let scene = kept().await;
    let lines = ["bun add js-digest", "'b''u''n' add js-'dig'est", "cd /tmp && bun install js-digest@1.0 decoy"];
    let update = |(name, line): (&str, &str)| Pkg::from_aur(name).version("1.1").built_by(line);
    released(&scene, NAMES.into_iter().zip(lines).map(update)).await;
    released(&scene, [Pkg::from_aur("douglas").version("1.1")]).await;
    let report = scene.run(Pipeline::OnSchedule).await;
    insta::assert_snapshot!(crate::support::told::told(&report.document), @"
    review ashes [major]: 1.0-1 -> 1.1-1 needs a person
    review birch [major]: 1.0-1 -> 1.1-1 needs a person
    review cedar [major]: 1.0-1 -> 1.1-1 needs a person
    commit douglas [minor]: 1.0-1 -> 1.1-1
    build douglas (changed)
    open update-ashes
    open update-birch
    open update-cedar
    update refs/heads/main
    update refs/heads/state
    update refs/tags/scheduled
    create refs/heads/update-ashes
    create refs/heads/update-birch
    create refs/heads/update-cedar
    error [campaign] 3 packages got the same new package fetched by a package manager in one run, `js-digest`: ashes, birch, cedar; their updates are held -> read their reviews together; `pkgwarden audit` finds where else it is
    ");
    let ashes = report.document.packages.iter().find(|decision| decision.pkgbase.as_str() == "ashes").unwrap();
    let reason = ashes.reasons.iter().find(|reason| reason.code == "campaign").unwrap();
    insta::assert_snapshot!(reason.message, @"the same new package fetched by a package manager came to other packages at the same time: birch, cedar");
    let message = scene.monorepo.git(&["log", "-1", "--format=%B", "update-ashes"]).await;
    assert!(message.contains(&reason.message), "the review says it too: {message}");
    let serving = scene.controller();
    serving.controller.start(Pipeline::OnCommit, "test").await.unwrap();
    let review = serving.controller.review(&base("ashes")).await.unwrap().unwrap();
    assert!(review.message.contains(&reason.message), "whoever decides reads it: {}", review.message);
    drop(serving);
    scene.ends().await;
}

#[tokio::test]
async fn a_host_that_is_new_in_three_packages_holds_even_where_nobody_asks_for_reviews() {
    let scene = kept().await;
    let config = scene.monorepo.file("main", ".ci/config").await.unwrap();
    let config = format!("{config}\nCI_HUMAN_REVIEW=false\n");
    scene.push("chore: no reviews", &[crate::support::Change::put(".ci/config", config)]).await;
    let update = |name: &str| Pkg::from_aur(name).version("1.1").sources(&["https://cdn.mallory.example/x.tar.gz"]);
    released(&scene, NAMES[..3].iter().map(|name| update(name))).await;
    released(&scene, [Pkg::from_aur("douglas").version("1.1").built_by("make")]).await;
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    review ashes [major]: 1.0-1 -> 1.1-1 needs a person
    review birch [major]: 1.0-1 -> 1.1-1 needs a person
    review cedar [major]: 1.0-1 -> 1.1-1 needs a person
    commit douglas [major]: 1.0-1 -> 1.1-1
    build douglas (changed)
    open update-ashes
    open update-birch
    open update-cedar
    update refs/heads/main
    update refs/heads/state
    update refs/tags/scheduled
    create refs/heads/update-ashes
    create refs/heads/update-birch
    create refs/heads/update-cedar
    error [campaign] 3 packages got the same new host in one run, `cdn.mallory.example`: ashes, birch, cedar; their updates are held -> read their reviews together; `pkgwarden audit` finds where else it is
    warning [config-duplicate-key] .ci/config:8: CI_HUMAN_REVIEW is assigned more than once -> the last one counts; remove the others
    ");
    scene.ends().await;
}

#[tokio::test]
async fn packages_that_are_rebuilt_or_released_together_are_no_campaign() {
    let scene = kept().await;
    released(&scene, NAMES.map(|name| Pkg::from_aur(name).release("2"))).await;
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    commit ashes [minor]: 1.0-1 -> 1.0-2
    commit birch [minor]: 1.0-1 -> 1.0-2
    commit cedar [minor]: 1.0-1 -> 1.0-2
    commit douglas [minor]: 1.0-1 -> 1.0-2
    build ashes (changed)
    build birch (changed)
    build cedar (changed)
    build douglas (changed)
    update refs/heads/main
    update refs/heads/state
    update refs/tags/scheduled
    ");
    released(&scene, NAMES.map(|name| Pkg::from_aur(name).version("2.0"))).await;
    let report = scene.run(Pipeline::OnSchedule).await;
    assert_eq!((report.document.builds.len(), report.document.reviews.len()), (4, 0));
    // They all begin to need what is here already: that is read, one by one, and is no campaign.
    released(&scene, NAMES[..3].iter().map(|name| Pkg::from_aur(name).version("2.1").needs(&["douglas"]))).await;
    let report = scene.run(Pipeline::OnSchedule).await;
    assert_eq!(report.document.reviews.len(), 3);
    assert!(report.document.problems.iter().all(|problem| problem.code != "campaign"));
    scene.ends().await;
}
