//! The files of a package as one tar archive, for builders elsewhere; the same files are always the same bytes.

use std::io::{self, Read};

use crate::domain::folder::{File, FileMode, Folder};

/// Files of an archive that are read.
const MOST_ENTRIES: usize = 4_000;
/// Bytes of all of them: 64 MiB.
const MOST_BYTES: u64 = 64 << 20;

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

/// The files of an archive, which may be anybody's: nothing in it leads out of the folder, and it is bounded.
///
/// # Errors
/// If it is no archive of a package's files.
pub fn unbundle(archive: impl Read) -> io::Result<Folder> {
    let mut archive = tar::Archive::new(archive.take(2 * MOST_BYTES));
    let (mut folder, mut bytes) = (Folder::default(), 0);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let kind = entry.header().entry_type();
        if kind.is_dir() {
            continue;
        }
        let path = entry.path()?.to_str().map(str::to_owned).ok_or_else(|| bad("a name in it is not UTF-8"))?;
        if !is_inside(&path) {
            return Err(bad("a path in it leads out of it"));
        }
        bytes += entry.size();
        if folder.files.len() >= MOST_ENTRIES || bytes > MOST_BYTES {
            return Err(bad("it holds more than a package does"));
        }
        let file = if kind.is_symlink() {
            let target = entry.link_name_bytes().ok_or_else(|| bad("a link in it leads nowhere"))?;
            File { mode: FileMode::Symlink, bytes: target.as_ref().into() }
        } else if kind.is_file() {
            let executable = entry.header().mode()? & 0o100 != 0;
            let mode = if executable { FileMode::Executable } else { FileMode::Regular };
            let mut content = Vec::new();
            entry.read_to_end(&mut content)?;
            File { mode, bytes: content.into() }
        } else {
            return Err(bad("it holds what is neither a file nor a link"));
        };
        folder.files.insert(path, file);
    }
    Ok(folder)
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
}
