//! Searching for the traces of a campaign: what is looked for, and what was found where.
//!
//! How a text is searched stands in [`search`], what it comes to in [`hits`]; nothing is read here.

pub(in crate::domain) mod disguise;
mod hits;
mod search;

use serde::{Deserialize, Serialize};

pub use hits::{Found, Here, Written, gather};
pub use search::{Match, Searcher};

use super::finding::{Finding, nearest};
use super::name::{Oid, PkgBase};

/// Shorter indicators would be found everywhere.
const SHORTEST: usize = 3;
/// Longer ones are no indicators but mistakes.
const LONGEST: usize = 500;

/// What kind of trace is looked for: it decides where a match may begin and end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Any text.
    Text,
    /// A host, with everything below it.
    Host,
    /// A package of npm, bun or pip: a whole word.
    Package,
    /// A checksum: of something that is fetched, or of a file itself.
    Hash,
    /// A person: where maintainers and authors are named.
    Maintainer,
}

impl Kind {
    /// The words that stand before the colon of an indicator.
    const WORDS: [(&'static str, Self); 12] = [
        ("text", Self::Text),
        ("host", Self::Host),
        ("domain", Self::Host),
        ("npm", Self::Package),
        ("bun", Self::Package),
        ("pip", Self::Package),
        ("pypi", Self::Package),
        ("package", Self::Package),
        ("hash", Self::Hash),
        ("sha256", Self::Hash),
        ("maintainer", Self::Maintainer),
        ("author", Self::Maintainer),
    ];
}

/// One thing that is looked for. Large and small letters are not told apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Indicator {
    /// What kind of trace.
    pub kind: Kind,
    /// The trace itself.
    pub text: String,
    /// As a person wrote it.
    pub written: String,
}

impl Indicator {
    /// Reads `npm:atomic-lockfile`, `host:evil.example`, `hash:…`, `maintainer:…`, `text:…`. Without a word
    /// in front, what looks like a checksum is one, and everything else is text.
    ///
    /// # Errors
    /// One sentence about what is wrong with it, and the remedy.
    pub fn parse(written: &str) -> Result<Self, String> {
        let written = written.trim();
        let (kind, text) = match written.split_once(':') {
            Some((word, rest)) => match Kind::WORDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(word)) {
                Some((_, kind)) => (*kind, rest.trim()),
                None => (Kind::Text, misspelt(word, rest).map_or(Ok(written), Err)?),
            },
            None if is_hash(written) => (Kind::Hash, written),
            None => (Kind::Text, written),
        };
        if text.len() < SHORTEST {
            return Err(format!("`{written}` is too short to be looked for; name at least {SHORTEST} characters"));
        }
        if text.len() > LONGEST || text.contains('\n') {
            return Err(format!("an indicator is one line of at most {LONGEST} bytes; shorten it"));
        }
        if kind == Kind::Hash && !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(format!("`{text}` is no checksum: that has only the digits 0-9 and a-f"));
        }
        let text = if kind == Kind::Host { text.trim_start_matches(['*', '.']) } else { text };
        Ok(Self { kind, text: text.to_owned(), written: written.to_owned() })
    }

    /// Reads a list, one indicator a line; `#` begins a comment. What is wrong in it is told and stops
    /// nothing else.
    #[must_use]
    pub fn parse_list(list: &str, path: &str) -> (Vec<Self>, Vec<Finding>) {
        let (mut indicators, mut findings) = (Vec::new(), Vec::new());
        for (number, line) in (1..).zip(list.lines()) {
            let line = if line.trim_start().starts_with('#') { "" } else { line };
            let line = line.split(" #").next().unwrap_or_default().trim();
            match Self::parse(line) {
                _ if line.is_empty() => {}
                Ok(indicator) => indicators.push(indicator),
                Err(why) => findings.push(Finding::error("indicator", why).at(path, Some(number))),
            }
        }
        (indicators, findings)
    }
}

/// `npn:x` is a mistake and no text; `https://x` is text.
fn misspelt(word: &str, rest: &str) -> Option<String> {
    let is_word = word.len() > 2 && word.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let meant = nearest(word, Kind::WORDS.iter().map(|(known, _)| *known)).filter(|_| is_word);
    let meant = meant.filter(|_| !rest.starts_with(['/', ':']))?;
    Some(format!("there is no kind `{word}`; did you mean `{meant}`? For the text itself write `text:{word}:…`"))
}

fn is_hash(text: &str) -> bool {
    matches!(text.len(), 32 | 40 | 56 | 64 | 96 | 128) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Where something was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// In the files as they are.
    Current,
    /// In what waits for a person.
    Review,
    /// In what was recorded about the package's source.
    State,
    /// In a commit of the past; the files do not have it any more.
    Commit,
}

/// Something that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hit {
    /// What was looked for, as it was written.
    pub indicator: String,
    /// Its kind.
    pub kind: Kind,
    /// Where.
    #[serde(rename = "where")]
    pub place: Place,
    /// The package; none for what belongs to the repository as a whole.
    pub pkgbase: Option<PkgBase>,
    /// Of a review: the branch.
    pub branch: Option<String>,
    /// Of a review: its tip. Else the first commit that brought it, where history was searched.
    pub commit: Option<Oid>,
    /// Path inside the monorepo; none for the author of a commit.
    pub file: Option<String>,
    /// The line, from 1; none for the name of a file, or a file as a whole.
    pub line: Option<u32>,
    /// What stands there; what cannot be seen is escaped.
    pub text: String,
    /// Whether quotes, backslashes or escapes hid it: bash sees it, a reader hardly.
    pub disguised: bool,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// The commit whose files were searched.
    pub commit: Option<Oid>,
    /// How many packages it has.
    pub packages: usize,
    /// How many reviews were searched.
    pub reviews: usize,
    /// How many commits were searched; none if history was not asked for.
    pub commits: Option<usize>,
    /// What was found, by indicator, place, file and line.
    pub hits: Vec<Hit>,
    /// The packages that have something, in files, reviews, records or the past.
    pub affected: Vec<PkgBase>,
    /// What was not searched, and why: nothing is passed over in silence.
    pub unsearched: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(written: &str) -> Result<(Kind, String), String> {
        Indicator::parse(written).map(|indicator| (indicator.kind, indicator.text))
    }

    #[test]
    fn indicators_are_read_as_people_write_them() {
        let read = |written: &str| kind(written).expect(written);
        assert_eq!(read("npm:atomic-lockfile"), (Kind::Package, "atomic-lockfile".to_owned()));
        assert_eq!(read("BUN: js-digest "), (Kind::Package, "js-digest".to_owned()));
        assert_eq!(read("host:*.evil.example"), (Kind::Host, "evil.example".to_owned()));
        assert_eq!(read("https://evil.example/x"), (Kind::Text, "https://evil.example/x".to_owned()));
        assert_eq!(read(&"ab".repeat(32)).0, Kind::Hash);
        assert_eq!(read("text:npm:x"), (Kind::Text, "npm:x".to_owned()));
        assert_eq!(read("std::system").0, Kind::Text);
    }

    #[test]
    fn what_would_be_found_everywhere_or_nowhere_is_refused_with_the_remedy() {
        insta::assert_snapshot!(kind("ab").expect_err("short"), @"`ab` is too short to be looked for; name at least 3 characters");
        insta::assert_snapshot!(kind("hash:xyz").expect_err("no hash"), @"`xyz` is no checksum: that has only the digits 0-9 and a-f");
        insta::assert_snapshot!(kind("hots:evil.example").expect_err("misspelt"), @"there is no kind `hots`; did you mean `host`? For the text itself write `text:hots:…`");
        assert!(kind(&"x".repeat(LONGEST + 1)).is_err());
    }

    #[test]
    fn a_list_has_comments_and_its_mistakes_stop_nothing() {
        let (indicators, findings) =
            Indicator::parse_list("# wave 1\nnpm:atomic-lockfile  # payload\n\nx\nhost:a.example\n", "list");
        let texts: Vec<_> = indicators.iter().map(|indicator| indicator.text.as_str()).collect();
        assert_eq!(texts, ["atomic-lockfile", "a.example"]);
        assert_eq!((findings.len(), findings[0].line), (1, Some(4)));
    }
}
