//! Reads a folder back that a program of a package has worked in: bounded, and through no link.
//!
//! Whether what was found may be part of the monorepo is for git's checks to say ([`crate::git`]).

use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use crate::domain::folder::{File, FileMode, Folder, OWN_ENTRIES};
use crate::sys::fs::FsError;

/// Files and folders that are looked at.
const MOST_ENTRIES: usize = 4_000;
/// Folders inside each other.
const DEEPEST: usize = 16;
/// Bytes of all files: 64 MiB.
const MOST_BYTES: u64 = 64 << 20;

/// Why a folder is not read back.
#[derive(Debug, thiserror::Error)]
pub enum HarvestError {
    /// Something cannot be read.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// Something that no package holds.
    #[error("`{}` is {what}", path.escape_debug())]
    Strange {
        /// Its path.
        path: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// More than anybody would put into a package.
    #[error("it holds more than {MOST_ENTRIES} files, {DEEPEST} folders in each other, or {} MiB", MOST_BYTES >> 20)]
    TooMuch,
}

/// The files in `dir`, without what belongs to the monorepo. Nothing may be working in it any more.
pub(super) fn harvest(dir: &Path) -> Result<Folder, HarvestError> {
    let mut harvest = Harvest { folder: Folder::default(), entries: MOST_ENTRIES, bytes: MOST_BYTES };
    harvest.take_in(dir, "", 0)?;
    Ok(harvest.folder)
}

struct Harvest {
    folder: Folder,
    /// How much more there may be.
    entries: usize,
    bytes: u64,
}

impl Harvest {
    fn take_in(&mut self, dir: &Path, prefix: &str, depth: usize) -> Result<(), HarvestError> {
        let failed = |source| FsError::new("read", dir, source);
        if depth > DEEPEST {
            return Err(HarvestError::TooMuch);
        }
        for entry in fs::read_dir(dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            self.entries = self.entries.checked_sub(1).ok_or(HarvestError::TooMuch)?;
            let name = entry.file_name().into_string().map_err(|name| HarvestError::Strange {
                path: format!("{prefix}{}", name.to_string_lossy()),
                what: "a name that is not UTF-8",
            })?;
            if prefix.is_empty() && OWN_ENTRIES.contains(&name.as_str()) {
                continue;
            }
            let (place, path) = (entry.path(), format!("{prefix}{name}"));
            let meta = fs::symlink_metadata(&place).map_err(|source| FsError::new("read", &place, source))?;
            if meta.is_dir() {
                self.take_in(&place, &format!("{path}/"), depth + 1)?;
            } else {
                let file = self.file(&place, &path, &meta)?;
                self.folder.files.insert(path, file);
            }
        }
        Ok(())
    }

    fn file(&mut self, place: &Path, path: &str, meta: &Metadata) -> Result<File, HarvestError> {
        let (mode, bytes) = if meta.is_symlink() {
            let target = fs::read_link(place).map_err(|source| FsError::new("read", place, source))?;
            (FileMode::Symlink, target.into_os_string().into_vec())
        } else if meta.is_file() {
            let executable = meta.permissions().mode() & 0o100 != 0;
            let mode = if executable { FileMode::Executable } else { FileMode::Regular };
            (mode, read(place, self.bytes).map_err(|source| FsError::new("read", place, source))?)
        } else {
            return Err(HarvestError::Strange { path: path.to_owned(), what: "neither a file nor a link" });
        };
        self.bytes = self.bytes.checked_sub(bytes.len() as u64).ok_or(HarvestError::TooMuch)?;
        Ok(File { mode, bytes: bytes.into() })
    }
}

/// At most one byte more than `limit`.
fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let flags = nix::fcntl::OFlag::O_NOFOLLOW | nix::fcntl::OFlag::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn files_and_links_are_read_as_they_are_and_the_monorepos_own_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["a/b", ".CI", ".git/objects"] {
            fs::create_dir_all(dir.path().join(path)).unwrap();
        }
        for path in ["PKGBUILD", "a/b/run", ".CI/config", ".git/HEAD", ".gitignore"] {
            fs::write(dir.path().join(path), path).unwrap();
        }
        fs::set_permissions(dir.path().join("a/b/run"), fs::Permissions::from_mode(0o4755)).unwrap();
        symlink("/etc/shadow", dir.path().join("link")).unwrap();
        let folder = harvest(dir.path()).unwrap();
        let found: Vec<_> = folder.files.iter().map(|(path, file)| (path.as_str(), file.mode, &*file.bytes)).collect();
        assert_eq!(
            found,
            [
                ("PKGBUILD", FileMode::Regular, &b"PKGBUILD"[..]),
                ("a/b/run", FileMode::Executable, b"a/b/run"),
                ("link", FileMode::Symlink, b"/etc/shadow"),
            ]
        );
    }

    #[test]
    fn what_no_package_holds_is_refused_and_nothing_is_waited_for() {
        let refused = |make: &dyn Fn(&Path)| {
            let dir = tempfile::tempdir().unwrap();
            make(dir.path());
            harvest(dir.path()).unwrap_err().to_string()
        };
        let fifo = |dir: &Path| nix::unistd::mkfifo(&dir.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(refused(&fifo), "`pipe` is neither a file nor a link");
        let name = |dir: &Path| {
            let name = std::ffi::OsString::from_vec(b"\xff".to_vec());
            fs::write(dir.join(name), "").unwrap();
        };
        assert!(refused(&name).ends_with("is a name that is not UTF-8"));
        let huge = |dir: &Path| fs::File::create(dir.join("hole")).unwrap().set_len(MOST_BYTES + 1).unwrap();
        let deep = |dir: &Path| fs::create_dir_all(dir.join(["d"; DEEPEST + 1].join("/"))).unwrap();
        for make in [&huge as &dyn Fn(&Path), &deep] {
            assert_eq!(refused(make), "it holds more than 4000 files, 16 folders in each other, or 64 MiB");
        }
    }
}
