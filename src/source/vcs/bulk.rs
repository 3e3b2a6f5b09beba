//! Asks GitHub and GitLab where many branches are with one query, where a token is there for it.
//!
//! Only what is answered without doubt is taken. Whatever else there is (a repository that moved, a branch that is
//! not there, a forge that does not know the query) is asked as any other repository.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::Value;

use super::{Followed, System};
use crate::domain::name::Oid;
use crate::domain::revision::Revision;
use crate::source::budget::Budget;
use crate::source::forge::{Forges, ForgesConfig};
use crate::source::lsremote::host;
use crate::source::retry::again;

/// Repositories in one query: GitHub takes many, GitLab counts what each costs.
const GITHUB_AT_ONCE: usize = 100;
const GITLAB_AT_ONCE: usize = 20;

/// What is found at once.
pub type Found<'a> = BTreeMap<&'a Followed, Revision>;

/// Asks forges in bulk.
#[derive(Debug)]
pub struct Bulk {
    forges: Forges,
    config: ForgesConfig,
}

/// How one forge is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Github,
    Gitlab,
}

/// One repository and what is followed in it.
type Project<'a> = (String, Vec<&'a Followed>);

impl Bulk {
    /// Asks through `forges`.
    pub const fn new(forges: Forges, config: ForgesConfig) -> Self {
        Self { forges, config }
    }

    /// Where those are that can be asked for at once.
    pub async fn ask<'a>(&self, followed: &BTreeSet<&'a Followed>, budget: &Budget) -> Found<'a> {
        let (github, gitlab) = (&self.config.github, &self.config.gitlab);
        let github = self.of(Dialect::Github, &github.url, graphql(&github.api_url), followed, budget);
        let gitlab = self.of(Dialect::Gitlab, &gitlab.url, graphql(&gitlab.api_url), followed, budget);
        let (mut found, others) = tokio::join!(github, gitlab);
        found.extend(others);
        found
    }

    async fn of<'a>(
        &self,
        dialect: Dialect,
        url: &str,
        graphql: String,
        followed: &BTreeSet<&'a Followed>,
        budget: &Budget,
    ) -> Found<'a> {
        let mut found = Found::new();
        if !self.forges.has_token(&graphql) {
            return found;
        }
        let mut projects: BTreeMap<String, Vec<&Followed>> = BTreeMap::new();
        for followed in followed.iter().filter(|followed| followed.system == System::Git) {
            if let Some(project) = project(&followed.url, url, dialect) {
                projects.entry(project).or_default().push(followed);
            }
        }
        let projects: Vec<Project<'_>> = projects.into_iter().collect();
        // What it allows is counted apart from what the git server beside it does.
        let place = format!("{}/graphql", host(&graphql));
        for projects in projects.chunks(dialect.at_once()) {
            let query = dialect.query(projects);
            let ask = || self.forges.query::<Value>(&graphql, &query);
            match budget.ask(&place, again(ask)).await {
                Ok(answer) => dialect.read(projects, &answer, &mut found),
                // The repositories are asked one by one then.
                Err(error) => tracing::warn!(url = graphql, "many branches cannot be asked for at once: {error}"),
            }
        }
        found
    }
}

impl Dialect {
    const fn at_once(self) -> usize {
        match self {
            Self::Github => GITHUB_AT_ONCE,
            Self::Gitlab => GITLAB_AT_ONCE,
        }
    }

    fn query(self, projects: &[Project<'_>]) -> String {
        let mut query = "{".to_owned();
        for (number, (project, followed)) in projects.iter().enumerate() {
            let _ = match (self, project.split_once('/')) {
                (Self::Github, Some((owner, name))) => {
                    write!(query, " p{number}: repository(owner: {}, name: {}) {{", text(owner), text(name))
                }
                _ => write!(query, " p{number}: project(fullPath: {}) {{ repository {{", text(project)),
            };
            for (number, followed) in followed.iter().enumerate() {
                let _ = write!(query, " f{number}: {}", self.field(followed.branch.as_deref()));
            }
            query.push_str(if self == Self::Github { " }" } else { " } }" });
        }
        query + " }"
    }

    fn field(self, branch: Option<&str>) -> String {
        let name = branch.map(|branch| text(&format!("refs/heads/{branch}")));
        match (self, name) {
            (Self::Github, None) => "defaultBranchRef { target { oid } }".to_owned(),
            (Self::Github, Some(name)) => format!("ref(qualifiedName: {name}) {{ target {{ oid }} }}"),
            (Self::Gitlab, name) => {
                format!("commit(ref: {}) {{ sha }}", name.unwrap_or_else(|| text("HEAD")))
            }
        }
    }

    fn read<'a>(self, projects: &[Project<'a>], answer: &Value, found: &mut Found<'a>) {
        for (number, (_, followed)) in projects.iter().enumerate() {
            let project = &answer["data"][format!("p{number}")];
            let (repository, path) = match self {
                Self::Github => (project, ["target", "oid"].as_slice()),
                Self::Gitlab => (&project["repository"], ["sha"].as_slice()),
            };
            for (number, &followed) in followed.iter().enumerate() {
                let field = &repository[format!("f{number}")];
                let id = path.iter().fold(field, |value, name| &value[*name]).as_str();
                if let Some(commit) = id.and_then(|id| id.parse::<Oid>().ok()) {
                    found.insert(followed, commit.into());
                }
            }
        }
    }
}

/// A text in a query, which is written as in JSON.
fn text(text: &str) -> String {
    Value::from(text).to_string()
}

/// Where queries are taken, beside the API for single things.
fn graphql(api_url: &str) -> String {
    let base = ["/v4", "/v3"].into_iter().find_map(|version| api_url.strip_suffix(version)).unwrap_or(api_url);
    format!("{base}/graphql")
}

/// What a forge at `base` calls the repository at an address, if it is one of its own that everybody may read.
fn project(url: &str, base: &str, dialect: Dialect) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let (authority, path) = rest.split_once('/')?;
    let is_ours = ["https", "http", "git"].contains(&scheme) && authority.eq_ignore_ascii_case(host(base));
    let path = path.trim_end_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    let legal = |part: &str| {
        let plain = part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-+".contains(&byte));
        plain && !part.is_empty()
    };
    let parts = path.split('/').count();
    let fits = if dialect == Dialect::Github { parts == 2 } else { (2..=20).contains(&parts) };
    (is_ours && fits && path.split('/').all(legal)).then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_repositories_of_the_forge_itself_are_its_projects() {
        let github = |url: &str| project(url, "https://github.com", Dialect::Github);
        for url in ["https://github.com/o/n", "https://GitHub.com/o/n.git", "git://github.com/o/n/"] {
            assert_eq!(github(url).as_deref(), Some("o/n"), "{url}");
        }
        for url in [
            "https://github.com/o",
            "https://github.com/o/n/x",
            "https://user:pw@github.com/o/n",
            "ssh://git@github.com/o/n",
            "https://github.com.evil/o/n",
            "https://github.com/o/\"n",
            "github.com/o/n",
        ] {
            assert_eq!(github(url), None, "{url}");
        }
        let gitlab = project("https://gitlab.com/a/b/c.git", "https://gitlab.com", Dialect::Gitlab);
        assert_eq!(gitlab.as_deref(), Some("a/b/c"));
        assert_eq!(graphql("https://api.github.com"), "https://api.github.com/graphql");
        assert_eq!(graphql("https://ghe.example/api/v3"), "https://ghe.example/api/graphql");
        assert_eq!(graphql("https://gitlab.com/api/v4"), "https://gitlab.com/api/graphql");
    }

    #[test]
    fn a_branch_with_any_name_stays_inside_its_quotes() {
        let branch = |name: &str| Followed {
            system: System::Git,
            url: "https://h/o/n".to_owned(),
            branch: Some(name.to_owned()),
        };
        let (hostile, plain) = (branch("x\") { id } }\n"), branch("dev"));
        let projects = [("o/n".to_owned(), vec![&hostile, &plain])];
        insta::assert_snapshot!(Dialect::Github.query(&projects), @r#"{ p0: repository(owner: "o", name: "n") { f0: ref(qualifiedName: "refs/heads/x\") { id } }\n") { target { oid } } f1: ref(qualifiedName: "refs/heads/dev") { target { oid } } } }"#);
        insta::assert_snapshot!(Dialect::Gitlab.query(&projects), @r#"{ p0: project(fullPath: "o/n") { repository { f0: commit(ref: "refs/heads/x\") { id } }\n") { sha } f1: commit(ref: "refs/heads/dev") { sha } } } }"#);
    }
}
