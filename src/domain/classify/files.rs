//! The files of two folders: what came, went, changed, and what may not be in a package at all.

use std::collections::BTreeSet;

use super::configuration;
use super::text::{Written, first_hidden};
use super::{PKGBUILD, Reason, SRCINFO, Weight, reason};
use crate::domain::folder::{File, FileMode, Folder};

/// Everything that differs in files, apart from what PKGBUILD and `.SRCINFO` say.
pub(super) fn compare(old: &Folder, new: &Folder) -> Vec<Reason> {
    paths(old, new).flat_map(|path| file(path, old, new)).collect()
}

fn paths<'a>(old: &'a Folder, new: &'a Folder) -> impl Iterator<Item = &'a str> {
    old.files.keys().chain(new.files.keys()).map(String::as_str).collect::<BTreeSet<_>>().into_iter()
}

pub(super) fn is_plain_file(file: &File) -> bool {
    matches!(file.mode, FileMode::Regular | FileMode::Executable)
}

/// What happened to one path, apart from the content of PKGBUILD and `.SRCINFO`.
fn file(path: &str, old: &Folder, new: &Folder) -> Vec<Reason> {
    let of_file = |code, weight, message: &str| reason(code, weight, (path, None), None, None, message);
    let (before, after) = (old.files.get(path), new.files.get(path));
    let Some(after) = after else {
        return vec![of_file("file-removed", Weight::Review, "the file is gone")];
    };
    if before == Some(after) {
        return Vec::new();
    }
    let mut reasons: Vec<_> = odd_path(path).into_iter().chain(link(path, after)).collect();
    match before {
        None => reasons.push(of_file("file-added", Weight::Review, "the file is new")),
        Some(before) if before.mode != after.mode => {
            let mode = |file: &File| format!("{:06o}", file.mode.as_octal());
            let (old, new) = (mode(before), mode(after));
            let message = "the kind or the permissions of the file changed";
            let (old, new) = (Some(old.as_bytes()), Some(new.as_bytes()));
            reasons.push(reason("mode-changed", Weight::Review, (path, None), old, new, message));
        }
        Some(_) => {}
    }
    let compared = path == PKGBUILD || path == SRCINFO;
    if before.is_some_and(|before| before.bytes != after.bytes) && !compared {
        let noted = before.is_some_and(|before| configuration::only_noted(path, before, after));
        reasons.push(if noted {
            let message =
                "only comments and the versions of the tools that wrote it changed in a kernel's configuration";
            of_file("configuration-noted", Weight::Cosmetic, message)
        } else if path.ends_with(".install") {
            let message = "a script that pacman runs as root on every machine changed";
            of_file("install-changed", Weight::Review, message)
        } else {
            of_file("file-changed", Weight::Review, "the content of the file changed")
        });
    }
    reasons
}

/// Names that git or a reader would take for something else.
fn odd_path(path: &str) -> Option<Reason> {
    if let Some(hidden) = first_hidden(path.as_bytes()) {
        let message = format!("the name of the file holds {hidden}");
        return Some(reason("control-characters", Weight::Hostile, (path, None), None, None, &message));
    }
    let inside_git = path.split('/').any(|part| part.eq_ignore_ascii_case(".git"));
    let message = "git keeps its own data under this name";
    inside_git.then(|| reason("git-directory", Weight::Hostile, (path, None), None, None, message))
}

fn link(path: &str, file: &File) -> Option<Reason> {
    match file.mode {
        FileMode::Regular | FileMode::Executable => None,
        FileMode::Submodule => {
            let message = "a submodule brings files that nobody here compares";
            Some(reason("submodule", Weight::Hostile, (path, None), None, None, message))
        }
        FileMode::Symlink => {
            let (weight, message) = if leaves_folder(path, &file.bytes) {
                (Weight::Hostile, "a symbolic link leads out of the package")
            } else {
                (Weight::Trust, "a symbolic link stands for another file")
            };
            Some(reason("symlink", weight, (path, None), None, Some(&file.bytes), message))
        }
    }
}

fn leaves_folder(path: &str, target: &[u8]) -> bool {
    let mut depth = path.split('/').count() - 1;
    for part in target.split(|&byte| byte == b'/') {
        match part {
            b".." if depth == 0 => return true,
            b".." => depth -= 1,
            b"" | b"." => {}
            _ => depth += 1,
        }
    }
    target.is_empty() || target.starts_with(b"/")
}

/// Characters in new lines that a person would not see, in the files that are read by line.
pub(super) fn hidden_characters(written: &[Written<'_>]) -> Vec<Reason> {
    let lines = written.iter().flat_map(|file| file.lines.iter().map(|&(number, line)| (file.path, number, line)));
    let hidden = lines.filter_map(|(path, number, line)| Some((path, number, line, first_hidden(line)?)));
    let to_reason = |(path, number, line, hidden): (&str, u32, &[u8], String)| {
        let message = format!("the line holds {hidden}, which does not show or changes what shows");
        reason("control-characters", Weight::Hostile, (path, Some(number)), None, Some(line), &message)
    };
    hidden.take(20).map(to_reason).collect()
}
