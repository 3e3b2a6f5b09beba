//! SIGKILL between any two steps of an apply, and a start after it: the same refs and builds as if nothing
//! had happened, each build enqueued once.
//!
//! The program is the real binary, stopped by its fail points (feature `failpoints`).
#![cfg(feature = "failpoints")]

use std::path::PathBuf;

use pkgwarden::domain::plan::Pipeline;

use crate::support::scene::{base, builds_in, names_in, nothing_open_in};
use crate::support::{Pkg, Repo, Scene};

/// What a run has left: the remote without ids that depend on the moment, and the builds.
#[derive(Debug, PartialEq, Eq)]
struct Left {
    refs: String,
    builds: String,
}

/// A copy of the scene's monorepo with a record of its own.
struct Copy<'a> {
    scene: &'a Scene,
    monorepo: Repo,
    data_dir: PathBuf,
}

/// Everything that can move waits to be moved: a minor and a major update, an upstream commit, a person's
/// commit with a directive, a removal, a review that has become obsolete.
async fn eventful() -> Scene {
    let scene = Scene::with_aur().await;
    scene.keeps(&[Pkg::from_aur("obsolete"), Pkg::from_aur("fine"), Pkg::from_aur("risky")]).await;
    scene.aur_release(&Pkg::from_aur("obsolete").version("1.1").built_by("make")).await;
    scene.run(Pipeline::OnSchedule).await;
    scene.aur_release(&Pkg::from_aur("obsolete").version("1.2")).await;
    scene.aur_release(&Pkg::from_aur("fine").version("1.1")).await;
    scene.aur_release(&Pkg::from_aur("risky").version("1.1").built_by("make")).await;
    scene.world().upstream_commit().await.unwrap();
    scene.world().push_deploy(&base("numberstation")).await.unwrap();
    scene.world().remove_package(&base("sundial")).await.unwrap();
    scene
}

impl<'a> Copy<'a> {
    async fn of(scene: &'a Scene, name: &str) -> Self {
        let monorepo = scene.monorepo.copy_to(&scene.path(&format!("{name}.git"))).await;
        Self { scene, monorepo, data_dir: scene.path(&format!("{name}.data")) }
    }

    /// Runs the program on the copy; returns its exit status.
    async fn run(&self, pipeline: &[&str], fail_points: &str) -> Option<i32> {
        let data_dir = self.data_dir.display().to_string();
        let env = [("PKGWARDEN__SERVER__DATA_DIR", data_dir.as_str()), ("FAILPOINTS", fail_points)];
        let args = [&["run"], pipeline].concat();
        let ran = self.scene.pkgwarden_in(self.monorepo.path(), &args, &env).await;
        assert_ne!(ran.code, Some(1), "{}", ran.stderr);
        ran.code
    }

    async fn left(&self) -> Left {
        nothing_open_in(&self.data_dir).await;
        Left { refs: self.monorepo.picture().await, builds: builds_in(&self.data_dir).await }
    }
}

/// Kills a run at a fail point, starts another, and compares with a run that nobody disturbed.
async fn killed_at(fail_point: &str) {
    let scene = eventful().await;
    let undisturbed = Copy::of(&scene, "undisturbed").await;
    assert_eq!(undisturbed.run(&["on-schedule"], "").await, Some(0));
    let disturbed = Copy::of(&scene, "disturbed").await;
    assert_eq!(disturbed.run(&["on-schedule"], &format!("{fail_point}=return")).await, None, "killed");
    assert_eq!(names_in(&scene.path("tmp")).len(), 1, "its workspace is left, until the next run takes it away");
    assert_eq!(disturbed.run(&["on-schedule"], "").await, Some(0));
    let (expected, left) = (undisturbed.left().await, disturbed.left().await);
    assert_eq!(left, expected);
    insta::allow_duplicates! {
        insta::assert_snapshot!(left.builds, @"
        fine changed ready
        obsolete changed ready
        numberstation directive ready
        tidewatch-git upstream ready
        ");
    }
    assert_eq!(disturbed.run(&["on-schedule"], "").await, Some(0));
    assert_eq!(disturbed.left().await, expected, "a third run finds nothing left to do");
    scene.ends().await;
}

#[tokio::test]
async fn killed_before_anything_is_promised_the_next_run_does_it_all() {
    killed_at("apply.objects-written").await;
}

#[tokio::test]
async fn killed_with_the_intent_recorded_the_next_run_plans_anew() {
    killed_at("apply.intent-recorded").await;
}

/// D15: the tag had moved, another job was to schedule the builds, and when it failed nobody did.
#[tokio::test]
async fn killed_after_the_push_the_next_run_enqueues_what_was_promised() {
    killed_at("apply.pushed").await;
}

#[tokio::test]
async fn killed_after_all_is_settled_the_next_run_repeats_nothing() {
    killed_at("apply.settled").await;
}

#[tokio::test]
async fn killed_twice_in_a_row_nothing_is_lost_or_doubled() {
    let scene = eventful().await;
    let undisturbed = Copy::of(&scene, "undisturbed").await;
    undisturbed.run(&["on-schedule"], "").await;
    let disturbed = Copy::of(&scene, "disturbed").await;
    for fail_point in ["apply.intent-recorded", "apply.pushed", "apply.objects-written"] {
        disturbed.run(&["on-schedule"], &format!("{fail_point}=return")).await;
    }
    assert_eq!(disturbed.run(&["on-commit"], "").await, Some(0));
    assert_eq!(disturbed.left().await, undisturbed.left().await);
    scene.ends().await;
}

#[tokio::test]
async fn a_deploy_that_moves_no_ref_is_enqueued_once_although_it_was_killed() {
    let scene = Scene::of(&[Pkg::new("foo"), Pkg::new("bar")]).await;
    let copy = Copy::of(&scene, "copy").await;
    assert_eq!(copy.run(&["deploy", "foo"], "apply.intent-recorded=return").await, None);
    assert_eq!(copy.run(&["on-commit"], "").await, Some(0));
    assert_eq!(copy.left().await.builds, "foo deploy ready\n");
    scene.ends().await;
}

#[tokio::test]
async fn somebody_who_pushed_on_top_before_the_next_start_hides_nothing() {
    let scene = Scene::of(&[Pkg::new("foo"), Pkg::new("bar")]).await;
    scene.push("feat(foo): two [bump bar]", &Pkg::new("foo").release("2").changes()).await;
    let copy = Copy::of(&scene, "copy").await;
    assert_eq!(copy.run(&["on-commit"], "apply.pushed=return").await, None);
    let changes = Pkg::new("foo").release("3").changes();
    copy.monorepo.commit(crate::support::scene::MAIN, "feat(foo): three", &changes, scene.now()).await;
    assert_eq!(copy.run(&["on-commit"], "").await, Some(0));
    insta::assert_snapshot!(copy.left().await.builds, @"
    bar directive ready
    foo changed superseded
    foo changed ready
    ");
    scene.ends().await;
}
