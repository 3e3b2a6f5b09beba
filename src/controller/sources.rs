//! How asking the sources of a package goes, for people.

use jiff::Timestamp;
use serde::Serialize;

use crate::domain::desired::Package;
use crate::domain::policy::SourceKind;
use crate::domain::state::PackageState;
use crate::source::ledger::{Asked, Book, described};
use crate::source::nvchecker;
use crate::source::vcs::UpstreamRequest;

/// One source of a package, and how asking it goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SourceView {
    /// `files` for where its files come from, `version` for where its newest version is found in place of that,
    /// `upstream` for what it is built from.
    pub role: &'static str,
    /// What is asked, as it is written: `aur`, `git+https://…#branch=main`.
    pub source: String,
    /// When it was asked last.
    pub asked: Option<Timestamp>,
    /// When it had an answer last.
    pub answered: Option<Timestamp>,
    /// That answer.
    pub answer: Option<String>,
    /// Up to where it has been dealt with: a commit, or how its system calls a state.
    pub cursor: Option<String>,
    /// When it is asked again; in the next run if null.
    pub next: Option<Timestamp>,
    /// Why it had no answer the last time.
    pub error: Option<String>,
    /// How often in a row it had none.
    pub failures: u32,
}

/// What the `.CI/update.sh` of a package printed when it was run last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ScriptView {
    /// When that was.
    pub ran: Timestamp,
    /// How much it printed, in bytes.
    pub size: usize,
    /// The end of it: 16 KiB at most.
    pub last: String,
}

/// How much of the end of what a script printed stands on a page.
const LAST: usize = 16 << 10;

impl ScriptView {
    /// What is shown of all that was printed.
    #[must_use]
    pub fn new(ran: Timestamp, printed: &[u8]) -> Self {
        let last = &printed[printed.len().saturating_sub(LAST)..];
        Self { ran, size: printed.len(), last: String::from_utf8_lossy(last).into_owned() }
    }
}

/// Each source of a package: first that of its files, then what it is built from. Of several books, the one that
/// heard of a source last counts.
#[must_use]
pub fn views(package: &Package, state: &PackageState, books: &[Book]) -> Vec<SourceView> {
    let mut views = Vec::new();
    let kind = &package.settings.source;
    let cursor = state.cursor().map(|cursor| cursor.version.unwrap_or_else(|| cursor.commit.to_string()));
    if package.settings.nvchecker {
        let asked = latest(books, |book| book.version(&package.pkgbase));
        let file = package.version_file.clone().unwrap_or_else(|| nvchecker::PLACES[2].to_owned());
        views.push(view("version", file, asked, cursor));
    } else if !matches!(kind, SourceKind::Custom | SourceKind::Unset) {
        let asked = latest(books, |book| book.files(&package.pkgbase, kind));
        views.push(view("files", described(kind), asked, cursor));
    }
    let followed = package.srcinfo.as_ref().filter(|_| package.follows_upstream());
    let followed = followed.and_then(|srcinfo| UpstreamRequest::new(&package.pkgbase, srcinfo));
    let seen = state.upstream();
    for (place, followed) in followed.iter().flat_map(|request| &request.followed).enumerate() {
        let asked = latest(books, |book| book.upstream(followed));
        let cursor = seen.get(place).and_then(Option::as_ref).map(ToString::to_string);
        views.push(view("upstream", followed.to_string(), asked, cursor));
    }
    views
}

fn latest<'a>(books: &'a [Book], find: impl Fn(&'a Book) -> Option<&'a Asked>) -> Option<&'a Asked> {
    books.iter().filter_map(find).max_by_key(|asked| asked.asked)
}

fn view(role: &'static str, source: String, asked: Option<&Asked>, cursor: Option<String>) -> SourceView {
    SourceView {
        role,
        source,
        asked: asked.and_then(|asked| asked.asked),
        answered: asked.and_then(|asked| asked.answered),
        answer: asked.and_then(|asked| asked.answer.clone()),
        cursor,
        next: asked.and_then(|asked| asked.next),
        error: asked.and_then(|asked| asked.error.clone()),
        failures: asked.map_or(0, |asked| asked.failures),
    }
}
