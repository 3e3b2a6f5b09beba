//! What performs runs on a repository, and the forge that its reviews are on.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use url::Url;

use crate::config::Settings;
use crate::config::settings::{self, ExecutorKind, ForgeKind};
use crate::controller::run::Runner;
use crate::controller::site::Site;
use crate::controller::tend::Hosted;
use crate::forge::Forge;
use crate::forge::github::{GitHub, Identity};
use crate::publish::Publisher;
use crate::store::Store;
use crate::sys::clock::Clock;
use crate::sys::secret;

/// Where GitHub's API is, if nobody says otherwise.
const GITHUB: &str = "https://api.github.com";

/// What performs runs on a repository.
///
/// # Errors
/// If the token of its forge cannot be read.
pub(super) fn runner(
    settings: &Settings,
    repository: &settings::Repository,
    site: Arc<Site>,
    store: Store,
    (publisher, clock): (Arc<Publisher>, Arc<dyn Clock>),
) -> Result<Runner> {
    let hosted = hosted(settings, &repository.forge, clock.clone())?;
    Ok(Runner::new(site, store, clock)
        .looks_at(publisher)
        .hosted_on(hosted)
        .enqueues(repository.executor.kind != ExecutorKind::None)
        .takes_turns_by(super::turns_file(settings, &repository.name)))
}

/// The forge that reviews are on; `None` if they are branches and nothing else.
fn hosted(settings: &Settings, forge: &settings::Forge, clock: Arc<dyn Clock>) -> Result<Option<Hosted>> {
    let api = |usual: &str| -> Result<Url> {
        let address = forge.api_url.as_ref().map_or_else(|| usual.to_owned(), |url| url.as_str().to_owned());
        address.parse().with_context(|| format!("forge.api_url is no address: {address}"))
    };
    let project = forge.project.as_deref().context("forge.project is not set");
    let token =
        || forge.token_file.as_deref().context("forge.token_file is not set").and_then(|it| Ok(secret::from_file(it)?));
    let client: Arc<dyn Forge> = match forge.kind {
        ForgeKind::Local => return Ok(None),
        ForgeKind::Github => Arc::new(GitHub::new(api(GITHUB)?, project?, Identity::Token(token()?), clock)),
        ForgeKind::Gitlab | ForgeKind::Gitea => {
            bail!("this version does not speak to forges of the kind {:?}", forge.kind)
        }
    };
    let pages = settings.server.public_url.as_ref().map(ToString::to_string);
    Ok(Some(Hosted { forge: client, pages }))
}
