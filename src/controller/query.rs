//! Answers for the faces, from the last look, the record and the published repository; longer ones are put together
//! in [`super::pages`].

use std::sync::atomic::Ordering;

use anyhow::Result;
use futures_util::future::FutureExt as _;
use tokio::sync::watch;

use super::caches::{CacheObject, CacheView, CachesRemovedView, Invalidation};
use super::face::{Answer, AuditRequest, BuildFilter, ControllerError, Face, PackageFilter};
use super::review::{review_of, reviews_of};
use super::shelves::{Promote, PromotionView, RemovalView};
use super::view::{
    BuildPage, BuildView, GenerationPage, GenerationView, PackagePage, PackageView, QuarantineView, QueueView,
    RepositoryView, ReviewView, RunPage, RunView,
};
use super::{Controller, generations, quarantine};
use crate::domain::audit::Audit;
use crate::domain::build::BuildState;
use crate::domain::name::PkgBase;
use crate::domain::plan::Pipeline;
use crate::domain::queue::BuildId;
use crate::logstore::LogStore;
use crate::store::StoreError;
use crate::store::queries;

impl Face for Controller {
    fn repositories(&self) -> Answer<'_, Vec<RepositoryView>> {
        async { Ok(self.kept().map(|kept| self.repository_view(kept)).collect()) }.boxed()
    }

    fn packages(&self, filter: PackageFilter) -> Answer<'_, Vec<PackageView>> {
        async move {
            let mut views = Vec::new();
            for kept in self.kept() {
                views.extend(self.package_views(kept, &filter).await?);
            }
            Ok(views)
        }
        .boxed()
    }

    fn package<'a>(&'a self, pkgbase: &'a PkgBase) -> Answer<'a, Option<PackagePage>> {
        async move {
            match self.home_of(pkgbase) {
                Some((kept, look)) => self.package_page(kept, &look, pkgbase).await.map(Some),
                None => Ok(None),
            }
        }
        .boxed()
    }

    fn script_log<'a>(&'a self, pkgbase: &'a PkgBase) -> Answer<'a, Option<Vec<u8>>> {
        async move {
            for kept in self.kept() {
                if let Some((_, printed)) = kept.site().scripts.kept(pkgbase).await.map_err(anyhow::Error::from)? {
                    return Ok(Some(printed));
                }
            }
            Ok(None)
        }
        .boxed()
    }

    fn runs(&self, limit: usize) -> Answer<'_, Vec<RunView>> {
        async move {
            let runs = self.0.store.summarised_runs(clamp(limit)).await?;
            Ok(runs.iter().map(RunView::from).collect())
        }
        .boxed()
    }

    fn run<'a>(&'a self, id: &'a str) -> Answer<'a, Option<RunPage>> {
        async move { Ok(self.0.store.run(id).await?.map(RunPage::from)) }.boxed()
    }

    fn builds(&self, filter: BuildFilter) -> Answer<'_, Vec<BuildView>> {
        async move {
            let wanted = queries::BuildFilter {
                pkgbase: filter.pkgbase,
                states: filter.state.into_iter().collect(),
                ..queries::BuildFilter::default()
            };
            self.build_views(self.0.store.builds(wanted, clamp(filter.limit)).await?).await
        }
        .boxed()
    }

    fn build<'a>(&'a self, id: &'a str) -> Answer<'a, Option<BuildPage>> {
        async move {
            let Ok(id) = build_id(id) else { return Ok(None) };
            let Some(detail) = self.0.store.build(id).await? else { return Ok(None) };
            let attempts = self.attempt_views(&detail.attempts).await?;
            let asked = self.asked_by(&detail.build).await?;
            Ok(Some(BuildPage {
                build: BuildView::new(&detail.build, &detail.waits, self.builders().as_deref()),
                why: asked.as_ref().and_then(|asked| asked.why.clone()),
                asked,
                attempts,
            }))
        }
        .boxed()
    }

    fn caches(&self) -> Answer<'_, Vec<CacheView>> {
        self.list_caches()
    }

    fn cache_object<'a>(&'a self, sha256: &'a str) -> Answer<'a, Option<CacheObject>> {
        self.open_cache(sha256)
    }

    fn invalidate_caches(&self, which: Invalidation) -> Answer<'_, CachesRemovedView> {
        self.drop_caches(which)
    }

    fn prune_caches(&self) -> Answer<'_, CachesRemovedView> {
        self.make_room()
    }

    fn queue(&self) -> Answer<'_, QueueView> {
        async move {
            let queued = self.0.store.queue(None).await?;
            let builders = self.builders();
            let mut view =
                QueueView { underway: vec![], ready: vec![], waiting: vec![], blocked: vec![], builders: None };
            if let Some(builders) = &builders {
                view.builders = Some(self.builder_views(builders).await?);
            }
            for queued in queued {
                let list = match queued.build.state {
                    BuildState::Dispatched | BuildState::Running => &mut view.underway,
                    BuildState::Ready => &mut view.ready,
                    BuildState::Blocked => &mut view.blocked,
                    _ => &mut view.waiting,
                };
                list.push(BuildView::new(&queued.build, &queued.waits, builders.as_deref()));
            }
            Ok(view)
        }
        .boxed()
    }

    fn reviews(&self) -> Answer<'_, Vec<ReviewView>> {
        async move {
            let mut views = Vec::new();
            for kept in self.kept() {
                let Some(look) = kept.looked().look else { continue };
                views.extend(reviews_of(kept, &look, look.snapshot.waiting_reviews(), self.0.clock.now()).await?);
            }
            Ok(views)
        }
        .boxed()
    }

    fn review<'a>(&'a self, pkgbase: &'a PkgBase) -> Answer<'a, Option<ReviewView>> {
        async move {
            for kept in self.kept() {
                let Some(look) = kept.looked().look else { continue };
                if look.snapshot.waits_for_a_person(pkgbase) {
                    return Ok(review_of(kept, &look, pkgbase, self.0.clock.now()).await?);
                }
            }
            Ok(None)
        }
        .boxed()
    }

    fn generations(&self) -> Answer<'_, Vec<GenerationView>> {
        async move {
            let mut views = Vec::new();
            for outlets in self.kept().filter_map(|kept| kept.outlets.as_ref()) {
                for publisher in outlets.all() {
                    views.extend(generations::of(publisher).map_err(anyhow::Error::from)?);
                }
            }
            Ok(views)
        }
        .boxed()
    }

    fn generation<'a>(&'a self, repository: &'a str, number: u64) -> Answer<'a, Option<GenerationPage>> {
        async move {
            let mut published = self.kept().filter_map(|kept| kept.outlets.as_ref());
            let Some(publisher) = published.find_map(|outlets| outlets.named(repository)) else {
                return Ok(None);
            };
            Ok(generations::page(publisher, &self.0.store, number).await?)
        }
        .boxed()
    }

    fn removals(&self) -> Answer<'_, Vec<RemovalView>> {
        self.list_removals()
    }

    fn graph(&self) -> Answer<'_, serde_json::Value> {
        async move {
            let first = self.kept().next().and_then(|kept| Some((kept, kept.looked().look?)));
            let (kept, look) = first.ok_or_else(not_looked)?;
            let graph = super::inspect::graph_of(kept, &look);
            Ok(serde_json::to_value(graph.document(None)).map_err(anyhow::Error::from)?)
        }
        .boxed()
    }

    fn quarantine(&self) -> Answer<'_, Vec<QuarantineView>> {
        async { Ok(self.kept().map(quarantine::views).collect::<Result<Vec<_>>>()?.concat()) }.boxed()
    }

    fn audit(&self, request: AuditRequest) -> Answer<'_, Audit> {
        async move { self.audit_kept(request).await }.boxed()
    }

    fn logs(&self) -> &LogStore {
        &self.0.logs
    }

    fn events(&self) -> watch::Receiver<u64> {
        self.0.store.subscribe()
    }

    fn start<'a>(&'a self, pipeline: Pipeline, trigger: &'a str) -> Answer<'a, RunPage> {
        async move {
            let kept = self.target_of(&pipeline)?;
            let report = self.perform(kept, &pipeline, trigger).await;
            let report = report.map_err(|error| ControllerError::Unavailable(format!("{error:#}")))?;
            let run = self.0.store.run(&report.outcome.run_id).await?;
            run.map(RunPage::from)
                .ok_or_else(|| ControllerError::Internal(anyhow::anyhow!("the run is not in the record")))
        }
        .boxed()
    }

    fn cancel<'a>(&'a self, build: &'a str) -> Answer<'a, ()> {
        async move {
            self.0.store.cancel_build(build_id(build)?, self.0.clock.now()).await?;
            Ok(())
        }
        .boxed()
    }

    fn retry<'a>(&'a self, build: &'a str) -> Answer<'a, ()> {
        async move {
            let id = build_id(build)?;
            self.refuse_held(id).await?;
            self.0.store.retry_build(id, self.0.clock.now()).await?;
            Ok(())
        }
        .boxed()
    }

    fn release<'a>(&'a self, pkgbase: &'a PkgBase) -> Answer<'a, ()> {
        async move {
            let wanted = queries::BuildFilter {
                pkgbase: Some(pkgbase.clone()),
                states: vec![BuildState::Blocked],
                ..queries::BuildFilter::default()
            };
            let blocked = self.0.store.builds(wanted, 1).await?;
            let build = blocked.first().ok_or_else(|| ControllerError::Conflict {
                message: format!("no build of `{pkgbase}` is blocked"),
                hint: "`pkgwarden ctl queue` shows what is".into(),
            })?;
            self.0.store.release_build(build.id, self.0.clock.now()).await?;
            Ok(())
        }
        .boxed()
    }

    fn promote(&self, what: Promote) -> Answer<'_, PromotionView> {
        self.promote_staged(what)
    }

    fn confirm_removals<'a>(&'a self, repository: &'a str, seen: Vec<PkgBase>) -> Answer<'a, Vec<RemovalView>> {
        self.remove_confirmed(repository, seen)
    }

    fn pause(&self) -> Answer<'_, ()> {
        self.0.paused.store(true, Ordering::Relaxed);
        async { Ok(()) }.boxed()
    }

    fn resume(&self) -> Answer<'_, ()> {
        self.0.paused.store(false, Ordering::Relaxed);
        async { Ok(()) }.boxed()
    }
}

pub(super) fn not_looked() -> ControllerError {
    ControllerError::Unavailable("the repository has not been read yet".into())
}

fn clamp(limit: usize) -> u32 {
    u32::try_from(limit).unwrap_or(u32::MAX).clamp(1, 1_000)
}

pub(super) fn build_id(text: &str) -> Result<BuildId, ControllerError> {
    text.parse().map(BuildId).map_err(|_| ControllerError::NotFound(format!("there is no build `{text}`")))
}

/// The record's answers in the words of the faces.
impl From<StoreError> for ControllerError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound { .. } => Self::NotFound(error.to_string()),
            StoreError::Refused(_) => Self::Conflict { message: error.to_string(), hint: String::new() },
            StoreError::Illegal(illegal) => {
                Self::Conflict { message: illegal.to_string(), hint: illegal.hint().to_owned() }
            }
            other => Self::Internal(other.into()),
        }
    }
}
