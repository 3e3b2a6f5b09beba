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
use pkgwarden::executor::buildomat::{Buildomat, BuildomatExecutor, Client, Making, SCRIPT};
use pkgwarden::executor::{BuildOrder, Ending, Executor};
use pkgwarden::logstore::LogStore;
use pkgwarden::sys::clock::SystemClock;

use self::fake::{End, Fake};
use super::conformance::{self, Rig, Story, conforms};
use crate::support::forges::description::Description;
use crate::support::scene::names_in;

/// A machine that hands builds to buildomat.
struct BuildomatRig {
    dir: tempfile::TempDir,
    fake: Fake,
}

impl BuildomatRig {
    async fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), fake: Fake::start().await }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Rig for BuildomatRig {
    fn open(&self) -> BoxFuture<'static, (Arc<dyn Executor>, LogStore)> {
        let (logs, work_dir, url) = (self.path("logs"), self.path("buildomat"), self.fake.url.clone());
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
