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
use jiff::Timestamp;
use url::Url;

use self::answers::Issue;
use self::api::Api;
use super::wire::{PATIENCE, Place, Wire, bearer};
use super::{Answer, Forge, host};
use crate::domain::name::Oid;
use crate::domain::review::{Comment, Offer, OwnIssue, Permission, Seen, Status, Thread, Wanted};
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
        Ok(Self { api: Api::new(wire, project.to_owned()), shown })
    }
}

impl Forge for GitLab {
    fn shown(&self) -> &str {
        &self.shown
    }

    fn me(&self) -> Answer<'_, String> {
        Box::pin(async { Ok(self.api.me().await?.username.clone()) })
    }

    fn reviews(&self, since: Timestamp) -> Answer<'_, Vec<Seen>> {
        Box::pin(self.all_reviews(since))
    }

    fn review(&self, number: u64) -> Answer<'_, Seen> {
        Box::pin(self.one_review(number))
    }

    fn open(&self, wanted: Wanted) -> Answer<'_, Seen> {
        Box::pin(self.open_review(wanted))
    }

    fn update(&self, number: u64, wanted: Wanted) -> Answer<'_, Seen> {
        Box::pin(self.update_review(number, wanted))
    }

    fn close(&self, number: u64, why: String) -> Answer<'_, ()> {
        Box::pin(self.close_review(number, why))
    }

    fn merge(&self, number: u64, head: Oid) -> Answer<'_, ()> {
        Box::pin(self.merge_review(number, head))
    }

    fn comments(&self, thread: Thread, since: Timestamp) -> Answer<'_, Vec<Comment>> {
        Box::pin(self.comments_since(thread, since))
    }

    fn say(&self, thread: Thread, key: String, text: String) -> Answer<'_, ()> {
        Box::pin(async move { self.say_once(thread, &key, &text).await })
    }

    fn permission(&self, person: String) -> Answer<'_, Permission> {
        Box::pin(async move { self.permission_of(&person).await })
    }

    fn offers(&self) -> Answer<'_, Vec<Offer>> {
        Box::pin(self.all_offers())
    }

    fn tell(&self, status: Status) -> Answer<'_, ()> {
        Box::pin(self.put_status(status))
    }

    fn issue(&self, key: String, title: String, body: String) -> Answer<'_, u64> {
        Box::pin(async move { self.put_issue(&key, &title, &body).await })
    }

    fn own_issue(&self, key: String) -> Answer<'_, Option<OwnIssue>> {
        Box::pin(async move { Ok(self.kept_issue(&key).await?.map(Issue::own)) })
    }
}
