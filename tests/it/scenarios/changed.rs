//! Builds that start because something has changed, with nobody asking for them.
//!
//! What is required of them is numbered C1 to C14; each has tests that keep it:
//!
//! | | | |
//! |---|---|---|
//! | C1 | a change starts a build, however it is heard of | `on_commit::changed_added_renamed_…`, `on_schedule::an_upstream_commit_…`, `webhooks` |
//! | C2 | another revision is a change, whichever way it went | `on_commit::after_a_force_push_…`, `domain::plan::tests::upstreams` |
//! | C3 | a package may decide itself | [`c3_a_script_of_the_package_decides_and_is_told_what_it_saw_last`] and others here, `domain::plan::tests::upstreams` |
//! | C4 | what was observed, tried and built survives, and none is lost or doubled | [`c4_what_was_observed_tried_and_built_survives_a_restart`], `crash` |
//! | C5 | one build of a package at a time | [`c5_of_many_that_ask_at_once_one_build_runs_and_one_waits`], `store::properties` |
//! | C6 | what is asked for meanwhile: coalesced, queued, dropped or the cause of a new beginning | [`c6_what_is_dropped_is_said_and_recorded`], `store::attempts::tests` (one for each), `http::commands` |
//! | C7 | looking often builds no more | [`c7_however_often_it_is_looked_one_build_waits_behind_the_one_that_runs`] |
//! | C8 | what is lost gives its place back | `store::attempts::tests::an_infrastructure_failure_…`, `executors::conformance` (lost build), `fleet` |
//! | C9 | a generation is complete, and says of each package whether it is new | `publish::tests::generations_follow_each_other_…`, `publish::tests::whole::no_generation_ever_has_a_hole_…` |
//! | C10 | a build that fails changes nothing that is published | [`c10_a_build_that_fails_leaves_the_generation_as_it_was`], `publish::tests::what_is_not_the_builds_…` |
//! | C11 | dependants by policy, in order, and blocked behind a failure | `domain::plan::tests::rebuilds::the_policy_says_…`, `sonames`, `store::attempts::tests::a_failure_blocks_…` |
//! | C12 | proposals are built apart, and voted about | `proposals::what_is_built_for_a_test_…`, `proposals::a_test_build_that_the_machine_spoils_…`, `domain::review::proposal` |
//! | C13 | nothing stale is voted about | `proposals::pushed_again_while_it_is_judged_…`, `proposals::a_newer_commit_stops_…` |
//! | C14 | a build says what it was asked for by | [`c14_a_build_says_by_whom_and_for_which_revisions_it_was_asked_for`], `domain::plan::tests::upstreams::a_build_says_…` |

use pkgwarden::app::Serving;
use pkgwarden::controller::face::Face as _;
use pkgwarden::domain::build::{BuildState, Outcome};
use pkgwarden::domain::plan::Pipeline;
use pkgwarden::domain::queue::BuildId;
use pkgwarden::domain::target::Target;
use pkgwarden::store::Store;
use pkgwarden::store::attempts::{AttemptEnd, AttemptEnding};
use serde_json::{Value, json};

use super::building::build_all;
use crate::support::scene::{MAIN, base};
use crate::support::{Change, Pkg, Scene};

/// Has the package built when its file `marker` has another content than the last time.
const LOOKS: &str = "now=$(cat marker)\n[ \"$now\" = \"$SEEN_BEFORE\" ] && exit 1\necho \"$now\" >\"$SEEN_FILE\"\n";
/// Always has it built.
const ALWAYS: &str = "true\n";

fn deciding(name: &str, script: &str) -> Vec<Change> {
    let more = [("marker", "one\n"), (".CI/changed.sh", script)];
    let more = more.map(|(path, text)| Change::put(&format!("{name}/{path}"), text));
    Pkg::new(name).changes().into_iter().chain(more).collect()
}

async fn scene_with(changes: Vec<Change>) -> Scene {
    let scene = Scene::of(&[]).await;
    scene.push("feat: packages", &changes).await;
    scene.hand_out().await;
    scene
}

fn deploy(name: &str) -> Pipeline {
    Pipeline::Deploy(vec![Target::parse(name).expect("no class")])
}

async fn newest(store: &Store, name: &str) -> BuildId {
    store.last_builds("packages", &base(name), 1).await.unwrap()[0].id
}

/// Has the newest build of a package run, as far as the record knows.
async fn begins(store: &Store, scene: &Scene, name: &str) -> String {
    let attempt = store.begin_attempt(newest(store, name).await, "local", scene.now()).await.unwrap();
    store.attempt_started(&attempt, scene.now()).await.unwrap();
    attempt
}

async fn ends(store: &Store, scene: &Scene, attempt: &str, outcome: Outcome) {
    let ending = AttemptEnding::Done(outcome);
    let end = AttemptEnd { ending, exit_code: None, message: String::new(), log_length: 0 };
    store.finish_attempt(attempt, end, scene.now()).await.unwrap();
}

/// The states of what is in the queue, in order.
async fn queued(store: &Store) -> Vec<BuildState> {
    store.queue(None).await.unwrap().iter().map(|queued| queued.build.state).collect()
}

#[tokio::test]
async fn c3_a_script_of_the_package_decides_and_is_told_what_it_saw_last() {
    let scene = scene_with(deciding("tool", LOOKS)).await;
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    state tool: its .CI/changed.sh says that it has to be built
    build tool (upstream)
    create refs/heads/state
    ");
    assert_eq!(scene.monorepo.file("state", "tool").await.unwrap(), "PKGWARDEN_CHANGED_SEEN=one\n");
    let heard = async || {
        let document = serde_json::to_value(scene.run(Pipeline::OnSchedule).await.document).unwrap();
        assert_eq!((document["refs"].clone(), document["builds"].clone()), (json!([]), json!([])));
        document["packages"][0]["why"].as_str().unwrap().to_owned()
    };
    assert_eq!(heard().await, "its .CI/changed.sh says that nothing has changed");
    // What a person commits is built whatever the script says; here it asks for nothing.
    scene.push("docs(tool): marker [skip tool]", &[Change::put("tool/marker", "two\n")]).await;
    scene.run(Pipeline::OnCommit).await;
    let told = scene.told(Pipeline::OnSchedule).await;
    assert!(told.contains("build tool (upstream)"), "{told}");
    assert_eq!(scene.monorepo.file("state", "tool").await.unwrap(), "PKGWARDEN_CHANGED_SEEN=two\n");
    assert_eq!(heard().await, "its .CI/changed.sh says that nothing has changed");
    scene.ends().await;
}

#[tokio::test]
async fn c3_a_script_that_fails_or_writes_nonsense_builds_nothing_and_stops_nobody_else() {
    let mut changes = deciding("broken", "echo the page has changed\nexit 3\n");
    changes.extend(deciding("confused", "echo a b >\"$SEEN_FILE\"\n"));
    changes.extend(deciding("mistaken", "[ \"$NOBODY_SET_THIS\" ]\n"));
    changes.extend(deciding("fine", LOOKS));
    let scene = scene_with(changes).await;
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    state fine: its .CI/changed.sh says that it has to be built
    build fine (upstream)
    create refs/heads/state
    warning [changed-script-failed] broken: its .CI/changed.sh ended with status 3: the page has changed; it ran without network, which CI_UPDATE_NETWORK=true in .CI/config gives it -> nothing is built for it; it is run again in the next run
    warning [changed-script-failed] confused: its .CI/changed.sh wrote down what is not one word of up to 200 letters, digits and .-_@+:/=~, -> nothing is built for it; it is run again in the next run
    warning [changed-script-failed] mistaken: its .CI/changed.sh ended with status 127: ./.CI/changed.sh: line 1: NOBODY_SET_THIS: unbound variable; it ran without network, which CI_UPDATE_NETWORK=true in .CI/config gives it -> nothing is built for it; it is run again in the next run
    ");
    scene.ends().await;
}

#[tokio::test]
async fn c3_a_script_is_stopped_after_its_time_and_can_change_nothing() {
    let mut changes = deciding("slow", "echo waiting\nsleep 1000 & sleep 1000\n");
    let writes = "for place in .CI/changed.sh ../other /etc/passwd; do (echo x >$place) 2>/dev/null && exit 9; done\n\
                  env | grep -c SECRET && exit 8\necho x >PKGBUILD\nexit 1\n";
    changes.extend(deciding("writes", writes));
    let mut scene = scene_with(changes).await;
    scene.env.insert("PKGWARDEN_SECRET".to_owned(), "hush".to_owned());
    let before = scene.monorepo.refs().await;
    let mut told = String::new();
    // On a machine that is so busy that they have not come so far by then, they are given more time.
    for after in [2, 20, 200] {
        scene.env.insert("PKGWARDEN__SOURCES__SCRIPT_TIMEOUT".to_owned(), format!("{after}s"));
        told = scene.told(Pipeline::OnSchedule).await.replace(&format!("{after} s"), "AFTER");
        if told.contains("AFTER: waiting") && !told.contains("writes") {
            break;
        }
    }
    insta::assert_snapshot!(told, @"warning [changed-script-failed] slow: its .CI/changed.sh was stopped after AFTER: waiting; it ran without network, which CI_UPDATE_NETWORK=true in .CI/config gives it -> nothing is built for it; it is run again in the next run");
    assert_eq!(scene.monorepo.refs().await, before);
    scene.ends().await;
}

#[tokio::test]
async fn c4_what_was_observed_tried_and_built_survives_a_restart() {
    let scene = scene_with(deciding("tool", LOOKS)).await;
    let revisions = async || {
        let serving = scene.controller();
        serving.controller.start(Pipeline::OnCommit, "test").await.unwrap();
        let page = serving.controller.package(&base("tool")).await.unwrap().unwrap();
        let view = serde_json::to_value(page.revisions).unwrap();
        let short = |what: &str| view[what]["commit"].as_str().map(|commit| commit[..8].to_owned());
        ["observed", "attempted", "succeeded"].map(short)
    };
    let first = Some(scene.monorepo.id(MAIN).await.unwrap()[..8].to_owned());
    assert_eq!(revisions().await, [first.clone(), None, None]);
    scene.run(deploy("tool")).await;
    let attempt = begins(&scene.store(), &scene, "tool").await;
    assert_eq!(revisions().await, [first.clone(), first.clone(), None]);
    ends(&scene.store(), &scene, &attempt, Outcome::Succeeded).await;
    scene.push("feat(tool): two", &Pkg::new("tool").release("2").changes()).await;
    scene.run(Pipeline::OnCommit).await;
    let second = Some(scene.monorepo.id(MAIN).await.unwrap()[..8].to_owned());
    let attempt = begins(&scene.store(), &scene, "tool").await;
    ends(&scene.store(), &scene, &attempt, Outcome::Failed).await;
    assert_eq!(revisions().await, [second.clone(), second, first]);
    scene.ends().await;
}

#[tokio::test]
async fn c5_of_many_that_ask_at_once_one_build_runs_and_one_waits() {
    let scene = Scene::of(&[Pkg::new("foo")]).await;
    let serving = scene.controller();
    serving.controller.start(deploy("foo"), "test").await.unwrap();
    let store = scene.store();
    let attempt = begins(&store, &scene, "foo").await;
    let asks = (0..8).map(|_| serving.controller.start(deploy("foo"), "test"));
    for run in futures_util::future::join_all(asks).await {
        assert_eq!(run.unwrap().document["outcome"]["enqueued"], 1);
    }
    assert_eq!(queued(&store).await, [BuildState::Running, BuildState::Waiting]);
    ends(&store, &scene, &attempt, Outcome::Succeeded).await;
    assert_eq!(queued(&store).await, [BuildState::Ready]);
    scene.ends().await;
}

#[tokio::test]
async fn c6_what_is_dropped_is_said_and_recorded() {
    let mut scene = Scene::of(&[Pkg::new("foo"), Pkg::new("bar")]).await;
    scene.env.insert("PKGWARDEN__POLICY__OVERLAP".to_owned(), "discard".to_owned());
    scene.run(deploy("foo")).await;
    begins(&scene.store(), &scene, "foo").await;
    let both = Pipeline::Deploy(["foo", "bar"].map(|name| Target::parse(name).expect("no class")).into());
    let report = serde_json::to_value(scene.run(both).await).unwrap();
    assert_eq!((&report["outcome"]["enqueued"], &report["outcome"]["discarded"]), (&json!(1), &json!(["foo"])));
    let [problem] = report["problems"].as_array().unwrap().as_slice() else { panic!("{}", report["problems"]) };
    assert_eq!((&problem["code"], &problem["pkgbase"]), (&json!("build-discarded"), &json!("foo")));
    insta::assert_snapshot!(scene.builds().await, @"
    foo deploy running
    bar deploy ready
    foo deploy superseded
    ");
    scene.ends().await;
}

#[tokio::test]
async fn c7_however_often_it_is_looked_one_build_waits_behind_the_one_that_runs() {
    let scene = scene_with(deciding("tool", ALWAYS)).await;
    scene.run(Pipeline::OnSchedule).await;
    let store = scene.store();
    begins(&store, &scene, "tool").await;
    for _ in 0..4 {
        scene.later();
        scene.run(Pipeline::OnSchedule).await;
        assert_eq!(queued(&store).await, [BuildState::Running, BuildState::Waiting]);
    }
    scene.ends().await;
}

/// The newest generation: each package with where it came from.
async fn generation(serving: &Serving) -> Value {
    let newest = &serving.controller.generations().await.unwrap()[0];
    let page = serving.controller.generation(&newest.repository, newest.number).await.unwrap().unwrap();
    let entries = page.entries.iter().map(|entry| json!([entry.name, entry.version, entry.origin]));
    json!({"number": newest.number, "entries": entries.collect::<Vec<_>>()})
}

#[tokio::test]
async fn c10_a_build_that_fails_leaves_the_generation_as_it_was() {
    let scene = Scene::of(&[]).await;
    let both = ["bar", "foo"].map(|name| Pkg::new(name).changes());
    scene.push("feat: two", &both.into_iter().flatten().collect::<Vec<_>>()).await;
    let serving = scene.controller();
    serving.controller.start(Pipeline::OnCommit, "test").await.unwrap();
    build_all(&scene, &serving).await;
    let before = generation(&serving).await;
    assert_eq!(before["entries"].as_array().unwrap().len(), 2, "{before}");
    scene.push("feat(foo): 2", &Pkg::new("foo").release("2").built_by("false").changes()).await;
    serving.controller.start(Pipeline::OnCommit, "test").await.unwrap();
    build_all(&scene, &serving).await;
    assert_eq!(generation(&serving).await, before);
    // The next one that succeeds is complete: what was not built is what it was.
    scene.push("fix(foo): 3", &Pkg::new("foo").release("3").changes()).await;
    serving.controller.start(Pipeline::OnCommit, "test").await.unwrap();
    build_all(&scene, &serving).await;
    let after = generation(&serving).await;
    assert_eq!(after["entries"], json!([["bar", "1.0-1", "reused"], ["foo", "1.0-3", "built"]]));
    scene.ends().await;
}

#[tokio::test]
async fn c14_a_build_says_by_whom_and_for_which_revisions_it_was_asked_for() {
    let scene = scene_with(deciding("tool", LOOKS)).await;
    let serving = scene.controller();
    serving.controller.start(Pipeline::OnSchedule, "schedule").await.unwrap();
    scene.push("docs(tool): marker [skip tool]", &[Change::put("tool/marker", "two\n")]).await;
    serving.controller.start(Pipeline::OnCommit, "webhook").await.unwrap();
    serving.controller.start(Pipeline::OnSchedule, "schedule").await.unwrap();
    let asked_of_newest = async || {
        let id = newest(&scene.store(), "tool").await.to_string();
        serving.controller.build(&id).await.unwrap().unwrap().asked.expect("its run is on record")
    };
    let asked = serde_json::to_value(asked_of_newest().await).unwrap();
    let before = scene.monorepo.id("refs/tags/scheduled").await.unwrap();
    assert_eq!(
        asked,
        json!({
            "pipeline": "on-schedule",
            "trigger": "schedule",
            "why": "its .CI/changed.sh says that it has to be built",
            "before": before,
            "watched": {"by": "script", "before": [], "after": [], "seen_before": "one", "seen_after": "two"},
        })
    );
    serving.controller.start(deploy("tool"), "ctl").await.unwrap();
    let asked = asked_of_newest().await;
    assert_eq!((asked.pipeline.as_str(), asked.trigger.as_str()), ("deploy", "ctl"));
    assert_eq!((asked.why.as_deref(), asked.watched), (Some("somebody asked for it"), None));
    scene.ends().await;
}
