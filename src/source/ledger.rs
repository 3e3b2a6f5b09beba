//! What was asked of sources, when, and what came of it: kept in the cache, so that what keeps failing is asked
//! less and less often, also by the next process, and so that people can see it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::failure::{Cause, Failure};
use super::lsremote::shown;
use super::vcs::Followed;
use crate::domain::name::PkgBase;
use crate::domain::policy::SourceKind;
use crate::sys::fs::write_atomic;

const FILE: &str = "asked.json";

/// So many failures in a row cost nothing: whatever it was, may be over in the next pass.
const FREE: u32 = 2;
/// How long a question rests after one failure more; it doubles from there.
const REST: SignedDuration = SignedDuration::from_hours(1);
/// How long a question rests at most that would get the same answer again.
const LONGEST: SignedDuration = SignedDuration::from_hours(24);
/// How long it rests at most if it is the server that has trouble.
const LONGEST_FOR_SERVER: SignedDuration = SignedDuration::from_hours(1);

/// What is known about one question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// When it was asked last; `None` if its turn never came.
    pub asked: Option<Timestamp>,
    /// When it had an answer last.
    pub answered: Option<Timestamp>,
    /// That answer, in a word or two.
    pub answer: Option<String>,
    /// Why there is none now.
    pub error: Option<String>,
    /// How often in a row it failed.
    #[serde(default)]
    pub failures: u32,
    /// When it is asked again; in the next pass if `None`.
    pub next: Option<Timestamp>,
}

/// What one pass heard, or why it did not.
pub type Heard<'a> = Result<&'a str, &'a Failure>;

/// Everything that is known about questions and hosts.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Book {
    #[serde(default)]
    questions: BTreeMap<String, Asked>,
    /// Hosts that want to be left alone, until then.
    #[serde(default)]
    hosts: BTreeMap<String, Timestamp>,
}

/// Keeps the book.
#[derive(Debug)]
pub struct Ledger {
    file: PathBuf,
    book: Mutex<Book>,
}

/// The name of a question about the files of a package.
pub fn files(pkgbase: &PkgBase, kind: &SourceKind) -> String {
    format!("files {pkgbase} {}", described(kind))
}

/// A source as it is written, without a login.
#[must_use]
pub fn described(kind: &SourceKind) -> String {
    shown(&kind.to_string())
}

/// The name of a question about the newest version of a package, by a file that says how to find it. With another
/// file it is another question.
pub fn version(pkgbase: &PkgBase, file: &[u8]) -> String {
    let digest = Sha256::digest(file);
    digest.iter().take(8).fold(about_version(pkgbase), |name, byte| name + &format!("{byte:02x}"))
}

fn about_version(pkgbase: &PkgBase) -> String {
    format!("version {pkgbase} ")
}

/// The name of a question about what packages are built from.
pub fn upstream(followed: &Followed) -> String {
    format!("upstream {followed}")
}

impl Book {
    /// Reads what the sources that use this cache have written; nothing if there is none, or it is damaged.
    #[must_use]
    pub fn read(cache_dir: &Path) -> Self {
        let Ok(text) = std::fs::read(cache_dir.join(FILE)) else { return Self::default() };
        serde_json::from_slice(&text).unwrap_or_else(|error| {
            tracing::warn!(error = &error as &dyn std::error::Error, "what was asked of sources cannot be read");
            Self::default()
        })
    }

    /// What is known about the files of a package from this source.
    #[must_use]
    pub fn files(&self, pkgbase: &PkgBase, kind: &SourceKind) -> Option<&Asked> {
        self.questions.get(&files(pkgbase, kind))
    }

    /// What is known about the newest version of a package.
    #[must_use]
    pub fn version(&self, pkgbase: &PkgBase) -> Option<&Asked> {
        let start = about_version(pkgbase);
        let (name, asked) = self.questions.range(start.clone()..).next()?;
        name.starts_with(&start).then_some(asked)
    }

    /// What is known about something that packages follow.
    #[must_use]
    pub fn upstream(&self, followed: &Followed) -> Option<&Asked> {
        self.questions.get(&upstream(followed))
    }

    fn note(&mut self, question: &str, heard: Heard<'_>, now: Timestamp) -> Option<Timestamp> {
        let before = self.questions.remove(question);
        let after = noted(before, heard, now);
        let next = after.next;
        self.questions.insert(question.to_owned(), after);
        next
    }
}

impl Ledger {
    /// Opens the book of this cache.
    pub fn open(cache_dir: &Path) -> Self {
        Self { file: cache_dir.join(FILE), book: Mutex::new(Book::read(cache_dir)) }
    }

    /// Why a question is not asked now, and when it is again; `None` if it may be asked.
    pub fn resting(&self, question: &str, now: Timestamp) -> Option<(String, Timestamp)> {
        let book = self.book();
        let asked = book.questions.get(question)?;
        let next = asked.next.filter(|next| *next > now)?;
        let error = asked.error.as_deref().unwrap_or("it failed");
        let why = match asked.failures {
            // It is the server that wants to be left alone.
            0 => format!("not asked yet again: {error}"),
            failures => format!("not asked, because it failed {failures} times in a row: {error}"),
        };
        Some((why, next))
    }

    /// Notes what came of a question; returns when it is asked again, if not in the next pass.
    pub fn note(&self, question: &str, heard: Heard<'_>, now: Timestamp) -> Option<Timestamp> {
        self.book().note(question, heard, now)
    }

    /// For how long hosts still want to be left alone.
    pub fn hosts(&self, now: Timestamp) -> Vec<(String, Duration)> {
        let left = |(name, until): (&String, &Timestamp)| {
            let left = Duration::try_from(until.duration_since(now)).ok()?;
            (!left.is_zero()).then(|| (name.clone(), left))
        };
        self.book().hosts.iter().filter_map(left).collect()
    }

    /// Ends a pass that had all these questions of a kind (the first word of their names), so that others are
    /// forgotten, with [`Ledger::keep`].
    pub fn close(&self, kind: &str, questions: &BTreeSet<String>, hosts: Vec<(String, Duration)>, now: Timestamp) {
        let is_of_kind = |name: &str| name.split(' ').next() == Some(kind);
        self.book().questions.retain(|name, _| !is_of_kind(name) || questions.contains(name));
        self.keep(hosts, now);
    }

    /// Writes down what was noted, and which hosts want to be left alone for so long. Trouble with the file costs
    /// questions, so it is only logged.
    pub fn keep(&self, hosts: Vec<(String, Duration)>, now: Timestamp) {
        let text = {
            let mut book = self.book();
            let until = |(name, left): (String, Duration)| Some((name, now.checked_add(left).ok()?));
            book.hosts = hosts.into_iter().filter_map(until).collect();
            serde_json::to_vec(&*book).expect("plain data")
        };
        if let Err(error) = write_atomic(&self.file, &text) {
            tracing::warn!(error = &error as &dyn std::error::Error, "cannot keep what was asked of sources");
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn noted(before: Option<Asked>, heard: Heard<'_>, now: Timestamp) -> Asked {
    let nothing = Asked { asked: None, answered: None, answer: None, error: None, failures: 0, next: None };
    let before = before.unwrap_or(nothing);
    match heard {
        Ok(answer) => Asked {
            asked: Some(now),
            answered: Some(now),
            answer: Some(answer.to_owned()),
            error: None,
            failures: 0,
            next: None,
        },
        Err(failure) => {
            let error = Some(failure.text.clone());
            let failed = || before.failures.saturating_add(1);
            match failure.cause {
                // Its turn did not come, which says nothing about it.
                Cause::Elsewhere => Asked { error, next: None, ..before },
                Cause::Passing => Asked { asked: Some(now), error, next: None, ..before },
                Cause::Wait(rest) => {
                    let rest = rest.and_then(|rest| SignedDuration::try_from(rest).ok());
                    let next = rest.and_then(|rest| now.checked_add(rest).ok());
                    Asked { asked: Some(now), error, next, ..before }
                }
                Cause::Question => {
                    let failures = failed();
                    Asked { asked: Some(now), error, failures, next: next(failures, LONGEST, now), ..before }
                }
                Cause::Server => {
                    let failures = failed();
                    let next = next(failures, LONGEST_FOR_SERVER, now);
                    Asked { asked: Some(now), error, failures, next, ..before }
                }
            }
        }
    }
}

/// When a question is asked again that has failed so often in a row.
fn next(failures: u32, longest: SignedDuration, now: Timestamp) -> Option<Timestamp> {
    let doublings = failures.checked_sub(FREE + 1)?;
    let rest = REST.checked_mul(1 << doublings.min(10)).unwrap_or(longest).min(longest);
    now.checked_add(rest).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_second(1_780_000_000 + hours * 3600).expect("a time")
    }

    #[test]
    fn what_keeps_failing_is_asked_less_and_less_often_also_by_the_next_process() {
        let dir = tempfile::tempdir().expect("a directory");
        let failure = Failure::question("it is gone");
        let (mut now, mut asked) = (0, Vec::new());
        while now < 80 {
            let ledger = Ledger::open(dir.path());
            if ledger.resting("upstream x", at(now)).is_none() {
                asked.push(now);
                ledger.note("upstream x", Err(&failure), at(now));
                ledger.close("upstream", &["upstream x".to_owned()].into(), Vec::new(), at(now));
            }
            now += 1;
        }
        assert_eq!(asked, [0, 1, 2, 3, 5, 9, 17, 33, 57]);
        let ledger = Ledger::open(dir.path());
        let (why, next) = ledger.resting("upstream x", at(80)).expect("it rests");
        assert_eq!((why.as_str(), next), ("not asked, because it failed 9 times in a row: it is gone", at(81)));
        ledger.note("upstream x", Ok("at 1"), at(81));
        assert_eq!(ledger.resting("upstream x", at(81)), None, "one answer ends it");
        assert_eq!(ledger.note("upstream x", Err(&failure), at(82)), None);
    }

    #[test]
    fn trouble_of_a_server_never_hides_a_package_for_long() {
        let ledger = Ledger::open(Path::new("nowhere"));
        let failure = Failure { text: "502".to_owned(), cause: Cause::Server };
        let rests: Vec<_> = (0..9).map(|_| ledger.note("x", Err(&failure), at(0))).collect();
        assert_eq!(rests[..3], [None, None, Some(at(1))]);
        assert_eq!(rests[8], Some(at(1)));
        let wait = Failure { text: "429".to_owned(), cause: Cause::Wait(Some(Duration::from_hours(3))) };
        assert_eq!(ledger.note("x", Err(&wait), at(0)), Some(at(3)), "what it asks for counts");
    }

    #[test]
    fn what_was_not_asked_has_not_failed() {
        let ledger = Ledger::open(Path::new("nowhere"));
        ledger.note("x", Ok("current"), at(0));
        for _ in 0..9 {
            assert_eq!(ledger.note("x", Err(&Failure::elsewhere("no time")), at(1)), None);
        }
        let asked = ledger.book().questions["x"].clone();
        assert_eq!((asked.asked, asked.answered, asked.failures), (Some(at(0)), Some(at(0)), 0));
        assert_eq!((asked.answer.as_deref(), asked.error.as_deref()), (Some("current"), Some("no time")));
    }

    #[test]
    fn hosts_are_left_alone_by_the_next_process_and_a_damaged_file_costs_nothing_but_questions() {
        let dir = tempfile::tempdir().expect("a directory");
        let ledger = Ledger::open(dir.path());
        ledger.note("files a aur", Ok("current"), at(0));
        ledger.note("upstream b", Ok("at 1"), at(0));
        ledger.close("files", &BTreeSet::new(), vec![("host".to_owned(), Duration::from_hours(2))], at(0));
        let next = Ledger::open(dir.path());
        assert_eq!(next.hosts(at(1)), [("host".to_owned(), Duration::from_hours(1))]);
        assert!(next.hosts(at(2)).is_empty());
        assert_eq!(next.book().questions.keys().collect::<Vec<_>>(), ["upstream b"], "what is not asked is forgotten");
        next.note("files new aur", Ok("new files"), at(1));
        next.keep(Vec::new(), at(1));
        let kept = Ledger::open(dir.path());
        assert_eq!(kept.book().questions.keys().collect::<Vec<_>>(), ["files new aur", "upstream b"]);
        std::fs::write(dir.path().join(FILE), "{").expect("written");
        assert!(Ledger::open(dir.path()).book().questions.is_empty());
    }
}
