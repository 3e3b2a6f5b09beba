//! `ctl`: a running controller's remote control. It speaks the API and nothing else, over TCP or the
//! unix socket, and prints for people or hands on the API's JSON.

mod act;
mod cache;
mod client;
mod repo;
mod show;
mod watch;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use self::client::{Client, Place};
use super::audit::Wanted;
use super::context::Context;
use super::error::CliError;
use super::exit::Exit;
use super::output::{Format, Output};
use super::pipeline::{Because, Leavers, Newcomers, package};
use super::repo::Promote;
use crate::app::serve::SOCKET;
use crate::domain::cache::SetName;
use crate::domain::name::{Oid, PkgBase};
use crate::domain::policy::Person;
use crate::sys::secret::SecretString;
use clap::Subcommand;

const URL_HELP: &str = "Where the controller answers [default: PKGWARDEN_URL, else its socket in the data directory, \
                        else at server.listen]";

/// Tell a running controller what to do, or ask how it stands
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pkgwarden ctl status
  pkgwarden ctl deploy firefox --follow    build it now, print the log
  pkgwarden ctl logs firefox -f
  pkgwarden ctl runs 42                    what a run did, and its problems
  pkgwarden ctl review show sundial        why it waits, and what would change
  pkgwarden ctl audit --indicator npm:atomic-lockfile --history
  pkgwarden ctl quarantine alvr --reason 'fetches atomic-lockfile'
  PKGWARDEN_URL=https://packages.example PKGWARDEN_TOKEN=… pkgwarden ctl pause

On the machine of the controller its socket in the data directory is used, which needs no token.
Ends with status 3 if a run met something that needs a person, with 1 if a build that was waited \
for failed.")]
pub struct Args {
    #[arg(long, value_name = "URL", global = true, help = URL_HELP)]
    url: Option<String>,
    /// What to do.
    #[command(subcommand)]
    command: CtlCommand,
}

/// What to tell or ask it.
#[derive(Debug, Subcommand)]
pub enum CtlCommand {
    /// Build packages now
    Deploy {
        /// PKG, PKG/CLASS or `all`
        #[arg(required = true, value_name = "PKG[/CLASS]|all")]
        packages: Vec<String>,
        /// Come back when they are built
        #[arg(long)]
        wait: bool,
        /// Print their logs meanwhile
        #[arg(long)]
        follow: bool,
    },
    /// What needs a person, what is building
    Status,
    /// Everything that has not ended
    Queue,
    /// The latest runs; or one, with what it did and everything that it found wrong
    Runs {
        /// A run; without one, the latest are listed
        #[arg(value_name = "RUN")]
        run: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 30, conflicts_with = "run")]
        limit: usize,
    },
    /// The latest builds
    Builds {
        /// Only those in this state
        #[arg(long)]
        state: Option<String>,
        /// Only those of this package
        #[arg(long, value_name = "PKG")]
        package: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 30)]
        limit: usize,
    },
    /// One build
    Build {
        /// A build, or a package whose latest build is meant
        #[arg(value_name = "PKG|ID")]
        of: String,
    },
    /// One package: its sources and how asking them goes, what the last run decided, its builds
    Explain {
        /// The package
        package: String,
    },
    /// The log of a build, or of the latest build of a package; or what its `.CI/update.sh` printed
    Logs {
        /// A build or a package
        #[arg(value_name = "PKG|ID")]
        of: String,
        /// What the `.CI/update.sh` of a package printed when it was run last
        #[arg(long, conflicts_with = "follow")]
        script: bool,
        /// Go on until it ends
        #[arg(short, long)]
        follow: bool,
    },
    /// Stop a build
    Cancel {
        /// A build, or a package whose latest build is meant
        #[arg(value_name = "PKG|ID")]
        of: String,
    },
    /// Try a build again
    Retry {
        /// A build, or a package whose latest build is meant
        #[arg(value_name = "PKG|ID", required_unless_present = "lost")]
        of: Option<String>,
        /// All that were lost through no fault of their own, and of which there is no newer build
        #[arg(long, conflicts_with = "of")]
        lost: bool,
    },
    /// Build a blocked package although something it needs has failed
    Release {
        /// The package
        package: String,
    },
    /// Run a pipeline to its end
    Run {
        /// Which
        pipeline: RunKind,
    },
    /// Build the packages that wait for a trigger
    Trigger {
        /// Its name
        name: String,
    },
    /// Raise the bump of packages and build them
    Bump {
        /// PKG or `all`
        #[arg(required = true, value_name = "PKG|all")]
        packages: Vec<String>,
    },
    /// Take packages into the monorepo, and build them
    Add(Newcomers),
    /// Take packages out of the monorepo and of the published repository
    Drop(Leavers),
    /// List what is in quarantine, or take packages, and all that is built with them, out of service
    Quarantine {
        /// Packages; without any, those in quarantine are listed
        #[arg(value_name = "PKG", requires = "reason", value_parser = package)]
        packages: Vec<PkgBase>,
        /// Why, for whoever reads it later
        #[arg(long, value_name = "TEXT", requires = "packages")]
        reason: Option<String>,
    },
    /// Take packages back into service, and build what was due
    Lift(Because),
    /// Find traces of a campaign in packages, reviews, records and, if asked, the past
    Audit {
        #[command(flatten)]
        wanted: Wanted,
        /// End with status 3 if anything is found
        #[arg(long)]
        exit_code: bool,
    },
    /// What builds keep for the next one of their package
    Cache {
        /// What to do with it.
        #[command(subcommand)]
        command: CacheCommand,
    },
    /// Published package repositories
    Repo {
        /// What to do with them.
        #[command(subcommand)]
        command: RepoCommand,
    },
    /// Stop schedules and polling
    Pause,
    /// Take them up again
    Resume,
    /// Updates that wait for a person
    Review {
        /// What to do with them.
        #[command(subcommand)]
        command: ReviewCommand,
    },
}

/// What to do with reviews.
#[derive(Debug, Subcommand)]
pub enum ReviewCommand {
    /// All of them
    List,
    /// Why, and what would change
    Show {
        /// The package
        package: String,
    },
    /// Count an approval: the last that is needed merges it and builds it
    Approve(Approval),
    /// Close it and remember what was rejected
    Reject(Rejection),
}

/// What to do with cache sets.
#[derive(Debug, Subcommand)]
pub enum CacheCommand {
    /// All archives, the one used last first
    List {
        /// Only those of this package
        #[arg(long, value_name = "PKG", value_parser = package)]
        package: Option<PkgBase>,
    },
    /// One archive: where it is from and what it holds
    Show {
        /// Its key, or the beginning of it
        key: String,
    },
    /// See to it that no build finds what was saved of a set until now
    Invalidate {
        /// The set
        name: SetName,
        /// Only of this package
        #[arg(long, value_name = "PKG", value_parser = package)]
        package: Option<PkgBase>,
        /// Only of this monorepo
        #[arg(long, value_name = "NAME")]
        repository: Option<String>,
    },
    /// Remove what the limits leave no room for
    Prune,
}

/// What to do with published package repositories.
#[derive(Debug, Subcommand)]
pub enum RepoCommand {
    /// List the generations that are kept
    Generations,
    /// Everything in a generation, with where each package came from
    Generation {
        /// Its number [default: the published one]
        number: Option<u64>,
        /// The package repository [default: the main one]
        #[arg(long, value_name = "NAME")]
        target: Option<String>,
    },
    /// Move packages from staging to the release, if nothing there breaks
    Promote(Promote),
    /// What left the monorepo and is still published; ends with status 3 if somebody has to confirm that it goes
    Removals {
        /// Have what is listed removed, although it is more than `publish.max_removals` allows
        #[arg(long)]
        confirm: bool,
    },
}

/// What is rejected, by whom and why.
#[derive(Debug, clap::Args)]
pub struct Rejection {
    #[command(flatten)]
    decision: Decision,
    /// Why, for whoever reads it later
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Who rejects it [default: the name of the user]
    #[arg(long = "as", value_name = "NAME")]
    by: Option<String>,
}

/// What is decided about.
#[derive(Debug, clap::Args)]
pub struct Decision {
    /// The package
    #[arg(required_unless_present = "group")]
    pub package: Option<String>,
    /// The commit that was read; without it the one that is there now
    #[arg(long, value_name = "COMMIT")]
    pub head: Option<Oid>,
    /// In place of a package: all that waits of this group
    #[arg(long, value_name = "NAME", conflicts_with_all = ["package", "head"])]
    pub group: Option<String>,
}

/// What is approved, and by whom.
#[derive(Debug, clap::Args)]
pub struct Approval {
    #[command(flatten)]
    decision: Decision,
    /// Who approves it [default: the name of the user]
    #[arg(long = "as", value_name = "NAME")]
    by: Option<String>,
}

/// A pipeline that needs no name.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum RunKind {
    /// What people committed, and every source
    OnSchedule,
    /// What people committed
    OnCommit,
}

pub(super) fn run(args: Args, context: &mut Context) -> Result<Exit, CliError> {
    context.show_progress();
    let place = place(args.url, context)?;
    let token = context.env.get("PKGWARDEN_TOKEN").filter(|token| !token.is_empty());
    let client = Client::new(place, token.map(|token| SecretString::from(token.as_str())))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(anyhow::Error::from)?;
    let user = context.env.get("USER").filter(|name| Person::new(name).is_ok()).cloned();
    let mut session = Session { client, user, out: &mut context.output };
    runtime.block_on(session.obey(args.command))
}

/// Where the controller is: as it is said, or behind its socket, or at the default address.
fn place(url: Option<String>, context: &Context) -> Result<Place, CliError> {
    let said = url.or_else(|| context.env.get("PKGWARDEN_URL").filter(|url| !url.is_empty()).cloned());
    if let Some(url) = said {
        return Ok(Place::Url(url));
    }
    let server = context.settings()?.server;
    let socket = socket_path(&server.data_dir);
    Ok(if socket.exists() { Place::Socket(socket) } else { Place::Url(address_of(server.listen.socket_address())) })
}

/// How a controller that listens there is reached on the same machine.
fn address_of(mut listen: SocketAddr) -> String {
    if listen.ip().is_unspecified() {
        let is_old = listen.is_ipv4();
        listen.set_ip(if is_old { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
    }
    format!("http://{listen}")
}

fn socket_path(data_dir: &Path) -> PathBuf {
    data_dir.join(SOCKET)
}

/// One use of `ctl`.
struct Session<'a> {
    client: Client,
    user: Option<String>,
    out: &'a mut Output,
}

impl Session<'_> {
    fn is_json(&self) -> bool {
        self.out.format == Format::Json
    }

    async fn obey(&mut self, command: CtlCommand) -> Result<Exit, CliError> {
        match command {
            CtlCommand::Deploy { packages, wait, follow } => self.deploy(packages, wait || follow, follow).await,
            CtlCommand::Status => self.status().await,
            CtlCommand::Queue => self.queue().await,
            CtlCommand::Runs { run: Some(run), .. } => self.show_run(&run).await,
            CtlCommand::Runs { run: None, limit } => self.runs(limit).await,
            CtlCommand::Builds { state, package, limit } => self.builds(state, package, limit).await,
            CtlCommand::Build { of } => self.build(&of).await,
            CtlCommand::Explain { package } => self.explain(&package).await,
            CtlCommand::Logs { of, script: true, .. } => self.script_log(&of).await,
            CtlCommand::Logs { of, follow, .. } => self.logs(&of, follow).await,
            CtlCommand::Cancel { of } => self.on_build(&of, "cancel").await,
            CtlCommand::Retry { of: Some(of), .. } => self.on_build(&of, "retry").await,
            CtlCommand::Retry { of: None, .. } => self.retry_lost().await,
            CtlCommand::Release { package } => self.release(&package).await,
            CtlCommand::Run { pipeline } => self.run_pipeline(pipeline).await,
            CtlCommand::Trigger { name } => self.trigger(&name).await,
            CtlCommand::Bump { packages } => self.bump(packages).await,
            CtlCommand::Add(newcomers) => self.add(&newcomers).await,
            CtlCommand::Drop(leavers) => self.drop_packages(&leavers).await,
            CtlCommand::Quarantine { packages, reason } => self.quarantine(packages, reason).await,
            CtlCommand::Lift(Because { packages, reason }) => self.lift(packages, &reason).await,
            CtlCommand::Audit { wanted, exit_code } => self.audit(&wanted, exit_code).await,
            CtlCommand::Cache { command } => match command {
                CacheCommand::List { package } => self.caches(package).await,
                CacheCommand::Show { key } => self.cache(&key).await,
                CacheCommand::Invalidate { name, package, repository } => {
                    self.invalidate_caches(&name, package, repository).await
                }
                CacheCommand::Prune => self.prune_caches().await,
            },
            CtlCommand::Repo { command } => self.repo(command).await,
            CtlCommand::Pause => self.pause_or_resume("pause").await,
            CtlCommand::Resume => self.pause_or_resume("resume").await,
            CtlCommand::Review { command } => match command {
                ReviewCommand::List => self.reviews().await,
                ReviewCommand::Show { package } => self.review(&package).await,
                ReviewCommand::Approve(approval) => self.approve(approval).await,
                ReviewCommand::Reject(rejection) => self.reject(rejection).await,
            },
        }
    }
}

#[cfg(test)]
mod tests;
