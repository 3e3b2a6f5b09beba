//! Reviews: opened, updated, closed, approved, rejected.

use pkgwarden::controller::face::Face as _;
use pkgwarden::domain::plan::{Pipeline, Refusal};

use crate::support::scene::{MAIN, base, person};
use crate::support::{Change, Pkg, Scene};

const REVIEW: &str = "refs/heads/update-foo";

/// A scene in which an update of `foo` that changes its `build()` waits for a person.
async fn with_review() -> Scene {
    let scene = Scene::with_aur().await;
    scene.keeps(&[Pkg::from_aur("foo")]).await;
    scene.aur_release(&proposed()).await;
    scene.run(Pipeline::OnSchedule).await;
    assert!(scene.monorepo.id(REVIEW).await.is_some());
    scene
}

fn proposed() -> Pkg {
    Pkg::from_aur("foo").version("1.1").built_by("make install")
}

#[tokio::test]
async fn newer_content_updates_the_review_in_place() {
    let scene = with_review().await;
    scene.aur_release(&proposed().version("1.2")).await;
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    review foo [major]: 1.0-1 -> 1.2-1 needs a person
    update update-foo
    update refs/heads/state
    update refs/heads/update-foo
    ");
    assert_eq!(scene.monorepo.id(&format!("{REVIEW}~1")).await, scene.monorepo.id(MAIN).await, "still one commit");
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main feat: more
    refs/heads/state chore(state): update state
    refs/heads/update-foo chore(update): foo
    refs/tags/scheduled feat: more
    ");
}

#[tokio::test]
async fn a_review_whose_content_a_person_merged_is_closed() {
    let scene = with_review().await;
    scene.push("feat(foo): merged by hand", &Change::put_all("foo/", &proposed().source())).await;
    insta::assert_snapshot!(scene.told(Pipeline::OnCommit).await, @"
    build foo (changed)
    close update-foo: its content has reached the branch
    update refs/heads/state
    update refs/tags/scheduled
    delete refs/heads/update-foo
    ");
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main feat(foo): merged by hand
    refs/heads/state chore(state): update state
    refs/tags/scheduled feat(foo): merged by hand
    ");
}

/// D17: such branches stayed for ever.
#[tokio::test]
async fn a_review_of_a_package_that_left_is_closed() {
    let scene = with_review().await;
    scene.push("chore(drop): foo", &[Change::Remove("foo".into())]).await;
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    remove foo
    close update-foo: the package has left the repository
    update refs/tags/scheduled
    delete refs/heads/update-foo
    ");
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main chore(drop): foo
    refs/heads/state chore(state): update state
    refs/tags/scheduled chore(drop): foo
    ");
}

#[tokio::test]
async fn a_review_ends_when_the_source_takes_the_change_back() {
    let scene = with_review().await;
    scene.aur_release(&Pkg::from_aur("foo").version("1.2")).await;
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    commit foo [minor]: 1.0-1 -> 1.2-1
    build foo (changed)
    close update-foo: a newer update went in without a person
    update refs/heads/main
    update refs/heads/state
    update refs/tags/scheduled
    delete refs/heads/update-foo
    ");
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main chore(update): foo
    refs/heads/state chore(state): update state
    refs/tags/scheduled chore(update): foo
    ");
}

#[tokio::test]
async fn a_review_branch_deleted_by_hand_is_proposed_anew() {
    let scene = with_review().await;
    scene.monorepo.git(&["update-ref", "-d", REVIEW]).await;
    scene.later();
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    review foo [major]: 1.0-1 -> 1.1-1 needs a person
    open update-foo
    create refs/heads/update-foo
    ");
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main feat: more
    refs/heads/state chore(state): update state
    refs/heads/update-foo chore(update): foo
    refs/tags/scheduled feat: more
    ");
}

#[tokio::test]
async fn an_approved_review_is_merged_built_and_closed_in_one_push() {
    let scene = with_review().await;
    let head = scene.monorepo.id(REVIEW).await.unwrap().parse().unwrap();
    let serving = scene.controller();
    let page = serving.controller.start(Pipeline::Approve(base("foo"), head, person("mira")), "test").await.unwrap();
    assert_eq!(page.document["outcome"]["pushed"], true, "{}", page.document);
    assert_eq!(
        scene.monorepo.file(MAIN, "foo/PKGBUILD").await.unwrap().as_bytes(),
        proposed().source().get("PKGBUILD").unwrap()
    );
    insta::assert_snapshot!(scene.builds().await, @"
    tidewatch-git upstream ready
    foo changed ready
    ");
    drop(serving);
    scene.later();
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"");
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main chore(update): foo
    refs/heads/state chore(state): update state
    refs/tags/scheduled chore(update): foo
    ");
}

#[tokio::test]
async fn a_rejected_review_is_closed_and_comes_again_only_with_other_content() {
    let scene = with_review().await;
    let head = scene.monorepo.id(REVIEW).await.unwrap().parse().unwrap();
    let serving = scene.controller();
    serving.controller.start(Pipeline::Reject(base("foo"), head, Refusal::default()), "test").await.unwrap();
    drop(serving);
    scene.later();
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"");
    scene.aur_release(&proposed().release("2")).await;
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    review foo [major]: 1.0-1 -> 1.1-2 needs a person
    open update-foo
    update refs/heads/state
    create refs/heads/update-foo
    ");
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main feat: more
    refs/heads/state chore(state): update state
    refs/heads/update-foo chore(update): foo
    refs/tags/scheduled feat: more
    ");
}

#[tokio::test]
async fn an_approval_of_what_has_moved_since_changes_nothing() {
    let scene = with_review().await;
    let seen = scene.monorepo.id(REVIEW).await.unwrap().parse().unwrap();
    scene.aur_release(&proposed().version("1.2")).await;
    scene.run(Pipeline::OnSchedule).await;
    insta::assert_snapshot!(scene.told(Pipeline::Approve(base("foo"), seen, person("mira"))).await, @"error [review-moved] foo: its review has newer content than the one that was looked at -> look at it again");
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main feat: more
    refs/heads/state chore(state): update state
    refs/heads/update-foo chore(update): foo
    refs/tags/scheduled feat: more
    ");
}

#[tokio::test]
async fn an_approval_keeps_what_people_changed_in_the_ci_folder_meanwhile() {
    let scene = with_review().await;
    let config = "CI_PKGBUILD_SOURCE=aur\n# mine\nBUILDER_EXTRA_TIMEOUT=2\n";
    scene.push("chore(foo): more time", &[Change::put("foo/.CI/config", config)]).await;
    let head = scene.monorepo.id(REVIEW).await.unwrap().parse().unwrap();
    insta::assert_snapshot!(scene.told(Pipeline::Approve(base("foo"), head, person("mira"))).await, @"
    commit foo [major]: 1.0-1 -> 1.1-1, approved by mira
    build foo (changed)
    close update-foo: a person approved it
    update refs/heads/main
    update refs/heads/state
    update refs/tags/scheduled
    delete refs/heads/update-foo
    ");
    assert_eq!(scene.monorepo.file(MAIN, "foo/.CI/config").await.as_deref(), Some(config));
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main chore(update): foo
    refs/heads/state chore(state): update state
    refs/tags/scheduled chore(update): foo
    ");
}

#[tokio::test]
async fn the_page_of_a_review_shows_what_differs() {
    let scene = with_review().await;
    let serving = scene.controller();
    serving.controller.start(Pipeline::OnCommit, "test").await.unwrap();
    let reviews = serving.controller.reviews().await.unwrap();
    let review = serving.controller.review(&base("foo")).await.unwrap().unwrap();
    assert_eq!(reviews.len(), 1);
    let files: Vec<_> = review.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(files, [".SRCINFO", "PKGBUILD"]);
    drop(serving);
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main feat: more
    refs/heads/state chore(state): update state
    refs/heads/update-foo chore(update): foo
    refs/tags/scheduled feat: more
    ");
}
