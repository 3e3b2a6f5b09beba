//! Takes what a build prints elsewhere.

use super::{Exchange, ExchangeError};
use crate::domain::upload::Refusal;
use crate::logstore::LogError;

impl Exchange {
    /// Adds what a builder printed from byte `offset` of its own output on, and returns how much of that output is
    /// there. What is there already is passed over, so that a piece can be sent again.
    ///
    /// # Errors
    /// [`Refusal::Elsewhere`] if something between is missing; [`Refusal::TooLarge`] if the log is full.
    pub async fn append_log(&self, attempt: &str, offset: u64, bytes: &[u8]) -> Result<u64, ExchangeError> {
        let open = self.attempt(attempt)?;
        let _turn = open.logging.lock().await;
        if open.is_over() {
            return Err(Refusal::Over.into());
        }
        let begins = open.record.log_begins;
        let there = self.0.logs.position(attempt)?.len.saturating_sub(begins);
        let known = there.checked_sub(offset).ok_or(Refusal::Elsewhere { at: there })?;
        let known = usize::try_from(known).unwrap_or(usize::MAX);
        let Some(new) = bytes.get(known..).filter(|new| !new.is_empty()) else { return Ok(there) };
        let mut writer = self.0.logs.writer(attempt)?;
        match writer.write(new) {
            Ok(()) => Ok(writer.length().saturating_sub(begins)),
            Err(LogError::LimitReached { limit }) => Err(Refusal::TooLarge { what: "a log", limit }.into()),
            Err(error) => Err(error.into()),
        }
    }

    /// Room for one piece of the log of an attempt on its way, until the result is dropped.
    ///
    /// # Errors
    /// [`Refusal::Crowd`] if there are too many.
    pub fn log_room(&self, attempt: &str) -> Result<LogRoom, ExchangeError> {
        let open = self.attempt(attempt)?;
        let room = open.logs.clone().try_acquire_owned().map_err(|_| Refusal::Crowd)?;
        Ok(LogRoom { _room: room })
    }
}

/// Room for one piece of a log.
pub struct LogRoom {
    _room: tokio::sync::OwnedSemaphorePermit,
}
