//! One monorepo and everything around it, in a directory of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use anyhow::Result;
use jiff::{SignedDuration, Timestamp};
use pkgwarden::app::{self, Place, Serving};
use pkgwarden::config::{Settings, settings};
use pkgwarden::controller::run::{Report, Runner};
use pkgwarden::controller::site::Site;
use pkgwarden::controller::tend::Hosted;
use pkgwarden::demo::server::Server;
use pkgwarden::demo::world::{Options, World};
use pkgwarden::domain::name::PkgBase;
use pkgwarden::domain::plan::{Document, Pipeline};
use pkgwarden::domain::policy::Person;
use pkgwarden::store::Store;
use pkgwarden::store::builds::Build;
use pkgwarden::store::queries::BuildFilter;
use pkgwarden::sys::clock::{Clock as _, ManualClock};

use super::aur::Aur;
use super::package::Pkg;
use super::repo::{Change, Repo};
use super::told::told;

/// When every scene begins.
pub const BEGIN: &str = "2026-05-01T12:00:00Z";
/// The branch with the packages.
pub const MAIN: &str = "refs/heads/main";
/// What every scene's `.ci/config` says.
pub const CI_CONFIG: &str = "REPO_NAME=test\nBUILD_REPO=test\nCI_HUMAN_REVIEW=true\nGIT_AUTHOR_NAME=\"The Keeper\"\n\
                         GIT_AUTHOR_EMAIL=keeper@example.org\n";

/// One monorepo and everything around it.
pub struct Scene {
    dir: tempfile::TempDir,
    /// The remote: what everybody pushes to.
    pub monorepo: Repo,
    /// What time it is.
    pub clock: Arc<ManualClock>,
    /// What the program is given in its environment.
    pub env: BTreeMap<String, String>,
    /// The AUR and its packages, if the scene has them.
    pub world: Option<World>,
    /// The forge that reviews are on, if there is one.
    pub hosted: Option<Hosted>,
    _server: Option<Server>,
    workspaces: Mutex<Vec<PathBuf>>,
    ended: bool,
}

impl Scene {
    /// A monorepo with these packages, all handed out, and no AUR.
    pub async fn of(packages: &[Pkg]) -> Self {
        let scene = Self::empty().await;
        let mut changes = vec![Change::put(".ci/config", CI_CONFIG)];
        changes.extend(packages.iter().flat_map(Pkg::changes));
        scene.push("feat: begin", &changes).await;
        scene.hand_out().await;
        scene
    }

    /// A monorepo without a commit.
    pub async fn empty() -> Self {
        let dir = enterable_dir();
        let monorepo = Repo::init(&dir.path().join("packages.git")).await;
        Self::in_dir(dir, monorepo, None)
    }

    /// The demo's monorepo and AUR, everything handed out, and the AUR looked at once.
    pub async fn with_aur() -> Self {
        Self::with_aur_of(0).await
    }

    /// As [`Scene::with_aur`], with so many small packages more.
    pub async fn with_aur_of(extra_packages: usize) -> Self {
        let dir = enterable_dir();
        let clock = Arc::new(ManualClock::new(BEGIN.parse().expect("a time")));
        let place = dir.path().join("world");
        let world = World::create(&place, clock.clone(), Options { extra_packages, ..Options::default() })
            .await
            .expect("a world");
        let scene = Self::in_dir(dir, Repo::at(world.monorepo()), Some((world, clock)));
        scene.hand_out().await;
        scene.run(Pipeline::OnSchedule).await;
        scene
    }

    fn in_dir(dir: tempfile::TempDir, monorepo: Repo, world: Option<(World, Arc<ManualClock>)>) -> Self {
        for name in ["home", "tmp"] {
            std::fs::create_dir(dir.path().join(name)).expect("created");
        }
        let mut env = BTreeMap::new();
        let mut set = |key: &str, value: &str| drop(env.insert(format!("PKGWARDEN__{key}"), value.to_owned()));
        set("SERVER__DATA_DIR", &dir.path().join("data").display().to_string());
        set("PUBLISH__DIR", &dir.path().join("published").display().to_string());
        let (world, clock, server) = match world {
            Some((mut world, clock)) => {
                let (urls, server) = (world.aur_urls(), world.serve().expect("served"));
                set("SOURCES__AUR__METADATA_URL", &urls.metadata_url);
                set("SOURCES__AUR__RPC_URL", &urls.rpc_url);
                set("SOURCES__AUR__GIT_URL", &urls.git_url);
                set("SOURCES__AUR__MIRROR_URL", &urls.mirror_url);
                (Some(world), clock, Some(server))
            }
            None => (None, Arc::new(ManualClock::new(BEGIN.parse().expect("a time"))), None),
        };
        let workspaces = Mutex::default();
        Self { dir, monorepo, clock, env, world, hosted: None, _server: server, workspaces, ended: false }
    }

    /// A place in the scene's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The AUR, if the scene has one.
    pub fn aur(&self) -> Aur {
        Aur::of(self.world())
    }

    /// The people upstream.
    pub fn world(&self) -> &World {
        self.world.as_ref().expect("a scene with an AUR")
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Lets an hour pass.
    pub fn later(&self) {
        self.clock.advance(SignedDuration::from_hours(1));
    }
}

/// What people do.
impl Scene {
    /// Somebody pushes a commit to the monorepo. Returns it.
    pub async fn push(&self, message: &str, changes: &[Change]) -> String {
        self.monorepo.commit(MAIN, message, changes, self.now()).await
    }

    /// Everything that was committed counts as handed to builds.
    pub async fn hand_out(&self) {
        self.monorepo.git(&["tag", "-f", "scheduled", MAIN]).await;
    }

    /// A maintainer pushes a version of a package to the AUR, an hour later.
    pub async fn aur_release(&self, package: &Pkg) {
        self.later();
        let changes = Change::put_all("", &package.source());
        self.aur().push(&package.base, "Update", &changes, self.now()).await;
    }

    /// These packages, in the monorepo, on the AUR, handed out and looked at once.
    pub async fn keeps(&self, packages: &[Pkg]) {
        for package in packages {
            self.aur_release(package).await;
        }
        self.push("feat: more", &packages.iter().flat_map(Pkg::changes).collect::<Vec<_>>()).await;
        self.hand_out().await;
        self.later();
        self.run(Pipeline::OnSchedule).await;
    }
}

/// What the program does, inside this process and by this scene's clock.
impl Scene {
    pub fn settings(&self) -> Settings {
        settings::load(None, &self.env).expect("right settings")
    }

    pub fn place(&self) -> Place {
        Place { dir: self.monorepo.path().to_owned(), remote: None, branch: None }
    }

    /// One run that succeeds.
    pub async fn run(&self, pipeline: Pipeline) -> Report {
        self.try_run(pipeline).await.unwrap_or_else(|error| panic!("the run failed: {error:#}"))
    }

    /// One run, as a person would tell it.
    pub async fn told(&self, pipeline: Pipeline) -> String {
        told(&self.run(pipeline).await.document)
    }

    /// One run, whatever comes of it.
    pub async fn try_run(&self, pipeline: Pipeline) -> Result<Report> {
        self.try_run_from(&self.place(), pipeline).await
    }

    /// One run from somebody's clone, whatever comes of it.
    pub async fn try_run_from(&self, place: &Place, pipeline: Pipeline) -> Result<Report> {
        // On the heap, because every test holds this future.
        let runner = Box::new(self.runner_from(place)?);
        Box::pin(runner.run(&pipeline, "test")).await
    }

    /// What does runs from somebody's clone.
    pub fn runner_from(&self, place: &Place) -> Result<Runner> {
        let runner = app::one_shot_runner(&self.settings(), place, self.clock.clone())?;
        self.watch(&runner.site);
        Ok(match &self.hosted {
            Some(hosted) => runner.hosted_on(Some(hosted.clone())),
            None => runner,
        })
    }

    /// What a run from somebody's clone would do.
    pub async fn plan_from(&self, place: &Place, pipeline: Pipeline) -> Result<Document> {
        let site = Box::new(app::planned_site(&self.settings(), place)?);
        self.watch(&site);
        let look = site.look().await?;
        let answers = Arc::new(site.ask(&look, &pipeline, self.now()).await);
        Ok(site.decide(&look, &pipeline, &answers, self.now()).await?.document(&look.snapshot))
    }

    fn watch(&self, site: &Site) {
        self.workspaces.lock().expect("nobody panics with it").push(site.workspace.clone());
    }

    /// The long-running controller, which does nothing by itself here.
    pub fn controller(&self) -> Serving {
        app::serving(&self.settings(), self.monorepo.path(), self.clock.clone()).expect("put together")
    }

    pub fn store(&self) -> Store {
        Store::open(&self.settings().server.data_dir.join("record.sqlite")).expect("a record")
    }

    /// Every build of the record, oldest first, one a line: package, reason, state.
    pub async fn builds(&self) -> String {
        builds_in(&self.path("data")).await
    }
}

/// Every build of a data directory, oldest first, one a line: package, reason, state.
pub async fn builds_in(data_dir: &Path) -> String {
    let store = Store::open(&data_dir.join("record.sqlite")).expect("a record");
    let mut builds = store.builds(BuildFilter::default(), 1000).await.expect("read");
    builds.sort_by_key(|build| build.id);
    let line = |build: &Build| format!("{} {} {}\n", build.pkgbase, build.reason.as_str(), build.state.as_str());
    builds.iter().map(line).collect()
}

/// No run under way, no push half done.
pub async fn nothing_open_in(data_dir: &Path) {
    let store = Store::open(&data_dir.join("record.sqlite")).expect("a record");
    let runs = store.runs(None, None, 1000).await.expect("read");
    for run in &runs {
        assert!(run.finished_at.is_some(), "the run {} is not finished", run.id);
        let open = store.pending_intents(&run.repository).await.expect("read");
        assert!(open.is_empty(), "an intent is open: {open:?}");
    }
}

/// How every scene ends.
impl Scene {
    /// Proves that nothing is left over, and returns the refs of the monorepo with their subjects.
    pub async fn ends(mut self) -> String {
        self.ended = true;
        if self.path("data/record.sqlite").exists() {
            nothing_open_in(&self.path("data")).await;
        }
        for workspace in self.workspaces.lock().expect("nobody panics with it").iter() {
            assert!(!workspace.exists(), "a temporary workspace is left: {}", workspace.display());
        }
        assert_eq!(names_in(&self.path("tmp")), [""; 0], "something is left in TMPDIR");
        self.monorepo.git(&["fsck", "--connectivity-only", "--no-dangling"]).await;
        let locks = walkdir::WalkDir::new(self.monorepo.path()).into_iter().filter_map(Result::ok);
        let locks: Vec<_> = locks.filter(|entry| entry.path().extension().is_some_and(|end| end == "lock")).collect();
        assert!(locks.is_empty(), "a lock is left: {locks:?}");
        self.monorepo.refs().await
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let told = self.ended || std::thread::panicking();
        assert!(told, "a scene has to end with `ends`, which proves that nothing is left over");
    }
}

/// A temporary folder that the user of builds may enter.
fn enterable_dir() -> tempfile::TempDir {
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    tempfile::Builder::new().permissions(mode).tempdir().expect("a temporary folder")
}

/// What lies in a folder.
pub fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("read").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// A package's name.
pub fn base(name: &str) -> PkgBase {
    PkgBase::new(name).expect("a legal name")
}

/// Somebody who approves.
pub fn person(name: &str) -> Person {
    Person::new(name).expect("a legal name")
}

/// A program that git or a person runs.
pub fn write_program(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().expect("it has a parent")).expect("created");
    std::fs::write(path, text).expect("written");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(path, mode).expect("changed");
}
