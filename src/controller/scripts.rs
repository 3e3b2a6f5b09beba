//! Packages with a `.CI/update.sh`: what it makes of their files is what their source has.
//!
//! The script sees the files that any other source of the package has brought in the same run, so that it can
//! change what comes from there.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;

use super::raise::a_few_at_once;
use crate::builder::refresh::Refresher;
use crate::builder::script::{Ran, ScriptError, last_lines, log_path};
use crate::domain::desired::{Interfere, Snapshot};
use crate::domain::folder::Folder;
use crate::domain::name::{Oid, PkgBase};
use crate::domain::state::{Cursor, PackageState};
use crate::git::{Limits, Repository};
use crate::source::SourceAnswer;
use crate::sys::fs::write_atomic;
use crate::telemetry::in_full;

const PKGBUILD: &str = "PKGBUILD";
const SRCINFO: &str = ".SRCINFO";

/// Runs scripts.
#[derive(Debug, Clone)]
pub struct Scripts {
    /// Runs them, with a time limit that does not count here.
    pub refresher: Refresher,
    /// Where what they print is kept, if it is.
    pub logs: Option<PathBuf>,
}

/// A package whose script is to be run.
#[derive(Debug)]
pub struct Order {
    pkgbase: PkgBase,
    /// The tree of its folder in the monorepo.
    pub tree: Oid,
    /// The files that the script begins with.
    begin: Folder,
    network: bool,
    /// What its other source says, or what was dealt with of it.
    source: Option<SourceAnswer>,
    cursor: Option<Cursor>,
}

/// What is run in one pass, and for whom that cannot be told.
#[derive(Debug, Default)]
pub struct Orders {
    /// To be run.
    pub orders: Vec<Order>,
    /// Packages whose folders must not be read.
    pub unreadable: BTreeMap<PkgBase, SourceAnswer>,
}

/// What is to be run, after all sources have been asked. Nothing of what is `held` is.
pub fn orders(
    git: &Repository,
    snapshot: &Snapshot,
    held: &BTreeMap<PkgBase, PkgBase>,
    answers: &BTreeMap<PkgBase, SourceAnswer>,
) -> Orders {
    let mut found = Orders::default();
    let with_script = snapshot.packages.values().filter(|package| package.interfere.contains(&Interfere::Update));
    for package in with_script.filter(|package| !held.contains_key(&package.pkgbase)) {
        let pkgbase = package.pkgbase.clone();
        let source = answers.get(&pkgbase);
        if !matches!(source, None | Some(SourceAnswer::Unmoved { .. } | SourceAnswer::Files { .. })) {
            continue;
        }
        match git.folder(package.tree, &Limits::default()) {
            Ok(present) => found.orders.push(Order {
                begin: match source {
                    Some(SourceAnswer::Files { folder, .. }) => present.updated_to(folder),
                    _ => present,
                },
                cursor: snapshot.states.get(&pkgbase).and_then(PackageState::cursor),
                network: package.settings.update_network,
                source: source.cloned(),
                tree: package.tree,
                pkgbase,
            }),
            Err(error) => drop(found.unreadable.insert(pkgbase, unknown(format!("its folder is not read: {error}")))),
        }
    }
    found
}

/// Has git look at what scripts left, as it looks at what comes from other sources.
pub fn checked(git: &Repository, left: BTreeMap<PkgBase, SourceAnswer>) -> BTreeMap<PkgBase, SourceAnswer> {
    let check = |answer: SourceAnswer| {
        let SourceAnswer::Files { cursor, folder, behind, packager } = answer else { return answer };
        let taken = git.write_folder(&folder).map_err(|error| error.to_string()).and_then(|tree| {
            let folder = git.folder(tree, &Limits::default()).map_err(|error| error.to_string())?;
            Ok((tree, folder))
        });
        match taken {
            // Where there is no other source, what is remembered is what was made.
            Ok((tree, folder)) if cursor == nothing_seen() => {
                SourceAnswer::Files { cursor: Cursor { commit: tree, ..cursor }, folder, behind, packager }
            }
            Ok((_, folder)) => SourceAnswer::Files { cursor, folder, behind, packager },
            Err(error) => unknown(format!("its .CI/update.sh left what is not taken: {error}")),
        }
    };
    left.into_iter().map(|(pkgbase, answer)| (pkgbase, check(answer))).collect()
}

fn nothing_seen() -> Cursor {
    Cursor { commit: Oid::from_bytes([0; 20]), stamp: None, version: None }
}

fn unknown(error: String) -> SourceAnswer {
    SourceAnswer::unknown(error)
}

impl Scripts {
    /// Runs scripts, each for so long at most, and says what they make of their packages.
    pub async fn run(&self, orders: Vec<Order>, timeout: Duration) -> BTreeMap<PkgBase, SourceAnswer> {
        let timed = &Self { refresher: Refresher { timeout, ..self.refresher.clone() }, ..self.clone() };
        let one = |order: Order| async move {
            let answer = timed.one(&order).await;
            (order.pkgbase, answer)
        };
        a_few_at_once("running .CI/update.sh", orders, one).await
    }

    /// What the script of a package printed when it was run last, and when that was; `None` if that is not kept.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn kept(&self, pkgbase: &PkgBase) -> io::Result<Option<(Timestamp, Vec<u8>)>> {
        let Some(dir) = &self.logs else { return Ok(None) };
        let path = log_path(dir, pkgbase);
        let read = move || match std::fs::read(&path) {
            Ok(printed) => {
                let ran = std::fs::metadata(&path)?.modified()?;
                Ok(Some((Timestamp::try_from(ran).unwrap_or(Timestamp::UNIX_EPOCH), printed)))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        tokio::task::spawn_blocking(read).await?
    }

    async fn one(&self, order: &Order) -> SourceAnswer {
        let ran = match self.refresher.run_script(&order.pkgbase, order.begin.clone(), order.network).await {
            Ok(ran) => ran,
            Err(error) => return unknown(format!("its .CI/update.sh could not be run: {}", in_full(&error))),
        };
        let kept = self.keep(&order.pkgbase, &ran.printed);
        let Ran { printed, left } = ran;
        let left = match left {
            Ok(left) => order.begin.updated_to(&left),
            Err(error) => return unknown(complaint(order, &error, &printed, kept)),
        };
        if left == order.begin {
            return order.source.clone().unwrap_or(SourceAnswer::Unmoved { cursor: None });
        }
        match self.summarized(order, left).await {
            Ok(folder) => order.files(folder),
            Err(error) => unknown(format!("its .CI/update.sh changed the PKGBUILD, and {error}")),
        }
    }

    /// A script that changes the PKGBUILD need not know how `.SRCINFO` is written.
    async fn summarized(&self, order: &Order, left: Folder) -> Result<Folder, String> {
        let same = |path| left.get(path) == order.begin.get(path);
        if same(PKGBUILD) || !same(SRCINFO) || left.get(PKGBUILD).is_none() {
            return Ok(left);
        }
        self.refresher.summarize(left).await.map_err(|error| in_full(&error))
    }

    /// Where it is kept, if it is.
    fn keep(&self, pkgbase: &PkgBase, printed: &[u8]) -> Option<PathBuf> {
        let path = log_path(self.logs.as_deref()?, pkgbase);
        match write_atomic(&path, printed) {
            Ok(()) => Some(path),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(%pkgbase, error, "what the update.sh of {pkgbase} printed is not kept");
                None
            }
        }
    }
}

impl Order {
    fn files(&self, folder: Folder) -> SourceAnswer {
        let folder = folder.from_source();
        match &self.source {
            Some(SourceAnswer::Files { cursor, behind, packager, .. }) => {
                let (behind, packager) = (behind.clone(), packager.clone());
                SourceAnswer::Files { cursor: cursor.clone(), folder, behind, packager }
            }
            Some(SourceAnswer::Unmoved { cursor }) => {
                let cursor = cursor.clone().or_else(|| self.cursor.clone()).unwrap_or_else(nothing_seen);
                SourceAnswer::Files { cursor, folder, behind: None, packager: None }
            }
            _ => SourceAnswer::Files { cursor: nothing_seen(), folder, behind: None, packager: None },
        }
    }
}

fn complaint(order: &Order, error: &ScriptError, printed: &[u8], kept: Option<PathBuf>) -> String {
    let last = Some(last_lines(printed)).filter(|last| !last.is_empty());
    let last = last.map(|last| format!(": {last}")).unwrap_or_default();
    let all = kept.map(|path| format!(" (all that it printed is in {})", path.display())).unwrap_or_default();
    let network = if order.network || matches!(error, ScriptError::Unusable(_)) {
        ""
    } else {
        "; it ran without network, which CI_UPDATE_NETWORK=true in .CI/config gives it"
    };
    format!("its .CI/update.sh {error}{last}{all}{network}")
}

/// The trees that the scripts began with.
pub fn trees(orders: &[Order]) -> BTreeMap<PkgBase, Oid> {
    orders.iter().map(|order| (order.pkgbase.clone(), order.tree)).collect()
}

/// Packages whose scripts were to be run and were not, for the same reason.
pub fn all_unknown(snapshot: &Snapshot, error: &str) -> BTreeMap<PkgBase, SourceAnswer> {
    let with_script = snapshot.packages.values().filter(|package| package.interfere.contains(&Interfere::Update));
    let names: BTreeSet<PkgBase> = with_script.map(|package| package.pkgbase.clone()).collect();
    names.into_iter().map(|pkgbase| (pkgbase, unknown(error.to_owned()))).collect()
}
