//! The order of a build out of its document.

use std::time::Duration;

use crate::builder::pacman::{PackageRepository, Server};
use crate::domain::chaotic::Route;
use crate::domain::folder::Folder;
use crate::domain::job::{Job, PacmanRepository};
use crate::domain::name::{Oid, PkgBase};
use crate::domain::policy::Bump;
use crate::domain::version::Version;
use crate::executor::BuildOrder;

/// What is to be carried out with these files.
///
/// # Errors
/// What the document lacks, in a sentence.
pub fn order(job: &Job, files: Folder) -> Result<BuildOrder, String> {
    if job.schema != 1 {
        return Err(format!("it is of version {}, and this builder knows version 1; install a newer one", job.schema));
    }
    let bump = match (job.bump, &job.bump_of) {
        (Some(count), Some(version)) => Some(Bump { version: Version::new(version.clone()), count }),
        (Some(_), None) => return Err("it asks for a bump, and does not say of which version".to_owned()),
        (None, _) => None,
    };
    Ok(BuildOrder {
        attempt: job.attempt.clone(),
        repository: job.repository.clone(),
        url: job.url.clone(),
        arch: job.arch.clone(),
        pkgbase: PkgBase::new(&job.pkgbase).map_err(|error| error.to_string())?,
        commit: job.commit.parse::<Oid>().map_err(|error| error.to_string())?,
        proposal: job.proposal,
        files,
        expected_version: job.version.clone().map(Version::new),
        class: None,
        bump,
        package_repositories: job.pacman_repositories.iter().map(repository).collect(),
        published: job.published.clone(),
        timeout: Duration::from_secs(job.timeout_s),
        extra_timeout: 1.0,
        cache_sources: job.cache_sources,
        allow_prohibited: job.allow_prohibited,
        caches: job.caches.clone(),
        source_date_epoch: job.source_date_epoch,
        skip_exit_code: job.skip_exit_code,
        route: Route::default(),
    })
}

fn repository(written: &PacmanRepository) -> PackageRepository {
    let server = match written.server.strip_prefix("file://") {
        Some(path) => Server::Directory(path.into()),
        None => Server::Url(written.server.clone()),
    };
    PackageRepository { name: written.name.clone(), server, sig_level: written.sig_level.clone() }
}
