//! How builds end, what is left of them, and what they print until then.

use super::*;

/// Whether a process of this machine has `marker` among its arguments.
fn running(marker: &str) -> bool {
    let processes =
        fs::read_dir("/proc").unwrap().filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok());
    let mut processes = processes.map(|cmdline| String::from_utf8_lossy(&cmdline).into_owned());
    processes.any(|cmdline| cmdline.split('\0').any(|word| word == marker))
}

/// Waits for something that the kernel does in a moment of its own.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), wait)
        .await
        .unwrap_or_else(|_| panic!("not so after a minute: {what}"));
}

#[tokio::test]
async fn a_build_that_takes_too_long_is_stopped_with_its_grandchildren() {
    let world = World::new();
    let marker = format!("{}.25", 1_000_000 + std::process::id());
    let lines = format!(
        "build() {{ (setsid nohup sleep {marker} >/dev/null 2>&1 &) ; trap '' TERM; sleep {marker}; }}\n{PACKAGE}"
    );
    // On a machine that is so busy that it has not come so far by then, it is given more time.
    for (attempt, seconds) in [("a1", 6), ("a2", 60)] {
        let order = world.small(attempt, &lines);
        let order = BuildOrder { timeout: Duration::from_secs(seconds), extra_timeout: 2.0, ..order };
        let handle = world.executor.submit(order).await.unwrap();
        let (finished, begins) = (world.executor.finished(&handle), until("the sleep runs", || running(&marker)));
        tokio::pin!(finished);
        let (report, begun) = tokio::select! {
            report = &mut finished => (report.unwrap(), false),
            () = begins => (finished.await.unwrap(), true),
        };
        let log = world.log(attempt);
        assert_eq!(report.ending, Ending::Done(Outcome::TimedOut), "{log}");
        assert!(log.ends_with("==> timed_out: the build took too long\n"), "{log}");
        until("nothing of the build runs", || !running(&marker)).await;
        assert_eq!(world.leftovers(), [attempt.to_owned(), format!("{attempt}/report.json")]);
        world.executor.discard(&handle).await.unwrap();
        if begun {
            return;
        }
    }
    panic!("it never came to its build()");
}

#[tokio::test]
async fn cancelling_stops_a_running_build_and_a_queued_one_before_it_begins() {
    let world = World::new();
    let marker = format!("{}.75", 1_000_000 + std::process::id());
    let lines = format!("build() {{ echo waiting; sleep {marker}; }}\n{PACKAGE}");
    let running_one = world.executor.submit(world.small("a1", &lines)).await.unwrap();
    world.executor.started(&running_one).await.unwrap();
    let queued = world.executor.submit(world.small("a2", &lines)).await.unwrap();
    world.wait_for_log("a1", "\nwaiting\n").await;
    world.executor.cancel(&queued).await.unwrap();
    let report = world.executor.finished(&queued).await.unwrap();
    assert_eq!(report.message, "the build was cancelled before it began");
    world.executor.cancel(&running_one).await.unwrap();
    let report = world.executor.finished(&running_one).await.unwrap();
    assert_eq!(report.ending, Ending::Done(Outcome::Cancelled));
    until("nothing of the build runs", || !running(&marker)).await;
    let end = world.logs.position("a1").unwrap();
    assert_eq!(end.final_len, Some(end.len));
    for handle in [&running_one, &queued] {
        world.executor.discard(handle).await.unwrap();
    }
    assert_eq!(world.leftovers(), Vec::<String>::new());
}

#[tokio::test]
async fn what_a_build_leaves_running_ends_with_it_and_holds_up_nothing() {
    let world = World::new();
    let marker = format!("{}.5", 1_000_000 + std::process::id());
    let lines = format!("build() {{ sleep {marker} & (setsid sleep {marker} &); }}\n{PACKAGE}");
    let report = world.succeed(world.small("a1", &lines)).await;
    assert_eq!(report.artefacts.len(), 1);
    until("nothing of the build runs", || !running(&marker)).await;
}

#[tokio::test]
async fn a_build_is_cancelled_while_a_source_never_comes() {
    let world = World::new();
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let source = format!("source=(http://{address}/never)\nsha256sums=(SKIP)\n{PACKAGE}");
    let handle = world.executor.submit(world.small("a1", &source)).await.unwrap();
    let (mut fetching, _) = silent.accept().await.unwrap();
    let mut asked = [0; 10];
    fetching.read_exact(&mut asked).await.unwrap();
    assert_eq!(&asked, b"GET /never");
    world.executor.cancel(&handle).await.unwrap();
    let report = world.executor.finished(&handle).await.unwrap();
    assert_eq!(report.ending, Ending::Done(Outcome::Cancelled));
    fetching.read_to_end(&mut Vec::new()).await.expect("whoever fetched is gone");
    assert_eq!(world.leftovers(), ["a1", "a1/report.json"]);
}

#[tokio::test]
async fn a_package_file_without_end_holds_up_nobody() {
    let world = World::new();
    let endless = "/pkgdest/small-9.0-1-any.pkg.tar.zst";
    let order = world.small("a1", &format!("build() {{ truncate -s 4T {endless}; }}\n{PACKAGE}"));
    let handle = world.executor.submit(order).await.unwrap();
    world.wait_for_log("a1", "Finished making: small").await;
    world.executor.cancel(&handle).await.unwrap();
    let report = world.executor.finished(&handle).await.unwrap();
    assert_eq!(report.ending, Ending::Done(Outcome::Cancelled), "{report:?} {}", world.log("a1"));
    assert_eq!(world.leftovers(), ["a1", "a1/report.json"]);
}

#[tokio::test]
async fn a_build_that_floods_its_log_is_stopped() {
    let world = World::with(1, 100_000);
    let report = world.build(world.small("a1", &format!("build() {{ yes 2>&1; }}\n{PACKAGE}"))).await;
    assert_eq!(report.ending, Ending::Done(Outcome::Failed));
    assert!(report.message.contains("more than the 100000 bytes"), "{report:?}");
    let end = world.logs.position("a1").unwrap();
    assert!(end.len < 101_000 && end.final_len == Some(end.len), "{end:?}");
    assert!(world.log("a1").contains("the log reached its limit of 100000 bytes"));
}

#[tokio::test]
async fn output_and_errors_of_a_build_stay_in_order_and_resume_by_offset() {
    let world = World::new();
    let lines =
        format!("build() {{ for i in $(seq 2000); do echo \"out $i\"; echo \"err $i\" >&2; done; }}\n{PACKAGE}");
    let attempt = world.executor.submit(world.small("a1", &lines)).await.unwrap();
    let mut news = world.logs.subscribe("a1").unwrap();
    let mut seen = Vec::new();
    loop {
        let position = *news.borrow_and_update();
        seen.extend(world.logs.read("a1", seen.len() as u64, 333).unwrap());
        if position.final_len == Some(seen.len() as u64) {
            break;
        }
        if seen.len() as u64 >= position.len {
            news.changed().await.unwrap();
        }
    }
    world.executor.finished(&attempt).await.unwrap();
    let expected = (1..=2000).map(|i| format!("out {i}\nerr {i}\n")).collect::<Vec<_>>().concat();
    let text = String::from_utf8(seen).unwrap();
    assert!(text.contains(&expected), "{text}");
    assert_eq!(text, world.log("a1"));
}

#[tokio::test]
async fn a_restarted_controller_knows_what_was_finished_and_what_was_not() {
    let world = World::new();
    let report = world.succeed(world.small("done", PACKAGE)).await;
    let failed = world.build(world.small("failed", "package() { false; }")).await;
    fs::create_dir_all(world.dir.path().join("work/half/tree/start")).unwrap();
    world.logs.writer("half").unwrap().write(b"==> Starting build()...\n").unwrap();
    let config = LocalConfig { installed: None, ..LocalConfig::under(world.dir.path()) };
    let logs = LogStore::new(world.dir.path().join("logs")).unwrap();
    let again = LocalExecutor::open(config, logs.clone()).unwrap();
    assert_eq!(again.finished(&handle("done")).await.unwrap(), report);
    assert_eq!(again.submit(world.small("done", PACKAGE)).await.unwrap(), handle("done"), "it is not built again");
    let lost = again.finished(&handle("half")).await.unwrap();
    assert_eq!(lost.ending, Ending::Interrupted);
    assert_eq!(lost.message, "the controller restarted during this build");
    assert!(logs.position("half").unwrap().final_len.is_some());
    assert_eq!(again.finished(&handle("failed")).await.unwrap(), failed);
    assert!(!world.dir.path().join("work/half").exists());
    again.keep_only(["done".to_owned()].into()).await.unwrap();
    assert_eq!(again.finished(&handle("done")).await.unwrap(), report);
    assert!(!world.dir.path().join("work/failed").exists(), "its end is on record");
    again.discard(&handle("done")).await.unwrap();
    assert_eq!(world.leftovers(), Vec::<String>::new());
    assert!(again.discard(&handle("../repo")).await.is_err());
    let foreign = Handle { executor: "copr".into(), attempt: "done".into() };
    assert!(matches!(again.finished(&foreign).await, Err(ExecutorError::NotOurs { .. })));
}
