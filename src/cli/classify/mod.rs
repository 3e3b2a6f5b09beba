//! `pkgwarden classify`: may this update go in without a person?

mod sarif;
pub(super) mod text;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;

use super::args::WantedFormat;
use super::context::{ConfigFile, Context};
use super::error::CliError;
use super::exit::Exit;
use super::output::Format;
use crate::config;
use crate::controller::view::FileDiff;
use crate::domain::classify::{self, Decision, Place, Policy, Subject, Verdict, classify};
use crate::domain::finding::nearest;
use crate::domain::folder::Folder;
use crate::domain::name::PkgBase;
use crate::domain::srcinfo::Srcinfo;
use crate::sys::clock::{Clock as _, SystemClock};
use crate::sys::fs::read_folder;

/// Compare two package folders, or every package that differs between two commits
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pkgwarden classify old/firefox new/firefox
  pkgwarden classify --exit-code old new && git merge update
  pkgwarden classify --policy .ci/policy.toml old new
  pkgwarden -C repo.git classify --from main~100 --to main --format json
  pkgwarden classify --from main --to HEAD --format sarif > update.sarif

With --from and --to, `--format json` writes one JSON object a line, one for each package.
The diff is shown for two folders, and for packages that are named.
What a policy may allow is in docs/policy.md.")]
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
    /// What may go in beyond the default; `.ci/policy.toml` counts only if it is named
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// End with status 3 if anything is major
    #[arg(long)]
    exit_code: bool,
}

#[derive(Serialize)]
struct Entry<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pkgbase: Option<&'a PkgBase>,
    #[serde(flatten)]
    answer: Answer,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Answer {
    Compared(Verdict),
    OnlyOne { verdict: &'static str },
}

/// The gate as this command asks it.
struct Gate {
    policy: Policy,
    now: Timestamp,
    /// Rules that were used.
    used: BTreeSet<Place>,
}

impl Gate {
    fn new(file: Option<&Path>) -> Result<Self, CliError> {
        let file = file.map(ConfigFile::read).transpose()?;
        let policy = file.map(|file| config::policy::load(&file.path, &file.text)).transpose()?;
        Ok(Self { policy: policy.unwrap_or_default(), now: SystemClock.now(), used: BTreeSet::new() })
    }

    fn verdict(&mut self, package: &str, old: &Folder, new: &Folder) -> Verdict {
        let line_rules = &config::package::line_rules_of(old);
        let subject = Subject { package, old, new, line_rules, now: self.now };
        let judged = classify::judge(classify(old, new), subject, &self.policy, &classify::Context::default());
        self.used.extend(judged.used);
        judged.verdict
    }

    /// Tells which rules no update took.
    fn tell_unused(&self) {
        for permission in self.policy.allow.iter().filter(|permission| !self.used.contains(&permission.place)) {
            tracing::warn!("the rule at {} let nothing in ({})", permission.place, permission.because);
        }
    }
}

/// Where verdicts go.
struct Told<'c> {
    context: &'c mut Context,
    /// In place of anything else, if SARIF is wanted.
    sarif: Option<sarif::Log>,
    major: bool,
}

impl<'c> Told<'c> {
    fn new(context: &'c mut Context) -> Self {
        let sarif = (context.global.format == WantedFormat::Sarif).then(sarif::Log::default);
        Self { context, sarif, major: false }
    }

    fn tell(&mut self, entry: &Entry, folder: &str, files: &[FileDiff]) -> Result<(), CliError> {
        self.major |= matches!(&entry.answer, Answer::Compared(verdict) if verdict.verdict == Decision::Major);
        match (&mut self.sarif, self.context.output.format, &entry.answer) {
            (Some(log), _, Answer::Compared(verdict)) => log.add(folder, verdict),
            (Some(_), _, Answer::OnlyOne { .. }) => {}
            (None, Format::Json, _) if entry.pkgbase.is_none() => self.context.output.json(entry)?,
            (None, Format::Json, _) => self.context.output.json_line(entry)?,
            (None, Format::Text, Answer::Compared(verdict)) => {
                self.context.output.text(text::report(entry.pkgbase, verdict, files))?;
            }
            (None, Format::Text, Answer::OnlyOne { verdict }) => {
                self.context.output.text(format_args!("{folder}: {verdict}\n"))?;
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<bool, CliError> {
        if let Some(log) = self.sarif {
            self.context.output.json(&log.document())?;
        }
        Ok(self.major)
    }
}

pub(super) fn run(args: Args, context: &mut Context) -> Result<Exit, CliError> {
    let mut gate = Gate::new(args.policy.as_deref())?;
    let major = match (&args.from, &args.to) {
        (Some(from), Some(to)) => commits(from, to, &args.names, &mut gate, context)?,
        _ => folders(&args.names, &mut gate, context)?,
    };
    gate.tell_unused();
    Ok(if major && args.exit_code { Exit::NeedsPerson } else { Exit::Done })
}

fn folders(names: &[String], gate: &mut Gate, context: &mut Context) -> Result<bool, CliError> {
    let [old_path, new_path] = names else {
        return Err(
            CliError::usage("classify takes two folders, OLD and NEW").hint("or two commits: --from REV --to REV")
        );
    };
    let read = |path: &str| read_folder(Path::new(path)).map_err(anyhow::Error::from);
    let (old, new) = (read(old_path)?, read(new_path)?);
    let verdict = gate.verdict(&package_name(&old, Path::new(old_path)), &old, &new);
    let files = FileDiff::between(&old.from_source(), &new.from_source());
    let mut told = Told::new(context);
    told.tell(&Entry { pkgbase: None, answer: Answer::Compared(verdict) }, new_path.trim_end_matches('/'), &files)?;
    told.finish()
}

/// The package that rules name: what the old side says, since the new one is what is judged.
fn package_name(old: &Folder, path: &Path) -> String {
    let said = old.get(".SRCINFO").and_then(|bytes| Srcinfo::parse(bytes).ok());
    let folder = || path.file_name().map(|name| name.to_string_lossy().into_owned());
    said.map(|srcinfo| srcinfo.pkgbase.to_string()).or_else(folder).unwrap_or_default()
}

fn commits(from: &str, to: &str, only: &[String], gate: &mut Gate, context: &mut Context) -> Result<bool, CliError> {
    let inspection = context.inspection()?;
    let (since, mut known) = inspection.since(from, to)?;
    known.extend(since.changes.removed.iter().cloned());
    if let Some(name) = only.iter().find(|name| !known.contains(name.as_str())) {
        let error = CliError::from(anyhow::anyhow!("there is no package `{name}` in {from} or {to}"));
        return Err(match nearest(name, known.iter().map(PkgBase::as_str)) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint("`pkgwarden packages --rev REV` lists them"),
        });
    }
    let mut packages: Vec<PkgBase> = since.changes.to_build();
    packages.extend(since.changes.removed.iter().cloned());
    packages.retain(|pkgbase| only.is_empty() || only.iter().any(|name| name == pkgbase.as_str()));
    packages.sort();
    let (from, to) = (inspection.commit(from)?, inspection.commit(to)?);
    let mut told = Told::new(context);
    for pkgbase in &packages {
        let mut files = Vec::new();
        let answer = match inspection.sides(from, to, pkgbase)? {
            (Some(old), Some(new)) => {
                if !only.is_empty() {
                    files = FileDiff::between(&old.from_source(), &new.from_source());
                }
                Answer::Compared(gate.verdict(pkgbase.as_str(), &old, &new))
            }
            (None, _) => Answer::OnlyOne { verdict: "added" },
            (Some(_), None) => Answer::OnlyOne { verdict: "removed" },
        };
        told.tell(&Entry { pkgbase: Some(pkgbase), answer }, pkgbase.as_str(), &files)?;
    }
    told.finish()
}
