//! Packages that are kept in the monorepo for the AUR (`CI_MANAGE_AUR`): pushed back once, and never over what
//! somebody else pushed.

use std::path::PathBuf;

use pkgwarden::domain::plan::Pipeline;

use crate::support::repo::git_in;
use crate::support::scene::{MAIN, write_program};
use crate::support::{Change, Pkg, Repo, Scene};

const MASTER: &str = "refs/heads/master";

/// A package that goes back.
fn managed(name: &str) -> Pkg {
    Pkg::new(name).config("CI_PKGBUILD_SOURCE=custom\nCI_MANAGE_AUR=true\n").sources(&["fix.patch"])
}

/// All that is in its folder.
fn changes(package: &Pkg) -> Vec<Change> {
    let mut changes = package.changes();
    changes.push(Change::put(&format!("{}/fix.patch", package.base), "a fix\n"));
    changes.push(Change::put(&format!("{}/notes.md", package.base), "for us\n"));
    changes
}

/// A monorepo with these packages at 1.0, handed out, and an AUR with a repository for each, which is empty.
async fn scene_of(names: &[&str]) -> Scene {
    let mut scene = Scene::of(&[]).await;
    let all: Vec<Change> = names.iter().flat_map(|name| changes(&managed(name))).collect();
    scene.push("feat: begin", &all).await;
    scene.hand_out().await;
    std::fs::create_dir(scene.path("aur")).expect("created");
    for name in names {
        Repo::init(&place(&scene, name)).await;
    }
    let url = format!("file://{}/{{pkgbase}}.git", scene.path("aur").display());
    scene.env.insert("PKGWARDEN__SOURCES__AUR__PUSH_URL".to_owned(), url);
    scene
}

fn place(scene: &Scene, name: &str) -> PathBuf {
    scene.path("aur").join(format!("{name}.git"))
}

fn aur(scene: &Scene, name: &str) -> Repo {
    Repo::at(place(scene, name))
}

/// Somebody commits a version to the monorepo.
async fn release(scene: &Scene, name: &str, version: &str) -> String {
    scene.later();
    scene.push(&format!("feat({name}): {version}"), &changes(&managed(name).version(version))).await
}

/// A run on what was committed, as a person would tell it.
async fn told(scene: &Scene) -> String {
    scene.told(Pipeline::OnCommit).await.replace(&scene.path("").display().to_string(), "DIR/")
}

#[tokio::test]
async fn a_new_version_goes_back_once_with_only_what_belongs_there() {
    let scene = scene_of(&["tool"]).await;
    let commit = release(&scene, "tool", "1.1").await;
    let plan = scene.plan_from(&scene.place(), Pipeline::OnCommit).await.expect("planned");
    assert_eq!(plan.aur_push.iter().map(ToString::to_string).collect::<Vec<_>>(), ["tool"]);
    assert_eq!(aur(&scene, "tool").id(MASTER).await, None, "a plan pushes nothing");
    insta::assert_snapshot!(told(&scene).await, @"
    build tool (changed)
    push tool to the AUR
    update refs/tags/scheduled
    ");
    let files = aur(&scene, "tool").git(&["ls-tree", "-r", "--name-only", MASTER]).await;
    assert_eq!(files, ".SRCINFO\nPKGBUILD\nfix.patch");
    let log = aur(&scene, "tool").git(&["log", "--format=%an <%ae>%n%B", MASTER]).await;
    insta::assert_snapshot!(log.replace(&commit, "<commit>"), @"
    The Keeper <keeper@example.org>
    chore: update tool to 1.1-1

    The package is kept in another repository, at its commit <commit>.
    ");
    assert!(scene.store().outbox_open("packages", "aur-push").await.expect("read").is_empty());
    // Commits that change nothing of that push nothing; the next version stands on the first.
    let first = aur(&scene, "tool").id(MASTER).await;
    scene.push("docs(tool): notes", &[Change::put("tool/notes.md", "more for us\n")]).await;
    told(&scene).await;
    assert_eq!(aur(&scene, "tool").id(MASTER).await, first);
    release(&scene, "tool", "1.2").await;
    told(&scene).await;
    assert_eq!(aur(&scene, "tool").id("refs/heads/master~1").await, first);
    assert!(aur(&scene, "tool").file(MASTER, "PKGBUILD").await.expect("there").contains("pkgver=1.2"));
    scene.ends().await;
}

#[tokio::test]
async fn what_somebody_else_pushed_is_told_and_never_overwritten_until_the_monorepo_has_it() {
    let scene = scene_of(&["tool", "other"]).await;
    release(&scene, "tool", "1.1").await;
    told(&scene).await;
    let theirs = "# Maintainer: somebody else\npkgname=tool\n";
    let repo = aur(&scene, "tool");
    let moved = repo.commit(MASTER, "Take it over", &[Change::put("PKGBUILD", theirs)], scene.now()).await;
    release(&scene, "tool", "1.2").await;
    release(&scene, "other", "1.1").await;
    let told_first = told(&scene).await;
    insta::assert_snapshot!(told_first.replace(&moved[..10], "<their commit>"), @"
    build other (changed)
    build tool (changed)
    push other to the AUR
    push tool to the AUR
    update refs/tags/scheduled
    error [aur-conflict] tool: it is not pushed to the AUR: somebody else changed it there, with <their commit> of Mira Vale <mira@example.org>: Take it over -> nothing is overwritten: commit to the monorepo exactly what the AUR has, and then what should be different; or push to the AUR by hand
    ");
    assert_eq!(repo.id(MASTER).await, Some(moved.clone()));
    assert!(aur(&scene, "other").id(MASTER).await.is_some(), "the other one is pushed");
    // Every run tells it again, until somebody takes over what is there, and goes on from that.
    assert!(told(&scene).await.contains("error [aur-conflict] tool:"), "it is told again");
    let srcinfo = repo.file(MASTER, ".SRCINFO").await.expect("there");
    let over = [Change::put("tool/PKGBUILD", theirs), Change::put("tool/.SRCINFO", srcinfo)];
    scene.push("feat(tool): as in the AUR", &over).await;
    release(&scene, "tool", "1.3").await;
    let told_last = told(&scene).await;
    assert!(!told_last.contains("aur-"), "{told_last}");
    assert_eq!(repo.id("refs/heads/master~1").await, Some(moved));
    scene.ends().await;
}

#[tokio::test]
async fn an_aur_that_is_away_gets_everything_as_it_is_by_then() {
    let scene = scene_of(&["one", "two"]).await;
    let (there, away) = (scene.path("aur"), scene.path("away"));
    std::fs::rename(&there, &away).expect("moved");
    release(&scene, "one", "1.1").await;
    release(&scene, "two", "1.1").await;
    insta::assert_snapshot!(told(&scene).await, @"
    build one (changed)
    build two (changed)
    push one to the AUR
    push two to the AUR
    update refs/tags/scheduled
    warning [aur-push-failed] one: it is not pushed to the AUR yet: file://DIR/aur/one.git cannot be reached: 'DIR/aur/one.git' does not appear to be a git repository; Could not read from remote repository.; check that the address is right and the repository exists -> later runs try it again
    warning [aur-push-failed] two: it is not pushed to the AUR yet: file://DIR/aur/two.git cannot be reached: 'DIR/aur/two.git' does not appear to be a git repository; Could not read from remote repository.; check that the address is right and the repository exists -> later runs try it again
    ");
    release(&scene, "one", "1.2").await;
    let told_again = told(&scene).await;
    assert!(told_again.contains("warning [aur-push-failed] one:"), "{told_again}");
    std::fs::rename(&away, &there).expect("moved");
    assert!(told(&scene).await.contains("aur-push-failed"), "it is not asked all the time");
    scene.later();
    assert_eq!(told(&scene).await, "");
    for (name, version) in [("one", "1.2"), ("two", "1.1")] {
        let log = aur(&scene, name).git(&["log", "--format=%s", MASTER]).await;
        assert_eq!(log, format!("chore: update {name} to {version}-1"));
    }
    scene.ends().await;
}

#[tokio::test]
async fn a_hook_that_refuses_and_a_package_that_does_not_fit_are_told_with_their_words() {
    let scene = scene_of(&["tool", "misnamed"]).await;
    let hook = place(&scene, "tool").join("hooks/update");
    write_program(&hook, "#!/bin/sh\necho 'error: missing pkgver in .SRCINFO' >&2\nexit 1\n");
    release(&scene, "tool", "1.1").await;
    let srcinfo = "pkgbase = other\n\tpkgver = 2\n\tpkgrel = 1\n\tarch = any\n\npkgname = other\n";
    scene.push("feat: a name of its own", &changes(&managed("misnamed").srcinfo(srcinfo))).await;
    insta::assert_snapshot!(told(&scene).await, @"
    build misnamed (changed)
    build tool (changed)
    push misnamed to the AUR
    push tool to the AUR
    update refs/tags/scheduled
    error [aur-unfit] misnamed: it is not pushed to the AUR: its .SRCINFO calls it `other` -> mend it in the monorepo; then it is pushed
    warning [aur-push-failed] tool: it is not pushed to the AUR yet: file://DIR/aur/tool.git refuses refs/heads/master (hook declined): missing pkgver in .SRCINFO hook declined to update refs/heads/master; a hook of the server refused it; what it says is in the message -> later runs try it again
    ");
    scene.ends().await;
}

#[tokio::test]
async fn without_a_key_nothing_is_pushed_and_that_is_said_and_it_can_be_turned_off() {
    let mut scene = scene_of(&["tool"]).await;
    scene.env.remove("PKGWARDEN__SOURCES__AUR__PUSH_URL");
    release(&scene, "tool", "1.1").await;
    insta::assert_snapshot!(told(&scene).await, @r#"
    build tool (changed)
    push tool to the AUR
    update refs/tags/scheduled
    warning [aur-push-unset] tool would be pushed to the AUR, and there is no key for it -> set sources.aur.push_key_file; or sources.aur.push_url = "" to push nothing
    "#);
    scene.env.insert("PKGWARDEN__SOURCES__AUR__PUSH_URL".to_owned(), String::new());
    release(&scene, "tool", "1.2").await;
    insta::assert_snapshot!(told(&scene).await, @"
    build tool (changed)
    update refs/tags/scheduled
    ");
    scene.ends().await;
}

#[tokio::test]
async fn ssh_is_called_as_it_is_set_with_the_key_and_no_questions() {
    let mut scene = scene_of(&["tool"]).await;
    let (ssh, called) = (scene.path("bin/ssh"), scene.path("called"));
    // In place of another machine: what is to run there, runs here.
    let script = format!("#!/bin/sh\necho \"$@\" >>{}\nfor last; do :; done\nexec sh -c \"$last\"\n", called.display());
    write_program(&ssh, &script);
    let url = format!("ssh://aur@aur.example{}/{{pkgbase}}.git", scene.path("aur").display());
    let mut set = |key: &str, value: String| drop(scene.env.insert(format!("PKGWARDEN__SOURCES__AUR__{key}"), value));
    set("PUSH_URL", url);
    set("PUSH_KEY_FILE", "/etc/it's a/key".to_owned());
    set("PUSH_SSH_COMMAND", ssh.display().to_string());
    release(&scene, "tool", "1.1").await;
    let told = told(&scene).await;
    assert!(!told.contains("aur-"), "{told}");
    assert!(aur(&scene, "tool").id(MASTER).await.is_some());
    let called = std::fs::read_to_string(&called).expect("called");
    assert!(
        called.contains("-oBatchMode=yes") && called.contains("-oIdentitiesOnly=yes -i /etc/it's a/key"),
        "{called}"
    );
    assert!(called.contains("aur@aur.example git-receive-pack"), "{called}");
    scene.ends().await;
}

#[cfg(feature = "failpoints")]
#[tokio::test]
async fn killed_between_the_push_and_its_record_it_is_not_pushed_twice() {
    let scene = scene_of(&["tool"]).await;
    release(&scene, "tool", "1.1").await;
    let killed =
        scene.pkgwarden_in(scene.monorepo.path(), &["run", "on-commit"], &[("FAILPOINTS", "handback.pushed=return")]);
    assert_eq!(killed.await.code, None, "killed");
    let pushed = aur(&scene, "tool").id(MASTER).await.expect("pushed");
    assert_eq!(scene.store().outbox_open("packages", "aur-push").await.expect("read").len(), 1);
    let again = scene.pkgwarden(&["run", "on-commit"]).await;
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    assert_eq!(aur(&scene, "tool").id(MASTER).await, Some(pushed));
    assert_eq!(git_in(&place(&scene, "tool"), &["rev-list", "--count", MASTER]).await, "1");
    assert!(scene.store().outbox_open("packages", "aur-push").await.expect("read").is_empty());
    scene.ends().await;
}

#[tokio::test]
async fn an_update_that_is_approved_or_made_by_a_script_goes_back_too() {
    let scene = scene_of(&["tool"]).await;
    let script = "sed -i 's/^pkgver=.*/pkgver=1.1/; s/A thing/A better thing/' PKGBUILD\n";
    scene.push("feat: a script", &[Change::put("tool/.CI/update.sh", script)]).await;
    scene.run(Pipeline::OnCommit).await;
    let before = aur(&scene, "tool").id(MASTER).await;
    scene.run(Pipeline::OnSchedule).await;
    assert_eq!(aur(&scene, "tool").id(MASTER).await, before, "it waits for a person");
    let head = scene.monorepo.id("update-tool").await.expect("proposed").parse().expect("an id");
    let person = crate::support::scene::person("pia");
    insta::assert_snapshot!(scene.told(Pipeline::Approve(crate::support::scene::base("tool"), head, person)).await, @"
    commit tool [major]: 1.0-1 -> 1.1-1, approved by pia
    build tool (changed)
    push tool to the AUR
    close update-tool: a person approved it
    update refs/heads/main
    update refs/heads/state
    update refs/tags/scheduled
    delete refs/heads/update-tool
    ");
    assert!(aur(&scene, "tool").file(MASTER, "PKGBUILD").await.expect("there").contains("A better thing"));
    assert_eq!(scene.monorepo.id(MAIN).await, scene.monorepo.id("scheduled").await);
    scene.ends().await;
}
