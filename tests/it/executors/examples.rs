//! The examples of programs that builds can be handed to: GitLab's pipelines and GitHub's workflows.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use pkgwarden::domain::folder::Folder;
use pkgwarden::executor::command::{CommandConfig, CommandExecutor};
use pkgwarden::executor::{BuildOrder, Ending, Executor};
use pkgwarden::logstore::LogStore;
use pkgwarden::sys::clock::SystemClock;
use pkgwarden::sys::process::Program;

use super::conformance::{self, Rig, Story, conforms};
use super::service::{Kind, Service};
use crate::support::forges::description::Description;
use crate::support::scene::names_in;

/// A machine that hands builds to a service.
struct ExampleRig {
    dir: tempfile::TempDir,
    service: Service,
    kind: Kind,
}

impl ExampleRig {
    async fn new(kind: Kind) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let service = Service::start(kind, dir.path()).await;
        Self { dir, service, kind }
    }

    /// The words that start the example with the settings of this world.
    fn words(&self) -> Vec<String> {
        let (example, settings) = match self.kind {
            Kind::GitLab => {
                ("gitlab-pipeline", "GITLAB_URL=URL GITLAB_PROJECT=them/builds GITLAB_TOKEN=token-of-keeper")
            }
            Kind::GitHub => {
                ("github-workflow", "GITHUB_API_URL=URL GITHUB_REPOSITORY=them/builds GITHUB_TOKEN=token-of-keeper")
            }
        };
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/command").join(example);
        let settings = settings.replace("URL=URL", &format!("URL={}", self.service.url()));
        let script = format!(
            "#!/bin/sh\nexport PYTHONDONTWRITEBYTECODE=1 BUILD_POLL=0.02 {settings}\nexec {}\n",
            example.display()
        );
        let program = self.path("program");
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        vec!["/bin/sh".to_owned(), program.display().to_string()]
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Rig for ExampleRig {
    fn open(&self) -> BoxFuture<'static, (Arc<dyn Executor>, LogStore)> {
        let (logs, work_dir, words) = (self.path("logs"), self.path("commands"), self.words());
        async move {
            let logs = LogStore::new(logs).unwrap();
            let config = CommandConfig { words, env: Vec::new(), work_dir, elsewhere: false };
            let executor = CommandExecutor::start(config, logs.clone(), None, Arc::new(SystemClock)).unwrap();
            (Arc::new(executor) as Arc<dyn Executor>, logs)
        }
        .boxed()
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

mod gitlab {
    use super::*;

    #[tokio::test]
    async fn a_run_that_cannot_be_followed_is_cancelled() {
        super::a_run_that_cannot_be_followed_is_cancelled(Kind::GitLab).await;
    }

    conforms!(ExampleRig::new(Kind::GitLab).await);
}

mod github {
    use super::*;

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
