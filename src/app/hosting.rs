//! The forge that a monorepo is hosted on.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use url::Url;

use crate::config::forge::{api, project};
use crate::config::job::{Job, Service};
use crate::config::settings::{self, ForgeKind};
use crate::domain::name::Oid;
use crate::forge::Forge;
use crate::forge::gitea::Gitea;
use crate::forge::github::{GitHub, Identity};
use crate::forge::gitlab::GitLab;
use crate::sys::clock::Clock;
use crate::sys::env;
use crate::sys::secret::{self, SecretString};

/// What speaks to the forge of a monorepo with this address; `None` if its reviews are branches only, because there is no
/// forge, or none that we could act on. Nothing is asked yet.
///
/// # Errors
/// If its token or key cannot be read, or nobody says which project it is.
pub fn forge(settings: &settings::Forge, address: &str, clock: Arc<dyn Clock>) -> Result<Option<Arc<dyn Forge>>> {
    let Some(base) = api(settings) else { return Ok(None) };
    if settings.token_file.is_none() && settings.token_variable.is_none() && settings.app.is_none() {
        return Ok(None);
    }
    let base: Url = base.parse().with_context(|| format!("the address of the forge, {base}, is none"))?;
    let project = settings.project.clone().or_else(|| project(settings, address)).with_context(|| {
        format!("the project on the forge cannot be told from {address}; write it as forge.project")
    })?;
    Ok(match settings.kind {
        ForgeKind::Local => None,
        ForgeKind::Github => Some(Arc::new(GitHub::new(base, &project, identity(settings)?, clock))),
        ForgeKind::Gitlab => {
            let pipeline = pipeline(settings, address);
            Some(Arc::new(GitLab::new(base, &project, &token(settings)?, clock).context(SENT)?.within(pipeline)))
        }
        ForgeKind::Gitea => Some(Arc::new(Gitea::new(base, &project, &token(settings)?, clock).context(SENT)?)),
    })
}

/// The pipeline of GitLab that we run in, if it is one of the project of a monorepo with this address, and its commit.
pub(super) fn pipeline(settings: &settings::Forge, address: &str) -> Option<(u64, Oid)> {
    if settings.kind != ForgeKind::Gitlab {
        return None;
    }
    let project = settings.project.clone().or_else(|| project(settings, address))?;
    pipeline_among(&env::vars(), &api(settings)?.parse().ok()?, &project)
}

fn pipeline_among(env: &BTreeMap<String, String>, api: &Url, project: &str) -> Option<(u64, Oid)> {
    let job = Job::detect(env).filter(|job| job.service == Service::GitLab)?;
    let plain = |url: &Url| url.as_str().trim_end_matches('/').to_owned();
    let is_ours = job.api_url.as_ref().is_some_and(|url| plain(url.url()) == plain(api));
    (is_ours && job.project.as_deref() == Some(project)).then(|| job.run.zip(job.commit))?
}

/// What is wrong with a token that no header can hold.
const SENT: &str = "the token of the forge holds something that cannot be sent";

fn identity(settings: &settings::Forge) -> Result<Identity> {
    match &settings.app {
        Some(app) => Ok(Identity::App { id: app.id, key: secret::from_file(&app.key_file)? }),
        None => Ok(Identity::Token(token(settings)?)),
    }
}

fn token(settings: &settings::Forge) -> Result<SecretString> {
    match (&settings.token_file, &settings.token_variable) {
        (Some(file), _) => Ok(secret::from_file(file)?),
        (None, Some(name)) => {
            let token = env::var(name).filter(|token| !token.trim().is_empty());
            let token = token.with_context(|| format!("the environment variable {name} holds no token"))?;
            Ok(token.trim().to_owned().into())
        }
        (None, None) => bail!("forge.token_file is not set"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipeline_is_ours_only_on_the_same_gitlab_and_of_the_same_project() {
        let env = BTreeMap::from(
            [
                ("GITLAB_CI", "true"),
                ("CI_API_V4_URL", "https://git.example/api/v4"),
                ("CI_PROJECT_PATH", "group/packages"),
                ("CI_COMMIT_SHA", "2222222222222222222222222222222222222222"),
                ("CI_PIPELINE_ID", "4711"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        let pipeline = |api: &str, project: &str| pipeline_among(&env, &api.parse().unwrap(), project);
        let ours = pipeline("https://git.example/api/v4/", "group/packages");
        assert_eq!(ours, Some((4711, "2".repeat(40).parse().unwrap())));
        assert_eq!(pipeline("https://git.example/api/v4", "group/other"), None);
        assert_eq!(pipeline("https://gitlab.com/api/v4", "group/packages"), None);
    }
}
