//! The examples of programs that builds can be handed to: GitLab's pipelines and GitHub's workflows.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use pkgwarden::domain::build::Outcome;
use pkgwarden::domain::folder::Folder;
use pkgwarden::executor::{BuildOrder, Ending, Executor};
use pkgwarden::logstore::LogStore;
use pkgwarden::sys::process::Program;

use super::command;
use super::conformance::{self, HALF, Rig, Story, conforms};
use super::service::{Kind, Service};
use crate::support::forges::description::Description;
use crate::support::scene::names_in;

/// A machine that hands builds to a service.
struct ExampleRig {
    dir: tempfile::TempDir,
    service: Service,
}

impl ExampleRig {
    async fn new(kind: Kind) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let service = Service::start(kind, dir.path()).await;
        fs::write(dir.path().join("program"), program(kind, &service.url())).unwrap();
        Self { dir, service }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// A script that starts the example with the settings of this world.
fn program(kind: Kind, url: &str) -> String {
    let (example, settings) = match kind {
        Kind::GitLab => ("gitlab-pipeline", "GITLAB_URL=URL GITLAB_PROJECT=them/builds GITLAB_TOKEN=token-of-keeper"),
        Kind::GitHub => {
            ("github-workflow", "GITHUB_API_URL=URL GITHUB_REPOSITORY=them/builds GITHUB_TOKEN=token-of-keeper")
        }
    };
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/command").join(example);
    let settings = settings.replace("URL=URL", &format!("URL={url}"));
    format!("export PYTHONDONTWRITEBYTECODE=1 BUILD_POLL=0.02 {settings}\nexec {}\n", example.display())
}

impl Rig for ExampleRig {
    fn open(&self) -> BoxFuture<'static, (Arc<dyn Executor>, LogStore)> {
        command::open(self.dir.path())
    }

    fn order(&self, attempt: &str, story: Story) -> BuildOrder {
        self.service.tells(attempt, story);
        conformance::order(attempt, Folder::default().with("PKGBUILD", "pkgname=small\n"), Vec::new())
    }

    fn let_go(&self, attempt: &str) -> BoxFuture<'_, ()> {
        self.service.lets_go(attempt);
        async {}.boxed()
    }

    fn lose(&self, attempt: &str) -> BoxFuture<'_, ()> {
        self.service.loses(attempt);
        async {}.boxed()
    }

    fn begun(&self, attempt: &str) -> Option<usize> {
        Some(self.service.begun(attempt))
    }

    fn leftovers(&self) -> Vec<String> {
        names_in(&self.path("commands")).into_iter().chain(self.service.running()).collect()
    }
}

/// What nobody follows any more must not go on: another try would begin a second one beside it.
async fn a_run_that_cannot_be_followed_is_cancelled(kind: Kind) {
    let rig = ExampleRig::new(kind).await;
    let (executor, _logs) = rig.open().await;
    let handle = executor.submit(rig.order("a1", Story::Waits)).await.unwrap();
    executor.started(&handle).await.unwrap();
    rig.service.expires();
    let report = executor.finished(&handle).await.unwrap();
    assert_eq!(report.ending, Ending::Infrastructure, "{report:?}");
    assert_eq!(rig.service.running(), [""; 0]);
    executor.discard(&handle).await.unwrap();
}

#[tokio::test]
async fn a_status_that_a_build_left_is_read_as_one_whatever_it_is() {
    let script = "import service\n\
                  for text in [b'0\\n', b'4', b'255', b'256', b'-1', b'', b'99999', b'x']: print(service.status_of(text))\n";
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/command");
    let python = Program::new("python3").args(["-B", "-c", script]).current_dir(dir);
    let said = python.run().await.unwrap();
    assert_eq!(String::from_utf8_lossy(&said.stdout), "0\n4\n255\n1\n1\n1\n1\n1\n", "{}", said.stderr_text());
}

/// What a service does not take is said, and nothing is begun that could not read it.
async fn a_build_that_is_too_long_to_be_told_says_so(kind: Kind, limit: &str) {
    let rig = ExampleRig::new(kind).await;
    let (executor, _logs) = rig.open().await;
    let published = (0..5000).map(|number| format!("package-{number}-1.0-1-any.pkg.tar.zst")).collect();
    let order = BuildOrder { published, ..rig.order("a1", Story::Succeeds) };
    let handle = executor.submit(order).await.unwrap();
    let report = executor.finished(&handle).await.unwrap();
    assert_eq!(report.ending, Ending::Infrastructure, "{report:?}");
    assert!(report.message.contains(limit), "{}", report.message);
    assert_eq!(rig.service.begun("a1"), 0);
}

mod gitlab {
    use super::*;

    #[tokio::test]
    async fn a_build_that_is_too_long_to_be_told_says_so() {
        super::a_build_that_is_too_long_to_be_told_says_so(Kind::GitLab, "GitLab takes 131040 characters").await;
    }

    #[tokio::test]
    async fn a_job_that_is_begun_again_is_told_from_its_beginning() {
        let rig = ExampleRig::new(Kind::GitLab).await;
        let (executor, logs) = rig.open().await;
        let handle = executor.submit(rig.order("a1", Story::Waits)).await.unwrap();
        let printed = || String::from_utf8(logs.read("a1", 0, usize::MAX).unwrap()).unwrap();
        let mut news = logs.subscribe("a1").unwrap();
        while !printed().contains("\u{1b}[0K@ end") {
            news.changed().await.unwrap();
        }
        rig.service.begins_again("a1");
        while !printed().contains("begins anew") {
            news.changed().await.unwrap_or_else(|_| panic!("{}", printed()));
        }
        rig.let_go("a1").await;
        let report = executor.finished(&handle).await.unwrap();
        assert_eq!(report.ending, Ending::Done(Outcome::Succeeded), "{report:?}");
        let log = printed();
        let (before, after) = log.split_once("==> GitLab tries the job again, and its log begins anew\n").unwrap();
        assert!(before.contains(HALF) && after.starts_with(&format!("from its beginning\n{HALF}\n")), "{log}");
    }

    #[tokio::test]
    async fn a_run_that_cannot_be_followed_is_cancelled() {
        super::a_run_that_cannot_be_followed_is_cancelled(Kind::GitLab).await;
    }

    conforms!(ExampleRig::new(Kind::GitLab).await);
}

mod github {
    use super::*;

    #[tokio::test]
    async fn a_build_that_is_too_long_to_be_told_says_so() {
        super::a_build_that_is_too_long_to_be_told_says_so(Kind::GitHub, "GitHub takes 65535 characters").await;
    }

    conforms!(ExampleRig::new(Kind::GitHub).await);

    #[tokio::test]
    async fn a_run_that_cannot_be_followed_is_cancelled() {
        super::a_run_that_cannot_be_followed_is_cancelled(Kind::GitHub).await;
    }

    #[tokio::test]
    async fn what_is_asked_is_what_github_describes() {
        let (built, cancelled) = (ExampleRig::new(Kind::GitHub).await, ExampleRig::new(Kind::GitHub).await);
        conformance::a_build_is_carried_out_and_observed(&built).await;
        conformance::a_cancelled_build_ends_as_cancelled(&cancelled).await;
        let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/forges-1/github.json");
        let said = [built.service.exchanges(), cancelled.service.exchanges()].concat();
        let rows = Description::open_api(&document).compare(&said);
        let faults: Vec<_> = rows.iter().filter(|(_, row)| !row.faults.is_empty()).collect();
        assert_eq!(faults.len(), 0, "{faults:#?}");
        assert!(rows.len() >= 4, "{rows:#?}");
    }
}
