//! What a request is answered with when it cannot be answered: the same value for pages and API.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::controller::face::ControllerError;

/// Why a request failed, as far as who asked may know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The status of the answer.
    pub status: StatusCode,
    /// A few words.
    pub title: String,
    /// One sentence about this case.
    pub detail: String,
    /// What to do; may be empty.
    pub hint: String,
    /// Headers that say more, for programs.
    pub headers: Vec<(&'static str, String)>,
}

impl Fault {
    /// A fault with the usual words for its status.
    #[must_use]
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Error").to_owned();
        Self { status, title, detail: detail.into(), hint: String::new(), headers: Vec::new() }
    }

    /// There is no such thing.
    #[must_use]
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// The request makes no sense.
    #[must_use]
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// Says more to programs. The value is ASCII.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }
}

impl From<ControllerError> for Fault {
    fn from(error: ControllerError) -> Self {
        match error {
            ControllerError::NotFound(what) => Self::not_found(what),
            ControllerError::Conflict { message, hint } => Self::new(StatusCode::CONFLICT, message).hint(hint),
            ControllerError::Refused { message, hint } => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, message).hint(hint)
            }
            ControllerError::Unavailable(why) => Self::new(StatusCode::SERVICE_UNAVAILABLE, why),
            ControllerError::Internal(cause) => {
                tracing::error!(error = format!("{cause:#}"), "a request met a defect");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the controller could not do that")
                    .hint("the log of the controller says more under the id of this request")
            }
        }
    }
}

/// Carries the fault to the outermost layer, which knows the request and writes the body.
impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}
