//! What clients of Chaotic Manager ask for, answered in its shapes.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::Server;
use super::follow::{Wanted, find};
use super::log::growing;
use super::read::pkgbase;
use crate::controller::face::BuildFilter;
use crate::controller::view::BuildView;
use crate::web::fault::Fault;
use crate::web::text::path_part;

/// How far back a build is looked for by its time.
const BUILDS: usize = 200;

/// `GET /api/logs/{id}`: the newest log of a package, as it comes.
pub async fn latest_log(State(server): State<Server>, Path(id): Path<String>) -> Result<Response, Fault> {
    let build = find_build(&server, &id, None).await?;
    stream(&server, &build).await
}

/// `GET /api/logs/{id}/{timestamp}`: the log of one build, named by when it was asked for.
pub async fn log(
    State(server): State<Server>,
    Path((id, timestamp)): Path<(String, String)>,
) -> Result<Response, Fault> {
    let build = find_build(&server, &id, Some(&timestamp)).await?;
    stream(&server, &build).await
}

async fn stream(server: &Server, build: &BuildView) -> Result<Response, Fault> {
    match find(server.face(), &build.id, None, true, server.stop()).await? {
        Wanted::Attempt(attempt) => growing(server, &attempt, 0),
        Wanted::None => Ok(String::new().into_response()),
    }
}

async fn find_build(server: &Server, id: &str, timestamp: Option<&str>) -> Result<BuildView, Fault> {
    let wanted = timestamp.map(str::parse::<i64>).transpose();
    let wanted = wanted.map_err(|_| Fault::bad_request("the time of a build is a number of milliseconds"))?;
    let builds = server.face().builds(BuildFilter { state: None, pkgbase: Some(pkgbase(id)?), limit: BUILDS }).await?;
    let found = builds.into_iter().find(|build| wanted.is_none_or(|wanted| named_by(build) == wanted));
    found.ok_or_else(|| Fault::not_found(format!("there is no such build of `{id}`")))
}

/// The number a build is named by here: milliseconds since 1970.
fn named_by(build: &BuildView) -> i64 {
    build.created.as_millisecond()
}

/// How the page of logs is asked.
#[derive(Debug, serde::Deserialize)]
pub struct PageQuery {
    #[serde(alias = "pkgname")]
    id: String,
    timestamp: Option<String>,
}

/// `GET /logs.html`: leads to our page of the build.
pub async fn page(State(server): State<Server>, Query(query): Query<PageQuery>) -> Result<Response, Fault> {
    let build = find_build(&server, &query.id, query.timestamp.as_deref()).await?;
    Ok((StatusCode::SEE_OTHER, [(LOCATION, format!("/builds/{}", path_part(&build.id)))]).into_response())
}

/// `GET /api/queue/stats`
pub async fn stats(State(server): State<Server>) -> Result<Json<Value>, Fault> {
    let queue = server.face().queue().await?;
    let class = |build: &BuildView| build.class.clone().map_or(Value::Null, Value::from);
    let active: Vec<_> = queue
        .underway
        .iter()
        .map(|build| {
            let live_log = format!("/logs.html?timestamp={}&id={}", named_by(build), path_part(build.pkgbase.as_str()));
            json!({"name": full_name(build), "node": "pkgwarden", "build_class": class(build), "liveLog": live_log})
        })
        .collect();
    let rest = [&queue.ready, &queue.waiting, &queue.blocked].into_iter().flatten();
    let waiting: Vec<_> = rest.map(|build| json!({"name": full_name(build), "build_class": class(build)})).collect();
    Ok(Json(json!({
        "active": {"count": active.len(), "packages": active},
        "waiting": {"count": waiting.len(), "packages": waiting},
        "idle": {"count": 0, "nodes": []},
    })))
}

fn full_name(build: &BuildView) -> String {
    format!("{}/{}/{}", build.repository, build.arch, build.pkgbase)
}

/// `GET /api/queue/packages`
pub async fn packages(State(server): State<Server>) -> Result<Json<Vec<Value>>, Fault> {
    let queue = server.face().queue().await?;
    let all = [&queue.underway, &queue.ready, &queue.waiting, &queue.blocked].into_iter().flatten();
    let entry = |build: &BuildView| {
        let facts = json!({
            "arch": build.arch, "build_class": build.class, "srcrepo": build.repository, "timestamp": named_by(build),
        });
        Value::Object(serde_json::Map::from_iter([(build.pkgbase.to_string(), facts)]))
    };
    Ok(Json(all.map(entry).collect()))
}
