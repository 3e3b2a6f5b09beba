//! `plan` writes nothing, anywhere, and says what `run` does next.

use serde_json::Value;

use crate::support::repo::git_in;
use crate::support::scene::{MAIN, base};
use crate::support::{Change, Pkg, Repo, Scene};

/// Takes out what a plan cannot know yet, and what differs between any two moments.
fn foreseeable(mut document: Value) -> Value {
    let object = document.as_object_mut().unwrap();
    object.remove("now");
    object.remove("outcome");
    for change in document["refs"].as_array_mut().unwrap() {
        change.as_object_mut().unwrap().remove("new");
    }
    document
}

async fn eventful() -> Scene {
    let scene = Scene::with_aur().await;
    scene.later();
    scene.world().aur_minor_update(&base("libtally")).await.unwrap();
    scene.world().aur_major_update(&base("banner")).await.unwrap();
    scene.world().push_deploy(&base("tally")).await.unwrap();
    scene
}

#[tokio::test]
async fn a_plan_writes_nothing_anywhere_and_says_what_the_run_does() {
    let scene = eventful().await;
    let before = scene.everything();
    let planned = scene.pkgwarden(&["plan", "on-schedule", "--format", "json"]).await;
    assert_eq!(planned.code, Some(3), "an update needs a person: {}", planned.stderr);
    let text = scene.pkgwarden(&["plan", "on-schedule"]).await;
    insta::assert_snapshot!(text.text(), @"
    on-schedule of packages
      current 4 packages
      review  banner: 1:3.0.1-1 -> 1:3.0.2-1 needs a person (trust)
                PKGBUILD:11: a source is fetched from another place
                PKGBUILD:15: `build()` does something else than before
      commit  libtally: 2.1.0-1 -> 2.1.1-1
      build   libtally (changed)
      build   tally (directive, after libtally)
      review  open update-banner
      ref     update refs/heads/main
      ref     update refs/heads/state
      ref     update refs/tags/scheduled
      ref     create refs/heads/update-banner
    ");
    scene.everything().assert_same(&before);
    let run = scene.pkgwarden(&["run", "on-schedule", "--format", "json"]).await;
    assert_eq!(foreseeable(run.json()), foreseeable(planned.json()));
    assert_eq!(run.json()["outcome"]["pushed"], true);
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main chore(update): libtally
    refs/heads/state chore(state): update state
    refs/heads/update-banner chore(update): banner
    refs/tags/scheduled chore(update): libtally
    ");
}

#[tokio::test]
async fn a_plan_that_needs_a_person_ends_with_three_and_so_does_the_run() {
    let scene = Scene::of(&[Pkg::new("foo")]).await;
    scene.push("chore: typo [deploy fo]", &[]).await;
    let planned = scene.pkgwarden(&["plan", "on-commit"]).await;
    assert_eq!(planned.code, Some(3));
    insta::assert_snapshot!(planned.text(), @"
    on-commit of packages
      ref     update refs/tags/scheduled
      problem `[deploy fo]`: there is no package `fo` (commit <id>); did you mean `foo`?
    ");
    let run = scene.pkgwarden(&["run", "on-commit"]).await;
    assert_eq!((run.code, scene.builds().await.as_str()), (Some(3), ""));
    insta::assert_snapshot!(run.text(), @"
    on-commit of packages
      ref     update refs/tags/scheduled
      problem `[deploy fo]`: there is no package `fo` (commit <id>); did you mean `foo`?
    pushed, 0 builds enqueued, run <run>
    ");
    scene.ends().await;
}

#[tokio::test]
async fn without_its_remote_a_plan_rests_on_the_clone_and_a_run_moves_nothing() {
    let scene = Scene::of(&[Pkg::new("foo")]).await;
    scene.push("feat(foo): two", &Pkg::new("foo").release("2").changes()).await;
    let clone = scene.path("clone");
    let (from, to) = (scene.monorepo.path().display().to_string(), clone.display().to_string());
    git_in(&scene.path(""), &["clone", "-q", &from, &to]).await;
    let away = scene.path("away.git");
    std::fs::rename(scene.monorepo.path(), &away).unwrap();
    let planned = scene.pkgwarden_in(&clone, &["plan", "on-commit"], &[]).await;
    assert_eq!(planned.code, Some(0), "{}", planned.stderr);
    insta::assert_snapshot!(planned.text(), @"
    on-commit of packages
      note    foo: its folder changed since the last builds were handed out
      build   foo (changed)
      ref     update refs/tags/scheduled
      problem the remote does not answer, so this is planned on what the clone has: <dir>/packages.git cannot be reached: '<dir>/packages.git' does not appear to be a git repository; Could not read from remote repository.; check that the address is right and the repository exists; mend the connection, or name another remote with --remote
    ");
    let refs = Repo::at(&clone).refs().await;
    let run = scene.pkgwarden_in(&clone, &["run", "on-commit"], &[]).await;
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""));
    insta::assert_snapshot!(run.errors(), @"error: <dir>/packages.git cannot be reached: '<dir>/packages.git' does not appear to be a git repository; Could not read from remote repository.; check that the address is right and the repository exists");
    assert_eq!((Repo::at(&clone).refs().await, scene.builds().await), (refs, String::new()));
    std::fs::rename(&away, scene.monorepo.path()).unwrap();
    let run = scene.pkgwarden_in(&clone, &["run", "on-commit"], &[]).await;
    assert_eq!((run.code, scene.builds().await.as_str()), (Some(0), "foo changed ready\n"));
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main feat(foo): two
    refs/tags/scheduled feat(foo): two
    ");
}

#[tokio::test]
async fn what_the_pipelines_of_people_say_is_planned_alike() {
    let scene = Scene::of(&[Pkg::new("foo"), Pkg::new("bar").needs(&["foo"])]).await;
    scene.push("docs: say it", &[Change::put("README", "hi\n")]).await;
    let asked = [
        (&["deploy", "foo/heavy,bar"][..], 0),
        (&["deploy", "all"], 0),
        (&["bump", "foo"], 0),
        // Nobody waits for it.
        (&["trigger", "daily"], 3),
    ];
    for (args, code) in asked {
        let [plan, run] = ["plan", "run"].map(|verb| [&[verb][..], args, &["--format", "json"]].concat());
        let (planned, run) = (scene.pkgwarden(&plan).await, scene.pkgwarden(&run).await);
        assert_eq!((planned.code, run.code), (Some(code), Some(code)), "{args:?}: {}{}", planned.stderr, run.stderr);
        assert_eq!(foreseeable(run.json()), foreseeable(planned.json()), "{args:?}");
    }
    assert!(scene.monorepo.file(MAIN, "foo/.CI/config").await.unwrap().contains("CI_PACKAGE_BUMP=1.0-1/1\n"));
    insta::assert_snapshot!(scene.builds().await, @"
    foo deploy superseded
    bar deploy superseded
    foo deploy superseded
    bar deploy waiting
    foo bump ready
    ");
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main chore(bump): foo
    refs/tags/scheduled chore(bump): foo
    ");
}
