//! Source `gitlab`: tags and commits of any GitLab.

use serde::Deserialize;

use super::call::{Call, Keys, host, project, quoted};
use super::options::Options;
use super::release::{Release, Said};
use super::service::{Service, json, time};

/// The public service.
const PUBLIC: &str = "gitlab.com";

/// What is asked of a project.
#[derive(Debug, Clone)]
pub struct Gitlab {
    host: String,
    project: String,
    tags: bool,
    branch: Option<String>,
}

impl Gitlab {
    /// Reads the options.
    ///
    /// # Errors
    /// The option that is wrong.
    pub fn read(options: Options<'_>) -> Result<Self, String> {
        Ok(Self {
            host: host(options.text("host")?.unwrap_or(PUBLIC))?.to_owned(),
            project: project("gitlab", options.needed("gitlab")?, 20)?.to_owned(),
            tags: options.flag("use_max_tag")?,
            branch: options.text("branch")?.filter(|branch| !branch.is_empty()).map(str::to_owned),
        })
    }
}

impl Service for Gitlab {
    fn call(&self, keys: &Keys) -> Result<Call, String> {
        let base = format!("https://{}/api/v4/projects/{}/repository", self.host, quoted(&self.project));
        let url = match &self.branch {
            _ if self.tags => format!("{base}/tags"),
            Some(branch) => format!("{base}/commits?ref_name={}", quoted(branch)),
            None => format!("{base}/commits"),
        };
        Ok(Call::get(url).authorized("Bearer", keys.get("gitlab", &self.host, PUBLIC)))
    }

    fn answer(&self, body: &[u8]) -> Result<Said, String> {
        if self.tags {
            let tag = |tag: Tag| Release {
                gitref: Some(format!("refs/tags/{}", tag.name)),
                url: Some(format!("https://{}/{}/-/tags/{}", self.host, self.project, tag.name)),
                revision: Some(tag.commit.id),
                created: time(tag.created_at.as_deref().or(tag.commit.created_at.as_deref())),
                version: tag.name,
            };
            return Ok(Said::Many(json::<Vec<Tag>>(body)?.into_iter().map(tag).collect()));
        }
        let newest = json::<Vec<Commit>>(body)?.into_iter().next().ok_or("there is no such commit")?;
        let date = newest.created_at.unwrap_or_default();
        Ok(Said::One(Release {
            version: date.split('T').next().unwrap_or_default().replace('-', ""),
            gitref: None,
            revision: Some(newest.id),
            url: newest.web_url,
            created: time(Some(&date)),
        }))
    }
}

#[derive(Deserialize)]
struct Tag {
    name: String,
    commit: Commit,
    created_at: Option<String>,
}

#[derive(Deserialize)]
struct Commit {
    id: String,
    created_at: Option<String>,
    web_url: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gitlab(options: &str) -> Gitlab {
        let table = format!("gitlab = 'g/s/r'\n{options}").parse().expect("TOML");
        Gitlab::read(Options::new(&table)).expect("valid")
    }

    #[test]
    fn each_option_has_its_address() {
        let url = |options: &str| gitlab(options).call(&Keys::default()).expect("no token needed").url;
        assert_eq!(url(""), "https://gitlab.com/api/v4/projects/g%2Fs%2Fr/repository/commits");
        assert_eq!(
            url("branch = 'a b'"),
            "https://gitlab.com/api/v4/projects/g%2Fs%2Fr/repository/commits?ref_name=a%20b"
        );
        let tags = url("use_max_tag = true\nhost = 'gl.example:8443'");
        assert_eq!(tags, "https://gl.example:8443/api/v4/projects/g%2Fs%2Fr/repository/tags");
    }

    #[test]
    fn a_commit_is_a_version_by_its_day() {
        let body = r#"[{"id":"abc","created_at":"2024-01-31T23:59:58.000+02:00","web_url":"u"}]"#;
        let Said::One(release) = gitlab("").answer(body.as_bytes()).expect("a commit") else { panic!("one") };
        assert_eq!((release.version.as_str(), release.revision.as_deref()), ("20240131", Some("abc")));
        assert!(release.created.is_some());
        assert!(gitlab("").answer(b"[]").is_err());
    }
}
