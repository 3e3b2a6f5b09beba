//! What is on our disk of one attempt: enough to put it into the queue again, and to take it out.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::executor::ExecutorError;
use crate::sys::fs::{FsError, write_atomic};

/// Where a build is in Redis.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The queue.
    pub queue: String,
    /// The id of the job.
    pub id: String,
}

/// What has to be known of an attempt until its job is removed. Holds the token of the attempt.
#[derive(Clone, Serialize, Deserialize)]
pub struct Record {
    /// Where it is.
    pub place: Place,
    /// The build as builders are told of it.
    pub job: serde_json::Value,
}

/// The directory of an attempt.
#[derive(Debug, Clone)]
pub struct Task {
    /// Where it is.
    pub dir: PathBuf,
}

impl Task {
    /// Keeps what has to be known. Only we can read it.
    pub fn write(&self, record: &Record) -> Result<(), ExecutorError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.dir);
        made.map_err(|error| FsError::new("create", &self.dir, error))?;
        let json = serde_json::to_vec(record).expect("texts are JSON");
        Ok(write_atomic(&self.dir.join("record.json"), &json)?)
    }

    /// What is known; `None` if it never came so far.
    pub fn record(&self) -> Option<Record> {
        serde_json::from_slice(&fs::read(self.dir.join("record.json")).ok()?).ok()
    }
}

/// The directory of an attempt, below that of all.
pub fn task(work_dir: &Path, attempt: &str) -> Task {
    Task { dir: work_dir.join(attempt) }
}
