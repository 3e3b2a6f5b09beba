//! Package versions and their order, exactly as pacman's `vercmp` has it.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A version `[epoch:]pkgver[-pkgrel]`, kept as it was written and ordered as `vercmp` does.
///
/// Two versions that are written differently may be equal in order (`0:1` and `1`), so `Eq` follows
/// the order and not the text.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(String);

impl Version {
    /// Takes any text: pacman itself puts every text somewhere in its order.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The version as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Epoch (`"0"` if none is written), pkgver, and pkgrel if there is one.
    #[must_use]
    pub fn parts(&self) -> (&str, &str, Option<&str>) {
        split(&self.0)
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Version {}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        vercmp(&self.0, &other.0)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// Splits as libalpm's `parseEVR`: an epoch is a run of digits before the first colon, a release is
/// what follows the last hyphen.
fn split(text: &str) -> (&str, &str, Option<&str>) {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (epoch, rest) = match text.as_bytes().get(digits) {
        Some(b':') => (if digits == 0 { "0" } else { &text[..digits] }, &text[digits + 1..]),
        _ => ("0", text),
    };
    match rest.rsplit_once('-') {
        Some((version, release)) => (epoch, version, Some(release)),
        None => (epoch, rest, None),
    }
}

/// Compares two full versions as `vercmp A B` does. The release counts only if both have one.
#[must_use]
pub fn vercmp(a: &str, b: &str) -> Ordering {
    if a == b {
        return Ordering::Equal;
    }
    let (epoch_a, version_a, release_a) = split(a);
    let (epoch_b, version_b, release_b) = split(b);
    segments(epoch_a, epoch_b).then_with(|| segments(version_a, version_b)).then_with(|| match (release_a, release_b) {
        (Some(release_a), Some(release_b)) => segments(release_a, release_b),
        _ => Ordering::Equal,
    })
}

/// Compares one part (epoch, pkgver or pkgrel) by RPM's rule: runs of digits as numbers, runs of
/// letters as text, a number beats letters, and what is left over decides.
fn segments(a: &str, b: &str) -> Ordering {
    if a == b {
        return Ordering::Equal;
    }
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while !a.is_empty() && !b.is_empty() {
        let separator_a = a.iter().take_while(|byte| !byte.is_ascii_alphanumeric()).count();
        let separator_b = b.iter().take_while(|byte| !byte.is_ascii_alphanumeric()).count();
        (a, b) = (&a[separator_a..], &b[separator_b..]);
        if a.is_empty() || b.is_empty() {
            break;
        }
        if separator_a != separator_b {
            return separator_a.cmp(&separator_b);
        }
        let numeric = a[0].is_ascii_digit();
        let same_kind = |byte: &&u8| if numeric { byte.is_ascii_digit() } else { byte.is_ascii_alphabetic() };
        let (run_a, rest_a) = a.split_at(a.iter().take_while(same_kind).count());
        let (run_b, rest_b) = b.split_at(b.iter().take_while(same_kind).count());
        if run_b.is_empty() {
            return if numeric { Ordering::Greater } else { Ordering::Less };
        }
        let order = if numeric { numbers(run_a, run_b) } else { run_a.cmp(run_b) };
        if order != Ordering::Equal {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
    remainder(a, b)
}

fn numbers(a: &[u8], b: &[u8]) -> Ordering {
    let strip = |digits: &[u8]| digits.iter().skip_while(|&&digit| digit == b'0').copied().collect::<Vec<_>>();
    let (a, b) = (strip(a), strip(b));
    a.len().cmp(&b.len()).then_with(|| a.cmp(&b))
}

/// The longer one is newer, unless what is left begins with a letter: `1.0rc` is older than `1.0`.
fn remainder(a: &[u8], b: &[u8]) -> Ordering {
    let alphabetic = |rest: &[u8]| rest.first().is_some_and(u8::is_ascii_alphabetic);
    match (a.is_empty(), b.is_empty()) {
        (true, true) => Ordering::Equal,
        (true, false) if alphabetic(b) => Ordering::Greater,
        (false, _) if alphabetic(a) => Ordering::Less,
        (true, false) => Ordering::Less,
        (false, _) => Ordering::Greater,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn order_follows_the_documented_cases() {
        let ascending = ["1.0a", "1.0b", "1.0beta", "1.0p", "1.0pre", "1.0rc", "1.0", "1.0.a", "1.0.1"];
        for pair in ascending.windows(2) {
            assert_eq!(vercmp(pair[0], pair[1]), Ordering::Less, "{pair:?}");
            assert_eq!(vercmp(pair[1], pair[0]), Ordering::Greater, "{pair:?}");
        }
    }

    #[test]
    fn epoch_and_release_count_as_in_pacman() {
        assert_eq!(vercmp("1:1.0-1", "2.0-1"), Ordering::Greater);
        assert_eq!(vercmp("0:1", "1"), Ordering::Equal);
        assert_eq!(vercmp("1.0-1", "1.0"), Ordering::Equal);
        assert_eq!(vercmp("1.0-1.1", "1.0-1"), Ordering::Greater);
        assert_eq!(vercmp("8.02", "8.2"), Ordering::Equal);
    }

    #[test]
    fn parts_keep_a_hyphen_inside_the_version() {
        assert_eq!(Version::new("1:20260630-60888387-2").parts(), ("1", "20260630-60888387", Some("2")));
        assert_eq!(Version::new("r169.cc8bfc6").parts(), ("0", "r169.cc8bfc6", None));
    }

    /// What pacman's own program says.
    #[expect(clippy::disallowed_methods, reason = "a test asks the program this code has to agree with")]
    fn real_vercmp(a: &str, b: &str) -> Ordering {
        let output = std::process::Command::new("vercmp").args([a, b]).output();
        let output = output.expect("vercmp is installed: .ci/setup does it");
        let answer = String::from_utf8(output.stdout).expect("a number");
        answer.trim().parse::<i32>().expect("a number").cmp(&0)
    }

    #[test]
    fn order_agrees_with_pacman_where_others_went_wrong() {
        let versions = [
            "0:r169.cc8bfc6-1",
            "r170.0000000-1",
            "0:1",
            "1",
            "1.0-1",
            "1.0",
            "1.0-1.1",
            "20260630-60888387-2",
            "20260630-60888387",
            "8.02",
            "8.2",
            "1.0.",
            "1.0..1",
            "1..0.1",
            "1.0a",
            "1.0.a",
            "1.a0",
            "2:1_0+x-3",
            "007",
            "a:1-1",
        ];
        for a in versions {
            for b in versions {
                assert_eq!(vercmp(a, b), real_vercmp(a, b), "{a} against {b}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn order_agrees_with_pacman(a in "([0-2]:)?[0-9a-c.+_]{1,6}(-[0-9.]{1,3})?", b in "([0-2]:)?[0-9a-c.+_]{1,6}(-[0-9.]{1,3})?") {
            prop_assert_eq!(vercmp(&a, &b), real_vercmp(&a, &b));
        }
    }
}
