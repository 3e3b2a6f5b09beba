//! Builds on COPR, played by a COPR that does everything that the real one was seen to do.
//!
//! What is required of logs is numbered L1 to L16; each has a test of its number:
//!
//! | | | |
//! |---|---|---|
//! | L1 | a build has a number at once | [`command`]`::l1_…` |
//! | L2 | chroots come from the list, which is empty at first | [`logs`]`::l2_…` |
//! | L3 | the source stage is a log too, and may be an error at first | [`logs`]`::l3_…` |
//! | L4 | only what is new, every byte once | [`logs`]`::l4_…`, property in `domain::copr::tail` |
//! | L5 | not yet there, and given up without harm | [`logs`]`::l5_…`, `domain::copr::pace` |
//! | L6 | prefixed whole lines | [`logs`]`::l6_…`, `domain::copr::lines` |
//! | L7 | the end, and what only the packed log has | [`logs`]`::l7_…`, `domain::copr::pace` |
//! | L8 | a chroot that ends does not end others | [`logs`]`::l8_…` |
//! | L9 | the status is that of the build | [`logs`]`::l9_…`, [`command`]`::l9_…` |
//! | L10 | everything is read before the end, also after SIGTERM | [`command`]`::l10_…`, `domain::copr::pace` |
//! | L11 | what passes is waited for | [`logs`]`::l11_…`, `domain::copr::pace` |
//! | L12 | nothing ever ran | [`logs`]`::l12_…` |
//! | L13 | a log that begins anew, or is cut off | [`logs`]`::l13_…`, `domain::copr::tail` |
//! | L14 | what could not be streamed is shown afterwards | [`logs`]`::l14_…` |
//! | L15 | the old way | [`command`]`::l15_…` |
//! | L16 | memory | [`command`]`::l16_…`, `domain::copr::lines` |

mod command;
mod logs;
mod submit;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use pkgwarden::domain::copr::Project;
use pkgwarden::domain::copr::pace::Pace;
use pkgwarden::domain::folder::Folder;
use pkgwarden::executor::copr::client::Client;
use pkgwarden::executor::copr::login::Login;
use pkgwarden::executor::copr::method::Method;
use pkgwarden::executor::copr::watch::Pacing;
use pkgwarden::executor::copr::wire::Options;
use pkgwarden::executor::copr::{CoprConfig, CoprExecutor};
use pkgwarden::executor::{BuildOrder, Executor};
use pkgwarden::logstore::LogStore;
use pkgwarden::sys::clock::SystemClock;

use super::conformance::{self, HALF, Rig, Story, WHOLE, conforms};
use crate::support::copr::{Build, Copr, Style};

const CHROOT: &str = "fedora-42-x86_64";

/// Often, so that tests are over soon.
pub fn pacing() -> Pacing {
    Pacing {
        status: Duration::from_millis(5),
        logs: Pace { every: Duration::from_millis(3), patience: Duration::from_mins(10) },
        drain: Duration::from_mins(1),
        lost_after: Duration::from_hours(24),
    }
}

/// The executor as a process opens it, with this method.
fn open(copr: &Copr, dir: &Path, method: Method) -> (CoprExecutor, LogStore) {
    let login = Login::read(&copr.login(dir)).unwrap();
    open_with(login, dir, method)
}

fn open_with(login: Login, dir: &Path, method: Method) -> (CoprExecutor, LogStore) {
    let logs = LogStore::new(dir.join("logs")).unwrap();
    let client = Client::new(login.url.clone(), Some(login)).unwrap();
    let config = CoprConfig {
        project: Project::parse("me/tools").unwrap(),
        method,
        options: Options::default(),
        pacing: pacing(),
        work_dir: dir.join("copr-attempts"),
    };
    let executor = CoprExecutor::start(config, client, logs.clone(), Arc::new(SystemClock)).unwrap();
    (executor, logs)
}

/// A method by which a build knows its attempt.
fn script(dir: &Path) -> Method {
    let script = dir.join("script");
    std::fs::write(&script, "#!/bin/bash\ngit clone \"$PKGWARDEN_URL\"\n").unwrap();
    Method::Custom { script, chroot: String::new(), builddeps: "git".to_owned(), resultdir: String::new() }
}

/// The attempt that a build is of, by its script.
fn attempt_of(build: &Build) -> Option<String> {
    let script = build.source_dict["script"].as_str()?;
    Some(script.split_once("PKGWARDEN_ATTEMPT='")?.1.split('\'').next()?.to_owned())
}

/// Which builds do what, and which may go on.
#[derive(Default)]
struct Plot {
    stories: BTreeMap<String, Story>,
    let_go: Vec<String>,
}

struct CoprRig {
    dir: tempfile::TempDir,
    copr: Copr,
    plot: Arc<Mutex<Plot>>,
}

impl CoprRig {
    async fn new() -> Self {
        let copr = Copr::start(Style::Lighttpd).await;
        let plot = Arc::new(Mutex::new(Plot::default()));
        let plotted = plot.clone();
        copr.live(move |build| live(build, &plotted.lock().unwrap()));
        Self { dir: tempfile::tempdir().unwrap(), copr, plot }
    }

    fn of(&self, attempt: &str) -> Vec<u64> {
        let world = self.copr.world();
        let is_it = |build: &&Build| attempt_of(build).as_deref() == Some(attempt);
        world.builds.iter().filter(is_it).map(|build| build.id).collect()
    }
}

/// A step in the life of a build.
fn live(build: &mut Build, plot: &Plot) {
    let attempt = attempt_of(build).expect("a build of ours");
    let story = plot.stories[&attempt];
    match (build.state(), build.source.has_place) {
        ("pending", false) => build.source.run(),
        ("running", true) if build.chroots.is_empty() => build.imported(&[CHROOT]),
        ("canceled" | "failed" | "succeeded", _) => {}
        (_, _) if build.chroot(CHROOT).state == "waiting" => {
            build.chroot(CHROOT).run();
            build.chroot(CHROOT).live.print(format!("{HALF}\n"));
        }
        (_, _) => {
            let chroot = build.chroot(CHROOT);
            match story {
                Story::Fails => chroot.end("failed"),
                Story::Waits if !plot.let_go.contains(&attempt) => {}
                Story::Waits | Story::Succeeds => {
                    chroot.live.print(format!("{WHOLE}\n"));
                    chroot.end("succeeded");
                }
            }
        }
    }
}

impl Rig for CoprRig {
    fn open(&self) -> BoxFuture<'static, (Arc<dyn Executor>, LogStore)> {
        let method = script(self.dir.path());
        let (login, dir): (_, PathBuf) =
            (Login::read(&self.copr.login(self.dir.path())).unwrap(), self.dir.path().into());
        async move {
            let (executor, logs) = open_with(login, &dir, method);
            (Arc::new(executor) as Arc<dyn Executor>, logs)
        }
        .boxed()
    }

    fn order(&self, attempt: &str, story: Story) -> BuildOrder {
        self.plot.lock().unwrap().stories.insert(attempt.to_owned(), story);
        conformance::order(attempt, Folder::default().with("PKGBUILD", "pkgname=small"), Vec::new())
    }

    fn let_go(&self, attempt: &str) -> BoxFuture<'_, ()> {
        self.plot.lock().unwrap().let_go.push(attempt.to_owned());
        async {}.boxed()
    }

    /// Somebody deletes the build at COPR.
    fn lose(&self, attempt: &str) -> BoxFuture<'_, ()> {
        let lost = self.of(attempt);
        self.copr.world().builds.retain(|build| !lost.contains(&build.id));
        async {}.boxed()
    }

    fn begun(&self, attempt: &str) -> Option<usize> {
        Some(self.of(attempt).len())
    }

    fn leftovers(&self) -> Vec<String> {
        let mut left = crate::support::scene::names_in(&self.dir.path().join("copr-attempts"));
        let world = self.copr.world();
        let over = ["failed", "succeeded", "canceled"];
        let running = world.builds.iter().filter(|build| !over.contains(&build.state()));
        left.extend(running.map(|build| format!("build {}", build.id)));
        left
    }
}

conforms!(CoprRig::new().await);
