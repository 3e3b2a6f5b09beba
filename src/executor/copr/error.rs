//! What can go wrong between us and COPR.

use std::path::PathBuf;

use crate::executor::api::ApiError;
use crate::telemetry::in_full;

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
    /// It cannot be asked, or says no.
    #[error("{}{}", in_full(.0), hint(.0))]
    Api(ApiError),
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

impl From<ApiError> for CoprError {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

const fn hint(error: &ApiError) -> &'static str {
    match error {
        ApiError::Refused { status: 401, .. } => "; logins end after 180 days: COPR shows a new one at /api",
        ApiError::Refused { status: 403, .. } => "; ask the owner of the project for the right to build",
        _ => "",
    }
}

impl CoprError {
    /// The answer of COPR, or that there is none.
    #[must_use]
    pub const fn api(&self) -> Option<&ApiError> {
        match self {
            Self::Api(error) => Some(error),
            Self::Login { .. } | Self::File { .. } | Self::NoLogin => None,
        }
    }

    /// Whether the same question may be answered later. What cannot be understood may be somebody's before COPR.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        self.api().is_some_and(|error| error.will_pass() || matches!(error, ApiError::Nonsense { .. }))
    }

    /// Whether what was asked for may have been done though there is no answer that says so.
    #[must_use]
    pub fn may_have_worked(&self) -> bool {
        self.api().is_some_and(ApiError::may_have_worked)
    }

    /// Whether what was asked about is not there.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.api().is_some_and(ApiError::is_not_found)
    }
}
