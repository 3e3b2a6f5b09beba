//! What is on the disk of one attempt, so that a controller that starts anew finds its job again.

use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::builder::artefact::Expectation;
use crate::executor::kept::Stop;
use crate::sys::fs::{FsError, write_atomic};

/// What has to be known of a build until its end.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// What its job is called.
    pub name: String,
    /// The build, as JSON.
    pub build: String,
    /// Where its output begins in its log.
    pub log_begins: u64,
    /// How long it may take from when it begins, in milliseconds.
    pub may_take: i64,
    /// The status that says that there is nothing to do.
    pub skip_exit_code: i32,
    /// What it may leave behind.
    pub expected: Expectation,
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

    /// The package folder, as an archive.
    pub fn package(&self) -> PathBuf {
        self.dir.join("package.tar")
    }

    /// Where what the job left is brought.
    pub fn brought(&self) -> PathBuf {
        self.dir.join("brought")
    }

    /// What was taken of that.
    pub fn taken(&self) -> PathBuf {
        self.dir.join("taken")
    }

    /// What has to be known; `None` if the attempt never came so far.
    pub fn record(&self) -> Option<Record> {
        self.read("record.json")
    }

    /// Writes down what has to be known.
    pub fn write_record(&self, record: &Record) -> Result<(), FsError> {
        self.write("record.json", record)
    }

    /// Whether buildomat may have been asked for a job.
    pub fn was_asked(&self) -> bool {
        self.dir.join("asked").exists()
    }

    /// Writes down that buildomat is about to be asked.
    pub fn note_asked(&self) -> Result<(), FsError> {
        write_atomic(&self.dir.join("asked"), b"")
    }

    /// The job.
    pub fn job(&self) -> Option<String> {
        self.read("job.json")
    }

    /// Writes down which job it is.
    pub fn keep_job(&self, job: &String) -> Result<(), FsError> {
        self.write("job.json", job)
    }

    /// When a machine took it.
    pub fn began(&self) -> Option<Timestamp> {
        self.read("began.json")
    }

    /// Writes down when a machine took it, the first time.
    pub fn keep_began(&self, now: Timestamp) -> Result<(), FsError> {
        if self.began().is_some() { Ok(()) } else { self.write("began.json", &now) }
    }

    /// Why it is to be stopped.
    pub fn stop(&self) -> Option<Stop> {
        self.read("stop.json")
    }

    /// Writes down that it is to be stopped.
    pub fn keep_stop(&self, stop: Stop) -> Result<(), FsError> {
        self.write("stop.json", &stop)
    }

    fn read<T: for<'de> Deserialize<'de>>(&self, name: &str) -> Option<T> {
        serde_json::from_slice(&fs::read(self.dir.join(name)).ok()?).ok()
    }

    fn write(&self, name: &str, value: &impl Serialize) -> Result<(), FsError> {
        write_atomic(&self.dir.join(name), &serde_json::to_vec(value).expect("texts and numbers are JSON"))
    }
}
