//! Archives: tar in zstd, with members that were checked one by one, and without owners.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek as _, Write};
use std::ops::ControlFlow;

use sha2::{Digest, Sha256};
use tar::{EntryType, Header};

use super::CacheError;
use crate::domain::cache::archive::{Kind, Members, Unsafe};
use crate::domain::cache::key::hex;
use crate::sys::tarball::{self, Bounds};

/// How hard is compressed: fast, since most of what is kept is compressed already.
const LEVEL: i32 = 3;
/// The most memory that unpacking may ask for, as a power of two: 128 MiB.
const WINDOW: u32 = 27;
/// How much larger than its files a tar may be, for each of its members.
const PER_MEMBER: u64 = 16 << 10;
/// How much larger it may be beside that.
const BESIDE: u64 = 64 << 10;

/// What an archive holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Content {
    /// Files, directories and links.
    pub members: u64,
    /// Bytes of all files.
    pub bytes: u64,
}

/// An archive that was written.
#[derive(Debug)]
pub struct Packed {
    pub sha256: String,
    pub size: u64,
    pub content: Content,
}

/// Something that may not be kept.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Rejected(String);

impl Rejected {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl From<Unsafe> for Rejected {
    fn from(error: Unsafe) -> Self {
        Self(error.to_string())
    }
}

/// Packs anew what a tar holds that somebody else made.
pub fn pack(tar: impl Read, to: &File, max: u64) -> Result<Packed, CacheError> {
    let failed = |error: io::Error| Rejected::new(format!("{error}"));
    let hashed = Hashed { inner: BufWriter::new(to), hash: Sha256::new(), size: 0 };
    let mut packer = zstd::Encoder::new(hashed, LEVEL).map_err(failed)?;
    packer.include_checksum(true).map_err(failed)?;
    let mut writer = tar::Builder::new(packer);
    let mut members = Members::new(max);
    let limit = max.saturating_mul(2).saturating_add(BESIDE);
    let packed = tarball::read(BufReader::new(tar), bounds(limit), |entry| {
        let (path, target) = admit(&mut members, entry).map_err(io::Error::other)?;
        let header = header_of(entry);
        copy(&mut writer, header, &path, target.as_deref(), entry)?;
        Ok(ControlFlow::Continue(()))
    });
    packed.map_err(failed)?;
    let content = Content { members: members.count() as u64, bytes: members.bytes() };
    let packer = writer.into_inner().map_err(failed)?;
    let hashed = packer.finish().map_err(failed)?;
    hashed.inner.into_inner().map_err(|error| failed(error.into_error()))?;
    Ok(Packed { sha256: hex(&hashed.hash.finalize()), size: hashed.size, content })
}

/// Whether an object is what was saved: its hash, and every member of it. Leaves it at its beginning.
pub fn verify(mut object: &File, sha256: &str, content: &Content) -> io::Result<()> {
    let wrong = |text: &str| io::Error::new(io::ErrorKind::InvalidData, text.to_owned());
    let mut hashed = Hashed { inner: io::sink(), hash: Sha256::new(), size: 0 };
    io::copy(&mut object, &mut hashed)?;
    if hex(&hashed.hash.finalize()) != sha256 {
        return Err(wrong("its SHA-256 is another one"));
    }
    object.rewind()?;
    let mut unpacker = zstd::Decoder::new(object)?;
    unpacker.window_log_max(WINDOW)?;
    let limit = content.bytes.saturating_add(content.members.saturating_mul(PER_MEMBER)).saturating_add(BESIDE);
    let mut members = Members::new(content.bytes);
    tarball::read(unpacker, bounds(limit), |entry| {
        admit(&mut members, entry).map_err(|error| wrong(&error.to_string()))?;
        Ok(ControlFlow::Continue(()))
    })?;
    if (members.count() as u64, members.bytes()) != (content.members, content.bytes) {
        return Err(wrong("it does not hold what was saved"));
    }
    object.rewind()
}

/// How many members there are is counted where they are admitted.
const fn bounds(bytes: u64) -> Bounds {
    Bounds { bytes, entries: usize::MAX }
}

/// Takes the next member in, and says its path and where it leads, if it is a link.
fn admit(members: &mut Members, entry: &tar::Entry<'_, impl Read>) -> Result<(String, Option<String>), Rejected> {
    let text = |bytes: &[u8]| {
        let unreadable = || format!("`{}` is no UTF-8", bytes.escape_ascii());
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| Rejected(unreadable()))
    };
    let path = text(&entry.path_bytes())?;
    let target = entry.link_name_bytes().map(|target| text(&target)).transpose()?;
    let led = target.as_deref().unwrap_or_default();
    let kind = match entry.header().entry_type() {
        EntryType::Regular => Kind::File(entry.size()),
        EntryType::Directory => Kind::Directory,
        EntryType::Symlink => Kind::Symlink(led),
        EntryType::Link if entry.size() == 0 => Kind::Hardlink(led),
        EntryType::Link => Kind::Other("is another name with content of its own"),
        EntryType::Char | EntryType::Block => Kind::Other("is a device"),
        EntryType::Fifo => Kind::Other("is a FIFO"),
        _ => Kind::Other("is neither file, directory nor link"),
    };
    let is_link = matches!(kind, Kind::Symlink(_) | Kind::Hardlink(_));
    let path = members.admit(&path, kind)?;
    Ok((path, target.filter(|_| is_link)))
}

/// What is kept of a member's header: kind, size, time, and who may read and run it. Nobody owns it, so it belongs to
/// whoever unpacks it.
fn header_of(entry: &tar::Entry<'_, impl Read>) -> Header {
    let theirs = entry.header();
    let mut header = Header::new_gnu();
    header.set_entry_type(theirs.entry_type());
    header.set_size(if theirs.entry_type() == EntryType::Regular { entry.size() } else { 0 });
    // Whoever unpacks it has to be able to remove it again.
    let least = if theirs.entry_type() == EntryType::Directory { 0o700 } else { 0o600 };
    header.set_mode((theirs.mode().unwrap_or(least) & 0o777) | least);
    header.set_mtime(theirs.mtime().unwrap_or_default());
    header.set_uid(0);
    header.set_gid(0);
    header
}

fn copy(
    to: &mut tar::Builder<impl Write>,
    mut header: Header,
    path: &str,
    target: Option<&str>,
    content: &mut impl Read,
) -> io::Result<()> {
    if let Some(target) = target {
        return to.append_link(&mut header, path, target);
    }
    let mut counted = content.take(header.size()?);
    to.append_data(&mut header, path, &mut counted)?;
    match counted.limit() {
        0 => Ok(()),
        _ => Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("it ends in the middle of `{path}`"))),
    }
}

/// Hashes and counts what goes through.
struct Hashed<W> {
    inner: W,
    hash: Sha256,
    size: u64,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
