//! The package files of a repository: which of them its generations name, how one is put in place, and when one goes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Layout, failed, gone};
use crate::domain::name::PkgBase;
use crate::domain::publication::keeping::Keeping;
use crate::domain::queue::BuildId;
use crate::publish::PublishError;
use crate::publish::archived::Archive;
use crate::publish::database::{self, DatabaseError};
use crate::publish::signer::signature_of;
use crate::sys::fs::write_atomic;

/// Package files that are still there for those who read an older database, in the folder of the generations.
const REPLACED: &str = "replaced.json";

/// What a kept generation says of a package file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::publish) struct Kept {
    /// The package that it is a member of.
    pub base: PkgBase,
    /// Its checksum.
    pub sha256: String,
    /// The build that it came from.
    pub build: Option<BuildId>,
}

/// A package file that no kept generation names any more, and since when.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Replaced {
    since: Timestamp,
    #[serde(flatten)]
    kept: Kept,
}

/// How long things stay.
#[derive(Debug, Clone)]
pub(in crate::publish) struct Stay {
    /// Which generations.
    pub generations: Keeping,
    /// Package files after the last kept generation that named them.
    pub files: SignedDuration,
    /// Where they go then.
    pub archive: Option<Archive>,
}

impl Layout {
    pub fn remove_file(&self, file: &str) -> Result<(), PublishError> {
        for path in [self.dir.join(file), self.dir.join(format!("{file}.sig"))] {
            gone(fs::remove_file(&path)).map_err(failed("remove", &path))?;
        }
        Ok(())
    }

    /// Puts a checked file in place with its signature, unless a kept generation has one of that name: a published
    /// file never changes under those who are downloading it.
    pub fn place(&self, incoming: &Path, file: &str, published: &BTreeMap<String, Kept>) -> Result<(), PublishError> {
        let path = self.dir.join(file);
        if published.contains_key(file) && path.is_file() {
            return Ok(());
        }
        let (made, signature) = (signature_of(incoming), signature_of(&path));
        // What lay there was made by somebody else for another file.
        gone(fs::remove_file(&signature)).map_err(failed("remove", &signature))?;
        if made.is_file() {
            fs::rename(&made, &signature).map_err(failed("put in place", &signature))?;
        }
        fs::rename(incoming, &path).map_err(failed("put in place", &path))
    }

    /// The package files that kept generations name, each as the newest of them has it, and those that are still there
    /// for readers of older ones.
    pub fn published_files(&self) -> Result<BTreeMap<String, Kept>, PublishError> {
        // One that is being made has neither manifest nor database yet.
        let current = self.current()?.unwrap_or(0);
        let numbers: Vec<u64> = self.numbers()?.into_iter().filter(|&number| number <= current).collect();
        let mut files = self.files_of(&numbers.iter().copied().collect(), &numbers)?;
        for (file, replaced) in self.replaced()? {
            files.entry(file).or_insert(replaced.kept);
        }
        Ok(files)
    }

    fn replaced(&self) -> Result<BTreeMap<String, Replaced>, PublishError> {
        let path = self.dir.join(".generations").join(REPLACED);
        match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(BTreeMap::new()),
            read => serde_json::from_slice(&read.map_err(failed("read", &path))?)
                .map_err(|source| PublishError::Manifest { path, source }),
        }
    }

    fn write_replaced(&self, replaced: &BTreeMap<String, Replaced>) -> Result<(), PublishError> {
        let path = self.dir.join(".generations").join(REPLACED);
        if replaced.is_empty() {
            return gone(fs::remove_file(&path)).map_err(failed("remove", &path));
        }
        Ok(write_atomic(&path, &serde_json::to_vec_pretty(replaced).expect("a list is JSON"))?)
    }

    /// As [`Layout::published_files`], with those that a publication under way brings, or one that was cut off has left:
    /// its manifest and its database need not be there.
    pub fn known_files(&self) -> Result<BTreeSet<String>, PublishError> {
        let current = self.current()?.unwrap_or(0);
        let mut files: BTreeSet<String> = self.published_files()?.into_keys().collect();
        let unfinished = self.numbers()?.into_iter().filter(|&number| number > current);
        files.extend(unfinished.flat_map(|number| self.placing(number)));
        Ok(files)
    }

    /// The package files that these generations name, each as the newest of them has it; `all` are those that count.
    fn files_of(&self, numbers: &BTreeSet<u64>, all: &[u64]) -> Result<BTreeMap<String, Kept>, PublishError> {
        let (known, read) = self.known(all);
        read?;
        Ok(known.files_of(numbers))
    }

    /// Which of these generations, which are all, stay.
    fn staying(&self, all: &[u64], keeping: Keeping, now: Timestamp) -> BTreeSet<u64> {
        let (known, _) = self.known(all);
        let made = all.iter().map(|&number| (number, known.made(number))).collect();
        keeping.staying(&made, now)
    }

    /// Removes the generations that do not stay, and package files whose time is over since no kept one names them, nor
    /// a database of somebody else in this folder. Those go to the archive, if there is one.
    pub fn prune(&self, stay: &Stay, now: Timestamp) -> Result<(), PublishError> {
        let numbers = self.numbers()?;
        let kept = self.staying(&numbers, stay.generations, now);
        let old: BTreeSet<u64> = numbers.iter().filter(|number| !kept.contains(number)).copied().collect();
        let mut replaced = self.replaced()?;
        if !old.is_empty() || !replaced.is_empty() {
            let (named, others) = (self.files_of(&kept, &numbers)?, self.named_by_others()?);
            let left =
                self.files_of(&old, &numbers)?.into_iter().map(|(file, kept)| (file, Replaced { since: now, kept }));
            for (file, left) in left {
                replaced.entry(file).or_insert(left);
            }
            replaced.retain(|file, _| !named.contains_key(file) && !others.contains(file));
            // What is not written down before its generation goes would lie there for ever.
            self.write_replaced(&replaced)?;
            for folder in old.iter().map(|&number| self.generation(number)) {
                fs::remove_dir_all(&folder).map_err(failed("remove", &folder))?;
            }
            self.remove_replaced(replaced, stay, now)?;
        }
        stay.archive.as_ref().map_or(Ok(()), |archive| archive.expire(now))
    }

    fn remove_replaced(
        &self,
        mut replaced: BTreeMap<String, Replaced>,
        stay: &Stay,
        now: Timestamp,
    ) -> Result<(), PublishError> {
        let over = |one: &Replaced| now.duration_since(one.since) >= stay.files;
        let leaving: Vec<String> = replaced.iter().filter(|(_, one)| over(one)).map(|(file, _)| file.clone()).collect();
        for file in &leaving {
            match &stay.archive {
                Some(archive) => archive.take(&self.dir, file)?,
                None => self.remove_file(file)?,
            }
            replaced.remove(file);
        }
        if leaving.is_empty() { Ok(()) } else { self.write_replaced(&replaced) }
    }

    /// The package files that databases in this folder name which are not ours.
    pub fn named_by_others(&self) -> Result<BTreeSet<String>, PublishError> {
        let own = self.known_name()?;
        let entries = fs::read_dir(&self.dir).map_err(failed("list", &self.dir))?;
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let others = names.filter(|name| name.strip_suffix(".db").is_some_and(|name| name != own));
        let mut files = BTreeSet::new();
        for database in others {
            match database::read(&self.dir.join(database)) {
                // A link that leads nowhere names nothing.
                Err(DatabaseError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {}
                entries => files.extend(entries?.into_iter().map(|entry| entry.file)),
            }
        }
        Ok(files)
    }
}
