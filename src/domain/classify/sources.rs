//! What is fetched: each source against the one that it was.

use std::collections::{BTreeMap, BTreeSet};

use super::address::{address, is_disguised};
use super::entries::{ALGORITHMS, Entry, entries, is_source_field, suffixes};
use super::fields::{is_only_declared, reordered};
use super::recipe::{Recipe, shown_value};
use super::step::{Step, flows};
use super::unverified::{untold, unverified};
use super::verification::{counts, verified};
use super::{PKGBUILD, Reason, Weight, reason};
use crate::domain::folder::Folder;
use crate::domain::pkgbuild::same;

/// Everything that differs in sources and checksums.
pub(super) fn compare(old: (&Recipe<'_>, &Folder), new: (&Recipe<'_>, &Folder), step: &Step) -> Vec<Reason> {
    let mut reasons: Vec<Reason> =
        suffixes([old.0, new.0]).iter().flat_map(|suffix| of_suffix(old, new, step, suffix)).collect();
    reasons.extend(names_twice(old.0, new.0));
    if old.0.elements("pkgver") != new.0.elements("pkgver") {
        reasons.extend(untold(new.0, new.1));
    }
    reasons
}

/// Arrays that are put together in more steps than before: what is compared is only the end.
fn names_twice(old: &Recipe<'_>, new: &Recipe<'_>) -> Option<Reason> {
    let count = |recipe: &Recipe<'_>| {
        let mut count: BTreeMap<String, usize> = BTreeMap::new();
        for assigned in recipe.evaluated.assigned.iter().filter(|assigned| is_source_field(assigned.name)) {
            *count.entry(assigned.name.to_owned()).or_default() += 1;
        }
        count.retain(|_, count| *count > 1);
        count
    };
    let (before, after) = (count(old), count(new));
    let more = after.iter().find(|(name, count)| before.get(*name).is_none_or(|was| was < count))?;
    let message = format!("`{}` is assigned more often than before", more.0);
    Some(reason("assigned-again", Weight::Trust, (PKGBUILD, new.line_of(more.0)), None, None, &message))
}

fn of_suffix(old: (&Recipe<'_>, &Folder), new: (&Recipe<'_>, &Folder), step: &Step, suffix: &str) -> Vec<Reason> {
    let (before, after) = (entries(old.0, suffix), entries(new.0, suffix));
    let name = format!("source{suffix}");
    let line = new.0.line_of(&name).or_else(|| old.0.line_of(&name));
    let mut reasons = counts((old.0, new.0), suffix, step.forward);
    let pairs = paired(&before, &after, step);
    let paired_new: BTreeSet<usize> = pairs.iter().map(|pair| pair.1).collect();
    let paired_old: BTreeSet<usize> = pairs.iter().map(|pair| pair.0).collect();
    let mut changed = false;
    let flows = before.len() == after.len() && flows(&name, old.0, new.0, step);
    for (was, is) in &pairs {
        let (was, is) = (&before[*was], &after[*is]);
        changed |= was.text != is.text;
        let line = new.0.line_of_element(&name, is.index).or(line);
        reasons.extend(address(was, is, (step, flows), (old.1, line)));
        reasons.extend(verified((was, is), (old.1, new.1), step, (new.0, suffix)));
    }
    for (_, entry) in before.iter().enumerate().filter(|(index, _)| !paired_old.contains(index)) {
        let message = format!("`{name}` has lost an entry");
        let shown = shown_value(&[entry.text.to_owned()]);
        reasons.push(reason("source-removed", Weight::Trust, (PKGBUILD, line), Some(shown.as_bytes()), None, &message));
    }
    for (_, entry) in after.iter().enumerate().filter(|(index, _)| !paired_new.contains(index)) {
        let weight = if is_disguised(entry.text) { Weight::Hostile } else { Weight::Trust };
        let line = new.0.line_of_element(&name, entry.index).or(line);
        let message = format!("`{name}` has an entry that it had not");
        let shown = shown_value(&[entry.text.to_owned()]);
        reasons.push(reason("source-added", weight, (PKGBUILD, line), None, Some(shown.as_bytes()), &message));
    }
    let reordered_here = pairs.iter().any(|(was, is)| was != is);
    let arrays = || ALGORITHMS.iter().map(|(algorithm, ..)| format!("{algorithm}sums{suffix}")).chain([name.clone()]);
    if reordered_here && !arrays().all(|name| is_only_declared(&name, (old.0, new.0))) {
        reasons.push(reordered(&name, (PKGBUILD, line)));
    } else if reordered_here && !reasons.iter().any(|reason| reason.code == "order") {
        let message = format!("the entries of `{name}` stand in another order, each with its checksums");
        reasons.push(reason("order", Weight::Cosmetic, (PKGBUILD, line), None, None, &message));
    }
    if changed && reasons.iter().all(|reason| !reason.code.starts_with("source-")) && written_anew(old.0, new.0, &name)
    {
        let message = format!("the entries of `{name}` follow the version");
        reasons.push(reason("source-moved", Weight::Version, (PKGBUILD, line), None, None, &message));
    }
    if old.0.elements("pkgver") != new.0.elements("pkgver") {
        reasons.extend(unverified((old.0, &before), (new.0, &after), new.1, line));
    }
    let of_checksums = |reason: &Reason| reason.code.starts_with("checksum");
    reasons.into_iter().map(|reason| if of_checksums(&reason) { reason } else { reason.about(&name) }).collect()
}

/// Whether the text of the assignments differs, and not only what they become.
fn written_anew(old: &Recipe<'_>, new: &Recipe<'_>, name: &str) -> bool {
    let statements = |recipe: &Recipe<'_>| -> Vec<usize> {
        let assigned = recipe.evaluated.assigned.iter().filter(|assigned| assigned.name == name);
        assigned.map(|assigned| assigned.statement).collect()
    };
    let (before, after) = (statements(old), statements(new));
    before.len() != after.len()
        || before.iter().zip(&after).any(|(was, is)| !same(old.assignment(*was), new.assignment(*is)))
}

/// Which old source became which new one: the same first, then those that moved, then what is left by place.
fn paired(before: &[Entry<'_>], after: &[Entry<'_>], step: &Step) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    let mut free_old: Vec<usize> = (0..before.len()).collect();
    let mut free_new: Vec<usize> = (0..after.len()).collect();
    let same_place = |old: usize, new: usize| old == new && before.len() == after.len();
    let fits: [&dyn Fn(usize, usize) -> bool; 5] = [
        &|old, new| same_place(old, new) && before[old].text == after[new].text,
        &|old, new| before[old].text == after[new].text,
        &|old, new| same_place(old, new) && step.forms.moved(before[old].text, after[new].text),
        &|old, new| step.forms.moved(before[old].text, after[new].text),
        &|old, new| same_place(old, new),
    ];
    // Many sources are paired in their places; only the rest is searched for.
    for (round, fit) in fits.into_iter().enumerate() {
        if matches!(round, 1 | 3) && free_old.len() * free_new.len() > 10_000 {
            continue;
        }
        free_old.retain(|&old| {
            let local = matches!(round, 0 | 2 | 4);
            let found = if local {
                free_new.binary_search(&old).ok().filter(|&at| fit(old, free_new[at]))
            } else {
                free_new.iter().position(|&new| fit(old, new))
            };
            let Some(found) = found else { return true };
            pairs.push((old, free_new.remove(found)));
            false
        });
    }
    pairs.sort_unstable();
    pairs
}
