//! What runs: functions and commands at the top level, before and after.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::forms::Forms;
use super::naming::literals_named;
use super::recipe::Recipe;
use super::{PKGBUILD, Reason, Weight, reason};
use crate::domain::pkgbuild::{Event, Kind, Role, Statement, render};

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

pub(super) fn functions(old: &Recipe<'_>, new: &Recipe<'_>, forms: &Forms) -> Vec<Reason> {
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
    let line = line_of_difference((old, before), (new, after), first);
    let place = (PKGBUILD, Some(line));
    let (was, is) = lines_of_difference((old, before), (new, after), first);
    let (was, is) = (was.map(str::as_bytes), is.map(str::as_bytes));
    Some(if claimed {
        reason("version-literal", Weight::Version, place, was, is, "a version that is written out moved too")
    } else {
        let weight = if code == "code-changed" { Weight::Trust } else { Weight::Review };
        reason(code, weight, place, was, is, &message)
    })
}

/// What stood on the first line that differs, and what stands there. A line that is only on one side has none on the
/// other.
fn lines_of_difference<'a>(
    (old, before): (&Recipe<'a>, &[Event<'_>]),
    (new, after): (&Recipe<'a>, &[Event<'_>]),
    first: usize,
) -> (Option<&'a str>, Option<&'a str>) {
    let shown = |(recipe, events): (&Recipe<'a>, &[Event<'_>]), (other, others): (&Recipe<'a>, &[Event<'_>])| {
        let line = line_of_difference((other, others), (recipe, events), first);
        let at = events[first].at;
        let at = if recipe.pkgbuild.line(at) == line { at } else { recipe.pkgbuild.start_of(line) };
        recipe.pkgbuild.text_at(at)
    };
    let was = (!has_lines_more((new, after), before, first)).then(|| shown((old, before), (new, after)));
    let is = (!has_lines_more((old, before), after, first)).then(|| shown((new, after), (old, before)));
    (was, is)
}

/// Whether events differ from others only in that lines of their own stand between them, from about `first` on.
fn has_lines_more((recipe, events): (&Recipe<'_>, &[Event<'_>]), others: &[Event<'_>], first: usize) -> bool {
    let Some(more) = events.len().checked_sub(others.len()).filter(|more| *more > 0) else { return false };
    if !events[first + more..].iter().zip(&others[first..]).all(|(one, other)| one.same(other)) {
        return false;
    }
    let line = |index: usize| recipe.pkgbuild.line(events[index].at);
    // What stands between two commands belongs to the second.
    let begins = |index: usize| line(index + usize::from(events[index].kind == Kind::Separator));
    // Where `b` stands between `a` and `c`, it may as well be said that `b` and what is between it and `c` does.
    let slides = |index: &usize| events[*index].same(&events[*index + more]);
    let places = std::iter::once(first).chain((0..first).rev().take_while(slides));
    places.into_iter().any(|index| index > 0 && begins(index) > line(index - 1))
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

/// Commands that run as soon as the file is read.
pub(super) fn commands(old: &Recipe<'_>, new: &Recipe<'_>, forms: &Forms) -> Vec<Reason> {
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
    let told = |recipe: &Recipe<'_>, commands: &[usize]| -> HashSet<String> {
        commands.iter().map(|index| render(recipe.assignment(*index))).collect()
    };
    let (known_old, known_new) = (told(old, &before), told(new, &after));
    let is_unknown =
        |recipe: &Recipe<'_>, known: &HashSet<String>, index: usize| !known.contains(&render(recipe.assignment(index)));
    let added = after.into_iter().filter(|&index| is_unknown(new, &known_old, index)).map(|index| (new, index, true));
    let removed =
        before.into_iter().filter(|&index| is_unknown(old, &known_new, index)).map(|index| (old, index, false));
    let to_reason = |(recipe, index, added): (&Recipe<'_>, usize, bool)| {
        let text = recipe.pkgbuild.text_at(recipe.assignment(index)[0].at).as_bytes();
        let (was, is) = if added { (None, Some(text)) } else { (Some(text), None) };
        let message =
            if added { "a command runs as soon as the file is read" } else { "a command at the top level is gone" };
        reason("code-changed", Weight::Trust, (PKGBUILD, Some(recipe.line(index))), was, is, message)
    };
    let mut reasons: Vec<_> = added.chain(removed).map(to_reason).collect();
    if reasons.is_empty() {
        let message = "a command at the top level is there more or less often than before";
        reasons.push(reason("code-changed", Weight::Trust, (PKGBUILD, None), None, None, message));
    }
    reasons
}
