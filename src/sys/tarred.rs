//! A tar on its way to a reader, let through only as far as its headers make nobody keep much.
//!
//! Readers of tars keep long names, and what PAX says of a member, whole in memory before they show the member: a header
//! that says so much is coming takes what it wants. Only what GNU's format needs is let through, so that the sizes in the
//! headers are all there is to know of what follows.

use std::io::{self, Read};

use tar::{EntryType, Header};

/// Bytes of a header, and what content is filled up to.
const BLOCK: usize = 512;

/// The longest name or target of a link that is let through: 8 KiB.
const LONGEST_NAME: u64 = 8 << 10;

/// A tar in GNU's format, with names of bounded length and without PAX headers and files with holes.
#[derive(Debug)]
pub struct Plain<R> {
    inner: R,
    /// The header that is being let through, and how much of it is left.
    header: [u8; BLOCK],
    of_header: usize,
    /// How much content is let through before the next header.
    content: u64,
}

impl<R: Read> Plain<R> {
    /// Lets a tar through.
    pub const fn new(inner: R) -> Self {
        Self { inner, header: [0; BLOCK], of_header: 0, content: 0 }
    }

    /// Reads the next header; `false` at the end.
    fn advance(&mut self) -> io::Result<bool> {
        let mut filled = 0;
        while filled < BLOCK {
            match self.inner.read(&mut self.header[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if filled == 0 {
            return Ok(false);
        }
        if filled < BLOCK {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ends in the middle of a header"));
        }
        self.content = if self.header.iter().all(|byte| *byte == 0) { 0 } else { self.size()? };
        self.of_header = BLOCK;
        Ok(true)
    }

    /// How much content comes after a header, filled up.
    fn size(&self) -> io::Result<u64> {
        let header = Header::from_byte_slice(&self.header);
        let size = header.entry_size()?;
        let refused = |text: &str| Err(io::Error::new(io::ErrorKind::InvalidData, text.to_owned()));
        match header.entry_type() {
            EntryType::GNULongName | EntryType::GNULongLink if size > LONGEST_NAME => {
                return refused("a name in it is too long");
            }
            EntryType::XHeader | EntryType::XGlobalHeader => return refused("it has PAX headers"),
            EntryType::GNUSparse => return refused("it has a file with holes, which are not kept"),
            _ => {}
        }
        match size.checked_next_multiple_of(BLOCK as u64) {
            Some(size) => Ok(size),
            None => refused("a file in it has more bytes than there can be"),
        }
    }
}

impl<R: Read> Read for Plain<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || (self.of_header == 0 && self.content == 0 && !self.advance()?) {
            return Ok(0);
        }
        if self.of_header > 0 {
            let count = self.of_header.min(buffer.len());
            let begin = BLOCK - self.of_header;
            buffer[..count].copy_from_slice(&self.header[begin..begin + count]);
            self.of_header -= count;
            return Ok(count);
        }
        let most = usize::try_from(self.content).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.inner.read(&mut buffer[..most])?;
        self.content -= read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same bytes, a few at a time.
    struct Crumbs<'a>(&'a [u8], usize);

    impl Read for Crumbs<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(buffer.len()).min(self.0.len());
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    fn header(kind: EntryType, size: u64) -> Vec<u8> {
        let mut header = Header::new_gnu();
        header.set_path("home/build/x").unwrap();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(0o644);
        header.set_cksum();
        header.as_bytes().to_vec()
    }

    #[test]
    fn a_header_that_announces_much_ends_the_reading_before_it_comes() {
        for kind in [EntryType::GNULongName, EntryType::GNULongLink] {
            let tar = header(kind, 64 << 30);
            // Nobody gets as far as asking for what was announced.
            let endless = tar.chain(io::repeat(0));
            let mut archive = tar::Archive::new(Plain::new(endless));
            let error = archive.entries().unwrap().next().unwrap().err().unwrap();
            assert!(error.to_string().contains("too long"), "{error}");
        }
        for kind in [EntryType::XHeader, EntryType::XGlobalHeader, EntryType::GNUSparse] {
            let tar = header(kind, 512).into_iter().chain([b'x'; 512]).collect::<Vec<_>>();
            assert!(Plain::new(&*tar).read_to_end(&mut Vec::new()).is_err(), "{kind:?}");
        }
    }

    #[test]
    fn half_a_header_is_an_error() {
        assert!(Plain::new(&header(EntryType::Regular, 0)[..100]).read_to_end(&mut Vec::new()).is_err());
        assert_eq!(Plain::new(&b""[..]).read_to_end(&mut Vec::new()).unwrap(), 0);
    }

    proptest! {
        /// Whatever is in it, and however it arrives, an honest tar comes out as it went in.
        #[test]
        fn an_honest_tar_comes_out_as_it_went_in(
            files in proptest::collection::vec(("[a-z]{1,150}", 0..2_000usize), 0..5), crumb in 1..3_000usize
        ) {
            let mut tar = tar::Builder::new(Vec::new());
            for (name, size) in &files {
                let mut header = Header::new_gnu();
                header.set_size(*size as u64);
                tar.append_data(&mut header, name, &*vec![b'x'; *size]).unwrap();
            }
            let tar = tar.into_inner().unwrap();
            let mut read = Vec::new();
            Plain::new(Crumbs(&tar, crumb)).read_to_end(&mut read).unwrap();
            prop_assert_eq!(read, tar);
        }
    }
}
