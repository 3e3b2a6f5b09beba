//! What one attempt does with cache sets: restores them onto its pristine directories, answers `pkgwarden-cache` while
//! it builds, and saves once it has succeeded.
//!
//! What fails here is told in the log and fails nothing else, unless the set says that it is required.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use tokio::time::Instant;

use super::attempt::{Attempt, Stop};
use super::step::{self, Limits, StepError};
use crate::builder::cache::{self, Selection};
use crate::builder::makepkg::{Job, Phase};
use crate::builder::verdict::{Exit, Verdict};
use crate::builder::workspace::Workspace;
use crate::caches::{CacheError, Caches, Entry, Found, Leased, Place, Published, Staged, Wanted};
use crate::domain::cache::key::{Facts, key};
use crate::domain::cache::policy::RefClass;
use crate::domain::cache::sources::compared;
use crate::domain::cache::{Plan, Set, SetName};
use crate::executor::BuildOrder;
use crate::executor::kept::blocking;
use crate::sys::fs::FsError;
use crate::sys::sandbox::SandboxSpec;
use crate::telemetry::in_full;

/// What an attempt knows of its sets.
pub struct Caching {
    pub caches: Caches,
    pub order: Arc<BuildOrder>,
    /// What it may keep and find.
    pub plan: Plan,
    /// How often each set had been invalidated when it was first heard of.
    epochs: BTreeMap<SetName, u64>,
    /// What the tools say that keys depend on.
    tools: BTreeMap<String, String>,
    /// What it restored stays as long as it builds.
    leased: Vec<Leased>,
    /// Of each set that was restored, by which key, and what was in it then.
    restored: BTreeMap<SetName, (String, String)>,
    /// The sources that makepkg compares with a sum: nothing else of a set that is to be verified is kept or found.
    compared: BTreeSet<String>,
    /// What it saved until now, to be kept if it succeeds.
    pub staged: BTreeMap<SetName, (Staged, Wanted)>,
}

/// Why a set could not be saved or restored.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The archives say no.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The disk says no.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// What packs or unpacks did not come to its end.
    #[error(transparent)]
    Step(#[from] StepError),
    /// It is over, and went wrong.
    #[error("{0}")]
    Other(String),
}

impl Trouble {
    /// Whether the very same may be saved another time: what is missing is room, or the disk.
    pub const fn passes(&self) -> bool {
        !matches!(self, Self::Cache(CacheError::Rejected(_)) | Self::Other(_))
    }
}

impl Caching {
    /// Of an attempt that begins.
    pub fn begin(caches: Caches, order: Arc<BuildOrder>) -> Self {
        let plan = order.caches.clone().with_sources(order.cache_sources);
        Self {
            caches,
            order,
            plan,
            epochs: BTreeMap::new(),
            tools: BTreeMap::new(),
            leased: Vec::new(),
            restored: BTreeMap::new(),
            compared: BTreeSet::new(),
            staged: BTreeMap::new(),
        }
    }

    /// Whether it keeps or finds only what makepkg compares.
    pub fn keeps_verified(&self) -> bool {
        self.plan.sets.iter().any(|set| set.verified)
    }

    /// The sets that are restored and saved by themselves: those of sources, or the others.
    fn due(&self, early: bool) -> Vec<Set> {
        let due = self.plan.sets.iter().filter(|set| set.is_early() == early && !set.include.is_empty());
        due.cloned().collect()
    }

    /// Learns from what makepkg says of the PKGBUILD which sources it compares.
    pub fn know_sources(&mut self, summary: &str) {
        self.compared = compared(summary, &self.order.arch);
    }

    /// What of a build belongs to a set.
    async fn selected(&self, workspace: &Workspace, set: &Set) -> Result<Selection, FsError> {
        let (workspace, set, compared) = (workspace.clone(), set.clone(), self.only_of(set));
        blocking(move || cache::select(&workspace, &set, compared.as_ref())).await
    }

    /// The only files that may be kept of a set, if not all may.
    fn only_of(&self, set: &Set) -> Option<BTreeSet<String>> {
        set.verified.then(|| self.compared.clone())
    }

    /// Remembers how often its sets have been invalidated until now: what is from before counts for it no more than for those
    /// that begin later.
    fn note_epochs(&mut self) -> Result<(), CacheError> {
        self.plan.sets.clone().iter().try_for_each(|set| self.epoch(set).map(drop))
    }

    fn epoch(&mut self, set: &Set) -> Result<u64, CacheError> {
        if let Some(known) = self.epochs.get(&set.name) {
            return Ok(*known);
        }
        let epoch = self.caches.epoch(&Place::of(&self.order.repository, self.order.pkgbase.as_str(), set))?;
        self.epochs.insert(set.name.clone(), epoch);
        Ok(epoch)
    }

    /// What is looked for, or saved as.
    pub fn wanted(&mut self, set: &Set) -> Result<Wanted, CacheError> {
        let epoch = self.epoch(set)?;
        let order = &self.order;
        let commit = order.commit.to_string();
        let facts = Facts {
            repository: &order.repository,
            pkgbase: order.pkgbase.as_str(),
            arch: &order.arch,
            commit: &commit,
            files: &order.files,
            tools: &self.tools,
            epoch: epoch.saturating_add(self.plan.epoch(&set.name)),
        };
        Ok(Wanted {
            place: Place::of(&order.repository, order.pkgbase.as_str(), set),
            class: RefClass::of(order.proposal),
            key: key(set, &facts),
            epoch,
            renew: set.renew,
            attempt: order.attempt.clone(),
        })
    }

    /// Finds what was saved, and gives it the build under a name in `answers`.
    pub async fn find(&mut self, set: &Set, to: &Path) -> Result<Result<Entry, String>, Trouble> {
        let (caches, wanted, to) = (self.caches.clone(), self.wanted(set)?, to.to_owned());
        let found = blocking(move || match caches.find(&wanted)? {
            Found::Archive(leased) => {
                leased.give(&to)?;
                Ok::<_, Trouble>(Ok(*leased))
            }
            Found::Absent => Ok(Err("there is nothing to restore".to_owned())),
            Found::Damaged(why) => Err(Trouble::Other(format!("what was saved is damaged and not used: {why}"))),
        });
        Ok(found.await?.map(|leased| {
            let entry = leased.entry.clone();
            self.leased.push(leased);
            entry
        }))
    }

    /// Packs a tar that the build made, so that it can be kept.
    pub async fn stage(&self, set: &Set, tar: &Path, wanted: &Wanted, limits: &Limits) -> Result<Staged, Trouble> {
        let (caches, tar, limits, max) = (self.caches.clone(), tar.to_owned(), limits.clone(), set.max_bytes);
        let wanted = wanted.clone();
        let staged = blocking(move || {
            let file = open_ordinary(&tar).map_err(|error| FsError::new("read", &tar, error))?;
            let staged = caches.stage(Watched { inner: file, limits }, max, &wanted);
            // The tree is removed in the end; until then it only takes room.
            let _ = std::fs::remove_file(&tar);
            Ok::<_, Trouble>(staged?)
        });
        staged.await
    }
}

impl Attempt {
    /// Restores the sets that are due before sources are fetched, or those that are due then.
    pub async fn restore_sets(&mut self, early: bool, workspace: &Workspace, job: &Job) -> Result<(), Stop> {
        if let Err(error) = self.caching.note_epochs() {
            self.note(&format!("cache: warning: {}; the build begins without any set", in_full(&error)))?;
            self.caching.plan = Plan::default();
        }
        if !early {
            self.ask_tools(workspace, job).await?;
        }
        for set in &self.caching.due(early) {
            let began = Instant::now();
            match self.restore_set(set, workspace, job).await {
                Ok(Ok(entry)) => {
                    let said = restored(&entry, began);
                    self.note(&format!("cache: {}: {said}", set.name))?;
                }
                Ok(Err(absent)) => self.note(&format!("cache: {}: {absent}", set.name))?,
                Err(trouble) => self.not_restored(set, trouble)?,
            }
        }
        Ok(())
    }

    async fn restore_set(
        &mut self,
        set: &Set,
        workspace: &Workspace,
        job: &Job,
    ) -> Result<Result<Entry, String>, Trouble> {
        let name = format!("set-{}", set.name);
        let entry = match self.caching.find(set, &workspace.path("answers").join(&name)).await? {
            Ok(entry) => entry,
            Err(absent) => return Ok(Err(absent)),
        };
        let mut spec = job.sandbox(Phase::Build, workspace, &[]);
        // What is restored before anything of the package runs is sources, whatever the archive holds.
        cache::unpacking(&mut spec, workspace, &name, set.is_early().then_some("srcdest"));
        if let Err(trouble) = self.run_step(&spec).await {
            let (workspace, set) = (workspace.clone(), set.clone());
            blocking(move || cache::clear(&workspace, &set)).await?;
            return Err(trouble);
        }
        if let Some(compared) = self.caching.only_of(set) {
            let workspace = workspace.clone();
            blocking(move || cache::keep_sources(&workspace, &compared)).await?;
        }
        let selection = self.caching.selected(workspace, set).await?;
        self.caching.restored.insert(set.name.clone(), (entry.key.clone(), selection.fingerprint));
        Ok(Ok(entry))
    }

    /// Finds out the versions of tools that keys depend on.
    async fn ask_tools(&mut self, workspace: &Workspace, job: &Job) -> Result<(), Stop> {
        let mut tools: Vec<String> = self.caching.plan.sets.iter().flat_map(|set| set.tools.clone()).collect();
        tools.sort();
        tools.dedup();
        if tools.is_empty() {
            return Ok(());
        }
        let mut spec = job.sandbox(Phase::Build, workspace, &[]);
        cache::asking_versions(&mut spec, workspace, &tools);
        match self.run_step(&spec).await {
            Ok(()) => {}
            Err(Trouble::Step(error)) => return Err(Stop::Step(error)),
            Err(trouble) => return self.note(&format!("cache: the tools do not tell their versions: {trouble}")),
        }
        let printed = workspace.take_printed()?.unwrap_or_default();
        let lines = String::from_utf8_lossy(&printed).into_owned();
        let told = lines.lines().filter_map(|line| line.split_once('\t')).filter(|(_, version)| !version.is_empty());
        self.caching.tools = told.map(|(tool, version)| (tool.to_owned(), version.to_owned())).collect();
        Ok(())
    }

    /// Packs what was fetched before anything of it is built: what the build then makes of it is found by nobody.
    pub async fn stage_sources(&mut self, workspace: &Workspace, job: &Job) -> Result<(), Stop> {
        for set in self.caching.due(true) {
            let began = Instant::now();
            let said = match self.stage_set(&set, workspace, job).await {
                Ok(Ok((staged, wanted))) => {
                    let said = format!("packed {} files, to be saved if this build succeeds", staged.content.members);
                    self.caching.staged.insert(set.name.clone(), (staged, wanted));
                    Ok(said)
                }
                Ok(Err(said)) => Ok(said),
                Err(trouble) => Err(trouble),
            };
            self.tell_saved(&set, said, began)?;
        }
        Ok(())
    }

    /// Saves what this build leaves for the next one: it has succeeded.
    pub async fn save_sets(&mut self, workspace: &Workspace, job: &Job) -> Result<(), Stop> {
        for set in self.caching.due(false) {
            let began = Instant::now();
            let said = match self.stage_set(&set, workspace, job).await {
                Ok(Ok((staged, wanted))) => self.publish(staged, wanted).await,
                Ok(Err(said)) => Ok(said),
                Err(trouble) => Err(trouble),
            };
            self.tell_saved(&set, said, began)?;
        }
        for (name, (staged, wanted)) in std::mem::take(&mut self.caching.staged) {
            match self.publish(staged, wanted).await {
                Ok(said) => self.remark(&format!("cache: {name}: {said}")),
                Err(trouble) => {
                    let declared = self.caching.plan.sets.iter().find(|set| set.name == name).cloned();
                    let set = declared.unwrap_or_else(|| Set::by_hand(name));
                    self.not_saved(&set, trouble)?;
                }
            }
        }
        let caches = self.caching.caches.clone();
        if let Err(error) = blocking(move || caches.prune()).await {
            self.remark(&format!("cache: there could not be made room for others: {}", in_full(&error)));
        }
        Ok(())
    }

    fn tell_saved(&mut self, set: &Set, said: Result<String, Trouble>, began: Instant) -> Result<(), Stop> {
        match said {
            Ok(said) => {
                let took = began.elapsed().as_secs_f64();
                self.remark(&format!("cache: {}: {said}, in {took:.2} s", set.name));
                Ok(())
            }
            Err(trouble) => self.not_saved(set, trouble),
        }
    }

    /// Packs a set; says why, if there is no need to.
    async fn stage_set(
        &mut self,
        set: &Set,
        workspace: &Workspace,
        job: &Job,
    ) -> Result<Result<(Staged, Wanted), String>, Trouble> {
        let selection = self.caching.selected(workspace, set).await?;
        if selection.paths.is_empty() {
            return Ok(Err("there is nothing to save".to_owned()));
        }
        let wanted = self.caching.wanted(set)?;
        if let Some((key, fingerprint)) = self.caching.restored.get(&set.name)
            && (*key == wanted.key.exact || *fingerprint == selection.fingerprint)
        {
            return Ok(Err("what was restored stays: it has the same key or content".to_owned()));
        }
        let name = format!("set-{}.tar", set.name);
        let mut spec = job.sandbox(Phase::Build, workspace, &[]);
        cache::packing(&mut spec, workspace, (&selection, &name), set.max_bytes)?;
        let packed = self.run_step(&spec).await;
        let tar = workspace.path("requests").join(&name);
        // A tar that was cut off is told apart from one that could not be made.
        let size = std::fs::symlink_metadata(&tar).map(|metadata| metadata.len()).unwrap_or_default();
        if size <= cache::longest_tar(set.max_bytes) {
            packed?;
        }
        let staged = self.caching.stage(set, &tar, &wanted, &self.limits).await?;
        Ok(Ok((staged, wanted)))
    }

    async fn publish(&mut self, staged: Staged, wanted: Wanted) -> Result<String, Trouble> {
        let caches = self.caching.caches.clone();
        let published = blocking(move || caches.publish(staged, &wanted)).await?;
        Ok(match published {
            Published::New(entry) => saved(&entry),
            Published::Already => "there is one with this key already, which stays".to_owned(),
            Published::Invalidated => "it was invalidated during this build, so nothing is saved".to_owned(),
        })
    }

    async fn run_step(&mut self, spec: &SandboxSpec) -> Result<(), Trouble> {
        let program = step::sandboxed(spec, self.inner.user);
        let end = step::run(&self.inner.launcher, program, &mut self.log, &self.limits).await?;
        match end.exit {
            Exit::Code(0) => Ok(()),
            _ => Err(Trouble::Other(format!("bsdtar could not do it: {}", last_line(&end.printed)))),
        }
    }

    /// Says why a set is not restored. That ends the attempt if the set is required, or if it is to end anyway.
    fn not_restored(&mut self, set: &Set, trouble: Trouble) -> Result<(), Stop> {
        let said = format!("cannot restore the cache set `{}`: {}", set.name, in_full(&trouble));
        match trouble {
            Trouble::Step(error @ StepError::Cancelled) => Err(Stop::Step(error)),
            _ if !set.required => self.note(&format!("cache: warning: {said}; the build begins without it")),
            trouble => Err(of_required(&trouble, said)),
        }
    }

    /// Says why a set is not saved. The work of a build is not thrown away because there was no room for a set this time,
    /// not even where it is required.
    fn not_saved(&mut self, set: &Set, trouble: Trouble) -> Result<(), Stop> {
        let said = format!("cannot save the cache set `{}`: {}", set.name, in_full(&trouble));
        match trouble {
            Trouble::Step(error @ StepError::Cancelled) => Err(Stop::Step(error)),
            trouble if set.required && !trouble.passes() => Err(of_required(&trouble, said)),
            _ => {
                self.remark(&format!("cache: warning: {said}; the next build begins without it"));
                Ok(())
            }
        }
    }

    /// Notes what is good to know; the build does not depend on it.
    pub(super) fn remark(&mut self, line: &str) {
        let _ = self.note(line);
    }
}

/// What trouble with a set that is required means for the build.
fn of_required(trouble: &Trouble, said: String) -> Stop {
    match trouble {
        Trouble::Cache(CacheError::Rejected(_)) => Stop::Package(said),
        _ => Stop::Verdict(Verdict::Infrastructure(said), None),
    }
}

/// What is told of an archive that was restored.
pub fn restored(entry: &Entry, began: Instant) -> String {
    format!(
        "restored {} in {:.2} s; saved at {} by {}",
        amount(entry),
        began.elapsed().as_secs_f64(),
        entry.created.strftime("%F %T UTC"),
        entry.origin
    )
}

/// What is told of an archive that was saved.
fn saved(entry: &Entry) -> String {
    format!("saved {}", amount(entry))
}

fn amount(entry: &Entry) -> String {
    format!(
        "{} bytes in {} files ({} bytes packed), key {}, sha256 {}",
        entry.content.bytes,
        entry.content.members,
        entry.size,
        &entry.key[..12],
        &entry.sha256[..12]
    )
}

fn last_line(printed: &str) -> String {
    printed.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing").trim().to_owned()
}

/// Opens a file that a build has made, if it is one.
pub fn open_ordinary(path: &Path) -> io::Result<File> {
    let flags = nix::fcntl::OFlag::O_NOFOLLOW | nix::fcntl::OFlag::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is no ordinary file")) }
}

/// Ends the reading when the attempt has to end.
struct Watched {
    inner: File,
    limits: Limits,
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.limits.check().map_err(io::Error::other)?;
        self.inner.read(buffer)
    }
}
