//! PKGBUILD against PKGBUILD: statements, functions, and the order in which things happen.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::fields;
use super::forms::Forms;
use super::step::Step;
use super::{PKGBUILD, Reason, Weight, reason};
use crate::domain::pkgbuild::{
    Evaluated, Event, HOLE_END, HOLE_START, Kind, Pkgbuild, Role, Statement, Unread, close, render, same,
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
    /// The last of the assignments at the top level of a name.
    last: HashMap<&'a str, usize>,
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
        let last = evaluated.assigned.iter().map(|assigned| (assigned.name, assigned.statement)).collect();
        Ok(Self { pkgbuild, evaluated, certain, counts, last })
    }

    /// What is known for certain.
    pub fn certain(&self) -> &Evaluated<'a> {
        self.certain.as_ref().unwrap_or(&self.evaluated)
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
        Some(self.line(*self.last.get(name)?))
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

    /// Statements with what they do when the file is read: everything but functions and plain assignments.
    fn acts(&self, statement: &Statement<'a>) -> bool {
        match statement.role {
            Role::Function(_) => false,
            Role::Code => true,
            Role::Assign(_) | Role::Default(_) => self.pkgbuild.events(statement).iter().any(|event| event.kind.runs()),
        }
    }
}

/// In what is assigned more often than this, the line of an element is not looked for.
const MOST_ASSIGNMENTS: usize = 200;

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
    let mut reasons = functions(old, new, &code);
    reasons.extend(commands(old, new, &code));
    reasons.extend(order(old, new));
    reasons.extend(spliced(old, new));
    reasons.extend(fields::compare(old, new, step));
    reasons
}

/// Bodies by name, in the order of definitions.
fn bodies<'r, 'a>(recipe: &'r Recipe<'a>) -> BTreeMap<&'a str, Vec<&'r Statement<'a>>> {
    let mut bodies: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for statement in &recipe.pkgbuild.statements {
        if let Role::Function(name) = statement.role {
            bodies.entry(name).or_default().push(statement);
        }
    }
    bodies
}

fn functions(old: &Recipe<'_>, new: &Recipe<'_>, forms: &Forms) -> Vec<Reason> {
    let (before, after) = (bodies(old), bodies(new));
    let names: BTreeSet<_> = before.keys().chain(after.keys()).copied().collect();
    let mut reasons = Vec::new();
    for name in names {
        let empty = Vec::new();
        let (was, is) = (before.get(name).unwrap_or(&empty), after.get(name).unwrap_or(&empty));
        if was.len() != is.len() {
            let (code, message, line) = if was.len() < is.len() {
                ("function-added", "a function is defined that was not", new.pkgbuild.line_of(is[is.len() - 1]))
            } else {
                ("function-removed", "a function is not defined any more", old.pkgbuild.line_of(was[was.len() - 1]))
            };
            let text = Some(name.as_bytes());
            let (gone, come) = if was.len() < is.len() { (None, text) } else { (text, None) };
            reasons.push(reason(code, Weight::Review, (PKGBUILD, Some(line)), gone, come, message));
            continue;
        }
        for (was, is) in was.iter().zip(is) {
            let what = ("function-changed", format!("`{name}()` does something else than before"));
            reasons.extend(body((old, was), (new, is), forms, what));
        }
    }
    reasons
}

/// Two bodies that are the same but for literal versions, or a reason.
fn body(
    (old, was): (&Recipe<'_>, &Statement<'_>),
    (new, is): (&Recipe<'_>, &Statement<'_>),
    forms: &Forms,
    (code, message): (&'static str, String),
) -> Option<Reason> {
    if old.pkgbuild.is_written_as(was, &new.pkgbuild, is) {
        return None;
    }
    let (before, after) = (old.pkgbuild.events(was), new.pkgbuild.events(is));
    let pairs = || before.iter().zip(after);
    let follows = |(old, new): (&Event<'_>, &Event<'_>)| {
        old.same(new)
            || (old.kind == new.kind
                && matches!(old.kind, Kind::Bare | Kind::Quoted)
                && forms.moved(&old.text, &new.text))
    };
    let claimed = before.len() == after.len() && pairs().all(follows);
    let first = pairs().position(|(old, new)| if claimed { !old.same(new) } else { !follows((old, new)) });
    if claimed && first.is_none() {
        return None;
    }
    if !claimed && literals_named((old, was), (new, is), forms) {
        let place = (PKGBUILD, Some(new.pkgbuild.line_of(is)));
        let message = "a value that was written out is named by its variable, or the reverse";
        return Some(reason("version-literal", Weight::Version, place, None, None, message));
    }
    let first = first.unwrap_or(before.len().min(after.len()) - 1);
    let place = (PKGBUILD, Some(line_of_difference((old, before), (new, after), first)));
    let (was, is) = (old.pkgbuild.text_at(before[first].at), new.pkgbuild.text_at(after[first].at));
    let (was, is) = (Some(was.as_bytes()), Some(is.as_bytes()));
    Some(if claimed {
        reason("version-literal", Weight::Version, place, was, is, "a version that is written out moved too")
    } else {
        let weight = if code == "code-changed" { Weight::Trust } else { Weight::Review };
        reason(code, weight, place, was, is, &message)
    })
}

/// The line of the first difference. What is missing at the end of a line is missed there, and not where the
/// next word stands.
fn line_of_difference(
    (old, before): (&Recipe<'_>, &[Event<'_>]),
    (new, after): (&Recipe<'_>, &[Event<'_>]),
    first: usize,
) -> u32 {
    let line = |recipe: &Recipe<'_>, events: &[Event<'_>], index: usize| recipe.pkgbuild.line(events[index].at);
    let (was, is) = (&before[first], &after[first]);
    let common = was.text.bytes().zip(is.text.bytes()).take_while(|(was, is)| was == is);
    let ended = usize::from(!is.text.is_empty() && was.text.len() > is.text.len() && was.text.starts_with(&*is.text));
    let lines = common.filter(|(byte, _)| *byte == b'\n').count();
    if lines > 0 {
        return line(new, after, first) + u32::try_from(lines + ended).unwrap_or(0);
    }
    let behind = first.saturating_sub(1);
    let continued_before = line(old, before, first) == line(old, before, behind);
    match is.kind {
        _ if continued_before => line(new, after, behind),
        // What stands between two commands belongs to the second.
        Kind::Separator if first + 1 < after.len() => line(new, after, first + 1),
        _ => line(new, after, first),
    }
}

/// Whether two bodies are the same once simple variables that hold a known word are written out.
fn literals_named(
    (old, was): (&Recipe<'_>, &Statement<'_>),
    (new, is): (&Recipe<'_>, &Statement<'_>),
    forms: &Forms,
) -> bool {
    let (before, after) = (written_out(old, was), written_out(new, is));
    before.len() == after.len()
        && before.iter().zip(&after).all(|(old, new)| {
            old.same(new)
                || (old.kind == new.kind
                    && matches!(old.kind, Kind::Bare | Kind::Quoted)
                    && forms.moved(&old.text, &new.text))
        })
}

/// The events of a body in which `$pkgname` and its kin stand as the words that they hold.
fn written_out<'a>(recipe: &Recipe<'a>, statement: &Statement<'a>) -> Vec<Event<'a>> {
    let events = recipe.pkgbuild.events(statement);
    let plain = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.+-".contains(&byte))
    };
    let dynamic = recipe.pkgbuild.statements.iter().any(|statement| statement.role == Role::Function("pkgver"));
    let word = |name: &str| {
        let text = recipe.evaluated.text(name).filter(|text| plain(text))?;
        let named = matches!(name, "pkgname" | "pkgbase" | "pkgrel") || (name == "pkgver" && !dynamic);
        let split = name == "pkgname" && recipe.elements(name).len() != 1;
        (named && !split && recipe.assignments(name) == 1).then(|| text.to_owned())
    };
    let mut written: Vec<Event<'a>> = Vec::with_capacity(events.len());
    let mut at = 0;
    while at < events.len() {
        let event = &events[at];
        let simple = matches!(event.kind, Kind::Param | Kind::QuotedParam)
            && events.get(at + 1).is_some_and(|next| next.kind == Kind::End);
        let text = if simple { word(&event.text) } else { None };
        let (kind, text) = match text {
            Some(text) => {
                at += 1;
                (Kind::Bare, text.into())
            }
            None => (event.kind, event.text.clone()),
        };
        at += 1;
        match written.last_mut() {
            // Empty quotes mean nothing beside letters.
            Some(last) if last.kind == Kind::Quoted && last.text.is_empty() && kind == Kind::Bare => {
                *last = Event { kind, text, at: event.at };
            }
            Some(last) if last.kind == Kind::Bare && kind == Kind::Bare => last.text.to_mut().push_str(&text),
            _ => written.push(Event { kind, text, at: event.at }),
        }
    }
    written
}

/// Commands that run as soon as the file is read.
fn commands(old: &Recipe<'_>, new: &Recipe<'_>, forms: &Forms) -> Vec<Reason> {
    let of = |recipe: &Recipe<'_>| -> Vec<usize> {
        let statements = recipe.pkgbuild.statements.iter().enumerate();
        statements.filter(|(_, statement)| statement.role == Role::Code).map(|(index, _)| index).collect()
    };
    let (before, after) = (of(old), of(new));
    let what = || ("code-changed", "a command that runs as soon as the file is read is not the one before".to_owned());
    if before.len() == after.len() {
        let pairs = before.into_iter().zip(after);
        let compared = pairs.filter_map(|(was, is)| {
            let (was, is) = (&old.pkgbuild.statements[was], &new.pkgbuild.statements[is]);
            body((old, was), (new, is), forms, what())
        });
        return compared.collect();
    }
    let known = |index: &usize, ours: &Recipe<'_>, others: &[usize], theirs: &Recipe<'_>| {
        let events = ours.assignment(*index);
        others.iter().any(|other| same(events, theirs.assignment(*other)))
    };
    let added = after.iter().filter(|index| !known(index, new, &before, old)).map(|&index| (new, index, true));
    let removed = before.iter().filter(|index| !known(index, old, &after, new)).map(|&index| (old, index, false));
    let mut reasons: Vec<_> = added
        .chain(removed)
        .map(|(recipe, index, added)| {
            let events = recipe.assignment(index);
            let text = recipe.pkgbuild.text_at(events[0].at);
            let (was, is) = if added { (None, Some(text.as_bytes())) } else { (Some(text.as_bytes()), None) };
            let message =
                if added { "a command runs as soon as the file is read" } else { "a command at the top level is gone" };
            reason("code-changed", Weight::Trust, (PKGBUILD, Some(recipe.line(index))), was, is, message)
        })
        .collect();
    if reasons.is_empty() {
        let message = "a command at the top level is there more or less often than before";
        reasons.push(reason("code-changed", Weight::Trust, (PKGBUILD, None), None, None, message));
    }
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

/// Whether what is assigned before a command that runs is still assigned before it.
fn order<'a>(old: &Recipe<'a>, new: &Recipe<'a>) -> Option<Reason> {
    let segments = |recipe: &Recipe<'a>| {
        let mut segments = vec![Vec::new()];
        for statement in &recipe.pkgbuild.statements {
            if recipe.acts(statement) {
                segments.push(Vec::new());
            }
            if let Role::Assign(name) | Role::Default(name) = statement.role {
                segments.last_mut().expect("never empty").push(name);
            }
        }
        for segment in &mut segments {
            segment.sort_unstable();
        }
        segments
    };
    let (before, after) = (segments(old), segments(new));
    let all = |segments: &[Vec<&'a str>]| {
        let mut all = segments.concat();
        all.sort_unstable();
        all
    };
    // Where names came or went, that has its own reason.
    let moved = before != after && before.len() == after.len() && all(&before) == all(&after);
    let message = "an assignment moved across a command that runs when the file is read";
    moved.then(|| reason("order-changed", Weight::Review, (PKGBUILD, None), None, None, message))
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
        let name = hole.trim_start_matches('"').trim_start_matches('$').trim_matches(['{', '}']);
        let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let name = if is_name && hole.contains('$') { name } else { "…" };
        text.extend(["${", name, "}", rest]);
    }
    text
}

/// Whether an assignment runs something that the other did not.
pub(super) fn runs_more(old: &[Event<'_>], new: &[Event<'_>]) -> bool {
    let substitutions = |events: &[Event<'_>]| {
        let mut found = Vec::new();
        for (index, event) in events.iter().enumerate() {
            if event.kind.runs() {
                found.push(render(&events[index..close(events, index)]));
            }
        }
        found
    };
    let before = substitutions(old);
    substitutions(new).iter().any(|text| !before.contains(text))
}
