//! What is remembered of talk on a forge: since when it is listened to, what was seen when, and what was answered.
//!
//! Losing it acts on nothing twice, because what was heard is on record in the outbox; it is listened to from then on.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::controller::tend::Rest;
use crate::domain::desired::Snapshot;
use crate::domain::name::{Oid, PkgBase};
use crate::domain::review::answer::{self, Answer};
use crate::domain::review::dashboard::{Done, Edition};
use crate::domain::review::{Seen, Stage, Thread};
use crate::forge::ForgeError;
use crate::store::{Store, StoreError};

/// Forges count in seconds, and show what happened only some time later: what changed within so long before it was read
/// is read again.
const OVERLAP: SignedDuration = SignedDuration::from_mins(5);
/// Comments are asked for from so long before the last change that was read.
const BEFORE: SignedDuration = SignedDuration::from_hours(1);
/// So many ticks that were seen to are shown.
const DONE: usize = 5;

/// What is remembered about one repository.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ledger {
    /// Since when it is listened to: nothing that is older is heard.
    pub begun_at: Option<Timestamp>,
    /// The reviews as they were seen last.
    pub heads: BTreeMap<PkgBase, Head>,
    /// The updates that groups have a review for, with the branch of the group.
    pub together: BTreeMap<PkgBase, String>,
    /// What is talked below.
    pub talks: Vec<Talk>,
    /// The dashboard.
    pub board: Board,
}

/// The tip of the branch of a review.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The commit.
    pub commit: Oid,
    /// When it was seen first. Whoever wrote before may have seen another one.
    pub seen_at: Timestamp,
    /// The page of the review, if the forge shows it.
    pub url: Option<String>,
}

/// What was written below one review or issue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Talk {
    /// Below which.
    pub thread: Thread,
    /// When it had changed last when it was read, by the forge's clock.
    pub changed_at: Timestamp,
    /// When it was read, by ours.
    pub read_at: Timestamp,
    /// What we answered, newest first.
    pub answers: Vec<Answer>,
    /// Whether the forge shows all of that.
    pub said: bool,
    /// Until when it is not read again, because that failed.
    #[serde(default)]
    pub unread: Option<Rest>,
    /// Until when it is not said again, because that failed.
    #[serde(default)]
    pub unsaid: Option<Rest>,
}

/// What is remembered of the dashboard.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Board {
    /// The texts that the forge may show, in the order in which they were written.
    pub written: Vec<(Edition, String)>,
    /// Ticks that were seen to, newest first.
    pub done: Vec<Done>,
}

impl Ledger {
    /// Reads what is remembered; what cannot be read is nothing.
    pub async fn read(store: &Store, repository: &str) -> Result<Self, StoreError> {
        let text = store.cached(&key(repository)).await?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
    }

    /// Remembers it.
    pub async fn write(&self, store: &Store, repository: &str, now: Timestamp) -> Result<(), StoreError> {
        let text = serde_json::to_string(self).expect("names, times and texts are JSON");
        store.cache(&key(repository), &text, now).await
    }

    /// Notes which commits reviews are at. A new one counts as seen when the forge says that the review changed, if that is
    /// later: its clock is the one that comments are dated by.
    pub fn note_heads(&mut self, snapshot: &Snapshot, reviews: &[Seen], now: Timestamp) {
        let head = |(pkgbase, head): (&PkgBase, &Oid)| {
            let branch = pkgbase.review_branch();
            let shown = reviews.iter().rev().find(|it| it.branch == branch && it.stage == Stage::Open);
            let url = shown.map(|it| it.url.clone());
            let seen_at = match self.heads.get(pkgbase).filter(|known| known.commit == *head) {
                Some(known) => known.seen_at,
                None => shown.map_or(now, |it| it.updated_at.max(now)),
            };
            (pkgbase.clone(), Head { commit: *head, seen_at, url })
        };
        self.heads = snapshot.refs.reviews.iter().map(head).collect();
    }

    /// The commit that somebody has seen who looked at that time.
    pub fn head_at(&self, pkgbase: &PkgBase, looked_at: Timestamp) -> Option<Oid> {
        let head = self.heads.get(pkgbase)?;
        (head.seen_at <= looked_at).then_some(head.commit)
    }

    /// From when on comments are to be read; `None` if nothing can be new.
    pub fn news_since(&self, thread: Thread, changed_at: Timestamp) -> Option<Timestamp> {
        let begun = self.begun_at.unwrap_or(Timestamp::MAX);
        let Some(talk) = self.talks.iter().find(|talk| talk.thread == thread) else { return Some(begun) };
        let is_read =
            talk.unread.is_none() && talk.changed_at == changed_at && talk.read_at.duration_since(changed_at) > OVERLAP;
        (!is_read).then(|| talk.changed_at.checked_sub(BEFORE).map_or(begun, |since| begun.max(since)))
    }

    /// Notes that all has been read that had been written then.
    pub fn has_read(&mut self, thread: Thread, changed_at: Timestamp, now: Timestamp) {
        let talk = self.talk(thread, changed_at, now);
        (talk.changed_at, talk.read_at, talk.unread) = (changed_at, now, None);
    }

    /// Notes that it could not be read: others are, and this one after a while.
    pub fn not_read(&mut self, thread: Thread, error: &ForgeError, now: Timestamp) {
        let talk = self.talk(thread, Timestamp::MIN, now);
        talk.unread = Some(Rest::after(talk.unread.as_ref(), error, now));
    }

    /// Whether it is not read now.
    pub fn rests(&self, thread: Thread, now: Timestamp) -> bool {
        let mut unread = self.talks.iter().filter(|talk| talk.thread == thread).filter_map(|talk| talk.unread.as_ref());
        unread.any(|rest| rest.until > now)
    }

    /// Adds answers that have to be said.
    pub fn answer(&mut self, thread: Thread, answers: Vec<Answer>, now: Timestamp) {
        let talk = self.talk(thread, Timestamp::MIN, now);
        answer::add(&mut talk.answers, answers);
        talk.said = false;
    }

    /// Adds a tick that was seen to.
    pub fn done(&mut self, done: Done) {
        self.board.done.retain(|known| *known != done);
        self.board.done.insert(0, done);
        self.board.done.truncate(DONE);
    }

    /// Forgets what is not there any more.
    pub fn keep(&mut self, threads: &[Thread]) {
        self.talks.retain(|talk| threads.contains(&talk.thread) || !talk.said);
    }

    fn talk(&mut self, thread: Thread, changed_at: Timestamp, now: Timestamp) -> &mut Talk {
        let at = self.talks.iter().position(|talk| talk.thread == thread).unwrap_or_else(|| {
            let new =
                Talk { thread, changed_at, read_at: now, answers: Vec::new(), said: true, unread: None, unsaid: None };
            self.talks.push(new);
            self.talks.len() - 1
        });
        &mut self.talks[at]
    }
}

fn key(repository: &str) -> String {
    format!("talk/{repository}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_780_000_000 + second).expect("a time")
    }

    #[test]
    fn only_what_changed_is_read_and_what_changed_just_now_is_read_again() {
        let thread = Thread::Review(1);
        let mut ledger = Ledger { begun_at: Some(at(0)), ..Ledger::default() };
        assert_eq!(ledger.news_since(thread, at(10)), Some(at(0)), "nothing is known of it");
        ledger.has_read(thread, at(10), at(20));
        assert_eq!(ledger.news_since(thread, at(10)), Some(at(0)), "somebody may have written in the same second");
        assert_eq!(ledger.news_since(Thread::Issue(1), at(10)), Some(at(0)), "another with the same number");
        ledger.has_read(thread, at(10), at(1_000));
        assert_eq!(ledger.news_since(thread, at(10)), None);
        ledger.has_read(thread, at(9_000), at(9_001));
        assert_eq!(ledger.news_since(thread, at(10_000)), Some(at(9_000 - 3_600)));
        ledger.keep(&[]);
        assert_eq!(ledger.talks, []);
    }

    #[test]
    fn what_has_not_been_said_is_not_forgotten() {
        let answer = Answer {
            comment: 1,
            place: 0,
            written: "help".to_owned(),
            by: "mira".to_owned(),
            at: at(1),
            text: "so".to_owned(),
        };
        let mut ledger = Ledger::default();
        ledger.answer(Thread::Review(1), vec![answer], at(2));
        ledger.keep(&[]);
        assert_eq!(ledger.talks.len(), 1);
    }

    #[test]
    fn whoever_wrote_before_a_commit_was_seen_has_not_seen_it() {
        let pkgbase = PkgBase::new("foo").expect("legal");
        let head = Oid::from_bytes([1; 20]);
        let known = Head { commit: head, seen_at: at(100), url: None };
        let ledger = Ledger { heads: [(pkgbase.clone(), known)].into(), ..Ledger::default() };
        assert_eq!([99, 100].map(|second| ledger.head_at(&pkgbase, at(second))), [None, Some(head)]);
    }
}
