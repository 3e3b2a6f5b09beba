//! One dependency of a package as pacman reads it: a name, and perhaps what its version has to be.

use std::cmp::Ordering;

use crate::domain::version::Version;

/// What a package has, by name: its own, or one that it provides. `None` satisfies no version.
pub type Offer<'a> = (&'a str, Option<Version>);

/// A dependency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need<'a> {
    /// The name that something has to have.
    pub name: &'a str,
    /// How its version has to compare, if it matters.
    wanted: Option<(Relation, Version)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    Equal,
    AtLeast,
    AtMost,
    More,
    Less,
}

impl<'a> Need<'a> {
    /// Reads `name`, `name>=1` and the like. A description after `: ` is left out.
    #[must_use]
    pub fn parse(written: &'a str) -> Self {
        let written = written.split(": ").next().unwrap_or(written).trim();
        let signs = [
            (">=", Relation::AtLeast),
            ("<=", Relation::AtMost),
            ("=", Relation::Equal),
            (">", Relation::More),
            ("<", Relation::Less),
        ];
        let found = signs.iter().find_map(|(sign, relation)| {
            let (name, version) = written.split_once(sign)?;
            Some(Self { name, wanted: Some((*relation, Version::new(version))) })
        });
        found.unwrap_or(Self { name: written, wanted: None })
    }

    /// Whether something of that name and version is what is needed, as libalpm decides it.
    #[must_use]
    pub fn is_met_by(&self, (name, version): &Offer<'_>) -> bool {
        if self.name != *name {
            return false;
        }
        let Some((relation, wanted)) = &self.wanted else { return true };
        let Some(version) = version else { return false };
        let order = compare(version, wanted);
        match relation {
            Relation::Equal => order == Ordering::Equal,
            Relation::AtLeast => order != Ordering::Less,
            Relation::AtMost => order != Ordering::Greater,
            Relation::More => order == Ordering::Greater,
            Relation::Less => order == Ordering::Less,
        }
    }
}

/// A version without `pkgrel` is compared without that of the other.
fn compare(a: &Version, b: &Version) -> Ordering {
    crate::domain::version::vercmp(a.as_str(), b.as_str())
}

/// What is provided: `name` or `name=version`.
#[must_use]
pub fn offer(written: &str) -> Offer<'_> {
    match written.split_once('=') {
        Some((name, version)) => (name, Some(Version::new(version))),
        None => (written, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_pacman_does() {
        let met = |written, has| Need::parse(written).is_met_by(&offer(has));
        for (written, has) in [
            ("foo", "foo"),
            ("foo", "foo=9"),
            ("foo>=1.2", "foo=1.2-3"),
            ("foo>=1.2", "foo=1:0-1"),
            ("foo<2: for colours", "foo=1.9"),
            ("foo=1.2", "foo=1.2-7"),
            ("libfoo.so=1-64", "libfoo.so=1-64"),
            ("foo>1", "foo=1.1"),
            ("foo<=2", "foo=2"),
        ] {
            assert!(met(written, has), "{has} is {written}");
        }
        for (written, has) in [
            ("foo", "bar"),
            ("foo>=1", "foo"),
            ("foo<2", "foo=2"),
            ("libfoo.so=2-64", "libfoo.so=1-64"),
            ("foo>1", "foo=1"),
        ] {
            assert!(!met(written, has), "{has} is not {written}");
        }
    }
}
