//! The package files a build left behind.
//!
//! Only what could be a package of this build is taken, by its name and kind; whether its content is
//! what the name says is checked by the publisher.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::domain::folder::Folder;
use crate::domain::name::{PkgBase, PkgName};
use crate::domain::srcinfo::Srcinfo;
use crate::sys::held::Held;

/// So many files may lie where packages belong: more than the marks of all that is published of one package, and its own.
const MOST_FILES: usize = 20_000;

/// How the name of every package ends.
pub const EXTENSION: &str = ".pkg.tar.zst";

/// A package file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artefact {
    /// Where it is.
    pub path: PathBuf,
    /// Its file name.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// SHA-256 of its content, in hexadecimal.
    pub sha256: String,
}

/// What packages a build may leave behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expectation {
    arch: String,
    /// The members and their debug package; `None` if the `.SRCINFO` cannot say.
    names: Option<BTreeSet<PkgName>>,
}

impl Expectation {
    /// What the files of a package promise.
    #[must_use]
    pub fn of(pkgbase: &PkgBase, arch: &str, folder: &Folder) -> Self {
        let srcinfo = folder.get(".SRCINFO").and_then(|bytes| Srcinfo::parse(bytes).ok());
        let names = srcinfo.map(|srcinfo| {
            let debug = PkgName::new(&format!("{pkgbase}-debug")).expect("a pkgbase with a suffix is a name");
            srcinfo.members.into_iter().map(|member| member.name).chain([debug]).collect()
        });
        Self { arch: arch.to_owned(), names }
    }

    /// How many packages that can be, where that is known.
    #[must_use]
    pub fn count(&self) -> Option<usize> {
        self.names.as_ref().map(BTreeSet::len)
    }

    /// Whether a file of this name is a package this build may make.
    #[must_use]
    pub fn allows(&self, file: &str) -> bool {
        let Some(parts) = file.strip_suffix(EXTENSION) else { return false };
        let mut parts = parts.rsplitn(4, '-');
        let (Some(arch), Some(release), Some(version), Some(name)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return false;
        };
        let Ok(name) = PkgName::new(name) else { return false };
        let sound = [release, version].iter().all(|part| !part.is_empty() && !part.contains(['/', '\\']));
        let member = self.names.as_ref().is_none_or(|names| names.contains(&name));
        sound && member && (arch == self.arch || arch == "any") && !file.chars().any(char::is_control)
    }
}

/// What was found in the directory for packages.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Collected {
    /// What was taken, sorted by name.
    pub artefacts: Vec<Artefact>,
    /// What was left, by name: links, directories, and files with names this build has no use for.
    pub ignored: Vec<String>,
}

/// Takes the packages of a finished build out of `from`, which the build could write, into `to`, which
/// only the controller can. Empty files are the marks of published packages and are passed over. Files can be
/// larger than the disk (with holes), so it ends with [`io::ErrorKind::Interrupted`] as soon as `go_on` says no, and with
/// [`io::ErrorKind::InvalidData`] where there are more than any build leaves.
pub fn collect(from: &Path, to: &Path, expected: &Expectation, go_on: impl Fn() -> bool) -> io::Result<Collected> {
    let mut collected = Collected::default();
    fs::create_dir_all(to)?;
    let mut entries = Vec::new();
    for entry in fs::read_dir(from)? {
        if entries.len() == MOST_FILES {
            let text = format!("it left more than {MOST_FILES} files where packages belong");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        entries.push(entry?);
    }
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let metadata = fs::symlink_metadata(entry.path())?;
        if metadata.is_file() && metadata.len() == 0 {
            continue;
        }
        let name = entry.file_name();
        match name.to_str().filter(|name| metadata.is_file() && expected.allows(name)) {
            Some(name) => collected.artefacts.push(take(&entry.path(), &to.join(name), name, &go_on)?),
            None => collected.ignored.push(name.to_string_lossy().escape_debug().to_string()),
        }
    }
    Ok(collected)
}

fn take(from: &Path, to: &Path, name: &str, go_on: &impl Fn() -> bool) -> io::Result<Artefact> {
    fs::rename(from, to)?;
    // What was a file when it was looked at may have become a link by now, which would lead us elsewhere.
    let held = Held::whatever(to)?;
    if !held.metadata()?.is_file() {
        return Err(io::Error::other(format!("`{name}` is no ordinary file any more")));
    }
    chown(held.path(), Some(nix::unistd::geteuid().as_raw()), Some(nix::unistd::getegid().as_raw()))?;
    fs::set_permissions(held.path(), Permissions::from_mode(0o644))?;
    let mut file = File::open(held.path())?;
    let (size, sha256) = digest(&mut file, go_on)?;
    Ok(Artefact { path: to.to_owned(), name: name.to_owned(), size, sha256 })
}

/// Size and SHA-256, in hexadecimal, of what is left to read of a file. Ends with [`io::ErrorKind::Interrupted`] as
/// soon as `go_on` says no.
pub fn digest(file: &mut File, go_on: &impl Fn() -> bool) -> io::Result<(u64, String)> {
    let mut hash = Sha256::new();
    let mut size = 0;
    let mut buffer = vec![0; 128 << 10];
    loop {
        if !go_on() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
        size += read as u64;
    }
    let hex = hash.finalize().iter().fold(String::with_capacity(64), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("writing to a string");
        hex
    });
    Ok((size, hex))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    use super::*;

    const SRCINFO: &str =
        "pkgbase = foo\n\tpkgver = 1.0\n\tpkgrel = 1\n\tarch = x86_64\n\npkgname = foo\n\npkgname = foo-docs\n";

    fn expectation() -> Expectation {
        let folder = Folder::default().with(".SRCINFO", SRCINFO);
        Expectation::of(&PkgBase::new("foo").unwrap(), "x86_64", &folder)
    }

    #[test]
    fn only_names_of_members_are_allowed() {
        let expected = expectation();
        for good in ["foo-1.0-1-x86_64", "foo-docs-1:1.0-1.2-any", "foo-debug-1.0-1-x86_64"] {
            assert!(expected.allows(&format!("{good}{EXTENSION}")), "{good}");
        }
        for bad in
            ["bash-5-1-x86_64", "foo-1.0-1-aarch64", "foo-1.0-any", "foo", "-1-1-any", "foo-1\n-1-any", ".foo-1-1-any"]
        {
            assert!(!expected.allows(&format!("{bad}{EXTENSION}")), "{bad:?}");
        }
        assert!(!expected.allows("foo-1.0-1-x86_64.pkg.tar.xz"));
        assert!(!expected.allows("foo-1.0-1-x86_64.pkg.tar.zst.sig"));
    }

    #[test]
    fn without_a_readable_srcinfo_the_shape_of_the_name_decides() {
        let expected = Expectation::of(&PkgBase::new("foo").unwrap(), "x86_64", &Folder::default());
        assert!(expected.allows("whatever-1-1-any.pkg.tar.zst"));
        assert!(!expected.allows("whatever-1-1-armv7h.pkg.tar.zst"));
    }

    #[test]
    fn links_marks_and_forged_names_are_not_collected() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir(&from).unwrap();
        fs::write(from.join("foo-1.0-1-x86_64.pkg.tar.zst"), "abc").unwrap();
        fs::write(from.join("foo-docs-0.9-1-any.pkg.tar.zst"), "").unwrap();
        fs::write(from.join("glibc-9-1-x86_64.pkg.tar.zst"), "evil").unwrap();
        symlink("/etc/passwd", from.join("foo-docs-1.0-1-any.pkg.tar.zst")).unwrap();
        fs::create_dir(from.join("foo-2.0-1-any.pkg.tar.zst")).unwrap();
        let collected = collect(&from, &to, &expectation(), || true).unwrap();
        assert_eq!(
            collected.artefacts,
            [Artefact {
                path: to.join("foo-1.0-1-x86_64.pkg.tar.zst"),
                name: "foo-1.0-1-x86_64.pkg.tar.zst".into(),
                size: 3,
                sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".into(),
            }]
        );
        assert_eq!(
            collected.ignored,
            ["foo-2.0-1-any.pkg.tar.zst", "foo-docs-1.0-1-any.pkg.tar.zst", "glibc-9-1-x86_64.pkg.tar.zst"]
        );
    }

    #[test]
    fn files_without_number_are_not_even_listed() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("from");
        fs::create_dir(&from).unwrap();
        for number in 0..=MOST_FILES {
            File::create(from.join(number.to_string())).unwrap();
        }
        let error = collect(&from, &dir.path().join("to"), &expectation(), || true).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
        fs::remove_file(from.join("0")).unwrap();
        assert_eq!(collect(&from, &dir.path().join("to"), &expectation(), || true).unwrap(), Collected::default());
    }

    #[test]
    fn what_is_left_out_can_be_said_whatever_it_is_called() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir(&from).unwrap();
        let names: [&[u8]; 6] = [
            b"foo-1.0-1\n-any.pkg.tar.zst",
            b"foo-1.0-1-any\xff.pkg.tar.zst",
            b"-foo-1.0-1-any.pkg.tar.zst",
            b"foo-\x1b[2J-1-any.pkg.tar.zst",
            b"foo-'; $(id)-1-aarch64.pkg.tar.zst",
            b".pkg.tar.zst",
        ];
        for name in names {
            fs::write(from.join(OsStr::from_bytes(name)), "x").unwrap();
        }
        let collected = collect(&from, &to, &expectation(), || true).unwrap();
        assert_eq!(collected.artefacts, []);
        assert_eq!(collected.ignored.len(), names.len());
        for said in &collected.ignored {
            assert!(!said.chars().any(char::is_control), "{said:?}");
        }
    }

    #[test]
    fn a_file_without_end_is_read_only_as_long_as_somebody_wants_it() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("from");
        fs::create_dir(&from).unwrap();
        File::create(from.join("foo-1.0-1-any.pkg.tar.zst")).unwrap().set_len(1 << 42).unwrap();
        let asked = std::cell::Cell::new(0);
        let go_on = || asked.replace(asked.get() + 1) < 3;
        let error = collect(&from, &dir.path().join("to"), &expectation(), go_on).unwrap_err();
        assert_eq!((error.kind(), asked.get()), (io::ErrorKind::Interrupted, 4));
    }
}
