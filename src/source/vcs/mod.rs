//! Watches what packages are built from (`git+https://…#branch=…`), so that a package is built again when its
//! upstream has moved.

pub mod bulk;
pub mod program;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;

use self::bulk::Bulk;
use self::program::Programs;
use super::budget::Budget;
use super::failure::Failure;
use super::ledger::{self, Ledger};
use super::lsremote::{self, LsError, RefReader, shown};
use super::order::Order;
use super::retry::after_rest;
use crate::domain::name::PkgBase;
use crate::domain::observed::Upstream;
use crate::domain::revision::Revision;
use crate::domain::srcinfo::{SourceEntry, Srcinfo};
use crate::telemetry::progress;

/// A version control system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum System {
    /// Git.
    Git,
    /// Mercurial.
    Hg,
    /// Subversion.
    Svn,
    /// Bazaar.
    Bzr,
}

/// A branch of some repository; the default branch if none is named.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Followed {
    /// What kind of repository it is.
    pub system: System,
    /// The address of the repository, without `git+` and fragment.
    pub url: String,
    /// The branch.
    pub branch: Option<String>,
}

/// A package and everything it follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamRequest {
    /// The package.
    pub pkgbase: PkgBase,
    /// What it follows, in the order of its sources.
    pub followed: Vec<Followed>,
}

impl System {
    /// The word in front of `+` in a source, which is also the name of the program.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Git => "git",
            Self::Hg => "hg",
            Self::Svn => "svn",
            Self::Bzr => "bzr",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::Git, Self::Hg, Self::Svn, Self::Bzr].into_iter().find(|system| system.name() == name)
    }
}

impl UpstreamRequest {
    /// All floating sources of a package; `None` if it has none.
    #[must_use]
    pub fn new(pkgbase: &PkgBase, srcinfo: &Srcinfo) -> Option<Self> {
        let followed: Vec<_> = srcinfo
            .sources
            .iter()
            .filter_map(SourceEntry::floating)
            .filter_map(|source| {
                let branch = source.branch.map(str::to_owned);
                Some(Followed { system: System::named(source.protocol)?, url: source.url.to_owned(), branch })
            })
            .collect();
        (!followed.is_empty()).then(|| Self { pkgbase: pkgbase.clone(), followed })
    }
}

impl Followed {
    fn ref_name(&self) -> String {
        self.branch.as_ref().map_or_else(|| "HEAD".to_owned(), |branch| format!("refs/heads/{branch}"))
    }
}

/// As a source is written, without a login.
impl fmt::Display for Followed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.system.name(), shown(&self.url))?;
        self.branch.as_ref().map_or(Ok(()), |branch| write!(f, "#branch={}", branch.escape_debug()))
    }
}

/// Where each of many is, or why that is not known and when it is asked again.
type Revisions<'a> = BTreeMap<&'a Followed, Result<Revision, (String, Option<Timestamp>)>>;

/// What was found at one address.
type AtAddress<'a> = Vec<(&'a Followed, Result<Revision, Failure>)>;

/// Asks upstream repositories where their branches are.
#[derive(Debug)]
pub struct Upstreams {
    reader: RefReader,
    programs: Programs,
    bulk: Bulk,
    order: Order,
}

impl Upstreams {
    /// Asks git through `reader` and other systems through `programs`, in this order; and through `bulk` for many
    /// at once.
    pub const fn new(reader: RefReader, programs: Programs, bulk: Bulk, order: Order) -> Self {
        Self { reader, programs, bulk, order }
    }

    /// What every package's upstream says. Each distinct address is asked once, however many packages
    /// and branches need it, and within the budget. What keeps failing is asked as rarely as `ledger` says.
    pub async fn ask(
        &self,
        requests: &[UpstreamRequest],
        budget: &Budget,
        ledger: &Ledger,
        now: Timestamp,
    ) -> BTreeMap<PkgBase, Upstream> {
        let wanted: BTreeSet<&Followed> = requests.iter().flat_map(|request| &request.followed).collect();
        let mut revisions = Revisions::new();
        let mut due = BTreeSet::new();
        for &followed in &wanted {
            match ledger.resting(&ledger::upstream(followed), now) {
                Some((error, next)) => drop(revisions.insert(followed, Err((error, Some(next))))),
                None => drop(due.insert(followed)),
            }
        }
        for (followed, heard) in self.all(&due, budget).await {
            let known = heard.as_ref().map(|revision| format!("at {revision}"));
            let next = ledger.note(&ledger::upstream(followed), known.as_deref().map_err(|it| *it), now);
            revisions.insert(followed, heard.map_err(|failure| (failure.text, next)));
        }
        let questions = wanted.iter().map(|followed| ledger::upstream(followed)).collect();
        ledger.close("upstream", &questions, budget.rests(), now);
        requests.iter().map(|request| (request.pkgbase.clone(), combine(request, &revisions))).collect()
    }

    async fn all<'a>(&self, due: &BTreeSet<&'a Followed>, budget: &Budget) -> AtAddress<'a> {
        let found = self.bulk.ask(due, budget).await;
        let mut left: BTreeMap<(&str, System), Vec<&Followed>> = BTreeMap::new();
        for &followed in due.iter().filter(|followed| !found.contains_key(**followed)) {
            left.entry((&followed.url, followed.system)).or_default().push(followed);
        }
        let progress = progress::counted("asking upstreams", left.len());
        let left: Vec<_> = left.into_values().collect();
        let ask = async |followed: &Vec<&'a Followed>| {
            let revisions = self.at_address(followed, budget).await;
            progress.advance();
            revisions
        };
        let failed = |revisions: &AtAddress<'_>| revisions.iter().any(|(_, heard)| heard.is_err());
        let answers = self.order.ask_all(&left, |followed| &followed[0].url, budget, ask, failed).await;
        let one_by_one = answers.into_iter().flat_map(|(_, revisions)| revisions);
        let weighed = one_by_one.map(|(followed, heard)| (followed, heard.map_err(|failure| budget.weighed(failure))));
        let mut all: AtAddress<'a> = weighed.collect();
        all.extend(found.into_iter().map(|(followed, revision)| (followed, Ok(revision))));
        all
    }

    /// Asks one address for everything that is followed there.
    async fn at_address<'a>(&self, followed: &[&'a Followed], budget: &Budget) -> AtAddress<'a> {
        let mut revisions = AtAddress::new();
        if followed[0].system == System::Git {
            let tips = self.tips(followed, budget).await;
            revisions.extend(followed.iter().map(|it| (*it, tips.clone().and_then(|tips| tip(it, &tips)))));
        } else {
            for it in followed {
                let host = lsremote::host(&it.url);
                revisions.push((*it, budget.ask(host, after_rest(|| self.programs.revision(it))).await));
            }
        }
        revisions
    }

    async fn tips(&self, followed: &[&Followed], budget: &Budget) -> Result<Tips, Failure> {
        let url = &followed[0].url;
        lsremote::check(url).map_err(|error: LsError| Failure::from(error))?;
        let refs: BTreeSet<String> = followed.iter().map(|it| it.ref_name()).collect();
        let refs: Vec<&str> = refs.iter().map(String::as_str).collect();
        budget.ask(lsremote::host(url), after_rest(|| self.reader.tips(url, &refs))).await
    }
}

type Tips = BTreeMap<String, crate::domain::name::Oid>;

fn tip(followed: &Followed, tips: &Tips) -> Result<Revision, Failure> {
    let tip = tips.get(&followed.ref_name());
    tip.map(|&commit| commit.into()).ok_or_else(|| Failure::question(missing(followed)))
}

/// The answer for one package: what is known of its sources, and why that is not all.
fn combine(request: &UpstreamRequest, revisions: &Revisions<'_>) -> Upstream {
    let revision = |followed| revisions.get(followed).expect("everything was asked");
    let heard: Vec<_> = request.followed.iter().map(revision).collect();
    let seen: Vec<Option<Revision>> = heard.iter().map(|heard| heard.as_ref().ok().cloned()).collect();
    match heard.into_iter().find_map(|heard| heard.as_ref().err()).cloned() {
        None => Upstream::At(seen.into_iter().flatten().collect()),
        Some((error, retry_at)) if seen.iter().all(Option::is_none) => Upstream::Unknown { error, retry_at },
        Some((error, retry_at)) => Upstream::Partly { seen, error, retry_at },
    }
}

fn missing(followed: &Followed) -> String {
    let url = shown(&followed.url);
    match &followed.branch {
        Some(branch) => format!("{url} has no branch `{}`", branch.escape_debug()),
        None => format!("{url} has no default branch"),
    }
}

#[cfg(test)]
mod tests;
