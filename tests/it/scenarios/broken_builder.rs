//! A builder whose machine breaks while it runs.

use pkgwarden::domain::build::BuildState;
use pkgwarden::store::builds::Build;

use crate::support::Pkg;
use crate::support::fleet::Fleet;
use crate::support::scene::write_program;

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_set_up_a_sandbox_any_more_takes_nothing_until_it_can() {
    let mut fleet = Fleet::of(&[Pkg::new("foo")], &[]).await;
    let (tools, broken) = (fleet.scene.path("tools"), fleet.scene.path("broken"));
    let path = pkgwarden::sys::env::var("PATH").unwrap();
    let bwrap = format!(
        "#!/bin/sh\n[ ! -e {} ] || {{ echo 'bwrap: No permissions to create new namespace' >&2; exit 1; }}\n\
         PATH={path} exec bwrap \"$@\"\n",
        broken.display()
    );
    write_program(&tools.join("bwrap"), &bwrap);
    fleet.begin_with("one", &[], &[("PATH", &format!("{}:{path}", tools.display()))]);
    let is_over = |builds: &[Build]| builds.iter().all(|build| build.state == BuildState::Succeeded);
    fleet.until("the first build", is_over).await;

    std::fs::write(&broken, "").unwrap();
    fleet.scene.push("feat(foo): three", &Pkg::new("foo").release("3").changes()).await;
    let told = fleet.builders[0].1.says("takes no builds until").await;
    assert!(told.contains("No permissions to create new namespace"), "{told}");
    let queue = async {
        loop {
            let queue = fleet.scene.pkgwarden(&["ctl", "queue"]).await.stdout;
            if queue.contains("one takes no builds now: this machine cannot build packages") {
                return;
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_mins(2), queue).await.expect("the queue says so, too");

    fleet.begin("two", &[]);
    let is_there = |builds: &[Build]| builds.len() == 2 && is_over(builds);
    fleet.until("the second build, by another builder", is_there).await;
    let attempt = fleet.attempt("foo").await;
    let log = std::fs::read_to_string(fleet.scene.path(&format!("data/logs/{}.log", attempt.id))).unwrap();
    assert!(log.contains("builder two "), "{log}");
    let latest = fleet.builds().await.into_iter().max_by_key(|build| build.id).unwrap();
    assert_eq!(latest.attempts, 2, "the one that broke did not try again");

    std::fs::remove_file(&broken).unwrap();
    fleet.builders[0].1.says("builds can be carried out here again").await;
    fleet.end().await;
}
