//! Who may push to a package at its source, and what it means when that changes.
//!
//! An attacker who adopts an orphaned package *is* its maintainer of record: a name proves nothing, and only
//! a change of names tells something.

use std::collections::BTreeSet;
use std::fmt;

use super::classify::text::shown;

/// The accounts that may push to a package.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keepers {
    /// Who maintains it; `None` if it is orphaned.
    pub maintainer: Option<String>,
    /// Who may push as well.
    pub co_maintainers: BTreeSet<String>,
    /// Who says to have made the newest files, `name <address>`; `None` where those were not looked at. Anybody who may
    /// push can write anything here, so that it only tells something when it changes.
    pub packager: Option<String>,
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

/// One thing that changed about who may push to a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handover {
    /// Whoever maintained it has left it.
    Orphaned {
        /// Who that was.
        by: String,
    },
    /// Somebody took what nobody maintained.
    Adopted {
        /// Who maintains it now.
        by: String,
    },
    /// Somebody else maintains it.
    Given {
        /// Who did.
        from: String,
        /// Who does.
        to: String,
    },
    /// People may push beside the maintainer who could not.
    Joined(BTreeSet<String>),
    /// People may not push beside the maintainer any more.
    Left(BTreeSet<String>),
    /// Somebody else says to have made the newest files.
    Packaged {
        /// Who did before.
        from: String,
        /// Who does.
        to: String,
    },
}

/// What people read. Names come from strangers.
impl fmt::Display for Handover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let safe = |name: &String| shown(name.as_bytes());
        let all = |names: &BTreeSet<String>| names.iter().map(safe).collect::<Vec<_>>().join(", ");
        match self {
            Self::Orphaned { by } => write!(f, "{} has left it, and nobody maintains it now", safe(by)),
            Self::Adopted { by } => write!(f, "{} has adopted it, which nobody maintained", safe(by)),
            Self::Given { from, to } => write!(f, "{} maintains it now, and {} did before", safe(to), safe(from)),
            Self::Joined(names) => write!(f, "new co-maintainers: {}", all(names)),
            Self::Left(names) => write!(f, "no longer co-maintainers: {}", all(names)),
            Self::Packaged { from, to } => write!(f, "{} made these files, and {} those before", safe(to), safe(from)),
        }
    }
}

/// Stands for nobody, where a name would stand.
const NOBODY: &str = "-";
/// Stands before the packager.
const PACKAGER: char = ';';

impl Keepers {
    /// Reads what [`Keepers::to_text`] wrote: the maintainer or `-`, then the others, separated by commas.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let (names, packager) = text.split_once(PACKAGER).map_or((text, None), |(names, it)| (names, Some(it)));
        let mut names = names.split(',').map(str::trim).filter(|name| !name.is_empty());
        let maintainer = names.next().filter(|&name| name != NOBODY).map(str::to_owned);
        let packager = packager.map(str::to_owned);
        Self { maintainer, co_maintainers: names.map(str::to_owned).collect(), packager }
    }

    /// The form in which it is remembered: the people, and the packager in harmless signs.
    #[must_use]
    pub fn to_text(&self) -> String {
        match &self.packager {
            Some(packager) => format!("{}{PACKAGER}{}", self.people(), plain(packager)),
            None => self.people(),
        }
    }

    /// Who may push: the maintainer or `-`, then the others, separated by commas.
    #[must_use]
    pub fn people(&self) -> String {
        let first = self.maintainer.as_deref().unwrap_or(NOBODY);
        let names: Vec<&str> = std::iter::once(first).chain(self.co_maintainers.iter().map(String::as_str)).collect();
        names.join(",")
    }

    /// Without who made the files.
    #[must_use]
    pub fn without_packager(self) -> Self {
        Self { packager: None, ..self }
    }

    fn same_people(&self, other: &Self) -> bool {
        (&self.maintainer, &self.co_maintainers) == (&other.maintainer, &other.co_maintainers)
    }

    fn same_packager(&self, other: &Self) -> bool {
        self.packager.as_ref().zip(other.packager.as_ref()).is_none_or(|(now, before)| plain(now) == plain(before))
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

    /// Whether the trust in these people counts: they are those who could push `before`, in the same places, and the same
    /// one made the files. Whatever changed about that suspends it, until an update has been merged since.
    #[must_use]
    pub fn trusted_since(&self, before: Option<&Self>, trusted: &BTreeSet<String>) -> bool {
        let is_same = |before: &Self| before.same_people(self) && before.same_packager(self);
        self.all_trusted(trusted) && before.is_none_or(is_same)
    }

    /// What changed since `before`; nothing if nothing did.
    #[must_use]
    pub fn handovers_since(&self, before: &Self) -> Vec<Handover> {
        let of_maintainer = match (&before.maintainer, &self.maintainer) {
            (Some(from), Some(to)) if from != to => Some(Handover::Given { from: from.clone(), to: to.clone() }),
            (Some(by), None) => Some(Handover::Orphaned { by: by.clone() }),
            (None, Some(by)) => Some(Handover::Adopted { by: by.clone() }),
            _ => None,
        };
        let only = |these: &Self, others: &Self| -> BTreeSet<String> {
            these.co_maintainers.difference(&others.co_maintainers).cloned().collect()
        };
        let (joined, left) = (only(self, before), only(before, self));
        let joined = (!joined.is_empty()).then_some(Handover::Joined(joined));
        let left = (!left.is_empty()).then_some(Handover::Left(left));
        let packaged = match (&before.packager, &self.packager) {
            (Some(from), Some(to)) if !self.same_packager(before) => {
                Some(Handover::Packaged { from: plain(from), to: plain(to) })
            }
            _ => None,
        };
        of_maintainer.into_iter().chain(joined).chain(left).chain(packaged).collect()
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

/// The packager in signs that stand in one line of any file: letters, digits and what addresses are written with.
fn plain(packager: &str) -> String {
    let plain = |c: char| if c.is_alphanumeric() || " <>@._+-".contains(c) { c } else { '?' };
    packager.chars().take(100).map(plain).collect()
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
    fn whatever_changes_about_who_may_push_suspends_trust() {
        let trusted = ["ann", "bob", "eve"].map(str::to_owned).into();
        let trusts = |before: &str, now: &str| keepers(now).trusted_since(Some(&keepers(before)), &trusted);
        assert!(trusts("ann,bob", "ann,bob") && keepers("ann").trusted_since(None, &trusted));
        assert!(
            trusts("ann;Ann <a@x>", "ann;Ann <a@x>") && trusts("ann", "ann;Ann <a@x>") && trusts("ann;A <a@x>", "ann")
        );
        for (before, now, what) in [
            ("ann", "eve", "it is given away"),
            ("ann,bob", "bob,ann", "a co-maintainer maintains it now"),
            ("ann", "ann,eve", "somebody may push beside"),
            ("ann,bob", "ann", "somebody may not any more"),
            ("-", "ann", "it is adopted"),
            ("ann", "-", "it is orphaned"),
            ("ann,bob;Ann <a@x>", "ann,bob;Bob <b@x>", "another one made the files"),
        ] {
            assert!(!trusts(before, now), "{what}");
        }
    }

    #[test]
    fn every_change_of_hands_is_told_apart() {
        let told = |before: &str, now: &str| {
            let handovers = keepers(now).handovers_since(&keepers(before));
            handovers.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        };
        assert_eq!(told("ann,bob", "ann,bob"), "");
        insta::assert_snapshot!(told("ann", "-"), @"ann has left it, and nobody maintains it now");
        insta::assert_snapshot!(told("-", "eve"), @"eve has adopted it, which nobody maintained");
        insta::assert_snapshot!(told("ann", "eve"), @"eve maintains it now, and ann did before");
        insta::assert_snapshot!(told("ann,bob,cy", "ann,cy,dan"), @"new co-maintainers: dan; no longer co-maintainers: bob");
        insta::assert_snapshot!(told("ann;Ann <a@x>", "ann;Eve <e@x>"), @"Eve <e@x> made these files, and Ann <a@x> those before");
        assert!(!told("ann", "e\u{1b}[31mve").contains('\u{1b}'));
    }

    #[test]
    fn a_package_is_trusted_if_everybody_who_may_push_is() {
        let trusted = ["ann".to_owned(), "bob".to_owned()].into();
        assert!(keepers("ann,bob").all_trusted(&trusted));
        assert!(!keepers("ann,eve").all_trusted(&trusted));
        assert!(!keepers("-").all_trusted(&trusted), "nobody answers for an orphan");
    }

    #[test]
    fn no_packager_adds_a_line_or_a_name() {
        let evil = Keepers { packager: Some("e,v;\n\u{202e}X=1 <e@x>".to_owned()), ..keepers("ann") };
        assert_eq!(evil.to_text(), "ann;e?v???X?1 <e@x>");
        assert_eq!(Keepers::parse(&evil.to_text()).names().count(), 1);
    }

    proptest! {
        #[test]
        fn what_is_remembered_is_read_back(
            maintainer in prop::option::of("[a-z][a-z0-9_.]{0,8}"),
            co_maintainers in prop::collection::btree_set("[a-z][a-z0-9_.]{0,8}", 0..4),
            packager in prop::option::of("[A-Z][a-z]{0,8} <[a-z]{1,8}@[a-z]{1,8}>"),
        ) {
            let keepers = Keepers { maintainer, co_maintainers, packager };
            prop_assert_eq!(Keepers::parse(&keepers.to_text()), keepers);
        }
    }
}
