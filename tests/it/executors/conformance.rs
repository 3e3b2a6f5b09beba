//! The cases. A process of the controller is a runtime of its own, so that it can end between any two steps.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use pkgwarden::builder::pacman::PackageRepository;
use pkgwarden::domain::build::Outcome;
use pkgwarden::domain::folder::Folder;
use pkgwarden::domain::name::{Oid, PkgBase};
use pkgwarden::executor::{AttemptReport, BuildOrder, Ending, Executor, ExecutorError, Handle};
use pkgwarden::logstore::LogStore;
use tokio::runtime::Runtime;

/// What a build does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Story {
    /// It prints [`HALF`] and [`WHOLE`], and makes a package of the name `small`.
    Succeeds,
    /// It prints [`HALF`] and fails.
    Fails,
    /// It prints [`HALF`], waits to be let go, and then does as [`Story::Succeeds`].
    Waits,
}

impl Story {
    /// For those on stage that are told what to do in a word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Succeeds => "succeeds",
            Self::Fails => "fails",
            Self::Waits => "waits",
        }
    }

    /// A PKGBUILD that does it. It is let go by a file `go` beside it.
    pub fn recipe(self) -> String {
        let then = match self {
            Self::Succeeds => "",
            Self::Fails => "return 1",
            Self::Waits => "while ! [[ -e $startdir/go ]]; do sleep 0.02; done",
        };
        format!(
            "pkgname=small\npkgver=1\npkgrel=1\narch=(any)\n\
             build() {{\n  echo '{HALF}'\n  {then}\n  echo '{WHOLE}'\n}}\npackage() {{ :; }}\n"
        )
    }
}

/// What builds print when they have begun.
pub const HALF: &str = "half of it";
/// What builds print that come to a good end.
pub const WHOLE: &str = "all of it";

/// A world in which one kind of executor can be tried.
pub trait Rig: Send + Sync {
    /// The executor, as a process of the controller opens it that begins now. Runs on the runtime of that process.
    fn open(&self) -> BoxFuture<'static, (Arc<dyn Executor>, LogStore)>;

    /// A build of the package `small`.
    fn order(&self, attempt: &str, story: Story) -> BuildOrder;

    /// Lets a build go that waits.
    fn let_go(&self, attempt: &str) -> BoxFuture<'_, ()>;

    /// Ends whatever carries out the build, without a word to anybody.
    fn lose(&self, attempt: &str) -> BoxFuture<'_, ()>;

    /// How often the build was begun out there, where that can be told otherwise than by its log.
    fn begun(&self, _attempt: &str) -> Option<usize> {
        None
    }

    /// What is left of any attempt, here and out there.
    fn leftovers(&self) -> Vec<String>;
}

/// A process of the controller.
struct Process {
    runtime: Runtime,
    executor: Arc<dyn Executor>,
    logs: LogStore,
}

impl Process {
    async fn begin(rig: &dyn Rig) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (executor, logs) = runtime.spawn(rig.open()).await.unwrap();
        Self { runtime, executor, logs }
    }

    /// Does something in the process, and waits for it.
    async fn does<T: Send + 'static, F>(&self, work: impl FnOnce(Arc<dyn Executor>) -> F) -> T
    where
        F: Future<Output = T> + Send + 'static,
    {
        self.runtime.spawn(work(self.executor.clone())).await.unwrap()
    }

    async fn submit(&self, order: BuildOrder) -> Handle {
        self.does(|executor| async move { executor.submit(order).await.unwrap() }).await
    }

    async fn started(&self, handle: &Handle) {
        let handle = handle.clone();
        self.does(|executor| async move { executor.started(&handle).await.unwrap() }).await;
    }

    async fn finished(&self, handle: &Handle) -> AttemptReport {
        let handle = handle.clone();
        self.does(|executor| async move { executor.finished(&handle).await.unwrap() }).await
    }

    async fn discard(&self, handle: &Handle) {
        let handle = handle.clone();
        self.does(|executor| async move { executor.discard(&handle).await.unwrap() }).await;
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

    /// Ends the process where it stands.
    fn kill(self) {
        end_at_once(self.runtime);
    }

    /// Ends the process when it has nothing to do any more, and proves that nothing is left over.
    fn end(self, rig: &dyn Rig) {
        assert_eq!(rig.leftovers(), Vec::<String>::new());
        self.kill();
    }

    fn begun(&self, rig: &dyn Rig, attempt: &str) -> usize {
        rig.begun(attempt).unwrap_or_else(|| self.log(attempt).matches(HALF).count())
    }
}

/// Ends a runtime with all that it does: nothing of it goes on after this, as nothing does after a kill.
pub fn end_at_once(runtime: Runtime) {
    // A runtime cannot wait in another one.
    std::thread::spawn(move || runtime.shutdown_timeout(Duration::from_secs(10))).join().unwrap();
}

/// A small package from a repository of ours.
pub fn order(attempt: &str, files: Folder, repositories: Vec<PackageRepository>) -> BuildOrder {
    BuildOrder {
        attempt: attempt.into(),
        repository: "mine".into(),
        url: Some("https://git.example/packages.git".into()),
        arch: "x86_64".into(),
        pkgbase: PkgBase::new("small").unwrap(),
        commit: Oid::from_bytes([7; 20]),
        files,
        expected_version: None,
        class: None,
        bump: None,
        package_repositories: repositories,
        published: Vec::new(),
        timeout: Duration::from_mins(10),
        extra_timeout: 1.0,
        cache_sources: false,
        allow_prohibited: false,
        caches: pkgwarden::domain::cache::Plan::default(),
        source_date_epoch: 1_700_000_000,
        proposal: None,
        skip_exit_code: 123,
        route: pkgwarden::domain::chaotic::Route::default(),
    }
}

fn succeeded(report: &AttemptReport, process: &Process, attempt: &str) {
    assert_eq!(report.ending, Ending::Done(Outcome::Succeeded), "{report:?}\n{}", process.log(attempt));
    let names: Vec<_> = report.artefacts.iter().map(|artefact| artefact.name.as_str()).collect();
    let expected: &[&str] = if process.executor.publishes() { &[] } else { &["small-1-1-any.pkg.tar.zst"] };
    assert_eq!(names, expected);
}

/// Submit and observe: a build is carried out, tells when it has begun and how it ended, and leaves a whole log.
pub async fn a_build_is_carried_out_and_observed(rig: &dyn Rig) {
    let process = Process::begin(rig).await;
    let handle = process.submit(rig.order("1-1", Story::Waits)).await;
    assert_eq!((handle.executor.as_str(), handle.attempt.as_str()), (process.executor.name(), "1-1"));
    process.started(&handle).await;
    process.wait_for_log("1-1", HALF).await;
    assert!(!process.log("1-1").contains(WHOLE));
    rig.let_go("1-1").await;
    let report = process.finished(&handle).await;
    succeeded(&report, &process, "1-1");
    for artefact in &report.artefacts {
        assert_eq!(std::fs::metadata(&artefact.path).unwrap().len(), artefact.size, "{}", artefact.name);
    }
    let position = process.logs.position("1-1").unwrap();
    assert_eq!(position.final_len, Some(position.len), "the end of the log is on record");
    assert!(process.log("1-1").find(HALF) < process.log("1-1").find(WHOLE));
    process.discard(&handle).await;
    process.end(rig);
}

/// A failure of the package is told as such, with its log.
pub async fn a_failure_is_the_packages(rig: &dyn Rig) {
    let process = Process::begin(rig).await;
    let handle = process.submit(rig.order("1-1", Story::Fails)).await;
    let report = process.finished(&handle).await;
    assert_eq!(report.ending, Ending::Done(Outcome::Failed), "{report:?}\n{}", process.log("1-1"));
    assert!(!report.message.is_empty() && report.artefacts.is_empty(), "{report:?}");
    assert!(process.log("1-1").contains(HALF));
    process.discard(&handle).await;
    process.end(rig);
}

/// Duplicate submit: asked for any number of times, it is the same build.
pub async fn a_build_asked_for_again_is_the_same(rig: &dyn Rig) {
    let process = Process::begin(rig).await;
    let handle = process.submit(rig.order("1-1", Story::Waits)).await;
    assert_eq!(process.submit(rig.order("1-1", Story::Waits)).await, handle);
    process.wait_for_log("1-1", HALF).await;
    assert_eq!(process.submit(rig.order("1-1", Story::Waits)).await, handle);
    rig.let_go("1-1").await;
    let report = process.finished(&handle).await;
    succeeded(&report, &process, "1-1");
    assert_eq!(process.submit(rig.order("1-1", Story::Waits)).await, handle);
    assert_eq!(process.finished(&handle).await, report, "an end stays as it was told");
    assert_eq!(process.begun(rig, "1-1"), 1);
    process.discard(&handle).await;
    process.end(rig);
}

/// Cancel: a build that is stopped says so, and its machine is free again.
pub async fn a_cancelled_build_ends_as_cancelled(rig: &dyn Rig) {
    let process = Process::begin(rig).await;
    let handle = process.submit(rig.order("1-1", Story::Waits)).await;
    process.wait_for_log("1-1", HALF).await;
    let cancelled = handle.clone();
    process.does(|executor| async move { executor.cancel(&cancelled).await.unwrap() }).await;
    let report = process.finished(&handle).await;
    assert_eq!(report.ending, Ending::Done(Outcome::Cancelled), "{report:?}\n{}", process.log("1-1"));
    assert!(report.artefacts.is_empty() && !process.log("1-1").contains(WHOLE), "{report:?}");
    process.discard(&handle).await;
    let next = process.submit(rig.order("1-2", Story::Succeeds)).await;
    succeeded(&process.finished(&next).await, &process, "1-2");
    process.discard(&next).await;
    process.end(rig);
}

/// Controller restart and log resume: a build goes on if its executor says so, and every byte of its log is there
/// once; otherwise it is tried again.
pub async fn a_controller_that_begins_anew_finds_its_builds(rig: &dyn Rig) {
    let process = Process::begin(rig).await;
    let handle = process.submit(rig.order("1-1", Story::Waits)).await;
    process.wait_for_log("1-1", HALF).await;
    process.kill();

    let process = Process::begin(rig).await;
    let attempts = BTreeSet::from(["1-1".to_owned()]);
    process.does(|executor| async move { executor.keep_only(attempts).await.unwrap() }).await;
    if process.executor.outlives_us() {
        process.started(&handle).await;
        rig.let_go("1-1").await;
        let report = process.finished(&handle).await;
        succeeded(&report, &process, "1-1");
        let log = process.log("1-1");
        assert_eq!((log.matches(HALF).count(), log.matches(WHOLE).count()), (1, 1), "{log}");
        assert_eq!(process.begun(rig, "1-1"), 1);
        process.kill();
        let process = Process::begin(rig).await;
        assert_eq!(process.finished(&handle).await, report, "the end is kept until it is taken");
        process.discard(&handle).await;
        process.end(rig);
    } else {
        let report = process.finished(&handle).await;
        assert_eq!(report.ending, Ending::Interrupted, "{report:?}");
        process.discard(&handle).await;
        let next = process.submit(rig.order("1-2", Story::Succeeds)).await;
        succeeded(&process.finished(&next).await, &process, "1-2");
        process.discard(&next).await;
        process.end(rig);
    }
}

/// Lost executor: whatever carries out the build is gone; another try may succeed.
pub async fn a_lost_build_is_nobodys_fault(rig: &dyn Rig) {
    let process = Process::begin(rig).await;
    let handle = process.submit(rig.order("1-1", Story::Waits)).await;
    process.wait_for_log("1-1", HALF).await;
    rig.lose("1-1").await;
    let report = process.finished(&handle).await;
    assert_eq!(report.ending, Ending::Infrastructure, "{report:?}\n{}", process.log("1-1"));
    assert!(!report.message.is_empty() && report.artefacts.is_empty(), "{report:?}");
    process.discard(&handle).await;
    let next = process.submit(rig.order("1-2", Story::Succeeds)).await;
    succeeded(&process.finished(&next).await, &process, "1-2");
    process.discard(&next).await;
    process.end(rig);
}

/// What an earlier process left of builds that are over is cleared up, also while they run, and handles of others are
/// refused.
pub async fn what_nobody_waits_for_is_cleared_up(rig: &dyn Rig) {
    let process = Process::begin(rig).await;
    let handle = process.submit(rig.order("1-1", Story::Waits)).await;
    process.wait_for_log("1-1", HALF).await;
    process.discard(&handle).await;
    let over = process.submit(rig.order("1-2", Story::Succeeds)).await;
    process.finished(&over).await;
    process.kill();

    let process = Process::begin(rig).await;
    process.does(|executor| async move { executor.keep_only(BTreeSet::new()).await.unwrap() }).await;
    let foreign = Handle { executor: "somebody".to_owned(), attempt: "1-1".to_owned() };
    let refused = process.does(|executor| async move { executor.finished(&foreign).await }).await;
    assert!(matches!(refused, Err(ExecutorError::NotOurs { .. })), "{refused:?}");
    process.end(rig);
}

/// Makes a test of each case for a world.
macro_rules! conforms {
    ($rig:expr) => {
        crate::executors::conformance::conforms!($rig;
            a_build_is_carried_out_and_observed
            a_failure_is_the_packages
            a_build_asked_for_again_is_the_same
            a_cancelled_build_ends_as_cancelled
            a_controller_that_begins_anew_finds_its_builds
            a_lost_build_is_nobodys_fault
            what_nobody_waits_for_is_cleared_up
        );
    };
    ($rig:expr; $($case:ident)*) => {
        $(
            #[tokio::test]
            async fn $case() {
                let rig = $rig;
                crate::executors::conformance::$case(&rig).await;
            }
        )*
    };
}
pub(super) use conforms;
