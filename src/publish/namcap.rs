//! What namcap says of a package file, where it is installed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::PublishError;
use crate::domain::finding::Finding;
use crate::sys::process::{ProcessError, Program};

const TIMEOUT: Duration = Duration::from_mins(10);
/// Bytes of what it prints that are read.
const MAX_OUTPUT: usize = 1 << 20;
/// Lines that are kept of one file.
const MAX_LINES: usize = 50;

/// What is made of what namcap says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strictness {
    /// It is not asked.
    Off,
    /// All of it is kept with the build.
    #[default]
    Report,
    /// Its errors keep a build from being published.
    Refuse,
}

/// How namcap is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namcap {
    /// The program.
    pub program: PathBuf,
    /// What is made of its words.
    pub strictness: Strictness,
}

impl Default for Namcap {
    fn default() -> Self {
        Self { program: "namcap".into(), strictness: Strictness::default() }
    }
}

impl Namcap {
    /// What it says of one file. Where it is not installed, or takes too long, it says nothing.
    pub(super) fn look(&self, package: &Path) -> Result<Vec<Finding>, PublishError> {
        if self.strictness == Strictness::Off {
            return Ok(Vec::new());
        }
        let program = Program::new(&self.program).arg(package).timeout(TIMEOUT).output_limit(MAX_OUTPUT);
        let output = match program.run_blocking() {
            Err(ProcessError::Missing { .. } | ProcessError::TimedOut { .. }) => return Ok(Vec::new()),
            output => output?,
        };
        let file = package.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let text = String::from_utf8_lossy(&output.stdout);
        let lines = text.lines().filter(|line| !line.trim().is_empty()).take(MAX_LINES);
        Ok(lines.map(|line| self.finding(&file, line)).collect())
    }

    fn finding(&self, file: &str, line: &str) -> Finding {
        let message: String =
            format!("namcap: {}", line.trim()).chars().filter(|c| !c.is_control()).take(300).collect();
        let is_error = line.contains(" E: ") && self.strictness == Strictness::Refuse;
        let finding = if is_error { Finding::error("namcap", message) } else { Finding::warning("namcap", message) };
        finding.at(file, None).hint("see namcap(1) for what it means")
    }
}
