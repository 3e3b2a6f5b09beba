//! Packages that follow the releases of a project: the PKGBUILD is raised, its checksums and `.SRCINFO` made anew.

use pkgwarden::domain::plan::Pipeline;

use crate::support::forge::{Forge, sum_of_archive};
use crate::support::scene::MAIN;
use crate::support::{Change, Scene};

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
async fn scene_of(packages: &[(&str, &str, &str)]) -> (Scene, Forge) {
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

#[tokio::test]
async fn a_new_tag_on_gitlab_is_committed_with_new_checksums_and_built_and_not_taken_twice() {
    let (scene, forge) = scene_of(&[("tool", "4711", "gitlab:4711")]).await;
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"");
    forge.tag("4711", "v1.1");
    scene.later();
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"");
    insta::assert_snapshot!(scene.monorepo.git(&["diff", "-U0", "scheduled~1", "scheduled"]).await, @"");
    scene.later();
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"");
    insta::assert_snapshot!(scene.monorepo.file("state", "tool").await.unwrap(), @"");
    assert!(scene.monorepo.file(MAIN, "tool/extra.patch").await.is_some());
    insta::assert_snapshot!(scene.ends().await, @"");
}
