//! Reads what is packed with gzip, xz or zstd, by what it begins with.

use std::io::{self, BufReader, Read};

use liblzma::read::XzDecoder;
use liblzma::stream::{CONCATENATED, Stream};

/// How much memory an xz stream may ask for; `xz -9` asks for 65 MiB.
const XZ_MEMORY: u64 = 256 << 20;

/// The content of `packed`; as it is if it is not packed.
///
/// # Errors
/// If the beginning cannot be read.
pub fn unpacked<'a>(mut packed: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut magic = Vec::new();
    packed.by_ref().take(6).read_to_end(&mut magic)?;
    let whole = io::Cursor::new(magic.clone()).chain(packed);
    Ok(match magic.as_slice() {
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::Decoder::new(whole)?),
        [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(BufReader::new(whole))),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => {
            let stream = Stream::new_stream_decoder(XZ_MEMORY, CONCATENATED).map_err(io::Error::from)?;
            Box::new(XzDecoder::new_stream(BufReader::new(whole), stream))
        }
        _ => Box::new(BufReader::new(whole)),
    })
}

/// Ends the reading with an error once more than so many bytes have come.
#[derive(Debug)]
pub struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Bounded<R> {
    /// Lets `limit` bytes through.
    pub const fn new(inner: R, limit: u64) -> Self {
        Self { inner, left: limit }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let too_long = || io::Error::other("it is longer than we are willing to read");
        self.left = self.left.checked_sub(count as u64).ok_or_else(too_long)?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn packings(text: &[u8]) -> Vec<Vec<u8>> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(text).unwrap();
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
        xz.write_all(text).unwrap();
        vec![text.to_vec(), gzip.finish().unwrap(), xz.finish().unwrap(), zstd::encode_all(text, 1).unwrap()]
    }

    #[test]
    fn every_packing_is_found_out_and_half_a_packing_is_an_error() {
        let text = b"some text, which is long enough to be packed".repeat(9);
        for (number, packed) in packings(&text).into_iter().enumerate() {
            let mut read = Vec::new();
            unpacked(&*packed).unwrap().read_to_end(&mut read).unwrap();
            assert_eq!(read, text, "{number}");
            if number > 0 {
                let half = unpacked(&packed[..packed.len() / 2]).unwrap().read_to_end(&mut Vec::new());
                assert!(half.is_err(), "{number}");
            }
        }
        assert_eq!(io::read_to_string(unpacked(&b"x"[..]).unwrap()).unwrap(), "x");
    }

    #[test]
    fn what_is_too_long_is_an_error_and_not_cut_off() {
        assert_eq!(io::read_to_string(Bounded::new(&b"1234"[..], 4)).unwrap(), "1234");
        assert!(Bounded::new(&b"12345"[..], 4).read_to_end(&mut Vec::new()).is_err());
    }
}
