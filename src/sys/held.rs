//! Files that are held while something is done with them.
//!
//! Whoever may write a directory may put something else under a name between two looks at it, such as a link to a file of
//! ours. What is held here stays the same file, whatever becomes of its name, and is never where a link leads.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

/// A file, directory or link that is held.
#[derive(Debug)]
pub struct Held(File);

impl Held {
    /// Holds whatever has this name, a link itself included. The directories on the way to it are the caller's.
    ///
    /// # Errors
    /// If there is nothing.
    pub fn whatever(path: &Path) -> io::Result<Self> {
        Self::open(path, OFlag::O_PATH | OFlag::O_NOFOLLOW)
    }

    /// Holds a directory.
    ///
    /// # Errors
    /// If there is none of this name.
    pub fn directory(path: &Path) -> io::Result<Self> {
        Self::open(path, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_DIRECTORY)
    }

    fn open(path: &Path, flags: OFlag) -> io::Result<Self> {
        OpenOptions::new().read(true).custom_flags(flags.bits()).open(path).map(Self)
    }

    /// What is held, and nothing that a link in it leads to.
    ///
    /// # Errors
    /// If the system does not tell.
    pub fn metadata(&self) -> io::Result<Metadata> {
        self.0.metadata()
    }

    /// A path to exactly this, as long as it is held. For a link it would lead on: look at [`Held::metadata`] first.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.0.as_raw_fd()).into()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn what_is_held_stays_the_same_whatever_becomes_of_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let (ours, name) = (dir.path().join("ours"), dir.path().join("name"));
        fs::create_dir(&ours).unwrap();
        fs::create_dir(&name).unwrap();
        fs::write(name.join("x"), "theirs").unwrap();
        let held = Held::directory(&name).unwrap();
        fs::rename(&name, dir.path().join("elsewhere")).unwrap();
        symlink(&ours, &name).unwrap();
        assert!(Held::directory(&name).is_err());
        assert!(Held::whatever(&name).unwrap().metadata().unwrap().is_symlink());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let before = mode(&ours);
        fs::set_permissions(held.path(), fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!((mode(&ours), mode(&dir.path().join("elsewhere"))), (before, 0o700));
        assert_eq!(fs::read_dir(held.path()).unwrap().count(), 1);
        assert_eq!(fs::read(held.path().join("x")).unwrap(), b"theirs");
    }
}
