//! The one way to COPR: its API, version 3.
//!
//! The login goes to the address of the API and nowhere else: never without encryption, and redirects are not followed.
//! What was not asked for twice may still be done twice, so nothing that makes a build is sent again unless COPR itself
//! said that it did nothing.

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
use reqwest::multipart::{Form, Part};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

use super::CoprError;
use super::login::{Login, is_safe};
use super::wire::{Build, Chroot, Options, Page, Source, SourceConfig};
use crate::domain::copr::Project;
use crate::sys::http;
use crate::sys::secret::ExposeSecret as _;

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long a source package may take to be sent.
const UPLOAD_PATIENCE: Duration = Duration::from_hours(2);
/// A longer answer is not read: 16 MiB.
const LARGEST: usize = 16 << 20;
/// So much of what COPR says is shown.
const SHOWN: usize = 400;
/// Builds on one page of a list.
const PAGE: u64 = 100;
/// So often something is asked again that was refused for being too much.
const AGAIN: u32 = 5;
/// How long is waited before that if COPR does not say it, and at most.
const PAUSE: Duration = Duration::from_secs(30);
const LONGEST_PAUSE: Duration = Duration::from_mins(10);

/// The way to one COPR server.
#[derive(Debug, Clone)]
pub struct Client {
    url: Url,
    login: Option<Login>,
    http: reqwest::Client,
}

impl Client {
    /// A way to a server, with a login if there is one; only questions go without.
    ///
    /// # Errors
    /// [`CoprError::Insecure`] if the login could be overheard.
    pub fn new(url: Url, login: Option<Login>) -> Result<Self, CoprError> {
        if login.is_some() && !is_safe(&url) {
            return Err(CoprError::Insecure { url: url.to_string() });
        }
        Ok(Self { url, login, http: http::client_without_redirects(PATIENCE) })
    }

    /// The server.
    #[must_use]
    pub const fn url(&self) -> &Url {
        &self.url
    }

    /// Our name there, if it is known.
    #[must_use]
    pub fn username(&self) -> Option<&str> {
        self.login.as_ref().map(|login| login.username.as_str()).filter(|name| !name.is_empty())
    }

    /// The page of a build for people.
    #[must_use]
    pub fn page(&self, build: u64) -> String {
        format!("{}/coprs/build/{build}", self.url.as_str().trim_end_matches('/'))
    }

    /// Whether the login is right; what COPR calls us.
    pub async fn who_am_i(&self) -> Result<String, CoprError> {
        const WHAT: &str = "say who we are";
        let answer: Value = self.json(WHAT, self.ask(Method::GET, "auth-check", &[])?).await?;
        Ok(answer.get("name").and_then(Value::as_str).unwrap_or_default().to_owned())
    }

    /// Asks for a build, and returns the numbers of what was begun: several only for several sources.
    pub async fn submit(&self, project: &Project, source: &Source, options: &Options) -> Result<Vec<u64>, CoprError> {
        const WHAT: &str = "begin a build";
        if self.login.is_none() {
            return Err(CoprError::NoLogin);
        }
        let body = options.body(project, source);
        let mut tries = 0;
        let answer: Value = loop {
            let request = self.ask(Method::POST, source.endpoint(), &[])?;
            let request = match source {
                Source::Upload { name, path } => {
                    let form = upload(&body, name, path).await?;
                    request.timeout(UPLOAD_PATIENCE).multipart(form)
                }
                _ => request.json(&body),
            };
            match self.json(WHAT, request).await {
                Err(CoprError::Later { status: 429, after, .. }) if tries < AGAIN => {
                    tries += 1;
                    tokio::time::sleep(after.unwrap_or(PAUSE).min(LONGEST_PAUSE)).await;
                }
                answer => break answer?,
            }
        };
        let builds = answer.get("items").and_then(Value::as_array).cloned().unwrap_or_else(|| vec![answer]);
        let ids: Option<Vec<u64>> = builds.iter().map(|build| build.get("id").and_then(Value::as_u64)).collect();
        let none = || CoprError::Nonsense { what: WHAT, reason: "it names no build".to_owned() };
        ids.filter(|ids| !ids.is_empty()).ok_or_else(none)
    }

    /// How a build stands.
    pub async fn build(&self, id: u64) -> Result<Build, CoprError> {
        self.json("tell of a build", self.ask(Method::GET, &format!("build/{id}"), &[])?).await
    }

    /// The chroots of a build; none before its sources are known.
    pub async fn chroots(&self, id: u64) -> Result<Vec<Chroot>, CoprError> {
        let query = [("build_id", id.to_string())];
        let page: Page<Chroot> =
            self.json("tell of the chroots of a build", self.ask(Method::GET, "build-chroot/list", &query)?).await?;
        Ok(page.items)
    }

    /// The stage that makes the source package; `None` before it has a place for results, for which COPR says 500.
    pub async fn source_stage(&self, id: u64) -> Result<Option<Chroot>, CoprError> {
        let request = self.ask(Method::GET, &format!("build/source-chroot/{id}"), &[])?;
        match self.json("tell of the sources of a build", request).await {
            Err(CoprError::Later { status: 500, .. }) => Ok(None),
            stage => stage.map(Some),
        }
    }

    /// From what a build was made.
    pub async fn source_config(&self, id: u64) -> Result<SourceConfig, CoprError> {
        let path = format!("build/source-build-config/{id}");
        self.json("tell from what a build was made", self.ask(Method::GET, &path, &[])?).await
    }

    /// Cancels a build; one that is over stays as it is.
    pub async fn cancel(&self, id: u64) -> Result<(), CoprError> {
        let request = self.ask(Method::PUT, &format!("build/cancel/{id}"), &[])?;
        match self.json::<Value>("cancel a build", request).await {
            Ok(_) | Err(CoprError::Refused { status: 409, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The number of the last build of a project; 0 if it has none.
    pub async fn last_build(&self, project: &Project) -> Result<u64, CoprError> {
        Ok(self.builds(project, 0, 1).await?.iter().map(|build| build.id).max().unwrap_or_default())
    }

    /// The builds of a project with higher numbers than this one, newest first.
    pub async fn builds_since(&self, project: &Project, before: u64) -> Result<Vec<Build>, CoprError> {
        let mut found = Vec::new();
        loop {
            let page = self.builds(project, found.len() as u64, PAGE).await?;
            let is_last = (page.len() as u64) < PAGE || page.iter().any(|build| build.id <= before);
            found.extend(page.into_iter().filter(|build| build.id > before));
            if is_last {
                return Ok(found);
            }
        }
    }

    async fn builds(&self, project: &Project, offset: u64, limit: u64) -> Result<Vec<Build>, CoprError> {
        let query = [
            ("ownername", project.owner.clone()),
            ("projectname", project.name.clone()),
            ("limit", limit.to_string()),
            ("offset", offset.to_string()),
            ("order", "id".to_owned()),
            ("order_type", "DESC".to_owned()),
        ];
        let page: Page<Build> =
            self.json("list the builds of the project", self.ask(Method::GET, "build/list", &query)?).await?;
        Ok(page.items)
    }

    fn ask(&self, method: Method, path: &str, query: &[(&str, String)]) -> Result<RequestBuilder, CoprError> {
        let base = self.url.as_str().trim_end_matches('/');
        let mut url = Url::parse(&format!("{base}/api_3/{path}"))
            .map_err(|error| CoprError::Nonsense { what: "answer", reason: error.to_string() })?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = self.http.request(method, url);
        // Reads need no login, but who has one is let through when others are not.
        Ok(match &self.login {
            Some(login) => request.basic_auth(login.login.expose_secret(), Some(login.token.expose_secret())),
            None => request,
        })
    }

    async fn json<T: DeserializeOwned>(&self, what: &'static str, request: RequestBuilder) -> Result<T, CoprError> {
        let unreachable = |error: reqwest::Error| CoprError::Unreachable { what, source: error.without_url() };
        let mut response = request.send().await.map_err(unreachable)?;
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(unreachable)? {
            body.extend_from_slice(&piece);
            if body.len() > LARGEST {
                let reason = format!("it is longer than {LARGEST} bytes");
                return Err(CoprError::Nonsense { what, reason });
            }
        }
        if response.status().is_success() {
            return serde_json::from_slice(&body)
                .map_err(|error| CoprError::Nonsense { what, reason: error.to_string() });
        }
        Err(refusal(what, &response, &body))
    }
}

/// What an answer says that is no success.
fn refusal(what: &'static str, response: &Response, body: &[u8]) -> CoprError {
    let status = response.status();
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    if status.is_redirection() {
        let to = header(LOCATION).and_then(|to| response.url().join(to).ok());
        return CoprError::Moved { to: to.map_or_else(|| "no other".to_owned(), |to| shown(to.as_str())) };
    }
    let is_json = header(CONTENT_TYPE).is_some_and(|kind| kind.starts_with("application/json"));
    let said = is_json.then(|| serde_json::from_slice::<Value>(body).ok()).flatten();
    let said = said.as_ref().and_then(|said| said.get("error")).and_then(Value::as_str).map(shown);
    let message = said.unwrap_or_else(|| status.canonical_reason().unwrap_or("it does not say why").to_owned());
    let status_code = status.as_u16();
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::REQUEST_TIMEOUT {
        let after = header(RETRY_AFTER).and_then(|seconds| seconds.trim().parse().ok()).map(Duration::from_secs);
        return CoprError::Later { what, status: status_code, message, after };
    }
    CoprError::Refused { what, status: status_code, message }
}

/// What comes from outside, in one line that steers nothing.
fn shown(text: &str) -> String {
    text.chars().take(SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The two parts of an upload: COPR takes the first only if it has the name of a file.
async fn upload(body: &Value, name: &str, path: &std::path::Path) -> Result<Form, CoprError> {
    let failed = |source| CoprError::File { path: path.to_owned(), source };
    let file = tokio::fs::File::open(path).await.map_err(failed)?;
    let length = file.metadata().await.map_err(failed)?.len();
    let nonsense = |error: reqwest::Error| CoprError::Nonsense { what: "take a file", reason: error.to_string() };
    let json = Part::text(body.to_string()).file_name("json").mime_str("application/json").map_err(nonsense)?;
    let file = Part::stream_with_length(file, length).file_name(name.to_owned());
    let file = file.mime_str("application/x-rpm").map_err(nonsense)?;
    Ok(Form::new().part("json", json).part("pkgs", file))
}
