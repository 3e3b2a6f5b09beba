//! What can go wrong between us and COPR.

use std::path::PathBuf;
use std::time::Duration;

/// A question to COPR without a useful answer.
#[derive(Debug, thiserror::Error)]
pub enum CoprError {
    /// The file with the login is of no use.
    #[error("the login in {} cannot be used: {reason}; COPR shows one at /api for `~/.config/copr`", path.display())]
    Login {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The login would go through the network for everybody to read.
    #[error("{url} is not asked, because the login would be sent without encryption; write https://")]
    Insecure {
        /// The address.
        url: String,
    },
    /// No answer came.
    #[error("COPR cannot be asked to {what}")]
    Unreachable {
        /// What it was asked.
        what: &'static str,
        /// Why not, without the address.
        #[source]
        source: reqwest::Error,
    },
    /// It has trouble of its own, or wants to be left alone.
    #[error("COPR cannot {what} now (status {status}): {message}")]
    Later {
        /// What it was asked.
        what: &'static str,
        /// The status.
        status: u16,
        /// What it says.
        message: String,
        /// When to come again, if it says that.
        after: Option<Duration>,
    },
    /// It says no.
    #[error("COPR does not {what} (status {status}): {message}{}", hint(*status))]
    Refused {
        /// What it was asked.
        what: &'static str,
        /// The status.
        status: u16,
        /// What it says.
        message: String,
    },
    /// It sends us to another address.
    #[error("COPR is not where it is asked: it names {to}; write that address, if it is right, as its url")]
    Moved {
        /// The other address.
        to: String,
    },
    /// Its answer cannot be understood.
    #[error("COPR was asked to {what}, and its answer cannot be understood: {reason}")]
    Nonsense {
        /// What it was asked.
        what: &'static str,
        /// Why not.
        reason: String,
    },
    /// A file cannot be sent.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// There is no login, and it is needed.
    #[error("there is no login for COPR, which builds only for people it knows; write one to ~/.config/copr")]
    NoLogin,
}

const fn hint(status: u16) -> &'static str {
    match status {
        401 => "; logins end after 180 days: COPR shows a new one at /api",
        403 => "; ask the owner of the project for the right to build",
        _ => "",
    }
}

impl CoprError {
    /// Whether the same question may be answered later.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Later { .. } | Self::Nonsense { .. })
    }

    /// Whether what was asked for may have been done though there is no answer that says so.
    #[must_use]
    pub fn may_have_worked(&self) -> bool {
        match self {
            Self::Unreachable { source, .. } => !source.is_connect(),
            Self::Later { status, .. } => *status != 429,
            Self::Nonsense { .. } => true,
            _ => false,
        }
    }

    /// Whether what was asked about is not there.
    #[must_use]
    pub const fn is_gone(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }

    /// When to come again, if COPR said that.
    #[must_use]
    pub const fn after(&self) -> Option<Duration> {
        match self {
            Self::Later { after, .. } => *after,
            _ => None,
        }
    }

    /// With its causes, in one line.
    #[must_use]
    pub fn in_full(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    }
}
