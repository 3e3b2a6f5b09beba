//! Logs of builds: one append-only file of bytes per attempt.
//!
//! A place in a log is a byte offset. A writer writes, then tells; a reader reads at its own offset up
//! to the length it was told, so a slow reader costs one number and never slows the writer. What the
//! bytes mean (encoding, colours, lines) is the business of whoever shows them.
//!
//! Every call works on local files and is short; none of them waits for another one's disk.

mod writer;

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::watch;

use crate::sys::fs::{FsError, write_atomic};

pub use writer::LogWriter;

/// The size at which a log is cut off, unless another one is set: 64 MiB.
pub const DEFAULT_LIMIT: u64 = 64 << 20;

/// The most that one [`LogStore::read`] returns: 1 MiB.
pub const MAX_READ: usize = 1 << 20;

/// How far a log has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogPosition {
    /// Bytes that can be read now.
    pub len: u64,
    /// The length it ends with, once nothing more will come. A reader is done exactly when its offset
    /// is this.
    pub final_len: Option<u64>,
}

/// A log that cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file system said no.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// The id of an attempt would lead out of the log directory.
    #[error("`{0}` cannot name a log: only letters, digits and `._+@-` are allowed, and no dot at the start")]
    BadName(String),
    /// The log has ended.
    #[error("the log of attempt {0} has ended; nothing can be added to it")]
    Finished(String),
    /// Somebody else writes this log.
    #[error("the log of attempt {0} is being written already")]
    Busy(String),
    /// The log is as long as a log may be. What came before stays readable.
    #[error("the log reached its limit of {limit} bytes")]
    LimitReached {
        /// The limit in bytes.
        limit: u64,
    },
}

/// The logs under one directory. Clones share everything.
#[derive(Debug, Clone)]
pub struct LogStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    limit: u64,
    live: Mutex<HashMap<String, Live>>,
}

/// A log that somebody writes, or waits for.
#[derive(Debug)]
struct Live {
    sender: watch::Sender<LogPosition>,
    has_writer: bool,
}

impl LogStore {
    /// Opens the logs under `dir`, which is created if needed, each at most [`DEFAULT_LIMIT`] long.
    pub fn new(dir: impl Into<PathBuf>) -> Result<Self, LogError> {
        Self::with_limit(dir, DEFAULT_LIMIT)
    }

    /// As [`LogStore::new`], with another limit in bytes.
    pub fn with_limit(dir: impl Into<PathBuf>, limit: u64) -> Result<Self, LogError> {
        let dir = dir.into();
        fs::create_dir_all(&dir).map_err(|error| FsError::new("create the folder", &dir, error))?;
        Ok(Self { inner: Arc::new(Inner { dir, limit, live: Mutex::default() }) })
    }

    /// Starts to write the log of an attempt, or goes on where an earlier process stopped.
    pub fn writer(&self, attempt: &str) -> Result<LogWriter, LogError> {
        let path = self.path(attempt)?;
        if self.final_len(attempt)?.is_some() {
            return Err(LogError::Finished(attempt.to_owned()));
        }
        let mut live = self.live();
        let entry = live.entry(attempt.to_owned()).or_insert_with(Live::new);
        if entry.has_writer {
            return Err(LogError::Busy(attempt.to_owned()));
        }
        let io = |error| FsError::new("open the log", &path, error);
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(io)?;
        let len = file.metadata().map_err(io)?.len();
        entry.has_writer = true;
        entry.sender.send_replace(LogPosition { len, final_len: None });
        drop(live);
        Ok(LogWriter::new(self.clone(), attempt.to_owned(), path, file, len))
    }

    /// How far the log of an attempt has come; a log nobody has begun is empty and open.
    pub fn position(&self, attempt: &str) -> Result<LogPosition, LogError> {
        if let Some(entry) = self.live().get(attempt).filter(|entry| entry.has_writer) {
            return Ok(*entry.sender.borrow());
        }
        if let Some(len) = self.final_len(attempt)? {
            return Ok(LogPosition { len, final_len: Some(len) });
        }
        let path = self.path(attempt)?;
        match fs::metadata(&path) {
            Ok(metadata) => Ok(LogPosition { len: metadata.len(), final_len: None }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(LogPosition::default()),
            Err(error) => Err(FsError::new("read the log", &path, error).into()),
        }
    }

    /// The bytes from `offset` on, at most `max` of them and at most [`MAX_READ`]; nothing if the log
    /// has not come that far.
    pub fn read(&self, attempt: &str, offset: u64, max: usize) -> Result<Vec<u8>, LogError> {
        let available = self.position(attempt)?.len.saturating_sub(offset);
        let wanted = max.min(MAX_READ).min(usize::try_from(available).unwrap_or(MAX_READ));
        if wanted == 0 {
            return Ok(Vec::new());
        }
        let path = self.path(attempt)?;
        let mut bytes = vec![0; wanted];
        let read = File::open(&path).and_then(|file| file.read_exact_at(&mut bytes, offset));
        read.map_err(|error| FsError::new("read the log", &path, error))?;
        Ok(bytes)
    }

    /// Follows the position of a log, also one that nobody has begun. The last value seen of a log that
    /// ends has its `final_len`; after that the channel closes.
    pub fn subscribe(&self, attempt: &str) -> Result<watch::Receiver<LogPosition>, LogError> {
        self.path(attempt)?;
        let mut live = self.live();
        live.retain(|name, entry| name == attempt || entry.is_needed());
        let news = live.entry(attempt.to_owned()).or_insert_with(Live::new).sender.subscribe();
        drop(live);
        // Whoever ends the log writes its end first and tells second, so this order misses neither.
        let position = self.position(attempt)?;
        if position.final_len.is_some() {
            return Ok(watch::channel(position).1);
        }
        self.announce(attempt, position.len);
        Ok(news)
    }

    /// Ends the log of an attempt where it stands, whoever wrote it: for logs whose writer is gone. The
    /// one who holds a [`LogWriter`] calls [`LogWriter::finish`].
    pub fn finish(&self, attempt: &str) -> Result<LogPosition, LogError> {
        let position = self.position(attempt)?;
        if position.final_len.is_some() {
            return Ok(position);
        }
        let path = self.end_path(attempt)?;
        let end = LogPosition { len: position.len, final_len: Some(position.len) };
        write_atomic(&path, position.len.to_string().as_bytes())?;
        if let Some(entry) = self.live().remove(attempt) {
            entry.sender.send_replace(end);
        }
        Ok(end)
    }

    /// Adds a line of ours behind the end of a log: what became of the build after it. Whoever followed the log to its end
    /// does not hear of it.
    ///
    /// # Errors
    /// If it has not ended, or cannot be written.
    pub fn amend(&self, attempt: &str, text: &str) -> Result<(), LogError> {
        let Some(end) = self.final_len(attempt)? else { return Err(LogError::Busy(attempt.to_owned())) };
        let path = self.path(attempt)?;
        let line = format!("==> {text}\n");
        let written = OpenOptions::new().write(true).open(&path).and_then(|file| {
            // What an earlier try left behind the end does not count.
            file.write_all_at(line.as_bytes(), end)?;
            file.sync_data()
        });
        written.map_err(|error| FsError::new("write the log", &path, error))?;
        write_atomic(&self.end_path(attempt)?, (end + line.len() as u64).to_string().as_bytes())?;
        Ok(())
    }

    /// Removes the log of an attempt, which nobody writes or reads any more.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub fn remove(&self, attempt: &str) -> Result<(), LogError> {
        let paths = [self.end_path(attempt)?, self.path(attempt)?];
        self.live().remove(attempt);
        for path in paths {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(FsError::new("remove the log", &path, error).into());
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes all logs but those of these attempts; nobody may write or read them.
    ///
    /// # Errors
    /// If one cannot be removed.
    pub fn keep_only(&self, attempts: &BTreeSet<String>) -> Result<(), LogError> {
        let failed = |error| FsError::new("clear", &self.inner.dir, error);
        for entry in fs::read_dir(&self.inner.dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let attempt = name.strip_suffix(".end").unwrap_or(&name).strip_suffix(".log");
            if !attempt.is_some_and(|attempt| attempts.contains(attempt)) {
                fs::remove_file(entry.path()).map_err(failed)?;
            }
        }
        Ok(())
    }

    /// Tells everybody who follows the log that it has come to `len`.
    fn announce(&self, attempt: &str, len: u64) {
        if let Some(entry) = self.live().get(attempt) {
            entry.sender.send_if_modified(|position| {
                let news = position.len < len;
                position.len = position.len.max(len);
                news
            });
        }
    }

    fn release(&self, attempt: &str) {
        let mut live = self.live();
        if let Some(entry) = live.get_mut(attempt) {
            entry.has_writer = false;
            if !entry.is_needed() {
                live.remove(attempt);
            }
        }
    }

    fn final_len(&self, attempt: &str) -> Result<Option<u64>, LogError> {
        let path = self.end_path(attempt)?;
        match fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().map(Some).map_err(|error| {
                let error = io::Error::new(io::ErrorKind::InvalidData, error);
                FsError::new("read the length of the log in", &path, error).into()
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(FsError::new("read the log", &path, error).into()),
        }
    }

    fn path(&self, attempt: &str) -> Result<PathBuf, LogError> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._+@-".contains(&byte);
        let fits = (1..=200).contains(&attempt.len()) && !attempt.starts_with('.');
        if !fits || !attempt.bytes().all(legal) {
            return Err(LogError::BadName(attempt.to_owned()));
        }
        Ok(self.inner.dir.join(format!("{attempt}.log")))
    }

    fn end_path(&self, attempt: &str) -> Result<PathBuf, LogError> {
        self.path(attempt).map(|path| path.with_added_extension("end"))
    }

    fn limit(&self) -> u64 {
        self.inner.limit
    }

    fn live(&self) -> MutexGuard<'_, HashMap<String, Live>> {
        self.inner.live.lock().expect("nobody panics while holding the map of live logs")
    }
}

impl Live {
    fn new() -> Self {
        Self { sender: watch::Sender::new(LogPosition::default()), has_writer: false }
    }

    fn is_needed(&self) -> bool {
        self.has_writer || self.sender.receiver_count() > 0
    }
}

#[cfg(test)]
mod tests;
