//! Who builds run as.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, lchown};
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Group, Uid, User, geteuid};

/// The user and group that the processes of a build have on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuildUser {
    /// Numeric user, never 0.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Whether the controller is somebody else (root) and has to become this one.
    pub switch: bool,
}

/// A user that builds cannot run as.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// There is no such user.
    #[error("there is no user `{0}` on this machine for builds to run as: create it or name another in the settings")]
    Unknown(String),
    /// It is root.
    #[error("builds cannot run as `{0}`: it is root; name another user in the settings")]
    Root(String),
    /// The build user may not enter a directory above one it needs.
    #[error(
        "the build user {user} cannot enter {above}{}: set `server.data_dir` (and `publish.dir`, if given) to a \
         directory that everybody can enter, such as /var/lib/pkgwarden, or `chmod o+x {above}`",
        if above == path { String::new() } else { format!(", which is above {}", path.display()) },
        above = above.display(),
    )]
    CannotEnter {
        /// Who it is.
        user: BuildUser,
        /// The directory that is closed.
        above: PathBuf,
        /// The directory that is needed.
        path: PathBuf,
    },
    /// The system said no.
    #[error("cannot look at {}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl BuildUser {
    /// The user of this name if the controller is root, otherwise whoever runs the controller.
    pub fn resolve(name: &str) -> Result<Self, UserError> {
        let me = geteuid();
        if !me.is_root() {
            return Ok(Self { uid: me.as_raw(), gid: nix::unistd::getegid().as_raw(), switch: false });
        }
        let user = User::from_name(name).ok().flatten().ok_or_else(|| UserError::Unknown(name.to_owned()))?;
        if user.uid.is_root() {
            return Err(UserError::Root(name.to_owned()));
        }
        Ok(Self { uid: user.uid.as_raw(), gid: user.gid.as_raw(), switch: true })
    }

    /// Gives a file, directory or link to the build user.
    pub fn own(&self, path: &Path) -> io::Result<()> {
        if self.switch { lchown(path, Some(self.uid), Some(self.gid)) } else { Ok(()) }
    }

    /// Checks that the build user can enter a directory and everything above it.
    pub fn check_access(&self, path: &Path) -> Result<(), UserError> {
        let io = |source| UserError::Io { path: path.to_owned(), source };
        let real = path.canonicalize().map_err(io)?;
        for above in real.ancestors() {
            let metadata = fs::metadata(above).map_err(io)?;
            let needed = if metadata.uid() == self.uid {
                0o100
            } else if metadata.gid() == self.gid {
                0o010
            } else {
                0o001
            };
            if metadata.mode() & needed == 0 {
                let (above, path) = (above.to_owned(), real.clone());
                return Err(UserError::CannotEnter { user: *self, above, path });
            }
        }
        Ok(())
    }
}

impl std::fmt::Display for BuildUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let user = User::from_uid(Uid::from_raw(self.uid)).ok().flatten();
        let group = Group::from_gid(Gid::from_raw(self.gid)).ok().flatten();
        let name = |known: Option<String>, id: u32| known.unwrap_or_else(|| id.to_string());
        write!(f, "{}:{}", name(user.map(|user| user.name), self.uid), name(group.map(|group| group.name), self.gid))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn builds_never_run_as_root() {
        let user = BuildUser::resolve("nobody").unwrap();
        assert_ne!(user.uid, 0);
        if geteuid().is_root() {
            assert!(matches!(BuildUser::resolve("root"), Err(UserError::Root(_))));
            assert!(matches!(BuildUser::resolve("no-such-user"), Err(UserError::Unknown(_))));
        }
    }

    #[test]
    fn a_closed_directory_above_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("inner");
        fs::create_dir(&inner).unwrap();
        let stranger = BuildUser { uid: 4_000_000, gid: 4_000_000, switch: true };
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let error = stranger.check_access(&inner).unwrap_err().to_string();
        assert!(error.contains(&*dir.path().canonicalize().unwrap().to_string_lossy()), "{error}");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).unwrap();
        assert!(stranger.check_access(&inner).is_ok());
    }
}
