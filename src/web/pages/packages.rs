//! `/packages` and `/packages/{pkgbase}`.

use askama::Template;
use axum::extract::{Extension, Path, Query, State};
use axum::response::Response;
use jiff::Timestamp;

use super::{Who, page};
use crate::controller::face::PackageFilter;
use crate::controller::view::{PackagePage, PackageView, ScriptView, SourceView};
use crate::domain::build::BuildState;
use crate::domain::name::{Oid, PkgBase};
use crate::domain::words::size;
use crate::web::fault::Fault;
use crate::web::frame::{Frame, Pages};
use crate::web::link::{Link, package_href, review_href};
use crate::web::log::{LogDecoder, Piece};
use crate::web::rows::{BuildRow, DecisionRow, Moment, ProblemRow};
use crate::web::text::{one_line, path_part};
use crate::web::time;

/// How many rows are shown at once.
const PAGE: usize = 300;

/// What to list.
#[derive(Debug, Default, serde::Deserialize)]
pub struct ListQuery {
    #[serde(default)]
    q: String,
    #[serde(default)]
    show: Show,
    #[serde(default)]
    all: Option<String>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Show {
    #[default]
    All,
    Attention,
    Review,
    Failed,
    Behind,
    Problems,
}

impl Show {
    const ALL: [Self; 6] = [Self::All, Self::Attention, Self::Review, Self::Failed, Self::Behind, Self::Problems];

    const fn word(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Attention => "attention",
            Self::Review => "review",
            Self::Failed => "failed",
            Self::Behind => "behind",
            Self::Problems => "problems",
        }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::All => "All",
            Self::Attention => "Needs a person",
            Self::Review => "In review",
            Self::Failed => "Failed",
            Self::Behind => "Not published yet",
            Self::Problems => "With problems",
        }
    }

    fn wants(self, package: &PackageView) -> bool {
        match self {
            Self::All => true,
            Self::Attention => package.review || package.held.is_some() || failed(package),
            Self::Review => package.review,
            Self::Failed => failed(package),
            Self::Behind => behind(package),
            Self::Problems => package.problems > 0,
        }
    }
}

impl std::fmt::Display for Show {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

fn failed(package: &PackageView) -> bool {
    package.last_build.as_ref().is_some_and(|build| match build.state {
        BuildState::Failed | BuildState::TimedOut | BuildState::Lost | BuildState::Blocked => true,
        BuildState::Waiting
        | BuildState::Ready
        | BuildState::Dispatched
        | BuildState::Running
        | BuildState::Succeeded
        | BuildState::Cancelled
        | BuildState::Superseded
        | BuildState::AlreadyBuilt
        | BuildState::Skipped => false,
    })
}

fn behind(package: &PackageView) -> bool {
    package.version.as_ref().is_some_and(|version| package.published.as_deref() != Some(version.as_str()))
}

#[derive(Template)]
#[template(path = "pages/packages.html")]
struct List {
    frame: Frame,
    query: ShownQuery,
    tabs: Vec<Tab>,
    packages: Vec<PackageRow>,
    shown: usize,
    matching: usize,
    total: usize,
    more: String,
}

struct ShownQuery {
    q: String,
    show: &'static str,
}

struct Tab {
    href: String,
    label: &'static str,
    current: bool,
    count: usize,
}

struct PackageRow {
    pkgbase: String,
    href: String,
    review_href: String,
    review: bool,
    problems: usize,
    version: String,
    published: String,
    behind: bool,
    source: &'static str,
    build: Option<BuildRow>,
}

impl PackageRow {
    fn new(package: &PackageView, now: Timestamp) -> Self {
        let name = package.pkgbase.as_str();
        Self {
            pkgbase: name.to_owned(),
            href: package_href(name),
            review_href: review_href(name),
            review: package.review,
            problems: package.problems,
            version: package.version.as_ref().map(ToString::to_string).unwrap_or_default(),
            published: package.published.clone().unwrap_or_else(|| "–".to_owned()),
            behind: behind(package),
            source: package.source,
            build: package.last_build.as_ref().map(|build| BuildRow::new(build, now)),
        }
    }
}

pub async fn list(
    State(pages): State<Pages>,
    Extension(visitor): Who,
    Query(query): Query<ListQuery>,
) -> Result<Response, Fault> {
    let (frame, repositories) = pages.frame(visitor, "/packages").await?;
    let text = query.q.trim().to_owned();
    let filter = PackageFilter { text: (!text.is_empty()).then(|| text.clone()) };
    let found = pages.face.packages(filter).await?;
    let matching: Vec<_> = found.iter().filter(|package| query.show.wants(package)).collect();
    let limit = if query.all.is_some() { usize::MAX } else { PAGE };
    let packages: Vec<_> = matching.iter().take(limit).map(|package| PackageRow::new(package, frame.now)).collect();
    let address = |show: Show| format!("/packages?show={show}&q={}", path_part(&text));
    let tab = |show: Show| Tab {
        href: address(show),
        label: show.label(),
        current: show == query.show,
        count: found.iter().filter(|package| show.wants(package)).count(),
    };
    page(&List {
        tabs: Show::ALL.into_iter().map(tab).collect(),
        shown: packages.len(),
        matching: matching.len(),
        total: repositories.iter().map(|repository| repository.packages).sum(),
        more: if packages.len() < matching.len() { format!("{}&all=1", address(query.show)) } else { String::new() },
        query: ShownQuery { show: query.show.word(), q: text },
        packages,
        frame,
    })
}

#[derive(Template)]
#[template(path = "pages/package.html")]
struct One {
    frame: Frame,
    name: String,
    href: String,
    review_href: String,
    graph_href: String,
    version: String,
    published: String,
    review: bool,
    held: Option<String>,
    blocked: bool,
    pkgnames: Vec<String>,
    source: &'static str,
    cursor: Option<String>,
    keepers: Option<String>,
    sources: Vec<SourceRow>,
    script: Option<ScriptRow>,
    trigger: Option<String>,
    rebuild_triggers: Vec<String>,
    libraries: Vec<String>,
    libraries_unknown: Option<&'static str>,
    class: Option<String>,
    needs: Vec<Link>,
    needed_by: Vec<Link>,
    decision: Option<DecisionRow>,
    problems: Vec<ProblemRow>,
    builds: Vec<BuildRow>,
}

/// What its script printed.
struct ScriptRow {
    ran: Moment,
    pieces: Vec<Piece>,
    size: String,
    cut: bool,
    raw: String,
}

impl ScriptRow {
    fn new(script: &ScriptView, pkgbase: &PkgBase, now: Timestamp) -> Self {
        let mut decoder = LogDecoder::default();
        let mut pieces = decoder.push(script.last.as_bytes());
        pieces.extend(decoder.finish());
        Self {
            ran: Moment::new(script.ran, now),
            pieces,
            size: size(script.size as u64),
            cut: script.last.len() < script.size,
            raw: format!("/api/v1/packages/{}/script-log", path_part(pkgbase.as_str())),
        }
    }
}

/// One source, and how asking it goes.
struct SourceRow {
    role: &'static str,
    source: String,
    asked: String,
    answer: String,
    cursor: String,
    next: String,
    error: Option<String>,
}

impl SourceRow {
    fn new(source: &SourceView, now: Timestamp) -> Self {
        let when = |at: Option<Timestamp>| at.map(|at| time::ago(at, now));
        let answer = source.answer.as_deref().map(one_line).zip(when(source.answered));
        Self {
            role: source.role,
            source: one_line(&source.source),
            asked: when(source.asked).unwrap_or_else(|| "never".to_owned()),
            answer: answer.map(|(answer, when)| format!("{answer} ({when})")).unwrap_or_default(),
            cursor: source.cursor.as_deref().map(shortened).unwrap_or_default(),
            next: when(source.next).unwrap_or_else(|| "in the next run".to_owned()),
            error: source.error.as_deref().map(one_line),
        }
    }
}

pub async fn one(
    State(pages): State<Pages>,
    Extension(visitor): Who,
    Path(name): Path<String>,
) -> Result<Response, Fault> {
    let (frame, _) = pages.frame(visitor, "/packages").await?;
    let pkgbase = known_name(&name)?;
    let found = pages
        .face
        .package(&pkgbase)
        .await?
        .ok_or_else(|| Fault::not_found(format!("there is no package `{pkgbase}`")))?;
    page(&One::new(frame, &found))
}

/// What was dealt with, in one line; a commit by its first letters.
fn shortened(cursor: &str) -> String {
    cursor.parse::<Oid>().map_or_else(|_| one_line(cursor), |commit| commit.short())
}

/// The name of a package as it stands in an address.
pub fn known_name(name: &str) -> Result<PkgBase, Fault> {
    PkgBase::new(name).map_err(|error| Fault::not_found(error.to_string()))
}

impl One {
    fn new(frame: Frame, found: &PackagePage) -> Self {
        let row = PackageRow::new(&found.package, frame.now);
        let links = |names: &[PkgBase]| names.iter().map(|name| Link::package(name.as_str())).collect();
        Self {
            review_href: row.review_href,
            graph_href: format!("/graph?of={}", path_part(&row.pkgbase)),
            name: row.pkgbase,
            href: row.href,
            version: row.version,
            published: row.published,
            review: row.review,
            held: found.package.held.clone(),
            blocked: found.builds.iter().any(|build| build.state == BuildState::Blocked),
            pkgnames: found.pkgnames.clone(),
            source: row.source,
            cursor: found.cursor.as_ref().map(|cursor| cursor.commit.short()),
            keepers: found.keepers.as_deref().map(one_line),
            sources: found.sources.iter().map(|source| SourceRow::new(source, frame.now)).collect(),
            script: found.script.as_ref().map(|script| ScriptRow::new(script, &found.package.pkgbase, frame.now)),
            trigger: found.trigger.clone(),
            rebuild_triggers: found.rebuild_triggers.clone(),
            libraries: found.libraries.clone(),
            libraries_unknown: found.libraries_unknown,
            class: found.class.clone(),
            needs: links(&found.needs),
            needed_by: links(&found.needed_by),
            decision: found.decision.as_ref().map(DecisionRow::from_json),
            problems: found.findings.iter().map(ProblemRow::from_finding).collect(),
            builds: BuildRow::all(&found.builds, frame.now),
            frame,
        }
    }
}
