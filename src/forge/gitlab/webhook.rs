//! Deliveries of GitLab: signed as Standard Webhooks has it (`webhook-signature`, over id, time and body), or with
//! nothing but the plain token in `X-Gitlab-Token`.

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::domain::event::{Check, CheckState, Comment, CommentAction, Event, Issue, Review, ReviewAction};
use crate::domain::name::Oid;
use crate::forge::payload::{PushPayload, read, short};
use crate::forge::webhook::{Headers, Refusal, WINDOW, any_is, any_signs, base64};
use crate::sys::secret::SecretString;

/// What a signing token begins with; base64 of the key follows.
pub const SIGNING_PREFIX: &str = "whsec_";

/// Whether the delivery is signed with one of the signing tokens, or carries one of the plain tokens.
///
/// Where there are signing tokens, a signature that is there has to be right: a plain token beside it is no way around.
///
/// # Errors
/// [`Refusal::Unproven`] if not.
pub fn verify(
    headers: Headers<'_>,
    body: &[u8],
    tokens: &[SecretString],
    signing: &[Vec<u8>],
    now: Timestamp,
) -> Result<(), Refusal> {
    if let (Some(given), false) = (headers.get("webhook-signature"), signing.is_empty()) {
        return signed(headers, given, body, signing, now);
    }
    let given = headers.get("x-gitlab-token").ok_or(Refusal::Unproven("there is neither signature nor token"))?;
    any_is(tokens, given).then_some(()).ok_or(Refusal::Unproven("X-Gitlab-Token is none of the tokens"))
}

fn signed(headers: Headers<'_>, given: &str, body: &[u8], signing: &[Vec<u8>], now: Timestamp) -> Result<(), Refusal> {
    let missing = Refusal::Unproven("webhook-signature needs webhook-id and webhook-timestamp");
    let (Some(id), Some(time)) = (headers.get("webhook-id"), headers.get("webhook-timestamp")) else {
        return Err(missing);
    };
    let given: Vec<&str> = given.split(' ').collect();
    let parts = [id.as_bytes(), b".", time.as_bytes(), b".", body];
    let keys = signing.iter().map(Vec::as_slice);
    if !any_signs(keys, &parts, |mac| format!("v1,{}", base64(mac)), &given) {
        return Err(Refusal::Unproven("webhook-signature is not that of the body with any signing token"));
    }
    let near = time.parse::<i64>().is_ok_and(|time| time.abs_diff(now.as_second()) <= WINDOW.unsigned_abs());
    near.then_some(()).ok_or(Refusal::Unproven("webhook-timestamp is too far from the time here"))
}

/// GitLab's id of the delivery; the same when it is delivered again. Versions before 17.4 send none:
/// `X-Gitlab-Event-UUID` is shared by all that follows from one event.
#[must_use]
pub fn id(headers: Headers<'_>) -> Option<&str> {
    headers.get("webhook-id").or_else(|| headers.get("idempotency-key"))
}

/// What a delivery says. Its body names its kind, which a signature covers and the header is not.
///
/// # Errors
/// [`Refusal::Unreadable`] if what is needed of it is not there.
pub fn event(headers: Headers<'_>, body: &[u8]) -> Result<Event, Refusal> {
    #[derive(Deserialize)]
    struct Kind {
        object_kind: Option<String>,
    }
    let name = headers.get("x-gitlab-event").unwrap_or("no X-Gitlab-Event");
    let kind = read::<Kind>(name, body)?.object_kind.unwrap_or_default();
    Ok(match kind.as_str() {
        "push" | "tag_push" => read::<PushPayload>(name, body)?.into(),
        "merge_request" => read::<MergeRequestPayload>(name, body)?.into(),
        "note" => read::<NotePayload>(name, body)?.into_event(name)?,
        "issue" => read::<IssuePayload>(name, body)?.into(),
        "pipeline" => read::<PipelinePayload>(name, body)?.into(),
        "build" => read::<JobPayload>(name, body)?.into(),
        _ => Event::Other { name: short(name) },
    })
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Deserialize)]
struct Commit {
    id: Oid,
}

#[derive(Deserialize)]
struct MergeRequestPayload {
    user: User,
    object_attributes: MergeRequest,
}

#[derive(Deserialize)]
struct MergeRequest {
    iid: u64,
    source_branch: String,
    target_branch: String,
    last_commit: Option<Commit>,
    action: Option<String>,
    /// Only there if the branch has moved.
    oldrev: Option<IgnoredAny>,
}

impl From<MergeRequestPayload> for Event {
    fn from(payload: MergeRequestPayload) -> Self {
        let request = payload.object_attributes;
        let action = match request.action.as_deref().unwrap_or_default() {
            "open" => ReviewAction::Opened,
            "update" if request.oldrev.is_some() => ReviewAction::Updated,
            "reopen" => ReviewAction::Reopened,
            "merge" => ReviewAction::Merged,
            "close" => ReviewAction::Closed,
            "approved" | "approval" => ReviewAction::Approved,
            "unapproved" | "unapproval" => ReviewAction::Unapproved,
            _ => ReviewAction::Changed,
        };
        Self::Review(Review {
            number: request.iid,
            action,
            branch: request.source_branch,
            base: request.target_branch,
            head: request.last_commit.map(|commit| commit.id),
            by: payload.user.username,
        })
    }
}

#[derive(Deserialize)]
struct NotePayload {
    user: User,
    object_attributes: Note,
    merge_request: Option<Numbered>,
    issue: Option<Numbered>,
}

#[derive(Deserialize)]
struct Note {
    id: u64,
    #[serde(default, rename = "note")]
    text: String,
    noteable_type: String,
    #[serde(default)]
    system: bool,
    action: Option<String>,
}

#[derive(Deserialize)]
struct Numbered {
    iid: u64,
}

impl NotePayload {
    /// Comments on commits and snippets are nobody's here, and neither are remarks of GitLab itself.
    fn into_event(self, name: &str) -> Result<Event, Refusal> {
        let note = self.object_attributes;
        let place = match note.noteable_type.as_str() {
            "MergeRequest" => self.merge_request,
            "Issue" => self.issue,
            _ => return Ok(Event::Other { name: short(name) }),
        };
        if note.system {
            return Ok(Event::Other { name: short(name) });
        }
        let why = || format!("there is nothing about the {} that was commented on", short(&note.noteable_type));
        let place = place.ok_or_else(|| Refusal::Unreadable { event: short(name), why: why() })?;
        // Versions before 16.11 tell only of new comments, and do not say so.
        let edited = note.action.as_deref() == Some("update");
        Ok(Event::Comment(Comment {
            number: place.iid,
            on_review: note.noteable_type == "MergeRequest",
            id: note.id,
            action: if edited { CommentAction::Edited } else { CommentAction::Created },
            author: self.user.username,
            text: Comment::bounded(note.text),
        }))
    }
}

#[derive(Deserialize)]
struct IssuePayload {
    user: User,
    object_attributes: IssueFacts,
    #[serde(default)]
    changes: IssueChanges,
}

#[derive(Deserialize)]
struct IssueFacts {
    iid: u64,
}

/// Only what was changed is there.
#[derive(Default, Deserialize)]
struct IssueChanges {
    title: Option<IgnoredAny>,
    description: Option<IgnoredAny>,
}

impl From<IssuePayload> for Event {
    fn from(payload: IssuePayload) -> Self {
        let edited = payload.changes.title.is_some() || payload.changes.description.is_some();
        Self::Issue(Issue { number: payload.object_attributes.iid, edited, by: payload.user.username })
    }
}

#[derive(Deserialize)]
struct PipelinePayload {
    object_attributes: Pipeline,
}

#[derive(Deserialize)]
struct Pipeline {
    sha: Oid,
    status: String,
}

impl From<PipelinePayload> for Event {
    fn from(payload: PipelinePayload) -> Self {
        let Pipeline { sha, status } = payload.object_attributes;
        Self::Check(Check { head: sha, name: "pipeline".to_owned(), state: state(&status), again: false })
    }
}

#[derive(Deserialize)]
struct JobPayload {
    sha: Oid,
    build_name: String,
    build_status: String,
}

impl From<JobPayload> for Event {
    fn from(job: JobPayload) -> Self {
        Self::Check(Check { head: job.sha, name: job.build_name, state: state(&job.build_status), again: false })
    }
}

/// What the status of a pipeline or a job means.
fn state(status: &str) -> CheckState {
    match status {
        "success" => CheckState::Success,
        "failed" => CheckState::Failure,
        "canceled" | "canceling" | "skipped" => CheckState::Neutral,
        _ => CheckState::Pending,
    }
}
