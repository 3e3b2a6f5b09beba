//! What is wrong with the configuration, with the place underlined.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode};

/// Everything that is wrong with a configuration; never empty.
#[derive(Debug, Clone, thiserror::Error)]
pub struct ConfigError {
    /// In the order in which they stand in the file, then those of the environment.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{}: {problem}", problem.place())?;
            if !problem.hint.is_empty() {
                write!(f, "; {}", problem.hint)?;
            }
        }
        Ok(())
    }
}

/// One thing that is wrong with the configuration.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    /// One sentence.
    pub message: String,
    /// What to do about it; may be empty.
    pub hint: String,
    /// Where it stands.
    pub origin: Origin,
}

/// Something that can be written, and cannot be done so.
pub(super) struct Impossible {
    /// Where it is told.
    pub place: [&'static str; 2],
    /// What is not done.
    pub message: String,
    /// What to write instead.
    pub hint: &'static str,
    /// The settings that are missing for it. Those that are given and wrong are told already, and are not missing.
    pub missing: &'static [&'static [&'static str]],
}

/// Where a setting was given.
#[derive(Debug, Clone)]
pub enum Origin {
    /// In a file.
    File {
        /// The file, with passwords in URLs blotted out.
        source: Arc<NamedSource<String>>,
        /// The bytes to underline.
        span: Range<usize>,
    },
    /// In the environment variable of this name.
    Environment(String),
}

impl Problem {
    /// `file:line:column`, or the name of the environment variable.
    #[must_use]
    pub fn place(&self) -> String {
        match (&self.origin, self.position()) {
            (Origin::File { source, .. }, Some((line, column))) => format!("{}:{line}:{column}", source.name()),
            (Origin::File { source, .. }, None) => source.name().to_owned(),
            (Origin::Environment(variable), _) => variable.clone(),
        }
    }

    /// The file or the environment variable.
    #[must_use]
    pub fn origin_name(&self) -> &str {
        match &self.origin {
            Origin::File { source, .. } => source.name(),
            Origin::Environment(variable) => variable,
        }
    }

    /// Line and column in the file, both from 1; the column counts characters.
    #[must_use]
    pub fn position(&self) -> Option<(usize, usize)> {
        let Origin::File { source, span } = &self.origin else { return None };
        let before = source.inner().get(..span.start)?;
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Some((before.matches('\n').count() + 1, before[line_start..].chars().count() + 1))
    }
}

impl Diagnostic for Problem {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        (!self.hint.is_empty()).then(|| Box::new(&self.hint) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        match &self.origin {
            Origin::File { source, .. } => Some(source.as_ref()),
            Origin::Environment(_) => None,
        }
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let Origin::File { span, .. } = &self.origin else { return None };
        Some(Box::new(std::iter::once(LabeledSpan::underline(span.clone()))))
    }
}

/// Replaces the password of every `scheme://user:password@host` by asterisks, byte for byte, so that
/// places in the text stay where they are.
pub(super) fn without_passwords(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("://").map(|at| at + 3) {
        let (before, address) = rest.split_at(start);
        clean.push_str(before);
        let authority = address.find(|c: char| c == '/' || c == '"' || c == '\'' || c.is_whitespace());
        let (authority, after) = address.split_at(authority.unwrap_or(address.len()));
        match authority.rsplit_once('@').and_then(|(login, host)| Some((login.split_once(':')?, host))) {
            Some(((user, password), host)) => {
                clean.extend([user, ":", &"*".repeat(password.len()), "@", host]);
            }
            None => clean.push_str(authority),
        }
        rest = after;
    }
    clean.push_str(rest);
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_blotted_out_and_nothing_moves() {
        let text = "url = \"redis://:s3cret@h:6379/0\"\nother = \"https://h/a:b@c\"";
        let clean = without_passwords(text);
        assert_eq!(clean, "url = \"redis://:******@h:6379/0\"\nother = \"https://h/a:b@c\"");
        assert_eq!(clean.len(), text.len());
    }
}
