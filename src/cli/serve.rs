//! `pkgwarden serve`: the long-running controller.

use std::sync::Arc;

use super::context::Context;
use super::error::CliError;
use super::exit::Exit;
use crate::app::serve;
use crate::sys::clock::SystemClock;
use crate::sys::signal::{self, Signal};

/// Keep repositories: schedules, polling, builds, pages, API
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pkgwarden serve                          as pkgwarden.toml says
  pkgwarden -C packages.git serve          keep this one repository
  PKGWARDEN__SERVER__LISTEN=127.0.0.1:0 pkgwarden serve

SIGTERM lets runs and builds under way end first; a second one ends it at once, and what was interrupted
is taken up again by the next start.")]
pub struct Args {}

pub(super) fn run(_: Args, context: &mut Context) -> Result<Exit, CliError> {
    let settings = context.settings()?;
    let dir = context.global.directory.clone();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(anyhow::Error::from)?;
    let result = runtime.block_on(async {
        let mut signals = signal::listen()?;
        let running = serve::start(&settings, &dir, Arc::new(SystemClock)).await?;
        anstream::eprintln!("listening on http://{}", running.address);
        loop {
            match signals.recv().await {
                Signal::Terminate | Signal::Interrupt => break,
                Signal::Reload => anstream::eprintln!("the configuration is read again at the next start"),
            }
        }
        anstream::eprintln!("draining: runs and builds under way may end; once more to end at once");
        tokio::select! {
            drained = running.drain() => drained,
            _ = signals.recv() => Ok(()),
        }
    });
    runtime.shutdown_background();
    result.map(|()| Exit::Done).map_err(CliError::from)
}
