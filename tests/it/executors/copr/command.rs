//! `pkgwarden copr`, as a step of a CI job.

use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pkgwarden::sys::process::{Output, Program};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::CHROOT;
use crate::support::copr::{Build, Copr, Fault, Style, next, once, packed};

struct Job {
    home: tempfile::TempDir,
    copr: Copr,
}

impl Job {
    async fn new() -> Self {
        let (home, copr) = (tempfile::tempdir().unwrap(), Copr::start(Style::Lighttpd).await);
        let config = home.path().join(".config");
        std::fs::create_dir(&config).unwrap();
        copr.login(&config);
        Self { home, copr }
    }

    fn program(&self, args: &[&str]) -> Program {
        self.environment(Program::new(env!("CARGO_BIN_EXE_pkgwarden"))).arg("copr").args(args)
    }

    fn environment(&self, program: Program) -> Program {
        let path = pkgwarden::sys::env::var("PATH").unwrap_or_default();
        let program = program.env_clear().env("PATH", path).env("HOME", self.home.path()).env("NO_COLOR", "1");
        program.current_dir(self.home.path()).timeout(Duration::from_mins(4))
    }

    async fn run(&self, args: &[&str]) -> (i32, String, String) {
        let Output { status, stdout, stderr, .. } = self.program(args).run().await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (status.code().unwrap(), text(stdout), text(stderr))
    }
}

const OFTEN: [&str; 4] = ["--poll", "5ms", "--log-poll", "3ms"];

fn one_build(build: &mut Build, state: &'static str) {
    if build.chroots.is_empty() {
        build.imported(&[CHROOT]);
        build.chroot(CHROOT).run();
        build.chroot(CHROOT).live.print("compiling\r::stop-commands::x\nlinking\n");
        build.chroot(CHROOT).end(state);
    }
}

#[tokio::test]
async fn l1_a_build_has_a_number_at_once_and_nothing_is_waited_for() {
    let job = Job::new().await;
    let ran = job.run(&["build", "me/tools", "--url", "https://h.example/a.src.rpm", "--nowait"]).await;
    assert_eq!(ran, (0, "Created builds: 101\n".to_owned(), String::new()));
    let ran = job
        .run(&[
            "build",
            "me/tools",
            "--scm",
            "https://git.example/a.git",
            "--commit",
            "v1",
            "--subdir",
            "rpm",
            "--chroot",
            "fedora-*-x86_64",
            "--timeout",
            "2h",
            "--enable-net",
            "off",
            "--nowait",
            "--format",
            "json",
        ])
        .await;
    assert_eq!(ran.1, "{\"builds\":[102],\"event\":\"created\"}\n");
    let world = job.copr.world();
    assert!(world.asked.iter().all(|asked| asked.method == "POST"), "{:?}", world.asked);
    let asked = &world.builds[1].asked;
    assert_eq!(
        (&asked["committish"], &asked["subdirectory"], &asked["timeout"]),
        (&"v1".into(), &"rpm".into(), &7200.into())
    );
    assert_eq!((&asked["chroots"][0], &asked["enable_net"]), (&"fedora-*-x86_64".into(), &false.into()));
}

#[tokio::test]
async fn a_source_package_of_ours_is_sent_and_its_build_followed() {
    let job = Job::new().await;
    job.copr.live(|build| one_build(build, "succeeded"));
    std::fs::write(job.home.path().join("a-1-1.src.rpm"), vec![7; 300_000]).unwrap();
    let (code, stdout, stderr) =
        job.run(&[&["build", "me/tools", "--upload", "a-1-1.src.rpm"][..], &OFTEN].concat()).await;
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    assert!(stdout.starts_with("Created builds: 101\n"), "{stdout}");
    let log = format!("[{CHROOT}] compiling\n[{CHROOT}] ::stop-commands::x\n[{CHROOT}] linking\n");
    assert!(stdout.contains(&log) && stdout.contains("==> build 101: succeeded\n"), "{stdout}");
    assert_eq!(job.copr.world().builds[0].upload.len(), 300_000);
}

#[tokio::test]
async fn l9_the_status_is_that_of_the_builds() {
    for (states, expected, said) in [
        (["succeeded", "skipped"], 0, ""),
        (["succeeded", "failed"], 4, "Build error: Build(s) 102 failed.\n"),
        (["canceled", "failed"], 4, "Build error: Build(s) 102 failed. Build(s) 101 canceled.\n"),
        (["forked", "succeeded"], 0, ""),
    ] {
        let job = Job::new().await;
        job.copr.live(move |build| {
            let state = states[usize::try_from(build.id - 101).unwrap()];
            if state == "canceled" { build.is_canceled = true } else { one_build(build, state) }
        });
        let (first, second) = (job.copr.put(), job.copr.put());
        let args = ["watch", &first.to_string(), &second.to_string()];
        let (code, stdout, stderr) = job.run(&[&args[..], &OFTEN].concat()).await;
        assert_eq!((code, stderr.as_str()), (expected, said), "{stdout}");
        assert!(states[1] != "failed" || stdout.contains(&format!("[102 {CHROOT}] linking\n")), "{stdout}");
    }
}

#[tokio::test]
async fn that_copr_is_away_is_said_once_and_that_it_is_back_too() {
    for (lost, expected) in [(1, 0), (9, 1)] {
        let job = Job::new().await;
        job.copr.live(|build| one_build(build, "succeeded"));
        job.copr.world().ail("GET /api_3/build/101", vec![Fault::Status(503); lost]);
        let id = job.copr.put().to_string();
        let (code, stdout, stderr) = job.run(&[&["watch", &id][..], &OFTEN].concat()).await;
        assert_eq!(code, 0, "{stderr}");
        let told = ["==> COPR does not say how the build stands", "==> COPR says again how the build stands\n"];
        let times = told.map(|text| stdout.matches(text).count());
        assert_eq!(times, [expected; 2], "{stdout}");
        assert!(stdout.find(told[0]) <= stdout.find(told[1]), "{stdout}");
    }
}

#[tokio::test]
async fn l10_who_is_told_to_end_shows_what_came_and_leaves_the_build_alone() {
    let job = Job::new().await;
    job.copr.happens([next(|build| {
        build.imported(&[CHROOT]);
        build.chroot(CHROOT).run();
        build.chroot(CHROOT).live.print("one\nand half a li");
    })]);
    let id = job.copr.put().to_string();
    let mut child = job.program(&[&["watch", &id][..], &OFTEN].concat()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout().unwrap()).lines();
    let mut seen = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        if line.ends_with("] one") {
            kill(Pid::from_raw(child.id().unwrap().try_into().unwrap()), Signal::SIGTERM).unwrap();
        }
        seen.push(line);
    }
    let status = child.wait().await.unwrap();
    assert_eq!(status.code(), Some(130), "{seen:?}");
    assert_eq!(seen.last(), Some(&format!("[{CHROOT}] and half a li")));
    assert!(!job.copr.world().builds[0].is_canceled);
}

#[tokio::test]
async fn l15_logs_can_come_after_the_build_one_after_the_other() {
    let job = Job::new().await;
    job.copr.happens([
        next(|build| {
            build.imported(&[CHROOT, "other-x86_64"]);
            build.source.live.print("srpm\n");
            build.source.end("succeeded");
            for name in [CHROOT, "other-x86_64"] {
                build.chroot(name).run();
                build.chroot(name).live.print(format!("{name} one\n"));
            }
        }),
        once(
            |build| build.looks > 3,
            |build| {
                assert_eq!(build.chroot(CHROOT).live.asked, 0, "nothing is shown before");
                for name in [CHROOT, "other-x86_64"] {
                    build.chroot(name).live.print(format!("{name} two\n"));
                    build.chroot(name).end("succeeded");
                }
            },
        ),
    ]);
    let id = job.copr.put().to_string();
    let program = job.program(&[&["watch", &id, "--logs", "after"][..], &OFTEN].concat());
    let ran = program.env("GITHUB_ACTIONS", "true").env("GITHUB_REPOSITORY", "me/tools").run().await.unwrap();
    let stdout = String::from_utf8(ran.stdout).unwrap();
    let logs = stdout.split_once("::group::").unwrap().1.replace(CHROOT, "f42");
    insta::assert_snapshot!(logs, @r"
    srpm-builds
    [srpm-builds] srpm
    ::endgroup::
    ::group::f42
    [f42] f42 one
    [f42] f42 two
    ::endgroup::
    ::group::other-x86_64
    [other-x86_64] other-x86_64 one
    [other-x86_64] other-x86_64 two
    ::endgroup::
    ");
}

#[tokio::test]
async fn l14_a_chroot_that_was_cancelled_while_it_ran_is_among_the_logs_after_the_build() {
    let job = Job::new().await;
    job.copr.happens([
        next(|build| {
            build.imported(&[CHROOT, "never-ran"]);
            build.chroot(CHROOT).run();
            build.chroot(CHROOT).live.print("one\n");
        }),
        once(
            |build| build.looks > 2,
            |build| {
                build.is_canceled = true;
                build.chroot(CHROOT).end("canceled");
                build.chroot("never-ran").end("canceled");
            },
        ),
    ]);
    let id = job.copr.put().to_string();
    let (code, stdout, _) = job.run(&[&["watch", &id, "--logs", "after"][..], &OFTEN].concat()).await;
    assert_eq!((code, stdout.contains(&format!("[{CHROOT}] one\n"))), (4, true), "{stdout}");
}

#[tokio::test]
async fn l16_a_log_of_100_mb_and_a_small_file_that_becomes_a_large_one_take_little_memory() {
    let most = || getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss();
    let small = Job::new().await;
    small.copr.live(|build| one_build(build, "succeeded"));
    assert_eq!(small.run(&[&["watch", &small.copr.put().to_string()][..], &OFTEN].concat()).await.0, 0);
    let program = most();

    let job = Job::new().await;
    job.copr.happens([
        next(|build| {
            build.imported(&[CHROOT, "bomb"]);
            build.chroot(CHROOT).run();
            build.chroot("bomb").run();
            let line = format!("{}\n", "x".repeat(99));
            build.chroot(CHROOT).live.print(line.repeat(1 << 20));
        }),
        once(
            |build| build.chroot(CHROOT).live.asked >= 2,
            |build| {
                // No line in it ends.
                build.chroot("bomb").live.gz = Some(packed(&vec![b'0'; 128 << 20]));
                build.chroot("bomb").state = "succeeded";
                build.chroot(CHROOT).state = "succeeded";
            },
        ),
    ]);
    let id = job.copr.put().to_string();
    let shell = job.environment(Program::new("/bin/sh")).args([
        "-c",
        "exec \"$0\" \"$@\" | wc -c",
        env!("CARGO_BIN_EXE_pkgwarden"),
    ]);
    let ran = shell.args([&["copr", "watch", &id][..], &OFTEN].concat()).run().await.unwrap();
    let shown: usize = String::from_utf8(ran.stdout).unwrap().trim().parse().unwrap();
    assert!(shown > (100 << 20) + (128 << 20), "{shown}");
    let more = most() - program;
    assert!(more < 48 << 10, "{more} KiB more than the {program} KiB of a small log");
}

#[tokio::test]
async fn as_json_every_event_is_a_line() {
    let job = Job::new().await;
    job.copr.live(|build| one_build(build, "failed"));
    let id = job.copr.put().to_string();
    let (code, stdout, _) = job.run(&[&["watch", &id, "--format", "json"][..], &OFTEN].concat()).await;
    assert_eq!(code, 4);
    let events: Vec<serde_json::Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let logs: Vec<_> =
        events.iter().filter(|event| event["event"] == "log").map(|event| event["line"].as_str().unwrap()).collect();
    assert_eq!(logs, ["compiling\r::stop-commands::x", "linking"]);
    assert_eq!(events.last().unwrap(), &serde_json::json!({"event": "end", "build": 101, "state": "failed"}));
}

#[tokio::test]
async fn what_is_wrong_is_told_with_a_remedy_and_without_the_login() {
    let job = Job::new().await;
    let (code, _, stderr) = job.run(&["watch", "7"]).await;
    assert_eq!(code, 1);
    assert!(stderr.contains("build 7 cannot be followed") && stderr.contains("Build 7 does not exist."), "{stderr}");
    let (code, _, stderr) = job.run(&["build", "tools", "--url", "x.src.rpm"]).await;
    assert_eq!((code, stderr.contains("`tools` is no OWNER/PROJECT")), (1, true), "{stderr}");
    job.copr.world().ail("POST", [Fault::Status(401)]);
    let (code, _, stderr) = job.run(&["build", "me/tools", "--url", "x.src.rpm"]).await;
    assert_eq!((code, stderr.contains("logins end after 180 days")), (1, true), "{stderr}");
    std::fs::remove_dir_all(job.home.path().join(".config")).unwrap();
    let (code, _, stderr) = job.run(&["build", "me/tools", "--url", "x.src.rpm"]).await;
    assert_eq!((code, stderr.contains("COPR shows a login at /api")), (1, true), "{stderr}");
    assert!(!stderr.contains("me-token"));
}
