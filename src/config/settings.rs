//! `pkgwarden.toml` as it is needed: layers laid over each other, defaults filled in, and what depends
//! on more than one key checked.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::ConfigError;
use super::layer::{self, Layers};
use super::value::{Address, CronLine, Listen, Name, Zone};
pub use super::written::PacmanRepository;
use super::written::{
    Layer, ScheduledPipeline, Written, WrittenExecutor, WrittenForge, WrittenPolicy, WrittenPublish, WrittenRepository,
    WrittenSchedule, WrittenServer, WrittenSources,
};
use crate::domain::policy::Policy;

/// The name of the repository if the configuration lists none.
const ONLY_REPOSITORY: &str = "packages";

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
    /// How often the remote is looked at.
    pub poll: Duration,
    /// File with the token of the API.
    pub token_file: Option<PathBuf>,
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
    /// The Arch User Repository.
    pub aur: Aur,
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
    /// The project; always there unless the kind is `Local`.
    pub project: Option<String>,
    /// File with the access token.
    pub token_file: Option<PathBuf>,
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
    /// Builds at once on this machine.
    pub slots: usize,
    /// How long one build may take, before `BUILDER_EXTRA_TIMEOUT`.
    pub timeout: Duration,
    /// Settings of `Local`.
    pub local: LocalExecutor,
    /// Settings of `Bullmq`.
    pub bullmq: Bullmq,
    /// Settings of `Copr`.
    pub copr: Copr,
    /// The program of `Command`; always there with that kind.
    pub command: Option<PathBuf>,
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

/// Builds on this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LocalExecutor {
    /// Who runs makepkg if the controller runs as root.
    pub user: Option<String>,
    /// Pacman repositories that builds may install from; the first wins.
    pub repositories: Vec<PacmanRepository>,
}

/// Builds by workers of a queue in Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bullmq {
    /// The Redis server.
    pub url: Address,
    /// Name of the queue.
    pub queue: String,
    /// Prefix of its keys.
    pub prefix: String,
}

/// Builds on COPR; all three are there with that kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Copr {
    /// The server.
    pub url: Option<Address>,
    /// The project, with its owner.
    pub project: Option<String>,
    /// File with the API login.
    pub login_file: Option<PathBuf>,
}

/// Where packages go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// The directory of the repository.
    pub dir: PathBuf,
    /// Its name; `None` leaves it to `REPO_NAME`.
    pub name: Option<String>,
    /// Whether packages and database are signed.
    pub sign: bool,
    /// Earlier generations that are kept.
    pub keep: usize,
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
    let layers = layer::read(file, env)?;
    let problems = check(&layers);
    if problems.is_empty() { Ok(resolve(layers.written)) } else { Err(ConfigError { problems }) }
}

/// The settings in force as a table of the shape of `pkgwarden.toml`, with passwords blotted out.
///
/// # Errors
/// As [`load`].
pub fn in_force(
    file: Option<(&str, &str)>,
    env: &BTreeMap<String, String>,
) -> Result<impl Serialize + use<>, ConfigError> {
    load(file, env)?;
    layer::read(file, env).map(|layers| layers.written)
}

/// What depends on more than one key.
fn check(layers: &Layers<'_>) -> Vec<super::Problem> {
    let mut problems = Vec::new();
    let mut names = BTreeSet::new();
    let written = &layers.written;
    let repositories = written.repository.as_deref().unwrap_or_default();
    for (index, repository) in repositories.iter().enumerate() {
        if !names.insert(&repository.name) {
            let message = format!("there are two repositories with the name `{}`", repository.name);
            problems.push(layers.problem(Some(index), &["name"], message, "give each its own name"));
        }
        let in_force = in_force_for(repository.clone(), written);
        problems.extend(check_sections(layers, Some(index), &in_force));
    }
    if repositories.is_empty() {
        problems.extend(check_sections(layers, None, written));
    }
    problems
}

fn check_sections(layers: &Layers<'_>, repository: Option<usize>, written: &Written) -> Vec<super::Problem> {
    let mut problems = Vec::new();
    let mut require = |given: bool, section: &[&str], key: &str, reason: &str| {
        if !given {
            let message = format!("{reason}, which needs `{}.{key}`", section.join("."));
            let place: Vec<&str> = section[..1].iter().copied().chain(["kind"]).collect();
            problems.push(layers.problem(
                repository,
                &place,
                message,
                &format!("set `{key}` in [{}]", section.join(".")),
            ));
        }
    };
    let (forge, executor) = (&written.forge, &written.executor);
    if forge.kind.is_some_and(|kind| kind != ForgeKind::Local) {
        require(forge.project.is_some(), &["forge"], "project", "the monorepo is on a forge");
        require(forge.token_file.is_some(), &["forge"], "token_file", "the monorepo is on a forge");
    }
    if executor.kind == Some(ExecutorKind::Command) {
        require(executor.command.program.is_some(), &["executor", "command"], "program", "a command runs the builds");
    }
    if executor.kind == Some(ExecutorKind::Copr) {
        let copr = &executor.copr;
        require(copr.url.is_some(), &["executor", "copr"], "url", "COPR runs the builds");
        require(copr.project.is_some(), &["executor", "copr"], "project", "COPR runs the builds");
        require(copr.login_file.is_some(), &["executor", "copr"], "login_file", "COPR runs the builds");
    }
    if written.sources.aur.git_url.as_ref().is_some_and(|url| !url.as_str().contains("{pkgbase}")) {
        let message = "the address holds no `{pkgbase}`, so that every package would have the same".into();
        let hint = "write {pkgbase} where the name of the package goes";
        problems.push(layers.problem(repository, &["sources", "aur", "git_url"], message, hint));
    }
    for (index, schedule) in written.schedule.iter().flatten().enumerate() {
        let message = match (schedule.run, &schedule.name) {
            (ScheduledPipeline::Trigger, None) => "a schedule with run = \"trigger\" needs the `name` of the trigger",
            (ScheduledPipeline::OnSchedule, Some(_)) => "only a schedule with run = \"trigger\" has a `name`",
            (ScheduledPipeline::Trigger, Some(_)) | (ScheduledPipeline::OnSchedule, None) => continue,
        };
        let index = index.to_string();
        problems.push(layers.problem(repository, &["schedule", &index, "run"], message.into(), ""));
    }
    problems
}

/// The sections in force for one of several repositories.
fn in_force_for(repository: WrittenRepository, common: &Written) -> Written {
    let own = Written {
        schedule: repository.schedule,
        sources: repository.sources,
        forge: repository.forge,
        executor: repository.executor,
        publish: repository.publish,
        policy: repository.policy,
        ..Written::default()
    };
    // One directory cannot hold the packages of two repositories.
    let mut common = common.clone();
    common.publish.dir = None;
    own.over(common)
}

fn resolve(mut written: Written) -> Settings {
    let server = resolve_server(written.server.clone());
    let listed = written.repository.take().unwrap_or_default();
    let repositories = if listed.is_empty() {
        vec![resolve_repository(ONLY_REPOSITORY, None, None, written, &server)]
    } else {
        let resolve_one = |repository: WrittenRepository| {
            let (name, url) = (repository.name.to_string(), repository.url.as_str().to_owned());
            let branch = repository.branch.clone();
            resolve_repository(&name, Some(url), branch, in_force_for(repository, &written), &server)
        };
        listed.into_iter().map(resolve_one).collect()
    };
    Settings { server, repositories }
}

/// A value that `defaults.toml` gives if nobody else does.
fn given<T>(value: Option<T>) -> T {
    value.expect("defaults.toml gives this key")
}

fn resolve_server(server: WrittenServer) -> Server {
    Server {
        listen: given(server.listen),
        data_dir: given(server.data_dir),
        public_url: server.public_url,
        poll: given(server.poll).duration(),
        token_file: server.token_file,
    }
}

fn resolve_repository(
    name: &str,
    url: Option<String>,
    branch: Option<String>,
    written: Written,
    server: &Server,
) -> Repository {
    Repository {
        name: name.to_owned(),
        url,
        branch,
        sources: resolve_sources(written.sources),
        forge: resolve_forge(written.forge),
        executor: resolve_executor(written.executor),
        publish: resolve_publish(written.publish, name, server),
        policy: resolve_policy(&written.policy),
        schedules: written.schedule.unwrap_or_default().into_iter().map(resolve_schedule).collect(),
    }
}

fn resolve_sources(sources: WrittenSources) -> Sources {
    let aur = sources.aur;
    let mirror_url = aur.mirror_url.map(|url| url.as_str().to_owned()).filter(|url| !url.is_empty());
    let prefer = if mirror_url.is_some() { given(aur.prefer) } else { AurTransport::Git };
    Sources {
        parallel: sources.parallel,
        timeout: given(sources.timeout).duration(),
        aur: Aur {
            metadata_url: given(aur.metadata_url),
            rpc_url: given(aur.rpc_url).as_str().trim_end_matches('/').to_owned(),
            git_url: given(aur.git_url).as_str().to_owned(),
            mirror_url,
            prefer,
        },
    }
}

fn resolve_forge(forge: WrittenForge) -> Forge {
    Forge { kind: given(forge.kind), api_url: forge.api_url, project: forge.project, token_file: forge.token_file }
}

fn resolve_executor(executor: WrittenExecutor) -> Executor {
    Executor {
        kind: given(executor.kind),
        slots: given(executor.slots),
        timeout: given(executor.timeout).duration(),
        local: LocalExecutor { user: executor.local.user, repositories: given(executor.local.repository) },
        bullmq: Bullmq {
            url: given(executor.bullmq.url),
            queue: given(executor.bullmq.queue).to_string(),
            prefix: given(executor.bullmq.prefix).to_string(),
        },
        copr: Copr { url: executor.copr.url, project: executor.copr.project, login_file: executor.copr.login_file },
        command: executor.command.program,
    }
}

fn resolve_publish(publish: WrittenPublish, repository: &str, server: &Server) -> Publish {
    Publish {
        dir: publish.dir.unwrap_or_else(|| server.data_dir.join("published").join(repository)),
        name: publish.name.as_ref().map(Name::to_string),
        sign: given(publish.sign),
        keep: given(publish.keep),
    }
}

fn resolve_policy(policy: &WrittenPolicy) -> Policy {
    Policy {
        unknown_directive: given(policy.unknown_directive),
        overlap: given(policy.overlap),
        human_review: policy.human_review,
    }
}

fn resolve_schedule(schedule: WrittenSchedule) -> Schedule {
    let run = match schedule.run {
        ScheduledPipeline::OnSchedule => ScheduledRun::OnSchedule,
        ScheduledPipeline::Trigger => {
            ScheduledRun::Trigger(schedule.name.expect("`check` refuses a trigger without a name"))
        }
    };
    Schedule { cron: schedule.cron, zone: schedule.timezone.unwrap_or_default(), run }
}
