//! What is heard of upstreams, from real git servers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::*;
use crate::source::budget::SILENCES;
use crate::source::testing::{World, at, name, package};
use crate::source::{Sources, SourcesConfig};

pub(super) fn request(pkgbase: &str, sources: &[&str]) -> UpstreamRequest {
    let sources: Vec<_> = sources.iter().map(|source| format!("\tsource = {source}\n")).collect();
    let sources = sources.concat();
    let text =
        format!("pkgbase = {pkgbase}\n\tpkgver = 1\n\tpkgrel = 1\n\tarch = any\n{sources}\npkgname = {pkgbase}\n");
    let srcinfo = Srcinfo::parse(text.as_bytes()).expect("valid");
    UpstreamRequest::new(&name(pkgbase), &srcinfo).expect("it follows something")
}

async fn ask(config: &SourcesConfig, requests: &[UpstreamRequest]) -> BTreeMap<PkgBase, Upstream> {
    Sources::new(config).pass(at(0)).upstream(requests).await
}

#[tokio::test]
async fn every_floating_source_is_watched_and_each_address_is_asked_once() {
    let world = World::start().await;
    let main = world.commit("lib.git", "main", &package("lib", "1-1"), 1);
    let dev = world.commit("lib.git", "dev", &package("lib", "2-1"), 2);
    let other = world.commit("other.git", "main", &package("other", "1-1"), 3);
    let lib = world.url("git/lib.git");
    let requests = [
        request("a-git", &[&format!("git+{lib}"), &format!("x::git+{}", world.url("git/other.git"))]),
        request("b-git", &[&format!("git+{lib}#branch=dev"), &format!("git+{lib}#tag=v1")]),
        request("c-git", &[&format!("b::git+{lib}?signed#branch=main"), &format!("git+{lib}#commit=abc")]),
    ];
    let answers = ask(&world.config(), &requests).await;
    assert_eq!(answers["a-git"], Upstream::At(vec![main.into(), other.into()]));
    assert_eq!(answers["b-git"], Upstream::At(vec![dev.into()]));
    assert_eq!(answers["c-git"], Upstream::At(vec![main.into()]));
    assert_eq!(world.requests().len(), 2);
}

#[tokio::test]
async fn of_a_package_with_several_sources_each_is_known_or_not_by_itself() {
    let world = World::start().await;
    let main = world.commit("lib.git", "main", &package("lib", "1-1"), 1);
    let (lib, gone) = (format!("git+{}", world.url("git/lib.git")), format!("git+{}", world.url("git/gone.git")));
    let requests = [request("a-git", &[&gone, &lib, &gone]), request("b-git", &[&gone])];
    let answers = ask(&world.config(), &requests).await;
    let Upstream::Partly { seen, error, .. } = &answers["a-git"] else { panic!("{answers:?}") };
    assert_eq!((seen.as_slice(), error.contains("404")), (&[None, Some(main.into()), None][..], true));
    assert!(matches!(answers["b-git"], Upstream::Unknown { .. }), "{answers:?}");
}

#[tokio::test]
async fn what_cannot_be_asked_is_unknown_and_says_why() {
    let world = World::start().await;
    world.commit("lib.git", "main", &package("lib", "1-1"), 1);
    let lib = world.url("git/lib.git");
    let sources = [
        "x::git+--upload-pack=CMD".to_owned(),
        "x::git+ext::sh -c id".to_owned(),
        format!("git+{lib}#branch=none"),
        format!("git+{}", world.url("git/nowhere.git")),
        format!("git+{}", world.url("git/lib.git").replace("http:", "gopher:")),
    ];
    let names = ["p0", "p1", "p2", "p3", "p4"];
    let requests: Vec<_> = names.iter().zip(&sources).map(|(name, source)| request(name, &[source])).collect();
    let good = request("good", &[&format!("git+{lib}")]);
    let answers = ask(&world.config(), &[requests, vec![good]].concat()).await;
    let said = names.map(|name| match &answers[name] {
        Upstream::Unknown { error, .. } => error.replace(&world.url("").replace("http://", ""), "HOST/"),
        known => panic!("{name}: {known:?}"),
    });
    insta::assert_snapshot!(said.join("\n"), @r"
    address `--upload-pack=CMD` refused: it has no `scheme://`
    address `ext::sh -c id` refused: it contains spaces or control characters
    http://HOST/git/lib.git has no branch `none`
    http://HOST/git/nowhere.git answers 404 Not Found: the repository is private, has moved, or is gone
    address `gopher://HOST/git/lib.git` refused: only http, https, git, ssh and file are asked
    ");
    assert!(matches!(answers["good"], Upstream::At(_)));
}

#[tokio::test]
async fn a_server_that_hangs_is_unknown_in_bounded_time() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("bound");
    let world = World::start().await;
    let config = SourcesConfig { timeout: Duration::from_millis(200), ..world.config() };
    let sources = [format!("git+http://{address}/r"), format!("git+git://{address}/r")];
    let requests: Vec<_> = ["p0", "p1"].iter().zip(&sources).map(|(name, url)| request(name, &[url])).collect();
    let answers = ask(&config, &requests).await;
    assert!(answers.values().all(|answer| matches!(answer, Upstream::Unknown { .. })), "{answers:?}");
}

fn unknown(answers: &BTreeMap<PkgBase, Upstream>) -> Vec<&str> {
    let mut said = Vec::new();
    for answer in answers.values() {
        let Upstream::Unknown { error, .. } = answer else { panic!("{answer:?}") };
        said.push(error.as_str());
    }
    said
}

/// Twenty packages whose sources are at `place`.
fn twenty(place: &str) -> Vec<UpstreamRequest> {
    (0..20).map(|number| request(&format!("p{number}"), &[&format!("git+{place}/{number}.git")])).collect()
}

#[tokio::test]
async fn a_host_that_hangs_up_is_asked_a_few_times_and_then_left_alone() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("bound");
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = connections.clone();
    let server = tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            counter.fetch_add(1, Ordering::SeqCst);
        }
    });
    let world = World::start().await;
    let tip = world.commit("lib.git", "main", &package("lib", "1-1"), 1);
    let good = request("good", &[&format!("git+{}", world.url("git/lib.git"))]);
    let config = world.config();
    let sources = Sources::new(&config);
    let most = SILENCES + config.per_host - 1;
    for pass in 1..=2 {
        let mut answers =
            sources.pass(at(0)).upstream(&[twenty(&format!("http://{address}")), vec![good.clone()]].concat()).await;
        assert_eq!(answers.remove("good"), Some(Upstream::At(vec![tip.into()])), "its host answers");
        let alone = unknown(&answers).iter().filter(|error| error.contains("is left alone")).count();
        assert!(alone >= 20 - most, "{answers:?}");
        let connections = connections.load(Ordering::SeqCst);
        assert!((SILENCES * pass..=most * pass).contains(&connections), "{connections} in {pass} passes");
    }
    server.abort();
}

#[tokio::test]
async fn a_dead_port_and_a_name_that_does_not_resolve_cost_a_few_questions_each() {
    let world = World::start().await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let dead = listener.local_addr().expect("bound");
    drop(listener);
    let config = world.config();
    for place in [format!("http://{dead}"), "http://pkgwarden.invalid".to_owned(), "git://pkgwarden.invalid".to_owned()]
    {
        let answers = ask(&config, &twenty(&place)).await;
        let host = place.split("://").nth(1).expect("an address");
        let alone = format!("{host} did not answer {SILENCES} times in a row and is left alone in this pass; first: ");
        let (alone, asked): (Vec<_>, Vec<_>) =
            unknown(&answers).into_iter().partition(|error| error.starts_with(&alone));
        assert!(asked.len() < SILENCES + config.per_host, "{asked:?}");
        assert!(alone.windows(2).all(|two| two[0] == two[1]), "one reason for all: {alone:?}");
        assert!(asked.iter().any(|error| alone[0].ends_with(error)), "the reason is the first error: {}", alone[0]);
    }
}

#[tokio::test]
async fn what_is_left_when_the_time_of_a_pass_is_over_is_unknown_and_was_not_asked() {
    let world = World::start().await;
    let config = SourcesConfig { pass: Duration::ZERO, ..world.config() };
    let answers = ask(&config, &twenty(&world.url("git"))).await;
    assert!(unknown(&answers).iter().all(|error| error.contains("may take 0 s")), "{answers:?}");
    assert!(world.requests().is_empty());
}

#[tokio::test]
async fn repositories_that_are_not_behind_http_are_asked_through_git() {
    let world = World::start().await;
    let tip = world.commit("lib.git", "main", &package("lib", "1-1"), 1);
    let path = world.repository("lib.git");
    let answers = ask(&world.config(), &[request("a-git", &[&format!("git+file://{}", path.display())])]).await;
    assert_eq!(answers["a-git"], Upstream::At(vec![tip.into()]));
}

#[tokio::test]
async fn a_server_that_only_hands_out_files_is_asked_through_git() {
    let world = World::start().await;
    let tip = world.commit("lib.git", "main", &package("lib", "1-1"), 1);
    let answers = ask(&world.config(), &[request("a-git", &[&format!("git+{}", world.url("files/lib.git"))])]).await;
    assert_eq!(answers["a-git"], Upstream::At(vec![tip.into()]));
}

#[test]
fn a_package_without_floating_sources_is_not_asked() {
    let text = "pkgbase = a\n\tpkgver = 1\n\tpkgrel = 1\n\tarch = any\n\tsource = git+https://h/r#commit=a\n\tsource = svn+https://h/r#revision=2\n\npkgname = a\n";
    let srcinfo = Srcinfo::parse(text.as_bytes()).expect("valid");
    assert_eq!(UpstreamRequest::new(&name("a"), &srcinfo), None);
}

/// A server that answers each request as it is told to, and counts them.
async fn server(answer: fn(&str) -> axum::response::Response) -> (String, Arc<AtomicUsize>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    let app = axum::Router::new().fallback(move |request: axum::extract::Request| async move {
        counter.fetch_add(1, Ordering::SeqCst);
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.expect("readable");
        let token = parts.headers.get("authorization").and_then(|it| it.to_str().ok()).unwrap_or_default();
        answer(&format!("{} {token}\n{}", parts.uri.path(), String::from_utf8_lossy(&body)))
    });
    tokio::spawn(async move { axum::serve(listener, app).await.expect("serves") });
    (url, count)
}

fn answered(status: u16, header: (&str, &str), body: impl Into<axum::body::Body>) -> axum::response::Response {
    axum::response::Response::builder()
        .status(status)
        .header(header.0, header.1)
        .body(body.into())
        .expect("well formed")
}

/// GitHub and GitLab at once: all that is asked for is at `1111…`, but what is called `gone` is nowhere.
fn forge(request: &str) -> axum::response::Response {
    if !request.starts_with("/api/graphql Bearer hush\n") {
        return answered(404, ("content-type", "text/plain"), "nothing here");
    }
    let query: serde_json::Value = serde_json::from_str(request.split_once('\n').expect("a body").1).expect("JSON");
    let query = query["query"].as_str().expect("a query").to_owned();
    let id = "1".repeat(40);
    let mut data = serde_json::Map::new();
    for (number, project) in
        query.split(" p").filter(|part| part.contains("name: ") || part.contains("fullPath: ")).enumerate()
    {
        let fields = project.matches(" f").count();
        let github = serde_json::json!({"target": {"oid": id}});
        let all = |value: &serde_json::Value| {
            (0..fields).map(|field| (format!("f{field}"), value.clone())).collect::<serde_json::Map<_, _>>()
        };
        let answer = if project.contains("gone") {
            serde_json::Value::Null
        } else if project.contains("fullPath") {
            serde_json::json!({"repository": all(&serde_json::json!({"sha": id}))})
        } else {
            all(&github).into()
        };
        data.insert(format!("p{number}"), answer);
    }
    let body = serde_json::json!({"data": data, "errors": [{"type": "NOT_FOUND"}]}).to_string();
    answered(200, ("content-type", "application/json"), body)
}

#[tokio::test]
async fn what_is_on_github_and_gitlab_is_asked_for_in_bulk_if_a_token_is_there() {
    let (world, (github, asked)) = (World::start().await, server(forge).await);
    let (gitlab, asked_gitlab) = server(forge).await;
    let mut config = world.config();
    let token = world.repository("token");
    std::fs::write(&token, "hush\n").expect("written");
    let forge = |url: &str, version: &str| crate::source::forge::ForgeConfig {
        url: url.to_owned(),
        api_url: format!("{url}/api/{version}"),
        token_file: Some(token.clone()),
    };
    config.forges.github = forge(&github, "v3");
    config.forges.gitlab = forge(&gitlab, "v4");
    let mut requests: Vec<_> = (0..150)
        .map(|number| {
            let source = format!("git+{github}/o/n{number}.git");
            request(&format!("p{number}-git"), &[&source, &format!("{source}#branch=dev")])
        })
        .collect();
    requests.push(request("lab-git", &[&format!("git+{gitlab}/a/b/c#branch=x")]));
    requests.push(request("gone-git", &[&format!("git+{github}/o/gone")]));
    let answers = ask(&config, &requests).await;
    let one: crate::domain::name::Oid = "1".repeat(40).parse().expect("an id");
    assert_eq!(answers["p149-git"], Upstream::At(vec![one.into(), one.into()]));
    assert_eq!(answers["lab-git"], Upstream::At(vec![one.into()]));
    let Upstream::Unknown { error, .. } = &answers["gone-git"] else { panic!("{answers:?}") };
    assert!(error.contains("answers 404"), "what is not found at once is asked by itself: {error}");
    assert_eq!(answers.values().filter(|answer| matches!(answer, Upstream::At(_))).count(), 151);
    assert_eq!((asked.load(Ordering::SeqCst), asked_gitlab.load(Ordering::SeqCst)), (3, 1), "two queries and one more");

    config.forges = crate::source::forge::ForgesConfig::default();
    config.cache_dir = world.repository("other-cache");
    asked.store(0, Ordering::SeqCst);
    ask(&config, &requests[..5]).await;
    assert_eq!(asked.load(Ordering::SeqCst), 5, "without a token, one by one");
}

#[tokio::test]
async fn a_host_that_throttles_is_left_alone_for_as_long_as_it_asks_also_after_a_restart() {
    let (url, asked) = server(|_| answered(429, ("retry-after", "7200"), "slow down")).await;
    let config = World::start().await.config();
    let mut rests = Vec::new();
    for hour in [0, 1, 3] {
        asked.store(0, Ordering::SeqCst);
        let answers = Sources::new(&config).pass(at(hour * 3600)).upstream(&twenty(&url)).await;
        let text = unknown(&answers).join("\n");
        let waits = answers.values().filter(|it| matches!(it, Upstream::Unknown { retry_at: Some(_), .. })).count();
        rests.push((asked.load(Ordering::SeqCst), waits, text.contains("asked to be left alone")));
    }
    let few = 1..=config.per_host;
    assert!(few.contains(&rests[0].0) && rests[0].1 == 20 && rests[0].2, "{rests:?}");
    assert_eq!((rests[1].0, rests[1].1), (0, 20), "nobody is asked: {rests:?}");
    assert!(few.contains(&rests[2].0), "the time is over: {rests:?}");
}

#[tokio::test]
async fn what_keeps_failing_is_asked_less_and_less_often_and_says_when_again() {
    let world = World::start().await;
    let tip = world.commit("lib.git", "main", &package("lib", "1-1"), 1);
    let (lib, config) = (world.url("git/lib.git"), world.config());
    let requests = [
        request("bad-git", &[&format!("git+{}", world.url("git/nowhere.git"))]),
        request("good-git", &[&format!("git+{lib}")]),
    ];
    let mut asked = Vec::new();
    for hour in 0..10 {
        let answers = Sources::new(&config).pass(at(hour * 3600)).upstream(&requests).await;
        assert_eq!(answers["good-git"], Upstream::At(vec![tip.into()]));
        let Upstream::Unknown { error, retry_at } = &answers["bad-git"] else { panic!("{answers:?}") };
        assert!(error.contains("answers 404"), "{error}");
        if world.requests().iter().any(|request| request.contains("nowhere")) {
            asked.push(hour);
        } else {
            assert!(error.starts_with("not asked, because it failed ") && *retry_at > Some(at(hour * 3600)), "{error}");
        }
    }
    assert_eq!(asked, [0, 1, 2, 3, 5, 9]);
    let book = crate::source::ledger::Book::read(&config.cache_dir);
    let known = book.upstream(&requests[0].followed[0]).expect("it was asked");
    assert_eq!((known.failures, known.asked, known.answered), (6, Some(at(9 * 3600)), None));
    // Another address is another question.
    let mended = [request("bad-git", &[&format!("git+{lib}")])];
    let answers = Sources::new(&config).pass(at(10 * 3600)).upstream(&mended).await;
    assert_eq!(answers["bad-git"], Upstream::At(vec![tip.into()]));
}

#[tokio::test]
async fn a_repository_that_has_moved_is_followed_to_where_it_is() {
    let world = World::start().await;
    let tip = world.commit("lib.git", "main", &package("lib", "1-1"), 1);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let old = format!("http://{}/old.git", listener.local_addr().expect("bound"));
    let new = world.url("git/lib.git");
    let moved = move |uri: axum::http::Uri| async move {
        let rest = uri.path_and_query().expect("a path").as_str().replacen("/old.git", "", 1);
        answered(301, ("location", &format!("{new}{rest}")), "")
    };
    let app = axum::Router::new().fallback(moved);
    tokio::spawn(async move { axum::serve(listener, app).await.expect("serves") });
    let answers = ask(&world.config(), &[request("a-git", &[&format!("git+{old}")])]).await;
    assert_eq!(answers["a-git"], Upstream::At(vec![tip.into()]));
}

/// Refs without end, of which the first is `HEAD`.
fn endless(_: &str) -> axum::response::Response {
    let packet = |line: &str| format!("{:04x}{line}", line.len() + 4);
    let id = "1".repeat(40);
    let head = packet("# service=git-upload-pack\n") + "0000" + &packet(&format!("{id} HEAD\0agent=x\n"));
    let many: bytes::Bytes = packet(&format!("{id} refs/heads/a-branch-of-very-many\n")).repeat(2000).into();
    let body = futures_util::StreamExt::chain(
        futures_util::stream::once(async { Ok::<_, std::io::Error>(bytes::Bytes::from(head)) }),
        futures_util::stream::repeat_with(move || Ok(many.clone())),
    );
    let kind = ("content-type", "application/x-git-upload-pack-advertisement");
    answered(200, kind, axum::body::Body::from_stream(body))
}

#[tokio::test]
async fn a_repository_of_millions_of_refs_is_read_as_far_as_needed_and_never_to_its_end() {
    let (url, _) = server(endless).await;
    let sources = [format!("git+{url}/r"), format!("git+{url}/s#branch=none")];
    let requests: Vec<_> = ["a-git", "b-git"].iter().zip(&sources).map(|(name, url)| request(name, &[url])).collect();
    let world = World::start().await;
    let answers = ask(&SourcesConfig { timeout: Duration::from_mins(2), ..world.config() }, &requests).await;
    assert!(matches!(answers["a-git"], Upstream::At(_)), "{answers:?}");
    let Upstream::Unknown { error, .. } = &answers["b-git"] else { panic!("{answers:?}") };
    assert!(error.contains("the ref list is longer than"), "{error}");
}
