//! Whether packages may move from a staging repository to the release: everything they need has to be there, and
//! nothing that is there may lose what it needs.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;

use super::need::{Need, Offer, offer};
use crate::domain::library::soname::Soname;
use crate::domain::name::{PkgBase, PkgName};
use crate::domain::version::Version;

/// A package of a database, with what its files need and have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: PkgName,
    /// The package it is built with.
    pub base: PkgBase,
    /// Its version.
    pub version: Version,
    /// `depends` as written.
    pub depends: Vec<String>,
    /// `provides` as written.
    pub provides: Vec<String>,
    /// Shared libraries that its files ask for.
    pub needs: BTreeSet<Soname>,
    /// Shared libraries that it has.
    pub has: BTreeSet<Soname>,
}

impl Member {
    fn offers(&self) -> impl Iterator<Item = Offer<'_>> {
        let own = (self.name.as_str(), Some(self.version.clone()));
        std::iter::once(own).chain(self.provides.iter().map(|written| offer(written)))
    }
}

/// Why a package may not move on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Reason {
    /// The package that would be broken.
    pub package: PkgName,
    /// What it needs.
    pub needs: String,
    /// One sentence.
    pub message: String,
}

/// The two repositories as they would be afterwards.
#[derive(Debug, Clone, Copy)]
pub struct Move<'a> {
    /// What moves to the release.
    pub moving: &'a [Member],
    /// What stays in staging.
    pub staying: &'a [Member],
    /// The release as it is.
    pub release: &'a [Member],
}

impl<'a> Move<'a> {
    /// The release as it would be: packages that move take the place of those built with them.
    fn after(&self) -> Vec<&'a Member> {
        let bases: BTreeSet<&PkgBase> = self.moving.iter().map(|member| &member.base).collect();
        let names: BTreeSet<&PkgName> = self.moving.iter().map(|member| &member.name).collect();
        let stays = |member: &&Member| !bases.contains(&member.base) && !names.contains(&member.name);
        self.release.iter().filter(stays).chain(self.moving).collect()
    }

    /// Everything that would be missing in the release, sorted; empty if nothing would. What neither repository
    /// has is taken to be the distribution's.
    #[must_use]
    pub fn reasons(&self) -> Vec<Reason> {
        let after = self.after();
        let there = Holders::of(after.iter().copied());
        // What only staging has, and what the release itself had and loses.
        let before_moving = Holders::of(self.staying.iter().chain(self.release));
        let before_staying = Holders::of(self.release);
        let moving: BTreeSet<&PkgName> = self.moving.iter().map(|member| &member.name).collect();
        let mut reasons: Vec<Reason> = Vec::new();
        for member in after {
            let moves = moving.contains(&member.name);
            reasons.extend(missing(member, &there, if moves { &before_moving } else { &before_staying }, moves));
        }
        reasons.sort();
        reasons.dedup();
        reasons
    }
}

/// Who has what, by its name: with thousands of packages, nobody can be asked one by one for each need.
struct Holders<'a> {
    offers: HashMap<&'a str, Vec<(Offer<'a>, &'a Member)>>,
    libraries: BTreeMap<&'a Soname, &'a Member>,
}

impl<'a> Holders<'a> {
    fn of(members: impl IntoIterator<Item = &'a Member>) -> Self {
        let mut holders = Self { offers: HashMap::new(), libraries: BTreeMap::new() };
        for member in members {
            for offer in member.offers() {
                holders.offers.entry(offer.0).or_default().push((offer, member));
            }
            for soname in &member.has {
                holders.libraries.entry(soname).or_insert(member);
            }
        }
        holders
    }

    /// The first that has what is needed.
    fn of_need(&self, need: &Need<'_>) -> Option<&'a Member> {
        let offers = self.offers.get(need.name)?;
        offers.iter().find(|(offer, _)| need.is_met_by(offer)).map(|(_, holder)| *holder)
    }
}

/// What a package needs that nobody has there afterwards, though somebody had it before.
fn missing(member: &Member, there: &Holders<'_>, before: &Holders<'_>, moves: bool) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let mut tell = |needs: String, holder: &Member| {
        let message = if moves {
            format!("`{}` needs `{needs}`, which only `{}` {} has", member.name, holder.name, holder.version)
        } else {
            format!("`{}` needs `{needs}`, which `{}` {} had", member.name, holder.name, holder.version)
        };
        reasons.push(Reason { package: member.name.clone(), needs, message });
    };
    for written in &member.depends {
        let need = Need::parse(written);
        if there.of_need(&need).is_none()
            && let Some(holder) = before.of_need(&need)
        {
            tell(written.clone(), holder);
        }
    }
    for soname in member.needs.iter().filter(|soname| !there.libraries.contains_key(soname)) {
        if let Some(holder) = before.libraries.get(soname) {
            tell(soname.to_string(), holder);
        }
    }
    reasons
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn member(name: &str, version: &str, depends: &[&str], provides: &[&str]) -> Member {
        let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        Member {
            name: PkgName::new(name).unwrap(),
            base: PkgBase::new(name).unwrap(),
            version: Version::new(version),
            depends: owned(depends),
            provides: owned(provides),
            needs: BTreeSet::new(),
            has: BTreeSet::new(),
        }
    }

    fn reasons(moving: &[Member], staying: &[Member], release: &[Member]) -> Vec<String> {
        Move { moving, staying, release }.reasons().into_iter().map(|reason| reason.message).collect()
    }

    #[test]
    fn a_package_waits_for_what_it_needs_from_staging() {
        let app = member("app", "2-1", &["lib>=2", "glibc"], &[]);
        let lib = member("lib", "2-1", &[], &[]);
        let old = member("lib", "1-1", &[], &[]);
        assert_eq!(
            reasons(std::slice::from_ref(&app), std::slice::from_ref(&lib), std::slice::from_ref(&old)),
            ["`app` needs `lib>=2`, which only `lib` 2-1 has"]
        );
        assert_eq!(reasons(&[app, lib], &[], &[old]), Vec::<String>::new());
    }

    #[test]
    fn nothing_in_the_release_loses_what_it_needs() {
        let old = member("lib", "1-1", &[], &["libx.so=1-64"]);
        let new = member("lib", "2-1", &[], &["libx.so=2-64"]);
        let user = member("user", "1-1", &["libx.so=1-64"], &[]);
        assert_eq!(
            reasons(std::slice::from_ref(&new), &[], &[old.clone(), user.clone()]),
            ["`user` needs `libx.so=1-64`, which `lib` 1-1 had"]
        );
        let rebuilt = member("user", "1-1.1", &["libx.so=2-64"], &[]);
        assert_eq!(reasons(&[new, rebuilt], &[], &[old, user]), Vec::<String>::new());
    }

    #[test]
    fn libraries_that_files_ask_for_count_like_those_that_are_declared() {
        let soname = |name: &str| Soname::of_file(&format!("usr/lib/{name}")).unwrap();
        let old = Member { has: [soname("libx.so.1")].into(), ..member("lib", "1-1", &[], &[]) };
        let new = Member { has: [soname("libx.so.2")].into(), ..member("lib", "2-1", &[], &[]) };
        let user = Member { needs: [soname("libx.so.1")].into(), ..member("user", "1-1", &[], &[]) };
        assert_eq!(reasons(std::slice::from_ref(&new), &[], &[old.clone(), user]).len(), 1);
        let fresh = Member { needs: [soname("libx.so.2")].into(), ..member("fresh", "1-1", &[], &[]) };
        assert_eq!(
            reasons(std::slice::from_ref(&fresh), std::slice::from_ref(&new), std::slice::from_ref(&old)).len(),
            1
        );
        assert_eq!(reasons(&[fresh, new], &[], &[old]), Vec::<String>::new());
    }

    /// Minutes, if everything were compared with everything.
    #[test]
    fn five_thousand_packages_are_no_more_than_five_thousand_times_one() {
        let names: Vec<String> = (0..5000).map(|number| format!("p{number}")).collect();
        let member_of = |number: usize, version: &str| {
            let depends: Vec<String> = (1..20).map(|step| format!("p{}>=1", (number + step) % names.len())).collect();
            let depends: Vec<&str> = depends.iter().map(String::as_str).collect();
            member(&names[number], version, &depends, &[])
        };
        let release: Vec<Member> = (0..names.len()).map(|number| member_of(number, "1-1")).collect();
        let mut moving: Vec<Member> = (0..names.len()).map(|number| member_of(number, "2-1")).collect();
        assert_eq!(reasons(&moving, &[], &release), Vec::<String>::new());
        moving[7].version = Version::new("0-1");
        assert_eq!(reasons(&moving, &[], &release).len(), 19);
    }

    proptest! {
        /// All of staging together lacks nothing that staging has, whatever depends on what.
        #[test]
        fn everything_at_once_never_waits_for_staging(edges in proptest::collection::vec((0usize..6, 0usize..6), 0..12)) {
            let members: Vec<Member> = (0..6).map(|index| {
                let depends: Vec<String> =
                    edges.iter().filter(|(from, _)| *from == index).map(|(_, to)| format!("p{to}>=1")).collect();
                let depends: Vec<&str> = depends.iter().map(String::as_str).collect();
                member(&format!("p{index}"), "1-1", &depends, &[])
            }).collect();
            prop_assert_eq!(reasons(&members, &[], &[]), Vec::<String>::new());
            // And what moves without its dependency is named.
            for (index, one) in members.iter().enumerate() {
                let rest: Vec<Member> = members.iter().filter(|other| other.name != one.name).cloned().collect();
                let alone = edges.iter().any(|(from, to)| *from == index && to != from);
                prop_assert_eq!(!reasons(std::slice::from_ref(one), &rest, &[]).is_empty(), alone);
            }
        }
    }
}
