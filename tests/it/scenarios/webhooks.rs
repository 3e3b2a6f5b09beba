//! What a forge delivers is seen to at once, once, and not lost; what it does not deliver is found all the same.

use nix::sys::signal::Signal;
use pkgwarden::app::serve::{self, Running};
use pkgwarden::domain::event::EventKind;
use pkgwarden::store::Store;
use serde_json::json;
use tokio::task::JoinSet;

use crate::support::hooked::{SECRET, Webhook, push, sign};
use crate::support::scene::MAIN;
use crate::support::{Pkg, Scene};

const SCHEDULED: &str = "refs/tags/scheduled";
const NOTHING: &str = "0000000000000000000000000000000000000000";

/// A scene with a program that takes webhooks, and the webhook.
async fn hooked(kind: &str, poll: &str) -> (Scene, Running, Webhook) {
    let mut scene = Scene::of(&[Pkg::new("foo")]).await;
    scene.hooked(kind, poll);
    let running = serve::start(&scene.settings(), scene.monorepo.path(), scene.clock.clone()).await.unwrap();
    let webhook = Webhook::to(&format!("http://{}", running.address));
    webhook.first_look().await;
    (scene, running, webhook)
}

/// Waits until everything that people committed has been handed out.
async fn handed_out(scene: &Scene) {
    while scene.monorepo.id(MAIN).await != scene.monorepo.id(SCHEDULED).await {
        tokio::task::yield_now().await;
    }
}

/// Waits until every delivery that wakes has been seen to.
async fn seen_to(store: &Store) {
    while store.last_open_delivery("packages", &EventKind::WAKING).await.unwrap().is_some() {
        tokio::task::yield_now().await;
    }
}

/// What started each run, oldest first.
async fn causes(store: &Store) -> Vec<String> {
    let mut runs = store.runs(None, None, 1000).await.unwrap();
    runs.reverse();
    runs.into_iter().map(|run| run.cause).collect()
}

/// The delivery of a push of which nobody knows anything: what arrives has to differ.
fn some_push(number: usize) -> serde_json::Value {
    push(NOTHING, &format!("{:040x}", number + 1))
}

#[tokio::test]
async fn a_push_that_is_delivered_is_seen_to_at_once_and_only_once() {
    let (scene, running, webhook) = hooked("github", "1h").await;
    let store = running.controller.store().clone();
    let tip = scene.push("feat(foo): two", &Pkg::new("foo").release("2").changes()).await;
    let (taken, known) = (json!({"delivery": "taken"}), json!({"delivery": "known"}));
    assert_eq!(webhook.deliver("a", "push", &push(NOTHING, &tip)).await, (202, taken));
    handed_out(&scene).await;
    seen_to(&store).await;

    assert_eq!(webhook.deliver("a", "push", &push(NOTHING, &tip)).await, (202, known.clone()), "delivered again");
    assert_eq!(webhook.deliver("b", "push", &push(NOTHING, &tip)).await, (202, known), "replayed as another");
    assert_eq!(store.last_open_delivery("packages", &EventKind::WAKING).await.unwrap(), None);
    running.drain().await.unwrap();
    assert_eq!(causes(&store).await, ["webhook"]);
    scene.ends().await;
}

#[tokio::test]
async fn a_delivery_that_is_lost_is_made_up_for_by_looking_now_and_then() {
    let (scene, running, webhook) = hooked("github", "1s").await;
    let store = running.controller.store().clone();
    let tip = scene.push("feat(foo): two", &Pkg::new("foo").release("2").changes()).await;
    webhook.loses(1);
    assert_eq!(webhook.deliver("a", "push", &push(NOTHING, &tip)).await.0, 0);
    handed_out(&scene).await;
    running.drain().await.unwrap();
    assert_eq!(causes(&store).await, ["poll"]);
    scene.ends().await;
}

#[tokio::test]
async fn the_delivery_after_a_lost_one_brings_both() {
    let (scene, running, webhook) = hooked("github", "1h").await;
    let store = running.controller.store().clone();
    webhook.loses(1);
    for (id, release) in [("a", "2"), ("b", "3")] {
        let tip = scene.push("feat(foo): more", &Pkg::new("foo").release(release).changes()).await;
        let _ = webhook.deliver(id, "push", &push(NOTHING, &tip)).await;
    }
    handed_out(&scene).await;
    seen_to(&store).await;
    running.drain().await.unwrap();
    assert_eq!(causes(&store).await, ["webhook"]);
    scene.ends().await;
}

#[tokio::test]
async fn a_burst_of_500_pushes_becomes_few_runs() {
    let (scene, running, webhook) = hooked("github", "1h").await;
    let store = running.controller.store().clone();
    let begun = tokio::time::Instant::now();
    for round in 0..20 {
        scene.push("feat(foo): more", &Pkg::new("foo").release(&format!("{}", round + 2)).changes()).await;
        let mut deliveries = JoinSet::new();
        for number in round * 25..(round + 1) * 25 {
            let webhook = webhook.clone();
            deliveries.spawn(async move { webhook.deliver(&number.to_string(), "push", &some_push(number)).await.0 });
        }
        assert!(deliveries.join_all().await.iter().all(|status| *status == 202));
    }
    handed_out(&scene).await;
    seen_to(&store).await;
    // One a second at most, and the one that was under way.
    let most = begun.elapsed().as_secs() + 2;
    running.drain().await.unwrap();
    let runs = causes(&store).await;
    assert!(!runs.is_empty() && runs.len() as u64 <= most, "{} runs in {most} s", runs.len());
    scene.ends().await;
}

#[tokio::test]
async fn what_was_taken_before_it_was_killed_is_seen_to_by_the_next_one() {
    let mut scene = Scene::of(&[Pkg::new("foo")]).await;
    scene.hooked("github", "1h");
    let (place, hidden, config) = (scene.path("packages.git"), scene.path("hidden.git"), scene.path("pkgwarden.toml"));
    std::fs::write(&config, format!("[[repository]]\nname = \"packages\"\nurl = \"{}\"\n", place.display())).unwrap();
    let args = ["-v", "--config", config.to_str().unwrap()];
    let mut first = scene.serve(&args, &[]);
    let listening = first.says("listening on").await;
    let webhook = Webhook::to(listening.split_once("listening on ").unwrap().1.trim_end_matches('/'));
    webhook.first_look().await;
    let tip = scene.push("feat(foo): two", &Pkg::new("foo").release("2").changes()).await;
    std::fs::rename(&place, &hidden).unwrap();
    assert_eq!(webhook.deliver("a", "push", &push(NOTHING, &tip)).await.0, 202);
    let comment = json!({"action": "created", "issue": {"number": 3, "pull_request": {}}, "sender": {"login": "alice"},
        "comment": {"id": 7, "body": "/pkgwarden rebuild"}});
    assert_eq!(webhook.deliver("b", "issue_comment", &comment).await.0, 202);
    first.signal(Signal::SIGKILL);
    assert_eq!(first.ended().await.0, None);
    std::fs::rename(&hidden, &place).unwrap();

    let store = scene.store();
    assert!(store.last_open_delivery("packages", &EventKind::WAKING).await.unwrap().is_some());
    let mut second = scene.serve(&args, &[]);
    second.says("listening on").await;
    handed_out(&scene).await;
    seen_to(&store).await;
    second.signal(Signal::SIGTERM);
    assert_eq!(second.ended().await.0, Some(0));
    assert_eq!(causes(&store).await.last().map(String::as_str), Some("webhook"));
    let comments = store.open_deliveries("packages", &[EventKind::Comment], 9).await.unwrap();
    assert_eq!(comments.len(), 1, "it waits for whoever answers comments");
    scene.ends().await;
}

#[tokio::test]
async fn a_remote_that_is_away_leaves_deliveries_for_the_next_look() {
    let (scene, running, webhook) = hooked("github", "1s").await;
    let store = running.controller.store().clone();
    let (place, hidden) = (scene.path("packages.git"), scene.path("hidden.git"));
    std::fs::rename(&place, &hidden).unwrap();
    assert_eq!(webhook.deliver("a", "push", &some_push(1)).await.0, 202);
    let kept = &running.controller;
    let mut error = None;
    while error.is_none() {
        let repositories = pkgwarden::controller::face::Face::repositories(kept).await.unwrap();
        error.clone_from(&repositories[0].error);
        tokio::task::yield_now().await;
    }
    assert!(store.last_open_delivery("packages", &EventKind::WAKING).await.unwrap().is_some(), "{error:?}");
    std::fs::rename(&hidden, &place).unwrap();
    seen_to(&store).await;
    running.drain().await.unwrap();
    scene.ends().await;
}

#[tokio::test]
async fn what_is_not_proven_is_refused_alike_and_what_is_wrong_is_said() {
    let (scene, running, webhook) = hooked("github", "1h").await;
    let body = some_push(1).to_string();
    let right = format!("sha256={}", sign(SECRET, body.as_bytes()));
    let wrong = format!("sha256={}", sign("another", body.as_bytes()));
    let mut answers = Vec::new();
    for headers in [vec![], vec![("x-hub-signature-256", wrong.as_str())], vec![("x-hub-signature-256", "sha256=")]] {
        let (status, mut problem) = webhook.send(&headers, body.clone()).await;
        assert_eq!(status, 403);
        problem["request_id"] = json!("");
        answers.push(problem);
    }
    answers.dedup();
    insta::assert_json_snapshot!(answers, @r#"
    [
      {
        "detail": "the delivery is not signed as it has to be",
        "hint": "compare the secret of the webhook with the file that forge.webhook_secret_file names",
        "request_id": "",
        "status": 403,
        "title": "Forbidden",
        "type": "about:blank"
      }
    ]
    "#);
    let (status, problem) = webhook.deliver("c", "push", &json!({"ref": "refs/heads/main"})).await;
    let unreadable = "the event `push` cannot be read: missing field `before` at line 1 column 25";
    assert_eq!((status, problem["detail"].as_str()), (422, Some(unreadable)));
    let large = vec![b' '; (25 << 20) + 1];
    assert_eq!(webhook.send(&[("x-hub-signature-256", &right)], large).await.0, 413);

    let client = pkgwarden::sys::http::client(std::time::Duration::from_mins(1));
    let url = format!("http://{}/hooks", running.address);
    let statuses = [
        client.get(format!("{url}/packages")).send().await.unwrap().status(),
        client.post(format!("{url}/other")).body("{}").send().await.unwrap().status(),
        client.post(format!("{url}/packages")).body("payload=%7B%7D").send().await.unwrap().status(),
    ];
    assert_eq!(statuses.map(|status| status.as_u16()), [405, 404, 415]);
    running.drain().await.unwrap();
    scene.ends().await;
}

#[tokio::test]
async fn each_forge_signs_in_its_own_way_and_local_ones_deliver_nothing() {
    let body = some_push(1).to_string();
    let signature = sign(SECRET, body.as_bytes());
    let hub = format!("sha256={signature}");
    let all: [(&str, &str); 3] =
        [("x-hub-signature-256", hub.as_str()), ("x-gitlab-token", SECRET), ("x-gitea-signature", signature.as_str())];
    for (kind, accepted) in [("github", Some(0)), ("gitlab", Some(1)), ("gitea", Some(2)), ("local", None)] {
        let (scene, running, webhook) = hooked(kind, "1h").await;
        for (place, proof) in all.into_iter().enumerate() {
            let (status, answer) =
                webhook.send(&[proof, ("x-gitea-event", "push"), ("x-github-event", "push")], body.clone()).await;
            let expected = match accepted {
                Some(accepted) if accepted == place => 202,
                Some(_) => 403,
                None => 404,
            };
            assert_eq!(status, expected, "{kind} {proof:?}: {answer}");
        }
        running.drain().await.unwrap();
        scene.ends().await;
    }
}

#[tokio::test]
async fn a_secret_is_changed_while_it_runs() {
    let (scene, running, webhook) = hooked("github", "1h").await;
    let deliver = async |secret: &str, number: usize| {
        let body = some_push(number).to_string();
        let signature = format!("sha256={}", sign(secret, body.as_bytes()));
        webhook.send(&[("x-hub-signature-256", &signature), ("x-github-event", "push")], body).await.0
    };
    scene.secrets(&["new", SECRET]);
    assert_eq!(deliver("new", 1).await, 403, "nothing was read again yet");
    running.reconfigure(&scene.settings());
    assert_eq!([deliver("new", 2).await, deliver(SECRET, 3).await], [202, 202]);
    scene.secrets(&[]);
    running.reconfigure(&scene.settings());
    assert_eq!(deliver("new", 4).await, 202, "an empty file changes nothing");
    scene.secrets(&["new"]);
    running.reconfigure(&scene.settings());
    assert_eq!([deliver("new", 5).await, deliver(SECRET, 6).await], [202, 403]);
    running.drain().await.unwrap();
    scene.ends().await;
}
