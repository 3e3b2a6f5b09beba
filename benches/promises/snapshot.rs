//! How long it takes to know everything about a monorepo.

use criterion::{BenchmarkId, Criterion};
use pkgwarden::controller::snapshot::SnapshotReader;

use crate::monorepo;

pub fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("snapshot");
    for repository in monorepo::all() {
        group.sample_size(20).bench_function(BenchmarkId::new("cold", repository.label), |bencher| {
            bencher.iter(|| repository.fresh_snapshot());
        });
        group.bench_function(BenchmarkId::new("warm", repository.label), |bencher| {
            let (reader, refs) = (SnapshotReader::default(), repository.refs());
            repository.snapshot(&reader, &refs);
            bencher.iter(|| repository.snapshot(&reader, &refs));
        });
    }
    let huge = monorepo::huge();
    group.sample_size(10).bench_function(BenchmarkId::new("cold", huge.label), |bencher| {
        bencher.iter(|| huge.fresh_snapshot());
    });
    group.finish();
}
