//! What GitLab answers, as far as it is read.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Deserialize;

use crate::domain::name::Oid;
use crate::domain::review::{Comment, Offer, OwnIssue, Permission, Seen, Stage};

/// Maintainers may change a project.
const MAINTAINER: u64 = 40;
/// Developers may push.
const DEVELOPER: u64 = 30;

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Account {
    pub(super) id: u64,
    pub(super) username: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    Opened,
    Closed,
    Merged,
    /// While it is being merged.
    Locked,
}

#[derive(Debug, Deserialize)]
pub(super) struct MergeRequest {
    pub(super) iid: u64,
    web_url: String,
    pub(super) state: State,
    title: String,
    description: Option<String>,
    source_branch: String,
    target_branch: String,
    source_project_id: Option<u64>,
    target_project_id: u64,
    /// Not there while GitLab still compares.
    pub(super) sha: Option<Oid>,
    author: Option<Account>,
    closed_by: Option<Account>,
    #[serde(default)]
    labels: BTreeSet<String>,
    #[serde(default)]
    pub(super) assignees: Vec<Account>,
    #[serde(default)]
    pub(super) reviewers: Vec<Account>,
    #[serde(default)]
    has_conflicts: bool,
    detailed_merge_status: Option<String>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl MergeRequest {
    pub(super) fn branch(&self) -> &str {
        &self.source_branch
    }

    /// Whether its branch is in the project itself.
    pub(super) fn is_own(&self) -> bool {
        self.source_project_id == Some(self.target_project_id)
    }

    /// The commit that the forge knows; of all zeros while it knows none.
    fn head(&self) -> Oid {
        self.sha.unwrap_or(Oid::from_bytes([0; 20]))
    }

    pub(super) fn seen(self) -> Seen {
        let head = self.head();
        let mergeable = match self.detailed_merge_status.as_deref() {
            _ if self.has_conflicts => Some(false),
            Some("conflict" | "broken_status") => Some(false),
            Some("mergeable") => Some(true),
            _ => None,
        };
        let names = |accounts: Vec<Account>| accounts.into_iter().map(|account| account.username).collect();
        Seen {
            number: self.iid,
            url: self.web_url,
            branch: self.source_branch,
            head,
            stage: match self.state {
                State::Opened | State::Locked => Stage::Open,
                State::Merged => Stage::Merged,
                State::Closed => Stage::Closed { by: self.closed_by.map(|account| account.username) },
            },
            author: author(self.author),
            title: self.title,
            body: self.description.unwrap_or_default(),
            labels: self.labels,
            assignees: names(self.assignees),
            reviewers: names(self.reviewers),
            approved_by: BTreeSet::new(),
            mergeable,
            opened_at: self.created_at,
            updated_at: self.updated_at,
        }
    }

    pub(super) fn offer(self) -> Offer {
        Offer {
            number: self.iid,
            head: self.head(),
            fetch: format!("refs/merge-requests/{}/head", self.iid),
            url: self.web_url,
            base: self.target_branch,
            author: author(self.author),
            title: self.title,
            updated_at: self.updated_at,
        }
    }
}

/// Accounts are deleted; what they wrote stays.
fn author(account: Option<Account>) -> String {
    account.map_or_else(|| "ghost".to_owned(), |account| account.username)
}

/// Who approved, in so far as it is told.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Approvals {
    #[serde(default)]
    approved_by: Vec<Approval>,
}

#[derive(Debug, Deserialize)]
struct Approval {
    user: Account,
    /// Newer versions say when.
    approved_at: Option<Timestamp>,
}

/// What was pushed to a merge request, the newest first.
#[derive(Debug, Deserialize)]
pub(super) struct Version {
    head_commit_sha: Oid,
    created_at: Timestamp,
}

impl Approvals {
    /// Who approved exactly this commit. Projects may keep approvals when something is pushed: an approval that may be older
    /// than the commit is none.
    pub(super) fn of(self, head: Oid, versions: &[Version]) -> BTreeSet<String> {
        let Some(newest) = versions.first().filter(|newest| newest.head_commit_sha == head) else {
            return BTreeSet::new();
        };
        let is_only = versions.len() == 1;
        let counts = |it: &Approval| it.approved_at.map_or(is_only, |at| at >= newest.created_at);
        self.approved_by.into_iter().filter(counts).map(|it| it.user.username).collect()
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Note {
    id: u64,
    body: String,
    author: Option<Account>,
    /// Written by GitLab itself.
    #[serde(default)]
    pub(super) system: bool,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl Note {
    pub(super) fn comment(self) -> Comment {
        Comment {
            id: self.id,
            author: author(self.author),
            text: self.body,
            written_at: self.created_at,
            changed_at: self.updated_at,
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Member {
    access_level: u64,
}

impl Member {
    pub(super) const fn permission(&self) -> Permission {
        match self.access_level {
            MAINTAINER.. => Permission::Admin,
            DEVELOPER..MAINTAINER => Permission::Write,
            ..DEVELOPER => Permission::Read,
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Issue {
    pub(super) iid: u64,
    pub(super) title: String,
    pub(super) description: Option<String>,
    author: Option<Account>,
    updated_at: Timestamp,
}

impl Issue {
    pub(super) fn own(self) -> OwnIssue {
        OwnIssue { number: self.iid, body: self.description.unwrap_or_default(), updated_at: self.updated_at }
    }

    pub(super) fn is_by(&self, name: &str) -> bool {
        self.author.as_ref().is_some_and(|author| author.username == name)
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Line {
    pub(super) id: u64,
    pub(super) status: String,
    pub(super) description: Option<String>,
    pub(super) target_url: Option<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    fn oid(byte: u8) -> Oid {
        Oid::from_bytes([byte; 20])
    }

    #[test]
    fn an_approval_that_may_be_older_than_the_commit_is_none() {
        let approvals = || -> Approvals {
            let user = |name: &str| json!({"id": 1, "username": name});
            from_value(json!({"approved_by": [
                {"user": user("ann"), "approved_at": "2026-05-01T11:00:00Z"},
                {"user": user("bo"), "approved_at": "2026-05-01T13:00:00Z"},
                {"user": user("cy")},
            ]}))
            .expect("approvals")
        };
        let version = |commit: u8, at: &str| -> Version {
            from_value(json!({"head_commit_sha": oid(commit), "created_at": at})).expect("a version")
        };
        let (first, second) = (|| version(1, "2026-05-01T10:00:00Z"), version(2, "2026-05-01T12:00:00Z"));
        assert_eq!(approvals().of(oid(2), &[second, first()]), ["bo".to_owned()].into());
        assert_eq!(approvals().of(oid(1), &[first()]).len(), 3, "nothing was ever pushed after it");
        assert_eq!(approvals().of(oid(3), &[first()]), BTreeSet::new(), "of another commit");
        assert_eq!(approvals().of(oid(1), &[]), BTreeSet::new());
    }

    #[test]
    fn levels_of_access_are_told_apart() {
        let may = |level: u64| from_value::<Member>(json!({"access_level": level})).expect("a member").permission();
        assert_eq!(
            [10, 20, 30, 40, 50].map(may),
            [Permission::Read, Permission::Read, Permission::Write, Permission::Admin, Permission::Admin]
        );
    }
}
