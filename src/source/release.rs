//! Projects whose tags say what their newest release is: on GitLab, GitHub, Gitea and Forgejo, or in any git
//! repository.
//!
//! The list of tags is asked for once for each project, however many packages follow it. Only if it has a
//! version that is new to one of them, the forge is asked too what it calls a prerelease. The files of a package
//! are made from what is found by others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Deserialize;

use super::budget::Budget;
use super::failure::Failure;
use super::forge::{Forges, ForgesConfig};
use super::lsremote::host;
use super::order::Order;
use super::retry::again;
use super::taglist::TagLister;
use super::{SourceAnswer, SourceRequest};
use crate::domain::name::{Oid, PkgBase};
use crate::domain::policy::{Project, SourceKind};
use crate::domain::release::{Release, Tag, candidates, is_newer};
use crate::domain::state::Cursor;
use crate::telemetry::progress;

/// Asks projects for their newest release.
#[derive(Debug)]
pub struct Releases {
    forges: Forges,
    config: ForgesConfig,
    lister: TagLister,
    order: Order,
}

/// One project and the packages that follow it.
#[derive(Debug)]
struct Followed<'a> {
    name: String,
    project: &'a Project,
    packages: Vec<&'a SourceRequest>,
}

type Tags = Result<Arc<Vec<Tag>>, Failure>;

/// What is asked of a tag of GitLab.
#[derive(Debug, Deserialize)]
struct GitlabTag {
    name: String,
    commit: GitlabCommit,
}

#[derive(Debug, Deserialize)]
struct GitlabCommit {
    id: String,
}

/// What GitHub, Gitea and Forgejo alike say of a release.
#[derive(Debug, Deserialize)]
struct Published {
    tag_name: String,
    #[serde(default)]
    prerelease: bool,
    #[serde(default)]
    draft: bool,
}

impl Releases {
    /// Asks forges as `config` says, repositories through `lister`, and all in this order.
    pub const fn new(forges: Forges, config: ForgesConfig, lister: TagLister, order: Order) -> Self {
        Self { forges, config, lister, order }
    }

    /// What the projects of these packages have.
    pub async fn ask(&self, requests: &[SourceRequest], budget: &Budget) -> BTreeMap<PkgBase, SourceAnswer> {
        let mut projects: BTreeMap<&Project, Vec<&SourceRequest>> = BTreeMap::new();
        for request in requests {
            if let SourceKind::Release(project) = &request.kind {
                projects.entry(project).or_default().push(request);
            }
        }
        let mut projects: Vec<Followed<'_>> = projects
            .into_iter()
            .map(|(project, packages)| Followed { name: project.to_string(), project, packages })
            .collect();
        projects.sort_by(|a, b| a.name.cmp(&b.name));
        let progress = progress::counted("asking projects for releases", projects.len());
        let ask = async |followed: &Followed<'_>| {
            let answers = self.one(followed, budget).await;
            progress.advance();
            answers
        };
        let left_out = |answers: &Vec<(PkgBase, SourceAnswer)>| {
            answers.iter().any(|(_, answer)| matches!(answer, SourceAnswer::Unknown { .. }))
        };
        let answers = self.order.ask_all(&projects, |followed| &followed.name, budget, ask, left_out).await;
        answers.into_iter().flat_map(|(_, answers)| answers).collect()
    }

    async fn one(&self, followed: &Followed<'_>, budget: &Budget) -> Vec<(PkgBase, SourceAnswer)> {
        let same = |answer: SourceAnswer| {
            followed.packages.iter().map(|request| (request.pkgbase.clone(), answer.clone())).collect()
        };
        let tags = match self.tags(followed.project, budget).await {
            Ok(tags) => tags,
            Err(failure) => return same(failure.into()),
        };
        let decide = |early: &BTreeSet<String>| -> Vec<(PkgBase, SourceAnswer)> {
            let decide = |request: &&SourceRequest| (request.pkgbase.clone(), answer(request, &tags, followed, early));
            followed.packages.iter().map(decide).collect()
        };
        let answers = decide(&BTreeSet::new());
        if !answers.iter().any(|(_, answer)| matches!(answer, SourceAnswer::Newer { .. })) {
            return answers;
        }
        match self.unreleased(followed.project, budget).await {
            Ok(early) if early.is_empty() => answers,
            Ok(early) => decide(&early),
            Err(Failure { text, cause }) => {
                let text = format!("what is a prerelease cannot be asked: {text}");
                same(Failure { text, cause }.into())
            }
        }
    }

    async fn tags(&self, project: &Project, budget: &Budget) -> Tags {
        let url = match project {
            Project::Gitlab { base, project } => return self.gitlab(base.as_deref(), project, budget).await,
            Project::Github { project } => format!("{}/{project}", self.config.github.url),
            Project::Gitea { base, project } => format!("{base}/{project}"),
            Project::Git { url } => url.clone(),
        };
        budget.ask(host(&url), again(|| self.lister.tags(&url))).await
    }

    async fn gitlab(&self, base: Option<&str>, project: &str, budget: &Budget) -> Tags {
        let api = base.map_or_else(|| self.config.gitlab.api_url.clone(), |base| format!("{base}/api/v4"));
        let url = format!(
            "{api}/projects/{}/repository/tags?order_by=version&sort=desc&per_page=100",
            project.replace('/', "%2F")
        );
        let found: Vec<GitlabTag> = self.json(&url, budget).await?;
        let tag = |tag: GitlabTag| match tag.commit.id.parse() {
            Ok(commit) => Ok(Tag { name: tag.name, commit }),
            Err(error) => Err(Failure::question(format!("the answer of {} cannot be used: {error}", host(&url)))),
        };
        found.into_iter().map(tag).collect::<Result<_, _>>().map(Arc::new)
    }

    /// Tags of which the forge says that they are no releases, or not yet.
    async fn unreleased(&self, project: &Project, budget: &Budget) -> Result<BTreeSet<String>, Failure> {
        let url = match project {
            Project::Github { project } => {
                format!("{}/repos/{project}/releases?per_page=100", self.config.github.api_url)
            }
            Project::Gitea { base, project } => format!("{base}/api/v1/repos/{project}/releases?limit=50"),
            Project::Gitlab { .. } | Project::Git { .. } => return Ok(BTreeSet::new()),
        };
        let published: Vec<Published> = self.json(&url, budget).await?;
        Ok(published.into_iter().filter(|it| it.prerelease || it.draft).map(|it| it.tag_name).collect())
    }

    async fn json<T: serde::de::DeserializeOwned>(&self, url: &str, budget: &Budget) -> Result<T, Failure> {
        self.forges.usable(url).map_err(Failure::elsewhere)?;
        budget.ask(host(url), again(|| self.forges.json(url))).await
    }
}

/// What the tags mean for a package. `early` are those that are no releases.
fn answer(request: &SourceRequest, tags: &[Tag], followed: &Followed<'_>, early: &BTreeSet<String>) -> SourceAnswer {
    let Some(version) = &request.version else {
        return SourceAnswer::unknown("its .SRCINFO gives no version that a newer one could follow");
    };
    let (_, current, _) = version.parts();
    let project = followed.name.rsplit('/').next().unwrap_or(&followed.name);
    let found = candidates(tags, current, project);
    let is_released = |release: &&Release| release.tag.as_ref().is_none_or(|tag| !early.contains(tag));
    match found.iter().find(is_released) {
        None => SourceAnswer::unknown(format!(
            "none of the {} tags of {} is a version that could follow {current}",
            tags.len(),
            followed.name
        )),
        Some(release) => settle(request.cursor.as_ref(), current, release),
    }
}

/// Nothing is ever taken back: what is not newer has been dealt with.
pub fn settle(cursor: Option<&Cursor>, current: &str, release: &Release) -> SourceAnswer {
    let commit = release.commit.unwrap_or(Oid::from_bytes([0; 20]));
    let here = Cursor { commit, stamp: None, version: Some(release.version.clone()) };
    match cursor {
        Some(cursor) if *cursor == here => SourceAnswer::Unmoved { cursor: None },
        _ if is_newer(&release.version, current) => SourceAnswer::Newer { cursor: here, release: release.clone() },
        _ => SourceAnswer::Unmoved { cursor: Some(here) },
    }
}
