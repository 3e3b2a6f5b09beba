//! Where the monorepo is hosted, and people talk about it: reviews, comments, statuses.
//!
//! A forge is told what should be there and shows what is; what follows from that is decided elsewhere. Everything
//! that changes something can be said twice: what is so already stays so.
//!
//! Reviews that are kept only as branches need nobody to be told: for `forge.kind = "local"` there is no [`Forge`], and
//! whoever asks for one gets `None`.

mod delegate;
pub mod gitea;
pub mod github;
pub mod gitlab;
mod mark;
mod payload;
pub mod webhook;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::Timestamp;

use crate::domain::name::Oid;
use crate::domain::review::{Comment, Offer, OwnIssue, Permission, Seen, Status, Thread, Wanted};

/// Whether a branch is one of reviews: `update-<pkgbase>`, or `updates-<group>`.
fn is_of_review(branch: &str) -> bool {
    branch.starts_with("update-") || branch.starts_with("updates-")
}

/// Why a forge did not do something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForgeError {
    /// It wants to be left alone for a while: everything that is asked before then is in vain.
    #[error("{forge} asks to be left alone for {} s", after.as_secs())]
    Limited {
        /// Which forge.
        forge: String,
        /// How long, from now.
        after: Duration,
    },
    /// It does not know us, or we may not do that.
    #[error("{forge} refuses: {message}")]
    Refused {
        /// Which forge.
        forge: String,
        /// What it said.
        message: String,
        /// What a person can do about it.
        hint: String,
    },
    /// There is no such thing.
    #[error("{forge} has no {what}")]
    Missing {
        /// Which forge.
        forge: String,
        /// What was looked for.
        what: String,
    },
    /// It does not fit to what is there: the head moved, there is a conflict, the branch is gone. Asked again after
    /// another look, it may go well.
    #[error("{forge} cannot do that now: {message}")]
    Conflict {
        /// Which forge.
        forge: String,
        /// What it said.
        message: String,
    },
    /// It could not be asked, or its answer could not be understood. Nothing follows from it.
    #[error("{forge} could not be asked: {message}")]
    Unreachable {
        /// Which forge.
        forge: String,
        /// What happened.
        message: String,
    },
}

impl ForgeError {
    /// What a person can do about it, if they can.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Refused { hint, .. } => Some(hint),
            Self::Limited { .. } | Self::Missing { .. } | Self::Conflict { .. } | Self::Unreachable { .. } => None,
        }
    }
}

/// So many questions in a row have to fail until the forge is taken for away: one alone may have failed because of what it
/// was about, and whoever writes that must not silence everything else.
const IN_A_ROW: u32 = 2;

/// Tells errors of the forge from those of one thing that was asked for, among things that are asked for one by one.
#[derive(Debug, Default)]
pub struct Patience {
    unreached: u32,
}

impl Patience {
    /// It answered.
    pub const fn answered(&mut self) {
        self.unreached = 0;
    }

    /// Whether nothing more is to be asked after this error.
    pub const fn ends_with(&mut self, error: &ForgeError) -> bool {
        match error {
            ForgeError::Limited { .. } => true,
            ForgeError::Unreachable { .. } => {
                self.unreached += 1;
                self.unreached >= IN_A_ROW
            }
            ForgeError::Refused { .. } | ForgeError::Missing { .. } | ForgeError::Conflict { .. } => {
                self.unreached = 0;
                false
            }
        }
    }
}

/// What a forge answers, some time.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, ForgeError>>;

/// Where people look at what is proposed.
pub trait Forge: Send + Sync + std::fmt::Debug {
    /// Its address and the project, for people: `github.com/them/packages`.
    fn shown(&self) -> &str;

    /// The name of the account that we act as.
    fn me(&self) -> Answer<'_, String>;

    /// All open reviews whose branch begins with `update-` or `updates-` and is in the project itself, and those that were
    /// merged or closed since then. Complete, or an error: half a list would close reviews. What forges only say of a single one
    /// ([`Seen::mergeable`], [`Seen::approved_by`]) is not there.
    fn reviews(&self, since: Timestamp) -> Answer<'_, Vec<Seen>>;

    /// All of one review.
    fn review(&self, number: u64) -> Answer<'_, Seen>;

    /// Opens a review, whose branch is there already. If one of that branch is open, that is it.
    fn open(&self, wanted: Wanted) -> Answer<'_, Seen>;

    /// Gives an open review this title and text, and these labels and people beside those that it has; takes off
    /// [`Wanted::labels_off`].
    fn update(&self, number: u64, wanted: Wanted) -> Answer<'_, Seen>;

    /// Closes a review, if it is open, and says why below it.
    fn close(&self, number: u64, why: String) -> Answer<'_, ()>;

    /// Merges a review, if its head is still that.
    fn merge(&self, number: u64, head: Oid) -> Answer<'_, ()>;

    /// What was written below a review, a proposal or an issue since then, oldest first.
    fn comments(&self, thread: Thread, since: Timestamp) -> Answer<'_, Vec<Comment>>;

    /// Has one comment of ours with this text below a review, a proposal or an issue: `key` is hidden in it, and the
    /// one that has it already is edited.
    fn say(&self, thread: Thread, key: String, text: String) -> Answer<'_, ()>;

    /// What somebody may do with the project; a stranger may read.
    fn permission(&self, person: String) -> Answer<'_, Permission>;

    /// The open pull or merge requests that are not reviews of ours. Complete, or an error.
    fn offers(&self) -> Answer<'_, Vec<Offer>>;

    /// Puts a line beside a commit.
    fn tell(&self, status: Status) -> Answer<'_, ()>;

    /// Has one open issue of ours with this title and text: `key` is hidden in it, and the one that has it already is
    /// edited. Answers its number.
    fn issue(&self, key: String, title: String, body: String) -> Answer<'_, u64>;

    /// The open issue of ours with this key as it is now, with what people ticked in it; `None` if there is none.
    fn own_issue(&self, key: String) -> Answer<'_, Option<OwnIssue>>;
}

/// A text of so many bytes at most, for what forges show in one line.
fn shortened(text: &str, most: usize) -> String {
    const MARK: char = '…';
    if text.len() <= most {
        return text.to_owned();
    }
    format!("{}{MARK}", &text[..text.floor_char_boundary(most - MARK.len_utf8())])
}

/// What was made; or what is found to be there, where making it was not answered, or refused because it is there.
async fn made_or_found<T>(
    made: Result<T, ForgeError>,
    find: impl Future<Output = Result<Option<T>, ForgeError>>,
) -> Result<T, ForgeError> {
    match made {
        Err(error @ (ForgeError::Conflict { .. } | ForgeError::Unreachable { .. })) => find.await?.ok_or(error),
        other => other,
    }
}

/// Each review once, as it was shown last. Lists of what is open and of what ended are read one after the other: what ends
/// between the two is in both if that of the open ones is read first, and in none else.
fn each_once(reviews: Vec<Seen>) -> Vec<Seen> {
    let newest: BTreeMap<u64, Seen> = reviews.into_iter().map(|seen| (seen.number, seen)).collect();
    newest.into_values().collect()
}

/// What was taken away; where it was not there, that is as good.
fn gone<T>(taken: Result<T, ForgeError>) -> Result<(), ForgeError> {
    match taken {
        Ok(_) | Err(ForgeError::Missing { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Who of the wanted is not there; names of accounts are the same in any case.
fn lacking(wanted: &BTreeSet<String>, there: &BTreeSet<String>) -> Vec<String> {
    let is_there = |name: &String| there.iter().any(|other| other.eq_ignore_ascii_case(name));
    wanted.iter().filter(|name| !is_there(name)).cloned().collect()
}

/// As a part of a query or a path.
fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

/// The host of an address, with its port if it has one of its own.
fn host(url: &url::Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(shortened("short", 5), "short");
        assert_eq!(shortened("longer", 5), "lo…");
        assert_eq!(shortened("ééééé", 8), "éé…");
    }

    #[test]
    fn names_of_accounts_are_the_same_in_any_case() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(lacking(&names(&["Mira", "pia"]), &names(&["mira"])), ["pia"]);
    }
}
