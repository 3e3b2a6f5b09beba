//! Pull requests: those of ours, and those of people.

use std::collections::BTreeSet;

use http::Method;
use jiff::Timestamp;
use serde_json::json;

use super::Gitea;
use super::answers::{Event, Label, Opinion, Pull, approvals, closer};
use crate::domain::name::Oid;
use crate::domain::review::{Offer, Seen, Stage, Thread, Wanted};
use crate::forge::{ForgeError, each_once, is_of_review, lacking, made_or_found, mark};

/// What labels that we make look like.
const COLOUR: &str = "#ededed";

impl Gitea {
    pub(super) async fn all_reviews(&self, since: Timestamp) -> Result<Vec<Seen>, ForgeError> {
        let opened = self.opened().await?;
        let closed = "/pulls?state=closed&sort=recentupdate";
        let closed = self.api.all("pull requests", closed, |pull: &Pull| pull.updated_at >= since).await?;
        let closed = closed.into_iter().filter(|pull| pull.updated_at >= since);
        let both = opened.into_iter().chain(closed).filter(|pull| self.is_review(pull));
        let mut seen = Vec::new();
        for review in each_once(both.map(Pull::seen).collect()) {
            seen.push(self.with_closer(review).await?);
        }
        Ok(seen)
    }

    async fn opened(&self) -> Result<Vec<Pull>, ForgeError> {
        self.api.all("pull requests", "/pulls?state=open&sort=oldest", |_| true).await
    }

    pub(super) async fn one_review(&self, number: u64) -> Result<Seen, ForgeError> {
        let mut seen = self.with_closer(self.pull(number).await?.seen()).await?;
        let (approved, everybody) = approvals(&self.opinions(number).await?, seen.head);
        seen.approved_by = approved;
        seen.reviewers.extend(everybody);
        Ok(seen)
    }

    async fn opinions(&self, number: u64) -> Result<Vec<Opinion>, ForgeError> {
        self.api.all("reviews", &format!("/pulls/{number}/reviews"), |_| true).await
    }

    /// Pull requests do not say who closed them.
    async fn with_closer(&self, mut seen: Seen) -> Result<Seen, ForgeError> {
        if let Stage::Closed { by } = &mut seen.stage {
            let path = format!("/issues/{}/timeline", seen.number);
            *by = closer(&self.api.all::<Event>("events", &path, |_| true).await?);
        }
        Ok(seen)
    }

    pub(super) async fn all_offers(&self) -> Result<Vec<Offer>, ForgeError> {
        Ok(self.opened().await?.into_iter().filter(|pull| !self.is_review(pull)).map(Pull::offer).collect())
    }

    fn is_review(&self, pull: &Pull) -> bool {
        pull.is_from(&self.api.project) && is_of_review(pull.branch())
    }

    async fn pull(&self, number: u64) -> Result<Pull, ForgeError> {
        self.api.get(&format!("pull request {number}"), &format!("/pulls/{number}")).await
    }

    pub(super) async fn open_review(&self, wanted: Wanted) -> Result<Seen, ForgeError> {
        let body = json!({"title": wanted.title, "head": wanted.branch, "base": wanted.base, "body": wanted.body});
        let made = self.api.make("repository", Method::POST, "/pulls", &body).await;
        let pull: Pull = made_or_found(made, self.open_one_of(&wanted.branch)).await?;
        self.dress(pull.seen(), &wanted).await
    }

    async fn open_one_of(&self, branch: &str) -> Result<Option<Pull>, ForgeError> {
        let is_it = |pull: &Pull| pull.branch() == branch && pull.is_from(&self.api.project);
        Ok(self.opened().await?.into_iter().find(is_it))
    }

    pub(super) async fn update_review(&self, number: u64, wanted: Wanted) -> Result<Seen, ForgeError> {
        let seen = self.pull(number).await?.seen();
        self.dress(seen, &wanted).await
    }

    /// Gives an open review what it lacks of what is wanted.
    async fn dress(&self, mut seen: Seen, wanted: &Wanted) -> Result<Seen, ForgeError> {
        if seen.title != wanted.title || !mark::same(&seen.body, &wanted.body) {
            let body = json!({"title": wanted.title, "body": wanted.body});
            let path = format!("/pulls/{}", seen.number);
            seen = self.api.make::<Pull>("pull request", Method::PATCH, &path, &body).await?.seen();
        }
        self.label(&mut seen, &wanted.labels).await?;
        self.unlabel(&mut seen, &wanted.labels_off).await?;
        self.assign(&mut seen, &wanted.assignees).await?;
        self.request(&mut seen, &wanted.reviewers).await?;
        Ok(seen)
    }

    /// Labels are put on by their numbers, which all versions understand.
    async fn label(&self, seen: &mut Seen, wanted: &BTreeSet<String>) -> Result<(), ForgeError> {
        let missing: Vec<_> = wanted.difference(&seen.labels).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let known: Vec<Label> = self.api.all("labels", "/labels", |_| true).await?;
        let mut ids = Vec::new();
        for name in missing {
            let there = known.iter().find(|label| label.name == *name).map(|label| label.id);
            ids.push(if let Some(id) = there {
                id
            } else {
                let body = json!({"name": name, "color": COLOUR});
                self.api.make::<Label>("repository", Method::POST, "/labels", &body).await?.id
            });
        }
        let path = format!("/issues/{}/labels", seen.number);
        let labels: Vec<Label> = self.api.make("pull request", Method::POST, &path, &json!({ "labels": ids })).await?;
        seen.labels = labels.into_iter().map(|label| label.name).collect();
        Ok(())
    }

    async fn unlabel(&self, seen: &mut Seen, off: &BTreeSet<String>) -> Result<(), ForgeError> {
        let off: Vec<_> = off.intersection(&seen.labels).cloned().collect();
        if off.is_empty() {
            return Ok(());
        }
        let known: Vec<Label> = self.api.all("labels", "/labels", |_| true).await?;
        for label in known.into_iter().filter(|label| off.contains(&label.name)) {
            let path = format!("/issues/{}/labels/{}", seen.number, label.id);
            self.api.take_away("label", &path).await?;
            seen.labels.remove(&label.name);
        }
        Ok(())
    }

    /// The list is replaced as a whole: whoever is there stays. One who cannot be asked must not keep the others from being
    /// asked.
    async fn assign(&self, seen: &mut Seen, wanted: &BTreeSet<String>) -> Result<(), ForgeError> {
        for login in lacking(wanted, &seen.assignees) {
            let mut all = seen.assignees.clone();
            all.insert(login.clone());
            let path = format!("/pulls/{}", seen.number);
            match self.api.change("pull request", Method::PATCH, &path, &json!({ "assignees": all })).await {
                Ok(_) => seen.assignees = all,
                Err(error) => excuse(error, seen.number, &login)?,
            }
        }
        Ok(())
    }

    async fn request(&self, seen: &mut Seen, wanted: &BTreeSet<String>) -> Result<(), ForgeError> {
        let mut missing = lacking(wanted, &seen.reviewers);
        missing.retain(|login| !login.eq_ignore_ascii_case(&seen.author));
        if missing.is_empty() {
            return Ok(());
        }
        seen.reviewers.extend(approvals(&self.opinions(seen.number).await?, seen.head).1);
        let path = format!("/pulls/{}/requested_reviewers", seen.number);
        for login in lacking(&missing.into_iter().collect(), &seen.reviewers) {
            match self.api.change("pull request", Method::POST, &path, &json!({"reviewers": [login]})).await {
                Ok(_) => drop(seen.reviewers.insert(login)),
                Err(error) => excuse(error, seen.number, &login)?,
            }
        }
        Ok(())
    }

    pub(super) async fn close_review(&self, number: u64, why: String) -> Result<(), ForgeError> {
        if !self.pull(number).await?.is_open() {
            return Ok(());
        }
        self.say_once(Thread::Review(number), "closed", &why).await?;
        let path = format!("/pulls/{number}");
        self.api.change("pull request", Method::PATCH, &path, &json!({"state": "closed"})).await.map(drop)
    }

    pub(super) async fn merge_review(&self, number: u64, head: Oid) -> Result<(), ForgeError> {
        let path = format!("/pulls/{number}/merge");
        let body = json!({"Do": "merge", "head_commit_id": head});
        let made = self.api.change("pull request", Method::POST, &path, &body).await.map(drop);
        let is_merged = async {
            let pull = self.pull(number).await?;
            Ok((pull.merged && pull.head.sha == head).then_some(()))
        };
        made_or_found(made, is_merged).await
    }
}

/// Somebody who cannot be asked is left out; everything else is an error.
fn excuse(error: ForgeError, review: u64, account: &str) -> Result<(), ForgeError> {
    match error {
        ForgeError::Conflict { .. } | ForgeError::Missing { .. } => {
            tracing::warn!(error = &error as &dyn std::error::Error, review, account, "cannot be asked");
            Ok(())
        }
        other => Err(other),
    }
}
