//! The AUR and its mirror as they answer, lag, break and fall silent.

use super::*;
use crate::domain::folder::{File, FileMode};
use crate::source::budget::SILENCES;
use crate::source::failure::Cause;
use crate::source::forge::ForgesConfig;
use crate::source::testing::{Mood, World, asking, at, name, package};

const PUSHED: i64 = 1_750_000_000;
const DAY: i64 = 24 * 3600;
const HOUR: Duration = Duration::from_hours(1);

/// One pass, as the controller would make it: answers, and the cursors it leaves behind.
async fn pass(aur: &Aur, cursors: &mut BTreeMap<PkgBase, Option<Cursor>>, now: i64) -> Answers {
    let requests: Vec<_> = cursors.iter().map(|(name, cursor)| asking(name.as_str(), cursor.clone())).collect();
    let answers = aur.observe(&requests.iter().collect::<Vec<_>>(), &Budget::new(8, 4, HOUR), at(now)).await;
    for (name, answer) in &answers.files {
        if let SourceAnswer::Files { cursor, .. } | SourceAnswer::Unmoved { cursor: Some(cursor) } = answer {
            cursors.insert(name.clone(), Some(cursor.clone()));
        }
    }
    answers
}

fn nothing_known(names: &[&str]) -> BTreeMap<PkgBase, Option<Cursor>> {
    names.iter().map(|pkgbase| (name(pkgbase), None)).collect()
}

fn pkgver(answer: &SourceAnswer) -> Option<&str> {
    let SourceAnswer::Files { folder, .. } = answer else { return None };
    std::str::from_utf8(folder.get("PKGBUILD")?).ok()?.trim().strip_prefix("pkgver=")
}

const UNMOVED: SourceAnswer = SourceAnswer::Unmoved { cursor: None };

#[tokio::test]
async fn an_unchanged_index_costs_one_conditional_request() {
    let world = World::start().await;
    for number in 0..5 {
        world.announce(&format!("p{number}"), "1-1", PUSHED);
        world.mirror(&format!("p{number}"), "1-1", PUSHED);
    }
    let mut cursors = nothing_known(&["p0", "p1", "p2", "p3", "p4"]);
    let aur = Aur::new(&world.config()).expect("configured");
    let first = pass(&aur, &mut cursors, PUSHED + 2 * DAY).await;
    assert!(first.files.values().all(|answer| pkgver(answer) == Some("1")), "{first:?}");
    assert_eq!(first.aur["p3"].maintainer.as_deref(), Some("ann"));
    let made_by =
        |answer: &SourceAnswer| matches!(answer, SourceAnswer::Files { packager: Some(it), .. } if it.contains('@'));
    assert!(first.files.values().all(made_by), "{first:?}");
    world.requests();

    let second = pass(&aur, &mut cursors, PUSHED + 2 * DAY).await;
    assert!(second.files.values().all(|answer| *answer == UNMOVED), "{second:?}");
    assert_eq!(world.requests(), ["GET index (conditional)"]);

    let restarted = Aur::new(&world.config()).expect("configured");
    let third = pass(&restarted, &mut cursors, PUSHED + 2 * DAY).await;
    assert!(third.files.values().all(|answer| *answer == UNMOVED), "{third:?}");
    assert_eq!(world.requests(), ["GET index (conditional)"], "also after a restart");
    assert_eq!(third.aur, first.aur);

    cursors.insert(name("p5"), None);
    world.announce("p5", "1-1", PUSHED);
    world.mirror("p5", "1-1", PUSHED);
    let fourth = pass(&restarted, &mut cursors, PUSHED + 2 * DAY).await;
    assert_eq!(pkgver(&fourth.files["p5"]), Some("1"));
    assert_eq!(world.requests()[0], "GET index", "about a new package the kept index says nothing");
}

#[tokio::test]
async fn an_update_in_the_window_between_index_and_mirror_is_not_lost() {
    let world = World::start().await;
    world.announce("foo", "1-1", PUSHED);
    world.mirror("foo", "1-1", PUSHED);
    let aur = Aur::new(&world.config()).expect("configured");
    let mut cursors = nothing_known(&["foo"]);
    pass(&aur, &mut cursors, PUSHED + 60).await;

    world.announce("foo", "2-1", PUSHED + 600);
    let before = cursors.clone();
    let lagging = pass(&aur, &mut cursors, PUSHED + 900).await;
    assert_eq!(lagging.files["foo"], SourceAnswer::unknown(BEHIND));
    assert_eq!(cursors, before, "what is unknown moves no cursor");

    world.mirror("foo", "2-1", PUSHED + 600);
    let arrived = pass(&aur, &mut cursors, PUSHED + 1200).await;
    assert_eq!(pkgver(&arrived.files["foo"]), Some("2"));

    world.announce("foo", "2-1", PUSHED + 1300);
    world.mirror("foo", "2-1", PUSHED + 1300);
    let second_push = pass(&aur, &mut cursors, PUSHED + 1400).await;
    assert_eq!(pkgver(&second_push.files["foo"]), Some("2"), "a push without a new version");
    assert_eq!(pass(&aur, &mut cursors, PUSHED + 3 * DAY).await.files["foo"], UNMOVED);
}

#[tokio::test]
async fn two_hundred_changed_packages_cost_one_fetch() {
    let world = World::start().await;
    let names: Vec<_> = (0..200).map(|number| format!("p{number}")).collect();
    for pkgbase in &names {
        world.announce(pkgbase, "1-1", PUSHED);
        world.mirror(pkgbase, "1-1", PUSHED);
    }
    let mut cursors = nothing_known(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let answers = pass(&Aur::new(&world.config()).expect("configured"), &mut cursors, PUSHED + DAY).await;
    assert_eq!(answers.files.values().filter(|answer| pkgver(answer) == Some("1")).count(), 200);
    let requests = world.requests();
    assert_eq!(requests.iter().filter(|request| request.ends_with("fetch")).count(), 1, "{requests:?}");
    assert!(requests.len() <= 6, "{requests:?}");
}

#[tokio::test]
async fn one_broken_package_does_not_stop_the_others() {
    let world = World::start().await;
    let names = ["a", "broken", "c", "gone", "hostile", "late", "x.lock"];
    for pkgbase in names {
        world.announce(pkgbase, "1-1", PUSHED);
    }
    world.withdraw("gone");
    for pkgbase in ["a", "broken", "c", "gone"] {
        world.mirror(pkgbase, "1-1", PUSHED);
    }
    world.break_branch("broken");
    let mut hostile = package("hostile", "1-1");
    let link = File { mode: FileMode::Symlink, bytes: b"../../../etc/passwd"[..].into() };
    hostile.files.insert("patch".to_owned(), link);
    world.commit("mirror.git", "hostile", &hostile, PUSHED);

    let mut cursors = nothing_known(&names);
    let answers = pass(&Aur::new(&world.config()).expect("configured"), &mut cursors, PUSHED + DAY).await;
    assert_eq!((pkgver(&answers.files["a"]), pkgver(&answers.files["c"])), (Some("1"), Some("1")), "{answers:?}");
    assert_eq!(answers.files["gone"], SourceAnswer::Gone);
    let unknown = |pkgbase: &str| match &answers.files[pkgbase] {
        SourceAnswer::Unknown { error, .. } => error.clone(),
        other => panic!("{pkgbase}: {other:?}"),
    };
    assert!(unknown("hostile").contains("patch"), "{}", unknown("hostile"));
    assert_eq!(unknown("late"), "the mirror has no branch `late` (yet)");
    assert!(unknown("x.lock").contains("cannot be the name of a git branch"));
    assert!(!unknown("broken").is_empty());
    assert!(world.fetches() <= 8);
}

#[tokio::test]
async fn without_the_index_the_mirror_tells_what_moved() {
    let world = World::start().await;
    let aur = Aur::new(&world.config()).expect("configured");
    for pkgbase in ["still", "moving"] {
        world.announce(pkgbase, "1-1", PUSHED);
        world.mirror(pkgbase, "1-1", PUSHED);
    }
    let mut cursors = nothing_known(&["moving", "still"]);
    pass(&aur, &mut cursors, PUSHED + DAY).await;
    world.mirror("moving", "2-1", PUSHED + DAY);
    world.set_rpc(Mood::Status(503));
    world.requests();
    for mood in [Mood::Status(500), Mood::Status(404), Mood::Page, Mood::Truncated] {
        world.set_mood(mood);
        let mut cursors = cursors.clone();
        let answers = pass(&aur, &mut cursors, PUSHED + DAY + 60).await;
        assert_eq!(answers.files["still"], UNMOVED, "{mood:?}");
        assert_eq!(pkgver(&answers.files["moving"]), Some("2"), "{mood:?}");
        assert_eq!(cursors["moving"].as_ref().expect("moved").stamp, None, "{mood:?}");
        assert_eq!(answers.findings.len(), 1, "{mood:?}: {:?}", answers.findings);
    }
}

#[tokio::test]
async fn when_nobody_answers_everything_is_unknown_and_one_finding_says_so() {
    let world = World::start().await;
    world.set_mood(Mood::Status(503));
    world.set_rpc(Mood::Error);
    let mut config = world.config();
    config.aur.mirror_url = Some(world.url("git/nowhere.git"));
    let mut cursors = nothing_known(&["a", "b"]);
    let answers = pass(&Aur::new(&config).expect("configured"), &mut cursors, PUSHED).await;
    assert!(answers.files.values().all(|answer| matches!(answer, SourceAnswer::Unknown { .. })), "{answers:?}");
    assert_eq!(answers.files.len(), 2);
    let [finding] = answers.findings.as_slice() else { panic!("{:?}", answers.findings) };
    insta::assert_snapshot!(finding.to_string().replace(&world.url(""), "URL/"), @"2 packages of the AUR are unknown: the AUR index URL/index.json.gz answers 503 Service Unavailable; the answer of URL/rpc/v5/info cannot be used: it says `Too many package results.`, nor can the AUR mirror be asked: URL/git/nowhere.git answers 404 Not Found: the repository is private, has moved, or is gone; it is asked again in the next pass");

    config.aur.prefer_mirror = false;
    let answers = pass(&Aur::new(&config).expect("configured"), &mut cursors, PUSHED).await;
    assert!(answers.files.values().all(|answer| matches!(answer, SourceAnswer::Unknown { .. })), "{answers:?}");
    assert_eq!(world.fetches(), 0, "where a package is tells its repository without its files");
}

#[tokio::test]
async fn the_aur_itself_is_asked_package_by_package() {
    let world = World::start().await;
    let mut config = world.config();
    config.aur.prefer_mirror = false;
    let names: Vec<_> = (0..9).map(|number| format!("p{number}")).collect();
    for pkgbase in &names {
        world.announce(pkgbase, "1-1", PUSHED);
        world.commit(&format!("{pkgbase}.git"), "main", &package(pkgbase, "1-1"), PUSHED - DAY);
    }
    let aur = Aur::new(&config).expect("configured");
    let mut cursors = nothing_known(&names.iter().map(String::as_str).collect::<Vec<_>>());
    cursors.insert(name("missing"), None);
    world.announce("missing", "1-1", PUSHED);
    let answers = pass(&aur, &mut cursors, PUSHED + 60).await;
    let read = answers.files.values().filter(|answer| pkgver(answer) == Some("1"));
    assert_eq!(read.count(), 9, "{answers:?}");
    assert!(matches!(answers.files["missing"], SourceAnswer::Unknown { .. }));
    world.requests();

    cursors.remove("missing");
    let again = pass(&aur, &mut cursors, PUSHED + 60).await;
    assert!(again.files.values().all(|answer| *answer == UNMOVED), "{again:?}");
    world.announce("p1", "1-1", PUSHED + 30);
    let confirmed = pass(&aur, &mut cursors, PUSHED + 60).await;
    assert!(matches!(confirmed.files["p1"], SourceAnswer::Unmoved { cursor: Some(_) }), "{confirmed:?}");
    assert_eq!(world.fetches(), 0, "its commit is known");
}

#[tokio::test]
async fn the_proxy_is_used_for_the_index_and_for_the_aur_itself() {
    let world = World::start().await;
    world.announce("foo", "1-1", PUSHED);
    world.commit("foo.git", "main", &package("foo", "1-1"), PUSHED);
    let mut config = world.config();
    config.aur.metadata_url = "http://aur.invalid/index.json.gz".to_owned();
    config.aur.git_url = Some("http://aur.invalid/git/{pkgbase}.git".to_owned());
    config.aur.prefer_mirror = false;
    config.aur.proxy = Some(world.url(""));
    let answers = pass(&Aur::new(&config).expect("configured"), &mut nothing_known(&["foo"]), PUSHED).await;
    assert_eq!(pkgver(&answers.files["foo"]), Some("1"), "{answers:?}");
}

#[tokio::test]
async fn a_git_server_that_hangs_is_unknown_in_bounded_time() {
    let world = World::start().await;
    world.announce("foo", "1-1", PUSHED);
    world.mirror("foo", "1-1", PUSHED);
    world.hang();
    let config = SourcesConfig { timeout: Duration::from_secs(1), ..world.config() };
    let aur = Aur::new(&config).expect("configured");
    let mut cursors = nothing_known(&["foo"]);
    let answering = pass(&aur, &mut cursors, PUSHED + DAY);
    let answers = tokio::time::timeout(Duration::from_secs(30), answering).await.expect("in bounded time");
    assert!(matches!(answers.files["foo"], SourceAnswer::Unknown { .. }), "{answers:?}");
}

#[tokio::test]
async fn an_aur_that_is_down_is_not_asked_for_every_package() {
    let world = World::start().await;
    let mut config = world.config();
    // Taken, so that nobody else comes to listen there.
    let taken = tokio::net::TcpSocket::new_v4().expect("a socket");
    taken.bind("127.0.0.1:0".parse().expect("an address")).expect("bound");
    config.aur.git_url = Some(format!("http://{}/{{pkgbase}}.git", taken.local_addr().expect("bound")));
    config.aur.prefer_mirror = false;
    let names: Vec<String> = (0..20).map(|number| format!("p{number}")).collect();
    for name in &names {
        world.announce(name, "1-1", PUSHED);
    }
    let mut cursors = nothing_known(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let aur = Aur::new(&config).expect("configured");
    let answers = pass(&aur, &mut cursors, PUSHED + DAY).await;
    let unknown = |answer: &SourceAnswer| matches!(answer, SourceAnswer::Unknown { .. });
    assert!(answers.files.values().all(unknown), "{answers:?}");
    let alone = |answer: &&SourceAnswer| matches!(answer, SourceAnswer::Unknown { error, .. } if error.contains("is left alone"));
    let alone = answers.files.values().filter(alone).count();
    assert!(alone > 20 - SILENCES - config.aur.max_parallel, "{alone}");
}

#[tokio::test]
async fn files_older_than_what_is_announced_say_so() {
    let world = World::start().await;
    world.announce("foo", "2-1", PUSHED);
    world.mirror("foo", "1-1", PUSHED - DAY);
    let mut cursors = nothing_known(&["foo"]);
    let answers = pass(&Aur::new(&world.config()).expect("configured"), &mut cursors, PUSHED + 60).await;
    assert!(matches!(&answers.files["foo"], SourceAnswer::Files { behind: Some(_), .. }), "{answers:?}");
    assert_eq!(cursors["foo"].as_ref().expect("moved").stamp, None);
}

#[tokio::test]
async fn packages_that_settle_are_listed_again_and_not_fetched_again() {
    let world = World::start().await;
    world.announce("foo", "1-1", PUSHED);
    world.mirror("foo", "1-1", PUSHED);
    let aur = Aur::new(&world.config()).expect("configured");
    let mut cursors = nothing_known(&["foo"]);
    pass(&aur, &mut cursors, PUSHED + 60).await;
    world.requests();
    assert_eq!(pass(&aur, &mut cursors, PUSHED + 120).await.files["foo"], UNMOVED);
    assert_eq!(world.requests(), ["GET index (conditional)", "GET /mirror.git/info/refs"]);
}

#[test]
fn a_configuration_that_cannot_work_says_what_is_missing() {
    let mut config = SourcesConfig {
        aur: AurConfig {
            metadata_url: "http://localhost/".to_owned(),
            rpc_url: "http://localhost/".to_owned(),
            mirror_url: None,
            git_url: None,
            prefer_mirror: true,
            proxy: None,
            clone_delay: Duration::ZERO,
            max_parallel: 1,
        },
        nvchecker: crate::source::nvchecker::NvcheckerConfig::default(),
        forges: ForgesConfig::default(),
        cache_dir: "unused".into(),
        timeout: Duration::from_secs(1),
        parallel: Some(1),
        per_host: 1,
        pass: HOUR,
    };
    let error = |config: &SourcesConfig| Aur::new(config).expect_err("cannot work");
    assert_eq!(error(&config), "neither sources.aur.mirror_url nor sources.aur.git_url is set");
    config.aur.git_url = Some("https://aur.archlinux.org/".to_owned());
    assert!(error(&config).contains("it must contain `{pkgbase}`"));
    config.aur.proxy = Some("not a proxy".to_owned());
    assert!(error(&config).starts_with("CI_AUR_PROXY cannot be used"));
}

/// A world with so many packages, all of which have been looked at.
async fn settled(count: usize) -> (World, BTreeMap<PkgBase, Option<Cursor>>) {
    let world = World::start().await;
    let names: Vec<_> = (0..count).map(|number| format!("p{number:03}")).collect();
    for pkgbase in &names {
        world.announce(pkgbase, "1-1", PUSHED);
        world.mirror(pkgbase, "1-1", PUSHED);
    }
    let mut cursors = nothing_known(&names.iter().map(String::as_str).collect::<Vec<_>>());
    pass(&Aur::new(&world.config()).expect("configured"), &mut cursors, PUSHED + 2 * DAY).await;
    world.requests();
    (world, cursors)
}

#[tokio::test]
async fn without_the_index_the_rpc_interface_says_the_same_in_few_questions() {
    let (world, cursors) = settled(200).await;
    world.announce("p007", "2-1", PUSHED + 3 * DAY);
    world.mirror("p007", "2-1", PUSHED + 3 * DAY);
    world.announce("p008", "2-1", PUSHED + 3 * DAY);
    world.withdraw("p009");
    for mood in [Mood::Status(500), Mood::Page, Mood::Truncated, Mood::Endless, Mood::Throttled(3600)] {
        world.set_mood(mood);
        let aur = Aur::new(&world.config()).expect("configured");
        let answers = pass(&aur, &mut cursors.clone(), PUSHED + 3 * DAY + 60).await;
        assert_eq!(pkgver(&answers.files["p007"]), Some("2"), "{mood:?}");
        assert_eq!(answers.files["p008"], SourceAnswer::unknown(BEHIND), "{mood:?}");
        assert_eq!(answers.files["p009"], SourceAnswer::Gone, "{mood:?}");
        assert_eq!(answers.files.values().filter(|answer| **answer == UNMOVED).count(), 197, "{mood:?}");
        assert_eq!(answers.aur["p007"].maintainer.as_deref(), Some("ann"), "{mood:?}");
        let [finding] = answers.findings.as_slice() else { panic!("{mood:?}: {:?}", answers.findings) };
        assert!(finding.message.ends_with("; its RPC interface was asked in its place"), "{finding}");
        let requests = world.requests();
        let rpc: Vec<_> = requests.iter().filter(|request| request.contains("rpc")).collect();
        assert_eq!(rpc, ["GET rpc 150", "GET rpc 50"], "{mood:?}");
        assert_eq!(requests.iter().filter(|request| request.ends_with("fetch")).count(), 1, "{mood:?}: {requests:?}");
    }
}

#[tokio::test]
async fn an_rpc_interface_that_is_none_is_told_with_what_it_says_and_git_is_asked() {
    let (world, cursors) = settled(3).await;
    world.mirror("p001", "2-1", PUSHED + 3 * DAY);
    world.set_mood(Mood::Page);
    let mut said = Vec::new();
    for mood in [Mood::Error, Mood::Page, Mood::Status(500), Mood::Throttled(0), Mood::Throttled(3600)] {
        world.set_rpc(mood);
        let aur = Aur::new(&world.config()).expect("configured");
        let answers = pass(&aur, &mut cursors.clone(), PUSHED + 3 * DAY).await;
        assert_eq!(answers.files["p000"], UNMOVED, "{mood:?}");
        assert_eq!(pkgver(&answers.files["p001"]), Some("2"), "{mood:?}");
        let asked = world.requests().iter().filter(|request| request.contains("rpc")).count();
        said.push(format!("{asked}: {}", answers.findings[0].message.replace(&world.url(""), "URL/")));
    }
    insta::assert_snapshot!(said.join("\n").replace("the AUR index URL/index.json.gz is not usable: it is not gzip; it begins with `<html>maintenance</html>`", "INDEX"), @"
    1: INDEX; the answer of URL/rpc/v5/info cannot be used: it says `Too many package results.`; the branches of the mirror were compared in its place
    1: INDEX; the answer of URL/rpc/v5/info cannot be used: expected value at line 1 column 1; the branches of the mirror were compared in its place
    2: INDEX; URL/rpc/v5/info answers 500 Internal Server Error; the branches of the mirror were compared in its place
    2: INDEX; URL/rpc/v5/info answers 429 Too Many Requests: it is asked too often; the branches of the mirror were compared in its place
    1: INDEX; URL/rpc/v5/info answers 429 Too Many Requests: it is asked too often; the branches of the mirror were compared in its place
    ");
}

#[tokio::test]
async fn an_rpc_interface_that_knows_nobody_makes_nobody_gone() {
    let (world, mut cursors) = settled(3).await;
    for pkgbase in ["p000", "p001", "p002"] {
        world.withdraw(pkgbase);
    }
    world.set_mood(Mood::Status(500));
    let aur = Aur::new(&world.config()).expect("configured");
    let answers = pass(&aur, &mut cursors, PUSHED + 3 * DAY).await;
    assert!(answers.files.values().all(|answer| *answer == UNMOVED), "{answers:?}");
    assert!(answers.findings[0].message.contains("lists none of the 3 packages"), "{:?}", answers.findings);
}

#[tokio::test]
async fn without_index_and_rpc_the_repositories_of_the_aur_tell_what_moved() {
    let world = World::start().await;
    let mut config = world.config();
    config.aur.prefer_mirror = false;
    for pkgbase in ["still", "moving"] {
        world.announce(pkgbase, "1-1", PUSHED);
        world.commit(&format!("{pkgbase}.git"), "main", &package(pkgbase, "1-1"), PUSHED);
    }
    let mut cursors = nothing_known(&["moving", "still"]);
    let aur = Aur::new(&config).expect("configured");
    pass(&aur, &mut cursors, PUSHED + 60).await;
    world.commit("moving.git", "main", &package("moving", "2-1"), PUSHED + DAY);
    world.set_mood(Mood::Truncated);
    world.set_rpc(Mood::Error);
    world.requests();
    let answers = pass(&aur, &mut cursors, PUSHED + DAY).await;
    assert_eq!((&answers.files["still"], pkgver(&answers.files["moving"])), (&UNMOVED, Some("2")), "{answers:?}");
    assert!(answers.findings[0].message.ends_with("its repositories were asked one by one in its place"));
    // One fetch can take two requests, as git finds out what the workspace has in common with the server.
    let requests = world.requests();
    let fetched: Vec<&String> = requests.iter().filter(|request| request.ends_with("fetch")).collect();
    let only_what_moved = fetched.iter().all(|request| request.contains("moving.git"));
    assert!(!fetched.is_empty() && only_what_moved, "what has not moved is not fetched: {requests:?}");
}

#[tokio::test]
async fn an_index_of_ten_gigabytes_is_not_waited_for() {
    let (world, mut cursors) = settled(1).await;
    world.set_mood(Mood::Endless);
    let aur = Aur::new(&world.config()).expect("configured");
    let answers = pass(&aur, &mut cursors, PUSHED + 3 * DAY).await;
    assert_eq!(answers.files["p000"], UNMOVED);
    assert!(answers.findings[0].message.contains("claims to be 10000000000 bytes long"), "{:?}", answers.findings);
}

#[tokio::test]
async fn broken_branches_among_many_stop_none_of_the_others_and_are_to_blame() {
    let (world, mut cursors) = settled(24).await;
    for number in 0..24 {
        let pkgbase = format!("p{number:03}");
        world.announce(&pkgbase, "2-1", PUSHED + 3 * DAY);
        world.mirror(&pkgbase, "2-1", PUSHED + 3 * DAY);
        if number % 10 == 3 {
            world.break_branch(&pkgbase);
        }
    }
    let aur = Aur::new(&world.config()).expect("configured");
    let answers = pass(&aur, &mut cursors, PUSHED + 3 * DAY).await;
    let arrived = answers.files.values().filter(|answer| pkgver(answer) == Some("2")).count();
    let blamed = |answer: &&SourceAnswer| matches!(answer, SourceAnswer::Unknown { cause: Cause::Question, .. });
    assert_eq!((arrived, answers.files.values().filter(blamed).count()), (21, 3), "{answers:?}");
}
