//! What is fetched, and what verifies it: each source with the checksums that stand for it.

use std::collections::{BTreeMap, BTreeSet};

use super::recipe::{Recipe, shown_value};
use super::step::{Step, flows, is_commit};
use super::{PKGBUILD, Reason, Weight, reason};
use crate::domain::folder::Folder;
use crate::domain::pkgbuild::{OPEN, Source, is_known, same};

/// Checksums: name, digits, strength.
const ALGORITHMS: [(&str, usize, u16); 8] = [
    ("ck", 0, 1),
    ("md5", 32, 2),
    ("sha1", 40, 3),
    ("sha224", 56, 4),
    ("sha256", 64, 256),
    ("sha384", 96, 384),
    ("sha512", 128, 512),
    ("b2", 128, 512),
];

/// Strengths from here on are as good as each other.
const STRONG: u16 = 256;

/// Endings of signatures.
pub(super) const SIGNATURES: [&str; 3] = [".sig", ".asc", ".sign"];

/// Whether a variable names sources or checksums.
pub(super) fn is_source_field(name: &str) -> bool {
    name == "source" || name.starts_with("source_") || is_sums(name)
}

/// Whether a variable holds checksums.
pub(super) fn is_sums(name: &str) -> bool {
    name.split_once("sums").is_some_and(|(algorithm, rest)| {
        ALGORITHMS.iter().any(|(known, ..)| *known == algorithm) && (rest.is_empty() || rest.starts_with('_'))
    })
}

/// Checksums of one source, by algorithm.
type Sums<'r> = BTreeMap<&'static str, &'r str>;

/// One source and what stands for it.
#[derive(Debug, Clone)]
struct Entry<'r> {
    text: &'r str,
    /// Its place in the array.
    index: usize,
    sums: Sums<'r>,
}

impl Entry<'_> {
    fn source(&self) -> Source<'_> {
        Source::split(self.text)
    }

    /// The strength of the best checksum.
    fn strength(&self) -> u16 {
        let valid = |(name, digits, strength): &(&str, usize, u16)| {
            let sum = self.sums.get(name)?;
            is_sum(sum, *digits).then_some(*strength)
        };
        ALGORITHMS.iter().filter_map(valid).max().unwrap_or(0)
    }
}

fn is_sum(text: &str, digits: usize) -> bool {
    let full = if digits == 0 { text.bytes().all(|byte| byte.is_ascii_digit()) } else { text.len() == digits };
    !text.is_empty() && full && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The sources of one architecture (`""` for all), without those that a condition may add.
fn entries<'r>(recipe: &'r Recipe<'_>, suffix: &str) -> Vec<Entry<'r>> {
    let sources = recipe.elements(&format!("source{suffix}"));
    let certain = certain(sources);
    let mut entries: Vec<_> = certain
        .iter()
        .enumerate()
        .map(|(index, text)| Entry { text: text.as_str(), index, sums: Sums::new() })
        .collect();
    for (algorithm, ..) in ALGORITHMS {
        let sums = recipe.elements(&format!("{algorithm}sums{suffix}"));
        // makepkg takes an array only if it speaks of every source.
        if speaks_of_all(sums, sources) {
            for (entry, sum) in entries.iter_mut().zip(sums) {
                entry.sums.insert(algorithm, sum);
            }
        }
    }
    entries
}

/// Whether an element stands for any number of elements that a condition may add.
fn is_open(element: &str) -> bool {
    element.starts_with(OPEN)
}

fn certain(elements: &[String]) -> &[String] {
    &elements[..elements.iter().position(|element| is_open(element)).unwrap_or(elements.len())]
}

fn speaks_of_all(sums: &[String], sources: &[String]) -> bool {
    let open = |elements: &[String]| elements.len() > certain(elements).len();
    if open(sums) || open(sources) {
        certain(sums).len() >= certain(sources).len()
    } else {
        sums.len() == sources.len()
    }
}

/// Everything that differs in sources and checksums.
pub(super) fn compare(old: (&Recipe<'_>, &Folder), new: (&Recipe<'_>, &Folder), step: &Step) -> Vec<Reason> {
    let mut reasons: Vec<Reason> =
        suffixes([old.0, new.0]).iter().flat_map(|suffix| of_suffix(old, new, step, suffix)).collect();
    reasons.extend(names_twice(old.0, new.0));
    reasons
}

/// What stands behind `source`: nothing, or an architecture.
fn suffixes<const N: usize>(recipes: [&Recipe<'_>; N]) -> BTreeSet<String> {
    let names = recipes.into_iter().flat_map(|recipe| recipe.evaluated.values.keys());
    let fields = names.filter(|name| is_source_field(name));
    fields.map(|name| name.find('_').map_or_else(String::new, |at| name[at..].to_owned())).collect()
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
        reasons.extend(address(was, is, (step, flows), line));
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
    if pairs.iter().any(|(was, is)| was != is) && !reasons.iter().any(|reason| reason.code == "order") {
        let message = format!("the entries of `{name}` stand in another order, each with its checksums");
        reasons.push(reason("order", Weight::Cosmetic, (PKGBUILD, line), None, None, &message));
    }
    if changed && reasons.iter().all(|reason| !reason.code.starts_with("source-")) && written_anew(old.0, new.0, &name)
    {
        let message = format!("the entries of `{name}` follow the version");
        reasons.push(reason("source-moved", Weight::Version, (PKGBUILD, line), None, None, &message));
    }
    if old.0.elements("pkgver") != new.0.elements("pkgver") {
        reasons.extend(unverified((old.0, &before), (new.0, &after), line));
    }
    reasons
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

/// Arrays of checksums that do not speak of every source any more, or whose values are not known.
fn counts((old, new): (&Recipe<'_>, &Recipe<'_>), suffix: &str, forward: bool) -> Vec<Reason> {
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

/// Hosts that are not what they look like, and paths that lead elsewhere.
fn is_disguised(text: &str) -> bool {
    let source = Source::split(text);
    let path = source.path.to_ascii_lowercase();
    let climbs = path.split('/').any(|part| part == "..") || path.contains("%2e");
    source.is_remote() && (source.authority.contains(['@', '\\']) || !source.authority.is_ascii() || climbs)
}

/// What happened to the address of one source.
fn address(was: &Entry<'_>, is: &Entry<'_>, (step, flows): (&Step, bool), line: Option<u32>) -> Option<Reason> {
    if was.text == is.text {
        return None;
    }
    let (before, after) = (was.source(), is.source());
    let shown = |entry: &Entry<'_>| shown_value(&[entry.text.to_owned()]);
    let of = |code, weight, message: &str| {
        let (was, is) = (shown(was), shown(is));
        Some(reason(code, weight, (PKGBUILD, line), Some(was.as_bytes()), Some(is.as_bytes()), message))
    };
    if is_disguised(is.text) && !is_disguised(was.text) {
        return of("path-escape", Weight::Hostile, "an address is disguised, or climbs out of its path");
    }
    if !after.is_remote() && !before.is_remote() {
        let follows = flows || step.forms.moved(was.text, is.text);
        return if follows {
            None
        } else {
            of("source-changed", Weight::Review, "another file of the package is used")
        };
    }
    if before.authority != after.authority || before.is_remote() != after.is_remote() || before.vcs != after.vcs {
        return of("source-host", Weight::Trust, "it is fetched from another place");
    }
    if before.owner() != after.owner() && !owner_kept(before.owner(), after.owner(), step) {
        return of("source-owner", Weight::Trust, "it is fetched from another account or project");
    }
    if before.scheme != after.scheme
        && (before.scheme, after.scheme) != ("http", "https")
        && (before.scheme, after.scheme) != ("git", "https")
    {
        return of("source-scheme", Weight::Trust, "it is fetched by a protocol that protects less");
    }
    let kind =
        |source: &Source<'_>| source.fragment.map(|fragment| fragment.split('=').next().unwrap_or_default().to_owned());
    if kind(&before) != kind(&after) || before.query != after.query && before.vcs.is_some() {
        return of("source-pin", Weight::Trust, "what pins the source to a state is of another kind, or gone");
    }
    let rest = |source: &Source<'_>| {
        let owner = source.owner().map_or(0, str::len);
        [
            source.path[owner.min(source.path.len())..].to_owned(),
            source.query.unwrap_or_default().to_owned(),
            source.name.unwrap_or_default().to_owned(),
        ]
    };
    let kept = before.query.is_some() == after.query.is_some() && before.name.is_some() == after.name.is_some();
    let follows = kept
        && rest(&before)
            .iter()
            .zip(&rest(&after))
            .all(|(was, is)| step.forms.moved(was, is) || (step.forward && same_but_commits(was, is)));
    let (was_pin, is_pin) = (before.fragment.unwrap_or_default(), after.fragment.unwrap_or_default());
    let pinned = step.forms.moved(was_pin, is_pin) || (step.forward && same_but_commits(was_pin, is_pin));
    if !pinned && !flows {
        return of("source-pin", Weight::Trust, "the source is pinned to another state, and not with the version");
    }
    if !follows && !flows {
        return of("source-changed", Weight::Trust, "the address changed, and not only with the version");
    }
    if before.scheme == after.scheme { None } else { of("https", Weight::Stronger, "it is fetched over https now") }
}

/// Owner and repository may not move, apart from a version in the name of the repository.
fn owner_kept(before: Option<&str>, after: Option<&str>, step: &Step) -> bool {
    let (Some(before), Some(after)) = (before, after) else { return false };
    let (Some((owner, was)), Some((same, is))) = (before.split_once('/'), after.split_once('/')) else { return false };
    owner == same && step.forms.moved(was, is)
}

/// The same text but for whole commit ids.
fn same_but_commits(was: &str, is: &str) -> bool {
    let words = |text: &str| -> Vec<String> {
        text.split_inclusive(|c: char| !c.is_ascii_alphanumeric()).map(str::to_owned).collect()
    };
    let (before, after) = (words(was), words(is));
    let bare = |word: &str| word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned();
    before.len() == after.len()
        && before.iter().zip(&after).all(|(was, is)| {
            let (commit_old, commit_new) = (bare(was), bare(is));
            was == is
                || (is_commit(&commit_old)
                    && is_commit(&commit_new)
                    && commit_old.len() == commit_new.len()
                    && was[commit_old.len()..] == is[commit_new.len()..])
        })
}

/// What happened to the verification of one source.
fn verified(
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
        if changed && source.is_remote() && was.text == is.text && source.vcs.is_none() && is_immutable(is.text) {
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

/// Whether an address names one state for ever: a version, a date or a commit stands in it.
fn is_immutable(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    digits >= 2
}

/// Whether its address is that of a text for people, such as a licence.
fn is_terms(entry: &Entry<'_>) -> bool {
    let path = entry.source().path.to_ascii_lowercase();
    let name = path.rsplit('/').next().unwrap_or_default();
    let stem = name.split('.').next().unwrap_or_default();
    let words = ["terms", "license", "licenses", "licence", "copying", "eula", "legal", "privacy", "notice"];
    let ending = name[stem.len()..].trim_start_matches('.');
    is_known(entry.text)
        && entry.source().query.is_none()
        && matches!(ending, "" | "html" | "md" | "txt")
        && (words.contains(&stem) || ending == "md" || ending == "html")
}

/// Whether something is downloaded that was not, and verified.
fn brings_verified(old: &Recipe<'_>, new: &Recipe<'_>) -> bool {
    suffixes([new]).iter().any(|suffix| {
        let before = entries(old, suffix);
        let known = |entry: &Entry<'_>| before.iter().any(|old| old.text == entry.text && old.sums == entry.sums);
        let after = entries(new, suffix);
        after.iter().any(|entry| entry.source().is_remote() && entry.strength() > 0 && !known(entry))
    })
}

/// Downloads of a new version that nothing verifies: no checksum, no signature, and not a version-control
/// source, which has its own. Terms of use that were not verified before, stand at the same address and come
/// beside a verified download of the new version, are as they were.
fn unverified(
    (old, before): (&Recipe<'_>, &[Entry<'_>]),
    (recipe, entries): (&Recipe<'_>, &[Entry<'_>]),
    line: Option<u32>,
) -> Vec<Reason> {
    let keyed = !recipe.elements("validpgpkeys").is_empty();
    let address = |text: &str| text.split_once("::").map_or(text, |(_, address)| address).to_owned();
    let signed: BTreeSet<String> = entries
        .iter()
        .filter_map(|entry| {
            SIGNATURES.iter().find_map(|ending| Some(address(entry.text).strip_suffix(ending)?.to_owned()))
        })
        .filter(|_| keyed)
        .collect();
    let as_before = |entry: &Entry<'_>| {
        let same = |old: &Entry<'_>| old.strength() == 0 && address(old.text) == address(entry.text);
        is_terms(entry) && before.iter().any(same) && brings_verified(old, recipe)
    };
    let guilty = entries.iter().filter(|entry| {
        let source = entry.source();
        let signature = SIGNATURES.iter().any(|ending| source.path.ends_with(ending));
        source.is_remote()
            && source.vcs.is_none()
            && !signature
            && entry.strength() == 0
            && !signed.contains(&address(entry.text))
            && !as_before(entry)
    });
    let to_reason = |entry: &Entry<'_>| {
        let message = "nothing verifies what this address gives for the new version";
        let shown = shown_value(&[entry.text.to_owned()]);
        reason("source-unverified", Weight::Review, (PKGBUILD, line), None, Some(shown.as_bytes()), message)
    };
    guilty.take(20).map(to_reason).collect()
}
