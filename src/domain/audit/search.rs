//! Searches texts for many indicators at once.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use aho_corasick::AhoCorasick;
use sha2::{Digest as _, Sha256};

use super::disguise;
use super::{Indicator, Kind};
use crate::domain::classify::text::shown;

/// How much of a line is shown before and behind a match.
const AROUND: usize = 100;
/// More matches of one indicator in one file say nothing new.
const MOST_ALIKE: usize = 20;

/// One indicator in one line of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// The place of the indicator in the list.
    pub indicator: usize,
    /// The line, from 1; none if it is the text as a whole.
    pub line: Option<u32>,
    /// What stands there, safe to show.
    pub text: String,
    /// Whether it was hidden from readers.
    pub disguised: bool,
}

/// A list of indicators, made ready.
#[derive(Debug, Clone)]
pub struct Searcher {
    indicators: Vec<Indicator>,
    automaton: AhoCorasick,
    /// Whether the checksum of every file has to be known.
    hashes_files: bool,
}

impl Searcher {
    /// Makes a list ready; the order of the indicators stays.
    #[must_use]
    pub fn new(indicators: Vec<Indicator>) -> Self {
        let texts = indicators.iter().map(|indicator| indicator.text.as_bytes());
        let automaton = AhoCorasick::builder().ascii_case_insensitive(true).build(texts);
        let hashes_files = indicators.iter().any(|it| it.kind == Kind::Hash && it.text.len() == 64);
        Self { automaton: automaton.expect("indicators have a bounded length"), indicators, hashes_files }
    }

    /// The indicators, as matches count them.
    #[must_use]
    pub fn indicators(&self) -> &[Indicator] {
        &self.indicators
    }

    /// Searches a file: as it is, without what hides words in it, and by its checksum. Each line is told
    /// once for each indicator.
    #[must_use]
    pub fn search(&self, text: &[u8]) -> Vec<Match> {
        let mut found = Found::default();
        let mut line = Lines { text, at: 0, number: 1 };
        for (indicator, start, end) in self.matches(text) {
            found.add(indicator, line.number_at(start), || excerpt(text, start, end), false);
        }
        if let Some(plain) = disguise::plain(text) {
            for (indicator, start, end) in self.matches(&plain.bytes) {
                found.add(indicator, plain.line_at(start), || excerpt(&plain.bytes, start, end), true);
            }
        }
        if self.hashes_files {
            self.by_checksum(text, &mut found);
        }
        found.matches
    }

    /// Searches the name of a person or a file: a text of one line, which is no file.
    #[must_use]
    pub fn names(&self, text: &str, kinds: &[Kind]) -> Vec<usize> {
        let bytes = text.as_bytes();
        let all = self.automaton.find_overlapping_iter(bytes);
        let fitting = all.filter(|it| {
            let indicator = &self.indicators[it.pattern().as_usize()];
            kinds.contains(&indicator.kind) && stands_alone(indicator.kind, bytes, it.start(), it.end())
        });
        fitting.map(|it| it.pattern().as_usize()).collect::<BTreeSet<_>>().into_iter().collect()
    }

    fn matches<'a>(&'a self, text: &'a [u8]) -> impl Iterator<Item = (usize, usize, usize)> + 'a {
        let fits = |&(indicator, start, end): &(usize, usize, usize)| {
            let kind = self.indicators[indicator].kind;
            stands_alone(kind, text, start, end) && (kind != Kind::Maintainer || names_people(text, start))
        };
        let all = self.automaton.find_overlapping_iter(text);
        let mut all: Vec<_> = all.map(|it| (it.pattern().as_usize(), it.start(), it.end())).filter(fits).collect();
        // They come by their ends; lines are counted by their beginnings.
        all.sort_unstable_by_key(|&(indicator, start, _)| (start, indicator));
        all.into_iter()
    }

    fn by_checksum(&self, text: &[u8], found: &mut Found) {
        let digest = Sha256::digest(text).iter().fold(String::with_capacity(64), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        for (index, indicator) in self.indicators.iter().enumerate() {
            if indicator.kind == Kind::Hash && indicator.text.eq_ignore_ascii_case(&digest) {
                let text = "the file has this SHA-256".to_owned();
                found.matches.push(Match { indicator: index, line: None, text, disguised: false });
            }
        }
    }
}

#[derive(Default)]
struct Found {
    matches: Vec<Match>,
    told: BTreeSet<(usize, u32)>,
}

impl Found {
    fn add(&mut self, indicator: usize, line: u32, text: impl FnOnce() -> String, disguised: bool) {
        let alike = self.told.range((indicator, 0)..=(indicator, u32::MAX)).count();
        if alike < MOST_ALIKE && self.told.insert((indicator, line)) {
            self.matches.push(Match { indicator, line: Some(line), text: text(), disguised });
        }
    }
}

/// Counts lines up to places that only grow.
struct Lines<'a> {
    text: &'a [u8],
    at: usize,
    number: u32,
}

impl Lines<'_> {
    fn number_at(&mut self, place: usize) -> u32 {
        let between = memchr::memchr_iter(b'\n', &self.text[self.at..place]).count();
        self.number += u32::try_from(between).unwrap_or(u32::MAX);
        self.at = place;
        self.number
    }
}

/// The line around a match, or as much of it as is of use.
fn excerpt(text: &[u8], start: usize, end: usize) -> String {
    let line_start = line_start(text, start);
    let line_end = memchr::memchr(b'\n', &text[end..]).map_or(text.len(), |at| end + at);
    let from = line_start.max(start.saturating_sub(AROUND));
    let to = line_end.min(end + AROUND);
    let cut = |cut: bool| if cut { "…" } else { "" };
    format!("{}{}{}", cut(from > line_start), shown(text[from..to].trim_ascii()), cut(to < line_end))
}

fn line_start(text: &[u8], at: usize) -> usize {
    memchr::memrchr(b'\n', &text[..at]).map_or(0, |newline| newline + 1)
}

/// Whether the line of a match says who maintains or contributed.
fn names_people(text: &[u8], start: usize) -> bool {
    let line = String::from_utf8_lossy(&text[line_start(text, start)..start]).to_ascii_lowercase();
    ["maintainer", "contributor", "author", "packager", "keepers"].iter().any(|word| line.contains(word))
}

/// Whether a match begins and ends where the thing itself does.
fn stands_alone(kind: Kind, text: &[u8], start: usize, end: usize) -> bool {
    let before = start.checked_sub(1).map(|at| text[at]);
    let (after, next) = (text.get(end).copied(), text.get(end + 1).copied());
    let is = |byte: Option<u8>, more: &[u8]| byte.is_some_and(|it| it.is_ascii_alphanumeric() || more.contains(&it));
    match kind {
        Kind::Text => true,
        Kind::Host => !(is(before, b"-_") || is(after, b"-_") || after == Some(b'.') && is(next, b"")),
        // A tarball of the registry has the version behind a hyphen.
        Kind::Package => {
            let version = after == Some(b'-') && next.is_some_and(|byte| byte.is_ascii_digit());
            !is(before, b"-_.") && (version || !is(after, b"-_"))
        }
        Kind::Hash => !is(before, b"") && !is(after, b""),
        Kind::Maintainer => !is(before, b"-_") && !is(after, b"-_"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn searcher(written: &[&str]) -> Searcher {
        Searcher::new(written.iter().map(|text| Indicator::parse(text).expect(text)).collect())
    }

    fn told(written: &[&str], text: &str) -> Vec<String> {
        let matches = searcher(written).search(text.as_bytes());
        let sign = |it: &Match| if it.disguised { "~" } else { "" };
        matches.iter().map(|it| format!("{}{}:{}", sign(it), it.line.unwrap_or(0), it.text)).collect()
    }

    #[test]
    fn every_wave_is_found_however_its_words_are_spelt() {
        let text = "post_install() {\n  cd /tmp; npm install atomic-lockfile express\n  'b''u''n' a\"d\"d \\\n js-'digest'\n\
                    $'\\x63'\"d\" && x\n}\n";
        assert_eq!(told(&["npm:atomic-lockfile"], text), ["2:cd /tmp; npm install atomic-lockfile express"]);
        assert_eq!(told(&["bun:js-digest"], text), ["~4:bun add  js-digest"]);
        assert_eq!(told(&["text:cd &&"], text), ["~5:cd && x"]);
    }

    #[test]
    fn a_name_is_not_found_within_another() {
        assert_eq!(told(&["npm:js-digest"], "my-js-digest js-digest-lib x.js-digest js-digester"), [""; 0]);
        assert_eq!(told(&["npm:js-digest"], "https://r.example/js-digest/-/js-digest-1.0.tgz").len(), 1);
        assert_eq!(told(&["npm:js-digest"], "js-digest@1.0").len(), 1);
        assert_eq!(told(&["host:evil.example"], "notevil.example evil.example.org my-evil.example"), [""; 0]);
        assert_eq!(
            told(&["host:evil.example"], "https://a.EVIL.example:8080/x\nat evil.example."),
            ["1:https://a.EVIL.example:8080/x", "2:at evil.example."]
        );
        assert_eq!(
            told(&["maintainer:eve"], "# Maintainer: eve <e@x>\n# Contributor: steve\ncp eve.conf\n"),
            ["1:# Maintainer: eve <e@x>"]
        );
    }

    #[test]
    fn a_checksum_is_found_in_a_list_and_as_that_of_a_file() {
        let digest = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        assert_eq!(told(&[digest], &format!("sha256sums=('{}')", digest.to_uppercase())).len(), 1);
        assert_eq!(told(&[digest], "hello"), ["0:the file has this SHA-256"]);
    }

    #[test]
    fn what_is_shown_is_short_and_cannot_hide_or_steer() {
        let long = format!("{}\x1b[2Jneedle\u{202e}{}", "a".repeat(1000), "b".repeat(1000));
        let [line] = &told(&["needle"], &long)[..] else { panic!("one") };
        assert!(line.len() < 300 && line.contains(r"\u{1b}[2Jneedle\u{202e}bb") && line.ends_with('…'), "{line}");
        assert_eq!(told(&["needle"], &"needle\n".repeat(1000)).len(), MOST_ALIKE);
    }

    #[test]
    fn names_of_files_are_searched_for_what_they_can_hold() {
        let searcher = searcher(&["text:-deps.install", "npm:foo", "maintainer:eve"]);
        assert_eq!(searcher.names("foo/foo-deps.install", &[Kind::Text, Kind::Package]), [0, 1]);
        assert_eq!(searcher.names("eve <e@x.example>", &[Kind::Maintainer]), [2]);
    }
}
