//! A person takes a package out of service: nothing of it, or of what is built with it, moves until a person
//! takes it back.

use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use pkgwarden::app::Serving;
use pkgwarden::caches::{CacheConfig, Caches, Found, Place, Published, Wanted};
use pkgwarden::controller::face::{ControllerError, Face as _};
use pkgwarden::domain::build::BuildState;
use pkgwarden::domain::cache::SetName;
use pkgwarden::domain::cache::key::Key;
use pkgwarden::domain::cache::policy::RefClass;
use pkgwarden::domain::name::PkgBase;
use pkgwarden::domain::plan::Pipeline;
use pkgwarden::sys::clock::SystemClock;
use tokio_util::sync::CancellationToken;

use crate::support::scene::{base, person};
use crate::support::{Pkg, Scene};

/// More than any build here takes, on a slow machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_mins(2);

fn quarantine(name: &str) -> Pipeline {
    Pipeline::Quarantine(vec![base(name)], "fetches js-digest".to_owned())
}

fn lift(name: &str) -> Pipeline {
    Pipeline::Lift(vec![base(name)], "it was a false alarm".to_owned())
}

/// `lib`, `app`, which is built with it, and `other`.
async fn kept() -> Scene {
    let scene = Scene::with_aur().await;
    let app = Pkg::from_aur("app").needs(&["lib"]);
    scene.keeps(&[Pkg::from_aur("lib"), app, Pkg::from_aur("other")]).await;
    scene
}

/// The newest builds of the three.
async fn builds_of(scene: &Scene) -> String {
    let all = scene.builds().await;
    all.lines().filter(|line| !line.contains("tidewatch")).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn nothing_of_a_package_or_of_what_is_built_with_it_moves_until_it_is_lifted() {
    let scene = kept().await;
    let serving = scene.controller();
    let deploy =
        ["lib", "app", "other"].map(|name| pkgwarden::domain::target::Target::parse(name).expect("no class")).to_vec();
    serving.controller.start(Pipeline::Deploy(deploy.clone()), "test").await.unwrap();
    let run = serving.controller.start(quarantine("lib"), "test").await.unwrap();
    assert_eq!(run.document["stop"], serde_json::json!(["app", "lib"]));
    insta::assert_snapshot!(builds_of(&scene).await, @"
    lib deploy cancelled
    app deploy cancelled
    other deploy ready
    ");
    let [cancelled] =
        serving.controller.store().last_builds(&run.run.repository, &base("app"), 1).await.unwrap().try_into().unwrap();
    let refused = serving.controller.retry(&cancelled.id.to_string()).await.unwrap_err();
    assert!(matches!(refused, ControllerError::Conflict { .. }));
    insta::assert_snapshot!(refused, @"`app` is not built: it is built with `lib`, which is in quarantine: fetches js-digest");
    drop(serving);

    // After a restart, with everything asking for it: a minor and a major update, a commit, a person.
    scene.aur_release(&Pkg::from_aur("lib").version("1.1")).await;
    scene.aur_release(&Pkg::from_aur("app").needs(&["lib"]).version("1.1").built_by("make")).await;
    scene.aur_release(&Pkg::from_aur("other").version("1.1")).await;
    scene.push("fix(app): by hand", &Pkg::from_aur("app").needs(&["lib"]).release("2").changes()).await;
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    skip app: its update is not taken: it is built with `lib`, which is in quarantine: fetches js-digest
    skip lib: its update is not taken: it is in quarantine: fetches js-digest
    commit other [minor]: 1.0-1 -> 1.1-1
    build other (changed)
    update refs/heads/main
    update refs/heads/state
    update refs/tags/scheduled
    warning [quarantined] app: it is built with `lib`, which is in quarantine: fetches js-digest -> `pkgwarden ctl lift PKG --reason TEXT` ends it, and builds what was due
    ");
    insta::assert_snapshot!(scene.told(Pipeline::Deploy(deploy)).await, @"
    skip app: somebody asked for it, but it cannot be built
    skip lib: somebody asked for it, but it cannot be built
    build other (deploy)
    error [quarantined] app: it is built with `lib`, which is in quarantine: fetches js-digest -> `pkgwarden ctl lift PKG --reason TEXT` ends it, and builds what was due
    error [quarantined] lib: it is in quarantine: fetches js-digest -> `pkgwarden ctl lift PKG --reason TEXT` ends it, and builds what was due
    ");
    insta::assert_snapshot!(scene.told(quarantine("lib")).await, @"warning [quarantined] lib: it is in quarantine already -> `pkgwarden ctl lift PKG --reason TEXT` ends it, and builds what was due");

    insta::assert_snapshot!(scene.told(lift("lib")).await, @"
    state lib: quarantine lifted: it was a false alarm
    build lib (rebuild)
    build app (rebuild) after lib
    update refs/heads/state
    ");
    insta::assert_snapshot!(scene.told(lift("lib")).await, @"error [not-quarantined] lib: it is not in quarantine -> `pkgwarden ctl quarantine` lists what is");
    scene.later();
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    review app [major]: 1.0-2 -> 1.1-1 needs a person
    commit lib [minor]: 1.0-1 -> 1.1-1
    build lib (changed)
    open update-app
    update refs/heads/main
    update refs/heads/state
    update refs/tags/scheduled
    create refs/heads/update-app
    ");
    for name in ["lib", "app"] {
        let state = scene.monorepo.file("state", name).await.unwrap();
        assert!(!state.contains("QUARANTINE") && !state.contains("HELD"), "nothing of it is left: {state}");
    }
    scene.ends().await;
}

#[tokio::test]
async fn a_review_of_a_held_package_cannot_be_approved() {
    let scene = kept().await;
    scene.aur_release(&Pkg::from_aur("app").needs(&["lib"]).version("1.1").built_by("make")).await;
    scene.run(Pipeline::OnSchedule).await;
    let head = scene.monorepo.id("refs/heads/update-app").await.unwrap().parse().unwrap();
    scene.run(quarantine("lib")).await;
    insta::assert_snapshot!(scene.told(Pipeline::Approve(base("app"), head, person("mira"))).await, @"error [quarantined] app: it is built with `lib`, which is in quarantine: fetches js-digest -> `pkgwarden ctl lift PKG --reason TEXT` ends it, and builds what was due");
    scene.run(lift("lib")).await;
    assert_eq!(scene.run(Pipeline::Approve(base("app"), head, person("mira"))).await.document.builds.len(), 1);
    scene.ends().await;
}

/// Hands out builds until a package's newest build is in one of these states.
async fn until(serving: &Serving, pkgbase: &PkgBase, wanted: impl Fn(BuildState) -> bool) {
    let store = serving.controller.store();
    let reached = async {
        let mut changes = store.subscribe();
        loop {
            let newest = store.newest_builds("packages").await.unwrap();
            if newest.get(pkgbase).is_some_and(|build| wanted(build.state)) {
                return;
            }
            changes.changed().await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, reached).await.expect("it gets there");
}

#[tokio::test]
async fn a_build_under_way_is_stopped_and_what_is_published_already_is_named() {
    let scene = Scene::of(&[Pkg::new("lib"), Pkg::new("app").needs(&["lib"])]).await;
    let serving = scene.controller();
    let stop = CancellationToken::new();
    let running = tokio::spawn(serving.dispatcher.clone().unwrap().run(stop.clone()));
    let deploy = |name: &str| Pipeline::Deploy(vec![pkgwarden::domain::target::Target::parse(name).expect("no class")]);
    serving.controller.start(deploy("lib"), "test").await.unwrap();
    until(&serving, &base("lib"), BuildState::is_final).await;
    let endless = Pkg::new("lib").release("2").built_by("while :; do sleep 1; done");
    scene.push("feat(lib): endless", &endless.changes()).await;
    serving.controller.start(Pipeline::OnCommit, "test").await.unwrap();
    until(&serving, &base("lib"), |state| state == BuildState::Running).await;

    serving.controller.start(quarantine("lib"), "test").await.unwrap();
    until(&serving, &base("lib"), BuildState::is_final).await;
    insta::assert_snapshot!(builds_of(&scene).await, @"
    lib deploy succeeded
    lib changed cancelled
    ");
    let all = serving.controller.quarantine().await.unwrap();
    let published: Vec<_> = all[0].published.iter().map(|it| (it.file.as_str(), it.current)).collect();
    assert_eq!(published, [("lib-1.0-1-any.pkg.tar.zst", true)]);
    assert_eq!((all[0].reason.as_str(), all[0].holds.as_slice()), ("fetches js-digest", &[base("app")][..]));
    let page = serving.controller.package(&base("app")).await.unwrap().unwrap();
    insta::assert_snapshot!(page.package.held.unwrap(), @"it is built with `lib`, which is in quarantine: fetches js-digest");
    stop.cancel();
    running.await.unwrap();
    drop(serving);
    scene.ends().await;
}

#[tokio::test]
async fn a_quarantine_that_another_machine_pushed_stops_builds_here() {
    let scene = kept().await;
    let serving = scene.controller();
    let deploy =
        ["lib", "other"].map(|name| pkgwarden::domain::target::Target::parse(name).expect("no class")).to_vec();
    serving.controller.start(Pipeline::Deploy(deploy), "test").await.unwrap();
    let elsewhere = scene.path("elsewhere").display().to_string();
    let ran = scene
        .pkgwarden_in(
            scene.monorepo.path(),
            &["run", "quarantine", "lib", "--reason", "told on the list"],
            &[("PKGWARDEN__SERVER__DATA_DIR", &elsewhere)],
        )
        .await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    serving.controller.start(Pipeline::OnCommit, "test").await.unwrap();
    insta::assert_snapshot!(builds_of(&scene).await, @"
    lib deploy cancelled
    other deploy ready
    ");
    drop(serving);
    scene.ends().await;
}

/// Saves an archive of a set as a build of this package would, at an attempt of this name; whether one was found before.
fn save(caches: &Caches, pkgbase: &str, attempt: &str) -> bool {
    let place = Place { repository: "packages".into(), pkgbase: pkgbase.into(), set: SetName::new("ccache").unwrap() };
    let (epoch, key) = (
        caches.epoch(&place).unwrap(),
        attempt.as_bytes().iter().fold(String::new(), |all, byte| format!("{all}{byte:02x}")),
    );
    let key = Key { scope: format!("{pkgbase} {epoch}"), exact: format!("{key:0>64}") };
    let wanted = Wanted { place, class: RefClass::Release, key, epoch, renew: true, attempt: attempt.into() };
    let found = matches!(caches.find(&wanted).unwrap(), Found::Archive(_));
    let staged = caches.stage(&[0; 1024][..], 1 << 20, &wanted).unwrap();
    assert!(matches!(caches.publish(staged, &wanted).unwrap(), Published::New(_)));
    found
}

#[tokio::test]
async fn what_builds_of_a_held_package_kept_is_found_by_nobody_even_when_it_is_lifted() {
    let scene = Scene::of(&[Pkg::new("lib"), Pkg::new("app").needs(&["lib"]), Pkg::new("other")]).await;
    let serve =
        || scene.serve(&[], &[("PKGWARDEN__EXECUTOR__KIND", "none"), ("PKGWARDEN__SERVER__LISTEN", "127.0.0.1:0")]);
    let mut running = serve();
    running.says("listening on").await;
    let config = CacheConfig { dir: scene.path("data/caches"), quota: 1 << 30 };
    let caches = Caches::open(config, Arc::new(SystemClock)).unwrap();
    for name in ["lib", "app", "other"] {
        assert!(!save(&caches, name, &format!("{name}-1")) && save(&caches, name, &format!("{name}-2")));
    }
    let ran = scene.pkgwarden(&["ctl", "quarantine", "lib", "--reason", "steals keys"]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let list = scene.pkgwarden(&["ctl", "cache", "list"]).await.stdout;
    assert_eq!(list.matches("it is in quarantine: steals keys").count(), 2, "{list}");
    assert_eq!(list.matches("it is built with `lib`, which is in quarantine: steals keys").count(), 2, "{list}");
    assert_eq!((list.matches("  nobody  ").count(), list.matches("  release  ").count()), (4, 2), "{list}");
    let lifted = scene.pkgwarden(&["ctl", "lift", "lib", "--reason", "cleaned"]).await;
    assert_eq!(lifted.code, Some(0), "{}", lifted.stderr);
    running.signal(Signal::SIGTERM);
    let (code, said) = running.ended().await;
    assert_eq!(code, Some(0));
    assert_eq!(said.matches("what its builds kept for the next one is not found any more").count(), 2, "{said}");

    let mut running = serve();
    running.says("listening on").await;
    let found: Vec<bool> =
        ["lib", "app", "other"].iter().map(|name| save(&caches, name, &format!("{name}-3"))).collect();
    assert_eq!(found, [false, false, true]);
    assert!(save(&caches, "lib", "lib-4"), "what is built from now on is kept and found");
    running.signal(Signal::SIGTERM);
    assert_eq!(running.ended().await.0, Some(0));
    scene.ends().await;
}

#[tokio::test]
async fn ctl_quarantines_lists_and_lifts() {
    let scene = Scene::of(&[Pkg::new("lib"), Pkg::new("app").needs(&["lib"])]).await;
    let mut serve =
        scene.serve(&[], &[("PKGWARDEN__EXECUTOR__KIND", "none"), ("PKGWARDEN__SERVER__LISTEN", "127.0.0.1:0")]);
    serve.says("listening on").await;
    let ran = scene.pkgwarden(&["ctl", "quarantine", "lib", "--reason", "wave 2"]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.contains("quarantined: wave 2") && ran.stdout.contains("holds app"), "{}", ran.stdout);
    let status = scene.pkgwarden(&["ctl", "status"]).await;
    assert!(status.stdout.contains("in quarantine\nlib: wave 2"), "{}", status.stdout);
    let deploy = scene.pkgwarden(&["ctl", "deploy", "app"]).await;
    assert_eq!(deploy.code, Some(3));
    assert!(deploy.stdout.contains("it is built with `lib`, which is in quarantine: wave 2"), "{}", deploy.stdout);
    assert_eq!(scene.pkgwarden(&["ctl", "quarantine", "lib"]).await.code, Some(2), "there is no reason");
    assert_eq!(scene.pkgwarden(&["ctl", "lift", "lib"]).await.code, Some(2), "there is no reason");
    let audit = scene.pkgwarden(&["ctl", "audit", "--indicator", "wave 2", "--exit-code"]).await;
    assert_eq!(audit.code, Some(3), "the record names it: {}{}", audit.stdout, audit.stderr);
    let lifted = scene.pkgwarden(&["ctl", "lift", "lib", "--reason", "cleaned"]).await;
    assert!(lifted.stdout.contains("quarantine lifted: cleaned"), "{}", lifted.stdout);
    assert_eq!(scene.pkgwarden(&["ctl", "quarantine"]).await.stdout, "Nothing is in quarantine.\n");
    serve.signal(Signal::SIGTERM);
    assert_eq!(serve.ended().await.0, Some(0));
    scene.ends().await;
}
