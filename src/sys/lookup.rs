//! Whether a program can be started, before somebody does.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// How much of a script is read for its first line.
const FIRST_LINE: u64 = 256;

/// Looks for a program as a shell does: by its path, or in `PATH`.
///
/// # Errors
/// Why it cannot be started, in a sentence.
pub fn startable(program: &str) -> Result<(), String> {
    startable_in(program, &super::env::var("PATH").unwrap_or_default())
}

fn startable_in(program: &str, path: &str) -> Result<(), String> {
    if program.contains('/') {
        return file(Path::new(program));
    }
    let places = path.split(':').map(|dir| Path::new(dir).join(program));
    match places.into_iter().find(|place| place.is_file()) {
        Some(place) => file(&place),
        None => Err(format!("there is no program `{program}` in PATH")),
    }
}

fn file(path: &Path) -> Result<(), String> {
    let shown = path.display();
    if path.is_relative() {
        return Err(format!("`{shown}` is neither a whole path nor a name in PATH"));
    }
    let metadata = path.metadata().map_err(|error| format!("`{shown}` cannot be started: {error}"))?;
    if !metadata.is_file() || metadata.permissions().mode() & 0o111 == 0 {
        return Err(format!("`{shown}` is not an executable file"));
    }
    match interpreter(path) {
        Some(interpreter) if !interpreter.exists() => Err(format!(
            "`{shown}` cannot be started: its first line names {}, which is not there",
            interpreter.display()
        )),
        _ => Ok(()),
    }
}

/// Who runs a script, by its first line.
fn interpreter(path: &Path) -> Option<PathBuf> {
    let mut begin = Vec::new();
    File::open(path).ok()?.take(FIRST_LINE).read_to_end(&mut begin).ok()?;
    let line = begin.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let word = std::str::from_utf8(line).ok()?.split_whitespace().next()?;
    Some(PathBuf::from(word))
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions, write};

    use super::*;

    #[test]
    fn what_cannot_be_started_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let script = |name: &str, text: &str, mode: u32| {
            let path = dir.path().join(name);
            write(&path, text).unwrap();
            set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            path.display().to_string()
        };
        let (fine, path) = (script("fine", "#!/bin/sh -e\n", 0o755), dir.path().display().to_string());
        assert_eq!(startable_in(&fine, ""), Ok(()));
        assert_eq!(startable_in("fine", &format!("/nowhere:{path}")), Ok(()));
        let why = |program: &str| startable_in(program, &path).unwrap_err();
        assert_eq!(why("gone"), "there is no program `gone` in PATH");
        assert!(why("/nowhere/gone").contains("No such file"), "{}", why("/nowhere/gone"));
        assert!(why("./fine").contains("neither a whole path"), "{}", why("./fine"));
        assert!(why(&script("plain", "#!/bin/sh\n", 0o644)).ends_with("is not an executable file"));
        assert!(why(&script("odd", "#!/bin/nobody\r\n", 0o755)).contains("names /bin/nobody,"));
    }
}
