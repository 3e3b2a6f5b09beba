//! The connection of one process to the server: made when it is first needed, kept, and watched.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bullmq::redis_connection::RedisConnection;
use bullmq::{Queue, QueueOptions};
use tokio::sync::watch;

use super::server::{RedisConfig, RedisError, Server};

/// How often it is looked whether the server is there.
const BEAT: Duration = Duration::from_secs(1);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The connection. Cheap to clone.
#[derive(Clone)]
pub struct Link(Arc<Inner>);

struct Inner {
    config: RedisConfig,
    prefix: String,
    reached: tokio::sync::Mutex<Option<(Arc<Server>, RedisConnection)>>,
    queues: Mutex<HashMap<String, Arc<Queue>>>,
    /// What the last look said; `None` before the first.
    state: watch::Sender<Option<Result<(), String>>>,
}

impl Link {
    /// A link that has connected to nothing yet.
    #[must_use]
    pub fn new(config: RedisConfig, prefix: String) -> Self {
        let (reached, queues, state) = (tokio::sync::Mutex::default(), Mutex::default(), watch::Sender::new(None));
        Self(Arc::new(Inner { config, prefix, reached, queues, state }))
    }

    /// Which server it is.
    #[must_use]
    pub fn config(&self) -> &RedisConfig {
        &self.0.config
    }

    /// What all keys begin with.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.0.prefix
    }

    /// How the server is reached, for clients with connections of their own.
    ///
    /// # Errors
    /// If it cannot be reached.
    pub async fn server(&self) -> Result<Arc<Server>, RedisError> {
        Ok(self.reach().await?.0)
    }

    /// The connection, which mends itself when it breaks.
    ///
    /// # Errors
    /// If there is none yet, and none can be made.
    pub async fn connection(&self) -> Result<RedisConnection, RedisError> {
        Ok(self.reach().await?.1)
    }

    /// A queue.
    ///
    /// # Errors
    /// If the server cannot be reached.
    pub async fn queue(&self, name: &str) -> Result<Arc<Queue>, RedisError> {
        if let Some(queue) = self.queues().get(name) {
            return Ok(Arc::clone(queue));
        }
        let (server, connection) = self.reach().await?;
        let options = QueueOptions {
            connection: server.options.clone(),
            prefix: self.0.prefix.clone(),
            ..QueueOptions::default()
        };
        let queue = Queue::with_connection(name, connection, options).await;
        let queue = Arc::new(queue.map_err(|error| self.0.config.unusable(&error))?);
        self.queues().insert(name.to_owned(), Arc::clone(&queue));
        Ok(queue)
    }

    /// Does something with the connection.
    ///
    /// # Errors
    /// If it cannot be reached or says no.
    pub async fn ask<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> Result<T, RedisError> {
        let connection = self.connection().await?;
        let mut command = command.clone();
        let answer = tokio::time::timeout(PATIENCE, connection.cmd(&mut command)).await;
        let answer = answer.map_err(|_| self.0.config.unusable(&"it does not answer"))?;
        answer.map_err(|error| self.0.config.unusable(&error))
    }

    /// Does something that the server may not let us do: `None` if it does not.
    ///
    /// # Errors
    /// If it cannot be reached.
    pub async fn ask_if_allowed<T: redis::FromRedisValue>(
        &self,
        command: &redis::Cmd,
    ) -> Result<Option<T>, RedisError> {
        let connection = self.connection().await?;
        let mut command = command.clone();
        let answer = tokio::time::timeout(PATIENCE, connection.cmd(&mut command)).await;
        match answer.map_err(|_| self.0.config.unusable(&"it does not answer"))? {
            Ok(answer) => Ok(Some(answer)),
            // No right to it, and no such command.
            Err(bullmq::Error::Redis(error)) if matches!(error.code(), Some("NOPERM" | "ERR")) => Ok(None),
            Err(error) => Err(self.0.config.unusable(&error)),
        }
    }

    /// Looks once whether the server is there.
    pub async fn look(&self) {
        let found = self.ask::<String>(&redis::cmd("PING")).await.map(drop).map_err(|error| error.to_string());
        self.0.state.send_if_modified(|state| {
            let changed = state.as_ref() != Some(&found);
            *state = Some(found);
            changed
        });
    }

    /// Looks again and again, for ever.
    pub async fn watch(self) {
        loop {
            self.look().await;
            tokio::time::sleep(BEAT).await;
        }
    }

    /// Whether the server was there when it was last looked.
    #[must_use]
    pub fn state(&self) -> Option<Result<(), String>> {
        self.0.state.borrow().clone()
    }

    /// Told whenever that changes.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<Option<Result<(), String>>> {
        self.0.state.subscribe()
    }

    async fn reach(&self) -> Result<(Arc<Server>, RedisConnection), RedisError> {
        let mut reached = self.0.reached.lock().await;
        if let Some((server, connection)) = &*reached {
            return Ok((Arc::clone(server), connection.clone()));
        }
        let server = Arc::new(Server::find(&self.0.config).await?);
        let knocked = tokio::time::timeout(PATIENCE, server.knock()).await;
        let knocked = knocked.map_err(|_| self.0.config.unusable(&"it does not answer"))?;
        knocked.map_err(|error| self.0.config.unusable(&error))?;
        let made = tokio::time::timeout(PATIENCE, RedisConnection::new_managed_only(&server.options)).await;
        let made = made.map_err(|_| self.0.config.unusable(&"it does not answer"))?;
        let connection = made.map_err(|error| self.0.config.unusable(&error))?;
        *reached = Some((Arc::clone(&server), connection.clone()));
        Ok((server, connection))
    }

    fn queues(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Queue>>> {
        self.0.queues.lock().expect("nobody panics while holding the map of queues")
    }
}
