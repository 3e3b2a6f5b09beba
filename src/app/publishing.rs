//! Where packages go, from the settings.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use jiff::SignedDuration;
use serde::Serialize;

use crate::config::settings::{self, NamcapUse};
use crate::controller::generations::{self, GenerationPage, GenerationView};
use crate::domain::name::PkgBase;
use crate::domain::publication::closure::Reason;
pub use crate::publish::Promotion;
use crate::publish::archived::Archive;
use crate::publish::namcap::{Namcap, Strictness};
use crate::publish::outlets::{Outlet, Outlets, staging_of};
pub use crate::publish::prove::{Against, Proof};
use crate::publish::signer::Signing;
use crate::publish::{Publisher, Rules, prove};
use crate::sys::clock::{Clock, SystemClock};

/// The folder of a staging repository in that of the repository it is before.
const STAGING: &str = "staging";

/// How long a package file stays where it was after it was replaced: mirrors and machines that asked for the database
/// earlier on the day still find it, however many generations came since.
const REPLACED: SignedDuration = SignedDuration::from_hours(24);

/// All package repositories of a monorepo.
#[must_use]
pub fn outlets(repository: &settings::Repository, clock: &Arc<dyn Clock>) -> Outlets {
    let publish = &repository.publish;
    // A signer knows its folders by their absolute names, as it was started elsewhere.
    let root = std::path::absolute(&publish.dir).unwrap_or_else(|_| publish.dir.clone());
    let outlet = |folder: Option<&str>, name: Option<&str>| {
        let dir = folder.map_or_else(|| root.clone(), |folder| root.join(folder));
        let archive = folder.map_or_else(|| publish.archive_dir.clone(), |folder| publish.archive_dir.join(folder));
        let make = |dir, name: Option<&str>, archived: bool| {
            let publisher = match name {
                Some(name) => Publisher::new(dir, name),
                // `REPO_NAME` of the commit that is built first.
                None => Publisher::unnamed(dir),
            };
            let archive =
                Archive { dir: archive.clone(), days: publish.archive_days, versions: publish.archive_versions };
            publisher
                .keep_generations(publish.keep)
                .keep_days(publish.keep_days)
                .keep_files(REPLACED)
                .with_clock(clock.clone())
                .signed_by(signing(publish))
                .archives((archived && publish.archive_days > 0).then_some(archive))
                .by_rules(rules(publish))
        };
        let staging = publish.staging.then(|| make(dir.join(STAGING), name.map(staging_of).as_deref(), false));
        Outlet { release: make(dir, name, true), staging }
    };
    let targets = publish.targets.iter().map(|target| (target.clone(), outlet(Some(&target.name), Some(&target.name))));
    let outlets = Outlets::new(outlet(None, publish.name.as_deref()), targets.collect());
    outlets.settle_name_from_staging();
    outlets
}

/// Who signs, if anybody does.
#[must_use]
pub fn signing(publish: &settings::Publish) -> Option<Signing> {
    publish.key.clone().map(|key| Signing { key, socket: publish.signer.clone() })
}

fn rules(publish: &settings::Publish) -> Rules {
    let strictness = match publish.namcap {
        NamcapUse::Off => Strictness::Off,
        NamcapUse::Report => Strictness::Report,
        NamcapUse::Refuse => Strictness::Refuse,
    };
    Rules {
        official_databases: publish.official_databases.clone(),
        allow_official: publish.allow_official.clone(),
        allow_prohibited: publish.allow_prohibited.clone(),
        namcap: Namcap { strictness, ..Namcap::default() },
        max_removals: publish.max_removals,
    }
}

/// What a person does with the package repositories of one monorepo.
pub struct Shop {
    outlets: Outlets,
    settings: settings::Repository,
}

/// Which packages would leave, or left.
#[derive(Debug, Clone, Serialize)]
pub struct Departure {
    /// Packages that are published and not in the monorepo.
    pub packages: Vec<PkgBase>,
    /// How many published packages that are, with all they are split into.
    pub leaving: usize,
    /// How many are published.
    pub published: usize,
    /// How many may be removed at once.
    pub limit: usize,
    /// Whether they were removed.
    pub removed: bool,
}

impl Shop {
    /// The package repositories of the monorepo `name`; without a name there has to be only one.
    ///
    /// # Errors
    /// If there is none of that name, or several.
    pub fn open(settings: &settings::Settings, name: Option<&str>) -> Result<Self> {
        let found = match (name, settings.repositories.as_slice()) {
            (None, [only]) => only,
            (None, several) => {
                let names: Vec<&str> = several.iter().map(|one| one.name.as_str()).collect();
                bail!("the configuration has several repositories; choose one with --repository: {}", names.join(", "))
            }
            (Some(name), all) => {
                let one = all.iter().find(|one| one.name == name);
                one.with_context(|| format!("the configuration has no repository `{name}`"))?
            }
        };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        Ok(Self { outlets: outlets(found, &clock), settings: found.clone() })
    }

    /// The package repository of that name, the main one if none is named.
    fn publisher(&self, name: Option<&str>) -> Result<&Publisher> {
        let Some(name) = name else { return Ok(self.outlets.main()) };
        self.outlets.named(name).with_context(|| {
            let names: Vec<&str> = self.outlets.all().filter_map(Publisher::name).collect();
            format!("no package repository is called `{name}`; there are: {}", names.join(", "))
        })
    }

    /// The kept generations of every package repository.
    ///
    /// # Errors
    /// If a folder cannot be read.
    pub fn generations(&self) -> Result<Vec<GenerationView>> {
        let mut views = Vec::new();
        for publisher in self.outlets.all() {
            views.extend(generations::of(publisher)?);
        }
        Ok(views)
    }

    /// One generation with all that is in it; the current one if none is given.
    ///
    /// # Errors
    /// If it is not kept.
    pub fn generation(&self, target: Option<&str>, number: Option<u64>) -> Result<GenerationPage> {
        let publisher = self.publisher(target)?;
        let found = publisher.generation(number)?;
        let found =
            found.context("there is no such generation; `pkgwarden repo generations` lists those that are kept")?;
        let current = publisher.current_number()? == Some(found.number);
        Ok(GenerationPage::new(publisher.name().unwrap_or_default(), &found, current, &BTreeMap::new()))
    }

    /// Publishes what an earlier generation had.
    ///
    /// # Errors
    /// If it is not kept, or cannot be published.
    pub async fn roll_back(&self, target: Option<&str>, number: u64) -> Result<GenerationView> {
        let publisher = self.publisher(target)?;
        let generation = publisher.roll_back(number).await?;
        Ok(GenerationView::new(publisher.name().unwrap_or_default(), generation.summary(), true))
    }

    /// Moves packages, or all, from staging to the release.
    ///
    /// # Errors
    /// If there is no staging, or the release would be broken.
    pub async fn promote(&self, target: Option<&str>, packages: Option<&[PkgBase]>) -> Result<Promotion> {
        let (release, staging) = self.pair(target)?;
        Ok(release.promote(staging, packages).await?)
    }

    /// What keeps them from moving.
    ///
    /// # Errors
    /// If there is no staging, or they are not in it.
    pub async fn obstacles(&self, target: Option<&str>, packages: Option<&[PkgBase]>) -> Result<Vec<Reason>> {
        let (release, staging) = self.pair(target)?;
        Ok(release.obstacles(staging, packages).await?)
    }

    fn pair(&self, target: Option<&str>) -> Result<(&Publisher, &Publisher)> {
        let release = self.publisher(target)?;
        let outlet = self.outlets.outlets().find(|outlet| outlet.release.dir() == release.dir());
        let staging = outlet.and_then(|outlet| outlet.staging.as_ref());
        Ok((release, staging.context("it has no staging repository; set publish.staging = true")?))
    }

    /// Which published packages are not among these any more, and their removal if it is asked for.
    ///
    /// # Errors
    /// If `present` is empty, more would leave than may, or nothing can be published now.
    pub async fn remove_departed(&self, present: &BTreeSet<PkgBase>, doit: bool, confirmed: bool) -> Result<Departure> {
        if present.is_empty() {
            bail!("the monorepo has no package at all, so nothing is removed: this is hardly what was meant");
        }
        let mut published = BTreeSet::new();
        for publisher in self.outlets.all() {
            published.extend(publisher.current()?.into_iter().map(|package| (package.base, package.name)));
        }
        let departed = |base: &PkgBase| !present.contains(base);
        let bases: BTreeSet<PkgBase> = published.iter().map(|(base, _)| base.clone()).filter(departed).collect();
        let mut departure = Departure {
            leaving: published.iter().filter(|(base, _)| departed(base)).count(),
            published: published.len(),
            limit: self.settings.publish.max_removals.of(published.len()),
            packages: bases.into_iter().collect(),
            removed: false,
        };
        if doit && !departure.packages.is_empty() {
            departure.removed = self.outlets.remove(&departure.packages, confirmed).await?;
        }
        Ok(departure)
    }
}

/// Proves the repository in a folder whole.
///
/// # Errors
/// If there is none, or it cannot be read.
pub fn prove(dir: &Path, name: Option<&str>, against: &Against) -> Result<Proof> {
    let publisher = match name {
        Some(name) => Publisher::new(dir, name),
        None => Publisher::unnamed(dir),
    };
    if publisher.name().is_none() {
        let names = databases_in(dir)?;
        match names.as_slice() {
            [only] => publisher.settle_name(only),
            [] => bail!("there is no repository in {}: no file ends with .db", dir.display()),
            several => bail!(
                "there are several repositories in {}; choose one with --name: {}",
                dir.display(),
                several.join(", ")
            ),
        }
    }
    Ok(prove::prove(&publisher, against)?)
}

fn databases_in(dir: &Path) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter_map(|name| name.strip_suffix(".db").map(str::to_owned)).collect();
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use crate::config::load;
    use crate::domain::queue::BuildId;
    use crate::publish::Expected;
    use crate::publish::testing::{package, pkginfo};

    use super::*;

    /// Its name is that of the commit that was built first, which a command does not know.
    #[tokio::test]
    async fn the_first_promotion_needs_no_configured_name() {
        let dir = tempfile::tempdir().expect("a directory");
        let text = format!("[publish]\nstaging = true\ndir = \"{}\"\n", dir.path().join("repo").display());
        let settings = load(Some(("pkgwarden.toml", &text)), &BTreeMap::new()).expect("right settings");
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let foo = PkgBase::new("foo").expect("a name");
        let controller = outlets(&settings.repositories[0], &clock);
        controller.settle_name("packages");
        let file = package(&dir.path().join("foo-1-1-any.pkg.tar.zst"), &pkginfo("foo", "foo", "1-1"));
        let expected = Expected {
            pkgbase: foo.clone(),
            version: None,
            arch: "x86_64".into(),
            members: BTreeSet::new(),
            build: Some(BuildId(1)),
            allow_prohibited: false,
            official: Arc::default(),
        };
        controller.entrance(&foo).publish(&[file], &expected).await.expect("published");
        let shop = Shop::open(&settings, None).expect("opened");
        assert_eq!(shop.promote(None, None).await.expect("promoted").packages, [foo]);
        assert_eq!(shop.outlets.main().name(), Some("packages"));
    }
}
