//! `repo-add` and `repo-remove`, run on the database of a generation that nobody reads yet.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::PublishError;
use crate::sys::process::Program;

/// Arguments at a time: far below what the system allows.
const BATCH: usize = 200;
/// Everybody who publishes waits meanwhile.
const TIMEOUT: Duration = Duration::from_mins(10);

/// Adds package files, replacing older versions of the same packages.
pub(super) fn add(folder: &Path, database: &str, files: &[PathBuf]) -> Result<(), PublishError> {
    files
        .chunks(BATCH)
        .try_for_each(|batch| run("repo-add", folder, database, batch.iter().map(|file| file.as_os_str())))
}

/// Removes packages by their names.
pub(super) fn remove<'a>(
    folder: &Path,
    database: &str,
    names: impl Iterator<Item = &'a str>,
) -> Result<(), PublishError> {
    let names: Vec<_> = names.map(std::ffi::OsStr::new).collect();
    names.chunks(BATCH).try_for_each(|batch| run("repo-remove", folder, database, batch.iter().copied()))
}

fn run<'a>(
    program: &'static str,
    folder: &Path,
    database: &str,
    args: impl Iterator<Item = &'a std::ffi::OsStr>,
) -> Result<(), PublishError> {
    let command = Program::new(program).arg("--nocolor").arg(folder.join(database)).args(args).current_dir(folder);
    let output = command.timeout(TIMEOUT).run_blocking()?;
    if output.status.success() {
        return Ok(());
    }
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), output.stderr_text());
    let said = if stderr.is_empty() { stdout.trim().to_owned() } else { stderr };
    Err(PublishError::Tool { program, said })
}
