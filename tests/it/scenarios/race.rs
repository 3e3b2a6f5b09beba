//! Somebody pushes between the look and the push: the run plans anew and loses nothing.
//!
//! The race is lost on purpose and without any waiting: a hook of the remote pushes as a person, once,
//! while the program's own push is being received.

use pkgwarden::domain::plan::Pipeline;

use super::releases;
use crate::support::scene::{MAIN, base, write_program};
use crate::support::{Change, Pkg, Scene};

/// Has a person's commit arrive at the moment the program's push does, `times` times; `also` is done then,
/// too.
pub async fn interferes(scene: &Scene, times: usize, changes: &[Change], also: &str) -> Vec<String> {
    let mut parent = scene.monorepo.id(MAIN).await;
    let waiting = scene.path("waiting");
    let mut commits = Vec::new();
    for number in 0..times {
        let side = format!("refs/side/{number}");
        let message = format!("feat: meanwhile {number}");
        let commit = scene.monorepo.commit_on(&side, parent.as_deref(), &message, changes, scene.now()).await;
        scene.monorepo.git(&["update-ref", "-d", &side]).await;
        parent = Some(commit.clone());
        commits.push(commit);
    }
    std::fs::write(&waiting, commits.join("\n") + "\n").unwrap();
    let script = format!(
        "#!/bin/sh\nset -e\ncat > /dev/null\nnext=$(head -n 1 {0})\nsed -i 1d {0}\n\
         test -z \"$next\" || env -u GIT_QUARANTINE_PATH git update-ref {MAIN} $next\n{also}\n",
        waiting.display()
    );
    write_program(&scene.monorepo.path().join("hooks/pre-receive"), &script);
    commits
}

/// D11: any push in between lost the whole run.
#[tokio::test]
async fn a_push_in_between_is_planned_with_and_no_source_is_asked_again() {
    let scene = Scene::with_aur().await;
    scene.later();
    scene.world().aur_minor_update(&base("libtally")).await.unwrap();
    let (aur, away) = (scene.path("world/git/aur.git"), scene.path("away.git"));
    let vanish = format!("test -e {1} || mv {0} {1}", aur.display(), away.display());
    let person = interferes(&scene, 1, &Pkg::new("meanwhile").changes(), &vanish).await;
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    commit libtally [minor]: 2.1.0-1 -> 2.1.1-1
    build libtally (changed)
    build meanwhile (changed)
    update refs/heads/main
    update refs/heads/state
    update refs/tags/scheduled
    ");
    assert_eq!(scene.monorepo.id(&format!("{MAIN}~1")).await.as_ref(), person.first());
    assert!(away.exists() && !aur.exists(), "the AUR was gone when the run was planned anew");
    insta::assert_snapshot!(scene.builds().await, @"
    tidewatch-git upstream ready
    libtally changed ready
    meanwhile changed ready
    ");
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main chore(update): libtally
    refs/heads/state chore(state): update state
    refs/tags/scheduled chore(update): libtally
    ");
}

#[tokio::test]
async fn a_person_who_updates_the_same_package_first_wins() {
    let scene = Scene::with_aur().await;
    scene.keeps(&[Pkg::from_aur("foo")]).await;
    scene.aur_release(&Pkg::from_aur("foo").version("1.1")).await;
    let changes = Change::put_all("foo/", &Pkg::from_aur("foo").version("1.1").source());
    interferes(&scene, 1, &changes, "").await;
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    build foo (changed)
    update refs/heads/state
    update refs/tags/scheduled
    ");
    insta::assert_snapshot!(scene.builds().await, @"
    tidewatch-git upstream ready
    foo changed ready
    ");
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main feat: meanwhile 0
    refs/heads/state chore(state): update state
    refs/tags/scheduled feat: meanwhile 0
    ");
}

#[tokio::test]
async fn a_race_lost_every_time_ends_with_an_error_and_the_next_run_goes_on() {
    let scene = Scene::of(&[Pkg::new("foo"), Pkg::new("bar")]).await;
    scene.push("feat: two [bump bar]", &Pkg::new("foo").release("2").changes()).await;
    interferes(&scene, 9, &[], "").await;
    let error = scene.try_run(Pipeline::OnCommit).await.unwrap_err();
    let text = format!("{error:#}").replace(&scene.path("").display().to_string(), "<dir>/");
    insta::assert_snapshot!(text, @"somebody pushed to <dir>/packages.git/ during each of 5 tries; the next run goes on");
    assert_eq!(scene.builds().await, "");
    std::fs::remove_file(scene.monorepo.path().join("hooks/pre-receive")).unwrap();
    insta::assert_snapshot!(scene.told(Pipeline::OnCommit).await, @"
    commit bar: bumped to 1.0-1.1
    build bar (directive)
    build foo (changed)
    update refs/heads/main
    update refs/tags/scheduled
    ");
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main chore(bump): bar
    refs/tags/scheduled chore(bump): bar
    ");
}

#[tokio::test]
async fn a_tag_that_somebody_moved_meanwhile_is_not_moved_back() {
    let scene = Scene::of(&[Pkg::new("foo")]).await;
    let tip = scene.push("feat(foo): two", &Pkg::new("foo").release("2").changes()).await;
    let script = format!(
        "#!/bin/sh\ncat > /dev/null\nenv -u GIT_QUARANTINE_PATH git update-ref refs/tags/scheduled {tip}\nrm \"$0\"\n"
    );
    write_program(&scene.monorepo.path().join("hooks/pre-receive"), &script);
    insta::assert_snapshot!(scene.told(Pipeline::OnCommit).await, @"");
    assert_eq!(scene.builds().await, "", "whoever moved the tag has the builds");
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main feat(foo): two
    refs/tags/scheduled feat(foo): two
    ");
}

#[tokio::test]
async fn what_a_person_does_to_a_package_while_it_is_raised_is_not_undone() {
    let (scene, forge) = releases::scene_of(&[("tool", "4711", "gitlab:4711")]).await;
    scene.run(Pipeline::OnSchedule).await;
    forge.tag("4711", "v1.1");
    let mine = scene.monorepo.file(MAIN, "tool/PKGBUILD").await.unwrap().replace("A thing", "A good thing");
    interferes(&scene, 1, &[Change::put("tool/PKGBUILD", mine.clone())], "").await;
    let document = scene.run(Pipeline::OnSchedule).await.document;
    insta::assert_snapshot!(document.packages[0].why, @"its files changed in the monorepo while they were being raised to a new version");
    assert_eq!(scene.monorepo.file(MAIN, "tool/PKGBUILD").await, Some(mine));
    scene.run(Pipeline::OnSchedule).await;
    let raised = scene.monorepo.file(MAIN, "tool/PKGBUILD").await.unwrap();
    assert!(raised.contains("A good thing") && raised.contains("pkgver=1.1\n"), "{raised}");
    scene.ends().await;
}
