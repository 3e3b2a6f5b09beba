//! The newest version of packages, as the `nvchecker.toml` in their folders says to find it.
//!
//! The options have nvchecker's names and meaning. Sources that are known here are asked without another
//! program; any other one through the real nvchecker, in a sandbox, where it is installed. What becomes of a
//! version is not decided here.

mod alpm;
mod aur;
mod cache;
mod call;
mod choice;
mod entry;
mod extract;
mod git;
mod gitea;
mod github;
mod gitlab;
mod options;
mod order;
mod page;
mod program;
mod python;
mod registry;
mod release;
mod round;
mod service;
mod trouble;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Semaphore;

use super::SourceAnswer;
use super::budget::Budget;
use super::error_text;
use super::failure::{Cause, Failure};
use super::ledger::{self, Ledger};
use super::lsremote::RefReader;
use super::order::Order;
use super::release::settle;
use crate::domain;
use crate::domain::finding::Finding;
use crate::domain::name::PkgBase;
use crate::domain::release::as_pkgver;
use crate::domain::state::Cursor;
use crate::domain::version::Version;
use crate::sys::http;
use crate::telemetry::progress;

pub use entry::{CheckRequest, LARGEST, PLACES, problem};
pub use extract::{COMMAND, answer};
pub use release::Release;

use aur::Aur;
use cache::Cache;
use call::{Call, Keys, Mirrors};
use choice::Choice;
use entry::{BadFile, Entry, Source};
use extract::Extractor;
use program::RealNvchecker;
use release::Said;
use round::{Door, Round};

/// Why a package without a file cannot be asked.
pub const MISSING: &str = "CI_NVCHECKER is set, and there is no nvchecker.toml or .nvchecker.toml";

/// How the sources of nvchecker are asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NvcheckerConfig {
    /// What addresses begin with, and what is asked in their place.
    pub mirrors: BTreeMap<String, String>,
    /// Tokens, in a keyfile of nvchecker.
    pub keyfile: Option<PathBuf>,
    /// Where pacman has its databases.
    pub alpm_dir: PathBuf,
    /// The real nvchecker: a path, or a name in `PATH`.
    pub program: PathBuf,
    /// Whether `source = "cmd"` may run commands.
    pub commands: bool,
    /// This program, which searches what servers answer in a process of its own.
    pub own_program: PathBuf,
}

impl Default for NvcheckerConfig {
    fn default() -> Self {
        Self {
            mirrors: BTreeMap::new(),
            keyfile: None,
            alpm_dir: "/var/lib/pacman".into(),
            program: "nvchecker".into(),
            commands: false,
            // Stays this program when the file on the disk is replaced.
            own_program: "/proc/self/exe".into(),
        }
    }
}

/// The newest version of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Newest {
    /// This one. It may be the one that is there, or even an older one.
    Found(Release),
    /// It is not known.
    Unknown {
        /// What happened.
        error: String,
        /// When to ask again; in the next pass if `None`.
        retry_at: Option<Timestamp>,
    },
}

impl Newest {
    /// What that means for a package whose monorepo has `version`, and of which `cursor` was dealt with last. An
    /// older version changes nothing.
    #[must_use]
    pub fn answer(self, cursor: Option<&Cursor>, version: Option<&Version>) -> SourceAnswer {
        let found = match self {
            Self::Found(found) => found,
            Self::Unknown { error, retry_at } => {
                return SourceAnswer::Unknown { error, retry_at, cause: Cause::Passing };
            }
        };
        let Some(version) = version else {
            return SourceAnswer::unknown("its .SRCINFO gives no version that a newer one could follow");
        };
        let (_, current, _) = version.parts();
        let pkgver = match as_pkgver(&found.version, current) {
            Ok(pkgver) => pkgver,
            Err(error) => return SourceAnswer::unknown(error.to_string()),
        };
        let dealt_with = cursor.filter(|cursor| cursor.version.as_deref() == Some(current));
        let release = domain::release::Release {
            version: pkgver,
            tag: found.gitref.map(|gitref| gitref.strip_prefix("refs/tags/").unwrap_or(&gitref).to_owned()),
            commit: found.revision.and_then(|revision| revision.parse().ok()),
            previous: dealt_with.map(|cursor| cursor.commit),
        };
        settle(cursor, current, &release)
    }
}

/// What was found out in one pass.
#[derive(Debug, Clone, Default)]
pub struct NewestVersions {
    /// By package.
    pub packages: BTreeMap<PkgBase, Newest>,
    /// What is wrong with the configuration as a whole.
    pub findings: Vec<Finding>,
}

/// Asks for newest versions.
#[derive(Debug)]
pub struct Nvchecker {
    door: Door,
    order: Order,
    keyfile: Option<PathBuf>,
    alpm_dir: PathBuf,
    real: RealNvchecker,
    extractor: Extractor,
}

/// A package that is asked about in this pass.
struct Check<'a> {
    pkgbase: &'a PkgBase,
    /// Its name in the ledger.
    question: String,
    entry: Result<Entry, BadFile>,
}

/// Everything that one entry may need while it is asked.
struct Asking<'a> {
    nvchecker: &'a Nvchecker,
    round: Round<'a>,
    keys: Keys,
    aur: HashMap<String, Call>,
    budget: &'a Budget,
    /// For what takes processors and not the network.
    searches: Semaphore,
    programs: Semaphore,
}

/// Searches at once.
const SEARCHES: usize = 2;

/// Runs of the real nvchecker at once.
const PROGRAMS: usize = 4;

impl Nvchecker {
    /// Keeps what may be deleted in `cache_dir`, and gives each request `timeout`.
    pub(super) fn new(config: &NvcheckerConfig, cache_dir: &Path, refs: RefReader, timeout: Duration) -> Self {
        let door = Door {
            client: http::client(timeout),
            refs,
            cache: Cache::new(cache_dir.join("nvchecker")),
            mirrors: Mirrors::new(&config.mirrors),
            timeout,
        };
        Self {
            door,
            order: Order::new(cache_dir.join("nvchecker.next")),
            keyfile: config.keyfile.clone(),
            alpm_dir: config.alpm_dir.clone(),
            real: RealNvchecker { program: config.program.clone(), commands: config.commands },
            extractor: Extractor::new(config.own_program.clone()),
        }
    }

    /// The newest version of every package. One that cannot be found out is *unknown*, and keeps nobody else
    /// waiting. Each distinct request is made once, however many packages need it. What keeps failing is asked as
    /// rarely as `ledger` says.
    pub(super) async fn newest(
        &self,
        requests: &[CheckRequest],
        budget: &Budget,
        ledger: &Ledger,
        now: Timestamp,
    ) -> NewestVersions {
        let (keys, findings) = self.keys();
        let (mut packages, mut due) = (BTreeMap::new(), BTreeMap::new());
        for request in requests {
            let (pkgbase, question) = (&request.pkgbase, ledger::version(&request.pkgbase, &request.file));
            match ledger.resting(&question, now) {
                Some((error, next)) => {
                    let newest = Newest::Unknown { error, retry_at: Some(next) };
                    packages.insert(pkgbase.clone(), newest);
                }
                None => drop(due.insert(pkgbase, Check { pkgbase, question, entry: entry::read(request) })),
            }
        }
        let due: Vec<Check<'_>> = due.into_values().collect();
        for (check, heard) in self.all(&due, keys, budget, now).await {
            let heard = heard.map_err(|failure| budget.weighed(failure));
            let version = heard.as_ref().map(|release| format!("version {}", release.version));
            let retry_at = ledger.note(&check.question, version.as_deref().map_err(|it| *it), now);
            let unknown = |failure: Failure| Newest::Unknown { error: failure.text, retry_at };
            packages.insert(check.pkgbase.clone(), heard.map_or_else(unknown, Newest::Found));
        }
        NewestVersions { packages, findings }
    }

    async fn all<'a>(
        &self,
        due: &'a [Check<'a>],
        keys: Keys,
        budget: &Budget,
        now: Timestamp,
    ) -> Vec<(&'a Check<'a>, Result<Release, Failure>)> {
        let asking = Asking {
            nvchecker: self,
            round: Round::new(&self.door, budget, now),
            keys,
            aur: aur_calls(due.iter().filter_map(|check| check.entry.as_ref().ok())),
            budget,
            searches: Semaphore::new(SEARCHES),
            programs: Semaphore::new(PROGRAMS),
        };
        let progress = progress::counted("looking for new versions", due.len());
        let ask = async |check: &'a Check<'a>| {
            let heard = asking.newest(check.entry.as_ref()).await;
            progress.advance();
            heard
        };
        let answers = self.order.ask_all(due, |check| check.pkgbase.as_str(), budget, ask, Result::is_err).await;
        self.door.cache.prune();
        answers
    }

    fn keys(&self) -> (Keys, Vec<Finding>) {
        let Some(path) = &self.keyfile else { return (Keys::default(), Vec::new()) };
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string());
        match text.and_then(|text| Keys::parse(&text)) {
            Ok(keys) => (keys, Vec::new()),
            Err(error) => {
                let message = format!("the keyfile {} is not used: {error}", path.display());
                (Keys::default(), vec![Finding::error("nvchecker-keyfile", message)])
            }
        }
    }
}

/// The request that each package of the AUR is in.
fn aur_calls<'a>(entries: impl Iterator<Item = &'a Entry>) -> HashMap<String, Call> {
    let name = |entry: &'a Entry| match &entry.source {
        Source::Aur(aur, _) => Some(aur.name.as_str()),
        _ => None,
    };
    let names: BTreeSet<&str> = entries.filter_map(name).collect();
    let calls = Aur::calls(&names).into_iter();
    calls.flat_map(|(names, call)| names.into_iter().map(move |name| (name, call.clone()))).collect()
}

impl Asking<'_> {
    async fn newest(&self, entry: Result<&Entry, &BadFile>) -> Result<Release, Failure> {
        let entry = entry.map_err(|error| Failure::elsewhere(error.to_string()))?;
        self.release(entry).await.map_err(|mut failure| {
            if entry.own_token {
                failure
                    .text
                    .push_str("; the token in the file is not used, only those of sources.nvchecker.keyfile are");
            }
            failure
        })
    }

    async fn release(&self, entry: &Entry) -> Result<Release, Failure> {
        let (said, choice) = match &entry.source {
            Source::Manual(version, choice) => (Said::One(Release::new(version.as_str())), choice),
            Source::Git(git, choice) => (self.round.ask_git(git).await?, choice),
            Source::Service(service, choice) => {
                let body = self.round.ask(&service.call(&self.keys)?).await?;
                (service.answer(&body)?, choice)
            }
            Source::Page(call, extract, choice) => {
                let body = self.round.ask(call).await?;
                let search = async { Ok(self.nvchecker.extractor.run(extract, &body).await?) };
                let found = self.in_turn(&self.searches, search).await?;
                (Said::Many(found.into_iter().map(Release::new).collect()), choice)
            }
            Source::Aur(aur, choice) => {
                let call = self.aur.get(&aur.name).expect("every package of the AUR is in a request");
                (aur.answer(&self.round.ask(call).await?)?, choice)
            }
            Source::Alpm(alpm, choice) => {
                let (alpm, dir) = (alpm.clone(), self.nvchecker.alpm_dir.clone());
                let looked_up = tokio::task::spawn_blocking(move || alpm.look_up(&dir)).await;
                (looked_up.map_err(|error| error_text(&error))??, choice)
            }
            Source::Program(check) => {
                let release = self.in_turn(&self.programs, self.nvchecker.real.check(&entry.name, check)).await?;
                (Said::One(release), &Choice::default())
            }
        };
        if !choice.searches() {
            return Ok(choice.choose(said)?);
        }
        let choice = choice.clone();
        let choose = async {
            let chosen = tokio::task::spawn_blocking(move || choice.choose(said));
            Ok(chosen.await.map_err(|error| error_text(&error))??)
        };
        self.in_turn(&self.searches, choose).await
    }

    /// Waits for a turn, and not longer than the pass takes.
    async fn in_turn<T>(
        &self,
        turns: &Semaphore,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let in_turn = async {
            let _turn = turns.acquire().await.expect("never closed");
            work.await
        };
        let over = |_| Err(self.budget.over());
        tokio::time::timeout_at(self.budget.deadline(), in_turn).await.unwrap_or_else(over)
    }
}
