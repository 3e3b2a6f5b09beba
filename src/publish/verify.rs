//! Checks that a built file is the build's, before anything is done with it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use super::PublishError;
use super::pkginfo::{self, Pkginfo};
use crate::domain::name::{PkgBase, PkgName};
use crate::domain::queue::BuildId;
use crate::domain::version::Version;
use crate::sys::process::Program;

/// A clock of a builder may be wrong by this much.
const CLOCK_SKEW_SECONDS: i64 = 24 * 3600;

/// What a build was to yield.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// The package.
    pub pkgbase: PkgBase,
    /// Its version; `None` if only the build could tell it (`-git` packages).
    pub version: Option<Version>,
    /// The architecture it was built for; files for `any` are right as well.
    pub arch: String,
    /// The packages it is known to consist of. Others are accepted and reported, unless they are another
    /// package's.
    pub members: BTreeSet<PkgName>,
    /// The build, for the manifest.
    pub build: Option<BuildId>,
}

/// A file that is what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verified {
    pub path: PathBuf,
    pub file: String,
    pub name: PkgName,
    pub version: Version,
}

/// Checks all files of a build. `owners` says which package each published name belongs to.
pub(super) fn check(
    files: &[PathBuf],
    expected: &Expected,
    owners: &BTreeMap<PkgName, PkgBase>,
    now: Timestamp,
) -> Result<Vec<Verified>, PublishError> {
    let mut verified: Vec<Verified> = Vec::with_capacity(files.len());
    for path in files {
        let file = file_name(path);
        let wrong =
            |field: &'static str, problem: String| PublishError::NotTheBuilds { file: file.clone(), field, problem };
        let info = read(path).map_err(|problem| wrong(".PKGINFO", problem))?;
        let name = fields(&info, &file, expected, now).map_err(|(field, problem)| wrong(field, problem))?;
        if verified.iter().any(|other| other.name == name) {
            return Err(wrong("pkgname", format!("`{name}` is there twice")));
        }
        let version = Version::new(info.pkgver);
        if verified.first().is_some_and(|first| first.version.as_str() != version.as_str()) {
            return Err(wrong("pkgver", format!("is `{version}`, and other files of the build have another")));
        }
        match owners.get(&name) {
            Some(owner) if *owner != expected.pkgbase && !expected.members.contains(&name) => {
                return Err(wrong("pkgname", format!("`{name}` belongs to the package `{owner}`")));
            }
            _ => verified.push(Verified { path: path.clone(), file: file.clone(), name, version }),
        }
    }
    Ok(verified)
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Reads `.PKGINFO` as we do and as `repo-add` will, which have to agree: an archive that two readers
/// understand differently would pass the checks as one package and be published as another.
fn read(path: &Path) -> Result<Pkginfo, String> {
    let ours = pkginfo::extract(path).map_err(|error| format!("cannot be read: {error}"))?;
    let info = pkginfo::parse(&ours)?;
    let program = Program::new("bsdtar").args(["-xOqf"]).arg(path).arg(".PKGINFO");
    let output = program
        .timeout(Duration::from_mins(2))
        .output_limit(pkginfo::MAX_BYTES + 1)
        .run_blocking()
        .map_err(|error| error.to_string())?;
    if output.stdout == ours { Ok(info) } else { Err("is not the same to every reader of the archive".to_owned()) }
}

/// Checks the fields against what was expected; gives the name of the package.
fn fields(info: &Pkginfo, file: &str, expected: &Expected, now: Timestamp) -> Result<PkgName, (&'static str, String)> {
    let not = |what: &str, found: &str, wanted: &dyn std::fmt::Display| {
        format!("{what} is `{}`, not `{wanted}`", found.escape_debug())
    };
    if info.pkgbase != expected.pkgbase.as_str() {
        return Err(("pkgbase", not("it", &info.pkgbase, &expected.pkgbase)));
    }
    let name = PkgName::new(&info.pkgname).map_err(|error| ("pkgname", error.to_string()))?;
    // It becomes the name of a file and of a folder in the database.
    let odd = |byte: u8| !byte.is_ascii_graphic() || b"/\\*?[]{}'\"`$;&|<>()!#".contains(&byte);
    if info.pkgver.bytes().any(odd) || !info.pkgver.contains('-') {
        return Err(("pkgver", format!("`{}` is not a version", info.pkgver.escape_debug())));
    }
    if let Some(version) = &expected.version
        && version.as_str().trim_start_matches("0:") != info.pkgver
    {
        return Err(("pkgver", not("it", &info.pkgver, version)));
    }
    if info.arch != "any" && info.arch != expected.arch {
        return Err(("arch", not("it", &info.arch, &expected.arch)));
    }
    let wanted = format!("{name}-{}-{}.pkg.tar.zst", info.pkgver, info.arch);
    if file != wanted {
        return Err(("file name", not("it", file, &wanted)));
    }
    let latest = now.as_second() + CLOCK_SKEW_SECONDS;
    match info.builddate.parse::<i64>() {
        Ok(date) if (1..=latest).contains(&date) => Ok(name),
        _ => Err(("builddate", format!("`{}` is no time in the past", info.builddate.escape_debug()))),
    }
}
