//! Sources as makepkg sees them: each entry with the checksums that stand for it.

use std::collections::{BTreeMap, BTreeSet};

use super::recipe::Recipe;
use crate::domain::pkgbuild::{OPEN, Source};

/// Checksums: name, digits, strength.
pub(super) const ALGORITHMS: [(&str, usize, u16); 8] = [
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
pub(super) const STRONG: u16 = 256;

/// Endings of signatures.
pub(super) const SIGNATURES: [&str; 3] = [".sig", ".asc", ".sign"];

/// Endings of archives that makepkg unpacks to verify what is in them.
pub(super) const PACKED: [&str; 7] = [".gz", ".bz2", ".xz", ".lrz", ".lzo", ".Z", ".zst"];

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
pub(super) type Sums<'r> = BTreeMap<&'static str, &'r str>;

/// One source and what stands for it.
#[derive(Debug, Clone)]
pub(super) struct Entry<'r> {
    pub text: &'r str,
    /// Its place in the array.
    pub index: usize,
    pub sums: Sums<'r>,
}

impl Entry<'_> {
    pub fn source(&self) -> Source<'_> {
        Source::split(self.text)
    }

    /// The algorithm of the best checksum, the checksum, and its strength.
    pub fn best(&self) -> Option<(&'static str, &str, u16)> {
        let valid = |(name, digits, strength): (&'static str, usize, u16)| {
            let sum = *self.sums.get(name)?;
            is_sum(sum, digits).then_some((name, sum, strength))
        };
        ALGORITHMS.into_iter().filter_map(valid).max_by_key(|found| found.2)
    }

    /// The strength of the best checksum.
    pub fn strength(&self) -> u16 {
        self.best().map_or(0, |(.., strength)| strength)
    }
}

pub(super) fn is_sum(text: &str, digits: usize) -> bool {
    let full = if digits == 0 { text.bytes().all(|byte| byte.is_ascii_digit()) } else { text.len() == digits };
    !text.is_empty() && full && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The sources of one architecture (`""` for all), without those that a condition may add.
pub(super) fn entries<'r>(recipe: &'r Recipe<'_>, suffix: &str) -> Vec<Entry<'r>> {
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
pub(super) fn is_open(element: &str) -> bool {
    element.starts_with(OPEN)
}

pub(super) fn certain(elements: &[String]) -> &[String] {
    &elements[..elements.iter().position(|element| is_open(element)).unwrap_or(elements.len())]
}

pub(super) fn speaks_of_all(sums: &[String], sources: &[String]) -> bool {
    let open = |elements: &[String]| elements.len() > certain(elements).len();
    if open(sums) || open(sources) {
        certain(sums).len() >= certain(sources).len()
    } else {
        sums.len() == sources.len()
    }
}

/// What stands behind `source`: nothing, or an architecture.
pub(super) fn suffixes<const N: usize>(recipes: [&Recipe<'_>; N]) -> BTreeSet<String> {
    let names = recipes.into_iter().flat_map(|recipe| recipe.evaluated.values.keys());
    let fields = names.filter(|name| is_source_field(name));
    fields.map(|name| name.find('_').map_or_else(String::new, |at| name[at..].to_owned())).collect()
}
