//! `/runs` and `/runs/{id}`: what a run decided, and why.

use askama::Template;
use axum::extract::{Extension, Path, State};
use axum::response::Response;
use serde_json::Value;

use super::{Who, page};
use crate::web::document::{items, short, text};
use crate::web::fault::Fault;
use crate::web::frame::{Frame, Pages};
use crate::web::link::{Link, package_href, review_href};
use crate::web::rows::{DecisionRow, ProblemRow, RunRow};
use crate::web::text::path_part;

#[derive(Template)]
#[template(path = "pages/runs.html")]
struct List {
    frame: Frame,
    runs: Vec<RunRow>,
}

pub async fn list(State(pages): State<Pages>, Extension(visitor): Who) -> Result<Response, Fault> {
    let (frame, _) = pages.frame(visitor, "/").await?;
    let runs = pages.face.runs(100).await?;
    page(&List { runs: runs.iter().map(|run| RunRow::new(run, frame.now)).collect(), frame })
}

#[derive(Template)]
#[template(path = "pages/run.html")]
struct One {
    frame: Frame,
    run: RunRow,
    repository: String,
    base: Vec<Base>,
    pending: bool,
    problems: Vec<ProblemRow>,
    acted: Vec<DecisionRow>,
    quiet: Vec<DecisionRow>,
    builds: Vec<Asked>,
    removed: Vec<String>,
    reviews: Vec<ReviewMove>,
    refs: Vec<RefMove>,
    document: String,
}

struct Base {
    label: &'static str,
    value: String,
}

struct Asked {
    href: String,
    pkgbase: String,
    class: String,
    reason: String,
    after: Vec<Link>,
}

struct ReviewMove {
    href: String,
    pkgbase: String,
    action: String,
    why: String,
}

struct RefMove {
    name: String,
    old: String,
    new: String,
}

pub async fn one(
    State(pages): State<Pages>,
    Extension(visitor): Who,
    Path(id): Path<String>,
) -> Result<Response, Fault> {
    let (frame, _) = pages.frame(visitor, "/").await?;
    let found = pages.face.run(&id).await?.ok_or_else(|| Fault::not_found(format!("there is no run `{id}`")))?;
    let document = &found.document;
    let (quiet, acted) = DecisionRow::of_document(document).into_iter().partition(|decision| decision.quiet);
    page(&One {
        run: RunRow::new(&found.run, frame.now),
        repository: found.run.repository.clone(),
        base: base(document),
        pending: document.is_null(),
        problems: ProblemRow::of_document(document),
        acted,
        quiet,
        builds: items(document, "builds").iter().map(asked).collect(),
        removed: items(document, "remove").iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        reviews: items(document, "reviews").iter().map(review_move).collect(),
        refs: items(document, "refs").iter().map(ref_move).collect(),
        document: format!("/api/v1/runs/{}", path_part(&id)),
        frame,
    })
}

fn base(document: &Value) -> Vec<Base> {
    [("Branch at", "main"), ("State at", "state"), ("Scheduled at", "scheduled")]
        .into_iter()
        .map(|(label, key)| Base { label, value: short(&document["base"], key) })
        .filter(|base| !base.value.is_empty())
        .collect()
}

fn asked(build: &Value) -> Asked {
    let pkgbase = text(build, "pkgbase");
    Asked {
        href: package_href(&pkgbase),
        pkgbase,
        class: text(build, "class"),
        reason: text(build, "reason"),
        after: items(build, "after").iter().filter_map(Value::as_str).map(Link::package).collect(),
    }
}

fn review_move(review: &Value) -> ReviewMove {
    let pkgbase = text(review, "pkgbase");
    ReviewMove { href: review_href(&pkgbase), pkgbase, action: text(review, "do"), why: text(review, "why") }
}

fn ref_move(moved: &Value) -> RefMove {
    let end = |key, absent: &str| match short(moved, key) {
        id if id.is_empty() => absent.to_owned(),
        id => id,
    };
    let gone = if moved["change"] == "delete" { "removed" } else { "a new commit" };
    RefMove { name: text(moved, "name"), old: end("old", "new"), new: end("new", gone) }
}
