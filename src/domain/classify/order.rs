//! The order in which things happen while a file is read: what a value is put together from has to be what it was
//! put together from before.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::naming::names_in;
use super::recipe::Recipe;
use super::step::Step;
use super::{PKGBUILD, Reason, Weight, reason};
use crate::domain::pkgbuild::{Assigned, Event, HOLE_END, HOLE_START, Kind, Role, same};

/// Variables that change what an expansion gives without being named there.
const IMPLICIT: [&str; 8] =
    ["IFS", "LC_ALL", "LC_CTYPE", "LC_COLLATE", "LANG", "HOME", "GLOBIGNORE", "POSIXLY_CORRECT"];

/// Whether what is assigned or defined before a command that runs still is before it. Where a command may have
/// made a name stand for another variable, no assignment may pass another.
pub(super) fn order<'a>(old: &Recipe<'a>, new: &Recipe<'a>) -> Option<Reason> {
    let (all_old, all_new) = (totals(old), totals(new));
    let code = |recipe: &Recipe<'a>| {
        recipe.pkgbuild.statements.iter().filter(|statement| statement.role == Role::Code).count()
    };
    // Commands that came or went have their own reason, and so have names; other names may not hide behind these.
    if code(old) != code(new) {
        return None;
    }
    let kept = |name: &&'a str| all_old.get(name) == all_new.get(name);
    let acting = (acting(old), acting(new));
    let both: HashSet<_> = acting.0.intersection(&acting.1).copied().collect();
    let (before, after) = (segments(old, &kept, &both), segments(new, &kept, &both));
    let lost = old.evaluated.lost || new.evaluated.lost;
    let moved = before != after || (lost && sequence(old, &kept) != sequence(new, &kept));
    let message = "an assignment or a function moved across a command that runs when the file is read";
    moved.then(|| reason("order-changed", Weight::Review, (PKGBUILD, None), None, None, message))
}

/// How often names are given something.
fn totals<'a>(recipe: &Recipe<'a>) -> HashMap<&'a str, usize> {
    let mut totals = HashMap::new();
    for statement in &recipe.pkgbuild.statements {
        if let Role::Assign(name) | Role::Default(name) | Role::Function(name) = statement.role {
            *totals.entry(name).or_default() += 1;
        }
    }
    totals
}

/// Assignments that do something else too: which of a name they are.
fn acting<'a>(recipe: &Recipe<'a>) -> HashSet<(&'a str, usize)> {
    let statements = recipe.pkgbuild.statements.iter().enumerate();
    let acting = statements.filter_map(|(at, statement)| match statement.role {
        Role::Assign(name) | Role::Default(name) if recipe.acts(statement) => {
            Some((name, recipe.assigned_before(name, at)))
        }
        _ => None,
    });
    acting.collect()
}

/// The names that are given something between what runs: commands, and assignments that run something in `both`.
fn segments<'a>(
    recipe: &Recipe<'a>,
    kept: &impl Fn(&&'a str) -> bool,
    both: &HashSet<(&'a str, usize)>,
) -> Vec<Vec<&'a str>> {
    let mut segments = vec![Vec::new()];
    for (at, statement) in recipe.pkgbuild.statements.iter().enumerate() {
        let (name, runs) = match statement.role {
            Role::Assign(name) | Role::Default(name) => {
                (Some(name), !both.is_empty() && both.contains(&(name, recipe.assigned_before(name, at))))
            }
            Role::Function(name) => (Some(name), false),
            Role::Code => (None, true),
        };
        if runs {
            segments.push(Vec::new());
        }
        segments.last_mut().expect("never empty").extend(name.filter(kept));
    }
    for segment in &mut segments {
        segment.sort_unstable();
    }
    segments
}

fn sequence<'a>(recipe: &Recipe<'a>, kept: &impl Fn(&&'a str) -> bool) -> Vec<&'a str> {
    recipe.evaluated.assigned.iter().map(|assigned| assigned.name).filter(kept).collect()
}

/// Assignments that are put together from something else than before, because they or what they are put together
/// from stand elsewhere. What is claimed by its value is not asked again.
pub(super) fn displaced(old: &Recipe<'_>, new: &Recipe<'_>, step: &Step) -> Vec<Reason> {
    let mut pairs: BTreeMap<&str, (Vec<&Assigned<'_>>, Vec<&Assigned<'_>>)> = BTreeMap::new();
    for assigned in &old.evaluated.assigned {
        pairs.entry(assigned.name).or_default().0.push(assigned);
    }
    for assigned in &new.evaluated.assigned {
        pairs.entry(assigned.name).or_default().1.push(assigned);
    }
    let of_name = |(name, (before, after)): (&str, (Vec<&Assigned<'_>>, Vec<&Assigned<'_>>))| {
        let pairs = || before.iter().zip(&after).filter(|_| before.len() == after.len());
        let guilty = pairs().find(|(was, is)| is_displaced((old, was), (new, is), step))?.1;
        let message = format!("`{name}` is put together from other values than before, because lines changed places");
        let place = (PKGBUILD, Some(new.line(guilty.statement)));
        let text = new.pkgbuild.text_at(new.assignment(guilty.statement)[0].at);
        let reason = reason("order-changed", Weight::Review, place, None, Some(text.as_bytes()), &message);
        Some(reason.about(name))
    };
    pairs.into_iter().filter_map(of_name).collect()
}

fn is_displaced(
    (old, was): (&Recipe<'_>, &Assigned<'_>),
    (new, is): (&Recipe<'_>, &Assigned<'_>),
    step: &Step,
) -> bool {
    let known = was.value.is_known() && is.value.is_known();
    if known && was.value == is.value {
        return false;
    }
    let (before, after) = (old.assignment(was.statement), new.assignment(is.statement));
    if same(before, after) {
        let pairs = || was.value.elements().iter().zip(is.value.elements());
        let lengths = was.value.elements().len() == is.value.elements().len();
        let moved = known && lengths && pairs().all(|(was, is)| step.forms.moved(was, is));
        return !moved && !follows((old, was.statement), (new, is.statement));
    }
    // What differs is compared by value, and a hole has to stand for the same.
    let holes = [was, is].into_iter().flat_map(|assigned| assigned.value.elements()).flat_map(|text| holes_in(text));
    !known && !finds_the_same(holes.flat_map(names_in), (old, was.statement), (new, is.statement))
}

/// Whether the value of an assignment that is written as before follows from the values that it followed from
/// before: those have their own reasons, if they differ.
pub(super) fn follows((old, was): (&Recipe<'_>, usize), (new, is): (&Recipe<'_>, usize)) -> bool {
    let events = new.assignment(is);
    let names = || events.iter().flat_map(|event| names_in(&event.text));
    if !finds_the_same(names(), (old, was), (new, is)) {
        return false;
    }
    // A number that chooses what is taken may not move at all.
    !chooses(events) || names().all(|name| old.value_before(name, was) == new.value_before(name, is))
}

fn finds_the_same<'n>(
    names: impl Iterator<Item = &'n str>,
    (old, was): (&Recipe<'_>, usize),
    (new, is): (&Recipe<'_>, usize),
) -> bool {
    let mut names = names.chain(IMPLICIT);
    names.all(|name| old.assigned_before(name, was) == new.assigned_before(name, is))
}

/// Whether something in it counts, or says by a value which other is taken.
fn chooses(events: &[Event<'_>]) -> bool {
    let literal = |event: &Event<'_>| {
        matches!(event.kind, Kind::Bare | Kind::Quoted)
            && (matches!(&*event.text, "@" | "*") || event.text.bytes().all(|byte| b"0123456789- ".contains(&byte)))
    };
    events.iter().enumerate().any(|(at, event)| match event.kind {
        Kind::Arithmetic | Kind::Length | Kind::Indirect => true,
        Kind::Index => !events.get(at + 1).is_some_and(literal),
        Kind::ParamOp if event.text == ":" => {
            let end =
                events[at..].iter().position(|event| event.kind == Kind::End).map_or(events.len(), |end| at + end);
            !events[at + 1..end].iter().all(|event| event.kind == Kind::ParamPart || literal(event))
        }
        _ => false,
    })
}

/// The texts of the holes in a value.
fn holes_in(text: &str) -> impl Iterator<Item = &str> {
    text.split(HOLE_START).skip(1).map(|part| part.split_once(HOLE_END).map_or(part, |(hole, _)| hole))
}
