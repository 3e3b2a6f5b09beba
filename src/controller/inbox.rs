//! What forges tell by themselves: verified, put on record, and only then taken.
//!
//! Deliveries wake the loop of their repository ([`super::supervise`]) and do nothing else; comments and checks stay
//! on record for whoever handles them ([`crate::store::deliveries`]).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, RwLock};

use bytes::Bytes;
use tokio::sync::{Notify, oneshot};

use crate::domain::event::{EventKind, Purpose};
use crate::forge::webhook::{Headers, Hook, Refusal, Verified};
use crate::store::deliveries::NewDelivery;
use crate::store::{Store, StoreError};
use crate::sys::clock::Clock;

/// How many deliveries are recorded in one transaction.
const MOST_AT_ONCE: usize = 256;

/// Why a delivery is not taken.
#[derive(Debug, thiserror::Error)]
pub enum InboxError {
    /// Nobody keeps this repository.
    #[error("there is no repository `{0}`")]
    Unknown(String),
    /// The repository has no webhook.
    #[error("the repository `{0}` takes no webhooks")]
    Closed(String),
    /// It is not proven that the forge has sent it.
    #[error("the delivery is not signed as it has to be")]
    Unproven,
    /// It is the forge's, and cannot be read.
    #[error("{0}")]
    Unreadable(String),
    /// It cannot be put on record now.
    #[error("the delivery cannot be put on record")]
    Unavailable(#[source] Option<StoreError>),
}

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is on record.
    New,
    /// It was there already.
    Known,
}

/// The inbox of all repositories. Cheap to clone.
#[derive(Clone)]
pub struct Inbox(Arc<Inner>);

struct Inner {
    slots: BTreeMap<String, Slot>,
    store: Store,
    clock: Arc<dyn Clock>,
    /// What has to be recorded: many deliveries at once cost one transaction.
    waiting: Mutex<Vec<Waiting>>,
    /// Held by the one who records for all that wait.
    turn: tokio::sync::Mutex<()>,
}

/// The inbox of one repository.
#[derive(Default)]
struct Slot {
    hook: RwLock<Option<Arc<Hook>>>,
    woken: Notify,
}

struct Waiting {
    delivery: NewDelivery,
    answer: oneshot::Sender<Result<bool, Option<StoreError>>>,
}

impl Inbox {
    /// An inbox for these repositories, each with what its deliveries are verified with, if it takes any.
    #[must_use]
    pub fn new(hooks: BTreeMap<String, Option<Hook>>, store: Store, clock: Arc<dyn Clock>) -> Self {
        let slot = |(name, hook): (String, Option<Hook>)| {
            (name, Slot { hook: RwLock::new(hook.map(Arc::new)), woken: Notify::new() })
        };
        let slots = hooks.into_iter().map(slot).collect();
        Self(Arc::new(Inner { slots, store, clock, waiting: Mutex::default(), turn: tokio::sync::Mutex::default() }))
    }

    /// Verifies what comes from now on with other secrets.
    pub fn renew(&self, repository: &str, hook: Option<Hook>) {
        if let Some(slot) = self.0.slots.get(repository) {
            *slot.hook.write().expect("nobody panics with it") = hook.map(Arc::new);
        }
    }

    /// Whether deliveries for a repository are taken at all: asked before any of them is read.
    ///
    /// # Errors
    /// [`InboxError::Unknown`] and [`InboxError::Closed`].
    pub fn expects(&self, repository: &str) -> Result<(), InboxError> {
        self.hook(repository).map(drop)
    }

    fn hook(&self, repository: &str) -> Result<Arc<Hook>, InboxError> {
        let slot = self.0.slots.get(repository).ok_or_else(|| InboxError::Unknown(repository.to_owned()))?;
        let hook = slot.hook.read().expect("nobody panics with it").clone();
        hook.ok_or_else(|| InboxError::Closed(repository.to_owned()))
    }

    /// Takes a delivery: when this returns, it is on the disk. `body` is what arrived, byte by byte.
    ///
    /// # Errors
    /// [`InboxError`]; then nothing is on record, and the forge may deliver it again.
    pub async fn take(
        &self,
        repository: &str,
        headers: Vec<(String, String)>,
        body: Bytes,
    ) -> Result<Taken, InboxError> {
        let (hook, now) = (self.hook(repository)?, self.0.clock.now());
        // A body may have megabytes.
        let verifying = tokio::task::spawn_blocking(move || hook.accept(Headers::new(&headers), &body, now));
        let verified = match verifying.await.expect("verifying does not panic") {
            Ok(verified) => verified,
            Err(Refusal::Unproven(why)) => {
                tracing::warn!(repository, why, "a delivery was refused");
                return Err(InboxError::Unproven);
            }
            Err(unreadable @ Refusal::Unreadable { .. }) => {
                tracing::warn!(repository, error = %unreadable, "a delivery of the forge cannot be read");
                return Err(InboxError::Unreadable(unreadable.to_string()));
            }
        };
        self.keep(repository, verified).await
    }

    async fn keep(&self, repository: &str, verified: Verified) -> Result<Taken, InboxError> {
        let Verified { id, digest, event } = verified;
        let wakes = event.purpose() == Purpose::Wake || EventKind::ASKING.contains(&event.kind());
        let kind = event.kind().as_str();
        tracing::debug!(repository, kind, delivery = id, "a delivery arrived");
        let (answer, recorded) = oneshot::channel();
        let delivery = NewDelivery { repository: repository.to_owned(), id, digest, event };
        self.0.waiting.lock().expect("nobody panics with it").push(Waiting { delivery, answer });
        self.record_waiting().await;
        let is_new = recorded.await.unwrap_or(Err(None)).map_err(InboxError::Unavailable)?;
        if is_new && wakes {
            self.0.slots[repository].woken.notify_one();
        }
        Ok(if is_new { Taken::New } else { Taken::Known })
    }

    /// Records what waits, unless the one before has done so already.
    async fn record_waiting(&self) {
        let _turn = self.0.turn.lock().await;
        let waiting: Vec<Waiting> = {
            let mut waiting = self.0.waiting.lock().expect("nobody panics with it");
            let count = waiting.len().min(MOST_AT_ONCE);
            waiting.drain(..count).collect()
        };
        if waiting.is_empty() {
            return;
        }
        let (deliveries, answers): (Vec<_>, Vec<_>) =
            waiting.into_iter().map(|waiting| (waiting.delivery, waiting.answer)).unzip();
        match self.0.store.record_deliveries(deliveries, self.0.clock.now()).await {
            Ok(recorded) => {
                for (answer, is_new) in answers.into_iter().zip(recorded) {
                    let _ = answer.send(Ok(is_new));
                }
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "deliveries cannot be put on record");
                let mut error = Some(error);
                for answer in answers {
                    let _ = answer.send(Err(error.take()));
                }
            }
        }
    }

    /// Waits for a delivery that wakes this repository. One that came while nobody waited counts, once.
    pub(super) async fn woken(&self, repository: &str) {
        match self.0.slots.get(repository) {
            Some(slot) => slot.woken.notified().await,
            None => std::future::pending().await,
        }
    }
}
