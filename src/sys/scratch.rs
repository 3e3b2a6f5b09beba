//! Directories for the work of one process, which end with it, however it ends.
//!
//! Each is locked by the process that made it. The lock goes with the process, also when it is killed, so the
//! next process can tell what is still worked in from what was left behind, and takes the latter away.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use tempfile::TempDir;

use super::fs::FsError;

/// How their names begin, so that nothing of anybody else is taken for one.
const PREFIX: &str = "pkgwarden-scratch-";

/// A directory that is removed when this is dropped, or by the next process if this one is killed.
#[derive(Debug)]
pub struct Scratch {
    // Before the lock, so that it is removed while it is locked.
    dir: TempDir,
    _lock: File,
}

impl Scratch {
    /// Makes one in `TMPDIR`, and removes those that dead processes of the same user left there.
    ///
    /// # Errors
    /// [`FsError`] if it cannot be made. What cannot be removed is only logged.
    pub fn new() -> Result<Self, FsError> {
        Self::within(&std::env::temp_dir())
    }

    /// Likewise in a directory that is there.
    ///
    /// # Errors
    /// As [`Scratch::new`].
    pub fn within(parent: &Path) -> Result<Self, FsError> {
        remove_abandoned(parent);
        Self::create(parent).map_err(|source| FsError::new("make a directory for temporary files in", parent, source))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    fn create(parent: &Path) -> io::Result<Self> {
        loop {
            let dir = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?;
            // Somebody may have taken it for abandoned before it was locked.
            let Some(lock) = unless_gone(File::open(dir.path()))? else { continue };
            lock.lock()?;
            if unless_gone(fs::metadata(dir.path()))?.is_some() {
                return Ok(Self { dir, _lock: lock });
            }
        }
    }
}

fn unless_gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// Removes what dead processes of the same user left in a directory. What cannot be removed is only logged: nobody works
/// in it any more, but something that such a process started may still write there.
pub fn remove_abandoned(parent: &Path) {
    let me = nix::unistd::geteuid().as_raw();
    for entry in fs::read_dir(parent).into_iter().flatten().filter_map(Result::ok) {
        let mine = |meta: fs::Metadata| meta.is_dir() && meta.uid() == me;
        if entry.file_name().to_string_lossy().starts_with(PREFIX)
            && fs::symlink_metadata(entry.path()).is_ok_and(mine)
            && let Err(error) = remove_if_abandoned(&entry.path())
        {
            let path = entry.path();
            tracing::warn!(path = %path.display(), %error, "cannot remove what a killed process left");
        }
    }
}

fn remove_if_abandoned(path: &Path) -> io::Result<()> {
    let Some(lock) = unless_gone(File::open(path))? else { return Ok(()) };
    match lock.try_lock() {
        Ok(()) => unless_gone(fs::remove_dir_all(path)).map(drop),
        Err(TryLockError::WouldBlock) => Ok(()),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is in a directory.
    fn count(dir: &Path) -> usize {
        fs::read_dir(dir).expect("read").count()
    }

    #[test]
    fn what_a_living_process_works_in_stays_and_what_a_dead_one_left_goes() {
        let parent = tempfile::tempdir().expect("dir");
        let living = Scratch::within(parent.path()).expect("made");
        fs::create_dir_all(parent.path().join("pkgwarden-scratch-dead/deep/er")).expect("made");
        let next = Scratch::within(parent.path()).expect("made");
        assert!(living.path().is_dir() && next.path().is_dir());
        assert_eq!(count(parent.path()), 2);
        drop((living, next));
        assert_eq!(count(parent.path()), 0);
    }

    #[test]
    fn nothing_of_anybody_else_is_removed() {
        let parent = tempfile::tempdir().expect("dir");
        let elsewhere = parent.path().join("elsewhere");
        fs::create_dir_all(elsewhere.join("kept")).expect("made");
        fs::create_dir(parent.path().join("pkgwarden-notes")).expect("made");
        fs::write(parent.path().join("pkgwarden-scratch-file"), "").expect("written");
        let link = parent.path().join("pkgwarden-scratch-link");
        std::os::unix::fs::symlink(&elsewhere, link).expect("linked");
        drop(Scratch::within(parent.path()).expect("made"));
        assert_eq!(count(parent.path()), 4);
        assert!(elsewhere.join("kept").is_dir());
    }

    #[test]
    fn many_that_begin_at_once_do_not_take_each_others_away() {
        let parent = tempfile::tempdir().expect("dir");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let scratch = Scratch::within(parent.path()).expect("made");
                        fs::write(scratch.path().join("file"), "x").expect("it is still there");
                    }
                });
            }
        });
        assert_eq!(count(parent.path()), 0);
    }

    #[test]
    fn where_it_cannot_be_made_the_place_is_named() {
        let parent = tempfile::tempdir().expect("dir");
        let error = Scratch::within(&parent.path().join("gone")).expect_err("not there").to_string();
        assert!(error.ends_with("/gone") && error.starts_with("cannot make a directory"), "{error}");
    }
}
