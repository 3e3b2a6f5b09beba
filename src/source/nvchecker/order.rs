//! The orders of versions that nvchecker knows: `parse_version` (PEP 440, and setuptools' older order for
//! everything else) and `vercmp` (pacman's).

use std::cmp::Ordering;
use std::sync::LazyLock;

use regex::Regex;

use crate::domain::version::vercmp;

/// How versions are ordered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum VersionOrder {
    /// As Python packages order theirs.
    #[default]
    ParseVersion,
    /// As pacman does.
    Vercmp,
}

impl VersionOrder {
    /// The greatest by the versions of things; the last of several that are equal.
    pub fn greatest<T>(self, things: impl IntoIterator<Item = T>, version: impl Fn(&T) -> &str) -> Option<T> {
        match self {
            Self::ParseVersion => things.into_iter().max_by_key(|thing| Key::of(version(thing))),
            Self::Vercmp => things.into_iter().max_by(|a, b| vercmp(version(a), version(b))),
        }
    }
}

/// A place in the order of `parse_version`. What is not a version by PEP 440 comes before all that are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Legacy(Vec<String>),
    Pep440(Pep440),
}

impl Key {
    fn of(version: &str) -> Self {
        Pep440::parse(version).map_or_else(|| Self::Legacy(legacy(version)), Self::Pep440)
    }
}

/// A number of any length.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Number(String);

impl Number {
    fn new(digits: &str) -> Self {
        Self(digits.trim_start_matches('0').to_owned())
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.len().cmp(&other.0.len()).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// What comes before a release: nothing yet but development, an alpha and so on, or nothing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Before {
    Development,
    Stage(&'static str, Number),
    Nothing,
}

/// A development version comes before the one that it leads to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Development {
    Number(Number),
    Nothing,
}

/// A part of what follows the plus sign.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Local {
    Word(String),
    Number(Number),
}

/// A version by PEP 440; the order of the fields is the order of versions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pep440 {
    epoch: Number,
    release: Vec<Number>,
    before: Before,
    after: Option<Number>,
    development: Development,
    local: Option<Vec<Local>>,
}

/// The grammar of PEP 440, with what it forgives.
static GRAMMAR: LazyLock<Regex> = LazyLock::new(|| {
    let grammar = r"(?xi) ^ \s* v?
        (?: (?<epoch>[0-9]+) ! )?
        (?<release> [0-9]+ (?: \.[0-9]+ )* )
        (?: [-_.]? (?<stage>alpha|a|beta|b|preview|pre|rc|c) [-_.]? (?<stage_number>[0-9]+)? )?
        (?: -(?<implicit>[0-9]+) | [-_.]? (?<after>post|rev|r) [-_.]? (?<after_number>[0-9]+)? )?
        (?: [-_.]? (?<development>dev) [-_.]? (?<development_number>[0-9]+)? )?
        (?: \+ (?<local> [a-z0-9]+ (?: [-_.][a-z0-9]+ )* ) )?
        \s* $";
    Regex::new(grammar).expect("a valid expression")
});

impl Pep440 {
    /// Reads a version; `None` if it is not one by PEP 440.
    pub(super) fn parse(version: &str) -> Option<Self> {
        let parts = GRAMMAR.captures(version)?;
        let text = |name: &str| parts.name(name).map(|part| part.as_str());
        let number = |name: &str| Number::new(text(name).unwrap_or_default());
        let mut release: Vec<_> = text("release")?.split('.').map(Number::new).collect();
        while release.last().is_some_and(|number| number.0.is_empty()) {
            release.pop();
        }
        let after = match text("implicit") {
            Some(digits) => Some(Number::new(digits)),
            None => text("after").map(|_| number("after_number")),
        };
        let development = match text("development") {
            Some(_) => Development::Number(number("development_number")),
            None => Development::Nothing,
        };
        let before = match text("stage") {
            Some(stage) => Before::Stage(short(stage), number("stage_number")),
            None if after.is_none() && development != Development::Nothing => Before::Development,
            None => Before::Nothing,
        };
        let local = text("local").map(|local| local.split(['-', '_', '.']).map(local_part).collect());
        Some(Self { epoch: number("epoch"), release, before, after, development, local })
    }

    /// Whether it comes before a release.
    pub(super) fn is_prerelease(&self) -> bool {
        self.development != Development::Nothing || matches!(self.before, Before::Stage(..))
    }
}

/// The one name of a stage that has several.
fn short(stage: &str) -> &'static str {
    match stage.to_ascii_lowercase().as_str() {
        "a" | "alpha" => "a",
        "b" | "beta" => "b",
        _ => "rc",
    }
}

fn local_part(part: &str) -> Local {
    if part.bytes().all(|byte| byte.is_ascii_digit()) {
        Local::Number(Number::new(part))
    } else {
        Local::Word(part.to_lowercase())
    }
}

/// Parts of a version that is not one by PEP 440: digits, runs of letters, signs between them.
static PARTS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\d+|[a-z]+|\.|-").expect("a valid expression"));

/// The final version comes after what leads to it, which is why the end has a word of its own.
const FINAL: &str = "*final";

/// The parts in the form in which they are compared.
fn legacy(version: &str) -> Vec<String> {
    let version = version.to_lowercase();
    let mut parts: Vec<String> = Vec::new();
    for part in pieces(&version).into_iter().filter(|part| !part.is_empty() && *part != ".") {
        add_legacy(&mut parts, legacy_part(part));
    }
    add_legacy(&mut parts, FINAL.to_owned());
    parts
}

/// All of the text: the parts, and what stands between them.
fn pieces(version: &str) -> Vec<&str> {
    let (mut pieces, mut done) = (Vec::new(), 0);
    for part in PARTS.find_iter(version) {
        pieces.extend([&version[done..part.start()], part.as_str()]);
        done = part.end();
    }
    pieces.push(&version[done..]);
    pieces
}

fn legacy_part(part: &str) -> String {
    let part = match part {
        "pre" | "preview" | "rc" => "c",
        "-" => "final-",
        "dev" => "@",
        part => part,
    };
    if part.starts_with(|c: char| c.is_ascii_digit()) { format!("{part:0>8}") } else { format!("*{part}") }
}

fn add_legacy(parts: &mut Vec<String>, part: String) {
    if part.starts_with('*') {
        if part.as_str() < FINAL {
            while parts.last().is_some_and(|last| last == "*final-") {
                parts.pop();
            }
        }
        while parts.last().is_some_and(|last| last == "00000000") {
            parts.pop();
        }
    }
    parts.push(part);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    impl VersionOrder {
        pub fn compare(self, a: &str, b: &str) -> Ordering {
            match self {
                Self::ParseVersion => Key::of(a).cmp(&Key::of(b)),
                Self::Vercmp => vercmp(a, b),
            }
        }
    }

    fn ascending(order: VersionOrder, versions: &[&str]) {
        for pair in versions.windows(2) {
            assert_eq!(order.compare(pair[0], pair[1]), Ordering::Less, "{pair:?}");
            assert_eq!(order.compare(pair[1], pair[0]), Ordering::Greater, "{pair:?}");
        }
    }

    #[test]
    fn versions_of_python_packages_are_in_the_order_of_pep_440() {
        let versions = [
            "1.0.dev456",
            "1.0a1",
            "1.0a2.dev456",
            "1.0a12",
            "1.0b1.dev456",
            "1.0b2.post345",
            "1.0rc1.dev456",
            "1.0rc1",
            "1.0",
            "1.0+abc.5",
            "1.0+abc.7",
            "1.0+5",
            "1.0.post456.dev34",
            "1.0.post456",
            "1.1.dev1",
            "1.10",
            "1!0.1",
        ];
        ascending(VersionOrder::ParseVersion, &versions);
    }

    #[test]
    fn what_is_no_version_comes_before_every_version_in_the_older_order() {
        let versions = ["nightly", "release-1.9", "release-1.10-rc1", "release-1.10", "v0.0.1"];
        ascending(VersionOrder::ParseVersion, &versions);
    }

    #[test]
    fn pacman_orders_otherwise() {
        ascending(VersionOrder::Vercmp, &["1.0a", "1.0", "1.0.1", "1.10", "1:0.1"]);
        assert_eq!(VersionOrder::ParseVersion.compare("1.0a", "1.0"), Ordering::Less);
        assert_eq!(VersionOrder::ParseVersion.compare("1.0-1", "1.0"), Ordering::Greater, "a post release");
    }

    #[test]
    fn the_last_of_equal_ones_is_taken() {
        for order in [VersionOrder::ParseVersion, VersionOrder::Vercmp] {
            let versions = [("1.0", 1), ("0.9", 2), ("1.0", 3)];
            assert_eq!(order.greatest(versions, |(version, _)| version), Some(("1.0", 3)));
        }
        assert_eq!(VersionOrder::ParseVersion.greatest(["1.0.0", "1.0"], |version| version), Some("1.0"));
    }

    #[test]
    fn a_prerelease_is_one_by_stage_or_by_development() {
        let is = |version: &str| Pep440::parse(version).map(|version| version.is_prerelease());
        assert_eq!(
            [is("1.0rc1"), is("1.0.dev1"), is("1.0.post1"), is("0.5.13-hg")],
            [Some(true), Some(true), Some(false), None]
        );
    }

    fn version() -> impl Strategy<Value = String> {
        "[v]?[0-9]{1,3}([.-](0|1|10|a|b|rc|dev|post|pre|x|final|\\+)[0-9]{0,2}){0,3}"
    }

    proptest! {
        #[test]
        fn it_is_an_order(a in version(), b in version(), c in version()) {
            for order in [VersionOrder::ParseVersion, VersionOrder::Vercmp] {
                prop_assert_eq!(order.compare(&a, &b), order.compare(&b, &a).reverse());
                if order.compare(&a, &b).is_le() && order.compare(&b, &c).is_le() && order == VersionOrder::ParseVersion {
                    prop_assert!(order.compare(&a, &c).is_le(), "{} {} {}", a, b, c);
                }
            }
        }

        #[test]
        fn any_text_has_a_place(a in "\\PC{0,20}", b in "\\PC{0,20}") {
            prop_assert_eq!(VersionOrder::ParseVersion.compare(&a, &b).is_eq(), VersionOrder::ParseVersion.compare(&b, &a).is_eq());
        }
    }
}
