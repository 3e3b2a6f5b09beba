//! Brings what the build prints, as it prints it. The log lies on this machine until all of it has arrived, so nothing is
//! lost while the controller is away, and nothing of it is in memory.

use std::time::Duration;

use reqwest::{Method, StatusCode};

use super::odd::is_problem;
use super::{Came, Client, RemoteError, Rest, number, refused, retry_after};
use crate::logstore::LogStore;

/// As soon as so much was printed, it is sent,
const EAGER: u64 = 16 << 10;
/// and anyhow after so long.
const PATIENT: Duration = Duration::from_secs(1);
/// The most that is sent at once, in bytes.
const PIECE: usize = 256 << 10;
const LOG_LENGTH: &str = "log-length";

impl Client {
    /// How much of what this attempt printed the controller has: more than nothing if another builder had it before.
    ///
    /// # Errors
    /// [`RemoteError`]; an absent controller is waited for.
    pub async fn log_length(&self) -> Result<u64, RemoteError> {
        Ok(self.put_log(0, Vec::new()).await?.unwrap_or(0))
    }

    /// Brings the log of an attempt from the beginning to its end, as it grows. `begins` is where it begins for the
    /// controller ([`Client::log_length`]). Returns how many bytes it had.
    ///
    /// # Errors
    /// [`RemoteError::LogFull`] if the controller takes no more: the build has to be stopped. An absent controller is
    /// waited for.
    pub async fn bring_log(&self, logs: &LogStore, attempt: &str, begins: u64) -> Result<u64, RemoteError> {
        let mut news = logs.subscribe(attempt)?;
        let mut sent = 0;
        loop {
            let position = *news.borrow_and_update();
            if sent < position.len {
                let piece = logs.read(attempt, sent, PIECE)?;
                let length = piece.len() as u64;
                // Where nothing is told, all of it arrived.
                let there = self.put_log(begins + sent, piece).await?.unwrap_or(begins + sent + length);
                sent = there.saturating_sub(begins).min(position.len);
            } else if position.final_len.is_some() || news.changed().await.is_err() {
                return Ok(sent);
            }
            let is_enough = |len: u64, is_end: bool| is_end || len >= sent + EAGER;
            let enough = news.wait_for(|position| is_enough(position.len, position.final_len.is_some()));
            // With an error it has ended, which the next turn sees.
            let _ = tokio::time::timeout(PATIENT, enough).await;
        }
    }

    /// Sends a piece until it is answered; how much the controller has then, if it says so.
    async fn put_log(&self, offset: u64, piece: Vec<u8>) -> Result<Option<u64>, RemoteError> {
        let Some(url) = &self.places.log else { return Ok(None) };
        let (url, mut rest) = (format!("{url}?offset={offset}"), Rest::default());
        let piece = bytes::Bytes::from(piece);
        loop {
            let answer = match self.ask(self.request(Method::PUT, &url).body(piece.clone())).await {
                Came::Answer(answer) => answer,
                Came::Nothing(after) => {
                    rest.take(after).await;
                    continue;
                }
            };
            let length = number(answer.headers(), LOG_LENGTH);
            return match answer.status() {
                StatusCode::NO_CONTENT => Ok(length),
                // It has less than we think, as after a restore: it goes on from there.
                StatusCode::CONFLICT if length.is_some() => Ok(length),
                StatusCode::CONFLICT if retry_after(answer.headers()).is_some() => {
                    rest.take(retry_after(answer.headers())).await;
                    continue;
                }
                StatusCode::PAYLOAD_TOO_LARGE if is_problem(answer.headers()) => Err(RemoteError::LogFull),
                _ => Err(refused("the log", answer).await),
            };
        }
    }
}
