//! Objects: files under the SHA-256 of their content, that never change.

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions, TryLockError};
use std::io::{self, Seek as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::archive::{Content, Packed};
use super::{CacheError, Entry, create_dir};
use crate::sys::fs::FsError;

/// Where archives are while they are written.
const INCOMING: &str = "incoming";
/// Where they are then.
const OBJECTS: &str = "objects";
/// How their names end.
const EXTENSION: &str = "tar.zst";

/// An archive that a build holds: nobody removes it meanwhile.
#[derive(Debug)]
pub struct Leased {
    /// What it is.
    pub entry: Entry,
    /// Its object, open for reading and locked.
    pub object: File,
    /// Where the object is.
    pub path: PathBuf,
}

impl Leased {
    /// Gives the object another name, at which it stays whatever becomes of the archive; a copy where that cannot be.
    ///
    /// # Errors
    /// If the disk says no, or there is something of that name: it may be an object, and nothing is written over it.
    pub fn give(&self, to: &Path) -> Result<(), FsError> {
        let given = match fs::hard_link(&self.path, to) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => self.copy(to),
            linked => linked,
        };
        given.map_err(|error| FsError::new("write", to, error))
    }

    /// Copies what was verified into a file of its own.
    fn copy(&self, to: &Path) -> io::Result<()> {
        let mut copy = File::create_new(to)?;
        let mut object = &self.object;
        object.rewind()?;
        io::copy(&mut object, &mut copy)?;
        copy.set_permissions(Permissions::from_mode(0o644))
    }
}

/// An archive that nobody finds yet. It is removed when it is dropped.
#[derive(Debug)]
pub struct Staged {
    file: NamedTempFile,
    /// The SHA-256 of its object, in hexadecimal.
    pub sha256: String,
    /// The size of its object in bytes.
    pub size: u64,
    /// What it holds.
    pub content: Content,
}

impl Staged {
    /// Writes an object aside and flushes it, in a file whose name begins so.
    pub(super) fn write(
        dir: &Path,
        owner: &str,
        write: impl FnOnce(&File) -> Result<Packed, CacheError>,
    ) -> Result<Self, CacheError> {
        let above = dir.join(INCOMING);
        let failed = |error| FsError::new("write in", &above, error);
        let file = {
            // Whoever opens the caches removes what nobody has locked, but not between these two steps.
            let _entering = gate(dir, File::lock_shared)?;
            let file = NamedTempFile::with_prefix_in(owner, &above).map_err(failed)?;
            file.as_file().lock().map_err(failed)?;
            file
        };
        let Packed { sha256, size, content } = write(file.as_file())?;
        file.as_file().set_permissions(Permissions::from_mode(0o644)).map_err(failed)?;
        file.as_file().sync_all().map_err(failed)?;
        Ok(Self { file, sha256, size, content })
    }

    /// Puts the object in its place.
    pub(super) fn put(self, dir: &Path) -> Result<(), FsError> {
        let to = path(dir, &self.sha256);
        let above = to.parent().expect("an object is in a directory");
        create_dir(above)?;
        let failed = |error| FsError::new("write", &to, error);
        self.file.persist(&to).map_err(|error| failed(error.error))?;
        File::open(above).and_then(|above| above.sync_all()).map_err(failed)
    }
}

/// Where an object is.
pub fn path(dir: &Path, sha256: &str) -> PathBuf {
    dir.join(OBJECTS).join(&sha256[..2]).join(format!("{sha256}.{EXTENSION}"))
}

/// Makes the directories, and removes what was being written by whoever is gone.
pub fn prepare(dir: &Path) -> Result<(), FsError> {
    let incoming = dir.join(INCOMING);
    create_dir(&incoming)?;
    create_dir(&dir.join(OBJECTS))?;
    // What is kept here may hold what only this user may read. Builds are given single objects.
    let closed = fs::set_permissions(dir, Permissions::from_mode(0o700));
    closed.map_err(|error| FsError::new("close", dir, error))?;
    let failed = |error| FsError::new("clean", &incoming, error);
    let _alone = gate(dir, File::lock)?;
    for entry in fs::read_dir(&incoming).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        remove_unlocked(&path).map_err(failed)?;
    }
    Ok(())
}

/// The bytes of all that is being written, or is written and not in its place, in files whose names begin so.
pub fn incoming(dir: &Path, owner: &str) -> Result<u64, FsError> {
    let incoming = dir.join(INCOMING);
    let failed = |error| FsError::new("look into", &incoming, error);
    let mut bytes = 0;
    for entry in fs::read_dir(&incoming).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if !entry.file_name().to_string_lossy().starts_with(owner) {
            continue;
        }
        match entry.metadata() {
            Ok(metadata) => bytes += metadata.len(),
            // It has been put in its place, or given up.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(bytes)
}

/// Holds the lock of the directory for archives that are being written, until it is dropped.
fn gate(dir: &Path, lock: impl FnOnce(&File) -> io::Result<()>) -> Result<File, FsError> {
    let path = dir.join("incoming.lock");
    let opened = File::options().write(true).create(true).truncate(false).open(&path);
    let locked = opened.and_then(|file| lock(&file).map(|()| file));
    locked.map_err(|error| FsError::new("lock", &path, error))
}

/// Opens an object and keeps it from being removed.
pub fn lease(dir: &Path, sha256: &str) -> io::Result<File> {
    let file = File::open(path(dir, sha256))?;
    file.lock_shared()?;
    Ok(file)
}

/// Whether somebody holds an object.
pub fn is_leased(dir: &Path, sha256: &str) -> bool {
    File::open(path(dir, sha256)).is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
}

/// Removes an object, whoever holds it.
pub fn remove(dir: &Path, sha256: &str) -> Result<(), FsError> {
    let path = path(dir, sha256);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(FsError::new("remove", &path, error)),
        _ => Ok(()),
    }
}

/// Removes all objects but these and those that somebody holds, and says how many with how many bytes.
pub fn sweep(dir: &Path, named: &BTreeSet<String>) -> Result<(usize, u64), FsError> {
    let all = dir.join(OBJECTS);
    let failed = |error| FsError::new("clean", &all, error);
    let (mut count, mut bytes) = (0, 0);
    for above in fs::read_dir(&all).map_err(failed)? {
        for object in fs::read_dir(above.map_err(failed)?.path()).map_err(failed)? {
            let object = object.map_err(failed)?;
            let name = object.file_name().to_string_lossy().into_owned();
            if name.strip_suffix(EXTENSION).is_some_and(|name| named.contains(name.trim_end_matches('.'))) {
                continue;
            }
            let size = object.metadata().map_err(failed)?.len();
            if remove_unlocked(&object.path()).map_err(failed)? {
                count += 1;
                bytes += size;
            }
        }
    }
    Ok((count, bytes))
}

/// Whether it was there to be removed.
fn remove_unlocked(path: &Path) -> io::Result<bool> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    match file.try_lock() {
        Ok(()) => fs::remove_file(path).map(|()| true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}
