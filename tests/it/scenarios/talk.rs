//! What people ask for in comments, and tick on the dashboard: told once and true on every forge.

use jiff::SignedDuration;
use pkgwarden::app::serve;
use pkgwarden::domain::build::Outcome;
use pkgwarden::domain::event::{Event, EventKind, Issue};
use pkgwarden::domain::plan::Pipeline;
use pkgwarden::store::attempts::{AttemptEnd, AttemptEnding};
use pkgwarden::store::deliveries::NewDelivery;
use serde_json::json;

use crate::support::forges::KEEPER;
use crate::support::forges::world::Kind;
use crate::support::hooked::{SECRET, Webhook, sign};
use crate::support::hosting::{Host, ME};
use crate::support::scene::{MAIN, base};
use crate::support::{Pkg, Scene};

const REVIEW: &str = "refs/heads/update-foo";

/// Tells a story on every forge. `foo` is kept, version 1.1 of it waits for a person, and the program has looked.
async fn everywhere(story: impl AsyncFn(Scene, Host)) {
    for kind in [None, Some(Kind::GitHub), Some(Kind::GitLab), Some(Kind::Gitea)] {
        let (scene, host) = beginning(kind).await;
        story(scene, host).await;
    }
}

async fn beginning(kind: Option<Kind>) -> (Scene, Host) {
    let mut scene = Scene::with_aur().await;
    scene.keeps(&[Pkg::from_aur("foo")]).await;
    let host = match kind {
        Some(kind) => Host::fake(&mut scene, kind).await,
        None => Host::memory(&mut scene),
    };
    released(&scene, "1.1").await;
    assert_eq!(host.open(&scene).await, "update-foo 1.1\n");
    // So long that a comment without a commit can mean nothing else.
    scene.clock.advance(SignedDuration::from_mins(15));
    (scene, host)
}

/// A version that a person has to look at is released, and the program has looked.
async fn released(scene: &Scene, version: &str) {
    scene.aur_release(&Pkg::from_aur("foo").version(version).built_by("make install")).await;
    scene.run(Pipeline::OnSchedule).await;
}

/// Looks some more times, and proves that nothing more comes of it.
async fn nothing_more(scene: &Scene, host: &Host) {
    let before = (scene.builds().await, scene.monorepo.refs().await, host.answers_given().await);
    for _ in 0..3 {
        scene.later();
        scene.run(Pipeline::OnCommit).await;
    }
    assert_eq!((scene.builds().await, scene.monorepo.refs().await, host.answers_given().await), before);
}

/// How often a build of `foo` was asked for.
async fn builds_of_foo(scene: &Scene) -> usize {
    scene.builds().await.lines().filter(|line| line.starts_with("foo ")).count()
}

#[tokio::test]
async fn a_maintainer_approves_in_a_comment_and_it_is_merged_and_built_once() {
    everywhere(async |scene, host| {
        let before = builds_of_foo(&scene).await;
        let id = host.says(&scene, "mira", "I have read it.\r\n\r\n/pkgwarden approve").await;
        scene.run(Pipeline::OnCommit).await;
        assert_eq!((host.open(&scene).await, scene.monorepo.id(REVIEW).await), (String::new(), None));
        let message = scene.monorepo.git(&["log", "-1", "--format=%b", MAIN]).await;
        assert!(message.contains("approved by mira"), "{message}");
        assert_eq!(builds_of_foo(&scene).await, before + 1);
        let answers = host.answers_given().await;
        assert_eq!(answers.len(), 1);
        assert!(answers[0].starts_with("- `/pkgwarden approve` by `mira`: done\n"), "{answers:?}");
        assert!(answers[0].contains("built now: `foo`"), "{answers:?}");
        let causes: Vec<_> =
            scene.store().runs(None, None, 9).await.unwrap().into_iter().map(|run| run.cause).collect();
        assert!(causes.contains(&format!("comment {id} by mira: foo")), "{causes:?}");
        nothing_more(&scene, &host).await;
        scene.ends().await;
    })
    .await;
}

#[tokio::test]
async fn a_stranger_is_refused_and_may_ask() {
    everywhere(async |scene, host| {
        host.says(&scene, "otto", "/pkgwarden approve\n/pkgwarden explain").await;
        scene.run(Pipeline::OnCommit).await;
        assert_eq!(host.open(&scene).await, "update-foo 1.1\n");
        let answers = host.answers_given().await;
        assert_eq!(answers.len(), 1);
        assert!(answers[0].contains("`/pkgwarden approve` by `otto`: refused: `otto` may not push"), "{answers:?}");
        assert!(answers[0].contains("an update waits at `"), "{answers:?}");
        nothing_more(&scene, &host).await;
        scene.ends().await;
    })
    .await;
}

#[tokio::test]
async fn what_is_quoted_does_nothing_and_neither_does_what_the_program_says_itself() {
    everywhere(async |scene, host| {
        host.says(&scene, "mira", "> /pkgwarden approve\n\nI would not.\n\n```\n/pkgwarden approve\n```").await;
        let me = if let Host::Fake(_) = &host { KEEPER } else { ME };
        host.says(&scene, me, "/pkgwarden approve").await;
        scene.run(Pipeline::OnCommit).await;
        assert_eq!(host.open(&scene).await, "update-foo 1.1\n");
        assert_eq!(host.answers_given().await, [""; 0]);
        scene.ends().await;
    })
    .await;
}

#[tokio::test]
async fn two_commands_have_one_answer_that_is_edited() {
    everywhere(async |scene, host| {
        let before = builds_of_foo(&scene).await;
        host.says(&scene, "mira", "/pkgwarden depoly foo").await;
        scene.run(Pipeline::OnCommit).await;
        let answers = host.answers_given().await;
        assert!(answers[0].contains("there is no command `depoly`; did you mean `deploy`?"), "{answers:?}");
        scene.later();
        host.says(&scene, "pia", "/pkgwarden deploy\n/pkgwarden hold --reason it is odd").await;
        scene.run(Pipeline::OnCommit).await;
        let answers = host.answers_given().await;
        assert_eq!(answers.len(), 1);
        let heads: Vec<_> = answers[0].lines().filter(|line| line.starts_with("- ")).collect();
        let begins = [
            "- `/pkgwarden hold --reason it is odd` by `pia`: ",
            "- `/pkgwarden deploy` by `pia`: ",
            "- `/pkgwarden depoly foo`",
        ];
        assert_eq!(heads.len(), 3, "{answers:?}");
        assert!(heads.iter().zip(begins).all(|(head, begin)| head.starts_with(begin)), "{answers:?}");
        assert_eq!(builds_of_foo(&scene).await, before + 1);
        let held = scene.monorepo.git(&["grep", "-h", "it is odd (pia)", "refs/heads/state"]).await;
        assert!(!held.is_empty());
        nothing_more(&scene, &host).await;
        scene.ends().await;
    })
    .await;
}

#[tokio::test]
async fn what_was_pushed_after_a_comment_is_not_approved_by_it() {
    everywhere(async |scene, host| {
        host.says(&scene, "mira", "/pkgwarden approve").await;
        released(&scene, "1.2").await;
        assert_eq!(host.open(&scene).await, "update-foo 1.2\n");
        let answers = host.answers_given().await;
        assert!(answers[0].contains("its review has changed since the comment was written"), "{answers:?}");
        // Nor what was pushed while somebody read.
        scene.clock.advance(SignedDuration::from_mins(14));
        host.says(&scene, "mira", "/pkgwarden approve").await;
        scene.run(Pipeline::OnCommit).await;
        assert_eq!(host.open(&scene).await, "update-foo 1.2\n");
        let ready = format!("/pkgwarden approve --head {}", scene.monorepo.id(REVIEW).await.unwrap());
        let answers = host.answers_given().await;
        assert!(
            answers[0].contains(&format!(
                "or less than 15 minutes before: look at it again; for what is there now, write `{ready}`"
            )),
            "{answers:?}"
        );
        host.says(&scene, "mira", &ready).await;
        scene.run(Pipeline::OnCommit).await;
        assert_eq!(host.open(&scene).await, "");
        scene.ends().await;
    })
    .await;
}

#[tokio::test]
async fn what_somebody_made_of_a_comment_is_not_heard() {
    everywhere(async |scene, host| {
        let id = host.says(&scene, "mira", "I have not read it yet.").await;
        scene.later();
        host.rewrites(&scene, id, "/pkgwarden approve").await;
        host.says(&scene, "otto", "It waits.").await;
        scene.run(Pipeline::OnCommit).await;
        assert_eq!(host.open(&scene).await, "update-foo 1.1\n");
        let answers = host.answers_given().await;
        assert!(answers[0].contains("the comment was changed after it was written"), "{answers:?}");
        scene.ends().await;
    })
    .await;
}

#[tokio::test]
async fn what_was_asked_while_the_forge_was_away_is_done_later_and_once() {
    everywhere(async |scene, host| {
        let before = builds_of_foo(&scene).await;
        host.says(&scene, "mira", "/pkgwarden deploy").await;
        host.answers(false).await;
        scene.run(Pipeline::OnCommit).await;
        assert_eq!(builds_of_foo(&scene).await, before);
        host.answers(true).await;
        scene.later();
        scene.run(Pipeline::OnCommit).await;
        assert_eq!((builds_of_foo(&scene).await, host.answers_given().await.len()), (before + 1, 1));
        nothing_more(&scene, &host).await;
        scene.ends().await;
    })
    .await;
}

/// Two reviews; what is written below that of `foo` cannot be read or said.
#[tokio::test]
async fn a_thread_that_cannot_be_read_holds_up_no_other() {
    let mut scene = Scene::with_aur().await;
    scene.keeps(&[Pkg::from_aur("bar"), Pkg::from_aur("foo")]).await;
    let host = Host::memory(&mut scene);
    let Host::Memory(forge) = &host else { unreachable!("it is in memory") };
    for name in ["bar", "foo"] {
        scene.aur_release(&Pkg::from_aur(name).version("1.1").built_by("make install")).await;
    }
    scene.run(Pipeline::OnSchedule).await;
    let reviews = ["bar", "foo"].map(|name| format!("update-{name}"));
    let foo = forge.review(&reviews[1]).await.map(|seen| seen.number);
    scene.later();
    let told = |name: &str| forge.comments(&format!("update-{name}")).join("\n");
    let ask = |what: &str| {
        for review in &reviews {
            forge.edit(review, |seen| seen.updated_at = scene.now());
            forge.is_written_to(review, "mira", what);
        }
    };
    forge.is_endless(foo);
    ask("/pkgwarden help");
    scene.run(Pipeline::OnCommit).await;
    assert!(told("bar").contains("`/pkgwarden help` by `mira`: "), "{}", told("bar"));
    assert!(!told("foo").contains("by `mira`"), "{}", told("foo"));
    forge.is_endless(None);
    scene.later();
    scene.run(Pipeline::OnCommit).await;
    assert!(told("foo").contains("`/pkgwarden help` by `mira`: "), "{}", told("foo"));

    forge.takes_changes(false);
    ask("/pkgwarden explain");
    scene.run(Pipeline::OnCommit).await;
    forge.takes_changes(true);
    for (endless, waits) in [(foo, true), (None, false)] {
        forge.is_endless(endless);
        scene.later();
        scene.run(Pipeline::OnCommit).await;
        let waiting = ["bar", "foo"].map(|name| !told(name).contains("`/pkgwarden explain` by `mira`: "));
        assert_eq!(waiting, [false, waits]);
    }
    scene.ends().await;
}

#[tokio::test]
async fn a_comment_of_before_it_listened_is_not_heard() {
    let mut scene = Scene::with_aur().await;
    scene.keeps(&[Pkg::from_aur("foo")]).await;
    let host = Host::memory(&mut scene);
    let hosted = scene.hosted.take();
    released(&scene, "1.1").await;
    scene.hosted = hosted;
    let Host::Memory(forge) = &host else { unreachable!("it is in memory") };
    let wanted = pkgwarden::domain::review::Wanted {
        branch: "update-foo".to_owned(),
        base: "main".to_owned(),
        title: String::new(),
        body: String::new(),
        labels_off: [].into(),
        labels: [].into(),
        assignees: [].into(),
        reviewers: [].into(),
    };
    pkgwarden::forge::Forge::open(forge.as_ref(), wanted).await.unwrap();
    host.says(&scene, "mira", "/pkgwarden approve").await;
    scene.later();
    for _ in 0..3 {
        scene.run(Pipeline::OnCommit).await;
        scene.later();
    }
    assert_eq!(host.open(&scene).await, "update-foo 1.1\n");
    assert_eq!(host.answers_given().await, [""; 0]);
    scene.ends().await;
}

/// The build of `foo` that is ready is begun, and fails.
async fn fails(scene: &Scene) {
    let store = scene.store();
    let build = store.last_builds("packages", &base("foo"), 1).await.unwrap().remove(0);
    let attempt = store.begin_attempt(build.id, "test", scene.now()).await.unwrap();
    store.attempt_started(&attempt, scene.now()).await.unwrap();
    let message = "build() failed, see @mira".to_owned();
    let ending = AttemptEnding::Done(Outcome::Failed);
    store
        .finish_attempt(&attempt, AttemptEnd { ending, exit_code: Some(4), message, log_length: 0 }, scene.now())
        .await
        .unwrap();
}

#[tokio::test]
async fn the_dashboard_is_kept_in_place_and_its_boxes_act_once() {
    everywhere(async |mut scene, host| {
        assert_eq!(host.board().await, None, "nobody asked for one");
        scene.env.insert("PKGWARDEN__POLICY__DASHBOARD__ENABLED".to_owned(), "true".to_owned());
        scene.run(Pipeline::OnSchedule).await;
        let board = host.board().await.unwrap();
        assert!(
            board.contains("### Updates that wait for a person\n\n- `foo`, review, since 2026-05-01: <http"),
            "{board}"
        );
        assert!(!board.contains("### Failing"), "{board}");

        host.says(&scene, "mira", "/pkgwarden deploy").await;
        scene.run(Pipeline::OnCommit).await;
        fails(&scene).await;
        scene.run(Pipeline::OnCommit).await;
        let board = host.board().await.unwrap();
        assert!(board.contains("- `foo`, failed on 2026-05-01: `build() failed, see @mira`"), "{board}");

        let before = builds_of_foo(&scene).await;
        host.ticks(&scene, "rebuild foo").await;
        scene.later();
        for _ in 0..3 {
            scene.run(Pipeline::OnCommit).await;
            assert_eq!(builds_of_foo(&scene).await, before + 1);
        }
        let board = host.board().await.unwrap();
        assert!(!board.contains("[x]") && !board.contains("### Failing"), "{board}");
        assert!(board.contains("### Done from here\n\n- `rebuild foo`, 2026-05-01 "), "{board}");
        assert!(board.contains("built now: `foo`"), "{board}");

        host.says_on_board("pia", "/pkgwarden hold\n/pkgwarden hold foo").await;
        scene.later();
        scene.run(Pipeline::OnCommit).await;
        let answers = host.answers_on_board().await;
        assert_eq!(answers.len(), 1);
        assert!(answers[0].contains("`/pkgwarden hold` by `pia`: name the packages"), "{answers:?}");
        let board = host.board().await.unwrap();
        assert!(board.contains("### Out of service\n\n- `foo`: "), "{board}");
        scene.ends().await;
    })
    .await;
}

/// A forge that delivers says who changed the text.
#[tokio::test]
async fn a_tick_of_somebody_who_may_not_push_is_refused_where_the_forge_tells_who_it_was() {
    everywhere(async |mut scene, host| {
        scene.env.insert("PKGWARDEN__POLICY__DASHBOARD__ENABLED".to_owned(), "true".to_owned());
        scene.run(Pipeline::OnCommit).await;
        let number = host.board_number().await;
        let delivery = |by: &str, digest: u8| NewDelivery {
            repository: "packages".to_owned(),
            id: digest.to_string(),
            digest: [digest; 32],
            event: Event::Issue(Issue { number, edited: true, by: by.to_owned() }),
        };
        for (by, digest, refused) in [("otto", 1, true), ("pia", 2, false)] {
            host.ticks(&scene, "run").await;
            scene.store().record_deliveries(vec![delivery(by, digest)], scene.now()).await.unwrap();
            let before = scene.store().runs(None, None, 99).await.unwrap().len();
            scene.run(Pipeline::OnCommit).await;
            let board = host.board().await.unwrap();
            assert!(board.contains("UTC: refused: `otto` may not push"), "{board}");
            let runs = scene.store().runs(None, None, 99).await.unwrap().len() - before;
            assert_eq!(runs == 1, refused, "{runs} runs: {board}");
            assert_eq!(scene.store().last_open_delivery("packages", &EventKind::ASKING).await.unwrap(), None);
            scene.later();
        }
        scene.ends().await;
    })
    .await;
}

/// What does not change is not written again.
#[tokio::test]
async fn a_dashboard_that_says_the_same_is_left_alone() {
    let (mut scene, host) = beginning(None).await;
    scene.env.insert("PKGWARDEN__POLICY__DASHBOARD__ENABLED".to_owned(), "true".to_owned());
    for _ in 0..2 {
        scene.run(Pipeline::OnSchedule).await;
    }
    let Host::Memory(forge) = &host else { unreachable!("it is in memory") };
    forge.told();
    for _ in 0..3 {
        scene.later();
        scene.run(Pipeline::OnSchedule).await;
    }
    assert_eq!(forge.told(), "");
    scene.ends().await;
}

/// How a forge tells of a comment: headers and body.
fn told_of(kind: Kind, number: u64, comment: u64) -> (Vec<(&'static str, String)>, String) {
    let text = "/pkgwarden approve";
    let (headers, body) = match kind {
        Kind::GitHub => (
            vec![("x-github-event", "issue_comment".to_owned())],
            json!({"action": "created", "issue": {"number": number, "pull_request": {}}, "sender": {"login": "mira"},
                   "comment": {"id": comment, "body": text}}),
        ),
        Kind::GitLab => (
            vec![("x-gitlab-event", "Note Hook".to_owned()), ("x-gitlab-token", SECRET.to_owned())],
            json!({"object_kind": "note", "user": {"username": "mira"}, "merge_request": {"iid": number},
                   "object_attributes": {"id": comment, "note": text, "noteable_type": "MergeRequest", "action": "create"}}),
        ),
        Kind::Gitea => (
            vec![("x-gitea-event", "issue_comment".to_owned())],
            json!({"action": "created", "issue": {"number": number, "pull_request": {}}, "is_pull": true,
                   "sender": {"login": "mira"}, "comment": {"id": comment, "body": text}}),
        ),
    };
    let (mut headers, body) = (headers, body.to_string());
    let signature = sign(SECRET, body.as_bytes());
    headers.push(("x-hub-signature-256", format!("sha256={signature}")));
    headers.push(("x-gitea-signature", signature));
    (headers, body)
}

#[tokio::test]
async fn a_comment_that_is_delivered_twice_and_found_as_well_is_obeyed_at_once_and_once() {
    for kind in [Kind::GitHub, Kind::GitLab, Kind::Gitea] {
        let (mut scene, host) = beginning(Some(kind)).await;
        let name = scene.env["PKGWARDEN__FORGE__KIND"].clone();
        scene.hooked(&name, "1h");
        let running = serve::start(&scene.settings(), scene.monorepo.path(), scene.clock.clone()).await.unwrap();
        let webhook = Webhook::to(&format!("http://{}", running.address));
        let Host::Fake(fake) = &host else { unreachable!("it is a fake") };
        let number = Host::newest(fake, "update-foo").await.unwrap().number;
        let comment = host.says(&scene, "mira", "/pkgwarden approve").await;
        let (headers, body) = told_of(kind, number, comment);
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        for delivery in ["a", "b"] {
            let headers =
                [headers.as_slice(), &[("x-github-delivery", delivery), ("x-gitea-delivery", delivery)]].concat();
            assert_eq!(webhook.send(&headers, body.clone()).await.0, 202);
        }
        let store = running.controller.store().clone();
        while host.answers_given().await.is_empty()
            || store.last_open_delivery("packages", &[EventKind::Comment]).await.unwrap().is_some()
        {
            tokio::task::yield_now().await;
        }
        running.drain().await.unwrap();
        assert_eq!(host.open(&scene).await, "", "{kind:?}");
        let merged = scene.monorepo.git(&["log", "--format=%s", "--grep=approved by mira", MAIN]).await;
        assert_eq!(merged.lines().count(), 1, "{kind:?}: {merged}");
        let runs = store.runs(None, None, 99).await.unwrap();
        let runs: Vec<_> = runs.iter().filter(|run| run.pipeline == "approve").map(|run| run.cause.as_str()).collect();
        assert_eq!(runs, [format!("comment {comment} by mira: foo")], "{kind:?}");
        nothing_more(&scene, &host).await;
        scene.ends().await;
    }
}

/// Between any two steps the program is killed, and another one goes on.
#[cfg(feature = "failpoints")]
#[tokio::test]
async fn a_command_is_obeyed_once_although_the_program_is_killed() {
    for point in
        ["apply.intent-recorded", "apply.pushed", "apply.settled", "talk.acted", "talk.remembered", "talk.said"]
    {
        let (scene, host) = beginning(Some(Kind::GitHub)).await;
        let before = builds_of_foo(&scene).await;
        scene.later();
        host.says(&scene, "mira", "/pkgwarden rebuild").await;
        let run = async |fail_points: &str| {
            let args = ["run", "on-commit"];
            let ran = scene.pkgwarden_in(scene.monorepo.path(), &args, &[("FAILPOINTS", fail_points)]).await;
            (ran.code, ran.stderr)
        };
        let (code, heard) = run(&format!("{point}=return")).await;
        assert_eq!(code, None, "killed at {point}: {heard}");
        for _ in 0..2 {
            let (code, heard) = run("").await;
            assert_eq!(code, Some(0), "after {point}: {heard}");
        }
        assert_eq!(builds_of_foo(&scene).await, before + 1, "{point}");
        let answers = host.answers_given().await;
        assert_eq!(answers.len(), 1, "{point}: {answers:?}");
        assert_eq!(answers[0].lines().filter(|line| line.starts_with("- ")).count(), 1, "{point}: {answers:?}");
        std::fs::remove_dir_all(scene.path("tmp")).unwrap();
        std::fs::create_dir(scene.path("tmp")).unwrap();
        scene.ends().await;
    }
}
