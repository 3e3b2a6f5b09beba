//! `/reviews` and `/reviews/{pkgbase}`: what waits for a person, why, and what it would change.

use askama::Template;
use axum::extract::{Extension, Path, State};
use axum::response::Response;

use super::packages::known_name;
use super::{Who, page};
use crate::controller::view::ReviewView;
use crate::web::badge::{Badge, weight_badge};
use crate::web::diff::{self, FileView};
use crate::web::fault::Fault;
use crate::web::frame::{Frame, Pages};
use crate::web::link::{package_href, review_href};
use crate::web::reasons::{ReasonGroup, reason_groups};
use crate::web::rows;
use crate::web::text::visible;

/// Something for a person to do.
pub struct Task {
    /// How urgent it looks.
    pub badge: Badge,
    /// Where it is done.
    pub href: String,
    /// The package.
    pub pkgbase: String,
    /// The versions it is about; may be empty.
    pub versions: String,
    /// One line.
    pub note: String,
    /// The words of the link.
    pub action: &'static str,
}

/// The task that a review is.
#[must_use]
pub fn task_of_review(review: &ReviewView) -> Task {
    let heaviest = review.verdict.reasons.iter().filter(|reason| reason.severity == review.verdict.severity);
    let messages: Vec<_> = heaviest.map(|reason| reason.message.as_str()).collect();
    let note = match messages.as_slice() {
        [] => "see what changes".to_owned(),
        [only] => (*only).to_owned(),
        [first, rest @ ..] => format!("{first} (and {} more)", rest.len()),
    };
    let note = match &review.group {
        Some(group) => format!("group {group}: {note}"),
        None => note,
    };
    Task {
        badge: weight_badge(review.verdict.severity),
        href: review_href(review.pkgbase.as_str()),
        pkgbase: review.pkgbase.to_string(),
        versions: versions(review),
        note,
        action: "Review",
    }
}

fn versions(review: &ReviewView) -> String {
    let text = |version: &Option<crate::domain::version::Version>| {
        version.as_ref().map(ToString::to_string).unwrap_or_default()
    };
    rows::versions(&text(&review.verdict.old_version), &text(&review.verdict.new_version))
}

#[derive(Template)]
#[template(path = "pages/reviews.html")]
struct List {
    frame: Frame,
    reviews: Vec<Task>,
}

pub async fn list(State(pages): State<Pages>, Extension(visitor): Who) -> Result<Response, Fault> {
    let (frame, _) = pages.frame(visitor, "/reviews").await?;
    let mut reviews = pages.face.reviews().await?;
    reviews.sort_by_key(|review| std::cmp::Reverse(review.verdict.severity));
    page(&List { frame, reviews: reviews.iter().map(task_of_review).collect() })
}

#[derive(Template)]
#[template(path = "pages/review.html")]
struct One {
    frame: Frame,
    name: String,
    href: String,
    package_href: String,
    versions: String,
    badge: Badge,
    branch: String,
    head: String,
    short: String,
    conflict: Option<String>,
    needed: u8,
    approved_by: String,
    message: String,
    reasons: Vec<ReasonGroup>,
    files: Vec<FileView>,
}

pub async fn one(
    State(pages): State<Pages>,
    Extension(visitor): Who,
    Path(name): Path<String>,
) -> Result<Response, Fault> {
    let (frame, _) = pages.frame(visitor, "/reviews").await?;
    let pkgbase = known_name(&name)?;
    let review = pages.face.review(&pkgbase).await?;
    let review = review.ok_or_else(|| {
        Fault::not_found(format!("no update of `{pkgbase}` waits for a person"))
            .hint("it may have been decided already")
    })?;
    page(&One {
        frame,
        href: review_href(pkgbase.as_str()),
        package_href: package_href(pkgbase.as_str()),
        name: pkgbase.to_string(),
        versions: versions(&review),
        badge: weight_badge(review.verdict.severity),
        short: review.head.short(),
        head: review.head.to_string(),
        reasons: reason_groups(&review.verdict.reasons),
        files: review.files.iter().map(diff::view).collect(),
        branch: review.branch,
        conflict: review.conflict,
        needed: review.approvals.needed,
        approved_by: review.approvals.by.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        message: visible(&review.message).into_owned(),
    })
}
