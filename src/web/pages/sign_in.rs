//! The page to sign in on.

use askama::Template;
use axum::extract::{Extension, Query, State};
use axum::response::Response;

use super::{Who, page};
use crate::web::fault::Fault;
use crate::web::frame::{Frame, Pages, Visitor};

#[derive(Template)]
#[template(path = "pages/login.html")]
struct SignIn {
    frame: Frame,
    wrong: bool,
    to: String,
}

/// Where to go afterwards.
#[derive(Debug, serde::Deserialize)]
pub struct Destination {
    #[serde(default)]
    to: String,
}

pub async fn form(
    State(pages): State<Pages>,
    Extension(visitor): Who,
    Query(query): Query<Destination>,
) -> Result<Response, Fault> {
    sign_in_page(&pages, visitor, query.to, false).await
}

/// The form, after a wrong token or before any.
pub async fn sign_in_page(pages: &Pages, visitor: Visitor, to: String, wrong: bool) -> Result<Response, Fault> {
    if !visitor.can_sign_in {
        return Err(Fault::not_found("there is nothing to sign in with: no token is configured")
            .hint("set `server.token_file`"));
    }
    let (frame, _) = pages.frame(visitor, "").await?;
    page(&SignIn { frame, wrong, to })
}
