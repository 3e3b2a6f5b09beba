//! Who may push to a package at its source, and what it means when that changes.
//!
//! An attacker who adopts an orphaned package *is* its maintainer of record: a name proves nothing, and only
//! a change of names tells something.

use std::collections::BTreeSet;

/// The accounts that may push to a package.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keepers {
    /// Who maintains it; `None` if it is orphaned.
    pub maintainer: Option<String>,
    /// Who may push as well.
    pub co_maintainers: BTreeSet<String>,
}

/// People who may push to a package, and could not when it was merged last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newcomers {
    /// Who they are.
    pub names: BTreeSet<String>,
    /// Who could push before, as people read it.
    pub before: String,
    /// Whether the package had no maintainer before.
    pub adopted: bool,
}

/// Stands for nobody, where a name would stand.
const NOBODY: &str = "-";

impl Keepers {
    /// Reads what [`Keepers::to_text`] wrote: the maintainer or `-`, then the others, separated by commas.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        let maintainer = names.next().filter(|&name| name != NOBODY).map(str::to_owned);
        Self { maintainer, co_maintainers: names.map(str::to_owned).collect() }
    }

    /// The form in which it is remembered.
    #[must_use]
    pub fn to_text(&self) -> String {
        let first = self.maintainer.as_deref().unwrap_or(NOBODY);
        let names: Vec<&str> = std::iter::once(first).chain(self.co_maintainers.iter().map(String::as_str)).collect();
        names.join(",")
    }

    /// Everybody who may push.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.maintainer.iter().chain(&self.co_maintainers).map(String::as_str)
    }

    /// Whether somebody may push, and everybody who may is trusted.
    #[must_use]
    pub fn all_trusted(&self, trusted: &BTreeSet<String>) -> bool {
        self.maintainer.is_some() && self.names().all(|name| trusted.contains(name))
    }

    /// Who may push now and could not `before`. People who left are no reason for doubt.
    #[must_use]
    pub fn newcomers_since(&self, before: &Self) -> Option<Newcomers> {
        let known: BTreeSet<&str> = before.names().collect();
        let names: BTreeSet<String> = self.names().filter(|name| !known.contains(name)).map(str::to_owned).collect();
        let listed: Vec<&str> = known.into_iter().collect();
        let before_text = if listed.is_empty() { "nobody".to_owned() } else { listed.join(", ") };
        let adopted = before.maintainer.is_none() && self.maintainer.is_some();
        (!names.is_empty()).then_some(Newcomers { names, before: before_text, adopted })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keepers(text: &str) -> Keepers {
        Keepers::parse(text)
    }

    #[test]
    fn only_people_who_could_not_push_before_are_newcomers() {
        let newcomers = |before: &str, now: &str| keepers(now).newcomers_since(&keepers(before));
        assert_eq!(newcomers("ann", "ann"), None);
        assert_eq!(newcomers("ann,bob", "bob"), None, "the other one stayed");
        assert_eq!(newcomers("ann", "-"), None, "nobody can push to an orphan");
        let new = newcomers("ann,bob", "eve,bob").expect("eve is new");
        assert_eq!((new.names, new.before.as_str(), new.adopted), (["eve".to_owned()].into(), "ann, bob", false));
        let adopted = newcomers("-", "eve").expect("adopted");
        assert_eq!((adopted.before.as_str(), adopted.adopted), ("nobody", true));
        assert!(newcomers("ann", "ann,eve").is_some(), "a new co-maintainer can push");
    }

    #[test]
    fn a_package_is_trusted_if_everybody_who_may_push_is() {
        let trusted = ["ann".to_owned(), "bob".to_owned()].into();
        assert!(keepers("ann,bob").all_trusted(&trusted));
        assert!(!keepers("ann,eve").all_trusted(&trusted));
        assert!(!keepers("-").all_trusted(&trusted), "nobody answers for an orphan");
    }

    proptest! {
        #[test]
        fn what_is_remembered_is_read_back(
            maintainer in prop::option::of("[a-z][a-z0-9_.]{0,8}"),
            co_maintainers in prop::collection::btree_set("[a-z][a-z0-9_.]{0,8}", 0..4),
        ) {
            let keepers = Keepers { maintainer, co_maintainers };
            prop_assert_eq!(Keepers::parse(&keepers.to_text()), keepers);
        }
    }
}
