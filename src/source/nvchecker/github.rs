//! Source `github`: tags, releases and commits of GitHub, and of GitHub Enterprise at another host.

use serde::Deserialize;
use serde_json::json;

use super::call::{Call, Keys, host, project, quoted};
use super::options::Options;
use super::release::{Release, Said};
use super::service::{Service, json, time};

/// The public service.
const PUBLIC: &str = "github.com";

/// What is asked of a project.
#[derive(Debug, Clone)]
pub struct Github {
    host: String,
    project: String,
    wanted: Wanted,
    use_release_name: bool,
    include_prereleases: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Wanted {
    /// The newest commit, of a branch or of a path.
    Commit { branch: Option<String>, path: Option<String> },
    /// The tag whose commit is newest, of those with this in their name.
    LatestTag { query: String },
    /// The release that is marked as the latest.
    LatestRelease,
    /// The release that was made last, prereleases included.
    LatestPrerelease,
    /// The tags.
    Tags,
    /// The releases.
    Releases,
}

impl Github {
    /// Reads the options.
    ///
    /// # Errors
    /// The option that is wrong.
    pub fn read(options: Options<'_>) -> Result<Self, String> {
        let include_prereleases = options.flag("include_prereleases")?;
        let owned = |key| options.text(key).map(|text| text.filter(|text| !text.is_empty()).map(str::to_owned));
        let wanted = if options.flag("use_latest_tag")? {
            Wanted::LatestTag { query: owned("query")?.unwrap_or_default() }
        } else if options.flag("use_latest_release")? {
            if include_prereleases { Wanted::LatestPrerelease } else { Wanted::LatestRelease }
        } else if options.flag("use_max_tag")? {
            Wanted::Tags
        } else if options.flag("use_max_release")? {
            Wanted::Releases
        } else {
            Wanted::Commit { branch: owned("branch")?, path: owned("path")? }
        };
        Ok(Self {
            host: host(options.text("host")?.unwrap_or(PUBLIC))?.to_owned(),
            project: project("github", options.needed("github")?, 2)?.to_owned(),
            wanted,
            use_release_name: options.flag("use_release_name")?,
            include_prereleases,
        })
    }

    fn tag_page(&self, tag: &str) -> String {
        format!("https://{}/{}/releases/tag/{tag}", self.host, self.project)
    }

    /// Questions for which GitHub has no address, only its query language.
    fn query(&self, keys: &Keys, text: &str, more: &serde_json::Value) -> Result<Call, String> {
        let token = keys.get("github", &self.host, PUBLIC).ok_or_else(|| {
            format!("GitHub answers this to nobody without a token; put one for \"{}\" into the keyfile", self.host)
        })?;
        let (owner, name) = self.project.split_once('/').expect("checked when it was read");
        let mut variables = json!({"owner": owner, "name": name});
        variables.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        let body = json!({"query": text, "variables": variables}).to_string();
        let url = format!("https://api.{}/graphql", self.host);
        Ok(Call::get(url).authorized("bearer", Some(token)).post("application/json", body))
    }

    fn release(&self, found: RestRelease) -> Release {
        Release {
            version: if self.use_release_name { found.name.unwrap_or_default() } else { found.tag_name.clone() },
            gitref: Some(format!("refs/tags/{}", found.tag_name)),
            revision: None,
            url: Some(found.html_url),
            created: time(found.published_at.as_deref()),
        }
    }

    fn tag(&self, found: Reference) -> Release {
        let name = found.name.strip_prefix("refs/tags/").unwrap_or(&found.name).to_owned();
        Release {
            url: Some(self.tag_page(&name)),
            version: name,
            gitref: Some(found.name),
            revision: Some(found.object.sha),
            created: None,
        }
    }

    fn latest_tag(&self, body: &[u8]) -> Result<Release, String> {
        let answer: Graph<Tags> = json(body)?;
        let node = answer.repository()?.refs.edges.into_iter().next().ok_or("the project has no such tag")?.node;
        Ok(Release {
            url: Some(self.tag_page(&node.name)),
            gitref: Some(format!("refs/tags/{}", node.name)),
            revision: Some(node.target.oid),
            version: node.name,
            created: None,
        })
    }

    fn latest_prerelease(&self, body: &[u8]) -> Result<Release, String> {
        let answer: Graph<Releases> = json(body)?;
        let node = answer.repository()?.releases.edges.into_iter().next().ok_or("the project has no release")?.node;
        let tag = node.tag.ok_or("the newest release has no tag")?.name;
        Ok(Release {
            gitref: Some(format!("refs/tags/{tag}")),
            version: if self.use_release_name { node.name.unwrap_or_default() } else { tag },
            revision: node.tag_commit.map(|commit| commit.oid),
            url: Some(node.url),
            created: time(node.published_at.as_deref()),
        })
    }
}

const LATEST_TAG: &str = "query($owner: String!, $name: String!, $query: String!) {
  repository(owner: $owner, name: $name) {
    refs(refPrefix: \"refs/tags/\", first: 1, query: $query, orderBy: {field: TAG_COMMIT_DATE, direction: DESC}) {
      edges { node { name target { oid } } }
    }
  }
}";

const LATEST_PRERELEASE: &str = "query($owner: String!, $name: String!) {
  repository(owner: $owner, name: $name) {
    releases(first: 1, orderBy: {field: CREATED_AT, direction: DESC}) {
      edges { node { name url publishedAt tag { name } tagCommit { oid } } }
    }
  }
}";

impl Service for Github {
    fn call(&self, keys: &Keys) -> Result<Call, String> {
        let base = format!("https://api.{}/repos/{}", self.host, self.project);
        let url = match &self.wanted {
            Wanted::LatestTag { query } => return self.query(keys, LATEST_TAG, &json!({ "query": query })),
            Wanted::LatestPrerelease => return self.query(keys, LATEST_PRERELEASE, &json!({})),
            Wanted::LatestRelease => format!("{base}/releases/latest"),
            Wanted::Tags => format!("{base}/git/refs/tags"),
            Wanted::Releases => format!("{base}/releases"),
            Wanted::Commit { branch, path } => {
                let part =
                    |key: &str, value: &Option<String>| value.as_ref().map(|text| format!("{key}={}", quoted(text)));
                let parts: Vec<_> = [part("sha", branch), part("path", path)].into_iter().flatten().collect();
                format!("{base}/commits?{}", parts.join("&"))
            }
        };
        let token = keys.get("github", &self.host, PUBLIC);
        Ok(Call::get(url).header("accept", "application/vnd.github+json").authorized("token", token))
    }

    fn answer(&self, body: &[u8]) -> Result<Said, String> {
        Ok(match &self.wanted {
            Wanted::LatestTag { .. } => Said::One(self.latest_tag(body)?),
            Wanted::LatestPrerelease => Said::One(self.latest_prerelease(body)?),
            Wanted::LatestRelease => Said::One(self.release(json(body)?)),
            Wanted::Tags => {
                Said::Many(json::<Vec<Reference>>(body)?.into_iter().map(|found| self.tag(found)).collect())
            }
            Wanted::Releases => {
                let wanted = |found: &RestRelease| self.include_prereleases || !found.prerelease;
                let found = json::<Vec<RestRelease>>(body)?.into_iter().filter(wanted);
                Said::Many(found.map(|found| self.release(found)).collect())
            }
            Wanted::Commit { .. } => {
                let newest = json::<Vec<Commit>>(body)?.into_iter().next().ok_or("there is no such commit")?;
                Said::One(newest.release())
            }
        })
    }
}

#[derive(Deserialize)]
struct RestRelease {
    name: Option<String>,
    tag_name: String,
    html_url: String,
    published_at: Option<String>,
    #[serde(default)]
    prerelease: bool,
}

#[derive(Deserialize)]
struct Reference {
    #[serde(rename = "ref")]
    name: String,
    object: Object,
}

#[derive(Deserialize)]
struct Object {
    sha: String,
}

#[derive(Deserialize)]
struct Commit {
    sha: String,
    html_url: String,
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

impl Commit {
    /// Its time is the version: `20240131.235959`.
    fn release(self) -> Release {
        let date = &self.data.committer.date;
        let version = date.trim_end_matches('Z').replace(['-', ':'], "").replace('T', ".");
        Release { version, gitref: None, revision: Some(self.sha), url: Some(self.html_url), created: time(Some(date)) }
    }
}

#[derive(Deserialize)]
struct Graph<T> {
    data: Option<Data<T>>,
    #[serde(default)]
    errors: Vec<GraphError>,
}

#[derive(Deserialize)]
struct GraphError {
    message: String,
}

#[derive(Deserialize)]
struct Data<T> {
    repository: Option<T>,
}

impl<T> Graph<T> {
    fn repository(self) -> Result<T, String> {
        let told = self.errors.into_iter().next().map_or("the project is not there".to_owned(), |error| error.message);
        let found = self.data.and_then(|data| data.repository);
        found.ok_or_else(|| format!("GitHub answers: {}", told.escape_debug()))
    }
}

#[derive(Deserialize)]
struct Edges<T> {
    edges: Vec<Edge<T>>,
}

#[derive(Deserialize)]
struct Edge<T> {
    node: T,
}

#[derive(Deserialize)]
struct Tags {
    refs: Edges<TagNode>,
}

#[derive(Deserialize)]
struct TagNode {
    name: String,
    target: Target,
}

#[derive(Deserialize)]
struct Target {
    oid: String,
}

#[derive(Deserialize)]
struct Releases {
    releases: Edges<ReleaseNode>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReleaseNode {
    name: Option<String>,
    url: String,
    published_at: Option<String>,
    tag: Option<TagName>,
    tag_commit: Option<Target>,
}

#[derive(Deserialize)]
struct TagName {
    name: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn github(options: &str) -> Github {
        let table = format!("github = 'o/r'\n{options}").parse().expect("TOML");
        Github::read(Options::new(&table)).expect("valid")
    }

    fn url(options: &str) -> String {
        github(options).call(&Keys::default()).expect("no token needed").url
    }

    #[test]
    fn each_option_has_its_address() {
        assert_eq!(url(""), "https://api.github.com/repos/o/r/commits?");
        assert_eq!(
            url("branch = 'a/b'\npath = 'x y'"),
            "https://api.github.com/repos/o/r/commits?sha=a%2Fb&path=x%20y"
        );
        assert_eq!(url("use_max_tag = true\nhost = 'git.example'"), "https://api.git.example/repos/o/r/git/refs/tags");
        assert_eq!(url("use_latest_release = true"), "https://api.github.com/repos/o/r/releases/latest");
        assert_eq!(url("use_max_release = true"), "https://api.github.com/repos/o/r/releases");
    }

    #[test]
    fn what_needs_a_token_says_so() {
        let error = github("use_latest_tag = true").call(&Keys::default()).expect_err("no token");
        assert!(error.contains("keyfile"), "{error}");
        let keys = Keys::parse("[keys]\ngithub = 'secret'").expect("valid");
        let call = github("use_latest_release = true\ninclude_prereleases = true").call(&keys).expect("a token");
        assert!(call.post.is_some_and(|post| post.body.contains(r#""owner":"o""#)));
    }

    #[test]
    fn a_commit_is_a_version_by_its_time() {
        let body = r#"[{"sha":"abc","html_url":"u","commit":{"committer":{"date":"2024-01-31T23:59:58Z"}}}]"#;
        let said = github("").answer(body.as_bytes()).expect("a commit");
        let Said::One(release) = said else { panic!("one") };
        assert_eq!((release.version.as_str(), release.revision.as_deref()), ("20240131.235958", Some("abc")));
    }

    #[test]
    fn an_answer_without_the_project_says_what_github_says() {
        let body = r#"{"data":{"repository":null},"errors":[{"message":"Could not resolve"}]}"#;
        let error = github("use_latest_tag = true").answer(body.as_bytes()).expect_err("nothing");
        assert_eq!(error, "GitHub answers: Could not resolve");
        let error = github("").answer(b"<html>").expect_err("a page");
        assert!(error.ends_with("it begins with `<html>`"), "{error}");
    }
}
