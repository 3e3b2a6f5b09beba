//! Merge requests: those of ours, and those of people.

use gitlab::api::common::SortOrder;
use gitlab::api::projects::merge_requests::approvals::MergeRequestApprovals;
use gitlab::api::projects::merge_requests::{
    CreateMergeRequest, EditMergeRequest, MergeMergeRequest, MergeRequest as One, MergeRequestOrderBy,
    MergeRequestState, MergeRequestStateEvent, MergeRequests,
};
use gitlab::api::users::Users;
use jiff::Timestamp;

use super::GitLab;
use super::answers::{Account, Approvals, MergeRequest, State, Version};
use crate::domain::name::Oid;
use crate::domain::review::{Offer, Seen, Stage, Thread, Wanted};
use crate::forge::{ForgeError, each_once, encoded, is_of_review, lacking, made_or_found, mark};

/// Why building an endpoint cannot fail.
const WHOLE: &str = "everything that it needs was given";

impl GitLab {
    pub(super) async fn all_reviews(&self, since: Timestamp) -> Result<Vec<Seen>, ForgeError> {
        let opened = self.opened(None).await?;
        let query = format!("/merge_requests?state=all&updated_after={}", encoded(&since.to_string()));
        let recent: Vec<MergeRequest> = self.api.list("merge requests", &query).await?;
        let reviews = opened.into_iter().chain(recent).filter(is_review);
        Ok(each_once(reviews.map(MergeRequest::seen).collect()))
    }

    async fn opened(&self, branch: Option<&str>) -> Result<Vec<MergeRequest>, ForgeError> {
        let mut endpoint = MergeRequests::builder();
        endpoint.project(self.api.project.as_str()).state(MergeRequestState::Opened);
        endpoint.order_by(MergeRequestOrderBy::CreatedAt).sort(SortOrder::Ascending);
        if let Some(branch) = branch {
            endpoint.source_branch(branch.to_owned());
        }
        self.api.all("merge requests", &endpoint.build().expect(WHOLE)).await
    }

    pub(super) async fn one_review(&self, number: u64) -> Result<Seen, ForgeError> {
        let mut seen = self.request(number).await?.seen();
        if seen.stage == Stage::Open {
            let endpoint =
                MergeRequestApprovals::builder().project(self.api.project.as_str()).merge_request(number).build();
            let approvals: Approvals = match self.api.get("merge request", &endpoint.expect(WHOLE)).await {
                // Not every edition knows approvals.
                Err(ForgeError::Missing { .. }) => Approvals::default(),
                other => other?,
            };
            let versions = format!("/merge_requests/{number}/versions");
            let versions: Vec<Version> = self.api.list("merge request", &versions).await?;
            seen.approved_by = approvals.of(seen.head, &versions);
        }
        Ok(seen)
    }

    async fn request(&self, number: u64) -> Result<MergeRequest, ForgeError> {
        let endpoint = One::builder().project(self.api.project.as_str()).merge_request(number).build().expect(WHOLE);
        self.api.get(&format!("merge request {number}"), &endpoint).await
    }

    pub(super) async fn all_offers(&self) -> Result<Vec<Offer>, ForgeError> {
        let opened = self.opened(None).await?;
        Ok(opened.into_iter().filter(|it| !is_review(it)).map(MergeRequest::offer).collect())
    }

    pub(super) async fn open_review(&self, wanted: Wanted) -> Result<Seen, ForgeError> {
        let endpoint = CreateMergeRequest::builder()
            .project(self.api.project.as_str())
            .source_branch(wanted.branch.as_str())
            .target_branch(wanted.base.as_str())
            .title(wanted.title.as_str())
            .description(wanted.body.as_str())
            .labels(wanted.labels.iter().map(String::as_str))
            .build()
            .expect(WHOLE);
        let made = self.api.get("project", &endpoint).await;
        let found = made_or_found(made, self.open_one_of(&wanted.branch)).await?;
        self.dress(found, &wanted).await
    }

    async fn open_one_of(&self, branch: &str) -> Result<Option<MergeRequest>, ForgeError> {
        Ok(self.opened(Some(branch)).await?.into_iter().find(|it| it.branch() == branch && it.is_own()))
    }

    pub(super) async fn update_review(&self, number: u64, wanted: Wanted) -> Result<Seen, ForgeError> {
        let found = self.request(number).await?;
        self.dress(found, &wanted).await
    }

    /// Gives an open review what it lacks of what is wanted.
    async fn dress(&self, found: MergeRequest, wanted: &Wanted) -> Result<Seen, ForgeError> {
        let (assignees, reviewers) = (found.assignees.clone(), found.reviewers.clone());
        let seen = found.seen();
        let mut edit = EditMergeRequest::builder();
        edit.project(self.api.project.as_str()).merge_request(seen.number);
        let mut differs = false;
        if seen.title != wanted.title || !mark::same(&seen.body, &wanted.body) {
            edit.title(wanted.title.as_str()).description(wanted.body.as_str());
            differs = true;
        }
        for label in wanted.labels.difference(&seen.labels) {
            edit.add_label(label.as_str());
            differs = true;
        }
        for label in wanted.labels_off.intersection(&seen.labels) {
            edit.remove_label(label.as_str());
            differs = true;
        }
        // Both lists are replaced as wholes: whoever is there stays.
        let missing = self.accounts(lacking(&wanted.assignees, &seen.assignees)).await?;
        if !missing.is_empty() {
            edit.assignees(assignees.iter().chain(&missing).map(|account| account.id));
            differs = true;
        }
        let missing = self.accounts(lacking(&wanted.reviewers, &seen.reviewers)).await?;
        if !missing.is_empty() {
            edit.reviewers(reviewers.iter().chain(&missing).map(|account| account.id));
            differs = true;
        }
        if !differs {
            return Ok(seen);
        }
        let edited: MergeRequest = self.api.get("merge request", &edit.build().expect(WHOLE)).await?;
        Ok(edited.seen())
    }

    /// The accounts of people. Who has none cannot be asked, and must not keep the others from being asked.
    async fn accounts(&self, names: Vec<String>) -> Result<Vec<Account>, ForgeError> {
        let mut accounts = Vec::new();
        for name in names {
            if let Some(account) = self.account(&name).await? {
                accounts.push(account);
            } else {
                tracing::warn!(account = name, "GitLab has no such account, so it cannot be asked");
            }
        }
        Ok(accounts)
    }

    pub(super) async fn account(&self, name: &str) -> Result<Option<Account>, ForgeError> {
        let endpoint = Users::builder().username(name).build().expect(WHOLE);
        let found: Vec<Account> = self.api.all("accounts", &endpoint).await?;
        Ok(found.into_iter().find(|account| account.username.eq_ignore_ascii_case(name)))
    }

    pub(super) async fn close_review(&self, number: u64, why: String) -> Result<(), ForgeError> {
        if !matches!(self.request(number).await?.state, State::Opened | State::Locked) {
            return Ok(());
        }
        self.say_once(Thread::Review(number), "closed", &why).await?;
        let endpoint = EditMergeRequest::builder()
            .project(self.api.project.as_str())
            .merge_request(number)
            .state_event(MergeRequestStateEvent::Close)
            .build()
            .expect(WHOLE);
        self.api.change("merge request", &endpoint).await.map(drop)
    }

    pub(super) async fn merge_review(&self, number: u64, head: Oid) -> Result<(), ForgeError> {
        let endpoint = MergeMergeRequest::builder()
            .project(self.api.project.as_str())
            .merge_request(number)
            .sha(head.to_string())
            .build()
            .expect(WHOLE);
        let made = self.api.change("merge request", &endpoint).await.map(drop);
        let is_merged = async {
            let found = self.request(number).await?;
            Ok((found.state == State::Merged && found.sha == Some(head)).then_some(()))
        };
        made_or_found(made, is_merged).await
    }
}

fn is_review(request: &MergeRequest) -> bool {
    request.is_own() && is_of_review(request.branch())
}
