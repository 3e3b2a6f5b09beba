//! The one way to COPR: its API, version 3.
//!
//! The login goes to the address of the API and nowhere else: never without encryption, and redirects are not followed.
//! What was not asked for twice may still be done twice, so nothing that makes a build is sent again unless COPR itself
//! said that it did nothing.

use std::path::Path;
use std::time::Duration;

use reqwest::multipart::{Form, Part};
use reqwest::{Method, RequestBuilder};
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

use super::CoprError;
use super::login::Login;
use super::wire::{Build, Chroot, Options, Page, Source, SourceConfig};
use crate::domain::copr::Project;
use crate::executor::api::{Api, ApiError, Proof};

/// What it is called in errors.
const SERVICE: &str = "COPR";
/// Where its API is, below its address.
const VERSION: &str = "api_3";
/// How long a source package may take to be sent.
const UPLOAD_PATIENCE: Duration = Duration::from_hours(2);
/// Builds on one page of a list.
const PAGE: u64 = 100;
/// So often something is asked again that was refused for being too much.
const AGAIN: u32 = 5;
/// How long is waited before that if COPR does not say it.
const PAUSE: Duration = Duration::from_secs(30);

/// The way to one COPR server.
#[derive(Debug, Clone)]
pub struct Client {
    api: Api,
    /// Nothing if there is no login, empty if the file with it does not say the name.
    username: Option<String>,
}

impl Client {
    /// A way to a server, with a login if there is one; only questions go without.
    ///
    /// # Errors
    /// [`ApiError::Insecure`] if the login could be overheard.
    pub fn new(url: Url, login: Option<Login>) -> Result<Self, CoprError> {
        let username = login.as_ref().map(|login| login.username.clone());
        // Reads need no login, but who has one is let through when others are not.
        let proof = login.map_or(Proof::Nothing, |login| Proof::Login(login.login, login.token));
        Ok(Self { api: Api::new(SERVICE, url, proof)?, username })
    }

    /// The server.
    #[must_use]
    pub const fn url(&self) -> &Url {
        self.api.url()
    }

    /// Our name there, if it is known.
    #[must_use]
    pub fn username(&self) -> Option<&str> {
        self.username.as_deref().filter(|name| !name.is_empty())
    }

    /// The page of a build for people.
    #[must_use]
    pub fn page(&self, build: u64) -> String {
        format!("{}/coprs/build/{build}", self.api.url().as_str().trim_end_matches('/'))
    }

    /// Whether the login is right; what COPR calls us.
    pub async fn who_am_i(&self) -> Result<String, CoprError> {
        const WHAT: &str = "say who we are";
        let answer: Value = self.json(WHAT, self.ask(Method::GET, &["auth-check"], &[])).await?;
        Ok(answer.get("name").and_then(Value::as_str).unwrap_or_default().to_owned())
    }

    /// Asks for a build, and returns the numbers of what was begun: several only for several sources. Comes again some
    /// times where that is asked for.
    pub async fn submit(&self, project: &Project, source: &Source, options: &Options) -> Result<Vec<u64>, CoprError> {
        let mut tries = 0;
        loop {
            match self.submit_once(project, source, options).await {
                Err(CoprError::Api(ApiError::Later { status: 429, after, .. })) if tries < AGAIN => {
                    tries += 1;
                    tokio::time::sleep(after.unwrap_or(PAUSE)).await;
                }
                answer => return answer,
            }
        }
    }

    /// As [`Client::submit`], asking once.
    pub async fn submit_once(
        &self,
        project: &Project,
        source: &Source,
        options: &Options,
    ) -> Result<Vec<u64>, CoprError> {
        const WHAT: &str = "begin a build";
        if self.username.is_none() {
            return Err(CoprError::NoLogin);
        }
        let body = options.body(project, source);
        let request = self.ask(Method::POST, &["build", "create", source.endpoint()], &[]);
        let request = match source {
            Source::Upload { name, path } => {
                let form = self.upload(&body, name, path).await?;
                request.timeout(UPLOAD_PATIENCE).multipart(form)
            }
            _ => request.json(&body),
        };
        let answer: Value = self.json(WHAT, request).await?;
        let builds = answer.get("items").and_then(Value::as_array).cloned().unwrap_or_else(|| vec![answer]);
        let ids: Option<Vec<u64>> = builds.iter().map(|build| build.get("id").and_then(Value::as_u64)).collect();
        let none = || self.api.nonsense(WHAT, "it names no build");
        Ok(ids.filter(|ids| !ids.is_empty()).ok_or_else(none)?)
    }

    /// How a build stands.
    pub async fn build(&self, id: u64) -> Result<Build, CoprError> {
        self.json("tell of a build", self.ask(Method::GET, &["build", &id.to_string()], &[])).await
    }

    /// The chroots of a build; none before its sources are known.
    pub async fn chroots(&self, id: u64) -> Result<Vec<Chroot>, CoprError> {
        let request = self.ask(Method::GET, &["build-chroot", "list"], &[("build_id", &id.to_string())]);
        let page: Page<Chroot> = self.json("tell of the chroots of a build", request).await?;
        Ok(page.items)
    }

    /// The stage that makes the source package; `None` before it has a place for results, for which COPR says 500.
    pub async fn source_stage(&self, id: u64) -> Result<Option<Chroot>, CoprError> {
        let request = self.ask(Method::GET, &["build", "source-chroot", &id.to_string()], &[]);
        match self.json("tell of the sources of a build", request).await {
            Err(CoprError::Api(ApiError::Later { status: 500, .. })) => Ok(None),
            stage => stage.map(Some),
        }
    }

    /// From what a build was made.
    pub async fn source_config(&self, id: u64) -> Result<SourceConfig, CoprError> {
        let request = self.ask(Method::GET, &["build", "source-build-config", &id.to_string()], &[]);
        self.json("tell from what a build was made", request).await
    }

    /// Cancels a build; one that is over stays as it is.
    pub async fn cancel(&self, id: u64) -> Result<(), CoprError> {
        let request = self.ask(Method::PUT, &["build", "cancel", &id.to_string()], &[]);
        match self.json::<Value>("cancel a build", request).await {
            Ok(_) | Err(CoprError::Api(ApiError::Refused { status: 409, .. })) => Ok(()),
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
            ("ownername", project.owner.as_str()),
            ("projectname", project.name.as_str()),
            ("limit", &limit.to_string()),
            ("offset", &offset.to_string()),
            ("order", "id"),
            ("order_type", "DESC"),
        ];
        let request = self.ask(Method::GET, &["build", "list"], &query);
        let page: Page<Build> = self.json("list the builds of the project", request).await?;
        Ok(page.items)
    }

    fn ask(&self, method: Method, path: &[&str], query: &[(&str, &str)]) -> RequestBuilder {
        self.api.ask(method, &[&[VERSION], path].concat(), query)
    }

    async fn json<T: DeserializeOwned>(&self, what: &'static str, request: RequestBuilder) -> Result<T, CoprError> {
        Ok(self.api.json(what, request).await?)
    }

    /// The two parts of an upload: COPR takes the first only if it has the name of a file.
    async fn upload(&self, body: &Value, name: &str, path: &Path) -> Result<Form, CoprError> {
        let failed = |source| CoprError::File { path: path.to_owned(), source };
        let file = tokio::fs::File::open(path).await.map_err(failed)?;
        let length = file.metadata().await.map_err(failed)?.len();
        let nonsense = |error: reqwest::Error| self.api.nonsense("take a file", error.to_string());
        let json = Part::text(body.to_string()).file_name("json").mime_str("application/json").map_err(nonsense)?;
        let file = Part::stream_with_length(file, length).file_name(name.to_owned());
        let file = file.mime_str("application/x-rpm").map_err(nonsense)?;
        Ok(Form::new().part("json", json).part("pkgs", file))
    }
}
