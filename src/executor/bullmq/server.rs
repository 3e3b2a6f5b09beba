//! How the Redis server is reached: login, TLS, and behind sentinels whichever server is the master now.

use std::net::SocketAddr;
use std::time::Duration;

use bullmq::options::{RedisConnectionOptions, TlsCerts};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, TlsCertificates};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::domain::redis::RedisUrl;
use crate::sys::secret::{ExposeSecret as _, SecretString};

/// How long one sentinel may take to answer, and the master to take a connection.
const PATIENCE: Duration = Duration::from_secs(3);

/// Which server, and how to log in there.
#[derive(Debug, Clone)]
pub struct RedisConfig {
    /// Where it is.
    pub url: RedisUrl,
    /// The password, which wins over the one in the URL.
    pub password: Option<SecretString>,
    /// Certificates in PEM of whom to trust, for TLS; those of the web if not given.
    pub ca: Option<Vec<u8>>,
}

/// A server that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RedisError {
    /// It does not answer as it should.
    #[error("the Redis server {url} cannot be used: {reason}")]
    Unusable {
        /// Which, without the password.
        url: String,
        /// Why.
        reason: String,
    },
    /// No sentinel knows the master.
    #[error("none of the sentinels of {url} knows where `{master}` is")]
    NoMaster {
        /// Which, without the password.
        url: String,
        /// What it is called.
        master: String,
    },
}

impl RedisError {
    /// Why, without saying which server.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::Unusable { reason, .. } => reason.clone(),
            Self::NoMaster { .. } => self.to_string(),
        }
    }
}

impl RedisConfig {
    /// An error of the client, with the server that it is about.
    #[must_use]
    pub fn unusable(&self, error: &dyn std::fmt::Display) -> RedisError {
        RedisError::Unusable { url: self.url.to_string(), reason: error.to_string() }
    }
}

/// The server as the client of `BullMQ` takes it.
pub struct Server {
    /// What to connect with.
    pub options: RedisConnectionOptions,
    ca: Option<Vec<u8>>,
    relay: Option<JoinHandle<()>>,
}

impl Server {
    /// Works out how to connect. Behind sentinels, connections go through a port of our own, so that each new one
    /// finds whoever is the master then. Must be called within the runtime.
    ///
    /// # Errors
    /// If no sentinel knows the master, or there is no port to be had.
    pub async fn find(config: &RedisConfig) -> Result<Self, RedisError> {
        let (host, port) = config.url.hosts[0].clone();
        let mut options = RedisConnectionOptions::new().host(host).port(port).db(config.url.db).tls(config.url.tls);
        options.username.clone_from(&config.url.user);
        options.password = password(config);
        let ca = config.ca.clone().filter(|_| config.url.tls);
        if let Some(ca) = ca.clone() {
            options = options.tls_certs(TlsCerts { root_cert: Some(ca), ..TlsCerts::default() });
        }
        let Some(master) = &config.url.master else { return Ok(Self { options, ca, relay: None }) };
        let relay = Relay { config: config.clone(), master: master.clone() };
        relay.master().await?;
        let (address, task) = relay.start().await.map_err(|error| config.unusable(&error))?;
        let options = options.host(address.ip().to_string()).port(address.port());
        Ok(Self { options, ca, relay: Some(task) })
    }

    /// Connects once, and says why that is not possible. Connections that mend themselves only try again.
    ///
    /// # Errors
    /// What the server, or whoever answers there, says.
    pub async fn knock(&self) -> redis::RedisResult<()> {
        let url = self.options.effective_url();
        let client = match self.ca.clone() {
            Some(ca) => Client::build_with_tls(url, TlsCertificates { client_tls: None, root_cert: Some(ca) })?,
            None => Client::open(url)?,
        };
        let patience = AsyncConnectionConfig::new().set_connection_timeout(Some(PATIENCE));
        let mut connection = client.get_multiplexed_async_connection_with_config(&patience).await?;
        redis::cmd("PING").query_async(&mut connection).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(relay) = &self.relay {
            relay.abort();
        }
    }
}

fn password(config: &RedisConfig) -> Option<String> {
    config.password.as_ref().map(|password| password.expose_secret().to_owned()).or_else(|| config.url.password.clone())
}

/// Passes connections on to the master.
struct Relay {
    config: RedisConfig,
    master: String,
}

impl Relay {
    async fn start(self) -> std::io::Result<(SocketAddr, JoinHandle<()>)> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        Ok((address, tokio::spawn(self.run(listener))))
    }

    async fn run(self, listener: TcpListener) {
        // Ends with this task.
        let mut passing = tokio::task::JoinSet::new();
        let this = std::sync::Arc::new(self);
        loop {
            while passing.try_join_next().is_some() {}
            match listener.accept().await {
                Ok((client, _)) => {
                    let this = std::sync::Arc::clone(&this);
                    passing.spawn(async move {
                        if let Err(error) = this.pass(client).await {
                            tracing::warn!(error = error.to_string(), "a connection to Redis is not made");
                        }
                    });
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    async fn pass(&self, mut client: TcpStream) -> Result<(), RedisError> {
        let (host, port) = self.master().await?;
        let connected = timeout(PATIENCE, TcpStream::connect((host.as_str(), port))).await;
        let connected = connected.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
        let mut server = connected.map_err(|error| self.config.unusable(&error))?;
        let _ = server.set_nodelay(true).and_then(|()| client.set_nodelay(true));
        // That a connection ends is nothing to tell: the client makes another.
        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
        Ok(())
    }

    /// Where the first sentinel that knows says that the master is.
    async fn master(&self) -> Result<(String, u16), RedisError> {
        for (host, port) in &self.config.url.hosts {
            let asked = timeout(PATIENCE, self.ask(host, *port)).await;
            if let Ok(Ok(Some(found))) = asked {
                return Ok(found);
            }
        }
        Err(RedisError::NoMaster { url: self.config.url.to_string(), master: self.master.clone() })
    }

    /// Asks one sentinel; one that wants a password is given that of the server.
    async fn ask(&self, host: &str, port: u16) -> redis::RedisResult<Option<(String, u16)>> {
        let mut sentinel = RedisConnectionOptions::new().host(host).port(port);
        match ask(&sentinel, &self.master).await {
            Err(error) if error.code() == Some("NOAUTH") => {
                sentinel.username.clone_from(&self.config.url.user);
                sentinel.password = password(&self.config);
                ask(&sentinel, &self.master).await
            }
            answer => answer,
        }
    }
}

async fn ask(sentinel: &RedisConnectionOptions, master: &str) -> redis::RedisResult<Option<(String, u16)>> {
    let client = Client::open(sentinel.effective_url())?;
    let mut connection: MultiplexedConnection = client.get_multiplexed_async_connection().await?;
    redis::cmd("SENTINEL").arg("get-master-addr-by-name").arg(master).query_async(&mut connection).await
}
