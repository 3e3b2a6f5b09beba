//! `pkgwarden builder`: builds for a controller on another machine, or on this one.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::context::Context;
use super::error::CliError;
use super::exit::Exit;
use crate::app::fleet::{self, Wanted};
use crate::config::settings::LogLevel;
use crate::sys::signal::{self, Signal};
use crate::telemetry;

/// Build for a controller with `executor.kind = "bullmq"`, on this machine
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pkgwarden builder                        as [executor.bullmq] says
  pkgwarden builder --class 2 --slots 4 --name big
  PKGWARDEN__EXECUTOR__BULLMQ__URL=rediss://redis.example/0 pkgwarden builder

It takes builds of its class and lower ones, those that name it, and those of no class. It needs to reach \
Redis and the pages of the controller (server.public_url there), and nothing needs to reach it.

SIGTERM lets builds under way end and takes no others; a second one, or --patience, gives them back, so \
that other builders take them.")]
pub struct Args {
    /// Class of this builder: it takes builds that ask for this or less
    #[arg(long, value_name = "N", default_value_t = 0)]
    class: u32,
    /// Builds at once
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=256))]
    slots: usize,
    /// Name of this builder, unique in the fleet [default: that of the machine]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// How long builds may go on after SIGTERM, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    patience: u64,
}

pub(super) fn run(args: Args, context: &mut Context) -> Result<Exit, CliError> {
    let settings = context.settings()?;
    telemetry::set_verbosity(settings.server.log.map_or(0, LogLevel::verbosity));
    let name = match args.name {
        Some(name) => name,
        None => fleet::machine()?,
    };
    let patience = Duration::from_secs(args.patience);
    let wanted = Wanted { name, class: args.class, slots: args.slots, patience };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(anyhow::Error::from)?;
    let result = runtime.block_on(async {
        let mut signals = signal::listen()?;
        let station = fleet::station(&settings, wanted).await?;
        let (drain, stop) = (CancellationToken::new(), CancellationToken::new());
        let running = station.run(drain.clone(), stop.clone());
        tokio::pin!(running);
        loop {
            tokio::select! {
                ended = &mut running => return ended,
                signal = signals.recv() => match signal {
                    Signal::Reload => {}
                    Signal::Terminate | Signal::Interrupt if drain.is_cancelled() => stop.cancel(),
                    Signal::Terminate | Signal::Interrupt => {
                        anstream::eprintln!("draining: builds under way may end; once more to give them back");
                        drain.cancel();
                    }
                },
            }
        }
    });
    runtime.shutdown_background();
    result.map(|()| Exit::Done).map_err(CliError::from)
}
