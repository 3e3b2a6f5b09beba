//! Shapes: problems, the description, and that answers are what is described.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use super::*;
use crate::http::world::{KEY, OBJECT, World, garden, oid};
use crate::http::{ServeError, UnixSocket, serve};

#[tokio::test]
async fn every_error_is_a_problem_with_the_id_of_its_request() {
    let served = garden().serve(Some("hunter22")).await;
    let cases = [
        (client().get(format!("{}/api/v1/nothing", served.url)), 404),
        (client().get(format!("{}/api/v1/packages/nope", served.url)), 404),
        (client().get(format!("{}/api/v1/packages/..%2Fetc", served.url)), 404),
        (client().get(format!("{}/api/v1/builds/nope/log", served.url)), 404),
        (client().get(format!("{}/api/v1/builds?state=sleeping", served.url)), 400),
        (client().get(format!("{}/api/v1/runs?limit=-1", served.url)), 400),
        (client().get(format!("{}/api/logs/hedge/yesterday", served.url)), 400),
        (client().delete(format!("{}/api/v1/queue", served.url)), 405),
        (
            client()
                .post(format!("{}/api/v1/deploy", served.url))
                .bearer_auth("hunter22")
                .json(&json!({"packages": []})),
            422,
        ),
        (
            client()
                .post(format!("{}/api/v1/deploy", served.url))
                .bearer_auth("hunter22")
                .json(&json!({"package": "a"})),
            422,
        ),
        (
            client()
                .post(format!("{}/api/v1/run", served.url))
                .bearer_auth("hunter22")
                .json(&json!({"pipeline": "rm"})),
            422,
        ),
        (client().post(format!("{}/api/v1/deploy", served.url)).bearer_auth("hunter22").body("{"), 415),
        (
            client()
                .post(format!("{}/api/v1/reviews/sundial/approve", served.url))
                .bearer_auth("hunter22")
                .json(&json!({"head": oid(3)})),
            409,
        ),
        (client().post(format!("{}/api/v1/builds/b1/cancel", served.url)).bearer_auth("hunter22"), 409),
    ];
    for (request, status) in cases {
        let response = request.send().await.unwrap();
        let url = response.url().clone();
        assert_eq!(response.status(), status, "{url}");
        assert_eq!(response.headers()["content-type"], "application/problem+json", "{url}");
        let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
        let problem: Value = response.json().await.unwrap();
        assert_eq!(problem["status"], status, "{url}");
        assert_eq!(problem["request_id"], id.as_str(), "{url}");
        assert!(!problem["detail"].as_str().unwrap().is_empty(), "{url}");
    }
}

#[tokio::test]
async fn every_described_route_answers_as_it_is_described() {
    let world = garden();
    world.set_state("b3", crate::domain::build::BuildState::Cancelled, None);
    crate::controller::face::Face::logs(&*world).finish("b3.1").unwrap();
    let served = world.serve(Some("hunter22")).await;
    let document = json(&format!("{}/api/openapi.json", served.url)).await;
    let mut asked = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        let id = if path.contains("/runs/") {
            "r1"
        } else if path.contains("/api/logs/") {
            "hedge"
        } else {
            "b2"
        };
        let pkgbase = if path.contains("reviews") { "sundial" } else { "hedge" };
        let address = path
            .replace("{id}", id)
            .replace("{pkgbase}", pkgbase)
            .replace("{key}", if path.ends_with("/archive") { OBJECT } else { KEY })
            .replace("generations/{repository}/{number}", "generations/garden/12")
            .replace("{timestamp}", &crate::http::world::ago(160).as_millisecond().to_string());
        for (method, operation) in methods.as_object().unwrap() {
            let url = format!("{}{address}", served.url);
            if path.starts_with("/hooks/") {
                let refused = client().post(&url).send().await.unwrap();
                assert_eq!(refused.status(), 404, "this world takes none");
                assert!(operation.get("security").is_none(), "{path}: a signature is what counts");
            } else if path.contains("/attempts/") {
                let method = method.to_uppercase().parse().unwrap();
                let refused = client().request(method, format!("{url}?offset=0")).send().await.unwrap();
                assert_eq!(refused.status(), 404, "{path}: in this world nobody builds elsewhere");
                assert_eq!(operation["security"][0]["build"], json!([]), "{path}");
            } else if path.starts_with("/repo/") {
                assert_eq!(get(&url).await.status(), 404, "nothing is published in this world");
            } else if path.ends_with("/archive") {
                assert_eq!(get(&url).await.status(), 401, "{path}: it may hold anything");
                assert_eq!(operation["security"][0]["token"], json!([]), "{path}");
                let told = client().get(&url).bearer_auth("hunter22").send().await.unwrap();
                check_answer(told, operation, &document, path).await;
            } else if method == "post" {
                let refused = client().post(&url).send().await.unwrap();
                assert_eq!(refused.status(), 401, "{method} {path}");
                assert_eq!(operation["security"][0]["token"], json!([]), "{path}");
            } else {
                let response = get(&url).await;
                assert_eq!(response.status(), 200, "{path}");
                check_answer(response, operation, &document, path).await;
            }
            asked += 1;
        }
    }
    assert!(asked > 30, "{asked}");
}

#[tokio::test]
async fn caches_are_named_by_the_beginning_of_their_key_and_invalidated_with_the_token() {
    let world = garden();
    let served = world.serve(Some("hunter22")).await;
    let at = |path: &str| format!("{}/api/v1/caches{path}", served.url);
    assert_eq!(json(&at("/11111111")).await["name"], "ccache");
    assert_eq!(json(&at("/1111")).await["name"], "ccache");
    let short = client().get(at("/111")).send().await.unwrap();
    assert_eq!(short.status(), 400);
    assert!(short.text().await.unwrap().contains("at least 4"));
    for missing in ["/3333", "/33333333", "/..%2F..", "/2222222222/archive"] {
        let asked = client().get(at(missing)).bearer_auth("hunter22").send().await.unwrap();
        assert_eq!(asked.status(), 404, "{missing}");
    }
    let invalidate = async |body: Value| {
        let told = client().post(at("/invalidate")).bearer_auth("hunter22").json(&body).send().await.unwrap();
        told.status().as_u16()
    };
    assert_eq!(invalidate(json!({"name": "ccache", "pkgbase": "hedge"})).await, 200);
    assert_eq!(invalidate(json!({"name": "../x"})).await, 422);
    assert_eq!(invalidate(json!({"name": "ccache", "repository": "other"})).await, 404);
    assert_eq!(invalidate(json!({"name": "ccache", "package": "hedge"})).await, 422);
    // A page shows what was used, and the way to it only to who may go it.
    let page = get(&format!("{}/builds/b2", served.url)).await.text().await.unwrap();
    assert!(page.contains("used <strong>ccache</strong>") && page.contains("href=\"/builds/b1\""), "{page}");
    assert!(!page.contains("/archive"), "{page}");
}

#[tokio::test]
async fn packages_are_promoted_and_removals_confirmed_by_name_only() {
    let world = garden();
    let served = world.serve(Some("hunter22")).await;
    let post = async |path: &str, body: Value| {
        let told = client().post(format!("{}/api/v1/{path}", served.url)).bearer_auth("hunter22").json(&body);
        told.send().await.unwrap().status().as_u16()
    };
    assert_eq!(post("promote", json!({"packages": ["hedge"]})).await, 200);
    assert_eq!(post("promote", json!({"packages": ["../x"]})).await, 404);
    assert_eq!(post("promote", json!({"package": "hedge"})).await, 422);
    assert_eq!(post("removals/confirm", json!({"repository": "garden"})).await, 422, "what was seen has to be named");
    assert_eq!(post("removals/confirm", json!({"repository": "garden", "packages": ["urn", "arbour"]})).await, 200);
    let asked = world.read(|state| state.asked.clone());
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert!(world.read(|state| state.removals.is_empty()));
}

async fn check_answer(response: reqwest::Response, operation: &Value, document: &Value, path: &str) {
    let content = operation["responses"]["200"]["content"].as_object().unwrap();
    let (media, described) = content.iter().next().unwrap();
    let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
    assert!(kind.starts_with(media), "{path}: {kind} is not {media}");
    if media == "application/json" && path != "/api/openapi.json" {
        let answer: Value = response.json().await.unwrap();
        assert!(answer.as_array().is_none_or(|list| !list.is_empty()), "{path} shows nothing to check");
        check(&answer, &described["schema"], document, path);
    }
}

/// Checks a value against the part of JSON Schema that the description uses, and that every object
/// says nothing that is not described.
fn check(value: &Value, schema: &Value, document: &Value, at: &str) {
    let schema = resolve(schema, document);
    if let Some(choices) = schema["anyOf"].as_array() {
        let [wanted, _null] = choices.as_slice() else { panic!("{at}: {choices:?}") };
        if !value.is_null() {
            check(value, wanted, document, at);
        }
        return;
    }
    if let Some(parts) = schema["allOf"].as_array() {
        for part in parts {
            check_object(value, resolve(part, document), document, at);
        }
        let described: usize =
            parts.iter().map(|part| resolve(part, document)["properties"].as_object().unwrap().len()).sum();
        assert_eq!(value.as_object().unwrap().len(), described, "{at}: something is not described in {value}");
        return;
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        kinds => kinds
            .as_array()
            .unwrap_or_else(|| panic!("{at}: {schema}"))
            .iter()
            .map(|kind| kind.as_str().unwrap())
            .collect(),
    };
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    assert!(kinds.contains(&kind), "{at}: {value} is no {kinds:?}");
    if let Some(allowed) = schema["enum"].as_array() {
        assert!(allowed.contains(value), "{at}: {value} is none of {allowed:?}");
    }
    if let Some(list) = value.as_array() {
        for item in list {
            check(item, &schema["items"], document, at);
        }
    }
    if value.is_object() {
        check_object(value, schema, document, at);
    }
}

fn check_object(value: &Value, schema: &Value, document: &Value, at: &str) {
    let empty = serde_json::Map::new();
    let properties = schema["properties"].as_object().unwrap_or(&empty);
    for name in schema["required"].as_array().into_iter().flatten() {
        assert!(value.get(name.as_str().unwrap()).is_some(), "{at}: {name} is missing in {value}");
    }
    for (name, schema) in properties {
        if let Some(value) = value.get(name) {
            check(value, schema, document, &format!("{at}.{name}"));
        }
    }
}

fn resolve<'a>(schema: &'a Value, document: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(reference) => {
            let found = document
                .pointer(reference.trim_start_matches('#'))
                .unwrap_or_else(|| panic!("{reference} leads nowhere"));
            resolve(found, document)
        }
        None => schema,
    }
}

#[tokio::test]
async fn the_contract_of_routes_is_kept() {
    let served = garden().serve(None).await;
    let document = json(&format!("{}/api/openapi.json", served.url)).await;
    for path in [
        "/healthz",
        "/readyz",
        "/metrics",
        "/api/openapi.json",
        "/api/v1/repositories",
        "/api/v1/packages",
        "/api/v1/packages/{pkgbase}",
        "/api/v1/runs",
        "/api/v1/runs/{id}",
        "/api/v1/builds",
        "/api/v1/builds/{id}",
        "/api/v1/queue",
        "/api/v1/reviews",
        "/api/v1/reviews/{pkgbase}",
        "/api/v1/generations",
        "/api/v1/generations/{repository}/{number}",
        "/api/v1/removals",
        "/api/v1/removals/confirm",
        "/api/v1/promote",
        "/api/v1/deploy",
        "/api/v1/bump",
        "/api/v1/add",
        "/api/v1/drop",
        "/api/v1/run",
        "/api/v1/pause",
        "/api/v1/resume",
        "/api/v1/builds/{id}/cancel",
        "/api/v1/builds/{id}/retry",
        "/api/v1/packages/{pkgbase}/release",
        "/api/v1/reviews/{pkgbase}/approve",
        "/api/v1/reviews/{pkgbase}/reject",
        "/api/v1/builds/{id}/log",
        "/api/v1/builds/{id}/events",
        "/api/v1/events",
        "/api/v1/log",
        "/api/logs/{id}",
        "/api/logs/{id}/{timestamp}",
        "/api/queue/stats",
        "/api/queue/packages",
    ] {
        assert!(document["paths"].get(path).is_some(), "{path}");
    }
}

#[tokio::test]
async fn metrics_count_what_is_there_and_what_ended() {
    let world = garden();
    let served = world.serve(None).await;
    let mut events = get(&format!("{}/api/v1/events", served.url)).await;
    read_text(&mut events, "event: reset").await;
    world.set_state("b3", crate::domain::build::BuildState::Succeeded, None);
    read_text(&mut events, "succeeded").await;
    let text = get(&format!("{}/metrics", served.url)).await.text().await.unwrap();
    for line in [
        "pkgwarden_queue_builds{state=\"waiting\"} 1",
        "pkgwarden_queue_builds{state=\"running\"} 0",
        "pkgwarden_builds_ended_total{state=\"succeeded\"} 1",
        "pkgwarden_builds_ended_total{state=\"failed\"} 0",
        "pkgwarden_reviews_waiting{repository=\"garden\"} 1",
        "pkgwarden_published_packages 7",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
    }
}

#[tokio::test]
async fn chaotics_clients_find_what_they_know() {
    let served = garden().serve(None).await;
    let stats = json(&format!("{}/api/queue/stats", served.url)).await;
    assert_eq!(stats["active"]["count"], 1);
    assert_eq!(stats["active"]["packages"][0]["name"], "garden/x86_64/trellis");
    assert_eq!(stats["active"]["packages"][0]["build_class"], "heavy");
    assert_eq!(stats["waiting"]["count"], 2);
    let packages = json(&format!("{}/api/queue/packages", served.url)).await;
    assert_eq!(packages[0]["trellis"]["srcrepo"], "garden");
    let log = get(&format!("{}/api/logs/hedge", served.url)).await.text().await.unwrap();
    assert!(log.contains("Making package: hedge"));
    let live = stats["active"]["packages"][0]["liveLog"].as_str().unwrap();
    let page = get(&format!("{}{live}", served.url)).await;
    assert_eq!(page.url().path(), "/builds/b3");
}

#[tokio::test]
async fn the_socket_is_for_its_owner_only_and_for_one_controller() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    std::fs::write(&path, "left over").unwrap();
    let socket = UnixSocket::bind(&path).await.unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let second = UnixSocket::bind(&path).await;
    assert!(matches!(second, Err(ServeError::Running { .. })));
    let server = World::empty().server(None);
    let serving = server.clone();
    let task = tokio::spawn(async move { serve(&serving, None, Some(socket)).await });
    server.stop().cancel();
    task.await.unwrap();
    assert!(!path.exists());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
