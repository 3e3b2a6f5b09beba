//! One file per page or pair of pages: what it asks, its view model, its template.

mod builds;
mod generations;
mod graph;
mod overview;
mod packages;
mod reviews;
mod runs;
mod sign_in;

use askama::Template;
use axum::Router;
use axum::extract::Extension;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::fault::Fault;
use super::frame::{Frame, Pages, Visitor};

/// Who looks, as [`crate::http`] found out.
type Who = Extension<Visitor>;

/// The routes of all pages. The layers around them put a [`Visitor`] into every request.
pub fn routes() -> Router<Pages> {
    Router::new()
        .route("/", get(overview::overview))
        .route("/packages", get(packages::list))
        .route("/packages/{pkgbase}", get(packages::one))
        .route("/queue", get(builds::queue))
        .route("/builds", get(builds::list))
        .route("/builds/{id}", get(builds::one))
        .route("/runs", get(runs::list))
        .route("/runs/{id}", get(runs::one))
        .route("/reviews", get(reviews::list))
        .route("/reviews/{pkgbase}", get(reviews::one))
        .route("/generations", get(generations::list))
        .route("/generations/{repository}/{number}", get(generations::one))
        .route("/graph", get(graph::graph))
        .route("/login", get(sign_in::form))
}

/// A page as an answer.
fn page(template: &impl Template) -> Result<Response, Fault> {
    match template.render() {
        Ok(html) => Ok(([(CONTENT_TYPE, "text/html; charset=utf-8")], html).into_response()),
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "a page cannot be rendered");
            Err(Fault::new(StatusCode::INTERNAL_SERVER_ERROR, "the page cannot be shown"))
        }
    }
}

/// A page with the form to sign in.
pub use sign_in::sign_in_page;

#[derive(Template)]
#[template(path = "pages/fault.html")]
struct FaultPage<'a> {
    frame: Frame,
    fault: &'a Fault,
    request_id: &'a str,
}

/// The page that says that a request failed.
pub async fn fault_page(pages: &Pages, visitor: Visitor, fault: &Fault, request_id: &str) -> Response {
    let now = pages.clock.now();
    let repositories = pages.face.repositories().await.unwrap_or_default();
    let frame = Frame::new(visitor, &repositories, "", now);
    let answer = page(&FaultPage { frame, fault, request_id }).unwrap_or_else(|_| fault.detail.clone().into_response());
    (fault.status, answer).into_response()
}
