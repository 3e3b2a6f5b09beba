//! What carries out the builds, by the settings.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail};
use tokio::sync::Semaphore;

use super::{copr, fleet};
use crate::config::Settings;
use crate::config::settings::{self, ExecutorKind, Protocol};
use crate::controller::doctor::Check;
use crate::domain::schedule::BuilderInfo;
use crate::executor::Executor;
use crate::executor::api::{Api, Proof};
use crate::executor::buildomat::{self, Buildomat, BuildomatExecutor, Client, Making};
use crate::executor::bullmq::BullmqExecutor;
use crate::executor::chaotic::{Chaotic, ChaoticConfig, ChaoticExecutor, Era, Pacing};
use crate::executor::command::{CommandConfig, CommandExecutor};
use crate::executor::exchange::Exchange;
use crate::executor::local::image::{ImageConfig, ImageError};
use crate::executor::local::{self, LocalConfig, LocalExecutor};
use crate::logstore::LogStore;
use crate::sys::clock::Clock;
use crate::sys::fs::FsError;
use crate::sys::lookup::startable;
use crate::sys::secret;
use crate::telemetry::in_full;

/// The executor that is set.
pub(super) fn open(
    settings: &Settings,
    executor: &settings::Executor,
    (logs, exchange): (&LogStore, Option<&Exchange>),
    clock: &Arc<dyn Clock>,
) -> Result<Arc<dyn Executor>> {
    match executor.kind {
        ExecutorKind::Local => {
            // The dispatcher counts, so that the number of slots can change.
            let slots = Semaphore::MAX_PERMITS;
            let pgp = executor.local.pgp;
            let mut config = LocalConfig {
                slots,
                pgp,
                builder: local_builder(&executor.local),
                image: image(&executor.local, &settings.server.data_dir),
                ..LocalConfig::under(&settings.server.data_dir)
            };
            if let Some(user) = &executor.local.user {
                config.user.clone_from(user);
            }
            config.keyring = keyring(&executor.local);
            config.caches = super::cache_config(settings);
            Ok(Arc::new(LocalExecutor::open(config, logs.clone())?))
        }
        ExecutorKind::Command => {
            let settings::CommandExecutor { program, arguments, env } = executor.command.clone();
            let program = program.context("executor.command.program is not set")?.display().to_string();
            startable(&program).map_err(|reason| anyhow!("executor.command.program: {reason}"))?;
            let words = std::iter::once(program).chain(arguments).collect();
            let config = CommandConfig { words, env, work_dir: settings.server.data_dir.join("commands") };
            Ok(Arc::new(CommandExecutor::start(config, logs.clone(), exchange.cloned(), clock.clone())?))
        }
        ExecutorKind::Buildomat => Ok(Arc::new(buildomat(settings, executor, logs, clock)?)),
        ExecutorKind::Bullmq => {
            let exchange = exchange.context("builders elsewhere have an exchange")?.clone();
            let config = fleet::executor(&executor.bullmq, settings.server.data_dir.join("queued"))?;
            Ok(Arc::new(BullmqExecutor::open(config, logs.clone(), exchange)?))
        }
        ExecutorKind::Copr => copr::executor(&executor.copr, settings.server.data_dir.join("copr"), logs, clock),
        ExecutorKind::Chaotic => {
            let manager = Chaotic::open(chaotic(&executor.chaotic)?)?;
            let work_dir = settings.server.data_dir.join("chaotic");
            Ok(Arc::new(ChaoticExecutor::open(manager, work_dir, logs.clone(), None)?))
        }
        ExecutorKind::None => bail!("executor.kind = \"none\" builds nothing"),
    }
}

/// How the Chaotic Manager of the settings is reached.
pub(super) fn chaotic(settings: &settings::Chaotic) -> Result<ChaoticConfig> {
    let era = match settings.protocol {
        Protocol::Moleculer => Era::Bus,
        Protocol::Bullmq => Era::Queues,
    };
    Ok(ChaoticConfig { redis: fleet::manager(settings)?, era, pacing: Pacing::default() })
}

/// What this machine is among builders: it takes everything, unless it is said what it takes.
fn local_builder(local: &settings::LocalExecutor) -> Option<BuilderInfo> {
    let name = local.name.clone().unwrap_or_else(|| "local".to_owned());
    // How many builds run at once is the dispatcher's.
    let builder = BuilderInfo { name, class: local.class, slots: usize::MAX, ..BuilderInfo::default() };
    (local.class.is_some() || local.name.is_some()).then_some(builder)
}

/// The image that builds on this machine are done in, kept in the directory of who builds.
pub(super) fn image(local: &settings::LocalExecutor, dir: &Path) -> Option<ImageConfig> {
    let name = local.image.clone()?.into();
    Some(ImageConfig { engine: local.engine.program().to_owned(), name, dir: dir.join("images") })
}

/// pacman's keyring that builds on this machine verify by. Those in an image go by the image's own, unless one is set.
pub(super) fn keyring(local: &settings::LocalExecutor) -> Option<PathBuf> {
    let own = || if local.image.is_some() { None } else { local::keyring() };
    local.keyring.clone().or_else(own)
}

/// Whether builds on this machine can be done in the image that they are to be done in.
pub(super) async fn examine_image(local: &settings::LocalExecutor, dir: &Path) -> Option<Check> {
    const AREA: &str = "image";
    let image = image(local, dir)?;
    Some(match image.is_there().await {
        Ok(true) => Check::found(AREA, &image.name, format!("{} has it", image.engine)),
        Ok(false) => Check::found(AREA, &image.name, format!("the first build will have {} fetch it", image.engine)),
        Err(error) => {
            let remedy = match error {
                ImageError::Engine(_) => "install it, or name another `executor.local.engine`",
                _ => "start it, and see that this user may talk to it",
            };
            Check::error(AREA, &image.name, in_full(&error), remedy)
        }
    })
}

fn buildomat(
    settings: &Settings,
    executor: &settings::Executor,
    logs: &LogStore,
    clock: &Arc<dyn Clock>,
) -> Result<BuildomatExecutor> {
    let (written, limits) = (&executor.buildomat, executor.uploads);
    let url = written.url.as_ref().context("executor.buildomat.url is not set")?;
    let token_file = written.token_file.as_ref().context("executor.buildomat.token_file is not set")?;
    let url = url.as_str().parse().context("executor.buildomat.url is no address")?;
    let client = Client::new(Api::new("buildomat", url, Proof::Token(secret::from_file(token_file)?))?);
    let script = match &written.script_file {
        Some(path) => std::fs::read_to_string(path).map_err(|error| FsError::new("read", path, error))?,
        None => buildomat::SCRIPT.to_owned(),
    };
    let making = Making { target: written.target.clone(), script };
    let (pause, lost_after) = (buildomat::PAUSE, buildomat::LOST_AFTER);
    let server = Buildomat { client, making, limits, pause, lost_after, clock: clock.clone() };
    Ok(BuildomatExecutor::open(server, settings.server.data_dir.join("buildomat"), logs.clone(), None)?)
}
