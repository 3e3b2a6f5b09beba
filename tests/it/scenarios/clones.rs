//! Every kind of clone a run may be started in.

use pkgwarden::app::Place;
use pkgwarden::domain::plan::Pipeline;

use crate::support::repo::git_in;
use crate::support::scene::MAIN;
use crate::support::told::told;
use crate::support::{Pkg, Scene};

/// A monorepo with some history, and `foo` changed since the last builds.
async fn scene() -> Scene {
    let scene = Scene::of(&[Pkg::new("foo"), Pkg::new("bar").needs(&["foo"])]).await;
    for release in ["2", "3", "4"] {
        scene.push("feat(bar): again", &Pkg::new("bar").needs(&["foo"]).release(release).changes()).await;
    }
    scene.hand_out().await;
    scene.push("feat(foo): two", &Pkg::new("foo").release("2").changes()).await;
    scene.push("feat(foo): three [deploy bar]", &Pkg::new("foo").release("3").changes()).await;
    scene
}

/// A clone made with these options.
async fn cloned(scene: &Scene, options: &[&str]) -> Place {
    let (from, to) = (format!("file://{}", scene.monorepo.path().display()), scene.path("clone"));
    let to = to.display().to_string();
    git_in(&scene.path(""), &[&["clone", "-q"], options, &[&from, &to]].concat()).await;
    Place { dir: to.into(), remote: None, branch: None }
}

/// Plans and runs from the clone; the remote has to end as if the run had been started anywhere else.
async fn works_in(scene: Scene, place: Place) {
    let planned = told(&scene.plan_from(&place, Pipeline::OnCommit).await.unwrap());
    let run = scene.try_run_from(&place, Pipeline::OnCommit).await.unwrap_or_else(|error| panic!("{error:#}"));
    assert_eq!(told(&run.document), planned);
    assert_eq!(scene.monorepo.id("scheduled").await, scene.monorepo.id(MAIN).await);
    let refs = scene.ends().await;
    insta::allow_duplicates! {
        insta::assert_snapshot!(planned, @"
        build foo (changed)
        build bar (directive) after foo
        update refs/tags/scheduled
        ");
        insta::assert_snapshot!(refs, @"
        refs/heads/main feat(foo): three [deploy bar]
        refs/tags/scheduled feat(foo): three [deploy bar]
        ");
    }
}

#[tokio::test]
async fn a_clone_reads_and_writes_its_origin() {
    let scene = scene().await;
    let place = cloned(&scene, &[]).await;
    works_in(scene, place).await;
}

#[tokio::test]
async fn a_clone_that_is_behind_sees_what_its_origin_has() {
    let scene = scene().await;
    let place = cloned(&scene, &[]).await;
    git_in(&place.dir, &["reset", "-q", "--hard", "HEAD~2"]).await;
    git_in(&place.dir, &["update-ref", "refs/remotes/origin/main", "HEAD"]).await;
    works_in(scene, place).await;
}

#[tokio::test]
async fn a_detached_checkout_of_a_ci_job_is_enough() {
    let scene = scene().await;
    let place = cloned(&scene, &[]).await;
    git_in(&place.dir, &["checkout", "-q", "--detach"]).await;
    git_in(&place.dir, &["branch", "-q", "-D", "main"]).await;
    works_in(scene, place).await;
}

#[tokio::test]
async fn a_shallow_clone_is_enough() {
    let scene = scene().await;
    let place = cloned(&scene, &["--depth=1"]).await;
    works_in(scene, place).await;
}

#[tokio::test]
async fn a_shallow_detached_checkout_without_tags_is_enough() {
    let scene = scene().await;
    let place = cloned(&scene, &["--depth=2", "--no-tags", "--single-branch"]).await;
    git_in(&place.dir, &["checkout", "-q", "--detach"]).await;
    works_in(scene, place).await;
}

#[tokio::test]
async fn a_shallow_clone_of_a_repository_without_scheduled_counts_the_last_commit_only() {
    let scene = scene().await;
    scene.monorepo.git(&["tag", "-d", "scheduled"]).await;
    let place = cloned(&scene, &["--depth=1"]).await;
    let run = scene.try_run_from(&place, Pipeline::OnCommit).await.unwrap();
    let built: Vec<_> = run.document.builds.iter().map(|build| build.pkgbase.as_str()).collect();
    assert_eq!(built, ["foo", "bar"], "what changed, and what the directive names");
    scene.ends().await;
}

#[tokio::test]
async fn a_shallow_clone_hides_no_directive_of_a_branch_that_was_merged() {
    let scene = Scene::of(&[Pkg::new("foo"), Pkg::new("bar")]).await;
    let root = scene.monorepo.id(MAIN).await.unwrap();
    let topic = "refs/heads/topic";
    scene.monorepo.git(&["update-ref", topic, &root]).await;
    for message in ["chore: one [deploy bar]", "chore: two"] {
        scene.monorepo.commit(topic, message, &[], scene.now()).await;
    }
    let tree = scene.monorepo.git(&["rev-parse", &format!("{root}^{{tree}}")]).await;
    let who = ["-c", "user.name=M", "-c", "user.email=m@example.org"];
    let merge = ["commit-tree", &tree, "-p", MAIN, "-p", topic, "-m", "Merge topic"];
    let merge = scene.monorepo.git(&[&who[..], &merge].concat()).await;
    scene.monorepo.git(&["update-ref", MAIN, &merge]).await;
    scene.monorepo.git(&["update-ref", "-d", topic]).await;
    let place = cloned(&scene, &["--depth=2"]).await;
    let run = scene.try_run_from(&place, Pipeline::OnCommit).await.unwrap();
    assert_eq!(told(&run.document), "build bar (directive)\nupdate refs/tags/scheduled\n");
    scene.ends().await;
}

#[tokio::test]
async fn a_bare_repository_without_a_remote_is_its_own_remote() {
    let scene = scene().await;
    let place = Place { dir: scene.monorepo.path().to_owned(), remote: None, branch: None };
    works_in(scene, place).await;
}

#[tokio::test]
async fn a_folder_inside_a_work_tree_is_enough() {
    let scene = scene().await;
    let mut place = cloned(&scene, &[]).await;
    place.dir = place.dir.join("foo");
    works_in(scene, place).await;
}

#[tokio::test]
async fn another_remote_can_be_named() {
    let scene = scene().await;
    let mut place = cloned(&scene, &[]).await;
    git_in(&place.dir, &["remote", "rename", "origin", "upstream"]).await;
    place.remote = Some("upstream".to_owned());
    works_in(scene, place).await;
}
