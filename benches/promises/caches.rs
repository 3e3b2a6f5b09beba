//! How long a cache set takes to be saved, and to be brought back.
//!
//! What runs in the sandbox of a build is not measured: there the same bsdtar packs and unpacks.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use criterion::{BatchSize, BenchmarkId, Criterion};
use pkgwarden::caches::{CacheConfig, Caches, Found, Place, Published, Wanted};
use pkgwarden::domain::cache::SetName;
use pkgwarden::domain::cache::key::Key;
use pkgwarden::domain::cache::policy::RefClass;
use pkgwarden::sys::clock::SystemClock;
use pkgwarden::sys::env;
use pkgwarden::sys::process::Program;

/// How large the set is; another number is for trying the benchmark out.
const SIZE: &str = "PKGWARDEN_BENCH_CACHE_MIB";
const USUAL_MIB: usize = 256;
/// Of each MiB, so many files.
const FILES: usize = 16;

pub fn bench(criterion: &mut Criterion) {
    let mib = env::var(SIZE).map_or(USUAL_MIB, |mib| mib.parse().expect("a number of MiB"));
    let dir = tempfile::tempdir().expect("a folder");
    let (tar, most) = (pack(dir.path(), mib), (mib as u64) << 21);
    let config = CacheConfig { dir: dir.path().join("caches"), quota: 8 * most };
    let caches = Caches::open(config, Arc::new(SystemClock)).expect("caches");
    let mut group = criterion.benchmark_group("caches");
    group.sample_size(10);
    let mut saved = 0;
    group.bench_function(BenchmarkId::new("save", mib), |bencher| {
        bencher.iter(|| {
            saved += 1;
            save(&caches, &tar, most, &wanted(saved));
        });
    });
    save(&caches, &tar, most, &wanted(0));
    group.bench_function(BenchmarkId::new("restore", mib), |bencher| {
        let place = || tempfile::tempdir_in(dir.path()).expect("a folder");
        bencher.iter_batched(place, |place| restore(&caches, place), BatchSize::PerIteration);
    });
    group.finish();
}

fn save(caches: &Caches, tar: &Path, most: u64, wanted: &Wanted) {
    let staged = caches.stage(File::open(tar).expect("the tar"), most, wanted).expect("staged");
    assert!(
        matches!(caches.publish(staged, wanted).expect("saved"), Published::New(_)),
        "there was none with this key"
    );
}

/// Looks for the set, makes sure of it and unpacks it. What is removed afterwards is not measured.
fn restore(caches: &Caches, place: tempfile::TempDir) -> tempfile::TempDir {
    let Found::Archive(found) = caches.find(&wanted(0)).expect("looked for") else { panic!("it is there") };
    bsdtar(Program::new("bsdtar").arg("-xf").arg(&found.path).arg("-C").arg(place.path()));
    place
}

/// Each from a commit of its own.
fn wanted(number: usize) -> Wanted {
    Wanted {
        place: Place {
            repository: "bench".into(),
            pkgbase: "large".into(),
            set: SetName::new("ccache").expect("a name"),
        },
        class: RefClass::Release,
        key: Key { scope: "scope".into(), exact: format!("{number:064x}") },
        epoch: 0,
        renew: false,
        attempt: number.to_string(),
    }
}

/// A tar of files as builds leave them: half of each file says the same again and again, half of it is noise.
fn pack(dir: &Path, mib: usize) -> PathBuf {
    let (files, tar) = (dir.join("tree/home/build/.cache/ccache"), dir.join("set.tar"));
    let mut state = 1_u64;
    for number in 0..mib * FILES {
        let above = files.join(format!("{:x}", number % 16));
        fs::create_dir_all(&above).expect("a folder");
        let noise = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state.to_be_bytes()
        });
        let half = (1 << 20) / FILES / 2;
        let mut content: Vec<u8> = noise.take(half / 8).flatten().collect();
        content.resize(2 * half, b'x');
        fs::write(above.join(number.to_string()), content).expect("a file");
    }
    bsdtar(
        Program::new("bsdtar")
            .args(["--format", "gnutar", "-cf"])
            .arg(&tar)
            .arg("-C")
            .arg(dir.join("tree"))
            .arg("home/build/.cache/ccache"),
    );
    tar
}

fn bsdtar(program: Program) {
    let ended = program.run_blocking().expect("it is installed");
    assert!(ended.status.success(), "{}", ended.stderr_text());
}
