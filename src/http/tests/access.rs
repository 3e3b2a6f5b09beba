//! Who may change what, and that commands that come twice happen once.

use super::*;
use crate::http::world::{OBJECT, PAGE_KEY, World, garden, oid};

#[tokio::test]
async fn changes_without_the_token_are_refused_and_do_nothing() {
    let world = garden();
    let served = world.serve(Some("hunter22")).await;
    let url = format!("{}/api/v1/builds/b3/cancel", served.url);
    for request in [
        client().post(&url),
        client().post(&url).bearer_auth("hunter2"),
        client().post(&url).basic_auth("hunter22", None::<&str>),
    ] {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 401);
        assert_eq!(response.headers()["www-authenticate"], "Bearer");
        assert_eq!(response.headers()["content-type"], "application/problem+json");
    }
    assert_eq!(world.read(|state| state.asked.len()), 0);
    let allowed = client().post(&url).bearer_auth("hunter22").send().await.unwrap();
    assert_eq!(allowed.status(), 200);
    assert_eq!(world.read(|state| state.asked.clone()), ["cancel b3"]);
}

#[tokio::test]
async fn a_name_that_somebody_made_point_here_reads_nothing() {
    let served = garden().serve(None).await;
    for path in ["/", "/packages", "/api/v1/packages", "/api/v1/events", "/api/openapi.json", "/metrics", "/no-such"] {
        let ask = |host: &'static str| client().get(format!("{}{path}", served.url)).header("host", host).send();
        let refused = ask("rebound.example:8080").await.unwrap();
        assert_eq!(refused.status(), 421, "{path}");
        let problem: serde_json::Value = refused.json().await.unwrap();
        assert_eq!(problem["detail"], "this controller is not called `rebound.example`");
        assert!(problem["hint"].as_str().unwrap().contains("server.hosts"), "{problem}");
        assert_ne!(ask("localhost:8080").await.unwrap().status(), 421, "{path}");
    }
    let health = client().get(format!("{}/healthz", served.url)).header("host", "pod-7").send().await.unwrap();
    assert_eq!(health.status(), 200);
}

#[tokio::test]
async fn without_a_configured_token_the_api_changes_nothing_over_tcp() {
    let world = garden();
    let served = world.serve(None).await;
    for path in [
        "deploy",
        "bump",
        "add",
        "drop",
        "run",
        "pause",
        "resume",
        "builds/b3/cancel",
        "builds/b2/retry",
        "packages/hedge/release",
        "reviews/sundial/approve",
        "reviews/sundial/reject",
    ] {
        let response =
            client().post(format!("{}/api/v1/{path}", served.url)).bearer_auth("").body("{}").send().await.unwrap();
        assert_eq!(response.status(), 403, "{path}");
    }
    assert_eq!(world.read(|state| state.asked.len()), 0);
}

/// The key that a page sends with its forms.
fn key_in(page: &str) -> Option<String> {
    let (_, rest) = page.split_once("name=\"key\" value=\"")?;
    rest.split_once('"').map(|(key, _)| key.to_owned())
}

async fn post_form(url: String, fields: &[(&str, &str)], headers: &[(&str, &str)]) -> reqwest::Response {
    let fields: Vec<_> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut request =
        client().post(url).header("content-type", "application/x-www-form-urlencoded").body(fields.join("&"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

const OURS: (&str, &str) = ("sec-fetch-site", "same-origin");

/// What answers a link to sign in, without going where it leads: who follows loses the cookie.
async fn open_link(url: &str, key: &str) -> String {
    let host = url.strip_prefix("http://").unwrap();
    exchange(host, &format!("GET /sign-in?key={key} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n")).await
}

/// The session that an answer begins, as browsers send it back.
fn session_in(answer: &str) -> Option<String> {
    let cookie = answer.lines().find_map(|line| line.strip_prefix("set-cookie: "))?;
    cookie.split(';').next().map(str::to_owned)
}

/// Code of a package that fetches its sources does so from this machine, and can say whatever a browser says.
#[tokio::test]
async fn who_only_comes_from_this_machine_presses_no_button() {
    let world = garden();
    let served = world.serve(None).await;
    let host = served.url.strip_prefix("http://").unwrap().to_owned();
    let origin = ("origin", served.url.as_str());
    for headers in [&[OURS][..], &[origin, ("host", &host)], &[OURS, ("cookie", "pkgwarden-session=")]] {
        let mut ask = client().get(format!("{}/reviews/sundial", served.url));
        for (name, value) in headers {
            ask = ask.header(*name, *value);
        }
        let page = ask.send().await.unwrap().text().await.unwrap();
        assert_eq!(key_in(&page), None, "{headers:?}");
        assert!(page.contains("/login?to=/reviews/sundial"), "a person is told where forms are");
        let head = oid(0xee).to_string();
        let url = format!("{}/reviews/sundial/approve", served.url);
        assert_eq!(post_form(url, &[("key", ""), ("head", &head)], headers).await.status(), 403, "{headers:?}");
    }
    let object = format!("{}/api/v1/caches/{OBJECT}/archive", served.url);
    assert_eq!(get(&object).await.status(), 403);
    for key in ["", "hunter22", "drawn"] {
        let answer = open_link(&served.url, key).await;
        assert!(answer.starts_with("HTTP/1.1 200") && session_in(&answer).is_none(), "{answer}");
    }
    assert_eq!(world.read(|state| state.asked.len()), 0);
}

#[tokio::test]
async fn the_link_of_the_start_gives_forms_that_approve_exactly_what_was_seen() {
    let world = garden();
    let served = world.serve(None).await;
    let opened = open_link(&served.url, PAGE_KEY).await;
    assert!(opened.starts_with("HTTP/1.1 303") && opened.contains("location: /\r\n"), "{opened}");
    let session = session_in(&opened).expect("a cookie");
    assert!(!session.contains(PAGE_KEY));
    let cookie = ("cookie", session.as_str());
    let review = client().get(format!("{}/reviews/sundial", served.url)).header("cookie", &session);
    let key = key_in(&review.send().await.unwrap().text().await.unwrap()).expect("the page has forms");
    let url = format!("{}/reviews/sundial/approve", served.url);
    let head = oid(0xee).to_string();
    let fields = [("key", key.as_str()), ("head", head.as_str())];

    let foreign = post_form(url.clone(), &fields, &[("sec-fetch-site", "cross-site"), cookie]).await;
    let keyless = post_form(url.clone(), &fields[1..], &[OURS, cookie]).await;
    let nobody = post_form(url.clone(), &fields, &[OURS]).await;
    let rebound = post_form(url.clone(), &fields, &[OURS, cookie, ("host", "rebound.example")]).await;
    assert_eq!(rebound.status(), 421);
    for refused in [foreign, keyless, nobody] {
        assert_eq!(refused.status(), 403);
    }
    let stale = post_form(url.clone(), &[("key", &key), ("head", &oid(1).to_string())], &[OURS, cookie]).await;
    assert_eq!(stale.status(), 409);
    assert_eq!(world.read(|state| state.asked.len()), 0);

    let run = post_form(url, &fields, &[OURS, cookie]).await;
    assert!(run.url().path().starts_with("/runs/"), "{}", run.url());
    assert_eq!(
        world.read(|state| state.asked.clone()),
        [format!("Approve(\"sundial\", {head}, Person(\"somebody\")) by page")]
    );
}

#[tokio::test]
async fn a_browser_signs_in_with_the_token_and_then_has_forms() {
    let world = garden();
    let served = world.serve(Some("hunter22")).await;
    let review = format!("{}/reviews/sundial", served.url);
    let before = get(&review).await.text().await.unwrap();
    assert!(key_in(&before).is_none());
    assert!(before.contains("/login?to=/reviews/sundial"));

    let login = format!("{}/login", served.url);
    let wrong = post_form(login.clone(), &[("token", "no"), ("to", "/")], &[OURS]).await;
    assert!(wrong.headers().get("set-cookie").is_none());
    assert!(wrong.text().await.unwrap().contains("neither the token nor"));
    assert_eq!(post_form(login.clone(), &[("token", "hunter22")], &[]).await.status(), 403);

    // What the client would follow loses the cookie, so the answer itself is looked at.
    let cookie = sign_in_cookie(&served.url).await;
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    assert!(!cookie.contains("hunter22"));
    let session = cookie.split(';').next().unwrap();
    let after = client().get(&review).header("cookie", session).send().await.unwrap().text().await.unwrap();
    let key = key_in(&after).expect("forms are offered");
    let cancel = format!("{}/builds/b3/cancel", served.url);
    assert_eq!(post_form(cancel.clone(), &[("key", &key)], &[OURS]).await.status(), 403);
    assert_eq!(post_form(cancel, &[("key", &key)], &[OURS, ("cookie", session)]).await.status(), 200);
    assert_eq!(world.read(|state| state.asked.clone()), ["cancel b3"]);
}

/// Signs in over a plain connection and gives the `Set-Cookie` line.
async fn sign_in_cookie(url: &str) -> String {
    let host = url.strip_prefix("http://").unwrap();
    let body = "token=hunter22&to=/reviews/sundial";
    let request = format!(
        "POST /login HTTP/1.1\r\nhost: {host}\r\norigin: http://{host}\r\nconnection: close\r\n\
         content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = exchange(host, &request).await;
    assert!(answer.starts_with("HTTP/1.1 303"), "{answer}");
    assert!(answer.contains("location: /reviews/sundial\r\n"), "{answer}");
    answer.lines().find_map(|line| line.strip_prefix("set-cookie: ")).expect("a cookie").to_owned()
}

/// Sends a request as it stands, and gives the whole answer.
async fn exchange(host: &str, request: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(host).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn deploy(world_url: &str, key: Option<&str>, body: &str) -> reqwest::Response {
    let mut request = client()
        .post(format!("{world_url}/api/v1/deploy"))
        .bearer_auth("hunter22")
        .header("content-type", "application/json")
        .body(body.to_owned());
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    request.send().await.unwrap()
}

#[tokio::test]
async fn a_command_that_comes_twice_happens_once() {
    let world = garden();
    let served = world.serve(Some("hunter22")).await;
    let body = r#"{"packages":["hedge"]}"#;
    let (first, second) = tokio::join!(deploy(&served.url, Some("k1"), body), deploy(&served.url, Some("k1"), body));
    assert_eq!((first.status().as_u16(), second.status().as_u16()), (200, 200));
    let replayed =
        [&first, &second].into_iter().filter(|answer| answer.headers().contains_key("idempotency-replayed")).count();
    assert_eq!(replayed, 1);
    assert_eq!(first.text().await.unwrap(), second.text().await.unwrap());
    assert_eq!(world.read(|state| state.asked.len()), 1);

    let other = deploy(&served.url, Some("k1"), r#"{"packages":["mulch"]}"#).await;
    assert_eq!(other.status(), 422);
    assert_eq!(deploy(&served.url, Some(&"x".repeat(300)), body).await.status(), 400);
    deploy(&served.url, None, body).await;
    deploy(&served.url, None, body).await;
    assert_eq!(world.read(|state| state.asked.len()), 3);
}

#[tokio::test]
async fn a_command_that_failed_may_come_again_and_its_cause_stays_inside() {
    let world = garden();
    world.change(|state| state.defect = Some("/secret/path is broken".into()));
    let served = world.serve(Some("hunter22")).await;
    let body = r#"{"packages":["hedge"]}"#;
    let failed = deploy(&served.url, Some("k2"), body).await;
    assert_eq!(failed.status(), 500);
    let id = failed.headers()["x-request-id"].to_str().unwrap().to_owned();
    let problem: Value = failed.json().await.unwrap();
    assert_eq!(problem["request_id"], id.as_str());
    assert!(!problem.to_string().contains("secret"));
    world.change(|state| state.defect = None);
    assert_eq!(deploy(&served.url, Some("k2"), body).await.status(), 200);
}

#[tokio::test]
async fn too_much_to_say_is_refused() {
    let world = World::empty();
    let served = world.serve(Some("hunter22")).await;
    let body = format!(r#"{{"packages":["{}"]}}"#, "x".repeat(100_000));
    assert_eq!(deploy(&served.url, None, &body).await.status(), 413);
}
