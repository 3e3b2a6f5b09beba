//! Builds that a program of the operator's carries out, by the real `serve`, which is killed and ended meanwhile.

use nix::sys::signal::Signal;
use pkgwarden::store::queries::BuildFilter;

use super::full_disk::until;
use crate::support::scene::{names_in, write_program};
use crate::support::serving::Serve;
use crate::support::{Pkg, Scene};

/// Runs the real makepkg on what it is given, once somebody lets it go on.
const PROGRAM: &str = r#"#!/bin/sh
set -e
echo "asked for $(sed -n 's/.*"pkgbase": "\(.*\)",/\1/p')"
mkfifo "$GO_IN/go"; read -r _ <"$GO_IN/go"; rm "$GO_IN/go"
work=$(mktemp -d "$GO_IN/work.XXXXXX"); artefacts=$PWD/artefacts
cp -R package/. "$work"; cd "$work"
as=; [ "$(id -u)" != 0 ] || { chown -R nobody "$work"; as='setpriv --reuid=nobody --regid=nogroup --clear-groups'; }
env HOME="$work" PKGDEST="$work" PKGEXT=.pkg.tar.zst $as makepkg --nodeps
cp ./*.pkg.tar.zst "$artefacts"; rm -r "$work"
"#;

/// A monorepo with two packages to build in order, whose builds a program carries out.
async fn scene() -> Scene {
    let mut scene = Scene::of(&[Pkg::new("foo"), Pkg::new("bar").needs(&["foo"])]).await;
    let (program, go) = (scene.path("build-package"), scene.path("builds"));
    write_program(&program, PROGRAM);
    std::fs::create_dir(&go).unwrap();
    std::fs::set_permissions(&go, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let url = scene.monorepo.path().display().to_string();
    let config = format!(
        "[[repository]]\nname = \"packages\"\nurl = \"{url}\"\n[server]\nlisten = \"127.0.0.1:0\"\npoll = \"1s\"\n[executor]\n\
         kind = \"command\"\nslots = 2\n[executor.command]\nprogram = \"{}\"\nenv = [\"GO_IN\"]\n",
        program.display()
    );
    std::fs::write(scene.path("pkgwarden.toml"), config).unwrap();
    scene.env.retain(|key, _| !key.starts_with("PKGWARDEN__EXECUTOR"));
    scene.env.insert("GO_IN".to_owned(), go.display().to_string());
    scene.push("feat(foo): two [deploy bar]", &Pkg::new("foo").release("2").changes()).await;
    scene
}

fn serve(scene: &Scene) -> Serve {
    scene.serve(&["-v", "--config", scene.path("pkgwarden.toml").to_str().unwrap()], &[])
}

/// Lets the build that waits go on, or will wait: it may have begun only just now.
async fn go_on(scene: &Scene) {
    let go = scene.path("builds/go");
    // Whoever writes there before would make a file of it.
    until(async || go.exists()).await;
    tokio::task::spawn_blocking(move || std::fs::write(go, "on\n")).await.unwrap().unwrap();
}

#[tokio::test]
async fn builds_go_on_while_the_controller_is_away_and_are_published_once() {
    let scene = scene().await;
    let mut killed = serve(&scene);
    killed.says("a build began").await;
    killed.signal(Signal::SIGKILL);
    assert_eq!(killed.ended().await.0, None);
    go_on(&scene).await;

    let mut ended = serve(&scene);
    ended.says("a build ended").await;
    ended.says("a build began").await;
    ended.signal(Signal::SIGTERM);
    let (code, said) = ended.ended().await;
    assert_eq!(code, Some(0), "it does not wait for a build that does not need it: {said}");
    go_on(&scene).await;

    let mut last = serve(&scene);
    last.says("a build ended").await;
    last.signal(Signal::SIGTERM);
    assert_eq!(last.ended().await.0, Some(0));
    // It may end before it has cleared up; the next one does.
    let left = scene.path("data/commands/9-9-gone");
    std::fs::create_dir_all(&left).unwrap();
    let mut next = serve(&scene);
    next.says("listening on").await;
    while !names_in(&scene.path("data/commands")).is_empty() {
        tokio::task::yield_now().await;
    }
    next.signal(Signal::SIGTERM);
    assert_eq!(next.ended().await.0, Some(0));
    insta::assert_snapshot!(scene.builds().await, @r"
    foo changed succeeded
    bar directive succeeded
    ");
    let store = scene.store();
    for build in store.builds(BuildFilter::default(), 9).await.unwrap() {
        let attempts = store.build(build.id).await.unwrap().unwrap().attempts;
        assert_eq!(attempts.len(), 1, "{} was built again", build.pkgbase);
        let log = scene.path(&format!("data/logs/{}.log", attempts[0].id));
        let log = std::fs::read_to_string(log).unwrap();
        assert_eq!(log.matches("asked for").count(), 1, "{log}");
        assert!(log.ends_with("==> succeeded\n"), "{log}");
    }
    let mut published = names_in(&scene.path("published/packages"));
    published.retain(|name| name.contains(".pkg."));
    assert_eq!(published, ["bar-1.0-1-any.pkg.tar.zst", "foo-1.0-2-any.pkg.tar.zst"]);
    scene.ends().await;
}
