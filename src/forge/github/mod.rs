//! GitHub, and GitHub Enterprise Server: pull requests, issues and commit statuses over its REST API.
//!
//! Octocrab says who we are (a token, or an app and its installation); the way there is our own, see
//! [`super::wire`]. Its models are not used: they hold everything, and an answer that lacks something nobody reads
//! would not be understood.

mod answers;
mod api;
mod checks;
mod reviews;
mod talk;
pub mod webhook;

use std::sync::Arc;

use url::Url;

use self::api::Api;
pub use self::api::Identity;
use super::delegate::answers_as_forge;
use super::wire::{PATIENCE, Place, Wire};
use super::{ForgeError, host};
use crate::sys::clock::Clock;

/// What a token has to be allowed.
const SCOPES: &str = "the permissions contents, pull requests, issues and commit statuses (of an app: checks), each to \
                      read and write (of a classic token: the scope `repo`)";

/// A project on GitHub.
#[derive(Debug)]
pub struct GitHub {
    api: Api,
    shown: String,
}

impl GitHub {
    /// The project `owner/name` at an API: `https://api.github.com`, or `https://HOST/api/v3`. Nothing is asked yet.
    pub fn new(api: Url, project: &str, identity: Identity, clock: Arc<dyn Clock>) -> Self {
        let host = host(&api);
        let host = if host == "api.github.com" { "github.com" } else { &host };
        let (shown, forge) = (format!("{host}/{project}"), format!("GitHub at {host}"));
        let wire = Wire::new(Place { forge, api, scopes: SCOPES }, None, PATIENCE, clock);
        Self { api: Api::new(wire, identity, project.to_owned()), shown }
    }

    async fn my_name(&self) -> Result<String, ForgeError> {
        self.api.me().await.map(str::to_owned)
    }
}

answers_as_forge!(GitHub);
