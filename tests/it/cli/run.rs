//! `run` as a CI job calls it.

use crate::support::{Pkg, Scene};

#[tokio::test]
async fn a_run_says_what_it_did_and_a_second_one_that_there_was_nothing() {
    let scene = Scene::of(&[Pkg::new("foo"), Pkg::new("bar").needs(&["foo"])]).await;
    let changes = [Pkg::new("foo").release("2"), Pkg::new("bar").needs(&["foo"]).release("2")];
    scene.push("feat: two", &changes.iter().flat_map(Pkg::changes).collect::<Vec<_>>()).await;
    insta::assert_snapshot!(scene.pkgwarden(&["run", "on-commit"]).await.text(), @"
    on-commit of packages
      note    bar: its folder changed since the last builds were handed out
      note    foo: its folder changed since the last builds were handed out
      build   foo (changed)
      build   bar (changed, after foo)
      ref     update refs/tags/scheduled
    pushed, 2 builds enqueued, run <run>
    `pkgwarden serve` builds what is in the queue
    ");
    insta::assert_snapshot!(scene.pkgwarden(&["run", "on-commit"]).await.text(), @"
    on-commit of packages
    nothing to push, 0 builds enqueued, run <run>
    ");
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main feat: two
    refs/tags/scheduled feat: two
    ");
}

#[tokio::test]
async fn the_files_for_a_chaotic_manager_name_the_commit_and_the_order() {
    let scene = Scene::of(&[Pkg::new("foo"), Pkg::new("c++x").needs(&["foo"])]).await;
    let changes = [Pkg::new("foo").release("2"), Pkg::new("c++x").needs(&["foo"]).release("2")];
    let tip = scene.push("feat: two", &changes.iter().flat_map(Pkg::changes).collect::<Vec<_>>()).await;
    let out = scene.path("out");
    std::fs::create_dir(&out).unwrap();
    let args = ["run", "on-commit", "--emit-chaotic", &out.display().to_string()];
    let env = [("PKGWARDEN__EXECUTOR__KIND", "none")];
    let ran = scene.pkgwarden_in(scene.monorepo.path(), &args, &env).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let read = |name: &str| std::fs::read_to_string(out.join(name)).unwrap();
    let params = read("schedule-params.txt").replace(&tip, "<tip>").replace('\0', "\n");
    insta::assert_snapshot!(params, @r#"
    declare -- REDIS_PORT="6379"
    declare -- REDIS_SSH_HOST="localhost"
    declare -- REDIS_SSH_PORT="22"
    declare -- REDIS_SSH_USER="redis"
    declare -a PARAMS_SCHEDULE=([0]="schedule" [1]="--target-repo=test" [2]="--source-repo=test" [3]="--commit" [4]="<tip>" [5]="foo" [6]="c++x")
    "#);
    insta::assert_snapshot!(read("deptree.txt"), @"c++x:c++x:foo;foo:foo:");
    assert_eq!(scene.builds().await, "", "somebody else schedules them");
    scene.ends().await;
}

#[tokio::test]
async fn runs_of_several_processes_at_once_take_turns_and_lose_nothing() {
    let scene = Scene::of(&["a", "b", "c", "d"].map(Pkg::new)).await;
    scene.push("feat: all [deploy all]", &[]).await;
    let runs = [&["run", "on-commit"][..], &["run", "on-commit"], &["run", "bump", "a"], &["run", "deploy", "b"]];
    let ran = futures_util::future::join_all(runs.iter().map(|args| scene.pkgwarden(args))).await;
    for ran in ran {
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    }
    let builds = scene.builds().await;
    for name in ["a ", "b ", "c ", "d "] {
        let live = builds.lines().filter(|line| line.starts_with(name) && line.ends_with("ready")).count();
        assert_eq!(live, 1, "{builds}");
    }
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main chore(bump): a
    refs/tags/scheduled chore(bump): a
    ");
}
