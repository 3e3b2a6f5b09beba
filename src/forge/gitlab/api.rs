//! Questions to GitLab: the `gitlab` crate knows what is asked where, the way there is our own.

use bytes::Bytes;
use gitlab::api::Endpoint;
use http::Method;
use serde::de::DeserializeOwned;
use tokio::sync::OnceCell;

use super::answers::Account;
use crate::forge::ForgeError;
use crate::forge::wire::Wire;

/// As many of a list as are told at once.
const SIZE: &str = "per_page=100";

/// One project on GitLab.
#[derive(Debug)]
pub(super) struct Api {
    wire: Wire,
    /// Its path: `group/subgroup/name`.
    pub(super) project: String,
    me: OnceCell<Account>,
}

impl Api {
    pub(super) fn new(wire: Wire, project: String) -> Self {
        Self { wire, project, me: OnceCell::new() }
    }

    /// The account that asks.
    pub(super) async fn me(&self) -> Result<&Account, ForgeError> {
        let user = gitlab::api::users::CurrentUser::builder().build().expect("it needs nothing");
        self.me.get_or_try_init(|| async move { self.get("account of this token", &user).await }).await
    }

    /// A document, or something done that is answered with one.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        what: &str,
        endpoint: &(impl Endpoint + Sync),
    ) -> Result<T, ForgeError> {
        let body = self.body(endpoint)?;
        let response = self.wire.ask(what, endpoint.method(), &path(endpoint), body).await?;
        self.wire.document(what, &response)
    }

    /// A list with all of its pages.
    pub(super) async fn all<T: DeserializeOwned>(
        &self,
        what: &str,
        endpoint: &(impl Endpoint + Sync),
    ) -> Result<Vec<T>, ForgeError> {
        self.wire.pages(what, &path(endpoint), SIZE, |_| true).await
    }

    /// A list of the project that the crate does not know.
    pub(super) async fn list<T: DeserializeOwned>(&self, what: &str, rest: &str) -> Result<Vec<T>, ForgeError> {
        let project = crate::forge::encoded(&self.project);
        self.wire.pages(what, &format!("/projects/{project}{rest}"), SIZE, |_| true).await
    }

    /// Has something done whose answer says nothing more.
    pub(super) async fn change(&self, what: &str, endpoint: &(impl Endpoint + Sync)) -> Result<Bytes, ForgeError> {
        debug_assert_ne!(endpoint.method(), Method::GET);
        let body = self.body(endpoint)?;
        Ok(self.wire.ask(what, endpoint.method(), &path(endpoint), body).await?.into_body())
    }

    /// Something that cannot be asked of GitLab at all.
    pub(super) fn impossible(&self, message: String) -> ForgeError {
        ForgeError::Conflict { forge: self.wire.place().forge.clone(), message }
    }

    fn body(&self, endpoint: &impl Endpoint) -> Result<Option<(&'static str, Vec<u8>)>, ForgeError> {
        endpoint.body().map_err(|error| self.wire.unreachable(error.to_string()))
    }
}

/// The path of an endpoint with its query.
fn path(endpoint: &impl Endpoint) -> String {
    let place = format!("https://gitlab.invalid/{}", endpoint.endpoint());
    let mut url = url::Url::parse(&place).expect("paths of endpoints are encoded");
    endpoint.parameters().add_to_url(&mut url);
    let query = url.query().filter(|query| !query.is_empty()).map(|query| format!("?{query}"));
    format!("{}{}", url.path(), query.unwrap_or_default())
}
