//! Does a new pkgver look like the old one?
//!
//! A version often stands in an address. Code forges serve any commit, also one of a stranger's fork,
//! under the address of a release, so a version that turns into a commit id is not just a newer version.

use std::cmp::Ordering;

use crate::domain::version::vercmp;

/// Shorter runs of hexadecimal digits are not taken as commit ids by forges.
const SHORTEST_COMMIT: usize = 7;

/// Whether the new version has the form of the old: it holds a digit, begins with the same letters (if
/// with any), and has something that may be a commit id only where the old one had something like it.
pub(super) fn is_kept(old: &str, new: &str) -> bool {
    // Counted from the end as well: `0.5.r20.ga449edb` may become `0.5.1.r1.ge712f94`.
    let all_kept = |old: &[&str], new: &[&str]| {
        let pairs = old.iter().map(Some).chain(std::iter::repeat(None)).zip(new);
        let mut kept = pairs.map(|(old, new)| !is_commit(new) || old.is_some_and(|old| is_same_kind(old, new)));
        kept.all(|kept| kept)
    };
    let (forth, back) = ((parts(old), parts(new)), (reversed(old), reversed(new)));
    let kept = all_kept(&forth.0, &forth.1) || all_kept(&back.0, &back.1);
    begins_alike(old, new) && kept
}

/// Whether the new version holds a digit, and begins with the same letters as the old (if with any).
pub(super) fn begins_alike(old: &str, new: &str) -> bool {
    let letters = |text: &str| text.bytes().take_while(u8::is_ascii_alphabetic).count();
    let same_start = old[..letters(old)] == new[..letters(new)] || (is_commit(old) && is_commit(new));
    new.bytes().any(|byte| byte.is_ascii_digit()) && same_start
}

fn parts(version: &str) -> Vec<&str> {
    version.split(['.', '_', '+', '-']).collect()
}

fn reversed(version: &str) -> Vec<&str> {
    version.rsplit(['.', '_', '+', '-']).collect()
}

/// Commit ids and dates are both runs of hexadecimal digits; `git describe` puts a `g` before the former.
fn is_commit(part: &str) -> bool {
    let digits = part.strip_prefix('g').unwrap_or(part);
    digits.len() >= SHORTEST_COMMIT && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A date stays a date of the same length; what was a commit id may be any other of the same length.
fn is_same_kind(old: &str, new: &str) -> bool {
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    is_commit(old) && (!number(old) || (number(new) && old.len() == new.len()))
}

/// Words that stand in versions and say nothing of what a thing is called. Single letters may stand there too.
const WORDS: [&str; 40] = [
    "alpha",
    "beta",
    "build",
    "canary",
    "dev",
    "eap",
    "esr",
    "final",
    "fix",
    "ga",
    "git",
    "hotfix",
    "lts",
    "milestone",
    "nightly",
    "patch",
    "pl",
    "post",
    "pre",
    "preview",
    "prod",
    "r",
    "rc",
    "rel",
    "release",
    "rev",
    "revision",
    "rtm",
    "snap",
    "snapshot",
    "sp",
    "src",
    "stable",
    "sr",
    "tag",
    "test",
    "update",
    "v",
    "ver",
    "version",
];

/// The words in a version, without commit ids.
fn words(version: &str) -> Vec<String> {
    let parts = version.split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| !is_commit(part));
    let runs = parts.flat_map(|part| part.split(|c: char| !c.is_ascii_alphabetic()));
    runs.filter(|word| word.len() > 1).map(str::to_ascii_lowercase).collect()
}

fn is_word_of_versions(word: &str) -> bool {
    WORDS.contains(&word)
}

/// Whether the new version has no words but those of the old, and such as stand in versions.
pub(super) fn keeps_words(old: &str, new: &str) -> bool {
    let known = words(old);
    words(new).iter().all(|word| is_word_of_versions(word) || known.contains(word))
}

/// Whether a text is numbers and words that stand in versions, and nothing else.
pub(super) fn is_bare(text: &str) -> bool {
    words(text).iter().all(|word| is_word_of_versions(word))
}

/// Whether a part between dots is a word that does not stand in versions, as in the name of a host.
pub(super) fn is_hostlike(text: &str) -> bool {
    let parts = || text.split('.');
    let named = |part: &str| part.len() > 1 && part.bytes().all(|byte| byte.is_ascii_alphabetic());
    parts().count() > 1 && parts().any(|part| named(part) && !is_word_of_versions(&part.to_ascii_lowercase()))
}

/// Whether a version is newer than another; also where the old one was one of those that come before it.
pub(super) fn is_newer(old: &str, new: &str) -> bool {
    let came_before = |rest: &str| {
        let word = rest.trim_start_matches(['-', '_', '.', '+']);
        let word: String = word.chars().take_while(char::is_ascii_alphabetic).collect();
        ["alpha", "beta", "dev", "eap", "milestone", "pre", "preview", "rc"].contains(&&*word.to_ascii_lowercase())
    };
    vercmp(new, old) == Ordering::Greater || old.strip_prefix(new).is_some_and(came_before)
}

#[cfg(test)]
mod tests {
    use super::{is_bare, is_hostlike, is_kept, is_newer, keeps_words};

    #[test]
    fn words_of_versions_may_come_and_others_may_not() {
        for (old, new) in [("1.2", "1.3-rc.1"), ("1.1.1k", "1.1.1m"), ("b4411", "b4502"), ("rel-0-8", "rel-0-9")] {
            assert!(keeps_words(old, new), "{old} {new}");
        }
        for (old, new) in [("1.2", "1.3-backdoor"), ("go1.24", "rm1.25"), ("1.2", "1.3.main")] {
            assert!(!keeps_words(old, new), "{old} {new}");
        }
        assert!(is_bare("v1.2-beta.3") && is_bare("33.2.1") && !is_bare("joe2"));
        assert!(is_hostlike("a1.gale.example") && !is_hostlike("1.2.Final") && !is_hostlike("desktop-v1.2"));
    }

    #[test]
    fn what_comes_before_a_version_is_older() {
        assert!(is_newer("2025.3-EAP6", "2025.3") && is_newer("2.4.0-rc.3", "2.4.0-rc.4"));
        assert!(!is_newer("1.2-3", "1.2") && !is_newer("1.3", "1.2"));
    }

    #[test]
    fn ordinary_steps_keep_the_form() {
        for (old, new) in [
            ("1.2.3", "1.2.4"),
            ("9.9", "10.0.0"),
            ("1.2rc1", "1.2"),
            ("20250101", "20260630"),
            ("r169.cc8bfc6", "r170.1234567"),
            ("1.2.r3.gabcdef1", "1.2.r4.g0123456"),
            ("0.5.r20.ga449edb", "0.6.1.r1.ge712f94"),
            ("1.0_beta1", "1.0_beta2"),
            ("2024.12.31", "2025.01.01"),
            ("v1", "v2"),
        ] {
            assert!(is_kept(old, new), "{old} {new}");
        }
    }

    #[test]
    fn a_branch_or_a_commit_is_another_form() {
        for (old, new) in [
            ("1.2.3", "main"),
            ("1.2.3", "main2"),
            ("r169.cc8bfc6", "trunk9"),
            ("1.2.3", "9f3c2ab1d4e5f60718293a4b5c6d7e8f90a1b2c3"),
            ("1.2.3", "20260101"),
            ("20250101", "2026abc1"),
            ("20250101", "202601011"),
            ("1.2.3", "1.2.4.9f3c2ab1d4"),
            ("v1.2.3", "v1.2.4-5-gdeadbeef"),
        ] {
            assert!(!is_kept(old, new), "{old} {new}");
        }
    }
}
