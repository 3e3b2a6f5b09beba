//! Builds by real programs that run beside the controller.

use std::fs;

use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::builder::pacman::{PackageRepository, Server};
use crate::domain::build::Outcome;
use crate::domain::folder::Folder;
use crate::domain::keyring::PublicKeys;
use crate::domain::name::{Oid, PkgBase};
use crate::executor::exchange::Key;
use crate::executor::kept::{Stop, blocking};
use crate::executor::{Ending, Executor as _, Handle};
use crate::sys::clock::ManualClock;

/// Leaves a package for whoever asked for it.
const MAKES: &str = "echo x >artefacts/small-1-1-any.pkg.tar.zst\n";

/// A machine with a program that carries out builds.
struct World {
    dir: tempfile::TempDir,
    logs: LogStore,
    clock: Arc<ManualClock>,
    executor: CommandExecutor,
}

impl World {
    fn new(script: &str) -> Self {
        Self::with_limit(script, 64 << 20)
    }

    /// With logs of so many bytes at most.
    fn with_limit(script: &str, limit: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let logs = LogStore::with_limit(dir.path().join("logs"), limit).unwrap();
        let clock = Arc::new(ManualClock::new("2026-05-01T12:00:00Z".parse().unwrap()));
        fs::write(dir.path().join("program"), script).unwrap();
        let executor = Self::open(dir.path(), &logs, &clock);
        Self { dir, logs, clock, executor }
    }

    fn open(dir: &std::path::Path, logs: &LogStore, clock: &Arc<ManualClock>) -> CommandExecutor {
        let words = ["/bin/sh".to_owned(), dir.join("program").display().to_string()];
        let work_dir = dir.join("commands");
        let config = CommandConfig { words: words.into(), env: Vec::new(), work_dir };
        CommandExecutor::start(config, logs.clone(), None, clock.clone()).unwrap()
    }

    fn order(attempt: &str) -> BuildOrder {
        let server = Server::Url("https://mirror.example/$repo".to_owned());
        let keys = b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmDME\n-----END PGP PUBLIC KEY BLOCK-----\n";
        let (sig_level, keys) = (Some("Required".to_owned()), PublicKeys::read(keys).ok());
        BuildOrder {
            attempt: attempt.into(),
            repository: "mine".into(),
            url: Some("https://git.example/packages.git".into()),
            arch: "x86_64".into(),
            pkgbase: PkgBase::new("small").unwrap(),
            commit: Oid::from_bytes([7; 20]),
            files: Folder::default().with("PKGBUILD", "pkgname=small\n").with("src/a.patch", "a"),
            expected_version: None,
            class: None,
            bump: None,
            package_repositories: vec![PackageRepository { name: "core".into(), server, sig_level, keys }],
            published: Vec::new(),
            timeout: std::time::Duration::from_mins(1),
            extra_timeout: 1.5,
            cache_sources: false,
            allow_prohibited: false,
            caches: crate::domain::cache::Plan::default(),
            source_date_epoch: 1_700_000_000,
            proposal: None,
            skip_exit_code: 123,
            route: crate::domain::chaotic::Route::default(),
        }
    }

    async fn build(&self, attempt: &str) -> AttemptReport {
        let handle = self.executor.submit(Self::order(attempt)).await.unwrap();
        self.executor.finished(&handle).await.unwrap()
    }

    fn log(&self, attempt: &str) -> String {
        String::from_utf8(self.logs.read(attempt, 0, usize::MAX).unwrap()).unwrap()
    }

    async fn wait_for_log(&self, attempt: &str, text: &str) {
        let mut news = self.logs.subscribe(attempt).unwrap();
        while !self.log(attempt).contains(text) {
            news.changed().await.unwrap_or_else(|_| panic!("the log ended without `{text}`: {}", self.log(attempt)));
        }
    }

    /// The controller ends without a word, and another one begins.
    fn restart(self) -> Self {
        let Self { dir, clock, .. } = self;
        let logs = LogStore::new(dir.path().join("logs")).unwrap();
        let executor = Self::open(dir.path(), &logs, &clock);
        Self { dir, logs, clock, executor }
    }

    /// The end of a build that has to be stopped by force, for which time passes.
    async fn ended_by_force(&self, handle: &Handle) -> AttemptReport {
        let waiting = self.executor.finished(handle);
        tokio::pin!(waiting);
        loop {
            tokio::select! {
                report = &mut waiting => return report.unwrap(),
                () = tokio::task::yield_now() => self.clock.advance(SignedDuration::from_millis(1)),
            }
        }
    }

    /// The state of a process, as the kernel calls it, that wrote its number down; `None` if it is gone.
    fn state_of_left(&self) -> Option<char> {
        let pid = fs::read_to_string(self.dir.path().join("left")).unwrap();
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).ok()?;
        stat.rsplit_once(") ").unwrap().1.chars().next()
    }

    /// Waits until that process has come to its sleep, from which nothing but a signal wakes it.
    async fn left_sleeps(&self) {
        while self.state_of_left() != Some('S') || !self.left_is_a_sleep() {
            tokio::task::yield_now().await;
        }
    }

    fn left_is_a_sleep(&self) -> bool {
        let pid = fs::read_to_string(self.dir.path().join("left")).unwrap();
        fs::read(format!("/proc/{}/cmdline", pid.trim())).is_ok_and(|words| words.starts_with(b"sleep\0"))
    }

    fn leftovers(&self) -> usize {
        fs::read_dir(self.dir.path().join("commands")).unwrap().count()
    }
}

fn handle(attempt: &str) -> Handle {
    Handle { executor: NAME.into(), attempt: attempt.into() }
}

#[tokio::test]
async fn a_program_is_told_everything_and_what_it_leaves_is_taken() {
    let world = World::new(&format!("cat; ls package package/src; {MAKES}"));
    let report = world.build("a1").await;
    assert_eq!((report.ending, report.exit_code), (Ending::Done(Outcome::Succeeded), Some(0)), "{report:?}");
    let names: Vec<_> = report.artefacts.iter().map(|artefact| artefact.name.as_str()).collect();
    assert_eq!(names, ["small-1-1-any.pkg.tar.zst"]);
    assert!(report.artefacts[0].path.exists());
    let log = world.log("a1").replace(&world.dir.path().display().to_string(), "DIR");
    insta::assert_snapshot!(log, @r#"
    ==> by /bin/sh DIR/program
    {
      "schema": 1,
      "attempt": "a1",
      "repository": "mine",
      "url": "https://git.example/packages.git",
      "commit": "0707070707070707070707070707070707070707",
      "pkgbase": "small",
      "arch": "x86_64",
      "pacman_repositories": [
        {
          "name": "core",
          "server": "https://mirror.example/$repo",
          "sig_level": "Required"
        }
      ],
      "pacman_keyrings": [
        {
          "name": "core",
          "keys": "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmDME\n-----END PGP PUBLIC KEY BLOCK-----\n"
        }
      ],
      "published": [],
      "timeout_s": 90,
      "cache_sources": false,
      "allow_prohibited": false,
      "source_date_epoch": 1700000000,
      "skip_exit_code": 123,
      "package_dir": "DIR/commands/a1/package",
      "artefact_dir": "DIR/commands/a1/artefacts"
    }package:
    PKGBUILD
    src

    package/src:
    a.patch
    ==> succeeded
    "#);
    world.executor.discard(&handle("a1")).await.unwrap();
    assert_eq!(world.leftovers(), 0);
}

#[tokio::test]
async fn a_program_is_told_that_a_build_is_a_test_of_a_proposal() {
    let world = World::new("cat");
    let order = BuildOrder { proposal: Some(7), ..World::order("trial-1-1") };
    let handle = world.executor.submit(order).await.unwrap();
    world.executor.finished(&handle).await.unwrap();
    let log = world.log("trial-1-1");
    assert!(log.contains("\"proposal\": 7,\n"), "{log}");
}

#[tokio::test]
async fn the_status_of_a_program_says_how_a_build_ended_unless_it_says_so_itself() {
    use Ending::{Done, Infrastructure};
    let end = |json: &str| format!("printf '@pkgwarden 1\\n@ begun\\n@ end {json}\\n'; exit 1");
    let cases = [
        ("exit 2".to_owned(), Done(Outcome::Failed)),
        ("exit 123".to_owned(), Done(Outcome::Skipped)),
        ("exit 13".to_owned(), Done(Outcome::AlreadyBuilt)),
        ("exit 75".to_owned(), Infrastructure),
        ("exit 124".to_owned(), Done(Outcome::TimedOut)),
        ("exit 255".to_owned(), Done(Outcome::Failed)),
        ("kill -9 $$".to_owned(), Infrastructure),
        ("exit 143".to_owned(), Infrastructure),
        ("kill -9 $PPID".to_owned(), Infrastructure),
        ("exit 0".to_owned(), Done(Outcome::Failed)),
        (end(r#"{"status":"already_built"}"#), Done(Outcome::AlreadyBuilt)),
        (end(r#"{"status":"failed","kind":"infrastructure","message":"no runner"}"#), Infrastructure),
        (format!("{MAKES}{}", end(r#"{"status":"succeeded"}"#)), Done(Outcome::Succeeded)),
    ];
    for (script, ending) in cases {
        let world = World::new(&script);
        let report = world.build("a1").await;
        assert_eq!(report.ending, ending, "{script}: {report:?}");
        assert!(report.message.is_empty() == (ending == Done(Outcome::Succeeded) || script.contains("already")));
    }
}

#[tokio::test]
async fn a_build_that_is_asked_for_twice_runs_once() {
    let world = World::new(&format!("echo once >>../../count; {MAKES}"));
    let first = world.executor.submit(World::order("a1")).await.unwrap();
    let second = world.executor.submit(World::order("a1")).await.unwrap();
    assert_eq!(first, second);
    world.executor.finished(&first).await.unwrap();
    let world = world.restart();
    let third = world.executor.submit(World::order("a1")).await.unwrap();
    assert_eq!(world.executor.finished(&third).await.unwrap().ending, Ending::Done(Outcome::Succeeded));
    assert_eq!(fs::read_to_string(world.dir.path().join("count")).unwrap(), "once\n");
}

/// Prints something, and goes on when it is let go by [`let_go`], for which everything is there before it prints.
const WAITS: &str = "mkfifo ../../go; seq 3; read -r _ <../../go; seq 4 6\n";

/// A process of ours.
fn process() -> tokio::runtime::Runtime {
    tokio::runtime::Runtime::new().unwrap()
}

/// The world after a process that ended when half of the build was printed.
fn left_halfway() -> World {
    let first = process();
    let world = first.block_on(async {
        let world = World::new(&format!("{WAITS}{MAKES}"));
        world.executor.submit(World::order("a1")).await.unwrap();
        world.wait_for_log("a1", "3\n").await;
        world
    });
    first.shutdown_timeout(std::time::Duration::from_mins(1));
    world.restart()
}

async fn let_go(world: &World) {
    let go = world.dir.path().join("go");
    blocking(move || fs::write(go, "on\n")).await.unwrap();
}

#[test]
fn a_controller_that_starts_anew_finds_the_build_again_with_all_that_was_printed() {
    let world = left_halfway();
    process().block_on(async {
        let_go(&world).await;
        let report = world.executor.finished(&handle("a1")).await.unwrap();
        assert_eq!(report.ending, Ending::Done(Outcome::Succeeded), "{report:?}");
    });
    let log = world.log("a1");
    assert_eq!(log.split_once('\n').unwrap().1, "1\n2\n3\n4\n5\n6\n==> succeeded\n");
}

#[test]
fn what_was_taken_by_a_controller_that_ended_before_it_could_say_so_is_taken_again() {
    let first = process();
    let world = first.block_on(async {
        let world = World::new(MAKES);
        world.build("a1").await;
        world
    });
    first.shutdown_timeout(std::time::Duration::from_mins(1));
    let dir = world.dir.path().join("commands/a1");
    // Its report and the end of its log were never written.
    fs::remove_file(dir.join("report.json")).unwrap();
    fs::remove_dir_all(world.dir.path().join("logs")).unwrap();
    let world = world.restart();
    let report = process().block_on(world.executor.finished(&handle("a1"))).unwrap();
    assert_eq!(report.ending, Ending::Done(Outcome::Succeeded), "{report:?}");
    assert!(report.artefacts[0].path.exists());
}

#[tokio::test]
async fn a_cancelled_build_stops_with_all_that_it_started_and_may_tidy_up_first() {
    let world = World::new("trap 'echo tidied; exit 1' TERM; echo up; sleep 1000 & wait $!");
    let handle = world.executor.submit(World::order("a1")).await.unwrap();
    world.wait_for_log("a1", "up\n").await;
    world.executor.cancel(&handle).await.unwrap();
    let report = world.executor.finished(&handle).await.unwrap();
    assert_eq!(report.ending, Ending::Done(Outcome::Cancelled));
    assert!(world.log("a1").ends_with("tidied\n==> cancelled: the build was cancelled\n"), "{}", world.log("a1"));
    world.executor.discard(&handle).await.unwrap();
    assert_eq!(world.leftovers(), 0);
}

#[tokio::test]
async fn a_build_that_takes_too_long_is_stopped_by_force_if_it_does_not_listen() {
    let world = World::new("trap '' TERM; echo up; while :; do sleep 0.1; done");
    let handle = world.executor.submit(World::order("a1")).await.unwrap();
    world.wait_for_log("a1", "up\n").await;
    world.executor.started(&handle).await.unwrap();
    world.clock.advance(SignedDuration::from_secs(91));
    assert_eq!(world.ended_by_force(&handle).await.ending, Ending::Done(Outcome::TimedOut));
}

#[tokio::test]
async fn what_left_the_group_of_its_program_holds_nobody_up() {
    let script = "setsid sh -c 'echo $$ >../../left; exec sleep 1000' & trap '' TERM\n\
                  until [ -s ../../left ]; do sleep 0.1; done; echo up; while :; do sleep 0.1; done";
    let world = World::new(script);
    let handle = world.executor.submit(World::order("a1")).await.unwrap();
    world.wait_for_log("a1", "up\n").await;
    world.left_sleeps().await;
    world.executor.cancel(&handle).await.unwrap();
    assert_eq!(world.ended_by_force(&handle).await.ending, Ending::Done(Outcome::Cancelled));
    assert_eq!(world.state_of_left(), Some('S'), "it lives, and has the lock");
    world.executor.discard(&handle).await.unwrap();
    assert_eq!(world.leftovers(), 0);
    let left = fs::read_to_string(world.dir.path().join("left")).unwrap().trim().parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(left), Signal::SIGKILL).unwrap();
}

#[tokio::test]
async fn what_a_program_leaves_running_ends_before_its_packages_are_taken() {
    let world = World::new(&format!("sleep 1000 & echo $! >../../left; {MAKES}"));
    assert_eq!(world.build("a1").await.ending, Ending::Done(Outcome::Succeeded));
    while world.state_of_left().is_some_and(|state| state != 'Z') {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_number_that_belongs_to_somebody_else_by_now_gets_no_signal() {
    let world = World::new(
        "setsid sh -c 'echo $$ >../../left; exec sleep 1000' &\n\
                            until [ -s ../../left ]; do sleep 0.1; done; echo up; sleep 1000",
    );
    let handle = world.executor.submit(World::order("a1")).await.unwrap();
    world.wait_for_log("a1", "up\n").await;
    world.left_sleeps().await;
    let task = task::Task::at(&world.dir.path().join("commands/a1"));
    let ours = fs::read_to_string(task.dir.join("pid")).unwrap();
    let other = fs::read_to_string(world.dir.path().join("left")).unwrap();
    fs::write(task.dir.join("pid"), ours.replacen(ours.split_once(' ').unwrap().0, other.trim(), 1)).unwrap();
    // Another that began at another time: what the kernel says of the supervisor is of the program before it.
    let stat = ours.split(' ').nth(20).unwrap();
    fs::write(task.dir.join("pid"), fs::read_to_string(task.dir.join("pid")).unwrap().replace(stat, "1")).unwrap();
    task.signal(Signal::SIGKILL);
    assert_eq!(world.state_of_left(), Some('S'));
    fs::write(task.dir.join("pid"), other.trim()).unwrap();
    task.signal(Signal::SIGKILL);
    while world.state_of_left().is_some_and(|state| state != 'Z') {
        tokio::task::yield_now().await;
    }
    fs::write(task.dir.join("pid"), ours).unwrap();
    world.executor.cancel(&handle).await.unwrap();
    assert_eq!(world.executor.finished(&handle).await.unwrap().ending, Ending::Done(Outcome::Cancelled));
}

#[tokio::test]
async fn what_is_printed_beyond_the_limit_of_the_log_does_not_fill_the_disk() {
    let world =
        World::with_limit("trap '' TERM; head -c 3000000 /dev/zero; echo; while :; do sleep 0.1; done", 100_000);
    let handle = world.executor.submit(World::order("a1")).await.unwrap();
    world.wait_for_log("a1", "reached its limit").await;
    assert_eq!(world.ended_by_force(&handle).await.ending, Ending::Done(Outcome::Failed));
    let printed = fs::metadata(task::Task::at(&world.dir.path().join("commands/a1")).output()).unwrap();
    assert!(printed.len() < 1_000_000, "{}", printed.len());
}

#[tokio::test]
async fn what_an_attempt_is_told_is_for_nobody_else_on_the_machine() {
    let world = World::new("exit 1");
    world.build("a1").await;
    let dir = fs::metadata(world.dir.path().join("commands/a1")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&dir.permissions()) & 0o777, 0o700);
}

#[tokio::test]
async fn a_build_whose_program_vanished_while_nobody_looked_is_lost() {
    let world = World::new("echo up; sleep 1000");
    world.executor.submit(World::order("a1")).await.unwrap();
    world.wait_for_log("a1", "up\n").await;
    task::Task::at(&world.dir.path().join("commands/a1")).signal(nix::sys::signal::Signal::SIGKILL);
    let report = world.executor.finished(&handle("a1")).await.unwrap();
    assert_eq!(report.ending, Ending::Infrastructure);
    assert_eq!(report.message, "the program is gone, and did not say how it ended");
    let unknown = world.executor.finished(&handle("a2")).await.unwrap();
    assert_eq!(unknown.ending, Ending::Infrastructure);
    let not_ours = Handle { executor: "local".into(), attempt: "a1".into() };
    assert!(world.executor.finished(&not_ours).await.is_err());
}

#[test]
fn a_program_that_we_stopped_ended_for_that_also_where_the_next_process_sees_it() {
    for (stop, outcome) in [(Stop::TimedOut, Outcome::TimedOut), (Stop::Cancelled, Outcome::Cancelled)] {
        let first = process();
        let world = first.block_on(async {
            let world = World::new("echo up; exec sleep 1000");
            world.executor.submit(World::order("a1")).await.unwrap();
            world.wait_for_log("a1", "up\n").await;
            world
        });
        first.shutdown_timeout(std::time::Duration::from_mins(1));
        let task = task::Task::at(&world.dir.path().join("commands/a1"));
        task.ask_to_stop(stop).unwrap();
        task.signal(Signal::SIGTERM);
        while task.status().is_none() {
            std::thread::yield_now();
        }
        let world = world.restart();
        let report = process().block_on(world.executor.finished(&handle("a1"))).unwrap();
        assert_eq!((report.ending, report.exit_code), (Ending::Done(outcome), Some(143)), "{report:?}");
    }
}

#[test]
fn a_log_that_cannot_be_opened_now_costs_no_build() {
    let world = left_halfway();
    let (log, away) = (world.dir.path().join("logs/a1.log"), world.dir.path().join("a1.log"));
    fs::rename(&log, &away).unwrap();
    fs::create_dir(&log).unwrap();
    process().block_on(async {
        world.executor.finished(&handle("a1")).await.unwrap_err();
        fs::remove_dir(&log).unwrap();
        fs::rename(&away, &log).unwrap();
        let_go(&world).await;
        let report = world.executor.finished(&handle("a1")).await.unwrap();
        assert_eq!(report.ending, Ending::Done(Outcome::Succeeded), "{report:?}");
    });
}

#[tokio::test]
async fn waiting_for_a_turn_elsewhere_is_not_building() {
    let script =
        "printf '@pkgwarden 1\\n@ log 7\\nqueued\\n'; mkfifo ../../go; read -r _ <../../go; echo '@ begun'; sleep 1000";
    let world = World::new(script);
    let handle = world.executor.submit(World::order("a1")).await.unwrap();
    world.wait_for_log("a1", "queued\n").await;
    let began: Timestamp = "2026-05-01T13:00:00Z".parse().unwrap();
    world.clock.set(began);
    let_go(&world).await;
    world.executor.started(&handle).await.unwrap();
    assert_eq!(task::Task::at(&world.dir.path().join("commands/a1")).began(None), Some(began));
    world.executor.discard(&handle).await.unwrap();
}

#[tokio::test]
async fn a_program_that_cannot_be_started_is_not_the_packages_failure() {
    let world = World::new("exit 127");
    let report = world.build("a1").await;
    assert_eq!((report.ending, report.exit_code), (Ending::Done(Outcome::Failed), Some(127)), "it ended so itself");
    let config = CommandConfig {
        words: vec!["/nowhere/build".to_owned()],
        env: Vec::new(),
        work_dir: world.dir.path().join("commands"),
    };
    let executor = CommandExecutor::start(config, world.logs.clone(), None, world.clock.clone()).unwrap();
    let away = executor.ready().unwrap_err().to_string();
    assert!(away.starts_with("`/nowhere/build` cannot be started: No such file"), "{away}");
    let handle = executor.submit(World::order("a2")).await.unwrap();
    let report = executor.finished(&handle).await.unwrap();
    assert_eq!(report.ending, Ending::Infrastructure);
    assert!(report.message.starts_with("the program ended with status 127: `/nowhere/build`"), "{}", report.message);
}

#[tokio::test]
async fn a_machine_elsewhere_is_told_where_it_is_served_what_was_built_here() {
    let world = World::new("cat");
    let published = world.dir.path().join("published");
    fs::create_dir(&published).unwrap();
    fs::write(published.join("mine.db"), "").unwrap();
    let (dir, known) = (world.dir.path().join("attempts"), [(published.clone(), "mine".to_owned())].into());
    let exchange =
        Exchange::open(dir, world.logs.clone(), Key::keep(&world.dir.path().join("key")).unwrap(), known).unwrap();
    exchange.reached_at("https://packages.example/");
    let (words, work_dir) = (vec!["/bin/cat".to_owned()], world.dir.path().join("commands"));
    let config = CommandConfig { words, env: Vec::new(), work_dir };
    let executor = CommandExecutor::start(config, world.logs.clone(), Some(exchange), world.clock.clone()).unwrap();
    let mut order = World::order("a1");
    order.package_repositories[0].name = "mine".to_owned();
    order.package_repositories[0].server = Server::Directory(published);
    executor.finished(&executor.submit(order).await.unwrap()).await.unwrap();
    let log = world.log("a1");
    assert!(log.contains("\"server\": \"https://packages.example/repo/mine\"") && !log.contains("/log\""), "{log}");
}
