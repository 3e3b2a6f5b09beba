//! Which forge's deliveries are taken for each repository, and the secrets they are verified with.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};

use crate::config::Settings;
use crate::config::settings::{self, ForgeKind};
use crate::controller::inbox::Inbox;
use crate::forge::webhook::{Hook, Scheme};
use crate::store::Store;
use crate::sys::clock::Clock;
use crate::sys::secret;

/// How a kind of forge signs what it delivers.
const fn scheme(kind: ForgeKind) -> Option<Scheme> {
    match kind {
        ForgeKind::Local => None,
        ForgeKind::Github => Some(Scheme::Github),
        ForgeKind::Gitlab => Some(Scheme::Gitlab),
        ForgeKind::Gitea => Some(Scheme::Gitea),
    }
}

/// What deliveries for a repository are verified with; `None` if none are taken.
///
/// # Errors
/// If the file with the secrets cannot be read, or holds none.
pub(super) fn hook(forge: &settings::Forge) -> Result<Option<Hook>> {
    let (Some(scheme), Some(file)) = (scheme(forge.kind), &forge.webhook_secret_file) else { return Ok(None) };
    read(scheme, file).with_context(|| format!("forge.webhook_secret_file = {}", file.display())).map(Some)
}

fn read(scheme: Scheme, file: &Path) -> Result<Hook> {
    Ok(Hook::new(scheme, secret::lines_from_file(file)?)?)
}

/// The inbox of all repositories.
///
/// # Errors
/// As [`hook`].
pub(super) fn inbox(settings: &Settings, store: &Store, clock: &Arc<dyn Clock>) -> Result<Inbox> {
    let hooks = settings.repositories.iter().map(|one| Ok((one.name.clone(), hook(&one.forge)?)));
    Ok(Inbox::new(hooks.collect::<Result<BTreeMap<_, _>>>()?, store.clone(), Arc::clone(clock)))
}

/// Reads the secrets again. Where they cannot be had, the old ones stay.
pub(super) fn renew(inbox: &Inbox, settings: &Settings) {
    for repository in &settings.repositories {
        match hook(&repository.forge) {
            Ok(hook) => inbox.renew(&repository.name, hook),
            Err(error) => tracing::error!(
                repository = repository.name,
                error = format!("{error:#}"),
                "the webhook secrets are not taken over"
            ),
        }
    }
}
