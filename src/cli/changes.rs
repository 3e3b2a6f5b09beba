//! `pkgwarden changes`: what happened between two commits.

use std::fmt::Write as _;

use super::context::Context;
use super::error::CliError;
use super::exit::Exit;
use super::output::{Format, number_of};
use crate::domain::changes::{ChangesDocument, DirectiveEntry};
use crate::domain::directive;
use crate::domain::name::PkgBase;

/// Show which packages differ between two commits, and the directives in between
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pkgwarden changes --from scheduled --to HEAD
  pkgwarden changes --from scheduled~500 --to scheduled --format json")]
pub struct Args {
    /// The older commit
    #[arg(long, value_name = "REV")]
    from: String,
    /// The newer commit
    #[arg(long, value_name = "REV", default_value = "HEAD")]
    to: String,
}

pub(super) fn run(args: Args, context: &mut Context) -> Result<Exit, CliError> {
    let (since, known) = context.inspection()?.since(&args.from, &args.to)?;
    let (mut directives, mut problems) = (Vec::new(), Vec::new());
    for commit in &since.commits {
        let (requests, findings) = directive::read(commit.id, &commit.message, &known);
        problems.extend(findings);
        directives.extend(requests.into_iter().map(|request| DirectiveEntry {
            commit: commit.id,
            packages: request.packages(&known),
            text: request.text,
        }));
    }
    let document = ChangesDocument { commits: since.commits.len(), changes: since.changes, directives, problems };
    match context.output.format {
        Format::Json => context.output.json(&document)?,
        Format::Text => context.output.text(text(&document))?,
    }
    Ok(Exit::Done)
}

fn text(document: &ChangesDocument) -> String {
    let mut text = format!("{}\n", number_of(document.commits, "commit"));
    let lists = [
        ("changed", &document.changes.changed),
        ("added", &document.changes.added),
        ("removed", &document.changes.removed),
    ];
    for (word, packages) in lists.into_iter().filter(|(_, packages)| !packages.is_empty()) {
        let names: Vec<&str> = packages.iter().map(PkgBase::as_str).collect();
        let _ = writeln!(text, "{word} ({}): {}", names.len(), names.join(" "));
    }
    for directive in &document.directives {
        let _ = writeln!(text, "{} in {}", directive.text, directive.commit.short());
    }
    for problem in &document.problems {
        let _ = writeln!(text, "problem: {problem}");
    }
    text
}
