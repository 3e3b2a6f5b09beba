//! The API's questions: each hands on what the controller answers.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};

use super::Server;
use super::log::PLAIN;
use crate::controller::face::{BuildFilter, PackageFilter};
use crate::controller::view::{
    BuildPage, BuildView, GenerationPage, GenerationView, PackagePage, PackageView, QuarantineView, QueueView,
    RepositoryView, ReviewView, RunPage, RunView,
};
use crate::domain::build::BuildState;
use crate::domain::name::PkgBase;
use crate::web::fault::Fault;

/// How many runs or builds are listed unless something else is asked for, and at most.
const LISTED: usize = 100;
const MOST_LISTED: usize = 1_000;

/// A package name in an address.
pub fn pkgbase(name: &str) -> Result<PkgBase, Fault> {
    PkgBase::new(name).map_err(|error| Fault::not_found(error.to_string()))
}

/// `GET /api/v1/repositories`
pub async fn repositories(State(server): State<Server>) -> Result<Json<Vec<RepositoryView>>, Fault> {
    Ok(Json(server.face().repositories().await?))
}

/// Which packages.
#[derive(Debug, serde::Deserialize)]
pub struct PackagesQuery {
    q: Option<String>,
}

/// `GET /api/v1/packages`
pub async fn packages(
    State(server): State<Server>,
    Query(query): Query<PackagesQuery>,
) -> Result<Json<Vec<PackageView>>, Fault> {
    Ok(Json(server.face().packages(PackageFilter { text: query.q }).await?))
}

/// `GET /api/v1/packages/{pkgbase}`
pub async fn package(State(server): State<Server>, Path(name): Path<String>) -> Result<Json<PackagePage>, Fault> {
    let pkgbase = pkgbase(&name)?;
    let found = server.face().package(&pkgbase).await?;
    found.map(Json).ok_or_else(|| Fault::not_found(format!("there is no package `{pkgbase}`")))
}

/// `GET /api/v1/packages/{pkgbase}/script-log`
pub async fn script_log(State(server): State<Server>, Path(name): Path<String>) -> Result<Response, Fault> {
    let pkgbase = pkgbase(&name)?;
    let printed = server.face().script_log(&pkgbase).await?;
    let printed = printed.ok_or_else(|| {
        Fault::not_found(format!("nothing is kept of a .CI/update.sh of `{pkgbase}`"))
            .hint("it is run by schedules, if the package has one; what the last run of it printed is kept")
    })?;
    Ok(([(CONTENT_TYPE, PLAIN), (CACHE_CONTROL, "no-cache")], printed).into_response())
}

/// How many.
#[derive(Debug, serde::Deserialize)]
pub struct RunsQuery {
    limit: Option<usize>,
}

/// `GET /api/v1/runs`
pub async fn runs(State(server): State<Server>, Query(query): Query<RunsQuery>) -> Result<Json<Vec<RunView>>, Fault> {
    Ok(Json(server.face().runs(query.limit.unwrap_or(LISTED).min(MOST_LISTED)).await?))
}

/// `GET /api/v1/runs/{id}`
pub async fn run(State(server): State<Server>, Path(id): Path<String>) -> Result<Json<RunPage>, Fault> {
    let found = server.face().run(&id).await?;
    found.map(Json).ok_or_else(|| Fault::not_found(format!("there is no run `{id}`")))
}

/// Which builds.
#[derive(Debug, serde::Deserialize)]
pub struct BuildsQuery {
    state: Option<String>,
    pkgbase: Option<String>,
    run: Option<String>,
    limit: Option<usize>,
}

/// `GET /api/v1/builds`
pub async fn builds(
    State(server): State<Server>,
    Query(query): Query<BuildsQuery>,
) -> Result<Json<Vec<BuildView>>, Fault> {
    let state = query.state.as_deref().map(build_state).transpose()?;
    let pkgbase = query.pkgbase.as_deref().map(pkgbase).transpose()?;
    let limit = query.limit.unwrap_or(LISTED).min(MOST_LISTED);
    // A run has no index of its own: its builds are among the latest, and are picked out here.
    let looked_at = if query.run.is_some() { MOST_LISTED } else { limit };
    let mut builds = server.face().builds(BuildFilter { state, pkgbase, limit: looked_at }).await?;
    if query.run.is_some() {
        builds.retain(|build| build.run == query.run);
        builds.truncate(limit);
    }
    Ok(Json(builds))
}

fn build_state(word: &str) -> Result<BuildState, Fault> {
    BuildState::from_str_exact(word).ok_or_else(|| {
        let words = BuildState::ALL.map(BuildState::as_str).join(", ");
        Fault::bad_request(format!("`{word}` is not a state of builds")).hint(format!("one of {words}"))
    })
}

/// `GET /api/v1/builds/{id}`
pub async fn build(State(server): State<Server>, Path(id): Path<String>) -> Result<Json<BuildPage>, Fault> {
    build_of(&server, &id).await
}

/// A build as it stands now.
pub async fn build_of(server: &Server, id: &str) -> Result<Json<BuildPage>, Fault> {
    let found = server.face().build(id).await?;
    found.map(Json).ok_or_else(|| Fault::not_found(format!("there is no build `{id}`")))
}

/// `GET /api/v1/queue`
pub async fn queue(State(server): State<Server>) -> Result<Json<QueueView>, Fault> {
    Ok(Json(server.face().queue().await?))
}

/// `GET /api/v1/reviews`
pub async fn reviews(State(server): State<Server>) -> Result<Json<Vec<ReviewView>>, Fault> {
    Ok(Json(server.face().reviews().await?))
}

/// `GET /api/v1/reviews/{pkgbase}`
pub async fn review(State(server): State<Server>, Path(name): Path<String>) -> Result<Json<ReviewView>, Fault> {
    Ok(Json(review_of(&server, &pkgbase(&name)?).await?))
}

/// The review of a package as it stands now.
pub async fn review_of(server: &Server, pkgbase: &PkgBase) -> Result<ReviewView, Fault> {
    let found = server.face().review(pkgbase).await?;
    found.ok_or_else(|| Fault::not_found(format!("no update of `{pkgbase}` waits for a person")))
}

/// `GET /api/v1/generations`
pub async fn generations(State(server): State<Server>) -> Result<Json<Vec<GenerationView>>, Fault> {
    Ok(Json(server.face().generations().await?))
}

/// `GET /api/v1/generations/{repository}/{number}`
pub async fn generation(
    State(server): State<Server>,
    Path((repository, number)): Path<(String, u64)>,
) -> Result<Json<GenerationPage>, Fault> {
    let found = server.face().generation(&repository, number).await?;
    found.map(Json).ok_or_else(|| Fault::not_found(format!("there is no generation {number} of `{repository}`")))
}

/// `GET /api/v1/quarantine`
pub async fn quarantine(State(server): State<Server>) -> Result<Json<Vec<QuarantineView>>, Fault> {
    Ok(Json(server.face().quarantine().await?))
}

/// `GET /api/v1/graph`
pub async fn graph(State(server): State<Server>) -> Result<Json<serde_json::Value>, Fault> {
    Ok(Json(server.face().graph().await?))
}
