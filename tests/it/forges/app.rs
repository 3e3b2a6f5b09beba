//! A GitHub App in place of somebody with a token.

use jiff::Timestamp;
use pkgwarden::domain::review::{Status, Vote};
use pkgwarden::forge::github::{GitHub, Identity};
use pkgwarden::forge::{Forge as _, ForgeError};
use pkgwarden::sys::clock::{Clock as _, SystemClock};
use pkgwarden::sys::process::Program;

use super::stage::{Stage, wanted};
use crate::support::forges::PROJECT;
use crate::support::forges::http::Trouble;
use crate::support::forges::world::Kind;

/// A private key as GitHub makes them for apps.
pub async fn key() -> String {
    let made = Program::new("openssl").args(["genrsa", "-traditional", "2048"]).run().await.expect("openssl runs");
    assert!(made.status.success(), "openssl: {}", made.stderr_text());
    String::from_utf8(made.stdout).expect("PEM")
}

async fn app(stage: &Stage) -> GitHub {
    let identity = Identity::App { id: 7, key: key().await.into() };
    GitHub::new(stage.fake.api_url().parse().unwrap(), PROJECT, identity, stage.clock.clone())
}

#[tokio::test]
async fn an_app_acts_through_its_installation_in_the_project() {
    let stage = Stage::of(Kind::GitHub).await;
    stage.push("update-foo", "pkgver=2\n").await;
    let app = app(&stage).await;
    assert_eq!(app.me().await.unwrap(), "keeper-app[bot]");
    let mut wanted = wanted("update-foo");
    wanted.assignees.clear();
    wanted.reviewers.clear();
    assert_eq!(app.open(wanted).await.unwrap().author, "keeper-app[bot]");
    app.reviews(Timestamp::UNIX_EPOCH).await.unwrap();
    let told = stage.fake.told().await;
    let tokens = told.iter().filter(|line| line.ends_with("/access_tokens 201")).count();
    assert_eq!(tokens, 1, "a token is asked for once: {told:?}");
}

#[tokio::test]
async fn what_an_app_says_of_a_commit_is_a_check_run() {
    let stage = Stage::of(Kind::GitHub).await;
    let (app, commit) = (app(&stage).await, stage.push("update-foo", "pkgver=2\n").await);
    let status = |vote, summary: &str| Status {
        commit,
        context: "pkgwarden/foo".to_owned(),
        vote,
        summary: summary.to_owned(),
        url: Some("https://ci.example/builds/7".to_owned()),
        pipeline: None,
    };
    for _ in 0..2 {
        app.tell(status(Vote::Pending, "It is queued")).await.unwrap();
        app.tell(status(Vote::Failure, "It does not build")).await.unwrap();
        app.tell(status(Vote::Failure, "It does not build")).await.unwrap();
    }
    let told: Vec<_> = stage.fake.told().await;
    let changed: Vec<_> = told.iter().filter(|it| it.contains("/check-runs") && !it.starts_with("GET")).collect();
    let methods: Vec<_> = changed.iter().map(|it| it.split(' ').next().unwrap_or_default()).collect();
    assert_eq!(methods, ["POST", "PATCH", "POST", "PATCH"], "one that ended does not begin again: {changed:?}");
    let world = stage.fake.world().await;
    let beside: Vec<_> =
        world.statuses(&commit.to_string()).iter().map(|it| (it.state.clone(), it.summary.clone())).collect();
    assert_eq!(beside, [("failure".to_owned(), "It does not build".to_owned())]);
    drop(world);
    let nowhere = Status { commit: "1".repeat(40).parse().unwrap(), ..status(Vote::Success, "") };
    assert!(app.tell(nowhere).await.is_err());
}

#[tokio::test]
async fn a_token_that_ran_out_is_asked_for_again() {
    let stage = Stage::of(Kind::GitHub).await;
    let app = app(&stage).await;
    app.offers().await.unwrap();
    stage.fake.spoils("GET", "/pulls", Trouble::status(401), 1).await;
    app.offers().await.unwrap();
    let told = stage.fake.told().await;
    assert_eq!(told.iter().filter(|line| line.ends_with("/access_tokens 201")).count(), 2, "{told:?}");
}

/// A token is good for an hour. One that is about to end is not used any more.
#[tokio::test]
async fn a_token_is_renewed_before_it_ends() {
    let stage = Stage::of(Kind::GitHub).await;
    // What ends is told by the clock of this machine, whatever the stage says.
    for (minutes, tokens) in [(60, 1), (0, 2)] {
        let until = SystemClock.now() + jiff::SignedDuration::from_mins(minutes) + jiff::SignedDuration::from_secs(20);
        stage.fake.world().await.tokens_until = Some(until);
        let app = app(&stage).await;
        stage.fake.told().await;
        for _ in 0..2 {
            app.offers().await.unwrap();
        }
        let told = stage.fake.told().await;
        let asked = told.iter().filter(|line| line.ends_with("/access_tokens 201")).count();
        assert_eq!(asked, tokens, "{minutes} minutes: {told:?}");
    }
}

#[tokio::test]
async fn an_app_that_is_not_installed_or_has_no_key_says_so() {
    let stage = Stage::of(Kind::GitHub).await;
    stage.fake.spoils("GET", "/installation", Trouble::status(404), 1).await;
    let error = app(&stage).await.offers().await.unwrap_err();
    assert_eq!(error.to_string().split(" has no ").nth(1), Some("installation of the app in them/packages"));
    let identity = Identity::App { id: 7, key: "no key\n".into() };
    let app = GitHub::new(stage.fake.api_url().parse().unwrap(), PROJECT, identity, stage.clock.clone());
    let error = app.offers().await.unwrap_err();
    assert!(matches!(error, ForgeError::Refused { .. }), "{error:?}");
    assert_eq!(error.hint(), Some("write the file that GitHub made for the app into forge.app_key_file"));
}
