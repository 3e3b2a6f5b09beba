//! Reads a pacman database as it arrives in packed form, and keeps what rebuilds need.
//!
//! Not for asking for it: that is [`super`].

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Read};
use std::ops::ControlFlow;

use crate::domain::library::database::{LibraryDatabase, fields};
use crate::domain::library::soname::{Bits, Soname};
use crate::domain::name::PkgBase;
use crate::domain::version::Version;
use crate::sys::tarball::{self, Bounds};
use crate::sys::unpack::{Bounded, unpacked};

/// How much is read at most.
#[derive(Debug, Clone, Copy)]
pub struct ReadLimits {
    /// Bytes of everything, unpacked.
    pub unpacked: u64,
    /// Bytes of one file in it.
    pub file: u64,
    /// Names of libraries and packages that are kept.
    pub names: usize,
}

impl Default for ReadLimits {
    fn default() -> Self {
        Self { unpacked: 4 << 30, file: 64 << 20, names: 2_000_000 }
    }
}

/// A database that cannot be used. Half a database is none: what is missing from it may still be there.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is no tar archive, it ends too early, or it is too large.
    #[error("it cannot be read: {0}")]
    Archive(#[from] io::Error),
    /// One of its entries makes no sense.
    #[error("its entry `{entry}` has no usable {field}")]
    Entry {
        /// The folder of the entry.
        entry: String,
        /// The field that is missing or wrong.
        field: &'static str,
    },
    /// It holds nothing. A server that has lost its files would look like that.
    #[error("it lists no packages")]
    Empty,
    /// It has more names than any real one.
    #[error("it has more than {0} names")]
    TooMany(usize),
}

/// Reads `NAME.db` or `NAME.files` to the end.
pub fn read(packed: impl Read, limits: ReadLimits) -> Result<LibraryDatabase, ReadError> {
    let mut archive = Bounded::new(unpacked(packed)?, limits.unpacked);
    let (mut reader, mut wrong) = (Reader { limits, ..Reader::default() }, None);
    // Every package has a folder and some files, and one name at least.
    let bounds = Bounds { bytes: limits.unpacked, entries: limits.names.saturating_mul(4) };
    tarball::read(&mut archive, bounds, |entry| {
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let Some((folder, file)) = path.trim_start_matches("./").split_once('/') else {
            return Ok(ControlFlow::Continue(()));
        };
        if !matches!(file, "desc" | "files" | "depends") {
            return Ok(ControlFlow::Continue(()));
        }
        let mut text = Vec::new();
        Bounded::new(entry, limits.file).read_to_end(&mut text)?;
        wrong = reader.file(folder, &String::from_utf8_lossy(&text)).err();
        Ok(if wrong.is_none() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    if let Some(error) = wrong {
        return Err(error);
    }
    // Up to the checksum at the end of the packed stream.
    io::copy(&mut archive, &mut io::sink())?;
    reader.finish()
}

/// What has been read so far.
#[derive(Default)]
struct Reader {
    limits: ReadLimits,
    found: LibraryDatabase,
    /// By folder: the pkgbase.
    bases: HashMap<String, String>,
    /// By folder: libraries. Whose they are may be read later.
    libraries: HashMap<String, BTreeSet<Soname>>,
    /// By folder: libraries that are needed.
    needs: HashMap<String, BTreeSet<Soname>>,
    names: usize,
}

impl Reader {
    fn file(&mut self, folder: &str, text: &str) -> Result<(), ReadError> {
        let (mut name, mut base, mut version) = (None, None, None);
        for (field, mut values) in fields(text) {
            match field {
                "NAME" => name = values.next(),
                "BASE" => base = values.next(),
                "VERSION" => version = values.next(),
                "PROVIDES" => {
                    let provided: Vec<Soname> = values.filter_map(Soname::of_dependency).collect();
                    self.keep(folder, provided)?;
                }
                "DEPENDS" => {
                    let needed: Vec<Soname> = values.filter_map(Soname::of_dependency).collect();
                    self.count(needed.len())?;
                    if !needed.is_empty() {
                        self.needs.entry(folder.to_owned()).or_default().extend(needed);
                    }
                }
                "FILES" => {
                    self.found.lists_files = true;
                    for path in values {
                        self.path(folder, path)?;
                    }
                }
                _ => {}
            }
        }
        if name.is_some() || base.is_some() || version.is_some() {
            self.package(folder, name, base.or(name), version)?;
        }
        Ok(())
    }

    fn path(&mut self, folder: &str, path: &str) -> Result<(), ReadError> {
        if let Some(soname) = Soname::of_file(path) {
            return self.keep(folder, vec![soname]);
        }
        let file = path.rsplit_once('/').map_or(path, |(_, file)| file);
        let is_library = file.starts_with("lib") && Soname::new(file, Bits::B64).is_some();
        if is_library && self.found.elsewhere.insert(file.to_owned()) {
            self.count(1)?;
        }
        Ok(())
    }

    fn keep(&mut self, folder: &str, sonames: Vec<Soname>) -> Result<(), ReadError> {
        self.count(sonames.len())?;
        if !sonames.is_empty() {
            self.libraries.entry(folder.to_owned()).or_default().extend(sonames);
        }
        Ok(())
    }

    fn count(&mut self, names: usize) -> Result<(), ReadError> {
        self.names += names;
        if self.names > self.limits.names { Err(ReadError::TooMany(self.limits.names)) } else { Ok(()) }
    }

    fn package(
        &mut self,
        folder: &str,
        name: Option<&str>,
        base: Option<&str>,
        version: Option<&str>,
    ) -> Result<(), ReadError> {
        let missing = |field| ReadError::Entry { entry: folder.to_owned(), field };
        let base = base.and_then(|base| PkgBase::new(base).ok()).ok_or_else(|| missing("NAME or BASE"))?;
        let plain = |version: &&str| !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_graphic());
        let version = Version::new(version.filter(plain).ok_or_else(|| missing("VERSION"))?);
        self.count(1)?;
        self.found.names.insert(name.unwrap_or(base.as_str()).to_owned());
        self.bases.insert(folder.to_owned(), base.to_string());
        let known = self.found.versions.entry(base.to_string()).or_insert_with(|| version.clone());
        if *known < version {
            *known = version;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<LibraryDatabase, ReadError> {
        if self.found.versions.is_empty() {
            return Err(ReadError::Empty);
        }
        for (folder, sonames) in self.libraries {
            let Some(base) = self.bases.get(&folder) else { continue };
            for soname in sonames {
                let holder = self.found.sonames.entry(soname).or_insert_with(|| base.clone());
                // Whoever is first by name, in whatever order they were read.
                if *base < *holder {
                    holder.clone_from(base);
                }
            }
        }
        for (folder, needed) in self.needs {
            let Some(base) = self.bases.get(&folder) else { continue };
            let others = needed.into_iter().filter(|soname| self.found.sonames.get(soname) != Some(base));
            self.found.needs.entry(base.clone()).or_default().extend(others);
        }
        Ok(self.found)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    const FOO: &str = "%FILENAME%\nlibfoo-1:2.0-1-x86_64.pkg.tar.zst\n\n%NAME%\nlibfoo\n\n%BASE%\nfoo\n\n%VERSION%\n1:2.0-1\n\n\
                       %PROVIDES%\nlibbar.so=3-64\nx=1\n\n%DEPENDS%\nglibc\nlibz.so=1-64\nlibbar.so=3-64\n\n";
    const FILES: &str =
        "%FILES%\nusr/\nusr/lib/libfoo.so.2\nusr/lib32/libfoo.so.2\nusr/lib/foo/libown.so.1\nusr/share/x\n";

    fn archive(entries: &[(&str, &str)]) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for (name, text) in entries {
            let mut header = tar::Header::new_ustar();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            archive.append_data(&mut header, name, text.as_bytes()).expect("in memory");
        }
        archive.into_inner().expect("in memory")
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).expect("in memory");
        encoder.finish().expect("in memory")
    }

    fn error(bytes: &[u8]) -> String {
        read(bytes, ReadLimits::default()).expect_err("unusable").to_string()
    }

    #[test]
    fn versions_and_libraries_are_kept_in_whatever_order_the_files_come() {
        let desc = ("foo-1:2.0-1/desc", FOO);
        let files = ("foo-1:2.0-1/files", FILES);
        let docs = ("foo-docs-1:1.9-1/desc", "%NAME%\nfoo-docs\n\n%BASE%\nfoo\n\n%VERSION%\n1:1.9-1\n");
        for entries in [[desc, files, docs], [docs, files, desc]] {
            let database = read(&*gzip(&archive(&entries)), ReadLimits::default()).expect("usable");
            assert_eq!(database.versions["foo"].as_str(), "1:2.0-1", "the newest member speaks for the package");
            let sonames: Vec<_> = database.sonames.iter().map(|(it, base)| format!("{it} {base}")).collect();
            assert_eq!(sonames, ["libbar.so.3 foo", "libfoo.so.2 foo", "libfoo.so.2 (32-bit) foo"]);
            let needs: Vec<_> = database.needs["foo"].iter().map(ToString::to_string).collect();
            assert_eq!(needs, ["libz.so.1"], "and nothing that it has itself");
            assert_eq!(database.elsewhere.iter().collect::<Vec<_>>(), ["libown.so.1"]);
            assert!(database.lists_files);
        }
        assert!(!read(&*archive(&[desc]), ReadLimits::default()).expect("usable").lists_files);
    }

    #[test]
    fn half_a_database_is_none() {
        let whole = gzip(&archive(&[("foo-1:2.0-1/desc", FOO), ("foo-1:2.0-1/files", FILES)]));
        for length in [3, whole.len() / 2, whole.len() - 9, whole.len() - 1] {
            assert!(error(&whole[..length]).starts_with("it cannot be read"), "{length}");
        }
        let mut damaged = whole.clone();
        let checksum = damaged.len() - 8;
        damaged[checksum] ^= 1;
        assert!(error(&damaged).starts_with("it cannot be read"));
    }

    #[test]
    fn what_is_no_database_is_said_to_be_none() {
        assert!(error(b"<html>maintenance</html>").starts_with("it cannot be read"));
        assert_eq!(error(&archive(&[])), "it lists no packages");
        assert_eq!(error(b""), "it lists no packages");
        assert_eq!(error(&archive(&[("x-1/desc", "%NAME%\nx\n")])), "its entry `x-1` has no usable VERSION");
        assert_eq!(
            error(&archive(&[("x-1/desc", "%NAME%\n-x\n\n%VERSION%\n1-1\n")])),
            "its entry `x-1` has no usable NAME or BASE"
        );
    }

    #[test]
    fn a_bomb_ends_at_a_limit() {
        let names: Vec<String> = (0..100).map(|number| format!("usr/lib/lib{number}.so.1")).collect();
        let names = names.join("\n");
        let bomb = gzip(&archive(&[("foo-1/desc", FOO), ("foo-1/files", &format!("%FILES%\n{names}"))]));
        let limits = |unpacked, file, names| read(&*bomb, ReadLimits { unpacked, file, names });
        assert!(limits(1000, 4000, 1000).is_err_and(|error| error.to_string().contains("longer than we are willing")));
        assert!(
            limits(90_000, 1000, 1000).is_err_and(|error| error.to_string().contains("longer than we are willing"))
        );
        assert!(matches!(limits(90_000, 4000, 90), Err(ReadError::TooMany(90))));
        assert!(limits(90_000, 4000, 1000).is_ok());
    }

    /// As a server may send it that was broken into: names and headers that would be taken into memory, and a file with
    /// a hole that would be made up, each of a gigabyte.
    #[test]
    fn a_small_archive_that_says_it_is_huge_is_refused_before_it_is_made_up() {
        for (kind, said) in [(b'L', "one of its headers"), (b'x', "one of its headers"), (b'S', "a file with holes")] {
            let mut header = tar::Header::new_gnu();
            header.set_path("foo-1/desc").expect("short");
            header.set_entry_type(tar::EntryType::new(kind));
            header.set_size(if kind == b'S' { 0 } else { 1 << 30 });
            let gnu = header.as_gnu_mut().expect("of GNU");
            if kind == b'S' {
                gnu.set_real_size(1 << 30);
                gnu.sparse[0].set_offset(1 << 30);
                gnu.sparse[0].set_length(0);
            }
            header.set_cksum();
            let mut zeros = io::repeat(0).take(1 << 40);
            let archive = io::Cursor::new(header.as_bytes().to_vec()).chain(&mut zeros);
            let error = read(archive, ReadLimits::default()).expect_err("refused").to_string();
            assert!(error.contains(said), "{}: {error}", kind as char);
            assert!((1 << 40) - zeros.limit() < 4 << 20, "{}: {error}", kind as char);
        }
    }

    /// Nothing of it is ever written to a path, so that such names are only odd ones.
    #[test]
    fn names_that_would_lead_out_are_names_and_links_are_empty() {
        let mut archive = tar::Builder::new(Vec::new());
        let mut entry = |path: &str, kind: tar::EntryType, text: &str| {
            let mut header = tar::Header::new_gnu();
            header.as_gnu_mut().expect("of GNU").name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_entry_type(kind);
            header.set_size(text.len() as u64);
            if kind.is_symlink() {
                header.set_link_name("/etc/passwd").expect("short");
            }
            header.set_cksum();
            archive.append(&header, text.as_bytes()).expect("in memory");
        };
        entry("../../desc", tar::EntryType::Regular, "%NAME%\nevil\n\n%VERSION%\n1-1\n");
        entry("foo-1/desc", tar::EntryType::Regular, FOO);
        entry("foo-1/files", tar::EntryType::Symlink, "");
        let database = read(&*archive.into_inner().expect("in memory"), ReadLimits::default()).expect("usable");
        assert_eq!(database.versions.keys().collect::<Vec<_>>(), ["foo"]);
        assert!(!database.lists_files);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "(%[A-Z]{0,5}%\n|[a-z.:/-]|\n){0,60}") {
            let _ = read(&*archive(&[("x-1/desc", &text)]), ReadLimits::default());
        }
    }
}
