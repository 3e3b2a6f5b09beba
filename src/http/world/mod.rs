#![expect(missing_docs, reason = "a world of plain values explains itself")]
//! A small world for tests of the faces: plain values in place of a controller, real logs.

mod garden;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::access::{Arrival, Keys};
use super::{Options, Server};
use crate::controller::builders::Builders;
use crate::controller::caches::{CacheObject, CacheUseView, CacheView, CachesRemovedView, Invalidation};
use crate::controller::face::{Answer, AuditRequest, BuildFilter, ControllerError, Face, PackageFilter};
use crate::controller::shelves::{Promote, PromotionView, RemovalView};
use crate::controller::view::{
    ApprovalsView, ArtefactView, AttemptView, BuildPage, BuildView, BuilderView, FileDiff, GenerationPage,
    GenerationView, PackagePage, PackageView, QuarantineView, QueueView, RepositoryView, ReviewView, RunPage, RunView,
    ScriptView,
};
use crate::domain::audit::{Audit, Hit, Kind, Place};
use crate::domain::build::{BuildReason, BuildState};
use crate::domain::classify::{Reason, Verdict, Weight};
use crate::domain::finding::Finding;
use crate::domain::name::{Oid, PkgBase};
use crate::domain::plan::{Pipeline, Trees};
use crate::domain::version::Version;
use crate::logstore::LogStore;
use crate::sys::clock::{Clock, ManualClock};

pub use garden::{KEY, OBJECT, attempt, build, document, garden, package, repository, review, run};

/// What browsers sign in with where there is no token.
pub const PAGE_KEY: &str = "drawn-at-the-first-start";

/// What the world is like.
#[derive(Default)]
pub struct State {
    pub repositories: Vec<RepositoryView>,
    pub packages: BTreeMap<PkgBase, PackagePage>,
    pub runs: Vec<RunPage>,
    pub builds: Vec<BuildPage>,
    pub caches: Vec<CacheView>,
    pub builders: Option<Vec<BuilderView>>,
    pub reviews: Vec<ReviewView>,
    pub generations: Vec<GenerationView>,
    pub quarantine: Vec<QuarantineView>,
    pub removals: Vec<RemovalView>,
    pub graph: Value,
    /// What was asked for, in order.
    pub asked: Vec<String>,
    /// Every command meets this defect.
    pub defect: Option<String>,
}

/// The world.
pub struct World {
    state: Mutex<State>,
    logs: LogStore,
    changes: watch::Sender<u64>,
    _dir: tempfile::TempDir,
}

pub fn now() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

pub fn ago(seconds: i64) -> Timestamp {
    now() - SignedDuration::from_secs(seconds)
}

pub fn base(name: &str) -> PkgBase {
    PkgBase::new(name).unwrap()
}

pub fn oid(byte: u8) -> Oid {
    Oid::from_bytes([byte; 20])
}

impl World {
    pub fn empty() -> Arc<Self> {
        let dir = tempfile::tempdir().unwrap();
        let logs = LogStore::new(dir.path().join("logs")).unwrap();
        let state = State {
            repositories: vec![repository()],
            graph: json!({"nodes": [], "edges": [], "cycles": [], "order": []}),
            ..State::default()
        };
        Arc::new(Self { state: Mutex::new(state), logs, changes: watch::Sender::new(0), _dir: dir })
    }

    /// Changes the world and tells.
    pub fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.state.lock().unwrap());
        self.changes.send_modify(|number| *number += 1);
        result
    }

    pub fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.state.lock().unwrap())
    }

    pub fn add_build(&self, build: BuildView) {
        self.change(|state| {
            state.builds.insert(0, BuildPage { why: None, asked: Some(garden::asked()), attempts: Vec::new(), build });
        });
    }

    pub fn set_state(&self, id: &str, next: BuildState, attempt: Option<&str>) {
        self.change(|state| {
            let page = state.builds.iter_mut().find(|page| page.build.id == id).unwrap();
            page.build.state = next;
            if let Some(attempt) = attempt {
                page.build.attempt = Some(attempt.to_owned());
            }
        });
    }

    /// Writes to the log of an attempt.
    pub fn write(&self, attempt: &str, bytes: &[u8]) {
        self.logs.writer(attempt).unwrap().write(bytes).unwrap();
    }

    /// Serves the world on loopback until the guard goes.
    pub async fn serve(self: &Arc<Self>, token: Option<&str>) -> Served {
        Self::served(self.server(token)).await
    }

    /// The same, with the packages in a directory.
    pub async fn serve_published(self: &Arc<Self>, repository: &str, dir: &std::path::Path) -> Served {
        let published = BTreeMap::from([(repository.to_owned(), dir.to_owned())]);
        Self::served(Server::new(Options { published, ..self.options(None) }).unwrap()).await
    }

    /// The same, with builders elsewhere.
    pub async fn serve_builders(self: &Arc<Self>, builders: Builders) -> Served {
        Self::served(Server::new(Options { builders: Some(builders), ..self.options(None) }).unwrap()).await
    }

    async fn served(server: Server) -> Served {
        let tcp = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", tcp.local_addr().unwrap());
        let serving = server.clone();
        tokio::spawn(async move { super::serve(&serving, Some(tcp), None).await });
        Served { url, stop: server.stop().clone() }
    }

    pub fn server(self: &Arc<Self>, token: Option<&str>) -> Server {
        Server::new(self.options(token)).unwrap()
    }

    fn options(self: &Arc<Self>, token: Option<&str>) -> Options {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(now()));
        Options {
            face: self.clone(),
            inbox: None,
            builders: None,
            published: BTreeMap::new(),
            clock,
            keys: Keys { token: token.map(Into::into), pages: token.is_none().then(|| PAGE_KEY.into()) },
            public_url: None,
            hosts: Vec::new(),
            stop: CancellationToken::new(),
        }
    }

    fn answer<'a, T: Send + 'a>(&'a self, answer: impl FnOnce(&State) -> T) -> Answer<'a, T> {
        let answer = self.read(answer);
        Box::pin(async move { Ok(answer) })
    }

    fn command<'a, T: Send + 'a>(
        &'a self,
        asked: String,
        answer: impl FnOnce(&mut State) -> Result<T, ControllerError>,
    ) -> Answer<'a, T> {
        let result = self.change(|state| {
            if let Some(defect) = &state.defect {
                return Err(ControllerError::Internal(anyhow::anyhow!("{defect}")));
            }
            state.asked.push(asked);
            answer(state)
        });
        Box::pin(async move { result })
    }
}

/// A served world.
pub struct Served {
    pub url: String,
    stop: CancellationToken,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Face for World {
    fn repositories(&self) -> Answer<'_, Vec<RepositoryView>> {
        self.answer(|state| {
            let mut repositories = state.repositories.clone();
            for repository in &mut repositories {
                repository.packages = state.packages.len();
                repository.reviews = state.reviews.len();
            }
            repositories
        })
    }

    fn packages(&self, filter: PackageFilter) -> Answer<'_, Vec<PackageView>> {
        let text = filter.text.unwrap_or_default();
        self.answer(|state| {
            let found = state.packages.values().filter(|page| page.package.pkgbase.as_str().contains(&text));
            found.map(|page| page.package.clone()).collect()
        })
    }

    fn package<'a>(&'a self, pkgbase: &'a PkgBase) -> Answer<'a, Option<PackagePage>> {
        self.answer(|state| state.packages.get(pkgbase).cloned())
    }

    fn script_log<'a>(&'a self, pkgbase: &'a PkgBase) -> Answer<'a, Option<Vec<u8>>> {
        self.answer(|state| Some(state.packages.get(pkgbase)?.script.as_ref()?.last.clone().into_bytes()))
    }

    fn runs(&self, limit: usize) -> Answer<'_, Vec<RunView>> {
        self.answer(|state| state.runs.iter().take(limit).map(|run| run.run.clone()).collect())
    }

    fn run<'a>(&'a self, id: &'a str) -> Answer<'a, Option<RunPage>> {
        self.answer(|state| state.runs.iter().find(|run| run.run.id == id).cloned())
    }

    fn builds(&self, filter: BuildFilter) -> Answer<'_, Vec<BuildView>> {
        self.answer(|state| {
            let wanted = |build: &&BuildView| {
                filter.state.is_none_or(|state| state == build.state)
                    && filter.pkgbase.as_ref().is_none_or(|pkgbase| *pkgbase == build.pkgbase)
            };
            state.builds.iter().map(|page| &page.build).filter(wanted).take(filter.limit).cloned().collect()
        })
    }

    fn build<'a>(&'a self, id: &'a str) -> Answer<'a, Option<BuildPage>> {
        self.answer(|state| state.builds.iter().find(|page| page.build.id == id).cloned())
    }

    fn caches(&self) -> Answer<'_, Vec<CacheView>> {
        self.answer(|state| state.caches.clone())
    }

    fn cache_object<'a>(&'a self, sha256: &'a str) -> Answer<'a, Option<CacheObject>> {
        self.answer(|state| {
            let known = state.caches.iter().any(|cache| cache.sha256 == sha256);
            known.then(|| {
                let file = std::fs::File::open("Cargo.toml").unwrap();
                CacheObject { size: file.metadata().unwrap().len(), file }
            })
        })
    }

    fn invalidate_caches(&self, which: Invalidation) -> Answer<'_, CachesRemovedView> {
        self.command(format!("{which:?}"), |_| Ok(CachesRemovedView { archives: 1, objects: 1, bytes: 3 }))
    }

    fn prune_caches(&self) -> Answer<'_, CachesRemovedView> {
        self.command("prune".to_owned(), |_| Ok(CachesRemovedView::default()))
    }

    fn queue(&self) -> Answer<'_, QueueView> {
        self.answer(|state| {
            let those = |wanted: fn(BuildState) -> bool| {
                let builds = state.builds.iter().map(|page| &page.build);
                builds.filter(|build| wanted(build.state)).cloned().collect()
            };
            QueueView {
                underway: those(BuildState::is_underway),
                ready: those(|state| state == BuildState::Ready),
                waiting: those(|state| state == BuildState::Waiting),
                blocked: those(|state| state == BuildState::Blocked),
                builders: state.builders.clone(),
            }
        })
    }

    fn reviews(&self) -> Answer<'_, Vec<ReviewView>> {
        self.answer(|state| state.reviews.clone())
    }

    fn review<'a>(&'a self, pkgbase: &'a PkgBase) -> Answer<'a, Option<ReviewView>> {
        self.answer(|state| state.reviews.iter().find(|review| review.pkgbase == *pkgbase).cloned())
    }

    fn generations(&self) -> Answer<'_, Vec<GenerationView>> {
        self.answer(|state| state.generations.clone())
    }

    fn generation<'a>(&'a self, repository: &'a str, number: u64) -> Answer<'a, Option<GenerationPage>> {
        self.answer(move |state| {
            let mut all = state.generations.iter();
            let generation = all.find(|one| one.repository == repository && one.number == number)?.clone();
            Some(GenerationPage { generation, removed: Vec::new(), entries: vec![garden::entry()] })
        })
    }

    fn removals(&self) -> Answer<'_, Vec<RemovalView>> {
        self.answer(|state| state.removals.clone())
    }

    fn graph(&self) -> Answer<'_, Value> {
        self.answer(|state| state.graph.clone())
    }

    fn quarantine(&self) -> Answer<'_, Vec<QuarantineView>> {
        self.answer(|state| state.quarantine.clone())
    }

    fn audit(&self, request: AuditRequest) -> Answer<'_, Audit> {
        let looked_for: Vec<&str> = request.indicators.iter().map(|it| it.written.as_str()).collect();
        let asked = format!("audit {} in {:?} commits", looked_for.join(" "), request.commits);
        self.command(asked, |state| {
            let hit = Hit {
                indicator: "bun:js-digest".into(),
                kind: Kind::Package,
                place: Place::Current,
                pkgbase: Some(base("hedge")),
                branch: None,
                commit: None,
                file: Some("hedge/hedge.install".into()),
                line: Some(3),
                text: "bun add js-digest".into(),
                disguised: true,
            };
            Ok(Audit {
                commit: Some(oid(0x1a)),
                packages: state.packages.len(),
                reviews: state.reviews.len(),
                commits: request.commits,
                hits: vec![hit],
                affected: vec![base("hedge")],
                unsearched: Vec::new(),
            })
        })
    }

    fn logs(&self) -> &LogStore {
        &self.logs
    }

    fn events(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn start<'a>(&'a self, pipeline: Pipeline, trigger: &'a str) -> Answer<'a, RunPage> {
        let asked = format!("{pipeline:?} by {trigger}");
        self.command(asked, |state| {
            let run = RunPage {
                run: run(&format!("r{}", state.runs.len() + 1), pipeline.name(), trigger),
                document: document(),
            };
            state.runs.insert(0, run.clone());
            if let Pipeline::Approve(pkgbase, ..) | Pipeline::Reject(pkgbase, ..) = pipeline {
                state.reviews.retain(|review| review.pkgbase != pkgbase);
            }
            Ok(run)
        })
    }

    fn cancel<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        self.command(format!("cancel {id}"), |state| {
            let found = state.builds.iter_mut().find(|page| page.build.id == id);
            let page = found.ok_or_else(|| ControllerError::NotFound(format!("there is no build `{id}`")))?;
            if page.build.state.is_final() {
                let message = format!("build `{id}` has ended");
                return Err(ControllerError::Conflict { message, hint: "nothing to do".into() });
            }
            page.build.state = BuildState::Cancelled;
            Ok(())
        })
    }

    fn retry<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        self.command(format!("retry {id}"), |_| Ok(()))
    }

    fn release<'a>(&'a self, pkgbase: &'a PkgBase) -> Answer<'a, ()> {
        self.command(format!("release {pkgbase}"), |_| Ok(()))
    }

    fn promote(&self, what: Promote) -> Answer<'_, PromotionView> {
        self.command(format!("{what:?}"), |_| Ok(garden::promotion()))
    }

    fn confirm_removals<'a>(&'a self, repository: &'a str, seen: Vec<PkgBase>) -> Answer<'a, Vec<RemovalView>> {
        self.command(format!("remove {seen:?} of {repository}"), |state| {
            state.removals.retain(|removal| removal.repository != repository);
            Ok(state.removals.clone())
        })
    }

    fn pause(&self) -> Answer<'_, ()> {
        self.command("pause".into(), |state| {
            state.repositories.iter_mut().for_each(|repository| repository.paused = true);
            Ok(())
        })
    }

    fn resume(&self) -> Answer<'_, ()> {
        self.command("resume".into(), |state| {
            state.repositories.iter_mut().for_each(|repository| repository.paused = false);
            Ok(())
        })
    }
}

/// The routes of a world, for tests that need no socket.
pub fn router(world: &Arc<World>) -> axum::Router {
    world.server(None).router(Arrival::Tcp)
}
