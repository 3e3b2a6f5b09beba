//! `pkgwarden packages`: what the monorepo holds.

use serde::Serialize;

use super::context::Context;
use super::error::CliError;
use super::exit::Exit;
use super::output::{Format, lines, table};
use crate::domain::desired::{Package, Snapshot};
use crate::domain::finding::Finding;
use crate::domain::name::{PkgBase, PkgName};
use crate::domain::policy::{GitFolder, Project, SourceKind};
use crate::domain::version::Version;

/// List the packages of a repository
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pkgwarden packages                       what the checked-out commit holds
  pkgwarden -C repo.git packages --rev main~10 --format json")]
pub struct Args {
    /// The commit to look at
    #[arg(long, value_name = "REV", default_value = "HEAD")]
    rev: String,
}

#[derive(Serialize)]
struct Entry<'a> {
    pkgbase: &'a PkgBase,
    pkgnames: Vec<&'a PkgName>,
    version: Option<&'a Version>,
    arch: &'a [String],
    source: Source<'a>,
    trigger: Option<&'a str>,
    class: Option<String>,
    vcs: bool,
    problems: &'a [Finding],
}

#[derive(Serialize)]
struct Source<'a> {
    kind: &'static str,
    url: Option<&'a str>,
    /// The file by which nvchecker finds its newest version, in place of asking the source.
    nvchecker: Option<&'a str>,
}

impl<'a> Entry<'a> {
    fn of(package: &'a Package, snapshot: &Snapshot) -> Self {
        let srcinfo = package.srcinfo.as_ref();
        let url = match &package.settings.source {
            SourceKind::Git(GitFolder { url, .. }) | SourceKind::Release(Project::Git { url }) => Some(url.as_str()),
            SourceKind::Aur | SourceKind::Release(_) | SourceKind::Custom | SourceKind::Unset => None,
        };
        Self {
            pkgbase: &package.pkgbase,
            pkgnames: srcinfo
                .map(|srcinfo| srcinfo.members.iter().map(|member| &member.name).collect())
                .unwrap_or_default(),
            version: package.version(),
            arch: srcinfo.map(|srcinfo| srcinfo.arch.as_slice()).unwrap_or_default(),
            source: Source {
                kind: package.settings.source.name(),
                url,
                nvchecker: package.version_file.as_deref().filter(|_| package.settings.nvchecker),
            },
            trigger: package.settings.trigger.as_deref(),
            class: snapshot.class_of(package).map(|class| class.0),
            vcs: package.follows_upstream(),
            problems: &package.findings,
        }
    }
}

pub(super) fn run(args: Args, context: &mut Context) -> Result<Exit, CliError> {
    let snapshot = context.inspection()?.snapshot(&args.rev)?;
    let entries: Vec<Entry> = snapshot.packages.values().map(|package| Entry::of(package, &snapshot)).collect();
    match context.output.format {
        Format::Json => context.output.json(&entries)?,
        Format::Text => context.output.text(listing(&entries))?,
    }
    Ok(Exit::Done)
}

fn listing(entries: &[Entry]) -> String {
    let mut table = table(&["package", "version", "source", "class", "trigger", "problems"]);
    for entry in entries {
        let problems = if entry.problems.is_empty() { String::new() } else { entry.problems.len().to_string() };
        table.add_row([
            entry.pkgbase.to_string(),
            entry.version.map(ToString::to_string).unwrap_or_default(),
            if entry.source.nvchecker.is_some() { "nvchecker" } else { entry.source.kind }.to_owned(),
            entry.class.clone().unwrap_or_default(),
            entry.trigger.unwrap_or_default().to_owned(),
            problems,
        ]);
    }
    lines(&table)
}
