//! What Gitea and Forgejo answer, as far as it is read.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Deserialize;

use crate::domain::name::Oid;
use crate::domain::review::{Comment, Offer, OwnIssue, Permission, Seen, Stage};

#[derive(Debug, Deserialize)]
pub(super) struct Account {
    pub(super) login: String,
}

/// Accounts are deleted; what they wrote stays.
fn login(account: Option<&Account>) -> String {
    account.map_or_else(|| "Ghost".to_owned(), |account| account.login.clone())
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Label {
    pub(super) id: u64,
    pub(super) name: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Project {
    full_name: String,
}

/// One end of a pull request.
#[derive(Debug, Deserialize)]
pub(super) struct End {
    /// The name of the branch, also when it is gone.
    label: String,
    pub(super) sha: Oid,
    /// `None` if it was deleted.
    repo: Option<Project>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Pull {
    pub(super) number: u64,
    html_url: String,
    pub(super) state: String,
    #[serde(default)]
    pub(super) merged: bool,
    title: String,
    body: Option<String>,
    user: Option<Account>,
    labels: Option<Vec<Label>>,
    assignees: Option<Vec<Account>>,
    requested_reviewers: Option<Vec<Account>>,
    pub(super) head: End,
    base: End,
    #[serde(default)]
    mergeable: bool,
    created_at: Timestamp,
    pub(super) updated_at: Timestamp,
}

impl Pull {
    pub(super) fn branch(&self) -> &str {
        &self.head.label
    }

    /// Whether its branch is in the project itself.
    pub(super) fn is_from(&self, project: &str) -> bool {
        self.head.repo.as_ref().is_some_and(|repo| repo.full_name.eq_ignore_ascii_case(project))
    }

    pub(super) fn is_open(&self) -> bool {
        self.state == "open"
    }

    /// As a review. Who closed it is not known here.
    pub(super) fn seen(self) -> Seen {
        let names = |accounts: Option<Vec<Account>>| -> BTreeSet<_> {
            accounts.into_iter().flatten().map(|account| account.login).collect()
        };
        let is_open = self.is_open();
        Seen {
            number: self.number,
            url: self.html_url,
            branch: self.head.label,
            head: self.head.sha,
            stage: match (self.merged, is_open) {
                (true, _) => Stage::Merged,
                (false, true) => Stage::Open,
                (false, false) => Stage::Closed { by: None },
            },
            author: login(self.user.as_ref()),
            title: self.title,
            body: self.body.unwrap_or_default(),
            labels: self.labels.into_iter().flatten().map(|label| label.name).collect(),
            assignees: names(self.assignees),
            reviewers: names(self.requested_reviewers),
            approved_by: BTreeSet::new(),
            mergeable: is_open.then_some(self.mergeable),
            opened_at: self.created_at,
            updated_at: self.updated_at,
        }
    }

    /// As somebody's proposal.
    pub(super) fn offer(self) -> Offer {
        Offer {
            number: self.number,
            fetch: format!("refs/pull/{}/head", self.number),
            url: self.html_url,
            head: self.head.sha,
            base: self.base.label,
            author: login(self.user.as_ref()),
            title: self.title,
            updated_at: self.updated_at,
        }
    }
}

/// Something that happened to a pull request.
#[derive(Debug, Deserialize)]
pub(super) struct Event {
    #[serde(rename = "type")]
    kind: String,
    user: Option<Account>,
}

/// Who closed it last.
pub(super) fn closer(events: &[Event]) -> Option<String> {
    let closed = events.iter().rfind(|event| event.kind == "close")?;
    closed.user.as_ref().map(|user| user.login.clone())
}

/// What a reviewer said of a pull request.
#[derive(Debug, Deserialize)]
pub(super) struct Opinion {
    user: Option<Account>,
    state: String,
    commit_id: Option<Oid>,
    #[serde(default)]
    dismissed: bool,
}

/// Who approved exactly this commit and did not change their mind, and everybody who said something.
pub(super) fn approvals(opinions: &[Opinion], head: Oid) -> (BTreeSet<String>, BTreeSet<String>) {
    let mut last = BTreeMap::new();
    let said = |opinion: &&Opinion| opinion.state != "REQUEST_REVIEW" && opinion.state != "PENDING";
    for opinion in opinions.iter().filter(|it| matches!(it.state.as_str(), "APPROVED" | "REQUEST_CHANGES")) {
        last.insert(login(opinion.user.as_ref()), opinion);
    }
    let approves =
        |opinion: &Opinion| opinion.state == "APPROVED" && !opinion.dismissed && opinion.commit_id == Some(head);
    let approved = last.iter().filter(|(_, opinion)| approves(opinion)).map(|(login, _)| login.clone()).collect();
    (approved, opinions.iter().filter(said).map(|opinion| login(opinion.user.as_ref())).collect())
}

#[derive(Debug, Deserialize)]
pub(super) struct Note {
    pub(super) id: u64,
    body: Option<String>,
    user: Option<Account>,
    created_at: Timestamp,
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
            "admin" | "owner" => Permission::Admin,
            "write" => Permission::Write,
            _ => Permission::Read,
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Issue {
    pub(super) number: u64,
    pub(super) title: String,
    pub(super) body: Option<String>,
    user: Option<Account>,
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
pub(super) struct Combined {
    pub(super) statuses: Option<Vec<Line>>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Line {
    pub(super) status: String,
    pub(super) context: String,
    pub(super) description: String,
    pub(super) target_url: String,
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn only_the_last_clear_word_on_exactly_this_commit_approves() {
        let opinion = |who: &str, state: &str, commit: u8, dismissed: bool| -> Opinion {
            let commit = Oid::from_bytes([commit; 20]).to_string();
            from_value(json!({"user": {"login": who}, "state": state, "commit_id": commit, "dismissed": dismissed}))
                .expect("an opinion")
        };
        let said = [
            opinion("ann", "APPROVED", 1, false),
            opinion("ann", "COMMENT", 1, false),
            opinion("bo", "APPROVED", 1, true),
            opinion("cy", "APPROVED", 1, false),
            opinion("cy", "REQUEST_CHANGES", 1, false),
            opinion("di", "APPROVED", 2, false),
            opinion("ed", "REQUEST_REVIEW", 1, false),
        ];
        let (approved, everybody) = approvals(&said, Oid::from_bytes([1; 20]));
        assert_eq!(approved, ["ann".to_owned()].into());
        assert_eq!(everybody, ["ann", "bo", "cy", "di"].map(str::to_owned).into(), "who was only asked said nothing");
    }

    #[test]
    fn who_closed_it_last_is_found_among_events() {
        let events: Vec<Event> = from_value(json!([
            {"type": "close", "user": {"login": "ann"}}, {"type": "reopen", "user": {"login": "bo"}},
            {"type": "close", "user": {"login": "cy"}}, {"type": "comment", "user": {"login": "di"}},
        ]))
        .expect("events");
        assert_eq!(closer(&events).as_deref(), Some("cy"));
        assert_eq!(closer(&events[1..2]), None);
    }
}
