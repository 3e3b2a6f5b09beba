//! Somebody hears of a campaign and asks where its traces are.

use pkgwarden::domain::plan::Pipeline;

use crate::support::scene::MAIN;
use crate::support::{Change, Pkg, Scene};

const SCRIPTLET: &str = "post_install() {\n  cd /tmp\n  'b''u''n' add js-'dig'est\n}\n";

/// Wave two of June 2026: in one package now, in one review, and in the past of a package that was cleaned.
async fn struck() -> Scene {
    let scene = Scene::with_aur().await;
    scene.keeps(&[Pkg::from_aur("foo"), Pkg::from_aur("bar")]).await;
    scene.push("feat(old): add", &[Change::put("old/PKGBUILD", "npm i js-digest\n")]).await;
    scene.push("fix(old): clean", &[Change::put("old/PKGBUILD", "pkgver=1\n")]).await;
    scene.push("feat(bar): hooks", &[Change::put("bar/bar.install", SCRIPTLET)]).await;
    scene.aur_release(&Pkg::from_aur("foo").version("1.1").built_by("bun add js-digest@2")).await;
    scene.run(Pipeline::OnSchedule).await;
    scene
}

#[tokio::test]
async fn traces_are_found_in_files_reviews_and_the_past_however_they_are_spelt() {
    let scene = struck().await;
    let before = scene.everything();
    let ran = scene.pkgwarden(&["audit", "--history", "--indicator", "bun:js-digest"]).await;
    insta::assert_snapshot!(ran.text(), @r#"
    bun:js-digest
      bar/bar.install:3 (since <id>) [disguised] bun add js-digest
      foo/PKGBUILD:12 in review update-foo bun add js-digest@2
      old/PKGBUILD:1 in commit <id>, gone since npm i js-digest
    3 hits in 3 packages; 17 packages, 1 review, 6 commits searched
    "#);
    let json = scene.pkgwarden(&["audit", "--indicator", "bun:js-digest", "--format", "json", "--exit-code"]).await;
    assert_eq!(json.code, Some(3));
    let places: Vec<_> = json.json()["hits"].as_array().unwrap().iter().map(|hit| hit["where"].clone()).collect();
    assert_eq!(places, ["current", "review"], "the past was not asked for");
    scene.everything().assert_same(&before);
    scene.ends().await;
}

#[tokio::test]
async fn a_list_of_indicators_with_a_mistake_is_searched_for_the_rest() {
    let scene = struck().await;
    let list = scene.path("wave");
    std::fs::write(&list, "# wave 2\nhost:evil.example\nhots:evil.example\nmaintainer:Mira Vale\n").unwrap();
    let args = ["audit", "--rev", MAIN, "--history", "--format", "json", "--indicators", &list.display().to_string()];
    let ran = scene.pkgwarden(&args).await;
    assert_eq!(ran.code, Some(0));
    assert!(ran.stderr.contains("did you mean `host`"), "{}", ran.stderr);
    let audit = ran.json();
    assert!(
        audit["hits"].as_array().unwrap().iter().all(|hit| hit["kind"] == "maintainer" && hit["where"] == "commit")
    );
    assert!(audit["affected"].as_array().unwrap().contains(&"old".into()));
    scene.ends().await;
}

#[tokio::test]
async fn without_an_indicator_or_with_one_that_is_everywhere_nothing_is_searched() {
    let scene = Scene::of(&[Pkg::new("foo")]).await;
    assert_eq!(scene.pkgwarden(&["audit"]).await.code, Some(2));
    insta::assert_snapshot!(scene.pkgwarden(&["audit", "--indicator", "x"]).await.errors(), @"error: `x` is too short to be looked for; name at least 3 characters");
    scene.ends().await;
}
