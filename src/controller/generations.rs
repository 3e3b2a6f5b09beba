//! Published states of package repositories, as the faces show them.

use std::collections::BTreeMap;

use anyhow::Result;
use jiff::Timestamp;
use serde::Serialize;

use crate::domain::name::PkgBase;
use crate::domain::queue::BuildId;
use crate::domain::version::Version;
use crate::publish::{Generation, Origin, PublishError, Publisher, Summary};
use crate::store::Store;

/// One published state of the package repository.
#[derive(Debug, Clone, Serialize)]
pub struct GenerationView {
    /// The package repository, by its name in pacman's configuration.
    pub repository: String,
    /// Its number.
    pub number: u64,
    /// Whether it is what pacman sees now.
    pub current: bool,
    /// How many packages it has.
    pub packages: usize,
    /// How many of them it brought.
    pub built: usize,
    /// How many it took over from the generation before.
    pub reused: usize,
    /// The generation that people went back to with it.
    pub restores: Option<u64>,
    /// When it was published.
    pub published: Option<Timestamp>,
}

/// A package of a generation.
#[derive(Debug, Clone, Serialize)]
pub struct EntryView {
    /// Its name.
    pub name: String,
    /// The package it is built with.
    pub pkgbase: PkgBase,
    /// Its version.
    pub version: Version,
    /// Its file.
    pub file: String,
    /// The checksum of its file.
    pub sha256: String,
    /// Whether this generation brought it (`built`) or an earlier one (`reused`).
    pub origin: Origin,
    /// The build that made it, if that is known.
    pub build: Option<String>,
    /// The run that asked for that build, if that is known.
    pub run: Option<String>,
}

/// One published state of the package repository with all that is in it.
#[derive(Debug, Clone, Serialize)]
pub struct GenerationPage {
    /// The line of it.
    #[serde(flatten)]
    pub generation: GenerationView,
    /// Packages that are not in it any more.
    pub removed: Vec<String>,
    /// Every package, sorted by name.
    pub entries: Vec<EntryView>,
}

impl GenerationView {
    /// The line of a generation of the package repository `repository`.
    #[must_use]
    pub fn new(repository: &str, generation: Summary, current: bool) -> Self {
        Self {
            repository: repository.to_owned(),
            number: generation.number,
            current,
            packages: generation.packages,
            built: generation.built,
            reused: generation.packages - generation.built,
            restores: generation.restores,
            published: Some(generation.created),
        }
    }
}

impl GenerationPage {
    /// All of a generation. `runs` says which run asked for a build, as far as it is known.
    #[must_use]
    pub fn new(repository: &str, generation: &Generation, current: bool, runs: &BTreeMap<BuildId, String>) -> Self {
        let entries = generation.entries.iter().map(|entry| EntryView {
            name: entry.name.to_string(),
            pkgbase: entry.base.clone(),
            version: entry.version.clone(),
            file: entry.file.clone(),
            sha256: entry.sha256.clone(),
            origin: entry.origin,
            run: entry.build.and_then(|build| runs.get(&build).cloned()),
            build: entry.build.map(|build| build.to_string()),
        });
        Self {
            entries: entries.collect(),
            removed: generation.removed.iter().map(ToString::to_string).collect(),
            generation: GenerationView::new(repository, generation.summary(), current),
        }
    }
}

/// The kept generations of one package repository, newest first; the first is what pacman sees.
///
/// # Errors
/// If its folder cannot be read.
pub fn of(publisher: &Publisher) -> Result<Vec<GenerationView>, PublishError> {
    let (name, current) = (publisher.name().unwrap_or_default(), publisher.current_number()?);
    let view = |generation: Summary| GenerationView::new(name, generation, current == Some(generation.number));
    Ok(publisher.summaries()?.into_iter().map(view).collect())
}

/// One of them with all that is in it, and with the runs that the record knows; `None` if it is not kept.
///
/// # Errors
/// If its folder or the record cannot be read.
pub async fn page(publisher: &Publisher, store: &Store, number: u64) -> Result<Option<GenerationPage>> {
    let Some(generation) = publisher.generation(Some(number))? else { return Ok(None) };
    let current = publisher.current_number()? == Some(number);
    let runs = store.runs_of_builds(generation.entries.iter().filter_map(|entry| entry.build).collect()).await?;
    Ok(Some(GenerationPage::new(publisher.name().unwrap_or_default(), &generation, current, &runs)))
}
