//! The job of a CI service that a command runs in, as its environment tells it: what of the settings follows from it,
//! and what else is to be known of it.
//!
//! Whatever somebody wrote, in a file or as `PKGWARDEN__…`, counts more.

use std::collections::BTreeMap;

use super::forge;
use super::settings::ForgeKind;
use super::value::Address;
use super::written::{Layer as _, WrittenForge};
use crate::domain::name::Oid;

/// A service that runs jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// GitHub Actions.
    GitHub,
    /// The actions of Gitea or Forgejo, which mostly look like those of GitHub.
    Gitea,
    /// GitLab CI.
    GitLab,
}

impl Service {
    /// Its name, for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::GitHub => "GitHub Actions",
            Self::Gitea => "Gitea Actions",
            Self::GitLab => "GitLab CI",
        }
    }

    const fn forge(self) -> ForgeKind {
        match self {
            Self::GitHub => ForgeKind::Github,
            Self::Gitea => ForgeKind::Gitea,
            Self::GitLab => ForgeKind::Gitlab,
        }
    }

    /// The variables of the service.
    const fn variables(self) -> Variables {
        match self {
            Self::GitHub | Self::Gitea => Variables {
                kind: if matches!(self, Self::GitHub) { "GITHUB_ACTIONS" } else { "GITEA_ACTIONS" },
                api_url: "GITHUB_API_URL",
                project: "GITHUB_REPOSITORY",
                commit: "GITHUB_SHA",
                run: "GITHUB_RUN_ID",
                event: "GITHUB_EVENT_NAME",
                actor: "GITHUB_ACTOR",
            },
            Self::GitLab => Variables {
                kind: "GITLAB_CI",
                api_url: "CI_API_V4_URL",
                project: "CI_PROJECT_PATH",
                commit: "CI_COMMIT_SHA",
                run: "CI_PIPELINE_ID",
                event: "CI_PIPELINE_SOURCE",
                actor: "GITLAB_USER_LOGIN",
            },
        }
    }

    /// Where the token to act with is looked for. The token that GitLab makes for each job may open neither merge requests
    /// nor statuses, so it is none; Chaotic's pipelines have theirs in `ACCESS_TOKEN`.
    const fn tokens(self) -> &'static [&'static str] {
        match self {
            Self::GitHub => &["GITHUB_TOKEN", "GH_TOKEN", "ACCESS_TOKEN"],
            Self::Gitea => &["GITEA_TOKEN", "FORGEJO_TOKEN", "GITHUB_TOKEN", "ACCESS_TOKEN"],
            Self::GitLab => &["GITLAB_TOKEN", "ACCESS_TOKEN"],
        }
    }
}

/// What the variables of a service are called.
struct Variables {
    kind: &'static str,
    api_url: &'static str,
    project: &'static str,
    commit: &'static str,
    run: &'static str,
    event: &'static str,
    actor: &'static str,
}

/// The job that a command runs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Who runs it.
    pub service: Service,
    /// Base of the API of the forge it belongs to.
    pub api_url: Option<Address>,
    /// The project it runs for: `owner/name`.
    pub project: Option<String>,
    /// The commit it was started for.
    pub commit: Option<Oid>,
    /// The branch it was started for; where it was for none, the main branch, if the service tells it.
    pub branch: Option<String>,
    /// The number of the run, or of the pipeline.
    pub run: Option<u64>,
    /// What started it, in the words of the service.
    pub event: Option<String>,
    /// Who started it.
    pub actor: Option<String>,
    /// The variable with a token that may act on the forge, if there is one.
    pub token_variable: Option<&'static str>,
}

impl Job {
    /// The job that this environment belongs to, if it is one of a service that is known.
    #[must_use]
    pub fn detect(env: &BTreeMap<String, String>) -> Option<Self> {
        let given = |name: &str| env.get(name).map(|value| value.trim()).filter(|value| !value.is_empty());
        let is_on = |name: &str| given(name) == Some("true");
        let service = if is_on("GITLAB_CI") {
            Service::GitLab
        } else if is_on("GITEA_ACTIONS") || is_on("FORGEJO_ACTIONS") {
            Service::Gitea
        } else if is_on("GITHUB_ACTIONS") {
            Service::GitHub
        } else {
            return None;
        };
        let branch = match service {
            Service::GitLab => given("CI_COMMIT_BRANCH").or_else(|| given("CI_DEFAULT_BRANCH")),
            Service::GitHub | Service::Gitea => given("GITHUB_REF").and_then(|name| name.strip_prefix("refs/heads/")),
        };
        let variables = service.variables();
        let text = |name: &str| given(name).map(str::to_owned);
        Some(Self {
            service,
            api_url: given(variables.api_url).and_then(|url| url.parse().ok()),
            project: text(variables.project),
            commit: given(variables.commit).and_then(|id| id.parse().ok()),
            branch: branch.map(str::to_owned),
            run: given(variables.run).and_then(|number| number.parse().ok()),
            event: text(variables.event),
            actor: text(variables.actor),
            token_variable: service.tokens().iter().copied().find(|name| given(name).is_some()),
        })
    }

    /// The settings of the forge that follow from this job, beside those that somebody wrote. Nothing follows for another
    /// forge than the job's own: its token would be shown to strangers.
    pub(super) fn settings(&self, written: &WrittenForge) -> WrittenForge {
        let (Some(api_url), Some(project)) = (&self.api_url, &self.project) else { return WrittenForge::default() };
        let plain = |url: &Address| url.as_str().trim_end_matches('/').to_owned();
        let is_other = written.kind.is_some_and(|kind| kind != self.service.forge())
            || written.api_url.as_ref().is_some_and(|url| plain(url) != plain(api_url));
        let acts = written.token_file.is_some() || written.token_variable.is_some() || written.app_id.is_some();
        if is_other || (!acts && self.token_variable.is_none()) {
            return WrittenForge::default();
        }
        let settings = WrittenForge {
            kind: Some(self.service.forge()),
            api_url: Some(api_url.clone()),
            project: Some(project.clone()),
            token_variable: self.token_variable.filter(|_| !acts).map(str::to_owned),
            ..WrittenForge::default()
        };
        // What a service says of itself is believed only as far as it makes sense.
        let is_right = forge::faults(&settings.clone().over(written.clone()), None).is_empty();
        if is_right { settings } else { WrittenForge::default() }
    }

    /// The variable that a setting of the forge was read from.
    pub(super) const fn variable(&self, key: &str) -> Option<&'static str> {
        let variables = self.service.variables();
        match key.as_bytes() {
            b"kind" => Some(variables.kind),
            b"api_url" => Some(variables.api_url),
            b"project" => Some(variables.project),
            b"token_variable" => self.token_variable,
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::settings::{Forge, load};
    use super::*;

    fn env(variables: &[(&str, &str)]) -> BTreeMap<String, String> {
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    const GITHUB: [(&str, &str); 9] = [
        ("GITHUB_ACTIONS", "true"),
        ("GITHUB_API_URL", "https://api.github.com"),
        ("GITHUB_REPOSITORY", "them/packages"),
        ("GITHUB_SHA", "1111111111111111111111111111111111111111"),
        ("GITHUB_REF", "refs/heads/main"),
        ("GITHUB_RUN_ID", "17"),
        ("GITHUB_EVENT_NAME", "schedule"),
        ("GITHUB_ACTOR", "mira"),
        ("GITHUB_TOKEN", "s3cret"),
    ];

    const GITLAB: [(&str, &str); 9] = [
        ("GITLAB_CI", "true"),
        ("CI_API_V4_URL", "https://git.example/api/v4"),
        ("CI_PROJECT_PATH", "group/sub/packages"),
        ("CI_COMMIT_SHA", "2222222222222222222222222222222222222222"),
        ("CI_DEFAULT_BRANCH", "trunk"),
        ("CI_PIPELINE_ID", "4711"),
        ("CI_PIPELINE_SOURCE", "push"),
        ("CI_JOB_TOKEN", "job"),
        ("ACCESS_TOKEN", "s3cret"),
    ];

    /// The forge in force, with a file and an environment.
    fn forge(text: &str, variables: &[(&str, &str)]) -> Forge {
        let settings = load(Some(("pkgwarden.toml", text)), &env(variables)).unwrap_or_else(|error| panic!("{error}"));
        settings.repositories[0].forge.clone()
    }

    fn told(forge: &Forge) -> (ForgeKind, Option<&str>, Option<&str>, Option<&str>) {
        let url = forge.api_url.as_ref().map(Address::as_str);
        (forge.kind, url, forge.project.as_deref(), forge.token_variable.as_deref())
    }

    #[test]
    fn jobs_are_told_by_their_environment() {
        let github = Job::detect(&env(&GITHUB)).expect("a job");
        assert_eq!((github.service, github.run, github.branch.as_deref()), (Service::GitHub, Some(17), Some("main")));
        assert_eq!((github.event.as_deref(), github.actor.as_deref()), (Some("schedule"), Some("mira")));
        assert_eq!(github.commit, "1".repeat(40).parse().ok());
        let gitlab = Job::detect(&env(&GITLAB)).expect("a job");
        assert_eq!(
            (gitlab.service, gitlab.run, gitlab.branch.as_deref()),
            (Service::GitLab, Some(4711), Some("trunk"))
        );
        assert_eq!(gitlab.token_variable, Some("ACCESS_TOKEN"), "the job's own token may do nothing of that");
        let mut forgejo = env(&GITHUB);
        forgejo.extend(env(&[("FORGEJO_ACTIONS", "true"), ("FORGEJO_TOKEN", "other")]));
        let forgejo = Job::detect(&forgejo).expect("a job");
        assert_eq!((forgejo.service, forgejo.token_variable), (Service::Gitea, Some("FORGEJO_TOKEN")));
        for none in [&[][..], &[("CI", "true")], &[("GITHUB_ACTIONS", "")], &[("GITLAB_CI", "false")]] {
            assert_eq!(Job::detect(&env(none)), None, "{none:?}");
        }
    }

    #[test]
    fn what_makes_no_sense_in_the_environment_is_not_there() {
        let mut strange = env(&GITHUB);
        strange.extend(env(&[("GITHUB_SHA", "HEAD"), ("GITHUB_RUN_ID", "-1"), ("GITHUB_REF", "refs/pull/7/merge")]));
        let job = Job::detect(&strange).expect("a job");
        assert_eq!((job.commit, job.run, job.branch), (None, None, None));
        for (name, value) in [("GITHUB_REPOSITORY", "../x"), ("GITHUB_API_URL", "no url"), ("GITHUB_API_URL", "")] {
            let mut variables = GITHUB.to_vec();
            variables.push((name, value));
            assert_eq!(forge("", &variables).kind, ForgeKind::Local, "{name}={value}");
        }
    }

    #[test]
    fn without_a_file_a_job_knows_its_forge() {
        let expected =
            (ForgeKind::Github, Some("https://api.github.com/"), Some("them/packages"), Some("GITHUB_TOKEN"));
        assert_eq!(told(&forge("", &GITHUB)), expected);
        let url = Some("https://git.example/api/v4");
        let expected = (ForgeKind::Gitlab, url, Some("group/sub/packages"), Some("ACCESS_TOKEN"));
        assert_eq!(told(&forge("", &GITLAB)), expected);
        assert_eq!(forge("", &GITLAB[..8]).kind, ForgeKind::Local, "without a token nothing can be done there");
    }

    #[test]
    fn what_is_written_wins_and_the_token_goes_to_no_other_forge() {
        let own = forge("[forge]\nkind = \"github\"\nproject = \"them/other\"\ntoken_file = \"t\"\n", &GITHUB);
        let url = Some("https://api.github.com/");
        assert_eq!(told(&own), (ForgeKind::Github, url, Some("them/other"), None));
        for other in [
            "kind = \"local\"",
            "kind = \"gitlab\"\ntoken_file = \"t\"\nproject = \"a/b\"",
            "kind = \"github\"\napi_url = \"https://ghe.example/api/v3\"\ntoken_file = \"t\"\nproject = \"a/b\"",
        ] {
            let forge = forge(&format!("[forge]\n{other}\n"), &GITHUB);
            assert_eq!(forge.token_variable, None, "{other}");
            assert!(forge.project.is_none_or(|project| project == "a/b"), "{other}");
        }
        let several = "[[repository]]\nname = \"a\"\nurl = \"https://github.com/them/packages\"\n";
        assert_eq!(forge(several, &GITHUB).kind, ForgeKind::Local, "a list of repositories is not about this job");
        let mut variables = GITHUB.to_vec();
        variables.push(("PKGWARDEN__FORGE__KIND", "local"));
        assert_eq!(forge("", &variables).kind, ForgeKind::Local);
    }
}
