//! The forms of the pages: each changes one thing and leads to a page that shows it.

use axum::Router;
use axum::extract::{Extension, Form, FromRequestParts, Path, Query, State};
use axum::http::header::{LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;

use super::Server;
use super::access::{Arrival, check_origin};
use super::commands::{decide, person, refusal};
use super::read::pkgbase;
use crate::domain::name::{Oid, PkgBase};
use crate::domain::plan::Pipeline;
use crate::domain::target::Target;
use crate::web::fault::Fault;
use crate::web::frame::Visitor;
use crate::web::pages::sign_in_page;
use crate::web::text::path_part;

/// What started runs that come through here.
const TRIGGER: &str = "page";

/// The routes.
pub fn routes() -> Router<Server> {
    Router::new()
        .route("/login", post(sign_in))
        .route("/sign-in", get(sign_in_by_link))
        .route("/logout", post(sign_out))
        .route("/packages/{pkgbase}/deploy", post(deploy))
        .route("/packages/{pkgbase}/release", post(release))
        .route("/builds/{id}/cancel", post(cancel))
        .route("/builds/{id}/retry", post(retry))
        .route("/reviews/{pkgbase}/approve", post(approve))
        .route("/reviews/{pkgbase}/reject", post(reject))
}

/// A request that may use forms, once it also shows the key.
struct Sender {
    arrival: Arrival,
    headers: HeaderMap,
}

impl<S: Send + Sync> FromRequestParts<S> for Sender {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut axum::http::request::Parts, _: &S) -> Result<Self, Fault> {
        let arrival = parts.extensions.get().copied().unwrap_or(Arrival::Tcp);
        Ok(Self { arrival, headers: parts.headers.clone() })
    }
}

impl Sender {
    fn check(&self, server: &Server, key: &str) -> Result<(), Fault> {
        server.access().check_form(self.arrival, &self.headers, key)
    }
}

#[derive(Deserialize)]
struct Keyed {
    #[serde(default)]
    key: String,
}

#[derive(Deserialize)]
struct Decision {
    #[serde(default)]
    key: String,
    head: Oid,
    #[serde(default)]
    by: String,
    #[serde(default)]
    reason: String,
}

/// What stands in a link to sign in.
#[derive(Deserialize)]
struct Link {
    #[serde(default)]
    key: String,
}

#[derive(Deserialize)]
struct SignIn {
    token: String,
    #[serde(default)]
    to: String,
}

fn see(address: impl AsRef<str>) -> Response {
    (StatusCode::SEE_OTHER, [(LOCATION, address.as_ref())]).into_response()
}

async fn sign_in(
    State(server): State<Server>,
    Extension(visitor): Extension<Visitor>,
    sender: Sender,
    Form(form): Form<SignIn>,
) -> Result<Response, Fault> {
    check_origin(&sender.headers)?;
    if !server.access().signs_in(form.token.trim()) {
        let page = sign_in_page(server.pages(), visitor, form.to, true).await?;
        return Ok((StatusCode::OK, page).into_response());
    }
    let cookie = [(SET_COOKIE, server.access().session_cookie())];
    Ok((cookie, see(own_address(&form.to))).into_response())
}

/// The link that the controller prints when it starts. Whose page leads here does not matter: without the key nothing
/// comes of it.
async fn sign_in_by_link(
    State(server): State<Server>,
    Extension(visitor): Extension<Visitor>,
    Query(link): Query<Link>,
) -> Result<Response, Fault> {
    if !server.access().signs_in(&link.key) {
        let page = sign_in_page(server.pages(), visitor, "/".to_owned(), true).await?;
        return Ok((StatusCode::OK, page).into_response());
    }
    Ok(([(SET_COOKIE, server.access().session_cookie())], see("/")).into_response())
}

/// An address of ours, or the first page: nobody is sent elsewhere.
fn own_address(to: &str) -> &str {
    let is_ours =
        to.starts_with('/') && !to.starts_with("//") && to.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if is_ours { to } else { "/" }
}

async fn sign_out(State(server): State<Server>, sender: Sender, Form(form): Form<Keyed>) -> Result<Response, Fault> {
    sender.check(&server, &form.key)?;
    Ok(([(SET_COOKIE, server.access().no_session_cookie())], see("/")).into_response())
}

async fn deploy(
    State(server): State<Server>,
    sender: Sender,
    Path(name): Path<String>,
    Form(form): Form<Keyed>,
) -> Result<Response, Fault> {
    sender.check(&server, &form.key)?;
    let targets = vec![Target::package(&pkgbase(&name)?)];
    let run = server.detached(async |face| face.start(Pipeline::Deploy(targets), TRIGGER).await).await?;
    Ok(see(format!("/runs/{}", path_part(&run.run.id))))
}

async fn release(
    State(server): State<Server>,
    sender: Sender,
    Path(name): Path<String>,
    Form(form): Form<Keyed>,
) -> Result<Response, Fault> {
    sender.check(&server, &form.key)?;
    let pkgbase = pkgbase(&name)?;
    server.detached(async move |face| face.release(&pkgbase).await).await?;
    Ok(see(format!("/packages/{}", path_part(&name))))
}

async fn cancel(
    State(server): State<Server>,
    sender: Sender,
    Path(id): Path<String>,
    Form(form): Form<Keyed>,
) -> Result<Response, Fault> {
    sender.check(&server, &form.key)?;
    let address = format!("/builds/{}", path_part(&id));
    server.detached(async move |face| face.cancel(&id).await).await?;
    Ok(see(address))
}

async fn retry(
    State(server): State<Server>,
    sender: Sender,
    Path(id): Path<String>,
    Form(form): Form<Keyed>,
) -> Result<Response, Fault> {
    sender.check(&server, &form.key)?;
    let address = format!("/builds/{}", path_part(&id));
    server.detached(async move |face| face.retry(&id).await).await?;
    Ok(see(address))
}

async fn approve(
    server: State<Server>,
    sender: Sender,
    name: Path<String>,
    form: Form<Decision>,
) -> Result<Response, Fault> {
    let by = person(Some(&form.by))?;
    decided(server, sender, name, form, |pkgbase, head| Pipeline::Approve(pkgbase, head, by)).await
}

async fn reject(
    server: State<Server>,
    sender: Sender,
    name: Path<String>,
    form: Form<Decision>,
) -> Result<Response, Fault> {
    let refusal = refusal(Some(&form.by), Some(form.reason.clone()))?;
    decided(server, sender, name, form, |pkgbase, head| Pipeline::Reject(pkgbase, head, refusal)).await
}

async fn decided(
    State(server): State<Server>,
    sender: Sender,
    Path(name): Path<String>,
    Form(form): Form<Decision>,
    pipeline: impl FnOnce(PkgBase, Oid) -> Pipeline + Send + 'static,
) -> Result<Response, Fault> {
    sender.check(&server, &form.key)?;
    let pkgbase = pkgbase(&name)?;
    let deciding = server.clone();
    let run = server.detached(async move |_| decide(&deciding, pkgbase, form.head, pipeline, TRIGGER).await).await?;
    Ok(see(format!("/runs/{}", path_part(&run.run.id))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signing_in_leads_nowhere_else() {
        assert_eq!(own_address("/reviews/foo?x=1"), "/reviews/foo?x=1");
        for elsewhere in ["", "//evil.example", "https://evil.example", "/\\evil.example", "/\tx", "javascript:1"] {
            assert_eq!(own_address(elsewhere), "/");
        }
    }
}
