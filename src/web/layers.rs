//! A picture of an order: nodes in columns, each to the right of what it needs. Pure.

use std::collections::BTreeMap;

const NODE_WIDTH: usize = 168;
const NODE_HEIGHT: usize = 40;
const GAP_X: usize = 64;
const GAP_Y: usize = 14;
const MARGIN: usize = 12;
/// Longer names are cut in the picture; the whole name is its title.
const NAME_LENGTH: usize = 20;

/// What to draw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its name.
    pub name: String,
    /// The line under the name.
    pub label: String,
    /// Its colour.
    pub tone: &'static str,
    /// Where it leads.
    pub href: String,
    /// The names of the items it needs; strangers are left out.
    pub needs: Vec<String>,
}

/// A finished picture.
#[derive(Debug, PartialEq, Eq)]
pub struct Picture {
    /// Its width in pixels.
    pub width: usize,
    /// Its height in pixels.
    pub height: usize,
    /// The boxes.
    pub nodes: Vec<Node>,
    /// The lines.
    pub edges: Vec<Edge>,
}

/// A box.
#[derive(Debug, PartialEq, Eq)]
pub struct Node {
    /// The whole name.
    pub name: String,
    /// The name as far as it fits.
    pub short: String,
    /// The line under it.
    pub label: String,
    /// Its colour.
    pub tone: &'static str,
    /// Where it leads.
    pub href: String,
    /// Left edge.
    pub x: usize,
    /// Upper edge.
    pub y: usize,
    /// Width.
    pub width: usize,
    /// Height.
    pub height: usize,
    /// Where text begins.
    pub text_x: usize,
    /// Base line of the name.
    pub name_y: usize,
    /// Base line of the label.
    pub label_y: usize,
}

/// A line from what is needed to what needs it.
#[derive(Debug, PartialEq, Eq)]
pub struct Edge {
    /// An SVG path.
    pub path: String,
}

/// Draws items. Those in a cycle stand where their other needs put them.
#[must_use]
pub fn draw(items: &[Item]) -> Picture {
    let place: BTreeMap<&str, usize> =
        items.iter().enumerate().map(|(index, item)| (item.name.as_str(), index)).collect();
    let needs: Vec<Vec<usize>> = items
        .iter()
        .map(|item| item.needs.iter().filter_map(|name| place.get(name.as_str()).copied()).collect())
        .collect();
    let columns = columns(&needs);
    let mut rows = vec![0; columns.iter().max().map_or(0, |last| last + 1)];
    let nodes: Vec<_> = items
        .iter()
        .zip(&columns)
        .map(|(item, &column)| {
            let row = rows[column];
            rows[column] += 1;
            node(item, column, row)
        })
        .collect();
    let edges = needs
        .iter()
        .enumerate()
        .flat_map(|(to, needs)| needs.iter().map(move |&from| (from, to)))
        .filter(|&(from, to)| columns[from] < columns[to])
        .map(|(from, to)| edge(&nodes[from], &nodes[to]))
        .collect();
    let width = MARGIN * 2 + (rows.len() * (NODE_WIDTH + GAP_X)).saturating_sub(GAP_X);
    let height = MARGIN * 2 + (rows.iter().max().unwrap_or(&0) * (NODE_HEIGHT + GAP_Y)).saturating_sub(GAP_Y);
    Picture { width, height, nodes, edges }
}

/// The length of the longest chain below each item; a cycle is cut where it would never end.
fn columns(needs: &[Vec<usize>]) -> Vec<usize> {
    let mut columns = vec![0; needs.len()];
    for _ in 0..needs.len() {
        let mut moved = false;
        for (index, needed) in needs.iter().enumerate() {
            let column =
                needed.iter().filter(|&&other| other != index).map(|&other| columns[other] + 1).max().unwrap_or(0);
            if column > columns[index] && column < needs.len() {
                columns[index] = column;
                moved = true;
            }
        }
        if !moved {
            break;
        }
    }
    // A cycle leaves columns that nobody stands in; close them up.
    let mut used = columns.clone();
    used.sort_unstable();
    used.dedup();
    columns.iter().map(|column| used.binary_search(column).expect("every column is in the list")).collect()
}

fn node(item: &Item, column: usize, row: usize) -> Node {
    let (x, y) = (MARGIN + column * (NODE_WIDTH + GAP_X), MARGIN + row * (NODE_HEIGHT + GAP_Y));
    let mut short: String = item.name.chars().take(NAME_LENGTH).collect();
    if short.len() < item.name.len() {
        short.push('…');
    }
    Node {
        name: item.name.clone(),
        short,
        label: item.label.clone(),
        tone: item.tone,
        href: item.href.clone(),
        x,
        y,
        width: NODE_WIDTH,
        height: NODE_HEIGHT,
        text_x: x + 10,
        name_y: y + 17,
        label_y: y + 32,
    }
}

fn edge(from: &Node, to: &Node) -> Edge {
    let (x1, y1) = (from.x + from.width, from.y + from.height / 2);
    let (x2, y2) = (to.x, to.y + to.height / 2);
    let bend = GAP_X / 2;
    Edge { path: format!("M{x1} {y1}C{} {y1} {} {y2} {x2} {y2}", x1 + bend, x2 - bend) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(name: &str, needs: &[&str]) -> Item {
        Item {
            name: name.into(),
            label: String::new(),
            tone: "idle",
            href: String::new(),
            needs: needs.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn everything_stands_right_of_what_it_needs() {
        let picture = draw(&[item("app", &["lib", "tool"]), item("tool", &["lib"]), item("lib", &["stranger"])]);
        let x: BTreeMap<_, _> = picture.nodes.iter().map(|node| (node.name.as_str(), node.x)).collect();
        assert!(x["lib"] < x["tool"] && x["tool"] < x["app"]);
        assert_eq!(picture.edges.len(), 3);
    }

    #[test]
    fn a_cycle_is_drawn_and_ends() {
        let picture = draw(&[item("a", &["b"]), item("b", &["a"]), item("c", &["a", "c"])]);
        assert_eq!(picture.nodes.len(), 3);
        assert!(picture.width < 2_000, "{}", picture.width);
        assert_eq!(draw(&[]).nodes, []);
    }
}
