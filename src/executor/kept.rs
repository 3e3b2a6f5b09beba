//! What is kept of an attempt until it is discarded: a directory, and in it how the attempt ended.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{AttemptReport, Ending, ExecutorError, Handle};
use crate::builder::workspace::remove_all;
use crate::domain::build::BuildState;
use crate::logstore::LogWriter;
use crate::sys::fs::{FsError, write_atomic};

/// Why we stop a build, written down for the controller that sees its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// Somebody cancelled the build.
    Cancelled,
    /// It took too long.
    TimedOut,
    /// It printed too much.
    LogLimit,
}

/// The report of the attempt that has this directory, if it is over.
#[must_use]
pub fn report(dir: &Path) -> Option<AttemptReport> {
    let bytes = std::fs::read(report_path(dir)).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Where the report is.
#[must_use]
pub fn report_path(dir: &Path) -> PathBuf {
    dir.join("report.json")
}

/// Keeps the report for a controller that restarts now, and writes the end into the log.
///
/// # Errors
/// If either cannot be written.
pub fn close(report: &AttemptReport, dir: &Path, mut log: LogWriter) -> Result<(), ExecutorError> {
    keep(report, dir)?;
    log.note(&verdict(report))?;
    log.finish()?;
    Ok(())
}

/// As [`close`], for a log that says how it ended already.
///
/// # Errors
/// If either cannot be written.
pub fn close_silently(report: &AttemptReport, dir: &Path, log: LogWriter) -> Result<(), ExecutorError> {
    keep(report, dir)?;
    log.finish()?;
    Ok(())
}

fn keep(report: &AttemptReport, dir: &Path) -> Result<(), FsError> {
    let json = serde_json::to_vec(report).expect("a report has only text and numbers");
    write_atomic(&report_path(dir), &json)
}

/// How it ended, as the last line of the log says it.
#[must_use]
pub fn verdict(report: &AttemptReport) -> String {
    let word = match report.ending {
        Ending::Done(outcome) => BuildState::from(outcome).as_str(),
        Ending::Infrastructure => "infrastructure failure",
        Ending::Interrupted => "interrupted",
    };
    let reason = if report.message.is_empty() { String::new() } else { format!(": {}", report.message) };
    format!("{word}{reason}")
}

/// Removes the directories of all attempts but these; `before` hears of each first.
///
/// # Errors
/// If one cannot be removed.
pub fn keep_only(dir: &Path, attempts: &BTreeSet<String>, before: impl Fn(&Path)) -> Result<(), ExecutorError> {
    let failed = |error| FsError::new("clean", dir, error);
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_name().to_str().is_none_or(|name| !attempts.contains(name)) {
            before(&entry.path());
            remove_all(&entry.path()).map_err(failed)?;
        }
    }
    Ok(())
}

/// The attempt of a handle of the executor with this name.
///
/// # Errors
/// If it is another one's.
pub fn attempt_of<'a>(handle: &'a Handle, name: &str) -> Result<&'a str, ExecutorError> {
    if handle.executor == name {
        return Ok(&handle.attempt);
    }
    let (attempt, executor) = (handle.attempt.clone(), handle.executor.clone());
    Err(ExecutorError::NotOurs { attempt, executor })
}

/// Runs file work where it may block.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("file work does not panic")
}
