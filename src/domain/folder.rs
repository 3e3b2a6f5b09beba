//! The files of one package folder, as values: what an update brings and what it replaces.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use sha2::{Digest, Sha256};

/// What kind of entry a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileMode {
    /// An ordinary file (`100644`).
    Regular,
    /// An executable file (`100755`).
    Executable,
    /// A symbolic link (`120000`); its bytes are the target.
    Symlink,
    /// A submodule (`160000`); it has no bytes.
    Submodule,
}

impl FileMode {
    /// The mode as git writes it.
    #[must_use]
    pub const fn as_octal(self) -> u32 {
        match self {
            Self::Regular => 0o100_644,
            Self::Executable => 0o100_755,
            Self::Symlink => 0o120_000,
            Self::Submodule => 0o160_000,
        }
    }

    /// The mode that git wrote; `None` for a directory or something git does not know.
    #[must_use]
    pub const fn from_octal(mode: u32) -> Option<Self> {
        match mode {
            0o100_644 | 0o100_664 => Some(Self::Regular),
            0o100_755 => Some(Self::Executable),
            0o120_000 => Some(Self::Symlink),
            0o160_000 => Some(Self::Submodule),
            _ => None,
        }
    }
}

/// One file: its mode and its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// What kind of entry it is.
    pub mode: FileMode,
    /// The content, or the target of a link.
    pub bytes: Arc<[u8]>,
}

/// The files of a package folder by their path inside it, `/` between parts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Folder {
    /// Path to file; no path is absolute, empty, or leads out of the folder.
    pub files: BTreeMap<String, File>,
}

/// Top-level entries that belong to the monorepo and not to the source of a package. Chaotic's
/// scripts exclude the same from copying and deleting.
pub const OWN_ENTRIES: [&str; 3] = [".CI", ".git", ".gitignore"];

impl Folder {
    /// Adds an ordinary file; for tests and generated files.
    #[must_use]
    pub fn with(mut self, path: &str, bytes: impl AsRef<[u8]>) -> Self {
        let file = File { mode: FileMode::Regular, bytes: bytes.as_ref().into() };
        self.files.insert(path.to_owned(), file);
        self
    }

    /// The bytes of a file.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&[u8]> {
        self.files.get(path).map(|file| &*file.bytes)
    }

    /// Only what comes from the source of the package: without the monorepo's own entries.
    #[must_use]
    pub fn from_source(&self) -> Self {
        let files = self.files.iter().filter(|(path, _)| !is_own(path));
        Self { files: files.map(|(path, file)| (path.clone(), file.clone())).collect() }
    }

    /// This folder with everything that comes from the source replaced by `incoming`, the monorepo's
    /// own entries kept.
    #[must_use]
    pub fn updated_to(&self, incoming: &Self) -> Self {
        let own = self.files.iter().filter(|(path, _)| is_own(path));
        let new = incoming.files.iter().filter(|(path, _)| !is_own(path));
        Self { files: own.chain(new).map(|(path, file)| (path.clone(), file.clone())).collect() }
    }

    /// SHA-256 over paths, modes and bytes, in hexadecimal: equal exactly for equal folders.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for (path, file) in &self.files {
            hash.update((path.len() as u64).to_le_bytes());
            hash.update(path);
            hash.update(file.mode.as_octal().to_le_bytes());
            hash.update((file.bytes.len() as u64).to_le_bytes());
            hash.update(&file.bytes);
        }
        hash.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

fn is_own(path: &str) -> bool {
    OWN_ENTRIES.contains(&path.split('/').next().unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_keeps_what_belongs_to_the_monorepo() {
        let old = Folder::default().with("PKGBUILD", "1").with("gone.patch", "x").with(".CI/config", "A=1");
        let incoming = Folder::default().with("PKGBUILD", "2").with(".CI/config", "EVIL=1").with("new.patch", "y");
        let updated = old.updated_to(&incoming);
        assert_eq!(updated.get("PKGBUILD"), Some(&b"2"[..]));
        assert_eq!(updated.get(".CI/config"), Some(&b"A=1"[..]));
        assert_eq!(updated.get("new.patch"), Some(&b"y"[..]));
        assert_eq!(updated.get("gone.patch"), None);
        assert_eq!(updated.from_source().files.len(), 2);
    }

    #[test]
    fn the_digest_sees_modes_and_the_border_between_files() {
        let one = Folder::default().with("a", "bc");
        assert_ne!(one.digest(), Folder::default().with("ab", "c").digest());
        let mut executable = one.clone();
        executable.files.get_mut("a").expect("there").mode = FileMode::Executable;
        assert_ne!(one.digest(), executable.digest());
        assert_eq!(one.digest(), Folder::default().with("a", "bc").digest());
    }
}
