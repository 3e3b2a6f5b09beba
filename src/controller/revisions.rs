//! Which revision of a package was observed, which was tried last, and which was built last; and what a build was
//! asked for by.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::face::ControllerError;
use super::site::Look;
use super::summary::{build_of, decision_about};
use super::{Controller, Kept};
use crate::domain::build::BuildState;
use crate::domain::name::{Oid, PkgBase};
use crate::domain::revision::Revision;
use crate::domain::state::PackageState;
use crate::store::builds::Build;
use crate::store::queries::BuildFilter;

/// How far builds of a package are behind what is known of it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RevisionsView {
    /// Where it stands in the monorepo, and where its floating sources stood when it was last handed to a build.
    pub observed: Option<RevisionView>,
    /// What was tried last.
    pub attempted: Option<RevisionView>,
    /// What was built last.
    pub succeeded: Option<RevisionView>,
}

/// What a package was built from, or would be.
#[derive(Debug, Clone, Serialize)]
pub struct RevisionView {
    /// The commit of the monorepo.
    pub commit: Oid,
    /// Where its floating sources stood, in their order; empty if it has none, or nobody looked when it was asked for.
    pub upstream: Vec<String>,
    /// When that was seen, tried or built.
    pub at: Option<Timestamp>,
    /// The build, if it is one.
    pub build: Option<String>,
}

/// What a build was asked for by.
#[derive(Debug, Clone, Serialize)]
pub struct AskedView {
    /// The pipeline of the run that asked for it.
    pub pipeline: String,
    /// What started that run: `schedule`, `poll`, `webhook`, `ctl`, …
    pub trigger: String,
    /// Why, as the run's document says it. Null while it goes on.
    pub why: Option<String>,
    /// The commit up to which builds had been handed out before.
    pub before: Option<Oid>,
    /// What it was decided by, if that is where its upstream stands: where that stood before, and stands.
    pub watched: Option<Value>,
}

/// What stands for a source that was never seen.
const UNSEEN: &str = "-";

impl Controller {
    /// How far builds of a package are behind. `builds` are its last ones, newest first.
    pub(super) async fn revisions_of(
        &self,
        kept: &Kept,
        look: &Look,
        pkgbase: &PkgBase,
        builds: &[Build],
    ) -> Result<RevisionsView, ControllerError> {
        let wanted = BuildFilter {
            repository: Some(kept.site().name.clone()),
            pkgbase: Some(pkgbase.clone()),
            states: vec![BuildState::Succeeded, BuildState::AlreadyBuilt],
            ..BuildFilter::default()
        };
        let succeeded = self.0.store.builds(wanted, 1).await?;
        let upstream = look.snapshot.states.get(pkgbase).map(PackageState::upstream).unwrap_or_default();
        let word = |one: &Option<Revision>| one.as_ref().map_or_else(|| UNSEEN.to_owned(), Revision::to_string);
        Ok(RevisionsView {
            observed: look.snapshot.refs.main.map(|commit| RevisionView {
                commit,
                upstream: upstream.iter().map(word).collect(),
                at: kept.looked().at,
                build: None,
            }),
            attempted: self.revision_of(builds.iter().find(|build| build.last_attempt.is_some())).await?,
            succeeded: self.revision_of(succeeded.first()).await?,
        })
    }

    async fn revision_of(&self, build: Option<&Build>) -> Result<Option<RevisionView>, ControllerError> {
        let Some(build) = build else { return Ok(None) };
        let watched = self.asked_by(build).await?.and_then(|asked| asked.watched);
        let after = watched.as_ref().and_then(|watched| watched["after"].as_array());
        let word = |one: &Value| one.as_str().unwrap_or(UNSEEN).to_owned();
        Ok(Some(RevisionView {
            commit: build.commit,
            upstream: after.into_iter().flatten().map(word).collect(),
            at: build.finished_at.or(build.started_at),
            build: Some(build.id.to_string()),
        }))
    }

    /// What a build was asked for by, as the record of its run has it.
    pub(super) async fn asked_by(&self, build: &Build) -> Result<Option<AskedView>, ControllerError> {
        let Some(run) = self.0.store.run(&build.run_id).await? else { return Ok(None) };
        let document = run.document.unwrap_or_default();
        let why = decision_about(&document, &build.pkgbase).and_then(|decision| decision["why"].as_str());
        let watched = build_of(&document, &build.pkgbase).map(|asked| asked["watched"].clone());
        Ok(Some(AskedView {
            pipeline: run.pipeline,
            trigger: run.cause,
            why: why.map(str::to_owned),
            before: document["base"]["scheduled"].as_str().and_then(|commit| commit.parse().ok()),
            watched: watched.filter(|watched| !watched.is_null()),
        }))
    }
}
