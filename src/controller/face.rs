//! What the faces (pages, API, `ctl`) may ask of the controller, as a trait: so that they can be shown
//! over any world, and know of nothing behind it.
//!
//! Not here: the answers' types ([`super::view`]) and how answers are found.

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::caches::{CacheObject, CacheView, CachesRemovedView, Invalidation};
use super::shelves::{Promote, PromotionView, RemovalView};
use super::view::{
    BuildPage, BuildView, GenerationPage, GenerationView, PackagePage, PackageView, QuarantineView, QueueView,
    RepositoryView, ReviewView, RunPage, RunView,
};
use crate::domain::audit::{Audit, Indicator};
use crate::domain::build::BuildState;
use crate::domain::name::PkgBase;
use crate::domain::plan::Pipeline;
use crate::logstore::LogStore;

/// Why the controller does not answer, or does not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ControllerError {
    /// There is no such thing; the text says what.
    #[error("{0}")]
    NotFound(String),
    /// The thing is not, or no longer, in a state in which that can be done.
    #[error("{message}")]
    Conflict {
        /// One sentence.
        message: String,
        /// What to do instead; may be empty.
        hint: String,
    },
    /// It is never done, as the request stands.
    #[error("{message}")]
    Refused {
        /// One sentence.
        message: String,
        /// What to do instead; may be empty.
        hint: String,
    },
    /// It cannot be done now, through no fault of the request.
    #[error("{0}")]
    Unavailable(String),
    /// A defect, or the machine: for the log, never for who asked.
    #[error("the controller could not do that")]
    Internal(#[from] anyhow::Error),
}

/// Which packages to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PackageFilter {
    /// Part of the name; every package if `None`.
    pub text: Option<String>,
}

/// Which builds to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuildFilter {
    /// Only those in this state.
    pub state: Option<BuildState>,
    /// Only those of this package.
    pub pkgbase: Option<PkgBase>,
    /// At most so many, newest first.
    pub limit: usize,
}

/// What to look for, and how far back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRequest {
    /// What to look for.
    pub indicators: Vec<Indicator>,
    /// How many commits of the past to search, if any.
    pub commits: Option<usize>,
}

/// An answer that takes a while.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, ControllerError>>;

/// The questions and the commands.
pub trait Face: Send + Sync + 'static {
    /// The repositories that are kept.
    fn repositories(&self) -> Answer<'_, Vec<RepositoryView>>;
    /// Packages, sorted by name.
    fn packages(&self, filter: PackageFilter) -> Answer<'_, Vec<PackageView>>;
    /// One package, if it exists.
    fn package<'a>(&'a self, pkgbase: &'a PkgBase) -> Answer<'a, Option<PackagePage>>;
    /// All that the `.CI/update.sh` of a package printed when it was run last, if that is kept.
    fn script_log<'a>(&'a self, pkgbase: &'a PkgBase) -> Answer<'a, Option<Vec<u8>>>;
    /// Runs, newest first.
    fn runs(&self, limit: usize) -> Answer<'_, Vec<RunView>>;
    /// One run, if it is known.
    fn run<'a>(&'a self, id: &'a str) -> Answer<'a, Option<RunPage>>;
    /// Builds, newest first.
    fn builds(&self, filter: BuildFilter) -> Answer<'_, Vec<BuildView>>;
    /// One build, if it is known.
    fn build<'a>(&'a self, id: &'a str) -> Answer<'a, Option<BuildPage>>;
    /// Everything that is not final.
    fn queue(&self) -> Answer<'_, QueueView>;
    /// What waits for a person.
    fn reviews(&self) -> Answer<'_, Vec<ReviewView>>;
    /// The review of one package, if there is one.
    fn review<'a>(&'a self, pkgbase: &'a PkgBase) -> Answer<'a, Option<ReviewView>>;
    /// Published states of the package repository, newest first.
    fn generations(&self) -> Answer<'_, Vec<GenerationView>>;
    /// One of them, by the name of its package repository, with all that is in it.
    fn generation<'a>(&'a self, repository: &'a str, number: u64) -> Answer<'a, Option<GenerationPage>>;
    /// Packages that left a monorepo and are still published.
    fn removals(&self) -> Answer<'_, Vec<RemovalView>>;
    /// Who is built before whom: the document that `graph --as json` prints.
    fn graph(&self) -> Answer<'_, serde_json::Value>;

    /// What builds keep for the next one: archives of cache sets, the one used last first.
    fn caches(&self) -> Answer<'_, Vec<CacheView>>;
    /// The archive with this SHA-256, if it is there.
    fn cache_object<'a>(&'a self, sha256: &'a str) -> Answer<'a, Option<CacheObject>>;
    /// Sees to it that no build finds what was saved of a set until now.
    fn invalidate_caches(&self, which: Invalidation) -> Answer<'_, CachesRemovedView>;
    /// Removes archives that the limits leave no room for.
    fn prune_caches(&self) -> Answer<'_, CachesRemovedView>;

    /// What a person has taken out of service.
    fn quarantine(&self) -> Answer<'_, Vec<QuarantineView>>;
    /// Where traces of a campaign are; may take minutes.
    fn audit(&self, request: AuditRequest) -> Answer<'_, Audit>;

    /// The logs of attempts.
    fn logs(&self) -> &LogStore;
    /// A number that grows with every change of anything above.
    fn events(&self) -> watch::Receiver<u64>;

    /// Runs a pipeline to its end. `trigger` says what started it.
    fn start<'a>(&'a self, pipeline: Pipeline, trigger: &'a str) -> Answer<'a, RunPage>;
    /// Stops a build.
    fn cancel<'a>(&'a self, build: &'a str) -> Answer<'a, ()>;
    /// Tries a build again that has ended.
    fn retry<'a>(&'a self, build: &'a str) -> Answer<'a, ()>;
    /// Lets a blocked package be built although something it needs has failed.
    fn release<'a>(&'a self, pkgbase: &'a PkgBase) -> Answer<'a, ()>;
    /// Moves packages from staging to the release.
    fn promote(&self, what: Promote) -> Answer<'_, PromotionView>;
    /// Removes packages that left the monorepo `repository`, however many: those that somebody has seen. Returns what
    /// is still to be removed.
    fn confirm_removals<'a>(&'a self, repository: &'a str, seen: Vec<PkgBase>) -> Answer<'a, Vec<RemovalView>>;
    /// Stops schedules and polling; builds go on.
    fn pause(&self) -> Answer<'_, ()>;
    /// Takes them up again.
    fn resume(&self) -> Answer<'_, ()>;
}
