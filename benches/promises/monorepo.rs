//! The repositories that are measured, each made only when a benchmark first asks for it.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use pkgwarden::controller::inspect::Inspection;
use pkgwarden::controller::snapshot::SnapshotReader;
use pkgwarden::domain::desired::{Refs, Snapshot};
use pkgwarden::git::Repository;
use pkgwarden::sys::env;
use tempfile::TempDir;

use crate::generator::{self, Shape};

/// The environment variable with the path of a repository to measure beside the generated one.
const OTHER: &str = "PKGWARDEN_BENCH_REPOSITORY";

static GENERATED: OnceLock<TempDir> = OnceLock::new();
static HUGE: OnceLock<TempDir> = OnceLock::new();

/// A repository that is measured.
pub struct Monorepo {
    /// What it is called in results.
    pub label: &'static str,
    /// Where it is.
    pub path: PathBuf,
}

impl Monorepo {
    /// Opened, as a command opens it.
    pub fn open(&self) -> Inspection {
        Inspection::open(&self.path).expect("a repository")
    }

    /// Its refs, with the tip in the place of the branch.
    pub fn refs(&self) -> Refs {
        self.open().refs("HEAD").expect("readable")
    }

    /// Everything about its tip, read with what a reader remembers.
    pub fn snapshot(&self, reader: &SnapshotReader, refs: &Refs) -> Snapshot {
        let git = Repository::open(&self.path).expect("a repository");
        reader.read(&git, self.label, refs.clone()).expect("readable")
    }

    /// Everything about its tip, found out from nothing.
    pub fn fresh_snapshot(&self) -> Snapshot {
        self.snapshot(&SnapshotReader::default(), &self.refs())
    }
}

/// The generated repository, and the one from the environment if there is one.
pub fn all() -> Vec<Monorepo> {
    let generated = GENERATED.get_or_init(|| generate(&Shape::PUBLIC));
    let mut all = vec![Monorepo { label: "generated", path: generated.path().to_owned() }];
    all.extend(env::var(OTHER).map(|path| Monorepo { label: "other", path: absolute(Path::new(&path)) }));
    all
}

/// A generated repository of a size that none has.
pub fn huge() -> Monorepo {
    let generated = HUGE.get_or_init(|| generate(&Shape::HUGE));
    Monorepo { label: "100000", path: generated.path().to_owned() }
}

fn generate(shape: &Shape) -> TempDir {
    let dir = TempDir::new().expect("a temporary directory");
    generator::generate(dir.path(), shape);
    dir
}

fn absolute(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|error| panic!("{OTHER} names {}: {error}", path.display()))
}
