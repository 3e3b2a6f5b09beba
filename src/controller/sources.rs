//! How asking the sources of a package goes, for people.

use super::view::SourceView;
use crate::domain::desired::Package;
use crate::domain::policy::SourceKind;
use crate::domain::state::PackageState;
use crate::source::ledger::{Asked, Book, described};
use crate::source::vcs::UpstreamRequest;

/// Each source of a package: first that of its files, then what it is built from. Of several books, the one that
/// heard of a source last counts.
#[must_use]
pub fn views(package: &Package, state: &PackageState, books: &[Book]) -> Vec<SourceView> {
    let mut views = Vec::new();
    let kind = &package.settings.source;
    if !matches!(kind, SourceKind::Custom | SourceKind::Unset) {
        let asked = latest(books, |book| book.files(&package.pkgbase, kind));
        let cursor = state.cursor().map(|cursor| cursor.version.unwrap_or_else(|| cursor.commit.to_string()));
        views.push(view("files", described(kind), asked, cursor));
    }
    let followed = package.srcinfo.as_ref().filter(|_| package.follows_upstream());
    let followed = followed.and_then(|srcinfo| UpstreamRequest::new(&package.pkgbase, srcinfo));
    let seen = state.upstream();
    for (place, followed) in followed.iter().flat_map(|request| &request.followed).enumerate() {
        let asked = latest(books, |book| book.upstream(followed));
        let cursor = seen.get(place).map(ToString::to_string);
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
