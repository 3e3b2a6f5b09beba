//! Pages: that each answers, and that nothing hostile comes through.

use std::sync::Arc;

use super::*;
use crate::controller::face::Face as _;
use crate::controller::view::{AtWorkView, BuilderView, FileDiff, RunPage, ScriptView};
use crate::domain::build::BuildState;
use crate::domain::finding::Finding;
use crate::http::world::{World, ago, base, build, garden, package, review, run};

const EVIL: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u{202e}\u{1b}[8m{{7*7}}";

async fn page(url: &str) -> String {
    let response = client().get(url).header("accept", "text/html").send().await.unwrap();
    assert_eq!(response.status(), 200, "{url}");
    let policy = response.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with(
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'"
    ));
    assert!(!policy.contains("unsafe"));
    response.text().await.unwrap()
}

/// Nothing in a page may be markup or a hidden character that we did not write.
fn assert_harmless(html: &str, url: &str) {
    for bad in
        ["<script>", "<img src=x", "onerror=alert(1)>", "\u{202e}", "\u{1b}", " style=", " onclick=", "javascript:"]
    {
        assert!(!html.contains(bad), "{url} contains {bad:?}");
    }
    let scripts = html.matches("<script").count();
    assert_eq!(scripts, 1, "{url}");
}

const PAGES: [&str; 20] = [
    "/",
    "/packages",
    "/packages?q=e&show=failed",
    "/packages?show=behind&all=1",
    "/packages/hedge",
    "/queue",
    "/builds",
    "/builds?state=failed",
    "/builds/b2",
    "/builds/b3",
    "/builds/b5",
    "/runs",
    "/runs/r1",
    "/reviews",
    "/reviews/sundial",
    "/graph?of=all",
    "/graph?of=queue",
    "/graph?of=hedge",
    "/generations",
    "/generations/garden/12",
];

#[tokio::test]
async fn every_page_answers_and_every_link_on_it_leads_somewhere() {
    let served = garden().serve(None).await;
    let mut links = std::collections::BTreeSet::new();
    for path in PAGES {
        let html = page(&format!("{}{path}", served.url)).await;
        assert_harmless(&html, path);
        assert_eq!(html.matches("<h1").count(), 1, "{path} has one first heading");
        for part in html.split("href=\"").skip(1).chain(html.split(" src=\"").skip(1)) {
            let href = part.split('"').next().unwrap().replace("&amp;", "&");
            links.insert(href.split('#').next().unwrap().to_owned());
        }
    }
    for link in links.into_iter().filter(|link| !link.is_empty()) {
        assert!(link.starts_with('/'), "{link}");
        let status = get(&format!("{}{link}", served.url)).await.status();
        assert_eq!(status, 200, "{link}");
    }
}

#[tokio::test]
async fn an_empty_world_has_pages_too() {
    let served = World::empty().serve(None).await;
    for path in ["/", "/packages", "/queue", "/builds", "/runs", "/reviews", "/graph", "/generations"] {
        assert_harmless(&page(&format!("{}{path}", served.url)).await, path);
    }
    assert!(page(&format!("{}/", served.url)).await.contains("Everything goes on by itself"));
}

#[tokio::test]
async fn what_people_must_do_stands_first() {
    let served = garden().serve(None).await;
    let html = page(&format!("{}/", served.url)).await;
    let place = |text: &str| html.find(text).unwrap_or_else(|| panic!("{text} is missing"));
    let order = [
        place("Needs a person"),
        place("the source comes from another host"),
        place("✗ failed"),
        place("blocked by hedge"),
        place("names no package"),
        place("Building now"),
        place("Latest runs"),
    ];
    assert!(order.is_sorted(), "{order:?}");
}

#[tokio::test]
async fn a_build_that_nobody_can_take_is_shown_as_such_wherever_it_stands() {
    let world = World::empty();
    let mut alone = build("b1", "hedge", BuildState::Ready);
    alone.class = Some("9".into());
    alone.nobody = Some("no builder of class 9 is there".into());
    world.add_build(alone);
    let served = world.serve(None).await;
    for path in ["/queue", "/builds", "/builds/b1"] {
        assert!(page(&format!("{}{path}", served.url)).await.contains("no builder of class 9 is there"), "{path}");
    }
    let queue = client().get(format!("{}/api/v1/queue", served.url)).send().await.unwrap().text().await.unwrap();
    assert!(queue.contains(r#""nobody":"no builder of class 9 is there""#), "{queue}");
}

#[tokio::test]
async fn the_queue_shows_who_builds_what() {
    let world = World::empty();
    let at_work = AtWorkView { id: "b1".into(), pkgbase: base("hedge") };
    let builder = |name: &str, class, only, builds| BuilderView {
        name: name.into(),
        class,
        only,
        slots: Some(2),
        builds,
        trouble: None,
    };
    let mut broken = builder("broken", Some(0), false, Vec::new());
    broken.trouble = Some("no sandbox <here>".into());
    let others = builder("others", Some(1), true, Vec::new());
    let builders = vec![builder("big", Some(4), false, vec![at_work]), others, broken];
    world.change(|state| state.builders = Some(builders));
    let served = world.serve(None).await;
    let seen = page(&format!("{}/queue", served.url)).await;
    for part in [
        "<strong>big</strong>",
        "class 4, 2 at once",
        "<a href=\"/builds/b1\">hedge</a>",
        "class 1 only",
        "takes none now: no sandbox &lt;here&gt;",
    ] {
        assert!(seen.contains(part), "{part} is not in {seen}");
    }
    let queue = client().get(format!("{}/api/v1/queue", served.url)).send().await.unwrap().text().await.unwrap();
    assert!(queue.contains(r#""builds":[{"id":"b1","pkgbase":"hedge"}]"#), "{queue}");
}

/// A world in which every text that somebody else wrote is hostile.
fn hostile_world() -> Arc<World> {
    let world = World::empty();
    let mut failed = build("b1", "hedge", BuildState::Failed);
    failed.message = Some(EVIL.into());
    failed.class = Some(EVIL.into());
    world.add_build(failed.clone());
    world.write("b1.1", EVIL.as_bytes());
    world.logs().finish("b1.1").unwrap();
    world.change(|state| {
        let mut hedge = package("hedge");
        hedge.package.version = Some(crate::domain::version::Version::new(EVIL));
        hedge.package.published = Some(EVIL.into());
        hedge.package.last_build = Some(failed.clone());
        hedge.pkgnames = vec![EVIL.into()];
        hedge.trigger = Some(EVIL.into());
        hedge.findings = vec![Finding::error("bad", EVIL).at(EVIL, Some(1)).hint(EVIL)];
        hedge.builds = vec![failed];
        hedge.script = Some(ScriptView { ran: ago(5), size: 9_000, last: EVIL.into() });
        state.builds[0].why = Some(EVIL.into());
        state.packages.insert(base("hedge"), hedge);
        state.repositories[0].error = Some(EVIL.into());
        let mut hostile = review("hedge", EVIL, &format!("{EVIL}\n</td></table><script>alert(2)</script>\n"));
        hostile.branch = EVIL.into();
        hostile.conflict = Some(EVIL.into());
        hostile.verdict.reasons[0].old = Some(EVIL.into());
        hostile.verdict.reasons[0].new = Some(EVIL.into());
        hostile.verdict.reasons[0].message = EVIL.into();
        hostile.files.push(FileDiff { path: EVIL.into(), old: None, new: Some(EVIL.into()), binary: false });
        state.reviews = vec![hostile];
        let mut hostile_run = run("r1", EVIL, EVIL);
        hostile_run.summary = EVIL.into();
        state.runs = vec![RunPage { run: hostile_run, document: hostile_document() }];
        state.graph =
            serde_json::json!({"order": [EVIL, "hedge"], "edges": [{"from": "hedge", "to": EVIL}], "cycles": [[EVIL]]});
    });
    world
}

fn hostile_document() -> serde_json::Value {
    let text = serde_json::json!(EVIL);
    serde_json::json!({
        "packages": [{"pkgbase": text, "action": "review", "why": text, "from_version": text, "reasons": [{"severity": "hostile", "message": text, "file": text, "old": text}]}],
        "problems": [{"severity": "error", "message": text, "hint": text, "pkgbase": text, "code": text}],
        "builds": [{"pkgbase": text, "reason": text, "after": [text]}], "remove": [text],
        "refs": [{"name": text, "old": null, "new": text}], "reviews": [{"pkgbase": text, "do": text, "why": text}],
    })
}

#[tokio::test]
async fn hostile_text_is_shown_and_never_obeyed() {
    let served = hostile_world().serve(None).await;
    for path in [
        "/",
        "/packages",
        "/packages?q=%3Cscript%3E",
        "/packages/hedge",
        "/builds",
        "/builds/b1",
        "/runs",
        "/runs/r1",
        "/reviews",
        "/reviews/hedge",
        "/graph?of=all",
    ] {
        let html = page(&format!("{}{path}", served.url)).await;
        assert_harmless(&html, path);
    }
    let diff = page(&format!("{}/reviews/hedge", served.url)).await;
    assert!(diff.contains("&lt;script&gt;alert(1)") && diff.contains("⟨U+202E⟩"));
    assert_eq!(diff.matches("</table>").count(), 2);
}

#[tokio::test]
async fn a_page_that_is_not_there_says_so_to_people() {
    let served = garden().serve(None).await;
    for path in [
        "/nothing",
        "/packages/nope",
        "/packages/%3Cscript%3E",
        "/builds/nope",
        "/runs/nope",
        "/reviews/hedge",
        "/graph?of=nope",
    ] {
        let response =
            client().get(format!("{}{path}", served.url)).header("accept", "text/html").send().await.unwrap();
        assert_eq!(response.status(), 404, "{path}");
        assert_eq!(response.headers()["content-type"], "text/html; charset=utf-8", "{path}");
        let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
        let html = response.text().await.unwrap();
        assert!(html.contains(&id), "{path}");
        assert_harmless(&html, path);
    }
}

#[tokio::test]
async fn colours_of_a_log_are_kept_and_the_rest_of_it_is_text() {
    let served = garden().serve(None).await;
    let html = page(&format!("{}/builds/b2", served.url)).await;
    assert!(html.contains("<span class=\"b c2\">==&gt;</span>"));
    assert!(html.contains("expected &#39;;&#39; before"));
    let live = page(&format!("{}/builds/b3", served.url)).await;
    assert!(live.contains("data-events=\"/api/v1/builds/b3/events?attempt=b3.1&amp;styled=1&amp;offset="));
    assert!(live.contains("Load what is new"), "there is a way without scripts");
}

#[tokio::test]
async fn what_a_script_printed_and_why_a_build_was_asked_for_stand_on_their_pages() {
    let world = garden();
    world.change(|state| {
        let hedge = state.packages.get_mut("hedge").unwrap();
        hedge.script =
            Some(ScriptView { ran: ago(90), size: 2_000_000, last: "\u{1b}[32m1.5.0\u{1b}[m is out\n".into() });
        let build = state.builds.iter_mut().find(|page| page.build.id == "b2").unwrap();
        build.why = Some("bumped to 1.4.2-1.1: libleaf.so.1 is gone, leaf 2.0-1 has libleaf.so.2".into());
    });
    let served = world.serve(None).await;
    let package = page(&format!("{}/packages/hedge", served.url)).await;
    assert!(package.contains("<span class=\"c2\">1.5.0</span> is out"), "{package}");
    let link = "/api/v1/packages/hedge/script-log";
    assert!(package.contains(&format!("The beginning is not shown here; <a href=\"{link}\">")), "{package}");
    let whole = client().get(format!("{}{link}", served.url)).send().await.unwrap();
    assert_eq!(whole.headers()["content-type"], "text/plain; charset=utf-8");
    assert!(whole.text().await.unwrap().ends_with(" is out\n"));
    let build = page(&format!("{}/builds/b2", served.url)).await;
    assert!(build.contains("bumped to 1.4.2-1.1: libleaf.so.1 is gone, leaf 2.0-1 has libleaf.so.2"), "{build}");
}

#[tokio::test]
async fn a_generation_shows_where_each_package_came_from_and_a_held_removal_what_to_type() {
    let served = garden().serve(None).await;
    let one = page(&format!("{}/generations/garden/12", served.url)).await;
    for part in ["generation 12", "1 built, 6 reused", "href=\"/api/v1/generations/garden/12\"", "href=\"/builds/"] {
        assert!(one.contains(part), "{part} is missing in {one}");
    }
    assert_eq!(get(&format!("{}/generations/garden/99", served.url)).await.status(), 404);
    for path in ["/", "/generations"] {
        let html = page(&format!("{}{path}", served.url)).await;
        for part in ["2 packages left garden", "would lose 2 of 7 packages", "pkgwarden ctl repo removals --confirm"] {
            assert!(html.contains(part), "{path}: {part} is missing in {html}");
        }
    }
}

#[tokio::test]
async fn a_build_shows_what_it_was_asked_for_by() {
    let served = garden().serve(None).await;
    let html = page(&format!("{}/builds/b3", served.url)).await;
    for part in ["on-schedule, started by schedule", "<code class=\"quiet\">svn:6</code> → <code>svn:7</code>"] {
        assert!(html.contains(part), "{part} is missing in {html}");
    }
}
