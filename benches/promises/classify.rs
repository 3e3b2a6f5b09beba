//! How many updates are judged in a second.

use criterion::{BenchmarkId, Criterion, Throughput};
use pkgwarden::domain::classify;
use pkgwarden::domain::folder::Folder;

use crate::generator::Shape;
use crate::monorepo::{self, Monorepo};

pub fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("classify");
    group.throughput(Throughput::Elements(1));
    for repository in monorepo::all() {
        group.bench_function(BenchmarkId::new("one update", repository.label), |bencher| {
            let updates = updates(&repository);
            let mut next = updates.iter().cycle();
            bencher.iter(|| next.next().map(|(old, new)| classify::classify(old, new)));
        });
    }
    group.finish();
}

/// The packages that the last 500 commits changed: their folders before and after.
fn updates(repository: &Monorepo) -> Vec<(Folder, Folder)> {
    let git = repository.open();
    let before = format!("HEAD~{}", Shape::PUBLIC.commits);
    let (since, _) = git.since(&before, "HEAD").expect("so many commits");
    let commit = |rev| git.commit(rev).expect("a commit");
    let (old, new) = (commit(&before), commit("HEAD"));
    let changed = since.changes.changed.iter();
    changed
        .filter_map(|pkgbase| match git.sides(old, new, pkgbase) {
            Ok((Some(old), Some(new))) => Some((old, new)),
            _ => None,
        })
        .collect()
}
