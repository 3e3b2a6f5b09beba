//! Bad input is told with its file, its line and its remedy, and stops nothing else.

use pkgwarden::domain::plan::Pipeline;

use crate::support::scene::{MAIN, base};
use crate::support::{Change, Pkg, Scene};

#[tokio::test]
async fn a_broken_srcinfo_is_named_with_its_line_and_the_rest_is_built() {
    let scene = Scene::of(&[Pkg::new("good"), Pkg::new("bad")]).await;
    let mut changes = Pkg::new("good").release("2").changes();
    changes.extend(Pkg::new("bad").srcinfo("pkgbase = bad\n\tpkgver = 1\nthis is no line\n").changes());
    scene.push("feat: good and bad", &changes).await;
    insta::assert_snapshot!(scene.told(Pipeline::OnCommit).await, @"
    build bad (changed)
    build good (changed)
    update refs/tags/scheduled
    error [srcinfo-unreadable] bad: bad/.SRCINFO:3: key 'this is no line' requires a value -> regenerate it with `makepkg --printsrcinfo > .SRCINFO`
    ");
    insta::assert_snapshot!(scene.pkgwarden(&["check", "--rev", "main"]).await.text(), @"
    error: bad/.SRCINFO:3: key 'this is no line' requires a value [srcinfo-unreadable]
      regenerate it with `makepkg --printsrcinfo > .SRCINFO`
    1 error, 0 warnings
    ");
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main feat: good and bad
    refs/tags/scheduled feat: good and bad
    ");
}

#[tokio::test]
async fn an_unreadable_config_line_is_named_with_its_line_and_the_package_is_built() {
    let scene = Scene::of(&[]).await;
    let config = "CI_PKGBUILD_SOURCE=custom\nCI_PACKAGE_BUMP=seven\nCI_ON_TRIGER=daily\n<<<<<<< HEAD\n";
    scene.push("feat: conflict", &Pkg::new("foo").config(config).changes()).await;
    insta::assert_snapshot!(scene.told(Pipeline::OnCommit).await, @"
    build foo (changed)
    update refs/tags/scheduled
    warning [config-value] foo: foo/.CI/config:2: CI_PACKAGE_BUMP: `seven` is not a bump: pkgrel is missing or not a number; the default is used -> write [epoch:]pkgver-pkgrel/N, such as 1:2.0-1/3
    warning [config-unknown-key] foo: foo/.CI/config:3: nothing reads the key CI_ON_TRIGER -> did you mean CI_ON_TRIGGER?
    warning [config-line] foo: foo/.CI/config:4: `<<<<<<< HEAD` is not KEY=VALUE and means nothing -> write KEY=VALUE, or put a # before a comment
    ");
    insta::assert_snapshot!(scene.pkgwarden(&["check", "--rev", "main"]).await.text(), @"
    warning: foo/.CI/config:2: CI_PACKAGE_BUMP: `seven` is not a bump: pkgrel is missing or not a number; the default is used [config-value]
      write [epoch:]pkgver-pkgrel/N, such as 1:2.0-1/3
    warning: foo/.CI/config:3: nothing reads the key CI_ON_TRIGER [config-unknown-key]
      did you mean CI_ON_TRIGGER?
    warning: foo/.CI/config:4: `<<<<<<< HEAD` is not KEY=VALUE and means nothing [config-line]
      write KEY=VALUE, or put a # before a comment
    0 errors, 3 warnings
    ");
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main feat: conflict
    refs/tags/scheduled feat: conflict
    ");
}

#[tokio::test]
async fn a_file_that_is_far_too_large_is_the_trouble_of_its_own_package() {
    let scene = Scene::of(&[]).await;
    let padding = "#".repeat(5 << 20);
    let mut changes = Pkg::new("foo").config("CI_PACKAGE_BUMP=1.0-1\n").changes();
    changes.extend(Pkg::new("bar").changes());
    changes.extend(Pkg::new("fine").changes());
    changes.push(Change::put("foo/.CI/config", padding.clone()));
    changes.push(Change::put("bar/.SRCINFO", padding));
    scene.push("feat: large", &changes).await;
    insta::assert_snapshot!(scene.told(Pipeline::OnCommit).await, @"
    build bar (changed)
    build fine (changed)
    build foo (changed)
    update refs/tags/scheduled
    error [srcinfo-unreadable] bar: bar/.SRCINFO: it is larger than 4 MiB, so it is not read -> regenerate it with `makepkg --printsrcinfo > .SRCINFO`
    error [config-unreadable] foo: foo/.CI/config: it is larger than 4 MiB, so it is not read -> restore it, or remove what does not belong there
    ");
    scene.ends().await;
}

#[tokio::test]
async fn a_folder_without_pkgbuild_is_named_and_the_rest_is_built() {
    let scene = Scene::of(&[]).await;
    let mut changes = Pkg::new("good").changes();
    changes.push(Change::put("notes/README", "not a package\n"));
    changes.push(Change::put("Ünusable name/PKGBUILD", "pkgname=x\n"));
    scene.push("feat: good and odd", &changes).await;
    insta::assert_snapshot!(scene.told(Pipeline::OnCommit).await, @"
    skip notes: its folder changed, but it cannot be built
    build good (changed)
    update refs/tags/scheduled
    error [folder-name] Ünusable name: `Ünusable name` is not a package name: only letters, digits and `@._+-` are allowed -> rename the folder, or give it a leading dot to keep it out
    error [pkgbuild-missing] notes: notes/PKGBUILD: the folder has no PKGBUILD, so it is not built -> add one, or remove the folder, or give its name a leading dot
    warning [srcinfo-missing] notes: notes/.SRCINFO: there is no .SRCINFO, so its dependencies are unknown -> regenerate it with `makepkg --printsrcinfo > .SRCINFO`
    ");
    insta::assert_snapshot!(scene.pkgwarden(&["check", "--rev", "main"]).await.text(), @"
    error: Ünusable name: `Ünusable name` is not a package name: only letters, digits and `@._+-` are allowed [folder-name]
      rename the folder, or give it a leading dot to keep it out
    warning: notes/.SRCINFO: there is no .SRCINFO, so its dependencies are unknown [srcinfo-missing]
      regenerate it with `makepkg --printsrcinfo > .SRCINFO`
    error: notes/PKGBUILD: the folder has no PKGBUILD, so it is not built [pkgbuild-missing]
      add one, or remove the folder, or give its name a leading dot
    2 errors, 1 warning
    ");
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main feat: good and odd
    refs/tags/scheduled feat: good and odd
    ");
}

#[tokio::test]
async fn a_broken_ci_config_keeps_its_defaults_and_is_told() {
    let scene = Scene::of(&[Pkg::new("foo")]).await;
    let config = "REPO_NAME=test\nCI_MAX_PARALLEL=lots\nCI_HUMAN_REVIW=true\nnonsense\n";
    let mut changes = Pkg::new("foo").release("2").changes();
    changes.push(Change::put(".ci/config", config));
    scene.push("chore: typing", &changes).await;
    insta::assert_snapshot!(scene.told(Pipeline::OnCommit).await, @"
    build foo (changed)
    update refs/tags/scheduled
    warning [config-value] .ci/config:2: CI_MAX_PARALLEL: `lots` requests at once are not possible; the default is used -> write a number from 1 to 512
    warning [config-unknown-key] .ci/config:3: nothing reads the key CI_HUMAN_REVIW -> did you mean CI_HUMAN_REVIEW?
    warning [config-line] .ci/config:4: `nonsense` is not KEY=VALUE and means nothing -> write KEY=VALUE, or put a # before a comment
    ");
    insta::assert_snapshot!(scene.pkgwarden(&["check", "--rev", "main"]).await.text(), @"
    warning: .ci/config:2: CI_MAX_PARALLEL: `lots` requests at once are not possible; the default is used [config-value]
      write a number from 1 to 512
    warning: .ci/config:3: nothing reads the key CI_HUMAN_REVIW [config-unknown-key]
      did you mean CI_HUMAN_REVIEW?
    warning: .ci/config:4: `nonsense` is not KEY=VALUE and means nothing [config-line]
      write KEY=VALUE, or put a # before a comment
    0 errors, 3 warnings
    ");
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main chore: typing
    refs/tags/scheduled chore: typing
    ");
}

#[tokio::test]
async fn a_hostile_tree_from_the_aur_is_refused_by_name_and_the_others_go_on() {
    let scene = Scene::with_aur().await;
    let victims = ["link-out", "dot-git", "submodule", "link-in-dir"];
    scene.keeps(&victims.map(Pkg::from_aur)).await;
    scene.later();
    let aur = scene.aur();
    let passwd = aur.blob("../../../etc/passwd").await;
    aur.push_tree("link-out", &[&format!("120000 blob {passwd}\tpasswd")]).await;
    let hooks = aur.blob("[core]\n\tfsmonitor = touch /tmp/owned\n").await;
    aur.push_tree("dot-git", &[&format!("100644 blob {hooks}\t.git")]).await;
    aur.push_tree("submodule", &[&format!("160000 commit {}\tvendored", "1".repeat(40))]).await;
    let absolute = Change::link("link-in-dir-file", "/etc/shadow");
    aur.push("link-in-dir", "Update", &[absolute], scene.now()).await;
    scene.world().aur_minor_update(&base("knotwork")).await.unwrap();
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    commit knotwork [minor]: 1.2.0-1 -> 1.2.1-1
    build knotwork (changed)
    update refs/heads/main
    update refs/heads/state
    update refs/tags/scheduled
    warning [source-unknown] dot-git: the files of commit 0999d38364 are not taken: `.git`: git's own folder must not be part of a package -> it is asked again in the next run
    warning [source-unknown] link-in-dir: the files of commit 0fe5923b12 are not taken: `link-in-dir-file` is a link to the absolute path `/etc/shadow` -> it is asked again in the next run
    warning [source-unknown] link-out: the files of commit b6ce177cf9 are not taken: `passwd` is a link out of the folder, to `../../../etc/passwd` -> it is asked again in the next run
    warning [source-unknown] submodule: the files of commit 542640dccc are not taken: `vendored` is a submodule; a package folder must hold its files itself -> it is asked again in the next run
    ");
    let listed = scene.monorepo.git(&["ls-tree", "-r", "--name-only", MAIN]).await;
    for name in ["passwd", "vendored", "link-in-dir-file", "dot-git/.git"] {
        assert!(!listed.contains(name), "{listed}");
    }
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    warning [source-unknown] dot-git: the files of commit 0999d38364 are not taken: `.git`: git's own folder must not be part of a package -> it is asked again in the next run
    warning [source-unknown] link-in-dir: the files of commit 0fe5923b12 are not taken: `link-in-dir-file` is a link to the absolute path `/etc/shadow` -> it is asked again in the next run
    warning [source-unknown] link-out: the files of commit b6ce177cf9 are not taken: `passwd` is a link out of the folder, to `../../../etc/passwd` -> it is asked again in the next run
    warning [source-unknown] submodule: the files of commit 542640dccc are not taken: `vendored` is a submodule; a package folder must hold its files itself -> it is asked again in the next run
    ");
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main chore(update): knotwork
    refs/heads/state chore(state): update state
    refs/tags/scheduled chore(update): knotwork
    ");
}

#[tokio::test]
async fn a_hostile_folder_that_a_person_pushed_stops_nothing_else() {
    let scene = Scene::of(&[Pkg::new("good"), Pkg::new("bad")]).await;
    let mut changes = Pkg::new("good").release("2").changes();
    changes.push(Change::link("bad/passwd", "../../etc/passwd"));
    scene.push("feat: both", &changes).await;
    insta::assert_snapshot!(scene.told(Pipeline::OnCommit).await, @"
    skip bad: its folder changed, but it cannot be built
    build good (changed)
    update refs/tags/scheduled
    error [folder-unusable] bad: bad/passwd: `passwd` is a link out of the folder, to `../../etc/passwd` -> mend it or take it out: such a folder is neither built nor published
    ");
    insta::assert_snapshot!(scene.pkgwarden(&["check", "--rev", "main"]).await.text(), @"
    error: bad/passwd: `passwd` is a link out of the folder, to `../../etc/passwd` [folder-unusable]
      mend it or take it out: such a folder is neither built nor published
    1 error, 0 warnings
    ");
    let explained = scene.pkgwarden(&["--format", "json", "explain", "bad", "--rev", "main"]).await.json();
    assert_eq!(explained["problems"][0]["code"], "folder-unusable", "{explained}");
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main feat: both
    refs/tags/scheduled feat: both
    ");
}

#[tokio::test]
async fn a_folder_over_the_limits_is_named_and_the_rest_is_built() {
    let scene = Scene::of(&[Pkg::new("good")]).await;
    let mut changes = Pkg::new("good").release("2").changes();
    changes.extend(Pkg::new("huge").changes());
    changes.extend((0..2_001).map(|number| Change::put(&format!("huge/{number}.patch"), "x")));
    scene.push("feat: too much", &changes).await;
    insta::assert_snapshot!(scene.told(Pipeline::OnCommit).await, @"
    skip huge: its folder changed, but it cannot be built
    build good (changed)
    update refs/tags/scheduled
    error [folder-unusable] huge: huge: there are more than 2000 files -> mend it or take it out: such a folder is neither built nor published
    ");
    insta::assert_snapshot!(scene.builds().await, @"good changed ready");
    scene.ends().await;
}

#[tokio::test]
async fn a_hostile_folder_of_the_monorepo_does_not_stop_a_scheduled_run() {
    let scene = Scene::with_aur().await;
    scene.keeps(&[Pkg::from_aur("bad")]).await;
    scene.push("feat: a link", &[Change::link("bad/passwd", "../../etc/passwd")]).await;
    scene.aur_release(&Pkg::from_aur("bad").version("1.1")).await;
    scene.world().aur_minor_update(&base("knotwork")).await.unwrap();
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    commit knotwork [minor]: 1.2.0-1 -> 1.2.1-1
    build knotwork (changed)
    update refs/heads/main
    update refs/heads/state
    update refs/tags/scheduled
    error [folder-unusable] bad: bad/passwd: `passwd` is a link out of the folder, to `../../etc/passwd` -> mend it or take it out: such a folder is neither built nor published
    warning [source-unknown] bad: an update cannot be compared with its folder: `passwd` is a link out of the folder, to `../../etc/passwd` -> it is asked again in the next run
    ");
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main chore(update): knotwork
    refs/heads/state chore(state): update state
    refs/tags/scheduled chore(update): knotwork
    ");
}

#[tokio::test]
async fn an_aur_that_is_away_leaves_everything_where_it_is_and_commits_are_built() {
    let mut scene = Scene::with_aur().await;
    for key in ["METADATA_URL", "RPC_URL", "MIRROR_URL"] {
        scene.env.insert(format!("PKGWARDEN__SOURCES__AUR__{key}"), "http://127.0.0.1:1/away".to_owned());
    }
    let state = scene.monorepo.id("state").await;
    scene.world().push_deploy(&base("tally")).await.unwrap();
    let told = scene.told(Pipeline::OnSchedule).await;
    let packages: Vec<_> = told.lines().filter(|line| !line.starts_with("warning [source-unknown]")).collect();
    insta::assert_snapshot!(packages.join("\n"), @"
    build tally (directive)
    update refs/tags/scheduled
    error [aur-index] 6 packages of the AUR are unknown: cannot reach the AUR index http://127.0.0.1:1/away: error sending request: client error (Connect): tcp connect error: Connection refused (os error 111); cannot reach http://127.0.0.1:1/away/: error sending request: client error (Connect): tcp connect error: Connection refused (os error 111), nor can the AUR mirror be asked: cannot reach http://127.0.0.1:1/away: error sending request: client error (Connect): tcp connect error: Connection refused (os error 111) -> it is asked again in the next pass
    ");
    assert_eq!(scene.monorepo.id("state").await, state, "what was seen stays as it was");
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main chore(pkg): build tally again [deploy tally]
    refs/heads/state chore(state): update state
    refs/tags/scheduled chore(pkg): build tally again [deploy tally]
    ");
}

#[tokio::test]
async fn a_remote_that_refuses_the_push_is_quoted_and_nothing_is_lost() {
    let scene = Scene::of(&[Pkg::new("foo")]).await;
    let hook = scene.monorepo.path().join("hooks/pre-receive");
    crate::support::scene::write_program(&hook, "#!/bin/sh\necho 'the branch is frozen' >&2\nexit 1\n");
    scene.push("feat(foo): two", &Pkg::new("foo").release("2").changes()).await;
    let error = scene.try_run(Pipeline::OnCommit).await.unwrap_err();
    let text = format!("{error:#}").replace(&scene.path("").display().to_string(), "<dir>/");
    insta::assert_snapshot!(text, @"the push to <dir>/packages.git/ failed: <dir>/packages.git/ refuses refs/tags/scheduled (pre-receive hook declined): the branch is frozen; a hook of the server refused it; what it says is in the message");
    assert_eq!(scene.builds().await, "");
    std::fs::remove_file(hook).unwrap();
    insta::assert_snapshot!(scene.told(Pipeline::OnCommit).await, @"
    build foo (changed)
    update refs/tags/scheduled
    ");
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main feat(foo): two
    refs/tags/scheduled feat(foo): two
    ");
}
