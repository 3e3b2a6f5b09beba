//! What the texts of all reviews have in common.

use askama::Template;

use super::Facts;
use crate::domain::classify::{Reason, Verdict, Weight};
use crate::domain::name::PkgBase;
use crate::domain::review::markdown::{code, sentence};
use crate::domain::review::wave::Wave;

/// So many of a list of names are told.
const NAMED: usize = 10;
/// So much of one name is told.
const NAME_CHARACTERS: usize = 100;
/// So many changes of who may push are told.
const HANDOVERS: usize = 5;
/// So many packages are named that are built.
const BUILT: usize = 20;

/// One reason.
pub struct Line {
    pub weight: &'static str,
    pub place: String,
    pub message: String,
    pub old: Option<String>,
    pub new: Option<String>,
}

impl Line {
    pub fn new(weight: &'static str, place: &str, message: &str) -> Self {
        Self { weight, place: code(place), message: sentence(message), old: None, new: None }
    }

    pub fn of(reason: &Reason) -> Self {
        let line = reason.line.map(|line| format!(":{line}")).unwrap_or_default();
        let text = |text: &Option<String>| text.as_deref().filter(|text| !text.is_empty()).map(code);
        Self {
            old: text(&reason.old),
            new: text(&reason.new),
            ..Self::new(reason.severity.as_str(), &format!("{}{line}", reason.file), &reason.message)
        }
    }

    pub fn len(&self) -> usize {
        let texts = [&self.place, &self.message].into_iter().chain(&self.old).chain(&self.new);
        texts.map(String::len).sum::<usize>() + 60
    }
}

#[derive(Template)]
#[template(path = "review/reasons.md")]
struct Why {
    reasons: Vec<Line>,
    left_out: usize,
    light: usize,
}

/// The reasons for which a person has to look, in so many bytes.
pub fn reasons(verdict: &Verdict, room: usize) -> String {
    let heavy: Vec<&Reason> = verdict.reasons.iter().filter(|it| it.severity > Weight::Stronger).collect();
    let (reasons, left_out) = lines(&heavy, room);
    let why = Why { reasons, left_out, light: verdict.reasons.len() - heavy.len() };
    why.render().expect("writing to memory does not fail")
}

/// The heaviest first, as many as there is room for.
fn lines(reasons: &[&Reason], mut room: usize) -> (Vec<Line>, usize) {
    let mut sorted = reasons.to_vec();
    sorted.sort_by_key(|reason| std::cmp::Reverse(reason.severity));
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

/// Anybody's names, as code: the first of them, and how many more there are.
pub fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    let short = |name: &&str| code(&name.chars().take(NAME_CHARACTERS).collect::<String>());
    let named = names.iter().take(NAMED).map(short).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

#[derive(Template)]
#[template(path = "review/wave.md")]
struct Waves {
    /// The only one that is built, or nothing.
    alone: String,
    count: usize,
    built: Vec<String>,
    more: usize,
    watched: usize,
    named: String,
}

/// What is built after merging.
pub fn wave(wave: &Wave) -> String {
    let line = |(pkgbase, by): &(PkgBase, Option<PkgBase>)| match by {
        Some(by) => format!("{}, when the new version of {} is published", code(pkgbase.as_str()), code(by.as_str())),
        None => code(pkgbase.as_str()),
    };
    let alone = if let [(only, _)] = wave.built.as_slice() { code(only.as_str()) } else { String::new() };
    let waves = Waves {
        alone,
        count: wave.built.len(),
        built: wave.built.iter().take(BUILT).map(line).collect(),
        more: wave.built.len().saturating_sub(BUILT),
        watched: wave.watched.len(),
        named: listed(wave.watched.iter().map(PkgBase::as_str)),
    };
    waves.render().expect("writing to memory does not fail")
}

/// Who may push to a package, and whether that is trusted.
pub fn keepers(facts: &Facts<'_>) -> String {
    let Some(keepers) = facts.keepers else {
        return "That is not known: its source does not say it.".to_owned();
    };
    let maintainer = match &keepers.maintainer {
        Some(name) => format!("The AUR names {} as its maintainer", code(name)),
        None => "The AUR names no maintainer".to_owned(),
    };
    let others = listed(keepers.co_maintainers.iter().map(String::as_str));
    let others = if others.is_empty() { String::new() } else { format!(", and {others} beside") };
    let counts = keepers.trusted_since(facts.keepers_before, facts.trusted);
    let trust = match (keepers.all_trusted(facts.trusted), counts) {
        (true, false) => {
            "All of them are in `.ci/aur-maintainers`, which does not count until an update was approved since this changed."
        }
        (true, true) => "All of them are in `.ci/aur-maintainers`.",
        (false, _) => "Not all of them are in `.ci/aur-maintainers`.",
    };
    format!("{maintainer}{others}. {trust}")
}

/// What changed of that.
pub fn handovers(facts: &Facts<'_>) -> Vec<String> {
    let both = facts.keepers.zip(facts.keepers_before);
    both.map(|(now, before)| now.handovers_since(before))
        .into_iter()
        .flatten()
        .take(HANDOVERS)
        .map(|it| sentence(&it.to_string()))
        .collect()
}

/// How many people have to approve it, and who has.
pub fn approvals(facts: &Facts<'_>) -> String {
    let by = listed(facts.approved.iter().map(String::as_str));
    let (people, has) = match facts.needed {
        1 => ("One person".to_owned(), "has"),
        needed => (format!("{needed} people"), "have"),
    };
    let so_far = if by.is_empty() { String::new() } else { format!(" So far: {by}.") };
    format!("{people} {has} to approve it.{so_far}")
}
