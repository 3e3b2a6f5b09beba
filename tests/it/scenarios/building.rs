//! Builds handed out by the long-running controller, with the real makepkg.

use std::time::Duration;

use jiff::SignedDuration;
use pkgwarden::app::Serving;
use pkgwarden::controller::face::{Face as _, PackageFilter};
use pkgwarden::domain::plan::Pipeline;
use pkgwarden::store::queries::BuildFilter;
use tokio_util::sync::CancellationToken;

use crate::support::scene::{MAIN, base};
use crate::support::{Change, Pkg, Scene};

/// More than any build here takes, on a slow machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_mins(2);

/// Hands out what is enqueued until nothing is left to do.
pub async fn build_all(scene: &Scene, serving: &Serving) {
    let stop = CancellationToken::new();
    let dispatcher = serving.dispatcher.clone().unwrap();
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
}

#[tokio::test]
async fn without_a_name_the_published_repository_is_called_repo_name() {
    let scene = Scene::of(&[Pkg::new("foo")]).await;
    scene.push("feat(foo): two", &Pkg::new("foo").release("2").changes()).await;
    let serving = scene.controller();
    serving.controller.start(Pipeline::OnCommit, "test").await.unwrap();
    build_all(&scene, &serving).await;
    insta::assert_snapshot!(scene.builds().await, @"foo changed succeeded");
    assert!(scene.path("published/test.db").exists(), "REPO_NAME of its .ci/config is `test`");

    let page = serving.controller.package(&base("foo")).await.unwrap().unwrap();
    let last = page.package.last_build.expect("built");
    assert!(last.attempt.is_some() && last.attempt == page.builds[0].attempt, "{last:?}");
    let listed = serving.controller.packages(PackageFilter::default()).await.unwrap();
    assert_eq!(listed[0].last_build.as_ref().unwrap().attempt, last.attempt, "the list leads to the log as well");
    scene.ends().await;
}

#[tokio::test]
async fn a_package_whose_pkgver_never_ends_is_stopped_and_told() {
    let mut scene = Scene::of(&[Pkg::new("endless"), Pkg::new("other")]).await;
    scene.env.insert("PKGWARDEN__EXECUTOR__TIMEOUT".to_owned(), "10s".to_owned());
    let pkgbuild = scene.monorepo.file(MAIN, "endless/PKGBUILD").await.unwrap();
    let pkgbuild = pkgbuild.replace("\nbuild()", "\npkgver() {\n  while :; do :; done\n}\n\nbuild()");
    scene.push("feat(endless): two", &[Change::put("endless/PKGBUILD", pkgbuild)]).await;
    let serving = scene.controller();
    serving.controller.start(Pipeline::OnCommit, "test").await.unwrap();
    build_all(&scene, &serving).await;
    insta::assert_snapshot!(scene.builds().await, @"endless changed timed_out");
    let build = &scene.store().builds(BuildFilter::default(), 1).await.unwrap()[0];
    assert_eq!(build.message.as_deref(), Some("the build took too long"));
    scene.ends().await;
}

/// makepkg writes the time of the commit: this is what is built of one that was made by a clock which is days ahead, or
/// is read by a controller whose clock is days behind.
#[tokio::test]
async fn a_build_from_the_future_is_not_published_and_tried_again_and_nobodys_fault() {
    const DAYS: SignedDuration = SignedDuration::from_hours(3 * 24);
    let scene = Scene::of(&[Pkg::new("foo")]).await;
    let changes = Pkg::new("foo").release("2").changes();
    scene.monorepo.commit(MAIN, "feat(foo): two", &changes, scene.now() + DAYS).await;
    let serving = scene.controller();
    serving.controller.start(Pipeline::OnCommit, "test").await.unwrap();
    let stop = CancellationToken::new();
    let running = tokio::spawn(serving.dispatcher.clone().unwrap().run(stop.clone()));
    let store = scene.store();
    let first = async {
        let mut changes = serving.controller.store().subscribe();
        loop {
            let build = store.builds(BuildFilter::default(), 1).await.unwrap()[0].id;
            let detail = store.build(build).await.unwrap().unwrap();
            if detail.attempts.first().is_some_and(|attempt| attempt.ended_at.is_some()) {
                break detail;
            }
            changes.changed().await.unwrap();
        }
    };
    let first = tokio::time::timeout(PATIENCE, first).await.expect("the attempt ends");
    stop.cancel();
    running.await.unwrap();
    insta::assert_snapshot!(scene.builds().await, @"foo changed ready");
    let said = first.build.message.unwrap_or_default();
    let (built, now) = (scene.now() + DAYS, scene.now());
    for told in ["a clock is wrong", &format!("built at {built}"), &format!("it is {now}"), "set the clock"] {
        assert!(said.contains(told), "{told}: {said}");
    }
    let log = serving.controller.logs().read(&first.attempts[0].id, 0, 1 << 20).unwrap();
    let log = String::from_utf8_lossy(&log);
    assert!(log.contains("not published: ") && !scene.path("published/test.db").exists(), "{log}");

    drop(serving);
    scene.clock.advance(DAYS);
    build_all(&scene, &scene.controller()).await;
    insta::assert_snapshot!(scene.builds().await, @"foo changed succeeded");
    scene.ends().await;
}

#[tokio::test]
async fn what_another_process_recorded_is_built_by_a_server_that_has_fetched_nothing_yet() {
    let scene = Scene::of(&[Pkg::new("foo")]).await;
    scene.push("feat(foo): two", &Pkg::new("foo").release("2").changes()).await;
    scene.run(Pipeline::OnCommit).await;
    let serving = scene.controller();
    build_all(&scene, &serving).await;
    insta::assert_snapshot!(scene.builds().await, @"foo changed succeeded");
    let detail = scene.store().build(scene.store().builds(BuildFilter::default(), 1).await.unwrap()[0].id).await;
    assert_eq!(detail.unwrap().unwrap().attempts.len(), 1, "it could be handed out at once");
    scene.ends().await;
}
