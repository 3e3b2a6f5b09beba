//! One benchmark for each promise about speed. They run on a generated monorepo of the shape of the
//! largest public one, and on the repository that `PKGWARDEN_BENCH_REPOSITORY` names, if it is set.
//!
//! `.ci/bench` runs them and writes `docs/performance.md`.

mod caches;
mod classify;
mod generator;
mod graph;
mod monorepo;
mod plan;
mod sketch;
mod snapshot;
mod sources;

use criterion::{criterion_group, criterion_main};

criterion_group!(benches, snapshot::bench, plan::bench, classify::bench, graph::bench, sources::bench, caches::bench);
criterion_main!(benches);
