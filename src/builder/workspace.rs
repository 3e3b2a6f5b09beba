//! The directory of one attempt on this machine.
//!
//! `tree/` is what the build works in and is removed when it ends; `artefacts/` is what it made, which
//! only the controller can write, and stays until somebody took it.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::domain::folder::{FileMode, Folder};
use crate::sys::fs::FsError;
use crate::sys::held::Held;

use super::user::BuildUser;

/// A PKGBUILD longer than this is not read back: 16 MiB.
const MAX_PKGBUILD: u64 = 16 << 20;

/// What pacman's keyring consists of, beside secret keys.
const KEYRING_FILES: [&str; 4] = ["gpg.conf", "pubring.gpg", "pubring.kbx", "trustdb.gpg"];

/// Directories the build may write, all inside `tree/`.
const WRITABLE: [&str; 13] = [
    "start",
    "build",
    "pkgdest",
    "srcdest",
    "gnupg",
    "home",
    "tmp",
    "requests",
    "root",
    "root/usr",
    "root/var/lib/pacman/sync",
    "root/var/cache/pacman/pkg",
    "root/var/log",
];

/// The directories of one attempt.
#[derive(Debug, Clone)]
pub struct Workspace {
    dir: PathBuf,
    user: BuildUser,
}

/// A package folder that cannot be written out.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// The file system said no.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// A path that leads out of the folder, or through a file.
    #[error("`{0}` cannot be a file of a package folder")]
    BadPath(String),
    /// A submodule, which has no content.
    #[error("`{0}` is a git submodule, which a package folder cannot hold")]
    Submodule(String),
}

impl Workspace {
    /// Creates the directories of an attempt under `dir`, in place of what an earlier process left there.
    pub fn create(dir: PathBuf, user: BuildUser) -> Result<Self, FsError> {
        let workspace = Self { dir, user };
        workspace.remove()?;
        make_enterable(&workspace.tree()).map_err(|error| workspace.error("create", error))?;
        for name in WRITABLE {
            let path = workspace.tree().join(name);
            make_all(&path, &workspace.tree(), &|path| workspace.user.own(path))
                .map_err(|error| FsError::new("create", &path, error))?;
        }
        let keyring = workspace.path("gnupg");
        // gpg warns about any other.
        let closed = fs::set_permissions(&keyring, Permissions::from_mode(0o700));
        closed.map_err(|error| FsError::new("close", &keyring, error))?;
        Ok(workspace)
    }

    /// The directories of an attempt that has them already, to be removed.
    #[must_use]
    pub fn at(dir: PathBuf, user: BuildUser) -> Self {
        Self { dir, user }
    }

    /// What the build works in.
    #[must_use]
    pub fn tree(&self) -> PathBuf {
        self.dir.join("tree")
    }

    /// One of the directories of the tree.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.tree().join(name)
    }

    /// What the build made.
    #[must_use]
    pub fn artefacts(&self) -> PathBuf {
        self.dir.join("artefacts")
    }

    /// Writes the files of a package into `start`.
    pub fn write_package(&self, folder: &Folder) -> Result<(), WorkspaceError> {
        write_folder(folder, &self.path("start"), |path| self.user.own(path))
    }

    /// Writes a configuration file the build can read but not change.
    pub fn write_config(&self, name: &str, text: &str) -> Result<(), FsError> {
        let path = self.path("etc").join(name);
        let written = make_enterable(&self.path("etc")).and_then(|()| write_new(&path, text.as_bytes(), 0o644));
        written.map_err(|error| FsError::new("write", &path, error))
    }

    /// Reads the PKGBUILD as it is now; `None` if it is not an ordinary file.
    pub fn pkgbuild(&self) -> Result<Option<Vec<u8>>, FsError> {
        self.read("start/PKGBUILD")
    }

    /// Takes away what a program of the build printed into `pkgdest/printed`; `None` if that is no ordinary
    /// file, or is empty.
    pub fn take_printed(&self) -> Result<Option<Vec<u8>>, FsError> {
        let bytes = self.read("pkgdest/printed")?;
        let path = self.path("pkgdest/printed");
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(FsError::new("remove", &path, error)),
            _ => Ok(bytes.filter(|bytes| !bytes.is_empty())),
        }
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, FsError> {
        let path = self.path(name);
        let flags = nix::fcntl::OFlag::O_NOFOLLOW | nix::fcntl::OFlag::O_NONBLOCK;
        let Ok(file) = OpenOptions::new().read(true).custom_flags(flags.bits()).open(&path) else { return Ok(None) };
        let read = || -> io::Result<Option<Vec<u8>>> {
            let mut bytes = Vec::new();
            if !file.metadata()?.is_file() || file.metadata()?.len() > MAX_PKGBUILD {
                return Ok(None);
            }
            (&file).take(MAX_PKGBUILD).read_to_end(&mut bytes)?;
            Ok(Some(bytes))
        };
        read().map_err(|error| FsError::new("read", &path, error))
    }

    /// Puts another PKGBUILD in the place of the one that is there.
    pub fn replace_pkgbuild(&self, bytes: &[u8]) -> Result<(), FsError> {
        let path = self.path("start").join("PKGBUILD");
        let written = fs::remove_file(&path).and_then(|()| write_new(&path, bytes, 0o644));
        written.and_then(|()| self.user.own(&path)).map_err(|error| FsError::new("write", &path, error))
    }

    /// Marks file names as published, so that makepkg itself says that they are built already.
    pub fn mark_published(&self, names: &[String]) -> Result<(), FsError> {
        let dir = self.path("pkgdest");
        for name in names.iter().filter(|name| !name.is_empty() && !name.starts_with('.') && !name.contains('/')) {
            let path = dir.join(name);
            let marked = write_new(&path, b"", 0o644).and_then(|()| self.user.own(&path));
            marked.map_err(|error| FsError::new("mark", &path, error))?;
        }
        Ok(())
    }

    /// Lets pacman know what is installed on this machine, whose `/usr` the build sees. A machine without
    /// pacman's database (Debian) has nothing installed as far as packages are concerned.
    pub fn know_installed(&self, database: Option<&Path>) -> Result<(), FsError> {
        let target = self.path("root/var/lib/pacman/local");
        let known = match database.filter(|database| database.is_dir()) {
            Some(database) => copy_tree(database, &target, &self.user),
            None => self.empty_database(&target),
        };
        known.map_err(|error| FsError::new("write the database of installed packages", &target, error))
    }

    /// Gives pacman a keyring: the public keys of the machine's, if it has one, and whom that trusts. It is a copy, in which gpg may note what it
    /// has worked out, and the machine's own stays as it is.
    pub fn know_keyring(&self, keyring: Option<&Path>) -> Result<(), FsError> {
        let target = self.path("root/etc/pacman.d/gnupg");
        let copy = || -> io::Result<()> {
            make_all(&target, &self.tree(), &|path| self.user.own(path))?;
            fs::set_permissions(&target, Permissions::from_mode(0o700))?;
            let Some(keyring) = keyring else { return Ok(()) };
            // One that cannot be read at all is no empty one.
            fs::read_dir(keyring)?;
            for name in KEYRING_FILES {
                let (file, copy) = (keyring.join(name), target.join(name));
                // A link in the keyring of an image would lead to files of this machine.
                if !fs::symlink_metadata(&file).is_ok_and(|meta| meta.is_file()) {
                    continue;
                }
                write_new(&copy, &fs::read(&file)?, 0o600)?;
                self.user.own(&copy)?;
            }
            Ok(())
        };
        copy().map_err(|error| FsError::new("copy the keyring of pacman to", &target, error))
    }

    fn empty_database(&self, target: &Path) -> io::Result<()> {
        make_all(target, &self.tree(), &|path| self.user.own(path))?;
        let version = target.join("ALPM_DB_VERSION");
        write_new(&version, b"9\n", 0o644)?;
        self.user.own(&version)
    }

    /// Removes what the build worked in.
    pub fn remove_tree(&self) -> Result<(), FsError> {
        remove_all(&self.tree()).map_err(|error| self.error("remove", error))
    }

    /// Removes everything.
    pub fn remove(&self) -> Result<(), FsError> {
        remove_all(&self.dir).map_err(|error| self.error("remove", error))
    }

    fn error(&self, action: &'static str, error: io::Error) -> FsError {
        FsError::new(action, &self.dir, error)
    }
}

/// Writes the files of a package into a directory, which is made if there is none; `made` hears of all that is made.
///
/// # Errors
/// If a path would lead out of the directory, or the disk says no.
pub fn write_folder(folder: &Folder, to: &Path, made: impl Fn(&Path) -> io::Result<()>) -> Result<(), WorkspaceError> {
    let above = to.parent().unwrap_or(to);
    make_all(to, above, &made).map_err(|error| FsError::new("create", to, error))?;
    for (path, file) in &folder.files {
        let target = to.join(checked(path, folder)?);
        let error = |error| FsError::new("write", &target, error);
        if let Some(parent) = target.parent() {
            make_all(parent, above, &made).map_err(error)?;
        }
        match file.mode {
            FileMode::Regular => write_new(&target, &file.bytes, 0o644),
            FileMode::Executable => write_new(&target, &file.bytes, 0o755),
            FileMode::Symlink => symlink(Path::new(&*String::from_utf8_lossy(&file.bytes)), &target),
            FileMode::Submodule => return Err(WorkspaceError::Submodule(path.clone())),
        }
        .and_then(|()| made(&target))
        .map_err(error)?;
    }
    Ok(())
}

/// Creates a directory and those above it, as far as they are below `above`.
fn make_all(path: &Path, above: &Path, made: &impl Fn(&Path) -> io::Result<()>) -> io::Result<()> {
    let missing: Vec<_> = path.ancestors().take_while(|dir| *dir != above && !dir.exists()).collect();
    for dir in missing.into_iter().rev() {
        DirBuilder::new().mode(0o755).create(dir)?;
        made(dir)?;
    }
    Ok(())
}

/// A path of a folder, if it stays inside and goes through no file or link.
fn checked<'a>(path: &'a str, folder: &Folder) -> Result<&'a Path, WorkspaceError> {
    let parts_are_names = path.split('/').all(|part| !matches!(part, "" | "." | "..") && !part.contains('\0'));
    let through_file = path.match_indices('/').any(|(at, _)| folder.files.contains_key(&path[..at]));
    if parts_are_names && !through_file { Ok(Path::new(path)) } else { Err(WorkspaceError::BadPath(path.to_owned())) }
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    // The umask must not decide what the build can read.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(bytes)
}

/// Creates directories that anybody may pass through and nobody else may list.
pub fn make_enterable(path: &Path) -> io::Result<()> {
    let missing: Vec<_> = path.ancestors().take_while(|above| !above.exists()).collect();
    for dir in missing.into_iter().rev() {
        match DirBuilder::new().create(dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
            Ok(()) => fs::set_permissions(dir, Permissions::from_mode(0o711))?,
        }
    }
    Ok(())
}

fn copy_tree(from: &Path, to: &Path, user: &BuildUser) -> io::Result<()> {
    DirBuilder::new().mode(0o755).create(to)?;
    user.own(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy_tree(&entry.path(), &target, user)?;
        } else if kind.is_file() {
            io::copy(&mut File::open(entry.path())?, &mut File::create_new(&target)?)?;
            user.own(&target)?;
        }
    }
    Ok(())
}

/// Removes a directory, also one in which a build left directories it had closed to itself, or as many inside
/// each other as to exhaust whoever goes down into them: they are brought up one by one instead.
///
/// Something of the build may live on for a moment and put links in the place of directories, so each directory is held
/// before anything is done in it.
pub fn remove_all(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(metadata) if !metadata.is_dir() => return fs::remove_file(path),
        Ok(_) => {}
    }
    let dir = open_directory(path)?;
    let mut names = 0..;
    while flatten(&dir, &mut names)? {}
    fs::remove_dir(path)
}

/// Removes what is in a directory, except what was in directories in directories of it, which is in it
/// afterwards. Says whether there is anything left.
fn flatten(dir: &Held, names: &mut impl Iterator<Item = u64>) -> io::Result<bool> {
    let mut is_left = false;
    for entry in fs::read_dir(dir.path())? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() {
            fs::remove_file(entry.path())?;
            continue;
        }
        let middle = open_directory(&entry.path())?;
        for inner in fs::read_dir(middle.path())? {
            let inner = inner?;
            if inner.file_type()?.is_dir() {
                open_directory(&inner.path())?;
                bring_up(&inner.path(), &dir.path(), names)?;
                is_left = true;
            } else {
                fs::remove_file(inner.path())?;
            }
        }
        fs::remove_dir(entry.path())?;
    }
    Ok(is_left)
}

/// Moves a directory to where no other is in the way.
fn bring_up(from: &Path, to: &Path, names: &mut impl Iterator<Item = u64>) -> io::Result<()> {
    let taken = [io::ErrorKind::DirectoryNotEmpty, io::ErrorKind::NotADirectory, io::ErrorKind::AlreadyExists];
    for name in names {
        match fs::rename(from, to.join(name.to_string())) {
            Err(error) if taken.contains(&error.kind()) => {}
            other => return other,
        }
    }
    unreachable!("there is always a further name")
}

/// Holds a directory, and opens it to us.
fn open_directory(path: &Path) -> io::Result<Held> {
    let dir = Held::directory(path)?;
    fs::set_permissions(dir.path(), Permissions::from_mode(0o700))?;
    Ok(dir)
}

#[cfg(test)]
mod tests;
