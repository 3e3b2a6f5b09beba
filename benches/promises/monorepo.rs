//! The repositories that are measured, each made only when a benchmark that runs first asks for it.

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
    place: fn() -> PathBuf,
}

impl Monorepo {
    /// Opened, as a command opens it.
    pub fn open(&self) -> Inspection {
        Inspection::open(&(self.place)()).expect("a repository")
    }

    /// Its refs, with the tip in the place of the branch.
    pub fn refs(&self) -> Refs {
        self.open().refs("HEAD").expect("readable")
    }

    /// Everything about its tip, read with what a reader remembers.
    pub fn snapshot(&self, reader: &SnapshotReader, refs: &Refs) -> Snapshot {
        let git = Repository::open(&(self.place)()).expect("a repository");
        reader.read(&git, self.label, refs.clone()).expect("readable")
    }

    /// Everything about its tip, found out from nothing.
    pub fn fresh_snapshot(&self) -> Snapshot {
        self.snapshot(&SnapshotReader::default(), &self.refs())
    }
}

/// The generated repository, and the one from the environment if there is one.
pub fn all() -> Vec<Monorepo> {
    let generated = Monorepo { label: "generated", place: || generated(&GENERATED, &Shape::PUBLIC) };
    let other = env::var(OTHER).map(|_| Monorepo { label: "other", place: other });
    std::iter::once(generated).chain(other).collect()
}

/// A generated repository of a size that none has.
pub fn huge() -> Monorepo {
    Monorepo { label: "100000", place: || generated(&HUGE, &Shape::HUGE) }
}

/// Where it is; it is made when this is asked first, which takes a while.
fn generated(made: &OnceLock<TempDir>, shape: &Shape) -> PathBuf {
    let generate = || {
        let dir = TempDir::new().expect("a temporary directory");
        generator::generate(dir.path(), shape);
        dir
    };
    made.get_or_init(generate).path().to_owned()
}

fn other() -> PathBuf {
    let path = env::var(OTHER).expect("asked only if it is set");
    Path::new(&path).canonicalize().unwrap_or_else(|error| panic!("{OTHER} names {path}: {error}"))
}
