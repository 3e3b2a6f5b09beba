//! Commits become builds and removals.

use pkgwarden::domain::plan::Pipeline;

use crate::support::scene::MAIN;
use crate::support::{Change, Pkg, Scene};

#[tokio::test]
async fn changed_added_renamed_and_removed_folders_become_builds_and_removals() {
    let scene =
        Scene::of(&[Pkg::new("same"), Pkg::new("lib"), Pkg::new("app"), Pkg::new("old"), Pkg::new("gone")]).await;
    let mut changes = Pkg::new("lib").version("1.1").changes();
    changes.extend(Pkg::new("added").needs(&["renamed", "lib"]).changes());
    changes.push(Change::Rename("old".into(), "renamed".into()));
    changes.extend(Pkg::new("renamed").changes());
    changes.push(Change::Remove("gone".into()));
    scene.push("feat: all at once", &changes).await;
    insta::assert_snapshot!(scene.told(Pipeline::OnCommit).await, @"
    build lib (changed)
    build renamed (changed)
    build added (changed) after lib, renamed
    remove gone
    remove old
    update refs/tags/scheduled
    ");
    insta::assert_snapshot!(scene.builds().await, @"
    lib changed ready
    renamed changed ready
    added changed waiting
    ");
    insta::assert_snapshot!(scene.told(Pipeline::OnCommit).await, @"");
    assert_eq!(scene.monorepo.id("scheduled").await, scene.monorepo.id(MAIN).await);
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main feat: all at once
    refs/tags/scheduled feat: all at once
    ");
}

#[tokio::test]
async fn dot_folders_and_files_at_the_root_build_nothing() {
    let scene = Scene::of(&[Pkg::new("foo")]).await;
    let changes = [
        Change::put(".github/workflows/x.yml", "on: push\n"),
        Change::put(".hidden/PKGBUILD", "pkgname=hidden\n"),
        Change::put("README.md", "hello\n"),
        Change::put(".ci/config", "REPO_NAME=test\n"),
    ];
    scene.push("docs: nothing to build", &changes).await;
    insta::assert_snapshot!(scene.told(Pipeline::OnCommit).await, @"update refs/tags/scheduled");
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main docs: nothing to build
    refs/tags/scheduled docs: nothing to build
    ");
}

#[tokio::test]
async fn a_change_of_the_ci_folder_alone_builds_the_package() {
    let scene = Scene::of(&[Pkg::new("foo"), Pkg::new("bar")]).await;
    scene.push("chore(foo): prepare it", &[Change::put("foo/.CI/prepare", "#!/bin/bash\ntrue\n")]).await;
    insta::assert_snapshot!(scene.told(Pipeline::OnCommit).await, @"
    build foo (changed)
    update refs/tags/scheduled
    ");
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main chore(foo): prepare it
    refs/tags/scheduled chore(foo): prepare it
    ");
}

#[tokio::test]
async fn builds_come_after_what_they_need_also_through_what_is_not_built() {
    let packages = [
        Pkg::new("tool").needs(&["middle"]),
        Pkg::new("middle").needs(&["libfoo-split"]),
        Pkg::new("foo").members(&["libfoo-split", "foo-docs"]),
        Pkg::new("alone").needs(&["glibc"]),
    ];
    let scene = Scene::of(&packages).await;
    let changed =
        [packages[0].clone().release("2"), packages[2].clone().release("2"), packages[3].clone().release("2")];
    scene.push("chore: rebuild", &changed.iter().flat_map(Pkg::changes).collect::<Vec<_>>()).await;
    insta::assert_snapshot!(scene.told(Pipeline::OnCommit).await, @"
    build alone (changed)
    build foo (changed)
    build tool (changed) after foo
    update refs/tags/scheduled
    ");
    insta::assert_snapshot!(scene.builds().await, @"
    alone changed ready
    foo changed ready
    tool changed waiting
    ");
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main chore: rebuild
    refs/tags/scheduled chore: rebuild
    ");
}

/// D7: only the first directive of a message was honoured.
#[tokio::test]
async fn every_directive_of_the_range_counts_and_a_typo_names_what_was_meant() {
    let scene = Scene::of(&["foo", "bar", "baz", "qux"].map(Pkg::new)).await;
    scene.push("chore: one [deploy foo]\n\nand [deploy bar/heavy] in the body", &[]).await;
    scene.push("chore: two [deploy bax] [bump baz]", &[]).await;
    scene.push("fix(qux): a comment [skip qux]", &[Change::put("qux/NOTES", "hello\n")]).await;
    insta::assert_snapshot!(scene.told(Pipeline::OnCommit).await, @"
    commit baz: bumped to 1.0-1.1
    skip qux: its folder changed, and a commit says [skip]
    build bar (directive) class heavy
    build baz (directive)
    build foo (directive)
    update refs/heads/main
    update refs/tags/scheduled
    error [unknown-directive] `[deploy bax]`: there is no package `bax` -> did you mean `bar`?
    ");
    assert_eq!(
        scene.monorepo.file(MAIN, "baz/.CI/config").await.unwrap(),
        "CI_PKGBUILD_SOURCE=custom\nCI_PACKAGE_BUMP=1.0-1/1\n"
    );
    insta::assert_snapshot!(scene.told(Pipeline::OnCommit).await, @"");
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main chore(bump): baz
    refs/tags/scheduled chore(bump): baz
    ");
}

#[tokio::test]
async fn deploy_all_builds_everything_in_order() {
    let scene = Scene::of(&[Pkg::new("a").needs(&["c"]), Pkg::new("b"), Pkg::new("c").needs(&["b"])]).await;
    scene.push("chore: rebuild the world [deploy all]", &[]).await;
    insta::assert_snapshot!(scene.told(Pipeline::OnCommit).await, @"
    build b (directive)
    build c (directive) after b
    build a (directive) after c
    update refs/tags/scheduled
    ");
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main chore: rebuild the world [deploy all]
    refs/tags/scheduled chore: rebuild the world [deploy all]
    ");
}

#[tokio::test]
async fn without_scheduled_only_the_last_commit_counts() {
    let scene = Scene::of(&[Pkg::new("foo"), Pkg::new("bar")]).await;
    scene.monorepo.git(&["tag", "-d", "scheduled"]).await;
    scene.push("feat(foo): earlier", &Pkg::new("foo").version("2.0").changes()).await;
    scene.push("feat(bar): the last one", &Pkg::new("bar").version("2.0").changes()).await;
    insta::assert_snapshot!(scene.told(Pipeline::OnCommit).await, @"
    build bar (changed)
    create refs/tags/scheduled
    warning [scheduled-missing] there is no tag `scheduled`, so only the last commit counts -> this run sets the tag; packages changed by earlier commits are built with `deploy`
    ");
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main feat(bar): the last one
    refs/tags/scheduled feat(bar): the last one
    ");
}

#[tokio::test]
async fn after_a_force_push_every_folder_that_differs_is_built() {
    let scene = Scene::of(&[Pkg::new("foo"), Pkg::new("bar")]).await;
    let root = scene.monorepo.id(MAIN).await;
    scene.push("feat(foo): two", &Pkg::new("foo").version("2.0").changes()).await;
    scene.run(Pipeline::OnCommit).await;
    let rewritten = Pkg::new("bar").version("3.0").changes();
    scene.monorepo.commit_on(MAIN, root.as_deref(), "feat(bar): instead", &rewritten, scene.now()).await;
    insta::assert_snapshot!(scene.told(Pipeline::OnCommit).await, @"
    build bar (changed)
    build foo (changed)
    update refs/tags/scheduled
    warning [scheduled-not-ancestor] `scheduled` is not an ancestor of the branch: somebody pushed with force -> every folder that differs between both is built
    ");
    insta::assert_snapshot!(scene.builds().await, @"
    foo changed superseded
    bar changed ready
    foo changed ready
    ");
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main feat(bar): instead
    refs/tags/scheduled feat(bar): instead
    ");
}

#[tokio::test]
async fn an_unknown_directive_that_a_force_push_removes_is_gone() {
    let scene = Scene::of(&[Pkg::new("foo")]).await;
    let root = scene.monorepo.id(MAIN).await;
    scene.push("chore: typo [deploy fooo]", &[]).await;
    scene.monorepo.commit_on(MAIN, root.as_deref(), "chore: right [deploy foo]", &[], scene.now()).await;
    insta::assert_snapshot!(scene.told(Pipeline::OnCommit).await, @"
    build foo (directive)
    update refs/tags/scheduled
    ");
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main chore: right [deploy foo]
    refs/tags/scheduled chore: right [deploy foo]
    ");
}

#[tokio::test]
async fn an_empty_repository_is_told_and_nothing_fails() {
    let scene = Scene::empty().await;
    insta::assert_snapshot!(scene.told(Pipeline::OnCommit).await, @"warning [repository-empty] the repository has no commit -> push one package folder to begin");
    assert_eq!(scene.ends().await, "");
}

#[tokio::test]
async fn the_first_push_to_an_empty_repository_builds_it_all() {
    let scene = Scene::empty().await;
    scene.run(Pipeline::OnCommit).await;
    let changes = [Pkg::new("foo"), Pkg::new("bar")].iter().flat_map(Pkg::changes).collect::<Vec<_>>();
    scene.push("feat: begin", &changes).await;
    insta::assert_snapshot!(scene.told(Pipeline::OnCommit).await, @"
    build bar (changed)
    build foo (changed)
    create refs/tags/scheduled
    warning [scheduled-missing] there is no tag `scheduled`, so only the last commit counts -> this run sets the tag; packages changed by earlier commits are built with `deploy`
    ");
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main feat: begin
    refs/tags/scheduled feat: begin
    ");
}

#[tokio::test]
async fn a_merge_counts_what_its_branch_brought_and_said() {
    let scene = Scene::of(&[Pkg::new("foo"), Pkg::new("bar")]).await;
    let root = scene.monorepo.id(MAIN).await.unwrap();
    let topic = "refs/heads/topic";
    let side = Pkg::new("foo").version("2.0").changes();
    scene.monorepo.commit_on(topic, Some(&root), "feat(foo): two [deploy bar]", &side, scene.now()).await;
    scene.push("docs: meanwhile", &[Change::put("README", "hi\n")]).await;
    let tree = scene.monorepo.git(&["merge-tree", "--write-tree", MAIN, topic]).await;
    let merge = scene
        .monorepo
        .git(&[
            "-c",
            "user.name=M",
            "-c",
            "user.email=m@example.org",
            "commit-tree",
            &tree,
            "-p",
            MAIN,
            "-p",
            topic,
            "-m",
            "Merge topic",
        ])
        .await;
    scene.monorepo.git(&["update-ref", MAIN, &merge]).await;
    scene.monorepo.git(&["update-ref", "-d", topic]).await;
    insta::assert_snapshot!(scene.told(Pipeline::OnCommit).await, @"
    build bar (directive)
    build foo (changed)
    update refs/tags/scheduled
    ");
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main Merge topic
    refs/tags/scheduled Merge topic
    ");
}

#[tokio::test]
async fn a_trigger_builds_who_waits_for_it_and_names_what_was_meant() {
    let waits = |name| Pkg::new(name).config("CI_PKGBUILD_SOURCE=custom\nCI_ON_TRIGGER=nightly\n");
    let scene = Scene::of(&[waits("foo"), waits("bar").needs(&["foo"]), Pkg::new("baz")]).await;
    insta::assert_snapshot!(scene.told(Pipeline::Trigger("nightly".into())).await, @"
    build foo (trigger)
    build bar (trigger) after foo
    ");
    insta::assert_snapshot!(scene.told(Pipeline::Trigger("nigthly".into())).await, @"error [unknown-trigger] no package waits for the trigger `nigthly` -> did you mean `nightly`?");
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main feat: begin
    refs/tags/scheduled feat: begin
    ");
}
