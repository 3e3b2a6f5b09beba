//! Why nothing was published.

use std::path::PathBuf;

use crate::domain::finding::{Finding, Severity};
use crate::domain::name::PkgBase;
use crate::domain::publication::closure::Reason;
use crate::domain::publication::guard::RemovalLimit;
use crate::sys::fs::FsError;
use crate::sys::process::ProcessError;

#[cfg(test)]
use super::Step;
use super::database::DatabaseError;

/// Why nothing was published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A file is not what the build was to yield: nothing of the build is published.
    #[error("what was built is not published: {}", told(findings))]
    NotTheBuilds {
        /// What is wrong with the files, and what is only to be told.
        findings: Vec<Finding>,
    },
    /// A file is the build's, and from the future: nothing of the build is published.
    #[error("what was built is not published, because a clock is wrong: {}", told(findings))]
    Ahead {
        /// Which files, and both times.
        findings: Vec<Finding>,
        /// Whether it is our own clock, which was set back since the last publication.
        set_back: bool,
    },
    /// A build without artefacts cannot be published.
    #[error("there is no package file to publish for `{0}`")]
    Nothing(PkgBase),
    /// When it was its turn, it was not to be published any more.
    #[error("what was built of `{0}` is not published: nobody wants it any more")]
    Unwanted(PkgBase),
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
    /// Whoever holds the key does not sign now. The same call works once it does.
    #[error("the signer at {} does not sign: {why}", socket.display())]
    SignerAway {
        /// Where it was asked.
        socket: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Whoever holds the key never signs this.
    #[error("the signer does not sign {}: {why}", file.display())]
    NotSigned {
        /// The file.
        file: PathBuf,
        /// Why not.
        why: String,
    },
    /// A file is not what the database says it is.
    #[error("{} is not the file that was published: {problem}; `pkgwarden repo verify` shows all that is wrong", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// So much is not removed without somebody confirming it.
    #[error(
        "{leaving} of {published} published packages would be removed, and publish.max_removals is {limit}; if that is \
             meant, `pkgwarden ctl repo removals --confirm` or `pkgwarden repo remove-departed --force` removes them"
    )]
    TooManyRemovals {
        /// How many would leave.
        leaving: usize,
        /// How many are published.
        published: usize,
        /// The setting.
        limit: RemovalLimit,
    },
    /// The release would be broken.
    #[error("they cannot move to the release: {}", because(reasons))]
    NotClosed {
        /// What would be missing.
        reasons: Vec<Reason>,
    },
    /// There is nothing of that name in the staging repository.
    #[error("`{0}` is not in the staging repository")]
    NotStaged(PkgBase),
    /// There is no such generation.
    #[error("there is no generation {0}; `pkgwarden repo generations` lists those that are kept")]
    NoGeneration(u64),
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

    /// Whether the same files may be published later.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        !(self.is_the_builds_fault() || self.asks_for_another_build() || matches!(self, Self::Unwanted(_)))
    }

    /// Whether nobody knows how long it will not go well, and another build may go well at once, which is nobody's fault.
    #[must_use]
    pub const fn asks_for_another_build(&self) -> bool {
        matches!(self, Self::Ahead { set_back: false, .. })
    }

    /// Whether it may be for what is in the packages, or for what is wrong here: nobody knows.
    #[must_use]
    pub const fn is_puzzling(&self) -> bool {
        matches!(self, Self::Tool { .. } | Self::WrongDatabase(_))
    }

    /// Whether it goes well as soon as there is room on the disk, or the signer is back: both may be at any moment.
    #[must_use]
    pub const fn has_to_wait(&self) -> bool {
        matches!(self, Self::Fs(FsError::DiskFull { .. }) | Self::SignerAway { .. })
    }
}

/// The errors among findings, as one line.
fn told(findings: &[Finding]) -> String {
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error);
    errors.map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn because(reasons: &[Reason]) -> String {
    reasons.iter().map(|reason| reason.message.as_str()).collect::<Vec<_>>().join("; ")
}
