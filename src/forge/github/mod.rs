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

use jiff::Timestamp;
use url::Url;

use self::answers::Issue;
use self::api::Api;
pub use self::api::Identity;
use super::wire::{PATIENCE, Place, Wire};
use super::{Answer, Forge, host};
use crate::domain::name::Oid;
use crate::domain::review::{Comment, Offer, OwnIssue, Permission, Seen, Status, Thread, Wanted};
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
}

impl Forge for GitHub {
    fn shown(&self) -> &str {
        &self.shown
    }

    fn me(&self) -> Answer<'_, String> {
        Box::pin(async { self.api.me().await.map(str::to_owned) })
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
        match self.api.app() {
            Some(app) => Box::pin(self.put_check(app, status)),
            None => Box::pin(self.put_status(status)),
        }
    }

    fn issue(&self, key: String, title: String, body: String) -> Answer<'_, u64> {
        Box::pin(async move { self.put_issue(&key, &title, &body).await })
    }

    fn own_issue(&self, key: String) -> Answer<'_, Option<OwnIssue>> {
        Box::pin(async move { Ok(self.kept_issue(&key).await?.map(Issue::own)) })
    }
}
