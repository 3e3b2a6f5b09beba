//! GitLab: merge requests, issues and commit statuses over its REST API.
//!
//! The `gitlab` crate knows the endpoints and their parameters; the way there is our own, see [`super::wire`].

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
use crate::domain::name::Oid;
use crate::sys::clock::Clock;
use crate::sys::secret::{ExposeSecret as _, SecretString};

/// What a token has to be allowed.
const SCOPES: &str =
    "the scope `api`, and the role Developer in the project (Maintainer, to merge into a protected branch)";

/// A project on GitLab.
#[derive(Debug)]
pub struct GitLab {
    api: Api,
    shown: String,
    /// The pipeline that we run in, and the commit that it is for.
    pipeline: Option<(u64, Oid)>,
}

impl GitLab {
    /// The project `group/name` at an API: `https://HOST/api/v4`. Nothing is asked yet.
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
        let place = Place { forge: format!("GitLab at {}", host(&api)), api, scopes: SCOPES };
        let wire = Wire::new(place, Some(bearer(token.expose_secret())?), PATIENCE, clock);
        Ok(Self { api: Api::new(wire, project.to_owned()), shown, pipeline: None })
    }

    /// In a pipeline that was started for this commit: what is told of it stands in that pipeline, where nobody names
    /// another.
    #[must_use]
    pub fn within(self, pipeline: Option<(u64, Oid)>) -> Self {
        Self { pipeline, ..self }
    }

    async fn my_name(&self) -> Result<String, ForgeError> {
        Ok(self.api.me().await?.username.clone())
    }
}

answers_as_forge!(GitLab);
