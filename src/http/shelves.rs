//! The API's commands about published package repositories.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;

use super::Server;
use super::commands::Told;
use super::describe::{Answer, Described, Operation};
use super::read::pkgbase;
use crate::controller::shelves::{Promote, PromotionView, RemovalView};
use crate::domain::name::PkgBase;
use crate::web::fault::Fault;

/// The questions.
pub fn questions() -> Described {
    let said = "Packages that left a monorepo and are still published";
    Described::new().route(&Operation::get("/api/v1/removals", said, Answer::Many("Removal")), removals)
}

/// The commands.
pub fn commands() -> Described {
    let post = Operation::post;
    let moves = "Moves packages from staging to the release, together or not at all";
    let confirms = "Removes packages that the guard against mass removal keeps published";
    Described::new()
        .route(&post("/api/v1/promote", moves, Answer::One("Promotion")).body("Promote"), promote)
        .route(&post("/api/v1/removals/confirm", confirms, Answer::Many("Removal")).body("Confirmation"), confirm)
}

/// `GET /api/v1/removals`
pub async fn removals(State(server): State<Server>) -> Result<Json<Vec<RemovalView>>, Fault> {
    Ok(Json(server.face().removals().await?))
}

/// What is to move.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moved {
    repository: Option<String>,
    packages: Option<Vec<String>>,
    #[serde(default)]
    dry_run: bool,
}

/// `POST /api/v1/promote`
pub async fn promote(State(server): State<Server>, Told(told): Told<Moved>) -> Result<Json<PromotionView>, Fault> {
    let Moved { repository, packages, dry_run } = told;
    let packages = packages.as_deref().map(named).transpose()?;
    let what = Promote { repository, packages, dry_run };
    server.detached(|face| async move { face.promote(what).await }).await.map(Json)
}

fn named(names: &[String]) -> Result<Vec<PkgBase>, Fault> {
    names.iter().map(|name| pkgbase(name)).collect()
}

/// What somebody has seen that would leave.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confirmation {
    repository: String,
    packages: Vec<String>,
}

/// `POST /api/v1/removals/confirm`
pub async fn confirm(
    State(server): State<Server>,
    Told(told): Told<Confirmation>,
) -> Result<Json<Vec<RemovalView>>, Fault> {
    let (repository, packages) = (told.repository, named(&told.packages)?);
    server.detached(|face| async move { face.confirm_removals(&repository, packages).await }).await.map(Json)
}
