//! `demo` as somebody who only tries it meets it: how it is refused and how it ends. What it plays is
//! tested by playing it.

use nix::sys::signal::Signal;

use crate::support::Scene;
use crate::support::scene::names_in;

#[tokio::test]
async fn a_directory_that_holds_something_else_is_left_as_it_is() {
    let scene = Scene::of(&[]).await;
    let dir = scene.path("home");
    std::fs::write(dir.join("letter"), "dear").unwrap();
    let ran = scene.pkgwarden(&["demo", "--dir", dir.to_str().unwrap()]).await;
    assert_eq!(ran.code, Some(1));
    insta::assert_snapshot!(ran.errors(), @r"
    error: <dir>/home holds something that is no demo; name an empty or a new directory
    hint: --listen chooses the address of the pages, --dir the directory
    ");
    assert_eq!(names_in(&dir), ["letter"]);
    scene.ends().await;
}

#[tokio::test]
async fn an_address_that_is_taken_is_said_and_nothing_is_left() {
    let scene = Scene::of(&[]).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ran = scene.pkgwarden(&["demo", "--listen", &address]).await;
    assert!(ran.code == Some(1) && ran.stderr.contains(&format!("cannot listen on {address}")), "{ran:?}");
    scene.ends().await;
}

/// That nothing is left in TMPDIR is what the end of every scene proves.
#[tokio::test]
async fn an_interrupt_ends_it_and_leaves_nothing_behind() {
    let scene = Scene::of(&[]).await;
    let mut demo = scene.start(&["demo"], &[]);
    demo.says("listening on").await;
    demo.signal(Signal::SIGINT);
    assert_eq!(demo.ended().await.0, Some(130));
    scene.ends().await;
}

#[tokio::test]
async fn an_interrupted_demo_goes_on_where_it_was_and_one_directory_has_one_demo() {
    let scene = Scene::of(&[]).await;
    let dir = scene.path("demo");
    let args = ["demo", "--dir", dir.to_str().unwrap()];
    let mut first = scene.start(&args, &[]);
    first.says("listening on").await;
    let second = scene.pkgwarden(&args).await;
    assert!(second.code == Some(1) && second.stderr.contains("use another directory"), "{second:?}");
    first.signal(Signal::SIGINT);
    assert_eq!(first.ended().await.0, Some(130));
    let mut again = scene.start(&args, &[]);
    again.says("listening on").await;
    again.signal(Signal::SIGINT);
    assert_eq!(again.ended().await.0, Some(130));
    scene.ends().await;
}
