//! Whose record a data directory holds.
//!
//! A clone that no configuration lists is called by the same name as every other one. Two of them with one
//! data directory would be taken for one repository, and packages of the one built from the other.

use std::path::Path;

use anyhow::{Result, bail};

use crate::git::Remote;
use crate::sys::fs::{FsError, write_atomic};

/// Notes that what is recorded under this name is about the repository at `remote`. One that the
/// configuration lists by its address may move to another.
///
/// # Errors
/// If the record is about a repository somewhere else, or the note cannot be read or written.
pub fn claim(data_dir: &Path, name: &str, remote: &Remote, listed: bool) -> Result<()> {
    let path = data_dir.join("repositories").join(name).join("remote");
    let address = remote.shown();
    let before = match std::fs::read_to_string(&path) {
        Ok(text) => Some(text.trim().to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(FsError::new("read", &path, error).into()),
    };
    match before {
        Some(before) if before == address => Ok(()),
        Some(before) if !listed => bail!(
            "{} is about the repository {before}, and this is {address}: set server.data_dir to a directory of its \
             own (`PKGWARDEN__SERVER__DATA_DIR=…`), or, if it has only moved, list it in pkgwarden.toml as a \
             [[repository]] with this url",
            data_dir.display()
        ),
        _ => Ok(write_atomic(&path, format!("{address}\n").as_bytes())?),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn remote(address: &str) -> Remote {
        Remote::new(PathBuf::from("workspace.git"), address.to_owned())
    }

    #[test]
    fn a_record_is_about_one_repository() {
        let dir = tempfile::tempdir().expect("a directory");
        let claim = |address: &str, listed| claim(dir.path(), "packages", &remote(address), listed);
        claim("https://example.org/a.git", false).expect("nobody's yet");
        claim("https://somebody:secret@example.org/a.git", false).expect("the same, with a password");
        let error = claim("https://example.org/b.git", false).expect_err("another one").to_string();
        assert!(error.contains("https://example.org/a.git") && error.contains("server.data_dir"), "{error}");
        claim("https://example.org/b.git", true).expect("it is listed, so it has moved");
        claim("https://example.org/b.git", false).expect("the same");
        let note = std::fs::read_to_string(dir.path().join("repositories/packages/remote")).expect("read");
        assert_eq!(note, "https://example.org/b.git\n");
    }
}
