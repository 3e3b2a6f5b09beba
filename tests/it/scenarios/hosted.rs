//! What there is to reviews on a forge beside their lives: who is asked and how often, what lists leave out, and what
//! strangers try.

use pkgwarden::domain::plan::Pipeline;

use super::lifecycle::{REVIEW, beginning, released};
use crate::support::forges::world::{self, Kind};
use crate::support::hosting::Host;
use crate::support::scene::MAIN;
use crate::support::{Change, Pkg, Scene};

#[tokio::test]
async fn a_second_look_at_unchanged_reviews_costs_no_full_answer() {
    for kind in [Kind::GitHub, Kind::GitLab, Kind::Gitea] {
        let mut scene = beginning().await;
        let host = Host::fake(&mut scene, kind).await;
        let Host::Fake(fake) = &host else { unreachable!("it is on loopback") };
        released(&scene, "1.1").await;
        let runner = scene.runner_from(&scene.place()).unwrap();
        for _ in 0..2 {
            runner.run(&Pipeline::OnCommit, "test").await.unwrap();
        }
        fake.told().await;
        scene.clock.advance(jiff::SignedDuration::from_mins(10));
        runner.run(&Pipeline::OnCommit, "test").await.unwrap();
        let told = fake.told().await;
        assert!(told.len() >= 2 && told.iter().all(|line| line.ends_with(" 304")), "{kind:?}: {told:#?}");
        drop(runner);
        scene.ends().await;
    }
}

#[tokio::test]
async fn a_branch_of_that_name_in_a_copy_of_the_project_is_none_of_ours() {
    for kind in [Kind::GitHub, Kind::GitLab, Kind::Gitea] {
        let mut scene = beginning().await;
        let host = Host::fake(&mut scene, kind).await;
        let Host::Fake(fake) = &host else { unreachable!("it is on loopback") };
        released(&scene, "1.1").await;
        let (head, body) = (scene.monorepo.id(REVIEW).await.unwrap(), host.body().await.unwrap());
        let mut world = fake.world().await;
        let stranger = world.offers("otto", "update-foo", "Mine", &head).await;
        world.touched(stranger).unwrap().body = body;
        world.approves("mira", stranger, true);
        drop(world);
        scene.later();
        scene.run(Pipeline::OnSchedule).await;
        let told = fake.world().await.reviews[&stranger].clone();
        assert_eq!((told.title.as_str(), told.stage), ("Mine", world::Stage::Open), "{kind:?}: it is not touched");
        assert_eq!(
            scene.monorepo.id(REVIEW).await.as_ref(),
            Some(&head),
            "{kind:?}: approving theirs approves nothing"
        );
        fake.world().await.closes(stranger, "otto").unwrap();
        for _ in 0..2 {
            scene.later();
            scene.run(Pipeline::OnSchedule).await;
        }
        assert_eq!(host.open(&scene).await, "update-foo 1.1\n", "{kind:?}: closing theirs closes nothing");
        scene.ends().await;
    }
}

#[tokio::test]
async fn a_mark_that_somebody_edits_decides_about_nothing_else() {
    let mut scene = Scene::with_aur().await;
    scene.keeps(&[Pkg::from_aur("bar"), Pkg::from_aur("foo")]).await;
    let host = Host::memory(&mut scene);
    let Host::Memory(forge) = &host else { unreachable!("it is in memory") };
    scene.aur_release(&Pkg::from_aur("bar").version("1.1").built_by("make install")).await;
    released(&scene, "1.1").await;
    let of_bar = host.body_on("update-bar").await.unwrap();
    for text in [of_bar, "all gone".to_owned()] {
        forge.edit("update-foo", |seen| seen.body = text);
        scene.later();
        scene.run(Pipeline::OnSchedule).await;
        assert!(host.body().await.unwrap().contains("<!-- pkgwarden-review package=foo "), "it is written again");
    }
    let of_bar = host.body_on("update-bar").await.unwrap();
    forge.edit("update-foo", |seen| seen.body = of_bar);
    host.closes(&scene, true).await;
    scene.later();
    scene.run(Pipeline::OnSchedule).await;
    assert!(host.open(&scene).await.contains("update-bar 1.1\n"), "nobody rejected that");
    scene.ends().await;
}

#[tokio::test]
async fn the_monorepo_says_who_cares_for_reviews_and_whether_there_are_any() {
    for kind in [Kind::GitHub, Kind::GitLab, Kind::Gitea] {
        let mut scene = beginning().await;
        let host = Host::fake(&mut scene, kind).await;
        let Host::Fake(fake) = &host else { unreachable!("it is on loopback") };
        let config = scene.monorepo.file(MAIN, ".ci/config").await.unwrap();
        let assigned = format!("{config}\nCI_HUMAN_REVIEW_ASSIGNEE=mira\n");
        scene.push("chore: assign", &[Change::put(".ci/config", &assigned)]).await;
        released(&scene, "1.1").await;
        let review = fake.world().await.reviews.values().next_back().unwrap().clone();
        assert_eq!(review.assignees, ["mira".to_owned()].into(), "{kind:?}");
        let without = assigned.replace("CI_HUMAN_REVIEW=true", "CI_HUMAN_REVIEW=false");
        assert_ne!(without, assigned);
        scene.push("chore: no reviews", &[Change::put(".ci/config", without)]).await;
        released(&scene, "1.2").await;
        assert_eq!(host.open(&scene).await, "", "{kind:?}");
        assert!(scene.monorepo.file(MAIN, "foo/PKGBUILD").await.unwrap().contains("pkgver=1.2"), "{kind:?}");
        scene.ends().await;
    }
}

#[tokio::test]
async fn nobody_is_bothered_in_quiet_hours() {
    let mut scene = beginning().await;
    let host = Host::memory(&mut scene);
    let Host::Memory(forge) = &host else { unreachable!("it is in memory") };
    let hour = scene.now().strftime("%H").to_string().parse::<u32>().unwrap();
    let quiet = format!("{:02}:00-{:02}:30", hour, (hour + 3) % 24);
    scene.env.insert("PKGWARDEN__POLICY__REVIEWS__QUIET_HOURS".to_owned(), quiet);
    released(&scene, "1.1").await;
    released(&scene, "1.2").await;
    assert_eq!((forge.told(), host.open(&scene).await), (String::new(), String::new()));
    assert!(scene.monorepo.id(REVIEW).await.is_some(), "it waits as a branch");
    scene.later();
    scene.later();
    scene.run(Pipeline::OnCommit).await;
    assert_eq!(forge.told(), "open #1 update-foo");
    scene.ends().await;
}

#[tokio::test]
async fn so_many_reviews_are_opened_in_an_hour_and_at_once() {
    let mut scene = Scene::with_aur().await;
    let names = ["bar", "baz", "foo", "qux"];
    scene.keeps(&names.map(Pkg::from_aur)).await;
    let host = Host::memory(&mut scene);
    let Host::Memory(forge) = &host else { unreachable!("it is in memory") };
    scene.env.insert("PKGWARDEN__POLICY__REVIEWS__PER_HOUR".to_owned(), "1".to_owned());
    scene.env.insert("PKGWARDEN__POLICY__REVIEWS__AT_ONCE".to_owned(), "3".to_owned());
    for name in names {
        scene.aur_release(&Pkg::from_aur(name).version("1.1").built_by("make install")).await;
    }
    for expected in ["open #1 update-bar", "open #2 update-baz", "open #3 update-foo", "", ""] {
        for _ in 0..2 {
            scene.run(Pipeline::OnSchedule).await;
        }
        assert_eq!(forge.told(), expected);
        scene.later();
        scene.clock.advance(jiff::SignedDuration::from_mins(1));
    }
    host.closes_on(&scene, "update-bar", false).await;
    scene.run(Pipeline::OnSchedule).await;
    assert!(forge.told().starts_with("open #4 update-qux\n"), "there is room for one more");
    scene.ends().await;
}

#[tokio::test]
async fn a_review_that_a_list_leaves_out_is_not_opened_again() {
    let mut scene = beginning().await;
    let host = Host::memory(&mut scene);
    let Host::Memory(forge) = &host else { unreachable!("it is in memory") };
    // A clock that is behind by more than any overlap: whatever ends there seems to have ended long ago.
    forge.is_behind(jiff::SignedDuration::from_hours(50));
    released(&scene, "1.1").await;
    assert_eq!(forge.told(), "open #1 update-foo");
    forge.leaves_out("update-foo");
    scene.later();
    scene.run(Pipeline::OnSchedule).await;
    assert_eq!((forge.told(), host.open(&scene).await), (String::new(), "update-foo 1.1\n".to_owned()));
    host.closes(&scene, false).await;
    scene.later();
    scene.run(Pipeline::OnSchedule).await;
    assert_eq!((forge.told(), scene.monorepo.id(REVIEW).await), (String::new(), None), "it is rejected, not opened");
    released(&scene, "1.2").await;
    assert_eq!(forge.told(), "open #2 update-foo");
    host.closes(&scene, true).await;
    scene.later();
    scene.run(Pipeline::OnSchedule).await;
    assert_eq!((forge.told(), scene.monorepo.id(REVIEW).await), (String::new(), None), "with its branch as well");
    scene.ends().await;
}

#[tokio::test]
async fn a_review_that_an_administrator_deletes_is_opened_once_more() {
    let mut scene = beginning().await;
    let host = Host::memory(&mut scene);
    let Host::Memory(forge) = &host else { unreachable!("it is in memory") };
    released(&scene, "1.1").await;
    forge.deletes("update-foo");
    forge.told();
    for _ in 0..2 {
        scene.later();
        scene.run(Pipeline::OnSchedule).await;
    }
    assert_eq!(
        (forge.told(), host.open(&scene).await),
        ("open #2 update-foo".to_owned(), "update-foo 1.1\n".to_owned())
    );
    scene.ends().await;
}
