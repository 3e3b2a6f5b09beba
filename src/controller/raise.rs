//! From a newer version that is known to the files of the package at that version: the monorepo's own, raised.
//!
//! This is the one way for every source that knows versions and has no files.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::builder::refresh::Refresher;
use crate::domain::desired::Snapshot;
use crate::domain::folder::Folder;
use crate::domain::name::{Oid, PkgBase};
use crate::domain::pkgbuild;
use crate::domain::release::Release;
use crate::domain::srcinfo::Srcinfo;
use crate::domain::state::Cursor;
use crate::git::{Limits, Repository};
use crate::source::SourceAnswer;
use crate::sys::fs::write_atomic;
use crate::telemetry::in_full;
use crate::telemetry::progress;

/// Packages that something is run for at once.
const AT_ONCE: usize = 2;

/// Raises packages to newer versions.
#[derive(Debug, Clone)]
pub struct Raiser {
    /// Runs makepkg.
    pub refresher: Refresher,
    /// A folder that may be deleted at any time, at the price of fetching sources again.
    pub cache_dir: PathBuf,
}

/// A package that is to be raised.
#[derive(Debug)]
pub struct Order {
    /// The package.
    pub pkgbase: PkgBase,
    /// Its folder in the monorepo.
    pub present: Folder,
    /// What to remember once it is dealt with.
    pub cursor: Cursor,
    /// The version.
    pub release: Release,
}

/// What was made the last time: while an update waits for its age, every run asks for it.
#[derive(Debug, Serialize, Deserialize)]
struct Made {
    key: String,
    pkgbuild: String,
    srcinfo: String,
}

/// The trees of the packages whose answers are to be made from their folders.
pub fn wanted(snapshot: &Snapshot, answers: &BTreeMap<PkgBase, SourceAnswer>) -> BTreeMap<PkgBase, Oid> {
    let newer = answers.iter().filter(|(_, answer)| matches!(answer, SourceAnswer::Newer { .. }));
    newer.filter_map(|(pkgbase, _)| Some((pkgbase.clone(), snapshot.packages.get(pkgbase)?.tree))).collect()
}

/// What is to be raised, and those whose folders must not be read.
pub fn orders(
    git: &Repository,
    wanted: &BTreeMap<PkgBase, Oid>,
    files: &BTreeMap<PkgBase, SourceAnswer>,
) -> (Vec<Order>, BTreeMap<PkgBase, SourceAnswer>) {
    let (mut orders, mut unreadable) = (Vec::new(), BTreeMap::new());
    for (pkgbase, tree) in wanted {
        let Some(SourceAnswer::Newer { cursor, release }) = files.get(pkgbase) else { continue };
        match git.folder(*tree, &Limits::default()) {
            Ok(present) => {
                let (cursor, release) = (cursor.clone(), release.clone());
                orders.push(Order { pkgbase: pkgbase.clone(), present, cursor, release });
            }
            Err(error) => {
                unreadable.insert(pkgbase.clone(), unknown(&format!("its folder is not read: {error}")));
            }
        }
    }
    (orders, unreadable)
}

/// The same answer for all of them.
pub fn all_unknown(wanted: &BTreeMap<PkgBase, Oid>, error: &str) -> BTreeMap<PkgBase, SourceAnswer> {
    wanted.keys().map(|pkgbase| (pkgbase.clone(), unknown(error))).collect()
}

/// Does for many packages what takes a program, and shows how far it is.
pub(super) async fn a_few_at_once<T, A, F: Future<Output = (PkgBase, A)>>(
    what: &'static str,
    orders: Vec<T>,
    one: impl Fn(T) -> F,
) -> BTreeMap<PkgBase, A> {
    let progress = progress::counted(what, orders.len());
    let (one, progress) = (&one, &progress);
    let shown = |order| async move {
        let answer = one(order).await;
        progress.advance();
        answer
    };
    stream::iter(orders.into_iter().map(shown)).buffer_unordered(AT_ONCE).collect().await
}

fn unknown(error: &str) -> SourceAnswer {
    SourceAnswer::unknown(error)
}

impl Raiser {
    /// The files of each package at its new version. What cannot be made is unknown, and says why.
    pub async fn raise(self: &Arc<Self>, orders: Vec<Order>) -> BTreeMap<PkgBase, SourceAnswer> {
        let one = |order: Order| async move {
            let answer = self.one(&order).await;
            (order.pkgbase, answer)
        };
        a_few_at_once("raising packages to new versions", orders, one).await
    }

    async fn one(&self, order: &Order) -> SourceAnswer {
        match self.folder(order).await {
            Ok(folder) => SourceAnswer::Files { cursor: order.cursor.clone(), folder, behind: None, packager: None },
            Err(why) => unknown(&format!("version {} is out, but {why}", order.release.version)),
        }
    }

    /// Files that came without `.SRCINFO`, as from repositories that keep none, get the one that belongs to them.
    pub async fn complete(&self, answers: &mut BTreeMap<PkgBase, SourceAnswer>) {
        for answer in answers.values_mut() {
            let SourceAnswer::Files { folder, .. } = answer else { continue };
            if folder.get(".SRCINFO").is_some() || folder.get("PKGBUILD").is_none() {
                continue;
            }
            match self.refresher.summarize(folder.clone()).await {
                Ok(whole) => *folder = whole,
                Err(error) => *answer = unknown(&format!("its source has no .SRCINFO, and {}", in_full(&error))),
            }
        }
    }

    async fn folder(&self, order: &Order) -> Result<Folder, String> {
        let present = order.present.from_source();
        let Some(old) = present.get("PKGBUILD") else { return Err("there is no PKGBUILD to raise".to_owned()) };
        let is_own = |name: &str| present.files.contains_key(name);
        let raised = pkgbuild::raise(old, &order.release, is_own).map_err(|error| error.to_string())?;
        let raised = present.clone().with("PKGBUILD", raised);
        let key = key(&raised, &order.release);
        if let Some(made) = self.made(&order.pkgbase, &key) {
            return Ok(raised.with("PKGBUILD", made.pkgbuild).with(".SRCINFO", made.srcinfo));
        }
        let refreshed = self.refresher.refresh(raised).await.map_err(|error| in_full(&error))?;
        confirm(&refreshed, &order.release.version)?;
        self.keep(&order.pkgbase, key, &refreshed);
        Ok(refreshed)
    }

    fn path(&self, pkgbase: &PkgBase) -> PathBuf {
        self.cache_dir.join(format!("{pkgbase}.json"))
    }

    fn made(&self, pkgbase: &PkgBase, key: &str) -> Option<Made> {
        let made: Made = serde_json::from_slice(&std::fs::read(self.path(pkgbase)).ok()?).ok()?;
        (made.key == key).then_some(made)
    }

    /// Only time is lost if it cannot be kept.
    fn keep(&self, pkgbase: &PkgBase, key: String, folder: &Folder) {
        let text = |path: &str| String::from_utf8(folder.get(path)?.to_vec()).ok();
        if let (Some(pkgbuild), Some(srcinfo)) = (text("PKGBUILD"), text(".SRCINFO"))
            && let Ok(bytes) = serde_json::to_vec(&Made { key, pkgbuild, srcinfo })
            && let Err(error) = write_atomic(&self.path(pkgbase), &bytes)
        {
            tracing::warn!(%pkgbase, error = &error as &dyn std::error::Error, "the sources of {pkgbase} are fetched again in the next run");
        }
    }
}

/// What makepkg says counts: commands of the PKGBUILD may set another version than the one that is written.
fn confirm(folder: &Folder, version: &str) -> Result<(), String> {
    let srcinfo = folder.get(".SRCINFO").map(Srcinfo::parse).transpose().map_err(|error| error.message)?;
    match srcinfo.as_ref().map(|srcinfo| srcinfo.version.parts().1) {
        Some(pkgver) if pkgver == version => Ok(()),
        pkgver => Err(format!("makepkg says that `pkgver` is {} then", pkgver.unwrap_or("missing"))),
    }
}

/// The same for the same files at the same commit.
fn key(raised: &Folder, release: &Release) -> String {
    let commit = release.commit.map(|commit| commit.to_string()).unwrap_or_default();
    let digest = Sha256::digest(format!("{}\n{}\n{commit}", raised.digest(), release.version));
    digest.iter().take(16).fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
