//! Who is built before whom.
//!
//! Nodes are the package folders; an edge says that one needs another that is kept in the same
//! repository. It knows nothing of what is built when: that is the planner's and the queue's.

mod order;
mod providers;
mod text;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use self::order::{Links, arrange, index};
use self::providers::{Providers, in_play};
use super::desired::Package;
use super::name::PkgBase;
use super::srcinfo::DependencyKind;

/// The architecture that is built for when nobody says otherwise.
pub const DEFAULT_ARCH: &str = "x86_64";

/// `from` is built after `to`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Edge {
    /// The package that needs something.
    pub from: PkgBase,
    /// The package that yields it.
    pub to: PkgBase,
    /// The dependency as it is written, without its version.
    pub via: String,
    /// The strongest kind of dependency between the two: `depends` before `makedepends` before
    /// `checkdepends`.
    pub kind: DependencyKind,
}

/// The dependency graph of one repository on one architecture.
#[derive(Debug, Clone)]
pub struct Graph {
    nodes: Vec<PkgBase>,
    edges: Vec<Edge>,
    /// `edges[i].to`, so that what a package needs is a slice.
    needed: Vec<PkgBase>,
    needs: Links,
    dependants: Links,
    order: Vec<u32>,
    /// Where each node stands in `order`.
    position: Vec<u32>,
    cycles: Vec<Vec<PkgBase>>,
    /// The names under which others reach each node.
    answers: Vec<Vec<String>>,
}

/// What has to come before one member of a set of packages that are built together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Before {
    /// The nearest members of the set that it needs, in build order.
    pub members: Vec<PkgBase>,
    /// What it needs outside the set, directly or through others outside it, in build order. Where the
    /// way leads through a member, it is that member's to wait.
    pub others: Vec<PkgBase>,
}

/// What `pkgwarden graph` prints as JSON.
#[derive(Debug, Serialize)]
pub struct Document<'a> {
    /// Every package, sorted.
    pub nodes: &'a [PkgBase],
    /// Sorted by `from`, then `to`.
    pub edges: &'a [Edge],
    /// Groups of packages that need each other.
    pub cycles: &'a [Vec<PkgBase>],
    /// Each package after what it needs.
    pub order: Vec<PkgBase>,
}

impl Graph {
    /// The graph for [`DEFAULT_ARCH`]. `official` holds the names of packages that come from
    /// repositories outside.
    #[must_use]
    pub fn build<'a>(packages: impl Iterator<Item = &'a Package>, official: &BTreeSet<String>) -> Self {
        Self::build_for(DEFAULT_ARCH, packages, official)
    }

    /// The graph for one architecture: `depends`, `makedepends` and `checkdepends` of every section,
    /// with those that are limited to `arch` or to none.
    ///
    /// Each dependency leads to the package of the repository that has exactly this name; else nowhere
    /// if `official` has the name; else to a package that provides it (the one whose pkgbase is nearest,
    /// if there are several).
    #[must_use]
    pub fn build_for<'a>(arch: &str, packages: impl Iterator<Item = &'a Package>, official: &BTreeSet<String>) -> Self {
        let mut packages: Vec<_> = packages.collect();
        packages.sort_by(|a, b| a.pkgbase.cmp(&b.pkgbase));
        packages.dedup_by(|a, b| a.pkgbase == b.pkgbase);
        let providers = Providers::of(&packages, official, arch);
        let links = resolved(&packages, &providers, arch);
        let needs = Links::group(packages.len(), links.iter().map(|&(from, to, kind, _)| (from, to, kind)));
        let dependants = needs.reversed();
        let arrangement = arrange(&needs, &dependants);
        let mut position = vec![0; packages.len()];
        for (place, &node) in arrangement.order.iter().enumerate() {
            position[node as usize] = index(place);
        }
        let nodes: Vec<PkgBase> = packages.iter().map(|package| package.pkgbase.clone()).collect();
        let name = |node: u32| nodes[node as usize].clone();
        let edges = links.iter().map(|&(from, to, kind, via)| Edge {
            from: name(from),
            to: name(to),
            via: via.to_owned(),
            kind,
        });
        let answers =
            (0..nodes.len()).map(|node| providers.answers(index(node)).into_iter().map(str::to_owned).collect());
        Self {
            edges: edges.collect(),
            needed: links.iter().map(|&(_, to, _, _)| name(to)).collect(),
            cycles: arrangement.cycles.iter().map(|cycle| cycle.iter().map(|&node| name(node)).collect()).collect(),
            answers: answers.collect(),
            order: arrangement.order,
            position,
            needs,
            dependants,
            nodes,
        }
    }

    /// Every package, sorted by name.
    #[must_use]
    pub fn nodes(&self) -> &[PkgBase] {
        &self.nodes
    }

    /// Every edge, one for each pair of packages, sorted by `from`, then `to`.
    #[must_use]
    pub fn edges(&self) -> &[Edge] {
        &self.edges
    }

    /// Groups of packages that need each other, each sorted. They are built one after the other like all
    /// others, and somebody should know.
    #[must_use]
    pub fn cycles(&self) -> &[Vec<PkgBase>] {
        &self.cycles
    }

    /// Every package after what it needs; packages that could swap places are sorted by name. Inside a
    /// cycle, needs for tests give way first, then needs for building.
    #[must_use]
    pub fn order(&self) -> Vec<PkgBase> {
        self.named(self.order.iter().copied())
    }

    /// The packages of `some` that exist, in the same order.
    #[must_use]
    pub fn order_of(&self, some: &BTreeSet<PkgBase>) -> Vec<PkgBase> {
        self.in_order(some.iter().filter_map(|pkgbase| self.node(pkgbase)).collect())
    }

    /// What a package directly needs, sorted, cycles included.
    #[must_use]
    pub fn direct(&self, pkgbase: &PkgBase) -> &[PkgBase] {
        self.node(pkgbase).map_or(&[], |node| &self.needed[self.needs.range(node)])
    }

    /// Everything that needs a package, directly or not, in build order; the package itself is left out.
    #[must_use]
    pub fn dependants(&self, pkgbase: &PkgBase) -> Vec<PkgBase> {
        let Some(start) = self.node(pkgbase) else {
            return Vec::new();
        };
        let mut seen = vec![false; self.nodes.len()];
        seen[start as usize] = true;
        let mut reached = Vec::new();
        let mut open = vec![start];
        while let Some(node) = open.pop() {
            for &(dependant, _) in self.dependants.of(node) {
                if !std::mem::replace(&mut seen[dependant as usize], true) {
                    reached.push(dependant);
                    open.push(dependant);
                }
            }
        }
        self.in_order(reached)
    }

    /// For each package of `some`: what has to be built before it. Packages outside `some` are seen
    /// through: if A needs B and B needs C, C comes before A also where B is not built. Needs that cannot
    /// be kept because of a cycle are left out, so that the answer has no cycle. A package that does not
    /// exist waits for nothing.
    #[must_use]
    pub fn wave(&self, some: &BTreeSet<PkgBase>) -> BTreeMap<PkgBase, Before> {
        let mut chosen = vec![false; self.nodes.len()];
        for node in some.iter().filter_map(|pkgbase| self.node(pkgbase)) {
            chosen[node as usize] = true;
        }
        let mut seen = vec![u32::MAX; self.nodes.len()];
        let before = |pkgbase: &PkgBase| {
            let before = self.node(pkgbase).map(|node| self.before(node, &chosen, &mut seen));
            (pkgbase.clone(), before.unwrap_or_default())
        };
        some.iter().map(before).collect()
    }

    /// What `start` reaches without passing a chosen node. `seen` holds who last passed a node, so that
    /// it need not be cleared for each start.
    fn before(&self, start: u32, chosen: &[bool], seen: &mut [u32]) -> Before {
        let (mut members, mut others) = (Vec::new(), Vec::new());
        let mut open = vec![start];
        while let Some(node) = open.pop() {
            let kept = |to: u32| self.position[to as usize] < self.position[node as usize];
            for &(to, _) in self.needs.of(node).iter().filter(|(to, _)| kept(*to)) {
                if std::mem::replace(&mut seen[to as usize], start) == start {
                    continue;
                }
                if chosen[to as usize] {
                    members.push(to);
                } else {
                    others.push(to);
                    open.push(to);
                }
            }
        }
        Before { members: self.in_order(members), others: self.in_order(others) }
    }

    /// The document of `pkgwarden graph`, its order limited to `only`.
    #[must_use]
    pub fn document(&self, only: Option<&BTreeSet<PkgBase>>) -> Document<'_> {
        let order = only.map_or_else(|| self.order(), |only| self.order_of(only));
        Document { nodes: &self.nodes, edges: &self.edges, cycles: &self.cycles, order }
    }

    fn node(&self, pkgbase: &PkgBase) -> Option<u32> {
        self.nodes.binary_search(pkgbase).ok().map(index)
    }

    fn in_order(&self, mut nodes: Vec<u32>) -> Vec<PkgBase> {
        nodes.sort_unstable_by_key(|&node| self.position[node as usize]);
        self.named(nodes.into_iter())
    }

    fn named(&self, nodes: impl Iterator<Item = u32>) -> Vec<PkgBase> {
        nodes.map(|node| self.nodes[node as usize].clone()).collect()
    }
}

/// One link for each pair of packages, with the strongest kind and of those the first name; sorted.
fn resolved<'a>(
    packages: &[&'a Package],
    providers: &Providers<'_>,
    arch: &str,
) -> Vec<(u32, u32, DependencyKind, &'a str)> {
    let mut links = Vec::new();
    for (package, from) in packages.iter().zip((0..).map(index)) {
        let dependencies = package.srcinfo.iter().flat_map(|srcinfo| &srcinfo.dependencies);
        for dependency in dependencies.filter(|dependency| in_play(dependency.arch.as_deref(), arch)) {
            if let Some(to) = providers.resolve(&dependency.name, from).filter(|&to| to != from) {
                links.push((from, to, dependency.kind, dependency.name.as_str()));
            }
        }
    }
    links.sort_unstable();
    links.dedup_by_key(|&mut (from, to, _, _)| (from, to));
    links
}

#[cfg(test)]
mod tests;
