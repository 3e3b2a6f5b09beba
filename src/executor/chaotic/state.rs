//! What is on the disk of one attempt, so that a controller that begins anew finds its build at the manager again.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::domain::chaotic::Route;
use crate::sys::fs::{FsError, write_atomic};

/// What has to be known of a build until its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The package.
    pub pkgbase: String,
    /// The architecture.
    pub arch: String,
    /// The commit.
    pub commit: String,
    /// The class that it asks for.
    pub class: Option<String>,
    /// Where it comes from and goes to.
    pub route: Route,
}

/// What was there before the manager was asked: what comes after it may be of this build.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The number of the newest log of the package.
    pub log: Option<u64>,
    /// The newest event of the queue `builds`.
    pub builds: String,
    /// The newest event of the queue `database`.
    pub database: String,
}

/// Where the log of the build is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Its number.
    pub log: u64,
    /// How long our log was when it began.
    pub begins: u64,
}

/// The directory of one attempt.
#[derive(Debug, Clone)]
pub struct State {
    dir: PathBuf,
}

impl State {
    /// The attempt that has this directory.
    pub fn at(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// What has to be known; `None` if the attempt never came so far.
    pub fn record(&self) -> Option<Record> {
        self.read("record.json")
    }

    /// Writes down what has to be known.
    pub fn write_record(&self, record: &Record) -> Result<(), FsError> {
        self.write("record.json", record)
    }

    /// What was there before; `None` if the manager was never asked.
    pub fn mark(&self) -> Option<Mark> {
        self.read("mark.json")
    }

    /// Writes down what is there, because the manager is about to be asked.
    pub fn keep_mark(&self, mark: &Mark) -> Result<(), FsError> {
        self.write("mark.json", mark)
    }

    /// Where its log is.
    pub fn place(&self) -> Option<Place> {
        self.read("place.json")
    }

    /// Writes down where its log is.
    pub fn keep_place(&self, place: Place) -> Result<(), FsError> {
        self.write("place.json", &place)
    }

    /// Whether its log is longer than may be kept.
    pub fn is_too_long(&self) -> bool {
        self.dir.join("too-long").exists()
    }

    /// Writes down that it is.
    pub fn note_too_long(&self) -> Result<(), FsError> {
        write_atomic(&self.dir.join("too-long"), b"")
    }

    fn read<T: for<'de> Deserialize<'de>>(&self, name: &str) -> Option<T> {
        serde_json::from_slice(&fs::read(self.dir.join(name)).ok()?).ok()
    }

    fn write(&self, name: &str, value: &impl Serialize) -> Result<(), FsError> {
        write_atomic(&self.dir.join(name), &serde_json::to_vec(value).expect("texts and numbers are JSON"))
    }
}
