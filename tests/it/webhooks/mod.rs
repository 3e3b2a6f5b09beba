//! What forges deliver, as they say themselves: every example of GitHub's from the npm package
//! `@octokit/webhooks-examples`, those of GitLab and Gitea from `fixtures/webhooks`.

mod examples;

use std::collections::BTreeMap;

use pkgwarden::domain::event::{CheckState, CommentAction, Event, EventKind, ReviewAction};
use pkgwarden::forge::webhook::Headers;
use pkgwarden::forge::{gitea, github, gitlab};
use serde_json::Value;

use examples::{Example, written_out};

/// What GitHub calls the events that are used.
const USED: [&str; 9] = [
    "check_run",
    "check_suite",
    "issue_comment",
    "issues",
    "ping",
    "pull_request",
    "pull_request_review",
    "push",
    "status",
];

fn text<'a>(payload: &'a Value, pointer: &str) -> &'a str {
    payload.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("no {pointer} in {payload}"))
}

fn number(payload: &Value, pointer: &str) -> u64 {
    payload.pointer(pointer).and_then(Value::as_u64).unwrap_or_else(|| panic!("no {pointer} in {payload}"))
}

/// Compares what was read of an example with what stands in it.
fn agrees(event: &Event, payload: &Value) {
    match event {
        Event::Push(push) => {
            assert_eq!(push.name, text(payload, "/ref"));
            let zeros = "0".repeat(40);
            let written = |id: Option<pkgwarden::domain::name::Oid>| id.map_or(zeros.clone(), |id| id.to_string());
            assert_eq!(written(push.before), text(payload, "/before"));
            assert_eq!(written(push.after), text(payload, "/after"));
        }
        Event::Review(review) => {
            assert_eq!(review.number, number(payload, "/pull_request/number"));
            assert_eq!(review.branch, text(payload, "/pull_request/head/ref"));
            assert_eq!(review.base, text(payload, "/pull_request/base/ref"));
            assert_eq!(review.by, text(payload, "/sender/login"));
            let head = if payload.get("review").is_some() { "/review/commit_id" } else { "/pull_request/head/sha" };
            assert_eq!(review.head.expect("a commit").to_string(), text(payload, head));
            let merged = payload.pointer("/pull_request/merged") == Some(&Value::Bool(true));
            let ended = match (text(payload, "/action"), merged) {
                ("closed", true) => Some(ReviewAction::Merged),
                ("closed", false) => Some(ReviewAction::Closed),
                _ => None,
            };
            let says_ended = matches!(review.action, ReviewAction::Merged | ReviewAction::Closed);
            assert_eq!(says_ended.then_some(review.action), ended);
        }
        Event::Comment(comment) => {
            assert_eq!(comment.id, number(payload, "/comment/id"));
            assert_eq!(comment.number, number(payload, "/issue/number"));
            assert_eq!(comment.text, text(payload, "/comment/body"));
            assert_eq!(comment.author, text(payload, "/sender/login"));
            assert_eq!(comment.on_review, payload.pointer("/issue/pull_request").is_some());
            let action = match text(payload, "/action") {
                "edited" => CommentAction::Edited,
                "deleted" => CommentAction::Deleted,
                _ => CommentAction::Created,
            };
            assert_eq!(comment.action, action);
        }
        Event::Issue(issue) => {
            assert_eq!(issue.number, number(payload, "/issue/number"));
            assert_eq!(issue.edited, text(payload, "/action") == "edited");
            assert_eq!(issue.by, text(payload, "/sender/login"));
        }
        Event::Check(check) => {
            let heads = ["/check_run/head_sha", "/check_suite/head_sha", "/sha"];
            let head = heads.iter().find_map(|pointer| payload.pointer(pointer)).expect("a commit");
            assert_eq!(Some(check.head.to_string().as_str()), head.as_str());
            let said = ["/check_run/conclusion", "/check_suite/conclusion", "/state"];
            let said = said.iter().find_map(|pointer| payload.pointer(pointer)).expect("a state");
            assert_eq!(check.state == CheckState::Success, said == "success");
            assert_eq!(check.state == CheckState::Failure, said == "failure");
            assert_eq!(check.again, payload.get("action").is_some_and(|action| action == "rerequested"));
        }
        Event::Ping => assert!(payload.get("zen").is_some()),
        Event::Other { .. } => {}
    }
}

#[test]
fn every_example_of_github_is_read() {
    let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
    let (mut examples, mut others) = (0, 0);
    for Example { server, event: name, payload } in examples::github() {
        let body = serde_json::to_vec(&payload).unwrap();
        let event = github::webhook::parse(&name, &body).unwrap_or_else(|error| panic!("{server} {name}: {error}"));
        agrees(&event, &payload);
        assert_eq!(USED.contains(&name.as_str()), event.kind() != EventKind::Other, "{server} {name}");
        examples += 1;
        if event.kind() == EventKind::Other {
            others += 1;
        } else if server == "api.github.com" {
            *counts.entry((name, event.kind().as_str().to_owned())).or_default() += 1;
        }
    }
    assert!(
        others > 100 && examples - others > 100,
        "{examples} examples, {others} of them of events that are not used"
    );
    let table: Vec<_> = counts.iter().map(|((name, kind), count)| format!("{name}: {count} x {kind}")).collect();
    insta::assert_snapshot!(table.join("\n"), @"
    check_run: 9 x check
    check_suite: 9 x check
    issue_comment: 9 x comment
    issues: 29 x issue
    ping: 4 x ping
    pull_request: 29 x review
    pull_request_review: 4 x review
    push: 7 x push
    status: 4 x check
    ");
}

/// One event a line, as the record keeps it.
fn told(events: impl Iterator<Item = Event>) -> String {
    events.map(|event| serde_json::to_string(&event).unwrap() + "\n").collect()
}

#[test]
fn the_examples_that_gitlab_documents_are_read() {
    let events = written_out("gitlab").into_iter().map(|Example { event, payload, .. }| {
        let headers = [("X-Gitlab-Event".to_owned(), event)];
        gitlab::webhook::event(Headers::new(&headers), &serde_json::to_vec(&payload).unwrap()).unwrap()
    });
    insta::assert_snapshot!(told(events), @r#"
    {"kind":"push","ref":"refs/heads/master","before":"95790bf891e76fee5e1747ab589903a6a1f80f22","after":"da1560886d4f094c3e6c9ef40349f7d38b5d27d7"}
    {"kind":"push","ref":"refs/tags/v1.0.0","before":null,"after":"82b3d5ae55f7080f1e6022629cdb57bfae7cccc7"}
    {"kind":"other","name":"Note Hook"}
    {"kind":"comment","number":1,"on_review":true,"id":1244,"action":"created","author":"root","text":"This MR needs work."}
    {"kind":"comment","number":17,"on_review":false,"id":1241,"action":"created","author":"root","text":"Hello world"}
    {"kind":"other","name":"Note Hook"}
    {"kind":"review","number":1,"action":"opened","branch":"ms-viewport","base":"master","head":"da1560886d4f094c3e6c9ef40349f7d38b5d27d7","by":"root"}
    {"kind":"issue","number":23,"edited":true,"by":"root"}
    {"kind":"check","head":"bcbb5ec396a2c0f828686f14fac9b80b780504f2","name":"pipeline","state":"success","again":false}
    {"kind":"check","head":"2293ada6b400935a1378653304eaf6221e0fdb8f","name":"test","state":"pending","again":false}
    {"kind":"other","name":"Deployment Hook"}
    "#);
}

/// The values that the page lists for `object_attributes.action`, and `oldrev`, which is there if the branch moved.
#[test]
fn every_action_that_gitlab_documents_has_its_meaning() {
    use ReviewAction::{Approved, Changed, Closed, Merged, Opened, Reopened, Unapproved, Updated};
    let example = written_out("gitlab").into_iter().find(|example| example.event == "Merge Request Hook").unwrap();
    let action = |action: &str, moved: bool| {
        let mut payload = example.payload.clone();
        payload["object_attributes"]["action"] = action.into();
        if moved {
            payload["object_attributes"]["oldrev"] = "95790bf891e76fee5e1747ab589903a6a1f80f22".into();
        }
        match gitlab::webhook::event(Headers::new(&[]), &serde_json::to_vec(&payload).unwrap()).unwrap() {
            Event::Review(review) => review.action,
            other => panic!("{other:?}"),
        }
    };
    let meanings = [
        ("open", Opened),
        ("close", Closed),
        ("reopen", Reopened),
        ("update", Changed),
        ("approved", Approved),
        ("unapproved", Unapproved),
        ("approval", Approved),
        ("unapproval", Unapproved),
        ("merge", Merged),
    ];
    for (word, meaning) in meanings {
        assert_eq!(action(word, false), meaning, "{word}");
    }
    assert_eq!(action("update", true), Updated);
}

#[test]
fn the_examples_of_gitea_are_read() {
    let events = written_out("gitea").into_iter().map(|Example { event, payload, .. }| {
        gitea::webhook::parse(&event, &serde_json::to_vec(&payload).unwrap()).unwrap()
    });
    insta::assert_snapshot!(told(events), @r#"
    {"kind":"push","ref":"refs/heads/develop","before":"28e1879d029cb852e4844d9c718537df08844e03","after":"bffeb74224043ba2feb48d137756c8a9331c449a"}
    {"kind":"review","number":2,"action":"opened","branch":"update-foo","base":"main","head":"48e773f892a831faa47c0a160d1b7f0cd369ae2a","by":"carla"}
    {"kind":"review","number":2,"action":"merged","branch":"refs/pull/2/head","base":"main","head":null,"by":"dora"}
    {"kind":"review","number":2,"action":"approved","branch":"update-foo","base":"main","head":"48e773f892a831faa47c0a160d1b7f0cd369ae2a","by":"dora"}
    {"kind":"comment","number":2,"on_review":true,"id":77,"action":"created","author":"dora","text":"/pkgwarden approve"}
    {"kind":"issue","number":3,"edited":true,"by":"dora"}
    {"kind":"check","head":"48e773f892a831faa47c0a160d1b7f0cd369ae2a","name":"ci/build","state":"failure","again":false}
    {"kind":"other","name":"release"}
    "#);
}
