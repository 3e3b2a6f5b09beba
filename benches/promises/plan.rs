//! How long deciding takes once the monorepo is known and every source has answered.

use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion};
use jiff::Timestamp;
use pkgwarden::controller::inspect::Inspection;
use pkgwarden::domain::desired::{Refs, Snapshot};
use pkgwarden::domain::lint;
use pkgwarden::domain::observed::{Observation, Observations, Upstream};
use pkgwarden::domain::plan::{self, Document, Inputs, Pipeline, Since};
use pkgwarden::domain::policy::Policy;

use crate::generator::Shape;
use crate::monorepo;

pub fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("plan");
    for repository in monorepo::all() {
        let snapshot = repository.fresh_snapshot();
        let git = repository.open();
        let refs = scheduled(&git, &snapshot, Shape::PUBLIC.commits);
        group.bench_function(BenchmarkId::new("on-commit", repository.label), |bencher| {
            bencher.iter(|| {
                let since = git.since_scheduled(&refs).expect("readable");
                decide(&Pipeline::OnCommit, black_box(&snapshot), &since, &Observations::default())
            });
        });
        let since = git.since_scheduled(&scheduled(&git, &snapshot, 0)).expect("readable");
        let observations = nothing_new(&snapshot);
        group.bench_function(BenchmarkId::new("on-schedule", repository.label), |bencher| {
            bencher.iter(|| {
                black_box(plan::requests(&snapshot));
                decide(&Pipeline::OnSchedule, &snapshot, &since, black_box(&observations))
            });
        });
    }
    group.finish();
}

/// The refs as if builds had been handed out so many commits ago.
fn scheduled(git: &Inspection, snapshot: &Snapshot, commits: usize) -> Refs {
    let scheduled = git.refs(&format!("HEAD~{commits}")).expect("so many commits").main;
    Refs { scheduled, ..snapshot.refs.clone() }
}

fn decide(pipeline: &Pipeline, snapshot: &Snapshot, since: &Since, observations: &Observations) -> Document {
    let official: BTreeSet<String> = lint::known_elsewhere(snapshot.version_state.as_deref());
    let inputs = Inputs {
        snapshot,
        since,
        observations,
        policy: &Policy::default(),
        official: &official,
        arch: "x86_64",
        now: Timestamp::UNIX_EPOCH,
    };
    plan::plan(pipeline, &inputs).document(snapshot)
}

/// Every source says that it has what is known of it.
fn nothing_new(snapshot: &Snapshot) -> Observations {
    let files = plan::requests(snapshot).into_iter();
    let files: BTreeMap<_, _> =
        files.map(|request| (request.pkgbase, Observation::Current { cursor: request.cursor })).collect();
    let following = snapshot.packages.values().filter(|package| package.follows_upstream());
    let upstream = following.map(|package| {
        let known = snapshot.states.get(&package.pkgbase).map(pkgwarden::domain::state::PackageState::upstream);
        (package.pkgbase.clone(), Upstream::At(known.into_iter().flatten().flatten().collect()))
    });
    Observations { files, upstream: upstream.collect(), ..Observations::default() }
}
