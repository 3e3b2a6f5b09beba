//! What kept generations are and which package files they name, read once: one that is complete never changes, and
//! there may be dozens of them with thousands of packages each.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{MutexGuard, PoisonError};

use jiff::Timestamp;

use super::files::Kept;
use super::{Layout, MANIFEST};
use crate::publish::database::{self, DatabaseEntry};
use crate::publish::{Generation, PublishError, PublishedPackage, Summary};

/// Everything that was read of the manifests.
#[derive(Debug, Default)]
pub(in crate::publish) struct Known {
    generations: BTreeMap<u64, Line>,
    files: BTreeMap<String, Vec<Mention>>,
}

/// What is known of one generation.
#[derive(Debug)]
struct Line {
    stamp: Stamp,
    /// `None` if its manifest is damaged.
    summary: Option<Summary>,
}

/// What changes with a file: inode, length, and when it was written. `None` if it is not there.
type Stamp = Option<(u64, u64, i64, i64)>;

/// Package files with what a generation says of them.
type Named = Vec<(String, Kept)>;

/// What generations say of a package file, and which of them say so.
#[derive(Debug)]
struct Mention {
    kept: Kept,
    generations: BTreeSet<u64>,
}

impl Known {
    /// What a generation is; `None` if its manifest is damaged.
    pub fn summary(&self, number: u64) -> Option<Summary> {
        self.generations.get(&number).and_then(|line| line.summary)
    }

    /// When a generation was made, as far as that is known.
    pub fn made(&self, number: u64) -> Option<Timestamp> {
        self.summary(number).map(|summary| summary.created)
    }

    /// The package files that these generations name, each as the newest of them has it.
    pub fn files_of(&self, numbers: &BTreeSet<u64>) -> BTreeMap<String, Kept> {
        let newest = |mentions: &[Mention]| {
            let of =
                |mention: &Mention| mention.generations.iter().rev().find(|number| numbers.contains(number)).copied();
            let newest = mentions.iter().filter_map(|mention| Some((of(mention)?, &mention.kept)));
            newest.max_by_key(|(number, _)| *number).map(|(_, kept)| kept.clone())
        };
        self.files.iter().filter_map(|(file, mentions)| Some((file.clone(), newest(mentions)?))).collect()
    }

    fn forget(&mut self, number: u64) {
        if self.generations.remove(&number).is_none() {
            return;
        }
        self.files.retain(|_, mentions| {
            mentions.retain_mut(|mention| {
                mention.generations.remove(&number);
                !mention.generations.is_empty()
            });
            !mentions.is_empty()
        });
    }

    fn learn(&mut self, number: u64, line: Line, named: Named) {
        self.generations.insert(number, line);
        for (file, kept) in named {
            let mentions = self.files.entry(file).or_default();
            match mentions.iter_mut().find(|mention| mention.kept == kept) {
                Some(mention) => drop(mention.generations.insert(number)),
                None => mentions.push(Mention { kept, generations: BTreeSet::from([number]) }),
            }
        }
    }
}

impl Layout {
    /// What is known of these generations, which are all that count, after reading those that are new or were changed.
    /// The second is what is wrong with one that cannot be read; the others are known nevertheless.
    pub fn known(&self, numbers: &[u64]) -> (MutexGuard<'_, Known>, Result<(), PublishError>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let gone: Vec<u64> = known.generations.keys().filter(|number| !numbers.contains(number)).copied().collect();
        for number in gone {
            known.forget(number);
        }
        let mut read = Ok(());
        for &number in numbers {
            let stamp = stamp(&self.generation(number).join(MANIFEST));
            if known.generations.get(&number).is_some_and(|line| line.stamp == stamp) {
                continue;
            }
            known.forget(number);
            match self.read_generation(number) {
                Ok((summary, named)) => known.learn(number, Line { stamp, summary }, named),
                Err(error) => read = read.and(Err(error)),
            }
        }
        (known, read)
    }

    /// What a generation is, and the package files that it names; where its manifest is damaged, the database tells.
    fn read_generation(&self, number: u64) -> Result<(Option<Summary>, Named), PublishError> {
        let error = match self.manifest(number) {
            Ok(generation) => return Ok((Some(generation.summary()), named(generation))),
            Err(error) => error,
        };
        tracing::warn!(number, %error, "the manifest of a generation is damaged; its database is read");
        let kept = |one: DatabaseEntry| (one.file, Kept { base: one.base, sha256: one.sha256, build: None });
        let entries = database::read(&self.database(number)?)?;
        Ok((None, entries.into_iter().map(kept).collect()))
    }
}

fn named(generation: Generation) -> Named {
    let kept = |one: PublishedPackage| (one.file, Kept { base: one.base, sha256: one.sha256, build: one.build });
    generation.entries.into_iter().map(kept).collect()
}

fn stamp(path: &Path) -> Stamp {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec()))
}
