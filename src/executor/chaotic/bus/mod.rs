//! A node on Moleculer's bus, which is Redis' publish and subscribe: it hears who is there and what happens, and calls
//! the actions of others. It has none itself.

mod packet;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::Value;
use tokio::sync::{broadcast, oneshot};
use tokio::time::Instant;

use self::packet::{Envelope, Kind, NEWEST, Node, Us};
use crate::executor::bullmq::link::Link;
use crate::executor::bullmq::server::RedisError;

/// How often we say that we are there.
const BEAT: Duration = Duration::from_secs(5);
/// How long somebody is believed to be there who says nothing: nodes say so every ten seconds.
const LASTS: Duration = Duration::from_secs(35);
/// How long it may be silent, our own voice included, until the connection counts as broken.
const DEAF: Duration = Duration::from_secs(15);
/// How long it is waited before a connection is made again.
const PAUSE: Duration = Duration::from_millis(500);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// So many events may wait for whoever listens; who falls behind further looks for itself.
const EVENTS: usize = 1024;

/// Something that happened, as nodes tell each other.
#[derive(Debug, Clone)]
pub struct Event {
    /// What it is called.
    pub name: String,
    /// What is said of it.
    pub data: Value,
}

/// A call without a useful answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody is there who could answer.
    #[error("nobody on the bus has the service `{0}`")]
    Nobody(String),
    /// There was no answer: it may have been done or not.
    #[error("`{0}` was not answered")]
    Silent(String),
    /// The answer is that it went wrong.
    #[error("`{action}` was answered with an error: {message}")]
    Refused {
        /// What was called.
        action: String,
        /// What was said.
        message: String,
    },
    /// Redis does not do it.
    #[error(transparent)]
    Redis(#[from] RedisError),
}

#[derive(Debug)]
struct Peer {
    node: Node,
    heard: Instant,
}

/// Our node.
pub struct Bus {
    link: Link,
    us: Us,
    ver: Mutex<&'static str>,
    peers: Mutex<HashMap<String, Peer>>,
    pending: Mutex<HashMap<String, oneshot::Sender<Envelope>>>,
    events: broadcast::Sender<Arc<Event>>,
    calls: AtomicU64,
}

impl Bus {
    /// A node with an id that no other has: a coordinator that sees its own id twice ends.
    #[must_use]
    pub fn new(link: Link, unique: &str) -> Self {
        let us = Us { node: format!("pkgwarden-{unique}"), instance: unique.to_owned() };
        let (ver, calls) = (Mutex::new(NEWEST), AtomicU64::new(0));
        let (peers, pending, events) = (Mutex::default(), Mutex::default(), broadcast::Sender::new(EVENTS));
        Self { link, us, ver, peers, pending, events, calls }
    }

    /// Is on the bus, for ever.
    pub async fn run(self: Arc<Self>) {
        loop {
            if let Err(error) = self.attend().await {
                tracing::debug!(error = error.to_string(), "not on the bus of Chaotic Manager");
            }
            self.pending().clear();
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Hears of events from now on.
    #[must_use]
    pub fn listen(&self) -> broadcast::Receiver<Arc<Event>> {
        self.events.subscribe()
    }

    /// The nodes that have a service, with what they say of themselves, sorted.
    #[must_use]
    pub fn with_service(&self, service: &str) -> Vec<(String, Node)> {
        let peers = self.peers();
        let there = peers.iter().filter(|(_, peer)| peer.heard.elapsed() < LASTS);
        let mut found: Vec<_> = there
            .filter(|(_, peer)| peer.node.services.iter().any(|name| name == service))
            .map(|(id, peer)| (id.clone(), peer.node.clone()))
            .collect();
        found.sort_by(|one, other| one.0.cmp(&other.0));
        found
    }

    /// Calls an action `SERVICE.NAME` of whoever has that service.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn call(&self, action: &str, params: &Value) -> Result<Value, CallError> {
        self.call_for(PATIENCE, action, params).await
    }

    /// As [`Bus::call`], for what takes longer.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn call_for(&self, patience: Duration, action: &str, params: &Value) -> Result<Value, CallError> {
        let service = action.split('.').next().unwrap_or_default();
        let nodes = self.with_service(service);
        let (node, _) = nodes.first().ok_or_else(|| CallError::Nobody(service.to_owned()))?;
        self.request(node, action, params, patience).await
    }

    /// Calls an action of this node.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn call_at(&self, node: &str, action: &str, params: &Value) -> Result<Value, CallError> {
        self.request(node, action, params, PATIENCE).await
    }

    async fn request(&self, node: &str, action: &str, params: &Value, patience: Duration) -> Result<Value, CallError> {
        let id = format!("{}-{}", self.us.instance, self.calls.fetch_add(1, Ordering::Relaxed));
        let (answer, answered) = oneshot::channel();
        self.pending().insert(id.clone(), answer);
        let request = self.us.request(self.ver(), &id, action, params);
        let heard = self.say(Kind::Request, Some(node), &request).await;
        let answer = match heard {
            Ok(0) => {
                self.peers().remove(node);
                Err(CallError::Nobody(node.to_owned()))
            }
            Ok(_) => match tokio::time::timeout(patience, answered).await {
                Ok(Ok(answer)) => read_answer(action, &answer),
                Ok(Err(_)) | Err(_) => Err(CallError::Silent(action.to_owned())),
            },
            Err(error) => Err(error.into()),
        };
        self.pending().remove(&id);
        answer
    }

    async fn attend(&self) -> Result<(), RedisError> {
        let failed = |error| self.link.config().unusable(&error);
        let connection = self.link.connection().await?;
        let made = tokio::time::timeout(PATIENCE, connection.client().get_async_pubsub()).await;
        let made = made.map_err(|_| self.link.config().unusable(&"it does not answer"))?;
        let mut subscribed = made.map_err(failed)?;
        for channel in packet::channels(&self.us.node) {
            subscribed.subscribe(channel).await.map_err(failed)?;
        }
        let mut messages = subscribed.into_on_message();
        self.introduce().await?;
        let mut beat = tokio::time::interval(BEAT);
        loop {
            tokio::select! {
                _ = beat.tick() => {
                    self.say(Kind::Heartbeat, None, &self.us.heartbeat(self.ver())).await?;
                    self.peers().retain(|_, peer| peer.heard.elapsed() < LASTS);
                }
                message = tokio::time::timeout(DEAF, messages.next()) => match message {
                    Ok(Some(message)) => self.take(message.get_channel_name(), message.get_payload_bytes()).await?,
                    Ok(None) => return Err(self.link.config().unusable(&"the connection broke")),
                    Err(_) => return Err(self.link.config().unusable(&"nothing is heard, ourselves included")),
                },
            }
        }
    }

    /// Says who we are, and asks who is there.
    async fn introduce(&self) -> Result<(), RedisError> {
        self.say(Kind::Info, None, &self.us.info(self.ver())).await?;
        self.say(Kind::Discover, None, &self.us.bare(self.ver())).await?;
        Ok(())
    }

    async fn take(&self, channel: &str, text: &[u8]) -> Result<(), RedisError> {
        let (Some(kind), Some(said)) = (Kind::of(channel), Envelope::read(text)) else { return Ok(()) };
        if said.sender == self.us.node {
            return Ok(());
        }
        self.speak_as(&said).await?;
        let is_new = match self.peers().get_mut(&said.sender) {
            Some(peer) => {
                peer.heard = Instant::now();
                false
            }
            None => true,
        };
        let (node, ver) = (Some(said.sender.as_str()), self.ver());
        match kind {
            Kind::Info => {
                self.peers().insert(said.sender.clone(), Peer { node: said.node(), heard: Instant::now() });
            }
            Kind::Discover => drop(self.say(Kind::Info, node, &self.us.info(ver)).await?),
            Kind::Heartbeat if is_new => drop(self.say(Kind::Discover, node, &self.us.bare(ver)).await?),
            Kind::Disconnect => drop(self.peers().remove(&said.sender)),
            Kind::Ping => drop(self.say(Kind::Pong, node, &self.us.pong(ver, &said)).await?),
            Kind::Request => drop(self.say(Kind::Response, node, &self.us.refusal(ver, &said)).await?),
            Kind::Response => {
                if let Some(waiting) = said.text("id").and_then(|id| self.pending().remove(id)) {
                    // Whoever asked may have stopped waiting.
                    let _ = waiting.send(said);
                }
            }
            Kind::Event => {
                let (name, data) = (said.text("event").unwrap_or_default().to_owned(), said.value("data").clone());
                // Nobody may be listening.
                let _ = self.events.send(Arc::new(Event { name, data }));
            }
            Kind::Heartbeat | Kind::Pong => {}
        }
        Ok(())
    }

    /// Nodes of another version do not listen to us: as long as there is no coordinator, we speak as whoever is heard.
    async fn speak_as(&self, said: &Envelope) -> Result<(), RedisError> {
        let Some(theirs) = ["4", "5"].into_iter().find(|ver| *ver == said.ver) else { return Ok(()) };
        if theirs == self.ver() || !self.with_service("coordinator").is_empty() {
            return Ok(());
        }
        *self.ver.lock().expect("nobody panics with it") = theirs;
        self.introduce().await
    }

    /// Says something; how many heard it.
    async fn say(&self, kind: Kind, node: Option<&str>, packet: &Value) -> Result<u64, RedisError> {
        self.link.ask(redis::cmd("PUBLISH").arg(kind.channel(node)).arg(packet.to_string())).await
    }

    fn ver(&self) -> &'static str {
        *self.ver.lock().expect("nobody panics with it")
    }

    fn peers(&self) -> MutexGuard<'_, HashMap<String, Peer>> {
        self.peers.lock().expect("nobody panics while holding the map of nodes")
    }

    fn pending(&self) -> MutexGuard<'_, HashMap<String, oneshot::Sender<Envelope>>> {
        self.pending.lock().expect("nobody panics while holding the map of calls")
    }
}

fn read_answer(action: &str, answer: &Envelope) -> Result<Value, CallError> {
    if answer.value("success") == &Value::Bool(true) {
        return Ok(answer.value("data").clone());
    }
    let error = answer.value("error");
    // It goes, or has not come whole: there is another soon.
    if matches!(error["name"].as_str(), Some("ServiceNotFoundError" | "ServiceNotAvailableError")) {
        return Err(CallError::Nobody(action.to_owned()));
    }
    let message = error["message"].as_str().unwrap_or("without a word").to_owned();
    Err(CallError::Refused { action: action.to_owned(), message })
}
