//! Source `gitea`: tags, releases and commits of any Gitea or Forgejo.

use serde::Deserialize;

use super::call::{Call, Keys, host, project, quoted};
use super::options::Options;
use super::release::{Release, Said};
use super::service::{Service, json, time};

/// The public service.
const PUBLIC: &str = "gitea.com";

/// What is asked of a project.
#[derive(Debug, Clone)]
pub struct Gitea {
    host: String,
    project: String,
    wanted: Wanted,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Wanted {
    Tags,
    LatestRelease,
    Commit(Option<String>),
}

impl Gitea {
    /// Reads the options.
    ///
    /// # Errors
    /// The option that is wrong.
    pub fn read(options: Options<'_>) -> Result<Self, String> {
        let branch = options.text("branch")?.filter(|branch| !branch.is_empty()).map(str::to_owned);
        let wanted = match (options.flag("use_max_tag")?, options.flag("use_latest_release")?) {
            (true, true) => return Err("`use_max_tag` and `use_latest_release` exclude each other".to_owned()),
            (true, false) => Wanted::Tags,
            (false, true) => Wanted::LatestRelease,
            (false, false) => Wanted::Commit(branch),
        };
        Ok(Self {
            host: host(options.text("host")?.unwrap_or(PUBLIC))?.to_owned(),
            project: project("gitea", options.needed("gitea")?, 2)?.to_owned(),
            wanted,
        })
    }
}

impl Service for Gitea {
    fn call(&self, keys: &Keys) -> Result<Call, String> {
        let base = format!("https://{}/api/v1/repos/{}", self.host, self.project);
        let url = match &self.wanted {
            Wanted::Tags => format!("{base}/tags"),
            Wanted::LatestRelease => format!("{base}/releases"),
            Wanted::Commit(Some(branch)) => format!("{base}/commits?sha={}", quoted(branch)),
            Wanted::Commit(None) => format!("{base}/commits"),
        };
        Ok(Call::get(url).authorized("token", keys.get("gitea", &self.host, PUBLIC)))
    }

    fn answer(&self, body: &[u8]) -> Result<Said, String> {
        match &self.wanted {
            Wanted::Tags => {
                let tag = |tag: Tag| Release {
                    gitref: Some(format!("refs/tags/{}", tag.name)),
                    revision: Some(tag.id),
                    url: Some(format!("https://{}/{}/releases/tag/{}", self.host, self.project, tag.name)),
                    created: None,
                    version: tag.name,
                };
                Ok(Said::Many(json::<Vec<Tag>>(body)?.into_iter().map(tag).collect()))
            }
            Wanted::LatestRelease => {
                let newest = json::<Vec<Published>>(body)?.into_iter().next().ok_or("the project has no release")?;
                Ok(Said::One(Release {
                    version: newest.name,
                    gitref: Some(format!("refs/tags/{}", newest.tag_name)),
                    revision: None,
                    url: newest.html_url,
                    created: time(newest.time.as_deref()),
                }))
            }
            Wanted::Commit(_) => {
                let newest = json::<Vec<Commit>>(body)?.into_iter().next().ok_or("there is no such commit")?;
                let date = newest.data.committer.date;
                Ok(Said::One(Release {
                    created: time(Some(&date)),
                    version: date,
                    gitref: None,
                    revision: Some(newest.sha),
                    url: newest.html_url,
                }))
            }
        }
    }
}

#[derive(Deserialize)]
struct Tag {
    name: String,
    id: String,
}

#[derive(Deserialize)]
struct Published {
    name: String,
    tag_name: String,
    html_url: Option<String>,
    #[serde(rename = "published_at")]
    time: Option<String>,
}

#[derive(Deserialize)]
struct Commit {
    sha: String,
    html_url: Option<String>,
    #[serde(rename = "commit")]
    data: CommitData,
}

#[derive(Deserialize)]
struct CommitData {
    committer: Committer,
}

#[derive(Deserialize)]
struct Committer {
    date: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gitea(options: &str) -> Result<Gitea, String> {
        let table = format!("gitea = 'o/r'\n{options}").parse().expect("TOML");
        Gitea::read(Options::new(&table))
    }

    #[test]
    fn each_option_has_its_address() {
        let url = |options: &str| gitea(options).expect("valid").call(&Keys::default()).expect("no token needed").url;
        assert_eq!(url("host = 'codeberg.org'"), "https://codeberg.org/api/v1/repos/o/r/commits");
        assert_eq!(url("branch = 'a/b'"), "https://gitea.com/api/v1/repos/o/r/commits?sha=a%2Fb");
        assert_eq!(url("use_max_tag = true"), "https://gitea.com/api/v1/repos/o/r/tags");
        assert_eq!(url("use_latest_release = true"), "https://gitea.com/api/v1/repos/o/r/releases");
        assert!(gitea("use_max_tag = true\nuse_latest_release = true").is_err());
    }
}
