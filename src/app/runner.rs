//! What performs runs on a repository, and the forge that its reviews are on.

use std::sync::Arc;

use anyhow::Result;

use super::hosting;
use crate::config::Settings;
use crate::config::settings::{self, ExecutorKind};
use crate::controller::run::Runner;
use crate::controller::site::Site;
use crate::controller::tend::Hosted;
use crate::publish::outlets::Outlets;
use crate::store::Store;
use crate::sys::clock::Clock;

/// What performs runs on a repository.
///
/// # Errors
/// If its project cannot be told, or the token of its forge cannot be read.
pub(super) fn runner(
    settings: &Settings,
    repository: &settings::Repository,
    site: Arc<Site>,
    store: Store,
    (outlets, clock): (Outlets, Arc<dyn Clock>),
) -> Result<Runner> {
    let address = site.remote.shown();
    let forge = hosting::forge(&repository.forge, &address, clock.clone())?;
    let pages = settings.server.public_url.as_ref().map(ToString::to_string);
    let hosted = forge.map(|forge| Hosted { forge, pages });
    Ok(Runner::new(site, store, clock)
        .looks_at(outlets)
        .hosted_on(hosted)
        .in_pipeline(hosting::pipeline(&repository.forge, &address))
        .enqueues(repository.executor.kind != ExecutorKind::None)
        .takes_turns_by(super::turns_file(settings, &repository.name)))
}
