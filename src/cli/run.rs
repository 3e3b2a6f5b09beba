//! `pkgwarden run`: one pass of a pipeline.

use std::path::PathBuf;
use std::sync::Arc;

use super::context::Context;
use super::error::CliError;
use super::exit::Exit;
use super::job::Voice;
use super::output::Format;
use super::pipeline::{self, PipelineArgs};
use crate::app;
use crate::config::settings::ExecutorKind;
use crate::sys::clock::SystemClock;

/// Perform one run: what a scheduled CI job calls
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pkgwarden run on-commit                  in the checkout of a CI job
  pkgwarden -C packages.git run on-schedule --format json
  pkgwarden run trigger daily
  pkgwarden run deploy all
  pkgwarden run add yay/aur --origin github/42 --reason request
  pkgwarden run drop yay --reason 'gone upstream'
  pkgwarden run on-commit --emit-chaotic .ci
  pkgwarden run on-schedule --report report    for GitLab CI; see docs/ci.md

Ends with status 3 if something that was asked for could not be done; the problem says what.
A review that is opened is no such problem.")]
pub struct Args {
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// Write schedule-params.txt and deptree.txt for an existing Chaotic Manager into this directory
    #[arg(long, global = true, value_name = "DIR")]
    emit_chaotic: Option<PathBuf>,
    /// Write summary.md, outputs.env (dotenv) and code-quality.json about the run into this directory
    #[arg(long, global = true, value_name = "DIR")]
    report: Option<PathBuf>,
}

pub(super) fn run(args: Args, context: &mut Context) -> Result<Exit, CliError> {
    let (pipeline, place) = (args.pipeline.pipeline()?, args.pipeline.place(context));
    let settings = context.settings()?;
    context.inspection()?;
    context.show_progress();
    let voice = Voice::begin(context, args.report)?;
    let runner = app::one_shot_runner(&settings, &place, Arc::new(SystemClock))
        .map(|runner| runner.emits_to(args.emit_chaotic))
        .map_err(CliError::from);
    let report = runner.and_then(|runner| pipeline::block_on(runner.run(&pipeline, "command")));
    let report = match report {
        Ok(report) => report,
        Err(error) => return Err(voice.failed(context, error)),
    };
    pipeline::show(&report.document, Some(&report.outcome), context)?;
    voice.done(context, &report)?;
    let is_local = settings.repositories.iter().any(|it| it.executor.kind == ExecutorKind::Local);
    if is_local && report.outcome.enqueued > 0 && context.output.format == Format::Text {
        context.output.text("`pkgwarden serve` builds what is in the queue\n")?;
    }
    let needs_a_person =
        report.document.problems.iter().any(|problem| problem.severity == crate::domain::finding::Severity::Error);
    Ok(if needs_a_person { Exit::NeedsPerson } else { Exit::Done })
}
