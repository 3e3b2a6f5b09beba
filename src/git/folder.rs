//! Checks on trees from outside, on the way from git into a [`Folder`].
//!
//! What passes can be written to a disk and packed up without reaching outside the folder. Whether
//! its content is good is for others to say.

use std::collections::BTreeMap;

use git2::ObjectType;

use super::objects::mode_of;
use super::repository::{from_git, to_git};
use super::{GitError, Repository};
use crate::domain::folder::{File, FileMode, Folder};
use crate::domain::name::Oid;

/// How many links are followed before it is a loop; what Linux allows.
const MAX_LINKS: usize = 40;

/// The largest folder that is taken in. Of 2,534 real ones the largest has 31 files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Files in all its folders, and also folders; 2,000 by default.
    pub files: usize,
    /// Bytes of all its files; 64 MiB by default.
    pub bytes: usize,
    /// Bytes of one file; 16 MiB by default.
    pub file_bytes: usize,
    /// Folders inside each other; 16 by default.
    pub depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { files: 2_000, bytes: 64 << 20, file_bytes: 16 << 20, depth: 16 }
    }
}

/// Why a tree is not taken in. Paths are escaped where they are shown.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// A name that is not UTF-8, or has control characters.
    #[error("`{}`: names must be UTF-8 without control characters", path.escape_debug())]
    UnreadableName {
        /// The path, with what is not UTF-8 replaced.
        path: String,
    },
    /// A name that means something else to the file system: empty, `.`, `..`, or with a `/` in it.
    #[error("`{}`: this name leads out of its folder", path.escape_debug())]
    UnsafeName {
        /// The path.
        path: String,
    },
    /// A `.git` at any depth, in any case.
    #[error("`{}`: git's own folder must not be part of a package", path.escape_debug())]
    DotGit {
        /// The path.
        path: String,
    },
    /// Two entries with the same name, or names that differ only in case.
    #[error("`{}` and `{}` cannot both be there on every file system", first.escape_debug(), second.escape_debug())]
    Collision {
        /// The one.
        first: String,
        /// The other.
        second: String,
    },
    /// A link to an absolute path.
    #[error("`{}` is a link to the absolute path `{}`", path.escape_debug(), target.escape_debug())]
    AbsoluteLink {
        /// The link.
        path: String,
        /// Its target.
        target: String,
    },
    /// A link that leads out of the folder, perhaps by way of others.
    #[error("`{}` is a link out of the folder, to `{}`", path.escape_debug(), target.escape_debug())]
    EscapingLink {
        /// The link.
        path: String,
        /// Its target.
        target: String,
    },
    /// Links that lead round in a circle.
    #[error("`{}` is a link that leads round in a circle", path.escape_debug())]
    LinkLoop {
        /// The link.
        path: String,
    },
    /// A submodule.
    #[error("`{}` is a submodule; a package folder must hold its files itself", path.escape_debug())]
    Submodule {
        /// The path.
        path: String,
    },
    /// A mode that git does not write.
    #[error("`{}` has the unknown mode {mode:o}", path.escape_debug())]
    UnknownMode {
        /// The path.
        path: String,
        /// Its mode.
        mode: u32,
    },
    /// More files than the limit.
    #[error("there are more than {max} files")]
    TooManyFiles {
        /// The limit.
        max: usize,
    },
    /// More folders than files are allowed.
    #[error("there are more than {max} folders")]
    TooManyFolders {
        /// The limit.
        max: usize,
    },
    /// Folders nested deeper than the limit.
    #[error("`{}` is more than {max} folders deep", path.escape_debug())]
    TooDeep {
        /// The path.
        path: String,
        /// The limit.
        max: usize,
    },
    /// One file over the limit.
    #[error("`{}` has {size} bytes, and at most {max} are allowed", path.escape_debug())]
    FileTooLarge {
        /// The path.
        path: String,
        /// Its size in bytes.
        size: usize,
        /// The limit.
        max: usize,
    },
    /// All files together over the limit.
    #[error("the files have more than {max} bytes together")]
    TooLarge {
        /// The limit.
        max: usize,
    },
    /// The tree cannot be read.
    #[error(transparent)]
    Git(#[from] GitError),
}

impl FolderError {
    /// The entry that is to blame, by its path inside the folder; `None` if it is the folder as a whole.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::UnreadableName { path }
            | Self::UnsafeName { path }
            | Self::DotGit { path }
            | Self::Collision { second: path, .. }
            | Self::AbsoluteLink { path, .. }
            | Self::EscapingLink { path, .. }
            | Self::LinkLoop { path }
            | Self::Submodule { path }
            | Self::UnknownMode { path, .. }
            | Self::TooDeep { path, .. }
            | Self::FileTooLarge { path, .. } => Some(path),
            Self::TooManyFiles { .. } | Self::TooManyFolders { .. } | Self::TooLarge { .. } | Self::Git(_) => None,
        }
    }
}

impl Repository {
    /// Reads a tree with everything below it, and refuses it if it is hostile or huge.
    ///
    /// # Errors
    /// [`FolderError`] with the first thing that is wrong.
    pub fn folder(&self, tree: Oid, limits: &Limits) -> Result<Folder, FolderError> {
        self.read_folder(tree, limits, true)
    }

    /// Whether [`Repository::folder`] would take a tree in, found out without reading its files.
    ///
    /// # Errors
    /// As [`Repository::folder`].
    pub fn check_folder(&self, tree: Oid, limits: &Limits) -> Result<(), FolderError> {
        self.read_folder(tree, limits, false).map(drop)
    }

    fn read_folder(&self, tree: Oid, limits: &Limits, contents: bool) -> Result<Folder, FolderError> {
        let mut reader = Reader { repository: self, limits, contents, bytes: 0, folders: 0, folder: Folder::default() };
        reader.read(tree, "", 0)?;
        check_links(&reader.folder)?;
        Ok(reader.folder)
    }
}

struct Reader<'a> {
    repository: &'a Repository,
    limits: &'a Limits,
    /// Whether files are read, and not only links.
    contents: bool,
    bytes: usize,
    folders: usize,
    folder: Folder,
}

impl Reader<'_> {
    fn read(&mut self, id: Oid, prefix: &str, depth: usize) -> Result<(), FolderError> {
        if depth > self.limits.depth {
            return Err(FolderError::TooDeep { path: prefix.to_owned(), max: self.limits.depth });
        }
        self.folders += usize::from(depth > 0);
        if self.folders > self.limits.files {
            return Err(FolderError::TooManyFolders { max: self.limits.files });
        }
        let tree = self.repository.inner.find_tree(to_git(id)).map_err(GitError::object(id))?;
        let mut seen = BTreeMap::new();
        for entry in &tree {
            let name = checked_name(prefix, entry.name_bytes())?;
            let path = join(prefix, name);
            if let Some(first) = seen.insert(name.to_lowercase(), path.clone()) {
                return Err(FolderError::Collision { first, second: path });
            }
            match (entry.kind(), FileMode::from_octal(mode_of(&entry))) {
                (Some(ObjectType::Tree), None) => self.read(from_git(entry.id()), &path, depth + 1)?,
                (_, Some(FileMode::Submodule)) => return Err(FolderError::Submodule { path }),
                (Some(ObjectType::Blob), Some(mode)) => self.take(path, mode, from_git(entry.id()))?,
                _ => return Err(FolderError::UnknownMode { path, mode: mode_of(&entry) }),
            }
        }
        Ok(())
    }

    fn take(&mut self, path: String, mode: FileMode, id: Oid) -> Result<(), FolderError> {
        if self.folder.files.len() == self.limits.files {
            return Err(FolderError::TooManyFiles { max: self.limits.files });
        }
        let left = self.limits.bytes - self.bytes;
        let max = self.limits.file_bytes.min(left);
        let read = if self.contents || mode == FileMode::Symlink {
            self.repository.blob(id, max).map(|bytes| (bytes.len(), bytes))
        } else {
            self.repository.blob_size(id, max).map(|size| (size, Vec::new()))
        };
        let (size, bytes) = read.map_err(|error| match error {
            GitError::TooLarge { size, .. } if size > self.limits.file_bytes => {
                FolderError::FileTooLarge { path: path.clone(), size, max: self.limits.file_bytes }
            }
            GitError::TooLarge { .. } => FolderError::TooLarge { max: self.limits.bytes },
            other => FolderError::Git(other),
        })?;
        self.bytes += size;
        self.folder.files.insert(path, File { mode, bytes: bytes.into() });
        Ok(())
    }
}

fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") }
}

fn checked_name<'a>(prefix: &str, bytes: &'a [u8]) -> Result<&'a str, FolderError> {
    let path = || join(prefix, &String::from_utf8_lossy(bytes));
    let name = std::str::from_utf8(bytes).map_err(|_| FolderError::UnreadableName { path: path() })?;
    if name.chars().any(char::is_control) {
        return Err(FolderError::UnreadableName { path: path() });
    }
    if matches!(name, "" | "." | "..") || name.contains('/') {
        return Err(FolderError::UnsafeName { path: path() });
    }
    if name.eq_ignore_ascii_case(".git") {
        return Err(FolderError::DotGit { path: path() });
    }
    Ok(name)
}

/// Checks that no link leads out of the folder, followed as the file system follows it: a `..` after a
/// link goes up from where the link leads, so looking at the text of each link alone is not enough.
fn check_links(folder: &Folder) -> Result<(), FolderError> {
    let mut links = BTreeMap::new();
    for (path, file) in folder.files.iter().filter(|(_, file)| file.mode == FileMode::Symlink) {
        let Ok(target) = std::str::from_utf8(&file.bytes) else {
            return Err(FolderError::UnreadableName { path: path.clone() });
        };
        if target.starts_with('/') {
            return Err(FolderError::AbsoluteLink { path: path.clone(), target: target.to_owned() });
        }
        links.insert(path.as_str(), target);
    }
    for (&path, &target) in &links {
        match follow(path, &links) {
            Followed::Inside => {}
            Followed::Outside => {
                return Err(FolderError::EscapingLink { path: path.to_owned(), target: target.to_owned() });
            }
            Followed::Round => return Err(FolderError::LinkLoop { path: path.to_owned() }),
        }
    }
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
enum Followed {
    Inside,
    Outside,
    Round,
}

/// Where the path leads when every link on it is followed.
fn follow(path: &str, links: &BTreeMap<&str, &str>) -> Followed {
    let mut todo: Vec<&str> = path.rsplit('/').collect();
    let mut here: Vec<&str> = Vec::new();
    let mut hops = 0;
    while let Some(part) = todo.pop() {
        match part {
            "" | "." => {}
            ".." => {
                if here.pop().is_none() {
                    return Followed::Outside;
                }
            }
            name => {
                here.push(name);
                if let Some(target) = links.get(here.join("/").as_str()) {
                    here.pop();
                    todo.extend(target.rsplit('/'));
                    hops += 1;
                }
            }
        }
        if hops > MAX_LINKS {
            return Followed::Round;
        }
    }
    Followed::Inside
}

#[cfg(test)]
mod tests;
