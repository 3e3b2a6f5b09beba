//! Reads typed values out of one `KEY=VALUE` file and collects what is wrong with it.
//!
//! Knows no key by itself: [`super::package`] and [`super::repository`] say which keys exist and what
//! they mean. A bad value never stops anything: it is reported and the default is used.

use crate::domain::finding::{Finding, nearest};
use crate::domain::keyvalue::KeyValues;

/// One file while it is being read.
pub(super) struct KeyFile<'a> {
    path: &'a str,
    values: KeyValues,
    findings: Vec<Finding>,
}

impl<'a> KeyFile<'a> {
    /// Parses a file, and reports lines that cannot be read, keys that are not in `known`, and keys
    /// that are assigned more than once.
    pub fn new(text: &str, path: &'a str, known: &[&str]) -> Self {
        let mut file = Self { path, values: KeyValues::parse(text), findings: Vec::new() };
        file.report_unreadable_lines();
        file.report_keys(known);
        file
    }

    /// What was found to be wrong, from the top of the file to its end.
    pub fn into_findings(mut self) -> Vec<Finding> {
        self.findings.sort_by_key(|finding| finding.line);
        self.findings
    }

    /// The value of a key, unless it is missing or empty.
    pub fn text(&self, key: &str) -> Option<String> {
        self.values.get(key).filter(|value| !value.is_empty()).map(str::to_owned)
    }

    /// `true` or `false`.
    pub fn flag(&mut self, key: &str) -> Option<bool> {
        match self.text(key)?.as_str() {
            "true" => Some(true),
            "false" => Some(false),
            other => {
                let message = format!("`{other}` is neither true nor false; the default is used");
                self.complain(key, &message, &format!("write {key}=true or {key}=false"));
                None
            }
        }
    }

    /// A value that `read` understands; it answers with what is wrong and the remedy otherwise.
    pub fn parsed<T>(&mut self, key: &str, read: impl Fn(&str) -> Result<T, (String, &'static str)>) -> Option<T> {
        match read(&self.text(key)?) {
            Ok(value) => Some(value),
            Err((message, hint)) => {
                self.complain(key, &format!("{message}; the default is used"), hint);
                None
            }
        }
    }

    /// The parts of a value between separators, without empty ones.
    pub fn list(&self, key: &str, separator: fn(char) -> bool) -> Vec<String> {
        let value = self.text(key).unwrap_or_default();
        value.split(separator).map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
    }

    /// Reports something about the value of a key, at the line it stands on.
    pub fn complain(&mut self, key: &str, message: &str, hint: &str) {
        let finding = Finding::warning("config-value", format!("{key}: {}", printable(message)));
        let line = self.values.line_of(key);
        self.findings.push(finding.at(self.path, line).hint(hint));
    }

    fn report_unreadable_lines(&mut self) {
        let unreadable = self.values.unreadable().map(|line| {
            let shown = printable(&line.text.trim().chars().take(60).collect::<String>());
            Finding::warning("config-line", format!("`{shown}` is not KEY=VALUE and means nothing"))
                .at(self.path, Some(line.line))
                .hint("write KEY=VALUE, or put a # before a comment")
        });
        let unreadable: Vec<_> = unreadable.collect();
        self.findings.extend(unreadable);
    }

    fn report_keys(&mut self, known: &[&str]) {
        let mut seen = std::collections::BTreeSet::new();
        let keys: Vec<String> = self.values.keys().map(str::to_owned).collect();
        for key in keys {
            if !seen.insert(key.clone()) {
                let finding = Finding::warning("config-duplicate-key", format!("{key} is assigned more than once"));
                let line = self.values.line_of(&key);
                self.findings.push(finding.at(self.path, line).hint("the last one counts; remove the others"));
            } else if !known.contains(&key.as_str()) {
                let finding = Finding::warning("config-unknown-key", format!("nothing reads the key {key}"));
                let line = self.values.line_of(&key);
                self.findings.push(finding.at(self.path, line).hint(did_you_mean(&key, known)));
            }
        }
    }
}

/// Text of a file with control characters escaped, so that a terminal shows it and nothing more.
pub(super) fn printable(text: &str) -> String {
    let escaped = |c: char| if c.is_control() { c.escape_debug().to_string() } else { c.to_string() };
    text.chars().map(escaped).collect()
}

fn did_you_mean(key: &str, known: &[&str]) -> String {
    match nearest(&key.to_ascii_uppercase(), known.iter().copied()) {
        Some(name) => format!("did you mean {name}?"),
        None => "remove it, or check its spelling".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(text: &str) -> Vec<String> {
        let file = KeyFile::new(text, "foo/.CI/config", &["CI_MANAGE_AUR", "BUILDER_CLASS"]);
        file.into_findings().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_unknown_key_gets_its_nearest_neighbour() {
        insta::assert_debug_snapshot!(findings("CI_MANAGE_AURR=true\nbuilder_class=9\nFOO=1\n"), @r#"
        [
            "foo/.CI/config:1: nothing reads the key CI_MANAGE_AURR; did you mean CI_MANAGE_AUR?",
            "foo/.CI/config:2: nothing reads the key builder_class; did you mean BUILDER_CLASS?",
            "foo/.CI/config:3: nothing reads the key FOO; remove it, or check its spelling",
        ]
        "#);
    }

    #[test]
    fn prose_and_repeated_keys_are_reported_once_each() {
        insta::assert_debug_snapshot!(findings("needs more \u{1b}[31mmemory\n\nBUILDER_CLASS=1\nBUILDER_CLASS=2\n"), @r#"
        [
            "foo/.CI/config:1: `needs more \\u{1b}[31mmemory` is not KEY=VALUE and means nothing; write KEY=VALUE, or put a # before a comment",
            "foo/.CI/config:4: BUILDER_CLASS is assigned more than once; the last one counts; remove the others",
        ]
        "#);
    }

    #[test]
    fn a_comment_and_an_empty_value_are_fine() {
        assert_eq!(findings("# why\nBUILDER_CLASS=\n"), [""; 0]);
    }
}
