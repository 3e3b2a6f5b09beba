//! The gate on the real history of a repository: how often it needs a person, and why.
//!
//! ```text
//! cargo run --release --example gate-history -- REPO [--updates N] [--scripts] [--each FILE]
//! ```
//!
//! It takes the newest `N` updates (10,671 unless said): changes of a package folder that had a PKGBUILD
//! before and after, one for each commit that made one. `--scripts` asks Chaotic's own function too, as it
//! stands in the repository; `--each` writes a line for each update, to be read by eye.

mod doubts;
mod report;
mod scripts;
mod updates;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Parser;
use jiff::Timestamp;
use pkgwarden::domain::classify::{Context, LineRules, Policy, Subject, classify, judge};
use pkgwarden::git::Repository;

use self::report::{Judged, Report};

#[derive(Debug, Parser)]
#[command(name = "gate-history", about = "The gate on the real history of a repository")]
struct Args {
    /// The repository: a clone, or bare
    repository: PathBuf,
    /// The commit at which the history ends
    #[arg(long, default_value = "HEAD")]
    rev: String,
    /// How many updates are judged, the newest first
    #[arg(long, default_value_t = 10_671)]
    updates: usize,
    /// Ask Chaotic's function in `.ci/on-schedule.sh` as well (minutes)
    #[arg(long)]
    scripts: bool,
    /// Write a line for each update to this file
    #[arg(long, value_name = "FILE")]
    each: Option<PathBuf>,
}

/// The policy that lets in as much as it can without naming anything.
fn easiest() -> Policy {
    Policy { descriptions: true, kernel_configurations: true, inert_files: true, ..Policy::default() }
}

#[expect(clippy::print_stdout, reason = "it prints a report")]
fn main() -> Result<()> {
    let args = Args::parse();
    let git = Repository::discover(&args.repository)?;
    let tip = git.resolve(&args.rev)?.with_context(|| format!("there is no commit `{}`", args.rev))?;
    let updates = updates::newest(&git, tip, args.updates)?;
    let theirs = if args.scripts { Some(scripts::judge(&git, tip, &updates)?) } else { None };
    let judged = git.map(&updates, |git, update| {
        let (old, new) = update.folders(git)?;
        let verdict = classify(&old, &new);
        let doubts = doubts::about(&old, &new);
        let line_rules = &LineRules::default();
        let subject =
            Subject { package: &update.pkgbase, old: &old, new: &new, line_rules, now: Timestamp::UNIX_EPOCH };
        let eased = judge(verdict.clone(), subject, &easiest(), &Context::default()).verdict.verdict;
        Ok::<_, anyhow::Error>(Judged { verdict, eased, doubts })
    })?;
    let report = Report::new(&updates, &judged, theirs.as_deref());
    if let Some(file) = &args.each {
        std::fs::write(file, report.each()).with_context(|| format!("cannot write {}", file.display()))?;
    }
    print!("{report}");
    Ok(())
}
