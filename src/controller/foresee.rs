//! Reads the packages that a clone has before its remote is asked: most of them, if not all, are what the
//! remote has too.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use anyhow::Result;

use super::snapshot::SnapshotReader;
use crate::git::Repository;

/// The clone that a plan is made on if the remote does not answer.
#[derive(Debug)]
pub struct Fallback {
    clone: PathBuf,
    reading: Mutex<Option<JoinHandle<Option<Repository>>>>,
    /// As long as it is open, its packs stay mapped, for everybody who reads them.
    open: Mutex<Option<Repository>>,
}

impl Fallback {
    /// Begins to read what the clone has. The reader remembers it.
    #[must_use]
    pub fn begin(clone: &Path, reader: &Arc<SnapshotReader>) -> Self {
        let (place, reader) = (clone.to_owned(), reader.clone());
        // Only time is lost without it; what is wrong with the clone is told where it is needed.
        let reading = std::thread::spawn(move || read(&place, &reader).ok());
        Self { clone: clone.to_owned(), reading: Mutex::new(Some(reading)), open: Mutex::default() }
    }

    /// Where the clone is.
    #[must_use]
    pub fn clone_dir(&self) -> &Path {
        &self.clone
    }

    /// Waits until what the clone has is read.
    pub(super) async fn finished(&self) {
        let reading = self.reading.lock().expect("nobody panics with it").take();
        let Some(reading) = reading else { return };
        if let Ok(Ok(open)) = tokio::task::spawn_blocking(move || reading.join()).await {
            *self.open.lock().expect("nobody panics with it") = open;
        }
    }
}

fn read(clone: &Path, reader: &SnapshotReader) -> Result<Repository> {
    let git = Repository::open(clone)?;
    if let Some(commit) = git.resolve("HEAD")? {
        reader.remember(&git, git.tree_of(commit)?)?;
    }
    Ok(git)
}
