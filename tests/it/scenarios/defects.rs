//! The right behaviour where Chaotic's scripts are known to be wrong, each named after the fact. Those
//! that have a home elsewhere carry their number there: D7 in `on_commit`, D11 in `race`, D15 in
//! `crash`, D17 in `reviews`, D3 and fixes 20 and 22 in `rebuilds`.

use pkgwarden::domain::plan::{Heard, Pipeline};
use pkgwarden::store::queries::BuildFilter;

use crate::support::scene::{MAIN, base};
use crate::support::{Change, Pkg, Repo, Scene};

/// D1: the order came from a file that another job had to leave at the right place.
#[tokio::test]
async fn dependency_order_needs_no_file_from_another_job() {
    let scene = Scene::of(&[Pkg::new("lib"), Pkg::new("app").needs(&["lib"])]).await;
    scene.push("feat(lib): two", &Pkg::new("lib").release("2").changes()).await;
    scene.run(Pipeline::OnCommit).await;
    scene.push("feat(app): two", &Pkg::new("app").needs(&["lib"]).release("2").changes()).await;
    scene.run(Pipeline::OnCommit).await;
    insta::assert_snapshot!(scene.builds().await, @"
    lib changed ready
    app changed waiting
    ");
    let queue = scene.store().queue(None).await.unwrap();
    let app = queue.iter().find(|queued| queued.build.pkgbase.as_str() == "app").unwrap();
    assert_eq!(app.waits.iter().map(|wait| wait.pkgbase.as_str()).collect::<Vec<_>>(), ["lib"]);
    scene.ends().await;
}

/// D1: only direct needs counted, so what lay between two builds hid that one needs the other.
#[tokio::test]
async fn a_build_waits_for_an_earlier_one_that_it_needs_through_a_package_that_is_not_built() {
    let packages = [Pkg::new("lib"), Pkg::new("kit").needs(&["lib"]), Pkg::new("app").needs(&["kit"])];
    let scene = Scene::of(&packages).await;
    scene.push("feat(lib): two", &Pkg::new("lib").release("2").changes()).await;
    scene.run(Pipeline::OnCommit).await;
    scene.push("feat(app): two", &Pkg::new("app").needs(&["kit"]).release("2").changes()).await;
    scene.run(Pipeline::OnCommit).await;
    insta::assert_snapshot!(scene.builds().await, @"
    lib changed ready
    app changed waiting
    ");
    scene.ends().await;
}

/// D2: what had been looked at was remembered as one time for all packages, taken from our own clock, so
/// that an update which the mirror had a little later than the index was never seen.
#[tokio::test]
async fn an_update_that_the_mirror_has_later_than_the_index_is_not_lost() {
    let scene = Scene::with_aur().await;
    scene.keeps(&[Pkg::from_aur("foo")]).await;
    let state = scene.monorepo.file("state", "foo").await.unwrap();
    scene.later();
    let update = Change::put_all("", &Pkg::from_aur("foo").version("1.1").source());
    scene.aur().push_ahead_of_mirror("foo", &update, scene.now()).await;
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"warning [source-unknown] foo: the AUR announces a newer push than the mirror has -> it is asked again in the next run");
    assert_eq!(scene.monorepo.file("state", "foo").await.unwrap(), state);
    // Long after; of the index nothing is new any more.
    (0..5).for_each(|_| scene.later());
    scene.world().aur_minor_update(&base("knotwork")).await.unwrap();
    scene.run(Pipeline::OnSchedule).await;
    scene.aur().mirror("foo").await;
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    commit foo [minor]: 1.0-1 -> 1.1-1
    build foo (changed)
    update refs/heads/main
    update refs/heads/state
    update refs/tags/scheduled
    ");
    scene.ends().await;
}

/// D4: the epoch was taken for the version, so these packages were never bumped.
#[tokio::test]
async fn a_package_with_an_epoch_is_bumped() {
    let scene = Scene::of(&[Pkg::new("firedragon").epoch(1).version("12.7")]).await;
    scene.push("chore: rebuild [bump firedragon]", &[]).await;
    insta::assert_snapshot!(scene.told(Pipeline::OnCommit).await, @"
    commit firedragon: bumped to 1:12.7-1.1
    build firedragon (directive)
    update refs/heads/main
    update refs/tags/scheduled
    ");
    scene.push("chore: once more [bump firedragon]", &[]).await;
    scene.run(Pipeline::OnCommit).await;
    insta::assert_snapshot!(scene.monorepo.file(MAIN, "firedragon/.CI/config").await.unwrap(), @"
    CI_PKGBUILD_SOURCE=custom
    CI_PACKAGE_BUMP=1:12.7-1/2
    ");
    scene.ends().await;
}

/// D5: the dependencies of such a package became the names it provides.
#[tokio::test]
async fn a_package_with_a_plus_or_a_dot_provides_itself_and_not_what_it_needs() {
    let packages = [
        Pkg::new("speedtest++").needs(&["git", "curl"]),
        Pkg::new("guile1.8").needs(&["speedtest++"]),
        Pkg::new("innocent").needs(&["git"]),
        Pkg::new("nothing").srcinfo(""),
    ];
    let scene = Scene::of(&packages).await;
    let graph = scene.pkgwarden(&["graph", "--rev", "main", "--as", "json"]).await.json();
    let edges: Vec<String> = graph["edges"]
        .as_array()
        .unwrap()
        .iter()
        .map(|edge| format!("{} needs {}", edge["from"].as_str().unwrap(), edge["to"].as_str().unwrap()))
        .collect();
    assert_eq!(edges, ["guile1.8 needs speedtest++"]);
    insta::assert_snapshot!(scene.pkgwarden(&["graph", "--rev", "main", "--as", "deptree"]).await.text(), @"guile1.8:guile1.8:speedtest++;innocent:innocent:;speedtest++:speedtest++:");
    scene.ends().await;
}

/// D8: the builder built whatever the branch had when it came to it.
#[tokio::test]
async fn a_build_is_of_the_commit_that_was_scheduled() {
    let scene = Scene::of(&[Pkg::new("foo"), Pkg::new("bar")]).await;
    let scheduled = scene.push("feat(foo): two", &Pkg::new("foo").release("2").changes()).await;
    scene.run(Pipeline::OnCommit).await;
    scene.push("feat(bar): two", &Pkg::new("bar").release("2").changes()).await;
    scene.run(Pipeline::OnCommit).await;
    let builds = scene.store().builds(BuildFilter::default(), 9).await.unwrap();
    let foo = builds.iter().find(|build| build.pkgbase.as_str() == "foo").unwrap();
    assert_eq!(foo.commit.to_string(), scheduled);
    scene.ends().await;
}

/// D9: only the first source of a `-git` package was watched, and other packages never.
#[tokio::test]
async fn every_floating_source_is_followed_whatever_the_package_is_called() {
    let scene = Scene::of(&[]).await;
    let [lib, data] = ["lib.git", "data.git"].map(|name| scene.path(name));
    let (lib, data) = (Repo::init(&lib).await, Repo::init(&data).await);
    let commit = async |repo: &Repo, branch: &str, text: &str| {
        repo.commit(&format!("refs/heads/{branch}"), "feat: more", &[Change::put("file", text)], scene.now()).await
    };
    commit(&lib, "main", "1").await;
    commit(&data, "dev", "1").await;
    let at = |repo: &Repo| format!("git+file://{}", repo.path().display());
    let (first, second) = (at(&lib), format!("data::{}#branch=dev", at(&data)));
    let named = Pkg::new("thing-git").sources(&[&first, &second]);
    let forced = Pkg::new("thing").sources(&[&second]).config("CI_PKGBUILD_SOURCE=custom\nCI_FORCE_VCS=true\n");
    scene.push("feat: follow", &named.changes().into_iter().chain(forced.changes()).collect::<Vec<_>>()).await;
    scene.hand_out().await;
    scene.run(Pipeline::OnSchedule).await;
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"");
    commit(&data, "dev", "2").await;
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    state thing: its upstream has new commits
    state thing-git: its upstream has new commits
    build thing (upstream)
    build thing-git (upstream)
    update refs/heads/state
    ");
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"");
    scene.ends().await;
}

/// D9 and D10 at once: what is known of one source is not lost because another cannot be asked.
#[tokio::test]
async fn a_source_that_has_moved_is_built_though_another_cannot_be_asked_and_that_one_is_not_forgotten() {
    let scene = Scene::of(&[]).await;
    let [lib, data] = ["lib.git", "data.git"].map(|name| scene.path(name));
    let (lib, data) = (Repo::init(&lib).await, Repo::init(&data).await);
    let commit = async |repo: &Repo, text: &str| {
        repo.commit(MAIN, "feat: more", &[Change::put("file", text)], scene.now()).await
    };
    commit(&lib, "1").await;
    let seen = commit(&data, "1").await;
    let at = |repo: &Repo| format!("git+file://{}", repo.path().display());
    scene.push("feat: follow", &Pkg::new("thing-git").sources(&[&at(&lib), &at(&data)]).changes()).await;
    scene.hand_out().await;
    scene.run(Pipeline::OnSchedule).await;
    let (place, away) = (data.path().to_owned(), scene.path("away"));
    std::fs::rename(&place, &away).unwrap();
    let moved = commit(&lib, "2").await;
    let told = scene.told(Pipeline::OnSchedule).await;
    assert!(told.starts_with("state thing-git: its upstream has new commits, though "), "{told}");
    for part in ["build thing-git (upstream)\n", "warning [upstream-unknown] thing-git: ", "1 of its 2 upstreams"] {
        assert!(told.contains(part), "{part} is missing in {told}");
    }
    let state = scene.monorepo.file("state", "thing-git").await.unwrap();
    assert!(state.contains(&format!("PKGWARDEN_VCS_COMMITS={moved},{seen}")), "{state}");
    let document = scene.run(Pipeline::OnSchedule).await.document;
    assert_eq!((document.builds.len(), document.packages[0].observation), (0, Heard::Unknown), "and not current");
    std::fs::rename(&away, &place).unwrap();
    commit(&data, "2").await;
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    state thing-git: its upstream has new commits
    build thing-git (upstream)
    update refs/heads/state
    ");
    scene.ends().await;
}

/// Fix 23: the fragment was lost, and where several refs match, the whole run was aborted.
#[tokio::test]
async fn of_many_refs_that_end_alike_exactly_the_branch_of_the_fragment_is_followed() {
    let scene = Scene::of(&[]).await;
    let repo = Repo::init(&scene.path("many.git")).await;
    let mut commits = Vec::new();
    for name in ["refs/heads/main", "refs/heads/dev", "refs/heads/old/dev", "refs/tags/dev"] {
        commits.push(repo.commit(name, "feat: more", &[Change::put("file", name)], scene.now()).await);
    }
    let source = format!("git+file://{}#branch=dev?signed", repo.path().display());
    scene.push("feat: follow", &Pkg::new("many-git").sources(&[&source]).changes()).await;
    scene.hand_out().await;
    scene.run(Pipeline::OnSchedule).await;
    let state = scene.monorepo.file("state", "many-git").await.unwrap();
    assert_eq!(state, format!("CI_GIT_COMMIT={}\n", commits[1]));
    scene.ends().await;
}

/// D10: the state of a package that could not be fetched was lost, and the commit that was seen next was
/// recorded without a build.
#[tokio::test]
async fn a_package_that_cannot_be_fetched_keeps_its_state_and_is_built_later() {
    let scene = Scene::with_aur().await;
    let state = scene.monorepo.file("state", "tidewatch-git").await.unwrap();
    let (upstream, away) = (scene.path("world/git/upstream"), scene.path("away"));
    scene.world().upstream_commit().await.unwrap();
    std::fs::rename(&upstream, &away).unwrap();
    scene.later();
    let told = scene.told(Pipeline::OnSchedule).await;
    assert!(told.starts_with("warning [upstream-unknown] tidewatch-git: "), "{told}");
    assert_eq!(scene.monorepo.file("state", "tidewatch-git").await.unwrap(), state);
    std::fs::rename(&away, &upstream).unwrap();
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    state tidewatch-git: its upstream has new commits
    build tidewatch-git (upstream)
    update refs/heads/state
    ");
    scene.ends().await;
}

/// D14: comments and unknown keys were deleted, in whatever order.
#[tokio::test]
async fn a_config_that_is_written_keeps_comments_order_and_unknown_keys() {
    let config = "# why this is here\nMY_OWN=1\n\nCI_PACKAGE_BUMP=1.0-1/3\nCI_PKGBUILD_SOURCE=custom\n#end\n";
    let scene = Scene::of(&[Pkg::new("foo").config(config)]).await;
    scene.push("chore: rebuild [bump foo]", &[]).await;
    scene.run(Pipeline::OnCommit).await;
    insta::assert_snapshot!(scene.monorepo.file(MAIN, "foo/.CI/config").await.unwrap(), @"
    # why this is here
    MY_OWN=1

    CI_PACKAGE_BUMP=1.0-1/4
    CI_PKGBUILD_SOURCE=custom
    #end
    ");
    scene.ends().await;
}
