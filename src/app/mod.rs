//! The composition root: the only place where adapters are made and put together.

pub mod copr;
pub mod examine;
mod exchange;
mod executors;
pub mod extract;
pub mod fleet;
mod handback;
mod hooks;
pub mod hosting;
mod mirrors;
mod owner;
pub mod publishing;
pub mod reload;
mod runner;
pub mod serve;
pub mod signer;

use std::collections::BTreeMap;
use std::fs::TryLockError;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::sync::watch;

use crate::builder::refresh::{self, Refresher};
use crate::builder::workspace::make_enterable;
use crate::caches::{CacheConfig, Caches};
use crate::config::Settings;
use crate::config::settings::{self, AurTransport, ExecutorKind};
use crate::controller::dispatch::{Dispatcher, Limits, Parts};
use crate::controller::foresee::Fallback;
use crate::controller::linkage::Peek;
use crate::controller::raise::Raiser;
use crate::controller::run::Runner;
use crate::controller::scripts::Scripts;
use crate::controller::site::{Site, Upstream};
use crate::controller::sources::views;
use crate::controller::view::SourceView;
use crate::controller::{Controller, Inner, Kept};
use crate::domain::desired::Package;
use crate::domain::state::PackageState;
use crate::executor::exchange::Exchange;
use crate::executor::local::{self, LocalConfig};
use crate::git::{Remote, Repository};
use crate::logstore::LogStore;
use crate::source::forge::{ForgeConfig, ForgesConfig};
use crate::source::ledger::Book;
use crate::source::nvchecker::NvcheckerConfig;
use crate::source::{AurConfig, SourcesConfig};
use crate::store::Store;
use crate::sys::clock::{Clock, SystemClock};
use crate::sys::fs::FsError;
use crate::sys::scratch::Scratch;

/// Requests at once where neither the configuration nor the repository says a number.
const DEFAULT_PARALLEL: usize = 8;
/// Requests at once to one host.
const PER_HOST: usize = 4;
/// How long a pass over all sources may take: enough for a first fetch of everything.
const PASS: Duration = Duration::from_mins(15);
/// How long fetching the sources of one new version may take.
const RAISE: Duration = Duration::from_mins(10);
/// The architecture that is built for.
const ARCH: &str = "x86_64";
/// The branch with the packages where nobody names one.
const DEFAULT_BRANCH: &str = "main";

/// A clone on this machine, for one run.
#[derive(Debug, Clone)]
pub struct Place {
    /// The clone, bare or with a work tree.
    pub dir: PathBuf,
    /// The remote to read and to push to, by name or address; `origin` if there is one, else the clone
    /// itself.
    pub remote: Option<String>,
    /// The branch with the packages, where neither the configuration nor the clone says one, as in the job of a CI service.
    pub branch: Option<String>,
}

/// The site of one run that is only planned: everything lies in a temporary directory, and if the remote
/// does not answer, what the clone has is planned on.
///
/// # Errors
/// If the clone cannot be opened.
pub fn planned_site(settings: &Settings, place: &Place) -> Result<Site> {
    let reader = Arc::default();
    let fallback = Some(Fallback::begin(&place.dir, &reader));
    let site = one_shot_site(settings, place, None)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let outlets = publishing::outlets(chosen(settings, place)?, &clock);
    let peek = Some(Peek { record: record_path(settings), outlets });
    Ok(Site { reader, fallback, peek, ..site })
}

/// What performs one run on a clone, recorded in the data directory.
///
/// # Errors
/// If the clone or the record cannot be opened.
pub fn one_shot_runner(settings: &Settings, place: &Place, clock: Arc<dyn Clock>) -> Result<Runner> {
    let site = one_shot_site(settings, place, Some(&settings.server.data_dir))?;
    let repository = chosen(settings, place)?;
    owner::claim(&settings.server.data_dir, &site.name, &site.remote, repository.url.is_some())?;
    let store = Store::open(&record_path(settings))?;
    let outlets = publishing::outlets(repository, &clock);
    runner::runner(settings, repository, Arc::new(site), store, (outlets, clock))
}

/// The sources of a package, and what `serve` and single runs have heard of them here. Without settings, nothing is
/// known of that.
#[must_use]
pub fn heard_of(
    settings: Option<&Settings>,
    place: &Place,
    package: &Package,
    state: &PackageState,
) -> Vec<SourceView> {
    let chosen = settings.and_then(|settings| Some((&settings.server.data_dir, &chosen(settings, place).ok()?.name)));
    let caches = |(data, name): (&PathBuf, &String)| {
        [data.join("repositories").join(name).join("cache"), data.join("cache").join(name)]
    };
    let books: Vec<Book> = chosen.map(caches).iter().flatten().map(|dir| Book::read(dir)).collect();
    views(package, state, &books)
}

fn one_shot_site(settings: &Settings, place: &Place, data_dir: Option<&Path>) -> Result<Site> {
    let repository = chosen(settings, place)?;
    let clone = Repository::discover(&place.dir)?;
    let scratch = Scratch::new()?;
    let workspace = scratch.path().join("workspace.git");
    Repository::create_workspace(&workspace, Some(clone.path()))?;
    let remote = Remote::new(workspace.clone(), remote_address(&clone, place)?).settings_of(&clone);
    let cache_dir =
        data_dir.map_or_else(|| scratch.path().join("cache"), |dir| dir.join("cache").join(&repository.name));
    let branch = repository.branch.clone().or_else(|| clone.head_branch()).or_else(|| place.branch.clone());
    let home = Home { workspace, cache_dir, scratch: Some(scratch) };
    Ok(site(settings, repository, home, remote, branch))
}

/// The configured repository that a clone is of: the only one, or the one with its address.
fn chosen<'a>(settings: &'a Settings, place: &Place) -> Result<&'a settings::Repository> {
    if let [only] = settings.repositories.as_slice() {
        return Ok(only);
    }
    let address = remote_address(&Repository::discover(&place.dir)?, place)?;
    let found = settings.repositories.iter().find(|repository| repository.url.as_deref() == Some(address.as_str()));
    found.with_context(|| format!("no [[repository]] in the configuration has the url {address}"))
}

fn remote_address(clone: &Repository, place: &Place) -> Result<String> {
    let absolute = |address: String| {
        let local = place.dir.join(&address);
        let is_path = !address.contains("://") && local.exists();
        if is_path { local.canonicalize().map_or(address, |path| path.display().to_string()) } else { address }
    };
    match &place.remote {
        Some(remote) => match clone.remote_url(remote) {
            Some(address) => Ok(absolute(address)),
            None if remote.contains(['/', ':']) => Ok(absolute(remote.clone())),
            None => {
                bail!("the clone {} has no remote `{remote}`; `git remote` lists those it has", place.dir.display())
            }
        },
        None => Ok(clone.remote_url("origin").map_or_else(|| clone.path().display().to_string(), absolute)),
    }
}

/// Where what belongs to a site lies.
struct Home {
    workspace: PathBuf,
    cache_dir: PathBuf,
    /// Holds them, if they are to go with the site.
    scratch: Option<Scratch>,
}

fn site(
    settings: &Settings,
    repository: &settings::Repository,
    home: Home,
    remote: Remote,
    branch: Option<String>,
) -> Site {
    let Home { workspace, cache_dir, scratch } = home;
    let keeps = scratch.as_ref().is_none_or(|scratch| !cache_dir.starts_with(scratch.path()));
    Site {
        name: repository.name.clone(),
        workspace,
        remote,
        branch: branch.unwrap_or_else(|| DEFAULT_BRANCH.to_owned()),
        arch: ARCH.to_owned(),
        policy: repository.policy.clone(),
        raiser: Arc::new(raiser(repository, &cache_dir)),
        scripts: Arc::new(scripts(repository, &cache_dir, keeps)),
        upstream: RwLock::new(upstream(repository, settings, cache_dir)),
        asked: Mutex::default(),
        reader: Arc::default(),
        fallback: None,
        peek: None,
        fetching: tokio::sync::Mutex::default(),
        scratch,
    }
}

/// Has a running controller go by new settings, as far as they may change while it runs.
fn reconfigure(controller: &Controller, dispatcher: Option<&Dispatcher>, settings: &Settings) {
    let repositories = settings.repositories.iter().map(|repository| {
        // The cache stays where it is.
        (repository.name.clone(), (repository.schedules.clone(), upstream(repository, settings, PathBuf::new())))
    });
    controller.reconfigure(settings.server.poll, repositories.collect());
    hooks::renew(controller.inbox(), settings);
    if let (Some(dispatcher), Some(repository)) = (dispatcher, building(settings)) {
        match limits(repository) {
            Ok(limits) => dispatcher.limit(limits),
            Err(error) => tracing::error!("what is set for builds stays as it was: {error:#}"),
        }
    }
}

fn upstream(repository: &settings::Repository, settings: &Settings, cache_dir: PathBuf) -> Upstream {
    Upstream {
        sources: sources(&repository.sources, cache_dir),
        script_timeout: repository.sources.script_timeout,
        hand_back: handback::hand_back(&repository.sources.aur, settings),
    }
}

fn sources(settings: &settings::Sources, cache_dir: PathBuf) -> SourcesConfig {
    SourcesConfig {
        aur: AurConfig {
            metadata_url: settings.aur.metadata_url.to_string(),
            rpc_url: settings.aur.rpc_url.clone(),
            mirror_url: settings.aur.mirror_url.clone(),
            git_url: Some(settings.aur.git_url.clone()).filter(|url| !url.is_empty()),
            prefer_mirror: settings.aur.prefer == AurTransport::Mirror,
            proxy: None,
            clone_delay: Duration::ZERO,
            max_parallel: DEFAULT_PARALLEL,
        },
        nvchecker: nvchecker(&settings.nvchecker),
        forges: ForgesConfig {
            gitlab: forge(&settings.gitlab),
            github: forge(&settings.github),
            gitea: settings.gitea.as_ref().map(forge).unwrap_or_default(),
        },
        cache_dir,
        timeout: settings.timeout,
        parallel: settings.parallel,
        per_host: PER_HOST,
        pass: PASS,
    }
}

fn nvchecker(settings: &settings::Nvchecker) -> NvcheckerConfig {
    let mirror =
        |mirror: &settings::ServiceMirror| (mirror.address.as_str().to_owned(), mirror.instead.as_str().to_owned());
    NvcheckerConfig {
        keyfile: settings.keyfile.clone(),
        mirrors: settings.mirrors.iter().map(mirror).collect(),
        alpm_dir: settings.alpm_dir.clone(),
        program: settings.program.clone(),
        commands: settings.commands,
        ..NvcheckerConfig::default()
    }
}

/// Raises packages in the same sandbox that builds run in, and as the same user.
fn raiser(repository: &settings::Repository, cache_dir: &Path) -> Raiser {
    let user = repository.executor.local.user.clone().unwrap_or_else(|| LocalConfig::under(cache_dir).user);
    let job = refresh::job(ARCH, local::proxies());
    let refresher = Refresher { user, work_dir: cache_dir.join("raising"), job, timeout: RAISE };
    Raiser { refresher, cache_dir: cache_dir.join("raised") }
}

/// Runs the scripts of packages in such a sandbox, too.
fn scripts(repository: &settings::Repository, cache_dir: &Path, keeps: bool) -> Scripts {
    let Raiser { refresher, .. } = raiser(repository, cache_dir);
    Scripts { refresher, logs: keeps.then(|| cache_dir.join("scripts")) }
}

fn forge(host: &settings::ProjectHost) -> ForgeConfig {
    ForgeConfig { url: host.url.clone(), api_url: host.api_url.clone(), token_file: host.token_file.clone() }
}

fn record_path(settings: &Settings) -> PathBuf {
    settings.server.data_dir.join("record.sqlite")
}

/// What runs on a repository take turns by, `serve` and one-shot commands alike.
fn turns_file(settings: &Settings, repository: &str) -> PathBuf {
    settings.server.data_dir.join("runs").join(format!("{repository}.lock"))
}

/// The long-running controller, put together and not started.
pub struct Serving {
    /// Keeps the repositories.
    pub controller: Controller,
    /// Hands out builds, if builds are handed out from here.
    pub dispatcher: Option<Arc<Dispatcher>>,
    /// What builders elsewhere bring, if builds may be carried out there.
    pub exchange: Option<Exchange>,
    /// Held as long as this process keeps the data directory.
    pub lock: std::fs::File,
}

/// Puts the controller together. `dir` is the clone to keep if the configuration names no repository.
///
/// # Errors
/// If another process keeps the data directory, or something in it cannot be opened.
pub fn serving(settings: &Settings, dir: &Path, clock: Arc<dyn Clock>) -> Result<Serving> {
    let lock = lock(&settings.server.data_dir)?;
    let store = Store::open(&record_path(settings))?;
    let logs = LogStore::with_limit(settings.server.data_dir.join("logs"), log_limit(settings))?;
    let mut kept = BTreeMap::new();
    for repository in &settings.repositories {
        let site = Arc::new(kept_site(settings, repository, dir)?);
        owner::claim(&settings.server.data_dir, &site.name, &site.remote, repository.url.is_some())?;
        let outlets = publishing::outlets(repository, &clock);
        let tools = (outlets.clone(), clock.clone());
        let runner = runner::runner(settings, repository, site, store.clone(), tools)?;
        kept.insert(repository.name.clone(), Kept::new(runner, Some(outlets), repository.schedules.clone()));
    }
    let (poll, inbox) = (watch::Sender::new(settings.server.poll), hooks::inbox(settings, &store, &clock)?);
    let exchange = exchange::exchange(settings, &kept, &logs)?;
    let caches = Caches::open(cache_config(settings), clock.clone())?;
    let dispatcher = dispatcher(settings, &kept, (&store, &caches), (&logs, exchange.as_ref()), &clock)?;
    let executor = dispatcher.as_ref().map(|dispatcher| dispatcher.executor());
    let paused = AtomicBool::new(false);
    let controller = Controller::new(Inner { kept, store, logs, caches, clock, paused, poll, inbox, executor });
    Ok(Serving { controller, dispatcher, exchange, lock })
}

/// Two controllers on one data directory would hand out every build twice.
fn lock(data_dir: &Path) -> Result<std::fs::File> {
    make_enterable(data_dir).map_err(|source| FsError::new("create", data_dir, source))?;
    let path = data_dir.join("serve.lock");
    // Not emptied before the lock is ours: what stands in it is who has it.
    let opened = std::fs::File::options().write(true).create(true).truncate(false).open(&path);
    let file = opened.map_err(|source| FsError::new("open", &path, source))?;
    match file.try_lock() {
        Ok(()) => {
            let told = file.set_len(0).and_then(|()| writeln!(&file, "{}", std::process::id()));
            told.map_err(|source| FsError::new("write", &path, source))?;
            Ok(file)
        }
        Err(TryLockError::Error(source)) => Err(FsError::new("lock", &path, source).into()),
        Err(TryLockError::WouldBlock) => {
            let holder = std::fs::read_to_string(&path).unwrap_or_default();
            let holder = holder.trim().parse::<u32>().map_or_else(|_| String::new(), |pid| format!(" (process {pid})"));
            bail!("another pkgwarden{holder} keeps {}; stop it, or set server.data_dir", data_dir.display())
        }
    }
}

fn kept_site(settings: &Settings, repository: &settings::Repository, dir: &Path) -> Result<Site> {
    let home = settings.server.data_dir.join("repositories").join(&repository.name);
    let workspace = home.join("workspace.git");
    std::fs::create_dir_all(&home).map_err(|source| FsError::new("create", &home, source))?;
    Repository::create_workspace(&workspace, None)?;
    let (address, clone) = address_of(repository, dir)?;
    let branch = clone.as_ref().and_then(Repository::head_branch);
    let mut remote = Remote::new(workspace.clone(), address);
    if let Some(clone) = &clone {
        remote = remote.settings_of(clone);
    }
    let branch = repository.branch.clone().or(branch);
    let home = Home { workspace, cache_dir: home.join("cache"), scratch: None };
    Ok(site(settings, repository, home, remote, branch))
}

/// Where a repository is, with the clone it is kept from if the configuration gives no address.
fn address_of(repository: &settings::Repository, dir: &Path) -> Result<(String, Option<Repository>)> {
    if let Some(url) = &repository.url {
        return Ok((url.clone(), None));
    }
    let clone = Repository::discover(dir).context("the configuration names no repository, and this is none either")?;
    Ok((remote_address(&clone, &Place { dir: dir.to_owned(), remote: None, branch: None })?, Some(clone)))
}

fn dispatcher(
    settings: &Settings,
    kept: &BTreeMap<String, Kept>,
    (store, caches): (&Store, &Caches),
    (logs, exchange): (&LogStore, Option<&Exchange>),
    clock: &Arc<dyn Clock>,
) -> Result<Option<Arc<Dispatcher>>> {
    let Some(repository) = building(settings) else { return Ok(None) };
    let executor = executors::open(settings, &repository.executor, (logs, exchange), clock)?;
    Ok(Some(Dispatcher::new(Parts {
        store: store.clone(),
        sites: kept.iter().map(|(name, kept)| (name.clone(), kept.site().clone())).collect(),
        executor,
        limits: limits(repository)?,
        outlets: kept.iter().filter_map(|(name, kept)| Some((name.clone(), kept.outlets.clone()?))).collect(),
        wakes: kept.iter().map(|(name, kept)| (name.clone(), kept.wake.clone())).collect(),
        trials_dir: settings.server.data_dir.join("trials"),
        logs: logs.clone(),
        caches: caches.clone(),
        clock: clock.clone(),
    })))
}

/// The repository whose settings say how builds are run: all are built by the same executor.
fn building(settings: &Settings) -> Option<&settings::Repository> {
    settings.repositories.iter().find(|repository| repository.executor.kind != ExecutorKind::None)
}

/// How long the log of a build may be.
fn log_limit(settings: &Settings) -> u64 {
    building(settings).map_or(crate::logstore::DEFAULT_LIMIT, |repository| repository.executor.log_bytes)
}

/// Where builds on this machine keep what they leave for the next one.
fn cache_config(settings: &Settings) -> CacheConfig {
    let under = LocalConfig::under(&settings.server.data_dir).caches;
    let quota = building(settings).map_or(under.quota, |repository| repository.executor.local.cache_bytes);
    CacheConfig { quota, ..under }
}

fn limits(repository: &settings::Repository) -> Result<Limits> {
    let executor = &repository.executor;
    let package_repositories =
        executor.local.repositories.iter().map(mirrors::package_repository).collect::<Result<_>>()?;
    let schedule = executor.limits.clone();
    Ok(Limits { slots: executor.slots, timeout: executor.timeout, package_repositories, schedule })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CI services leave the key to the remote in the configuration of the clone.
    #[test]
    fn a_clone_that_is_kept_is_reached_with_its_own_transport_settings() {
        let dir = tempfile::tempdir().expect("a directory");
        let clone = dir.path().join("clone");
        Repository::create_workspace(&clone, None).expect("made");
        let config = "[http \"https://example.org/\"]\n\textraheader = AUTHORIZATION: basic abc\n";
        let before = std::fs::read_to_string(clone.join("config")).expect("read");
        std::fs::write(clone.join("config"), before + config).expect("written");
        let data = dir.path().join("data").display().to_string();
        let env = BTreeMap::from([("PKGWARDEN__SERVER__DATA_DIR".to_owned(), data)]);
        let settings = settings::load(None, &env).expect("right");
        let site = kept_site(&settings, &settings.repositories[0], &clone).expect("put together");
        let shown = format!("{:?}", site.remote);
        assert!(shown.contains("http.https://example.org/.extraheader"), "{shown}");
    }
}
