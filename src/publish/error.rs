//! Why nothing was published.

use std::path::PathBuf;

use crate::domain::name::PkgBase;
use crate::sys::fs::FsError;
use crate::sys::process::ProcessError;

#[cfg(test)]
use super::Step;
use super::database::DatabaseError;

/// Why nothing was published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A file is not what the build was to yield: nothing of the build is published.
    #[error("`{file}` is not the build's: {field}: {problem}")]
    NotTheBuilds {
        /// The file.
        file: String,
        /// The field that is wrong.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A build without artefacts cannot be published.
    #[error("there is no package file to publish for `{0}`")]
    Nothing(PkgBase),
    /// A program of pacman said no.
    #[error("`{program}` could not change the database of the repository: {said}")]
    Tool {
        /// The program.
        program: &'static str,
        /// What it printed.
        said: String,
    },
    /// The programs of pacman said yes, and the database is not what it has to be.
    #[error("the new database of the repository is wrong: {0}; the published one was left as it is")]
    WrongDatabase(String),
    /// Nobody has said what the repository is called.
    #[error("the published repository in {} has no name yet; set `publish.name`", .0.display())]
    NoName(PathBuf),
    /// It was published under another name.
    #[error("the repository in {} is published as `{published}` and cannot become `{wanted}`; set `publish.name` \
             back, or `publish.dir` to an empty folder", dir.display())]
    OtherName {
        /// Its folder.
        dir: PathBuf,
        /// The name it has.
        published: String,
        /// The name it was to have.
        wanted: String,
    },
    /// A manifest of ours cannot be understood.
    #[error("cannot understand the manifest {}", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// A database cannot be read.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A file cannot be written or moved.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// A program cannot be run.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A test has stopped here.
    #[cfg(test)]
    #[error("stopped after {0:?}")]
    Stopped(Step),
}

impl PublishError {
    /// Whether the build is at fault; everything else may go well the next time.
    #[must_use]
    pub const fn is_the_builds_fault(&self) -> bool {
        matches!(self, Self::NotTheBuilds { .. } | Self::Nothing(_))
    }

    /// Whether there is no room for it: the same call works once there is.
    #[must_use]
    pub const fn is_disk_full(&self) -> bool {
        matches!(self, Self::Fs(FsError::DiskFull { .. }))
    }
}
