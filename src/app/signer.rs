//! The process that holds the key: run by itself, or started and kept by `serve` on a machine of one's own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio_util::sync::CancellationToken;

use crate::config::Settings;
use crate::config::settings::Publish;
use crate::domain::publication::key::Fingerprint;
use crate::publish::signer::gpg::Gpg;
use crate::publish::signer::server::{Options, Signer};
use crate::sys::process::Program;
use crate::sys::signal;

/// How long after its end a signer is started again.
const PAUSE: Duration = Duration::from_secs(2);
/// How long it may take to end.
const GRACE: Duration = Duration::from_secs(3);

/// What a signer is started with, as people write it.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Where it listens.
    pub socket: PathBuf,
    /// The folders below which it signs.
    pub folders: Vec<PathBuf>,
    /// gpg's folder.
    pub home: PathBuf,
    /// The key.
    pub key: Fingerprint,
    /// A file with its passphrase.
    pub passphrase_file: Option<PathBuf>,
    /// Users who may ask, by name or number; without any, our own.
    pub clients: Vec<String>,
    /// A group that may reach the socket, by name or number.
    pub group: Option<String>,
}

/// Signs until a signal ends it. `ready` is called once it listens.
///
/// # Errors
/// If the key is not there, or the socket cannot be listened at.
pub async fn run(wanted: Wanted, ready: impl FnOnce()) -> Result<()> {
    let own = nix::unistd::geteuid().as_raw();
    let clients = match wanted.clients.as_slice() {
        [] => vec![own],
        named => named.iter().map(|name| user(name)).collect::<Result<_>>()?,
    };
    let absolute = |dir: &PathBuf| std::path::absolute(dir).with_context(|| format!("cannot find {}", dir.display()));
    let options = Options {
        socket: wanted.socket,
        folders: wanted.folders.iter().map(absolute).collect::<Result<_>>()?,
        gpg: Gpg { home: absolute(&wanted.home)?, key: wanted.key, passphrase_file: wanted.passphrase_file },
        clients,
        group: wanted.group.as_deref().map(group).transpose()?,
    };
    let mut signals = signal::listen()?;
    let signer = Signer::bind(options).await?;
    ready();
    let ended = async { while matches!(signals.recv().await, signal::Signal::Reload) {} };
    signer.serve(ended).await;
    Ok(())
}

fn user(name: &str) -> Result<u32> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let found = nix::unistd::User::from_name(name)?.with_context(|| format!("there is no user `{name}`"))?;
    Ok(found.uid.as_raw())
}

fn group(name: &str) -> Result<u32> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let found = nix::unistd::Group::from_name(name)?.with_context(|| format!("there is no group `{name}`"))?;
    Ok(found.gid.as_raw())
}

/// The signers that `serve` has to start: one for each socket, with all folders that it signs in.
#[must_use]
pub fn own(settings: &Settings) -> Vec<Wanted> {
    let mut signers: Vec<Wanted> = Vec::new();
    for Publish { key, signer, signer_home, dir, .. } in settings.repositories.iter().map(|one| &one.publish) {
        let (Some(key), Some(home)) = (key, signer_home) else { continue };
        match signers.iter_mut().find(|known| known.socket == *signer) {
            Some(known) => known.folders.push(dir.clone()),
            None => signers.push(Wanted {
                socket: signer.clone(),
                folders: vec![dir.clone()],
                home: home.clone(),
                key: key.clone(),
                passphrase_file: None,
                clients: Vec::new(),
                group: None,
            }),
        }
    }
    signers
}

/// Keeps a signer running, as a process of its own, until `stop`.
pub async fn keep(program: &Path, wanted: &Wanted, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let mut command = Program::new(program).args(["signer", "--socket"]).arg(&wanted.socket);
        command = command.arg("--home").arg(&wanted.home).arg("--key").arg(wanted.key.as_str());
        for folder in &wanted.folders {
            command = command.arg("--folder").arg(folder);
        }
        match command.spawn() {
            Ok(mut child) => {
                let said = child.stderr();
                let told = tokio::spawn(tell(said));
                tokio::select! {
                    () = stop.cancelled() => child.stop(GRACE).await,
                    ended = child.wait() => {
                        let status = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
                        tracing::error!(status, "the signer ended; nothing is published until it runs again");
                    }
                }
                told.abort();
            }
            Err(error) => tracing::error!(error = error.to_string(), "the signer cannot be started"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

/// What it says goes where we say things.
async fn tell(said: Option<tokio::process::ChildStderr>) {
    let Some(said) = said else { return };
    let mut lines = BufReader::new(said).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        tracing::info!("signer: {line}");
    }
}
