//! What a quarantine holds, and what of it is published already.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use jiff::Timestamp;

use super::face::ControllerError;
use super::site::Look;
use super::view::{ArtefactView, QuarantineView};
use super::{Controller, Kept, inspect};
use crate::domain::name::PkgBase;
use crate::domain::quarantine::{held, sentence};
use crate::domain::queue::BuildId;
use crate::domain::state::PackageState;

/// The packages that are held, each with the quarantined one on whose account.
fn holds(kept: &Kept, look: &Look) -> BTreeMap<PkgBase, PkgBase> {
    let snapshot = &look.snapshot;
    held(snapshot, snapshot.states.iter(), &kept.site().arch, &inspect::recorded_names(snapshot))
}

/// Why packages are held, one sentence each.
pub(super) fn held_in(kept: &Kept, look: &Look) -> BTreeMap<PkgBase, String> {
    let because = |(pkgbase, by): (PkgBase, PkgBase)| {
        let quarantine = look.snapshot.states.get(&by).and_then(PackageState::quarantine);
        let why = sentence(&pkgbase, &by, quarantine.as_ref());
        (pkgbase, why)
    };
    holds(kept, look).into_iter().map(because).collect()
}

/// Every package of a repository that is in quarantine.
pub(super) fn views(kept: &Kept) -> Result<Vec<QuarantineView>> {
    let Some(look) = kept.looked().look else { return Ok(Vec::new()) };
    let holds = holds(kept, &look);
    let quarantined = look.snapshot.states.iter().filter_map(|(pkgbase, state)| Some((pkgbase, state.quarantine()?)));
    let view = |(pkgbase, quarantine): (&PkgBase, crate::domain::quarantine::Quarantine)| {
        let holds: Vec<PkgBase> = holds
            .iter()
            .filter(|(held, by)| *by == pkgbase && *held != pkgbase)
            .map(|(held, _)| held.clone())
            .collect();
        let published = published(kept, &holds.iter().chain([pkgbase]).collect())?;
        Ok(QuarantineView {
            repository: kept.site().name.clone(),
            pkgbase: pkgbase.clone(),
            reason: quarantine.reason,
            since: quarantine.since,
            holds,
            published,
        })
    };
    quarantined.map(view).collect()
}

/// The files of these packages in every generation that is kept, newest first.
fn published(kept: &Kept, packages: &BTreeSet<&PkgBase>) -> Result<Vec<ArtefactView>> {
    let Some(outlets) = &kept.outlets else { return Ok(Vec::new()) };
    let mut files: BTreeMap<String, ArtefactView> = BTreeMap::new();
    let current = outlets.current()?;
    let earlier: Vec<_> = outlets.generations()?.into_iter().map(|(_, generation)| generation).collect();
    let now = current.into_iter().map(|package| (true, package));
    let before = earlier.into_iter().flat_map(|generation| generation.entries).map(|package| (false, package));
    for (current, package) in now.chain(before).filter(|(_, package)| packages.contains(&package.base)) {
        files.entry(package.file.clone()).or_insert_with(|| ArtefactView {
            pkgbase: package.base,
            file: package.file,
            version: package.version,
            sha256: package.sha256,
            build: package.build.map(|build| build.to_string()),
            current,
        });
    }
    Ok(files.into_values().collect())
}

impl Kept {
    /// Stops builds of packages that are held: somebody may have quarantined them from another machine.
    pub(super) async fn stop_held(&self, look: &Look, now: Timestamp) -> Result<()> {
        let held = holds(self, look);
        if held.is_empty() {
            return Ok(());
        }
        let (store, name) = (&self.runner.store, &self.site().name);
        let queued = store.queue(Some(name)).await?;
        let stop: BTreeSet<PkgBase> = queued
            .into_iter()
            .filter(|queued| queued.build.stop.is_none() && held.contains_key(&queued.build.pkgbase))
            .map(|queued| queued.build.pkgbase)
            .collect();
        if !stop.is_empty() {
            tracing::warn!(packages = ?stop, "stopping builds of packages that are held by a quarantine");
            store.stop_builds(name, stop.into_iter().collect(), now).await?;
        }
        Ok(())
    }
}

impl Controller {
    /// Looks at a repository, and has nobody find what builds of packages that are held now have kept, also when they are
    /// lifted: they may have been built with what they are held for.
    pub(super) async fn look(&self, kept: &Kept) -> Result<Look> {
        let look = kept.look(self.0.clock.now()).await?;
        let (repository, held) = (kept.site().name.clone(), held_in(kept, &look));
        for (package, archives) in self.caches(move |caches| caches.hold(&repository, &held)).await? {
            let (repository, package) = (&kept.site().name, package.as_str());
            tracing::warn!(
                repository,
                package,
                archives,
                "what its builds kept for the next one is not found any more"
            );
        }
        Ok(look)
    }

    /// Nobody builds a held package behind the back of whoever quarantined it.
    pub(super) async fn refuse_held(&self, build: BuildId) -> Result<(), ControllerError> {
        let Some(build) = self.0.store.build(build).await?.map(|detail| detail.build) else { return Ok(()) };
        let Some(kept) = self.0.kept.get(&build.repository) else { return Ok(()) };
        let look = match kept.looked().look {
            Some(look) => look,
            None => self.look(kept).await?,
        };
        match held_in(kept, &look).remove(&build.pkgbase) {
            None => Ok(()),
            Some(why) => Err(ControllerError::Conflict {
                message: format!("`{}` is not built: {why}", build.pkgbase),
                hint: "`pkgwarden ctl lift PKG --reason TEXT` ends a quarantine".to_owned(),
            }),
        }
    }
}
