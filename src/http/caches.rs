//! The API's questions about cache sets, and its commands.

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::http::HeaderMap;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use tokio_util::io::ReaderStream;

use super::Server;
use super::access::Arrival;
use super::commands::Told;
use super::describe::{Answer, Described, Operation};
use super::read::pkgbase;
use crate::controller::caches::{CacheObject, CacheView, CachesRemovedView, Invalidation};
use crate::domain::cache::SetName;
use crate::web::fault::Fault;

/// So much of a key may stand for all of it, if only one begins so.
const SHORTEST_KEY: usize = 4;

/// The questions.
pub fn questions() -> Described {
    let get = Operation::get;
    Described::new()
        .route(
            &get("/api/v1/caches", "What builds keep for the next one, the one used last first", Answer::Many("Cache")),
            list,
        )
        .route(&get("/api/v1/caches/{key}", "One archive by its key", Answer::One("Cache")), one)
}

/// What may take long to send.
pub fn streams() -> Described {
    let said = "The archive with this SHA-256, tar in zstd; needs the token";
    let archives = Answer::Media("application/zstd");
    Described::new().route(&Operation::confidential("/api/v1/caches/{key}/archive", said, archives), archive)
}

/// The commands.
pub fn commands() -> Described {
    let post = |path, summary| Operation::post(path, summary, Answer::One("CachesRemoved"));
    let hides = "Sees to it that no build finds what was saved of a set until now";
    Described::new()
        .route(&post("/api/v1/caches/invalidate", hides).body("Invalidation"), invalidate)
        .route(&post("/api/v1/caches/prune", "Removes what the limits leave no room for"), prune)
}

/// `GET /api/v1/caches`
pub async fn list(State(server): State<Server>) -> Result<Json<Vec<CacheView>>, Fault> {
    Ok(Json(server.face().caches().await?))
}

/// `GET /api/v1/caches/{key}`
pub async fn one(State(server): State<Server>, Path(key): Path<String>) -> Result<Json<CacheView>, Fault> {
    let all = server.face().caches().await?;
    if key.len() < SHORTEST_KEY {
        let message = format!("`{}` is too short for the beginning of a key", key.escape_debug());
        return Err(Fault::bad_request(message).hint(format!("write at least {SHORTEST_KEY} of its digits")));
    }
    // Whoever has only the beginning of a key, as logs show it, is understood.
    let mut found = all.into_iter().filter(|cache| cache.key.starts_with(&key));
    match (found.next(), found.next()) {
        (Some(cache), None) => Ok(Json(cache)),
        (Some(_), Some(_)) => {
            let message = format!("several archives have keys that begin with `{}`", key.escape_debug());
            Err(Fault::new(StatusCode::CONFLICT, message).hint("write more of the key"))
        }
        (None, _) => Err(missing(&key).hint("`pkgwarden ctl cache list` shows what is kept")),
    }
}

/// `GET /api/v1/caches/{sha256}/archive`: with what a change needs, since it may hold anything that a build has seen.
pub async fn archive(
    State(server): State<Server>,
    Extension(arrival): Extension<Arrival>,
    Path(sha256): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    if server.access().visitor(arrival, &headers).form_key.is_none() {
        server.access().check_api(arrival, &headers)?;
    }
    let CacheObject { file, size } = server.face().cache_object(&sha256).await?.ok_or_else(|| missing(&sha256))?;
    let body = Body::from_stream(ReaderStream::new(tokio::fs::File::from_std(file)));
    let name = format!("attachment; filename=\"{sha256}.tar.zst\"");
    let headers = [
        (CONTENT_TYPE, "application/zstd".to_owned()),
        (CONTENT_LENGTH, size.to_string()),
        (CONTENT_DISPOSITION, name),
        (CACHE_CONTROL, "private, no-store".to_owned()),
    ];
    Ok((headers, body).into_response())
}

fn missing(key: &str) -> Fault {
    Fault::not_found(format!("there is no archive `{}`", key.escape_debug()))
}

/// Which sets.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Which {
    name: String,
    repository: Option<String>,
    pkgbase: Option<String>,
}

/// `POST /api/v1/caches/invalidate`
pub async fn invalidate(
    State(server): State<Server>,
    Told(which): Told<Which>,
) -> Result<Json<CachesRemovedView>, Fault> {
    let wrong = |message: String| Fault::new(StatusCode::UNPROCESSABLE_ENTITY, message);
    let name = SetName::new(&which.name).map_err(|error| wrong(error.to_string()))?;
    let pkgbase = which.pkgbase.as_deref().map(pkgbase).transpose()?;
    if let Some(repository) = &which.repository
        && !server.face().repositories().await?.iter().any(|kept| kept.name == *repository)
    {
        return Err(Fault::not_found(format!("no repository `{}` is kept", repository.escape_debug())));
    }
    let which = Invalidation { name, repository: which.repository, pkgbase };
    Ok(Json(server.face().invalidate_caches(which).await?))
}

/// `POST /api/v1/caches/prune`
pub async fn prune(State(server): State<Server>) -> Result<Json<CachesRemovedView>, Fault> {
    Ok(Json(server.face().prune_caches().await?))
}
