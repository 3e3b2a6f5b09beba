//! `ctl` against a served world, over the unix socket and over TCP.

use super::*;
use crate::controller::face::Face as _;
use crate::domain::build::BuildState;
use crate::http::world::{World, garden, oid};
use crate::http::{UnixSocket, serve};

#[derive(clap::Parser)]
struct Cli {
    #[command(flatten)]
    ctl: CtlArgs,
}

fn args(line: &str) -> CtlArgs {
    use clap::Parser as _;
    Cli::try_parse_from(std::iter::once("ctl").chain(line.split(' '))).unwrap().ctl
}

/// A directory with the socket of a served world in it.
async fn over_socket(world: &std::sync::Arc<World>) -> Surroundings {
    let data_dir = tempfile::tempdir().unwrap().keep();
    let socket = UnixSocket::bind(&socket_path(&data_dir)).await.unwrap();
    let server = world.server(None);
    tokio::spawn(async move { serve(&server, None, Some(socket)).await });
    Surroundings { data_dir, token: None, json: false, colour: false }
}

async fn ctl(around: &Surroundings, line: &str) -> (anyhow::Result<Ending>, String) {
    let mut out = Vec::new();
    let ending = run(args(line), around, &mut out).await;
    (ending, String::from_utf8(out).unwrap())
}

async fn says(around: &Surroundings, line: &str) -> String {
    let (ending, out) = ctl(around, line).await;
    ending.unwrap_or_else(|error| panic!("{line}: {error:#}"));
    out
}

#[tokio::test]
async fn over_the_socket_everything_can_be_asked_and_told_without_a_token() {
    let world = garden();
    let around = over_socket(&world).await;
    let status = says(&around, "status").await;
    assert!(status.contains("garden · main at 1a1a1a1a1a") && status.contains("sundial"), "{status}");
    insta::assert_snapshot!(says(&around, "queue").await.lines().map(|line| line.split_whitespace().take(3).collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join("\n"), @"
    ID PACKAGE STATE
    b3 trellis running
    b4 pergola blocked
    b5 arbour waiting
    ");
    assert!(says(&around, "builds --package hedge").await.contains("A failure occurred"));
    assert!(says(&around, "build b2").await.contains("attempt b2.1: failed"));
    for line in [
        "retry b2",
        "release pergola",
        "run on-schedule",
        "run on-commit",
        "trigger nightly",
        "bump hedge",
        "pause",
        "resume",
        "deploy mulch hedge/heavy",
        "cancel b3",
    ] {
        let (ending, _) = ctl(&around, line).await;
        ending.unwrap_or_else(|error| panic!("{line}: {error:#}"));
    }
    let asked = world.read(|state| state.asked.clone());
    assert_eq!(asked.len(), 10);
    assert_eq!(asked.last().unwrap(), "cancel b3");
}

#[tokio::test]
async fn a_review_is_read_and_decided() {
    let world = garden();
    let around = over_socket(&world).await;
    assert!(says(&around, "review list").await.contains("trust"));
    insta::assert_snapshot!(says(&around, "review show sundial").await, @"
    sundial 1.4.2-1 → 1.5.0-1
    update-sundial at eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee

    [trust] the source comes from another host (PKGBUILD:9)

    PKGBUILD (changed)
    @@ -1,2 +1,2 @@
    -pkgver=1.4.2
    -source=(https://example.org/a.tar.gz)
    +pkgver=1.5.0
    +source=(https://example.net/a.tar.gz)
    ");
    let (stale, _) = ctl(&around, &format!("review approve sundial --head {}", oid(1))).await;
    assert!(stale.unwrap_err().to_string().contains("has moved"));
    let (approved, _) = ctl(&around, &format!("review approve sundial --head {}", oid(0xee))).await;
    // The run it answers with has an error among its problems.
    assert_eq!(approved.unwrap(), Ending::NeedsAPerson);
    assert!(says(&around, "review list").await.contains("No update waits"));
}

#[tokio::test]
async fn logs_are_copied_and_cannot_steer_the_terminal() {
    let world = garden();
    world.write("b3.1", b"\x1b]0;owned\x07\x1b[2J\rlast\n");
    world.logs().finish("b3.1").unwrap();
    let mut around = over_socket(&world).await;
    let plain = says(&around, "logs b3 -f").await;
    assert!(plain.ends_with("␛]0;owned␇\nlast\n"), "{plain:?}");
    assert!(!plain.contains('\u{1b}'));
    around.colour = true;
    assert!(says(&around, "logs hedge").await.contains("\u{1b}[1m\u{1b}[38;5;2m==>\u{1b}[0m"));
}

#[tokio::test]
async fn json_is_the_apis() {
    let world = garden();
    let mut around = over_socket(&world).await;
    around.json = true;
    let queue: serde_json::Value = serde_json::from_str(&says(&around, "queue").await).unwrap();
    assert_eq!(queue["underway"][0]["id"], "b3");
}

#[tokio::test]
async fn waiting_ends_with_the_builds_and_says_if_one_failed() {
    let world = garden();
    let around = over_socket(&world).await;
    // The run names trellis and arbour.
    world.set_state("b3", BuildState::Succeeded, None);
    world.set_state("b5", BuildState::Failed, None);
    let (ending, out) = ctl(&around, "deploy trellis --wait").await;
    assert_eq!(ending.unwrap(), Ending::BuildsFailed);
    assert!(out.contains("succeeded") && out.contains("failed"), "{out}");
}

#[tokio::test]
async fn over_tcp_the_token_is_sent() {
    let world = garden();
    let served = world.serve(Some("hunter22")).await;
    let empty = tempfile::tempdir().unwrap();
    let mut around = Surroundings { data_dir: empty.path().into(), token: None, json: false, colour: false };
    let line = format!("--url {} pause", served.url);
    let (refused, _) = ctl(&around, &line).await;
    assert!(refused.unwrap_err().to_string().contains("PKGWARDEN_TOKEN"));
    around.token = Some("hunter22".into());
    assert!(says(&around, &line).await.contains("paused"));
}

#[tokio::test]
async fn if_nobody_answers_the_error_says_what_to_start_or_set() {
    let unused = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let empty = tempfile::tempdir().unwrap();
    let around = Surroundings { data_dir: empty.path().into(), token: None, json: false, colour: false };
    let (refused, _) = ctl(&around, &format!("--url http://{unused} status")).await;
    let message = refused.unwrap_err().to_string();
    assert!(message.contains("pkgwarden serve") && message.contains("PKGWARDEN_URL"), "{message}");
    let (wrong, _) = ctl(&around, "--url nonsense status").await;
    assert!(wrong.unwrap_err().to_string().contains("http://HOST:PORT"));
    // A socket that nobody listens on any more.
    drop(tokio::net::UnixListener::bind(socket_path(empty.path())).unwrap());
    let (stale, _) = ctl(&around, "status").await;
    assert!(stale.unwrap_err().to_string().contains("control.sock"));
}

#[tokio::test]
async fn a_package_that_was_never_built_has_no_log_and_that_is_said() {
    let around = over_socket(&garden()).await;
    let (missing, _) = ctl(&around, "logs mulch").await;
    assert!(missing.unwrap_err().to_string().contains("has not been built yet"));
    let (unknown, _) = ctl(&around, "logs nothing").await;
    assert!(unknown.unwrap_err().to_string().contains("there is no build `nothing`"));
}
