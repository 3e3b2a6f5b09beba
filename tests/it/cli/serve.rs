//! `serve` as the person who runs it sees it: starting, stopping, reading its configuration again.

use std::os::unix::fs::PermissionsExt as _;

use nix::sys::signal::Signal;
use pkgwarden::sys::http;

use crate::scenarios::full_disk::until;
use crate::support::scene::names_in;
use crate::support::{Pkg, Scene};

const NO_BUILDS: [(&str, &str); 2] =
    [("PKGWARDEN__EXECUTOR__KIND", "none"), ("PKGWARDEN__SERVER__LISTEN", "127.0.0.1:0")];
const LISTEN: [(&str, &str); 1] = [("PKGWARDEN__SERVER__LISTEN", "127.0.0.1:0")];

#[tokio::test]
async fn data_that_builds_could_not_enter_is_said_at_once_with_the_remedy() {
    if !pkgwarden::sys::env::is_root() {
        return;
    }
    let scene = Scene::of(&[Pkg::new("foo")]).await;
    std::fs::create_dir(scene.path("private")).unwrap();
    std::fs::set_permissions(scene.path("private"), std::fs::Permissions::from_mode(0o700)).unwrap();
    let data_dir = scene.path("private/data").display().to_string();
    let (code, said) = scene.serve(&[], &[LISTEN[0], ("PKGWARDEN__SERVER__DATA_DIR", &data_dir)]).ended().await;
    assert_eq!(code, Some(1), "{said}");
    let private = scene.path("private").canonicalize().unwrap().display().to_string();
    assert!(said.contains(&format!("cannot enter {private}")) && said.contains("set `server.data_dir`"), "{said}");
    scene.ends().await;
}

#[tokio::test]
async fn a_second_one_on_the_same_data_is_refused_and_names_the_first() {
    let scene = Scene::of(&[]).await;
    let mut first = scene.serve(&[], &NO_BUILDS);
    first.says("listening on").await;
    let (code, said) = scene.serve(&[], &NO_BUILDS).ended().await;
    let expected = format!("error: another pkgwarden (process {}) keeps {}", first.pid(), scene.path("data").display());
    assert!(code == Some(1) && said.starts_with(&expected), "{code:?} {said}");
    first.signal(Signal::SIGTERM);
    assert_eq!(first.ended().await.0, Some(0));
    scene.ends().await;
}

#[tokio::test]
async fn what_a_killed_one_leaves_is_in_nobodys_way() {
    let scene = Scene::of(&[]).await;
    let mut first = scene.serve(&[], &NO_BUILDS);
    first.says("listening on").await;
    first.signal(Signal::SIGKILL);
    assert_eq!(first.ended().await.0, None);
    assert!(scene.path("data/control.sock").exists(), "nobody took the socket away");
    let mut second = scene.serve(&[], &NO_BUILDS);
    second.says("listening on").await;
    let status = scene.pkgwarden(&["ctl", "status"]).await;
    assert_eq!(status.code, Some(0), "{}", status.stderr);
    second.signal(Signal::SIGTERM);
    assert_eq!(second.ended().await.0, Some(0));
    assert!(!scene.path("data/control.sock").exists());
    scene.ends().await;
}

#[tokio::test]
async fn a_remote_that_is_away_at_the_start_is_looked_at_again() {
    let scene = Scene::of(&[Pkg::new("foo")]).await;
    let away = scene.path("packages.git");
    let hidden = scene.path("hidden.git");
    let config = scene.path("pkgwarden.toml");
    let text = format!("[server]\npoll = \"1s\"\n[[repository]]\nname = \"packages\"\nurl = \"{}\"\n", away.display());
    std::fs::write(&config, text).unwrap();
    scene.push("feat(foo): two", &Pkg::new("foo").release("2").changes()).await;
    std::fs::rename(&away, &hidden).unwrap();
    let mut serve = scene.serve(&["-v", "--config", config.to_str().unwrap()], &NO_BUILDS);
    let listening = serve.says("listening on").await;
    serve.says("the remote cannot be looked at").await;
    let url = format!("{}/healthz", listening.split_once("listening on ").unwrap().1);
    let answer = http::client(std::time::Duration::from_secs(30)).get(url).send().await.unwrap();
    assert!(answer.status().is_success(), "pages are there all the same");
    std::fs::rename(&hidden, &away).unwrap();
    let (tip, scheduled) = ("refs/heads/main", "refs/tags/scheduled");
    while scene.monorepo.id(tip).await != scene.monorepo.id(scheduled).await {
        tokio::task::yield_now().await;
    }
    serve.signal(Signal::SIGTERM);
    assert_eq!(serve.ended().await.0, Some(0));
    scene.ends().await;
}

#[tokio::test]
async fn a_place_that_cannot_be_written_is_said_at_once() {
    let scene = Scene::of(&[]).await;
    let env = [NO_BUILDS[0], NO_BUILDS[1], ("PKGWARDEN__SERVER__DATA_DIR", "/proc/pkgwarden")];
    let (code, said) = scene.serve(&[], &env).ended().await;
    assert_eq!(code, Some(1));
    insta::assert_snapshot!(said, @r"
    error: cannot create /proc/pkgwarden
      because: No such file or directory (os error 2)
    ");
    scene.ends().await;
}

#[tokio::test]
async fn a_reload_takes_over_what_it_can_names_what_it_cannot_and_survives_a_broken_file() {
    let scene = Scene::of(&[]).await;
    let config = scene.path("pkgwarden.toml");
    let write = |text: &str| std::fs::write(&config, text).unwrap();
    write("[server]\nlisten = \"127.0.0.1:0\"\n[executor]\nkind = \"none\"\n");
    let mut serve = scene.serve(&["--config", config.to_str().unwrap()], &[]);
    serve.says("listening on").await;

    write("[server]\npoll = \"often\"\n");
    serve.signal(Signal::SIGHUP);
    let refused = serve.says("the configuration is not taken over").await;
    assert!(refused.contains(&format!("{}:2:8: ", config.display())), "{refused}");

    write("[server]\nlisten = \"127.0.0.1:1\"\nlog = \"warn\"\npoll = \"1s\"\n[executor]\nkind = \"none\"\n");
    serve.signal(Signal::SIGHUP);
    let fixed = serve.says("need a new start").await;
    assert!(fixed.ends_with("these settings need a new start to change: server.listen"), "{fixed}");
    serve.says("the configuration was read again").await;

    // Within the test's patience only because of the new `poll`.
    scene.push("feat: more", &Pkg::new("foo").changes()).await;
    let (tip, scheduled) = ("refs/heads/main", "refs/tags/scheduled");
    while scene.monorepo.id(tip).await != scene.monorepo.id(scheduled).await {
        tokio::task::yield_now().await;
    }

    write("[server]\nlisten = \"127.0.0.1:1\"\nlog = \"error\"\n[executor]\nkind = \"none\"\n");
    serve.signal(Signal::SIGHUP);
    serve.says("the configuration was read again").await;
    assert_eq!(serve.heard.matches("need a new start").count(), 1, "warnings are not told any more");
    serve.signal(Signal::SIGTERM);
    assert_eq!(serve.ended().await.0, Some(0));
    scene.ends().await;
}

/// A scene with something to build.
async fn building(package: Pkg) -> Scene {
    let scene = Scene::of(&[]).await;
    scene.push("feat: build", &package.changes()).await;
    scene
}

#[tokio::test]
async fn a_build_under_way_may_end_when_it_is_told_to_stop() {
    let scene = building(Pkg::new("foo").built_by("sleep 2")).await;
    let mut serve = scene.serve(&["-v"], &LISTEN);
    // It has half a minute from when it is told to stop, of which a busy machine may need much before its build().
    let logs = scene.path("data/logs");
    let begun =
        |name: &String| std::fs::read_to_string(logs.join(name)).is_ok_and(|log| log.contains("Starting build()"));
    until(async || names_in(&logs).iter().any(begun)).await;
    serve.signal(Signal::SIGTERM);
    serve.says("draining").await;
    let (code, rest) = serve.ended().await;
    assert!(code == Some(0) && rest.contains("a build ended"), "{code:?} {rest}");
    assert_eq!(scene.builds().await, "foo changed succeeded\n");
    scene.ends().await;
}

#[tokio::test]
async fn told_twice_it_ends_at_once_and_the_next_start_takes_the_build_up() {
    let scene = building(Pkg::new("foo").built_by("sleep 1000")).await;
    let mut serve = scene.serve(&["-v"], &LISTEN);
    serve.says("a build began").await;
    serve.signal(Signal::SIGTERM);
    serve.says("draining").await;
    serve.signal(Signal::SIGTERM);
    assert_eq!(serve.ended().await.0, Some(0));
    assert_eq!(scene.builds().await, "foo changed running\n");

    let mut serve = scene.serve(&["-v"], &LISTEN);
    serve.says("a build ended").await;
    assert_eq!(scene.builds().await, "foo changed ready\n", "it is built again");
    serve.signal(Signal::SIGTERM);
    assert_eq!(serve.ended().await.0, Some(0));
    assert_eq!(names_in(&scene.path("data/work")), [""; 0], "nothing of the first attempt is left");
    scene.ends().await;
}
