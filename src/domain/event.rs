//! What forges tell of by themselves, in the same words for all of them, and what follows from it.
//!
//! An event is a hint and never the truth: it wakes a run, which looks for itself. Losing one loses nothing.

use serde::{Deserialize, Serialize};

use super::name::Oid;

/// The most of a comment that is kept, in bytes: commands are short.
const MAX_TEXT: usize = 64 << 10;

/// Something that happened on a forge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Event {
    /// A branch or a tag has moved.
    Push(Push),
    /// Something about a pull or merge request.
    Review(Review),
    /// Somebody wrote a comment.
    Comment(Comment),
    /// Something about an issue.
    Issue(Issue),
    /// A check, a commit status, a pipeline or a job.
    Check(Check),
    /// The forge tries out whether it is heard.
    Ping,
    /// What nobody here needs.
    Other {
        /// What the forge calls it.
        name: String,
    },
}

/// A ref that has moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Push {
    /// The full name of the ref.
    #[serde(rename = "ref")]
    pub name: String,
    /// Where it was; `None` if it was made.
    pub before: Option<Oid>,
    /// Where it is; `None` if it was deleted.
    pub after: Option<Oid>,
}

/// Something about a pull or merge request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Review {
    /// Its number in the project.
    pub number: u64,
    /// What was done.
    pub action: ReviewAction,
    /// The branch that is to be merged, as its own repository calls it: that may be a fork.
    pub branch: String,
    /// The branch it is to be merged into.
    pub base: String,
    /// The commit this is about: of an approval the one that was approved, else the tip.
    pub head: Option<Oid>,
    /// Who did it, by the name the forge signs in.
    pub by: String,
}

/// What was done with a pull or merge request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReviewAction {
    /// It was opened.
    Opened,
    /// Its branch has moved.
    Updated,
    /// It was opened again.
    Reopened,
    /// It was merged.
    Merged,
    /// It was closed without being merged.
    Closed,
    /// Somebody approved it.
    Approved,
    /// Somebody took an approval back, or it was dismissed.
    Unapproved,
    /// Somebody wants it to be changed.
    ChangesRequested,
    /// Anything else: labels, title, a remark.
    Changed,
}

/// A comment on a pull or merge request, or on an issue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comment {
    /// The number of what it stands on.
    pub number: u64,
    /// Whether that is a pull or merge request; an issue otherwise.
    pub on_review: bool,
    /// The forge's id of the comment.
    pub id: u64,
    /// What was done with it.
    pub action: CommentAction,
    /// Who wrote what it says now, by the name the forge signs in: whoever edited it, not whose it was.
    pub author: String,
    /// What it says.
    pub text: String,
}

/// What was done with a comment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CommentAction {
    /// It was written.
    Created,
    /// Its text was changed.
    Edited,
    /// It was taken away.
    Deleted,
}

/// Something about an issue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issue {
    /// Its number in the project.
    pub number: u64,
    /// Whether its title or its text was changed.
    pub edited: bool,
    /// Who did it, by the name the forge signs in.
    pub by: String,
}

/// What somebody's check says of a commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// The commit.
    pub head: Oid,
    /// The name of the check.
    pub name: String,
    /// What it says.
    pub state: CheckState,
    /// Whether a person asks for it to be made again.
    pub again: bool,
}

/// What a check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckState {
    /// Nothing yet.
    Pending,
    /// It passed.
    Success,
    /// It failed, or broke.
    Failure,
    /// It was skipped, cancelled, or has no opinion.
    Neutral,
}

/// What kind of event it is: who handles it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKind {
    /// [`Event::Push`].
    Push,
    /// [`Event::Review`].
    Review,
    /// [`Event::Comment`].
    Comment,
    /// [`Event::Issue`].
    Issue,
    /// [`Event::Check`].
    Check,
    /// [`Event::Ping`].
    Ping,
    /// [`Event::Other`].
    Other,
}

impl EventKind {
    /// The kinds that wake a run.
    pub const WAKING: [Self; 2] = [Self::Push, Self::Review];
    /// The kinds that say that somebody asks for something.
    pub const ASKING: [Self; 2] = [Self::Comment, Self::Issue];

    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Review => "review",
            Self::Comment => "comment",
            Self::Issue => "issue",
            Self::Check => "check",
            Self::Ping => "ping",
            Self::Other => "other",
        }
    }
}

/// What has to be done about an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Look at the remote, and run if there is something to do.
    Wake,
    /// Keep it until whoever handles its kind has taken it.
    HandOn,
    /// Nothing: it is enough to have heard it.
    Nothing,
}

impl Event {
    /// What kind it is.
    #[must_use]
    pub const fn kind(&self) -> EventKind {
        match self {
            Self::Push(_) => EventKind::Push,
            Self::Review(_) => EventKind::Review,
            Self::Comment(_) => EventKind::Comment,
            Self::Issue(_) => EventKind::Issue,
            Self::Check(_) => EventKind::Check,
            Self::Ping => EventKind::Ping,
            Self::Other { .. } => EventKind::Other,
        }
    }

    /// What has to be done about it.
    #[must_use]
    pub fn purpose(&self) -> Purpose {
        match self {
            Self::Push(push) if push.name.starts_with("refs/heads/") => Purpose::Wake,
            Self::Review(review) if review.action != ReviewAction::Changed => Purpose::Wake,
            Self::Comment(_) | Self::Check(_) => Purpose::HandOn,
            Self::Issue(issue) if issue.edited => Purpose::HandOn,
            Self::Push(_) | Self::Review(_) | Self::Issue(_) | Self::Ping | Self::Other { .. } => Purpose::Nothing,
        }
    }
}

impl Comment {
    /// Its text, cut at a character if it is longer than anybody needs.
    #[must_use]
    pub fn bounded(mut text: String) -> String {
        text.truncate(text.floor_char_boundary(MAX_TEXT));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(name: &str) -> Event {
        Event::Push(Push { name: name.into(), before: None, after: None })
    }

    fn review(action: ReviewAction) -> Event {
        let (branch, base, by) = ("update-foo".into(), "main".into(), "alice".into());
        Event::Review(Review { number: 1, action, branch, base, head: None, by })
    }

    fn comment() -> Event {
        let (author, text) = ("alice".into(), "/pkgwarden rebuild".into());
        Event::Comment(Comment { number: 1, on_review: true, id: 2, action: CommentAction::Created, author, text })
    }

    fn issue(edited: bool) -> Event {
        Event::Issue(Issue { number: 1, edited, by: "alice".into() })
    }

    #[test]
    fn branches_and_decisions_wake_and_the_rest_does_not() {
        let purposes = [
            (push("refs/heads/main"), Purpose::Wake),
            (push("refs/heads/update-foo"), Purpose::Wake),
            (push("refs/tags/scheduled"), Purpose::Nothing),
            (review(ReviewAction::Merged), Purpose::Wake),
            (review(ReviewAction::Closed), Purpose::Wake),
            (review(ReviewAction::Changed), Purpose::Nothing),
            (comment(), Purpose::HandOn),
            (issue(true), Purpose::HandOn),
            (issue(false), Purpose::Nothing),
            (Event::Ping, Purpose::Nothing),
            (Event::Other { name: "star".into() }, Purpose::Nothing),
        ];
        for (event, purpose) in purposes {
            assert_eq!(event.purpose(), purpose, "{event:?}");
            assert!(purpose != Purpose::Wake || EventKind::WAKING.contains(&event.kind()), "{event:?}");
        }
    }

    #[test]
    fn events_are_written_and_read_with_the_word_of_their_kind() {
        let head = Oid::from_bytes([7; 20]);
        let check = Check { head, name: "ci".into(), state: CheckState::Failure, again: false };
        let events = [
            push("refs/heads/main"),
            review(ReviewAction::ChangesRequested),
            comment(),
            issue(true),
            Event::Check(check),
            Event::Ping,
            Event::Other { name: "star".into() },
        ];
        for event in events {
            let written = serde_json::to_value(&event).expect("plain data");
            assert_eq!(written["kind"], event.kind().as_str());
            assert_eq!(serde_json::from_value::<Event>(written).expect("readable"), event);
        }
    }

    #[test]
    fn a_long_comment_is_cut_between_characters() {
        let text = Comment::bounded("ä".repeat(MAX_TEXT));
        assert_eq!(text.len(), MAX_TEXT);
        assert_eq!(Comment::bounded(format!("x{}", "ä".repeat(MAX_TEXT))).len(), MAX_TEXT - 1);
        assert_eq!(Comment::bounded("short".into()), "short");
    }
}
