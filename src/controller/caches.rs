//! What the faces are told of cache sets, and what they may do with them.

use std::collections::BTreeSet;
use std::fs::File;

use futures_util::FutureExt as _;
use jiff::Timestamp;
use serde::Serialize;

use super::Controller;
use super::face::{Answer, ControllerError};
use super::view::AttemptView;
use crate::caches::{Caches, Entry, Use};
use crate::domain::cache::SetName;
use crate::domain::name::PkgBase;
use crate::executor::kept::blocking;
use crate::store::attempts::Attempt;

/// One archive of a cache set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CacheView {
    /// The monorepo.
    pub repository: String,
    /// The package.
    pub pkgbase: String,
    /// The set.
    pub name: String,
    /// What may find it: `release`, or `proposal/N` for test builds of that proposal alone.
    pub class: String,
    /// Its key.
    pub key: String,
    /// The SHA-256 of the archive.
    pub sha256: String,
    /// Its size in bytes.
    pub size: u64,
    /// The bytes of all its files.
    pub bytes: u64,
    /// How many files, directories and links it holds.
    pub files: u64,
    /// The attempt that saved it.
    pub origin: String,
    /// The build of that attempt, if it is on record; test builds of proposals are not.
    pub build: Option<String>,
    /// When it was saved.
    pub created: Timestamp,
    /// When a build last used it.
    pub last_used: Timestamp,
    /// Why no build finds it any more; null if builds do.
    pub condemned: Option<String>,
}

/// What an attempt did with an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CacheUseView {
    /// `used` or `created`.
    pub action: &'static str,
    /// Where the archive is to be had from, with the token; null if it is gone.
    pub download: Option<String>,
    /// The archive as it was then.
    #[serde(flatten)]
    pub cache: CacheView,
}

/// Which sets are not to count any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalidation {
    /// The set.
    pub name: SetName,
    /// Of this monorepo; of all if `None`.
    pub repository: Option<String>,
    /// Of this package; of all if `None`.
    pub pkgbase: Option<PkgBase>,
}

/// What went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct CachesRemovedView {
    /// Archives that no build finds any more.
    pub archives: usize,
    /// Files that were removed from the disk.
    pub objects: usize,
    /// The bytes they had.
    pub bytes: u64,
}

/// An archive to be handed on.
#[derive(Debug)]
pub struct CacheObject {
    /// Its file, which is not removed as long as this is open.
    pub file: File,
    /// Its size in bytes.
    pub size: u64,
}

impl From<&Entry> for CacheView {
    fn from(entry: &Entry) -> Self {
        Self {
            repository: entry.place.repository.clone(),
            pkgbase: entry.place.pkgbase.clone(),
            name: entry.place.set.to_string(),
            class: entry.class.clone(),
            key: entry.key.clone(),
            sha256: entry.sha256.clone(),
            size: entry.size,
            bytes: entry.content.bytes,
            files: entry.content.members,
            origin: entry.origin.clone(),
            build: None,
            created: entry.created,
            last_used: entry.last_used,
            condemned: entry.condemned.clone(),
        }
    }
}

impl From<&Use> for CacheUseView {
    fn from(done: &Use) -> Self {
        let download = done.kept.then(|| format!("/api/v1/caches/{}/archive", done.entry.sha256));
        Self { action: done.action.as_str(), download, cache: CacheView::from(&done.entry) }
    }
}

/// That nothing was kept of what was to be forgotten, and what is.
fn nothing_kept(asked: &Invalidation, kept: &[Entry]) -> String {
    let of = asked.pkgbase.as_ref().map(|pkgbase| format!(" of `{pkgbase}`")).unwrap_or_default();
    let alike = |entry: &&Entry| entry.place.set == asked.name;
    let any = kept.iter().any(|entry| alike(&entry));
    let named = |entry: &Entry| format!("{} of {}", entry.place.set, entry.place.pkgbase);
    let there: BTreeSet<String> = kept.iter().filter(|entry| !any || alike(entry)).map(named).collect();
    let there = if there.is_empty() { "nothing".to_owned() } else { Vec::from_iter(there).join(", ") };
    let name = &asked.name;
    format!(
        "nothing was kept of the set `{name}`{of}; what builds save of it that run now is not found either. There is: {there}"
    )
}

impl Controller {
    /// Attempts with what they did with cache sets.
    pub(super) async fn attempt_views(&self, attempts: &[Attempt]) -> Result<Vec<AttemptView>, ControllerError> {
        let mut attempts: Vec<AttemptView> = attempts.iter().map(AttemptView::from).collect();
        let ids: Vec<String> = attempts.iter().map(|attempt| attempt.id.clone()).collect();
        let uses = self.caches(move |caches| caches.uses(&ids)).await?;
        for done in &uses {
            let mut view = CacheUseView::from(done);
            view.cache.build = self.build_of(&view.cache.origin).await?;
            if let Some(attempt) = attempts.iter_mut().find(|attempt| attempt.id == done.attempt) {
                attempt.caches.push(view);
            }
        }
        Ok(attempts)
    }

    /// The build that an attempt is of.
    async fn build_of(&self, attempt: &str) -> Result<Option<String>, ControllerError> {
        Ok(self.0.store.build_of_attempt(attempt).await?.map(|build| build.id.to_string()))
    }

    pub(super) async fn caches<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Caches) -> Result<T, crate::caches::CacheError> + Send + 'static,
    ) -> Result<T, ControllerError> {
        let caches = self.0.caches.clone();
        blocking(move || ask(&caches)).await.map_err(|error| ControllerError::Internal(error.into()))
    }

    pub(super) fn list_caches(&self) -> Answer<'_, Vec<CacheView>> {
        async move {
            let mut views = Vec::new();
            for entry in self.caches(Caches::list).await? {
                views.push(CacheView { build: self.build_of(&entry.origin).await?, ..CacheView::from(&entry) });
            }
            Ok(views)
        }
        .boxed()
    }

    pub(super) fn open_cache<'a>(&'a self, sha256: &'a str) -> Answer<'a, Option<CacheObject>> {
        let sha256 = sha256.to_owned();
        async move {
            let Some(file) = self.caches(move |caches| caches.object(&sha256)).await? else { return Ok(None) };
            let size = file.metadata().map_err(|error| ControllerError::Internal(error.into()))?.len();
            Ok(Some(CacheObject { file, size }))
        }
        .boxed()
    }

    pub(super) fn drop_caches(&self, which: Invalidation) -> Answer<'_, CachesRemovedView> {
        async move {
            let asked = which.clone();
            let removed = self.caches(move |caches| {
                let Invalidation { name, repository, pkgbase } = which;
                let pkgbase = pkgbase.as_ref().map(PkgBase::as_str);
                let archives = caches.invalidate(&name, repository.as_deref(), pkgbase)?;
                let is_elsewhere = caches.is_told(&name, repository.as_deref(), pkgbase)?;
                let pruned = caches.prune()?;
                let removed = CachesRemovedView { archives, objects: pruned.objects, bytes: pruned.bytes };
                Ok((removed, archives > 0 || is_elsewhere))
            });
            match removed.await? {
                (removed, true) => Ok(removed),
                // It counts for builds under way all the same, but who mistypes a name is to hear of it.
                (_, false) => Err(ControllerError::NotFound(nothing_kept(&asked, &self.caches(Caches::list).await?))),
            }
        }
        .boxed()
    }

    pub(super) fn make_room(&self) -> Answer<'_, CachesRemovedView> {
        async move {
            let pruned = self.caches(Caches::prune).await?;
            Ok(CachesRemovedView { archives: pruned.archives, objects: pruned.objects, bytes: pruned.bytes })
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caches::{Content, Place};

    #[test]
    fn who_mistypes_a_name_is_told_what_there_is() {
        let entry = |pkgbase: &str, set: &str| Entry {
            id: 1,
            place: Place { repository: "r".into(), pkgbase: pkgbase.into(), set: SetName::new(set).unwrap() },
            class: "release".into(),
            key: "00".into(),
            sha256: "00".into(),
            size: 1,
            content: Content { members: 1, bytes: 1 },
            origin: "1-1".into(),
            created: Timestamp::UNIX_EPOCH,
            last_used: Timestamp::UNIX_EPOCH,
            condemned: None,
        };
        let kept = [entry("fern", "ccache"), entry("moss", "models"), entry("fern", "ccache")];
        let told = |name: &str, package: Option<&str>| {
            let pkgbase = package.map(|name| PkgBase::new(name).unwrap());
            let asked = Invalidation { name: SetName::new(name).unwrap(), repository: None, pkgbase };
            nothing_kept(&asked, &kept)
        };
        let end = "what builds save of it that run now is not found either. There is: ";
        let mistyped = told("model", None);
        assert_eq!(mistyped, format!("nothing was kept of the set `model`; {end}ccache of fern, models of moss"));
        let elsewhere = told("models", Some("fern"));
        assert_eq!(elsewhere, format!("nothing was kept of the set `models` of `fern`; {end}models of moss"));
    }
}
