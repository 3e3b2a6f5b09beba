//! What can go wrong with git, told apart by what the caller does about it.

use std::path::{Path, PathBuf};

use super::parse;
use crate::domain::name::Oid;
use crate::sys::fs::FsError;
use crate::sys::process::ProcessError;

/// What the library says, without the names it has for kinds of errors.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.message())]
pub struct LibraryError(git2::Error);

impl From<git2::Error> for LibraryError {
    fn from(error: git2::Error) -> Self {
        Self(error)
    }
}

/// Something that git could not do.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// There is no repository where one was expected.
    #[error("there is no git repository at {}", path.display())]
    NotARepository {
        /// Where it was looked for.
        path: PathBuf,
        /// What the library says.
        #[source]
        source: LibraryError,
    },
    /// An object that is named somewhere is not in the repository.
    #[error("object {id} is missing; the repository is damaged, or was cloned without its history or its blobs")]
    MissingObject {
        /// Its id.
        id: Oid,
    },
    /// An object has more bytes than the caller wants in memory.
    #[error("object {id} has {size} bytes, and at most {max} are allowed")]
    TooLarge {
        /// Its id.
        id: Oid,
        /// Its size in bytes.
        size: usize,
        /// The most that was allowed.
        max: usize,
    },
    /// A revision that is not written as git revisions are, or that is not a commit.
    #[error("`{rev}` does not name a commit")]
    BadRevision {
        /// The revision as it was given.
        rev: String,
        /// What the library says.
        #[source]
        source: LibraryError,
    },
    /// A path that cannot stand in a git tree.
    #[error("`{path}` cannot be a path in a git tree: {reason}")]
    BadPath {
        /// The path as it was given.
        path: String,
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// The remote did not answer, or refused to.
    #[error("{url} cannot be reached: {message}{hint}")]
    Unreachable {
        /// The remote, without credentials.
        url: String,
        /// What git says, in one line.
        message: String,
        /// What to do about it, beginning with `; `, or nothing.
        hint: String,
    },
    /// The remote answered, and does not have these refs.
    #[error("{url} has no {}", refs.join(", "))]
    MissingRefs {
        /// The remote, without credentials.
        url: String,
        /// The refs that were asked for and are not there.
        refs: Vec<String>,
    },
    /// An address that is not handed to git.
    #[error("`{url}` is refused as the address of a repository: {reason}")]
    RefusedUrl {
        /// The address, escaped.
        url: String,
        /// Why.
        reason: &'static str,
    },
    /// The name of a ref, or a refspec, that is not handed to git.
    #[error("`{name}` is refused as the name of a ref")]
    RefusedRef {
        /// The name, escaped.
        name: String,
    },
    /// The git program failed at something that is not the remote's fault.
    #[error("git {command} failed: {message}{hint}")]
    Command {
        /// The subcommand.
        command: &'static str,
        /// What git says, in one line.
        message: String,
        /// What to do about it, beginning with `; `, or nothing.
        hint: String,
    },
    /// The git program could not be run.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The history could not be listed.
    #[error("the history cannot be listed: {message}")]
    History {
        /// What git says, in one line, and what to do about it.
        message: String,
    },
    /// A file of the repository could not be read or written.
    #[error(transparent)]
    File(#[from] FsError),
    /// The library failed at something.
    #[error("cannot {action}")]
    Library {
        /// What was being done, and on what.
        action: String,
        /// What the library says.
        #[source]
        source: LibraryError,
    },
}

impl GitError {
    /// Whether the other end did not answer at all: its name does not resolve, nobody listens, nothing
    /// comes. A refusal is an answer.
    #[must_use]
    pub fn is_silence(&self) -> bool {
        matches!(self, Self::Unreachable { message, .. } if parse::is_silence(message))
    }

    /// Wraps what the library says about doing `action`.
    pub(super) fn library(action: impl Into<String>) -> impl FnOnce(git2::Error) -> Self {
        move |source| Self::Library { action: action.into(), source: source.into() }
    }

    /// Wraps what the library says about writing in a folder.
    pub(super) fn writing(folder: &Path, action: impl Into<String>) -> impl FnOnce(git2::Error) -> Self {
        move |source| {
            if parse::says_full(source.message()) {
                return FsError::full(folder).into();
            }
            Self::Library { action: action.into(), source: source.into() }
        }
    }

    /// Wraps what the library says about reading an object.
    pub(super) fn object(id: Oid) -> impl FnOnce(git2::Error) -> Self {
        // The library also says "not found" of an object that is there and is of another kind.
        move |source| match (source.code(), source.class()) {
            (git2::ErrorCode::NotFound, git2::ErrorClass::Odb) => Self::MissingObject { id },
            _ => Self::Library { action: format!("read object {id}"), source: source.into() },
        }
    }
}
