//! What we published ourselves, by soname: read from the published files, once each, and kept in the record.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;
use tokio::time::Instant;

use crate::domain::library::{Linkage, Published};
use crate::domain::name::PkgBase;
use crate::publish::PublishedPackage;
use crate::publish::linkage::{self, FileLinkage};
use crate::publish::outlets::Outlets;
use crate::store::Store;
use crate::store::linkage::FileLinkage as Recorded;
use crate::telemetry::progress;

/// What is said of the libraries of packages that are published elsewhere.
pub const PUBLISHED_ELSEWHERE: &str = "not known: its files are published elsewhere (executor.kind = \"none\"), and what \
     files ask for stands in no database; a library that it declares (depends=(libfoo.so)) is followed if CI_LIB_DB names \
     the database that it is published in";

/// How long files that nobody has read yet are read in one go. The rest is read in the next run.
const AT_ONCE: Duration = Duration::from_mins(2);
/// How many files are read between two records.
const BATCH: usize = 32;

/// Reads published files that were not read yet, those of one package or of all, and records what they need and
/// have. Whether none is left.
///
/// # Errors
/// If the database of the published repository cannot be read, or the record not be written.
pub async fn survey(
    outlets: &Outlets,
    store: &Store,
    repository: &str,
    only: Option<&PkgBase>,
    now: Timestamp,
) -> Result<bool> {
    let published = {
        let outlets = outlets.clone();
        tokio::task::spawn_blocking(move || outlets.current()).await??
    };
    let known = store.linkage(repository).await?;
    let known: BTreeSet<(&str, &str)> = known.iter().map(|it| (it.file.as_str(), it.sha256.as_str())).collect();
    let wanted = |it: &PublishedPackage| only.is_none_or(|pkgbase| it.base == *pkgbase);
    let unread = |it: &&PublishedPackage| wanted(it) && !known.contains(&(it.file.as_str(), it.sha256.as_str()));
    let unread: Vec<PublishedPackage> = published.iter().filter(unread).cloned().collect();
    let files: Vec<String> = published.iter().map(|it| it.file.clone()).collect();
    let progress = progress::counted("reading which libraries published packages need", unread.len());
    let begin = Instant::now();
    for batch in unread.chunks(BATCH) {
        if begin.elapsed() > AT_ONCE {
            return Ok(false);
        }
        let (outlets, batch) = (outlets.clone(), batch.to_vec());
        let count = batch.len();
        let read = tokio::task::spawn_blocking(move || {
            batch.iter().map(|it| read_one(&outlets.path_of(it), it)).collect::<Vec<_>>()
        });
        store.record_linkage(repository, read.await?, files.clone(), now).await?;
        (0..count).for_each(|_| progress.advance());
    }
    if known.len() + unread.len() > files.len() {
        store.record_linkage(repository, Vec::new(), files, now).await?;
    }
    Ok(true)
}

/// A file that cannot be read needs nothing as far as anybody knows; it is not tried again.
fn read_one(path: &Path, package: &PublishedPackage) -> Recorded {
    let read = linkage::read(path);
    let FileLinkage { needs, provides } = read.unwrap_or_else(|error| {
        tracing::warn!(
            file = package.file,
            error = &error as &dyn std::error::Error,
            "which libraries a published package needs is not known"
        );
        FileLinkage::default()
    });
    Recorded {
        file: package.file.clone(),
        sha256: package.sha256.clone(),
        pkgbase: package.base.clone(),
        version: package.version.clone(),
        needs,
        provides,
    }
}

/// Looks at the record and at what is published without writing anything, for a run that is only planned.
pub struct Peek {
    /// Where the record is, if there is one.
    pub record: PathBuf,
    /// What is published.
    pub outlets: Outlets,
}

impl std::fmt::Debug for Peek {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peek").field("record", &self.record).finish_non_exhaustive()
    }
}

impl Peek {
    /// Only which versions are published.
    pub async fn versions(&self) -> Published {
        versions(self.outlets.clone()).await
    }

    /// What is recorded. What cannot be read is not known.
    pub async fn published(&self, repository: &str) -> Published {
        self.read(repository).await.unwrap_or_else(|error| {
            tracing::warn!(error = format!("{error:#}"), "not all is known of what is published");
            Published::default()
        })
    }

    async fn read(&self, repository: &str) -> Result<Published> {
        let (path, outlets) = (self.record.clone(), self.outlets.clone());
        let look = move || anyhow::Ok((Store::peek(&path)?, outlets.current()?));
        let (store, published) = tokio::task::spawn_blocking(look).await??;
        let Some(store) = store else {
            return Ok(Published { complete: published.is_empty(), ..Published::default() });
        };
        let known: BTreeSet<String> = store.linkage(repository).await?.into_iter().map(|it| it.sha256).collect();
        recorded(&store, repository, published.iter().all(|it| known.contains(&it.sha256))).await
    }
}

/// Only which versions are published, by package. A repository that cannot be read is one of which none is known.
pub async fn versions(outlets: Outlets) -> Published {
    let read = move || outlets.current().map_err(anyhow::Error::from);
    let read = tokio::task::spawn_blocking(read).await.unwrap_or_else(|error| Err(error.into()));
    let published = read.unwrap_or_else(|error| {
        tracing::warn!(error = format!("{error:#}"), "which versions are published is not known");
        Vec::new()
    });
    let mut packages: BTreeMap<_, Linkage> = BTreeMap::new();
    for it in published {
        let linkage = packages.entry(it.base).or_insert_with(|| Linkage::of_nothing(it.version.clone()));
        linkage.version = linkage.version.clone().max(it.version);
    }
    Published { packages, complete: false }
}

/// What is recorded, by package. `complete` says whether every published file is in it.
///
/// # Errors
/// If the record cannot be read.
pub async fn recorded(store: &Store, repository: &str, complete: bool) -> Result<Published> {
    let mut packages: BTreeMap<_, Linkage> = BTreeMap::new();
    for it in store.linkage(repository).await? {
        let linkage = packages.entry(it.pkgbase.clone()).or_insert_with(|| Linkage::of_nothing(it.version.clone()));
        linkage.version = linkage.version.clone().max(it.version);
        linkage.needs.extend(it.needs);
        linkage.provides.extend(it.provides);
    }
    for linkage in packages.values_mut() {
        let Linkage { needs, provides, .. } = linkage;
        needs.retain(|soname| !provides.contains(soname));
    }
    Ok(Published { packages, complete })
}
