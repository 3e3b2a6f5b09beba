//! What the faces are shown of repositories and packages, put together from the last look, the record and what is
//! published.

use std::collections::BTreeMap;

use anyhow::Result;

use super::face::{ControllerError, PackageFilter};
use super::query::not_looked;
use super::site::Look;
use super::summary::decision_about;
use super::view::{
    AtWorkView, BuildView, BuilderView, CursorView, PackagePage, PackageView, RepositoryView, ScriptView,
};
use super::{Controller, Kept, linkage, quarantine, sources};
use crate::domain::name::PkgBase;
use crate::domain::plan::Pipeline;
use crate::domain::schedule::BuilderInfo;
use crate::source::ledger::Book;
use crate::store::builds::Build;
use crate::store::{Store, StoreError};

/// How many builds the page of a package shows.
const BUILDS_ON_PAGE: u32 = 20;
/// How many runs are searched for the last decision about a package.
const RUNS_SEARCHED: u32 = 10;

impl Controller {
    /// Who builds, and what.
    pub(super) async fn builder_views(&self, builders: &[BuilderInfo]) -> Result<Vec<BuilderView>, ControllerError> {
        let mut views = Vec::new();
        for BuilderInfo { name, class, slots, only, attempts, trouble } in builders.iter().cloned() {
            let mut builds = Vec::new();
            for attempt in attempts {
                let build = self.0.store.build_of_attempt(&attempt).await?;
                builds.extend(build.map(|build| AtWorkView { id: build.id.to_string(), pkgbase: build.pkgbase }));
            }
            let slots = Some(slots).filter(|slots| *slots != usize::MAX);
            views.push(BuilderView { name, class, only, slots, builds, trouble });
        }
        Ok(views)
    }

    pub(super) fn repository_view(&self, kept: &Kept) -> RepositoryView {
        let looked = kept.looked();
        let snapshot = looked.look.as_ref().map(|look| &look.snapshot);
        RepositoryView {
            name: kept.site().name.clone(),
            url: kept.site().remote.shown(),
            branch: kept.site().branch.clone(),
            main: snapshot.and_then(|snapshot| snapshot.refs.main),
            scheduled: snapshot.and_then(|snapshot| snapshot.refs.scheduled),
            packages: snapshot.map_or(0, |snapshot| snapshot.packages.len()),
            reviews: snapshot.map_or(0, |snapshot| snapshot.waiting_reviews().count()),
            paused: self.is_paused(),
            looked_at: looked.at,
            error: looked.error,
        }
    }

    pub(super) async fn package_views(
        &self,
        kept: &Kept,
        filter: &PackageFilter,
    ) -> Result<Vec<PackageView>, ControllerError> {
        let Some(look) = kept.looked().look else { return Ok(Vec::new()) };
        let wanted =
            |pkgbase: &PkgBase| filter.text.as_ref().is_none_or(|text| pkgbase.as_str().contains(text.as_str()));
        let newest = self.0.store.newest_builds(&kept.site().name).await?;
        let published = published_versions(kept)?;
        let packages = look.snapshot.packages.values().filter(|package| wanted(&package.pkgbase));
        let held = quarantine::held_in(kept, &look);
        let builders = self.builders();
        let last = |pkgbase: &PkgBase| newest.get(pkgbase).map(|build| BuildView::new(build, &[], builders.as_deref()));
        let view =
            |package| PackageView::new(package, &look, last(&package.pkgbase), &published, held.get(&package.pkgbase));
        Ok(packages.map(|package| view(package)).collect())
    }

    pub(super) async fn package_page(
        &self,
        kept: &Kept,
        look: &Look,
        pkgbase: &PkgBase,
    ) -> Result<PackagePage, ControllerError> {
        let package = &look.snapshot.packages[pkgbase];
        let builds = self.0.store.last_builds(&kept.site().name, pkgbase, BUILDS_ON_PAGE).await?;
        let revisions = self.revisions_of(kept, look, pkgbase, &builds).await?;
        let builds = self.build_views(builds).await?;
        let graph = super::inspect::graph_of(kept, look);
        let state = look.snapshot.states.get(pkgbase).cloned().unwrap_or_default();
        let cache_dir = kept.site().upstream.read().expect("nobody panics with it").sources.cache_dir.clone();
        let cursor = state.cursor();
        let script = kept.site().scripts.kept(pkgbase).await.map_err(anyhow::Error::from)?;
        let members = package.srcinfo.iter().flat_map(|srcinfo| &srcinfo.members);
        Ok(PackagePage {
            package: PackageView::new(
                package,
                look,
                builds.first().cloned(),
                &published_versions(kept)?,
                quarantine::held_in(kept, look).get(pkgbase),
            ),
            pkgnames: members.map(|member| member.name.to_string()).collect(),
            needs: graph.direct(pkgbase).to_vec(),
            needed_by: graph.dependants(pkgbase),
            trigger: package.settings.trigger.clone(),
            rebuild_triggers: package.settings.rebuild_triggers.clone(),
            libraries: self.libraries_of(kept, pkgbase).await?,
            libraries_unknown: kept.runner.leaves_builds_to_others().then_some(linkage::PUBLISHED_ELSEWHERE),
            class: look.snapshot.class_of(package).map(|class| class.0),
            cursor: cursor.map(|cursor| CursorView {
                commit: cursor.commit,
                modified: cursor.stamp.and_then(|stamp| jiff::Timestamp::from_second(stamp).ok()),
            }),
            sources: sources::views(package, &state, &[Book::read(&cache_dir)]),
            script: script.map(|(ran, printed)| ScriptView::new(ran, &printed)),
            keepers: state.told_keepers().map(|keepers| keepers.people()),
            decision: self.last_decision(kept, pkgbase).await?,
            revisions,
            builds,
            findings: package.findings.clone(),
        })
    }

    /// The shared libraries that the published files of a package need.
    async fn libraries_of(&self, kept: &Kept, pkgbase: &PkgBase) -> Result<Vec<String>, ControllerError> {
        let published = linkage::recorded(&self.0.store, &kept.site().name, false).await?;
        let linkage = published.packages.get(pkgbase);
        Ok(linkage.into_iter().flat_map(|linkage| &linkage.needs).map(ToString::to_string).collect())
    }

    async fn last_decision(
        &self,
        kept: &Kept,
        pkgbase: &PkgBase,
    ) -> Result<Option<serde_json::Value>, ControllerError> {
        Ok(last_decision(&self.0.store, &kept.site().name, pkgbase).await?)
    }

    pub(super) async fn build_views(&self, builds: Vec<Build>) -> Result<Vec<BuildView>, ControllerError> {
        let (mut views, builders) = (Vec::with_capacity(builds.len()), self.builders());
        for build in builds {
            let detail = self.0.store.build(build.id).await?;
            let waits = detail.map(|detail| detail.waits).unwrap_or_default();
            views.push(BuildView::new(&build, &waits, builders.as_deref()));
        }
        Ok(views)
    }

    /// The repository that has a package, and the last look at it.
    pub(super) fn home_of(&self, pkgbase: &PkgBase) -> Option<(&Kept, Look)> {
        self.kept().find_map(|kept| {
            Some((kept, kept.looked().look?)).filter(|(_, look)| look.snapshot.packages.contains_key(pkgbase))
        })
    }

    /// The repository a pipeline is meant for: the one with the named package, else the only one.
    pub(super) fn target_of(&self, pipeline: &Pipeline) -> Result<&Kept, ControllerError> {
        let named = match pipeline {
            Pipeline::Approve(pkgbase, ..) | Pipeline::Reject(pkgbase, ..) => Some(pkgbase.clone()),
            Pipeline::Quarantine(packages, _) | Pipeline::Lift(packages, _) => packages.first().cloned(),
            Pipeline::Deploy(targets) | Pipeline::Bump(targets) => {
                targets.iter().find_map(|target| match &target.selection {
                    crate::domain::target::Selection::Named(name) => PkgBase::new(name).ok(),
                    crate::domain::target::Selection::All => None,
                })
            }
            Pipeline::Drop(names, _) => names.iter().find_map(|name| PkgBase::new(name).ok()),
            Pipeline::Add(..) if self.kept().count() > 1 => {
                let message = "several repositories are kept, and it is not said which one it belongs to".to_owned();
                let hint = "add it with `pkgwarden -C CLONE run add …`, in a clone of the one".to_owned();
                return Err(ControllerError::Refused { message, hint });
            }
            Pipeline::OnCommit | Pipeline::OnSchedule | Pipeline::Trigger(_) | Pipeline::Add(..) => None,
        };
        let home = named.and_then(|pkgbase| self.home_of(&pkgbase)).map(|(kept, _)| kept);
        home.or_else(|| self.kept().next()).ok_or_else(not_looked)
    }
}

fn published_versions(kept: &Kept) -> Result<BTreeMap<String, String>, ControllerError> {
    let Some(outlets) = &kept.outlets else { return Ok(BTreeMap::new()) };
    let published = outlets.current().map_err(anyhow::Error::from)?;
    Ok(published.into_iter().map(|package| (package.base.to_string(), package.version.to_string())).collect())
}

/// What the newest run that looked at a package decided about it.
pub(super) async fn last_decision(
    store: &Store,
    repository: &str,
    pkgbase: &PkgBase,
) -> Result<Option<serde_json::Value>, StoreError> {
    for run in store.runs(Some(repository), None, RUNS_SEARCHED).await? {
        let document = store.run(&run.id).await?.and_then(|run| run.document);
        let decision = document.as_ref().and_then(|document| decision_about(document, pkgbase));
        if let Some(decision) = decision {
            return Ok(Some(decision.clone()));
        }
    }
    Ok(None)
}
