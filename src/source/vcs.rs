//! Watches the branches that packages are built from (`git+https://…#branch=…`), so that a package is
//! built again when its upstream has moved.
//!
//! Only git is watched; Mercurial, Subversion and Bazaar sources are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::stream::{FuturesUnordered, StreamExt as _};

use super::budget::Budget;
use super::error_text;
use super::lsremote::{self, LsError, RefReader};
use crate::domain::name::{Oid, PkgBase};
use crate::domain::observed::Upstream;
use crate::domain::srcinfo::Srcinfo;

/// A branch of some repository; the default branch if none is named.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Followed {
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

impl UpstreamRequest {
    /// All floating git sources of a package; `None` if it has none.
    #[must_use]
    pub fn new(pkgbase: &PkgBase, srcinfo: &Srcinfo) -> Option<Self> {
        let floating = srcinfo.sources.iter().filter_map(|source| source.floating());
        let followed: Vec<_> = floating
            .filter(|source| source.protocol == "git")
            .map(|source| Followed { url: source.url.to_owned(), branch: source.branch.map(str::to_owned) })
            .collect();
        (!followed.is_empty()).then(|| Self { pkgbase: pkgbase.clone(), followed })
    }
}

impl Followed {
    fn ref_name(&self) -> String {
        self.branch.as_ref().map_or_else(|| "HEAD".to_owned(), |branch| format!("refs/heads/{branch}"))
    }
}

type Tips = Result<BTreeMap<String, Oid>, String>;

/// Asks upstream repositories where their branches are.
#[derive(Debug)]
pub struct Upstreams {
    reader: RefReader,
    budget: Arc<Budget>,
}

impl Upstreams {
    /// Asks through `reader`, within `budget`.
    pub const fn new(reader: RefReader, budget: Arc<Budget>) -> Self {
        Self { reader, budget }
    }

    /// What every package's upstream says. Each distinct address is asked once, however many packages
    /// and branches need it.
    pub async fn ask(&self, requests: &[UpstreamRequest]) -> BTreeMap<PkgBase, Upstream> {
        let mut wanted: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for followed in requests.iter().flat_map(|request| &request.followed) {
            wanted.entry(&followed.url).or_default().insert(followed.ref_name());
        }
        let answers: BTreeMap<&str, Tips> = wanted
            .iter()
            .map(|(url, refs)| async move { (*url, self.tips(url, refs).await) })
            .collect::<FuturesUnordered<_>>()
            .collect()
            .await;
        requests.iter().map(|request| (request.pkgbase.clone(), combine(request, &answers))).collect()
    }

    async fn tips(&self, url: &str, refs: &BTreeSet<String>) -> Tips {
        let _permit = self.budget.permit(lsremote::host(url)).await;
        let refs: Vec<&str> = refs.iter().map(String::as_str).collect();
        self.reader.tips(url, &refs).await.map_err(|error: LsError| error_text(&error))
    }
}

/// The answer for one package: all of its sources, or the first that could not be asked.
fn combine(request: &UpstreamRequest, answers: &BTreeMap<&str, Tips>) -> Upstream {
    let tip = |followed: &Followed| {
        let tips = answers.get(followed.url.as_str()).expect("every address was asked").as_ref();
        let name = followed.ref_name();
        tips.map_err(Clone::clone)?.get(&name).copied().ok_or_else(|| missing(followed))
    };
    match request.followed.iter().map(tip).collect::<Result<Vec<_>, String>>() {
        Ok(commits) => Upstream::At(commits),
        Err(error) => Upstream::Unknown { error },
    }
}

fn missing(followed: &Followed) -> String {
    let url = lsremote::shown(&followed.url);
    match &followed.branch {
        Some(branch) => format!("{url} has no branch `{}`", branch.escape_debug()),
        None => format!("{url} has no default branch"),
    }
}
