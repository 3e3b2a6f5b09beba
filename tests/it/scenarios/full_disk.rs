//! A disk that is full: a clear word about where and what to do, nothing half done, nothing lost, and what was
//! left is done when there is room again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use nix::sys::signal::Signal;
use pkgwarden::app::Serving;
use pkgwarden::controller::dispatch::Dispatcher;
use pkgwarden::controller::face::{BuildFilter, Face as _};
use pkgwarden::domain::build::BuildState;
use pkgwarden::domain::plan::Pipeline;
use pkgwarden::store::queries::{self, BuildDetail};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::full_disk::{Disk, on_a_disk_of_its_own};
use crate::support::scene::{builds_in, names_in, nothing_open_in};
use crate::support::{Pkg, Scene};

/// More than anything here takes, on a slow machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_mins(2);
const BUILDS: &str = "foo changed ready\nbar directive waiting\n";

/// Two builds to enqueue, one of which waits for the other.
async fn two_builds() -> Scene {
    let scene = Scene::of(&[Pkg::new("foo"), Pkg::new("bar").needs(&["foo"])]).await;
    scene.push("feat(foo): two [deploy bar]", &Pkg::new("foo").release("2").changes()).await;
    scene
}

/// Asks again and again.
pub async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    let asks = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asks).await.expect("it happens");
}

/// One that can be read at once, with the place and what to do.
fn assert_clear(said: &str, place: &str) {
    let clear = said.contains("the disk is full") && said.contains(place) && said.contains("make room");
    assert!(clear, "not clear about {place}: {said}");
}

#[tokio::test]
async fn a_run_without_room_moves_all_or_nothing_and_the_next_one_does_the_rest() {
    on_a_disk_of_its_own("scenarios::full_disk::runs_without_room").await;
}

#[tokio::test]
#[ignore = "the process of `a_run_without_room_moves_all_or_nothing_and_the_next_one_does_the_rest`"]
async fn runs_without_room() {
    let (disk, scene) = (Disk::given(), two_builds().await);
    for (number, left) in [0, 16, 64, 96, 192, 1024].into_iter().enumerate() {
        for has_record in [false, true] {
            let monorepo = scene.monorepo.copy_to(&scene.path(&format!("{number}-{has_record}.git"))).await;
            let data_dir = disk.path("data");
            let shown = data_dir.display().to_string();
            let env = [("PKGWARDEN__SERVER__DATA_DIR", shown.as_str())];
            if has_record {
                let first = scene.pkgwarden_in(monorepo.path(), &["run", "trigger", "nobody"], &env).await;
                assert_eq!(first.code, Some(3), "{}", first.stderr);
            }
            let before = monorepo.refs().await;
            disk.fill_but(left << 10);
            let ran = scene.pkgwarden_in(monorepo.path(), &["run", "on-commit"], &env).await;
            if ran.code != Some(0) {
                assert_eq!(ran.code, Some(1), "{left} KiB: {}", ran.stderr);
                assert_clear(&ran.stderr, &shown);
            }
            let after = monorepo.refs().await;
            disk.empty();
            let again = scene.pkgwarden_in(monorepo.path(), &["run", "on-commit"], &env).await;
            assert_eq!(again.code, Some(0), "{left} KiB: {}", again.stderr);
            assert!([&before, &monorepo.refs().await].contains(&&after), "{left} KiB: half moved: {after}");
            nothing_open_in(&data_dir).await;
            assert_eq!(builds_in(&data_dir).await, BUILDS, "{left} KiB, {}", ran.stderr);
            std::fs::remove_dir_all(data_dir).unwrap();
        }
    }
    disk.fill_but(0);
    let tmp = disk.path("").display().to_string();
    let plan = scene.pkgwarden_in(scene.monorepo.path(), &["plan", "on-commit"], &[("TMPDIR", &tmp)]).await;
    assert_clear(&plan.stderr, tmp.trim_end_matches('/'));
    scene.ends().await;
}

#[tokio::test]
async fn serve_without_room_says_so_and_goes_on_when_there_is_room() {
    on_a_disk_of_its_own("scenarios::full_disk::serves_without_room").await;
}

#[tokio::test]
#[ignore = "the process of `serve_without_room_says_so_and_goes_on_when_there_is_room`"]
async fn serves_without_room() {
    let (disk, scene) = (Disk::given(), two_builds().await);
    let data_dir = disk.path("data");
    let shown = data_dir.display().to_string();
    let env = [
        ("PKGWARDEN__SERVER__DATA_DIR", shown.as_str()),
        ("PKGWARDEN__SERVER__LISTEN", "127.0.0.1:0"),
        ("PKGWARDEN__SERVER__POLL", "1s"),
        ("PKGWARDEN__EXECUTOR__KIND", "none"),
    ];
    disk.fill_but(0);
    let (code, said) = scene.serve(&[], &env).ended().await;
    assert_eq!(code, Some(1), "{said}");
    assert_clear(&said, &shown);
    disk.empty();

    scene.hand_out().await;
    let mut serve = scene.serve(&[], &env);
    serve.says("listening on").await;
    let full = disk.keep_full();
    let before = scene.monorepo.refs().await;
    scene.push("feat(foo): three [deploy bar]", &Pkg::new("foo").release("3").changes()).await;
    let pushed = scene.monorepo.refs().await;
    assert_ne!(pushed, before);
    assert_clear(&serve.says("the disk is full").await, &shown);
    assert_eq!(scene.monorepo.refs().await, pushed);
    drop(full);
    until(async || scene.monorepo.refs().await != pushed).await;
    serve.signal(Signal::SIGTERM);
    assert_eq!(serve.ended().await.0, Some(0));
    scene.ends().await;
}

/// The line of `build()` of a package that waits until the test lets it go on.
const WAITS: &str = "until test -e /startdir/go; do sleep 0.05; done";

/// A build of `foo` under way, and where it works.
async fn a_build_under_way(scene: &Scene, serving: &Serving) -> (Building, PathBuf) {
    scene.push("feat(foo): two", &Pkg::new("foo").release("2").built_by(WAITS).changes()).await;
    serving.controller.start(Pipeline::OnCommit, "test").await.unwrap();
    let building = Building::of(serving);
    let logs = serving.controller.logs();
    let mut attempt = None;
    until(async || {
        let build = serving.controller.builds(BuildFilter { limit: 1, ..BuildFilter::default() }).await.unwrap();
        attempt.clone_from(&build[0].attempt);
        let Some(attempt) = &attempt else { return false };
        String::from_utf8_lossy(&logs.read(attempt, 0, 1 << 20).unwrap()).contains("Starting build()")
    })
    .await;
    let start = Path::new("work").join(attempt.unwrap()).join("tree/start");
    (building, start)
}

/// Builds being handed out, until [`Building::stop`].
struct Building {
    stop: CancellationToken,
    dispatcher: Arc<Dispatcher>,
    running: JoinHandle<()>,
}

impl Building {
    fn of(serving: &Serving) -> Self {
        let (stop, dispatcher) = (CancellationToken::new(), serving.dispatcher.clone().unwrap());
        let running = tokio::spawn(dispatcher.clone().run(stop.clone()));
        Self { stop, dispatcher, running }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.running.await.unwrap();
        self.dispatcher.drain(Duration::ZERO).await;
    }
}

/// The newest build, and what its last attempt left.
async fn newest(scene: &Scene) -> BuildDetail {
    let store = scene.store();
    let builds = store.builds(queries::BuildFilter::default(), 1).await.unwrap();
    store.build(builds[0].id).await.unwrap().unwrap()
}

#[tokio::test]
async fn what_cannot_be_published_waits_for_room_also_beyond_a_restart() {
    on_a_disk_of_its_own("scenarios::full_disk::publishes_without_room").await;
}

#[tokio::test]
#[ignore = "the process of `what_cannot_be_published_waits_for_room_also_beyond_a_restart`"]
async fn publishes_without_room() {
    let disk = Disk::given();
    let mut scene = Scene::of(&[Pkg::new("foo")]).await;
    let published = disk.path("published");
    scene.env.insert("PKGWARDEN__PUBLISH__DIR".to_owned(), published.display().to_string());
    let serving = scene.controller();
    let (building, start) = a_build_under_way(&scene, &serving).await;
    disk.fill_but(0);
    std::fs::write(scene.path("data").join(&start).join("go"), "").unwrap();
    let artefacts = scene.path("data").join(start.parent().unwrap().with_file_name("artefacts"));
    until(async || scene.path("data").join(&start).parent().is_some_and(|tree| !tree.exists())).await;
    building.stop().await;
    drop(serving);
    assert!(!published.join("test.db").exists());
    assert_eq!(names_in(&artefacts), ["foo-1.0-2-any.pkg.tar.zst"], "it is kept");
    assert_eq!(newest(&scene).await.build.state, BuildState::Running);

    let serving = scene.controller();
    let building = Building::of(&serving);
    disk.empty();
    until(async || newest(&scene).await.build.state.is_final()).await;
    building.stop().await;
    insta::assert_snapshot!(scene.builds().await, @"foo changed succeeded");
    assert!(published.join("test.db").exists());
    assert_eq!(newest(&scene).await.attempts.len(), 1, "it was built once");
    scene.ends().await;
}

#[tokio::test]
async fn a_build_that_fills_the_disk_is_recorded_when_there_is_room_and_tried_again_then() {
    on_a_disk_of_its_own("scenarios::full_disk::builds_without_room").await;
}

#[tokio::test]
#[ignore = "the process of `a_build_that_fills_the_disk_is_recorded_when_there_is_room_and_tried_again_then`"]
async fn builds_without_room() {
    let disk = Disk::given();
    let mut scene = Scene::of(&[Pkg::new("foo")]).await;
    let data = disk.path("data");
    scene.env.insert("PKGWARDEN__SERVER__DATA_DIR".to_owned(), data.display().to_string());
    let serving = scene.controller();
    let (building, start) = a_build_under_way(&scene, &serving).await;
    let full = disk.keep_full();
    std::fs::File::create(data.join(&start).join("go")).unwrap();
    until(async || !data.join(&start).exists()).await;
    drop(full);
    until(async || newest(&scene).await.attempts[0].ended_at.is_some()).await;
    let lost = newest(&scene).await;
    assert_eq!(lost.build.state, BuildState::Ready);
    assert_clear(lost.build.message.as_deref().unwrap(), "data");

    disk.fill_but(32 << 20);
    scene.clock.advance(SignedDuration::from_hours(1));
    until(async || serving.dispatcher.as_ref().unwrap().is_held_up()).await;
    assert_eq!(newest(&scene).await.attempts.len(), 1, "none is used up while there is no room");
    disk.empty();
    until(async || newest(&scene).await.attempts.len() == 2).await;
    building.stop().await;
    scene.ends().await;
}
