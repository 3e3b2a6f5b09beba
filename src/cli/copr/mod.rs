//! `pkgwarden copr`: builds on COPR for CI jobs, with their logs as they are written.

mod build;
mod show;
mod watch;

use std::path::PathBuf;
use std::str::FromStr as _;
use std::time::Duration;

use clap::{Subcommand, ValueEnum};

use super::context::Context;
use super::error::CliError;
use super::exit::Exit;
use crate::app::copr::{Copr, Following};
use crate::config::value::Period;
use crate::domain::copr::Show;

/// Build on COPR and show the logs as they are written
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pkgwarden copr build me/tools --scm https://git.example/tools --commit v1.2
  pkgwarden copr build @team/tools --url https://example.org/t-1-1.src.rpm
  pkgwarden copr build me/tools --upload t-1-1.src.rpm --chroot 'fedora-*'
  pkgwarden copr build me/tools --upload tool-1.2-1.src.rpm --nowait
  pkgwarden copr watch 101 102

Needs no configuration beside the login that COPR shows at /api, in ~/.config/copr.
Ends with status 0 if all builds succeeded or had nothing to do, and with 4 if one failed or was \
cancelled, whatever becomes of the logs. SIGTERM ends the command and not the build.")]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Begin a build, and follow it to its end
    Build(Box<build::Args>),
    /// Follow builds to their end
    Watch(watch::Args),
}

/// Which COPR, and how builds are followed.
#[derive(Debug, clap::Args)]
struct Common {
    /// File with the API login [default: ~/.config/copr]
    #[arg(long, value_name = "FILE")]
    login: Option<PathBuf>,
    /// The COPR server, in place of the one in that file
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// When logs are shown
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = Logs::Live)]
    logs: Logs,
    /// How often COPR is asked how builds stand
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = period)]
    poll: Duration,
    /// How often it is asked for more of a log
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = period)]
    log_poll: Duration,
    /// How long a build may run before its log is given up if it has none; the build goes on
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = period)]
    log_patience: Duration,
}

/// When logs are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Logs {
    /// As they are written
    Live,
    /// After the build, one after the other, as older tools do
    After,
    /// Not at all
    None,
}

impl Common {
    fn open(&self) -> Result<Copr, CliError> {
        let opened = Copr::open(self.login.as_deref(), self.server.as_deref());
        opened.map_err(|error| CliError::from(error).hint("COPR shows a login at /api; write it into ~/.config/copr"))
    }

    const fn following(&self) -> Following {
        let show = match self.logs {
            Logs::Live => Show::Live,
            Logs::After => Show::After,
            Logs::None => Show::Never,
        };
        Following { show, status: self.poll, logs: self.log_poll, patience: self.log_patience }
    }
}

fn period(text: &str) -> Result<Duration, String> {
    Period::from_str(text).map(Period::duration).map_err(|error| error.to_string())
}

pub(super) fn run(args: Args, context: &mut Context) -> Result<Exit, CliError> {
    match args.action {
        Action::Build(args) => build::run(*args, context),
        Action::Watch(args) => watch::run(args, context),
    }
}
