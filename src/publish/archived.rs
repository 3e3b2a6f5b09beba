//! Package files that are published no more, kept for a while for those who want the version before.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::PublishError;
use super::layout::{failed, gone};
use super::signer::signature_of;
use crate::domain::version::Version;
use crate::sys::fs::write_atomic;

/// The list of what is in an archive.
const INDEX: &str = "index.json";

/// A folder for package files that were replaced, and how long they stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// The folder.
    pub dir: PathBuf,
    /// Days after which they go.
    pub days: u32,
    /// How many versions of a package stay at most, if that is limited.
    pub versions: Option<usize>,
}

/// A file of an archive, as its index has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Archived {
    /// Its name.
    pub file: String,
    /// The package.
    pub name: String,
    /// The version.
    pub version: Version,
    /// When it came here.
    pub since: Timestamp,
}

impl Archive {
    /// What is in it, by name and version.
    ///
    /// # Errors
    /// If its folder cannot be read.
    pub fn list(&self, now: Timestamp) -> Result<Vec<Archived>, PublishError> {
        let index: Option<Vec<Archived>> =
            fs::read(self.dir.join(INDEX)).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let mut known: BTreeMap<String, Timestamp> =
            index.unwrap_or_default().into_iter().map(|one| (one.file, one.since)).collect();
        let entries = match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed("list", &self.dir))?,
        };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        // A file that the index does not have came just before somebody died.
        let found = names.filter_map(|file| {
            let (name, version) = parts(&file)?;
            let since = known.remove(&file).unwrap_or(now);
            Some(Archived { name: name.to_owned(), version: Version::new(version), since, file })
        });
        let mut found: Vec<Archived> = found.collect();
        found.sort_by(|a, b| {
            a.name.cmp(&b.name).then_with(|| a.version.cmp(&b.version)).then_with(|| a.file.cmp(&b.file))
        });
        Ok(found)
    }

    /// Moves a file here with its signature.
    pub(super) fn take(&self, from: &Path, file: &str) -> Result<(), PublishError> {
        fs::create_dir_all(&self.dir).map_err(failed("create the folder", &self.dir))?;
        let (path, target) = (from.join(file), self.dir.join(file));
        for (path, target) in [(path.clone(), target.clone()), (signature_of(&path), signature_of(&target))] {
            match fs::rename(&path, &target) {
                Err(error) if error.kind() == ErrorKind::CrossesDevices => {
                    fs::copy(&path, &target).map_err(failed("copy", &path))?;
                    gone(fs::remove_file(&path)).map_err(failed("remove", &path))?;
                }
                moved => gone(moved).map_err(failed("archive", &path))?,
            }
        }
        Ok(())
    }

    /// Removes what is older than its time, or has too many newer versions, and writes the index.
    pub(super) fn expire(&self, now: Timestamp) -> Result<(), PublishError> {
        let all = self.list(now)?;
        if all.is_empty() {
            return gone(fs::remove_file(self.dir.join(INDEX))).map_err(failed("remove", &self.dir));
        }
        let leaves = self.leaving(&all, now);
        for file in &leaves {
            let path = self.dir.join(file);
            for path in [signature_of(&path), path] {
                gone(fs::remove_file(&path)).map_err(failed("remove", &path))?;
            }
        }
        let kept: Vec<_> = all.into_iter().filter(|one| !leaves.contains(&one.file)).collect();
        if kept.is_empty() {
            return gone(fs::remove_file(self.dir.join(INDEX))).map_err(failed("remove", &self.dir));
        }
        let index = serde_json::to_vec_pretty(&kept).expect("an index is JSON");
        Ok(write_atomic(&self.dir.join(INDEX), &index)?)
    }

    /// The files whose time is over.
    fn leaving(&self, all: &[Archived], now: Timestamp) -> BTreeSet<String> {
        let longest = SignedDuration::from_hours(24 * i64::from(self.days));
        let old = all.iter().filter(|one| now.duration_since(one.since) > longest);
        let mut leaves: BTreeSet<String> = old.map(|one| one.file.clone()).collect();
        let Some(versions) = self.versions else { return leaves };
        for same in all.chunk_by(|a, b| a.name == b.name) {
            leaves.extend(same.iter().rev().skip(versions).map(|one| one.file.clone()));
        }
        leaves
    }
}

/// Name and version in the name of a package file.
fn parts(file: &str) -> Option<(&str, &str)> {
    let (stem, _) = file.split_once(".pkg.tar.")?;
    if file.ends_with(super::signer::SUFFIX) {
        return None;
    }
    let (stem, _arch) = stem.rsplit_once('-')?;
    let release = stem.rfind('-')?;
    let version = stem[..release].rfind('-')?;
    Some((&stem[..version], &stem[version + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3600;

    fn at(day: i64) -> Timestamp {
        Timestamp::from_second(1_767_225_600 + day * DAY).unwrap()
    }

    #[test]
    fn files_stay_for_their_days_and_so_many_versions_with_an_index() {
        let root = tempfile::tempdir().unwrap();
        let archive = Archive { dir: root.path().join("archive"), days: 7, versions: Some(2) };
        let take = |version: &str, day: i64| {
            let file = format!("c++x-{version}-x86_64.pkg.tar.zst");
            fs::write(root.path().join(&file), "x").unwrap();
            fs::write(root.path().join(format!("{file}.sig")), "y").unwrap();
            archive.take(root.path(), &file).unwrap();
            archive.expire(at(day)).unwrap();
        };
        let versions =
            |day| archive.list(at(day)).unwrap().into_iter().map(|one| one.version.to_string()).collect::<Vec<_>>();
        take("1:9-1", 0);
        take("1:10-1", 1);
        assert_eq!(versions(1), ["1:9-1", "1:10-1"]);
        take("1:11-1", 2);
        assert_eq!(versions(2), ["1:10-1", "1:11-1"]);
        let index: Vec<Archived> = serde_json::from_slice(&fs::read(archive.dir.join(INDEX)).unwrap()).unwrap();
        assert_eq!(index, archive.list(at(2)).unwrap());
        assert_eq!(fs::read_dir(&archive.dir).unwrap().count(), 5, "two files, two signatures, the index");
        archive.expire(at(9)).unwrap();
        assert_eq!(versions(9), ["1:11-1"]);
        archive.expire(at(10)).unwrap();
        assert_eq!(fs::read_dir(&archive.dir).unwrap().count(), 0);
        // Nothing that has no file is taken.
        archive.take(root.path(), "gone-1-1-any.pkg.tar.zst").unwrap();
        assert!(archive.list(at(10)).unwrap().is_empty());
    }
}
