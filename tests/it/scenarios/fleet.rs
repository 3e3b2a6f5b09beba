//! Builds on several builders, which are killed at any moment, as is Redis.

#![expect(
    clippy::print_stderr,
    reason = "what was killed, and the seed to do it again, are for whoever reads a failure"
)]

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, Hasher as _};
use std::time::Duration;

use nix::sys::signal::Signal;
use pkgwarden::domain::build::BuildState;
use pkgwarden::store::attempts::AttemptEnding;
use pkgwarden::store::builds::Build;

use crate::support::fleet::Fleet;
use crate::support::redis::Redis;
use crate::support::scene::names_in;
use crate::support::signing::SigningKey;
use crate::support::{Pkg, Scene};

/// How many packages there are, where nobody says another number.
const PACKAGES: usize = 24;

/// A number out of the environment.
fn given(name: &str) -> Option<u64> {
    pkgwarden::sys::env::var(name)?.parse().ok()
}

/// Which packages a package needs: a few of those before it.
fn needs(index: usize) -> Vec<usize> {
    let mut needs: Vec<usize> = [index / 2, index.saturating_sub(7)].into_iter().filter(|need| *need < index).collect();
    needs.dedup();
    if index.is_multiple_of(5) { Vec::new() } else { needs }
}

fn name(index: usize) -> String {
    format!("part{index:03}")
}

/// Numbers that look random, always the same for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}

fn is_over(build: &Build) -> bool {
    use BuildState::{Dispatched, Ready, Running, Waiting};
    !matches!(build.state, Waiting | Ready | Dispatched | Running)
}

/// Kills and flushes until it has done enough of it.
async fn make_trouble(fleet: &mut Fleet, dice: &mut Dice, kills: usize) {
    for kill in 0..kills {
        tokio::time::sleep(Duration::from_millis(1_500 + 250 * dice.roll(16) as u64)).await;
        if fleet.builds().await.iter().all(is_over) {
            return;
        }
        if kill == kills / 2 {
            eprintln!("flushing Redis");
            fleet.redis.ask::<String>(&["FLUSHALL"]).await;
        }
        match dice.roll(6) {
            0 => {
                eprintln!("killing Redis");
                fleet.redis.kill().await;
                fleet.redis.begin().await;
            }
            1 => {
                eprintln!("killing the controller");
                fleet.restart_controller().await;
            }
            _ => {
                let victim = dice.roll(fleet.builders.len());
                eprintln!("killing {}", fleet.builders[victim].0);
                fleet.replace(victim, &["--slots", "2"]).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_artefact_is_published_once_and_in_order_whoever_is_killed() {
    let count = given("PKGWARDEN_TEST_FLEET").map_or(PACKAGES, |count| usize::try_from(count).unwrap());
    let random = std::hash::RandomState::new().build_hasher().finish();
    let seed = given("PKGWARDEN_TEST_SEED").unwrap_or(random);
    eprintln!("PKGWARDEN_TEST_SEED={seed}");
    let package = |index: usize| {
        let needed: Vec<String> = needs(index).into_iter().map(name).collect();
        Pkg::new(&name(index)).needs(&needed.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let packages: Vec<Pkg> = (0..count).map(package).collect();
    let mut fleet = Fleet::of(&packages, &[]).await;
    for builder in ["one", "two", "three", "four"] {
        fleet.begin(builder, &["--slots", "2"]);
    }
    fleet.until("a first build", |builds| builds.iter().any(|build| build.state == BuildState::Running)).await;
    make_trouble(&mut fleet, &mut Dice(seed), (count / 4).clamp(6, 30)).await;
    let builds = fleet.until("the end", |builds| builds.len() == count && builds.iter().all(is_over)).await;

    let store = fleet.scene.store();
    let mut times = BTreeMap::new();
    for build in &builds {
        assert_eq!(build.state, BuildState::Succeeded, "{} ended so: {:?}", build.pkgbase, build.message);
        let attempts = store.build(build.id).await.unwrap().unwrap().attempts;
        let done = attempts.iter().filter(|attempt| matches!(attempt.ending, Some(AttemptEnding::Done(_)))).count();
        assert_eq!(done, 1, "{} was published by {attempts:#?}", build.pkgbase);
        times.insert(build.pkgbase.to_string(), (attempts[0].created_at, build.finished_at.unwrap()));
    }
    for index in 0..count {
        for need in needs(index) {
            let (needed, needing) = (times[&name(need)], times[&name(index)]);
            assert!(needed.1 <= needing.0, "{} began before {} was published", name(index), name(need));
        }
    }
    let expected: Vec<String> = (0..count).map(|index| format!("{}-1.0-2-any.pkg.tar.zst", name(index))).collect();
    assert_eq!(fleet.published(), expected);
    let gone = async {
        while !fleet.left_in_redis().await.iter().all(|key| key.starts_with("bull:pkgwarden:")) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let gone = tokio::time::timeout(Duration::from_mins(2), gone).await;
    assert!(gone.is_ok(), "left: {:#?}", fleet.left_in_redis().await);
    fleet.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_class_finds_its_builder_a_cancelled_build_stops_and_one_that_is_told_to_end_gives_back() {
    let small = Pkg::new("small").config("CI_PKGBUILD_SOURCE=custom\nBUILDER_CLASS=3\n");
    let mut fleet = Fleet::of(&[small, Pkg::new("long").built_by("  sleep 1000")], &[]).await;
    fleet.begin("weak", &[]);
    fleet.until("the long one", |builds| builds.iter().any(|build| build.state == BuildState::Running)).await;
    let builds = fleet.builds().await;
    let waiting = builds.iter().find(|build| build.pkgbase.as_str() == "small").unwrap();
    assert_ne!(waiting.state, BuildState::Running, "nobody there is of its class");
    let (_, mut weak) = fleet.builders.remove(0);
    weak.signal(Signal::SIGTERM);
    weak.says("draining").await;
    weak.signal(Signal::SIGTERM);
    let (code, said) = weak.ended().await;
    assert_eq!(code, Some(0), "{said}");
    fleet.begin("strong", &["--class", "3", "--slots", "2"]);
    let is =
        |builds: &[Build], name: &str, state| builds.iter().any(|it| it.pkgbase.as_str() == name && it.state == state);
    fleet.until("the small one", |builds| is(builds, "small", BuildState::Succeeded)).await;
    fleet.until("the long one again", |builds| is(builds, "long", BuildState::Running)).await;
    let cancelled = fleet.scene.pkgwarden(&["ctl", "cancel", "long"]).await;
    assert_eq!(cancelled.code, Some(0), "{}", cancelled.stderr);
    fleet.until("its end", |builds| is(builds, "long", BuildState::Cancelled)).await;
    let long = fleet.builds().await.into_iter().find(|build| build.pkgbase.as_str() == "long").unwrap();
    assert_eq!(long.attempts, 1, "what was given back is the same attempt");
    fleet.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn builders_install_from_a_repository_that_is_signed() {
    let packages = [Pkg::new("first"), Pkg::new("second").needs(&["first"])];
    let mut scene = Scene::of(&packages).await;
    let _key = SigningKey::signs(&mut scene);
    let redis = Redis::start(&scene.path("redis"), &[]).await;
    let url = redis.url();
    let mut fleet = Fleet::on(scene, &packages, redis, &url).await;
    fleet.begin("one", &[]);
    let builds = fleet.until("the end", |builds| builds.len() == 2 && builds.iter().all(is_over)).await;
    for build in builds {
        assert_eq!((build.state, build.attempts), (BuildState::Succeeded, 1), "{}: {:?}", build.pkgbase, build.message);
    }
    let attempt = fleet.attempt("second").await;
    let log = std::fs::read_to_string(fleet.scene.path(&format!("data/logs/{}.log", attempt.id))).unwrap();
    assert!(log.contains("==> trust: ") && log.contains("Test <test@example.org>"), "it was told whom to trust: {log}");
    let published = names_in(&fleet.scene.path("published/packages"));
    for signed in ["second-1.0-2-any.pkg.tar.zst.sig", "test.db.sig"] {
        assert!(published.iter().any(|name| name == signed), "{published:?}");
    }
    fleet.end().await;
}
