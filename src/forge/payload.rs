//! What the payloads of several forges have in common, and how any of them is read.

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::webhook::Refusal;
use crate::domain::event::{Check, CheckState, Comment, CommentAction, Event, Issue, Push};
use crate::domain::name::{InvalidOid, Oid};

/// Reads the fields of an event that are needed.
pub(super) fn read<T: DeserializeOwned>(event: &str, body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body)
        .map_err(|error| Refusal::Unreadable { event: short(event), why: short(&error.to_string()) })
}

/// A text of somebody else, bounded.
pub(super) fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(120).collect()
}

/// A commit as forges write it: zeros stand for none.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct MaybeCommit(pub Option<Oid>);

impl TryFrom<String> for MaybeCommit {
    type Error = InvalidOid;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let id: Oid = text.parse()?;
        Ok(Self((id != Oid::from_bytes([0; 20])).then_some(id)))
    }
}

/// Somebody, by the name the forge signs in.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Login {
    pub login: String,
}

/// A ref that has moved: all write it alike.
#[derive(Deserialize)]
pub(super) struct PushPayload {
    r#ref: String,
    before: MaybeCommit,
    after: MaybeCommit,
}

impl From<PushPayload> for Event {
    fn from(push: PushPayload) -> Self {
        Self::Push(Push { name: push.r#ref, before: push.before.0, after: push.after.0 })
    }
}

/// What was done with a comment, in the words of GitHub and of those who took them over.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum CommentWord {
    Created,
    Edited,
    Deleted,
}

impl From<CommentWord> for CommentAction {
    fn from(word: CommentWord) -> Self {
        match word {
            CommentWord::Created => Self::Created,
            CommentWord::Edited => Self::Edited,
            CommentWord::Deleted => Self::Deleted,
        }
    }
}

/// Something about an issue, as GitHub and Gitea write it.
#[derive(Deserialize)]
pub(super) struct IssuePayload {
    action: String,
    issue: NumberedIssue,
    sender: Login,
}

#[derive(Deserialize)]
struct NumberedIssue {
    number: u64,
}

impl From<IssuePayload> for Event {
    fn from(payload: IssuePayload) -> Self {
        let edited = payload.action == "edited";
        Self::Issue(Issue { number: payload.issue.number, edited, by: payload.sender.login })
    }
}

/// A commit status, as GitHub and Gitea write it.
#[derive(Deserialize)]
pub(super) struct StatusPayload {
    sha: Oid,
    context: String,
    state: String,
}

impl From<StatusPayload> for Event {
    fn from(status: StatusPayload) -> Self {
        let state = match status.state.as_str() {
            "pending" => CheckState::Pending,
            "success" => CheckState::Success,
            "warning" | "skipped" => CheckState::Neutral,
            _ => CheckState::Failure,
        };
        Self::Check(Check { head: status.sha, name: status.context, state, again: false })
    }
}

/// A comment below an issue or a pull request, as GitHub and Gitea write it.
#[derive(Deserialize)]
pub(super) struct IssueCommentPayload {
    action: CommentWord,
    issue: CommentedIssue,
    comment: Written,
    sender: Login,
    /// Gitea says it so.
    #[serde(default)]
    is_pull: bool,
}

#[derive(Deserialize)]
struct CommentedIssue {
    number: u64,
    /// GitHub, and Gitea too, say it so.
    pull_request: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Written {
    id: u64,
    #[serde(default)]
    body: String,
}

impl From<IssueCommentPayload> for Event {
    fn from(payload: IssueCommentPayload) -> Self {
        Self::Comment(Comment {
            number: payload.issue.number,
            on_review: payload.is_pull || payload.issue.pull_request.is_some(),
            id: payload.comment.id,
            action: payload.action.into(),
            author: payload.sender.login,
            text: Comment::bounded(payload.comment.body),
        })
    }
}
