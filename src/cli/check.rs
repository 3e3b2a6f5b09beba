//! `pkgwarden check`: everything that is wrong in a repository.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::context::Context;
use super::error::CliError;
use super::exit::Exit;
use super::output::{Format, escaped, number_of};
use crate::controller::inspect;
use crate::domain::finding::{Finding, Severity};
use crate::sys::clock::{Clock as _, SystemClock};

/// Find what is wrong in a repository
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pkgwarden check                          every finding, with its remedy
  pkgwarden -C repo.git check --rev main --format json

Ends with status 0 if it could look, whatever it found; with --exit-code with status 3 if there are errors (warnings \
alone are none); with 1 if it could not look, and 2 if it was asked wrongly.")]
pub struct Args {
    /// The commit to look at
    #[arg(long, value_name = "REV", default_value = "HEAD")]
    rev: String,
    /// End with status 3 if there are errors
    #[arg(long)]
    exit_code: bool,
}

#[derive(Serialize)]
struct Report {
    errors: usize,
    warnings: usize,
    findings: Vec<Finding>,
}

pub(super) fn run(args: Args, context: &mut Context) -> Result<Exit, CliError> {
    let inspection = context.inspection()?;
    let snapshot = inspection.snapshot(&args.rev)?;
    let findings = inspection.lints(&snapshot, &inspect::recorded_names(&snapshot), SystemClock.now())?;
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let report = Report { errors: count(Severity::Error), warnings: count(Severity::Warning), findings };
    match context.output.format {
        Format::Json => context.output.json(&report)?,
        Format::Text => context.output.text(text(&report))?,
    }
    Ok(if args.exit_code && report.errors > 0 { Exit::NeedsPerson } else { Exit::Done })
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    let dim = Style::new().dimmed();
    for finding in &report.findings {
        let (word, style) = match finding.severity {
            Severity::Error => ("error", AnsiColor::Red.on_default().bold()),
            Severity::Warning => ("warning", AnsiColor::Yellow.on_default().bold()),
        };
        let place = match (&finding.file, finding.line) {
            (Some(file), Some(line)) => format!("{}:{line}: ", escaped(file)),
            (Some(file), None) => format!("{}: ", escaped(file)),
            (None, _) => String::new(),
        };
        let message = escaped(&finding.message);
        let _ = writeln!(text, "{style}{word}{style:#}: {place}{message} {dim}[{}]{dim:#}", finding.code);
        if !finding.hint.is_empty() {
            let _ = writeln!(text, "  {dim}{}{dim:#}", escaped(&finding.hint));
        }
    }
    let _ = writeln!(text, "{}, {}", number_of(report.errors, "error"), number_of(report.warnings, "warning"));
    text
}
