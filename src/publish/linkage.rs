//! Reads which shared libraries a built package needs and has: what its `.PKGINFO` says, and what its ELF files do.
//!
//! Nothing is run, and a file that only looks like ELF counts as one that needs nothing.

use std::collections::BTreeSet;
use std::io::{self, Read, Seek as _, Write as _};
use std::ops::ControlFlow;
use std::path::Path;

use object::elf::{self, FileHeader32, FileHeader64};
use object::read::elf::{Dyn as _, FileHeader, ProgramHeader as _};
use object::{Endianness, ReadCache, ReadRef};

use super::archive::BOUNDS;
use crate::domain::library::soname::{Bits, Soname};
use crate::sys::tarball;
use crate::sys::unpack::{Bounded, unpacked};

/// A larger file is read from the disk and not from memory.
const IN_MEMORY: u64 = 8 << 20;
/// More than any real `.PKGINFO`.
const MAX_INFO: u64 = 4 << 20;
/// Entries of one dynamic section that are looked at.
const MAX_DYNAMIC: usize = 100_000;
/// Bytes of the strings that a dynamic section refers to.
const MAX_STRINGS: u64 = 256 << 20;
/// Bytes of one of them: many names may lead to the same long one.
const MAX_STRING: usize = 4096;

/// What one package file needs and has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileLinkage {
    /// Shared libraries that its files ask for and that are not among them.
    pub needs: BTreeSet<Soname>,
    /// Shared libraries that the linker finds in it by itself.
    pub provides: BTreeSet<Soname>,
}

/// What has been read so far.
#[derive(Default)]
struct Reader {
    found: FileLinkage,
    /// Names of libraries in folders of their own: who asks for them finds them by a path.
    own: BTreeSet<String>,
}

/// Reads a package file to its end.
///
/// # Errors
/// If it is no package, or larger than any package.
pub fn read(package: &Path) -> io::Result<FileLinkage> {
    let mut reader = Reader::default();
    tarball::read(unpacked(std::fs::File::open(package)?)?, BOUNDS, |entry| {
        let path = String::from_utf8_lossy(&entry.path_bytes()).trim_start_matches("./").to_owned();
        let kind = entry.header().entry_type();
        if path == ".PKGINFO" && kind.is_file() {
            let mut text = Vec::new();
            Bounded::new(entry, MAX_INFO).read_to_end(&mut text)?;
            reader.info(&String::from_utf8_lossy(&text));
        } else if kind.is_file() {
            reader.file(&path, entry)?;
        } else if kind.is_symlink() || kind.is_hard_link() {
            reader.name(&path);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(reader.finish())
}

impl Reader {
    fn info(&mut self, text: &str) {
        for (key, value) in text.lines().filter_map(|line| line.split_once(" = ")) {
            match (key, Soname::of_dependency(value)) {
                ("depend", Some(soname)) => drop(self.found.needs.insert(soname)),
                ("provides", Some(soname)) => drop(self.found.provides.insert(soname)),
                _ => {}
            }
        }
    }

    /// A link to a library is found by the linker as the library is.
    fn name(&mut self, path: &str) {
        match Soname::of_file(path) {
            Some(soname) => drop(self.found.provides.insert(soname)),
            None => drop(self.own.insert(path.rsplit('/').next().unwrap_or(path).to_owned())),
        }
    }

    fn file(&mut self, path: &str, mut content: impl Read) -> io::Result<()> {
        let mut magic = Vec::new();
        content.by_ref().take(elf::ELFMAG.len() as u64).read_to_end(&mut magic)?;
        if magic != elf::ELFMAG {
            return Ok(());
        }
        let mut bytes = magic;
        content.by_ref().take(IN_MEMORY).read_to_end(&mut bytes)?;
        let dynamic = if (bytes.len() as u64) < IN_MEMORY {
            Dynamic::of(&*bytes)
        } else {
            let mut file = tempfile::tempfile()?;
            file.write_all(&bytes)?;
            drop(bytes);
            io::copy(&mut content, &mut file)?;
            file.rewind()?;
            Dynamic::of(&ReadCache::new(file))
        };
        let Some(Dynamic { bits, soname, needed }) = dynamic else { return Ok(()) };
        self.name(path);
        let library = soname.and_then(|name| Soname::new(&name, bits));
        match library {
            Some(library) if Soname::of_file(path).is_some() => drop(self.found.provides.insert(library)),
            Some(library) => drop(self.own.insert(library.name().to_owned())),
            None => {}
        }
        self.found.needs.extend(needed.iter().filter_map(|name| Soname::new(name, bits)));
        Ok(())
    }

    fn finish(mut self) -> FileLinkage {
        let provides = &self.found.provides;
        self.found.needs.retain(|soname| !provides.contains(soname) && !self.own.contains(soname.name()));
        self.found
    }
}

/// What the dynamic section of an ELF file says.
struct Dynamic {
    bits: Bits,
    soname: Option<String>,
    needed: Vec<String>,
}

impl Dynamic {
    /// `None` if it is not ELF, damaged, or linked statically.
    fn of<'data>(data: impl ReadRef<'data>) -> Option<Self> {
        match data.read_bytes_at(0, 5).ok()?.get(4)? {
            1 => Self::read(FileHeader32::<Endianness>::parse(data).ok()?, data, Bits::B32),
            2 => Self::read(FileHeader64::<Endianness>::parse(data).ok()?, data, Bits::B64),
            _ => None,
        }
    }

    fn read<'data, H: FileHeader<Endian = Endianness>, R: ReadRef<'data>>(
        header: &H,
        data: R,
        bits: Bits,
    ) -> Option<Self> {
        let endian = header.endian().ok()?;
        let segments = header.program_headers(endian, data).ok()?;
        let entries = segments.iter().find_map(|segment| segment.dynamic(endian, data).ok()?)?;
        let entries = || entries.iter().take(MAX_DYNAMIC).take_while(|entry| entry.d_tag(endian) != elf::DT_NULL);
        let values = |tag: elf::DynamicTag| {
            let found = entries().filter(move |entry| entry.d_tag(endian) == tag);
            found.map(|entry| -> u64 { entry.d_val(endian).into() }).collect::<Vec<_>>()
        };
        let (&address, &size) = (values(elf::DT_STRTAB).first()?, values(elf::DT_STRSZ).first()?);
        // What is loaded where; the strings are found by where they are loaded.
        let place = |segment: &H::ProgramHeader| {
            let from: u64 = segment.p_vaddr(endian).into();
            let offset: u64 = segment.p_offset(endian).into();
            let within = address.checked_sub(from).filter(|&within| within < segment.p_filesz(endian).into())?;
            (segment.p_type(endian) == elf::PT_LOAD).then(|| offset.checked_add(within))?
        };
        let place = segments.iter().find_map(place)?;
        let strings = data.read_bytes_at(place, Some(size).filter(|&size| size <= MAX_STRINGS)?).ok()?;
        let string = |offset: &u64| {
            let rest = strings.get(usize::try_from(*offset).ok()?..)?;
            let end = rest.iter().take(MAX_STRING).position(|&byte| byte == 0)?;
            Some(String::from_utf8_lossy(&rest[..end]).into_owned())
        };
        Some(Self {
            bits,
            soname: values(elf::DT_SONAME).first().and_then(string),
            needed: values(elf::DT_NEEDED).iter().filter_map(string).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::process::Program;

    /// A package of these files, which gcc makes of a line of C each: path, soname, libraries to link with.
    fn package(dir: &Path, files: &[(&str, &str, &[&str])], info: &str) -> std::path::PathBuf {
        let mut archive = tar::Builder::new(Vec::new());
        let mut add = |path: &str, bytes: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o755);
            archive.append_data(&mut header, path, bytes).unwrap();
        };
        add(".PKGINFO", info.as_bytes());
        let source = dir.join("x.c");
        std::fs::write(&source, "int x(void) { return 1; }\nint main(void) { return 0; }\n").unwrap();
        for (path, soname, links) in files {
            let name = if soname.is_empty() { path.rsplit('/').next().unwrap() } else { soname };
            let out = dir.join(name);
            let mut gcc = Program::new("gcc").arg("-o").arg(&out).arg(&source).arg("-Wl,--no-as-needed");
            if path.contains(".so") {
                gcc = gcc.args(["-shared", "-fPIC"]).arg(format!("-Wl,-soname,{soname}"));
            }
            let ended = gcc.args(links.iter().map(|name| dir.join(name))).run_blocking().unwrap();
            assert!(ended.status.success(), "gcc: {}", ended.stderr_text());
            add(path, &std::fs::read(&out).unwrap());
        }
        let path = dir.join("x-1-1-x86_64.pkg.tar.zst");
        std::fs::write(&path, zstd::encode_all(&*archive.into_inner().unwrap(), 1).unwrap()).unwrap();
        path
    }

    fn told(linkage: &FileLinkage) -> (String, String) {
        let list = |names: &BTreeSet<Soname>| names.iter().map(Soname::to_text).collect::<Vec<_>>().join(" ");
        (list(&linkage.needs), list(&linkage.provides))
    }

    #[test]
    fn real_libraries_and_programs_say_what_they_need_and_have() {
        let dir = tempfile::tempdir().unwrap();
        package(dir.path(), &[("usr/lib/libother.so.3", "libother.so.3", &[])], "");
        let files: [(&str, &str, &[&str]); 4] = [
            ("usr/lib/libfoo.so.1.0", "libfoo.so.1", &["libother.so.3"]),
            ("usr/lib/x/libown.so", "libown.so", &[]),
            ("usr/bin/tool", "", &["libfoo.so.1", "libown.so"]),
            ("usr/share/plain.so", "libplain.so", &[]),
        ];
        let info = "pkgname = x\ndepend = glibc>=2\ndepend = libdeclared.so=2-64\nprovides = lib:libfoo.so.1\n";
        let linkage = read(&package(dir.path(), &files, info)).unwrap();
        let (needs, provides) = told(&linkage);
        assert_eq!(needs, "lib:libc.so.6 lib:libdeclared.so.2 lib:libother.so.3");
        assert_eq!(provides, "lib:libfoo.so.1 lib:libfoo.so.1.0");
    }

    #[test]
    fn a_file_that_only_looks_like_elf_needs_nothing_and_half_a_package_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let whole = package(dir.path(), &[("usr/bin/tool", "", &[])], "depend = liba.so=1-64\n");
        let tool = std::fs::read(dir.path().join("tool")).unwrap();
        for length in [4, 5, 17, 64, 200, 1000, tool.len() / 2] {
            let mut reader = Reader::default();
            reader.file("usr/bin/tool", &tool[..length]).unwrap();
            reader.file("usr/bin/tool", [&tool[..length.min(60)], &[0xff; 400][..]].concat().as_slice()).unwrap();
        }
        let bytes = std::fs::read(&whole).unwrap();
        std::fs::write(&whole, &bytes[..bytes.len() / 2]).unwrap();
        assert!(read(&whole).is_err());
    }

    #[test]
    fn a_large_file_is_read_from_the_disk_with_the_same_result() {
        let dir = tempfile::tempdir().unwrap();
        package(dir.path(), &[("usr/bin/tool", "", &[])], "");
        let mut tool = std::fs::read(dir.path().join("tool")).unwrap();
        let read = |bytes: &[u8]| {
            let mut reader = Reader::default();
            reader.file("usr/bin/tool", bytes).unwrap();
            told(&reader.finish())
        };
        let small = read(&tool);
        assert_eq!(small.0, "lib:libc.so.6");
        tool.resize(usize::try_from(IN_MEMORY).unwrap() * 2, 0);
        assert_eq!(read(&tool), small);
    }
}
