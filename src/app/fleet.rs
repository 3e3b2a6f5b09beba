//! Builders on many machines, put together from the settings: the side of the controller, and that of a builder.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio_util::sync::CancellationToken;

use super::{building, executors};
use crate::builder::workspace::make_enterable;
use crate::config::Settings;
use crate::config::settings::{Bullmq, Chaotic, LocalExecutor as LocalSettings, Repository};
use crate::config::value::RedisAddress;
use crate::controller::doctor::{Check, Status};
use crate::domain::lane::{MAX_CLASS, is_name};
use crate::domain::redis::health::{self, Level};
use crate::executor::Executor as _;
use crate::executor::bullmq::BullmqConfig;
use crate::executor::bullmq::builder::{Builder, BuilderConfig, Rules, Unsent};
use crate::executor::bullmq::examine;
use crate::executor::bullmq::server::RedisConfig;
use crate::executor::local::{LocalConfig, LocalExecutor};
use crate::logstore::LogStore;
use crate::sys::fs::FsError;
use crate::sys::secret;

/// What a builder is asked to be.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// What it is called.
    pub name: String,
    /// Its class.
    pub class: u32,
    /// How many builds it takes at once.
    pub slots: usize,
    /// How long builds under way may go on after it was told to end.
    pub patience: Duration,
}

/// Where the controller puts builds.
pub(super) fn executor(settings: &Bullmq, work_dir: PathBuf) -> Result<BullmqConfig> {
    Ok(BullmqConfig {
        redis: redis(settings)?,
        prefix: settings.prefix.clone(),
        queue: settings.queue.clone(),
        work_dir,
    })
}

/// The server, with the password and certificates out of their files.
///
/// # Errors
/// If one of them cannot be read.
pub fn redis(settings: &Bullmq) -> Result<RedisConfig> {
    let Bullmq { url, password_file, ca_file, .. } = settings;
    server("executor.bullmq", url, password_file.as_deref(), ca_file.as_deref())
}

/// The server of a Chaotic Manager, as [`redis`].
///
/// # Errors
/// As there.
pub(super) fn manager(settings: &Chaotic) -> Result<RedisConfig> {
    let Chaotic { url, password_file, ca_file, .. } = settings;
    server("executor.chaotic", url, password_file.as_deref(), ca_file.as_deref())
}

fn server(section: &str, url: &RedisAddress, password: Option<&Path>, ca: Option<&Path>) -> Result<RedisConfig> {
    let password = password.map(secret::from_file).transpose();
    let read =
        |path: &Path| std::fs::read(path).with_context(|| format!("cannot read {section}.ca_file {}", path.display()));
    Ok(RedisConfig {
        url: url.url().clone(),
        password: password.with_context(|| format!("{section}.password_file"))?,
        ca: ca.map(read).transpose()?,
    })
}

/// Whether the server can be used, and is as queues need it.
pub(super) async fn examine(settings: &Bullmq) -> Vec<Check> {
    let config = match redis(settings) {
        Ok(config) => config,
        Err(error) => {
            let hint = "create the files that executor.bullmq names, readable by the user that runs pkgwarden";
            return vec![Check::error("redis", settings.url.url().to_string(), format!("{error:#}"), hint)];
        }
    };
    let (url, tls) = (config.url.to_string(), config.url.tls);
    let facts = match examine::look(config, &settings.prefix).await {
        Ok(facts) => facts,
        Err(error) => {
            let said = error.to_string();
            return vec![Check::error("redis", url, &said, health::remedy(&said, tls))];
        }
    };
    let check = |found: health::Finding| {
        let check = Check::found("redis", &url, found.detail);
        match found.level {
            Level::Good => check,
            Level::Doubtful => check.but(Status::Warning, found.hint),
            Level::Bad => check.but(Status::Error, found.hint),
        }
    };
    health::findings(&facts).into_iter().map(check).collect()
}

/// What this machine is called.
///
/// # Errors
/// If the system does not say.
pub fn machine() -> Result<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").context("this machine has no name; give --name")?;
    Ok(name.trim().to_owned())
}

/// A builder on this machine, which is alone with its directory until it ends.
pub struct Station {
    builder: Builder,
    _lock: std::fs::File,
}

/// Puts a builder together, within the runtime. What an earlier one with its name left is cleared away, but for builds that
/// have ended: they are brought when they are handed out again.
///
/// # Errors
/// If it cannot build, or another one with its name is there on this machine.
pub async fn station(settings: &Settings, wanted: Wanted) -> Result<Station> {
    if !is_name(&wanted.name) {
        bail!(
            "a builder cannot be called `{}`; use letters, digits, `.`, `_` and `-`, and not digits alone",
            wanted.name
        );
    }
    if wanted.class > MAX_CLASS {
        bail!("the highest class is {MAX_CLASS}");
    }
    let repository = building(settings).or_else(|| settings.repositories.first()).context("there are no settings")?;
    let dir = settings.server.data_dir.join("builders").join(&wanted.name);
    make_enterable(&dir).map_err(|source| FsError::new("create", &dir, source))?;
    let lock = super::lock(&dir)?;
    let logs = LogStore::with_limit(dir.join("logs"), repository.executor.log_bytes)?;
    let config = local_config(&repository.executor.local, &wanted, &dir);
    let executor = LocalExecutor::open(config, logs.clone())?;
    let unsent = Unsent::open(dir.join("unsent"), &executor.ended()?)?;
    executor.keep_only(unsent.left()).await?;
    logs.keep_only(&unsent.left())?;
    // Who cannot carry builds out would take them from those who can.
    executor.fit().await?;
    let bullmq = &repository.executor.bullmq;
    let config = BuilderConfig {
        redis: redis(bullmq)?,
        prefix: bullmq.prefix.clone(),
        queue: bullmq.queue.clone(),
        name: wanted.name,
        class: wanted.class,
        slots: wanted.slots,
        patience: wanted.patience,
        rules: rules(settings, repository),
    };
    Ok(Station { builder: Builder::new(config, Arc::new(executor), logs, unsent), _lock: lock })
}

/// What builds are carried out with: what is set for builds on this machine.
fn local_config(local: &LocalSettings, wanted: &Wanted, dir: &Path) -> LocalConfig {
    let mut config = LocalConfig { slots: wanted.slots, pgp: local.pgp, ..LocalConfig::under(dir) };
    config.caches.quota = local.cache_bytes;
    config.image = executors::image(local, dir);
    if let Some(user) = &local.user {
        config.user.clone_from(user);
    }
    config.keyring = executors::keyring(local);
    config
}

/// How far documents are believed: as far as the settings of this machine go.
fn rules(settings: &Settings, repository: &Repository) -> Rules {
    let servers = repository.executor.local.repositories.iter().map(|written| written.server.clone());
    Rules {
        directories: servers.filter(|server| server.starts_with("file://")).collect(),
        caches: repository.policy.caches,
        controller: settings.server.public_url.as_ref().map(ToString::to_string),
    }
}

impl Station {
    /// Takes builds until `drain`; with `stop`, those under way are given back.
    ///
    /// # Errors
    /// If the server refuses what a builder has to do.
    pub async fn run(&self, drain: CancellationToken, stop: CancellationToken) -> Result<()> {
        Ok(self.builder.run(drain, stop).await?)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::load;

    #[test]
    fn a_builder_builds_with_what_is_set_on_its_own_machine() {
        let text = "[server]\npublic_url = \"https://builds.example/\"\n[executor]\nkind = \"bullmq\"\n[executor.local]\n\
                    user = \"builder\"\ncache_gib = 3\nrepository = [{ name = \"own\", server = \"file:///srv/own\" }, \
                    { name = \"core\", server = \"https://mirror.example/core\" }]\n[policy.caches]\nproposals = false\n";
        let settings = load(Some(("pkgwarden.toml", text)), &BTreeMap::new()).unwrap();
        let patience = Duration::from_secs(1);
        let wanted = Wanted { name: "one".to_owned(), class: 0, slots: 2, patience };
        let config = local_config(&settings.repositories[0].executor.local, &wanted, Path::new("/srv/one"));
        assert_eq!((config.slots, config.caches.quota, &*config.user), (2, 3 << 30, "builder"));
        let rules = rules(&settings, &settings.repositories[0]);
        assert_eq!(rules.directories, ["file:///srv/own".to_owned()].into());
        assert_eq!(rules.controller.as_deref(), Some("https://builds.example/"));
        assert!(!rules.caches.proposals);
    }
}
