//! The text of a review, as a value that follows from what is known: a person reads it and decides.

mod group;
mod parts;

use std::collections::BTreeSet;

use askama::Template;
use jiff::Timestamp;

pub use self::group::{GroupFacts, group, group_title};
pub(super) use self::parts::Line;
use self::parts::{approvals, handovers, keepers, listed, reasons, wave};
use super::markdown::{block, code, link};
use super::wave::Wave;
use crate::domain::classify::{Verdict, Weight};
use crate::domain::keepers::Keepers;
use crate::domain::name::{Oid, PkgBase};

/// Forges take 65,536 characters; our text stays below with all that is around the reasons.
const REASONS_BYTES: usize = 36_000;
/// So much of what the run said is shown.
const MESSAGE_BYTES: usize = 8_000;
/// Titles of forges are short.
const TITLE_CHARACTERS: usize = 200;

/// What is known about an update that waits.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The package.
    pub pkgbase: &'a PkgBase,
    /// The branch with the packages.
    pub base: &'a str,
    /// The tip of the branch of the review.
    pub head: Oid,
    /// Why it needs a person, as far as files and people show it.
    pub verdict: &'a Verdict,
    /// What the tip says.
    pub message: &'a str,
    /// Who may push to it, as it was seen when it was proposed.
    pub keepers: Option<&'a Keepers>,
    /// Who could when something of it was merged last.
    pub keepers_before: Option<&'a Keepers>,
    /// Whose updates are trusted.
    pub trusted: &'a BTreeSet<String>,
    /// How many people have to approve it.
    pub needed: u8,
    /// Who has.
    pub approved: &'a BTreeSet<String>,
    /// Why it cannot be merged as it is.
    pub conflict: Option<&'a str>,
    /// People with commits on the branch.
    pub people: &'a BTreeSet<String>,
    /// The version that waits because of them.
    pub newer: Option<&'a str>,
    /// What is built once it has gone in.
    pub wave: &'a Wave,
    /// Addresses at which more stands, with what stands there.
    pub places: &'a [(&'static str, String)],
    /// When it goes in by itself.
    pub goes_in_at: Option<Timestamp>,
}

#[derive(Template)]
#[template(path = "review/body.md")]
struct Body<'a> {
    verdict: &'static str,
    movement: String,
    conflict: Option<&'a str>,
    newer: Option<String>,
    people: String,
    branch: String,
    base: &'a str,
    name: &'a PkgBase,
    reasons: String,
    keepers: String,
    handovers: Vec<String>,
    places: Vec<String>,
    wave: String,
    approvals: String,
    goes_in_at: Option<String>,
    head: Oid,
    message: String,
}

/// The title: one line of harmless signs.
#[must_use]
pub fn title(pkgbase: &PkgBase, verdict: &Verdict) -> String {
    harmless(&format!("update {pkgbase}: {}", movement(verdict)))
}

fn harmless(title: &str) -> String {
    let harmless = |c: char| if c.is_ascii_alphanumeric() || " ._:+~>-".contains(c) { c } else { '?' };
    title.chars().take(TITLE_CHARACTERS).map(harmless).collect()
}

pub(super) fn movement(verdict: &Verdict) -> String {
    match (&verdict.old_version, &verdict.new_version) {
        (Some(old), Some(new)) if old == new => format!("files changed at {new}"),
        (Some(old), Some(new)) => format!("{old} -> {new}"),
        (None, Some(new)) => new.to_string(),
        (_, None) => "files changed".to_owned(),
    }
}

/// The text, without its marker.
#[must_use]
pub fn body(facts: &Facts<'_>) -> String {
    let body = Body {
        verdict: told(facts.verdict),
        movement: code(&movement(facts.verdict)),
        conflict: facts.conflict,
        newer: facts.newer.map(code),
        people: listed(facts.people.iter().map(String::as_str)),
        branch: facts.pkgbase.review_branch(),
        base: facts.base,
        name: facts.pkgbase,
        reasons: reasons(facts.verdict, REASONS_BYTES),
        keepers: keepers(facts),
        handovers: handovers(facts),
        places: places(facts),
        wave: wave(facts.wave),
        approvals: format!("{} Approve it here, if you may push to this repository, or merge it.", approvals(facts)),
        goes_in_at: facts.goes_in_at.map(hour),
        head: facts.head,
        message: block(facts.message, MESSAGE_BYTES),
    };
    body.render().expect("writing to memory does not fail")
}

/// What the heaviest reason means.
fn told(verdict: &Verdict) -> &'static str {
    match verdict.severity {
        Weight::Hostile => "This looks like an attack.",
        Weight::Trust => "It changes whom or what is trusted.",
        _ => "Somebody should read this.",
    }
}

fn places(facts: &Facts<'_>) -> Vec<String> {
    facts.places.iter().map(|(what, address)| format!("{what}: {}", link(address))).collect()
}

fn hour(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

#[cfg(test)]
mod tests;
