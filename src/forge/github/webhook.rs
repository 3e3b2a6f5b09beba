//! Deliveries of GitHub: the body signed with HMAC-SHA256 in `X-Hub-Signature-256`.

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::domain::event::{Check, CheckState, Event, Review, ReviewAction};
use crate::domain::name::Oid;
use crate::forge::payload::{IssueCommentPayload, IssuePayload, Login, PushPayload, StatusPayload, read, short};
use crate::forge::webhook::{Headers, Refusal, any_signs, hex, keys};
use crate::sys::secret::SecretString;

/// Whether the body is signed with one of the secrets.
///
/// # Errors
/// [`Refusal::Unproven`] if not.
pub fn verify(headers: Headers<'_>, body: &[u8], secrets: &[SecretString]) -> Result<(), Refusal> {
    let given = headers.get("x-hub-signature-256").ok_or(Refusal::Unproven("there is no X-Hub-Signature-256"))?;
    let write = |mac: &[u8]| format!("sha256={}", hex(mac));
    let right = any_signs(keys(secrets), &[body], write, &[given]);
    right.then_some(()).ok_or(Refusal::Unproven("X-Hub-Signature-256 is not that of the body with any secret"))
}

/// GitHub's id of the delivery; the same when it is delivered again.
#[must_use]
pub fn id(headers: Headers<'_>) -> Option<&str> {
    headers.get("x-github-delivery")
}

/// What a delivery says.
///
/// # Errors
/// [`Refusal::Unreadable`] if what is needed of it is not there.
pub fn event(headers: Headers<'_>, body: &[u8]) -> Result<Event, Refusal> {
    parse(headers.get("x-github-event").unwrap_or("no X-GitHub-Event"), body)
}

/// Reads an event by GitHub's name for it.
///
/// # Errors
/// [`Refusal::Unreadable`] if what is needed of it is not there.
pub fn parse(name: &str, body: &[u8]) -> Result<Event, Refusal> {
    Ok(match name {
        "push" => read::<PushPayload>(name, body)?.into(),
        "pull_request" => read::<PullRequestPayload>(name, body)?.into(),
        "pull_request_review" => read::<PullRequestReviewPayload>(name, body)?.into(),
        "issues" => read::<IssuePayload>(name, body)?.into(),
        "issue_comment" => read::<IssueCommentPayload>(name, body)?.into(),
        "check_run" => read::<CheckRunPayload>(name, body)?.into(),
        "check_suite" => read::<CheckSuitePayload>(name, body)?.into(),
        "status" => read::<StatusPayload>(name, body)?.into(),
        "ping" => Event::Ping,
        other => {
            read::<IgnoredAny>(other, body)?;
            Event::Other { name: short(other) }
        }
    })
}

#[derive(Deserialize)]
struct Branch {
    r#ref: String,
    sha: Oid,
}

#[derive(Deserialize)]
struct PullRequest {
    number: u64,
    head: Branch,
    base: Branch,
    #[serde(default)]
    merged: bool,
}

impl PullRequest {
    fn review(self, action: ReviewAction, head: Option<Oid>, by: Login) -> Event {
        let head = head.or(Some(self.head.sha));
        let (branch, base) = (self.head.r#ref, self.base.r#ref);
        Event::Review(Review { number: self.number, action, branch, base, head, by: by.login })
    }
}

#[derive(Deserialize)]
struct PullRequestPayload {
    action: String,
    pull_request: PullRequest,
    sender: Login,
}

impl From<PullRequestPayload> for Event {
    fn from(payload: PullRequestPayload) -> Self {
        let action = match payload.action.as_str() {
            "opened" => ReviewAction::Opened,
            "synchronize" => ReviewAction::Updated,
            "reopened" => ReviewAction::Reopened,
            "closed" if payload.pull_request.merged => ReviewAction::Merged,
            "closed" => ReviewAction::Closed,
            _ => ReviewAction::Changed,
        };
        payload.pull_request.review(action, None, payload.sender)
    }
}

#[derive(Deserialize)]
struct PullRequestReviewPayload {
    action: String,
    review: GivenReview,
    pull_request: PullRequest,
    sender: Login,
}

#[derive(Deserialize)]
struct GivenReview {
    state: String,
    commit_id: Option<Oid>,
}

impl From<PullRequestReviewPayload> for Event {
    fn from(payload: PullRequestReviewPayload) -> Self {
        let action = match (payload.action.as_str(), payload.review.state.as_str()) {
            ("submitted", "approved") => ReviewAction::Approved,
            ("submitted", "changes_requested") => ReviewAction::ChangesRequested,
            ("dismissed", _) => ReviewAction::Unapproved,
            _ => ReviewAction::Changed,
        };
        payload.pull_request.review(action, payload.review.commit_id, payload.sender)
    }
}

#[derive(Deserialize)]
struct CheckRunPayload {
    action: String,
    check_run: CheckRun,
}

#[derive(Deserialize)]
struct CheckRun {
    name: String,
    head_sha: Oid,
    conclusion: Option<String>,
}

impl From<CheckRunPayload> for Event {
    fn from(payload: CheckRunPayload) -> Self {
        let CheckRun { name, head_sha, conclusion } = payload.check_run;
        let state = concluded(conclusion.as_deref());
        Self::Check(Check { head: head_sha, name, state, again: payload.action == "rerequested" })
    }
}

#[derive(Deserialize)]
struct CheckSuitePayload {
    action: String,
    check_suite: CheckSuite,
}

#[derive(Deserialize)]
struct CheckSuite {
    head_sha: Oid,
    conclusion: Option<String>,
    app: App,
}

#[derive(Deserialize)]
struct App {
    name: String,
}

impl From<CheckSuitePayload> for Event {
    fn from(payload: CheckSuitePayload) -> Self {
        let CheckSuite { head_sha, conclusion, app } = payload.check_suite;
        let state = concluded(conclusion.as_deref());
        Self::Check(Check { head: head_sha, name: app.name, state, again: payload.action == "rerequested" })
    }
}

/// What the conclusion of a check means; it has none before it is completed.
fn concluded(conclusion: Option<&str>) -> CheckState {
    match conclusion {
        None => CheckState::Pending,
        Some("success") => CheckState::Success,
        Some("neutral" | "skipped" | "cancelled" | "stale") => CheckState::Neutral,
        Some(_) => CheckState::Failure,
    }
}
