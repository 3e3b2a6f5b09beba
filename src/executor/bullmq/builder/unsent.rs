//! Builds that have ended on this machine, and of which the controller does not have everything yet. They outlive the
//! builder: one that is started in its place brings them when they are handed out to it again, and builds nothing twice.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use crate::sys::fs::{FsError, write_atomic};

/// Which builds these are: a file for each that was begun, with where its log begins for the controller.
#[derive(Debug)]
pub struct Unsent {
    dir: PathBuf,
    left: Mutex<BTreeMap<String, u64>>,
}

impl Unsent {
    /// Those that an earlier process left and that have `ended`. Of others, what is noted goes.
    ///
    /// # Errors
    /// If the directory cannot be read or written.
    pub fn open(dir: PathBuf, ended: &BTreeSet<String>) -> Result<Self, FsError> {
        let failed = |error| FsError::new("sort out", &dir, error);
        fs::create_dir_all(&dir).map_err(failed)?;
        let mut left = BTreeMap::new();
        for entry in fs::read_dir(&dir).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            match noted(&path).filter(|(attempt, _)| ended.contains(attempt)) {
                Some((attempt, begins)) => drop(left.insert(attempt, begins)),
                None => fs::remove_file(&path).map_err(failed)?,
            }
        }
        Ok(Self { dir, left: Mutex::new(left) })
    }

    /// All that an earlier process left and that nobody has asked for.
    #[must_use]
    pub fn left(&self) -> BTreeSet<String> {
        self.waiting().keys().cloned().collect()
    }

    /// Where the log begins of one that an earlier process left, which is seen to from now on.
    pub(super) fn take(&self, attempt: &str) -> Option<u64> {
        self.waiting().remove(attempt)
    }

    /// Notes that one is begun, and where its log begins.
    pub(super) fn begin(&self, attempt: &str, begins: u64) -> Result<(), FsError> {
        write_atomic(&self.dir.join(attempt), begins.to_string().as_bytes())
    }

    /// Whether one was begun here, and the controller does not have everything of it.
    pub(super) fn has(&self, attempt: &str) -> bool {
        noted(&self.dir.join(attempt)).is_some()
    }

    /// Forgets one of which nothing is left here.
    pub(super) fn forget(&self, attempt: &str) -> Result<(), FsError> {
        self.waiting().remove(attempt);
        let path = self.dir.join(attempt);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(FsError::new("remove", &path, error)),
            _ => Ok(()),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.left.lock().expect("nobody panics while holding the map of builds")
    }
}

fn noted(path: &Path) -> Option<(String, u64)> {
    let begins = fs::read_to_string(path).ok()?.parse().ok()?;
    Some((path.file_name()?.to_str()?.to_owned(), begins))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_ended_is_left_and_each_is_taken_once() {
        let dir = tempfile::tempdir().unwrap();
        let open = |ended: &[&str]| Unsent::open(dir.path().join("u"), &ended.iter().map(|&id| id.into()).collect());
        let before = open(&[]).unwrap();
        for (attempt, begins) in [("a", 7), ("b", 0), ("c", 0)] {
            before.begin(attempt, begins).unwrap();
        }
        before.forget("c").unwrap();
        assert_eq!((before.take("a"), before.has("a"), before.has("c")), (None, true, false), "it is under way");
        let after = open(&["a", "c"]).unwrap();
        assert_eq!(after.left(), ["a".to_owned()].into());
        assert_eq!((after.take("a"), after.take("a"), after.has("a"), after.has("b")), (Some(7), None, true, false));
        after.forget("a").unwrap();
        assert_eq!(open(&["a"]).unwrap().left(), BTreeSet::new());
    }
}
