//! What is wrong with the input, said so that a person can mend it.

use serde::Serialize;

use super::name::{Oid, PkgBase};

/// How bad a finding is. Neither stops anything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Things work, but somebody should look.
    Warning,
    /// Something the person asked for does not happen.
    Error,
}

impl Severity {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One thing that is wrong: what, where, and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The package it is about, if it is about one.
    pub pkgbase: Option<PkgBase>,
    /// Path inside the monorepo.
    pub file: Option<String>,
    /// Line in `file`, from 1.
    pub line: Option<u32>,
    /// The commit that brought it, where one commit is to blame.
    pub commit: Option<Oid>,
    /// Stable, for filters: `kebab-case`.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// One sentence.
    pub message: String,
    /// What to do about it; empty if there is nothing sensible to say.
    pub hint: String,
}

impl Finding {
    /// A warning with a code and a message, to be placed with the `with_…` methods.
    #[must_use]
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, message.into())
    }

    /// An error with a code and a message, to be placed with the `with_…` methods.
    #[must_use]
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, message.into())
    }

    fn new(severity: Severity, code: &'static str, message: String) -> Self {
        Self { pkgbase: None, file: None, line: None, commit: None, code, severity, message, hint: String::new() }
    }

    /// Says which package it is about.
    #[must_use]
    pub fn with_package(mut self, pkgbase: &PkgBase) -> Self {
        self.pkgbase = Some(pkgbase.clone());
        self
    }

    /// Says in which file, and on which line if known.
    #[must_use]
    pub fn at(mut self, file: impl Into<String>, line: Option<u32>) -> Self {
        self.file = Some(file.into());
        self.line = line;
        self
    }

    /// Says which commit brought it.
    #[must_use]
    pub fn in_commit(mut self, commit: Oid) -> Self {
        self.commit = Some(commit);
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, "{file}:{line}: ")?,
            (Some(file), None) => write!(f, "{file}: ")?,
            (None, _) => {}
        }
        f.write_str(&self.message)?;
        if let Some(commit) = self.commit {
            write!(f, " (commit {})", commit.short())?;
        }
        if !self.hint.is_empty() {
            write!(f, "; {}", self.hint)?;
        }
        Ok(())
    }
}

/// The names nearest to what somebody wrote, best first, for "did you mean".
#[must_use]
pub fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known.into_iter().filter_map(|name| Some((distance(written, name)?, name))).min().map(|(_, name)| name)
}

/// In how many letters what somebody wrote differs from a name; `None` if that is too far from it to have been meant.
#[must_use]
pub fn distance(written: &str, name: &str) -> Option<usize> {
    let most = most_mistakes(name.len().max(written.len()));
    // Most names are ruled out by their length alone.
    let near = name.chars().count().abs_diff(written.chars().count()) <= most;
    near.then(|| strsim::damerau_levenshtein(written, name)).filter(|distance| *distance <= most)
}

/// How many letters may be wrong in a word of this length: a third, and of long ones fewer.
fn most_mistakes(length: usize) -> usize {
    ((length + 1) / 3).clamp(1, 2 + length / 6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_and_a_stranger_is_not() {
        let known = ["firefox", "firefox-beta", "thunderbird"];
        assert_eq!(nearest("firefx", known), Some("firefox"));
        assert_eq!(nearest("linux", known), None);
        assert_eq!(nearest("alfa", ["alpha", "beta", "gamma"]), Some("alpha"));
        assert_eq!(nearest("foo", ["bar", "fob", "fxx"]), Some("fob"));
        assert_eq!(nearest("xyz", ["bar", "fob", "fxx"]), None);
    }

    #[test]
    fn a_finding_reads_as_one_line() {
        let finding = Finding::error("srcinfo", "line is not `key = value`")
            .at("foo/.SRCINFO", Some(3))
            .hint("run makepkg --printsrcinfo");
        assert_eq!(finding.to_string(), "foo/.SRCINFO:3: line is not `key = value`; run makepkg --printsrcinfo");
    }
}
