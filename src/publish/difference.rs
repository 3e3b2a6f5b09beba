//! What a new generation differs in from the one before.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use super::database::DatabaseEntry;
use super::layout::Kept;
use super::verify::{self, Verified};
use super::{PublishError, PublishedPackage};
use crate::domain::finding::Finding;
use crate::domain::name::PkgName;
use crate::domain::publication::file::Expected;
use crate::domain::queue::BuildId;
use crate::sys::fs::FsError;

/// What a new generation differs in.
#[derive(Default)]
pub struct Difference {
    /// Files it brings.
    pub added: Vec<Verified>,
    /// Files that come back: a kept generation has them, with other content than the build made.
    pub again: Vec<Verified>,
    /// The builds they come from, by file.
    pub builds: BTreeMap<String, BuildId>,
    /// Packages that leave it.
    pub removed: Vec<PkgName>,
    /// Packages that the build yields without being known to.
    pub unexpected: Vec<PkgName>,
    /// Files of the build that are published already, with other content.
    pub not_replaced: Vec<String>,
    /// What is to be told of them.
    pub findings: Vec<Finding>,
}

impl Difference {
    /// What a build changes in what is published.
    pub fn of(verified: Vec<Verified>, expected: &Expected, current: &[PublishedPackage]) -> Self {
        let mut difference = Self::default();
        let yields = |package: &PublishedPackage| verified.iter().any(|file| file.entry.name == package.name);
        let left = current.iter().filter(|package| package.base == expected.pkgbase && !yields(package));
        difference.removed = left.map(|package| package.name.clone()).collect();
        let unexpected = verified.iter().filter(|file| !expected.members.contains(&file.entry.name));
        difference.unexpected = unexpected.map(|file| file.entry.name.clone()).collect();
        for file in verified {
            match current.iter().find(|package| package.file == file.entry.file) {
                Some(package) if package.base == expected.pkgbase => {
                    if package.sha256 != file.entry.sha256 {
                        difference.leave(&file);
                    }
                }
                _ => {
                    difference.builds.extend(expected.build.map(|build| (file.entry.file.clone(), build)));
                    difference.added.push(file);
                }
            }
        }
        difference
    }

    /// Has files give way to those that kept generations have in `dir`: a published file never changes under those who
    /// are downloading it. The old one is published again, as what it is and from the build that it is from.
    ///
    /// # Errors
    /// If the old one is another package's, which this one cannot become, or is known to `others` only: databases in the
    /// folder that are not ours.
    pub fn give_way(
        &mut self,
        dir: &Path,
        kept: &BTreeMap<String, Kept>,
        others: &BTreeSet<String>,
    ) -> Result<(), PublishError> {
        for added in std::mem::take(&mut self.added) {
            let DatabaseEntry { file, sha256: found, base, .. } = &added.entry;
            let path = dir.join(file);
            let is_others = !kept.contains_key(file) && others.contains(file);
            if is_others && path.is_file() && sha256(&path)? != *found {
                return Err(PublishError::NotTheBuilds {
                    findings: vec![is_of(&added, "another database in the folder")],
                });
            }
            let there = kept.get(file).filter(|there| there.sha256 != *found);
            let Some(there) = there.filter(|_| path.is_file()) else {
                self.added.push(added);
                continue;
            };
            if there.base != *base {
                return Err(PublishError::NotTheBuilds { findings: vec![is_of(&added, &format!("`{}`", there.base))] });
            }
            self.builds.remove(file);
            self.builds.extend(there.build.map(|build| (file.clone(), build)));
            self.leave(&added);
            self.again.push(verify::published(&path, &there.sha256, base)?);
        }
        Ok(())
    }

    /// Has a published file stay, and says so: what was built is not what is published.
    fn leave(&mut self, file: &Verified) {
        let message = "it is not published, because this version is published already with other content";
        let finding = Finding::warning("package-not-replaced", message).at(file.entry.file.clone(), None);
        self.findings.push(finding.with_package(&file.entry.base).hint("raise `pkgrel`"));
        self.not_replaced.push(file.entry.file.clone());
    }

    /// Everything that the database has to be told of, and what it has to say of it.
    pub fn entering(&self) -> impl Iterator<Item = &DatabaseEntry> {
        self.added.iter().chain(&self.again).map(|file| &file.entry)
    }
}

fn is_of(file: &Verified, owner: &str) -> Finding {
    let message = format!("a file of this name was published for {owner}, and what is published never changes");
    let finding = Finding::error("package-not-its-own", message).at(file.entry.file.clone(), None);
    finding.with_package(&file.entry.base).hint("raise `pkgrel`")
}

/// The checksum of a file.
pub fn sha256(path: &Path) -> Result<String, PublishError> {
    use sha2::{Digest as _, Sha256};
    let mut hash = Sha256::new();
    let hashed = std::fs::File::open(path).and_then(|mut file| {
        let mut buffer = vec![0; 1 << 16];
        loop {
            match io::Read::read(&mut file, &mut buffer)? {
                0 => return Ok(()),
                length => hash.update(&buffer[..length]),
            }
        }
    });
    hashed.map_err(|error| FsError::new("read", path, error))?;
    Ok(hexadecimal(&hash.finalize()))
}

/// Bytes as hexadecimal digits.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    let digits = |text: String, byte: &u8| format!("{text}{byte:02x}");
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), digits)
}
