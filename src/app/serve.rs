//! The long-running program: controller, builds, pages and API, from start to drained.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Serving, signer};
use crate::config::Settings;
use crate::controller::dispatch::Dispatcher;
use crate::controller::{Controller, supervise};
use crate::http::{self, Server, UnixSocket};
use crate::sys::clock::Clock;
use crate::sys::secret::{self, ExposeSecret as _, SecretString};

/// The unix socket in the data directory.
pub const SOCKET: &str = "control.sock";
/// How long builds may go on after the program was told to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// What browsers sign in with if no token is configured, in the data directory.
pub const PAGE_KEY: &str = "pages.key";

/// A program that serves.
pub struct Running {
    /// Where pages and API are.
    pub address: SocketAddr,
    /// The link that signs a browser in, if no token is configured. It is a secret.
    pub sign_in: Option<SecretString>,
    /// Answers and commands, for whoever is in the same process.
    pub controller: Controller,
    dispatcher: Option<Arc<Dispatcher>>,
    loops: TaskTracker,
    stop: CancellationToken,
    listening: JoinHandle<()>,
    /// Cancelled when everything else has come to rest: pages stay up until then.
    close: CancellationToken,
    /// The signers that it started, which end when the pages do.
    signers: TaskTracker,
    _serving_lock: std::fs::File,
}

/// Starts everything.
///
/// # Errors
/// If the data directory is kept by another process, or the address cannot be listened on.
pub async fn start(settings: &Settings, dir: &Path, clock: Arc<dyn Clock>) -> Result<Running> {
    let Serving { controller, dispatcher, exchange, lock } = super::serving(settings, dir, clock.clone())?;
    let interrupted = controller.store().interrupt_runs(None, clock.now()).await?;
    if interrupted > 0 {
        tracing::warn!(
            runs = interrupted,
            "runs of an earlier process were interrupted; what they pushed is finished now"
        );
    }
    let (stop, close, loops) = (CancellationToken::new(), CancellationToken::new(), TaskTracker::new());
    let keys = keys(settings)?;
    let page_key = keys.pages.clone();
    let server = Server::new(http::Options {
        face: Arc::new(controller.clone()),
        inbox: Some(controller.inbox().clone()),
        builders: exchange.clone().map(|exchange| controller.serve_builders(exchange)),
        published: controller.published(),
        clock,
        keys,
        hosts: settings.server.hosts.clone(),
        public_url: settings.server.public_url.as_ref().map(ToString::to_string),
        stop: close.clone(),
    })?;
    let tcp = TcpListener::bind(settings.server.listen.to_string()).await;
    let tcp = tcp.with_context(|| {
        format!("cannot listen on {}; choose another address with server.listen", settings.server.listen)
    })?;
    let address = tcp.local_addr()?;
    let reached = settings.server.public_url.as_ref().map_or_else(|| format!("http://{address}"), ToString::to_string);
    if let Some(exchange) = &exchange {
        exchange.reached_at(&reached);
    }
    let sign_in = page_key.map(|key| sign_in_link(&reached, &key));
    let socket = UnixSocket::bind(&settings.server.data_dir.join(SOCKET)).await?;
    let listening = tokio::spawn(async move { http::serve(&server, Some(tcp), Some(socket)).await });
    supervise::start(&controller, &loops, &stop);
    if let Some(dispatcher) = &dispatcher {
        loops.spawn(dispatcher.clone().run(stop.clone()));
    }
    // It ends last: what was built until the end is still published.
    let signers = TaskTracker::new();
    for wanted in signer::own(settings) {
        let (program, close) = (std::env::current_exe()?, close.clone());
        signers.spawn(async move { signer::keep(&program, &wanted, close).await });
    }
    Ok(Running {
        address,
        sign_in,
        controller,
        dispatcher,
        loops,
        stop,
        listening,
        close,
        signers,
        _serving_lock: lock,
    })
}

/// What changes are allowed with: the token that is configured, or else a key for the pages that is drawn at the first
/// start. Without either, whoever reaches a loopback address could press every button, code of packages among them.
fn keys(settings: &Settings) -> Result<http::Keys> {
    Ok(match &settings.server.token_file {
        Some(file) => http::Keys { token: Some(secret::from_file(file)?), pages: None },
        None => http::Keys { token: None, pages: Some(secret::kept(&settings.server.data_dir.join(PAGE_KEY))?) },
    })
}

fn sign_in_link(reached: &str, key: &SecretString) -> SecretString {
    format!("{}/sign-in?key={}", reached.trim_end_matches('/'), key.expose_secret()).into()
}

impl Running {
    /// Goes by new settings from now on, as far as [`super::reload::fixed`] does not name them. Runs and
    /// builds under way end as they began.
    pub fn reconfigure(&self, settings: &Settings) {
        super::reconfigure(&self.controller, self.dispatcher.as_deref(), settings);
    }

    /// Ends without waiting for builds: what was under way is taken up by the next start.
    ///
    /// # Errors
    /// If the listener had failed.
    pub async fn end(self) -> Result<()> {
        self.close_within(Duration::ZERO).await
    }

    /// Lets runs and builds under way end, builds not for ever, and closes everything.
    ///
    /// # Errors
    /// If the listener had failed.
    pub async fn drain(self) -> Result<()> {
        self.close_within(PATIENCE).await
    }

    async fn close_within(self, patience: Duration) -> Result<()> {
        self.stop.cancel();
        self.loops.close();
        self.loops.wait().await;
        if let Some(dispatcher) = &self.dispatcher {
            dispatcher.drain(patience).await;
        }
        self.close.cancel();
        // None of them outlives what started it, and each takes its socket away.
        self.signers.close();
        self.signers.wait().await;
        self.listening.await.context("the server was interrupted")?;
        Ok(())
    }
}
