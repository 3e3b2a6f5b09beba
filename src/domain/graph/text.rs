//! The graph as text for other programs.

use std::fmt::Write;

use super::{Edge, Graph};
use crate::domain::srcinfo::DependencyKind;

impl Graph {
    /// The dependency list that Chaotic Manager reads: `pkgbase:names:needs` for each package,
    /// separated by `;`, without an end of line.
    ///
    /// `names` are the package names it yields and what they provide, `needs` are names among those of
    /// other packages, both sorted and separated by commas. The manager looks up each need among the
    /// names of all queued packages and takes the last that has it. So that it arrives at exactly
    /// our edges, a name stands with one package only (the one a dependency of that name is
    /// resolved to), and a need that does not lead to a package of the repository is left out. A package
    /// without any name would answer to the empty need of all others; it is left out too, and the
    /// manager builds it without waiting.
    #[must_use]
    pub fn deptree_text(&self) -> String {
        let mut entries = Vec::new();
        for (node, answers) in self.answers.iter().enumerate() {
            let names: Vec<_> = answers.iter().map(String::as_str).filter(|name| is_plain(name)).collect();
            if names.is_empty() {
                continue;
            }
            let edges = &self.edges[self.needs.range(super::index(node))];
            let mut needs: Vec<_> = edges.iter().filter_map(|edge| self.plain_name(edge)).collect();
            needs.sort_unstable();
            entries.push(format!("{}:{}:{}", self.nodes[node], names.join(","), needs.join(",")));
        }
        entries.join(";")
    }

    /// A name for what an edge leads to that can stand in the list.
    fn plain_name<'a>(&'a self, edge: &'a Edge) -> Option<&'a str> {
        let others = self.node(&edge.to).map(|node| &self.answers[node as usize]).into_iter().flatten();
        std::iter::once(&edge.via).chain(others).map(String::as_str).find(|name| is_plain(name))
    }

    /// The graph in the language of Graphviz; arrows lead from a package to what it needs.
    #[must_use]
    pub fn dot(&self) -> String {
        let mut text = String::from("digraph packages {\n  rankdir=LR;\n  node [shape=box];\n");
        for node in &self.nodes {
            let _ = writeln!(text, "  {};", quoted(node.as_str()));
        }
        for Edge { from, to, via, kind } in &self.edges {
            let style = match kind {
                DependencyKind::Depends => "solid",
                DependencyKind::Makedepends => "dashed",
                DependencyKind::Checkdepends => "dotted",
            };
            let (from, to, via) = (quoted(from.as_str()), quoted(to.as_str()), quoted(via));
            let _ = writeln!(text, "  {from} -> {to} [tooltip={via}, style={style}];");
        }
        text.push_str("}\n");
        text
    }
}

/// Whether a name can stand in the list without being taken for something else.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| ",;:".contains(c) || c.is_whitespace() || c.is_control())
}

/// Inside quotes Graphviz gives a meaning to the quote and, in labels, to the backslash.
fn quoted(name: &str) -> String {
    let mut text = String::from('"');
    for c in name.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            c if c.is_control() => text.push(' '),
            c => text.push(c),
        }
    }
    text.push('"');
    text
}
