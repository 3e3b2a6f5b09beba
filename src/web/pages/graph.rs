//! `/graph`: who is built before whom, for the queue, one package, or everything.

use std::collections::{BTreeMap, BTreeSet};

use askama::Template;
use axum::extract::{Extension, Query, State};
use axum::response::Response;
use serde_json::Value;

use super::{Who, page};
use crate::controller::view::{BuildView, QueueView};
use crate::web::badge::build_badge;
use crate::web::document::items;
use crate::web::fault::Fault;
use crate::web::frame::{Frame, Pages};
use crate::web::layers::{Item, Picture, draw};
use crate::web::link::{build_href, package_href};

/// More boxes than this are no picture.
const MOST_DRAWN: usize = 80;
/// More steps than this are no list.
const MOST_LISTED: usize = 500;

/// What to show.
#[derive(Debug, serde::Deserialize)]
pub struct GraphQuery {
    of: Option<String>,
}

#[derive(Template)]
#[template(path = "pages/graph.html")]
struct GraphPage {
    frame: Frame,
    subject: String,
    tabs: Vec<Tab>,
    cycles: Vec<String>,
    picture: Option<Picture>,
    order: Vec<Step>,
    left_out: usize,
}

struct Tab {
    href: &'static str,
    label: &'static str,
    current: bool,
}

struct Step {
    name: String,
    href: String,
    after: String,
}

/// The graph document, read once.
struct Known {
    order: Vec<String>,
    needs: BTreeMap<String, BTreeSet<String>>,
    cycles: Vec<String>,
}

impl Known {
    fn new(graph: &Value) -> Self {
        let mut needs: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for edge in items(graph, "edges") {
            if let (Some(from), Some(to)) = (edge["from"].as_str(), edge["to"].as_str()) {
                needs.entry(from.to_owned()).or_default().insert(to.to_owned());
            }
        }
        let names = |list: &[Value]| list.iter().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>();
        let cycles = items(graph, "cycles").iter().filter_map(Value::as_array).map(|cycle| names(cycle).join(" ⇄ "));
        Self { order: names(items(graph, "order")), cycles: cycles.collect(), needs }
    }

    fn needs(&self, name: &str) -> Vec<String> {
        self.needs.get(name).map(|needs| needs.iter().cloned().collect()).unwrap_or_default()
    }

    /// A package with everything it needs and everything that needs it, at any distance.
    fn around(&self, name: &str) -> BTreeSet<String> {
        let mut found = reach(name, |name| self.needs(name));
        let mut needed_by: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (from, needs) in &self.needs {
            for to in needs {
                needed_by.entry(to).or_default().push(from.clone());
            }
        }
        found.extend(reach(name, |name| needed_by.get(name).cloned().unwrap_or_default()));
        found
    }
}

fn reach(start: &str, next: impl Fn(&str) -> Vec<String>) -> BTreeSet<String> {
    let mut found = BTreeSet::from([start.to_owned()]);
    let mut open = vec![start.to_owned()];
    while let Some(name) = open.pop() {
        open.extend(next(&name).into_iter().filter(|name| found.insert(name.clone())));
    }
    found
}

pub async fn graph(
    State(pages): State<Pages>,
    Extension(visitor): Who,
    Query(query): Query<GraphQuery>,
) -> Result<Response, Fault> {
    let (frame, _) = pages.frame(visitor, "/graph").await?;
    let queue = pages.face.queue().await?;
    let builds = in_queue(&queue);
    let known = Known::new(&pages.face.graph().await?);
    let of = query.of.unwrap_or_else(|| if builds.is_empty() { "all" } else { "queue" }.to_owned());
    let drawn: Vec<Item> = match of.as_str() {
        "queue" => builds.values().map(|build| of_build(build)).collect(),
        "all" => known.order.iter().map(|name| of_package(name, &known, &builds)).collect(),
        name if known.order.iter().any(|known| known == name) => {
            let around = known.around(name);
            known
                .order
                .iter()
                .filter(|name| around.contains(*name))
                .map(|name| of_package(name, &known, &builds))
                .collect()
        }
        name => return Err(Fault::not_found(format!("there is no package `{name}`"))),
    };
    page(&graph_page(frame, &of, &drawn, known))
}

fn graph_page(frame: Frame, of: &str, drawn: &[Item], known: Known) -> GraphPage {
    let tab = |word: &str, href, label| Tab { href, label, current: of == word };
    let names: BTreeSet<&str> = drawn.iter().map(|item| item.name.as_str()).collect();
    let mut ordered: Vec<&Item> = drawn.iter().collect();
    let place: BTreeMap<&str, usize> =
        known.order.iter().enumerate().map(|(index, name)| (name.as_str(), index)).collect();
    ordered.sort_by_key(|item| place.get(item.name.as_str()).copied().unwrap_or(usize::MAX));
    let step = |item: &&Item| Step {
        name: item.name.clone(),
        href: item.href.clone(),
        after: item.needs.iter().filter(|name| names.contains(name.as_str())).cloned().collect::<Vec<_>>().join(", "),
    };
    GraphPage {
        subject: match of {
            "queue" => "of the queue".to_owned(),
            "all" => "of everything".to_owned(),
            name => format!("around {name}"),
        },
        tabs: vec![tab("queue", "/graph?of=queue", "The queue"), tab("all", "/graph?of=all", "Everything")],
        cycles: known.cycles,
        order: ordered.iter().take(MOST_LISTED).map(step).collect(),
        left_out: drawn.len().saturating_sub(MOST_LISTED),
        picture: (2..=MOST_DRAWN).contains(&drawn.len()).then(|| draw(drawn)),
        frame,
    }
}

fn in_queue(queue: &QueueView) -> BTreeMap<String, &BuildView> {
    let live = [&queue.underway, &queue.ready, &queue.waiting, &queue.blocked].into_iter().flatten();
    live.map(|build| (build.pkgbase.to_string(), build)).collect()
}

fn of_build(build: &BuildView) -> Item {
    let badge = build_badge(build.state);
    Item {
        name: build.pkgbase.to_string(),
        label: badge.label.to_owned(),
        tone: badge.tone,
        href: build_href(&build.id),
        needs: build.waits_for.iter().map(ToString::to_string).collect(),
    }
}

fn of_package(name: &str, known: &Known, builds: &BTreeMap<String, &BuildView>) -> Item {
    let badge = builds.get(name).map(|build| build_badge(build.state));
    let needs = known.needs(name);
    let label = match (badge, needs.len()) {
        (Some(badge), _) => badge.label.to_owned(),
        (None, 0) => "needs nothing here".to_owned(),
        (None, count) => format!("needs {count}"),
    };
    Item {
        name: name.to_owned(),
        label,
        tone: badge.map_or("calm", |badge| badge.tone),
        href: package_href(name),
        needs,
    }
}
