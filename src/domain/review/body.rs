//! The text of a review, as a value that follows from what is known: a person reads it and decides.

use std::collections::BTreeSet;

use askama::Template;
use jiff::Timestamp;

use super::markdown::{block, code, link, sentence};
use crate::domain::classify::{Reason, Verdict, Weight};
use crate::domain::keepers::Keepers;
use crate::domain::name::{Oid, PkgBase};

/// Forges take 65,536 characters; our text stays below with all that is around the reasons.
const REASONS_BYTES: usize = 40_000;
/// So much of what the run said is shown.
const MESSAGE_BYTES: usize = 8_000;
/// So many packages are named that need it.
const NAMED: usize = 10;
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
    /// What needs the package.
    pub needed_by: &'a [PkgBase],
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
    base: String,
    name: &'a PkgBase,
    reasons: Vec<Line>,
    left_out: usize,
    light: usize,
    keepers: String,
    handovers: Vec<String>,
    places: Vec<String>,
    needed_by: String,
    one_needs: bool,
    approvals: String,
    goes_in_at: Option<String>,
    head: Oid,
    message: String,
}

/// One reason.
struct Line {
    weight: &'static str,
    place: String,
    message: String,
    old: Option<String>,
    new: Option<String>,
}

impl Line {
    fn of(reason: &Reason) -> Self {
        let line = reason.line.map(|line| format!(":{line}")).unwrap_or_default();
        let text = |text: &Option<String>| text.as_deref().filter(|text| !text.is_empty()).map(code);
        Self {
            weight: reason.severity.as_str(),
            place: code(&format!("{}{line}", reason.file)),
            message: sentence(&reason.message),
            old: text(&reason.old),
            new: text(&reason.new),
        }
    }

    fn len(&self) -> usize {
        let texts = [&self.place, &self.message].into_iter().chain(&self.old).chain(&self.new);
        texts.map(String::len).sum::<usize>() + 60
    }
}

/// The title: one line of harmless signs.
#[must_use]
pub fn title(pkgbase: &PkgBase, verdict: &Verdict) -> String {
    let title = format!("update {pkgbase}: {}", movement(verdict));
    let harmless = |c: char| if c.is_ascii_alphanumeric() || " ._:+~>-".contains(c) { c } else { '?' };
    title.chars().take(TITLE_CHARACTERS).map(harmless).collect()
}

fn movement(verdict: &Verdict) -> String {
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
    let heavy: Vec<&Reason> = facts.verdict.reasons.iter().filter(|it| it.severity > Weight::Stronger).collect();
    let (reasons, left_out) = lines(&heavy);
    let body = Body {
        verdict: match facts.verdict.severity {
            Weight::Hostile => "This looks like an attack.",
            Weight::Trust => "It changes whom or what is trusted.",
            _ => "Somebody should read this.",
        },
        movement: code(&movement(facts.verdict)),
        conflict: facts.conflict,
        newer: facts.newer.map(code),
        people: listed(facts.people.iter().map(String::as_str)),
        branch: facts.pkgbase.review_branch(),
        base: facts.base.to_owned(),
        name: facts.pkgbase,
        reasons,
        left_out,
        light: facts.verdict.reasons.len() - heavy.len(),
        keepers: keepers(facts),
        handovers: handovers(facts),
        places: facts.places.iter().map(|(what, address)| format!("{what}: {}", link(address))).collect(),
        needed_by: needed_by(facts.needed_by),
        one_needs: facts.needed_by.len() == 1,
        approvals: approvals(facts),
        goes_in_at: facts.goes_in_at.map(|at| at.strftime("%Y-%m-%d %H:%M UTC").to_string()),
        head: facts.head,
        message: block(facts.message, MESSAGE_BYTES),
    };
    body.render().expect("writing to memory does not fail")
}

/// The heaviest first, as many as there is room for.
fn lines(reasons: &[&Reason]) -> (Vec<Line>, usize) {
    let mut sorted = reasons.to_vec();
    sorted.sort_by_key(|reason| std::cmp::Reverse(reason.severity));
    let mut room = REASONS_BYTES;
    let mut lines = Vec::new();
    for reason in sorted {
        let line = Line::of(reason);
        let Some(left) = room.checked_sub(line.len()) else { break };
        room = left;
        lines.push(line);
    }
    let left_out = reasons.len() - lines.len();
    (lines, left_out)
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(code).collect::<Vec<_>>().join(", ")
}

fn needed_by(packages: &[PkgBase]) -> String {
    let named = listed(packages.iter().take(NAMED).map(PkgBase::as_str));
    match packages.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

fn keepers(facts: &Facts<'_>) -> String {
    let Some(keepers) = facts.keepers else {
        return "That is not known: its source does not say it.".to_owned();
    };
    let maintainer = match &keepers.maintainer {
        Some(name) => format!("The AUR names {} as its maintainer", code(name)),
        None => "The AUR names no maintainer".to_owned(),
    };
    let others = listed(keepers.co_maintainers.iter().map(String::as_str));
    let others = if others.is_empty() { String::new() } else { format!(", and {others} beside") };
    let changed = facts.keepers_before.is_some_and(|before| keepers.newcomers_since(before).is_some());
    let trust = match (keepers.all_trusted(facts.trusted), changed) {
        (true, true) => "All of them are in `.ci/aur-maintainers`, which does not count as long as somebody is new.",
        (true, false) => "All of them are in `.ci/aur-maintainers`.",
        (false, _) => "Not all of them are in `.ci/aur-maintainers`.",
    };
    format!("{maintainer}{others}. {trust}")
}

fn handovers(facts: &Facts<'_>) -> Vec<String> {
    let both = facts.keepers.zip(facts.keepers_before);
    both.map(|(now, before)| now.handovers_since(before)).into_iter().flatten().map(|it| sentence(&it.to_string())).collect()
}

fn approvals(facts: &Facts<'_>) -> String {
    let by = listed(facts.approved.iter().map(String::as_str));
    let people = if facts.needed == 1 { "One person".to_owned() } else { format!("{} people", facts.needed) };
    let has = if facts.needed == 1 { "has" } else { "have" };
    let so_far = if by.is_empty() { String::new() } else { format!(" So far: {by}.") };
    format!("{people} {has} to approve it.{so_far} Approve it here, if you may push to this repository, or merge it.")
}
