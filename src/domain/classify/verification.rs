//! What happened to the checksums of a source.

use super::entries::{ALGORITHMS, Entry, STRONG, certain, is_sum, speaks_of_all};
use super::recipe::{Recipe, shown_value};
use super::step::Step;
use super::{PKGBUILD, Reason, Weight, reason};
use crate::domain::folder::Folder;
use crate::domain::pkgbuild::is_known;

/// Arrays of checksums that do not speak of every source any more, or whose values are not known.
pub(super) fn counts((old, new): (&Recipe<'_>, &Recipe<'_>), suffix: &str, forward: bool) -> Vec<Reason> {
    let name = format!("source{suffix}");
    let (before, after) = (old.elements(&name), new.elements(&name));
    let mut reasons = Vec::new();
    // What a condition may add is code, and has to be the same on both sides.
    let added = |elements: &[String]| elements[certain(elements).len()..].to_vec();
    if added(before) != added(after) {
        let message = format!("what else `{name}` may hold cannot be worked out, and is not as before");
        reasons.push(reason("source-changed", Weight::Trust, (PKGBUILD, new.line_of(&name)), None, None, &message));
    }
    let arrays = |recipe: &Recipe<'_>| {
        let names = ALGORITHMS.iter().map(|(algorithm, ..)| format!("{algorithm}sums{suffix}"));
        names.filter(|name| !recipe.elements(name).is_empty()).count()
    };
    let more = arrays(new) > arrays(old);
    if arrays(new) == 0 && arrays(old) > 0 && !after.is_empty() {
        let message = format!("there are no checksums for `{name}` any more");
        reasons.push(reason("checksum-weaker", Weight::Trust, (PKGBUILD, new.line_of(&name)), None, None, &message));
    }
    for (algorithm, digits, _) in ALGORITHMS {
        let name = format!("{algorithm}sums{suffix}");
        let (was, is) = (old.elements(&name), new.elements(&name));
        let place = (PKGBUILD, new.line_of(&name).or_else(|| old.line_of(&name)));
        let fitted = was.is_empty() || speaks_of_all(was, before);
        if fitted && !is.is_empty() && !speaks_of_all(is, after) {
            let message = format!("`{name}` has {} checksums for {} sources", is.len(), after.len());
            reasons.push(reason("checksum-weaker", Weight::Trust, place, None, None, &message));
        }
        if more && was.is_empty() && !is.is_empty() && is.iter().all(|text| text == "SKIP") {
            let message = format!("`{name}` is new and verifies nothing");
            reasons.push(reason("checksum-weaker", Weight::Review, place, None, None, &message));
        }
        let odd = |text: &&String| *text != "SKIP" && !is_sum(text, digits) && !was.contains(text);
        if let Some(text) = is.iter().find(odd) {
            let message = format!("`{name}` holds something that is not a checksum");
            let shown = shown_value(std::slice::from_ref(text));
            reasons.push(reason("checksum-weaker", Weight::Trust, place, None, Some(shown.as_bytes()), &message));
        }
        if is.iter().any(|text| !is_known(text)) && added(was) != added(is) {
            let message = format!("`{name}` cannot be worked out");
            reasons.push(reason("checksum-weaker", Weight::Review, place, None, None, &message));
        }
        if before.is_empty() && after.is_empty() && was != is {
            let kept = |(was, is): (&String, &String)| was == is || (is_sum(was, digits) && is_sum(is, digits));
            let plain = forward && was.len() == is.len() && was.iter().zip(is).all(kept);
            let (code, weight) =
                if plain { ("checksum-updated", Weight::Version) } else { ("checksum-weaker", Weight::Trust) };
            let message = format!("`{name}` changed, and there are no sources for it");
            reasons.push(reason(code, weight, place, None, None, &message));
        }
    }
    reasons
}

/// What happened to the verification of one source.
pub(super) fn verified(
    (was, is): (&Entry<'_>, &Entry<'_>),
    (old, new): (&Folder, &Folder),
    step: &Step,
    (recipe, suffix): (&Recipe<'_>, &str),
) -> Option<Reason> {
    if was.sums == is.sums {
        return None;
    }
    let best = |entry: &Entry<'_>| -> String {
        let best = ALGORITHMS
            .iter()
            .filter(|(name, digits, _)| entry.sums.get(name).is_some_and(|sum| is_sum(sum, *digits)))
            .max_by_key(|found| found.2);
        best.map_or_else(|| "SKIP".to_owned(), |(name, ..)| entry.sums[name].to_owned())
    };
    let (text_old, text_new) = (best(was), best(is));
    let line = || {
        let strongest = |entry: &Entry<'_>| {
            let valid =
                |(name, digits, _): &&(&str, usize, u16)| entry.sums.get(*name).is_some_and(|sum| is_sum(sum, *digits));
            ALGORITHMS.iter().filter(valid).max_by_key(|found| found.2).map(|found| format!("{}sums{suffix}", found.0))
        };
        let any = || is.sums.keys().next().map(|name| format!("{name}sums{suffix}"));
        let candidates = [strongest(is), strongest(was), any()].into_iter().flatten();
        candidates.into_iter().find_map(|name| recipe.line_of_element(&name, is.index))
    };
    let of = |code, weight, message: &str| {
        Some(reason(code, weight, (PKGBUILD, line()), Some(text_old.as_bytes()), Some(text_new.as_bytes()), message))
    };
    let (before, after) = (was.strength(), is.strength());
    if after == 0 && before > 0 {
        return of("checksum-skip", Weight::Trust, "a checksum was replaced by SKIP: nothing verifies this source");
    }
    if was.sums.iter().any(|(name, sum)| *sum != "SKIP" && is.sums.get(name) == Some(&"SKIP")) {
        return of("checksum-skip", Weight::Trust, "one of its checksums was replaced by SKIP");
    }
    if after < before && after < STRONG {
        return of("checksum-weaker", Weight::Trust, "checksums were removed, or replaced by a weaker algorithm");
    }
    let common =
        was.sums.iter().filter(|(name, sum)| **sum != "SKIP" && is.sums.get(*name).is_some_and(|new| *new != "SKIP"));
    let comparable = common.clone().count() > 0;
    let changed = common.clone().any(|(name, sum)| is.sums[name] != *sum);
    let source = is.source();
    let touched = !source.is_remote() && old.get(source.file()) != new.get(source.file());
    if changed || (!comparable && before > 0) {
        if !touched && !step.forward {
            return of("retag", Weight::Trust, "a checksum changed although the version did not plainly move forward");
        }
        let same = was.text == is.text && !is_computed(is.text);
        if changed && source.is_remote() && same && source.vcs.is_none() && is_immutable(is.text) {
            return of("retag", Weight::Trust, "a checksum changed, and the address that it stands for did not");
        }
    }
    if after > before {
        let message = if before == 0 {
            "a source that was not verified now is"
        } else {
            "a stronger algorithm verifies a source"
        };
        return of("checksum-stronger", Weight::Stronger, message);
    }
    if changed && was.index != is.index && (was.text == is.text || !source.is_remote()) {
        let message = "the source has another place, and its checksum did not go there with it";
        return of("checksum-order", Weight::Review, message);
    }
    if changed {
        return of("checksum-updated", Weight::Version, "a checksum moved with the version");
    }
    of("checksum-layout", Weight::Cosmetic, "the same source is verified as well as before, in another way")
}

/// Whether a part of it is only known to a run, and comes from the version.
fn is_computed(text: &str) -> bool {
    !is_known(text) && text.contains("${pkgver")
}

/// Whether an address names one state for ever: a version, a date or a commit stands in it.
pub(super) fn is_immutable(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    digits >= 2
}
