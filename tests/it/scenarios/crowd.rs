//! Thousands of packages, of which hundreds change at once while things go wrong.

use std::collections::{BTreeMap, BTreeSet};

use pkgwarden::demo::fixtures::{self, Package};
use pkgwarden::domain::plan::{Action, Document, Heard, Pipeline};

use crate::support::scene::MAIN;
use crate::support::{Change, Counted, Scene};

/// How many packages of the AUR there are.
const ALL: usize = 2_500;
/// How many of them change.
const CHANGED: usize = 200;
/// Negotiations that this many changes may cost.
const FETCHES: usize = 5;

fn names(from: usize, count: usize) -> Vec<String> {
    (from..from + count).map(|number| format!("pebble-{number:04}")).collect()
}

/// The next version of a package, pushed by `keeper`.
fn next(package: &Package, keeper: &str) -> (String, Vec<Change>) {
    let text = |path: &str| String::from_utf8(package.folder.get(path).unwrap().to_vec()).unwrap();
    let pkgbuild = text("PKGBUILD").replace("pkgver=1.0\n", "pkgver=1.1\n").replace("Pia Sand <pia@", keeper);
    let srcinfo = text(".SRCINFO").replace("pkgver = 1.0\n", "pkgver = 1.1\n");
    (package.pkgbase.to_string(), vec![Change::put("PKGBUILD", pkgbuild), Change::put(".SRCINFO", srcinfo)])
}

/// How many packages have each action.
fn actions(document: &Document) -> BTreeMap<Action, usize> {
    let mut counts = BTreeMap::new();
    for decision in document.packages.iter().filter(|decision| decision.action != Action::None) {
        *counts.entry(decision.action).or_default() += 1;
    }
    counts
}

fn heard(document: &Document, heard: Heard) -> BTreeSet<String> {
    let of = document.packages.iter().filter(|decision| decision.observation == heard);
    of.map(|decision| decision.pkgbase.to_string()).collect()
}

fn told<'a>(document: &'a Document, code: &str) -> Vec<&'a str> {
    let of = document.problems.iter().filter(|problem| problem.code == code);
    of.map(|problem| problem.message.as_str()).collect()
}

/// 200 of 2,500 packages change, while 20 fail, 5 lag, 3 vanish and 2 change hands.
#[tokio::test]
async fn after_two_passes_nothing_is_lost_nothing_is_built_twice_and_little_was_asked() {
    let mut scene = Scene::with_aur_of(ALL).await;
    let counted = Counted::before(&mut scene).await;
    scene.later();
    let (lost, hostile, lagging) = (names(1, 10), names(11, 10), names(21, 5));
    let (handed, changed, vanished) = (names(26, 2), names(1, CHANGED), names(CHANGED + 100, 3));
    let keeper = |name: &str| match handed.iter().position(|other| other == name) {
        Some(0) => "Eve <eve@",
        Some(_) => "Mallory <mallory@",
        None => "Pia Sand <pia@",
    };
    let packages = fixtures::pebbles(CHANGED);
    let pushes = packages.iter().map(|package| next(package, keeper(package.pkgbase.as_str()))).collect();
    let aur = scene.aur();
    aur.push_all_ahead_of_mirror(pushes, scene.now()).await;
    aur.mirror_all(&changed[25..]).await;
    aur.spoil_mirror(&lost, &hostile, scene.now()).await;
    aur.delete(&vanished).await;

    let first = scene.run(Pipeline::OnSchedule).await.document;
    let (asked, fetches) = counted.take();
    assert!((1..=FETCHES).contains(&fetches), "{asked:?}");
    assert!(asked.len() <= 10, "{asked:?}");
    assert_eq!(actions(&first), [(Action::Commit, 173), (Action::Review, 2), (Action::Skip, 3)].into());
    let unknown: BTreeSet<String> = [&lost[..], &hostile, &lagging].concat().into_iter().collect();
    assert_eq!(heard(&first, Heard::Unknown), unknown);
    let lags = |message: &&str| message.contains("the AUR announces a newer push than the mirror has");
    assert!(told(&first, "source-unknown").iter().any(lags));
    assert!(!told(&first, "source-gone").is_empty());
    let hands = ["eve maintains it now, and pia did before", "mallory maintains it now, and pia did before"];
    assert_eq!(told(&first, "keepers-changed"), hands);

    // The mirror has caught up, an hour later.
    scene.later();
    aur.mirror_all(&changed[..25]).await;
    let second = scene.run(Pipeline::OnSchedule).await.document;
    let (asked, fetches) = counted.take();
    assert!((1..=FETCHES).contains(&fetches), "{asked:?}");
    assert_eq!(actions(&second), [(Action::Commit, 25), (Action::Skip, 3)].into());
    assert_eq!(heard(&second, Heard::Unknown), BTreeSet::new());
    assert!(told(&second, "keepers-changed").is_empty(), "it was told");

    scene.later();
    let third = scene.run(Pipeline::OnSchedule).await.document;
    assert!(third.refs.is_empty() && third.builds.is_empty(), "{:?}", third.refs);
    assert_eq!(counted.take().1, 0, "what has been dealt with is not fetched again");
    let mut built: Vec<String> =
        scene.builds().await.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    built.retain(|name| name.starts_with("pebble-"));
    built.sort();
    let wanted: Vec<String> = changed.iter().filter(|name| !handed.contains(name)).cloned().collect();
    assert_eq!(built, wanted, "each once");
    for (name, version) in [(&changed[0], "1.1"), (&changed[199], "1.1"), (&handed[0], "1.0"), (&vanished[0], "1.0")] {
        let pkgbuild = scene.monorepo.file(MAIN, &format!("{name}/PKGBUILD")).await.unwrap();
        assert!(pkgbuild.contains(&format!("pkgver={version}\n")), "{name}");
    }
    scene.ends().await;
}
