//! `pkgwarden run`: one pass of a pipeline.

use std::path::PathBuf;
use std::sync::Arc;

use super::context::Context;
use super::error::CliError;
use super::exit::Exit;
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

Ends with status 3 if something that was asked for could not be done; the problem says what.
A review that is opened is no such problem.")]
pub struct Args {
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// Write schedule-params.txt and deptree.txt for an existing Chaotic Manager into this directory
    #[arg(long, global = true, value_name = "DIR")]
    emit_chaotic: Option<PathBuf>,
}

pub(super) fn run(args: Args, context: &mut Context) -> Result<Exit, CliError> {
    let (pipeline, place) = (args.pipeline.pipeline()?, args.pipeline.place(context));
    let settings = context.settings()?;
    context.inspection()?;
    context.show_progress();
    let runner = app::one_shot_runner(&settings, &place, Arc::new(SystemClock))?.emits_to(args.emit_chaotic);
    let report = pipeline::block_on(runner.run(&pipeline, "command"))?;
    pipeline::show(&report.document, Some(&report.outcome), context)?;
    let is_local = settings.repositories.iter().any(|it| it.executor.kind == ExecutorKind::Local);
    if is_local && report.outcome.enqueued > 0 && context.output.format == Format::Text {
        context.output.text("`pkgwarden serve` builds what is in the queue\n")?;
    }
    let needs_a_person =
        report.document.problems.iter().any(|problem| problem.severity == crate::domain::finding::Severity::Error);
    Ok(if needs_a_person { Exit::NeedsPerson } else { Exit::Done })
}
