//! The record: runs, what they meant to do, builds and their attempts, in one `SQLite` database.
//!
//! Losing it loses history and nothing else. It decides nothing: states move through
//! [`crate::domain::build`], the order of builds comes from [`crate::domain::queue`].
//!
//! [`Store`] is a cheap handle that is cloned freely. `SQLite` has one writer at a time, so writes take
//! turns on one connection; reads of a file have connections of their own and see the last commit
//! (WAL). Each call runs on tokio's blocking threads and is one transaction: dropping the future does
//! not undo it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex as SyncMutex};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};
use tokio::sync::{Mutex, Semaphore, watch};

use crate::domain::build::IllegalTransition;
use crate::sys::fs::{FsError, ensure_free};

pub mod attempts;
pub mod builds;
pub mod cache;
pub mod deliveries;
mod enqueue;
pub mod events;
pub mod intents;
pub mod linkage;
pub mod outbox;
pub mod queries;
pub mod removals;
pub mod runs;
pub mod schedule;
pub mod schema;
mod settle;
mod sql;
pub mod statuses;
pub mod trials;

/// How long to wait for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// With less room than this, what cannot be written cannot because the disk is full: 256 KiB.
const LEAST_ROOM: u64 = 256 << 10;
/// Reads at the same time.
const READERS: usize = 4;

/// Why the record could not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Written by a later version of the program.
    #[error(
        "the record {path} has schema {found}, and this program knows schemas up to {known}: \
         install the version of pkgwarden that wrote it, or move the file away to start a new record"
    )]
    NewerSchema {
        /// The file.
        path: String,
        /// Its schema.
        found: u32,
        /// The newest schema of this program.
        known: u32,
    },
    /// The file cannot be opened.
    #[error("cannot open the record {path}")]
    Open {
        /// The file.
        path: String,
        /// What the database says.
        #[source]
        source: rusqlite::Error,
    },
    /// There is no room for it, or its directory cannot be made or written in.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// There is no such thing in the record.
    #[error("there is no {what} `{id}`")]
    NotFound {
        /// What kind of thing.
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// It cannot be done as things stand.
    #[error("{0}")]
    Refused(String),
    /// A state would have moved as no state may.
    #[error(transparent)]
    Illegal(#[from] IllegalTransition),
    /// A document that cannot be written or read as JSON.
    #[error("a document of the record is not what it should be")]
    Json(#[from] serde_json::Error),
    /// Reading or writing went wrong.
    #[error("the record cannot be used")]
    Sqlite(#[from] rusqlite::Error),
}

impl StoreError {
    /// Whether it is for the disk, or for who else is at the file: nothing was written, and the same call works once
    /// that is over.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        let (Self::Sqlite(source) | Self::Open { source, .. }) = self else { return matches!(self, Self::Fs(_)) };
        matches!(
            source.sqlite_error_code(),
            Some(
                ErrorCode::DiskFull
                    | ErrorCode::SystemIoFailure
                    | ErrorCode::CannotOpen
                    | ErrorCode::ReadOnly
                    | ErrorCode::DatabaseBusy
                    | ErrorCode::DatabaseLocked
                    | ErrorCode::OutOfMemory
            )
        )
    }

    /// Tells a full disk from other errors. Beside the file itself there has to be room for its journal and its
    /// index, about which `SQLite` says no more than that they cannot be written.
    fn or_disk_full(self, path: &Path) -> Self {
        let (Self::Sqlite(source) | Self::Open { source, .. }) = &self else { return self };
        let full = match source.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => true,
            Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen) => ensure_free(path, LEAST_ROOM).is_err(),
            _ => false,
        };
        if full { FsError::full(path).into() } else { self }
    }

    fn not_found(what: &'static str, id: &(impl ToString + ?Sized)) -> Self {
        Self::NotFound { what, id: id.to_string() }
    }
}

/// The record.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    writer: Arc<Mutex<Connection>>,
    /// `None` when the record is in memory: there is only the one connection then.
    readers: Option<Readers>,
    changes: watch::Sender<u64>,
}

#[derive(Debug)]
struct Readers {
    path: PathBuf,
    idle: SyncMutex<Vec<Connection>>,
    permits: Semaphore,
}

impl Store {
    /// Opens the record, creates it if it is not there, and brings its schema up to date.
    ///
    /// Blocks while migrations run.
    ///
    /// # Errors
    /// [`StoreError::NewerSchema`] if a later version of the program wrote it; [`StoreError::Open`] if it
    /// is not a database or not accessible.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_now(path).map_err(|error| error.or_disk_full(path))
    }

    fn open_now(path: &Path) -> Result<Self, StoreError> {
        let shown = path.display().to_string();
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).map_err(|source| FsError::new("create", directory, source))?;
        }
        let open = |source| StoreError::Open { path: shown.clone(), source };
        let _turn = turn_to_open(path).map_err(|source| FsError::new("write beside the record", path, source))?;
        let mut connection = Connection::open(path).map_err(open)?;
        prepare(&connection).map_err(open)?;
        schema::migrate(&mut connection, &shown)?;
        let readers =
            Readers { path: path.to_owned(), idle: SyncMutex::new(Vec::new()), permits: Semaphore::new(READERS) };
        Self::around(connection, Some(readers))
    }

    /// The record as it lies there, for somebody who must not write anything, not even beside it; `None` if there is
    /// none, or one of another version of the program.
    ///
    /// # Errors
    /// [`StoreError::Open`] if it is not a database or not accessible.
    pub fn peek(path: &Path) -> Result<Option<Self>, StoreError> {
        let Ok(mut uri) = path.canonicalize().map(url::Url::from_file_path) else { return Ok(None) };
        let open = |source| StoreError::Open { path: path.display().to_string(), source };
        if let Ok(uri) = &mut uri {
            // Where nobody has it open, there are no files of those who do, and none must be made.
            let wal = PathBuf::from(format!("{}-wal", path.display()));
            uri.set_query(Some(if wal.exists() { "mode=ro" } else { "immutable=1" }));
        }
        let uri = uri.map(String::from).unwrap_or_default();
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(uri, flags).map_err(open)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(open)?;
        let found: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(open)?;
        if found == schema::NEWEST { Self::around(connection, None).map(Some) } else { Ok(None) }
    }

    /// A record that vanishes with its last handle; for tests and one-shot commands.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`] if there is no memory for it.
    pub fn in_memory() -> Result<Self, StoreError> {
        let mut connection = Connection::open_in_memory()?;
        prepare(&connection)?;
        schema::migrate(&mut connection, ":memory:")?;
        Self::around(connection, None)
    }

    fn around(connection: Connection, readers: Option<Readers>) -> Result<Self, StoreError> {
        let changes = watch::Sender::new(events::last(&connection)?);
        Ok(Self { inner: Arc::new(Inner { writer: Arc::new(Mutex::new(connection)), readers, changes }) })
    }

    /// The number of the last event; it moves after a commit, when what changed can be read. Commits of
    /// other processes are seen with the next one of this process. It is also told, without having moved, that something is to
    /// be stopped: that is no event until it has.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.inner.changes.subscribe()
    }

    /// Tells subscribers of what is no event.
    fn tell(&self) {
        self.inner.changes.send_modify(|_| ());
    }

    /// Runs one transaction that may write, and tells subscribers after its commit.
    async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let mut connection = self.inner.writer.clone().lock_owned().await;
        let inner = Arc::clone(&self.inner);
        blocking(move || {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let answer = work(&transaction)?;
            let last = events::last(&transaction)?;
            transaction.commit()?;
            inner.changes.send_if_modified(|seen| std::mem::replace(seen, last) != last);
            Ok(answer)
        })
        .await
        .map_err(|error| self.or_disk_full(error))
    }

    /// Runs reads that belong together on one consistent view.
    async fn read<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let inner = Arc::clone(&self.inner);
        let Some(readers) = &self.inner.readers else {
            let connection = self.inner.writer.clone().lock_owned().await;
            return blocking(move || work(&connection)).await;
        };
        let _permit = readers.permits.acquire().await.expect("the semaphore is never closed");
        blocking(move || {
            let readers = inner.readers.as_ref().expect("looked at above");
            let mut connection = readers.take()?;
            let transaction = connection.transaction()?;
            let answer = work(&transaction);
            transaction.finish()?;
            readers.idle.lock().expect("no reader panics here").push(connection);
            answer
        })
        .await
        .map_err(|error| self.or_disk_full(error))
    }

    fn or_disk_full(&self, error: StoreError) -> StoreError {
        match &self.inner.readers {
            Some(readers) => error.or_disk_full(&readers.path),
            None => error,
        }
    }
}

impl Readers {
    fn take(&self) -> Result<Connection, StoreError> {
        if let Some(connection) = self.idle.lock().expect("no reader panics here").pop() {
            return Ok(connection);
        }
        let connection = Connection::open(&self.path)?;
        prepare(&connection)?;
        connection.pragma_update(None, "query_only", true)?;
        Ok(connection)
    }
}

async fn blocking<T, F>(work: F) -> Result<T, StoreError>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, StoreError> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(answer) => answer,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Held while a record is opened: `SQLite` does not wait for others while it changes the journal of a new
/// database, whatever the time limit.
fn turn_to_open(path: &Path) -> std::io::Result<std::fs::File> {
    let file = std::fs::File::create(path.with_extension("lock"))?;
    file.lock()?;
    Ok(file)
}

/// Sets what is kept per connection.
fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    // An intent has to be on the disk before the push it belongs to.
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.set_prepared_statement_cache_capacity(128);
    Ok(())
}

#[cfg(test)]
mod properties;
#[cfg(test)]
pub(crate) mod testing;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_a_later_version_is_refused_and_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sub/record.sqlite");
        drop(Store::open(&path).unwrap());
        Connection::open(&path).unwrap().pragma_update(None, "user_version", 999).unwrap();
        let error = Store::open(&path).unwrap_err();
        assert!(matches!(error, StoreError::NewerSchema { found: 999, .. }), "{error}");
        assert!(error.to_string().contains("record.sqlite"), "{error}");
        assert!(Store::open(&path).is_err());
    }

    #[tokio::test]
    async fn whoever_only_peeks_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a record?.sqlite");
        assert!(Store::peek(&path).unwrap().is_none());
        let store = Store::open(&path).unwrap();
        store.cache("etag", "1", testing::at(0)).await.unwrap();
        let seen = async || Store::peek(&path).unwrap().unwrap().cached("etag").await.unwrap();
        assert_eq!(seen().await.as_deref(), Some("1"), "somebody has it open");
        drop(store);
        let names = || std::fs::read_dir(directory.path()).unwrap().count();
        let before = names();
        assert_eq!(seen().await.as_deref(), Some("1"));
        assert_eq!(names(), before);
        Connection::open(&path).unwrap().pragma_update(None, "user_version", 999).unwrap();
        assert!(Store::peek(&path).unwrap().is_none());
    }

    #[test]
    fn several_may_open_a_new_record_at_once() {
        for _ in 0..20 {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("record.sqlite");
            let start = std::sync::Barrier::new(8);
            std::thread::scope(|scope| {
                let open = || {
                    start.wait();
                    Store::open(&path).map(drop)
                };
                let all: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
                for one in all {
                    one.join().unwrap().unwrap();
                }
            });
        }
    }

    #[test]
    fn what_is_not_a_database_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("record.sqlite");
        std::fs::write(&path, "this is a text of more than one hundred bytes, ".repeat(9)).unwrap();
        assert!(Store::open(&path).unwrap_err().to_string().contains("record.sqlite"));
    }

    #[tokio::test]
    async fn readers_see_what_was_committed_and_subscribers_are_told_after_it() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("record.sqlite")).unwrap();
        let mut changes = store.subscribe();
        let now = testing::at(0);
        let run = store.begin_run("repo", "on-commit", "a test", now).await.unwrap();
        assert!(changes.has_changed().unwrap());
        let seen = *changes.borrow_and_update();
        assert_eq!(store.events_after(0, 10).await.unwrap().last().unwrap().seq, seen);
        let readers = (0..20).map(|_| {
            tokio::spawn({
                let (store, run) = (store.clone(), run.clone());
                async move { store.run(&run).await }
            })
        });
        for reader in readers.collect::<Vec<_>>() {
            assert_eq!(reader.await.unwrap().unwrap().unwrap().id, run);
        }
    }

    #[tokio::test]
    async fn a_failed_transaction_leaves_nothing_behind_and_tells_nobody() {
        let store = Store::in_memory().unwrap();
        let changes = store.subscribe();
        let failed: Result<(), _> = store
            .write(|tx| {
                tx.execute("INSERT INTO cache (key, value, updated_at) VALUES ('a', 'b', 0)", [])?;
                Err(StoreError::Refused("no".into()))
            })
            .await;
        assert!(failed.is_err());
        assert!(!changes.has_changed().unwrap());
        assert_eq!(store.cached("a").await.unwrap(), None);
    }
}
