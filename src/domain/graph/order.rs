//! Build order over plain indices: strongly connected components, and a topological order over them.
//!
//! Nothing here recurses with the depth of the graph: chains may be as long as the repository.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::domain::srcinfo::DependencyKind;

/// Links of every node, stored one after the other.
#[derive(Debug, Clone, Default)]
pub(super) struct Links {
    offsets: Vec<usize>,
    links: Vec<(u32, DependencyKind)>,
}

impl Links {
    /// Groups `(from, to, kind)` by `from`; they come sorted by `from`, then `to`.
    pub fn group(nodes: usize, sorted: impl Iterator<Item = (u32, u32, DependencyKind)>) -> Self {
        let mut this = Self { offsets: vec![0; nodes + 1], links: Vec::new() };
        for (from, to, kind) in sorted {
            this.offsets[from as usize + 1] += 1;
            this.links.push((to, kind));
        }
        for index in 0..nodes {
            this.offsets[index + 1] += this.offsets[index];
        }
        this
    }

    /// The same links, seen from their other end.
    pub fn reversed(&self) -> Self {
        let nodes = self.offsets.len() - 1;
        let mut back: Vec<_> = (0..nodes)
            .map(index)
            .flat_map(|from| self.of(from).iter().map(move |&(to, kind)| (to, from, kind)))
            .collect();
        back.sort_unstable();
        Self::group(nodes, back.into_iter())
    }

    pub fn of(&self, node: u32) -> &[(u32, DependencyKind)] {
        &self.links[self.range(node)]
    }

    /// Where the links of a node stand among all links.
    pub fn range(&self, node: u32) -> std::ops::Range<usize> {
        self.offsets[node as usize]..self.offsets[node as usize + 1]
    }
}

/// A position as an index; a repository has far fewer packages than `u32` counts.
pub(super) fn index(position: usize) -> u32 {
    u32::try_from(position).expect("fewer than 2^32 packages")
}

/// What [`arrange`] finds out.
#[derive(Debug, Default)]
pub(super) struct Arrangement {
    /// Every node once, what it needs before it wherever cycles allow that.
    pub order: Vec<u32>,
    /// Groups that need each other, each sorted, in the order in which they are built.
    pub cycles: Vec<Vec<u32>>,
}

/// Orders all nodes; ties go to the smaller index.
///
/// Inside a cycle the weaker kinds of dependency give way first: what is only needed to run tests, then
/// what is only needed to build. If packages need each other at run time, the order is that of a
/// depth-first walk from the smallest index.
pub(super) fn arrange(needs: &Links, dependants: &Links) -> Arrangement {
    let nodes: Vec<u32> = (0..needs.offsets.len() - 1).map(index).collect();
    let mut walk = Walk {
        needs,
        dependants,
        scope: vec![0; nodes.len()],
        scopes: 0,
        visited: vec![UNVISITED; nodes.len()],
        low: vec![0; nodes.len()],
        finished: vec![0; nodes.len()],
        component: vec![0; nodes.len()],
        found: Arrangement::default(),
    };
    walk.arrange(&nodes, DependencyKind::Checkdepends);
    walk.found
}

const UNVISITED: u32 = u32::MAX;

/// The next kinds to look at inside a cycle.
const fn stronger(weakest: DependencyKind) -> Option<DependencyKind> {
    match weakest {
        DependencyKind::Checkdepends => Some(DependencyKind::Makedepends),
        DependencyKind::Makedepends => Some(DependencyKind::Depends),
        DependencyKind::Depends => None,
    }
}

/// Working memory, one cell for each node.
struct Walk<'a> {
    needs: &'a Links,
    dependants: &'a Links,
    /// Which call of `arrange` looks at the node.
    scope: Vec<u32>,
    scopes: u32,
    /// When the node was first seen.
    visited: Vec<u32>,
    /// The earliest node on the stack that it reaches.
    low: Vec<u32>,
    /// When everything it needs had been seen.
    finished: Vec<u32>,
    /// The component it belongs to.
    component: Vec<u32>,
    found: Arrangement,
}

impl Walk<'_> {
    /// Appends `nodes` to the order, looking only at links among them that are not weaker than
    /// `weakest`. It calls itself at most twice in depth, with ever fewer kinds.
    fn arrange(&mut self, nodes: &[u32], weakest: DependencyKind) {
        self.scopes += 1;
        for &node in nodes {
            self.scope[node as usize] = self.scopes;
            self.visited[node as usize] = UNVISITED;
        }
        let mut components = self.components(nodes, weakest);
        for position in self.topological(&components, weakest) {
            let mut members = std::mem::take(&mut components[position as usize]);
            if let [single] = members[..] {
                self.found.order.push(single);
                continue;
            }
            members.sort_unstable();
            if weakest == DependencyKind::Checkdepends {
                self.found.cycles.push(members.clone());
            }
            if let Some(stronger) = stronger(weakest) {
                self.arrange(&members, stronger);
            } else {
                members.sort_unstable_by_key(|&node| self.finished[node as usize]);
                self.found.order.extend(members);
            }
        }
    }

    /// Tarjan's algorithm with a stack of its own.
    fn components(&mut self, nodes: &[u32], weakest: DependencyKind) -> Vec<Vec<u32>> {
        let scope = self.scopes;
        let (mut clock, mut ends) = (0, 0);
        let mut components = Vec::new();
        let mut open: Vec<u32> = Vec::new();
        let mut path: Vec<(u32, usize)> = Vec::new();
        for &root in nodes {
            if self.visited[root as usize] != UNVISITED {
                continue;
            }
            path.push((root, 0));
            while let Some((node, next)) = path.pop() {
                let this = node as usize;
                if next == 0 {
                    (self.visited[this], self.low[this]) = (clock, clock);
                    // An open node belongs to no component yet.
                    self.component[this] = UNVISITED;
                    clock += 1;
                    open.push(node);
                }
                let links = self.needs.of(node);
                let inside = |&(to, kind): &(u32, DependencyKind)| kind <= weakest && self.scope[to as usize] == scope;
                let unseen = |(to, _): &(u32, DependencyKind)| self.visited[*to as usize] == UNVISITED;
                if let Some(skip) = links[next..].iter().position(|link| inside(link) && unseen(link)) {
                    path.push((node, next + skip + 1));
                    path.push((links[next + skip].0, 0));
                    continue;
                }
                let reached = links.iter().filter(|link| inside(link)).map(|&(to, _)| to as usize);
                let open_ones = reached.filter(|&to| self.component[to] == UNVISITED);
                self.low[this] = open_ones.map(|to| self.low[to]).fold(self.low[this], u32::min);
                self.finished[this] = ends;
                ends += 1;
                if self.low[this] == self.visited[this] {
                    let start = open.iter().rposition(|&member| member == node).expect("it was pushed");
                    let members = open.split_off(start);
                    for &member in &members {
                        self.component[member as usize] = index(components.len());
                    }
                    components.push(members);
                }
            }
        }
        components
    }

    /// Kahn's algorithm over the components; among those that are ready, the one with the smallest
    /// member comes first.
    fn topological(&self, components: &[Vec<u32>], weakest: DependencyKind) -> Vec<u32> {
        let counts = |links: &Links, node: u32| -> Vec<u32> {
            let inside = links.of(node).iter().filter(|(to, kind)| {
                *kind <= weakest
                    && self.scope[*to as usize] == self.scopes
                    && self.component[*to as usize] != self.component[node as usize]
            });
            inside.map(|(to, _)| self.component[*to as usize]).collect()
        };
        let mut waiting: Vec<usize> =
            components.iter().map(|members| members.iter().map(|&node| counts(self.needs, node).len()).sum()).collect();
        let first = |position: u32| *components[position as usize].iter().min().expect("a component has members");
        let free = (0..components.len()).map(index).filter(|&position| waiting[position as usize] == 0);
        let mut ready: BinaryHeap<_> = free.map(|position| Reverse((first(position), position))).collect();
        let mut order = Vec::with_capacity(components.len());
        while let Some(Reverse((_, position))) = ready.pop() {
            order.push(position);
            for dependant in components[position as usize].iter().flat_map(|&node| counts(self.dependants, node)) {
                waiting[dependant as usize] -= 1;
                if waiting[dependant as usize] == 0 {
                    ready.push(Reverse((first(dependant), dependant)));
                }
            }
        }
        order
    }
}
