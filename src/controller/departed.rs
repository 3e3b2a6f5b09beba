//! Packages that left the monorepo leave what is published: here, or where an executor publishes by itself.

use anyhow::{Result, bail};

use super::dispatch::Dispatcher;
use super::order::repository_settings;
use super::site::tracking;
use super::snapshot::package_folders;
use crate::domain::chaotic::Route;
use crate::domain::name::PkgBase;
use crate::executor::Kept;
use crate::git::Repository;
use crate::publish::outlets::Outlets;
use crate::store::removals::Removal;

impl Dispatcher {
    /// Takes packages that left the monorepo out of the published repositories.
    pub(super) async fn remove_departed(&self) -> Result<()> {
        for (name, outlets) in &self.parts.outlets {
            let departed = self.parts.store.pending_removals(name).await?;
            if departed.is_empty() {
                continue;
            }
            let names: Vec<_> = departed.iter().map(|removal| removal.pkgbase.clone()).collect();
            let removed = if self.parts.executor.publishes() {
                self.remove_elsewhere(name, outlets, &names).await
            } else {
                self.remove_here(name, outlets, &names).await
            };
            match removed {
                Ok(true) => self.finish_removals(name, &departed).await?,
                // It is under way.
                Ok(false) => {}
                // Builds go on; the packages stay published until it works, or somebody confirms it.
                Err(error) => {
                    tracing::error!(
                        repository = name,
                        error = format!("{error:#}"),
                        "packages that left stay published"
                    );
                }
            }
        }
        Ok(())
    }

    async fn remove_here(&self, name: &str, outlets: &Outlets, departed: &[PkgBase]) -> Result<bool> {
        outlets.remove(departed, false).await?;
        self.note_linkage(name, outlets, &departed[0]).await;
        Ok(true)
    }

    /// Whoever publishes elsewhere is told what stays, which has to be most of what there was.
    async fn remove_elsewhere(&self, name: &str, outlets: &Outlets, departed: &[PkgBase]) -> Result<bool> {
        let kept = self.kept(name, departed).await?;
        let (leaving, published) = (departed.len(), kept.packages.len() + departed.len());
        let limit = outlets.main().max_removals();
        if kept.packages.is_empty() || !limit.allows(leaving, published) {
            bail!("{leaving} of {published} packages would be removed, and publish.max_removals is {limit}");
        }
        Ok(self.parts.executor.keep_packages(kept).await?)
    }

    /// What stays of a repository whose branch may not have been looked at since the last packages left it.
    async fn kept(&self, name: &str, departed: &[PkgBase]) -> Result<Kept> {
        let site = self.site_of(name)?;
        let branch = tracking(&format!("refs/heads/{}", site.branch));
        let read = move |git: &Repository| {
            let Some(commit) = git.resolve(&branch)? else { bail!("the branch {branch} was never fetched") };
            let folders = package_folders(git.entries(git.tree_of(commit)?)?, &mut Vec::new());
            Ok((folders, Route::of(&repository_settings(git, commit)?)))
        };
        let (folders, route) = site.with_git(read).await?;
        let packages = folders.into_iter().map(|(pkgbase, _)| pkgbase).filter(|pkgbase| !departed.contains(pkgbase));
        Ok(Kept { repo: route.target, arch: site.arch.clone(), packages: packages.collect() })
    }

    async fn finish_removals(&self, name: &str, departed: &[Removal]) -> Result<()> {
        let ids: Vec<i64> = departed.iter().map(|removal| removal.id).collect();
        self.parts.store.finish_removals(&ids, self.parts.clock.now()).await?;
        let names: Vec<_> = departed.iter().map(|removal| &removal.pkgbase).collect();
        tracing::info!(repository = name, packages = ?names, "removed packages that left the monorepo");
        Ok(())
    }
}
