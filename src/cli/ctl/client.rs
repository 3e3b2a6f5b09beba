//! Requests to the controller, over TCP or its unix socket, and what went wrong with them in words that
//! help.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::{Method, Response, StatusCode};
use serde_json::Value;

use super::CliError;
use crate::sys::http::USER_AGENT;
use crate::sys::secret::{ExposeSecret, SecretString};
use crate::web::text::{one_line, path_part};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the controller did not do it.
#[derive(Debug, thiserror::Error)]
pub enum CtlError {
    /// Nobody answers.
    #[error("no controller answers at {at}")]
    Unreachable {
        /// Where it was looked for.
        at: String,
        /// What the system said.
        #[source]
        source: reqwest::Error,
    },
    /// The socket belongs to somebody else.
    #[error("{} may not be opened by this user", path.display())]
    SocketRefused {
        /// The socket.
        path: PathBuf,
    },
    /// The connection broke, or what came back is no answer of a controller.
    #[error("the answer of {at} cannot be read")]
    Unreadable {
        /// Where it was asked.
        at: String,
        /// What is wrong with it.
        #[source]
        source: reqwest::Error,
    },
    /// It answered that it will not.
    #[error("{detail}")]
    Refused {
        /// The status.
        status: u16,
        /// What it said.
        detail: String,
        /// What it said would help; may be empty.
        hint: String,
    },
    /// The address makes no sense.
    #[error("`{url}` is not an address of a controller")]
    BadUrl {
        /// As it was given.
        url: String,
    },
}

impl CtlError {
    /// Whether it said that there is no such thing.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }

    /// What would help; may be empty.
    fn hint(&self) -> &str {
        match self {
            Self::Unreachable { .. } => "start one with `pkgwarden serve`, or say where it is with PKGWARDEN_URL",
            Self::SocketRefused { .. } => "be the user of the controller, or set PKGWARDEN_URL and PKGWARDEN_TOKEN",
            Self::Unreadable { .. } => "see whether a pkgwarden controller answers there, of this version",
            Self::Refused { hint, .. } => hint,
            Self::BadUrl { .. } => "write `http://HOST:PORT`",
        }
    }
}

impl From<CtlError> for CliError {
    fn from(error: CtlError) -> Self {
        let hint = error.hint().to_owned();
        let error = match error {
            CtlError::BadUrl { .. } => Self::usage(error.to_string()),
            error => Self::from(anyhow::Error::from(error)),
        };
        if hint.is_empty() { error } else { error.hint(hint) }
    }
}

/// Where a controller is.
pub enum Place {
    /// At this address.
    Url(String),
    /// Behind this socket.
    Socket(PathBuf),
}

/// A controller to talk to.
pub struct Client {
    http: reqwest::Client,
    base: String,
    token: Option<SecretString>,
    socket: Option<PathBuf>,
}

impl Client {
    /// The controller that is there. Nothing is asked of it yet.
    pub fn new(place: Place, token: Option<SecretString>) -> Result<Self, CtlError> {
        let (base, socket) = match place {
            Place::Url(url) => (url.trim_end_matches('/').to_owned(), None),
            Place::Socket(path) => ("http://localhost".to_owned(), Some(path)),
        };
        let parsed = reqwest::Url::parse(&base).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let parsed = parsed.ok_or_else(|| CtlError::BadUrl { url: base.clone() })?;
        let http =
            build(&parsed, socket.clone()).map_err(|source| CtlError::Unreachable { at: base.clone(), source })?;
        Ok(Self { http, base, token, socket })
    }

    fn at(&self) -> String {
        self.socket.as_ref().map_or_else(|| self.base.clone(), |path| path.display().to_string())
    }

    /// Asks a question.
    pub async fn get(&self, path: &str) -> Result<Value, CtlError> {
        self.json(self.send(Method::GET, path, None).await?).await
    }

    /// Gives a command.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, CtlError> {
        self.json(self.send(Method::POST, path, Some(body)).await?).await
    }

    /// Opens a stream of bytes.
    pub async fn stream(&self, path: &str) -> Result<Bytes<'_>, CtlError> {
        Ok(Bytes { client: self, response: self.send(Method::GET, path, None).await? })
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Response, CtlError> {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.expose_secret());
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(|source| self.unreachable(source))?;
        if response.status().is_success() { Ok(response) } else { Err(self.refusal(response).await) }
    }

    fn unreachable(&self, source: reqwest::Error) -> CtlError {
        match &self.socket {
            Some(path) if was_denied(&source) => CtlError::SocketRefused { path: path.clone() },
            _ => CtlError::Unreachable { at: self.at(), source },
        }
    }

    async fn refusal(&self, response: Response) -> CtlError {
        let status = response.status();
        let problem: Value = response.json().await.unwrap_or_default();
        let text = |key: &str| one_line(problem[key].as_str().unwrap_or_default());
        let detail = match text("detail") {
            detail if detail.is_empty() => format!("{} answered {status}", self.at()),
            detail => detail,
        };
        let id = problem["request_id"].as_str().filter(|_| status == StatusCode::INTERNAL_SERVER_ERROR);
        let hint = id.map_or_else(|| text("hint"), |id| format!("its log says more under request {}", one_line(id)));
        CtlError::Refused { status: status.as_u16(), detail, hint }
    }

    async fn json(&self, response: Response) -> Result<Value, CtlError> {
        response.json().await.map_err(|source| CtlError::Unreadable { at: self.at(), source })
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "logs are followed for as long as they take, and sockets need their own client"
)]
fn build(url: &reqwest::Url, socket: Option<PathBuf>) -> reqwest::Result<reqwest::Client> {
    let mut builder = reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none());
    if url.scheme() == "http" {
        // No certificate is ever looked at, and a machine without any must do.
        builder = builder.tls_certs_only([]);
    }
    if matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]")) {
        builder = builder.no_proxy();
    }
    if let Some(socket) = socket {
        builder = builder.unix_socket(socket);
    }
    builder.build()
}

fn was_denied(error: &reqwest::Error) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == std::io::ErrorKind::PermissionDenied) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// A stream of bytes.
pub struct Bytes<'a> {
    client: &'a Client,
    response: Response,
}

impl Bytes<'_> {
    /// The next ones; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, CtlError> {
        let chunk = self.response.chunk().await;
        chunk.map(|bytes| bytes.map(Into::into)).map_err(|source| CtlError::Unreadable { at: self.client.at(), source })
    }
}

/// An address below `/api/v1`, with its parts encoded.
pub fn address(parts: &[&str]) -> String {
    parts.iter().fold("/api/v1".to_owned(), |path, part| format!("{path}/{}", path_part(part)))
}
