//! How long the dependency graph takes.

use std::collections::BTreeSet;
use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion};
use pkgwarden::domain::graph::Graph;
use pkgwarden::domain::lint;
use pkgwarden::domain::name::PkgBase;

use crate::monorepo;

pub fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("graph");
    group.sample_size(10);
    for repository in monorepo::all().into_iter().chain([monorepo::huge()]) {
        let snapshot = repository.fresh_snapshot();
        let official: BTreeSet<String> = lint::known_elsewhere(snapshot.version_state.as_deref());
        let build = || Graph::build(snapshot.packages.values().map(Arc::as_ref), &official);
        group.bench_function(BenchmarkId::new("build", repository.label), |bencher| {
            bencher.iter(|| black_box(build()).order().len());
        });
        let graph = build();
        let all: BTreeSet<PkgBase> = graph.nodes().iter().cloned().collect();
        group.bench_function(BenchmarkId::new("wave of all", repository.label), |bencher| {
            bencher.iter(|| graph.wave(black_box(&all)));
        });
        group.bench_function(BenchmarkId::new("deptree", repository.label), |bencher| {
            bencher.iter(|| graph.deptree_text());
        });
    }
    group.finish();
}
