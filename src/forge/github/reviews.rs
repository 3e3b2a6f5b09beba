//! Pull requests: those of ours, and those of people.

use std::collections::BTreeSet;

use http::Method;
use jiff::Timestamp;
use serde_json::json;

use super::GitHub;
use super::answers::{Issue, Label, Opinion, Project, Pull, State, approvals};
use crate::domain::name::Oid;
use crate::domain::review::{Offer, Seen, Stage, Thread, Wanted};
use crate::forge::{ForgeError, each_once, encoded, is_of_review, lacking, made_or_found, mark};

impl GitHub {
    pub(super) async fn all_reviews(&self, since: Timestamp) -> Result<Vec<Seen>, ForgeError> {
        let open = self.api.path("/pulls?state=open&sort=created&direction=asc");
        let open: Vec<Pull> = self.api.all("pull requests", &open, |_| true).await?;
        let closed = self.api.path("/pulls?state=closed&sort=updated&direction=desc");
        let closed = self.api.all("pull requests", &closed, |pull: &Pull| pull.updated_at >= since).await?;
        let closed = closed.into_iter().filter(|pull| pull.updated_at >= since);
        let both = open.into_iter().chain(closed).filter(|pull| self.is_review(pull));
        let mut seen = Vec::new();
        for review in each_once(both.map(Pull::seen).collect()) {
            seen.push(self.with_closer(review).await?);
        }
        Ok(seen)
    }

    pub(super) async fn one_review(&self, number: u64) -> Result<Seen, ForgeError> {
        let pull = self.pull(number).await?;
        let opinions = self.api.path(&format!("/pulls/{number}/reviews"));
        let opinions: Vec<Opinion> = self.api.all("reviews", &opinions, |_| true).await?;
        let mut seen = self.with_closer(pull.seen()).await?;
        let (approved, everybody) = approvals(&opinions, seen.head);
        seen.approved_by = approved;
        seen.reviewers.extend(everybody);
        Ok(seen)
    }

    /// Lists of pull requests do not say who closed one.
    async fn with_closer(&self, mut seen: Seen) -> Result<Seen, ForgeError> {
        if let Stage::Closed { by } = &mut seen.stage {
            let path = self.api.path(&format!("/issues/{}", seen.number));
            *by = self.api.get::<Issue>("pull request", &path).await?.closed_by.map(|account| account.login);
        }
        Ok(seen)
    }

    pub(super) async fn all_offers(&self) -> Result<Vec<Offer>, ForgeError> {
        let open = self.api.path("/pulls?state=open&sort=created&direction=asc");
        let open: Vec<Pull> = self.api.all("pull requests", &open, |_| true).await?;
        Ok(open.into_iter().filter(|pull| !self.is_review(pull)).map(Pull::offer).collect())
    }

    fn is_review(&self, pull: &Pull) -> bool {
        pull.is_from(&self.api.project) && is_of_review(&pull.head.branch)
    }

    async fn pull(&self, number: u64) -> Result<Pull, ForgeError> {
        self.api.get(&format!("pull request {number}"), &self.api.path(&format!("/pulls/{number}"))).await
    }

    pub(super) async fn open_review(&self, wanted: Wanted) -> Result<Seen, ForgeError> {
        let body = json!({"title": wanted.title, "head": wanted.branch, "base": wanted.base, "body": wanted.body});
        let made = self.api.make("repository", Method::POST, &self.api.path("/pulls"), &body).await;
        let pull: Pull = made_or_found(made, self.open_one_of(&wanted.branch)).await?;
        self.dress(pull.seen(), &wanted).await
    }

    async fn open_one_of(&self, branch: &str) -> Result<Option<Pull>, ForgeError> {
        let owner = self.api.project.split('/').next().unwrap_or_default();
        let head = encoded(&format!("{owner}:{branch}"));
        let path = self.api.path(&format!("/pulls?state=open&head={head}"));
        let found: Vec<Pull> = self.api.all("pull requests", &path, |_| true).await?;
        Ok(found.into_iter().find(|pull| pull.head.branch == branch && pull.is_from(&self.api.project)))
    }

    pub(super) async fn update_review(&self, number: u64, wanted: Wanted) -> Result<Seen, ForgeError> {
        let seen = self.pull(number).await?.seen();
        self.dress(seen, &wanted).await
    }

    /// Gives an open review what it lacks of what is wanted.
    async fn dress(&self, mut seen: Seen, wanted: &Wanted) -> Result<Seen, ForgeError> {
        if seen.title != wanted.title || !mark::same(&seen.body, &wanted.body) {
            let path = self.api.path(&format!("/pulls/{}", seen.number));
            let body = json!({"title": wanted.title, "body": wanted.body});
            let (labels, reviewers) = (seen.labels, seen.reviewers);
            seen = self.api.make::<Pull>("pull request", Method::PATCH, &path, &body).await?.seen();
            seen.labels.extend(labels);
            seen.reviewers.extend(reviewers);
        }
        self.label(&mut seen, &wanted.labels).await?;
        self.unlabel(&mut seen, &wanted.labels_off).await?;
        self.assign(&mut seen, &wanted.assignees).await?;
        self.request(&mut seen, &wanted.reviewers).await?;
        Ok(seen)
    }

    async fn label(&self, seen: &mut Seen, wanted: &BTreeSet<String>) -> Result<(), ForgeError> {
        let missing: Vec<_> = wanted.difference(&seen.labels).collect();
        if !missing.is_empty() {
            let path = self.api.path(&format!("/issues/{}/labels", seen.number));
            let body = json!({ "labels": missing });
            let labels: Vec<Label> = self.api.make("pull request", Method::POST, &path, &body).await?;
            seen.labels = labels.into_iter().map(|label| label.name).collect();
        }
        Ok(())
    }

    async fn unlabel(&self, seen: &mut Seen, off: &BTreeSet<String>) -> Result<(), ForgeError> {
        for label in off.intersection(&seen.labels.clone()) {
            let path = self.api.path(&format!("/issues/{}/labels/{}", seen.number, encoded(label)));
            self.api.take_away("label", &path).await?;
            seen.labels.remove(label);
        }
        Ok(())
    }

    /// Whom GitHub does not let be assigned, it leaves out without a word.
    async fn assign(&self, seen: &mut Seen, wanted: &BTreeSet<String>) -> Result<(), ForgeError> {
        let missing: Vec<_> = lacking(wanted, &seen.assignees);
        if !missing.is_empty() {
            let path = self.api.path(&format!("/issues/{}/assignees", seen.number));
            self.api.change("pull request", Method::POST, &path, &json!({ "assignees": missing })).await?;
            seen.assignees.extend(missing);
        }
        Ok(())
    }

    /// One who cannot be asked must not keep the others from being asked.
    async fn request(&self, seen: &mut Seen, wanted: &BTreeSet<String>) -> Result<(), ForgeError> {
        let mut missing = lacking(wanted, &seen.reviewers);
        missing.retain(|login| !login.eq_ignore_ascii_case(&seen.author));
        if missing.is_empty() {
            return Ok(());
        }
        // Whoever has reviewed it is no longer listed as asked.
        let path = self.api.path(&format!("/pulls/{}/reviews", seen.number));
        let opinions: Vec<Opinion> = self.api.all("reviews", &path, |_| true).await?;
        seen.reviewers.extend(approvals(&opinions, seen.head).1);
        let path = self.api.path(&format!("/pulls/{}/requested_reviewers", seen.number));
        for login in lacking(&missing.into_iter().collect(), &seen.reviewers) {
            match self.api.change("pull request", Method::POST, &path, &json!({"reviewers": [login]})).await {
                Ok(_) => drop(seen.reviewers.insert(login)),
                Err(ForgeError::Conflict { message, .. }) => {
                    tracing::warn!(review = seen.number, reviewer = login, message, "cannot be asked to review");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    pub(super) async fn close_review(&self, number: u64, why: String) -> Result<(), ForgeError> {
        if self.pull(number).await?.state == State::Closed {
            return Ok(());
        }
        self.say_once(Thread::Review(number), "closed", &why).await?;
        let path = self.api.path(&format!("/pulls/{number}"));
        self.api.change("pull request", Method::PATCH, &path, &json!({"state": "closed"})).await.map(drop)
    }

    pub(super) async fn merge_review(&self, number: u64, head: Oid) -> Result<(), ForgeError> {
        let project: Project = self.api.get("repository", &self.api.path("")).await?;
        let path = self.api.path(&format!("/pulls/{number}/merge"));
        let body = json!({"sha": head, "merge_method": project.merge_method()});
        let made = self.api.change("pull request", Method::PUT, &path, &body).await.map(drop);
        let is_merged = async {
            let pull = self.pull(number).await?;
            Ok((pull.merged_at.is_some() && pull.head.sha == head).then_some(()))
        };
        made_or_found(made, is_merged).await
    }
}
