//! Files that are whole or not there at all, and disks that are full.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::statvfs::statvfs;

use crate::domain::folder::{File, FileMode, Folder};

/// A file that could not be written or looked at.
#[derive(Debug, thiserror::Error)]
pub enum FsError {
    /// There is no room left.
    #[error("the disk is full: {} needs room on its file system; {free_text}", path.display(), free_text = free_text(*free))]
    DiskFull {
        /// What was to be written.
        path: PathBuf,
        /// Bytes that are free there.
        free: u64,
    },
    /// Anything else.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

fn free_text(bytes: u64) -> String {
    format!("{} MiB are free, so make room there or choose another folder", bytes >> 20)
}

impl FsError {
    /// Tells a full disk from other errors.
    pub fn new(action: &'static str, path: &Path, source: io::Error) -> Self {
        let full = matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        if full { Self::full(path) } else { Self::Io { action, path: path.to_owned(), source } }
    }

    /// For whom the system has told in other words that there is no room.
    #[must_use]
    pub fn full(path: &Path) -> Self {
        Self::DiskFull { path: path.to_owned(), free: free_space(path).unwrap_or(0) }
    }
}

/// Writes a file so that, whatever happens, readers find the old content or the new: into a temporary
/// file beside it, synced, then renamed over it, and the folder synced. Parents are created.
///
/// # Errors
/// [`FsError`]; the old content is then untouched.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), FsError> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(folder).map_err(|error| FsError::new("create the folder", folder, error))?;
    replace(folder, path, bytes).map_err(|error| FsError::new("write", path, error))
}

fn replace(folder: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    keep_mode(path, file.as_file())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    std::fs::File::open(folder)?.sync_all()
}

/// Gives the new file the permissions of the one it replaces, or those that a new file usually has
/// (temporary files are private).
fn keep_mode(old: &Path, new: &std::fs::File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let permissions = match std::fs::metadata(old) {
        Ok(metadata) => metadata.permissions(),
        Err(_) => std::fs::Permissions::from_mode(0o644),
    };
    new.set_permissions(permissions)
}

/// How long ago a file was last written; `None` if it is not there, or was written in the future.
#[must_use]
pub fn age(path: &Path) -> Option<Duration> {
    std::fs::metadata(path).ok()?.modified().ok()?.elapsed().ok()
}

/// How many bytes may still be written on the file system that holds `path`, which need not exist yet.
///
/// # Errors
/// What the system says.
pub fn free_space(path: &Path) -> io::Result<u64> {
    let there = path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("."));
    let stats = statvfs(there)?;
    Ok(stats.blocks_available() * stats.fragment_size())
}

/// Checks that there is room for `bytes` more where `path` is or will be.
///
/// # Errors
/// [`FsError::DiskFull`] if there is not.
pub fn ensure_free(path: &Path, bytes: u64) -> Result<(), FsError> {
    let free = free_space(path).map_err(|error| FsError::new("look at the file system of", path, error))?;
    if free < bytes { Err(FsError::DiskFull { path: path.to_owned(), free }) } else { Ok(()) }
}

/// Files and folders of a package that are looked at.
const MOST_ENTRIES: usize = 4_000;
/// Folders inside each other.
const DEEPEST: usize = 16;
/// Bytes of all files of a package: 64 MiB.
const MOST_BYTES: u64 = 64 << 20;

/// The files of a package folder that lies on this machine. Links are kept as links, and `.git` is passed
/// over. Nothing is waited for, and not more is read than a package holds.
///
/// # Errors
/// [`FsError`] if something cannot be read, is neither a file nor a link, or is more than anybody would put into a
/// package; or if a name is not UTF-8.
pub fn read_folder(dir: &Path) -> Result<Folder, FsError> {
    let mut reading = Reading { folder: Folder::default(), entries: MOST_ENTRIES, bytes: MOST_BYTES };
    reading.take_in(dir, "", 0)?;
    Ok(reading.folder)
}

struct Reading {
    folder: Folder,
    /// How much more there may be.
    entries: usize,
    bytes: u64,
}

impl Reading {
    fn take_in(&mut self, dir: &Path, prefix: &str, depth: usize) -> Result<(), FsError> {
        let failed = |source| FsError::new("read", dir, source);
        if depth > DEEPEST {
            return Err(failed(too_much()));
        }
        for entry in fs::read_dir(dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            self.entries = self.entries.checked_sub(1).ok_or_else(|| failed(too_much()))?;
            let name = entry.file_name().into_string();
            let name = name.map_err(|_| failed(invalid("a file name is not UTF-8".to_owned())))?;
            let (path, inside) = (entry.path(), format!("{prefix}{name}"));
            let meta = fs::symlink_metadata(&path).map_err(|source| FsError::new("read", &path, source))?;
            if meta.is_dir() {
                if name != ".git" {
                    self.take_in(&path, &format!("{inside}/"), depth + 1)?;
                }
                continue;
            }
            let file = self.file(&path, &meta).map_err(|source| FsError::new("read", &path, source))?;
            self.folder.files.insert(inside, file);
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, meta: &fs::Metadata) -> io::Result<File> {
        let (mode, bytes) = if meta.is_symlink() {
            (FileMode::Symlink, fs::read_link(path)?.into_os_string().into_encoded_bytes())
        } else if meta.is_file() {
            let executable = meta.permissions().mode() & 0o100 != 0;
            let mode = if executable { FileMode::Executable } else { FileMode::Regular };
            (mode, read_at_most(path, self.bytes)?)
        } else {
            return Err(invalid("it is neither a file nor a link".to_owned()));
        };
        self.bytes = self.bytes.checked_sub(bytes.len() as u64).ok_or_else(too_much)?;
        Ok(File { mode, bytes: bytes.into() })
    }
}

/// At most one byte more than `limit`, and nothing that something else would first have to write.
fn read_at_most(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let flags = nix::fcntl::OFlag::O_NOFOLLOW | nix::fcntl::OFlag::O_NONBLOCK;
    let file = fs::OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(invalid("it is neither a file nor a link".to_owned()));
    }
    if meta.len() > limit {
        return Err(too_much());
    }
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn too_much() -> io::Error {
    let megabytes = MOST_BYTES >> 20;
    invalid(format!(
        "the package holds more than {MOST_ENTRIES} files, {DEEPEST} folders in each other, or {megabytes} MiB"
    ))
}

fn invalid(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_nothing_else_is_left() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("deep/er/file");
        write_atomic(&path, b"one").expect("written");
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o644);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("mode");
        write_atomic(&path, b"two").expect("written");
        assert_eq!(std::fs::read(&path).expect("read"), b"two");
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path().join("deep/er")).expect("list").count(), 1);
    }

    #[test]
    fn when_it_fails_the_old_content_stays() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("folder");
        std::fs::create_dir(&path).expect("folder");
        let error = write_atomic(&path, b"x").expect_err("a folder is there");
        assert_eq!(error.to_string(), format!("cannot write {}", path.display()));
        assert!(path.is_dir());
        assert_eq!(std::fs::read_dir(dir.path()).expect("list").count(), 1);
    }

    #[test]
    fn a_full_disk_is_called_by_its_name() {
        let path = Path::new("/dev/full");
        let source = std::fs::write(path, b"x").expect_err("always full");
        let error = FsError::new("write", path, source);
        assert!(error.to_string().starts_with("the disk is full: /dev/full needs room"), "{error}");
    }

    #[test]
    fn there_is_never_room_for_everything() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("not/yet");
        assert!(free_space(&path).expect("free") > 0);
        ensure_free(&path, 1).expect("room for a byte");
        assert!(matches!(ensure_free(&path, u64::MAX), Err(FsError::DiskFull { .. })));
    }

    #[test]
    fn what_no_package_holds_is_refused_and_nothing_is_waited_for() {
        let refused = |make: &dyn Fn(&Path)| {
            let dir = tempfile::tempdir().expect("dir");
            std::fs::write(dir.path().join("PKGBUILD"), "x").expect("written");
            make(dir.path());
            let error = read_folder(dir.path()).expect_err("it is no package");
            std::error::Error::source(&error).expect("a cause").to_string()
        };
        let fifo = |dir: &Path| nix::unistd::mkfifo(&dir.join("x"), nix::sys::stat::Mode::S_IRWXU).expect("pipe");
        assert_eq!(refused(&fifo), "it is neither a file nor a link");
        let sparse = |dir: &Path| std::fs::File::create(dir.join("x")).expect("file").set_len(3 << 30).expect("length");
        let deep = |dir: &Path| std::fs::create_dir_all(dir.join(["d"; DEEPEST + 1].join("/"))).expect("folders");
        for make in [&sparse as &dyn Fn(&Path), &deep] {
            assert_eq!(refused(make), "the package holds more than 4000 files, 16 folders in each other, or 64 MiB");
        }
    }

    #[test]
    fn a_package_folder_is_read_with_its_links_and_modes() {
        let dir = tempfile::tempdir().expect("dir");
        std::fs::create_dir_all(dir.path().join("a/.git")).expect("folders");
        for path in ["PKGBUILD", "a/run", "a/.git/HEAD"] {
            std::fs::write(dir.path().join(path), path).expect("written");
        }
        std::fs::set_permissions(dir.path().join("a/run"), std::fs::Permissions::from_mode(0o755)).expect("mode");
        std::os::unix::fs::symlink("/dev/zero", dir.path().join("link")).expect("link");
        let folder = read_folder(dir.path()).expect("read");
        let modes: Vec<_> = folder.files.iter().map(|(path, file)| (path.as_str(), file.mode)).collect();
        let expected = [("PKGBUILD", FileMode::Regular), ("a/run", FileMode::Executable), ("link", FileMode::Symlink)];
        assert_eq!(modes, expected);
    }
}
