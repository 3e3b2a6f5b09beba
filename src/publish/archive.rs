//! What is in a package file, read to its end within bounds.

use std::collections::{BTreeSet, HashSet};
use std::io::{self, Read};
use std::ops::ControlFlow;

use crate::domain::publication::file::Content;
use crate::sys::tarball::{self, Bounds, Entry};
use crate::sys::unpack::unpacked;

/// More than any real package unpacks to, and more files than it has.
pub(super) const BOUNDS: Bounds = Bounds { bytes: 64 << 30, entries: 2_000_000 };
/// Folders above a file. Each of them is looked up among the links.
const MAX_DEPTH: usize = 128;
/// Names of one kind that are kept.
const MAX_KEPT: usize = 100;
/// Files at the root that makepkg writes.
const METADATA: [&[u8]; 5] = [b".PKGINFO", b".BUILDINFO", b".MTREE", b".INSTALL", b".CHANGELOG"];
const SETUID_OR_SETGID: u32 = 0o6000;

/// Reads a package file to its end.
///
/// # Errors
/// If it is no archive, or larger than any package.
pub(super) fn content(package: impl Read) -> io::Result<Content> {
    let mut reader = Reader::default();
    tarball::read(unpacked(package)?, BOUNDS, |entry| {
        if entry.path_bytes().split(|&byte| byte == b'/').count() > MAX_DEPTH + 1 {
            return Err(io::Error::other("it has a file in more folders than any real one"));
        }
        reader.entry(entry);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(reader.content)
}

/// The names of everything in a package but its metadata, without a folder's final slash.
///
/// # Errors
/// As [`content`].
pub(super) fn names(package: impl Read) -> io::Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    tarball::read(unpacked(package)?, BOUNDS, |entry| {
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let path = path.strip_prefix("./").unwrap_or(&path).trim_end_matches('/');
        if !path.is_empty() && !path.starts_with('.') {
            names.insert(path.to_owned());
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(names)
}

#[derive(Default)]
struct Reader {
    content: Content,
    /// Links to elsewhere: what is unpacked below one lands there.
    links: HashSet<Vec<u8>>,
    metadata: BTreeSet<Vec<u8>>,
}

impl Reader {
    fn entry<R: Read>(&mut self, entry: &Entry<'_, R>) {
        let written = entry.path_bytes();
        let path = written.strip_prefix(b"./").unwrap_or(&written).to_vec();
        let header = entry.header();
        let kind = header.entry_type();
        let target = entry.link_name_bytes();
        let leaves = leaves(&path) || self.is_below_a_link(&path);
        if leaves || (kind.is_hard_link() && target.as_deref().is_none_or(self::leaves)) {
            keep(&mut self.content.escapes, &path);
        }
        if kind.is_character_special() || kind.is_block_special() || kind.is_fifo() {
            keep(&mut self.content.devices, &path);
        }
        if kind.is_file() && header.mode().is_ok_and(|mode| mode & SETUID_OR_SETGID != 0) {
            keep(&mut self.content.setuid, &path);
        }
        if kind.is_symlink() {
            self.links.insert(path.strip_suffix(b"/").unwrap_or(&path).to_vec());
        }
        self.dotted(path);
    }

    fn dotted(&mut self, path: Vec<u8>) {
        if !path.starts_with(b".") || path.contains(&b'/') || path == b"." {
            return;
        }
        if !METADATA.contains(&path.as_slice()) {
            keep(&mut self.content.dotted, &path);
        } else if !self.metadata.insert(path.clone()) {
            keep(&mut self.content.twice, &path);
        }
    }

    fn is_below_a_link(&self, path: &[u8]) -> bool {
        !self.links.is_empty()
            && path.iter().enumerate().any(|(at, &byte)| byte == b'/' && self.links.contains(&path[..at]))
    }
}

/// Whether a name leads out of the folder that it is unpacked in.
fn leaves(path: &[u8]) -> bool {
    path.starts_with(b"/") || path.contains(&0) || path.split(|&byte| byte == b'/').any(|part| part == b"..")
}

fn keep(names: &mut Vec<String>, path: &[u8]) {
    if names.len() < MAX_KEPT {
        names.push(String::from_utf8_lossy(path).into_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Entry<'a> = (&'a str, tar::EntryType, u32, &'a str);

    fn read(entries: &[Entry<'_>]) -> Content {
        let mut archive = tar::Builder::new(Vec::new());
        for (path, kind, mode, target) in entries {
            let mut header = tar::Header::new_gnu();
            header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
            header.set_entry_type(*kind);
            header.set_mode(*mode);
            header.set_size(0);
            if !target.is_empty() {
                header.set_link_name_literal(target).unwrap();
            }
            header.set_cksum();
            archive.append(&header, io::empty()).unwrap();
        }
        content(&*zstd::encode_all(&*archive.into_inner().unwrap(), 1).unwrap()).unwrap()
    }

    #[test]
    fn what_does_not_belong_into_a_package_is_found() {
        use tar::EntryType::{Block, Directory, Fifo, Link, Regular, Symlink};
        let found = read(&[
            (".PKGINFO", Regular, 0o644, ""),
            ("usr/", Directory, 0o755, ""),
            ("usr/bin/su", Regular, 0o4755, ""),
            ("usr/bin/ok", Regular, 0o755, ""),
            ("usr/lib/x", Symlink, 0o777, "/etc"),
            ("usr/lib/x/shadow", Regular, 0o644, ""),
            ("../up", Regular, 0o644, ""),
            ("/abs", Regular, 0o644, ""),
            ("hard", Link, 0o644, "../../etc/passwd"),
            ("fine", Link, 0o644, "usr/bin/ok"),
            ("dev/sda", Block, 0o644, ""),
            ("dev/pipe", Fifo, 0o644, ""),
            (".PKGINFO", Regular, 0o644, ""),
            (".profile", Regular, 0o644, ""),
        ]);
        assert_eq!(found.setuid, ["usr/bin/su"]);
        assert_eq!(found.escapes, ["usr/lib/x/shadow", "../up", "/abs", "hard"]);
        assert_eq!(found.devices, ["dev/sda", "dev/pipe"]);
        assert_eq!((found.twice, found.dotted), (vec![".PKGINFO".to_owned()], vec![".profile".to_owned()]));
    }

    /// Each folder above a file is looked up: what costs hours would be packed in no time.
    #[test]
    fn a_file_in_too_many_folders_is_an_error() {
        let packed = |depth: usize| {
            let mut archive = tar::Builder::new(Vec::new());
            let mut header = tar::Header::new_gnu();
            header.set_size(0);
            archive.append_data(&mut header, "a/".repeat(depth) + "b", io::empty()).unwrap();
            zstd::encode_all(&*archive.into_inner().unwrap(), 1).unwrap()
        };
        assert!(content(&*packed(128)).is_ok());
        assert!(content(&*packed(129)).unwrap_err().to_string().contains("more folders"));
    }

    #[test]
    fn a_package_that_is_cut_off_is_an_error() {
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(1 << 16);
        archive.append_data(&mut header, "usr/x", io::repeat(7).take(1 << 16)).unwrap();
        let whole = zstd::encode_all(&*archive.into_inner().unwrap(), 1).unwrap();
        assert!(content(&whole[..whole.len() / 2]).is_err());
        assert!(content(&b"no archive"[..]).is_err());
    }
}
