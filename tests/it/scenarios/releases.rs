//! Packages that follow the releases of a project: the PKGBUILD is raised, its checksums and `.SRCINFO` made anew.

use pkgwarden::domain::folder::Folder;
use pkgwarden::domain::plan::{Action, Heard, Pipeline};

use crate::support::forge::{Forge, sum_of_archive};
use crate::support::scene::{MAIN, base};
use crate::support::{Change, Pkg, Repo, Scene};

/// A package of the archive of a tag, at 1.0.
fn package(forge: &Forge, name: &str, project: &str, source: &str) -> Vec<Change> {
    let url = forge.url(&format!("/{project}/archive/v"));
    let sum = sum_of_archive(project, "v1.0");
    let pkgbuild = format!(
        "# Maintainer: Pia Sand <pia@example.org>\n\npkgname={name}\npkgver=1.0\npkgrel=3  # for a new compiler\n\
         pkgdesc=\"A thing\"\narch=(any)\nurl=\"https://example.org\"\nlicense=(MIT)\n\
         source=(\"$pkgname-$pkgver.tar.gz::{url}$pkgver.tar.gz\"\n        extra.patch)\n\
         sha256sums=('{sum}'\n            'SKIP')\n\npackage() {{\n  true\n}}\n"
    );
    let srcinfo = format!(
        "pkgbase = {name}\n\tpkgdesc = A thing\n\tpkgver = 1.0\n\tpkgrel = 3\n\turl = https://example.org\n\
         \tarch = any\n\tlicense = MIT\n\tsource = {name}-1.0.tar.gz::{url}1.0.tar.gz\n\tsource = extra.patch\n\
         \tsha256sums = {sum}\n\tsha256sums = SKIP\n\npkgname = {name}\n"
    );
    let file = |path: &str, text: String| Change::put(&format!("{name}/{path}"), text);
    vec![
        file("PKGBUILD", pkgbuild),
        file(".SRCINFO", srcinfo),
        file("extra.patch", "nothing\n".to_owned()),
        file(".CI/config", format!("CI_PKGBUILD_SOURCE={source}\n")),
    ]
}

/// A monorepo with these packages (name, project, source), handed out, and the forges that their projects are on.
pub(super) async fn scene_of(packages: &[(&str, &str, &str)]) -> (Scene, Forge) {
    let (mut scene, forge) = (Scene::of(&[]).await, Forge::start().await);
    forge.stands_in(&mut scene);
    let mut changes = Vec::new();
    for (name, project, source) in packages {
        forge.tag(project, "v1.0");
        changes.extend(package(&forge, name, project, &source.replace("HOST", &forge.url(""))));
    }
    scene.push("feat: follow releases", &changes).await;
    scene.hand_out().await;
    (scene, forge)
}

/// What a run heard about a package and why nothing else happens.
async fn heard(scene: &Scene, name: &str) -> (Heard, String) {
    let document = scene.run(Pipeline::OnSchedule).await.document;
    let decision = document.packages.iter().find(|it| it.pkgbase.as_str() == name).expect("it was asked about");
    assert_ne!(decision.action, Action::Commit, "{decision:?}");
    (decision.observation, decision.why.clone())
}

#[tokio::test]
async fn a_new_tag_on_gitlab_is_committed_with_new_checksums_and_built_and_not_taken_twice() {
    let (scene, forge) = scene_of(&[("tool", "4711", "gitlab:4711")]).await;
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    state tool: its source has nothing new
    create refs/heads/state
    ");
    forge.tag("4711", "v1.1");
    scene.later();
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    commit tool [minor]: 1.0-3 -> 1.1-1
    build tool (changed)
    update refs/heads/main
    update refs/heads/state
    update refs/tags/scheduled
    ");
    let changed = scene.monorepo.git(&["diff", "-U0", "scheduled~1", "scheduled", "--", "tool/PKGBUILD"]).await;
    let changed: Vec<&str> = changed.lines().skip(4).filter(|line| !line.starts_with("@@")).collect();
    insta::assert_snapshot!(changed.join("\n"), @"
    -pkgver=1.0
    -pkgrel=3  # for a new compiler
    +pkgver=1.1
    +pkgrel=1  # for a new compiler
    -sha256sums=('6139eefb5455515da61ed2bbf3bb4857c8c199ffb5d074babcdb0fd8b65f1210'
    +sha256sums=('1f2a0529bff49d3d87b5f36e9a84bb50be880cd33c29c7de305c397bcfd3e797'
    ");
    assert!(changed[5].contains(&sum_of_archive("4711", "v1.1")));
    let srcinfo = scene.monorepo.file(MAIN, "tool/.SRCINFO").await.unwrap();
    assert!(srcinfo.contains("\tpkgver = 1.1\n\tpkgrel = 1\n") && srcinfo.contains("/v1.1.tar.gz\n"), "{srcinfo}");
    scene.later();
    forge.fetched();
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"");
    assert_eq!(forge.asked(), ["GET /api/v4/projects/4711/repository/tags"]);
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main chore(update): tool
    refs/heads/state chore(state): update state
    refs/tags/scheduled chore(update): tool
    ");
}

#[tokio::test]
async fn a_project_is_asked_once_for_all_its_packages_and_what_is_no_release_is_left_out() {
    let source = "github:owner/tool";
    let (scene, forge) = scene_of(&[("a", "owner/tool", source), ("b", "owner/tool", source)]).await;
    scene.run(Pipeline::OnSchedule).await;
    assert_eq!(forge.asked(), ["POST /owner/tool/git-upload-pack"]);
    for tag in ["v1.2-rc1", "v1.1", "--upload-pack=touch", "v9.9$(id)"] {
        forge.tag("owner/tool", tag);
    }
    forge.prerelease("owner/tool", "v1.3");
    scene.later();
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    commit a [minor]: 1.0-3 -> 1.1-1
    commit b [minor]: 1.0-3 -> 1.1-1
    build a (changed)
    build b (changed)
    update refs/heads/main
    update refs/heads/state
    update refs/tags/scheduled
    ");
    assert_eq!(forge.asked(), ["POST /owner/tool/git-upload-pack", "GET /github-api/repos/owner/tool/releases"]);
    scene.ends().await;
}

#[tokio::test]
async fn gitea_and_plain_repositories_have_releases_too() {
    let sources = [("a", "owner/a", "gitea:HOST/owner/a"), ("b", "owner/b", "tags:HOST/owner/b")];
    let (scene, forge) = scene_of(&sources).await;
    for (_, project, _) in sources {
        forge.tag(project, "v1.10");
        forge.tag(project, "v1.9");
    }
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    commit a [minor]: 1.0-3 -> 1.10-1
    commit b [minor]: 1.0-3 -> 1.10-1
    build a (changed)
    build b (changed)
    update refs/heads/main
    create refs/heads/state
    update refs/tags/scheduled
    ");
    scene.ends().await;
}

#[tokio::test]
async fn a_forge_or_an_archive_that_is_away_makes_the_package_unknown_until_it_is_back() {
    let (scene, forge) = scene_of(&[("tool", "group/tool", "gitlab:group/tool")]).await;
    scene.run(Pipeline::OnSchedule).await;
    forge.tag("group/tool", "v1.1");
    let state = scene.monorepo.id("state").await;
    let mut said = Vec::new();
    for (path, status) in [("/api", 429), ("/api", 503), ("/group/tool/archive/v1.1", 404)] {
        forge.breaks(path, status);
        let (observation, why) = heard(&scene, "tool").await;
        assert_eq!(observation, Heard::Unknown);
        said.push(why.replace(&forge.url(""), "URL"));
        forge.works_again();
    }
    insta::assert_snapshot!(said.join("\n"), @"
    URL/api/v4/projects/group%2Ftool/repository/tags answers 429 Too Many Requests: it is asked too often
    URL/api/v4/projects/group%2Ftool/repository/tags answers 503 Service Unavailable
    version 1.1 is out, but fetching the sources and computing their checksums failed: curl: (22) The requested URL returned error: 404; ERROR: Failure while downloading URL/group/tool/archive/v1.1.tar.gz
    ");
    assert_eq!(scene.monorepo.id("state").await, state, "nothing was noted down as seen");
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    commit tool [minor]: 1.0-3 -> 1.1-1
    build tool (changed)
    update refs/heads/main
    update refs/heads/state
    update refs/tags/scheduled
    ");
    scene.ends().await;
}

#[tokio::test]
async fn nothing_is_ever_taken_back() {
    let (scene, forge) = scene_of(&[("tool", "4711", "gitlab:4711")]).await;
    forge.tag("4711", "v0.9");
    scene.run(Pipeline::OnSchedule).await;
    let files = scene.monorepo.file(MAIN, "tool/PKGBUILD").await.unwrap();
    let ahead = files.replace("pkgver=1.0", "pkgver=2.0");
    let srcinfo = scene.monorepo.file(MAIN, "tool/.SRCINFO").await.unwrap().replace("pkgver = 1.0", "pkgver = 2.0");
    let changes = [Change::put("tool/PKGBUILD", ahead.clone()), Change::put("tool/.SRCINFO", srcinfo)];
    scene.push("feat: a version of our own", &changes).await;
    scene.hand_out().await;
    forge.tag("4711", "v1.5");
    let (observation, why) = heard(&scene, "tool").await;
    assert_eq!((observation, why.as_str()), (Heard::Current, "its source has nothing new"));
    assert_eq!(scene.monorepo.file(MAIN, "tool/PKGBUILD").await, Some(ahead));
    scene.ends().await;
}

#[tokio::test]
async fn a_release_waits_for_its_age_and_its_sources_are_fetched_once() {
    let (scene, forge) = scene_of(&[("tool", "4711", "gitlab:4711")]).await;
    scene.push("ci: wait", &[Change::put(".ci/policy.toml", "minimum_age = \"2 hours\"\n")]).await;
    scene.hand_out().await;
    forge.tag("4711", "v1.1");
    for _ in 0..2 {
        let (observation, why) = heard(&scene, "tool").await;
        assert_eq!(observation, Heard::Changed);
        assert!(why.contains("updates have to be 2h old"), "{why}");
        scene.later();
    }
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    commit tool [minor]: 1.0-3 -> 1.1-1
    build tool (changed)
    update refs/heads/main
    update refs/heads/state
    update refs/tags/scheduled
    ");
    assert_eq!(forge.fetched(), ["GET /4711/archive/v1.1.tar.gz"]);
    scene.ends().await;
}

#[tokio::test]
async fn files_come_from_a_branch_and_a_folder_of_any_repository_and_srcinfo_is_made_if_there_is_none() {
    let scene = Scene::of(&[]).await;
    let upstream = Repo::init(&scene.path("upstream.git")).await;
    let branch = "refs/heads/packages";
    let release = async |version: &str| {
        let files = Pkg::new("tool").version(version).source();
        let files = Folder { files: files.files.into_iter().filter(|(path, _)| path != ".SRCINFO").collect() };
        upstream.commit(branch, "Update", &Change::put_all("arch/tool/", &files), scene.now()).await;
    };
    release("1.0").await;
    let url = format!("file://{}#branch=packages&subfolder=arch/tool", upstream.path().display());
    let package = Pkg::new("tool").config(&format!("CI_PKGBUILD_SOURCE={url}\n"));
    scene.push("feat: tool", &package.changes()).await;
    scene.hand_out().await;
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    state tool: its source has the same files
    create refs/heads/state
    ");
    release("1.1").await;
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    commit tool [minor]: 1.0-1 -> 1.1-1
    build tool (changed)
    update refs/heads/main
    update refs/heads/state
    update refs/tags/scheduled
    ");
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"");
    let srcinfo = scene.monorepo.file(MAIN, "tool/.SRCINFO").await.unwrap();
    assert!(srcinfo.starts_with("pkgbase = tool\n") && srcinfo.contains("\tpkgver = 1.1\n"), "{srcinfo}");
    let seen = scene.monorepo.file("state", base("tool").as_str()).await.unwrap();
    let tree = upstream.git(&["rev-parse", &format!("{branch}:arch/tool")]).await;
    assert!(seen.contains(&format!("PKGWARDEN_SOURCE_COMMIT={tree}\n")), "{seen}");
    scene.ends().await;
}
