//! The AUR as a source: its index says which packages to ask about, git has their files.
//!
//! One conditional request tells whether anything is announced at all. Only if something is, one listing
//! of the mirror's branches and one fetch follow, however many packages it is about. If the index cannot be had, the
//! RPC interface is asked for the same; if that cannot be had either, git tells what has moved.

pub mod dump;
mod git;
mod metadata;
mod rpc;
pub mod rule;
mod search;
mod workers;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use self::dump::{Facts, PackageFacts};
use self::git::{Content, Contents, Direct, Mirror, can_be_branch};
use self::metadata::Metadata;
use self::rpc::Rpc;
use self::rule::{Announced, Origin, Verdict};
use self::workers::Workers;
use super::budget::Budget;
use super::failure::Failure;
use super::lsremote::RefReader;
use super::{Answers, AurConfig, Patience, SourceAnswer, SourceRequest, SourcesConfig, error_text};
use crate::domain::finding::Finding;
use crate::domain::name::{Oid, PkgBase};
use crate::domain::observed::Meant;
use crate::domain::state::Cursor;
use crate::domain::words::number_of;
use crate::sys::http;
use crate::telemetry::progress;

/// The index may take this long while it moves: it is some ten megabytes.
const INDEX_TIMEOUT: Duration = Duration::from_mins(5);

/// Fetching files may take this long while it moves: the first time, it is all of them.
const FETCH_TIMEOUT: Duration = Duration::from_mins(10);

const BEHIND: &str = "the AUR announces a newer push than the mirror has";

/// The AUR, ready to be asked.
#[derive(Debug)]
pub struct Aur {
    metadata: Metadata,
    rpc: Rpc,
    access: Access,
}

/// Where files come from.
#[derive(Debug)]
enum Access {
    Mirror(Mirror),
    Direct(Box<Workers>),
}

/// A package that git has to be asked about.
#[derive(Debug)]
struct Asked<'a> {
    pkgbase: &'a PkgBase,
    cursor: Option<&'a Cursor>,
    /// What the index says; `None` if there is no index.
    announced: Option<Announced>,
}

/// What is known about packages before git is asked.
#[derive(Debug, Default)]
struct Index {
    /// By package. A package that is neither here nor among the others is not in the AUR.
    facts: Arc<Facts>,
    /// By package that is not there: what may have been meant.
    meant: BTreeMap<PkgBase, Meant>,
    /// Packages about which nobody says anything.
    silent: BTreeSet<PkgBase>,
    /// Why this is not the index itself.
    trouble: Option<String>,
}

type Files = BTreeMap<PkgBase, SourceAnswer>;

impl Aur {
    /// Prepares everything; asks nobody yet. The error says what is wrong with the configuration.
    pub fn new(config: &SourcesConfig) -> Result<Self, String> {
        let folder = config.cache_dir.join("aur");
        let patience = Patience::new(config.timeout, INDEX_TIMEOUT);
        let (index, url) = (client(&config.aur, patience.total)?, config.aur.metadata_url.clone());
        let metadata = Metadata::new(index, url, patience, Some(folder.join("index.json")));
        let rpc = Rpc::new(client(&config.aur, config.timeout)?, config.aur.rpc_url.clone());
        Ok(Self { metadata, rpc, access: Access::new(config, &folder)? })
    }

    /// What the AUR says about every requested package; no package may be requested twice.
    pub async fn observe(&self, requests: &[&SourceRequest], budget: &Budget, now: Timestamp) -> Answers {
        let index = self.index(requests, budget).await;
        let mut answers = Answers { meant: index.meant.clone(), ..Answers::default() };
        let asked = sort_out(requests, &index, self.origin(), now, &mut answers.files);
        let (trouble, is_silent) = (index.trouble, !index.silent.is_empty());
        answers.aur = index.facts;
        let in_its_place = match &self.access {
            _ if asked.is_empty() => "its RPC interface was asked",
            Access::Mirror(mirror) => match from_mirror(mirror, &asked, budget, now).await {
                Ok(files) => {
                    answers.files.extend(files);
                    if is_silent { "the branches of the mirror were compared" } else { "its RPC interface was asked" }
                }
                Err(error) => {
                    answers.silent(&asked, trouble.as_deref(), error);
                    return answers;
                }
            },
            Access::Direct(workers) => {
                answers.files.extend(workers.ask_all(&asked, budget, now).await);
                if is_silent { "its repositories were asked one by one" } else { "its RPC interface was asked" }
            }
        };
        if let Some(trouble) = trouble {
            answers.findings.push(Finding::warning("aur-index", format!("{trouble}; {in_its_place} in its place")));
        }
        answers
    }

    /// The index, or what the RPC interface says in its place.
    async fn index(&self, requests: &[&SourceRequest], budget: &Budget) -> Index {
        let wanted: BTreeSet<PkgBase> = requests.iter().map(|request| request.pkgbase.clone()).collect();
        let progress = progress::task("reading the index of the AUR");
        let error = match self.metadata.facts(&wanted, budget.deadline()).await {
            Ok(dump) => {
                let (facts, meant) = (Arc::clone(&dump.facts), dump.meant.clone());
                return Index { facts, meant, ..Index::default() };
            }
            Err(error) => error_text(&error),
        };
        drop(progress);
        let _progress = progress::task("asking the RPC interface of the AUR");
        let told = self.rpc.ask(requests, budget).await;
        let trouble = match told.silent.values().next() {
            Some(failure) => format!("{error}; {failure}"),
            None => error,
        };
        let silent = told.silent.into_keys().collect();
        Index { facts: Arc::new(told.facts), silent, trouble: Some(trouble), ..Index::default() }
    }

    const fn origin(&self) -> Origin {
        match self.access {
            Access::Mirror(_) => Origin::Mirror,
            Access::Direct(_) => Origin::Aur,
        }
    }
}

/// A client for the AUR's own servers.
fn client(aur: &AurConfig, timeout: Duration) -> Result<reqwest::Client, String> {
    match &aur.proxy {
        None => Ok(http::client(timeout)),
        Some(proxy) => http::client_through(proxy, timeout)
            .map_err(|error| format!("CI_AUR_PROXY cannot be used: {}", error_text(&error))),
    }
}

impl Access {
    fn new(config: &SourcesConfig, folder: &Path) -> Result<Self, String> {
        let aur = &config.aur;
        let patience = Patience::new(config.timeout, FETCH_TIMEOUT);
        let mirror = aur.mirror_url.as_ref().filter(|_| aur.prefer_mirror || aur.git_url.is_none());
        if let Some(url) = mirror {
            let workspace = folder.join("mirror.git");
            let reader = RefReader::new(http::client(config.timeout), workspace.clone(), config.timeout);
            return Ok(Self::Mirror(Mirror::new(url.clone(), reader, workspace, patience)));
        }
        let template = aur.git_url.clone().ok_or("neither sources.aur.mirror_url nor sources.aur.git_url is set")?;
        if !template.contains("{pkgbase}") {
            return Err(format!("sources.aur.git_url is `{template}`; it must contain `{{pkgbase}}`"));
        }
        let reader = RefReader::new(client(aur, config.timeout)?, folder.join("listing.git"), config.timeout);
        let direct = Direct::new(template, reader, aur.proxy.clone(), patience);
        Ok(Self::Direct(Box::new(Workers::new(direct, aur.clone_delay, aur.max_parallel, folder))))
    }
}

impl Answers {
    /// The mirror does not answer: what was asked is unknown, and one finding says so.
    fn silent(&mut self, asked: &[Asked<'_>], trouble: Option<&str>, failure: Failure) {
        let error = match trouble {
            Some(trouble) => format!("{trouble}, nor can the AUR mirror be asked: {failure}"),
            None => format!("the AUR mirror cannot be asked: {failure}"),
        };
        let code = if trouble.is_some() { "aur-index" } else { "aur-mirror" };
        let verb = if asked.len() == 1 { "is" } else { "are" };
        let packages = number_of(asked.len(), "package");
        let finding = Finding::error(code, format!("{packages} of the AUR {verb} unknown: {error}"));
        self.findings.push(finding.hint("it is asked again in the next pass"));
        let failure = Failure::passing(error);
        self.files.extend(asked.iter().map(|asked| (asked.pkgbase.clone(), failure.clone().into())));
    }
}

impl<'a> Asked<'a> {
    const fn new(request: &'a SourceRequest, announced: Option<Announced>) -> Self {
        Self { pkgbase: &request.pkgbase, cursor: request.cursor.as_ref(), announced }
    }

    fn judge_tip(&self, tip: Oid, origin: Origin) -> Option<SourceAnswer> {
        rule::from_tip(tip, self.announced.as_ref(), self.cursor, origin).map(|verdict| answer(verdict, None))
    }

    fn judge(&self, contents: &mut Contents, origin: Origin, now: Timestamp) -> SourceAnswer {
        match contents.remove(self.pkgbase).expect("what is asked for is answered") {
            Ok(content) => {
                let announced = self.announced.as_ref();
                let verdict = rule::from_commit(&content.seen, announced, self.cursor, origin, now);
                answer(verdict, Some(content))
            }
            Err(failure) => failure.into(),
        }
    }
}

/// Answers by the index alone where that is possible; returns those that git has to be asked about.
fn sort_out<'a>(
    requests: &[&'a SourceRequest],
    index: &Index,
    origin: Origin,
    now: Timestamp,
    files: &mut Files,
) -> Vec<Asked<'a>> {
    let mut asked = Vec::new();
    for request in requests {
        match index.facts.get(&request.pkgbase).map(PackageFacts::announced) {
            _ if index.silent.contains(&request.pkgbase) => asked.push(Asked::new(request, None)),
            None => drop(files.insert(request.pkgbase.clone(), SourceAnswer::Gone)),
            Some(announced) if rule::must_ask(&announced, request.cursor.as_ref(), origin, now) => {
                asked.push(Asked::new(request, Some(announced)));
            }
            Some(_) => drop(files.insert(request.pkgbase.clone(), SourceAnswer::Unmoved { cursor: None })),
        }
    }
    asked
}

fn answer(verdict: Verdict, content: Option<Content>) -> SourceAnswer {
    match verdict {
        Verdict::Unmoved(cursor) => SourceAnswer::Unmoved { cursor },
        Verdict::Moved { cursor, behind } => {
            let Content { folder, author, .. } = content.expect("only a commit that was read is said to have moved");
            SourceAnswer::Files { cursor, folder, behind: behind.then(|| BEHIND.to_owned()), packager: Some(author) }
        }
        Verdict::Behind => SourceAnswer::unknown(BEHIND),
    }
}

/// One listing and one fetch. The error is about the mirror as a whole.
async fn from_mirror(mirror: &Mirror, asked: &[Asked<'_>], budget: &Budget, now: Timestamp) -> Result<Files, Failure> {
    let progress = progress::task("listing the branches of the AUR's mirror");
    let pkgbases = asked.iter().map(|asked| asked.pkgbase.clone()).collect();
    let tips = mirror.tips(&pkgbases, budget).await?;
    drop(progress);
    let mut files = Files::new();
    let mut to_read = Vec::new();
    let mut moved = BTreeMap::new();
    for asked in asked {
        let pkgbase = asked.pkgbase;
        let Some(&tip) = tips.get(pkgbase) else {
            files.insert(pkgbase.clone(), no_branch(pkgbase).into());
            continue;
        };
        if let Some(answer) = asked.judge_tip(tip, Origin::Mirror) {
            files.insert(pkgbase.clone(), answer);
        } else {
            moved.insert(pkgbase.clone(), tip);
            to_read.push(asked);
        }
    }
    let _progress = progress::task(format!("fetching {} packages from the AUR's mirror", to_read.len()));
    let mut contents = mirror.contents(&moved, budget.deadline()).await;
    for asked in to_read {
        files.insert(asked.pkgbase.clone(), asked.judge(&mut contents, Origin::Mirror, now));
    }
    Ok(files)
}

fn no_branch(pkgbase: &PkgBase) -> Failure {
    if can_be_branch(pkgbase) {
        Failure::passing(format!("the mirror has no branch `{pkgbase}` (yet)"))
    } else {
        Failure::question(format!("`{pkgbase}` cannot be the name of a git branch; set sources.aur.prefer to `git`"))
    }
}

#[cfg(test)]
mod tests;
