//! Gitea and Forgejo: pull requests, issues and commit statuses over their REST API, which is the same as far as it is
//! used here. Asked without a library, see `docs/decisions/0014-ways-to-forges.md`.

mod answers;
mod api;
mod reviews;
mod talk;
pub mod webhook;

use std::sync::Arc;

use http::header::InvalidHeaderValue;
use url::Url;

use self::api::Api;
use super::delegate::answers_as_forge;
use super::wire::{PATIENCE, Place, Wire, bearer};
use super::{ForgeError, host};
use crate::sys::clock::Clock;
use crate::sys::secret::{ExposeSecret as _, SecretString};

/// What a token has to be allowed.
const SCOPES: &str =
    "the scopes write:repository, write:issue and read:user, and its account has to be an administrator of the project";

/// A project on Gitea.
#[derive(Debug)]
pub struct Gitea {
    api: Api,
    shown: String,
}

impl Gitea {
    /// The project `owner/name` at an API: `https://HOST/api/v1`. Nothing is asked yet.
    ///
    /// # Errors
    /// If the token cannot be sent.
    pub fn new(
        api: Url,
        project: &str,
        token: &SecretString,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, InvalidHeaderValue> {
        let shown = format!("{}/{project}", host(&api));
        let place = Place { forge: format!("Gitea at {}", host(&api)), api, scopes: SCOPES };
        let wire = Wire::new(place, Some(bearer(token.expose_secret())?), PATIENCE, clock);
        Ok(Self { api: Api::new(wire, project.to_owned()), shown })
    }

    async fn my_name(&self) -> Result<String, ForgeError> {
        Ok(self.api.me().await?.to_owned())
    }
}

answers_as_forge!(Gitea);
