//! Everything that is said to a forge, and everything that the forges of these tests answer, compared with the forges'
//! own descriptions.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use pkgwarden::domain::review::{Status, Thread, Vote, Wanted};
use pkgwarden::forge::Forge;
use pkgwarden::forge::github::{GitHub, Identity};

use super::stage::{KINDS, Stage, wanted};
use crate::support::forges::PROJECT;
use crate::support::forges::description::Description;
use crate::support::forges::world::Kind;

/// A file below the root of the project.
fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// What describes a forge, and where it is from.
fn descriptions(kind: Kind) -> Vec<(&'static str, Description)> {
    let open_api = |name: &str| Description::open_api(&file("target/forges-1").join(name));
    match kind {
        Kind::GitHub => vec![("GitHub, OpenAPI of @octokit/openapi 23.0.2 (npm)", open_api("github.json"))],
        Kind::GitLab => {
            let examples = Description::examples(&file("fixtures/forges/gitlab.json"));
            vec![("GitLab, documented examples of docs.gitlab.com", examples)]
        }
        Kind::Gitea => vec![
            ("Gitea, Swagger of gitea-sdk 0.6.3 (crates.io)", open_api("gitea.json")),
            ("Forgejo, Swagger of forgejo-api 0.12.0 (crates.io)", open_api("forgejo.json")),
        ],
    }
}

/// Everything that can be asked of a forge, once as it should be and once where it is refused.
async fn everything(stage: &Stage, forge: &dyn Forge) {
    let begin = Timestamp::UNIX_EPOCH;
    let commit = stage.push("update-foo", "pkgver=2\n").await;
    stage.push("update-bar", "pkgver=2\n").await;
    stage.push("update-gone", "pkgver=2\n").await;
    let first = forge.open(wanted("update-foo")).await.unwrap().number;
    forge.open(wanted("update-foo")).await.unwrap();
    assert!(forge.open(wanted("update-nowhere")).await.is_err());
    let second = forge.open(wanted("update-bar")).await.unwrap().number;
    let third = forge.open(wanted("update-gone")).await.unwrap().number;
    let mut newer = wanted("update-foo");
    "Another".clone_into(&mut newer.title);
    newer.labels.insert("major".to_owned());
    newer.assignees.insert("pia".to_owned());
    newer.reviewers.extend(["mira".to_owned(), "nobody-here".to_owned()]);
    forge.update(first, newer).await.unwrap();
    stage.fake.world().await.approves("pia", first, true);
    for text in ["One.", "Two."] {
        forge.say(Thread::Review(first), "key".to_owned(), text.to_owned()).await.unwrap();
    }
    forge.comments(Thread::Review(first), begin).await.unwrap();
    for who in ["mira", "otto", "nobody-here"] {
        forge.permission(who.to_owned()).await.unwrap();
    }
    stage.fake.world().await.offers("otto", "theirs", "Mend", &commit.to_string()).await;
    forge.offers().await.unwrap();
    for vote in [Vote::Pending, Vote::Failure] {
        let (context, summary, url) = ("x".to_owned(), "so".to_owned(), Some("https://ci.example/1".to_owned()));
        let pipeline = (vote == Vote::Failure).then_some(17);
        forge.tell(Status { commit, context, vote, summary, url, pipeline }).await.unwrap();
    }
    for body in ["one", "two"] {
        let number = forge.issue("board".to_owned(), "Packages".to_owned(), body.to_owned()).await.unwrap();
        forge.say(Thread::Issue(number), "key".to_owned(), body.to_owned()).await.unwrap();
        forge.comments(Thread::Issue(number), begin).await.unwrap();
    }
    forge.own_issue("board".to_owned()).await.unwrap();
    forge.review(first).await.unwrap();
    let mut renamed = Wanted { labels_off: ["major".to_owned()].into(), ..wanted("update-foo") };
    "Renamed".clone_into(&mut renamed.title);
    forge.update(first, renamed).await.unwrap();
    assert!(forge.merge(first, stage.push("elsewhere", "x\n").await).await.is_err());
    forge.merge(first, commit).await.unwrap();
    assert!(forge.review(999).await.is_err());
    forge.close(second, "Obsolete.".to_owned()).await.unwrap();
    stage.delete("update-gone").await;
    forge.reviews(begin).await.unwrap();
    assert!(third > second);
}

#[tokio::test]
async fn everything_said_fits_to_what_the_forges_describe() {
    let mut wrong = Vec::new();
    for kind in KINDS {
        let stage = Stage::of(kind).await;
        everything(&stage, stage.forge.as_ref()).await;
        if kind == Kind::GitHub {
            as_an_app(&stage).await;
        }
        let exchanges = stage.fake.exchanges().await;
        for (name, description) in descriptions(kind) {
            println!("\n{name}\n{:<74} {:>8}  answers", "endpoint used", "requests");
            for (endpoint, row) in description.compare(&exchanges) {
                let answers: Vec<_> = row.answers.iter().map(|(status, times)| format!("{status}×{times}")).collect();
                let mark = if row.faults.is_empty() { "validated" } else { "WRONG" };
                println!("{endpoint:<74} {:>8}  {} {mark}", row.requests, answers.join(" "));
                wrong.extend(row.faults.into_iter().map(|fault| format!("{name}: {endpoint}: {fault}")));
            }
        }
    }
    wrong.sort();
    wrong.dedup();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What a GitHub App asks beside that.
async fn as_an_app(stage: &Stage) {
    let api = stage.fake.api_url().parse().unwrap();
    let key = super::app::key().await;
    let app = GitHub::new(api, PROJECT, Identity::App { id: 7, key: key.into() }, stage.clock.clone());
    let app: Arc<dyn Forge> = Arc::new(app);
    assert_eq!(app.me().await.unwrap(), "keeper-app[bot]");
    app.offers().await.unwrap();
    let commit = stage.push("update-checked", "pkgver=2\n").await;
    for vote in [Vote::Pending, Vote::Failure, Vote::Pending] {
        let (context, summary, url) = ("x".to_owned(), "so".to_owned(), Some("https://ci.example/1".to_owned()));
        app.tell(Status { commit, context, vote, summary, url, pipeline: None }).await.unwrap();
    }
}
