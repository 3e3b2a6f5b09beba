//! Texts that rules are compared with: patterns of whole texts, and Chaotic's expressions.

use std::borrow::Cow;

use regex::{Regex, RegexBuilder};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::super::{PKGBUILD, Reason, SRCINFO};

/// More memory than this no expression gets.
const MOST_MEMORY: usize = 1 << 20;

/// A compiled expression, compared by its text.
#[derive(Debug, Clone)]
struct Compiled {
    written: String,
    regex: Regex,
}

impl Compiled {
    fn new(written: &str, expression: &str) -> Result<Self, String> {
        let regex = RegexBuilder::new(expression).size_limit(MOST_MEMORY).build();
        let regex = regex.map_err(|error| format!("`{written}` is not a regular expression: {}", last_line(&error)))?;
        Ok(Self { written: written.to_owned(), regex })
    }
}

/// The error itself, without the picture of the expression above it.
fn last_line(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.trim_start_matches("error: ").to_owned()
}

impl PartialEq for Compiled {
    fn eq(&self, other: &Self) -> bool {
        self.written == other.written
    }
}

impl Eq for Compiled {}

macro_rules! written_as_text {
    ($type:ident, $description:literal) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0.written)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::new(&text).map_err(D::Error::custom)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                schemars::json_schema!({"type": "string", "description": $description})
            }
        }
    };
}

/// A regular expression for a whole text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whole(Compiled);

impl Whole {
    /// Compiles it; it has to fit from the first sign to the last.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(text: &str) -> Result<Self, String> {
        Compiled::new(text, text)?;
        Compiled::new(text, &format!("^(?:{text})$")).map(Self)
    }

    /// Whether it fits.
    #[must_use]
    pub fn fits(&self, text: &str) -> bool {
        self.0.regex.is_match(text)
    }
}

written_as_text!(Whole, "A regular expression for the whole text.");

/// A path in which `*` stands for anything in one folder and `**` for anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern(Compiled);

impl PathPattern {
    /// Compiles it.
    ///
    /// # Errors
    /// If it is too long.
    pub fn new(text: &str) -> Result<Self, String> {
        let parts = text.split("**").map(|part| part.split('*').map(regex::escape).collect::<Vec<_>>().join("[^/]*"));
        let expression = format!("(?s)^{}$", parts.collect::<Vec<_>>().join(".*"));
        Compiled::new(text, &expression).map(Self)
    }

    /// Whether the path is one of those.
    #[must_use]
    pub fn fits(&self, path: &str) -> bool {
        self.0.regex.is_match(path)
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0.written
    }
}

written_as_text!(PathPattern, "A path; `*` stands for anything in one folder, `**` for anything.");

/// `CI_PKGBUILD_CHANGE_ALLOW_REGEX`: expressions for lines, written for a comparison of lines.
///
/// Here they are tried on parsed elements, each as it might stand on a line, before and after. One has to fit an
/// element to its end; of a source it may leave the end of the file's name. So it can let in neither an element
/// that stands beside the one it means, nor another path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LineRules(Vec<Compiled>);

impl LineRules {
    /// Reads expressions with `;` between them. Those that are wrong are told and left out.
    #[must_use]
    pub fn parse(text: &str) -> (Self, Vec<String>) {
        let written = text.split(';').map(str::trim).filter(|part| !part.is_empty());
        let (mut rules, mut wrong) = (Vec::new(), Vec::new());
        for written in written {
            match Compiled::new(written, written) {
                Ok(rule) => rules.push(rule),
                Err(error) => wrong.push(error),
            }
        }
        (Self(rules), wrong)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The expressions as they are written.
    pub fn written(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|rule| rule.written.as_str())
    }

    /// The expression that covers both sides of a reason.
    #[must_use]
    pub fn covering(&self, reason: &Reason) -> Option<&str> {
        let field = reason.field.as_deref().filter(|_| [PKGBUILD, SRCINFO].contains(&reason.file.as_str()))?;
        reason.new.as_ref()?;
        let sides = [&reason.old, &reason.new].into_iter().flatten();
        let covers = |rule: &&Compiled| sides.clone().all(|side| covers_line(&rule.regex, field, side));
        self.0.iter().find(covers).map(|rule| rule.written.as_str())
    }
}

/// Whether an expression covers an element in one of the ways in which it may stand on a line.
fn covers_line(regex: &Regex, field: &str, element: &str) -> bool {
    let before = [format!("{field}="), format!("{field}=("), String::new()];
    let quotes = ["\"", "'", ""];
    before.iter().flat_map(|before| quotes.map(|quote| (before, quote))).any(|(before, quote)| {
        let line = format!("{before}{quote}{element}{quote}");
        let (start, end) = (before.len() + quote.len(), before.len() + quote.len() + element.len());
        let found = regex.find(&line).filter(|found| found.start() <= start && found.end() > start);
        found.is_some_and(|found| {
            let rest = &line[found.end().min(end)..end];
            rest.is_empty() || (field.starts_with("source") && is_end_of_name(rest))
        })
    })
}

/// Whether it has only letters, digits, the signs of file names, and variables.
fn is_end_of_name(mut rest: &str) -> bool {
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || "._+-".contains(c));
        let Some(after) = rest.strip_prefix("${").and_then(|inside| inside.split_once('}')) else {
            return rest.is_empty();
        };
        rest = after.1;
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Weight;
    use super::*;

    const NIGHTLY: &str = r"^source[^)]*https://github\.com/neovim/neovim/releases/download/nightly/nvim-linux";
    const DOWNLOAD: &str = "https://github.com/neovim/neovim/releases/download/nightly/nvim-linux";

    fn covered(rules: &str, field: &str, old: Option<&str>, new: &str) -> bool {
        let reason = Reason {
            code: "source-unverified",
            severity: Weight::Review,
            file: PKGBUILD.to_owned(),
            line: None,
            field: Some(field.to_owned()),
            old: old.map(str::to_owned),
            new: Some(new.to_owned()),
            rule: None,
            message: String::new(),
        };
        let (rules, wrong) = LineRules::parse(rules);
        assert_eq!(wrong, [""; 0]);
        rules.covering(&reason).is_some()
    }

    #[test]
    fn chaotics_only_expression_covers_what_it_was_written_for() {
        for end in ["64.tar.gz", "-x86_64.tar.gz", "-${architecture}.tar.gz", ""] {
            assert!(covered(NIGHTLY, "source", None, &format!("{DOWNLOAD}{end}")), "{end}");
            assert!(covered(NIGHTLY, "source_x86_64", None, &format!("neovim-${{…}}.tar.gz::{DOWNLOAD}{end}")));
        }
        assert!(covered("^depends;^_x=[0-9]+$", "_x", Some("1"), "2"));
        assert!(covered(r"^depends=\('zlib", "depends", None, "zlib"));
    }

    #[test]
    fn nothing_but_the_end_of_a_name_may_be_left() {
        for end in ["/../../evil/x.tar.gz", "?x", "#branch=x", " https://evil.example/x", "$(id)", "${x", "\" x"] {
            assert!(!covered(NIGHTLY, "source", None, &format!("{DOWNLOAD}{end}")), "{end}");
        }
        assert!(!covered(NIGHTLY, "depends", None, DOWNLOAD));
        assert!(!covered(NIGHTLY, "source", Some("https://other.example/x"), DOWNLOAD), "both sides have to fit");
        assert!(!covered("nvim-linux", "source", None, DOWNLOAD), "it begins within the element");
        assert!(!covered("^source=", "source", None, "x.tar"), "it ends before the element");
        assert!(!covered(r"^depends=\('zlib", "depends", None, "zlib-evil"));
        assert!(!covered("", "source", None, DOWNLOAD));
    }

    #[test]
    fn what_is_no_expression_is_told() {
        let (rules, wrong) = LineRules::parse("^a(;^b$; ;x{5000}{5000}");
        assert_eq!(rules.written().collect::<Vec<_>>(), ["^b$"]);
        insta::assert_debug_snapshot!(wrong, @r#"
        [
            "`^a(` is not a regular expression: unclosed group",
            "`x{5000}{5000}` is not a regular expression: Compiled regex exceeds size limit of 1048576 bytes.",
        ]
        "#);
        assert!(Whole::new(")|(").is_err(), "it is an expression only between brackets");
    }

    #[test]
    fn whole_texts_and_paths_are_compared_whole() {
        let whole = Whole::new("a|bc").expect("right");
        assert!(whole.fits("a") && whole.fits("bc") && !whole.fits("ac") && !whole.fits("a\n"));
        let path = PathPattern::new("patches/*.patch").expect("right");
        assert!(path.fits("patches/a.patch") && !path.fits("patches/a/b.patch") && !path.fits("patchesXa.patch"));
        assert!(PathPattern::new("doc/**").expect("right").fits("doc/a/b"));
    }
}
