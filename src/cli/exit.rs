//! How the program ends.

use std::process::ExitCode;

/// The exit status, by its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done,
    /// It failed; the message said what and on what.
    Failed,
    /// Wrong usage or wrong configuration.
    Usage,
    /// Done, but something needs a person.
    NeedsPerson,
    /// A build failed or was cancelled; only of `copr`, whose statuses are those of copr-cli.
    BuildFailed,
    /// Interrupted by a signal.
    Interrupted,
}

impl Exit {
    /// The number the shell sees.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NeedsPerson => 3,
            Self::BuildFailed => 4,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
