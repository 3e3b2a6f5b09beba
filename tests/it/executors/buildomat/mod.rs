//! Builds by buildomat, compared with its own description.

mod fake;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use pkgwarden::domain::build::Outcome;
use pkgwarden::domain::folder::Folder;
use pkgwarden::domain::upload::Limits;
use pkgwarden::executor::api::{Api, Proof};
use pkgwarden::executor::buildomat::{Buildomat, BuildomatExecutor, Client, LOST_AFTER, Making, SCRIPT};
use pkgwarden::executor::{AttemptReport, BuildOrder, Ending, Executor, Handle};
use pkgwarden::logstore::LogStore;
use pkgwarden::sys::clock::SystemClock;

use self::fake::{End, Fake};
use super::conformance::{self, HALF, Rig, Story, WHOLE, conforms};
use crate::support::forges::description::Description;
use crate::support::full_disk::{Disk, on_a_disk_of_its_own};
use crate::support::scene::names_in;

/// A machine that hands builds to buildomat.
struct BuildomatRig {
    dir: tempfile::TempDir,
    fake: Fake,
    lost_after: Duration,
}

impl BuildomatRig {
    async fn new() -> Self {
        Self::at(tempfile::tempdir().unwrap()).await
    }

    async fn at(dir: tempfile::TempDir) -> Self {
        Self { dir, fake: Fake::start().await, lost_after: LOST_AFTER }
    }

    /// Where patience is short.
    async fn impatient() -> Self {
        Self { lost_after: Duration::from_millis(500), ..Self::new().await }
    }

    /// A build that has begun, and its log.
    async fn begin(&self, attempt: &str) -> (Arc<dyn Executor>, LogStore, Handle) {
        let (executor, logs) = self.open().await;
        let handle = executor.submit(self.order(attempt, Story::Waits)).await.unwrap();
        executor.started(&handle).await.unwrap();
        (executor, logs, handle)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Rig for BuildomatRig {
    fn open(&self) -> BoxFuture<'static, (Arc<dyn Executor>, LogStore)> {
        let (logs, work_dir, url) = (self.path("logs"), self.path("buildomat"), self.fake.url.clone());
        let lost_after = self.lost_after;
        async move {
            let logs = LogStore::new(logs).unwrap();
            let api =
                Api::new("buildomat", url.parse().unwrap(), Proof::Token("token-of-keeper".to_owned().into())).unwrap();
            let making = Making { target: "archlinux".to_owned(), script: SCRIPT.to_owned() };
            let server = Buildomat {
                client: Client::new(api),
                making,
                limits: Limits::default(),
                pause: Duration::from_millis(10),
                lost_after,
                clock: Arc::new(SystemClock),
            };
            let executor = BuildomatExecutor::open(server, work_dir, logs.clone(), None).unwrap();
            (Arc::new(executor) as Arc<dyn Executor>, logs)
        }
        .boxed()
    }

    fn order(&self, attempt: &str, story: Story) -> BuildOrder {
        self.fake.tells(attempt, story);
        conformance::order(attempt, Folder::default().with("PKGBUILD", "pkgname=small\n"), Vec::new())
    }

    fn let_go(&self, attempt: &str) -> BoxFuture<'_, ()> {
        self.fake.ends(attempt, End::Good);
        async {}.boxed()
    }

    fn lose(&self, attempt: &str) -> BoxFuture<'_, ()> {
        self.fake.ends(attempt, End::Lost);
        async {}.boxed()
    }

    fn begun(&self, attempt: &str) -> Option<usize> {
        Some(self.fake.begun(attempt))
    }

    fn leftovers(&self) -> Vec<String> {
        names_in(&self.path("buildomat")).into_iter().chain(self.fake.running()).collect()
    }
}

conforms!(BuildomatRig::new().await);

#[tokio::test]
async fn everything_that_is_said_is_as_buildomat_describes_it() {
    let (built, cancelled) = (BuildomatRig::new().await, BuildomatRig::new().await);
    conformance::a_build_is_carried_out_and_observed(&built).await;
    conformance::a_cancelled_build_ends_as_cancelled(&cancelled).await;
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/buildomat/openapi.json");
    let said = [built.fake.exchanges(), cancelled.fake.exchanges()].concat();
    let rows = Description::open_api(&document).compare(&said);
    let faults: Vec<_> = rows.iter().filter(|(_, row)| !row.faults.is_empty()).collect();
    assert_eq!(faults.len(), 0, "{faults:#?}");
    assert_eq!(rows.len(), 7, "{rows:#?}");
}

#[tokio::test]
async fn what_a_job_left_is_not_fetched_if_it_is_more_than_a_build_may_bring() {
    let rig = BuildomatRig::new().await;
    let (executor, _logs) = rig.open().await;
    let handle = executor.submit(rig.order("bulky1", Story::Succeeds)).await.unwrap();
    let report = executor.finished(&handle).await.unwrap();
    assert_eq!(report.ending, Ending::Done(Outcome::Failed), "{report:?}");
    assert!(
        report.message.contains("a file may have 4294967296 bytes; executor.uploads.file_mib"),
        "{}",
        report.message
    );
    executor.discard(&handle).await.unwrap();
    assert_eq!(rig.leftovers(), [""; 0]);
}

/// Its end, which has to come soon.
async fn end(executor: &Arc<dyn Executor>, handle: &Handle) -> AttemptReport {
    let ended = tokio::time::timeout(Duration::from_mins(1), executor.finished(handle)).await;
    ended.expect("it ends").unwrap()
}

#[tokio::test]
async fn a_job_that_nobody_can_follow_any_more_is_cancelled() {
    let rig = BuildomatRig::impatient().await;
    let (executor, _logs, handle) = rig.begin("a1").await;
    rig.fake.expires(true);
    let report = end(&executor, &handle).await;
    assert_eq!(report.ending, Ending::Infrastructure, "{report:?}");
    assert!(report.message.contains("status 401"), "{}", report.message);
    assert_eq!(rig.fake.running(), [""; 0]);
}

#[tokio::test]
async fn a_token_that_is_replaced_costs_no_build() {
    let rig = BuildomatRig::new().await;
    let (executor, logs, handle) = rig.begin("a1").await;
    rig.fake.expires(true);
    rig.let_go("a1").await;
    rig.fake.until_asked_more().await;
    rig.fake.expires(false);
    let report = end(&executor, &handle).await;
    assert_eq!(report.ending, Ending::Done(Outcome::Succeeded), "{report:?}");
    let log = String::from_utf8(logs.read("a1", 0, usize::MAX).unwrap()).unwrap();
    assert_eq!((log.matches(HALF).count(), log.matches(WHOLE).count()), (1, 1), "{log}");
}

#[tokio::test]
async fn a_server_that_stays_away_ends_a_build_and_keeps_nobody_from_cancelling_it() {
    for is_cancelled in [false, true] {
        let rig = BuildomatRig::impatient().await;
        let (executor, _logs, handle) = rig.begin("a1").await;
        rig.fake.goes_away();
        if is_cancelled {
            executor.cancel(&handle).await.unwrap();
        }
        let report = end(&executor, &handle).await;
        let ending = if is_cancelled { Ending::Done(Outcome::Cancelled) } else { Ending::Infrastructure };
        assert_eq!(report.ending, ending, "{report:?}");
    }
}

#[tokio::test]
async fn a_document_that_is_too_long_for_a_variable_comes_as_a_file() {
    let rig = BuildomatRig::new().await;
    let (executor, _logs) = rig.open().await;
    let order = rig.order("a1", Story::Succeeds);
    let published = (0..5000).map(|number| format!("package-{number}-1.0-1-any.pkg.tar.zst")).collect();
    let handle = executor.submit(BuildOrder { published, ..order }).await.unwrap();
    let report = end(&executor, &handle).await;
    assert_eq!(report.ending, Ending::Done(Outcome::Succeeded), "{report:?}");
    let documents = rig.fake.documents();
    let [document] = documents.as_slice() else { panic!("{}", documents.len()) };
    let document: serde_json::Value = serde_json::from_slice(document).unwrap();
    assert_eq!((&document["attempt"], document["published"].as_array().unwrap().len()), (&"a1".into(), 5000));
}

#[tokio::test]
async fn a_log_that_cannot_be_written_now_costs_no_build() {
    on_a_disk_of_its_own("executors::buildomat::builds_without_room").await;
}

#[tokio::test]
#[ignore = "the process of `a_log_that_cannot_be_written_now_costs_no_build`"]
async fn builds_without_room() {
    let disk = Disk::given();
    let rig = BuildomatRig::at(tempfile::tempdir_in(disk.path("")).unwrap()).await;
    let (executor, logs, handle) = rig.begin("a1").await;
    let full = disk.keep_full();
    let line = "more than there is room for ".repeat(10_000);
    rig.fake.prints("a1", &line);
    rig.let_go("a1").await;
    rig.fake.until_asked_more().await;
    drop(full);
    let report = end(&executor, &handle).await;
    assert_eq!(report.ending, Ending::Done(Outcome::Succeeded), "{report:?}");
    let log = String::from_utf8(logs.read("a1", 0, usize::MAX).unwrap()).unwrap();
    assert_eq!((log.matches(&line).count(), log.matches(WHOLE).count()), (1, 1));
}
