//! `pkgwarden.toml` as it is needed: every default filled in, every value checked.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::copr::Copr;
use super::error::ConfigError;
use super::image::{Engine, ImageName};
pub use super::publish::{NamcapUse, Publish};
use super::value::{Address, CronLine, Listen, RedisAddress, Zone};
use super::written::Written;
pub use super::written::{PacmanRepository, ServiceMirror};
use super::{layer, resolve};
use crate::domain::policy::Policy;
use crate::domain::schedule::Limits;
use crate::domain::signature::Verification;
use crate::domain::upload::Limits as UploadLimits;

/// The whole configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The controller itself.
    pub server: Server,
    /// What is kept, at least one.
    pub repositories: Vec<Repository>,
}

/// The controller itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Address of pages, API and webhooks; port 0 picks a free one.
    pub listen: Listen,
    /// Everything that is kept.
    pub data_dir: PathBuf,
    /// How people reach the pages.
    pub public_url: Option<Address>,
    /// Names by which people reach them beside that.
    pub hosts: Vec<String>,
    /// How often the remote is looked at.
    pub poll: Duration,
    /// How much is logged, if the command line does not say it.
    pub log: Option<LogLevel>,
    /// File with the token of the API.
    pub token_file: Option<PathBuf>,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// What failed.
    Error,
    /// And what is strange.
    Warn,
    /// And what happens.
    Info,
    /// And how.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// As steps of `-v` and `-q`.
    #[must_use]
    pub const fn verbosity(self) -> i8 {
        match self {
            Self::Error => -1,
            Self::Warn => 0,
            Self::Info => 1,
            Self::Debug => 2,
            Self::Trace => 3,
        }
    }
}

/// One monorepo, and everything in force for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Repository {
    /// Its name in pages, URLs and logs.
    pub name: String,
    /// Its address for git; `None` for the repository the command line names.
    pub url: Option<String>,
    /// The branch with the packages; `None` leaves it to the clone, and then to `main`.
    pub branch: Option<String>,
    /// Where updates come from.
    pub sources: Sources,
    /// Where reviews are opened.
    pub forge: Forge,
    /// What runs the builds.
    pub executor: Executor,
    /// Where packages go.
    pub publish: Publish,
    /// What the operator decides.
    pub policy: Policy,
    /// When pipelines run by themselves.
    pub schedules: Vec<Schedule>,
}

/// Where updates come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources {
    /// Requests at once; `None` leaves it to `CI_MAX_PARALLEL`.
    pub parallel: Option<usize>,
    /// How long one request may take.
    pub timeout: Duration,
    /// How long the `.CI/update.sh` of one package may take.
    pub script_timeout: Duration,
    /// The Arch User Repository.
    pub aur: Aur,
    /// What the `nvchecker.toml` of packages ask for.
    pub nvchecker: Nvchecker,
    /// GitLab, where a source names no other.
    pub gitlab: ProjectHost,
    /// GitHub.
    pub github: ProjectHost,
    /// The Gitea or Forgejo that a token is for, if there is one.
    pub gitea: Option<ProjectHost>,
}

/// How versions are looked for that the `nvchecker.toml` of packages ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nvchecker {
    /// File with tokens for services.
    pub keyfile: Option<PathBuf>,
    /// What is asked in place of services.
    pub mirrors: Vec<ServiceMirror>,
    /// Where pacman has its databases.
    pub alpm_dir: PathBuf,
    /// The program nvchecker.
    pub program: PathBuf,
    /// Whether it may run commands of packages.
    pub commands: bool,
}

/// A forge on which projects are whose releases are followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectHost {
    /// Its address, without a slash at the end.
    pub url: String,
    /// Base of its API, without a slash at the end.
    pub api_url: String,
    /// File with an access token.
    pub token_file: Option<PathBuf>,
}

/// The Arch User Repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aur {
    /// The dump of all package metadata.
    pub metadata_url: Address,
    /// Base of the RPC interface, without a slash at the end.
    pub rpc_url: String,
    /// One repository per package; holds `{pkgbase}`.
    pub git_url: String,
    /// One repository with a branch per package.
    pub mirror_url: Option<String>,
    /// Which of the two git addresses is asked; `Git` if there is no mirror.
    pub prefer: AurTransport,
    /// Where packages are pushed to that are kept for the AUR; holds `{pkgbase}`, or is empty for nowhere.
    pub push_url: Option<String>,
    /// The ssh key for that.
    pub push_key_file: Option<PathBuf>,
    /// The ssh program for that, perhaps with options.
    pub push_ssh_command: Option<String>,
}

/// How files of AUR packages are fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AurTransport {
    /// From the one repository with a branch per package.
    Mirror,
    /// From the repository of each package.
    Git,
}

/// Where reviews are opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forge {
    /// What kind of forge it is.
    pub kind: ForgeKind,
    /// Base of its API.
    pub api_url: Option<Address>,
    /// The project: what is written, or what the address of the monorepo says. `None` if that is not known yet.
    pub project: Option<String>,
    /// File with the access token.
    pub token_file: Option<PathBuf>,
    /// Environment variable with the access token, in place of a file.
    pub token_variable: Option<String>,
    /// The GitHub App to act as, in place of somebody with a token.
    pub app: Option<App>,
    /// File with the secrets of its webhook, one a line.
    pub webhook_secret_file: Option<PathBuf>,
}

/// A GitHub App.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// Its number.
    pub id: u64,
    /// File with its private key.
    pub key_file: PathBuf,
}

/// What kind of forge the monorepo is hosted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ForgeKind {
    /// None: reviews are kept by the controller.
    Local,
    /// GitHub.
    Github,
    /// GitLab.
    Gitlab,
    /// Gitea or Forgejo.
    Gitea,
}

/// What runs the builds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executor {
    /// What kind of executor it is.
    pub kind: ExecutorKind,
    /// Builds at once.
    pub slots: usize,
    /// How long one build may take, before `BUILDER_EXTRA_TIMEOUT`.
    pub timeout: Duration,
    /// How long the log of one build may be, in bytes.
    pub log_bytes: u64,
    /// How much of what may run at once.
    pub limits: Limits,
    /// How much of what may be brought for one build.
    pub uploads: UploadLimits,
    /// Settings of `Local`.
    pub local: LocalExecutor,
    /// Settings of `Bullmq`.
    pub bullmq: Bullmq,
    /// Settings of `Chaotic`.
    pub chaotic: Chaotic,
    /// Settings of `Copr`.
    pub copr: Copr,
    /// Settings of `Command`.
    pub command: CommandExecutor,
    /// Settings of `Buildomat`.
    pub buildomat: Buildomat,
}

/// What kind of executor runs the builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ExecutorKind {
    /// This machine.
    Local,
    /// Workers of a queue in Redis.
    Bullmq,
    /// A Chaotic Manager.
    Chaotic,
    /// A COPR server.
    Copr,
    /// A buildomat server.
    Buildomat,
    /// A program of the operator's own.
    Command,
    /// Nothing: builds are planned and never run.
    None,
}

/// Builds by a program of the operator's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandExecutor {
    /// The program; always there with that kind.
    pub program: Option<PathBuf>,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Variables of our environment that it gets beside the usual ones.
    pub env: Vec<String>,
}

/// Builds by a buildomat server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Buildomat {
    /// The server; always there with that kind.
    pub url: Option<Address>,
    /// File with the token; always there with that kind.
    pub token_file: Option<PathBuf>,
    /// The kind of machine.
    pub target: String,
    /// What is run there, in place of our own script.
    pub script_file: Option<PathBuf>,
}

/// Builds on this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LocalExecutor {
    /// Who runs makepkg if the controller runs as root.
    pub user: Option<String>,
    /// Its class; without a name either, it takes everything.
    pub class: Option<u64>,
    /// Its name among the builders.
    pub name: Option<String>,
    /// When PGP signatures of sources are verified.
    pub pgp: Verification,
    /// The directory with pacman's keyring, if it is another one than the machine's own.
    pub keyring: Option<PathBuf>,
    /// Pacman repositories that builds may install from; the first wins.
    pub repositories: Vec<PacmanRepository>,
    /// The most bytes of all cache sets together.
    pub cache_bytes: u64,
    /// The image that builds are done in.
    pub image: Option<ImageName>,
    /// Who knows it.
    pub engine: Engine,
}

/// Builds by workers of a queue in Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bullmq {
    /// The Redis server.
    pub url: RedisAddress,
    /// File with the password.
    pub password_file: Option<PathBuf>,
    /// File with the certificates of whom to trust.
    pub ca_file: Option<PathBuf>,
    /// Name of the queue.
    pub queue: String,
    /// Prefix of its keys.
    pub prefix: String,
}

/// Builds by a Chaotic Manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chaotic {
    /// How it is spoken to.
    pub protocol: Protocol,
    /// Its Redis server.
    pub url: RedisAddress,
    /// File with the password.
    pub password_file: Option<PathBuf>,
    /// File with the certificates of whom to trust.
    pub ca_file: Option<PathBuf>,
}

/// How a Chaotic Manager is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Over Moleculer's bus: managers since October 2024.
    Moleculer,
    /// Through queues of `BullMQ`: managers of April to October 2024.
    Bullmq,
}

/// When one pipeline runs by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// The time table.
    pub cron: CronLine,
    /// Its time zone.
    pub zone: Zone,
    /// What is run.
    pub run: ScheduledRun,
}

impl Schedule {
    /// The first time after `now` at which it is due; `None` if it never is.
    #[must_use]
    pub fn next_after(&self, now: Timestamp) -> Option<Timestamp> {
        self.cron.next_after(now, &self.zone)
    }
}

/// What a schedule runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScheduledRun {
    /// Pipeline `on-schedule`.
    OnSchedule,
    /// The trigger of this name.
    Trigger(String),
}

/// Lays the environment over the file (its path, for messages, and its text) over the defaults.
///
/// # Errors
/// Everything that is wrong, not only the first thing.
pub fn load(file: Option<(&str, &str)>, env: &BTreeMap<String, String>) -> Result<Settings, ConfigError> {
    checked(file, env).map(resolve::resolve)
}

/// The settings in force as a table of the shape of `pkgwarden.toml`, with passwords blotted out.
///
/// # Errors
/// As [`load`].
pub fn in_force(
    file: Option<(&str, &str)>,
    env: &BTreeMap<String, String>,
) -> Result<impl Serialize + use<>, ConfigError> {
    checked(file, env)
}

/// Every setting in force, in the shape of `forge.kind = "github"`, with where it came from: a line of the file, an
/// environment variable, the job of a CI service, or the default.
///
/// # Errors
/// As [`load`].
pub fn origins(
    file: Option<(&str, &str)>,
    env: &BTreeMap<String, String>,
) -> Result<Vec<(String, serde_json::Value, String)>, ConfigError> {
    checked(file, env)?;
    Ok(layer::read(file, env).0.origins())
}

fn checked(file: Option<(&str, &str)>, env: &BTreeMap<String, String>) -> Result<Written, ConfigError> {
    let (layers, mut problems) = layer::read(file, env);
    problems.extend(resolve::check(&layers));
    problems.sort_by_key(|problem| problem.position().unwrap_or((usize::MAX, 0)));
    if problems.is_empty() { Ok(layers.written) } else { Err(ConfigError { problems }) }
}

#[cfg(test)]
mod tests;
