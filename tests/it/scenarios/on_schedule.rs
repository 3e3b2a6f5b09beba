//! Updates of sources become commits and reviews.

use std::time::Duration;

use pkgwarden::domain::plan::{Heard, Pipeline};
use pkgwarden::source::SourcesConfig;

use crate::support::scene::{MAIN, base, person};
use crate::support::{Busy, Change, Listening, Pkg, Scene};

#[tokio::test]
async fn a_minor_update_is_committed_with_its_cursor_built_and_not_taken_twice() {
    let scene = Scene::with_aur().await;
    scene.later();
    scene.world().aur_minor_update(&base("libtally")).await.unwrap();
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    commit libtally [minor]: 2.1.0-1 -> 2.1.1-1
    build libtally (changed)
    update refs/heads/main
    update refs/heads/state
    update refs/tags/scheduled
    ");
    insta::assert_snapshot!(scene.monorepo.git(&["log", "-1", "--format=%an <%ae>%n%B", MAIN]).await, @"
    Demo Keeper <keeper@example.org>
    chore(update): libtally

    - libtally: 2.1.0-1 -> 2.1.1-1
    ");
    let state = scene.monorepo.file("state", "libtally").await.unwrap();
    let keys: Vec<&str> = state.lines().filter_map(|line| line.split('=').next()).collect();
    insta::assert_snapshot!(keys.join("\n"), @"
    PKGWARDEN_SOURCE_COMMIT
    PKGWARDEN_SOURCE_STAMP
    PKGWARDEN_KEEPERS
    ");
    let refs = scene.monorepo.git(&["for-each-ref"]).await;
    scene.later();
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"");
    assert_eq!(scene.monorepo.git(&["for-each-ref"]).await, refs);
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main chore(update): libtally
    refs/heads/state chore(state): update state
    refs/tags/scheduled chore(update): libtally
    ");
}

#[tokio::test]
async fn a_major_update_waits_for_a_person_and_a_second_pass_pushes_nothing() {
    let scene = Scene::with_aur().await;
    scene.later();
    scene.world().aur_major_update(&base("banner")).await.unwrap();
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    review banner [major]: 1:3.0.1-1 -> 1:3.0.2-1 needs a person
    open update-banner
    update refs/heads/state
    create refs/heads/update-banner
    ");
    let review = "refs/heads/update-banner";
    assert_eq!(scene.monorepo.id(&format!("{review}~1")).await, scene.monorepo.id(MAIN).await);
    insta::assert_snapshot!(scene.monorepo.git(&["diff", "--name-only", MAIN, review]).await, @"
    banner/.SRCINFO
    banner/PKGBUILD
    ");
    insta::assert_snapshot!(scene.monorepo.git(&["log", "-1", "--format=%B", review]).await, @"
    chore(update): banner

    1:3.0.1-1 -> 1:3.0.2-1

    Needs a person because:
    - PKGBUILD:11: a source is fetched from another place
    - PKGBUILD:15: `build()` does something else than before
    - PKGBUILD: the package came to the AUR 0 days ago; votes: 6
    ");
    let refs = scene.monorepo.git(&["for-each-ref"]).await;
    scene.later();
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"");
    assert_eq!(scene.monorepo.git(&["for-each-ref"]).await, refs);
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main feat(add): the first packages
    refs/heads/state chore(state): update state
    refs/heads/update-banner chore(update): banner
    refs/tags/scheduled feat(add): the first packages
    ");
}

#[tokio::test]
async fn commits_of_people_and_updates_are_handed_out_together_in_order() {
    let scene = Scene::with_aur().await;
    scene.later();
    scene.world().aur_minor_update(&base("libtally")).await.unwrap();
    scene.world().push_deploy(&base("tally")).await.unwrap();
    scene.world().upstream_commit().await.unwrap();
    scene.world().remove_package(&base("sundial")).await.unwrap();
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    commit libtally [minor]: 2.1.0-1 -> 2.1.1-1
    state tidewatch-git: its upstream has new commits
    build libtally (changed)
    build tally (directive) after libtally
    build tidewatch-git (upstream)
    remove sundial
    update refs/heads/main
    update refs/heads/state
    update refs/tags/scheduled
    ");
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main chore(update): libtally
    refs/heads/state chore(state): update state
    refs/tags/scheduled chore(update): libtally
    ");
}

#[tokio::test]
async fn an_upstream_commit_builds_the_vcs_package_once() {
    let scene = Scene::with_aur().await;
    scene.later();
    scene.world().upstream_commit().await.unwrap();
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    state tidewatch-git: its upstream has new commits
    build tidewatch-git (upstream)
    update refs/heads/state
    ");
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"");
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main feat(add): the first packages
    refs/heads/state chore(state): update state
    refs/tags/scheduled feat(add): the first packages
    ");
}

#[tokio::test]
async fn an_update_of_a_package_with_a_trigger_is_committed_now_and_built_when_it_fires() {
    let scene = Scene::with_aur().await;
    let config = "CI_PKGBUILD_SOURCE=aur\nCI_ON_TRIGGER=weekly\n";
    scene.keeps(&[Pkg::from_aur("heavy").config(config)]).await;
    scene.aur_release(&Pkg::from_aur("heavy").version("1.1")).await;
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    commit heavy [minor]: 1.0-1 -> 1.1-1
    update refs/heads/main
    update refs/heads/state
    update refs/tags/scheduled
    ");
    insta::assert_snapshot!(scene.told(Pipeline::Trigger("weekly".into())).await, @"build heavy (trigger)");
    assert!(scene.monorepo.file(MAIN, "heavy/PKGBUILD").await.unwrap().contains("pkgver=1.1\n"));
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main chore(update): heavy
    refs/heads/state chore(state): update state
    refs/tags/scheduled chore(update): heavy
    ");
}

#[tokio::test]
async fn with_overwrite_commits_the_automated_tip_is_replaced_and_its_names_are_kept() {
    let scene = Scene::with_aur().await;
    let config = scene.monorepo.file(MAIN, ".ci/config").await.unwrap() + "CI_OVERWRITE_COMMITS=true\n";
    scene.push("chore: overwrite", &[Change::put(".ci/config", config)]).await;
    let person = scene.monorepo.id(MAIN).await;
    scene.world().aur_minor_update(&base("knotwork")).await.unwrap();
    scene.run(Pipeline::OnSchedule).await;
    scene.later();
    scene.world().aur_minor_update(&base("libtally")).await.unwrap();
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    commit libtally [minor]: 2.1.0-1 -> 2.1.1-1
    build libtally (changed)
    update refs/heads/main
    update refs/heads/state
    update refs/tags/scheduled
    ");
    assert_eq!(scene.monorepo.id(&format!("{MAIN}~1")).await, person, "what the person pushed stays");
    insta::assert_snapshot!(scene.monorepo.git(&["log", "-1", "--format=%B", MAIN]).await, @"
    chore(update): knotwork, libtally

    - knotwork: 1.2.0-1 -> 1.2.1-1
    - libtally: 2.1.0-1 -> 2.1.1-1
    ");
    insta::assert_snapshot!(scene.builds().await, @"
    tidewatch-git upstream ready
    knotwork changed ready
    libtally changed ready
    ");
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main chore(update): knotwork, libtally
    refs/heads/state chore(state): update state
    refs/tags/scheduled chore(update): knotwork, libtally
    ");
}

#[tokio::test]
async fn a_person_on_top_of_an_automated_commit_is_never_overwritten() {
    let scene = Scene::with_aur().await;
    let config = scene.monorepo.file(MAIN, ".ci/config").await.unwrap() + "CI_OVERWRITE_COMMITS=true\n";
    scene.push("chore: overwrite", &[Change::put(".ci/config", config)]).await;
    scene.world().aur_minor_update(&base("knotwork")).await.unwrap();
    scene.run(Pipeline::OnSchedule).await;
    let person = scene.push("docs: mine", &[Change::put("README.md", "mine\n")]).await;
    scene.later();
    scene.world().aur_minor_update(&base("libtally")).await.unwrap();
    scene.run(Pipeline::OnSchedule).await;
    assert_eq!(scene.monorepo.id(&format!("{MAIN}~1")).await, Some(person));
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main chore(update): libtally
    refs/heads/state chore(state): update state
    refs/tags/scheduled chore(update): libtally
    ");
}

#[tokio::test]
async fn a_package_that_left_the_aur_is_told_and_its_folder_stays() {
    let scene = Scene::with_aur().await;
    scene.push("feat: lonely", &Pkg::from_aur("lonely").changes()).await;
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    skip lonely: its source has no such package any more
    build lonely (changed)
    update refs/tags/scheduled
    warning [source-gone] lonely: its source has no such package any more -> remove the folder, or set CI_PKGBUILD_SOURCE=custom to keep it
    ");
    assert!(scene.monorepo.file(MAIN, "lonely/PKGBUILD").await.is_some());
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main feat: lonely
    refs/heads/state chore(state): update state
    refs/tags/scheduled feat: lonely
    ");
}

/// A whole host that is away must not be asked once for each of a thousand packages.
#[tokio::test]
async fn upstreams_on_a_host_that_is_away_are_unknown_are_never_current_and_are_asked_again() {
    let scene = Scene::with_aur().await;
    let host = Listening::start().await;
    let packages: Vec<Pkg> = (10..40)
        .map(|number| Pkg::new(&format!("p{number}-git")).sources(&[&host.source(number)]))
        .chain([Pkg::new("nowhere-git").sources(&["git+http://pkgwarden.invalid/r.git"])])
        .collect();
    scene.push("feat: follow", &packages.iter().flat_map(Pkg::changes).collect::<Vec<_>>()).await;
    scene.hand_out().await;
    let state = scene.monorepo.id("state").await;
    for pass in 1..=2 {
        let document = scene.run(Pipeline::OnSchedule).await.document;
        let ours = document.packages.iter().filter(|decision| decision.pkgbase.as_str().ends_with("-git"));
        let ours: Vec<_> = ours.filter(|decision| decision.pkgbase.as_str() != "tidewatch-git").collect();
        assert_eq!(ours.len(), packages.len());
        assert!(ours.iter().all(|decision| decision.observation == Heard::Unknown), "{ours:?}");
        let alone = document.problems.iter().find(|problem| problem.message.contains("is left alone")).unwrap();
        assert!(alone.message.contains(&format!("{} did not answer 3 times in a row", host.address)), "{alone:?}");
        assert!(document.problems.len() < 12, "said once and not thirty times: {:?}", document.problems);
        assert!((3 * pass..=6 * pass).contains(&host.connections()), "{} in {pass} passes", host.connections());
    }
    assert_eq!(scene.monorepo.id("state").await, state, "nothing was noted down as seen");
    scene.ends().await;
}

#[tokio::test]
async fn an_update_by_somebody_who_could_not_push_before_waits_for_a_person() {
    let scene = Scene::with_aur().await;
    scene.later();
    scene.run(Pipeline::OnSchedule).await;
    let [pkgbuild, srcinfo] = ["libtally/PKGBUILD", "libtally/.SRCINFO"].map(|path| scene.monorepo.file(MAIN, path));
    let (pkgbuild, srcinfo) = (pkgbuild.await.unwrap(), srcinfo.await.unwrap());
    let next = |rel: &str, keeper: &str| {
        let pkgbuild = pkgbuild.replace("Ada Quill <ada@", keeper).replace("pkgrel=1\n", &format!("pkgrel={rel}\n"));
        let srcinfo = srcinfo.replace("pkgrel = 1\n", &format!("pkgrel = {rel}\n"));
        [Change::put("PKGBUILD", pkgbuild), Change::put(".SRCINFO", srcinfo)]
    };
    scene.later();
    scene.aur().push("libtally", "Update", &next("2", "Eve <eve@"), scene.now()).await;
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    review libtally [major]: 2.1.0-1 -> 2.1.0-2 needs a person
    open update-libtally
    update refs/heads/state
    create refs/heads/update-libtally
    warning [keepers-changed] libtally: eve maintains it now, and ada did before -> its next update waits for a person
    ");
    // Once a person has let the newcomer in, the next update is an ordinary one.
    let head = scene.monorepo.id("refs/heads/update-libtally").await.unwrap();
    scene.run(Pipeline::Approve(base("libtally"), head.parse().unwrap(), person("mira"))).await;
    let state = scene.monorepo.file("state", "libtally").await.unwrap();
    assert!(state.contains("PKGWARDEN_KEEPERS=eve\n") && !state.contains("PROPOSED"), "{state}");
    scene.later();
    scene.aur().push("libtally", "Update", &next("3", "Eve <eve@"), scene.now()).await;
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    commit libtally [minor]: 2.1.0-2 -> 2.1.0-3
    build libtally (changed)
    update refs/heads/main
    update refs/heads/state
    update refs/tags/scheduled
    ");
    scene.ends().await;
}

#[tokio::test]
async fn passes_that_run_out_of_time_go_on_where_the_last_one_stopped() {
    let scene = Scene::of(&[]).await;
    let host = Busy::start().await;
    let packages =
        ["a-git", "b-git", "c-git", "d-git", "e-git"].map(|name| Pkg::new(name).sources(&[&host.source(name)]));
    scene.push("feat: follow", &packages.iter().flat_map(Pkg::changes).collect::<Vec<_>>()).await;
    scene.hand_out().await;
    let mut unseen: Vec<&str> = packages.iter().map(|package| &*package.base).collect();
    for _ in 0..10 {
        host.answer(2);
        let runner = scene.runner_from(&scene.place()).unwrap();
        let sources = runner.site.sources.read().unwrap().clone();
        runner.site.ask_as(SourcesConfig { per_host: 1, pass: Duration::from_secs(1), ..sources });
        runner.run(&Pipeline::OnSchedule, "test").await.unwrap();
        let mut left = Vec::new();
        for name in unseen {
            if scene.monorepo.file("state", name).await.is_none() {
                left.push(name);
            }
        }
        unseen = left;
        if unseen.is_empty() {
            break;
        }
    }
    assert_eq!(unseen, [""; 0]);
    scene.ends().await;
}

#[tokio::test]
async fn explain_tells_of_each_source_when_it_was_asked_what_it_said_and_when_it_is_asked_again() {
    let scene = Scene::with_aur().await;
    let (upstream, away) = (scene.path("world/git/upstream"), scene.path("away"));
    std::fs::rename(&upstream, &away).unwrap();
    for _ in 0..3 {
        scene.later();
        scene.run(Pipeline::OnSchedule).await;
    }
    let explained = async |name: &str| scene.pkgwarden(&["--format", "json", "explain", name]).await.json();
    let libtally = explained("libtally").await;
    let [files] = libtally["sources"].as_array().unwrap().as_slice() else { panic!("{libtally}") };
    assert_eq!((&files["role"], &files["source"]), (&"files".into(), &"aur".into()));
    assert_eq!((&files["asked"], &files["answered"]), (&"2026-05-01T15:00:00Z".into(), &"2026-05-01T15:00:00Z".into()));
    assert_eq!((&files["answer"], &files["error"], &files["failures"]), (&"nothing new".into(), &().into(), &0.into()));
    assert_eq!(files["cursor"], libtally["seen"]["source_commit"]);
    let tidewatch = explained("tidewatch-git").await;
    let upstream = tidewatch["sources"].as_array().unwrap().iter().find(|it| it["role"] == "upstream").unwrap();
    assert!(upstream["source"].as_str().unwrap().starts_with("git+http://"), "{upstream}");
    assert_eq!((&upstream["asked"], &upstream["failures"]), (&"2026-05-01T15:00:00Z".into(), &3.into()), "{upstream}");
    assert_eq!(
        (&upstream["answered"], &upstream["next"]),
        (&"2026-05-01T12:00:00Z".into(), &"2026-05-01T16:00:00Z".into())
    );
    assert!(upstream["error"].is_string() && upstream["cursor"].is_string(), "{upstream}");
    let text = scene.pkgwarden(&["explain", "tidewatch-git"]).await.text();
    assert!(text.contains("next         2026-05-01 16:00:00 UTC"), "{text}");
    scene.ends().await;
}
