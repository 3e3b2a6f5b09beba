//! `pkgwarden demo`: the whole system on this machine, with nothing to configure.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use super::context::Context;
use super::error::CliError;
use super::exit::Exit;
use super::output::{Format, lines, table};
use crate::demo::play::{Chapter, Demo, stamp};
use crate::sys::clock::{Clock as _, SystemClock};
use crate::sys::secret::ExposeSecret as _;
use crate::sys::signal;
use crate::telemetry::progress;

/// Show the whole system at work on this machine, with nothing to configure
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pkgwarden demo --once                    tell the story and end
  pkgwarden demo                           go on, with pages and reviews
  pkgwarden demo --dir ~/demo --listen 127.0.0.1:8080

The world (a package monorepo, an AUR, upstreams) lies in the directory and answers on loopback \
only. Packages are really built, with makepkg in a sandbox; nothing is installed on this machine.")]
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
    context.show_progress();
    let place = Place::find(args.dir.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(anyhow::Error::from)?;
    let result = runtime.block_on(perform(&args, place.path()));
    runtime.shutdown_background();
    match result {
        Ok(Some(chapters)) => summary(&chapters, &place.keep(), context),
        Ok(None) => place.clear().map(|()| Exit::Interrupted),
        Err(Trouble::Start(error)) => {
            place.clear()?;
            Err(CliError::from(error).hint("--listen chooses the address of the pages, --dir the directory"))
        }
        Err(Trouble::Story(error)) => {
            let dir = place.keep();
            Err(CliError::from(error).hint(format!("everything is left as it was in {}", dir.display())))
        }
    }
}

/// What went wrong.
enum Trouble {
    /// Nothing has happened yet that anybody would want to look at.
    Start(anyhow::Error),
    /// Something did not come out as it has to.
    Story(anyhow::Error),
}

/// The chapters of the story; `None` if a person ended it.
async fn perform(args: &Args, dir: &Path) -> Result<Option<Vec<Chapter>>, Trouble> {
    let mut signals = signal::listen().map_err(|error| Trouble::Start(error.into()))?;
    let mut demo = tokio::select! {
        started = Demo::start(dir, &args.listen, args.packages, Arc::new(SystemClock)) => started.map_err(Trouble::Start)?,
        _ = signals.recv() => return Ok(None),
    };
    progress::line(format_args!("listening on http://{}", demo.running.address));
    if let Some(link) = &demo.running.sign_in {
        progress::line(format_args!("to approve reviews on the pages, sign in: {}", link.expose_secret()));
    }
    let played = tokio::select! {
        played = play(&mut demo, args) => Some(played),
        _ = signals.recv() => None,
    };
    if played.is_none() {
        progress::line("ending: builds under way are stopped");
    }
    // A second signal does not wait for anything.
    tokio::select! {
        ended = demo.running.end() => ended.map_err(Trouble::Story)?,
        _ = signals.recv() => {}
    }
    played.transpose().map_err(Trouble::Story)
}

/// Where everything is kept.
enum Place {
    /// Where the person wants it.
    Named(PathBuf),
    /// A temporary directory, which goes when the demo is ended.
    Temporary(tempfile::TempDir),
}

impl Place {
    /// A directory that builds, which run as another user, can reach.
    fn find(wanted: Option<&Path>) -> Result<Self, CliError> {
        let Some(dir) = wanted else {
            let dir = tempfile::Builder::new()
                .prefix("pkgwarden-demo-")
                .permissions(std::fs::Permissions::from_mode(0o755))
                .tempdir();
            return Ok(Self::Temporary(dir.context("no temporary directory can be made")?));
        };
        std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        Ok(Self::Named(dir.canonicalize().with_context(|| format!("cannot use {}", dir.display()))?))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Named(dir) => dir,
            Self::Temporary(dir) => dir.path(),
        }
    }

    fn keep(self) -> PathBuf {
        match self {
            Self::Named(dir) => dir,
            Self::Temporary(dir) => dir.keep(),
        }
    }

    fn clear(self) -> Result<(), CliError> {
        match self {
            Self::Named(_) => Ok(()),
            Self::Temporary(dir) => {
                let path = dir.path().display().to_string();
                Ok(dir.close().with_context(|| format!("cannot remove {path}"))?)
            }
        }
    }
}

async fn play(demo: &mut Demo, args: &Args) -> anyhow::Result<Vec<Chapter>> {
    let tell = |chapter: &Chapter| {
        progress::line(format_args!("{} {}: {}", stamp(SystemClock.now()), chapter.event, chapter.result));
    };
    if args.once {
        return demo.play(tell).await;
    }
    for step in 0.. {
        demo.idle(Duration::from_secs(args.pace)).await?;
        match demo.world.next_event(step).await {
            Ok(event) => progress::line(format_args!("{} {event}", stamp(SystemClock.now()))),
            Err(error) => progress::line(format_args!("{} nothing happened: {error:#}", stamp(SystemClock.now()))),
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
    // Sentences are long; a terminal of eighty columns is enough for them all the same.
    table.set_content_arrangement(comfy_table::ContentArrangement::Dynamic);
    if let Some(seconds) = table.column_mut(2) {
        seconds.set_cell_alignment(comfy_table::CellAlignment::Right);
    }
    for chapter in chapters {
        table.add_row([chapter.event.clone(), chapter.result.clone(), format!("{:.1}", chapter.took.as_secs_f64())]);
    }
    context.output.text(format_args!("{}\n", lines(&table)))?;
    context.output.text(format_args!(
        "The published repository is {0}\nFor pacman.conf:\n\n  [demo]\n  SigLevel = Optional TrustAll\n  Server = file://{0}\n",
        published.display()
    ))?;
    Ok(Exit::Done)
}
