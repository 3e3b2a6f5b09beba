//! Errors as people see them: what failed, why, and what to do about it.
//!
//! Errors from below know nothing of exit codes or hints; each is classified here, once.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use miette::{GraphicalReportHandler, GraphicalTheme};

use super::exit::Exit;
use super::output::OutputError;
use crate::config::ConfigError;

/// Why a command ended early.
#[derive(Debug)]
pub struct CliError {
    /// What kind of failure it is; it decides the exit status.
    pub kind: ErrorKind,
    /// What failed, with its causes.
    pub error: anyhow::Error,
    /// What to do about it.
    pub hints: Vec<String>,
}

/// What kind of failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Something did not work.
    Failed,
    /// The command line cannot be meant like that.
    Usage,
    /// The configuration is wrong.
    Configuration,
    /// A signal ended it.
    Interrupted,
    /// Nobody reads the results any more (`pkgwarden … | head`).
    BrokenPipe,
}

impl CliError {
    /// A command line that cannot be meant like that.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Usage, error: anyhow::Error::msg(message.into()), hints: Vec::new() }
    }

    /// A signal ended the command.
    #[must_use]
    pub fn interrupted() -> Self {
        Self { kind: ErrorKind::Interrupted, error: anyhow::Error::msg("interrupted"), hints: Vec::new() }
    }

    /// Says what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// How the program ends.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self.kind {
            ErrorKind::Failed => Exit::Failed,
            ErrorKind::Usage | ErrorKind::Configuration => Exit::Usage,
            ErrorKind::Interrupted => Exit::Interrupted,
            ErrorKind::BrokenPipe => Exit::Done,
        }
    }

    /// Tells a person.
    pub fn report(&self, stderr: &mut dyn Write) -> io::Result<()> {
        if self.kind == ErrorKind::BrokenPipe {
            return Ok(());
        }
        if let Some(configuration) = self.error.downcast_ref::<ConfigError>() {
            return report_configuration(configuration, stderr);
        }
        let (red, bold) = (AnsiColor::Red.on_default().bold(), Style::new().bold());
        writeln!(stderr, "{red}error{red:#}{bold}:{bold:#} {}", self.error)?;
        for cause in self.error.chain().skip(1) {
            writeln!(stderr, "  because: {cause}")?;
        }
        let cyan = AnsiColor::Cyan.on_default().bold();
        self.hints.iter().try_for_each(|hint| writeln!(stderr, "{cyan}hint{cyan:#}: {hint}"))
    }
}

/// Shows each problem with its place underlined.
fn report_configuration(error: &ConfigError, stderr: &mut dyn Write) -> io::Result<()> {
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode()).with_width(100);
    for problem in &error.problems {
        let mut text = String::new();
        handler.render_report(&mut text, problem).map_err(io::Error::other)?;
        match &problem.origin {
            crate::config::error::Origin::Environment(variable) => writeln!(stderr, "{variable}:\n{text}")?,
            crate::config::error::Origin::File { .. } => writeln!(stderr, "{text}")?,
        }
    }
    let count = error.problems.len();
    writeln!(stderr, "{} in the configuration", super::output::number_of(count, "problem"))
}

impl From<anyhow::Error> for CliError {
    fn from(error: anyhow::Error) -> Self {
        Self { kind: ErrorKind::Failed, error, hints: Vec::new() }
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        Self { kind: ErrorKind::Configuration, error: error.into(), hints: Vec::new() }
    }
}

impl From<OutputError> for CliError {
    fn from(error: OutputError) -> Self {
        let broken = error.0.kind() == io::ErrorKind::BrokenPipe;
        let kind = if broken { ErrorKind::BrokenPipe } else { ErrorKind::Failed };
        Self { kind, error: error.into(), hints: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    fn reported(error: &CliError) -> String {
        let mut text = Vec::new();
        error.report(&mut text).expect("writing to memory");
        anstream::adapter::strip_str(std::str::from_utf8(&text).expect("text")).to_string()
    }

    #[test]
    fn an_error_tells_what_failed_why_and_what_to_do() {
        let cause = io::Error::new(io::ErrorKind::NotFound, "no such file");
        let error = Err::<(), _>(cause).context("cannot read `x`").expect_err("it is one");
        let error = CliError::from(error).hint("create `x`");
        insta::assert_snapshot!(reported(&error), @"
        error: cannot read `x`
          because: no such file
        hint: create `x`
        ");
        assert_eq!(error.exit().code(), 1);
    }

    #[test]
    fn a_reader_that_went_away_is_no_error() {
        let error = CliError::from(OutputError(io::ErrorKind::BrokenPipe.into()));
        assert_eq!((reported(&error).as_str(), error.exit()), ("", Exit::Done));
        assert_eq!(CliError::from(OutputError(io::ErrorKind::StorageFull.into())).exit(), Exit::Failed);
    }

    #[test]
    fn each_kind_has_its_status() {
        assert_eq!(CliError::usage("x").exit().code(), 2);
        assert_eq!(CliError::interrupted().exit().code(), 130);
        assert_eq!(Exit::NeedsPerson.code(), 3);
    }
}
