//! How builds stand is told beside the commit that is built, on every forge the same.

use std::time::Duration;

use pkgwarden::controller::face::Face as _;
use pkgwarden::domain::plan::Pipeline;
use tokio_util::sync::CancellationToken;

use crate::support::forges::http::Trouble;
use crate::support::forges::world::Kind;
use crate::support::offers::{Offers, on_every_fake};
use crate::support::scene::MAIN;
use crate::support::{Pkg, Scene};

/// More than any build here takes, on a slow machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_mins(2);

on_every_fake! {
    a_build_is_told_from_the_queue_to_its_end
    many_builds_are_one_line
    one_that_cannot_be_told_holds_up_no_other
    a_forge_that_is_down_hears_only_how_it_stands_by_then
}

async fn a_build_is_told_from_the_queue_to_its_end(kind: Kind) {
    let mut scene = Scene::of(&[Pkg::new("foo"), Pkg::new("bar")]).await;
    let offers = Offers::on(&mut scene, kind).await;
    let mut changes = Pkg::new("foo").release("2").changes();
    changes.extend(Pkg::new("bar").release("2").built_by("false").changes());
    let commit = scene.push("feat: two", &changes).await;
    let serving = scene.controller();
    serving.controller.start(Pipeline::OnCommit, "test").await.unwrap();
    let queued = "pkgwarden/bar pending: It is queued\npkgwarden/foo pending: It is queued\n";
    assert_eq!(offers.beside(&commit).await, queued);
    let (stop, dispatcher) = (CancellationToken::new(), serving.dispatcher.clone().unwrap());
    let running = tokio::spawn(dispatcher.run(stop.clone()));
    let store = scene.store();
    let ended = async {
        let mut changes = serving.controller.store().subscribe();
        while !store.queue(None).await.unwrap().is_empty() {
            changes.changed().await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.expect("the builds end");
    stop.cancel();
    running.await.unwrap();
    serving.controller.start(Pipeline::OnCommit, "test").await.unwrap();
    let beside = offers.beside(&commit).await;
    assert!(beside.starts_with("pkgwarden/bar failure: It does not build: "), "{beside}");
    assert!(beside.ends_with("\npkgwarden/foo success: It is built and published\n"), "{beside}");
    assert_eq!(offers.times(&commit).await, 4, "each change once");
    assert_eq!(offers.beside(&scene.monorepo.id(&format!("{MAIN}~1")).await.unwrap()).await, "");
    drop(serving);
    scene.ends().await;
}

async fn many_builds_are_one_line(kind: Kind) {
    let names: Vec<String> = (0..25).map(|number| format!("p{number}")).collect();
    let mut scene = Scene::of(&names.iter().map(|name| Pkg::new(name)).collect::<Vec<_>>()).await;
    let offers = Offers::on(&mut scene, kind).await;
    let changes: Vec<_> = names.iter().flat_map(|name| Pkg::new(name).release("2").changes()).collect();
    let commit = scene.push("chore: all", &changes).await;
    scene.run(Pipeline::OnCommit).await;
    assert_eq!(offers.beside(&commit).await, "pkgwarden/builds pending: 25 packages: 25 to come\n");
    assert_eq!(offers.times(&commit).await, 1);
    scene.ends().await;
}

async fn one_that_cannot_be_told_holds_up_no_other(kind: Kind) {
    let mut scene = Scene::of(&[Pkg::new("foo"), Pkg::new("bar")]).await;
    let offers = Offers::on(&mut scene, kind).await;
    let mut changes = Pkg::new("foo").release("2").changes();
    changes.extend(Pkg::new("bar").release("2").changes());
    let commit = scene.push("feat: two", &changes).await;
    offers.fake.spoils("POST", &commit, Trouble::status(500), 1).await;
    scene.run(Pipeline::OnCommit).await;
    assert_eq!(offers.beside(&commit).await.lines().count(), 1);
    scene.later();
    scene.run(Pipeline::OnCommit).await;
    assert_eq!((offers.beside(&commit).await.lines().count(), offers.times(&commit).await), (2, 2));
    scene.ends().await;
}

async fn a_forge_that_is_down_hears_only_how_it_stands_by_then(kind: Kind) {
    let mut scene = Scene::of(&[Pkg::new("foo")]).await;
    let offers = Offers::on(&mut scene, kind).await;
    offers.fake.is_down().await;
    let first = scene.push("feat(foo): two", &Pkg::new("foo").release("2").changes()).await;
    scene.run(Pipeline::OnCommit).await;
    scene.later();
    let second = scene.push("feat(foo): three", &Pkg::new("foo").release("3").changes()).await;
    scene.run(Pipeline::OnCommit).await;
    assert_eq!(offers.beside(&first).await, "");
    offers.fake.works_again().await;
    scene.later();
    scene.run(Pipeline::OnCommit).await;
    assert_eq!(offers.beside(&first).await, "pkgwarden/foo success: A newer build takes its place\n");
    assert_eq!(offers.beside(&second).await, "pkgwarden/foo pending: It is queued\n");
    assert_eq!((offers.times(&first).await, offers.times(&second).await), (1, 1));
    scene.later();
    scene.run(Pipeline::OnCommit).await;
    assert_eq!(offers.times(&second).await, 1, "nothing is told twice");
    scene.ends().await;
}

/// What was promised in the transaction is told however often the program is killed, and it is the same each time.
#[cfg(feature = "failpoints")]
mod killed {
    use super::{Kind, Offers, Pkg, Scene};
    use crate::support::offers::on_every_fake;

    on_every_fake! {
        before_or_after_it_was_told_it_is_told
    }

    async fn before_or_after_it_was_told_it_is_told(kind: Kind) {
        let mut scene = Scene::of(&[Pkg::new("foo")]).await;
        let offers = Offers::on(&mut scene, kind).await;
        let commit = scene.push("feat(foo): two", &Pkg::new("foo").release("2").changes()).await;
        let run = async |fail_points: &str| {
            let env = [("FAILPOINTS", fail_points)];
            scene.pkgwarden_in(scene.monorepo.path(), &["run", "on-commit"], &env).await.code
        };
        assert_eq!(run("apply.settled=return").await, None, "killed");
        assert_eq!(offers.beside(&commit).await, "");
        let queued = "pkgwarden/foo pending: It is queued\n";
        for (fail_points, code) in [("statuses.told=return", None), ("statuses.told=return", None), ("", Some(0))] {
            assert_eq!(run(fail_points).await, code);
            assert_eq!((offers.beside(&commit).await.as_str(), offers.times(&commit).await), (queued, 1));
        }
        offers.fake.told().await;
        assert_eq!(run("statuses.told=return").await, Some(0), "nothing is left to tell");
        let told = offers.fake.told().await;
        assert!(!told.iter().any(|line| line.contains(&commit)), "{told:?}");
        scene.ends().await;
    }
}
