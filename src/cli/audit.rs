//! `pkgwarden audit`: where are the traces of a campaign?

use std::fmt::Write as _;
use std::path::PathBuf;

use anstyle::{AnsiColor, Style};
use anyhow::Context as _;

use super::context::Context;
use super::error::CliError;
use super::exit::Exit;
use super::output::Format;
use crate::controller::audit;
use crate::domain::audit::{Audit, Hit, Indicator, Place};
use crate::web::text::one_line;

/// Find traces of a campaign in packages, reviews, records and, if asked, the past
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pkgwarden audit --indicator npm:atomic-lockfile --indicator bun:js-digest
  pkgwarden audit --rev main --history --indicators wave1.txt --format json
  pkgwarden audit --indicator maintainer:xeactor --exit-code

An indicator is a text, or one of host:, npm:, bun:, pip:, hash: and maintainer: with what it \
names; npm:, bun: and pip: find whole words, host: finds what lies below it too. Large and small \
letters are not told apart, and words are also found where quotes, backslashes or escapes hide \
them. A file of indicators has one a line, and # begins a comment. Nothing is fetched, and nothing \
of a package is run.")]
pub struct Args {
    #[command(flatten)]
    wanted: Wanted,
    /// The commit to look at
    #[arg(long, value_name = "REV", default_value = "HEAD")]
    rev: String,
    /// End with status 3 if anything is found
    #[arg(long)]
    exit_code: bool,
}

/// What is looked for, and how far back.
#[derive(Debug, clap::Args)]
pub struct Wanted {
    /// What to look for; may be given more than once
    #[arg(long = "indicator", value_name = "TEXT", required_unless_present = "indicators")]
    indicator: Vec<String>,
    /// A file with indicators, one a line
    #[arg(long, value_name = "FILE")]
    indicators: Option<PathBuf>,
    /// Search the past too: every file that any commit wrote
    #[arg(long)]
    pub history: bool,
    /// How many commits of the past, at most
    #[arg(long, value_name = "N", default_value_t = audit::COMMITS, requires = "history")]
    commits: usize,
}

impl Wanted {
    /// The indicators, as they are written. Mistakes in a file are told by `warn` and stop nothing.
    pub fn indicators(&self, mut warn: impl FnMut(String)) -> Result<Vec<Indicator>, CliError> {
        let mut indicators = Vec::new();
        for written in &self.indicator {
            indicators.push(Indicator::parse(written).map_err(CliError::usage)?);
        }
        if let Some(path) = &self.indicators {
            let shown = path.display().to_string();
            let list =
                std::fs::read_to_string(path).with_context(|| format!("cannot read the indicators in `{shown}`"))?;
            let (read, findings) = Indicator::parse_list(&list, &shown);
            for finding in findings {
                warn(finding.to_string());
            }
            indicators.extend(read);
        }
        if indicators.is_empty() {
            return Err(CliError::usage("there is no indicator to look for").hint("name one with --indicator TEXT"));
        }
        Ok(indicators)
    }

    /// How many commits of the past.
    pub fn commits(&self) -> Option<usize> {
        self.history.then_some(self.commits)
    }
}

pub(super) fn run(args: Args, context: &mut Context) -> Result<Exit, CliError> {
    let inspection = context.inspection()?;
    context.show_progress();
    let indicators = args.wanted.indicators(|warning| tracing::warn!("{warning}"))?;
    let audit = inspection.audit(&args.rev, indicators, args.wanted.commits())?;
    match context.output.format {
        Format::Json => context.output.json(&audit)?,
        Format::Text => context.output.text(text(&audit))?,
    }
    Ok(if args.exit_code && !audit.hits.is_empty() { Exit::NeedsPerson } else { Exit::Done })
}

/// An audit for people, indicator by indicator.
pub fn text(audit: &Audit) -> String {
    let (bold, dim, yellow) = (Style::new().bold(), Style::new().dimmed(), AnsiColor::Yellow.on_default());
    let mut text = String::new();
    let mut last = None;
    for hit in &audit.hits {
        if last != Some(&hit.indicator) {
            let _ = writeln!(text, "{bold}{}{bold:#}", hit.indicator.escape_debug());
            last = Some(&hit.indicator);
        }
        let disguised = if hit.disguised { format!(" {yellow}[disguised]{yellow:#}") } else { String::new() };
        let _ = writeln!(text, "  {}{disguised} {dim}{}{dim:#}", whereabouts(hit), one_line(&hit.text));
    }
    for unsearched in &audit.unsearched {
        let _ = writeln!(text, "{yellow}not searched:{yellow:#} {unsearched}");
    }
    let _ = writeln!(text, "{}", audit.summary());
    text
}

fn whereabouts(hit: &Hit) -> String {
    let line = hit.line.map(|line| format!(":{line}")).unwrap_or_default();
    let file = hit.file.as_ref().map(|file| format!("{file}{line}"));
    let short = hit.commit.map(|commit| commit.short()).unwrap_or_default();
    match hit.place {
        Place::Current if hit.commit.is_some() => format!("{} (since {short})", file.unwrap_or_default()),
        Place::Current | Place::State => file.unwrap_or_default(),
        Place::Review => {
            format!("{} in review {}", file.unwrap_or_default(), hit.branch.as_deref().unwrap_or_default())
        }
        Place::Commit => match file {
            Some(file) => format!("{file} in commit {short}, gone since"),
            None => format!("by the author of commit {short}"),
        },
    }
}
