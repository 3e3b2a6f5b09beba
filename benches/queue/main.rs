//! 100,000 builds of one wave, with the edges of a generated monorepo of that size: put into the record, handed out
//! one by one in the order that the scheduler chooses, and finished; beside the same number of jobs of a plain
//! `BullMQ` flow on a real Redis.
//!
//! Fails if a build is handed out before what it has to come after, if one is left, or if the first builds,
//! handed out of a full queue, cost more than twice what the last do. `.ci/bench` reads `target/queue-bench`.

#![expect(clippy::print_stdout, reason = "what was measured is for people")]
#![expect(clippy::disallowed_methods, reason = "time is what is measured")]

mod flow;
#[path = "../promises/generator.rs"]
mod generator;
#[expect(dead_code, reason = "it reads other repositories, too")]
#[path = "../promises/monorepo.rs"]
mod monorepo;
mod record;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use pkgwarden::domain::build::{BuildReason, BuildRequest};
use pkgwarden::domain::graph::Graph;
use pkgwarden::domain::lint;
use pkgwarden::domain::name::PkgBase;
use pkgwarden::domain::schedule::Lane;

/// How long the parts of a whole pass took.
pub struct Pass {
    /// Until all were in the queue.
    pub add: Duration,
    /// From then until the last was finished.
    pub work: Duration,
}

fn main() {
    let builds = wave();
    let edges: usize = builds.iter().map(|build| build.after.len()).sum();
    println!("{} builds, {edges} edges", builds.len());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads");
    let (ours, slices) = runtime.block_on(record::pass(&builds));
    say("pkgwarden", &ours, builds.len());
    let (first, last) = (slices[0], slices[slices.len() - 1]);
    println!("  of {} builds: the first {first:.0?}, the last {last:.0?}", record::SLICE);
    let theirs = runtime.block_on(flow::pass(&builds));
    say("BullMQ flow", &theirs, builds.len());
    write(&builds, edges, &ours, &theirs, (first, last));
    assert!(first < 2 * last, "handing out costs more with more builds in the queue");
}

fn say(who: &str, pass: &Pass, builds: usize) {
    let each = pass.work / u32::try_from(builds).expect("not so many");
    println!("{who}: added in {:.1?}, handed out and finished in {:.1?}, {each:.0?} each", pass.add, pass.work);
}

fn write(builds: &[BuildRequest], edges: usize, ours: &Pass, theirs: &Pass, (first, last): (Duration, Duration)) {
    let mut text = format!("builds={}\nedges={edges}\n", builds.len());
    let times = [("add", ours.add), ("work", ours.work), ("first", first), ("last", last), ("flow_add", theirs.add)];
    for (name, time) in times.into_iter().chain([("flow_work", theirs.work)]) {
        writeln!(text, "{name}={}", time.as_nanos()).expect("writing to a string");
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/target/queue-bench");
    std::fs::write(path, text).expect("writable");
}

/// Every package of the generated monorepo, each after what it needs.
fn wave() -> Vec<BuildRequest> {
    let snapshot = monorepo::huge().fresh_snapshot();
    let official = lint::known_elsewhere(snapshot.version_state.as_deref());
    let graph = Graph::build(snapshot.packages.values().map(Arc::as_ref), &official);
    let all: BTreeSet<PkgBase> = graph.nodes().iter().cloned().collect();
    let mut before = graph.wave(&all);
    let request = |pkgbase: PkgBase| BuildRequest {
        arch: "x86_64".to_owned(),
        class: None,
        reason: BuildReason::Changed,
        lane: Lane::Normal,
        after: before.remove(&pkgbase).unwrap_or_default().members,
        needs: Vec::new(),
        pkgbase,
    };
    graph.order_of(&all).into_iter().map(request).collect()
}
