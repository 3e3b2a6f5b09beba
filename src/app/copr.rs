//! COPR, put together: the executor as the settings say, and builds that somebody follows at a terminal or in a CI job.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::config::copr::{self as settings, Method as WantedMethod};
use crate::controller::doctor::Check;
use crate::domain::copr::pace::Pace;
use crate::domain::copr::{Project, Show, State};
use crate::executor::Executor;
use crate::executor::copr::client::Client;
use crate::executor::copr::login::Login;
use crate::executor::copr::logs::Logs;
use crate::executor::copr::method::Method;
use crate::executor::copr::tailer::{Place, SharedSink, Sink, SinkError, Stream};
use crate::executor::copr::watch::{Control, Pacing, Watched, Watcher};
use crate::executor::copr::wire::{Options, Source};
use crate::executor::copr::{CoprConfig, CoprExecutor};
use crate::logstore::LogStore;
use crate::sys::clock::{Clock, SystemClock};
use crate::sys::env;
use crate::telemetry::in_full;

/// Where COPR's own tools look for the login, below the home directory.
const LOGIN: &str = ".config/copr";

/// The executor that the settings ask for.
pub(super) fn executor(
    copr: &settings::Copr,
    work_dir: PathBuf,
    logs: &LogStore,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<dyn Executor>> {
    let project = copr.project.clone().context("executor.copr.project is not set")?;
    let options = Options {
        chroots: copr.chroots.clone(),
        background: copr.background,
        enable_net: copr.enable_net,
        ..Options::default()
    };
    let usual = Pacing::default();
    let pacing = Pacing { logs: Pace { patience: copr.log_patience, ..usual.logs }, ..usual };
    let config = CoprConfig { project, method: method(copr), options, pacing, work_dir };
    Ok(Arc::new(CoprExecutor::start(config, client(copr)?, logs.clone(), clock.clone())?))
}

fn method(copr: &settings::Copr) -> Method {
    match copr.method {
        WantedMethod::Scm => Method::Scm {
            clone_url: copr.clone_url.clone(),
            spec: copr.spec.clone(),
            srpm: copr.source_package.as_str().to_owned(),
        },
        WantedMethod::Url => Method::Url(copr.source_url.clone()),
        WantedMethod::Upload => Method::Upload,
        WantedMethod::Custom => Method::Custom {
            script: copr.script.clone(),
            chroot: copr.script_chroot.clone(),
            builddeps: copr.script_packages.join(" "),
            resultdir: copr.script_results.clone(),
        },
    }
}

fn client(copr: &settings::Copr) -> Result<Client> {
    let url = copr.url.as_ref().map(|url| Url::parse(url.as_str())).transpose()?;
    let login = Login::read(&login_file(copr.login_file.as_deref())?)?.at(url);
    Ok(Client::new(login.url.clone(), Some(login))?)
}

fn login_file(named: Option<&Path>) -> Result<PathBuf> {
    let usual = || env::var("HOME").map(|home| Path::new(&home).join(LOGIN));
    named
        .map(Path::to_owned)
        .or_else(usual)
        .context("there is no home directory with .config/copr; name the login file")
}

/// Whether COPR answers, and knows our login.
pub(super) async fn examine(copr: &settings::Copr) -> Check {
    const HINT: &str = "write what COPR shows at /api into the file that executor.copr.login_file names";
    let client = match client(copr) {
        Ok(client) => client,
        Err(error) => return Check::error("copr", "login", format!("{error:#}"), HINT),
    };
    let subject = client.url().to_string();
    match client.who_am_i().await {
        Ok(name) => Check::found("copr", subject, format!("it knows us as {name}")),
        Err(error) => Check::error("copr", subject, in_full(&error), HINT),
    }
}

/// From what a build is to be made.
#[derive(Debug, Clone)]
pub enum From {
    /// A directory of a git repository.
    Scm {
        /// Its address.
        url: String,
        /// The commit, branch or tag; empty for the default branch.
        commit: String,
        /// The directory; empty for the top.
        subdir: String,
        /// The spec file; empty if COPR is to look for it.
        spec: String,
        /// `rpkg`, `tito`, `tito_test` or `make_srpm`.
        method: String,
    },
    /// A source package or spec file at an address.
    Url(String),
    /// A source package here.
    Upload(PathBuf),
    /// A script.
    Custom {
        /// Its text.
        script: String,
        /// The chroot that it runs in; empty if COPR is to take one.
        chroot: String,
        /// What is installed there.
        packages: Vec<String>,
        /// Where it leaves the sources; empty for where it runs.
        results: String,
    },
}

/// How a build is to be made.
#[derive(Debug, Clone, Default)]
pub struct How {
    /// The chroots, as patterns; none for all of the project.
    pub chroots: Vec<String>,
    /// How long it may take.
    pub timeout: Option<Duration>,
    /// Whether it gives way to others.
    pub background: bool,
    /// Whether it may use the network.
    pub enable_net: Option<bool>,
}

/// How builds are followed.
#[derive(Debug, Clone, Copy)]
pub struct Following {
    /// When logs are shown.
    pub show: Show,
    /// How often it is asked how builds stand.
    pub status: Duration,
    /// How often logs are asked for.
    pub logs: Duration,
    /// How long there may be no log while a build runs.
    pub patience: Duration,
}

/// Something that is told of a build that is followed.
#[derive(Debug)]
pub enum Told {
    /// Whole lines of a log.
    Lines {
        /// The build.
        build: u64,
        /// The chroot.
        chroot: String,
        /// What they begin with.
        label: String,
        /// The lines, each with its line feed.
        lines: Vec<u8>,
    },
    /// A state that was not told before: of a chroot, or of the build.
    State {
        /// The build.
        build: u64,
        /// The chroot.
        chroot: Option<String>,
        /// The state.
        state: State,
    },
    /// Something about the logs.
    Note {
        /// The build.
        build: u64,
        /// A sentence.
        text: String,
    },
}

/// Hears what is told. It may keep whoever tells waiting; `false` says that nobody listens any more.
pub type Listener = Arc<dyn Fn(Told) -> bool + Send + Sync>;

/// How following a build ended: with its state, or because somebody wanted to end.
pub type Ended = (u64, Option<State>);

/// The way to a COPR server for somebody at a terminal.
#[derive(Debug, Clone)]
pub struct Copr {
    client: Client,
}

impl Copr {
    /// With the login in a file, or in the usual place; `server` in place of the one named there. To look only, a server
    /// is enough.
    ///
    /// # Errors
    /// If there is no login, or it must not be sent there.
    pub fn open(file: Option<&Path>, server: Option<&str>) -> Result<Self> {
        let url =
            server.map(|server| Url::parse(server).with_context(|| format!("`{server}` is no address"))).transpose()?;
        let path = login_file(file)?;
        if let (Some(url), None, false) = (&url, file, path.exists()) {
            return Ok(Self { client: Client::new(url.clone(), None)? });
        }
        let login = Login::read(&path)?.at(url);
        Ok(Self { client: Client::new(login.url.clone(), Some(login))? })
    }

    /// Begins builds and returns their numbers.
    ///
    /// # Errors
    /// What COPR says.
    pub async fn build(&self, project: &str, from: From, how: How) -> Result<Vec<u64>> {
        let project = Project::parse(project).with_context(|| format!("`{project}` is no OWNER/PROJECT"))?;
        let options = Options {
            chroots: how.chroots,
            timeout: how.timeout.map(|timeout| timeout.as_secs()),
            background: how.background,
            enable_net: how.enable_net,
            dirname: None,
        };
        Ok(self.client.submit(&project, &source(from)?, &options).await?)
    }

    /// The page of a build for people.
    #[must_use]
    pub fn page(&self, build: u64) -> String {
        self.client.page(build)
    }

    /// Follows builds to their ends, all at once, until `stop`.
    ///
    /// # Errors
    /// If COPR does not know one of them, or gave no answer for too long.
    pub async fn watch(
        &self,
        builds: &[u64],
        following: Following,
        listener: Listener,
        stop: CancellationToken,
    ) -> Result<Vec<Ended>> {
        let watches = builds.iter().map(|build| {
            let prefix = if builds.len() > 1 { format!("{build} ") } else { String::new() };
            let watcher = self.watcher(following, prefix);
            let voice = Voice::new(*build, listener.clone());
            let control = Control { stop: stop.clone(), ..Control::default() };
            async move {
                let sink: SharedSink<'_> = Arc::new(Mutex::new(voice));
                let watched = watcher.watch(*build, &sink, &control).await;
                watched.with_context(|| format!("build {build} cannot be followed"))
            }
        });
        let ended = join_all(watches).await.into_iter().zip(builds).map(|(watched, build)| {
            watched.map(|watched| match watched {
                Watched::Ended(state) => (*build, Some(state)),
                Watched::Stopped => (*build, None),
            })
        });
        ended.collect()
    }

    fn watcher(&self, following: Following, prefix: String) -> Watcher {
        let logs = Pace { every: following.logs, patience: following.patience };
        Watcher {
            client: self.client.clone(),
            logs: Logs::of(self.client.url()),
            clock: Arc::new(SystemClock),
            pacing: Pacing { status: following.status, logs, ..Pacing::default() },
            show: following.show,
            prefix,
        }
    }
}

fn source(from: From) -> Result<Source> {
    Ok(match from {
        From::Scm { url, commit, subdir, spec, method } => {
            Source::Scm { clone_url: url, committish: commit, subdirectory: subdir, spec, method }
        }
        From::Url(url) => Source::Url(url),
        From::Upload(path) => {
            let name = path.file_name().and_then(|name| name.to_str());
            let name = name.with_context(|| format!("{} has no name", path.display()))?.to_owned();
            Source::Upload { name, path }
        }
        From::Custom { script, chroot, packages, results } => {
            Source::Custom { script, chroot, builddeps: packages.join(" "), resultdir: results }
        }
    })
}

/// Tells a listener of one build.
struct Voice {
    build: u64,
    listener: Listener,
    told: BTreeMap<Option<String>, State>,
    /// How far each log was told, by chroot and file: it may be gone on with after the build.
    read: BTreeMap<(String, &'static str), Stream>,
}

impl Voice {
    fn new(build: u64, listener: Listener) -> Self {
        Self { build, listener, told: BTreeMap::new(), read: BTreeMap::new() }
    }

    fn tell(&self, told: Told) -> Result<(), SinkError> {
        if (self.listener)(told) { Ok(()) } else { Err(SinkError::Closed) }
    }
}

impl Sink for Voice {
    fn left(&self, place: &Place) -> Option<Stream> {
        self.read.get(&(place.chroot.clone(), place.file)).cloned()
    }

    fn lines(&mut self, place: &Place, lines: &[u8], stream: &Stream) -> Result<(), SinkError> {
        self.read.insert((place.chroot.clone(), place.file), stream.clone());
        if lines.is_empty() {
            return Ok(());
        }
        let (chroot, label) = (place.chroot.clone(), place.label.clone());
        self.tell(Told::Lines { build: self.build, chroot, label, lines: lines.to_owned() })
    }

    fn state(&mut self, chroot: Option<&str>, state: State) -> Result<(), SinkError> {
        let chroot = chroot.map(str::to_owned);
        if self.told.insert(chroot.clone(), state) == Some(state) {
            return Ok(());
        }
        self.tell(Told::State { build: self.build, chroot, state })
    }

    fn note(&mut self, text: &str) -> Result<(), SinkError> {
        self.tell(Told::Note { build: self.build, text: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_of_a_log_is_not_told_again_by_who_goes_on_with_it() {
        let mut voice = Voice::new(101, Arc::new(|_| true));
        let place = |file| Place { chroot: "f42".to_owned(), file, label: "f42".to_owned() };
        let mut stream = Stream::default();
        stream.lines.push(b"one\nand ha", &mut Vec::new());
        voice.lines(&place("a.log"), b"one\n", &stream).unwrap();
        assert_eq!((voice.left(&place("a.log")), voice.left(&place("b.log"))), (Some(stream), None));
    }
}
