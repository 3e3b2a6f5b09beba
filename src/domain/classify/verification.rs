//! What happened to the checksums of a source.

use std::collections::HashSet;

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
    let weaker = |message: String| {
        reason("checksum-weaker", Weight::Trust, (PKGBUILD, new.line_of(&name)), None, None, &message)
    };
    let mut reasons = Vec::new();
    if added(before) != added(after) {
        let message = format!("what else `{name}` may hold cannot be worked out, and is not as before");
        reasons.push(Reason { code: "source-changed", ..weaker(message) });
    }
    let arrays = |recipe: &Recipe<'_>| {
        let names = ALGORITHMS.iter().map(|(algorithm, ..)| format!("{algorithm}sums{suffix}"));
        names.filter(|name| !recipe.elements(name).is_empty()).count()
    };
    if arrays(new) == 0 && arrays(old) > 0 && !after.is_empty() {
        reasons.push(weaker(format!("there are no checksums for `{name}` any more")));
    }
    let more = arrays(new) > arrays(old);
    for (algorithm, digits, _) in ALGORITHMS {
        let name = format!("{algorithm}sums{suffix}");
        let (was, is) = (old.elements(&name), new.elements(&name));
        let place = (PKGBUILD, new.line_of(&name).or_else(|| old.line_of(&name)));
        let array = Array { name: &name, digits, was, is, before, after, place, forward };
        reasons.extend(array.counted(more).into_iter().chain(array.odd()).chain(array.unknown()));
        reasons.extend(array.idle().into_iter().chain(array.beyond()));
    }
    reasons
}

/// What a condition may add. It is code, and has to be the same on both sides.
fn added(elements: &[String]) -> &[String] {
    &elements[certain(elements).len()..]
}

/// One array of checksums before and after, and the sources that it speaks of.
struct Array<'r> {
    name: &'r str,
    digits: usize,
    was: &'r [String],
    is: &'r [String],
    before: &'r [String],
    after: &'r [String],
    place: (&'static str, Option<u32>),
    forward: bool,
}

impl Array<'_> {
    fn reason(&self, code: &'static str, weight: Weight, texts: [Option<&str>; 2], message: &str) -> Reason {
        let [was, is] = texts.map(|text| text.map(str::as_bytes));
        reason(code, weight, self.place, was, is, message)
    }

    /// There are too few, or new ones that verify nothing.
    fn counted(&self, more: bool) -> Vec<Reason> {
        let (was, is) = (self.was, self.is);
        let mut reasons = Vec::new();
        let fitted = was.is_empty() || speaks_of_all(was, self.before);
        if fitted && !is.is_empty() && !speaks_of_all(is, self.after) {
            let message = format!("`{}` has {} checksums for {} sources", self.name, is.len(), self.after.len());
            reasons.push(self.reason("checksum-weaker", Weight::Trust, [None, None], &message));
        }
        if more && was.is_empty() && !is.is_empty() && is.iter().all(|text| text == "SKIP") {
            let message = format!("`{}` is new and verifies nothing", self.name);
            reasons.push(self.reason("checksum-weaker", Weight::Review, [None, None], &message));
        }
        reasons
    }

    /// Something in it is no checksum.
    fn odd(&self) -> Option<Reason> {
        let known: HashSet<&String> = self.was.iter().collect();
        let odd = |text: &&String| *text != "SKIP" && !is_sum(text, self.digits) && !known.contains(text);
        let text = shown_value(std::slice::from_ref(self.is.iter().find(odd)?));
        let message = format!("`{}` holds something that is not a checksum", self.name);
        Some(self.reason("checksum-weaker", Weight::Trust, [None, Some(&text)], &message))
    }

    /// It cannot be worked out.
    fn unknown(&self) -> Option<Reason> {
        let unknown = self.is.iter().any(|text| !is_known(text)) && added(self.was) != added(self.is);
        let message = format!("`{}` cannot be worked out", self.name);
        unknown.then(|| self.reason("checksum-weaker", Weight::Review, [None, None], &message))
    }

    /// It changed, and there are no sources for it.
    fn idle(&self) -> Option<Reason> {
        if !self.before.is_empty() || !self.after.is_empty() || self.was == self.is {
            return None;
        }
        let pairs = || self.was.iter().zip(self.is);
        let kept = |(was, is): (&String, &String)| was == is || (self.is_sum(was) && self.is_sum(is));
        let plain = self.forward && self.was.len() == self.is.len() && pairs().all(kept);
        let (code, weight) =
            if plain { ("checksum-updated", Weight::Version) } else { ("checksum-weaker", Weight::Trust) };
        let message = format!("`{}` changed, and there are no sources for it", self.name);
        Some(self.reason(code, weight, [None, None], &message))
    }

    /// What stands for sources that a condition or a loop may add, and so for none that is compared itself.
    fn beyond(&self) -> Vec<Reason> {
        if added(self.before).is_empty() && added(self.after).is_empty() {
            return Vec::new();
        }
        let rest = |sums, sources: &[String]| certain(sums).get(certain(sources).len()..).unwrap_or_default();
        let (was, is) = (rest(self.was, self.before), rest(self.is, self.after));
        if was.len() != is.len() {
            let message = format!("`{}` has {} more checksums and not {}", self.name, is.len(), was.len());
            return vec![self.reason("checksum-weaker", Weight::Review, [None, None], &message)];
        }
        let changed = was.iter().zip(is).filter(|(was, is)| was != is);
        let of = |(was, is): (&String, &String)| {
            let texts = [Some(was.as_str()), Some(is.as_str())];
            match (self.is_sum(was), self.is_sum(is)) {
                (true, true) if self.forward => {
                    self.reason("checksum-updated", Weight::Version, texts, "a checksum moved with the version")
                }
                (true, true) => {
                    let message = "a checksum changed although the version did not plainly move forward";
                    self.reason("retag", Weight::Trust, texts, message)
                }
                (false, true) => {
                    let message = "a source that was not verified now is";
                    self.reason("checksum-stronger", Weight::Stronger, texts, message)
                }
                (_, false) => {
                    let message = "a checksum was replaced by SKIP: nothing verifies this source";
                    self.reason("checksum-skip", Weight::Trust, texts, message)
                }
            }
        };
        changed.map(of).collect()
    }

    fn is_sum(&self, text: &str) -> bool {
        is_sum(text, self.digits)
    }
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
    let shown = |entry: &Entry<'_>| entry.best().map_or("SKIP", |(_, sum, _)| sum).to_owned();
    let (text_old, text_new) = (shown(was), shown(is));
    let line = || {
        let strongest = |entry: &Entry<'_>| entry.best().map(|(name, ..)| format!("{name}sums{suffix}"));
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
        if changed && was.text == is.text && old.get(source.file()).is_some() && !source.is_remote() && !touched {
            return of("retag", Weight::Trust, "a checksum changed, and the file that it stands for did not");
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
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    let telling = words.filter(|word| !MACHINES.contains(&word.to_ascii_lowercase().as_str()));
    telling.flat_map(str::bytes).filter(u8::is_ascii_digit).count() >= 2
}

/// Words with digits that name a machine, and no version.
const MACHINES: [&str; 22] = [
    "x86", "64", "32", "amd64", "x64", "i386", "i486", "i586", "i686", "ia32", "aarch64", "arm64", "armv6", "armv6h",
    "armv7", "armv7h", "armv7l", "armv8", "riscv64", "win32", "win64", "linux64",
];
