//! From a staging repository to the release.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use serde::Serialize;

use super::database::{self, DatabaseEntry};
use super::difference::{Difference, sha256};
use super::layout::failed;
use super::linkage::FileLinkage;
use super::verify::Verified;
use super::{PublishError, PublishedPackage, Publisher, blocking, linkage};
use crate::domain::name::{PkgBase, PkgName};
use crate::domain::publication::closure::{Member, Move, Reason};

/// What moved from staging to the release.
#[derive(Debug, Clone, Serialize)]
pub struct Promotion {
    /// The packages.
    pub packages: Vec<PkgBase>,
    /// Files that the release has already with other content: what is published never changes, and their packages stay
    /// in staging until a higher `pkgrel` replaces them.
    pub not_replaced: Vec<String>,
    /// The new generation of the release; `None` if there was nothing to move.
    pub generation: Option<u64>,
}

impl Publisher {
    /// Moves packages from `staging` here, or all that are there. They move together or not at all, and only if
    /// nothing in the release would be broken.
    ///
    /// # Errors
    /// [`PublishError::NotClosed`] with what would be missing; [`PublishError::NotStaged`] for a name that is not
    /// there. The release is then what it was.
    pub async fn promote(&self, staging: &Self, pkgbases: Option<&[PkgBase]>) -> Result<Promotion, PublishError> {
        let (release, staging, pkgbases) = (self.clone(), staging.clone(), pkgbases.map(<[_]>::to_vec));
        blocking(move || {
            // Before anybody has to wait: with thousands of packages, it takes minutes.
            let mut linkages = Linkages::default();
            for publisher in [&staging, &release] {
                linkages.read(publisher.dir(), &publisher.entries()?);
            }
            // Always in this order, so that two of us never wait for each other.
            staging.locked(|| release.locked(|| release.promote_now(&staging, pkgbases.as_deref(), &mut linkages)))
        })
        .await
    }

    /// What would be missing if these packages moved here from `staging` now.
    ///
    /// # Errors
    /// As [`Publisher::promote`], but not [`PublishError::NotClosed`].
    pub async fn obstacles(&self, staging: &Self, pkgbases: Option<&[PkgBase]>) -> Result<Vec<Reason>, PublishError> {
        let (release, staging, pkgbases) = (self.clone(), staging.clone(), pkgbases.map(<[_]>::to_vec));
        blocking(move || {
            let staged = staging.entries()?;
            let choice = release.choice(&staged, pkgbases.as_deref())?;
            release.obstacles_now(&staging, &staged, &choice, &mut Linkages::default())
        })
        .await
    }

    fn promote_now(
        &self,
        staging: &Self,
        pkgbases: Option<&[PkgBase]>,
        linkages: &mut Linkages,
    ) -> Result<Promotion, PublishError> {
        let staged = staging.entries()?;
        let choice = self.choice(&staged, pkgbases)?;
        if choice.moving.is_empty() {
            return Ok(Promotion { packages: Vec::new(), not_replaced: choice.clashing(), generation: None });
        }
        let reasons = self.obstacles_now(staging, &staged, &choice, linkages)?;
        if !reasons.is_empty() {
            return Err(PublishError::NotClosed { reasons });
        }
        let difference = self.moved(staging, &staged, &choice.moving)?;
        let not_replaced = choice.clashing();
        let current = self.current()?;
        let generation = if difference.added.is_empty() && difference.removed.is_empty() {
            None
        } else {
            Some(self.make(&current, difference)?.number)
        };
        let bases: Vec<PkgBase> = choice.moving.into_iter().collect();
        staging.remove_now(&bases, true)?;
        Ok(Promotion { packages: bases, not_replaced, generation })
    }

    /// Which of the staged packages that are meant can move: not one with a file that the release has with other
    /// content. What was checked would not be what is published then.
    fn choice(&self, staged: &[DatabaseEntry], pkgbases: Option<&[PkgBase]>) -> Result<Choice, PublishError> {
        let (mut moving, kept) = (chosen(staged, pkgbases)?, self.layout.published_files()?);
        let differs = |entry: &&DatabaseEntry| {
            let there = kept.get(&entry.file).filter(|_| self.dir().join(&entry.file).is_file());
            there.is_some_and(|there| there.sha256 != entry.sha256)
        };
        let clash: Vec<_> =
            staged.iter().filter(|entry| moving.contains(&entry.base)).filter(differs).cloned().collect();
        moving.retain(|base| clash.iter().all(|entry| entry.base != *base));
        Ok(Choice { moving, clash })
    }

    fn obstacles_now(
        &self,
        staging: &Self,
        staged: &[DatabaseEntry],
        choice: &Choice,
        linkages: &mut Linkages,
    ) -> Result<Vec<Reason>, PublishError> {
        let (moving, staying): (Vec<_>, Vec<_>) =
            staged.iter().cloned().partition(|entry| choice.moving.contains(&entry.base));
        let moving = linkages.read(staging.dir(), &moving);
        let staying = linkages.read(staging.dir(), &staying);
        let release = linkages.read(self.dir(), &self.entries()?);
        let mut reasons = Move { moving: &moving, staying: &staying, release: &release }.reasons();
        if !reasons.is_empty() {
            reasons.extend(choice.clash.iter().map(stays));
        }
        Ok(reasons)
    }

    /// What the release gains and loses; its files are in the folder for what comes in.
    fn moved(
        &self,
        staging: &Self,
        staged: &[DatabaseEntry],
        chosen: &BTreeSet<PkgBase>,
    ) -> Result<Difference, PublishError> {
        let current = self.current()?;
        let builds: BTreeMap<String, _> =
            staging.current()?.into_iter().filter_map(|package| Some((package.file, package.build?))).collect();
        let moving: Vec<_> = staged.iter().filter(|entry| chosen.contains(&entry.base)).collect();
        let stays = |name: &PkgName| moving.iter().any(|entry| entry.name == *name);
        let left = |package: &&PublishedPackage| chosen.contains(&package.base) && !stays(&package.name);
        let mut difference = Difference {
            removed: current.iter().filter(left).map(|package| package.name.clone()).collect(),
            ..Difference::default()
        };
        let incoming = self.layout.incoming();
        std::fs::create_dir_all(&incoming).map_err(failed("create the folder", &incoming))?;
        for entry in moving {
            // What the release has is the same: otherwise its package would stay.
            if current.iter().any(|package| package.file == entry.file) {
                continue;
            }
            let path = incoming.join(&entry.file);
            take(&staging.dir().join(&entry.file), &path, &entry.sha256)?;
            difference.builds.extend(builds.get(&entry.file).map(|build| (entry.file.clone(), *build)));
            difference.added.push(Verified { path, entry: entry.clone() });
        }
        Ok(difference)
    }

    pub(super) fn entries(&self) -> Result<Vec<DatabaseEntry>, PublishError> {
        match self.layout.current_database()? {
            Some(path) => Ok(database::read(&path)?),
            None => Ok(Vec::new()),
        }
    }
}

/// What is to move, and what stays although it was meant.
struct Choice {
    moving: BTreeSet<PkgBase>,
    /// Staged files that the release has with other content.
    clash: Vec<DatabaseEntry>,
}

impl Choice {
    fn clashing(&self) -> Vec<String> {
        self.clash.iter().map(|entry| entry.file.clone()).collect()
    }
}

fn stays(entry: &DatabaseEntry) -> Reason {
    let message = format!(
        "`{}` {} stays in staging, because the release has that version with other content; raise the `pkgrel` of `{}`",
        entry.name, entry.version, entry.base
    );
    Reason { package: entry.name.clone(), needs: entry.file.clone(), message }
}

/// The staged packages that are meant.
fn chosen(staged: &[DatabaseEntry], pkgbases: Option<&[PkgBase]>) -> Result<BTreeSet<PkgBase>, PublishError> {
    let there: BTreeSet<PkgBase> = staged.iter().map(|entry| entry.base.clone()).collect();
    let Some(wanted) = pkgbases else { return Ok(there) };
    match wanted.iter().find(|pkgbase| !there.contains(*pkgbase)) {
        Some(missing) => Err(PublishError::NotStaged(missing.clone())),
        None => Ok(wanted.iter().cloned().collect()),
    }
}

/// A published file never changes, so that two names of one will do where the disk is the same.
fn take(from: &Path, to: &Path, wanted: &str) -> Result<(), PublishError> {
    if std::fs::hard_link(from, to).is_err() {
        std::fs::copy(from, to).map_err(failed("copy", from))?;
    }
    let found = sha256(to)?;
    if found == wanted {
        return Ok(());
    }
    Err(PublishError::Damaged { file: from.to_owned(), problem: format!("its checksum is {found}, not {wanted}") })
}

/// What files need and have, by their names and checksums, so that each is read once.
#[derive(Default)]
struct Linkages(HashMap<(String, String), FileLinkage>);

impl Linkages {
    /// What packages need and have. A file that cannot be read counts as one that is only what its database says.
    fn read(&mut self, dir: &Path, entries: &[DatabaseEntry]) -> Vec<Member> {
        let member = |entry: &DatabaseEntry| {
            let known = self.0.entry((entry.file.clone(), entry.sha256.clone()));
            let linkage = known.or_insert_with(|| linkage::read(&dir.join(&entry.file)).unwrap_or_default()).clone();
            Member {
                name: entry.name.clone(),
                base: entry.base.clone(),
                version: entry.version.clone(),
                depends: entry.depends.clone(),
                provides: entry.provides.clone(),
                needs: linkage.needs,
                has: linkage.provides,
            }
        };
        entries.iter().map(member).collect()
    }
}
