//! `pkgwarden classify`: may this update go in without a person?

use std::fmt::Write as _;
use std::path::PathBuf;

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::context::Context;
use super::error::CliError;
use super::exit::Exit;
use super::output::Format;
use crate::controller::inspect;
use crate::domain::classify::{Decision, Verdict, Weight, classify};
use crate::domain::name::PkgBase;

/// Compare two package folders, or every package that differs between two commits
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pkgwarden classify old/firefox new/firefox
  pkgwarden classify --exit-code old new && git merge update
  pkgwarden -C repo.git classify --from main~100 --to main --format json")]
pub struct Args {
    /// The folder as it was, and as it would be; with --from and --to: only these packages
    #[arg(value_name = "OLD NEW | PKG...", required_unless_present_any = ["from", "to"])]
    names: Vec<String>,
    /// The older commit
    #[arg(long, value_name = "REV", requires = "to")]
    from: Option<String>,
    /// The newer commit
    #[arg(long, value_name = "REV", requires = "from")]
    to: Option<String>,
    /// End with status 3 if anything is major
    #[arg(long)]
    exit_code: bool,
}

#[derive(Serialize)]
struct Entry<'a> {
    pkgbase: &'a PkgBase,
    #[serde(flatten)]
    answer: Answer,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Answer {
    Compared(Verdict),
    OnlyOne { verdict: &'static str },
}

pub(super) fn run(args: Args, context: &mut Context) -> Result<Exit, CliError> {
    let major = match (&args.from, &args.to) {
        (Some(from), Some(to)) => commits(from, to, &args.names, context)?,
        _ => folders(&args.names, context)?,
    };
    Ok(if major && args.exit_code { Exit::NeedsPerson } else { Exit::Done })
}

fn folders(names: &[String], context: &mut Context) -> Result<bool, CliError> {
    let [old, new] = names else {
        return Err(
            CliError::usage("classify takes two folders, OLD and NEW").hint("or two commits: --from REV --to REV")
        );
    };
    let verdict = inspect::classify_directories(&PathBuf::from(old), &PathBuf::from(new))?;
    match context.output.format {
        Format::Json => context.output.json(&verdict)?,
        Format::Text => context.output.text(text(&verdict))?,
    }
    Ok(verdict.verdict == Decision::Major)
}

fn commits(from: &str, to: &str, only: &[String], context: &mut Context) -> Result<bool, CliError> {
    let inspection = context.inspection()?;
    let (since, _) = inspection.since(from, to)?;
    let mut packages: Vec<PkgBase> = since.changes.to_build();
    packages.extend(since.changes.removed.iter().cloned());
    packages.retain(|pkgbase| only.is_empty() || only.iter().any(|name| name == pkgbase.as_str()));
    packages.sort();
    let mut major = false;
    for pkgbase in &packages {
        let answer = match inspection.sides(from, to, pkgbase)? {
            (Some(old), Some(new)) => Answer::Compared(classify(&old, &new)),
            (None, _) => Answer::OnlyOne { verdict: "added" },
            (Some(_), None) => Answer::OnlyOne { verdict: "removed" },
        };
        major |= matches!(&answer, Answer::Compared(verdict) if verdict.verdict == Decision::Major);
        let entry = Entry { pkgbase, answer };
        match (context.output.format, &entry.answer) {
            (Format::Json, _) => context.output.json_line(&entry)?,
            (Format::Text, Answer::Compared(verdict)) => {
                context.output.text(format_args!("{pkgbase}: {}", text(verdict)))?;
            }
            (Format::Text, Answer::OnlyOne { verdict }) => {
                context.output.text(format_args!("{pkgbase}: {verdict}\n"))?;
            }
        }
    }
    Ok(major)
}

fn text(verdict: &Verdict) -> String {
    let (word, style) = match verdict.verdict {
        Decision::Minor => ("minor", AnsiColor::Green.on_default().bold()),
        Decision::Major => ("major", AnsiColor::Red.on_default().bold()),
    };
    let versions = match (&verdict.old_version, &verdict.new_version) {
        (Some(old), Some(new)) => format!(" ({old} -> {new})"),
        _ => String::new(),
    };
    let mut text = format!("{style}{word}{style:#}{versions}\n");
    let mut reasons: Vec<_> = verdict.reasons.iter().collect();
    reasons.sort_by_key(|reason| std::cmp::Reverse(reason.severity));
    for reason in reasons {
        let style = if reason.severity > Weight::Stronger { Style::new().bold() } else { Style::new().dimmed() };
        let line = reason.line.map(|line| format!(":{line}")).unwrap_or_default();
        let weight = weight_word(reason.severity);
        let _ =
            writeln!(text, "  {style}{weight:<8}{style:#} {}{line}: {} [{}]", reason.file, reason.message, reason.code);
        for (sign, side) in [('-', &reason.old), ('+', &reason.new)] {
            if let Some(side) = side {
                let _ = writeln!(text, "           {sign} {side}");
            }
        }
    }
    text
}

fn weight_word(weight: Weight) -> &'static str {
    match weight {
        Weight::Cosmetic => "cosmetic",
        Weight::Version => "version",
        Weight::Stronger => "stronger",
        Weight::Review => "review",
        Weight::Trust => "trust",
        Weight::Hostile => "hostile",
    }
}
