//! `pkgwarden demo`: the whole system on this machine, with nothing to configure.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use super::context::Context;
use super::error::CliError;
use super::exit::Exit;
use super::output::{Format, table};
use crate::demo::play::{Chapter, Demo, stamp};
use crate::sys::clock::{Clock as _, SystemClock};
use crate::sys::signal;

/// Show the whole system at work on this machine, with nothing to configure
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pkgwarden demo --once                    play the story through and print what happened
  pkgwarden demo                           keep going, with pages to look at and reviews to approve
  pkgwarden demo --dir ~/demo --listen 127.0.0.1:8080

The world (a package monorepo, an AUR, upstreams) lies in the directory and answers on loopback only.
Packages are really built, with makepkg in a sandbox; nothing is installed on this machine.")]
pub struct Args {
    /// Where everything is kept; a demo that is there already goes on [default: a new directory in the temporary one]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Address of the pages; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: String,
    /// So many small packages more
    #[arg(long, value_name = "N", default_value_t = 0)]
    packages: usize,
    /// Play the story through, print a summary, and end
    #[arg(long)]
    once: bool,
    /// Seconds between two events, if it is not played through
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    pace: u64,
}

pub(super) fn run(args: Args, context: &mut Context) -> Result<Exit, CliError> {
    let dir = directory(args.dir.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(anyhow::Error::from)?;
    let result = runtime.block_on(async {
        let mut signals = signal::listen()?;
        let demo = Demo::start(&dir, &args.listen, args.packages, Arc::new(SystemClock)).await?;
        anstream::eprintln!("listening on http://{}", demo.running.address);
        tokio::select! {
            chapters = play(demo, &args) => chapters.map(Some),
            _ = signals.recv() => Ok(None),
        }
    });
    runtime.shutdown_background();
    match result? {
        Some(chapters) => summary(&chapters, &dir, context),
        None => Ok(Exit::Interrupted),
    }
}

/// A directory that builds, which run as another user, can reach.
fn directory(wanted: Option<&Path>) -> Result<PathBuf, CliError> {
    let Some(dir) = wanted else {
        let dir = tempfile::Builder::new()
            .prefix("pkgwarden-demo-")
            .permissions(std::fs::Permissions::from_mode(0o755))
            .tempdir();
        return Ok(dir.context("no temporary directory can be made")?.keep());
    };
    std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    Ok(dir.canonicalize().with_context(|| format!("cannot use {}", dir.display()))?)
}

async fn play(mut demo: Demo, args: &Args) -> anyhow::Result<Vec<Chapter>> {
    let tell = |chapter: &Chapter| {
        anstream::eprintln!("{} {}: {}", stamp(SystemClock.now()), chapter.event, chapter.result);
    };
    if args.once {
        let chapters = demo.play(tell).await?;
        demo.running.drain().await?;
        return Ok(chapters);
    }
    for step in 0.. {
        tokio::time::sleep(Duration::from_secs(args.pace)).await;
        match demo.world.next_event(step).await {
            Ok(event) => anstream::eprintln!("{} {event}", stamp(SystemClock.now())),
            Err(error) => anstream::eprintln!("{} nothing happened: {error:#}", stamp(SystemClock.now())),
        }
        demo.ask_sources().await?;
    }
    Ok(Vec::new())
}

fn summary(chapters: &[Chapter], dir: &Path, context: &mut Context) -> Result<Exit, CliError> {
    let published = dir.join("published");
    if context.output.format == Format::Json {
        let chapters: Vec<_> = chapters
            .iter()
            .map(|it| serde_json::json!({"event": it.event, "result": it.result, "seconds": it.took.as_secs_f64()}))
            .collect();
        context.output.json(&serde_json::json!({"chapters": chapters, "published": published}))?;
        return Ok(Exit::Done);
    }
    let mut table = table(&["what happened", "what came of it", "seconds"]);
    for chapter in chapters {
        table.add_row([chapter.event.clone(), chapter.result.clone(), format!("{:.1}", chapter.took.as_secs_f64())]);
    }
    context.output.text(format_args!("{table}\n\n"))?;
    context.output.text(format_args!(
        "The published repository is {0}\nFor pacman.conf:\n\n  [demo]\n  SigLevel = Optional TrustAll\n  Server = file://{0}\n",
        published.display()
    ))?;
    Ok(Exit::Done)
}
