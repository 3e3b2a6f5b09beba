//! A second opinion on GitHub: the life of a review on `emulate`, which was written by other people. It has no repository
//! behind it, so what pushes do is not seen there.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use pkgwarden::domain::name::Oid;
use pkgwarden::domain::review::{Permission, Stage, Status, Thread, Vote, Wanted};
use pkgwarden::forge::github::{GitHub, Identity};
use pkgwarden::forge::{Forge, ForgeError};
use pkgwarden::sys::clock::SystemClock;
use pkgwarden::sys::process::{Child, Program};
use serde_json::{Value, json};
use tokio::io::AsyncBufReadExt as _;

use super::stage::wanted;
use crate::support::node::services;

const SEED: &str = "tokens:\n  token-of-keeper:\n    login: keeper\n    scopes: [repo, user]\ngithub:\n  users:\n\
    \x20   - login: keeper\n    - login: mira\n    - login: pia\n  repos:\n    - owner: keeper\n      name: packages\n\
    \x20     auto_init: true\n      default_branch: main\n";

/// A running emulator with one project.
struct Emulator {
    url: String,
    http: reqwest::Client,
    _child: Child,
    _dir: tempfile::TempDir,
}

impl Emulator {
    async fn start() -> Self {
        let tools = services();
        let dir = tempfile::tempdir().unwrap();
        let seed = dir.path().join("seed.yaml");
        std::fs::write(&seed, SEED).unwrap();
        // Another test may take the port in between; then the next one is tried.
        for _ in 0..5 {
            let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let url = format!("http://127.0.0.1:{port}");
            let (port, seed) = (port.to_string(), seed.display().to_string());
            let program = Program::new(tools.join("node_modules/.bin/node"))
                .arg(tools.join("node_modules/emulate/dist/index.js"))
                .args(["start", "-s", "github", "-p", &port, "--seed", &seed, "--base-url", &url])
                .current_dir(dir.path());
            let mut child = program.spawn().expect("node starts");
            let http = pkgwarden::sys::http::client(Duration::from_secs(10));
            if is_ready(&mut child).await {
                return Self { url, http, _child: child, _dir: dir };
            }
        }
        panic!("emulate does not start");
    }

    /// Something that people do, over its own API.
    async fn does(&self, method: reqwest::Method, path: &str, body: Value) -> Value {
        let request = self.http.request(method, format!("{}/repos/keeper/packages{path}", self.url));
        let response = request.bearer_auth("token-of-keeper").json(&body).send().await.unwrap();
        let (status, text) = (response.status(), response.text().await.unwrap());
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    /// A branch with one commit on top of `main`.
    async fn branch(&self, name: &str) -> Oid {
        let main = self.does(reqwest::Method::GET, "/git/ref/heads/main", Value::Null).await;
        let new = json!({"ref": format!("refs/heads/{name}"), "sha": main["object"]["sha"]});
        self.does(reqwest::Method::POST, "/git/refs", new).await;
        let content = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("pkgver={name}\n"));
        let file = json!({"message": "Update", "content": content, "branch": name});
        let made = self.does(reqwest::Method::PUT, &format!("/contents/{name}/PKGBUILD"), file).await;
        made["commit"]["sha"].as_str().expect("a commit").parse().expect("an id")
    }
}

/// Whether it says that it is ready, and does not end before. What it says later is read, too, so that it can go on.
async fn is_ready(child: &mut Child) -> bool {
    let mut lines = tokio::io::BufReader::new(child.stdout().unwrap()).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        if line.contains("Ready.") {
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return true;
        }
    }
    false
}

/// What was tried, and what it showed.
#[derive(Default)]
struct Table(Vec<(&'static str, String)>);

impl Table {
    fn agrees(&mut self, what: &'static str) {
        self.0.push((what, "agrees".to_owned()));
    }

    /// What it lacks is shown, and is no fault of ours.
    fn lacks<T>(&mut self, what: &'static str, answer: Result<T, ForgeError>) {
        match answer {
            Ok(_) => self.agrees(what),
            Err(error) => self.0.push((what, format!("emulate lacks it: {error}"))),
        }
    }
}

/// A review without anybody to care for it, whom emulate takes of issues only.
fn unassigned(branch: &str) -> Wanted {
    Wanted { assignees: BTreeSet::new(), ..wanted(branch) }
}

#[tokio::test]
async fn the_life_of_a_review_is_the_same_for_other_people() {
    let emulator = Emulator::start().await;
    let token = Identity::Token("token-of-keeper".to_owned().into());
    let api = emulator.url.parse().unwrap();
    let forge: Arc<dyn Forge> = Arc::new(GitHub::new(api, "keeper/packages", token, Arc::new(SystemClock)));
    let mut table = Table::default();
    assert_eq!(forge.me().await.unwrap(), "keeper");
    table.agrees("who we are");
    opened_updated_and_merged(&emulator, forge.as_ref(), &mut table).await;
    closed(&emulator, forge.as_ref(), &mut table).await;
    said(forge.as_ref(), &mut table).await;

    println!("\nGitHub, emulate 0.12.2 (npm)");
    for (what, shown) in &table.0 {
        println!("{what:<60} {shown}");
    }
    let lacking: Vec<_> = table.0.iter().filter(|(_, shown)| shown != "agrees").map(|(what, _)| *what).collect();
    assert_eq!(
        lacking,
        ["a branch has one review", "people who care for a review", "statuses of commits", "who closed a review"]
    );
}

async fn opened_updated_and_merged(emulator: &Emulator, forge: &dyn Forge, table: &mut Table) {
    let head = emulator.branch("update-foo").await;
    let opened = forge.open(unassigned("update-foo")).await.unwrap();
    assert_eq!((opened.head, &opened.stage), (head, &Stage::Open));
    assert!(opened.labels.contains("update") && opened.reviewers.contains("pia"), "{opened:?}");
    table.agrees("a review is opened, with its labels and reviewers");
    // GitHub refuses it, and then the one that is there is found.
    match forge.open(unassigned("update-foo")).await.unwrap().number {
        again if again == opened.number => table.agrees("a branch has one review"),
        again => table.0.push(("a branch has one review", format!("emulate opens another, number {again}"))),
    }
    let newer = Wanted { title: "Update foo to 3".to_owned(), ..unassigned("update-foo") };
    assert_eq!(forge.update(opened.number, newer).await.unwrap().title, "Update foo to 3");
    let listed = forge.reviews(Timestamp::UNIX_EPOCH).await.unwrap();
    assert!(listed.iter().any(|seen| seen.number == opened.number && seen.title == "Update foo to 3"), "{listed:?}");
    table.agrees("it is updated in place, and listed");
    table.lacks("people who care for a review", forge.update(opened.number, wanted("update-foo")).await);
    for text in ["One.", "Two."] {
        forge.say(Thread::Review(opened.number), "key".to_owned(), text.to_owned()).await.unwrap();
    }
    let comments = forge.comments(Thread::Review(opened.number), Timestamp::UNIX_EPOCH).await.unwrap();
    assert!(comments.len() == 1 && comments[0].text.starts_with("Two."), "{comments:?}");
    table.agrees("one comment is edited");
    let (context, summary) = ("pkgwarden/foo".to_owned(), "so".to_owned());
    let status = Status { commit: head, context, vote: Vote::Success, summary, url: None, pipeline: None };
    table.lacks("statuses of commits", forge.tell(status).await);
    let other: Oid = "1".repeat(40).parse().unwrap();
    assert!(matches!(forge.merge(opened.number, other).await, Err(ForgeError::Conflict { .. })));
    forge.merge(opened.number, head).await.unwrap();
    assert_eq!(forge.review(opened.number).await.unwrap().stage, Stage::Merged);
    table.agrees("it is merged only at the head that was looked at");
}

async fn closed(emulator: &Emulator, forge: &dyn Forge, table: &mut Table) {
    emulator.branch("update-bar").await;
    let number = forge.open(unassigned("update-bar")).await.unwrap().number;
    for _ in 0..2 {
        forge.close(number, "Obsolete.".to_owned()).await.unwrap();
    }
    let shown = emulator.does(reqwest::Method::GET, &format!("/pulls/{number}"), Value::Null).await;
    assert_eq!(shown["state"], "closed");
    assert_eq!(forge.comments(Thread::Review(number), Timestamp::UNIX_EPOCH).await.unwrap().len(), 1);
    table.agrees("it is closed once, with its reason");
    table.lacks("who closed a review", forge.review(number).await);
    assert!(matches!(forge.review(999).await, Err(ForgeError::Missing { .. })));
    table.agrees("what is not there is missing");
}

async fn said(forge: &dyn Forge, table: &mut Table) {
    assert_eq!(forge.permission("keeper".to_owned()).await.unwrap(), Permission::Admin);
    assert_eq!(forge.permission("nobody-here".to_owned()).await.unwrap(), Permission::Read);
    table.agrees("who may do what");
    let mut numbers = Vec::new();
    for body in ["one", "two"] {
        numbers.push(forge.issue("board".to_owned(), "Packages".to_owned(), body.to_owned()).await.unwrap());
    }
    assert_eq!(numbers[0], numbers[1]);
    assert!(forge.own_issue("board".to_owned()).await.unwrap().is_some_and(|issue| issue.body.starts_with("two")));
    table.agrees("one issue is kept");
}
