//! Reads what a build yielded, and has it checked before anything is done with it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use super::database::DatabaseEntry;
use super::difference::sha256;
use super::layout::failed;
use super::namcap::Namcap;
use super::{PublishError, archive, pkginfo};
use crate::domain::finding::Finding;
use crate::domain::name::{PkgBase, PkgName};
use crate::domain::publication::file::{self, Expected, FileFacts, Pkginfo, Surroundings};
use crate::domain::version::Version;
use crate::sys::process::Program;

/// A file that is what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verified {
    /// Where it lies.
    pub path: PathBuf,
    /// What the database has to say of it.
    pub entry: DatabaseEntry,
}

/// Checks all files of a build; with them, what is to be told of them.
pub(super) fn check(
    files: &[PathBuf],
    expected: &Expected,
    around: &Surroundings,
    namcap: &Namcap,
    now: Timestamp,
) -> Result<(Vec<Verified>, Vec<Finding>), PublishError> {
    let mut read = Vec::with_capacity(files.len());
    for path in files {
        let facts = facts(path).map_err(|problem| {
            let finding = Finding::error("package-unreadable", problem).at(file_name(path), None);
            let finding = finding.with_package(&expected.pkgbase).hint("build it with makepkg, packed with zstd");
            PublishError::NotTheBuilds { findings: vec![finding] }
        })?;
        read.push(facts);
    }
    let mut findings = file::check(&read, expected, around, now);
    if !file::refuses(&findings) {
        for path in files {
            findings.extend(namcap.look(path)?.into_iter().map(|finding| finding.with_package(&expected.pkgbase)));
        }
    }
    if file::are_only_ahead(&findings) {
        return Err(PublishError::Ahead { findings, set_back: file::is_set_back(around, now) });
    }
    if file::refuses(&findings) {
        return Err(PublishError::NotTheBuilds { findings });
    }
    let verified = files.iter().zip(read).map(|(path, facts)| verified(path, facts.info));
    Ok((verified.collect::<Result<_, _>>()?, findings))
}

/// A package file as it is published already. Its checksum has to be `sha256`.
pub(super) fn published(path: &Path, sha256: &str, pkgbase: &PkgBase) -> Result<Verified, PublishError> {
    let verified = match info(path) {
        Ok(info) => verified(path, info)?,
        Err(problem) => {
            let message = format!("a file of this name was published before, and {problem}");
            let finding = Finding::error("package-unreadable", message).at(file_name(path), None);
            let finding = finding.with_package(pkgbase).hint("raise `pkgrel`");
            return Err(PublishError::NotTheBuilds { findings: vec![finding] });
        }
    };
    let found = &verified.entry.sha256;
    if found == sha256 {
        return Ok(verified);
    }
    Err(PublishError::Damaged { file: path.to_owned(), problem: format!("its checksum is {found}, not {sha256}") })
}

/// What the database has to say of a package file: what was read in it, and nothing else.
pub(super) fn verified(path: &Path, info: Pkginfo) -> Result<Verified, PublishError> {
    let strange = |what: &str| PublishError::Damaged { file: path.to_owned(), problem: format!("it has no {what}") };
    let size = std::fs::metadata(path).map_err(failed("read", path))?.len();
    let entry = DatabaseEntry {
        name: PkgName::new(&info.pkgname).map_err(|_| strange("name"))?,
        base: PkgBase::new(&info.pkgbase).map_err(|_| strange("pkgbase"))?,
        version: Version::new(info.pkgver),
        file: file_name(path),
        arch: info.arch,
        size: Some(size),
        sha256: sha256(path)?,
        signature: None,
        build_date: info.builddate.parse().ok(),
        depends: info.depends,
        provides: info.provides,
        conflicts: info.conflicts,
        replaces: info.replaces,
        groups: info.groups,
    };
    Ok(Verified { path: path.to_owned(), entry })
}

pub(super) fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// What a package file says of itself and what is in it.
fn facts(path: &Path) -> Result<FileFacts, String> {
    let unreadable = |error: std::io::Error| format!("it cannot be read: {error}");
    let info = info(path)?;
    let content = archive::content(std::fs::File::open(path).map_err(unreadable)?).map_err(unreadable)?;
    Ok(FileFacts { file: file_name(path), info, content })
}

/// Reads `.PKGINFO` as we do and as `repo-add` will, which have to agree: an archive that two readers
/// understand differently would pass the checks as one package and be published as another.
pub(super) fn info(path: &Path) -> Result<Pkginfo, String> {
    let unreadable = |error: std::io::Error| format!("its .PKGINFO cannot be read: {error}");
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let ours = pkginfo::extract(&file).map_err(unreadable)?;
    let info = pkginfo::parse(&ours).map_err(|problem| format!("its .PKGINFO: {problem}"))?;
    let program = Program::new("bsdtar").args(["-xOqf"]).arg(path).arg(".PKGINFO");
    let output = program
        .timeout(Duration::from_mins(2))
        .output_limit(pkginfo::MAX_BYTES + 1)
        .run_blocking()
        .map_err(|error| error.to_string())?;
    let differs = || "its .PKGINFO is not the same to every reader of the archive".to_owned();
    if output.stdout == ours { Ok(info) } else { Err(differs()) }
}
