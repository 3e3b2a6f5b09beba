//! Packages whose newest version is found by their `nvchecker.toml`: raised, and read by a person unless
//! `CI_NVCHECKER_REVIEW` is off.

use pkgwarden::domain::name::Oid;
use pkgwarden::domain::plan::{Action, Heard, Pipeline};

use super::releases::scene_of;
use crate::support::forge::{Forge, sum_of_archive};
use crate::support::scene::{CI_CONFIG, MAIN, base, person};
use crate::support::{Change, Scene};

const ASKED: &str = "CI_PKGBUILD_SOURCE=custom\nCI_NVCHECKER=true\n";
const BY_TAGS: &str = "source = \"git\"\ngit = \"HOST/PROJECT\"\nprefix = \"v\"\n";

/// Packages at 1.0 (name, file), each of a project of its name, with what `.ci/config` says beside the usual.
async fn scene(packages: &[(&str, &str)], repository: &str) -> (Scene, Forge) {
    let projects: Vec<_> = packages.iter().map(|(name, _)| (*name, *name, "custom")).collect();
    let (scene, forge) = scene_of(&projects).await;
    let mut changes = vec![Change::put(".ci/config", format!("{CI_CONFIG}{repository}"))];
    for (name, file) in packages {
        let file = file.replace("HOST", &forge.url("")).replace("PROJECT", name);
        changes.push(Change::put(&format!("{name}/.CI/config"), ASKED));
        changes.push(Change::put(&format!("{name}/.nvchecker.toml"), format!("[{name}]\n{file}")));
    }
    scene.push("feat: follow versions", &changes).await;
    scene.hand_out().await;
    (scene, forge)
}

/// What a run heard about a package and why nothing else happens.
async fn heard(scene: &Scene, name: &str) -> (Heard, String) {
    let document = scene.run(Pipeline::OnSchedule).await.document;
    let decision = document.packages.iter().find(|it| it.pkgbase.as_str() == name).expect("it was asked about");
    assert!(matches!(decision.action, Action::None | Action::State), "{decision:?}");
    (decision.observation, decision.why.clone())
}

#[tokio::test]
async fn a_version_that_nvchecker_found_is_raised_into_a_review_however_minor_it_is() {
    let (scene, forge) = scene(&[("tool", BY_TAGS)], "").await;
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    state tool: its source has nothing new
    create refs/heads/state
    ");
    forge.tag("tool", "v1.1");
    scene.later();
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    review tool [minor]: 1.0-3 -> 1.1-1 needs a person: the version was found by nvchecker, and CI_NVCHECKER_REVIEW is on
    open update-tool
    update refs/heads/state
    create refs/heads/update-tool
    ");
    insta::assert_snapshot!(scene.monorepo.git(&["log", "-1", "--format=%B", "update-tool"]).await, @"
    chore(update): tool

    1.0-3 -> 1.1-1

    Needs a person because:
    - the version was found by nvchecker, and CI_NVCHECKER_REVIEW is on
    ");
    let raised = scene.monorepo.file("update-tool", "tool/PKGBUILD").await.unwrap();
    assert!(raised.contains("pkgver=1.1\npkgrel=1") && raised.contains(&sum_of_archive("tool", "v1.1")), "{raised}");
    let srcinfo = scene.monorepo.file("update-tool", "tool/.SRCINFO").await.unwrap();
    assert!(srcinfo.contains("\tpkgver = 1.1\n\tpkgrel = 1\n"), "{srcinfo}");
    scene.later();
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"");
    let head: Oid = scene.monorepo.id("update-tool").await.unwrap().parse().unwrap();
    insta::assert_snapshot!(scene.told(Pipeline::Approve(base("tool"), head, person("mira"))).await, @"
    commit tool [minor]: 1.0-3 -> 1.1-1, approved by mira
    build tool (changed)
    close update-tool: a person approved it
    update refs/heads/main
    update refs/heads/state
    update refs/tags/scheduled
    delete refs/heads/update-tool
    ");
    insta::assert_snapshot!(scene.ends().await, @"
    refs/heads/main chore(update): tool
    refs/heads/state chore(state): update state
    refs/tags/scheduled chore(update): tool
    ");
}

#[tokio::test]
async fn with_the_review_off_the_gate_alone_decides() {
    let (scene, forge) = scene(&[("tool", BY_TAGS), ("odd", BY_TAGS)], "CI_NVCHECKER_REVIEW=false\n").await;
    scene.run(Pipeline::OnSchedule).await;
    forge.tag("tool", "v1.1");
    // Nobody would call that a version.
    forge.tag("odd", "v20991231235959");
    scene.later();
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    review odd [major]: 1.0-3 -> 20991231235959-1 needs a person
    commit tool [minor]: 1.0-3 -> 1.1-1
    build tool (changed)
    open update-odd
    update refs/heads/main
    update refs/heads/state
    update refs/tags/scheduled
    create refs/heads/update-odd
    ");
    assert!(scene.monorepo.file(MAIN, "tool/PKGBUILD").await.unwrap().contains("pkgver=1.1\n"));
    scene.later();
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"");
    scene.ends().await;
}

#[tokio::test]
async fn where_nobody_reads_updates_these_are_not_read_either() {
    let (mut scene, forge) = scene(&[("tool", BY_TAGS)], "").await;
    scene.env.insert("PKGWARDEN__POLICY__HUMAN_REVIEW".to_owned(), "false".to_owned());
    forge.tag("tool", "v1.1");
    assert!(scene.told(Pipeline::OnSchedule).await.starts_with("commit tool [minor]: 1.0-3 -> 1.1-1\n"));
    scene.ends().await;
}

#[tokio::test]
async fn a_version_that_cannot_be_found_out_is_unknown_and_stops_nobody_else() {
    let broken = "source = \"git\"\ngit = \"HOST/PROJECT\"\nuse_commit = 3\n";
    let hidden = "source = \"cmd\"\ncmd = \"echo 9\"\n";
    let other = "source = \"git\"\ngit = \"HOST/PROJECT\"\nfrom_pattern = \"^\"\nto_pattern = \"release-\"\n";
    let packages = [("away", BY_TAGS), ("broken", broken), ("fine", BY_TAGS), ("hidden", hidden), ("other", other)];
    let (scene, forge) = scene(&packages, "CI_NVCHECKER_REVIEW=false\n").await;
    scene
        .push("feat: none", &[Change::put("none/.CI/config", ASKED), Change::put("none/PKGBUILD", "pkgver=1\n")])
        .await;
    scene.hand_out().await;
    for project in ["away", "broken", "fine"] {
        forge.tag(project, "v1.1");
    }
    forge.breaks("/away/", 503);
    let told = scene.told(Pipeline::OnSchedule).await.replace(&forge.url(""), "URL");
    insta::assert_snapshot!(told, @r#"
    commit fine [minor]: 1.0-3 -> 1.1-1
    build fine (changed)
    update refs/heads/main
    create refs/heads/state
    update refs/tags/scheduled
    warning [source-unknown] away: URL/away answers 503 Service Unavailable -> it is asked again in the next run
    warning [source-unknown] broken: .nvchecker.toml:4: [broken]: `use_commit` is 3, but has to be true or false -> it is asked again in the next run
    warning [source-unknown] hidden: source = "cmd" runs a command that stands in the file; set sources.nvchecker.commands = true to allow that, in the sandbox -> it is asked again in the next run
    warning [source-unknown] none: CI_NVCHECKER is set, and there is no nvchecker.toml or .nvchecker.toml -> it is asked again in the next run
    warning [source-unknown] other: `release-v1.0` was found: the version of the package is of another kind; set `prefix` or `from_pattern` -> it is asked again in the next run
    "#);
    forge.works_again();
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await.lines().next().unwrap(), @"commit away [minor]: 1.0-3 -> 1.1-1");
    scene.ends().await;
}

#[tokio::test]
async fn an_older_version_changes_nothing() {
    let (scene, forge) = scene(&[("tool", "source = \"manual\"\nmanual = \"0.9\"\n")], "").await;
    let main = scene.monorepo.id(MAIN).await;
    for _ in 0..2 {
        assert_eq!(heard(&scene, "tool").await, (Heard::Current, "its source has nothing new".to_owned()));
    }
    assert_eq!((scene.monorepo.id(MAIN).await, forge.fetched().len()), (main, 0));
    scene.ends().await;
}

#[tokio::test]
async fn a_file_without_the_key_is_not_looked_at_and_with_the_key_it_takes_the_place_of_the_source() {
    let scene = Scene::with_aur().await;
    let packages = ["asked", "not-asked"].map(crate::support::Pkg::from_aur);
    scene.keeps(&packages).await;
    let file = |name: &str| Change::put(&format!("{name}/nvchecker.toml"), "[x]\nsource = 'manual'\nmanual = 1.0\n");
    let asked = Change::put("asked/.CI/config", "CI_PKGBUILD_SOURCE=aur\nCI_NVCHECKER=true\n");
    scene.push("feat: versions", &[file("asked"), file("not-asked"), asked]).await;
    scene.hand_out().await;
    for package in packages {
        scene.aur_release(&package.version("1.1")).await;
    }
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    state asked: its source has nothing new
    review not-asked [major]: 1.0-1 -> 1.1-1 needs a person
    open update-not-asked
    update refs/heads/state
    create refs/heads/update-not-asked
    ");
    scene.ends().await;
}

#[tokio::test]
async fn the_program_itself_searches_documents_and_shows_what_it_goes_by() {
    let releases = "source = \"jq\"\nurl = \"HOST/github-api/repos/PROJECT/releases\"\nfilter = \".[].tag_name\"\n\
                    prefix = \"v\"\n";
    let broken = "source = \"git\"\n# where?\ngit = \"--upload-pack=id\"\n";
    let (scene, forge) = scene(&[("tool", releases), ("broken", broken)], "CI_NVCHECKER_REVIEW=false\n").await;
    let unused = [Change::put("tool/nvchecker.toml/x", "a folder"), Change::put("unused/PKGBUILD", "pkgver=1\n")];
    scene.push("feat: odd", &unused).await;
    let unused =
        [Change::put("unused/nvchecker.toml", ""), Change::put("unused/.CI/config", "CI_PKGBUILD_SOURCE=aur\n")];
    scene.push("feat: unused", &unused).await;
    scene.push("feat: both", &[Change::put("broken/.CI/config", format!("{ASKED}CI_PKGBUILD_SOURCE=aur\n"))]).await;
    scene.hand_out().await;
    forge.tag("tool", "v1.1");
    let ran = scene.pkgwarden(&["--format", "json", "plan", "on-schedule"]).await;
    let plan: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let tool = &plan["packages"].as_array().unwrap().iter().find(|it| it["pkgbase"] == "tool").unwrap();
    assert_eq!((&tool["action"], &tool["to_version"]), (&"commit".into(), &"1.1-1".into()), "{}", ran.stderr);
    let check = scene.pkgwarden(&["check"]).await.stdout;
    let about: Vec<&str> = check.lines().filter(|line| line.contains("nvchecker")).collect();
    insta::assert_snapshot!(about.join("\n"), @"
    warning: broken/.CI/config: CI_NVCHECKER takes the place of the source aur, whose files are not looked at [nvchecker-and-source]
    error: broken/.nvchecker.toml:4: [broken]: `git`: address `--upload-pack=id` refused: it has no `scheme://` [nvchecker-invalid]
      docs/nvchecker.md lists the sources and their options
    ");
    let mut shown = Vec::new();
    for name in ["tool", "broken", "unused"] {
        let explained = scene.pkgwarden(&["explain", name]).await.stdout;
        shown.extend(explained.lines().filter(|line| line.trim_start().starts_with("versions ")).map(str::to_owned));
    }
    insta::assert_snapshot!(shown.join("\n"), @"
    versions     nvchecker, by .nvchecker.toml
    versions     nvchecker, by .nvchecker.toml
    versions     nvchecker.toml is not used: CI_NVCHECKER is not set
    ");
    let listed: serde_json::Value =
        serde_json::from_str(&scene.pkgwarden(&["--format", "json", "packages"]).await.stdout).expect("JSON");
    let sources: Vec<String> = listed.as_array().unwrap().iter().map(|it| it["source"].to_string()).collect();
    insta::assert_snapshot!(sources.join("\n"), @r#"
    {"kind":"aur","nvchecker":".nvchecker.toml","url":null}
    {"kind":"custom","nvchecker":".nvchecker.toml","url":null}
    {"kind":"aur","nvchecker":null,"url":null}
    "#);
    scene.ends().await;
}

#[tokio::test]
async fn explain_tells_what_came_of_looking_for_a_version_and_when_it_is_looked_for_again() {
    let (scene, forge) = scene(&[("away", BY_TAGS), ("tool", BY_TAGS)], "").await;
    forge.breaks("/away/", 404);
    for _ in 0..3 {
        scene.later();
        scene.run(Pipeline::OnSchedule).await;
    }
    let source = async |name: &str| {
        let explained = scene.pkgwarden(&["--format", "json", "explain", name]).await.json();
        let [source] = explained["sources"].as_array().unwrap().as_slice() else { panic!("{explained}") };
        source.clone()
    };
    let tool = source("tool").await;
    assert_eq!((&tool["role"], &tool["source"]), (&"version".into(), &".nvchecker.toml".into()));
    assert_eq!((&tool["answer"], &tool["error"], &tool["next"]), (&"version 1.0".into(), &().into(), &().into()));
    assert_eq!(tool["asked"], tool["answered"]);
    let away = source("away").await;
    assert_eq!((&away["asked"], &away["answered"], &away["failures"]), (&tool["asked"], &().into(), &3.into()));
    assert!(away["error"].as_str().is_some_and(|error| error.contains("404 Not Found")), "{away}");
    assert!(away["next"].as_str() > tool["asked"].as_str(), "{away}");
    let before = forge.fetched().len();
    let told = scene.told(Pipeline::OnSchedule).await;
    assert!(told.contains("away: not asked, because it failed 3 times in a row: "), "{told}");
    assert!(told.contains("it is asked again in the first run after"), "{told}");
    assert_eq!(forge.fetched().len(), before);
    scene.ends().await;
}
