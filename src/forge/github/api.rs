//! Questions to GitHub: who asks, and how lists and documents are had.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, HeaderValue};
use http::request::Builder;
use http::{Method, Response};
use http_body_util::{BodyExt as _, Full};
use octocrab::models::{AppId, InstallationId};
use octocrab::{AuthState, Octocrab, OctocrabBuilder};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::OnceCell;
use tower::service_fn;

use super::answers::{Account, App, Installation};
use crate::forge::wire::ask::MOST_PAGES;
use crate::forge::wire::{Place, Wire, answer};
use crate::forge::{ForgeError, gone};
use crate::sys::secret::{ExposeSecret as _, SecretString};

/// The version of answers that is understood here.
const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/vnd.github+json");
/// As many of a list as are told at once.
const PAGE: usize = 100;

/// Who asks.
#[derive(Debug, Clone)]
pub enum Identity {
    /// Somebody with an access token.
    Token(SecretString),
    /// A GitHub App, which has to be installed in the project.
    App {
        /// The number of the app.
        id: u64,
        /// Its private key, in PEM.
        key: SecretString,
    },
}

/// One project on GitHub.
#[derive(Debug)]
pub(super) struct Api {
    wire: Arc<Wire>,
    identity: Identity,
    /// `owner/name`.
    pub(super) project: String,
    /// What asks in the name of the app itself; of whoever has the token, otherwise.
    outer: OnceCell<Octocrab>,
    /// What asks in the name of the app's installation.
    inner: OnceCell<Octocrab>,
    me: OnceCell<String>,
}

impl Api {
    pub(super) fn new(wire: Wire, identity: Identity, project: String) -> Self {
        let (outer, inner, me) = (OnceCell::new(), OnceCell::new(), OnceCell::new());
        Self { wire: Arc::new(wire), identity, project, outer, inner, me }
    }

    pub(super) fn place(&self) -> &Place {
        self.wire.place()
    }

    /// The number of the app that asks, if it is one.
    pub(super) const fn app(&self) -> Option<u64> {
        match &self.identity {
            Identity::Token(_) => None,
            Identity::App { id, .. } => Some(*id),
        }
    }

    /// The name of the account that asks.
    pub(super) async fn me(&self) -> Result<&str, ForgeError> {
        let name = self.me.get_or_try_init(|| async {
            match &self.identity {
                Identity::Token(_) => Ok(self.get::<Account>("account of this token", "/user").await?.login),
                Identity::App { .. } => {
                    let response = self.asked_by(self.outer().await?, Method::GET, "/app", None).await?;
                    let app: App = self.document("app", &answer::judge(self.place(), "such app", response)?)?;
                    Ok(format!("{}[bot]", app.slug))
                }
            }
        });
        name.await.map(String::as_str)
    }

    /// The path of something of the project.
    pub(super) fn path(&self, rest: &str) -> String {
        format!("/repos/{}{rest}", self.project)
    }

    /// A document.
    pub(super) async fn get<T: DeserializeOwned>(&self, what: &str, path: &str) -> Result<T, ForgeError> {
        self.document(what, &self.ask(what, Method::GET, path, None).await?)
    }

    /// A list with all of its pages, as long as `goes_on` says so of the last of each.
    pub(super) async fn all<T: DeserializeOwned>(
        &self,
        what: &str,
        path: &str,
        goes_on: impl Fn(&T) -> bool,
    ) -> Result<Vec<T>, ForgeError> {
        let mut all = Vec::new();
        let mark = if path.contains('?') { '&' } else { '?' };
        for page in 1..=MOST_PAGES {
            let path = format!("{path}{mark}per_page={PAGE}&page={page}");
            let response = self.ask(what, Method::GET, &path, None).await?;
            all.extend(self.document::<Vec<T>>(what, &response)?);
            if !answer::has_next(&response) || !all.last().is_some_and(&goes_on) {
                return Ok(all);
            }
        }
        Err(self.wire.unreachable(format!("its list of {what} has more than {MOST_PAGES} pages")))
    }

    /// Has something done.
    pub(super) async fn change(
        &self,
        what: &str,
        method: Method,
        path: &str,
        body: &Value,
    ) -> Result<Bytes, ForgeError> {
        Ok(self.ask(what, method, path, Some(body)).await?.into_body())
    }

    /// Has something taken away, which may be gone already.
    pub(super) async fn take_away(&self, what: &str, path: &str) -> Result<(), ForgeError> {
        gone(self.ask(what, Method::DELETE, path, None).await)
    }

    /// Has something done that is answered with a document.
    pub(super) async fn make<T: DeserializeOwned>(
        &self,
        what: &str,
        method: Method,
        path: &str,
        body: &Value,
    ) -> Result<T, ForgeError> {
        self.document(what, &self.ask(what, method, path, Some(body)).await?)
    }

    fn document<T: DeserializeOwned>(&self, what: &str, response: &Response<Bytes>) -> Result<T, ForgeError> {
        answer::document(self.place(), what, response)
    }

    async fn ask(
        &self,
        what: &str,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Response<Bytes>, ForgeError> {
        let crab = match &self.identity {
            Identity::Token(_) => self.outer().await?,
            Identity::App { .. } => self.inner().await?,
        };
        answer::judge(self.place(), what, self.asked_by(crab, method, path, body).await?)
    }

    async fn asked_by(
        &self,
        crab: &Octocrab,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Response<Bytes>, ForgeError> {
        let request = Builder::new().method(method).uri(path).header(ACCEPT, MEDIA_TYPE);
        let request = crab.build_request(request, body).map_err(|error| self.failure(error))?;
        let (parts, body) = crab.execute(request).await.map_err(|error| self.failure(error))?.into_parts();
        let body = body.collect().await.map_err(|error| self.failure(error))?;
        Ok(Response::from_parts(parts, body.to_bytes()))
    }

    async fn outer(&self) -> Result<&Octocrab, ForgeError> {
        self.outer.get_or_try_init(|| async { Ok(octocrab(self.wire.clone(), self.authority()?)) }).await
    }

    async fn inner(&self) -> Result<&Octocrab, ForgeError> {
        let installed = || async {
            let outer = self.outer().await?;
            let what = format!("installation of the app in {}", self.project);
            let path = self.path("/installation");
            let response = self.asked_by(outer, Method::GET, &path, None).await?;
            let found: Installation = self.document(&what, &answer::judge(self.place(), &what, response)?)?;
            outer.installation(InstallationId(found.id)).map_err(|error| self.failure(error))
        };
        self.inner.get_or_try_init(installed).await
    }

    fn authority(&self) -> Result<AuthState, ForgeError> {
        Ok(match &self.identity {
            Identity::Token(token) => AuthState::AccessToken { token: token.clone() },
            Identity::App { id, key } => {
                let key = octocrab::auth::EncodingKey::from_rsa_pem(key.expose_secret().as_bytes());
                let key = key.map_err(|error| ForgeError::Refused {
                    forge: self.place().forge.clone(),
                    message: format!("the private key of the app is none: {error}"),
                    hint: "write the file that GitHub made for the app into forge.app_key_file".to_owned(),
                })?;
                AuthState::App(octocrab::auth::AppAuth { app_id: AppId(*id), key })
            }
        })
    }

    fn failure(&self, error: octocrab::Error) -> ForgeError {
        match error {
            octocrab::Error::Service { source, .. } => match source.downcast::<ForgeError>() {
                Ok(error) => *error,
                Err(other) => self.wire.unreachable(other.to_string()),
            },
            // How a key to an installation was refused.
            octocrab::Error::GitHub { source, .. } => {
                let body = serde_json::json!({ "message": source.message }).to_string();
                let told = Response::builder().status(source.status_code).body(Bytes::from(body));
                let judged = told.map(|response| answer::judge(self.place(), "installation of the app", response));
                judged.ok().and_then(Result::err).unwrap_or_else(|| self.wire.unreachable(source.message.clone()))
            }
            // The others print where in the program they arose.
            other => self.wire.unreachable(other.to_string().lines().next().unwrap_or_default().to_owned()),
        }
    }
}

/// GitHub's client, with our way to it in place of its own.
fn octocrab(wire: Arc<Wire>, authority: AuthState) -> Octocrab {
    let service = service_fn(move |request: http::Request<octocrab::OctoBody>| {
        let wire = wire.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.map_err(|error| wire.unreachable(error.to_string()))?.to_bytes();
            Ok::<_, ForgeError>(wire.send(http::Request::from_parts(parts, body)).await?.map(Full::new))
        }
    });
    OctocrabBuilder::new_empty()
        .with_service(service)
        .with_auth(authority)
        .build()
        .unwrap_or_else(|never| match never {})
}
