//! How long the dependency graph takes, at the size of the largest public repository of today and at a
//! size that none has.

use std::collections::BTreeSet;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use pkgwarden::domain::desired::Package;
use pkgwarden::domain::graph::Graph;
use pkgwarden::domain::name::{Oid, PkgBase};
use pkgwarden::domain::policy::PackageSettings;
use pkgwarden::domain::srcinfo::Srcinfo;

/// Every third package needs up to three earlier ones, and every package a few official ones; names are
/// spread so that their order is not the build order.
fn packages(count: usize) -> Vec<Package> {
    let name = |number: usize| format!("p{:06}", number * 7919 % count);
    let package = |number: usize| {
        let needs = (number.is_multiple_of(3) && number > 8).then(|| [number / 2, number - 7, number / 5]);
        let needs: Vec<_> = needs.iter().flatten().map(|&other| format!("\tdepends = {}>=1\n", name(other))).collect();
        let (pkgbase, needs) = (name(number), needs.concat());
        let text = format!(
            "pkgbase = {pkgbase}\n\tpkgver = 1\n\tpkgrel = 1\n\tarch = x86_64\n\tmakedepends = git\n\tmakedepends = cmake\n\
             {needs}\tdepends = glibc\n\tprovides = virtual-{}=1\n\npkgname = {pkgbase}\n",
            number / 4
        );
        Package {
            config: String::new(),
            pkgbase: PkgBase::new(&pkgbase).expect("legal"),
            tree: Oid::from_bytes([0; 20]),
            srcinfo: Some(Srcinfo::parse(text.as_bytes()).expect("valid")),
            settings: PackageSettings::default(),
            interfere: Vec::new(),
            has_pkgbuild: true,
            findings: Vec::new(),
        }
    };
    (0..count).map(package).collect()
}

fn graph(criterion: &mut Criterion) {
    let official: BTreeSet<String> = ["git", "cmake", "glibc"].map(str::to_owned).into();
    let mut group = criterion.benchmark_group("graph");
    group.sample_size(10);
    for count in [2_534, 100_000] {
        let packages = packages(count);
        group.bench_with_input(BenchmarkId::new("build", count), &packages, |bencher, packages| {
            bencher.iter(|| Graph::build(black_box(packages.iter()), &official));
        });
        let graph = Graph::build(packages.iter(), &official);
        let all: BTreeSet<PkgBase> = graph.nodes().iter().cloned().collect();
        group.bench_with_input(BenchmarkId::new("wave of all", count), &graph, |bencher, graph| {
            bencher.iter(|| graph.wave(black_box(&all)));
        });
        group.bench_with_input(BenchmarkId::new("deptree", count), &graph, |bencher, graph| {
            bencher.iter(|| graph.deptree_text());
        });
    }
    group.finish();
}

criterion_group!(benches, graph);
criterion_main!(benches);
