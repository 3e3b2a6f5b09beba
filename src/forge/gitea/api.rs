//! Questions to Gitea and Forgejo.

use bytes::Bytes;
use http::Method;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::OnceCell;

use super::answers::Account;
use crate::forge::wire::Wire;
use crate::forge::wire::ask::JSON;
use crate::forge::{ForgeError, gone};

/// As many of a list as are told at once, unless an administrator says otherwise.
const SIZE: &str = "limit=50";

/// One project on Gitea or Forgejo.
#[derive(Debug)]
pub(super) struct Api {
    wire: Wire,
    /// `owner/name`.
    pub(super) project: String,
    me: OnceCell<Account>,
}

impl Api {
    pub(super) fn new(wire: Wire, project: String) -> Self {
        Self { wire, project, me: OnceCell::new() }
    }

    /// The name of the account that asks.
    pub(super) async fn me(&self) -> Result<&str, ForgeError> {
        let asked = self.me.get_or_try_init(|| async {
            let response = self.wire.ask("account of this token", Method::GET, "/user", None).await?;
            self.wire.document("account", &response)
        });
        asked.await.map(|account| account.login.as_str())
    }

    /// A document of the project.
    pub(super) async fn get<T: DeserializeOwned>(&self, what: &str, rest: &str) -> Result<T, ForgeError> {
        self.wire.document(what, &self.wire.ask(what, Method::GET, &self.path(rest), None).await?)
    }

    /// A list of the project with all of its pages, as long as `goes_on` says so of the last of each.
    pub(super) async fn all<T: DeserializeOwned>(
        &self,
        what: &str,
        rest: &str,
        goes_on: impl Fn(&T) -> bool,
    ) -> Result<Vec<T>, ForgeError> {
        self.wire.pages(what, &self.path(rest), SIZE, goes_on).await
    }

    /// Has something done.
    pub(super) async fn change(
        &self,
        what: &str,
        method: Method,
        rest: &str,
        body: &Value,
    ) -> Result<Bytes, ForgeError> {
        let body = Some((JSON, body.to_string().into_bytes()));
        Ok(self.wire.ask(what, method, &self.path(rest), body).await?.into_body())
    }

    /// Has something taken away, which may be gone already.
    pub(super) async fn take_away(&self, what: &str, rest: &str) -> Result<(), ForgeError> {
        gone(self.wire.ask(what, Method::DELETE, &self.path(rest), None).await)
    }

    /// Has something done that is answered with a document.
    pub(super) async fn make<T: DeserializeOwned>(
        &self,
        what: &str,
        method: Method,
        rest: &str,
        body: &Value,
    ) -> Result<T, ForgeError> {
        let body = Some((JSON, body.to_string().into_bytes()));
        self.wire.document(what, &self.wire.ask(what, method, &self.path(rest), body).await?)
    }

    fn path(&self, rest: &str) -> String {
        format!("/repos/{}{rest}", self.project)
    }
}
