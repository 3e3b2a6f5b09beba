//! What GitHub answers, as far as it is read.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Deserialize;

use crate::domain::name::Oid;
use crate::domain::review::{Comment, Offer, OwnIssue, Permission, Seen, Stage};

/// Somebody with an account.
#[derive(Debug, Deserialize)]
pub(super) struct Account {
    pub(super) login: String,
}

/// Accounts are deleted; what they wrote stays.
fn login(account: Option<&Account>) -> String {
    account.map_or_else(|| "ghost".to_owned(), |account| account.login.clone())
}

#[derive(Debug, Deserialize)]
pub(super) struct App {
    pub(super) slug: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Installation {
    pub(super) id: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Label {
    pub(super) name: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Project {
    pub(super) full_name: String,
    #[serde(default)]
    pub(super) allow_merge_commit: Option<bool>,
    #[serde(default)]
    pub(super) allow_rebase_merge: Option<bool>,
    #[serde(default)]
    pub(super) allow_squash_merge: Option<bool>,
}

impl Project {
    /// How a review is merged: with every commit as it was made, if that is allowed.
    pub(super) fn merge_method(&self) -> &'static str {
        let forbidden = |allowed: Option<bool>| allowed == Some(false);
        match (forbidden(self.allow_merge_commit), forbidden(self.allow_rebase_merge)) {
            (false, _) => "merge",
            (true, false) => "rebase",
            (true, true) if forbidden(self.allow_squash_merge) => "merge",
            (true, true) => "squash",
        }
    }
}

/// One end of a pull request.
#[derive(Debug, Deserialize)]
pub(super) struct End {
    #[serde(rename = "ref")]
    pub(super) branch: String,
    pub(super) sha: Oid,
    /// `None` if it was deleted.
    pub(super) repo: Option<Project>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Pull {
    pub(super) number: u64,
    html_url: String,
    pub(super) state: State,
    pub(super) merged_at: Option<Timestamp>,
    pub(super) title: String,
    body: Option<String>,
    user: Option<Account>,
    #[serde(default)]
    labels: Vec<Label>,
    assignees: Option<Vec<Account>>,
    requested_reviewers: Option<Vec<Account>>,
    pub(super) head: End,
    base: End,
    #[serde(default)]
    mergeable: Option<bool>,
    created_at: Timestamp,
    pub(super) updated_at: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    Open,
    Closed,
}

impl Pull {
    /// Whether its branch is in the project itself.
    pub(super) fn is_from(&self, project: &str) -> bool {
        self.head.repo.as_ref().is_some_and(|repo| repo.full_name.eq_ignore_ascii_case(project))
    }

    /// As a review. Who closed it is not known here.
    pub(super) fn seen(self) -> Seen {
        let names = |accounts: Option<Vec<Account>>| -> BTreeSet<_> {
            accounts.into_iter().flatten().map(|account| account.login).collect()
        };
        Seen {
            number: self.number,
            url: self.html_url,
            branch: self.head.branch,
            head: self.head.sha,
            stage: match (self.state, self.merged_at) {
                (_, Some(_)) => Stage::Merged,
                (State::Open, None) => Stage::Open,
                (State::Closed, None) => Stage::Closed { by: None },
            },
            author: login(self.user.as_ref()),
            title: self.title,
            body: self.body.unwrap_or_default(),
            labels: self.labels.into_iter().map(|label| label.name).collect(),
            assignees: names(self.assignees),
            reviewers: names(self.requested_reviewers),
            approved_by: BTreeSet::new(),
            mergeable: self.mergeable,
            opened_at: self.created_at,
            updated_at: self.updated_at,
        }
    }

    /// As somebody's proposal.
    pub(super) fn offer(self) -> Offer {
        Offer {
            number: self.number,
            url: self.html_url,
            head: self.head.sha,
            fetch: format!("refs/pull/{}/head", self.number),
            base: self.base.branch,
            author: login(self.user.as_ref()),
            title: self.title,
            updated_at: self.updated_at,
        }
    }
}

/// What a reviewer said of a pull request.
#[derive(Debug, Deserialize)]
pub(super) struct Opinion {
    user: Option<Account>,
    state: String,
    commit_id: Option<Oid>,
}

/// Who approved exactly this commit and did not change their mind, and everybody who said something.
pub(super) fn approvals(opinions: &[Opinion], head: Oid) -> (BTreeSet<String>, BTreeSet<String>) {
    let mut last = BTreeMap::new();
    for opinion in opinions {
        let clear = matches!(opinion.state.as_str(), "APPROVED" | "CHANGES_REQUESTED" | "DISMISSED");
        if let (Some(user), true) = (&opinion.user, clear) {
            last.insert(user.login.clone(), opinion);
        }
    }
    let approves = |opinion: &Opinion| opinion.state == "APPROVED" && opinion.commit_id == Some(head);
    let approved = last.iter().filter(|(_, opinion)| approves(opinion)).map(|(login, _)| login.clone()).collect();
    let everybody = opinions.iter().filter_map(|opinion| opinion.user.as_ref()).map(|user| user.login.clone());
    (approved, everybody.collect())
}

#[derive(Debug, Deserialize)]
pub(super) struct Issue {
    pub(super) number: u64,
    pub(super) title: String,
    pub(super) body: Option<String>,
    user: Option<Account>,
    pub(super) closed_by: Option<Account>,
    #[serde(default)]
    pub(super) pull_request: Option<serde::de::IgnoredAny>,
    updated_at: Timestamp,
}

impl Issue {
    pub(super) fn own(self) -> OwnIssue {
        OwnIssue { number: self.number, body: self.body.unwrap_or_default(), updated_at: self.updated_at }
    }

    pub(super) fn author(&self) -> String {
        login(self.user.as_ref())
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Note {
    pub(super) id: u64,
    pub(super) body: Option<String>,
    user: Option<Account>,
    pub(super) created_at: Timestamp,
    updated_at: Timestamp,
}

impl Note {
    pub(super) fn comment(self) -> Comment {
        Comment {
            id: self.id,
            author: login(self.user.as_ref()),
            text: self.body.unwrap_or_default(),
            written_at: self.created_at,
            changed_at: self.updated_at,
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Standing {
    permission: String,
}

impl Standing {
    pub(super) fn permission(&self) -> Permission {
        match self.permission.as_str() {
            "admin" => Permission::Admin,
            "write" | "maintain" => Permission::Write,
            _ => Permission::Read,
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Combined {
    pub(super) statuses: Vec<Line>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Line {
    pub(super) state: String,
    pub(super) context: String,
    pub(super) description: Option<String>,
    pub(super) target_url: Option<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn opinion(who: &str, state: &str, commit: u8) -> Opinion {
        let commit = Oid::from_bytes([commit; 20]).to_string();
        serde_json::from_value(json!({"user": {"login": who}, "state": state, "commit_id": commit}))
            .expect("an opinion")
    }

    #[test]
    fn only_the_last_clear_word_on_exactly_this_commit_approves() {
        let said = [
            opinion("ann", "APPROVED", 1),
            opinion("ann", "COMMENTED", 1),
            opinion("bo", "APPROVED", 1),
            opinion("bo", "CHANGES_REQUESTED", 1),
            opinion("cy", "APPROVED", 2),
            opinion("di", "DISMISSED", 1),
            opinion("ed", "COMMENTED", 1),
        ];
        let (approved, everybody) = approvals(&said, Oid::from_bytes([1; 20]));
        assert_eq!(approved, ["ann".to_owned()].into());
        assert_eq!(everybody.len(), 5);
    }

    #[test]
    fn commits_are_kept_as_they_are_where_that_is_allowed() {
        let method = |merge, rebase, squash| {
            let project = json!({"full_name": "o/p", "allow_merge_commit": merge, "allow_rebase_merge": rebase,
                                 "allow_squash_merge": squash});
            serde_json::from_value::<Project>(project).expect("a project").merge_method()
        };
        assert_eq!(method(Some(true), Some(true), Some(true)), "merge");
        assert_eq!(method(Some(false), Some(true), Some(true)), "rebase");
        assert_eq!(method(Some(false), Some(false), Some(true)), "squash");
        assert_eq!(method(None, None, None), "merge", "it does not tell everybody");
    }
}
