//! PKGBUILD against PKGBUILD: what was read of each, and the order in which things happen.

use std::cell::OnceCell;
use std::collections::{BTreeSet, HashMap, HashSet};

use super::naming::Mentions;
use super::step::Step;
use super::usage::Usage;
use super::{PKGBUILD, Reason, Weight, bodies, fields, order, reason};
use crate::domain::pkgbuild::{
    Evaluated, Event, HOLE_END, HOLE_START, Kind, Pkgbuild, Role, Statement, Unread, Value, close, render, unmarked,
};

/// A PKGBUILD as it was read, and what its variables hold.
#[derive(Debug)]
pub(super) struct Recipe<'a> {
    pub pkgbuild: Pkgbuild<'a>,
    /// For comparing: commands that differ are reasons of their own, so here they are taken to set nothing but
    /// what they name.
    pub evaluated: Evaluated<'a>,
    /// What is known for certain, where that is less.
    certain: Option<Evaluated<'a>>,
    /// How often names are assigned anywhere.
    counts: HashMap<&'a str, usize>,
    /// Which of the assignments at the top level are those of a name.
    places: HashMap<&'a str, Vec<usize>>,
    mentions: OnceCell<Mentions>,
    usage: OnceCell<Usage>,
}

impl<'a> Recipe<'a> {
    pub fn read(bytes: &'a [u8]) -> Result<Self, Unread> {
        Self::read_after(bytes, None)
    }

    /// Reads a file of which an earlier state was read.
    pub fn read_after(bytes: &'a [u8], earlier: Option<&Self>) -> Result<Self, Unread> {
        let pkgbuild = Pkgbuild::read_after(bytes, earlier.map(|earlier| &earlier.pkgbuild))?;
        let evaluated = pkgbuild.assume();
        let certain = evaluated.lost.then(|| pkgbuild.evaluate());
        let counts = counts(&pkgbuild);
        let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
        for (place, assigned) in evaluated.assigned.iter().enumerate() {
            places.entry(assigned.name).or_default().push(place);
        }
        let (mentions, usage) = (OnceCell::new(), OnceCell::new());
        Ok(Self { pkgbuild, evaluated, certain, counts, places, mentions, usage })
    }

    /// What is known for certain.
    pub fn certain(&self) -> &Evaluated<'a> {
        self.certain.as_ref().unwrap_or(&self.evaluated)
    }

    /// The names that the file speaks of.
    pub fn mentions(&self) -> &Mentions {
        self.mentions.get_or_init(|| Mentions::of(self))
    }

    /// The elements of a variable; none if it was never assigned.
    pub fn elements(&self, name: &str) -> &[String] {
        self.evaluated.values.get(name).map_or(&[], |value| value.elements())
    }

    /// The events of an assignment.
    pub fn assignment(&self, statement: usize) -> &[Event<'a>] {
        self.pkgbuild.events(&self.pkgbuild.statements[statement])
    }

    pub fn line(&self, statement: usize) -> u32 {
        self.pkgbuild.line_of(&self.pkgbuild.statements[statement])
    }

    /// The line on which a variable is assigned last.
    pub fn line_of(&self, name: &str) -> Option<u32> {
        let last = *self.places.get(name)?.last()?;
        Some(self.line(self.evaluated.assigned[last].statement))
    }

    /// How many of the assignments at the top level of a name stand before a statement.
    pub fn assigned_before(&self, name: &str, statement: usize) -> usize {
        let is_before = |place: &usize| self.evaluated.assigned[*place].statement < statement;
        self.places.get(name).map_or(0, |places| places.partition_point(is_before))
    }

    /// What the last of them gives, if there is one.
    pub fn value_before(&self, name: &str, statement: usize) -> Option<&Value> {
        let last = self.assigned_before(name, statement).checked_sub(1)?;
        Some(&self.evaluated.assigned[self.places[name][last]].value)
    }

    /// What is done with variables.
    pub fn usage(&self) -> &Usage {
        self.usage.get_or_init(|| Usage::of(self))
    }

    /// The line on which an element of a variable is written: the element at this place in its value.
    pub fn line_of_element(&self, name: &str, index: usize) -> Option<u32> {
        if self.assignments(name) > MOST_ASSIGNMENTS {
            return self.line_of(name);
        }
        let mut found = None;
        let mut before = 0;
        for assigned in self.evaluated.assigned.iter().filter(|assigned| assigned.name == name) {
            let events = self.assignment(assigned.statement);
            let from = if events[0].kind == Kind::Append { before } else { 0 };
            before = assigned.value.elements().len();
            if (from..before).contains(&index) {
                let at = place_of(&words_of(events), index - from, before - from).unwrap_or(events[0].at);
                found = Some(self.pkgbuild.line(at));
            }
        }
        found.or_else(|| self.line_of(name))
    }

    /// How often a name is assigned anywhere in the file.
    pub fn assignments(&self, name: &str) -> usize {
        self.counts.get(name).copied().unwrap_or(0)
    }

    /// Statements with what they do when the file is read: everything but functions and assignments that only
    /// assign.
    pub fn acts(&self, statement: &Statement<'a>) -> bool {
        let events = self.pkgbuild.events(statement);
        // The operator of a default is what makes it one.
        let own = if matches!(statement.role, Role::Default(_)) {
            events.iter().position(|event| event.kind == Kind::ParamOp)
        } else {
            None
        };
        let acts = |(at, event): (usize, &Event<'_>)| match event.kind {
            Kind::Arithmetic => true,
            Kind::ParamOp => own != Some(at) && matches!(&*event.text, ":=" | "="),
            Kind::Index => {
                let inside = &events[at + 1..close(events, at)];
                let assigns = |text: &str| text.contains('=') || text.contains("++") || text.contains("--");
                inside.iter().any(|event| event.kind.opens() || assigns(&event.text))
            }
            kind => kind.runs(),
        };
        match statement.role {
            Role::Function(_) => false,
            Role::Code => true,
            Role::Assign(_) | Role::Default(_) => events.iter().enumerate().any(acts),
        }
    }
}

/// In what is assigned more often than this, the line of an element is not looked for.
const MOST_ASSIGNMENTS: usize = 20;

fn counts<'a>(pkgbuild: &Pkgbuild<'a>) -> HashMap<&'a str, usize> {
    let mut counts = HashMap::new();
    for statement in &pkgbuild.statements {
        let events = pkgbuild.events(statement).iter();
        let assigned = events.filter(|event| matches!(event.kind, Kind::Assign | Kind::Append));
        let default = if let Role::Default(name) = statement.role { Some(name) } else { None };
        for name in assigned.map(Event::name).chain(default) {
            *counts.entry(name).or_default() += 1;
        }
    }
    counts
}

/// Where the words of an array begin, and whether each stands for one element.
fn words_of(events: &[Event<'_>]) -> Vec<(usize, bool)> {
    let mut words = Vec::new();
    let mut at = events.iter().position(|event| event.kind == Kind::Array).map_or(events.len(), |at| at + 1);
    while at < events.len() && events[at].kind != Kind::End {
        let end = close(events, at);
        let one = |event: &Event<'_>| event.kind != Kind::Bare || !event.text.contains('{');
        words.push((events[at].at, events[at..end].iter().all(one)));
        at = end;
    }
    words
}

/// The word that gave an element, counted from the side on which every word gave one.
fn place_of(words: &[(usize, bool)], index: usize, elements: usize) -> Option<usize> {
    let sure = |words: &mut dyn Iterator<Item = &(usize, bool)>, count: usize| {
        let words: Vec<_> = words.take(count + 1).collect();
        let certain = words.len() == count + 1 && (words.len() <= 1 || words[..count].iter().all(|word| word.1));
        certain.then(|| words[count].0)
    };
    sure(&mut words.iter(), index).or_else(|| sure(&mut words.iter().rev(), elements - 1 - index))
}

/// Everything that differs between two PKGBUILDs, apart from versions, sources and checksums.
pub(super) fn compare(old: &Recipe<'_>, new: &Recipe<'_>, step: &Step) -> Vec<Reason> {
    let code = step.forms.for_code();
    let mut reasons = bodies::functions(old, new, &code);
    reasons.extend(bodies::commands(old, new, &code));
    reasons.extend(order::order(old, new));
    reasons.extend(spliced(old, new));
    reasons.extend(fields::compare(old, new, step));
    reasons.extend(order::displaced(old, new, step));
    reasons
}

/// Words that are split by quotes now and were not.
fn spliced(old: &Recipe<'_>, new: &Recipe<'_>) -> Vec<Reason> {
    let known: BTreeSet<&str> = old.pkgbuild.spliced().map(|(word, _)| word).collect();
    let added = new.pkgbuild.spliced().filter(|(word, _)| !known.contains(word));
    let to_reason = |(word, at): (&str, usize)| {
        let message = "a name is split by quotes, so that a search does not find it";
        let place = (PKGBUILD, Some(new.pkgbuild.line(at)));
        reason("obfuscation", Weight::Hostile, place, None, Some(word.as_bytes()), message)
    };
    added.take(10).map(to_reason).collect()
}

/// The names that a variable is put together from, itself included, through other variables too.
pub(super) fn ingredients(recipe: &Recipe<'_>, roots: &[&str]) -> BTreeSet<String> {
    let mut found: BTreeSet<String> = roots.iter().map(|&name| name.to_owned()).collect();
    // A file has few variables and they refer backwards, so a few rounds reach the end.
    for _ in 0..6 {
        let before = found.len();
        for assigned in &recipe.evaluated.assigned {
            if found.contains(assigned.name) {
                let events = recipe.assignment(assigned.statement).iter();
                let params = events.filter(|event| {
                    matches!(event.kind, Kind::Param | Kind::QuotedParam | Kind::Length | Kind::Indirect)
                });
                found.extend(params.map(|event| event.text.to_string()));
            }
        }
        if found.len() == before {
            break;
        }
    }
    found
}

/// What the value of an assignment looks like to a reader: `${name}` and `${…}` for what only a run would tell.
pub(super) fn shown_value(elements: &[String]) -> String {
    elements.iter().map(|element| shown_element(element)).collect::<Vec<_>>().join(" ")
}

fn shown_element(element: &str) -> String {
    let mut parts = element.split(HOLE_START);
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (hole, rest) = part.split_once(HOLE_END).unwrap_or((part, ""));
        let hole = unmarked(hole);
        let name = hole.trim_start_matches('"').trim_start_matches('$').trim_matches(['{', '}']);
        let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let name = if is_name && hole.contains('$') { name } else { "…" };
        text.extend(["${", name, "}", rest]);
    }
    text
}

/// Everything that is run to get a value, as texts that stand for it.
pub(super) fn substitutions(events: &[Event<'_>]) -> HashSet<String> {
    let runs = events.iter().enumerate().filter(|(_, event)| event.kind.runs());
    runs.map(|(index, _)| render(&events[index..close(events, index)])).collect()
}
