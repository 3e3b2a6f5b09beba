//! The demo itself: the real `serve` over a world, and the story that is played through with `--once`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use jiff::Timestamp;

use super::server::Server;
use super::world::{Options, World};
use crate::app::serve::{self, Running};
use crate::config::{self, Settings};
use crate::controller::face::{BuildFilter, Face as _};
use crate::controller::view::{BuildView, QueueView};
use crate::domain::build::BuildState;
use crate::domain::name::PkgBase;
use crate::domain::plan::Pipeline;
use crate::domain::policy::Person;
use crate::sys::clock::Clock;
use crate::telemetry::progress;

/// How long one step of the story may take.
const PATIENCE: Duration = Duration::from_mins(5);

/// A world and the controller that keeps it.
pub struct Demo {
    /// What is kept.
    pub world: World,
    /// The controller.
    pub running: Running,
    clock: Arc<dyn Clock>,
    published: PathBuf,
    _server: Server,
}

/// One line of the summary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chapter {
    /// What happened in the world.
    pub event: String,
    /// What came of it.
    pub result: String,
    /// How long it took until everything was at rest.
    pub took: Duration,
}

impl Demo {
    /// Makes the world, or opens the one of an earlier demo, and starts the real controller on it.
    ///
    /// # Errors
    /// If the directory holds something else, or an address is taken.
    pub async fn start(dir: &Path, listen: &str, packages: usize, clock: Arc<dyn Clock>) -> Result<Self> {
        let home = dir.join("world");
        let ours = home.is_dir() || dir.read_dir().is_ok_and(|mut entries| entries.next().is_none());
        ensure!(ours, "{} holds something that is no demo; name an empty or a new directory", dir.display());
        let _progress = progress::task("making a world");
        let mut world = if World::exists(&home) {
            World::open(&home, clock.clone()).await?
        } else {
            World::create(&home, clock.clone(), Options { extra_packages: packages, ..Options::default() }).await?
        };
        let server = world.serve()?;
        let settings = settings(&world, dir, listen)?;
        let running = serve::start(&settings, dir, clock.clone()).await?;
        Ok(Self { world, running, clock, published: dir.join("published"), _server: server })
    }

    /// The published pacman repository.
    #[must_use]
    pub fn published(&self) -> &Path {
        &self.published
    }

    /// Plays the whole story; `tell` hears of each chapter as it ends.
    ///
    /// # Errors
    /// If something does not come out as it has to.
    pub async fn play(&mut self, mut tell: impl FnMut(&Chapter)) -> Result<Vec<Chapter>> {
        let mut chapters = Vec::new();
        for chapter in STORY {
            let began = self.clock.now();
            let (event, result) = chapter(self).await?;
            let took = Duration::try_from(self.clock.now().duration_since(began)).unwrap_or_default();
            let chapter = Chapter { event, result, took };
            tell(&chapter);
            chapters.push(chapter);
        }
        Ok(chapters)
    }

    /// Asks every source, as a schedule would.
    ///
    /// # Errors
    /// If the run fails.
    pub async fn ask_sources(&self) -> Result<()> {
        self.running
            .controller
            .start(Pipeline::OnSchedule, "demo")
            .await
            .map(drop)
            .context("the on-schedule run failed")
    }

    /// Lets so much time pass, and tells on a terminal what is being built meanwhile.
    ///
    /// # Errors
    /// If the record cannot be read.
    pub async fn idle(&self, time: Duration) -> Result<()> {
        let mut events = self.running.controller.events();
        let mut building = None;
        let watch = async {
            loop {
                events.mark_unchanged();
                let queue = self.running.controller.queue().await?;
                if queue.underway.is_empty() {
                    building = None;
                } else {
                    building.get_or_insert_with(|| progress::task("")).say(at_work(&queue));
                }
                if events.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::time::timeout(time, watch).await.unwrap_or(Ok(()))
    }

    /// Waits until what was committed is handed out and nothing waits, runs or is about to.
    async fn rest(&self) -> Result<()> {
        let controller = &self.running.controller;
        let progress = progress::task("waiting for the controller");
        let mut events = controller.events();
        let quiet = async {
            loop {
                events.mark_unchanged();
                let handed_out =
                    controller.repositories().await?.iter().all(|it| it.main.is_some() && it.main == it.scheduled);
                let queue = controller.queue().await?;
                progress.say(at_work(&queue));
                if handed_out && queue.underway.is_empty() && queue.ready.is_empty() && queue.waiting.is_empty() {
                    return anyhow::Ok(());
                }
                // A look at the remote is no event of the record, so do not rely on events alone.
                let _ = tokio::time::timeout(Duration::from_millis(250), events.changed()).await;
            }
        };
        tokio::time::timeout(PATIENCE, quiet).await.context("the builds did not come to rest in five minutes")?
    }

    /// Waits until the controller has seen the last push and everything is at rest.
    async fn rest_after_push(&self, pushed: crate::domain::name::Oid) -> Result<()> {
        let controller = &self.running.controller;
        let seen = async {
            loop {
                let repositories = controller.repositories().await?;
                if repositories.iter().any(|it| it.scheduled == Some(pushed)) {
                    return anyhow::Ok(());
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(PATIENCE, seen).await.context("the controller did not see the push in five minutes")??;
        self.rest().await
    }

    async fn last_build(&self, pkgbase: &str) -> Result<BuildView> {
        let filter = BuildFilter { pkgbase: Some(name(pkgbase)), limit: 1, ..BuildFilter::default() };
        let builds = self.running.controller.builds(filter).await?;
        builds.into_iter().next().with_context(|| format!("{pkgbase} was never built"))
    }

    /// Fails unless the last build of a package stands so.
    async fn expect(&self, pkgbase: &str, state: BuildState) -> Result<BuildView> {
        let build = self.last_build(pkgbase).await?;
        let why = build.message.clone().unwrap_or_default();
        ensure!(build.state == state, "{pkgbase} is {} and not {}: {why}", build.state.as_str(), state.as_str());
        Ok(build)
    }

    async fn published_count(&self) -> Result<usize> {
        Ok(self.running.controller.generations().await?.iter().find(|it| it.current).map_or(0, |it| it.packages))
    }
}

/// What the queue is about, for the line on the terminal.
fn at_work(queue: &QueueView) -> String {
    let names: Vec<&str> = queue.underway.iter().map(|build| build.pkgbase.as_str()).collect();
    let left = queue.ready.len() + queue.waiting.len();
    match (names.is_empty(), left) {
        (true, 0) => "waiting for the controller".to_owned(),
        (true, left) => format!("{left} builds are left"),
        (false, left) => format!("building {}, {left} more are left", names.join(" and ")),
    }
}

/// What is configured: only addresses and places; everything else is as everybody has it.
fn settings(world: &World, dir: &Path, listen: &str) -> Result<Settings> {
    let aur = world.aur_urls();
    let written = serde_json::json!({
        "schedule": [],
        "server": {"listen": listen, "data_dir": dir.join("data"), "poll": "1s"},
        "sources": {"aur": {
            "metadata_url": aur.metadata_url, "rpc_url": aur.rpc_url,
            "git_url": aur.git_url, "mirror_url": aur.mirror_url,
        }},
        "executor": {"slots": 2, "timeout": "5m"},
        // Here and not for all repositories, whose folders are below such a one.
        "repository": [{
            "name": "demo", "url": world.monorepo(), "branch": "main",
            "publish": {"dir": dir.join("published"), "name": "demo"},
        }],
    });
    let text = toml::to_string(&written).context("the demo's configuration is a table")?;
    Ok(config::load(Some(("demo", &text)), &std::collections::BTreeMap::new())?)
}

fn name(text: &str) -> PkgBase {
    PkgBase::new(text).expect("the names of the story are legal")
}

/// A part of the story: what happened, and what came of it.
type Told<'a> = futures_util::future::BoxFuture<'a, Result<(String, String)>>;

/// The parts in order.
const STORY: [fn(&mut Demo) -> Told<'_>; 10] = [
    |demo| Box::pin(first_wave(demo)),
    |demo| Box::pin(minor_update(demo)),
    |demo| Box::pin(major_update(demo)),
    |demo| Box::pin(approval(demo)),
    |demo| Box::pin(upstream_commit(demo)),
    |demo| Box::pin(deploy_directive(demo)),
    |demo| Box::pin(typo(demo)),
    |demo| Box::pin(broken_package(demo)),
    |demo| Box::pin(mended_package(demo)),
    |demo| Box::pin(removal(demo)),
];

async fn first_wave(demo: &mut Demo) -> Result<(String, String)> {
    demo.rest().await?;
    let packages = demo.world.packages().await?;
    let mut built = 0;
    for pkgbase in &packages {
        demo.expect(pkgbase.as_str(), BuildState::Succeeded).await?;
        built += 1;
    }
    let published = demo.published_count().await?;
    ensure!(published >= built, "{built} packages were built and {published} published");
    let database = demo.published().join("demo.db");
    ensure!(database.exists(), "nothing is published where pacman is told to look: {}", database.display());
    Ok((
        format!("somebody pushed {} packages", packages.len()),
        format!("{built} built in order, {published} published"),
    ))
}

async fn minor_update(demo: &mut Demo) -> Result<(String, String)> {
    let version = demo.world.aur_minor_update(&name("knotwork")).await?;
    demo.ask_sources().await?;
    demo.rest().await?;
    demo.expect("knotwork", BuildState::Succeeded).await?;
    Ok((
        format!("knotwork {version} is on the AUR, nothing else changed"),
        "committed, built and published without a person".to_owned(),
    ))
}

async fn major_update(demo: &mut Demo) -> Result<(String, String)> {
    let version = demo.world.aur_major_update(&name("banner")).await?;
    demo.ask_sources().await?;
    demo.rest().await?;
    let review = demo.running.controller.review(&name("banner")).await?.context("banner is not reviewed")?;
    let event = format!("banner {version} is on the AUR, from another host and with a changed build()");
    Ok((event, format!("waits for a person on {}, {} reasons", review.branch, review.verdict.reasons.len())))
}

async fn approval(demo: &mut Demo) -> Result<(String, String)> {
    let review = demo.running.controller.review(&name("banner")).await?.context("banner is not reviewed")?;
    let person = Person::new("mira")?;
    demo.running.controller.start(Pipeline::Approve(review.pkgbase.clone(), review.head, person), "demo").await?;
    demo.rest().await?;
    demo.expect("banner", BuildState::Succeeded).await?;
    ensure!(demo.running.controller.reviews().await?.is_empty(), "the review is still open");
    Ok(("a person approved banner".to_owned(), "merged, built and published; the branch is gone".to_owned()))
}

async fn upstream_commit(demo: &mut Demo) -> Result<(String, String)> {
    // The first look at an upstream builds what it finds; the story is about the second one.
    demo.ask_sources().await?;
    demo.rest().await?;
    let before = demo.last_build("tidewatch-git").await?;
    demo.world.upstream_commit().await?;
    demo.ask_sources().await?;
    demo.rest().await?;
    let build = demo.expect("tidewatch-git", BuildState::Succeeded).await?;
    ensure!(build.id != before.id, "tidewatch-git was not built again");
    Ok((
        "the upstream of tidewatch-git has a new commit".to_owned(),
        "built and published, no commit needed".to_owned(),
    ))
}

async fn deploy_directive(demo: &mut Demo) -> Result<(String, String)> {
    let pushed = demo.world.push_deploy(&name("glyph")).await?;
    demo.rest_after_push(pushed).await?;
    let build = demo.last_build("glyph").await?;
    ensure!(build.commit == pushed && build.state.satisfies_dependants(), "glyph is {}", build.state.as_str());
    Ok((
        "somebody pushed [deploy glyph]".to_owned(),
        format!("asked for at {}: {}", pushed.short(), build.state.as_str().replace('_', " ")),
    ))
}

async fn typo(demo: &mut Demo) -> Result<(String, String)> {
    let pushed = demo.world.typo_directive().await?;
    demo.rest_after_push(pushed).await?;
    let run = demo.running.controller.runs(1).await?.into_iter().next().context("there was no run")?;
    let run = demo.running.controller.run(&run.id).await?.context("the run is not recorded")?;
    let problem = &run.document["problems"][0];
    let hint = problem["hint"].as_str().unwrap_or_default();
    ensure!(problem["code"] == "unknown-directive", "the typo was not reported: {}", run.document);
    Ok(("somebody pushed a directive with a typo".to_owned(), format!("reported, nothing stopped: {hint}")))
}

async fn broken_package(demo: &mut Demo) -> Result<(String, String)> {
    let pushed = demo.world.break_package(&name("libspring")).await?;
    demo.rest_after_push(pushed).await?;
    demo.expect("libspring", BuildState::Failed).await?;
    for dependant in ["pendulum", "metronome"] {
        demo.expect(dependant, BuildState::Blocked).await?;
    }
    Ok((
        "somebody pushed a libspring that cannot be built".to_owned(),
        "failed; pendulum and metronome are blocked".to_owned(),
    ))
}

async fn mended_package(demo: &mut Demo) -> Result<(String, String)> {
    let pushed = demo.world.fix_package(&name("libspring")).await?;
    demo.rest_after_push(pushed).await?;
    for pkgbase in ["libspring", "pendulum", "metronome"] {
        demo.expect(pkgbase, BuildState::Succeeded).await?;
    }
    Ok(("somebody mended libspring".to_owned(), "built; pendulum and metronome were released and built".to_owned()))
}

async fn removal(demo: &mut Demo) -> Result<(String, String)> {
    let before = demo.published_count().await?;
    let pushed = demo.world.remove_package(&name("sundial")).await?;
    demo.rest_after_push(pushed).await?;
    let removed = async {
        while demo.published_count().await? >= before {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        anyhow::Ok(())
    };
    match tokio::time::timeout(PATIENCE, removed).await {
        Ok(result) => result?,
        Err(_) => bail!("sundial is still published"),
    }
    Ok((
        "somebody removed sundial".to_owned(),
        format!("gone from the published repository, {} packages left", demo.published_count().await?),
    ))
}

/// When something of a demo happened, for those who watch.
#[must_use]
pub fn stamp(now: Timestamp) -> String {
    now.strftime("%H:%M:%S").to_string()
}
