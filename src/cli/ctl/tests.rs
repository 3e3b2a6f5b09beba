//! `ctl` against a served world, over the unix socket and over TCP.

use std::sync::Arc;

use super::socket_path;
use crate::cli::Exit;
use crate::cli::testing::{Ran, pkgwarden};
use crate::controller::face::Face as _;
use crate::controller::view::{GenerationView, ScriptView};
use crate::domain::build::BuildState;
use crate::domain::name::PkgBase;
use crate::http::world::{World, ago, garden, oid};
use crate::http::{UnixSocket, serve};

/// A served world, and how to reach it.
struct Remote {
    data_dir: tempfile::TempDir,
    env: Vec<(&'static str, String)>,
}

impl Remote {
    /// Nobody is there.
    fn nobody() -> Self {
        Self { data_dir: tempfile::tempdir().unwrap(), env: Vec::new() }
    }

    /// The world answers on the socket in the data directory.
    async fn over_socket(world: &Arc<World>) -> Self {
        let remote = Self::nobody();
        let socket = UnixSocket::bind(&socket_path(remote.data_dir.path())).await.unwrap();
        let server = world.server(None);
        tokio::spawn(async move { serve(&server, None, Some(socket)).await });
        remote
    }

    async fn ctl(&self, line: &str) -> Ran {
        let args: Vec<String> = ["ctl"].into_iter().chain(line.split(' ')).map(str::to_owned).collect();
        let mut env = self.env.clone();
        env.push(("PKGWARDEN__SERVER__DATA_DIR", self.data_dir.path().display().to_string()));
        let run = move || {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let env: Vec<_> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
            pkgwarden(&args, &env)
        };
        tokio::task::spawn_blocking(run).await.unwrap()
    }

    /// What a command prints that must not fail.
    async fn says(&self, line: &str) -> String {
        let ran = self.ctl(line).await;
        assert!(matches!(ran.exit, Exit::Done | Exit::NeedsPerson), "{line}: {}", ran.stderr);
        ran.stdout
    }

    /// What a command complains of that must fail.
    async fn complains(&self, line: &str) -> String {
        let ran = self.ctl(line).await;
        assert!(matches!(ran.exit, Exit::Failed | Exit::Usage), "{line}: {}", ran.stdout);
        ran.stderr
    }
}

#[tokio::test]
async fn over_the_socket_everything_can_be_asked_and_told_without_a_token() {
    let world = garden();
    let around = Remote::over_socket(&world).await;
    let status = around.says("status").await;
    assert!(status.contains("garden · main at 1a1a1a1a1a") && status.contains("sundial"), "{status}");
    assert!(status.contains("failed, and not tried again by itself") && status.contains("hedge"), "{status}");
    insta::assert_snapshot!(around.says("queue").await.lines().map(|line| line.split_whitespace().take(3).collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join("\n"), @"
    ID PACKAGE STATE
    b3 trellis running
    b4 pergola blocked
    b5 arbour waiting
    ");
    assert!(around.says("builds --package hedge").await.contains("A failure occurred"));
    for named in ["build b2", "build hedge"] {
        assert!(around.says(named).await.contains("attempt b2.1: failed"), "{named}");
    }
    let hedge = around.says("explain hedge").await;
    assert!(hedge.contains("1.4.2-1") && hedge.contains("A failure occurred"), "{hedge}");
    for line in [
        "retry b2",
        "release pergola",
        "run on-schedule",
        "run on-commit",
        "trigger nightly",
        "bump hedge",
        "add mulch/aur --origin github/42 --reason request",
        "drop hedge --reason broken",
        "pause",
        "resume",
        "deploy mulch hedge/heavy",
        "cancel b3",
    ] {
        around.says(line).await;
    }
    let asked = world.read(|state| state.asked.clone());
    assert_eq!(asked.len(), 12);
    assert_eq!(asked.last().unwrap(), "cancel b3");
}

/// Here they stay lost: none is tried twice all the same.
#[tokio::test]
async fn everything_that_was_lost_is_tried_again_at_once() {
    let world = garden();
    let around = Remote::over_socket(&world).await;
    assert_eq!(around.says("retry --lost").await, "No build that is the newest of its package is lost.\n");
    for id in ["b2", "b3", "b5"] {
        world.set_state(id, BuildState::Lost, None);
    }
    let told = around.says("retry --lost").await;
    assert!(["hedge", "trellis", "arbour"].iter().all(|package| told.contains(package)), "{told}");
    let mut asked = world.read(|state| state.asked.clone());
    asked.sort();
    assert_eq!(asked, ["retry b2", "retry b3", "retry b5"]);
}

#[tokio::test]
async fn a_build_that_succeeded_lists_what_is_published_of_it() {
    let world = garden();
    let around = Remote::over_socket(&world).await;
    let made = format!("made   hedge-1.4.2-1-any.pkg.tar.zst sha256 {}\n", "ab".repeat(32));
    let failed = around.says("build b2").await;
    assert!(!failed.contains("made "), "{failed}");
    world.set_state("b2", BuildState::Succeeded, None);
    let succeeded = around.says("build b2").await;
    assert!(succeeded.contains(&made), "{succeeded}");
    world.set_state("b3", BuildState::Succeeded, None);
    assert!(!around.says("build b3").await.contains("made "), "that is of another build");
}

#[tokio::test]
async fn what_a_run_found_wrong_can_be_read() {
    let world = garden();
    let problem = serde_json::json!({"severity": "warning", "pkgbase": "hedge", "message": "it has no maintainer\u{1b}[2J", "hint": "adopt it"});
    world.change(|state| {
        state.runs[0].run.summary = "1 problem".into();
        state.runs[0].document = serde_json::json!({"packages": [], "builds": [], "problems": [problem]});
    });
    let id = world.read(|state| state.runs[0].run.id.clone());
    let around = Remote::over_socket(&world).await;
    for listed in [around.says("runs").await, around.says("status").await, around.says("runs --limit 1").await] {
        assert!(listed.contains(&format!("`pkgwarden ctl runs {id}` shows what that run found wrong")), "{listed}");
    }
    let shown = around.says(&format!("runs {id}")).await;
    assert!(shown.contains(": 1 problem\n"), "{shown}");
    assert!(shown.contains("warning: hedge: it has no maintainer␛[2J; adopt it\n"), "{shown}");
    assert!(around.complains("runs r999").await.contains("r999"));
}

#[tokio::test]
async fn a_review_is_read_and_decided() {
    let world = garden();
    let around = Remote::over_socket(&world).await;
    assert!(around.says("review list").await.contains("trust"));
    insta::assert_snapshot!(around.says("review show sundial").await, @"
    sundial 1.4.2-1 → 1.5.0-1
    update-sundial at eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee
    compared tree 1111111111111111111111111111111111111111 with 2222222222222222222222222222222222222222

        chore(update): sundial

        Needs a person because:
        - the source comes from another host

    [trust] PKGBUILD:9: the source comes from another host

    PKGBUILD (changed)
    @@ -1,2 +1,2 @@
    -pkgver=1.4.2
    -source=(https://example.org/a.tar.gz)
    +pkgver=1.5.0
    +source=(https://example.net/a.tar.gz)
    ");
    let stale = around.complains(&format!("review approve sundial --head {}", oid(1))).await;
    assert!(stale.contains("has moved"), "{stale}");
    assert!(around.complains("review approve sundial --as a,b").await.contains("not a name"));
    let approved = around.ctl(&format!("review approve sundial --as alice --head {}", oid(0xee))).await;
    assert!(world.read(|state| state.asked.clone()).last().unwrap().contains("Person(\"alice\")"));
    // The run it answers with has an error among its problems.
    assert_eq!(approved.exit, Exit::NeedsPerson);
    assert!(around.says("review list").await.contains("No update waits"));
}

#[tokio::test]
async fn a_group_is_decided_about_at_once() {
    let world = garden();
    world.change(|state| {
        let mut other = state.reviews[0].clone();
        other.pkgbase = PkgBase::new("moondial").unwrap();
        state.reviews.push(other);
        state.reviews.iter_mut().for_each(|review| review.group = Some("dials".to_owned()));
    });
    let around = Remote::over_socket(&world).await;
    let listed = around.says("review list").await;
    assert_eq!(listed.matches("group dials: ").count(), 2, "{listed}");
    assert!(around.says("review show moondial").await.contains("\nin the group dials\n"));
    assert!(
        around
            .complains("review approve --group hands --as alice")
            .await
            .contains("nothing of the group `hands` waits")
    );
    let approved = around.ctl("review approve --group dials --as alice").await;
    assert_eq!(approved.exit, Exit::NeedsPerson, "as the worst of its runs");
    let asked = world.read(|state| state.asked.clone());
    assert!(["sundial", "moondial"].iter().all(|name| asked.iter().any(|it| it.contains(name))), "{asked:?}");
    assert!(around.says("review list").await.contains("No update waits"));
}

#[tokio::test]
async fn logs_are_copied_and_cannot_steer_the_terminal() {
    let world = garden();
    world.write("b3.1", b"\x1b]0;owned\x07\x1b[2J\rlast\n");
    world.logs().finish("b3.1").unwrap();
    let around = Remote::over_socket(&world).await;
    let plain = around.says("logs b3 -f").await;
    assert!(plain.ends_with("␛]0;owned␇\nlast\n"), "{plain:?}");
    assert!(!plain.contains('\u{1b}'));
    assert!(around.says("logs hedge").await.starts_with("==> Making package: hedge 1.4.2-1\n"));
}

#[tokio::test]
async fn what_a_script_printed_is_shown_and_a_package_without_one_says_so() {
    let world = garden();
    let last = "looking\n\u{1b}[2J\u{1b}[31mnothing new\n".to_owned();
    let script = ScriptView { ran: ago(90), size: last.len(), last };
    world.change(|state| state.packages.get_mut("hedge").unwrap().script = Some(script));
    let around = Remote::over_socket(&world).await;
    assert_eq!(around.says("logs hedge --script").await, "looking\nnothing new\n");
    let explained = around.says("explain hedge").await;
    assert!(explained.contains("`pkgwarden ctl logs hedge --script` shows what it printed"), "{explained}");
    let none = around.complains("logs trellis --script").await;
    assert!(none.contains("nothing is kept of a .CI/update.sh of `trellis`"), "{none}");
}

#[tokio::test]
async fn json_is_the_apis() {
    let world = garden();
    let around = Remote::over_socket(&world).await;
    let queue: serde_json::Value = serde_json::from_str(&around.says("queue --format json").await).unwrap();
    assert_eq!(queue["underway"][0]["id"], "b3");
    world.set_state("b3", BuildState::Succeeded, None);
    world.set_state("b5", BuildState::AlreadyBuilt, None);
    let waited: serde_json::Value =
        serde_json::from_str(&around.says("deploy trellis --wait --format json").await).unwrap();
    assert_eq!((&waited["pipeline"], &waited["builds"][0]["state"]), (&"deploy".into(), &"succeeded".into()));
}

#[tokio::test]
async fn waiting_ends_with_the_builds_and_says_if_one_failed() {
    let world = garden();
    let around = Remote::over_socket(&world).await;
    // The run names trellis and arbour.
    world.write("b3.1", b"nearly there\n");
    world.logs().finish("b3.1").unwrap();
    world.set_state("b3", BuildState::Succeeded, None);
    world.set_state("b5", BuildState::Failed, None);
    let ran = around.ctl("deploy trellis --follow").await;
    assert_eq!(ran.exit, Exit::Failed);
    for part in ["nearly there\n", "succeeded", "failed"] {
        assert!(ran.stdout.contains(part), "{part} is missing in {}", ran.stdout);
    }
}

#[tokio::test]
async fn over_tcp_the_token_is_sent() {
    let world = garden();
    let served = world.serve(Some("hunter22")).await;
    let mut around = Remote::nobody();
    around.env.push(("PKGWARDEN_URL", served.url.clone()));
    assert!(around.complains("pause").await.contains("PKGWARDEN_TOKEN"));
    around.env.push(("PKGWARDEN_TOKEN", "hunter22".into()));
    assert!(around.says("pause").await.contains("paused"));
}

#[tokio::test]
async fn without_a_socket_the_controller_is_where_the_configuration_has_it_listen() {
    let served = garden().serve(None).await;
    let mut around = Remote::nobody();
    around.env.push(("PKGWARDEN__SERVER__LISTEN", served.url.replace("http://", "")));
    assert!(around.says("status").await.contains("garden"));
    for (listen, address) in [("0.0.0.0:18099", "http://127.0.0.1:18099"), ("[::]:1", "http://[::1]:1")] {
        assert_eq!(super::address_of(listen.parse().unwrap()), address);
    }
}

#[tokio::test]
async fn deploy_takes_commas_and_refuses_what_is_no_class() {
    let world = garden();
    let around = Remote::over_socket(&world).await;
    around.says("deploy hedge,trellis/heavy").await;
    let refused = around.complains("deploy hedge/../../x").await;
    assert!(refused.contains("is no build class"), "{refused}");
    let asked = world.read(|state| state.asked.clone());
    assert_eq!(asked.len(), 1, "{asked:?}");
}

#[tokio::test]
async fn if_nobody_answers_the_error_says_what_to_start_or_set() {
    // Taken, so that nobody else comes to listen there.
    let taken = tokio::net::TcpSocket::new_v4().unwrap();
    taken.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let unused = taken.local_addr().unwrap();
    let around = Remote::nobody();
    let refused = around.complains(&format!("--url http://{unused} status")).await;
    assert!(refused.contains("pkgwarden serve") && refused.contains("PKGWARDEN_URL"), "{refused}");
    assert!(around.complains("--url nonsense status").await.contains("http://HOST:PORT"));
    // A socket that nobody listens on any more.
    drop(tokio::net::UnixListener::bind(socket_path(around.data_dir.path())).unwrap());
    assert!(around.complains("status").await.contains("control.sock"));
}

#[tokio::test]
async fn a_package_that_was_never_built_has_no_log_and_that_is_said() {
    let around = Remote::over_socket(&garden()).await;
    assert!(around.complains("logs mulch").await.contains("has not been built yet"));
    assert!(around.complains("logs nothing").await.contains("there is no build `nothing`"));
}

#[tokio::test]
async fn generations_are_read_and_packages_promoted() {
    let world = garden();
    let around = Remote::over_socket(&world).await;
    assert!(around.says("repo generations").await.contains("garden"));
    let newest = around.says("repo generation").await;
    assert!(newest.starts_with("garden generation 12\n") && newest.contains("reused  b2"), "{newest}");
    assert!(around.complains("repo generation 99").await.contains("there is no generation 99"));
    // What is before the main one is not meant, though it is listed first.
    world.change(|state| {
        let staging = GenerationView { repository: "garden-staging".to_owned(), ..state.generations[0].clone() };
        state.generations.insert(0, staging);
    });
    assert!(around.says("repo generation").await.starts_with("garden generation 12\n"));
    assert_eq!(around.says("repo promote all").await, "moved 1 package to garden\n");
    around.says("repo promote hedge --target garden --dry-run").await;
    let asked = world.read(|state| state.asked.clone());
    assert_eq!(
        asked,
        [
            "Promote { repository: None, packages: None, dry_run: false }",
            "Promote { repository: Some(\"garden\"), packages: Some([\"hedge\"]), dry_run: true }",
        ]
    );
}

#[tokio::test]
async fn a_removal_that_is_held_back_says_what_to_type_and_goes_when_it_is_typed() {
    let world = garden();
    let around = Remote::over_socket(&world).await;
    let listed = around.ctl("repo removals").await;
    assert_eq!(listed.exit, Exit::NeedsPerson);
    insta::assert_snapshot!(listed.stdout, @"
    garden: arbour urn
      held back: garden would lose 2 of 7 packages, and publish.max_removals is 1
      if that is meant: pkgwarden ctl repo removals --confirm
    ");
    assert!(around.says("status").await.contains("left the monorepo, and still published\ngarden: arbour urn\n"));
    let confirmed = around.ctl("repo removals --confirm").await;
    assert_eq!(confirmed.exit, Exit::Done);
    insta::assert_snapshot!(confirmed.stdout, @"
    removed from garden: arbour urn
    Nothing waits to be removed.
    ");
    let asked = world.read(|state| state.asked.clone());
    assert_eq!(asked, ["remove [\"arbour\", \"urn\"] of garden"]);
    assert!(!around.says("status").await.contains("left the monorepo"));
}
