//! What a new generation differs in from the one before.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::verify::Verified;
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
    pub fn of(
        verified: Vec<Verified>,
        expected: &Expected,
        current: &[PublishedPackage],
    ) -> Result<Self, PublishError> {
        let mut difference = Self::default();
        let yields = |package: &PublishedPackage| verified.iter().any(|file| file.name == package.name);
        let left = current.iter().filter(|package| package.base == expected.pkgbase && !yields(package));
        difference.removed = left.map(|package| package.name.clone()).collect();
        let unexpected = verified.iter().filter(|file| !expected.members.contains(&file.name));
        difference.unexpected = unexpected.map(|file| file.name.clone()).collect();
        for file in verified {
            match current.iter().find(|package| package.file == file.file) {
                Some(package) if package.base == expected.pkgbase => {
                    if package.sha256 != sha256(&file.path)? {
                        difference.not_replaced.push(file.file);
                    }
                }
                _ => {
                    difference.builds.extend(expected.build.map(|build| (file.file.clone(), build)));
                    difference.added.push(file);
                }
            }
        }
        Ok(difference)
    }
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
