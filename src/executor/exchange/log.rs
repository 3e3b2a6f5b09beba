//! Takes what a build prints elsewhere.

use super::{Caller, Exchange, ExchangeError};
use crate::domain::upload::{Bulk, Refusal};
use crate::logstore::LogError;

impl Exchange {
    /// Adds what a builder printed from byte `offset` of its own output on, and returns how much of that output is
    /// there. What is there already is passed over, so that a piece can be sent again.
    ///
    /// # Errors
    /// [`Refusal::Elsewhere`] if something between is missing; [`Refusal::TooLarge`] if the log is full.
    pub async fn append_log<'a>(
        &self,
        caller: impl Into<Caller<'a>>,
        offset: u64,
        bytes: &[u8],
    ) -> Result<u64, ExchangeError> {
        let caller = caller.into();
        let attempt = caller.attempt;
        let open = self.attempt(attempt)?;
        let _turn = open.logging.lock().await;
        if open.is_over() {
            return Err(Refusal::Over.into());
        }
        open.check_claim(caller.claim)?;
        let begins = open.record.log_begins;
        let there = self.0.logs.position(attempt)?.len.saturating_sub(begins);
        let known = there.checked_sub(offset).ok_or(Refusal::Elsewhere { at: there })?;
        let known = usize::try_from(known).unwrap_or(usize::MAX);
        let Some(new) = bytes.get(known..).filter(|new| !new.is_empty()) else { return Ok(there) };
        let mut writer = self.0.logs.writer(attempt).map_err(|error| match error {
            LogError::Busy(_) => Refusal::Overtaken.into(),
            LogError::Finished(_) => Refusal::Over.into(),
            error => ExchangeError::from(error),
        })?;
        match writer.write(new) {
            Ok(()) => Ok(writer.length().saturating_sub(begins)),
            Err(LogError::LimitReached { limit }) => Err(Refusal::TooLarge { what: Bulk::Log, limit }.into()),
            Err(error) => Err(error.into()),
        }
    }

    /// Room for one piece of the log of an attempt on its way, until the result is dropped.
    ///
    /// # Errors
    /// [`Refusal::Crowd`] if there are too many.
    pub fn log_room<'a>(&self, caller: impl Into<Caller<'a>>) -> Result<LogRoom, ExchangeError> {
        let open = self.served(caller.into())?;
        let room = open.logs.clone().try_acquire_owned().map_err(|_| Refusal::Crowd)?;
        Ok(LogRoom { _room: room })
    }
}

/// Room for one piece of a log.
pub struct LogRoom {
    _room: tokio::sync::OwnedSemaphorePermit,
}
