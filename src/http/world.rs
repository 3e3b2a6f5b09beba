#![expect(missing_docs, reason = "a world of plain values explains itself")]
//! A small world for tests of the faces: plain values in place of a controller, real logs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::access::Arrival;
use super::{Options, Server};
use crate::controller::face::{Answer, AuditRequest, BuildFilter, ControllerError, Face, PackageFilter};
use crate::controller::view::{
    ArtefactView, AttemptView, BuildPage, BuildView, FileDiff, GenerationView, PackagePage, PackageView,
    QuarantineView, QueueView, RepositoryView, ReviewView, RunPage, RunView,
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

/// What the world is like.
#[derive(Default)]
pub struct State {
    pub repositories: Vec<RepositoryView>,
    pub packages: BTreeMap<PkgBase, PackagePage>,
    pub runs: Vec<RunPage>,
    pub builds: Vec<BuildPage>,
    pub reviews: Vec<ReviewView>,
    pub generations: Vec<GenerationView>,
    pub quarantine: Vec<QuarantineView>,
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
        self.change(|state| state.builds.insert(0, BuildPage { attempts: Vec::new(), build }));
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
        let server = self.server(token);
        let tcp = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", tcp.local_addr().unwrap());
        let serving = server.clone();
        tokio::spawn(async move { super::serve(&serving, Some(tcp), None).await.unwrap() });
        Served { url, stop: server.stop().clone() }
    }

    pub fn server(self: &Arc<Self>, token: Option<&str>) -> Server {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(now()));
        let options = Options {
            face: self.clone(),
            clock,
            token: token.map(Into::into),
            public_url: None,
            stop: CancellationToken::new(),
        };
        Server::new(options).unwrap()
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
            if let Pipeline::Approve(pkgbase, _) | Pipeline::Reject(pkgbase, _) = pipeline {
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

fn repository() -> RepositoryView {
    RepositoryView {
        name: "garden".into(),
        url: "/srv/garden.git".into(),
        branch: "main".into(),
        main: Some(oid(0x1a)),
        scheduled: Some(oid(0x1a)),
        packages: 0,
        reviews: 0,
        paused: false,
        looked_at: Some(ago(12)),
        error: None,
    }
}

pub fn build(id: &str, pkgbase: &str, state: BuildState) -> BuildView {
    let started = (!matches!(state, BuildState::Waiting | BuildState::Ready | BuildState::Blocked)).then(|| ago(100));
    BuildView {
        id: id.into(),
        repository: "garden".into(),
        arch: "x86_64".into(),
        pkgbase: base(pkgbase),
        commit: oid(0xc0),
        state,
        reason: BuildReason::Changed,
        class: None,
        waits_for: Vec::new(),
        created: ago(160),
        started,
        ended: state.is_final().then(|| ago(28)),
        message: None,
        attempt: started.map(|_| format!("{id}.1")),
        run: Some("r1".into()),
    }
}

pub fn package(name: &str) -> PackagePage {
    let package = PackageView {
        pkgbase: base(name),
        version: Some(Version::new("1.4.2-1")),
        published: Some("1.4.2-1".into()),
        source: "aur",
        last_build: None,
        review: false,
        held: None,
        problems: 0,
    };
    PackagePage {
        package,
        pkgnames: vec![name.into()],
        needs: Vec::new(),
        needed_by: Vec::new(),
        trigger: None,
        class: None,
        cursor: None,
        decision: None,
        builds: Vec::new(),
        findings: Vec::new(),
    }
}

pub fn run(id: &str, pipeline: &str, trigger: &str) -> RunView {
    RunView {
        id: id.into(),
        repository: "garden".into(),
        pipeline: pipeline.into(),
        trigger: trigger.into(),
        started: ago(300),
        ended: Some(ago(297)),
        state: "done".into(),
        summary: "1 package committed, 1 review opened, 3 builds".into(),
    }
}

pub fn review(name: &str, old: &str, new: &str) -> ReviewView {
    let reason = Reason {
        code: "source-host-changed",
        severity: Weight::Trust,
        file: "PKGBUILD".into(),
        line: Some(9),
        old: Some("https://example.org/a.tar.gz".into()),
        new: Some("https://example.net/a.tar.gz".into()),
        message: "the source comes from another host".into(),
    };
    let versions = (Some(Version::new("1.4.2-1")), Some(Version::new("1.5.0-1")));
    ReviewView {
        pkgbase: base(name),
        branch: format!("update-{name}"),
        head: oid(0xee),
        trees: Trees { from: oid(0x11), to: oid(0x22) },
        message: format!("chore(update): {name}\n\nNeeds a person because:\n- the source comes from another host\n"),
        verdict: Verdict::from_reasons(vec![reason], versions.0, versions.1),
        files: vec![FileDiff { path: "PKGBUILD".into(), old: Some(old.into()), new: Some(new.into()), binary: false }],
        conflict: None,
    }
}

pub fn attempt(id: &str, ended: bool) -> AttemptView {
    AttemptView {
        id: id.into(),
        started: ago(100),
        ended: ended.then(|| ago(28)),
        outcome: ended.then(|| "failed".into()),
        exit_code: ended.then_some(4),
        message: None,
        log_length: None,
    }
}

pub fn document() -> Value {
    json!({
        "repository": "garden", "pipeline": "on-schedule", "now": now(),
        "base": {"main": oid(0x1a), "state": oid(0x1b), "scheduled": null},
        "packages": [
            {"pkgbase": "sundial", "observation": "changed", "action": "review", "verdict": "major",
             "reasons": [{"code": "source-host-changed", "severity": "trust", "file": "PKGBUILD", "line": 9,
                          "old": "https://example.org/a.tar.gz", "new": "https://example.net/a.tar.gz",
                          "message": "the source comes from another host"}],
             "from_version": "1.4.2-1", "to_version": "1.5.0-1", "why": "its update needs a person"},
            {"pkgbase": "trellis", "observation": "changed", "action": "commit", "verdict": "minor", "reasons": [
                {"code": "version", "severity": "version", "file": "PKGBUILD", "line": 3, "old": "2.0", "new": "2.1", "message": "the version moves forward"}],
             "from_version": "2.0-1", "to_version": "2.1-1", "why": "only the version moved"},
            {"pkgbase": "mulch", "observation": "current", "action": "none", "verdict": null, "reasons": [],
             "from_version": "1-1", "to_version": null, "why": ""}
        ],
        "refs": [{"name": "refs/heads/main", "old": oid(0x1a), "new": oid(0x2a), "change": "update"}],
        "builds": [{"pkgbase": "trellis", "class": null, "arch": "x86_64", "reason": "changed", "after": []},
                   {"pkgbase": "arbour", "class": "heavy", "arch": "x86_64", "reason": "rebuild", "after": ["trellis"]}],
        "remove": ["weed"],
        "reviews": [{"pkgbase": "sundial", "branch": "update-sundial", "do": "open", "why": ""}],
        "aur_push": [],
        "problems": [{"code": "unknown-directive", "severity": "error", "pkgbase": null, "commit": oid(0x33),
                      "message": "`[deploy trelis]` names no package", "hint": "did you mean `trellis`?"}]
    })
}

/// A garden in the middle of its day: something of everything.
pub fn garden() -> Arc<World> {
    let world = World::empty();
    for name in ["arbour", "hedge", "mulch", "pergola", "sundial", "trellis", "watering-can-git"] {
        world.change(|state| state.packages.insert(base(name), package(name)));
    }
    let mut blocked = build("b4", "pergola", BuildState::Blocked);
    blocked.waits_for = vec![base("hedge")];
    let mut waiting = build("b5", "arbour", BuildState::Waiting);
    waiting.waits_for = vec![base("trellis")];
    let mut failed = build("b2", "hedge", BuildState::Failed);
    failed.message = Some("makepkg: A failure occurred in build() (status 4)".into());
    let mut running = build("b3", "trellis", BuildState::Running);
    running.class = Some("heavy".into());
    for build in [build("b1", "mulch", BuildState::Succeeded), failed.clone(), running, blocked, waiting] {
        world.add_build(build);
    }
    world.change(|state| {
        state.builds.iter_mut().find(|page| page.build.id == "b2").unwrap().attempts = vec![attempt("b2.1", true)];
        state.reviews.push(review(
            "sundial",
            "pkgver=1.4.2\nsource=(https://example.org/a.tar.gz)\n",
            "pkgver=1.5.0\nsource=(https://example.net/a.tar.gz)\n",
        ));
        let finding = Finding::warning("srcinfo-disagrees", "`pkgver` is 1.4.2 here and 1.4.1 in the PKGBUILD")
            .at("hedge/.SRCINFO", Some(3))
            .hint("run `makepkg --printsrcinfo`");
        let hedge = state.packages.get_mut("hedge").unwrap();
        hedge.package.last_build = Some(failed.clone());
        hedge.package.problems = 1;
        hedge.builds = vec![failed];
        hedge.findings = vec![finding];
        hedge.needed_by = vec![base("pergola")];
        let sundial = state.packages.get_mut("sundial").unwrap();
        sundial.package.review = true;
        state.packages.get_mut("trellis").unwrap().package.version = Some(Version::new("2.1-1"));
        state.generations = vec![GenerationView { number: 12, current: true, packages: 7, published: Some(ago(30)) }];
        state.quarantine = vec![QuarantineView {
            repository: "garden".into(),
            pkgbase: base("hedge"),
            reason: "fetches js-digest".into(),
            since: Some(ago(600)),
            holds: vec![base("pergola")],
            published: vec![ArtefactView {
                pkgbase: base("hedge"),
                file: "hedge-1.4.2-1-any.pkg.tar.zst".into(),
                version: Version::new("1.4.2-1"),
                sha256: "ab".repeat(32),
                build: Some("b2".into()),
                current: true,
            }],
        }];
        state.packages.get_mut("hedge").unwrap().package.held = Some("it is in quarantine: fetches js-digest".into());
        state.runs.push(RunPage { run: run("r1", "on-schedule", "schedule"), document: document() });
        state.graph = json!({"nodes": ["hedge", "trellis", "arbour", "pergola"], "edges": [
            {"from": "arbour", "to": "trellis", "via": "trellis", "kind": "depends"},
            {"from": "pergola", "to": "hedge", "via": "hedge", "kind": "makedepends"},
            {"from": "pergola", "to": "trellis", "via": "trellis", "kind": "depends"}],
            "cycles": [], "order": ["hedge", "trellis", "arbour", "pergola"]});
    });
    world.write("b2.1", b"\x1b[1;32m==>\x1b[0m\x1b[1m Making package: hedge 1.4.2-1\x1b[0m\ncc -o hedge hedge.c\n\x1b[1;31mhedge.c:7:3: error:\x1b[0m expected ';' before '}' token\n\x1b[1;31m==> ERROR:\x1b[0m\x1b[1m A failure occurred in build().\x1b[0m\n");
    world.logs.finish("b2.1").unwrap();
    world.write("b3.1", b"\x1b[1;32m==>\x1b[0m\x1b[1m Making package: trellis 2.1-1\x1b[0m\n\x1b[1;34m  ->\x1b[0m Extracting trellis-2.1.tar.gz with bsdtar\ncc -O2 -c lattice.c\n");
    world
}

/// The routes of a world, for tests that need no socket.
pub fn router(world: &Arc<World>) -> axum::Router {
    world.server(None).router(Arrival::Tcp { loopback: true })
}
