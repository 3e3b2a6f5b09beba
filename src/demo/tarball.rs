//! Source releases: the same files always become the same bytes, so that checksums can be told
//! beforehand.

use std::fmt::Write as _;
use std::io::Write as _;

use flate2::{Compression, GzBuilder};
use sha2::{Digest, Sha256};

use crate::domain::folder::Folder;

/// A `.tar.gz` with everything below the folder `stem`.
pub(super) fn roll(stem: &str, files: &Folder) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, file) in &files.files {
        let mut header = tar::Header::new_ustar();
        header.set_size(file.bytes.len() as u64);
        header.set_mode(file.mode.as_octal() & 0o777);
        archive.append_data(&mut header, format!("{stem}/{path}"), &*file.bytes).expect("writing to memory");
    }
    let tar = archive.into_inner().expect("writing to memory");
    let mut compressed = GzBuilder::new().write(Vec::new(), Compression::default());
    compressed.write_all(&tar).expect("writing to memory");
    compressed.finish().expect("writing to memory")
}

/// SHA-256 in hexadecimal.
pub(super) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
