//! Builds that an existing Chaotic Manager carries out and publishes, by the real `serve`.

use nix::sys::signal::Signal;
use pkgwarden::executor::chaotic::Era;
use serde_json::json;

use crate::executors::chaotic::{World, until};
use crate::support::repo::Change;
use crate::support::scene::names_in;
use crate::support::{Pkg, Scene};

/// A monorepo with two packages, and a dependency that was released anew; a manager builds it.
async fn scene(world: &World, protocol: &str) -> Scene {
    let mut scene = Scene::of(&[Pkg::new("foo"), Pkg::new("bar").needs(&["foo"])]).await;
    let config = format!(
        "[[repository]]\nname = \"packages\"\nurl = \"{}\"\n[server]\nlisten = \"127.0.0.1:0\"\npoll = \"1s\"\n[executor]\n\
         kind = \"chaotic\"\nslots = 2\n[executor.chaotic]\nprotocol = \"{protocol}\"\nurl = \"{}\"\n",
        scene.monorepo.path().display(),
        world.redis.url()
    );
    std::fs::write(scene.path("pkgwarden.toml"), config).unwrap();
    scene.env.retain(|key, _| !key.starts_with("PKGWARDEN__EXECUTOR"));
    let commit = scene.push("feat(foo): two [deploy bar]", &Pkg::new("foo").release("2").changes()).await;
    world.tell(&commit, "succeeds");
    scene
}

async fn a_release_and_a_removal(era: Era, protocol: &str, removal: &str) -> Vec<serde_json::Value> {
    let world = World::new(era).await;
    let scene = scene(&world, protocol).await;
    let mut serve = scene.serve(&["-v", "--config", scene.path("pkgwarden.toml").to_str().unwrap()], &[]);
    serve.says("a build ended").await;
    serve.says("a build ended").await;
    scene.push("feat: drop bar", &[Change::Remove("bar".to_owned())]).await;
    serve.says("removed packages that left the monorepo").await;
    until(|| world.asked(removal).iter().any(|said| said.to_string().contains("pkgbases"))).await;
    until(|| names_in(&scene.path("data/chaotic")).is_empty() && world.open_builds().is_empty()).await;
    serve.signal(Signal::SIGTERM);
    assert_eq!(serve.ended().await.0, Some(0));
    assert_eq!(scene.builds().await, "foo changed succeeded\nbar directive succeeded\n");
    assert_eq!(names_in(&scene.path("published/packages")), [""; 0], "it is published elsewhere");
    scene.ends().await;
    let asked: Vec<_> = ["coordinator.addJobsToQueue", "dispatch"].iter().flat_map(|what| world.asked(what)).collect();
    let removals = world.asked(removal).into_iter().filter(|said| said.to_string().contains("pkgbases"));
    asked.into_iter().chain(removals).collect()
}

#[tokio::test]
async fn a_release_is_built_in_order_and_a_package_that_left_is_removed_over_the_bus() {
    let asked = a_release_and_a_removal(Era::Bus, "moleculer", "coordinator.autoRepoRemove").await;
    let packages: Vec<_> = asked[..2].iter().map(|said| said["params"]["packages"][0]["pkgbase"].clone()).collect();
    assert_eq!(packages, [json!("foo"), json!("bar")]);
    assert_eq!(
        (&asked[0]["params"]["target_repo"], &asked[0]["params"]["source_repo"]),
        (&json!("test"), &json!("test"))
    );
    assert_eq!(asked[2]["params"], json!({"pkgbases": ["foo"], "arch": "x86_64", "repo": "test"}));
    assert_eq!(asked.len(), 3, "{asked:#?}");
}

#[tokio::test]
async fn a_release_is_built_in_order_and_a_package_that_left_is_removed_through_the_queues() {
    let asked = a_release_and_a_removal(Era::Queues, "bullmq", "database").await;
    let packages: Vec<_> =
        asked[..2].iter().map(|said| said["data"]["data"]["packages"][0]["pkgbase"].clone()).collect();
    assert_eq!(packages, [json!("foo"), json!("bar")]);
    assert_eq!(asked[2]["id"], "test/repo-remove/internal");
    assert_eq!(asked[2]["data"], json!({"pkgbases": ["foo"], "arch": "x86_64", "repo": "test"}));
    assert_eq!(asked.len(), 3, "{asked:#?}");
}
