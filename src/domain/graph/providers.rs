//! Which package of the repository a dependency means.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use super::order::index;
use crate::domain::desired::Package;
use crate::domain::srcinfo::{Member, Provided};

/// Every name that the packages of a repository answer to.
pub(super) struct Providers<'a> {
    packages: &'a [&'a Package],
    arch: &'a str,
    official: &'a BTreeSet<String>,
    /// Package names.
    exact: HashMap<&'a str, u32>,
    /// What is provided beside them, each with the provider that was chosen.
    provided: HashMap<&'a str, u32>,
}

impl<'a> Providers<'a> {
    /// Collects the names that `packages`, sorted by pkgbase, yield on an architecture.
    ///
    /// A package without a readable `.SRCINFO` yields nothing. Of several that yield one package name,
    /// or that provide one name, that one is chosen whose pkgbase is nearest to it: it shares the most
    /// leading characters, then it is the shortest, then the first by name.
    pub fn of(packages: &'a [&'a Package], official: &'a BTreeSet<String>, arch: &'a str) -> Self {
        let mut this = Self { packages, arch, official, exact: HashMap::new(), provided: HashMap::new() };
        for node in (0..packages.len()).map(index) {
            for member in members(packages[node as usize], arch) {
                choose(&mut this.exact, packages, member.name.as_str(), node);
                for name in provided(member, arch) {
                    choose(&mut this.provided, packages, name, node);
                }
            }
        }
        this
    }

    /// The package that has to be built before `from` because that needs `name`.
    ///
    /// A package of exactly this name wins. Then a package of the official repositories, for which
    /// nothing has to be built here. Then one that provides the name, unless `from` does so itself.
    pub fn resolve(&self, name: &str, from: u32) -> Option<u32> {
        if let Some(&package) = self.exact.get(name) {
            return Some(package).filter(|&package| package != from);
        }
        let chosen = *self.provided.get(name)?;
        let by_itself = || {
            members(self.packages[from as usize], self.arch)
                .any(|member| provided(member, self.arch).any(|provided| provided == name))
        };
        (!self.official.contains(name) && !by_itself()).then_some(chosen)
    }

    /// The names under which others reach this package, sorted: its package names, and what it provides
    /// as long as no other package of the repository answers to that.
    pub fn answers(&self, node: u32) -> BTreeSet<&'a str> {
        let package = self.packages[node as usize];
        let names = members(package, self.arch)
            .flat_map(|member| std::iter::once(member.name.as_str()).chain(provided(member, self.arch)));
        names.filter(|name| self.exact.get(name).or_else(|| self.provided.get(name)) == Some(&node)).collect()
    }
}

/// The members that are built on an architecture.
fn members<'a>(package: &'a Package, arch: &str) -> impl Iterator<Item = &'a Member> {
    let built = move |member: &&Member| {
        member.arch.is_empty() || member.arch.iter().any(|written| written == arch || written == "any")
    };
    package.srcinfo.iter().flat_map(|srcinfo| &srcinfo.members).filter(built)
}

/// What a member provides on an architecture beside its name.
fn provided<'a>(member: &'a Member, arch: &'a str) -> impl Iterator<Item = &'a str> {
    let there = move |provided: &&Provided| in_play(provided.arch.as_deref(), arch);
    member.provides.iter().filter(there).map(|provided| provided.name.as_str())
}

/// Whether an entry that is limited to an architecture, if to any, counts on `arch`.
pub(super) fn in_play(limit: Option<&str>, arch: &str) -> bool {
    limit.is_none_or(|limit| limit == arch || limit == "any")
}

fn choose<'a>(chosen: &mut HashMap<&'a str, u32>, packages: &[&Package], name: &'a str, node: u32) {
    let rank = |node: u32| {
        let pkgbase = packages[node as usize].pkgbase.as_str();
        let common = pkgbase.bytes().zip(name.bytes()).take_while(|(ours, theirs)| ours == theirs).count();
        (Reverse(common), pkgbase.len(), node)
    };
    let best = chosen.entry(name).or_insert(node);
    if rank(node) < rank(*best) {
        *best = node;
    }
}
