//! `pkgwarden serve`: the long-running controller.

use std::io::IsTerminal as _;
use std::sync::Arc;

use super::context::Context;
use super::error::CliError;
use super::exit::Exit;
use crate::app::reload::fixed;
use crate::app::serve::{self, Running};
use crate::config::Settings;
use crate::config::settings::LogLevel;
use crate::sys::clock::SystemClock;
use crate::sys::secret::{ExposeSecret as _, SecretString};
use crate::sys::signal::{self, Signal};
use crate::telemetry;

/// Keep repositories: schedules, polling, builds, pages, API
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pkgwarden serve                          as pkgwarden.toml says
  pkgwarden -C packages.git serve          keep this one repository
  PKGWARDEN__SERVER__LISTEN=127.0.0.1:0 pkgwarden serve

SIGHUP has it read its configuration again. Schedules, sources, limits and the level of the log \
change at once; for other keys it says that they need a new start. If the file is wrong, \
everything stays as it is.

SIGTERM lets runs and builds under way end first; a second one ends it at once, and what was \
interrupted is taken up again by the next start.")]
pub struct Args {}

pub(super) fn run(_: Args, context: &mut Context) -> Result<Exit, CliError> {
    let (settings, started_with) = context.settings_with_table()?;
    set_log_level(&settings);
    let dir = context.global.directory.clone();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(anyhow::Error::from)?;
    let result = runtime.block_on(async {
        let mut signals = signal::listen()?;
        let running = serve::start(&settings, &dir, Arc::new(SystemClock)).await?;
        anstream::eprintln!("listening on http://{}", running.address);
        if let Some(link) = &running.sign_in {
            anstream::eprintln!("{}", how_to_sign_in(link, &settings));
        }
        loop {
            match signals.recv().await {
                Signal::Terminate | Signal::Interrupt => break,
                Signal::Reload => reload(&running, context, &started_with),
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

/// How a browser comes to have buttons. The link is a secret, so it is shown to a person and not to a journal.
fn how_to_sign_in(link: &SecretString, settings: &Settings) -> String {
    if std::io::stderr().is_terminal() {
        return format!("to change something on the pages, sign in: {}", link.expose_secret());
    }
    let file = settings.server.data_dir.join(serve::PAGE_KEY);
    format!("to change something on the pages, sign in on /login with the key in {}", file.display())
}

/// Takes over what may change while it runs, and says what may not. A wrong file changes nothing.
fn reload(running: &Running, context: &Context, started_with: &serde_json::Value) {
    let (settings, table) = match context.settings_with_table() {
        Ok(read) => read,
        Err(CliError { error, .. }) => {
            let error = format!("{error:#}").replace('\n', "; ");
            tracing::error!("the configuration is not taken over, and everything stays as it is: {error}");
            return;
        }
    };
    running.reconfigure(&settings);
    set_log_level(&settings);
    let fixed = fixed(started_with, &table);
    if !fixed.is_empty() {
        let keys = fixed.into_iter().collect::<Vec<_>>().join(", ");
        tracing::warn!("these settings need a new start to change: {keys}");
    }
    anstream::eprintln!("the configuration was read again");
}

fn set_log_level(settings: &Settings) {
    telemetry::set_verbosity(settings.server.log.map_or(0, LogLevel::verbosity));
}
