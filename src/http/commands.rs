//! The API's commands. Who may give them is settled before they are reached ([`super::idempotency`]).

use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, Path, Request, State};
use axum::{Json, http::StatusCode};
use serde::Deserialize;

use super::Server;
use super::read::{build_of, pkgbase, review_of};
use crate::config::package::addition;
use crate::controller::face::AuditRequest;
use crate::controller::view::{BuildPage, PackagePage, RepositoryView, RunPage};
use crate::domain::addition::Provenance;
use crate::domain::audit::{Audit, Indicator};
use crate::domain::name::{Oid, PkgBase};
use crate::domain::plan::{Pipeline, Refusal};
use crate::domain::policy::Person;
use crate::domain::target::Target;
use crate::web::fault::Fault;

/// What started runs that come through here.
const TRIGGER: &str = "api";

/// A body that has to be JSON; what is wrong with it is said.
pub struct Told<T>(pub T);

impl<S: Send + Sync, T: serde::de::DeserializeOwned> FromRequest<S> for Told<T> {
    type Rejection = Fault;

    async fn from_request(request: Request, state: &S) -> Result<Self, Fault> {
        let Json(told) = Json::from_request(request, state).await?;
        Ok(Self(told))
    }
}

impl From<JsonRejection> for Fault {
    fn from(rejection: JsonRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text()).hint("/api/openapi.json says what belongs here")
    }
}

/// Packages, as `PKG`, `PKG/CLASS` or `all`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Packages {
    packages: Vec<String>,
}

impl Packages {
    fn targets(&self) -> Result<Vec<Target>, Fault> {
        let wrong = |message: String| Fault::new(StatusCode::UNPROCESSABLE_ENTITY, message);
        let targets = Target::parse_all(self.packages.iter().map(String::as_str));
        let targets = targets.map_err(|error| wrong(error.to_string()).hint("name PKG, PKG/CLASS or `all`"))?;
        if targets.is_empty() {
            return Err(wrong("no package is named".to_owned()).hint("name one, or `all`"));
        }
        Ok(targets)
    }
}

/// `POST /api/v1/deploy`
pub async fn deploy(State(server): State<Server>, Told(packages): Told<Packages>) -> Result<Json<RunPage>, Fault> {
    let run = server.face().start(Pipeline::Deploy(packages.targets()?), TRIGGER).await?;
    refuse_discarded(&run)?;
    Ok(Json(run))
}

/// Whoever asks for builds and gets none of them is told so by the status, too.
fn refuse_discarded(run: &RunPage) -> Result<(), Fault> {
    let listed = |value: &serde_json::Value| value.as_array().cloned().unwrap_or_default();
    let discarded = listed(&run.document["outcome"]["discarded"]);
    if discarded.is_empty() || listed(&run.document["builds"]).len() > discarded.len() {
        return Ok(());
    }
    let names: Vec<String> = discarded.iter().filter_map(|name| Some(format!("`{}`", name.as_str()?))).collect();
    let message = format!("nothing is enqueued: being built already are {}, and policy.overlap is \"discard\"", names.join(", "));
    Err(Fault::new(StatusCode::CONFLICT, message).hint("ask again when these builds have ended"))
}

/// `POST /api/v1/bump`
pub async fn bump(State(server): State<Server>, Told(packages): Told<Packages>) -> Result<Json<RunPage>, Fault> {
    start(&server, Pipeline::Bump(packages.targets()?)).await
}

/// Packages that are added, and who asked for them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Newcomers {
    packages: Vec<String>,
    #[serde(default)]
    source: Option<String>,
    #[serde(default)]
    origin: Option<String>,
    #[serde(default)]
    reason: Option<String>,
}

/// `POST /api/v1/add`
pub async fn add(State(server): State<Server>, Told(told): Told<Newcomers>) -> Result<Json<RunPage>, Fault> {
    let refused = |why: String| Fault::new(StatusCode::UNPROCESSABLE_ENTITY, why);
    some_named(&told.packages)?;
    let additions = told.packages.iter().map(|text| addition(text, told.source.as_deref()));
    let additions = additions.collect::<Result<_, _>>().map_err(refused)?;
    let provenance = Provenance::new(told.origin.as_deref(), told.reason.as_deref());
    start(&server, Pipeline::Add(additions, provenance.map_err(|error| refused(error.to_string()))?)).await
}

/// Packages that are dropped, and why.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leavers {
    packages: Vec<String>,
    #[serde(default)]
    reason: Option<String>,
}

/// `POST /api/v1/drop`
pub async fn drop(State(server): State<Server>, Told(told): Told<Leavers>) -> Result<Json<RunPage>, Fault> {
    some_named(&told.packages)?;
    start(&server, Pipeline::Drop(told.packages, told.reason)).await
}

fn some_named<T>(packages: &[T]) -> Result<(), Fault> {
    let nobody = || Fault::new(StatusCode::UNPROCESSABLE_ENTITY, "no package is named").hint("name one");
    if packages.is_empty() { Err(nobody()) } else { Ok(()) }
}

/// Which pipeline to run.
#[derive(Debug, Deserialize)]
#[serde(tag = "pipeline", rename_all = "kebab-case", deny_unknown_fields)]
pub enum RunRequest {
    /// What people committed.
    OnCommit,
    /// That, and every source.
    OnSchedule,
    /// The packages that wait for a trigger.
    Trigger {
        /// Its name.
        name: String,
    },
}

/// `POST /api/v1/run`
pub async fn run(State(server): State<Server>, Told(request): Told<RunRequest>) -> Result<Json<RunPage>, Fault> {
    let pipeline = match request {
        RunRequest::OnCommit => Pipeline::OnCommit,
        RunRequest::OnSchedule => Pipeline::OnSchedule,
        RunRequest::Trigger { name } => Pipeline::Trigger(name),
    };
    start(&server, pipeline).await
}

async fn start(server: &Server, pipeline: Pipeline) -> Result<Json<RunPage>, Fault> {
    Ok(Json(server.face().start(pipeline, TRIGGER).await?))
}

/// Which packages, and why.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Because {
    packages: Vec<PkgBase>,
    reason: String,
}

/// `POST /api/v1/quarantine`
pub async fn quarantine(State(server): State<Server>, Told(told): Told<Because>) -> Result<Json<RunPage>, Fault> {
    with_reason(&server, told, Pipeline::Quarantine).await
}

/// `POST /api/v1/lift`
pub async fn lift(State(server): State<Server>, Told(told): Told<Because>) -> Result<Json<RunPage>, Fault> {
    with_reason(&server, told, Pipeline::Lift).await
}

async fn with_reason(
    server: &Server,
    Because { packages, reason }: Because,
    pipeline: fn(Vec<PkgBase>, String) -> Pipeline,
) -> Result<Json<RunPage>, Fault> {
    some_named(&packages)?;
    if reason.trim().is_empty() {
        let fault = Fault::new(StatusCode::UNPROCESSABLE_ENTITY, "there is no reason");
        return Err(fault.hint("say why, for whoever reads it later"));
    }
    start(server, pipeline(packages, reason)).await
}

/// What to look for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditBody {
    indicators: Vec<String>,
    #[serde(default)]
    commits: Option<usize>,
}

/// `POST /api/v1/audit`
pub async fn audit(State(server): State<Server>, Told(told): Told<AuditBody>) -> Result<Json<Audit>, Fault> {
    let refused = |why: String| Fault::new(StatusCode::UNPROCESSABLE_ENTITY, why);
    let indicators = told.indicators.iter().map(|written| Indicator::parse(written));
    let indicators = indicators.collect::<Result<Vec<_>, _>>().map_err(refused)?;
    if indicators.is_empty() {
        return Err(refused("there is no indicator to look for".to_owned()).hint("name one"));
    }
    Ok(Json(server.face().audit(AuditRequest { indicators, commits: told.commits }).await?))
}

/// `POST /api/v1/pause`
pub async fn pause(State(server): State<Server>) -> Result<Json<Vec<RepositoryView>>, Fault> {
    server.face().pause().await?;
    Ok(Json(server.face().repositories().await?))
}

/// `POST /api/v1/resume`
pub async fn resume(State(server): State<Server>) -> Result<Json<Vec<RepositoryView>>, Fault> {
    server.face().resume().await?;
    Ok(Json(server.face().repositories().await?))
}

/// `POST /api/v1/builds/{id}/cancel`
pub async fn cancel(State(server): State<Server>, Path(id): Path<String>) -> Result<Json<BuildPage>, Fault> {
    server.face().cancel(&id).await?;
    build_of(&server, &id).await
}

/// `POST /api/v1/builds/{id}/retry`
pub async fn retry(State(server): State<Server>, Path(id): Path<String>) -> Result<Json<BuildPage>, Fault> {
    server.face().retry(&id).await?;
    build_of(&server, &id).await
}

/// `POST /api/v1/packages/{pkgbase}/release`
pub async fn release(State(server): State<Server>, Path(name): Path<String>) -> Result<Json<PackagePage>, Fault> {
    let pkgbase = pkgbase(&name)?;
    server.face().release(&pkgbase).await?;
    let found = server.face().package(&pkgbase).await?;
    found.map(Json).ok_or_else(|| Fault::not_found(format!("there is no package `{pkgbase}`")))
}

/// What exactly is rejected, by whom and why.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decided {
    head: Oid,
    by: Option<String>,
    reason: Option<String>,
}

/// What exactly is approved, and by whom.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approved {
    head: Oid,
    by: Option<String>,
}

/// `POST /api/v1/reviews/{pkgbase}/approve`
pub async fn approve(
    State(server): State<Server>,
    Path(name): Path<String>,
    Told(approved): Told<Approved>,
) -> Result<Json<RunPage>, Fault> {
    let person = person(approved.by.as_deref())?;
    let approve = |pkgbase, head| Pipeline::Approve(pkgbase, head, person);
    decide(&server, pkgbase(&name)?, approved.head, approve, TRIGGER).await.map(Json)
}

/// Who approves, by the name that is sent: all have the same token. Whoever sends none is always the same
/// somebody, so that nobody counts twice by mistake.
pub fn person(name: Option<&str>) -> Result<Person, Fault> {
    let name = name.filter(|name| !name.is_empty()).unwrap_or("somebody");
    Person::new(name).map_err(|error| Fault::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()))
}

/// `POST /api/v1/reviews/{pkgbase}/reject`
pub async fn reject(
    State(server): State<Server>,
    Path(name): Path<String>,
    Told(decided): Told<Decided>,
) -> Result<Json<RunPage>, Fault> {
    let refusal = refusal(decided.by.as_deref(), decided.reason)?;
    let reject = |pkgbase, head| Pipeline::Reject(pkgbase, head, refusal);
    decide(&server, pkgbase(&name)?, decided.head, reject, TRIGGER).await.map(Json)
}

/// What is said of a rejection; nobody has to say anything.
pub fn refusal(by: Option<&str>, reason: Option<String>) -> Result<Refusal, Fault> {
    let by = by.filter(|by| !by.is_empty()).map(|by| person(Some(by)).map(|person| person.to_string())).transpose()?;
    Ok(Refusal { by, reason: reason.filter(|reason| !reason.trim().is_empty()), content: None })
}

/// Decides about a review, if it is still what was seen.
pub async fn decide(
    server: &Server,
    pkgbase: PkgBase,
    head: Oid,
    pipeline: impl FnOnce(PkgBase, Oid) -> Pipeline,
    trigger: &str,
) -> Result<RunPage, Fault> {
    let review = review_of(server, &pkgbase).await?;
    if review.head != head {
        let message = format!("the review of `{pkgbase}` has moved from {} to {}", head.short(), review.head.short());
        return Err(Fault::new(StatusCode::CONFLICT, message).hint("read it again and decide about what is there now"));
    }
    Ok(server.face().start(pipeline(pkgbase, head), trigger).await?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::http::world::run;

    /// What is answered to who asked for these builds, of which these were dropped.
    fn refused(builds: &[&str], discarded: &[&str]) -> Option<(StatusCode, String)> {
        let builds: Vec<_> = builds.iter().map(|name| json!({ "pkgbase": name })).collect();
        let document = json!({"builds": builds, "outcome": {"enqueued": 0, "discarded": discarded}});
        let answer = refuse_discarded(&RunPage { run: run("r1", "deploy", "api"), document });
        answer.err().map(|fault| (fault.status, fault.detail))
    }

    #[test]
    fn who_asks_for_builds_that_are_all_dropped_is_told_that_there_is_a_conflict() {
        assert_eq!(refused(&["a"], &[]), None);
        assert_eq!(refused(&["a", "b"], &["a"]), None, "one of them is built");
        assert_eq!(refused(&[], &[]), None);
        let (status, detail) = refused(&["a", "b"], &["a", "b"]).expect("nothing is built");
        assert_eq!(status, StatusCode::CONFLICT);
        assert_eq!(detail, "nothing is enqueued: being built already are `a`, `b`, and policy.overlap is \"discard\"");
    }
}
