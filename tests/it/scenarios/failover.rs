//! A Redis whose master dies while sentinels watch over it.

use pkgwarden::domain::build::BuildState;

use crate::support::fleet::Fleet;
use crate::support::redis::Redis;
use crate::support::sentinels::Sentinels;
use crate::support::{Pkg, Scene};

#[tokio::test(flavor = "multi_thread")]
async fn when_the_master_dies_in_the_middle_of_a_build_another_takes_over_and_each_build_ends_once() {
    let long = Pkg::new("long").built_by("until [[ -e $startdir/go ]]; do sleep 0.1; done");
    let packages = [long, Pkg::new("next").needs(&["long"])];
    let scene = Scene::of(&packages).await;
    let mut master = Redis::start(&scene.path("master"), &[]).await;
    let of = master.port.to_string();
    let replica = Redis::start(&scene.path("replica"), &["--replicaof", "127.0.0.1", &of]).await;
    let sentinels = Sentinels::watch(&scene.path(""), &master).await;
    let mut fleet = Fleet::on(scene, &packages, replica, &sentinels.url()).await;
    fleet.begin("one", &[]);
    fleet.until("a build", |builds| builds.iter().any(|build| build.state == BuildState::Running)).await;
    let attempt = fleet.attempt("long").await.id;
    let start = fleet.begun("one", &attempt).await;

    master.kill().await;
    sentinels.name(&fleet.redis).await;
    std::fs::write(start.join("go"), "").unwrap();
    let over = |state: BuildState| {
        !matches!(state, BuildState::Waiting | BuildState::Ready | BuildState::Dispatched | BuildState::Running)
    };
    let builds = fleet.until("the end", |builds| builds.iter().all(|build| over(build.state))).await;
    for build in &builds {
        assert_eq!((build.state, build.attempts), (BuildState::Succeeded, 1), "{}: {:?}", build.pkgbase, build.message);
    }
    assert_eq!(fleet.attempt("long").await.id, attempt);
    assert_eq!(fleet.published(), ["long-1.0-2-any.pkg.tar.zst", "next-1.0-2-any.pkg.tar.zst"]);
    fleet.end().await;
}
