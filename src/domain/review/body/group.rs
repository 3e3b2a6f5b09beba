//! The text of the review of a group.

use std::collections::BTreeSet;

use askama::Template;

use super::{
    Facts, REASONS_BYTES, approvals, handovers, harmless, hour, keepers, listed, movement, places, reasons, told, wave,
};
use crate::domain::name::{Oid, PkgBase};
use crate::domain::review::group::GroupName;
use crate::domain::review::markdown::code;
use crate::domain::review::wave::Wave;
use crate::domain::words::number_of;

/// A text that all forges take.
const LARGEST_BYTES: usize = 62_000;
/// What is shared among the packages.
const TEXT_BYTES: usize = 55_000;
/// So much stands around the reasons of one package, as a rule.
const AROUND_REASONS: usize = 2_500;

/// What is known about a group of which something waits.
#[derive(Debug, Clone, Copy)]
pub struct GroupFacts<'a> {
    /// Its name.
    pub name: &'a GroupName,
    /// The branch with the packages.
    pub base: &'a str,
    /// What waits.
    pub members: &'a [Facts<'a>],
    /// People with commits on the branch of the group, for whom it stays as it is.
    pub people: &'a BTreeSet<String>,
    /// What is built once all of it has gone in.
    pub wave: &'a Wave,
}

#[derive(Template)]
#[template(path = "review/group.md")]
struct Whole<'a> {
    count: String,
    name: &'a GroupName,
    people: String,
    branch: String,
    base: &'a str,
    parts: Vec<Part<'a>>,
    wave: String,
}

/// One package of the group.
struct Part<'a> {
    name: &'a PkgBase,
    movement: String,
    verdict: &'static str,
    reasons: String,
    keepers: String,
    lines: Vec<String>,
    approvals: String,
    goes_in_at: Option<String>,
    head: Oid,
}

impl<'a> Part<'a> {
    fn of(facts: &Facts<'a>, room: usize) -> Self {
        Self {
            name: facts.pkgbase,
            movement: code(&movement(facts.verdict)),
            verdict: told(facts.verdict),
            reasons: reasons(facts.verdict, room),
            keepers: keepers(facts),
            lines: handovers(facts).into_iter().chain(places(facts)).collect(),
            approvals: approvals(facts),
            goes_in_at: facts.goes_in_at.map(hour),
            head: facts.head,
        }
    }

    /// Where there is no room for what many people are called, or the like.
    fn in_short(facts: &Facts<'a>) -> Self {
        let more = format!("There is no room here for the rest: `pkgwarden ctl review show {}` has it.", facts.pkgbase);
        let none = &BTreeSet::new();
        Self {
            reasons: String::new(),
            keepers: more,
            lines: Vec::new(),
            approvals: approvals(&Facts { approved: none, ..*facts }),
            ..Self::of(facts, 0)
        }
    }
}

/// The title of the review of a group: one line of harmless signs.
#[must_use]
pub fn group_title(facts: &GroupFacts<'_>) -> String {
    let names: Vec<&str> = facts.members.iter().map(|it| it.pkgbase.as_str()).collect();
    harmless(&format!("update group {}: {}", facts.name, names.join(" ")))
}

/// The text of the review of a group, without its marker.
#[must_use]
pub fn group(facts: &GroupFacts<'_>) -> String {
    let room = (TEXT_BYTES / facts.members.len().max(1)).saturating_sub(AROUND_REASONS).min(REASONS_BYTES);
    let text = written(facts, |it| Part::of(it, room));
    if text.len() <= LARGEST_BYTES { text } else { written(facts, Part::in_short) }
}

fn written<'a>(facts: &GroupFacts<'a>, part: impl Fn(&Facts<'a>) -> Part<'a>) -> String {
    let whole = Whole {
        count: number_of(facts.members.len(), "update"),
        name: facts.name,
        people: listed(facts.people.iter().map(String::as_str)),
        branch: facts.name.branch(),
        base: facts.base,
        parts: facts.members.iter().map(part).collect(),
        wave: wave(facts.wave),
    };
    whole.render().expect("writing to memory does not fail")
}
