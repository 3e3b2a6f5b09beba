//! Reads tar archives of strangers within bounds.
//!
//! The reader takes what stands before an entry, such as a long name or extended headers, into memory before anybody
//! sees the entry, however large it says that is. So what it may read from one entry to the next is bounded here.

use std::cell::Cell;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::rc::Rc;

use super::unpack::Bounded;

/// What may stand before one entry: a long name, the target of a link, extended attributes. The kernel allows 64 KiB
/// for one attribute.
const MAX_BEFORE: u64 = 1 << 20;
/// Names and targets of links of all entries together.
const MAX_NAMES: u64 = 256 << 20;

/// The longest name, and the longest target of a link: no system takes more.
const MAX_NAME: usize = 4096;

/// An entry of an archive that is read within bounds.
pub type Entry<'a, R> = tar::Entry<'a, Gauged<R>>;

/// How much of an archive is read.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Bytes of everything.
    pub bytes: u64,
    /// How many entries.
    pub entries: usize,
}

/// What a reader takes its bytes from: it counts those that are read from one entry to the next.
#[derive(Debug)]
pub struct Gauged<R> {
    inner: Bounded<R>,
    /// `None` while the content of an entry is read.
    before: Rc<Cell<Option<u64>>>,
}

impl<R: Read> Read for Gauged<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        if let Some(left) = self.before.get() {
            let left = left.checked_sub(count as u64);
            self.before
                .set(Some(left.ok_or_else(|| io::Error::other("one of its headers is larger than any real one"))?));
        }
        Ok(count)
    }
}

/// Shows every entry of an archive to `visit`, until there is none left or it breaks off. What `visit` leaves unread is
/// read all the same, so that an archive that is cut off is an error.
///
/// # Errors
/// If it is no archive, is larger than the bounds, or has what nobody packs; and what `visit` says.
pub fn read<R: Read>(
    archive: R,
    bounds: Bounds,
    mut visit: impl FnMut(&mut Entry<'_, R>) -> io::Result<ControlFlow<()>>,
) -> io::Result<()> {
    let before = Rc::new(Cell::new(Some(MAX_BEFORE)));
    let gauged = Gauged { inner: Bounded::new(archive, bounds.bytes), before: before.clone() };
    let mut archive = tar::Archive::new(gauged);
    let (mut count, mut names) = (0, 0);
    for entry in archive.entries()? {
        let mut entry = entry?;
        before.set(None);
        count += 1;
        let (name, target) = (entry.path_bytes().len(), entry.link_name_bytes().map_or(0, |target| target.len()));
        if name.max(target) > MAX_NAME {
            return Err(io::Error::other("it has a file with a longer name than any real one"));
        }
        names += (name + target) as u64;
        if count > bounds.entries || names > MAX_NAMES {
            return Err(io::Error::other("it has more files than any real one"));
        }
        // The reader would make up the holes, of any size.
        if entry.header().entry_type().is_gnu_sparse() {
            return Err(io::Error::other("it has a file with holes, as only GNU tar packs it"));
        }
        if visit(&mut entry)?.is_break() {
            return Ok(());
        }
        io::copy(&mut entry, &mut io::sink())?;
        before.set(Some(MAX_BEFORE));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { bytes: 64 << 20, entries: 3 };

    fn names(archive: impl Read) -> io::Result<Vec<usize>> {
        let mut found = Vec::new();
        read(archive, BOUNDS, |entry| {
            found.push(entry.path_bytes().len());
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }

    /// A header of this kind that says it is so large, and so many zero bytes.
    fn header(kind: u8, size: u64) -> Vec<u8> {
        let mut header = tar::Header::new_gnu();
        header.set_path("././@LongLink").unwrap();
        header.set_entry_type(tar::EntryType::new(kind));
        header.set_size(size);
        header.set_mode(0o644);
        header.set_cksum();
        header.as_bytes().to_vec()
    }

    fn packed(path: &str, content: &[u8]) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, path, content).unwrap();
        archive.into_inner().unwrap()
    }

    /// The bytes that were asked for are what was allocated.
    #[test]
    fn a_header_that_claims_to_be_huge_is_not_taken_into_memory() {
        for kind in [b'L', b'K', b'x'] {
            let asked = Rc::new(Cell::new(0u64));
            let counted =
                Counted { inner: io::Cursor::new(header(kind, 32 << 20)).chain(io::repeat(0)), asked: asked.clone() };
            let error = names(counted).unwrap_err();
            assert!(error.to_string().contains("one of its headers"), "{}: {error}", kind as char);
            assert!(asked.get() < 4 << 20, "{}: {} bytes", kind as char, asked.get());
        }
    }

    struct Counted<R> {
        inner: R,
        asked: Rc<Cell<u64>>,
    }

    impl<R: Read> Read for Counted<R> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.inner.read(buffer)?;
            self.asked.set(self.asked.get() + count as u64);
            Ok(count)
        }
    }

    #[test]
    fn what_is_really_packed_is_read() {
        let long = "long/".repeat(800) + "name";
        assert_eq!(names(&*packed(&long, &vec![7; 3 << 20])).unwrap(), [long.len()]);
        assert_eq!(names(&*packed("short", b"")).unwrap(), [5]);
    }

    #[test]
    fn more_than_the_bounds_and_what_is_cut_off_are_errors() {
        let mut archive = tar::Builder::new(Vec::new());
        for name in ["a", "b", "c", "d"] {
            let mut header = tar::Header::new_gnu();
            header.set_size(0);
            archive.append_data(&mut header, name, io::empty()).unwrap();
        }
        assert!(names(&*archive.into_inner().unwrap()).unwrap_err().to_string().contains("more files"));
        assert!(names(io::Cursor::new(header(b'0', 1 << 40)).chain(io::repeat(0))).is_err());
        let whole = packed("a", &[7; 4096]);
        assert!(names(&whole[..2048]).is_err());
        assert!(names(&*header(b'S', 1 << 40)).is_err(), "a file with holes");
        let long = names(&*packed(&"long/".repeat(900), b"")).unwrap_err();
        assert!(long.to_string().contains("longer name"), "{long}");
    }
}
