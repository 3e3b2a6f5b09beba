//! A builder that stands still for so long that another is given its build.

use std::time::Duration;

use nix::sys::signal::Signal;
use pkgwarden::domain::build::BuildState;

use crate::support::Pkg;
use crate::support::fleet::Fleet;
use crate::support::scene::names_in;

#[tokio::test(flavor = "multi_thread")]
async fn a_builder_that_lost_its_build_brings_nothing_more_and_the_one_that_has_it_ends_it() {
    let long = Pkg::new("long").built_by("until [[ -e $startdir/go ]]; do sleep 0.1; done");
    let mut fleet = Fleet::of(&[long], &[]).await;
    fleet.begin("first", &[]);
    fleet.until("a build", |builds| builds.iter().any(|build| build.state == BuildState::Running)).await;
    let attempt = fleet.attempt("long").await.id;
    let at_first = fleet.begun("first", &attempt).await;
    let first = fleet.builders[0].1.pid();
    fleet.builders[0].1.signal(Signal::SIGSTOP);
    // Only the builder stands still: what it builds goes on, comes to its end, and is to be brought.
    std::fs::write(at_first.join("go"), "").unwrap();
    while has_children(first) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    fleet.begin("second", &[]);
    let at_second = fleet.begun("second", &attempt).await;
    fleet.builders[0].1.signal(Signal::SIGCONT);
    let gives_up = async {
        while !names_in(&fleet.scene.path("data/builders/first/work")).is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), gives_up).await.expect("the first one hears of it");
    let brought = |place: &str| names_in(&fleet.scene.path(&format!("data/attempts/{attempt}/{place}")));
    assert_eq!((brought("done"), brought("parts")), (vec![], vec![]), "the first one brought something");
    assert_eq!(fleet.builds().await[0].state, BuildState::Running, "the first one ended it");

    std::fs::write(at_second.join("go"), "").unwrap();
    let builds = fleet.until("the end", |builds| builds[0].state == BuildState::Succeeded).await;
    assert_eq!(builds[0].attempts, 1, "the same attempt goes on");
    let log = std::fs::read_to_string(fleet.scene.path(&format!("data/logs/{attempt}.log"))).unwrap();
    let taken = "==> builder second goes on with a build that another had begun";
    assert_eq!((log.matches(taken).count(), log.matches("==> succeeded").count()), (1, 1), "{log}");
    assert_eq!(fleet.published(), ["long-1.0-2-any.pkg.tar.zst"]);
    fleet.end().await;
}

/// Whether a process has children that run.
fn has_children(parent: u32) -> bool {
    let status = |entry: std::fs::DirEntry| std::fs::read_to_string(entry.path().join("status")).ok();
    let mut all = std::fs::read_dir("/proc").unwrap().filter_map(|entry| status(entry.ok()?));
    all.any(|status| status.contains(&format!("\nPPid:\t{parent}\n")) && !status.contains("\nState:\tZ"))
}
