//! Deliveries of Gitea and Forgejo: the body signed with HMAC-SHA256, in hexadecimal digits.

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::domain::event::{Event, Review, ReviewAction};
use crate::forge::payload::{IssueCommentPayload, IssuePayload, Login, PushPayload, StatusPayload, read, short};
use crate::forge::webhook::{Headers, Refusal, any_signs, hex, keys};
use crate::sys::secret::SecretString;

/// The value of a header that Forgejo sends under its own name and under Gitea's.
fn named<'a>(headers: Headers<'a>, what: &str) -> Option<&'a str> {
    headers.get(&format!("x-forgejo-{what}")).or_else(|| headers.get(&format!("x-gitea-{what}")))
}

/// Whether the body is signed with one of the secrets.
///
/// # Errors
/// [`Refusal::Unproven`] if not.
pub fn verify(headers: Headers<'_>, body: &[u8], secrets: &[SecretString]) -> Result<(), Refusal> {
    let none = Refusal::Unproven("there is neither X-Forgejo-Signature nor X-Gitea-Signature");
    let given = named(headers, "signature").ok_or(none)?;
    let right = any_signs(keys(secrets), &[body], hex, &[given]);
    right.then_some(()).ok_or(Refusal::Unproven("the signature is not that of the body with any secret"))
}

/// The forge's id of the delivery; the same when it is delivered again.
#[must_use]
pub fn id(headers: Headers<'_>) -> Option<&str> {
    named(headers, "delivery")
}

/// What a delivery says.
///
/// # Errors
/// [`Refusal::Unreadable`] if what is needed of it is not there.
pub fn event(headers: Headers<'_>, body: &[u8]) -> Result<Event, Refusal> {
    parse(named(headers, "event").unwrap_or("no X-Gitea-Event"), body)
}

/// Reads an event by Gitea's name for it.
///
/// # Errors
/// [`Refusal::Unreadable`] if what is needed of it is not there.
pub fn parse(name: &str, body: &[u8]) -> Result<Event, Refusal> {
    let review = |given: Option<ReviewAction>| read::<PullRequestPayload>(name, body).map(|it| it.review(given));
    Ok(match name {
        "push" => read::<PushPayload>(name, body)?.into(),
        "pull_request" => review(None)?,
        "pull_request_approved" => review(Some(ReviewAction::Approved))?,
        "pull_request_rejected" => review(Some(ReviewAction::ChangesRequested))?,
        "pull_request_comment" => review(Some(ReviewAction::Changed))?,
        "issues" => read::<IssuePayload>(name, body)?.into(),
        "issue_comment" => read::<IssueCommentPayload>(name, body)?.into(),
        "status" => read::<StatusPayload>(name, body)?.into(),
        other => {
            read::<IgnoredAny>(other, body)?;
            Event::Other { name: short(other) }
        }
    })
}

#[derive(Deserialize)]
struct PullRequestPayload {
    action: String,
    pull_request: PullRequest,
    sender: Login,
    /// The commit that was looked at; empty if it is not about one.
    #[serde(default)]
    commit_id: String,
}

#[derive(Deserialize)]
struct PullRequest {
    number: u64,
    #[serde(default)]
    merged: bool,
    head: Branch,
    base: Branch,
}

#[derive(Deserialize)]
struct Branch {
    r#ref: String,
    /// Empty if the branch is gone.
    #[serde(default)]
    sha: String,
}

impl PullRequestPayload {
    fn review(self, given: Option<ReviewAction>) -> Event {
        let request = self.pull_request;
        let action = given.unwrap_or(match self.action.as_str() {
            "opened" => ReviewAction::Opened,
            "synchronized" => ReviewAction::Updated,
            "reopened" => ReviewAction::Reopened,
            "closed" if request.merged => ReviewAction::Merged,
            "closed" => ReviewAction::Closed,
            _ => ReviewAction::Changed,
        });
        Event::Review(Review {
            number: request.number,
            action,
            branch: request.head.r#ref,
            base: request.base.r#ref,
            head: self.commit_id.parse().or_else(|_| request.head.sha.parse()).ok(),
            by: self.sender.login,
        })
    }
}
