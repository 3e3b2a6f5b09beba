//! How long the dependency graph takes.

use std::cell::LazyCell;
use std::collections::BTreeSet;
use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion};
use pkgwarden::domain::desired::Snapshot;
use pkgwarden::domain::graph::Graph;
use pkgwarden::domain::lint;
use pkgwarden::domain::name::PkgBase;

use crate::monorepo::{self, Monorepo};

pub fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("graph");
    group.sample_size(10);
    for repository in monorepo::all().into_iter().chain([monorepo::huge()]) {
        let input = LazyCell::new(|| Input::read(&repository));
        group.bench_function(BenchmarkId::new("build", repository.label), |bencher| {
            bencher.iter(|| black_box(input.graph()).order().len());
        });
        let graph = LazyCell::new(|| input.graph());
        group.bench_function(BenchmarkId::new("wave of all", repository.label), |bencher| {
            let all: BTreeSet<PkgBase> = graph.nodes().iter().cloned().collect();
            bencher.iter(|| graph.wave(black_box(&all)));
        });
        group.bench_function(BenchmarkId::new("deptree", repository.label), |bencher| {
            bencher.iter(|| graph.deptree_text());
        });
    }
    group.finish();
}

/// What a graph is built of.
struct Input {
    snapshot: Snapshot,
    official: BTreeSet<String>,
}

impl Input {
    fn read(repository: &Monorepo) -> Self {
        let snapshot = repository.fresh_snapshot();
        let official = lint::known_elsewhere(snapshot.version_state.as_deref());
        Self { snapshot, official }
    }

    fn graph(&self) -> Graph {
        Graph::build(self.snapshot.packages.values().map(Arc::as_ref), &self.official)
    }
}
