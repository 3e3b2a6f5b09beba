//! `ctl`: a running controller's remote control. It speaks the API and nothing else, over TCP or the
//! unix socket, and prints for people or hands on the API's JSON.

mod act;
mod client;
mod show;
mod watch;

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use self::client::Client;
pub use self::client::CtlError;
use crate::domain::name::Oid;
use crate::sys::secret::SecretString;

/// Talks to a running controller.
#[derive(Debug, Args)]
pub struct CtlArgs {
    /// Where it answers; otherwise its socket in the data directory, or else <http://127.0.0.1:8080>
    #[arg(long, env = "PKGWARDEN_URL", value_name = "URL", global = true)]
    pub url: Option<String>,
    /// What to do.
    #[command(subcommand)]
    pub command: CtlCommand,
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
        /// Its id
        id: String,
    },
    /// The log of a build, or of the latest build of a package
    Logs {
        /// A build or a package
        #[arg(value_name = "PKG|ID")]
        of: String,
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
        #[arg(value_name = "PKG|ID")]
        of: String,
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
    /// Merge it and build it
    Approve(Decision),
    /// Close it and remember what was rejected
    Reject(Decision),
}

/// What is decided about.
#[derive(Debug, Args)]
pub struct Decision {
    /// The package
    pub package: String,
    /// The commit that was read; without it the one that is there now
    #[arg(long, value_name = "COMMIT")]
    pub head: Option<Oid>,
}

/// A pipeline that needs no name.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum RunKind {
    /// What people committed, and every source
    OnSchedule,
    /// What people committed
    OnCommit,
}

/// What a command needs to know about where it is run.
#[derive(Debug)]
pub struct Surroundings {
    /// The data directory of the controller, for its socket.
    pub data_dir: PathBuf,
    /// `PKGWARDEN_TOKEN`.
    pub token: Option<SecretString>,
    /// `--format json`.
    pub json: bool,
    /// Whether to colour.
    pub colour: bool,
}

/// How a command ended that did not fail itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// All is well.
    Done,
    /// Something needs a person.
    NeedsAPerson,
    /// It waited for builds, and some failed.
    BuildsFailed,
}

/// The name of the socket in the data directory.
pub const SOCKET: &str = "control.sock";

/// The socket in a data directory.
#[must_use]
pub fn socket_path(data_dir: &Path) -> PathBuf {
    data_dir.join(SOCKET)
}

/// Does what was asked. Results are written to `out`.
///
/// # Errors
/// [`CtlError`] if the controller cannot be reached or refuses; anything that `out` says.
pub async fn run(args: CtlArgs, around: &Surroundings, out: &mut (dyn Write + Send)) -> anyhow::Result<Ending> {
    let client = Client::new(args.url, around)?;
    let mut session = Session { client, around, out };
    session.obey(args.command).await
}

/// One use of `ctl`.
struct Session<'a> {
    client: Client,
    around: &'a Surroundings,
    out: &'a mut (dyn Write + Send),
}

impl Session<'_> {
    async fn obey(&mut self, command: CtlCommand) -> anyhow::Result<Ending> {
        match command {
            CtlCommand::Deploy { packages, wait, follow } => self.deploy(packages, wait || follow, follow).await,
            CtlCommand::Status => self.status().await,
            CtlCommand::Queue => self.queue().await,
            CtlCommand::Builds { state, package, limit } => self.builds(state, package, limit).await,
            CtlCommand::Build { id } => self.build(&id).await,
            CtlCommand::Logs { of, follow } => self.logs(&of, follow).await,
            CtlCommand::Cancel { of } => self.on_build(&of, "cancel").await,
            CtlCommand::Retry { of } => self.on_build(&of, "retry").await,
            CtlCommand::Release { package } => self.release(&package).await,
            CtlCommand::Run { pipeline } => self.run_pipeline(pipeline).await,
            CtlCommand::Trigger { name } => self.trigger(&name).await,
            CtlCommand::Bump { packages } => self.bump(packages).await,
            CtlCommand::Pause => self.pause_or_resume("pause").await,
            CtlCommand::Resume => self.pause_or_resume("resume").await,
            CtlCommand::Review { command } => match command {
                ReviewCommand::List => self.reviews().await,
                ReviewCommand::Show { package } => self.review(&package).await,
                ReviewCommand::Approve(decision) => self.decide(decision, "approve").await,
                ReviewCommand::Reject(decision) => self.decide(decision, "reject").await,
            },
        }
    }
}

#[cfg(test)]
mod tests;
