//! What builders elsewhere may ask and bring, each for one attempt and with its token. What of it counts, its executor
//! decides ([`crate::executor::exchange`]).

use std::path::PathBuf;

use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::watch;

use crate::caches::Caches;
use crate::domain::cache::told::Told;
use crate::domain::upload::{Held, Put, Refusal};
use crate::executor::exchange::{Exchange, ExchangeError, LogRoom, Received, Wish};
use crate::executor::kept::blocking;

/// Why a builder is not served.
#[derive(Debug, thiserror::Error)]
pub enum BuildersError {
    /// It did what it may not, or it was too late.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It cannot be done now, through no fault of the builder.
    #[error("it cannot be kept now: {0}")]
    Unavailable(String),
}

impl From<ExchangeError> for BuildersError {
    fn from(error: ExchangeError) -> Self {
        match error {
            ExchangeError::Refused(refusal) => Self::Refused(refusal),
            ExchangeError::Fs(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "what a builder brings cannot be kept");
                Self::Unavailable("the disk says no".to_owned())
            }
            ExchangeError::Log(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "what a builder prints cannot be kept");
                Self::Unavailable("the log cannot be written".to_owned())
            }
        }
    }
}

/// What became of something that a builder brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Brought {
    /// It was there.
    Known,
    /// A part of it is there; it goes on at this byte.
    Part(u64),
    /// All of it is there, with the right checksum.
    Complete,
}

/// Serves builders elsewhere. Cheap to clone.
#[derive(Clone)]
pub struct Builders {
    exchange: Exchange,
    caches: Caches,
}

/// The builder of one attempt, which has proven itself.
pub struct Builder<'a> {
    exchange: &'a Exchange,
    caches: &'a Caches,
    attempt: &'a str,
}

impl Builders {
    /// Serves the builders of the attempts in this exchange; what they tell of theirs is noted with these caches.
    #[must_use]
    pub const fn new(exchange: Exchange, caches: Caches) -> Self {
        Self { exchange, caches }
    }

    /// The builder of an attempt, if this is its token. It is told of nothing else, not even what attempts there are.
    ///
    /// # Errors
    /// [`Refusal::NotYours`], if it is not.
    pub fn with_token<'a>(&'a self, attempt: &'a str, token: &str) -> Result<Builder<'a>, BuildersError> {
        if self.exchange.accepts(attempt, token) {
            Ok(Builder { exchange: &self.exchange, caches: &self.caches, attempt })
        } else {
            Err(Refusal::NotYours.into())
        }
    }
}

impl Builder<'_> {
    /// The tar archive with the files of the package.
    pub fn files(&self) -> Result<PathBuf, BuildersError> {
        Ok(self.exchange.files(self.attempt)?)
    }

    /// What is there of a file.
    pub fn held(&self, name: &str) -> Result<Held, BuildersError> {
        let held = self.exchange.held(self.attempt, name)?;
        held.ok_or_else(|| Refusal::Nothing(name.to_owned()).into())
    }

    /// Takes a file, or a part of it.
    pub async fn receive<E>(
        &self,
        name: &str,
        put: &Put,
        body: impl Stream<Item = Result<Bytes, E>> + Send,
    ) -> Result<Brought, BuildersError> {
        Ok(match self.exchange.receive(self.attempt, name, put, body).await? {
            Received::Known => Brought::Known,
            Received::Part(offset) => Brought::Part(offset),
            Received::Complete => Brought::Complete,
        })
    }

    /// Room for a piece of the log on its way.
    pub fn log_room(&self) -> Result<LogRoom, BuildersError> {
        Ok(self.exchange.log_room(self.attempt)?)
    }

    /// Adds to the log; returns how much of what the builder printed is there.
    pub async fn append_log(&self, offset: u64, bytes: &[u8]) -> Result<u64, BuildersError> {
        Ok(self.exchange.append_log(self.attempt, offset, bytes).await?)
    }

    /// Notes which archives it says that it used and saved on its own machine.
    pub async fn note_caches(&self, told: Vec<Told>) -> Result<(), BuildersError> {
        // Only of a build that is under way.
        let _open = self.exchange.wish(self.attempt)?;
        let (caches, attempt) = (self.caches.clone(), self.attempt.to_owned());
        blocking(move || caches.note_told(&attempt, &told)).await.map_err(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "what a builder tells of caches cannot be kept");
            BuildersError::Unavailable("the index of caches cannot be written".to_owned())
        })
    }

    /// Whether somebody wants the builder to stop, now and from now on. The channel closes with the attempt.
    pub fn wish(&self) -> Result<WishChannel, BuildersError> {
        Ok(WishChannel(self.exchange.wish(self.attempt)?))
    }
}

/// Tells what a builder is to do.
pub struct WishChannel(watch::Receiver<Wish>);

impl WishChannel {
    /// Waits until the builder is to stop, which is `true`; `false` if the attempt is over.
    pub async fn stop(&mut self) -> bool {
        self.0.wait_for(|wish| *wish == Wish::Cancelled).await.is_ok()
    }
}
