//! What people do with published packages through a running controller: promotion, and a removal that the guard holds
//! back.

use pkgwarden::app::Serving;
use pkgwarden::controller::face::{BuildFilter, ControllerError, Face as _};
use pkgwarden::controller::shelves::Promote;
use pkgwarden::domain::plan::Pipeline;
use tokio_util::sync::CancellationToken;

use super::building::build_all;
use super::full_disk::until;
use crate::support::pacman::{Binary, Mirror};
use crate::support::scene::{CI_CONFIG, base};
use crate::support::{Change, Pkg, Scene};

/// These packages, built with these settings.
async fn built(packages: &[Pkg], settings: &[(&str, &str)]) -> (Scene, Serving) {
    let mut scene = Scene::of(&[]).await;
    for (name, value) in settings {
        scene.env.insert(format!("PKGWARDEN__PUBLISH__{name}"), (*value).to_owned());
    }
    scene.push("feat: packages", &packages.iter().flat_map(Pkg::changes).collect::<Vec<_>>()).await;
    let serving = scene.controller();
    serving.controller.start(Pipeline::OnCommit, "test").await.unwrap();
    build_all(&scene, &serving).await;
    (scene, serving)
}

/// The newest generation of a repository: each package with where it is from.
async fn shown(serving: &Serving, repository: &str) -> String {
    let all = serving.controller.generations().await.unwrap();
    let Some(newest) = all.iter().find(|one| one.repository == repository) else { return String::new() };
    let page = serving.controller.generation(repository, newest.number).await.unwrap().unwrap();
    let line = |entry: &pkgwarden::controller::view::EntryView| {
        format!("{} {} {}", entry.name, entry.version, entry.origin.as_str())
    };
    page.entries.iter().map(line).collect::<Vec<_>>().join(", ")
}

#[tokio::test]
async fn packages_are_promoted_through_the_controller_together_or_not_at_all() {
    let app = Pkg::new("app").needs(&["lib"]);
    let (scene, serving) = built(&[Pkg::new("lib"), app], &[("STAGING", "true"), ("NAME", "test")]).await;
    assert_eq!(shown(&serving, "test").await, "", "nothing is released by itself");
    let promote = |names: &[&str], dry_run| Promote {
        repository: None,
        packages: Some(names.iter().map(|name| base(name)).collect()),
        dry_run,
    };
    let told = serving.controller.promote(promote(&["app"], true)).await.unwrap();
    assert!(!told.moved && told.missing.len() == 1, "{told:?}");
    let refused = serving.controller.promote(promote(&["app"], false)).await.unwrap_err();
    assert!(matches!(&refused, ControllerError::Conflict { message, .. } if message.contains("`lib`")), "{refused:?}");
    let unknown = serving.controller.promote(promote(&["nobody"], false)).await.unwrap_err();
    assert!(matches!(unknown, ControllerError::NotFound(_)), "{unknown:?}");
    let moved = serving.controller.promote(Promote::default()).await.unwrap();
    assert_eq!((moved.repository.as_str(), moved.moved, moved.packages.len()), ("test", true, 2));
    assert_eq!(shown(&serving, "test").await, "app 1.0-1 built, lib 1.0-1 built");
    assert_eq!(shown(&serving, "test-staging").await, "");
    scene.ends().await;
}

#[tokio::test]
async fn where_nothing_is_staged_a_promotion_says_what_to_set() {
    let (scene, serving) = built(&[Pkg::new("foo")], &[]).await;
    let refused = serving.controller.promote(Promote::default()).await.unwrap_err();
    assert!(matches!(&refused, ControllerError::Refused { hint, .. } if hint == "set publish.staging = true"));
    let other = Promote { repository: Some("other".to_owned()), ..Promote::default() };
    assert!(matches!(serving.controller.promote(other).await.unwrap_err(), ControllerError::NotFound(_)));
    scene.ends().await;
}

#[tokio::test]
async fn a_removal_of_too_much_is_shown_with_what_to_type_and_goes_when_that_is_confirmed() {
    let packages = ["a", "b", "c"].map(Pkg::new);
    let (scene, serving) = built(&packages, &[("MAX_REMOVALS", "1")]).await;
    assert!(serving.controller.removals().await.unwrap().is_empty());
    let drop = Pipeline::Drop(vec!["a".to_owned(), "b".to_owned()], None);
    serving.controller.start(drop, "test").await.unwrap();
    // The dispatcher tries, and leaves them published.
    let stop = CancellationToken::new();
    let running = tokio::spawn(serving.dispatcher.clone().unwrap().run(stop.clone()));
    let [removal] = serving.controller.removals().await.unwrap().try_into().unwrap();
    assert_eq!((removal.repository.as_str(), removal.packages.as_slice()), ("packages", &[base("a"), base("b")][..]));
    let held = removal.held.expect("it is held back");
    assert_eq!((held.from.as_str(), held.leaving, held.published, held.limit.as_str()), ("test", 2, 3, "1"));
    assert_eq!(held.confirm, "pkgwarden ctl repo removals --confirm");
    // Only what somebody has seen goes, and one alone is not too much.
    let left = serving.controller.confirm_removals("packages", vec![base("a"), base("c")]).await.unwrap();
    let held = left.iter().any(|removal| removal.held.is_some());
    assert!(!held, "{left:?}");
    until(async || serving.controller.removals().await.unwrap().is_empty()).await;
    stop.cancel();
    running.await.unwrap();
    assert_eq!(shown(&serving, "test").await, "c 1.0-1 reused");
    let unknown = serving.controller.confirm_removals("other", vec![base("c")]).await.unwrap_err();
    assert!(matches!(unknown, ControllerError::NotFound(_)));
    assert_eq!(shown(&serving, "test").await, "c 1.0-1 reused");
    scene.ends().await;
}

#[tokio::test]
async fn names_in_the_databases_of_ci_lib_db_are_kept_for_the_distribution_but_for_our_own() {
    let (scene, mirror) = (Scene::of(&[]).await, Mirror::start().await);
    mirror.holds("extra", "gz", &[Binary::new("gtk3", "1-1")]).await;
    // As in Chaotic's list, the repository that is published from here is among them.
    mirror.holds("test", "gz", &[Binary::new("own", "0.9-1")]).await;
    let config = format!("{CI_CONFIG}CI_LIB_DB=\"{} {}\"\n", mirror.url("extra.db"), mirror.url("test.db"));
    scene.push("ci: databases", &[Change::put(".ci/config", config)]).await;
    let serving = scene.controller();
    serving.controller.start(Pipeline::OnSchedule, "test").await.unwrap();
    let both = ["gtk3", "own"].map(|name| Pkg::new(name).changes());
    scene.push("feat: packages", &both.into_iter().flatten().collect::<Vec<_>>()).await;
    serving.controller.start(Pipeline::OnCommit, "test").await.unwrap();
    build_all(&scene, &serving).await;
    insta::assert_snapshot!(scene.builds().await, @"
    gtk3 changed failed
    own changed succeeded
    ");
    let builds = serving.controller.builds(BuildFilter { limit: 9, ..BuildFilter::default() }).await.unwrap();
    let message = builds.iter().find_map(|build| build.message.clone().filter(|text| !text.is_empty()));
    let message = message.expect("it says why");
    assert!(message.contains("the distribution has a package `gtk3`, which this one would replace"), "{message}");
    scene.ends().await;
}
