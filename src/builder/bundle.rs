//! The files of a package as one tar archive, for builders elsewhere; the same files are always the same bytes.

use std::io::{self, Read};
use std::ops::ControlFlow;

use crate::domain::folder::{File, FileMode, Folder};
use crate::sys::tarball::{self, Bounds, Entry};

/// Files of an archive that are read.
const MOST_ENTRIES: usize = 4_000;
/// Bytes of all of them: 64 MiB.
const MOST_BYTES: u64 = 64 << 20;
/// What is read of an archive to find them: headers too, and folders, which [`bundle`] leaves out.
const BOUNDS: Bounds = Bounds { bytes: 2 * MOST_BYTES, entries: 4 * MOST_ENTRIES };

/// A tar archive with the files of a folder.
///
/// # Errors
/// If a path is longer than an archive can name.
pub fn bundle(folder: &Folder) -> io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, file) in &folder.files {
        let mut header = tar::Header::new_gnu();
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        match file.mode {
            FileMode::Symlink => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_size(0);
                header.set_mode(0o777);
                archive.append_link(&mut header, path, String::from_utf8_lossy(&file.bytes).as_ref())?;
            }
            FileMode::Regular | FileMode::Executable => {
                header.set_size(file.bytes.len() as u64);
                header.set_mode(file.mode.as_octal() & 0o777);
                archive.append_data(&mut header, path, &*file.bytes)?;
            }
            FileMode::Submodule => {}
        }
    }
    archive.into_inner()
}

/// The files of an archive, which may be anybody's: no path in it leads out of the folder, and it is bounded. Links are
/// taken as they are; whoever writes the folder goes through none.
///
/// # Errors
/// If it is no archive of a package's files.
pub fn unbundle(archive: impl Read) -> io::Result<Folder> {
    let (mut folder, mut bytes) = (Folder::default(), 0u64);
    tarball::read(archive, BOUNDS, |entry| {
        if entry.header().entry_type().is_dir() {
            return Ok(ControlFlow::Continue(()));
        }
        let path = entry.path()?.to_str().map(str::to_owned).ok_or_else(|| bad("a name in it is not UTF-8"))?;
        if !is_inside(&path) {
            return Err(bad("a path in it leads out of it"));
        }
        // What an entry says of its size is anything.
        bytes = bytes.saturating_add(entry.size());
        if folder.files.len() >= MOST_ENTRIES || bytes > MOST_BYTES {
            return Err(bad("it holds more than a package does"));
        }
        folder.files.insert(path, file(entry)?);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(folder)
}

fn file(entry: &mut Entry<'_, impl Read>) -> io::Result<File> {
    let kind = entry.header().entry_type();
    if kind.is_symlink() {
        let target = entry.link_name_bytes().ok_or_else(|| bad("a link in it leads nowhere"))?;
        return Ok(File { mode: FileMode::Symlink, bytes: target.as_ref().into() });
    }
    if !kind.is_file() {
        return Err(bad("it holds what is neither a file nor a link"));
    }
    let executable = entry.header().mode()? & 0o100 != 0;
    let mode = if executable { FileMode::Executable } else { FileMode::Regular };
    let mut content = Vec::new();
    entry.read_to_end(&mut content)?;
    Ok(File { mode, bytes: content.into() })
}

fn is_inside(path: &str) -> bool {
    !path.is_empty() && path.split('/').all(|part| !["", ".", ".."].contains(&part)) && !path.contains('\0')
}

fn bad(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::workspace::{WorkspaceError, write_folder};

    #[test]
    fn a_folder_comes_back_as_it_was_and_is_the_same_archive_each_time() {
        let long = format!("deep/{}/file", "x".repeat(140));
        let mut folder = Folder::default().with("PKGBUILD", "pkgname=a").with(".CI/config", "").with(&long, "y");
        let add = |folder: &mut Folder, path: &str, mode, bytes: &[u8]| {
            folder.files.insert(path.to_owned(), File { mode, bytes: bytes.into() });
        };
        add(&mut folder, "run.sh", FileMode::Executable, b"#!/bin/sh\n");
        add(&mut folder, "link", FileMode::Symlink, b"deep/there");
        let archive = bundle(&folder).unwrap();
        assert_eq!(archive, bundle(&folder).unwrap());
        assert_eq!(unbundle(&*archive).unwrap(), folder);
    }

    #[test]
    fn an_archive_that_no_package_makes_is_refused() {
        let entry = |path: &str, kind: tar::EntryType| {
            let mut archive = tar::Builder::new(Vec::new());
            let mut header = tar::Header::new_ustar();
            header.set_entry_type(kind);
            header.set_size(0);
            header.set_mode(0o644);
            header.as_ustar_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_cksum();
            archive.append(&header, io::empty()).unwrap();
            archive.into_inner().unwrap()
        };
        for path in ["../x", "/etc/passwd", "a/../../x", "./x", "a//b"] {
            assert!(unbundle(&*entry(path, tar::EntryType::Regular)).is_err(), "{path}");
        }
        for kind in [tar::EntryType::Char, tar::EntryType::Fifo, tar::EntryType::Link] {
            assert!(unbundle(&*entry("x", kind)).is_err(), "{kind:?}");
        }
        assert!(unbundle(&b"nothing of the kind, though it is long enough to be read as one"[..]).is_err());
    }

    /// A header of this kind that says that its content is so large.
    fn header(kind: tar::EntryType, size: u64) -> Vec<u8> {
        let mut header = tar::Header::new_gnu();
        header.set_path("PKGBUILD").unwrap();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(0o644);
        header.set_cksum();
        header.as_bytes().to_vec()
    }

    /// The first is a long name and the second a file; both claim to be larger than this machine.
    #[test]
    fn a_bomb_is_refused_after_a_part_of_it() {
        for kind in [tar::EntryType::GNULongName, tar::EntryType::Regular] {
            for size in [256 << 20, 1 << 60, u64::MAX - 1] {
                let mut zeros = io::repeat(0).take(1 << 40);
                let error = unbundle(io::Cursor::new(header(kind, size)).chain(&mut zeros)).unwrap_err();
                assert!((1 << 40) - zeros.limit() < 4 << 20, "{kind:?} {size}: {error}");
            }
        }
        let many = |count: usize, kind| header(kind, 0).repeat(count);
        // One name again and again is one file.
        assert_eq!(unbundle(&*many(MOST_ENTRIES, tar::EntryType::Regular)).unwrap().files.len(), 1);
        let error = unbundle(&*many(BOUNDS.entries + 1, tar::EntryType::Directory)).unwrap_err();
        assert!(error.to_string().contains("more files"), "{error}");
    }

    #[test]
    fn nothing_is_written_through_a_link_that_leads_out() {
        let dir = tempfile::tempdir().unwrap();
        let mut archive = tar::Builder::new(Vec::new());
        let mut link = tar::Header::new_gnu();
        link.set_entry_type(tar::EntryType::Symlink);
        link.set_size(0);
        archive.append_link(&mut link, "out", "../..").unwrap();
        let mut file = tar::Header::new_gnu();
        file.set_size(1);
        file.set_mode(0o644);
        archive.append_data(&mut file, "out/x", &b"x"[..]).unwrap();
        let folder = unbundle(&*archive.into_inner().unwrap()).unwrap();
        let to = dir.path().join("a/b");
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        let error = write_folder(&folder, &to, |_| Ok(())).unwrap_err();
        assert!(matches!(&error, WorkspaceError::BadPath(path) if path == "out/x"), "{error}");
        assert!(!dir.path().join("x").exists());
    }
}
