//! One repository that is kept: how to look at it, and what a plan about it is made from.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;

use super::bind;
use super::foresee::Fallback;
use super::format;
use super::handback::{self, HandBack};
use super::handwork;
use super::inspect::Inspection;
use super::linkage::Peek;
use super::observe::{self, Answers};
use super::raise::Raiser;
use super::range;
use super::scripts::Scripts;
use super::snapshot::SnapshotReader;
use crate::domain::desired::{Refs, Snapshot};
use crate::domain::finding::Finding;
use crate::domain::lint;
use crate::domain::name::{Oid, PkgBase};
use crate::domain::observed::Observations;
use crate::domain::plan::{self, Inputs, Pipeline, Plan, Since};
use crate::domain::policy::Policy;
use crate::git::{GitError, Remote, Repository};
use crate::source::{Sources, SourcesConfig};
use crate::sys::scratch::Scratch;
use crate::telemetry::progress;

/// How often a look is repeated when refs move while they are fetched.
const LOOKS: usize = 3;

/// How many commits of a shallow clone's history are fetched, step by step; the last stands for all.
const DEPTHS: [u32; 3] = [50, 1000, 0x7fff_ffff];

/// One repository that is kept.
#[derive(Debug)]
pub struct Site {
    /// Its name in the configuration.
    pub name: String,
    /// Our own bare repository, into which objects are fetched and written.
    pub workspace: PathBuf,
    /// Where it is.
    pub remote: Remote,
    /// The branch with the packages.
    pub branch: String,
    /// The architecture that is built for.
    pub arch: String,
    /// What the operator decides.
    pub policy: Policy,
    /// How others are dealt with, before the repository's own settings.
    pub upstream: RwLock<Upstream>,
    /// The sources as they were last asked; made anew when the settings change.
    pub asked: Mutex<Option<(SourcesConfig, Arc<Sources>)>>,
    /// Raises packages to versions that their sources know.
    pub raiser: Arc<Raiser>,
    /// Runs the scripts by which packages are kept up to date.
    pub scripts: Arc<Scripts>,
    /// Remembers what was parsed.
    pub reader: Arc<SnapshotReader>,
    /// The clone to plan on if the remote does not answer; only ever set for a plan that is not performed.
    pub fallback: Option<Fallback>,
    /// What is published from here, as far as that can be told without writing; only ever set for a plan that is
    /// not performed. Others are told by their runner.
    pub peek: Option<Peek>,
    /// One fetch at a time: two would fight over the refs of the workspace.
    pub fetching: tokio::sync::Mutex<()>,
    /// Holds the workspace, if it is to go with this value.
    pub scratch: Option<Scratch>,
}

/// How others are dealt with; may change while the program runs.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// How sources are asked.
    pub sources: SourcesConfig,
    /// How long the `.CI/update.sh` of one package may take.
    pub script_timeout: Duration,
    /// Where packages go back to.
    pub hand_back: HandBack,
}

/// One look at the monorepo.
#[derive(Debug, Clone)]
pub struct Look {
    /// What it is.
    pub snapshot: Arc<Snapshot>,
    /// What people did to it.
    pub since: Arc<Since>,
    /// What was wrong with looking.
    pub findings: Vec<Finding>,
}

impl Site {
    /// Reads the remote's refs, fetches what is new, and reads the snapshot.
    ///
    /// # Errors
    /// If the remote cannot be reached or its objects cannot be read.
    pub async fn look(&self) -> Result<Look> {
        self.look_with(|_, _| true).await
    }

    /// As [`Site::look`], without reviews that a plan for this pipeline does not look at.
    ///
    /// # Errors
    /// As [`Site::look`].
    pub async fn look_for(&self, pipeline: &Pipeline) -> Result<Look> {
        let pipeline = pipeline.clone();
        self.look_with(move |since, pkgbase| plan::considers_review(&pipeline, since, pkgbase)).await
    }

    async fn look_with(&self, wanted: impl Fn(&Since, &PkgBase) -> bool + Send + 'static) -> Result<Look> {
        let mut findings = Vec::new();
        let foreseen = async {
            if let Some(fallback) = &self.fallback {
                fallback.finished().await;
            }
        };
        let (refs, ()) = tokio::join!(self.fetch(), foreseen);
        let refs = match (refs, &self.fallback) {
            (Ok(refs), _) => refs,
            (Err(error), Some(fallback)) => {
                let message =
                    format!("the remote does not answer, so this is planned on what the clone has: {error:#}");
                findings.push(
                    Finding::warning("remote-unreachable", message)
                        .hint("mend the connection, or name another remote with --remote"),
                );
                Inspection::open(fallback.clone_dir())?.refs("HEAD")?
            }
            (Err(error), None) => return Err(error),
        };
        self.read(refs, findings, wanted).await
    }

    /// Reads the snapshot at these refs, whose objects are there.
    async fn read(
        &self,
        refs: Refs,
        findings: Vec<Finding>,
        wanted: impl Fn(&Since, &PkgBase) -> bool + Send + 'static,
    ) -> Result<Look> {
        let _progress = progress::task(format!("reading the packages of {}", self.name));
        let (reader, name, range) = (self.reader.clone(), self.name.clone(), refs.clone());
        let (since, snapshot) = tokio::try_join!(
            self.with_git(move |git| range::since_scheduled(git, &range)),
            self.with_git(move |git| reader.read_packages(git, &name, refs)),
        )?;
        let reader = self.reader.clone();
        self.with_git(move |git| {
            let snapshot = reader.add_reviews(git, snapshot, |pkgbase| wanted(&since, pkgbase))?;
            Ok(Look { snapshot: Arc::new(snapshot), since: Arc::new(since), findings })
        })
        .await
    }

    /// Makes sure that a commit is here. What another process recorded can be news to this one.
    ///
    /// # Errors
    /// If it has to be fetched, and cannot be.
    pub async fn obtain(&self, commit: Oid) -> Result<()> {
        if !self.with_git(move |git| Ok(git.contains(commit))).await? {
            self.fetch().await?;
        }
        Ok(())
    }

    /// Fetches one ref of the remote, such as what somebody proposes. Where it stands; `None` if it is not there.
    ///
    /// # Errors
    /// If the remote cannot be reached.
    pub async fn fetch_ref(&self, name: &str) -> Result<Option<Oid>> {
        let _turn = self.fetching.lock().await;
        let local = tracking(name);
        let remote = self.remote.clone().timeout(std::time::Duration::from_mins(2));
        match remote.fetch(&[format!("{name}:{local}")], None).await {
            Err(GitError::MissingRefs { .. }) => return Ok(None),
            other => other?,
        }
        self.with_git(move |git| Ok(git.resolve(&local)?)).await
    }

    /// The remote's refs, with every object they lead to fetched.
    async fn fetch(&self) -> Result<Refs> {
        let _turn = self.fetching.lock().await;
        let progress = progress::task(format!("looking at {}", self.name));
        for _ in 0..LOOKS {
            let refs = self.remote.refs(&self.branch).await?;
            let missing = self.missing(&refs).await?;
            if missing.is_empty() {
                self.deepen(&refs).await?;
                return Ok(refs);
            }
            let refspecs: Vec<String> = missing.iter().map(|name| format!("+{name}:{}", tracking(name))).collect();
            progress.say(format!("fetching {} branches of {}", refspecs.len(), self.name));
            self.remote.fetch(&refspecs, None).await?;
            if self.missing(&refs).await?.is_empty() {
                self.deepen(&refs).await?;
                return Ok(refs);
            }
        }
        bail!("the refs of {} keep moving while they are fetched; try again", self.remote.shown())
    }

    /// Fetches as much of the history that a shallow clone lacks as it takes to tell what was committed
    /// since builds were last handed out. CI services check out shallow clones, one commit deep.
    async fn deepen(&self, refs: &Refs) -> Result<()> {
        for depth in DEPTHS {
            let known = refs.clone();
            if self.with_git(move |git| range::is_whole(git, &known)).await? {
                return Ok(());
            }
            tracing::info!(repository = self.name, depth, "the clone is shallow; fetching more of its history");
            let mut names = vec![format!("refs/heads/{}", refs.branch)];
            names.extend(refs.scheduled.map(|_| "refs/tags/scheduled".to_owned()));
            let refspecs: Vec<String> = names.iter().map(|name| format!("+{name}:{}", tracking(name))).collect();
            self.remote.fetch(&refspecs, Some(depth)).await?;
        }
        Ok(())
    }

    /// Names of the refs whose objects are not here yet.
    async fn missing(&self, refs: &Refs) -> Result<Vec<String>> {
        let mut wanted: Vec<(String, Oid)> = refs
            .reviews
            .iter()
            .map(|(pkgbase, &head)| (format!("refs/heads/{}", pkgbase.review_branch()), head))
            .collect();
        wanted.extend(refs.groups.iter().map(|(group, &head)| (format!("refs/heads/{}", group.branch()), head)));
        wanted.extend(refs.main.map(|id| (format!("refs/heads/{}", refs.branch), id)));
        wanted.extend(refs.state.map(|id| ("refs/heads/state".to_owned(), id)));
        wanted.extend(refs.scheduled.map(|id| ("refs/tags/scheduled".to_owned(), id)));
        self.with_git(move |git| {
            Ok(wanted.into_iter().filter(|(_, id)| !git.contains(*id)).map(|(name, _)| name).collect())
        })
        .await
    }

    /// From the next run on, deals with others like this, with the same cache.
    pub fn deal_as(&self, with: Upstream) {
        let mut upstream = self.upstream.write().expect("nobody panics with it");
        let cache_dir = upstream.sources.cache_dir.clone();
        *upstream = Upstream { sources: SourcesConfig { cache_dir, ..with.sources }, ..with };
    }

    /// Where packages go back to, and the repository that they are pushed from.
    pub(super) fn hand_back(&self) -> (HandBack, PathBuf) {
        let upstream = self.upstream.read().expect("nobody panics with it");
        (upstream.hand_back.clone(), upstream.sources.cache_dir.join("handback.git"))
    }

    /// Decides what a run does, from a look and answers that may be older than it.
    ///
    /// # Errors
    /// If the monorepo's objects cannot be read.
    pub async fn decide(
        &self,
        look: &Look,
        pipeline: &Pipeline,
        answers: &Arc<Answers>,
        now: Timestamp,
    ) -> Result<Plan> {
        let _progress = progress::task(format!("comparing and deciding about {}", self.name));
        let (look, pipeline, answers) = (look.clone(), pipeline.clone(), answers.clone());
        let (policy, arch) = (self.policy.clone(), self.arch.clone());
        let (hand_back, _) = self.hand_back();
        self.with_git(move |git| {
            let mut observations = observe::compare(git, &look.snapshot, &pipeline, &answers)?;
            observations.findings.extend(look.findings.iter().cloned());
            if policy.format {
                format::format(&mut observations);
            }
            let official = lint::known_elsewhere(look.snapshot.version_state.as_deref());
            let plan = |observations: &Observations| {
                let (snapshot, since) = (&*look.snapshot, &*look.since);
                let (policy, official, arch) = (&policy, &official, &*arch);
                plan::plan(&pipeline, &Inputs { snapshot, since, observations, policy, official, arch, now })
            };
            // Only folders that are handed out are checked, and which, is known once there is a plan. Most of
            // them changed, so these are checked meanwhile.
            let changed: BTreeSet<PkgBase> = match pipeline {
                Pipeline::OnCommit | Pipeline::OnSchedule => look.since.changes.to_build().into_iter().collect(),
                _ => BTreeSet::new(),
            };
            let (path, snapshot) = (git.path(), &look.snapshot);
            let (first, checked) = std::thread::scope(|scope| {
                let checked = scope.spawn(|| observe::unbuildable(&Repository::open(path)?, snapshot, &changed));
                (plan(&observations), checked.join().expect("nothing panics in it"))
            });
            let built: BTreeSet<PkgBase> = first.builds.iter().map(|build| build.pkgbase.clone()).collect();
            observations.unbuildable = checked?;
            observations.unbuildable.retain(|pkgbase, _| built.contains(pkgbase));
            observations.unbuildable.extend(observe::unbuildable(git, snapshot, built.difference(&changed))?);
            observations.handwork = handwork::on(git, &look.snapshot, handwork::touched(&first))?;
            let is_final = observations.unbuildable.is_empty() && observations.handwork.is_empty();
            let mut decided = if is_final { first } else { plan(&observations) };
            handback::settle_plan(&mut decided, &hand_back);
            bind::bind(&mut decided, snapshot)?;
            Ok(decided)
        })
        .await
    }

    /// Does blocking work on the workspace.
    ///
    /// # Errors
    /// What the work fails with, or that the workspace cannot be opened.
    pub async fn with_git<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Repository) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let path = self.workspace.clone();
        tokio::task::spawn_blocking(move || {
            let git = Repository::open(&path)
                .with_context(|| format!("the workspace {} cannot be opened", path.display()))?;
            work(&git)
        })
        .await
        .context("reading the repository was interrupted")?
    }
}

/// Where a ref of the remote is kept in the workspace.
pub(super) fn tracking(name: &str) -> String {
    name.replacen("refs/", "refs/pkgwarden/remote/", 1)
}
