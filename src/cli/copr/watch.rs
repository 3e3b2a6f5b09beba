//! `pkgwarden copr watch`, and following what `copr build` began.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use super::super::context::Context;
use super::super::error::CliError;
use super::super::exit::Exit;
use super::Common;
use super::show::Shown;
use crate::app::copr::{Copr, Ended, Following, Told};
use crate::domain::copr::State;
use crate::sys::signal::{self, Signal};

/// So much may wait to be shown, in pieces of about 64 KiB: who reads slowly keeps the logs waiting, not in memory.
const WAITING: usize = 16;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Numbers of builds
    #[arg(required = true, value_name = "ID")]
    builds: Vec<u64>,
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(args: Args, context: &mut Context) -> Result<Exit, CliError> {
    let copr = args.common.open()?;
    let mut builds = args.builds;
    builds.sort_unstable();
    builds.dedup();
    follow(&copr, &builds, args.common.following(), context)
}

/// Shows builds to their ends; what is written is written here, while they are followed elsewhere.
pub(super) fn follow(
    copr: &Copr,
    builds: &[u64],
    following: Following,
    context: &mut Context,
) -> Result<Exit, CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(anyhow::Error::from)?;
    let (sender, told) = sync_channel::<Told>(WAITING);
    let stop = CancellationToken::new();
    let watching = {
        let (copr, builds, stop) = (copr.clone(), builds.to_vec(), stop.clone());
        runtime.spawn(async move {
            let listener = Arc::new(move |told| sender.send(told).is_ok());
            let mut signals = signal::listen()?;
            let watch = copr.watch(&builds, following, listener, stop.clone());
            tokio::pin!(watch);
            loop {
                tokio::select! {
                    ended = &mut watch => return ended,
                    asked = signals.recv() => if asked != Signal::Reload { stop.cancel() },
                }
            }
        })
    };
    let mut shown = Shown::new(following.show, context);
    let written = told.iter().try_for_each(|told| shown.tell(told, context));
    // Without anybody to tell, the watch ends.
    drop(told);
    written?;
    let ended = runtime.block_on(watching).context("following builds")??;
    shown.end(&ended, context)?;
    Ok(conclude(copr, &ended))
}

/// What copr-cli says in the end, and the status that it ends with.
fn conclude(copr: &Copr, ended: &[Ended]) -> Exit {
    let named = |wanted: &dyn Fn(State) -> bool| {
        let ids = ended.iter().filter(|(_, state)| state.is_some_and(wanted)).map(|(id, _)| id.to_string());
        ids.collect::<Vec<_>>().join(", ")
    };
    let failed = named(&|state| !state.is_good() && state != State::Canceled);
    let canceled = named(&|state| state == State::Canceled);
    let left: Vec<_> = ended.iter().filter(|(_, state)| state.is_none()).map(|(id, _)| *id).collect();
    for id in &left {
        anstream::eprintln!("build {id} goes on: {}; `pkgwarden copr watch {id}` follows it", copr.page(*id));
    }
    let told = [(failed, "failed"), (canceled, "canceled")].into_iter().filter(|(ids, _)| !ids.is_empty());
    let told: Vec<_> = told.map(|(ids, word)| format!("Build(s) {ids} {word}.")).collect();
    if !told.is_empty() {
        anstream::eprintln!("Build error: {}", told.join(" "));
        return Exit::BuildFailed;
    }
    if left.is_empty() { Exit::Done } else { Exit::Interrupted }
}
