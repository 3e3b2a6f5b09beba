//! The order of a build out of its document, which is believed only as far as the builder was told by its own settings:
//! whoever writes into Redis can write documents.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::builder::pacman::{PackageRepository, Server};
use crate::domain::cache::policy::{CachePolicy, RefClass};
use crate::domain::chaotic::Route;
use crate::domain::folder::Folder;
use crate::domain::job::{Job, PacmanRepository, Places};
use crate::domain::name::{Oid, PkgBase};
use crate::domain::policy::Bump;
use crate::domain::version::Version;
use crate::executor::BuildOrder;

/// What a builder does by its own settings, whatever a document asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Addresses of package repositories in directories of this machine that builds may see.
    pub directories: BTreeSet<String>,
    /// What builds may keep and find here.
    pub caches: CachePolicy,
    /// Where the controller is, if that is set here, too: nothing else is asked, or told a token.
    pub controller: Option<String>,
}

impl Rules {
    /// Whether a document leads to the controller only.
    ///
    /// # Errors
    /// Where else, in a sentence.
    pub fn check_places(&self, places: &Places) -> Result<(), String> {
        let Some(controller) = &self.controller else { return Ok(()) };
        let beginning = format!("{}/", controller.trim_end_matches('/'));
        let all: BTreeMap<String, String> =
            serde_json::to_value(places).and_then(serde_json::from_value).expect("texts");
        match all.values().find(|place| !place.starts_with(&beginning)) {
            Some(place) => Err(format!("it leads to `{place}`, and server.public_url of this builder is {controller}")),
            None => Ok(()),
        }
    }

    fn repository(&self, written: &PacmanRepository, job: &Job) -> Result<PackageRepository, String> {
        let server = match written.server.strip_prefix("file://") {
            Some(path) if self.directories.contains(&written.server) => Server::Directory(path.into()),
            Some(_) => {
                return Err(format!(
                    "it wants packages from `{}`, a directory of this machine; if builds may see it, name it in \
                     executor.local.repository of this builder",
                    written.server
                ));
            }
            None => Server::Url(written.server.clone()),
        };
        let keys = job.pacman_keyrings.iter().find(|keyring| keyring.name == written.name);
        Ok(PackageRepository {
            name: written.name.clone(),
            server,
            sig_level: written.sig_level.clone(),
            keys: keys.map(|keyring| keyring.keys.clone()),
        })
    }
}

/// What is to be carried out with these files.
///
/// # Errors
/// What the document lacks, or wants beyond the rules, in a sentence.
pub fn order(job: &Job, files: Folder, rules: &Rules) -> Result<BuildOrder, String> {
    if job.schema != 1 {
        return Err(format!("it is of version {}, and this builder knows version 1; install a newer one", job.schema));
    }
    let bump = match (job.bump, &job.bump_of) {
        (Some(count), Some(version)) => Some(Bump { version: Version::new(version.clone()), count }),
        (Some(_), None) => return Err("it asks for a bump, and does not say of which version".to_owned()),
        (None, _) => None,
    };
    let class = RefClass::of(job.proposal);
    let package_repositories = job.pacman_repositories.iter().map(|written| rules.repository(written, job));
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
        package_repositories: package_repositories.collect::<Result<_, _>>()?,
        published: job.published.clone(),
        timeout: Duration::from_secs(job.timeout_s),
        extra_timeout: 1.0,
        cache_sources: job.cache_sources && rules.caches.lets_sources(class),
        allow_prohibited: job.allow_prohibited,
        caches: rules.caches.limit(job.caches.clone(), class),
        source_date_epoch: job.source_date_epoch,
        skip_exit_code: job.skip_exit_code,
        route: Route::default(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::cache::policy::ReleaseCaches;
    use crate::domain::keyring::PublicKeys;

    const MIRROR: &str = "file:///srv/mirror";

    fn rules() -> Rules {
        Rules { directories: [MIRROR.to_owned()].into(), caches: CachePolicy::default(), controller: None }
    }

    fn document(more: &serde_json::Value) -> Job {
        let mut document = json!({
            "schema": 1, "attempt": "a", "repository": "r", "commit": "0".repeat(40), "pkgbase": "p", "arch": "any",
            "pacman_repositories": [], "published": [], "timeout_s": 1, "cache_sources": true,
            "source_date_epoch": 0, "skip_exit_code": 0,
        });
        document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(document).unwrap()
    }

    fn ordered(more: &serde_json::Value, rules: &Rules) -> Result<BuildOrder, String> {
        order(&document(more), Folder::default(), rules)
    }

    #[test]
    fn no_document_opens_a_directory_that_the_builder_was_not_told_of() {
        let from = |server: &str| json!({"pacman_repositories": [{"name": "x", "server": server}]});
        let refused = ordered(&from("file:///home/me"), &rules()).unwrap_err();
        assert!(refused.contains("`file:///home/me`") && refused.contains("executor.local.repository"), "{refused}");
        let own = ordered(&from(MIRROR), &rules()).unwrap();
        assert_eq!(own.package_repositories[0].server, Server::Directory("/srv/mirror".into()));
        assert!(ordered(&from("https://mirror.example"), &rules()).is_ok());
    }

    #[test]
    fn keyrings_go_to_the_repositories_that_they_are_of() {
        let keys = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmDME\n-----END PGP PUBLIC KEY BLOCK-----\n";
        let repository =
            |name: &str| json!({"name": name, "server": "https://mirror.example", "sig_level": "Required"});
        let signed = json!({
            "pacman_repositories": [repository("own"), repository("core")],
            "pacman_keyrings": [{"name": "own", "keys": keys}, {"name": "nobody", "keys": keys}],
        });
        let order = ordered(&signed, &rules()).unwrap();
        let found = order.package_repositories.iter().map(|it| it.keys.as_ref().map(PublicKeys::armored));
        assert_eq!(found.collect::<Vec<_>>(), [Some(keys), None]);
        assert_eq!(order.job().pacman_keyrings, document(&signed).pacman_keyrings[..1], "the order says it again");
    }

    #[test]
    fn what_is_kept_is_for_the_settings_of_the_builder_to_say() {
        let set = |name: &str| json!({"name": name, "include": ["~/**"], "max_bytes": 1});
        let greedy = json!({"caches": {"commands": true, "sets": [set("srcdest"), set("evil")]}});
        let order = ordered(&greedy, &rules()).unwrap();
        let [sources] = order.caches.sets.as_slice() else { panic!("{:?}", order.caches) };
        assert_eq!((order.caches.commands, &*sources.include), (false, &["/srcdest/**".to_owned()][..]));
        assert!(order.cache_sources);
        let caches = CachePolicy { release: ReleaseCaches::None, proposals: false };
        let closed = Rules { caches, ..rules() };
        let order = ordered(&greedy, &closed).unwrap();
        assert!(order.caches.is_empty() && !order.cache_sources);
        let open = Rules { caches: CachePolicy { release: ReleaseCaches::All, proposals: false }, ..rules() };
        let order = ordered(&greedy, &open).unwrap();
        assert_eq!((order.caches.commands, order.caches.sets.len()), (true, 2));
        assert!(!ordered(&json!({}), &open).unwrap().caches.commands, "not more than was asked for");
        let proposal = json!({"proposal": 7, "caches": greedy["caches"]});
        let order = ordered(&proposal, &open).unwrap();
        assert!(order.caches.is_empty() && !order.cache_sources);
    }

    #[test]
    fn a_builder_that_knows_its_controller_asks_nobody_else() {
        let rules = Rules { controller: Some("https://builds.example/".to_owned()), ..rules() };
        let places = |address: &str| Places::of(&format!("{address}/api/v1/attempts/a"));
        assert_eq!(rules.check_places(&places("https://builds.example")), Ok(()));
        for other in ["https://evil.example", "https://builds.example.evil", "http://builds.example"] {
            let one = Places { artefacts: places(other).artefacts, ..places("https://builds.example") };
            assert!(rules.check_places(&one).unwrap_err().contains(other));
        }
    }
}
