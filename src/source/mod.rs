//! What is asked about packages beyond the monorepo: where their files come from, and what they are
//! built from.
//!
//! A source answers for each package by itself, and a failure is an answer. Sources know nothing of the
//! files in the monorepo and decide nothing about updates: the controller compares and plans.

mod advert;
pub mod aur;
mod budget;
mod document;
pub mod failure;
pub mod forge;
mod gitfolder;
pub mod ledger;
pub mod libraries;
mod lsremote;
pub mod nvchecker;
mod order;
mod packets;
mod release;
mod retry;
mod taglist;
pub mod vcs;

#[cfg(test)]
mod testing;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::domain::finding::Finding;
use crate::domain::folder::Folder;
use crate::domain::name::PkgBase;
use crate::domain::observed::{Meant, Upstream};
use crate::domain::policy::SourceKind;
use crate::domain::release::Release;
use crate::domain::state::Cursor;
use crate::domain::version::Version;
use crate::sys::http;

use aur::Aur;
use aur::dump::Facts;
use budget::Budget;
use failure::{Cause, Failure};
use forge::{Forges, ForgesConfig};
use gitfolder::GitFolders;
use ledger::Ledger;
use lsremote::RefReader;
use nvchecker::{CheckRequest, NewestVersions, Nvchecker, NvcheckerConfig};
use order::Order;
use release::Releases;
use taglist::TagLister;
use vcs::bulk::Bulk;
use vcs::program::Programs;
use vcs::{UpstreamRequest, Upstreams};

/// Where and how sources are asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourcesConfig {
    /// The AUR.
    pub aur: AurConfig,
    /// The sources of nvchecker.
    pub nvchecker: NvcheckerConfig,
    /// The forges that projects are on.
    pub forges: ForgesConfig,
    /// A folder that may be deleted at any time, at the price of asking again.
    pub cache_dir: PathBuf,
    /// How long one request may take. The AUR's index and fetched files may take longer, but not stand
    /// still for longer.
    pub timeout: Duration,
    /// Requests at once; `None` leaves it to `CI_MAX_PARALLEL`.
    pub parallel: Option<usize>,
    /// Requests at once to one host.
    pub per_host: usize,
    /// How long a pass over all sources may take. What has not been asked by then is unknown.
    pub pass: Duration,
}

/// Where and how the AUR is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AurConfig {
    /// Its index: `packages-meta-ext-v1.json.gz`.
    pub metadata_url: String,
    /// Its RPC interface, version 5, without a slash at the end: asked if the index cannot be had.
    pub rpc_url: String,
    /// One repository with a branch for each pkgbase.
    pub mirror_url: Option<String>,
    /// One repository for each pkgbase; `{pkgbase}` stands for the name.
    pub git_url: Option<String>,
    /// Whether the mirror is used where both are there.
    pub prefer_mirror: bool,
    /// An HTTP proxy for the AUR (`CI_AUR_PROXY`).
    pub proxy: Option<String>,
    /// How long to wait before each package that is cloned from the AUR itself (`CI_CLONE_DELAY`).
    pub clone_delay: Duration,
    /// Packages cloned from the AUR itself at once (`CI_MAX_PARALLEL`).
    pub max_parallel: usize,
}

/// A package whose source is to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceRequest {
    /// The package.
    pub pkgbase: PkgBase,
    /// Its source.
    pub kind: SourceKind,
    /// How far the source has been read.
    pub cursor: Option<Cursor>,
    /// The version that the monorepo has, if its `.SRCINFO` gives one.
    pub version: Option<Version>,
    /// The packages it yields, as far as they are known.
    pub members: Vec<String>,
}

/// What the source of a package says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceAnswer {
    /// The files are those that were dealt with.
    Unmoved {
        /// The cursor, if it is to be moved all the same.
        cursor: Option<Cursor>,
    },
    /// These are the files now. They may still equal those of the monorepo.
    Files {
        /// What to remember once they are dealt with.
        cursor: Cursor,
        /// The files.
        folder: Folder,
        /// Why newer files are known to exist that cannot be had yet. If the files equal those of the
        /// monorepo, the package is *unknown* then, and not *current*.
        behind: Option<String>,
        /// Who says to have made them, `name <address>`, at sources where it matters whether that is still the same.
        packager: Option<String>,
    },
    /// It has a newer version, and no files: those of the monorepo have to be raised to it.
    Newer {
        /// What to remember once they are dealt with.
        cursor: Cursor,
        /// The version.
        release: Release,
    },
    /// It could not be asked, or what it says cannot be used.
    Unknown {
        /// What happened.
        error: String,
        /// When to ask again; in the next pass if `None`.
        retry_at: Option<Timestamp>,
        /// Whose doing it is.
        cause: Cause,
    },
    /// It has no such package (any more).
    Gone,
}

impl SourceAnswer {
    /// It could not be asked, for a reason that will pass.
    pub fn unknown(error: impl Into<String>) -> Self {
        Failure::passing(error).into()
    }

    /// It in a word or two, or why it is none.
    fn heard(&self) -> Result<String, Failure> {
        match self {
            Self::Unmoved { .. } => Ok("nothing new".to_owned()),
            Self::Files { behind: None, .. } => Ok("new files".to_owned()),
            Self::Files { behind: Some(why), .. } => Ok(format!("new files, and {why}")),
            Self::Newer { release, .. } => Ok(format!("version {}", release.version)),
            Self::Gone => Ok("no such package".to_owned()),
            Self::Unknown { error, cause, .. } => Err(Failure { text: error.clone(), cause: *cause }),
        }
    }
}

/// What all sources said in one pass.
#[derive(Debug, Clone, Default)]
pub struct Answers {
    /// By package. A package whose kind of source is not asked is not here.
    pub files: BTreeMap<PkgBase, SourceAnswer>,
    /// What the AUR's index says about the packages that come from there; empty if it cannot be had.
    pub aur: Arc<Facts>,
    /// By package that the AUR has not: what may have been meant, where that was looked for.
    pub meant: BTreeMap<PkgBase, Meant>,
    /// What is wrong with a source as a whole.
    pub findings: Vec<Finding>,
}

/// How long to wait for something large.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// While nothing moves.
    idle: Duration,
    /// In all.
    total: Duration,
}

impl Patience {
    /// Nothing takes longer in all than it may take without moving.
    fn new(idle: Duration, total: Duration) -> Self {
        Self { idle, total: total.max(idle) }
    }
}

/// Every source, ready to be asked.
#[derive(Debug)]
pub struct Sources {
    aur: Result<Aur, String>,
    upstreams: Upstreams,
    nvchecker: Nvchecker,
    releases: Releases,
    folders: GitFolders,
    ledger: Ledger,
    parallel: usize,
    per_host: usize,
    pass: Duration,
}

/// One pass over the sources: hosts that do not answer are left alone until the next one.
#[derive(Debug)]
pub struct Pass<'a> {
    sources: &'a Sources,
    budget: Budget,
    now: Timestamp,
    /// Whether everything is asked for that is followed.
    whole: bool,
}

impl Sources {
    /// Prepares everything; asks nobody yet. What is wrong with the configuration of one source is told
    /// when that source is asked.
    #[must_use]
    pub fn new(config: &SourcesConfig) -> Self {
        let workspace = config.cache_dir.join("upstream.git");
        let reader = RefReader::new(http::client(config.timeout), workspace, config.timeout);
        let nvchecker = Nvchecker::new(&config.nvchecker, &config.cache_dir, reader.clone(), config.timeout);
        let forges = || Forges::new(http::client(config.timeout), &config.forges);
        let order = Order::new(config.cache_dir.join("upstream.next"));
        let bulk = Bulk::new(forges(), config.forges.clone());
        let upstreams = Upstreams::new(reader, Programs::new(config.timeout), bulk, order);
        let lister = TagLister::new(http::client(config.timeout), config.cache_dir.join("tags.git"), config.timeout);
        let order = Order::new(config.cache_dir.join("releases.next"));
        let releases = Releases::new(forges(), config.forges.clone(), lister, order);
        let folders = GitFolders::new(config);
        let ledger = Ledger::open(&config.cache_dir);
        let parallel = config.parallel.unwrap_or(config.aur.max_parallel);
        let &SourcesConfig { per_host, pass, .. } = config;
        Self { aur: Aur::new(config), upstreams, nvchecker, releases, folders, ledger, parallel, per_host, pass }
    }

    /// Begins a pass over everything that is followed, whose time runs from now. What it does not ask for is not
    /// followed any more.
    #[must_use]
    pub fn pass(&self, now: Timestamp) -> Pass<'_> {
        let budget = Budget::new(self.parallel, self.per_host, self.pass).resting(self.ledger.hosts(now));
        Pass { sources: self, budget, now, whole: true }
    }

    /// Begins a pass over some packages only.
    #[must_use]
    pub fn errand(&self, now: Timestamp) -> Pass<'_> {
        Pass { whole: false, ..self.pass(now) }
    }
}

impl Pass<'_> {
    /// Asks where files come from. One package's failure is that package's answer. What keeps failing is asked less
    /// and less often.
    pub async fn observe(&self, requests: &[SourceRequest]) -> Answers {
        let ledger = &self.sources.ledger;
        let question = |request: &SourceRequest| ledger::files(&request.pkgbase, &request.kind);
        let (mut due, mut resting) = (Vec::new(), Vec::new());
        for request in requests {
            match ledger.resting(&question(request), self.now) {
                Some((error, next)) => resting.push((request.pkgbase.clone(), left_alone(error, next))),
                None => due.push(request.clone()),
            }
        }
        // On the heap, because everybody above holds this future.
        let releases = Box::pin(self.sources.releases.ask(&due, &self.budget));
        let folders = Box::pin(self.sources.folders.ask(&due, &self.budget));
        let (mut answers, releases, folders) = tokio::join!(Box::pin(self.aur(&due)), releases, folders);
        answers.files.extend(releases);
        answers.files.extend(folders);
        for request in &due {
            let Some(answer) = answers.files.get_mut(&request.pkgbase) else { continue };
            let heard = answer.heard();
            let next = ledger.note(&question(request), heard.as_deref(), self.now);
            if let SourceAnswer::Unknown { retry_at, .. } = answer {
                *retry_at = next;
            }
        }
        answers.files.extend(resting);
        if self.whole {
            let questions: BTreeSet<String> = requests.iter().map(question).collect();
            ledger.close("files", &questions, self.budget.rests(), self.now);
        } else {
            ledger.keep(self.budget.rests(), self.now);
        }
        answers
    }

    async fn aur(&self, requests: &[SourceRequest]) -> Answers {
        let from_aur = requests.iter().filter(|request| request.kind == SourceKind::Aur);
        let from_aur: BTreeMap<_, _> = from_aur.map(|request| (&request.pkgbase, request)).collect();
        let from_aur: Vec<&SourceRequest> = from_aur.into_values().collect();
        match &self.sources.aur {
            _ if from_aur.is_empty() => Answers::default(),
            Ok(aur) => aur.observe(&from_aur, &self.budget, self.now).await,
            Err(error) => Answers {
                files: from_aur.iter().map(|it| (it.pkgbase.clone(), SourceAnswer::unknown(error))).collect(),
                findings: vec![Finding::error("aur-configuration", format!("the AUR is not asked: {error}"))],
                ..Answers::default()
            },
        }
    }

    /// Asks where the branches are that packages are built from.
    pub async fn upstream(&self, requests: &[UpstreamRequest]) -> BTreeMap<PkgBase, Upstream> {
        if !self.whole && requests.is_empty() {
            return BTreeMap::new();
        }
        Box::pin(self.sources.upstreams.ask(requests, &self.budget, &self.sources.ledger, self.now)).await
    }

    /// Asks which version of a package is the newest, by the `nvchecker.toml` in its folder.
    pub async fn newest(&self, requests: &[CheckRequest], now: Timestamp) -> NewestVersions {
        let ledger = &self.sources.ledger;
        let newest = self.sources.nvchecker.newest(requests, &self.budget, ledger, now).await;
        if self.whole {
            let questions = requests.iter().map(|it| ledger::version(&it.pkgbase, &it.file)).collect();
            ledger.close("version", &questions, self.budget.rests(), now);
        }
        newest
    }
}

fn left_alone(error: String, next: Timestamp) -> SourceAnswer {
    SourceAnswer::Unknown { error, retry_at: Some(next), cause: Cause::Elsewhere }
}

/// An error with its causes, in one line.
fn error_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        // Some libraries repeat the cause in their own text.
        if !text.contains(&message) {
            text = format!("{text}: {message}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::ledger::Book;
    use super::testing::{World, asking, at, name};
    use super::*;

    #[tokio::test]
    async fn who_asks_for_some_packages_forgets_nothing_of_the_others() {
        let world = World::start().await;
        let sources = Sources::new(&world.config());
        sources.pass(at(0)).observe(&[asking("foo", None), asking("bar", None)]).await;
        let asked =
            |package: &str| Book::read(&world.config().cache_dir).files(&name(package), &SourceKind::Aur).is_some();
        sources.errand(at(1)).observe(&[asking("new", None)]).await;
        assert!(asked("foo") && asked("bar") && asked("new"));
        sources.pass(at(2)).observe(&[asking("foo", None)]).await;
        assert!(asked("foo") && !asked("bar") && !asked("new"), "what is not followed any more is forgotten");
    }

    #[tokio::test]
    async fn a_source_that_cannot_work_makes_its_packages_unknown_and_stops_nobody_else() {
        let world = World::start().await;
        let mut config = world.config();
        config.aur.proxy = Some("::".to_owned());
        let sources = Sources::new(&config);
        let custom = SourceRequest { kind: SourceKind::Custom, ..asking("own", None) };
        let requests = [asking("foo", None), asking("foo", None), custom];
        // Spawned, because the controller asks from other threads.
        let (answers, upstream) = tokio::spawn(async move {
            let pass = sources.pass(at(0));
            (pass.observe(&requests).await, pass.upstream(&[]).await)
        })
        .await
        .expect("no panic");
        assert!(
            matches!(&answers.files[&name("foo")], SourceAnswer::Unknown { error, .. } if error.contains("CI_AUR_PROXY"))
        );
        assert_eq!((answers.files.len(), answers.findings.len()), (1, 1));
        assert!(upstream.is_empty());
        assert!(world.requests().is_empty());
    }
}
