//! The parts of an entry of `source`.

/// `name::scheme://host/path?query#fragment`, or the name of a file beside the PKGBUILD.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source<'a> {
    /// What stands before `::`.
    pub name: Option<&'a str>,
    /// What stands before `+` in the scheme: `git`, `hg`…
    pub vcs: Option<&'a str>,
    /// `https`, `git`…; empty for a file beside the PKGBUILD.
    pub scheme: &'a str,
    /// Host with user and port.
    pub authority: &'a str,
    /// The path; for a file beside the PKGBUILD its name.
    pub path: &'a str,
    /// What stands behind `?`.
    pub query: Option<&'a str>,
    /// What stands behind `#`.
    pub fragment: Option<&'a str>,
}

const VCS: [&str; 5] = ["git", "hg", "svn", "bzr", "fossil"];

/// Hosts on which the first part of the path names an owner.
const FORGES: [&str; 12] = [
    "github.com",
    "raw.githubusercontent.com",
    "codeload.github.com",
    "gitlab.com",
    "codeberg.org",
    "bitbucket.org",
    "gitea.com",
    "git.sr.ht",
    "sourceforge.net",
    "framagit.org",
    "salsa.debian.org",
    "invent.kde.org",
];

impl<'a> Source<'a> {
    /// Splits an entry.
    #[must_use]
    pub fn split(entry: &'a str) -> Self {
        let (name, address) = match entry.split_once("::") {
            Some((name, address)) => (Some(name), address),
            None => (None, entry),
        };
        let (address, fragment) = split(address, '#');
        let (address, query) = split(address, '?');
        let Some((scheme, rest)) = address.split_once("://") else {
            return Self { name, vcs: None, scheme: "", authority: "", path: address, query, fragment };
        };
        let (vcs, scheme) = match scheme.split_once('+') {
            Some((vcs, scheme)) => (Some(vcs), scheme),
            None if VCS.contains(&scheme) => (Some(scheme), scheme),
            None => (None, scheme),
        };
        let end = rest.find('/').unwrap_or(rest.len());
        Self { name, vcs, scheme, authority: &rest[..end], path: &rest[end..], query, fragment }
    }

    /// Whether it is fetched from somewhere.
    #[must_use]
    pub const fn is_remote(&self) -> bool {
        !self.scheme.is_empty()
    }

    /// The account whose file it is, where the host has such a thing: two parts of the path (owner and
    /// repository).
    #[must_use]
    pub fn owner(&self) -> Option<&'a str> {
        let host = self.authority.strip_prefix("www.").unwrap_or(self.authority);
        let forge = FORGES.contains(&host) || host.starts_with("gitlab.") || host.starts_with("git.");
        let inner = self.path.strip_prefix('/').unwrap_or(self.path);
        let mut slashes = inner.match_indices('/').map(|(at, _)| at);
        let second = slashes.nth(1).unwrap_or(inner.len());
        forge.then(|| inner[..second].trim_end_matches(".git"))
    }

    /// The name under which makepkg stores it.
    #[must_use]
    pub fn file(&self) -> &'a str {
        self.name.unwrap_or_else(|| {
            let path = self.path.trim_end_matches('/');
            path.rsplit('/').next().unwrap_or(path)
        })
    }
}

fn split(text: &str, sign: char) -> (&str, Option<&str>) {
    match text.split_once(sign) {
        Some((front, behind)) => (front, Some(behind)),
        None => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_split_into_their_parts() {
        let source = Source::split("tool::git+https://github.com/them/tool.git?signed#tag=v1");
        assert_eq!((source.name, source.vcs, source.scheme), (Some("tool"), Some("git"), "https"));
        assert_eq!((source.authority, source.owner()), ("github.com", Some("them/tool")));
        assert_eq!((source.query, source.fragment), (Some("signed"), Some("tag=v1")));
        let local = Source::split("fix.patch");
        assert!(!local.is_remote());
        assert_eq!(local.file(), "fix.patch");
        assert_eq!(Source::split("https://a.example/b/c.tar.gz").file(), "c.tar.gz");
    }
}
