//! `/queue`, `/builds` and `/builds/{id}` with its log.

use askama::Template;
use axum::extract::{Extension, Path, Query, State};
use axum::response::Response;
use serde_json::Value;

use super::{Who, page};
use crate::controller::caches::CacheUseView;
use crate::controller::face::BuildFilter;
use crate::controller::view::{AskedView, AttemptView, BuildPage, BuilderView};
use crate::domain::build::{BuildEvent, BuildState};
use crate::domain::words::size;
use crate::logstore::LogStore;
use crate::web::badge::build_badge;
use crate::web::fault::Fault;
use crate::web::frame::{Frame, Pages};
use crate::web::link::{Link, build_href, run_href};
use crate::web::log::{LogDecoder, Piece};
use crate::web::rows::{BuildRow, Moment};
use crate::web::text::{one_line, path_part};

/// How much of the end of a log stands in its page, in bytes.
const SHOWN_LOG: u64 = 256 * 1024;
/// How many builds a list shows.
const LISTED: usize = 200;

#[derive(Template)]
#[template(path = "pages/queue.html")]
struct Queue {
    frame: Frame,
    total: usize,
    groups: Vec<Group>,
    builders: Vec<BuilderRow>,
}

/// Somebody who builds.
struct BuilderRow {
    name: String,
    takes: String,
    builds: Vec<(String, String)>,
    trouble: Option<String>,
}

impl BuilderRow {
    fn new(builder: &BuilderView) -> Self {
        let builds = builder.builds.iter().map(|build| (build_href(&build.id), build.pkgbase.to_string()));
        let trouble = builder.trouble.as_deref().map(one_line);
        Self { name: one_line(&builder.name), takes: takes(builder), builds: builds.collect(), trouble }
    }
}

/// What a builder takes, in a few words.
fn takes(builder: &BuilderView) -> String {
    let class = match (builder.class, builder.only) {
        (Some(class), true) => format!("class {class} only"),
        (Some(class), false) => format!("class {class}"),
        (None, true) => "what names it".to_owned(),
        (None, false) => "every class".to_owned(),
    };
    match builder.slots {
        Some(slots) => format!("{class}, {slots} at once"),
        None => class,
    }
}

struct Group {
    title: &'static str,
    meaning: &'static str,
    builds: Vec<BuildRow>,
}

pub async fn queue(State(pages): State<Pages>, Extension(visitor): Who) -> Result<Response, Fault> {
    let (frame, _) = pages.frame(visitor, "/queue").await?;
    let queue = pages.face.queue().await?;
    let group = |title, meaning, builds: &[_]| Group { title, meaning, builds: BuildRow::all(builds, frame.now) };
    let groups = vec![
        group("Building", "", &queue.underway),
        group("Blocked", "something they need has failed; mend that, or release them", &queue.blocked),
        group("Ready", "they start as soon as a builder is free", &queue.ready),
        group("Waiting", "for what they need", &queue.waiting),
    ];
    let builders = queue.builders.iter().flatten().map(BuilderRow::new).collect();
    page(&Queue { total: groups.iter().map(|group| group.builds.len()).sum(), groups, builders, frame })
}

/// What to list.
#[derive(Debug, serde::Deserialize)]
pub struct ListQuery {
    state: Option<BuildState>,
}

#[derive(Template)]
#[template(path = "pages/builds.html")]
struct List {
    frame: Frame,
    tabs: Vec<Tab>,
    builds: Vec<BuildRow>,
}

struct Tab {
    href: String,
    label: &'static str,
    current: bool,
}

pub async fn list(
    State(pages): State<Pages>,
    Extension(visitor): Who,
    Query(query): Query<ListQuery>,
) -> Result<Response, Fault> {
    let (frame, _) = pages.frame(visitor, "/queue").await?;
    let found = pages.face.builds(BuildFilter { state: query.state, pkgbase: None, limit: LISTED }).await?;
    let all = Tab { href: "/builds".to_owned(), label: "All", current: query.state.is_none() };
    let tab = |state: BuildState| Tab {
        href: format!("/builds?state={}", state.as_str()),
        label: build_badge(state).label,
        current: query.state == Some(state),
    };
    let offered = [
        BuildState::Running,
        BuildState::Failed,
        BuildState::TimedOut,
        BuildState::Blocked,
        BuildState::Succeeded,
        BuildState::Cancelled,
        BuildState::Lost,
    ];
    let tabs = std::iter::once(all).chain(offered.into_iter().map(tab)).collect();
    page(&List { tabs, builds: BuildRow::all(&found, frame.now), frame })
}

#[derive(Template)]
#[template(path = "pages/build.html")]
struct One {
    frame: Frame,
    build: BuildRow,
    repository: String,
    arch: String,
    commit: String,
    created: Moment,
    why: Option<String>,
    asked: Option<Asked>,
    run_href: Option<String>,
    waits_for: Vec<Link>,
    is_final: bool,
    may_retry: bool,
    attempts: Vec<AttemptRow>,
    caches: Vec<CacheRow>,
    /// The attempt whose log is shown; may be empty.
    attempt: String,
    log: Option<LogPart>,
}

/// What a build was asked for by.
struct Asked {
    pipeline: String,
    trigger: String,
    before: Option<String>,
    moved: Vec<Moved>,
}

/// Something that a build was decided by: as it was, and as it is.
struct Moved {
    what: &'static str,
    before: String,
    after: String,
}

impl Asked {
    fn new(asked: &AskedView) -> Self {
        let watched = asked.watched.as_ref().unwrap_or(&Value::Null);
        let words = |value: &Value| match value {
            Value::Array(all) => all.iter().map(|one| one.as_str().unwrap_or("-")).collect::<Vec<_>>().join(" "),
            one => one.as_str().unwrap_or_default().to_owned(),
        };
        let moved = |what, before: &str, after: &str| {
            let (before, after) = (words(&watched[before]), words(&watched[after]));
            let known = |text: String| if text.is_empty() { "-".to_owned() } else { text };
            (!after.is_empty()).then(|| Moved { what, before: known(before), after })
        };
        let upstream = moved("Upstream", "before", "after");
        let seen = moved("Its changed.sh saw", "seen_before", "seen_after");
        Self {
            pipeline: asked.pipeline.clone(),
            trigger: asked.trigger.clone(),
            before: asked.before.map(|commit| commit.short()),
            moved: upstream.into_iter().chain(seen).collect(),
        }
    }
}

struct AttemptRow {
    href: String,
    outcome: String,
    note: String,
    when: Moment,
    current: bool,
}

/// What the attempt that is shown did with an archive.
struct CacheRow {
    action: &'static str,
    name: String,
    key: String,
    sha256: String,
    size: String,
    origin: String,
    origin_href: Option<String>,
    created: Moment,
    download: Option<String>,
    /// Why no build finds it any more.
    condemned: Option<String>,
}

impl CacheRow {
    fn new(done: &CacheUseView, frame: &Frame) -> Self {
        let cache = &done.cache;
        Self {
            action: done.action,
            name: cache.name.clone(),
            key: cache.key.clone(),
            sha256: cache.sha256.clone(),
            size: size(cache.size),
            origin: cache.origin.clone(),
            origin_href: cache.build.as_deref().map(build_href),
            created: Moment::new(cache.created, frame.now),
            // Who may not have it is shown no way to it.
            download: done.download.clone().filter(|_| frame.visitor.form_key.is_some()),
            condemned: cache.condemned.as_deref().map(one_line),
        }
    }
}

/// The end of a log, ready to be shown and followed.
struct LogPart {
    pieces: Vec<Piece>,
    size: String,
    cut: bool,
    live: bool,
    raw: String,
    events: String,
    here: String,
}

/// Which attempt to show.
#[derive(Debug, serde::Deserialize)]
pub struct OneQuery {
    attempt: Option<String>,
}

pub async fn one(
    State(pages): State<Pages>,
    Extension(visitor): Who,
    Path(id): Path<String>,
    Query(query): Query<OneQuery>,
) -> Result<Response, Fault> {
    let (frame, _) = pages.frame(visitor, "/queue").await?;
    let found = pages.face.build(&id).await?.ok_or_else(|| Fault::not_found(format!("there is no build `{id}`")))?;
    let attempt = query.attempt.or_else(|| found.build.attempt.clone());
    if let Some(attempt) = &attempt
        && !found.has_attempt(attempt)
    {
        return Err(Fault::not_found(format!("build `{id}` has no attempt `{attempt}`")));
    }
    let log = attempt.as_deref().map(|attempt| log_part(pages.face.logs(), &found, attempt)).transpose()?;
    page(&One::new(frame, &found, attempt.as_deref(), log))
}

impl One {
    fn new(frame: Frame, found: &BuildPage, attempt: Option<&str>, log: Option<LogPart>) -> Self {
        let build = &found.build;
        let row = BuildRow::new(build, frame.now);
        let attempt_row = |tried: &AttemptView| AttemptRow {
            href: format!("{}?attempt={}", row.href, path_part(&tried.id)),
            outcome: tried.outcome.clone().unwrap_or_else(|| "running".to_owned()),
            note: tried.message.clone().unwrap_or_default(),
            when: Moment::new(tried.started, frame.now),
            current: attempt == Some(tried.id.as_str()),
        };
        Self {
            repository: build.repository.clone(),
            arch: build.arch.clone(),
            commit: build.commit.to_string(),
            created: Moment::new(build.created, frame.now),
            run_href: build.run.as_deref().map(run_href),
            waits_for: build.waits_for.iter().map(|name| Link::package(name.as_str())).collect(),
            is_final: build.state.is_final(),
            may_retry: build.state.after(BuildEvent::Retry).is_ok(),
            asked: found.asked.as_ref().map(Asked::new),
            why: found.why.as_deref().map(one_line),
            attempts: found.attempts.iter().map(attempt_row).collect(),
            caches: found
                .attempts
                .iter()
                .filter(|tried| attempt == Some(tried.id.as_str()))
                .flat_map(|tried| tried.caches.iter().map(|done| CacheRow::new(done, &frame)))
                .collect(),
            build: row,
            attempt: attempt.unwrap_or_default().to_owned(),
            log,
            frame,
        }
    }
}

fn log_part(logs: &LogStore, found: &BuildPage, attempt: &str) -> Result<LogPart, Fault> {
    let unreadable = |error: crate::logstore::LogError| {
        tracing::error!(error = &error as &dyn std::error::Error, attempt, "a log cannot be read");
        Fault::new(axum::http::StatusCode::INTERNAL_SERVER_ERROR, "the log cannot be read")
    };
    let position = logs.position(attempt).map_err(unreadable)?;
    let start = position.len.saturating_sub(SHOWN_LOG);
    let mut decoder = LogDecoder::starting_at(start);
    let mut pieces = Vec::new();
    let mut offset = start;
    while offset < position.len {
        let wanted = usize::try_from(position.len - offset).unwrap_or(usize::MAX);
        let bytes = logs.read(attempt, offset, wanted).map_err(unreadable)?;
        if bytes.is_empty() {
            break;
        }
        offset += bytes.len() as u64;
        pieces.extend(decoder.push(&bytes));
    }
    let live = position.final_len.is_none();
    if !live {
        pieces.extend(decoder.finish());
    }
    let id = path_part(&found.build.id);
    let attempt = path_part(attempt);
    Ok(LogPart {
        pieces,
        size: size(position.len),
        cut: start > 0,
        live,
        raw: format!("/api/v1/builds/{id}/log?attempt={attempt}"),
        events: format!("/api/v1/builds/{id}/events?attempt={attempt}&styled=1&offset={}", decoder.offset()),
        here: format!("/builds/{id}?attempt={attempt}#log-state"),
    })
}
