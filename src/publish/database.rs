//! Reads pacman databases: our own, and those of the repositories packages are built against.
//!
//! Only reads; databases are written by `repo-add`.

use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::signer::signature_of;
use crate::domain::library::database::fields;
use crate::domain::name::{InvalidName, PkgBase, PkgName};
use crate::domain::srcinfo::name_of;
use crate::domain::version::Version;
use crate::sys::tarball::{self, Bounds};
use crate::sys::unpack::unpacked;

/// More than any real database unpacks to, and more than it has.
const BOUNDS: Bounds = Bounds { bytes: 4 << 30, entries: 2_000_000 };
/// More than any real `desc` file.
const MAX_DESC: u64 = 4 << 20;

/// A database that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The file cannot be read, or is no tar archive, packed or not.
    #[error("cannot read the pacman database {}", path.display())]
    Io {
        /// The database.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: io::Error,
    },
    /// One of its entries makes no sense.
    #[error("entry `{entry}` of the pacman database {} has no usable {field}", path.display())]
    Entry {
        /// The database.
        path: PathBuf,
        /// The folder of the entry.
        entry: String,
        /// The field that is missing or wrong.
        field: &'static str,
    },
}

/// One package of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseEntry {
    /// `NAME`.
    pub name: PkgName,
    /// `BASE`; the name where there is none.
    pub base: PkgBase,
    /// `VERSION`.
    pub version: Version,
    /// `FILENAME`.
    pub file: String,
    /// `ARCH`.
    pub arch: String,
    /// `CSIZE`: the bytes of the file.
    pub size: Option<u64>,
    /// `SHA256SUM` in hexadecimal; empty if there is none.
    pub sha256: String,
    /// `PGPSIG`: the signature of the file in Base64, where the database has it. pacman goes by it then.
    pub signature: Option<String>,
    /// `BUILDDATE` in unix seconds.
    pub build_date: Option<i64>,
    /// `DEPENDS` as written.
    pub depends: Vec<String>,
    /// `PROVIDES` as written.
    pub provides: Vec<String>,
    /// `CONFLICTS` as written.
    pub conflicts: Vec<String>,
    /// `REPLACES` as written.
    pub replaces: Vec<String>,
    /// `GROUPS` as written.
    pub groups: Vec<String>,
}

impl DatabaseEntry {
    /// Every name that this package satisfies: its own and what it provides, without versions.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.name.as_str()).chain(self.provides.iter().map(|written| name_of(written)))
    }

    /// The first field of which another entry of the same file says something else, what this one says there, and what the
    /// other. Their signatures are no matter: those come and go with keys.
    pub(super) fn differs_from(&self, other: &Self) -> Option<(&'static str, String, String)> {
        let mut both = self.fields().into_iter().zip(other.fields());
        both.find_map(|((field, ours), (_, theirs))| (ours != theirs).then_some((field, ours, theirs)))
    }

    fn fields(&self) -> [(&'static str, String); 12] {
        let list = |values: &[String]| format!("{values:?}");
        [
            ("NAME", self.name.to_string()),
            ("BASE", self.base.to_string()),
            ("VERSION", self.version.to_string()),
            ("ARCH", self.arch.clone()),
            ("CSIZE", self.size.map_or_else(String::new, |size| size.to_string())),
            ("SHA256SUM", self.sha256.clone()),
            ("BUILDDATE", self.build_date.map_or_else(String::new, |date| date.to_string())),
            ("REPLACES", list(&self.replaces)),
            ("CONFLICTS", list(&self.conflicts)),
            ("PROVIDES", list(&self.provides)),
            ("DEPENDS", list(&self.depends)),
            ("GROUPS", list(&self.groups)),
        ]
    }

    /// Its file in this folder, if the signature beside it is another than the database has.
    pub(super) fn signed_otherwise(&self, dir: &Path) -> Option<PathBuf> {
        let (known, path) = (self.signature.as_ref()?, dir.join(&self.file));
        let there = std::fs::read(signature_of(&path)).ok()?;
        (BASE64.encode(there) != *known).then_some(path)
    }
}

/// Reads a database (`NAME.db` or `NAME.files`, packed with zstd, xz or gzip, or not at all), sorted by name.
///
/// # Errors
/// [`DatabaseError`] naming the file, and the entry where one is at fault.
pub fn read(path: &Path) -> Result<Vec<DatabaseEntry>, DatabaseError> {
    let file = std::fs::File::open(path).map_err(|source| DatabaseError::Io { path: path.to_owned(), source })?;
    read_from(file, path)
}

/// As [`read`], from what is open already; `path` is for messages.
pub(super) fn read_from(file: impl Read, path: &Path) -> Result<Vec<DatabaseEntry>, DatabaseError> {
    let (mut found, mut wrong) = (Vec::new(), None);
    let read = unpacked(file).and_then(|unpacked| {
        tarball::read(unpacked, BOUNDS, |entry| {
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let Some(folder) = name.strip_suffix("/desc") else { return Ok(ControlFlow::Continue(())) };
            let mut text = Vec::new();
            entry.take(MAX_DESC).read_to_end(&mut text)?;
            match parse(&String::from_utf8_lossy(&text)) {
                Ok(entry) => found.push(entry),
                Err(field) => wrong = Some((folder.trim_start_matches("./").to_owned(), field)),
            }
            Ok(if wrong.is_none() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })
    });
    read.map_err(|source| DatabaseError::Io { path: path.to_owned(), source })?;
    if let Some((entry, field)) = wrong {
        return Err(DatabaseError::Entry { path: path.to_owned(), entry, field });
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// Reads one `desc` file, or names the field that is not there.
fn parse(text: &str) -> Result<DatabaseEntry, &'static str> {
    let (mut name, mut base, mut version, mut file) = (None, None, None, None);
    let (mut arch, mut sha256, mut build_date, mut size, mut signature) = ("", "", None, None, None);
    let (mut depends, mut provides, mut conflicts) = (Vec::new(), Vec::new(), Vec::new());
    let (mut replaces, mut groups) = (Vec::new(), Vec::new());
    for (field, mut values) in fields(text) {
        match field {
            "NAME" => name = values.next(),
            "BASE" => base = values.next(),
            "VERSION" => version = values.next(),
            "FILENAME" => file = values.next(),
            "ARCH" => arch = values.next().unwrap_or_default(),
            "SHA256SUM" => sha256 = values.next().unwrap_or_default(),
            "BUILDDATE" => build_date = values.next().and_then(|date| date.parse().ok()),
            "CSIZE" => size = values.next().and_then(|size| size.parse().ok()),
            "PGPSIG" => signature = values.next().map(str::to_owned),
            "DEPENDS" => depends.extend(values.map(str::to_owned)),
            "PROVIDES" => provides.extend(values.map(str::to_owned)),
            "CONFLICTS" => conflicts.extend(values.map(str::to_owned)),
            "REPLACES" => replaces.extend(values.map(str::to_owned)),
            "GROUPS" => groups.extend(values.map(str::to_owned)),
            _ => {}
        }
    }
    let name = name.ok_or("NAME")?;
    let invalid = |field| move |_: InvalidName| field;
    Ok(DatabaseEntry {
        base: PkgBase::new(base.unwrap_or(name)).map_err(invalid("BASE"))?,
        name: PkgName::new(name).map_err(invalid("NAME"))?,
        version: Version::new(version.ok_or("VERSION")?),
        file: file.ok_or("FILENAME")?.to_owned(),
        arch: arch.to_owned(),
        size,
        sha256: sha256.to_owned(),
        signature,
        build_date,
        depends,
        provides,
        conflicts,
        replaces,
        groups,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DESC: &str = "%FILENAME%\nc++x-1:2-1-any.pkg.tar.zst\n\n%NAME%\nc++x\n\n%VERSION%\n1:2-1\n\n%SHA256SUM%\nab\n\n\
                        %ARCH%\nany\n\n%BUILDDATE%\n12\n\n%PROVIDES%\nlibx.so=1-64\nx=2\n\n%DEPENDS%\nglibc>=2\n";

    fn database(entries: &[(&str, &str)]) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for (name, text) in entries {
            let mut header = tar::Header::new_ustar();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            archive.append_data(&mut header, name, text.as_bytes()).unwrap();
        }
        archive.into_inner().unwrap()
    }

    fn read_bytes(bytes: &[u8]) -> Result<Vec<DatabaseEntry>, DatabaseError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        read(file.path())
    }

    #[test]
    fn every_field_is_read_whatever_the_compression() {
        let plain = database(&[("c++x-1:2-1/desc", DESC), ("c++x-1:2-1/files", "%FILES%\nusr/\n")]);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        io::Write::write_all(&mut gzip, &plain).unwrap();
        let packed = [plain.clone(), zstd::encode_all(&*plain, 1).unwrap(), gzip.finish().unwrap()];
        for bytes in packed {
            let entries = read_bytes(&bytes).unwrap();
            assert_eq!(entries[0].base.as_str(), "c++x");
            assert_eq!(entries[0].version.as_str(), "1:2-1");
            assert_eq!(entries[0].names().collect::<Vec<_>>(), ["c++x", "libx.so", "x"]);
            assert_eq!(
                (entries[0].depends.as_slice(), entries[0].build_date),
                (&["glibc>=2".to_owned()][..], Some(12))
            );
            assert_eq!((entries[0].sha256.as_str(), entries[0].arch.as_str()), ("ab", "any"));
        }
    }

    #[test]
    fn a_broken_database_is_named_with_the_entry_at_fault() {
        let error = read_bytes(&database(&[("x-1/desc", "%NAME%\nx\n\n%VERSION%\n1\n")])).unwrap_err();
        assert!(error.to_string().contains("entry `x-1`") && error.to_string().contains("FILENAME"), "{error}");
        assert!(read_bytes(b"\xfd7zXZ").unwrap_err().to_string().contains("cannot read the pacman database"));
        assert!(read_bytes(b"this is not an archive at all").is_err());
        assert!(read(Path::new("/nonexistent/x.db")).is_err());
        let mut cut = zstd::encode_all(&*database(&[("x-1/desc", DESC)]), 1).unwrap();
        cut.truncate(cut.len() / 2);
        assert!(read_bytes(&cut).is_err());
    }
}
