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
}
