//! What people do with published package repositories through a running controller: move packages from staging to the
//! release, and confirm a removal that the guard holds back.

use anyhow::Result;
use futures_util::FutureExt as _;
use jiff::Timestamp;
use serde::Serialize;

use super::face::{Answer, ControllerError};
use super::{Controller, Kept};
use crate::domain::name::PkgBase;
use crate::domain::publication::closure::Reason;
use crate::publish::outlets::{Outlet, Outlets};
use crate::publish::{PublishError, Publisher};

/// What is to move from staging to the release.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Promote {
    /// The package repository that it moves to; the main one if `None`.
    pub repository: Option<String>,
    /// The packages; all that are staged if `None`.
    pub packages: Option<Vec<PkgBase>>,
    /// Whether it is only to be told what would be missing.
    pub dry_run: bool,
}

/// What moved, or what keeps it from moving.
#[derive(Debug, Clone, Serialize)]
pub struct PromotionView {
    /// The package repository.
    pub repository: String,
    /// Whether anything moved.
    pub moved: bool,
    /// What moved.
    pub packages: Vec<PkgBase>,
    /// Files of it that the release has already with other content, and keeps.
    pub not_replaced: Vec<String>,
    /// The new generation of the release.
    pub generation: Option<u64>,
    /// What would be missing in the release.
    pub missing: Vec<Reason>,
}

/// Packages that left a monorepo and are still published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RemovalView {
    /// The monorepo.
    pub repository: String,
    /// The packages.
    pub packages: Vec<PkgBase>,
    /// When the first of them left.
    pub since: Timestamp,
    /// Why they stay until somebody confirms it; null if they go by themselves.
    pub held: Option<HeldView>,
}

/// Why the guard against mass removal holds packages back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HeldView {
    /// The package repository that would lose too much.
    pub from: String,
    /// How many packages it would lose, with all that they are split into.
    pub leaving: usize,
    /// How many it has.
    pub published: usize,
    /// What `publish.max_removals` says.
    pub limit: String,
    /// What to type to have them removed.
    pub confirm: String,
}

impl From<PublishError> for ControllerError {
    fn from(error: PublishError) -> Self {
        let conflict = |hint: &str| Self::Conflict { message: error.to_string(), hint: hint.to_owned() };
        match &error {
            PublishError::NotStaged(_) => Self::NotFound(error.to_string()),
            PublishError::NotClosed { .. } => conflict("move what is missing together with them"),
            _ if error.has_to_wait() => Self::Unavailable(error.to_string()),
            _ => Self::Internal(error.into()),
        }
    }
}

impl Controller {
    pub(super) fn promote_staged(&self, what: Promote) -> Answer<'_, PromotionView> {
        async move {
            let outlet = self.outlet_of(what.repository.as_deref())?;
            let Some(staging) = &outlet.staging else {
                let message = "it has no staging repository".to_owned();
                return Err(ControllerError::Refused { message, hint: "set publish.staging = true".into() });
            };
            let (release, packages) = (&outlet.release, what.packages.as_deref());
            let mut view = PromotionView {
                repository: release.name().unwrap_or_default().to_owned(),
                moved: false,
                packages: Vec::new(),
                not_replaced: Vec::new(),
                generation: None,
                missing: Vec::new(),
            };
            if what.dry_run {
                view.missing = release.obstacles(staging, packages).await?;
                return Ok(view);
            }
            let done = release.promote(staging, packages).await?;
            view.moved = !done.packages.is_empty();
            (view.packages, view.not_replaced, view.generation) = (done.packages, done.not_replaced, done.generation);
            Ok(view)
        }
        .boxed()
    }

    /// The package repository of that name; the main one, if there is only one monorepo.
    fn outlet_of(&self, name: Option<&str>) -> Result<&Outlet, ControllerError> {
        let mut all = self.kept().filter_map(|kept| kept.outlets.as_ref());
        if let Some(name) = name {
            let is_it = |outlet: &&Outlet| outlet.release.name() == Some(name);
            let found = all.find_map(|outlets| outlets.outlets().find(is_it));
            return found.ok_or_else(|| ControllerError::NotFound(format!("no package repository is called `{name}`")));
        }
        let first = all.next().and_then(|outlets| outlets.outlets().next());
        let first = first.ok_or_else(|| ControllerError::NotFound("nothing is published from here".into()))?;
        if all.next().is_some() {
            let hint = "name one of those that `pkgwarden ctl repo generations` lists".to_owned();
            let message = "several package repositories are published from here".to_owned();
            return Err(ControllerError::Refused { message, hint });
        }
        Ok(first)
    }

    pub(super) fn list_removals(&self) -> Answer<'_, Vec<RemovalView>> {
        async move {
            let mut views = Vec::new();
            for kept in self.kept() {
                views.extend(self.removal_of(kept).await?);
            }
            Ok(views)
        }
        .boxed()
    }

    async fn removal_of(&self, kept: &Kept) -> Result<Option<RemovalView>, ControllerError> {
        let Some(outlets) = &kept.outlets else { return Ok(None) };
        let name = &kept.site().name;
        let pending = self.0.store.pending_removals(name).await?;
        let Some(since) = pending.iter().map(|removal| removal.requested_at).min() else { return Ok(None) };
        let mut packages: Vec<PkgBase> = pending.into_iter().map(|removal| removal.pkgbase).collect();
        packages.sort();
        let held = held(outlets, &packages)?;
        Ok(Some(RemovalView { repository: name.clone(), packages, since, held }))
    }

    /// Removes those of these packages that have left; what was not shown to whoever confirms it stays.
    pub(super) fn remove_confirmed<'a>(
        &'a self,
        repository: &'a str,
        seen: Vec<PkgBase>,
    ) -> Answer<'a, Vec<RemovalView>> {
        async move {
            let kept = self.kept().find(|kept| kept.site().name == repository);
            let kept = kept.ok_or_else(|| ControllerError::NotFound(format!("no repository `{repository}` is kept")))?;
            let outlets = kept.outlets.as_ref();
            let nothing = || ControllerError::NotFound(format!("nothing of `{repository}` is published from here"));
            let outlets = outlets.ok_or_else(nothing)?;
            let pending = self.0.store.pending_removals(repository).await?;
            let (ids, names): (Vec<i64>, Vec<PkgBase>) = pending
                .into_iter()
                .filter(|removal| seen.contains(&removal.pkgbase))
                .map(|removal| (removal.id, removal.pkgbase))
                .unzip();
            outlets.remove(&names, true).await?;
            self.0.store.finish_removals(&ids, self.0.clock.now()).await?;
            tracing::info!(repository, packages = ?names, "removed packages that left the monorepo: somebody confirmed it");
            self.list_removals().await
        }
        .boxed()
    }
}

fn held(outlets: &Outlets, packages: &[PkgBase]) -> Result<Option<HeldView>, PublishError> {
    let first = outlets.guards(packages)?.into_iter().next();
    Ok(first.map(|(publisher, why)| HeldView {
        from: Publisher::name(publisher).unwrap_or_default().to_owned(),
        leaving: why.leaving,
        published: why.published,
        limit: why.limit.to_string(),
        confirm: "pkgwarden ctl repo removals --confirm".to_owned(),
    }))
}
