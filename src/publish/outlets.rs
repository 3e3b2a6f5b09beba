//! All package repositories that the packages of one monorepo go to: the main one, those of `publish.target`, and the
//! staging repository before each, where there is one.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::{Generation, Guarded, PublishError, PublishedPackage, Publisher};
use crate::domain::name::PkgBase;
use crate::domain::publication::target::Target;

/// What the name of a staging repository ends with.
const STAGING: &str = "-staging";

/// One package repository, and the one before it.
#[derive(Clone)]
pub struct Outlet {
    /// What people install from.
    pub release: Publisher,
    /// Where builds go first, if they do.
    pub staging: Option<Publisher>,
}

impl Outlet {
    /// The repository that builds go to.
    #[must_use]
    pub fn entrance(&self) -> &Publisher {
        self.staging.as_ref().unwrap_or(&self.release)
    }

    /// Both, staging first, as pacman has to have them.
    pub fn both(&self) -> impl Iterator<Item = &Publisher> {
        self.staging.iter().chain([&self.release])
    }

    /// What is published: of a package that is in both, what is in staging.
    fn current(&self) -> Result<Vec<PublishedPackage>, PublishError> {
        let mut packages: Vec<PublishedPackage> = Vec::new();
        for publisher in self.both() {
            let hidden: BTreeSet<PkgBase> = packages.iter().map(|package| package.base.clone()).collect();
            packages.extend(publisher.current()?.into_iter().filter(|package| !hidden.contains(&package.base)));
        }
        Ok(packages)
    }
}

/// Where the packages of a monorepo go. Cheap to clone.
#[derive(Clone)]
pub struct Outlets {
    main: Outlet,
    targets: Vec<(Target, Outlet)>,
}

impl Outlets {
    /// One repository, and further ones with the packages that go there.
    #[must_use]
    pub fn new(main: Outlet, targets: Vec<(Target, Outlet)>) -> Self {
        Self { main, targets }
    }

    /// One repository without staging.
    #[must_use]
    pub fn only(release: Publisher) -> Self {
        Self::new(Outlet { release, staging: None }, Vec::new())
    }

    /// The main repository that people install from.
    #[must_use]
    pub const fn main(&self) -> &Publisher {
        &self.main.release
    }

    /// Where the files of this package go.
    #[must_use]
    pub fn of(&self, pkgbase: &PkgBase) -> &Outlet {
        let target = self.targets.iter().find(|(target, _)| target.takes(pkgbase));
        target.map_or(&self.main, |(_, outlet)| outlet)
    }

    /// Where builds of this package go. What they bring is compared with what each repository of the monorepo has: that
    /// of the package first, staging before the release.
    #[must_use]
    pub fn entrance(&self, pkgbase: &PkgBase) -> Publisher {
        let (outlet, entrance) = (self.of(pkgbase), self.of(pkgbase).entrance());
        let others = outlet.both().chain(self.all()).filter(|publisher| publisher.dir() != entrance.dir());
        entrance.clone().beside(others.cloned().collect())
    }

    /// Every repository, the main one first.
    pub fn outlets(&self) -> impl Iterator<Item = &Outlet> {
        std::iter::once(&self.main).chain(self.targets.iter().map(|(_, outlet)| outlet))
    }

    /// Every repository that is published, each after its staging.
    pub fn all(&self) -> impl Iterator<Item = &Publisher> {
        self.outlets().flat_map(Outlet::both)
    }

    /// The repository of that name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Publisher> {
        self.all().find(|publisher| publisher.name() == Some(name))
    }

    /// Names the repositories that have no name yet.
    pub fn settle_name(&self, name: &str) {
        self.main.release.settle_name(name);
        let name = self.main.release.name().unwrap_or(name).to_owned();
        if let Some(staging) = &self.main.staging {
            staging.settle_name(&staging_of(&name));
        }
    }

    /// Names the main repository after its staging repository, where only that was published so far.
    pub fn settle_name_from_staging(&self) {
        let staged = self.main.staging.as_ref().and_then(Publisher::name);
        if let Some(name) = staged.and_then(|name| name.strip_suffix(STAGING)) {
            self.main.release.settle_name(name);
        }
    }

    /// What is published in all of them: of a package that is in staging too, what is there.
    ///
    /// # Errors
    /// As [`Publisher::current`].
    pub fn current(&self) -> Result<Vec<PublishedPackage>, PublishError> {
        let mut packages = Vec::new();
        for outlet in self.outlets() {
            packages.extend(outlet.current()?);
        }
        packages.sort_by(|a: &PublishedPackage, b| a.name.cmp(&b.name));
        Ok(packages)
    }

    /// The kept generations of all of them, each with the repository it is of.
    ///
    /// # Errors
    /// As [`Publisher::generations`].
    pub fn generations(&self) -> Result<Vec<(&Publisher, Generation)>, PublishError> {
        let mut all = Vec::new();
        for publisher in self.all() {
            all.extend(publisher.generations()?.into_iter().map(|generation| (publisher, generation)));
        }
        Ok(all)
    }

    /// The folder of every repository, by the name under which it is served: that of the monorepo, and after a colon
    /// the folder in it.
    #[must_use]
    pub fn folders(&self, monorepo: &str) -> Vec<(String, PathBuf)> {
        let main = self.main.release.dir();
        let name = |publisher: &Publisher| {
            let folders = publisher.dir().strip_prefix(main).into_iter().flat_map(std::path::Path::components);
            let folders = folders.map(|folder| format!(":{}", folder.as_os_str().to_string_lossy()));
            format!("{monorepo}{}", folders.collect::<String>())
        };
        self.all().map(|publisher| (name(publisher), publisher.dir().to_owned())).collect()
    }

    /// Where the file of a published package lies.
    #[must_use]
    pub fn path_of(&self, package: &PublishedPackage) -> PathBuf {
        let places = self.of(&package.base).both().map(|publisher| publisher.dir().join(&package.file));
        let mut places = places.chain(self.all().map(|publisher| publisher.dir().join(&package.file)));
        places.find(|path| path.is_file()).unwrap_or_else(|| self.main.release.dir().join(&package.file))
    }

    /// The repositories in which the guard keeps these packages published, each with what it says.
    ///
    /// # Errors
    /// As [`Publisher::current`].
    pub fn guards(&self, pkgbases: &[PkgBase]) -> Result<Vec<(&Publisher, Guarded)>, PublishError> {
        let mut guarded = Vec::new();
        for publisher in self.all() {
            guarded.extend(publisher.guards(pkgbases)?.map(|why| (publisher, why)));
        }
        Ok(guarded)
    }

    /// Removes packages from every repository; whether any was published. The guard counts all of them together in each
    /// repository.
    ///
    /// # Errors
    /// As [`Publisher::remove`]; what was removed before stays removed.
    pub async fn remove(&self, pkgbases: &[PkgBase], confirmed: bool) -> Result<bool, PublishError> {
        let mut any = false;
        for publisher in self.all() {
            let removed =
                if confirmed { publisher.remove_confirmed(pkgbases).await } else { publisher.remove(pkgbases).await };
            any |= removed?.is_some();
        }
        Ok(any)
    }
}

/// The name of the staging repository of another.
#[must_use]
pub fn staging_of(name: &str) -> String {
    format!("{name}{STAGING}")
}
