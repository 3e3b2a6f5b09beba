//! What is urgent goes first, with all that it needs, for as long as somebody waits for it.

use pkgwarden::app::Serving;
use pkgwarden::controller::face::Face as _;
use pkgwarden::domain::plan::Pipeline;
use pkgwarden::domain::target::Target;

use crate::support::scene::base;
use crate::support::{Pkg, Scene};

/// The lanes of what is in the queue, by package.
async fn lanes(serving: &Serving) -> Vec<String> {
    let queue = serving.controller.queue().await.unwrap();
    let builds = queue.ready.iter().chain(&queue.waiting);
    let mut lanes: Vec<_> = builds.map(|build| format!("{} {}", build.pkgbase, build.lane.as_str())).collect();
    lanes.sort();
    lanes
}

fn deploy(name: &str) -> Pipeline {
    Pipeline::Deploy(vec![Target::parse(name).expect("no class")])
}

#[tokio::test]
async fn a_library_is_urgent_for_as_long_as_somebody_urgent_waits_for_it() {
    let packages = [Pkg::new("lib"), Pkg::new("app").needs(&["lib"]), Pkg::new("tool").needs(&["lib"])];
    let scene = Scene::of(&packages).await;
    scene.push("chore: rebuild the world [deploy all]", &[]).await;
    let serving = scene.controller();
    serving.controller.start(Pipeline::OnCommit, "test").await.unwrap();
    assert_eq!(lanes(&serving).await, ["app mass", "lib mass", "tool mass"]);

    serving.controller.start(deploy("app"), "test").await.unwrap();
    assert_eq!(lanes(&serving).await, ["app deploy", "lib deploy", "tool mass"]);
    drop(serving);

    let serving = scene.controller();
    let [app] = serving.controller.store().last_builds("packages", &base("app"), 1).await.unwrap().try_into().unwrap();
    serving.controller.cancel(&app.id.to_string()).await.unwrap();
    assert_eq!(lanes(&serving).await, ["lib mass", "tool mass"], "nobody urgent waits for it any more");
    serving.controller.start(deploy("tool"), "test").await.unwrap();
    assert_eq!(lanes(&serving).await, ["lib deploy", "tool deploy"]);
    drop(serving);
    scene.ends().await;
}
