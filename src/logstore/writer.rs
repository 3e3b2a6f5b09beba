//! The writing end of one log.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use crate::sys::fs::FsError;

use super::{LogError, LogPosition, LogStore};

/// Adds to one log. Dropping it leaves the log open, to be gone on with or ended later.
#[derive(Debug)]
pub struct LogWriter {
    store: LogStore,
    attempt: String,
    path: PathBuf,
    file: File,
    len: u64,
    /// The limit was reached and its marker written.
    cut: bool,
}

impl LogWriter {
    pub(super) fn new(store: LogStore, attempt: String, path: PathBuf, file: File, len: u64) -> Self {
        // An earlier writer went beyond the limit only to say that it was reached.
        let cut = len > store.limit();
        Self { store, attempt, path, file, len, cut }
    }

    /// Whose log it is.
    #[must_use]
    pub fn attempt(&self) -> &str {
        &self.attempt
    }

    /// How long the log is, in bytes.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.len
    }

    /// Adds what a build printed. At the limit as much as fits is kept, a line that says so follows, and
    /// the build has to be stopped.
    ///
    /// # Errors
    /// [`LogError::LimitReached`], then and at every later call; [`LogError::Fs`].
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), LogError> {
        let limit = self.store.limit();
        if self.cut {
            return Err(LogError::LimitReached { limit });
        }
        let room = usize::try_from(limit.saturating_sub(self.len)).unwrap_or(usize::MAX);
        if bytes.len() <= room {
            return self.append(bytes);
        }
        self.cut = true;
        let marker = format!("\n==> the log reached its limit of {limit} bytes; the rest is not kept\n");
        self.append(&[&bytes[..room], marker.as_bytes()].concat())?;
        Err(LogError::LimitReached { limit })
    }

    /// Adds a line of the controller's own, which the limit does not stop, starting a new line first if
    /// the build left one unfinished.
    pub fn note(&mut self, text: &str) -> Result<(), LogError> {
        let unfinished = self.len > 0 && self.last_byte()? != b'\n';
        let line = format!("{}==> {text}\n", if unfinished { "\n" } else { "" });
        self.append(line.as_bytes())
    }

    /// Ends the log: its length is durable before anybody is told.
    pub fn finish(self) -> Result<LogPosition, LogError> {
        self.file.sync_data().map_err(|error| FsError::new("write the log", &self.path, error))?;
        self.store.finish(&self.attempt)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), LogError> {
        let written = self.file.write_all(bytes);
        // After a short write (full disk) the file decides how long the log is.
        self.len = match written {
            Ok(()) => self.len + bytes.len() as u64,
            Err(_) => self.file.metadata().map_or(self.len, |metadata| metadata.len()),
        };
        self.store.announce(&self.attempt, self.len);
        Ok(written.map_err(|error| FsError::new("write the log", &self.path, error))?)
    }

    fn last_byte(&self) -> Result<u8, LogError> {
        Ok(self.store.read(&self.attempt, self.len - 1, 1)?.first().copied().unwrap_or(b'\n'))
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        self.store.release(&self.attempt);
    }
}
