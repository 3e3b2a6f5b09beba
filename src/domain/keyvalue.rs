//! Chaotic's `KEY=VALUE` files (`.ci/config`, `.CI/config`, files of the `state` branch), kept to the
//! byte: comments, order and unknown keys survive every change.

/// One line that is neither an assignment, a comment, nor blank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableLine {
    /// The line, from 1.
    pub line: u32,
    /// Its text.
    pub text: String,
}

/// A `KEY=VALUE` file as lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyValues {
    lines: Vec<Line>,
    ends_with_newline: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    text: String,
    key: Option<String>,
}

impl KeyValues {
    /// Reads a file. Whatever it holds, [`KeyValues::to_text`] gives it back unchanged.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let lines = text
            .split_terminator('\n')
            .map(|line| Line { key: Assignment::read(line).map(|it| it.key.to_owned()), text: line.to_owned() });
        Self { lines: lines.collect(), ends_with_newline: text.is_empty() || text.ends_with('\n') }
    }

    /// The value of a key, without surrounding white space, one pair of double quotes, and a comment
    /// after it; the last assignment wins, as in bash.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        let line = self.lines.iter().rev().find(|line| line.key.as_deref() == Some(key))?;
        Assignment::read(&line.text).map(|it| unquoted(it.value))
    }

    /// The line a key is last assigned on, from 1.
    #[must_use]
    pub fn line_of(&self, key: &str) -> Option<u32> {
        let index = self.lines.iter().rposition(|line| line.key.as_deref() == Some(key))?;
        u32::try_from(index + 1).ok()
    }

    /// Every key, in order of appearance.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().filter_map(|line| line.key.as_deref())
    }

    /// Assigns a key where it stands, or at the end. A comment on its line stays.
    pub fn set(&mut self, key: &str, value: &str) {
        if let Some(line) = self.lines.iter_mut().rev().find(|line| line.key.as_deref() == Some(key)) {
            let old = Assignment::read(&line.text);
            if old.is_none_or(|old| old.value != value) {
                line.text = format!("{key}={value}{}", old.map_or("", |old| old.comment));
            }
        } else {
            self.lines.push(Line { text: format!("{key}={value}"), key: Some(key.to_owned()) });
            self.ends_with_newline = true;
        }
    }

    /// Takes every assignment of a key out.
    pub fn remove(&mut self, key: &str) {
        self.lines.retain(|line| line.key.as_deref() != Some(key));
    }

    /// Lines that mean nothing to anybody.
    pub fn unreadable(&self) -> impl Iterator<Item = UnreadableLine> {
        let readable =
            |line: &Line| line.key.is_some() || line.text.trim().is_empty() || line.text.trim_start().starts_with('#');
        (1..)
            .zip(&self.lines)
            .filter(move |(_, line)| !readable(line))
            .map(|(number, line)| UnreadableLine { line: number, text: line.text.clone() })
    }

    /// The file as text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = self.lines.iter().map(|line| line.text.as_str()).collect::<Vec<_>>().join("\n");
        if self.ends_with_newline && !self.lines.is_empty() {
            text.push('\n');
        }
        text
    }
}

/// `  KEY = value  ` as Chaotic's reader has it: white space around key, sign and value is allowed. A
/// `#` after white space begins a comment, unless it stands in double quotes, as in bash.
#[derive(Debug, Clone, Copy)]
struct Assignment<'a> {
    key: &'a str,
    /// With its quotes.
    value: &'a str,
    /// What follows the value, from the white space before the `#`; empty without a comment.
    comment: &'a str,
}

impl<'a> Assignment<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let (key, written) = line.split_once('=')?;
        let key = key.trim();
        let legal = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let (value, comment) = without_comment(written);
        legal.then_some(Self { key, value, comment })
    }
}

fn without_comment(written: &str) -> (&str, &str) {
    let opening = written.trim_start().strip_prefix('"');
    let quoted = opening.and_then(|inside| {
        let rest = &inside[inside.find('"')? + 1..];
        (rest.trim_start().starts_with('#') && rest.starts_with(char::is_whitespace)).then_some(rest)
    });
    let begins = |(at, _): &(usize, &str)| written[..*at].ends_with(char::is_whitespace);
    let hash = match (quoted, opening) {
        (Some(rest), _) => Some(written.len() - rest.trim_start().len()),
        (None, Some(inside)) if inside.trim_end().ends_with('"') => None,
        (None, _) => written.match_indices('#').find(begins).map(|(at, _)| at),
    };
    let value = written[..hash.unwrap_or(written.len())].trim_end();
    let comment = if hash.is_some() { written[value.len()..].trim_end() } else { "" };
    (value.trim_start(), comment)
}

fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn writing_a_key_keeps_comments_order_and_unknown_keys() {
        let mut file = KeyValues::parse("# why\nCI_PKGBUILD_SOURCE=aur\n\nMY_OWN = x\nCI_PACKAGE_BUMP=1.0-1/1\n");
        file.set("CI_PACKAGE_BUMP", "1.0-1/2");
        file.set("BUILDER_CLASS", "9");
        let expected = "# why\nCI_PKGBUILD_SOURCE=aur\n\nMY_OWN = x\nCI_PACKAGE_BUMP=1.0-1/2\nBUILDER_CLASS=9\n";
        assert_eq!(file.to_text(), expected);
        assert_eq!(file.get("MY_OWN"), Some("x"));
    }

    #[test]
    fn a_line_without_a_sign_is_reported_with_its_number() {
        let file = KeyValues::parse("A=1\nthis is prose\n# fine\n");
        assert_eq!(file.unreadable().collect::<Vec<_>>(), [UnreadableLine { line: 2, text: "this is prose".into() }]);
    }

    #[test]
    fn the_last_assignment_wins_and_quotes_go() {
        let file = KeyValues::parse("A=1\nA=\"two words\"");
        assert_eq!((file.get("A"), file.line_of("A")), (Some("two words"), Some(2)));
    }

    #[test]
    fn a_comment_after_a_value_is_none_of_it_and_stays() {
        let value = |line: &str| KeyValues::parse(line).get("A").map(str::to_owned);
        assert_eq!(value("A=1.0-1/3   # why").as_deref(), Some("1.0-1/3"));
        assert_eq!(value("A=1\t#why").as_deref(), Some("1"));
        assert_eq!(value("A= # nothing").as_deref(), Some(""));
        assert_eq!(value("A=a#b").as_deref(), Some("a#b"));
        assert_eq!(value("A=#b").as_deref(), Some("#b"));
        assert_eq!(value("A=\"a # b\"").as_deref(), Some("a # b"));
        assert_eq!(value("A = \"a # b\"  # \"c\"").as_deref(), Some("a # b"));
        assert_eq!(value("A=\"a # b").as_deref(), Some("\"a"));
        let mut file = KeyValues::parse("A=1.0-1/3   # why\nB=\"x\" # y\n");
        file.set("A", "1.0-1/4");
        file.set("B", "z");
        assert_eq!(file.to_text(), "A=1.0-1/4   # why\nB=z # y\n");
    }

    proptest! {
        #[test]
        fn any_text_survives_unchanged(text in "([ -~]{0,12}\n){0,6}[ -~]{0,12}") {
            prop_assert_eq!(KeyValues::parse(&text).to_text(), text);
        }

        #[test]
        fn a_written_key_is_read_back(text in "([A-Z=# ]{0,8}\n){0,6}", value in "[a-z0-9/.:-]{0,12}") {
            let mut file = KeyValues::parse(&text);
            file.set("CI_KEY", &value);
            prop_assert_eq!(file.get("CI_KEY"), Some(value.as_str()));
        }
    }
}
