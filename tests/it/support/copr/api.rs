//! The API, version 3, as far as it is used.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::http::StatusCode;
use base64::Engine as _;
use serde_json::{Value, json};

use super::{Asked, Build, Chroot, World, status};

type Answer = (StatusCode, Value);

pub fn answer(world: &mut World, asked: &Asked, kind: &str, body: &Bytes) -> Answer {
    let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
    let query: BTreeMap<String, String> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let Some(path) = path.strip_prefix("/api_3/") else { return error(404, "Such page doesn't exist") };
    let parts: Vec<_> = path.trim_end_matches('/').split('/').collect();
    let who = who(asked);
    if asked.method != "GET" && who.is_none() {
        return error(401, "Login invalid/expired. Please visit /api to get or renew your API token.");
    }
    match (asked.method.as_str(), parts.as_slice()) {
        ("GET", ["auth-check"]) => match who {
            Some(name) => (StatusCode::OK, json!({"id": 1, "name": name})),
            None => error(401, "Login invalid/expired. Please visit /api to get or renew your API token."),
        },
        ("POST", ["build", "create", what]) => create(world, what, &who.unwrap_or_default(), kind, body),
        ("GET", ["build", "list"]) => list(world, &query),
        ("GET", ["build", "source-chroot", id]) => with(world, id, |url, build| source(url, build)),
        ("GET", ["build", "source-build-config", id]) => with(world, id, |_, build| {
            (StatusCode::OK, json!({"source_type": build.source_type, "source_dict": build.source_dict}))
        }),
        ("PUT", ["build", "cancel", id]) => with(world, id, |_, build| cancel(build)),
        ("GET", ["build", id]) => look(world, id),
        ("GET", ["build-chroot", "list"]) => {
            let id = query.get("build_id").cloned().unwrap_or_default();
            with(world, &id, |url, build| {
                let items: Vec<_> = build.chroots.iter().map(|chroot| chroot_json(url, build, chroot)).collect();
                (StatusCode::OK, json!({"items": items, "meta": {}}))
            })
        }
        _ => error(404, "Such API endpoint doesn't exist"),
    }
}

fn error(code: u16, message: &str) -> Answer {
    (status(code), json!({"error": message}))
}

fn who(asked: &Asked) -> Option<String> {
    let login = asked.authorization.as_deref()?.strip_prefix("Basic ")?;
    let login = base64::engine::general_purpose::STANDARD.decode(login).ok()?;
    (login == b"me-login:me-token").then(|| "me".to_owned())
}

fn with(world: &mut World, id: &str, work: impl FnOnce(&str, &mut Build) -> Answer) -> Answer {
    let url = world.url.clone();
    match world.builds.iter_mut().find(|build| id == build.id.to_string()) {
        Some(build) => work(&url, build),
        None => error(404, &format!("Build {id} does not exist.")),
    }
}

fn look(world: &mut World, id: &str) -> Answer {
    let mut life = world.life.take();
    let answer = with(world, id, |_, build| {
        build.looks += 1;
        if let Some(life) = life.as_mut() {
            life(build);
        }
        (StatusCode::OK, build_json(build))
    });
    world.life = life;
    answer
}

fn build_json(build: &Build) -> Value {
    let chroots: Vec<_> = build.chroots.iter().map(|chroot| chroot.name.as_str()).collect();
    json!({
        "id": build.id, "state": build.state(), "ownername": build.project.0, "projectname": build.project.1,
        "project_dirname": build.dirname, "submitter": build.submitter, "chroots": chroots, "submitted_on": 1,
        "started_on": null, "ended_on": null, "is_background": false, "repo_url": "x",
        "source_package": {"name": null, "url": null, "version": null},
    })
}

fn directory(url: &str, build: &Build, name: &str) -> String {
    let (owner, _) = &build.project;
    let dirname = &build.dirname;
    format!("{url}/results/{owner}/{dirname}/{name}/{:08}-small/", build.id)
}

fn chroot_json(url: &str, build: &Build, chroot: &Chroot) -> Value {
    let place = chroot.has_place.then(|| directory(url, build, &chroot.name));
    json!({"name": chroot.name, "state": chroot.state, "started_on": null, "ended_on": null, "result_url": place})
}

/// An internal error until there is a place for results.
fn source(url: &str, build: &Build) -> Answer {
    if !build.source.has_place {
        return error(500, "Internal server error");
    }
    let place = directory(url, build, "srpm-builds");
    (StatusCode::OK, json!({"state": build.source.state, "result_url": place.trim_end_matches('/')}))
}

/// The chroots stay as they are: waiting ones wait for ever.
fn cancel(build: &mut Build) -> Answer {
    if ["failed", "succeeded", "canceled", "skipped", "forked"].contains(&build.state()) {
        return error(409, &format!("Cannot cancel build {}", build.id));
    }
    build.is_canceled = true;
    (StatusCode::OK, build_json(build))
}

fn list(world: &World, query: &BTreeMap<String, String>) -> Answer {
    let number = |key: &str| query.get(key).and_then(|value| value.parse::<usize>().ok());
    let is_here = |build: &&Build| {
        query.get("ownername") == Some(&build.project.0) && query.get("projectname") == Some(&build.project.1)
    };
    let builds = world.builds.iter().filter(is_here).rev().skip(number("offset").unwrap_or(0));
    let items: Vec<_> = builds.take(number("limit").unwrap_or(usize::MAX)).map(build_json).collect();
    (StatusCode::OK, json!({"items": items, "meta": {}}))
}

fn create(world: &mut World, what: &str, who: &str, kind: &str, body: &Bytes) -> Answer {
    let (asked, upload) = if what == "upload" { parts(kind, body) } else { (document(body), None) };
    let text = |key: &str| asked[key].as_str().unwrap_or_default().to_owned();
    let (owner, name) = (text("ownername"), text("projectname"));
    if asked["chroots"].as_array().is_some_and(|list| list.iter().any(|it| it == "nope-x86_64")) {
        let message = "Bad request parameters: {'chroots': [\"'nope-x86_64' is not a valid choice for this field.\"]}";
        return error(400, message);
    }
    let (source_type, source_dict) = match what {
        "scm" => (
            "scm",
            json!({"type": text("scm_type"), "clone_url": text("clone_url"), "committish": text("committish"),
                   "subdirectory": text("subdirectory"), "spec": text("spec"),
                   "srpm_build_method": text("source_build_method")}),
        ),
        "url" => ("link", json!({"url": asked["pkgs"][0]})),
        "upload" => ("upload", json!({"tmp": "tmp", "pkg": upload.as_ref().expect("a file").0})),
        "custom" => ("custom", json!({"script": text("script"), "chroot": text("chroot")})),
        _ => return error(404, "Such API endpoint doesn't exist"),
    };
    let id = world.builds.last().map_or(101, |build| build.id + 1);
    let dirname = asked["project_dirname"].as_str().unwrap_or(&name).to_owned();
    world.builds.push(Build {
        id,
        project: (owner, name),
        dirname,
        submitter: who.to_owned(),
        source: Chroot { state: "pending", ..Chroot::new("srpm-builds") },
        chroots: Vec::new(),
        is_canceled: false,
        source_type,
        source_dict,
        asked: asked.clone(),
        upload: upload.map(|(_, content)| content).unwrap_or_default(),
        looks: 0,
    });
    let build = build_json(world.build(id));
    (StatusCode::OK, if what == "url" { json!({"items": [build], "meta": {}}) } else { build })
}

fn document(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or(Value::Null)
}

/// The two parts of an upload: the first is read only if it has the name of a file.
fn parts(kind: &str, body: &[u8]) -> (Value, Option<(String, Vec<u8>)>) {
    let boundary = format!("--{}", kind.split_once("boundary=").expect("multipart").1);
    let (mut asked, mut file) = (Value::Null, None);
    let mut rest = body;
    while let Some(at) = find(rest, boundary.as_bytes()) {
        let part = rest[..at].strip_suffix(b"\r\n").unwrap_or(&rest[..at]);
        rest = &rest[at + boundary.len()..];
        let Some(end) = find(part, b"\r\n\r\n") else { continue };
        let (head, content) = (String::from_utf8_lossy(&part[..end]).into_owned(), &part[end + 4..]);
        if head.contains("name=\"json\"") && head.contains("filename=") && head.contains("application/json") {
            asked = document(content);
        } else if let Some((_, name)) = head.split_once("filename=\"") {
            file = Some((name.split('"').next().unwrap_or_default().to_owned(), content.to_owned()));
        }
    }
    (asked, file)
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}
