//! What nothing verifies: downloads of a new version without a checksum or a signature.

use std::collections::BTreeSet;

use super::entries::{ALGORITHMS, Entry, PACKED, SIGNATURES, Sums, entries, suffixes};
use super::recipe::{Recipe, shown_value};
use super::srcinfo::{Field, Fields, expected_of, fields};
use super::{PKGBUILD, Reason, SRCINFO, Weight, reason};
use crate::domain::folder::Folder;
use crate::domain::pkgbuild::is_known;
use crate::domain::signature::key_files;

/// More than this say nothing new.
const REPORTED: usize = 20;

/// Whether its address is that of a text for people, such as a licence.
pub(super) fn is_terms(entry: &Entry<'_>) -> bool {
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
pub(super) fn brings_verified(old: &Recipe<'_>, new: &Recipe<'_>) -> bool {
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
pub(super) fn unverified(
    (old, before): (&Recipe<'_>, &[Entry<'_>]),
    (recipe, after): (&Recipe<'_>, &[Entry<'_>]),
    folder: &Folder,
    line: Option<u32>,
) -> Vec<Reason> {
    let as_before = |entry: &Entry<'_>| {
        let same = |old: &Entry<'_>| old.strength() == 0 && address(old.text) == address(entry.text);
        is_terms(entry) && before.iter().any(same) && brings_verified(old, recipe)
    };
    let guilty = blind(after, keyed(recipe, folder)).into_iter().filter(|entry| !as_before(entry));
    let to_reason = |entry: &Entry<'_>| {
        let message = "nothing verifies what this address gives for the new version";
        let shown = shown_value(&[entry.text.to_owned()]);
        reason("source-unverified", Weight::Review, (PKGBUILD, line), None, Some(shown.as_bytes()), message)
    };
    guilty.take(REPORTED).map(to_reason).collect()
}

/// Downloads of a new version that nothing verifies, where the PKGBUILD does not plainly say what it downloads:
/// the summary is asked.
pub(super) fn untold(recipe: &Recipe<'_>, folder: &Folder) -> Vec<Reason> {
    let summary = folder.get(SRCINFO).and_then(fields);
    let mut names: BTreeSet<String> = suffixes([recipe]).iter().map(|suffix| format!("source{suffix}")).collect();
    names.insert("source".to_owned());
    names.extend(recipe.elements("arch").iter().map(|architecture| format!("source_{architecture}")));
    let said = summary.iter().flat_map(|fields| fields.keys()).filter(|(section, _)| *section == 0);
    names.extend(said.filter(|(_, name)| name.starts_with("source")).map(|(_, name)| (*name).to_owned()));
    names.retain(|name| expected_of(recipe, name).is_none());
    let Some(summary) = summary else {
        let message = "what is downloaded cannot be worked out, so nothing says that it is verified";
        // Commands that are as before are taken to set nothing else than before.
        let assumed = |name: &&String| match recipe.evaluated.values.get(name.as_str()) {
            Some(value) => value.is_known(),
            None => recipe.assignments(name) == 0,
        };
        let line = names.iter().find(|name| !assumed(name)).map(|name| recipe.line_of(name));
        return line.map(|line| unseen((PKGBUILD, line), None, message)).into_iter().collect();
    };
    let message = "nothing verifies what this address gives for the new version, as the .SRCINFO has it";
    let of = |name: &String| -> Vec<Reason> {
        let found = told(&summary, name);
        let entries: Vec<Entry<'_>> = found.iter().map(|(entry, _)| entry.clone()).collect();
        let guilty = blind(&entries, keyed(recipe, folder)).into_iter().map(|entry| (entry.text, found[entry.index].1));
        guilty.map(|(text, line)| unseen((SRCINFO, Some(line)), Some(text), message).about(name)).collect()
    };
    names.iter().flat_map(of).take(REPORTED).collect()
}

fn unseen(place: (&str, Option<u32>), text: Option<&str>, message: &str) -> Reason {
    reason("source-unverified", Weight::Review, place, None, text.map(str::as_bytes), message)
}

/// The sources under a name in the summary, each with its checksums and its line.
fn told<'r>(summary: &'r Fields<'_>, name: &str) -> Vec<(Entry<'r>, u32)> {
    let values = |name: &str| -> &'r [Field<'r>] {
        let mut fields = summary.iter().filter(|((section, key), _)| *section == 0 && *key == name);
        fields.next().map_or(&[], |(_, values)| values)
    };
    let sources = values(name);
    let suffix = name.strip_prefix("source").unwrap_or_default();
    let mut found: Vec<_> = (sources.iter().enumerate())
        .map(|(index, field)| (Entry { text: field.value, index, sums: Sums::new() }, field.line))
        .collect();
    for (algorithm, ..) in ALGORITHMS {
        let sums = values(&format!("{algorithm}sums{suffix}"));
        if sums.len() == sources.len() {
            for ((entry, _), sum) in found.iter_mut().zip(sums) {
                entry.sums.insert(algorithm, sum.value);
            }
        }
    }
    found
}

/// Whether builds verify signatures: only with all keys at hand does makepkg do it.
fn keyed(recipe: &Recipe<'_>, folder: &Folder) -> bool {
    let keys = recipe.elements("validpgpkeys");
    !keys.is_empty() && key_files(folder, keys).is_ok()
}

/// Downloads without a checksum, a history of their own, or a signature where signatures count.
fn blind<'e, 'r>(entries: &'e [Entry<'r>], keyed: bool) -> Vec<&'e Entry<'r>> {
    let stem = |file: &str| SIGNATURES.iter().find_map(|ending| Some(file.strip_suffix(ending)?.to_owned()));
    let stems = entries.iter().filter(|_| keyed).filter_map(|entry| stem(&stored(entry)?));
    let signed: BTreeSet<String> = stems.collect();
    // A signature may be that of what an archive holds.
    let is_signed = |file: &str| {
        let inner = PACKED.iter().find_map(|ending| file.strip_suffix(ending));
        signed.contains(file) || inner.is_some_and(|inner| signed.contains(inner))
    };
    let verified = |file: &str| stem(file).is_some() || is_signed(file);
    let is_blind = |entry: &&Entry<'_>| {
        let source = entry.source();
        let plain = source.is_remote() && source.vcs.is_none() && entry.strength() == 0;
        plain && !stored(entry).is_some_and(|file| verified(&file))
    };
    entries.iter().filter(is_blind).collect()
}

/// The name under which makepkg stores it, by which it finds what a signature is of.
fn stored(entry: &Entry<'_>) -> Option<String> {
    let source = entry.source();
    (source.name.is_some() || source.query.is_none()).then(|| source.file().to_owned())
}

/// An address without the name under which it is stored.
fn address(text: &str) -> &str {
    text.split_once("::").map_or(text, |(_, address)| address)
}
