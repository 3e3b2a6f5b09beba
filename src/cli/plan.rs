//! `pkgwarden plan`: what a run would do, and nothing done.

use std::sync::Arc;

use super::context::Context;
use super::error::CliError;
use super::exit::Exit;
use super::pipeline::{self, PipelineArgs};
use crate::app;
use crate::sys::clock::{Clock as _, SystemClock};

/// Show exactly what `run` would do; nothing is written, anywhere
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pkgwarden plan on-commit                 what a push would start
  pkgwarden plan on-schedule --format json
  pkgwarden plan deploy firefox thunderbird/9
  pkgwarden plan drop libfoo               who still needs it

Ends with status 3 if something needs a person before it can happen.")]
pub struct Args {
    #[command(flatten)]
    pipeline: PipelineArgs,
}

pub(super) fn run(args: Args, context: &mut Context) -> Result<Exit, CliError> {
    let (pipeline, place) = (args.pipeline.pipeline()?, args.pipeline.place(context));
    let settings = context.settings()?;
    context.inspection()?;
    context.show_progress();
    let mut site = app::planned_site(&settings, &place)?;
    let document = pipeline::block_on(async {
        let now = SystemClock.now();
        let look = site.look_for(&pipeline).await?;
        let answers = Arc::new(site.ask(&look, &pipeline, now).await);
        let plan = site.decide(&look, &pipeline, &answers, now).await?;
        let (document, needs_a_person) = (plan.document(&look.snapshot), plan.needs_a_person());
        // The process ends after this. Giving back thousands of packages one by one would take longer than
        // some of what was decided.
        std::mem::forget((look, plan, site.reader.clone(), site.fallback.take()));
        Ok((document, needs_a_person))
    })?;
    let (document, needs_a_person) = document;
    pipeline::show(&document, None, context)?;
    Ok(if needs_a_person { Exit::NeedsPerson } else { Exit::Done })
}
