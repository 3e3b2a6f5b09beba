//! One run at a time for a repository, also between processes that share a data directory: a second
//! one would take the intent of the first for that of a process that died, and drop it.
//!
//! Not here: that only one process serves a data directory ([`crate::app`]).

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::sys::fs::FsError;

/// How often it is tried again while another process has its turn.
const PAUSE: Duration = Duration::from_millis(100);

/// What runs on one repository wait for.
#[derive(Debug, Clone, Default)]
pub(super) struct Turns {
    here: Arc<Mutex<()>>,
    file: Option<PathBuf>,
}

/// The right to run; ends when it is dropped, and with the process however that ends.
pub(super) struct Turn {
    _here: OwnedMutexGuard<()>,
    _file: Option<File>,
}

impl Turns {
    /// Turns that processes take between them by locking this file.
    pub(super) fn by_file(path: PathBuf) -> Self {
        Self { here: Arc::default(), file: Some(path) }
    }

    /// Waits for a turn.
    pub(super) async fn take(&self) -> Result<Turn, FsError> {
        let here = self.here.clone().lock_owned().await;
        let file = match &self.file {
            Some(path) => Some(locked(path).await?),
            None => None,
        };
        Ok(Turn { _here: here, _file: file })
    }
}

async fn locked(path: &Path) -> Result<File, FsError> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|source| FsError::new("create", folder, source))?;
    }
    let file = File::create(path).map_err(|source| FsError::new("open", path, source))?;
    let mut told = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(source)) => return Err(FsError::new("lock", path, source)),
            Err(TryLockError::WouldBlock) if !told => {
                tracing::info!(lock = %path.display(), "another process runs on this repository; waiting for it");
                told = true;
            }
            Err(TryLockError::WouldBlock) => {}
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn another_process_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("runs/packages.lock");
        let (ours, theirs) = (Turns::by_file(path.clone()), Turns::by_file(path));
        let turn = theirs.take().await.unwrap();
        assert!(ours.take().now_or_never().is_none(), "it is not our turn yet");
        drop(turn);
        ours.take().await.unwrap();
    }
}
