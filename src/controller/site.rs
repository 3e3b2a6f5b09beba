//! One repository that is kept: how to look at it, and what a plan about it is made from.

use std::collections::{BTreeMap, BTreeSet};
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
use super::opinions;
use super::raise::{self, Raiser};
use super::range;
use super::scripts::{self, Scripts};
use super::snapshot::SnapshotReader;
use super::versions::Checks;
use crate::domain::desired::{Interfere, Refs, Snapshot};
use crate::domain::finding::Finding;
use crate::domain::library::{Libraries, Published};
use crate::domain::lint;
use crate::domain::name::{Oid, PkgBase};
use crate::domain::observed::Observations;
use crate::domain::plan::{self, Inputs, Pipeline, Plan, Since};
use crate::domain::policy::{Policy, RepositorySettings};
use crate::domain::quarantine;
use crate::git::{GitError, Remote, Repository};
use crate::source::libraries::LibraryDatabases;
use crate::source::{Sources, SourcesConfig};
use crate::sys::scratch::Scratch;
use crate::telemetry::progress;

/// Packages that nothing happens with, and on account of which package.
type Held = BTreeMap<PkgBase, PkgBase>;

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

    /// Asks the sources what a pipeline has to know.
    pub async fn ask(&self, look: &Look, pipeline: &Pipeline, now: Timestamp) -> Answers {
        let mut answers = match pipeline {
            Pipeline::OnSchedule => self.ask_everything(look, now).await,
            Pipeline::Add(additions, _) => {
                observe::ask_for(&self.sources_for(&look.snapshot.settings), additions, now).await
            }
            _ => Answers::default(),
        };
        if answers.libraries.is_none() && plan::needs_published(pipeline, &look.since, self.policy.rebuilds) {
            let published = match &self.peek {
                Some(peek) => peek.versions().await,
                None => Published::default(),
            };
            answers.libraries = Some(Libraries { published, ..Libraries::default() });
        }
        self.raiser.complete(&mut answers.files).await;
        self.raise(&look.snapshot, &mut answers).await;
        if *pipeline == Pipeline::OnSchedule {
            let official = lint::known_elsewhere(look.snapshot.version_state.as_deref());
            let held = quarantine::held(&look.snapshot, look.snapshot.states.iter(), &self.arch, &official);
            self.run_scripts(&look.snapshot, &held, &mut answers).await;
            self.ask_scripts(&look.snapshot, held, &mut answers).await;
        }
        answers
    }

    /// Asks all that a schedule asks.
    async fn ask_everything(&self, look: &Look, now: Timestamp) -> Answers {
        let sources = self.sources_for(&look.snapshot.settings);
        let snapshot = look.snapshot.clone();
        let checks = self.with_git(move |git| Ok(Checks::read(git, &snapshot))).await;
        let checks = checks.unwrap_or_else(|error| Checks::none(&look.snapshot, &format!("{error:#}")));
        let databases = self.library_databases();
        let consulted = databases.consult(&look.snapshot.settings.library_databases);
        let (mut answers, consulted) = tokio::join!(observe::ask(&sources, &look.snapshot, checks, now), consulted);
        let published = match &self.peek {
            Some(peek) => peek.published(&self.name).await,
            None => Published::default(),
        };
        answers.libraries = Some(Libraries { consulted, published });
        answers
    }

    /// Runs the `.CI/update.sh` of packages that have one.
    async fn run_scripts(&self, snapshot: &Arc<Snapshot>, held: &Held, answers: &mut Answers) {
        if !snapshot.packages.values().any(|package| package.interfere.contains(&Interfere::Update)) {
            return;
        }
        let (known, files, held) = (snapshot.clone(), answers.files.clone(), held.clone());
        let timeout = self.upstream.read().expect("nobody panics with it").script_timeout;
        let done = async {
            let found = self.with_git(move |git| Ok(scripts::orders(git, &known, &held, &files))).await?;
            let trees = scripts::trees(&found.orders);
            let left = self.scripts.run(found.orders, timeout).await;
            let mut left = self.with_git(move |git| Ok(scripts::checked(git, left))).await?;
            left.extend(found.unreadable);
            anyhow::Ok((trees, left))
        };
        match done.await {
            Ok((trees, left)) => {
                answers.made_from.extend(trees);
                answers.files.extend(left);
            }
            Err(error) => answers.files.extend(scripts::all_unknown(snapshot, &format!("{error:#}"))),
        }
    }

    /// Asks the `.CI/changed.sh` of packages that have one whether they have to be built.
    async fn ask_scripts(&self, snapshot: &Arc<Snapshot>, held: Held, answers: &mut Answers) {
        if !snapshot.packages.values().any(|package| package.decides_itself()) {
            return;
        }
        let timeout = self.upstream.read().expect("nobody panics with it").script_timeout;
        let (known, not_asked, upstream) = (snapshot.clone(), held.clone(), answers.upstream.clone());
        let read = self.with_git(move |git| Ok(opinions::questions(git, &known, &not_asked, &upstream))).await;
        answers.opinions = match read {
            Ok((questions, unreadable)) => {
                let mut said = opinions::ask(&self.scripts.refresher, questions, timeout).await;
                said.extend(unreadable);
                said
            }
            Err(error) => opinions::none(snapshot, &held, &format!("its .CI/changed.sh could not be run: {error:#}")),
        };
    }

    /// Makes the files of packages of which a newer version is known from those that the monorepo has.
    async fn raise(&self, snapshot: &Snapshot, answers: &mut Answers) {
        answers.made_from = raise::wanted(snapshot, &answers.files);
        let (wanted, files) = (answers.made_from.clone(), answers.files.clone());
        if wanted.is_empty() {
            return;
        }
        let read = self.with_git(move |git| Ok(raise::orders(git, &wanted, &files))).await;
        match read {
            Ok((orders, unreadable)) => {
                answers.files.extend(unreadable);
                let raised = self.raiser.raise(orders).await;
                answers.files.extend(raised);
            }
            Err(error) => answers.files.extend(raise::all_unknown(&answers.made_from, &format!("{error:#}"))),
        }
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

    /// The sources, asked as `.ci/config` wants it.
    fn sources_for(&self, settings: &RepositorySettings) -> Arc<Sources> {
        let mut config = self.upstream.read().expect("nobody panics with it").sources.clone();
        config.aur.proxy = settings.aur_proxy.clone().or(config.aur.proxy);
        config.aur.max_parallel = settings.max_parallel;
        config.aur.clone_delay = Duration::from_secs_f64(settings.clone_delay.max(0.0));
        let mut asked = self.asked.lock().expect("nobody panics with it");
        match &*asked {
            Some((same, sources)) if *same == config => sources.clone(),
            _ => {
                let sources = Arc::new(Sources::new(&config));
                *asked = Some((config, sources.clone()));
                sources
            }
        }
    }

    pub(super) fn library_databases(&self) -> LibraryDatabases {
        let upstream = self.upstream.read().expect("nobody panics with it");
        LibraryDatabases::new(upstream.sources.cache_dir.clone(), upstream.sources.timeout)
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
