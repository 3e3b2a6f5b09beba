//! Reviews on a forge, as values: pull requests, merge requests, or what this program keeps itself.

pub mod answer;
pub mod body;
pub mod command;
pub mod dashboard;
pub mod group;
pub mod hands;
pub mod markdown;
pub mod marker;
pub mod policy;
pub mod proposal;
pub mod reconcile;
pub mod status;
pub mod wave;

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::name::Oid;

/// How far a review has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// It waits.
    Open,
    /// Its content went in on the forge.
    Merged,
    /// It was closed without its content going in.
    Closed {
        /// Who closed it, as the forge names its people; `None` where the forge does not say.
        by: Option<String>,
    },
}

/// A review as a forge shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its number, as people name it.
    pub number: u64,
    /// Its page.
    pub url: String,
    /// The branch that it proposes, without `refs/heads/`.
    pub branch: String,
    /// The commit of that branch that the forge knows.
    pub head: Oid,
    /// How far it has come.
    pub stage: Stage,
    /// Who opened it.
    pub author: String,
    /// Its title.
    pub title: String,
    /// Its text, as it was written.
    pub body: String,
    /// Its labels.
    pub labels: BTreeSet<String>,
    /// Who is asked to care for it.
    pub assignees: BTreeSet<String>,
    /// Who is asked to look at it.
    pub reviewers: BTreeSet<String>,
    /// Who approved exactly `head`; empty where it was not asked for.
    pub approved_by: BTreeSet<String>,
    /// Whether it can be merged as it is; `None` while the forge does not know, or where it was not asked for.
    pub mergeable: Option<bool>,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// When anything of it changed last.
    pub updated_at: Timestamp,
}

impl Seen {
    /// Whether it waits, and proposes this branch.
    #[must_use]
    pub fn is_open_on(&self, branch: &str) -> bool {
        self.stage == Stage::Open && self.branch == branch
    }
}

/// A review as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The branch that it proposes, without `refs/heads/`.
    pub branch: String,
    /// The branch that it goes into.
    pub base: String,
    /// Its title, one line.
    pub title: String,
    /// Its text, Markdown as forges read it.
    pub body: String,
    /// Its labels. Others that people put there stay.
    pub labels: BTreeSet<String>,
    /// Labels that say what is not so, or not any more: they are taken off.
    pub labels_off: BTreeSet<String>,
    /// Who is asked to care for it. Others stay.
    pub assignees: BTreeSet<String>,
    /// Who is asked to look at it. Others stay.
    pub reviewers: BTreeSet<String>,
}

/// What somebody may do with a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// Nothing, or only to look.
    Read,
    /// To push: the developers of GitLab, those with `write` elsewhere.
    Write,
    /// To change the project itself.
    Admin,
}

/// What people write comments below. Some forges number reviews and issues apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Thread {
    /// A review of ours or a proposal of a person, by its number.
    Review(u64),
    /// An issue, by its number.
    Issue(u64),
}

impl Thread {
    /// Its number, as people name it.
    #[must_use]
    pub const fn number(self) -> u64 {
        match self {
            Self::Review(number) | Self::Issue(number) => number,
        }
    }
}

impl std::fmt::Display for Thread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Review(number) => write!(f, "review {number}"),
            Self::Issue(number) => write!(f, "issue {number}"),
        }
    }
}

/// An issue that we keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnIssue {
    /// Its number, as people name it.
    pub number: u64,
    /// Its text as it is now, with what people changed in it.
    pub body: String,
    /// When anything of it changed last.
    pub updated_at: Timestamp,
}

/// Something that somebody wrote below a review, a proposal or an issue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comment {
    /// What the forge knows it by.
    pub id: u64,
    /// Who wrote it.
    pub author: String,
    /// What was written.
    pub text: String,
    /// When.
    pub written_at: Timestamp,
    /// When it was changed last, by whomever: people who may push change comments of others, and forges do not say who.
    pub changed_at: Timestamp,
}

/// A pull or merge request of a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Its number, as people name it.
    pub number: u64,
    /// Its page.
    pub url: String,
    /// The exact commit that it offers.
    pub head: Oid,
    /// The ref of the monorepo's own remote at which that commit can be fetched: `refs/pull/7/head`,
    /// `refs/merge-requests/7/head`.
    pub fetch: String,
    /// The branch that it goes into.
    pub base: String,
    /// Who opened it.
    pub author: String,
    /// Its title.
    pub title: String,
    /// When anything of it changed last.
    pub updated_at: Timestamp,
}

/// What a status says of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Vote {
    /// It is not known yet.
    Pending,
    /// It is good.
    Success,
    /// It is not.
    Failure,
}

/// A line beside a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The commit.
    pub commit: Oid,
    /// What it is about: one status of each context counts.
    pub context: String,
    /// What it says.
    pub vote: Vote,
    /// One sentence.
    pub summary: String,
    /// Where more stands.
    pub url: Option<String>,
    /// The pipeline of GitLab that it belongs to, where the run was started by one.
    pub pipeline: Option<u64>,
}
