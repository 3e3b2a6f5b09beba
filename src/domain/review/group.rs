//! Packages whose updates are decided about together: one branch and one review for all of a group that wait.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::domain::classify::Weight;
use crate::domain::name::{Oid, PkgBase};

/// How the branches of groups begin. No package has such a branch: theirs begin with `update-`.
const BRANCHES: &str = "updates-";
/// Longer names would not fit where forges show branches.
const LONGEST: usize = 64;

/// So many updates are decided about together at most: the text of a review has an end.
pub const MOST_TOGETHER: usize = 15;

/// The name of a group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupName(String);

impl GroupName {
    /// Reads a name: lower case letters, digits and hyphens, a letter or digit first.
    ///
    /// # Errors
    /// What is wrong with it, in one sentence.
    pub fn new(text: &str) -> Result<Self, String> {
        let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if text.is_empty() || text.len() > LONGEST || text.starts_with('-') || !text.bytes().all(legal) {
            let shown = text.escape_debug();
            return Err(format!("`{shown}` is no name of a group: use up to {LONGEST} of a-z, 0-9 and -"));
        }
        Ok(Self(text.to_owned()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The branch on which the updates of the group wait together.
    #[must_use]
    pub fn branch(&self) -> String {
        format!("{BRANCHES}{self}")
    }

    /// The group whose branch this is, if it is one.
    #[must_use]
    pub fn from_branch(branch: &str) -> Option<Self> {
        branch.strip_prefix(BRANCHES).and_then(|name| Self::new(name).ok())
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Names of packages in which `*` stands for any text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePattern(String);

impl NamePattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What is wrong with it, in one sentence.
    pub fn new(text: &str) -> Result<Self, String> {
        let without = text.replace('*', "");
        let is_name = without.is_empty() || PkgBase::new(without.trim_start_matches(['-', '.'])).is_ok();
        let is_anything = !text.is_empty() && without.trim_matches(['-', '.']).is_empty();
        if text.is_empty() || (!is_name && !is_anything) {
            let shown = text.escape_debug();
            return Err(format!("`{shown}` fits to no package: write a name, in which * stands for any text"));
        }
        Ok(Self(text.to_owned()))
    }

    /// Whether it is the name of that package.
    #[must_use]
    pub fn fits(&self, pkgbase: &PkgBase) -> bool {
        let mut parts = self.0.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = pkgbase.as_str().strip_prefix(first) else { return false };
        let mut parts: Vec<&str> = parts.collect();
        let Some(last) = parts.pop() else { return rest.is_empty() };
        for part in parts {
            let Some((_, behind)) = rest.split_once(part) else { return false };
            rest = behind;
        }
        rest.ends_with(last)
    }
}

/// A group, as the operator wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: GroupName,
    /// The packages that belong to it.
    pub packages: Vec<NamePattern>,
}

/// The group of a package: of several that have it, the first.
#[must_use]
pub fn group_of<'a>(groups: &'a [Group], pkgbase: &PkgBase) -> Option<&'a GroupName> {
    let has = |group: &&Group| group.packages.iter().any(|pattern| pattern.fits(pkgbase));
    groups.iter().find(has).map(|group| &group.name)
}

/// An update that waits, as far as that decides with what it is decided about.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// The package.
    pub pkgbase: &'a PkgBase,
    /// The heaviest of its reasons.
    pub weight: Weight,
    /// Whether its branch can be written anew elsewhere: there is no conflict, nobody committed there, and nothing newer
    /// waits because of that.
    pub is_free: bool,
}

/// With which group each update is decided about, if with one. What looks like an attack must not be one of many, what
/// cannot be written anew elsewhere stays where it is, and a group has an end.
#[must_use]
pub fn together<'a>(groups: &'a [Group], candidates: &[Candidate<'_>]) -> Vec<Option<&'a GroupName>> {
    let mut sizes = BTreeMap::<&GroupName, usize>::new();
    let mut group = |it: &Candidate<'_>| {
        let is_ordinary = it.weight < Weight::Hostile && it.is_free;
        let name = group_of(groups, it.pkgbase).filter(|_| is_ordinary)?;
        let size = sizes.entry(name).or_default();
        *size += 1;
        (*size <= MOST_TOGETHER).then_some(name)
    };
    candidates.iter().map(&mut group).collect()
}

/// A branch of a group, as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Its tip.
    pub head: Option<Oid>,
    /// Whether it holds exactly what waits, and nothing else.
    pub is_right: bool,
    /// People with commits on it.
    pub people: BTreeSet<String>,
}

/// What becomes of the branch of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It stays: it is right, or there is none and need not be.
    Stays,
    /// It is written anew: there is none, or it holds something else.
    Written,
    /// It stays as it is although it holds something else, because people work on it.
    Kept,
    /// It goes: nothing of the group waits.
    Goes,
}

/// What becomes of the branch of a group of which this many updates wait.
#[must_use]
pub fn fate(standing: &Standing, waiting: usize) -> Fate {
    match (standing.head, waiting) {
        (None, 0) => Fate::Stays,
        (Some(_), _) if !standing.people.is_empty() => Fate::Kept,
        (Some(_), 0) => Fate::Goes,
        (Some(_), _) if standing.is_right => Fate::Stays,
        (Some(_) | None, _) => Fate::Written,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn base(name: &str) -> PkgBase {
        PkgBase::new(name).expect("legal")
    }

    fn group(name: &str, packages: &[&str]) -> Group {
        let packages = packages.iter().map(|text| NamePattern::new(text).expect("a pattern")).collect();
        Group { name: GroupName::new(name).expect("a name"), packages }
    }

    #[test]
    fn the_first_group_that_has_a_package_is_its_own() {
        let groups = [group("plasma", &["plasma-*", "kwin"]), group("git", &["*-git"])];
        let of = |name| group_of(&groups, &base(name)).map(GroupName::as_str);
        assert_eq!(of("plasma-desktop"), Some("plasma"));
        assert_eq!(of("plasma-desktop-git"), Some("plasma"));
        assert_eq!(of("kwin"), Some("plasma"));
        assert_eq!(of("kwin-git"), Some("git"));
        assert_eq!(of("kwin-effects"), None);
        assert_eq!(of("plasma"), None);
    }

    #[test]
    fn what_looks_dangerous_or_is_worked_on_or_is_too_much_is_not_decided_about_together() {
        let groups = [group("all", &["*"])];
        let names: Vec<PkgBase> = (10..30).map(|number| base(&format!("p{number}"))).collect();
        let candidate = |pkgbase| Candidate { pkgbase, weight: Weight::Review, is_free: true };
        let mut candidates: Vec<_> = names.iter().map(candidate).collect();
        candidates[0].weight = Weight::Hostile;
        candidates[1].is_free = false;
        let found = together(&groups, &candidates);
        let alone: Vec<usize> = (0..found.len()).filter(|at| found[*at].is_none()).collect();
        assert_eq!(alone, [0, 1, 17, 18, 19], "the first two, and what comes after {MOST_TOGETHER}");
    }

    #[test]
    fn a_star_stands_for_any_text_and_for_none() {
        for (pattern, name, fits) in [
            ("*", "anything", true),
            ("a*b*c", "abc", true),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("*-git", "x-git", true),
            ("foo", "foo", true),
            ("foo", "foobar", false),
            ("**x", "x", true),
        ] {
            assert_eq!(NamePattern::new(pattern).expect(pattern).fits(&base(name)), fits, "{pattern} {name}");
        }
        for bad in ["", "a b", "a/b", "../*"] {
            assert!(NamePattern::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_git_or_a_forge_would_stumble_over_is_no_name() {
        for bad in ["", "-a", "a b", "a..b", "a.lock", "A", "a/b", "a~1", "@", &"a".repeat(65)] {
            assert!(GroupName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_branch_moves_only_where_nobody_works_and_something_differs() {
        let standing = |head: bool, is_right: bool, people: bool| {
            let people = if people { ["Mira".to_owned()].into() } else { BTreeSet::new() };
            Standing { head: head.then(|| "a".repeat(40).parse().expect("an id")), is_right, people }
        };
        assert_eq!(fate(&standing(false, false, false), 0), Fate::Stays);
        assert_eq!(fate(&standing(false, false, false), 2), Fate::Written);
        assert_eq!(fate(&standing(true, true, false), 2), Fate::Stays);
        assert_eq!(fate(&standing(true, false, false), 2), Fate::Written);
        assert_eq!(fate(&standing(true, false, false), 0), Fate::Goes);
        for (is_right, waiting) in [(true, 2), (false, 2), (false, 0)] {
            assert_eq!(fate(&standing(true, is_right, true), waiting), Fate::Kept);
        }
    }

    proptest! {
        #[test]
        fn no_package_has_the_branch_of_a_group(name in "[a-z0-9][a-z0-9-]{0,20}", package in "[a-z0-9@_+][a-z0-9@._+-]{0,20}") {
            let group = GroupName::new(&name).expect("a name");
            prop_assert_eq!(GroupName::from_branch(&group.branch()), Some(group.clone()));
            prop_assert_eq!(PkgBase::from_review_branch(&group.branch()), None);
            prop_assert_ne!(group.branch(), base(&package).review_branch());
        }
    }
}
