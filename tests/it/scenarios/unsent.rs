//! A builder that ends in the middle of an upload, and is started anew.

use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use pkgwarden::domain::build::BuildState;

use crate::support::Pkg;
use crate::support::fleet::Fleet;

/// It does not wait for builds to end, and says what it does.
const AT_ONCE: [&str; 3] = ["--patience", "0", "-v"];
/// Builders send so much at once.
const PART: u64 = 8 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_built_is_brought_and_not_built_again_by_a_builder_that_is_started_anew() {
    let large = Pkg::new("large").packed_by("head -c 100000000 /dev/urandom >\"$pkgdir/large\"");
    let mut fleet = Fleet::of(&[large], &[]).await;
    fleet.begin("one", &AT_ONCE);
    fleet.until("a build", |builds| builds.iter().any(|build| build.state == BuildState::Running)).await;
    let attempt = fleet.attempt("large").await.id;
    let parts = fleet.scene.path(&format!("data/attempts/{attempt}/parts"));

    // Killed,
    let first = brought(&parts, PART).await;
    fleet.replace(0, &AT_ONCE).await;
    // and told to end: it gives back what it has not brought.
    fleet.builders[0].1.says("brings what was built before").await;
    let second = brought(&parts, 1).await;
    assert!(second >= first, "it went on at {second}, and {first} were there");
    let (_, builder) = fleet.builders.remove(0);
    builder.signal(Signal::SIGTERM);
    let (code, said) = builder.ended().await;
    assert_eq!(code, Some(0), "{said}");
    assert!(parts.read_dir().unwrap().count() == 1, "it had time to bring everything: {said}");
    fleet.begin("one", &AT_ONCE);

    let builds = fleet.until("the end", |builds| builds[0].state == BuildState::Succeeded).await;
    assert_eq!(builds[0].attempts, 1, "the same attempt goes on");
    let log = std::fs::read_to_string(fleet.scene.path(&format!("data/logs/{attempt}.log"))).unwrap();
    let times = |text: &str| log.matches(text).count();
    assert_eq!((times("Starting build()"), times("==> succeeded"), times("==> builder one")), (1, 1, 1), "{log}");
    assert_eq!(fleet.published(), ["large-1.0-2-any.pkg.tar.zst"]);
    fleet.end().await;
}

/// Waits until at least so much is there of a file, and says how much it is.
async fn brought(parts: &Path, least: u64) -> u64 {
    let length = || Some(parts.read_dir().ok()?.next()?.ok()?.metadata().ok()?.len());
    let wait = async {
        loop {
            match length() {
                Some(length) if length >= least => return length,
                _ => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
    };
    tokio::time::timeout(Duration::from_mins(4), wait).await.expect("something of the package comes")
}
