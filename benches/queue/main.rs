//! 100,000 builds of one wave, with the edges of a generated monorepo of that size: put into the record, handed out
//! one by one in the order that the scheduler chooses, and finished; beside the same number of jobs of a plain
//! `BullMQ` flow on a real Redis.
//!
//! Fails if a build is handed out before what it has to come after, if one is left, or if the first builds,
//! handed out of a full queue, cost more than twice what the last do. `.ci/bench` reads `target/queue-bench`.

#![expect(clippy::print_stdout, reason = "what was measured is for people")]
#![expect(clippy::disallowed_methods, reason = "time is what is measured")]

mod flow;
mod record;
#[expect(dead_code, reason = "of a package only its name and what it needs count here")]
#[path = "../promises/sketch.rs"]
mod sketch;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use pkgwarden::domain::build::{BuildReason, BuildRequest};
use pkgwarden::domain::name::PkgBase;
use pkgwarden::domain::schedule::Lane;

use sketch::{Dice, Sketch};

/// How many packages the monorepo has. None has so many.
const PACKAGES: usize = 100_000;

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

/// Every package of a made up monorepo, each after what it needs of the others.
fn wave() -> Vec<BuildRequest> {
    let sketches = sketch::packages(PACKAGES, &mut Dice::new(42));
    let names: BTreeSet<&str> = sketches.iter().map(|sketch| sketch.name.as_str()).collect();
    sketches.iter().map(|sketch| request(sketch, &names)).collect()
}

fn request(sketch: &Sketch, names: &BTreeSet<&str>) -> BuildRequest {
    let name = |name: &str| PkgBase::new(name).expect("a name of a package");
    let needed: BTreeSet<&str> = sketch.depends.iter().map(String::as_str).filter(|it| names.contains(it)).collect();
    BuildRequest {
        pkgbase: name(&sketch.name),
        arch: "x86_64".to_owned(),
        class: None,
        reason: BuildReason::Changed,
        lane: Lane::Normal,
        after: needed.into_iter().map(name).collect(),
        needs: Vec::new(),
    }
}
