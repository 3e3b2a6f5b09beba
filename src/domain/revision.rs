//! Where a source under version control stands.

use std::fmt;

use super::name::Oid;

/// What a build would use now: a git commit, or how another system calls its state.
///
/// A git commit is its id alone, so that Chaotic's scripts can read it. Others name their system: `hg:<id>`,
/// `svn:<number>`, `bzr:<number>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(String);

impl Revision {
    /// A revision of another system than git; `None` if it is not one that is ever written.
    #[must_use]
    pub fn of(system: &str, name: &str) -> Option<Self> {
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_@+".contains(&byte));
        let is_name = |text: &str, longest| (1..=longest).contains(&text.len()) && plain(text);
        (is_name(system, 10) && is_name(name, 100)).then(|| Self(format!("{system}:{name}")))
    }

    /// Reads what was written.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once(':') {
            Some((system, name)) => Self::of(system, name),
            None => text.parse::<Oid>().ok().map(Self::from),
        }
    }

    /// The commit, if it is one of git.
    #[must_use]
    pub fn git_commit(&self) -> Option<Oid> {
        self.0.parse().ok()
    }
}

impl From<Oid> for Revision {
    fn from(commit: Oid) -> Self {
        Self(commit.to_string())
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl serde::Serialize for Revision {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// What a script of a package saw, in its own words: nobody but that script ever compares it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(transparent)]
pub struct Seen(String);

/// The most that can be remembered of what a script saw.
const LONGEST_SEEN: usize = 200;

/// What is no one word that can be remembered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("wrote down what is not one word of up to {LONGEST_SEEN} letters, digits and .-_@+:/=~,")]
pub struct Unmemorable;

impl Seen {
    /// One word, and what stands around it is white space.
    ///
    /// # Errors
    /// If it is none, or too long, or has other signs than letters, digits and `.-_@+:/=~,`.
    pub fn new(text: &str) -> Result<Self, Unmemorable> {
        let word = text.trim();
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b".-_@+:/=~,".contains(&byte);
        let fits = (1..=LONGEST_SEEN).contains(&word.len()) && word.bytes().all(legal);
        fits.then(|| Self(word.to_owned())).ok_or(Unmemorable)
    }

    /// The word.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_nothing_else_is_a_revision() {
        let commit = "a".repeat(40);
        for text in [commit.as_str(), "svn:1234", "bzr:12.1.3", &format!("hg:{commit}")] {
            assert_eq!(Revision::parse(text).expect("a revision").to_string(), text);
        }
        assert!(Revision::parse(&commit).expect("a revision").git_commit().is_some());
        assert!(Revision::parse(&format!("hg:{commit}")).expect("a revision").git_commit().is_none());
        for text in ["", "abc", "svn:", "svn:1,2", "svn:a b", "svn:a\nb", ":1", &format!("svn:{}", "1".repeat(101))] {
            assert_eq!(Revision::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_a_script_saw_is_one_word_that_fits_on_a_line_of_state() {
        for text in ["17", "v1.2-3-gabc", " r1:2~x/y=z,@_+\n"] {
            assert_eq!(Seen::new(text).expect("memorable").as_str(), text.trim());
        }
        for text in ["", " \n", "a b", "a\nb", "x#y", "\"q\"", "ä", "\u{1b}[0m", &"1".repeat(201)] {
            assert_eq!(Seen::new(text), Err(Unmemorable), "{text:?}");
        }
    }
}
