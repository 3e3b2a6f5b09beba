//! What an executor is told of a build: everything it has to know, read from exactly the commit that is built.

use std::sync::Arc;

use anyhow::{Context as _, Result};

use super::apply::folder_at;
use super::dispatch::Dispatcher;
use super::site::Site;
use super::snapshot::SMALL_FILE;
use crate::builder::pacman::{PackageRepository, Server};
use crate::caches::CacheError;
use crate::config;
use crate::domain::bump::effective_version;
use crate::domain::cache::Plan;
use crate::domain::cache::policy::RefClass;
use crate::domain::chaotic::Route;
use crate::domain::folder::Folder;
use crate::domain::name::{Oid, PkgBase};
use crate::domain::policy::{PackageSettings, RepositorySettings};
use crate::domain::srcinfo::Srcinfo;
use crate::domain::version::Version;
use crate::executor::BuildOrder;
use crate::executor::kept::blocking;
use crate::git::Repository;
use crate::publish::Publisher;
use crate::store::builds::Build;

impl Dispatcher {
    /// Everything an executor has to know: the files are those of the commit that was scheduled,
    /// wherever the branch is now.
    pub(super) async fn order(&self, build: &Build, attempt: &str) -> Result<BuildOrder> {
        let site = self.site_of(&build.repository)?;
        let (commit, pkgbase) = (build.commit, build.pkgbase.clone());
        site.obtain(commit).await?;
        let read = move |git: &Repository| {
            Ok((folder_at(git, commit, &pkgbase)?, git.commit_facts(commit)?.time, repository_settings(git, commit)?))
        };
        let (files, time, common) = site.with_git(read).await?;
        self.name_publisher(&build.repository, &common);
        let settings = settings_in(&files);
        let published = match self.parts.outlets.get(&build.repository) {
            // Large databases take their time, in which everything else goes on.
            Some(outlets) => {
                let outlets = outlets.clone();
                tokio::task::spawn_blocking(move || outlets.current()).await??
            }
            None => Vec::new(),
        };
        let caches = config::cache::declared(&files, settings.cache_sources);
        let caches = site.policy.caches.plan(caches, RefClass::Release);
        let caches = self.trusted(caches, &build.repository, &build.pkgbase).await?;
        Ok(BuildOrder {
            attempt: attempt.to_owned(),
            repository: build.repository.clone(),
            url: Some(site.remote.shown()).filter(|address| is_public(address)),
            arch: build.arch.clone(),
            class: build.class.clone(),
            pkgbase: build.pkgbase.clone(),
            commit,
            expected_version: expected_version(&files, &settings),
            bump: settings.bump,
            package_repositories: self.repositories_for(&build.repository),
            published: published
                .into_iter()
                .filter(|package| package.base == build.pkgbase)
                .map(|package| package.file)
                .collect(),
            timeout: self.limits.borrow().timeout,
            extra_timeout: settings.extra_timeout,
            cache_sources: settings.cache_sources && site.policy.caches.lets_sources(RefClass::Release),
            caches,
            allow_prohibited: settings.allow_prohibited,
            source_date_epoch: time.as_second(),
            proposal: None,
            skip_exit_code: common.skip_exit_code,
            route: Route::of(&common),
            files,
        })
    }

    /// What a build may keep and find, without what was condemned or invalidated.
    pub(super) async fn trusted(&self, plan: Plan, repository: &str, pkgbase: &PkgBase) -> Result<Plan> {
        let (caches, repository, pkgbase) = (self.parts.caches.clone(), repository.to_owned(), pkgbase.clone());
        let untrusted = move || {
            let condemned = caches.condemnations(&repository, &pkgbase)?;
            Ok::<_, CacheError>((condemned, caches.invalidations(&repository, &pkgbase)?))
        };
        let (condemned, invalidated) = blocking(untrusted).await?;
        Ok(Plan { condemned, invalidated, ..plan })
    }

    /// The repository of that name.
    pub(super) fn site_of(&self, repository: &str) -> Result<&Arc<Site>> {
        let site = self.parts.sites.get(repository);
        site.with_context(|| format!("no repository `{repository}` is configured"))
    }

    /// A published repository without a name takes it from the commit that is built, or else is called
    /// what the configuration calls the repository.
    pub(super) fn name_publisher(&self, repository: &str, settings: &RepositorySettings) {
        if let Some(outlets) = self.parts.outlets.get(repository) {
            outlets.settle_name(settings.target_repository.as_deref().unwrap_or(repository));
        }
    }

    /// The published repositories themselves come first, so that what was built here is what is built against.
    pub(super) fn repositories_for(&self, repository: &str) -> Vec<PackageRepository> {
        let published = |publisher: &Publisher| {
            // Of the others, pacman is only told once something is in them.
            let name = publisher.name()?.to_owned();
            let server = Server::Directory(publisher.dir().to_owned());
            Some(PackageRepository { name, server, sig_level: None, keys: None })
        };
        let outlets = self.parts.outlets.get(repository);
        let is_told = |publisher: &&Publisher| {
            outlets.is_some_and(|outlets| outlets.main().dir() == publisher.dir()) || publisher.has_published()
        };
        let own = outlets.into_iter().flat_map(|outlets| outlets.all().filter(is_told).filter_map(published));
        own.chain(self.limits.borrow().package_repositories.iter().cloned()).collect()
    }
}

/// Whether others can know a repository by this address.
fn is_public(address: &str) -> bool {
    address.contains(':') && !address.starts_with("file:")
}

pub(super) fn settings_in(files: &Folder) -> PackageSettings {
    let text = files.get(".CI/config").map(String::from_utf8_lossy).unwrap_or_default();
    config::package::parse(&text, ".CI/config").0
}

/// `.ci/config` as the commit that is built has it.
pub(super) fn repository_settings(git: &Repository, commit: Oid) -> Result<RepositorySettings> {
    let config = git.file(git.tree_of(commit)?, config::repository::PATH, SMALL_FILE)?.unwrap_or_default();
    Ok(config::repository::parse(&String::from_utf8_lossy(&config), None).0)
}

pub(super) fn facts(files: &Folder) -> Option<Srcinfo> {
    files.get(".SRCINFO").and_then(|bytes| Srcinfo::parse(bytes).ok())
}

/// The version the artefacts must have; `None` if only the build itself can tell, because a `pkgver()`
/// function decides or an interfere file may change it.
pub(super) fn expected_version(files: &Folder, settings: &PackageSettings) -> Option<Version> {
    let recipe = String::from_utf8_lossy(files.get("PKGBUILD")?);
    let decides_itself = recipe.lines().any(|line| {
        line.trim_start().trim_start_matches("function ").starts_with("pkgver()")
            || line.trim_start().starts_with("pkgver ()")
    });
    let interfered = [".CI/PKGBUILD.append", ".CI/PKGBUILD.prepend", ".CI/interfere.patch", ".CI/prepare"]
        .iter()
        .any(|path| files.files.contains_key(*path));
    if decides_itself || interfered {
        return None;
    }
    facts(files).map(|facts| effective_version(&facts.version, settings.bump.as_ref()))
}
