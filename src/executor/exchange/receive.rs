//! Takes what a builder brings of one file.

use std::fs::{self, File as StdFile};
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use tokio::fs::{File, OpenOptions};
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::attempt::{Attempt, Promise, sync_dir};
use super::{Caller, Exchange, ExchangeError, Patience};
use crate::builder::artefact::digest;
use crate::domain::upload::{Bulk, Checksum, Held, Put, Refusal, Step, decide};
use crate::executor::kept::blocking;
use crate::sys::fs::{FsError, write_atomic};

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// The file was there.
    Known,
    /// A part of it is there now; it goes on at this byte.
    Part(u64),
    /// All of it is there, with the right checksum.
    Complete,
}

impl Exchange {
    /// Takes a file, or a part of it. What came is on the disk when this returns, also with an error; so does a request
    /// that breaks off, and the next goes on there. A request takes the place of one that brings the same file.
    ///
    /// # Errors
    /// [`Refusal`], or if it cannot be written.
    pub async fn receive<'a, E>(
        &self,
        caller: impl Into<Caller<'a>>,
        name: &str,
        put: &Put,
        body: impl Stream<Item = Result<Bytes, E>> + Send,
    ) -> Result<Received, ExchangeError> {
        let caller = caller.into();
        let attempt = self.attempt(caller.attempt)?;
        attempt.check_name(name)?;
        let (turn, mine) = attempt.take_over(name, caller.claim)?;
        let received = {
            let _turn = turn.lock().await;
            self.receive_in_turn(&attempt, name, put, body, &mine).await
        };
        attempt.let_go(name, &turn);
        received
    }

    async fn receive_in_turn<E>(
        &self,
        attempt: &Arc<Attempt>,
        name: &str,
        put: &Put,
        body: impl Stream<Item = Result<Bytes, E>> + Send,
        mine: &CancellationToken,
    ) -> Result<Received, ExchangeError> {
        if mine.is_cancelled() {
            return Err(ended(attempt).into());
        }
        let (usage, limits) = (attempt.usage_beside(name), &attempt.record.limits);
        if attempt.held(name).is_none() && usage.files < limits.files {
            let (open, name, checksum) = (Arc::clone(attempt), name.to_owned(), put.checksum);
            blocking(move || open.adopt(&name, checksum)).await?;
        }
        let step = decide(name, attempt.held(name).as_ref(), put, usage, limits)?;
        if step == Step::Known {
            return Ok(Received::Known);
        }
        let mut writing = Writing::begin(Arc::clone(attempt), name, put, step).await?;
        let came = writing.take(body, self.0.patience, mine).await;
        let kept = writing.keep().await;
        came?;
        kept?;
        writing.conclude().await
    }
}

/// Why a request ends that somebody else ended.
fn ended(attempt: &Attempt) -> Refusal {
    if attempt.is_over() { Refusal::Over } else { Refusal::Overtaken }
}

/// A request that brings something now.
struct Writing<'a> {
    attempt: Arc<Attempt>,
    name: &'a str,
    put: &'a Put,
    file: File,
    held: Held,
}

impl<'a> Writing<'a> {
    async fn begin(attempt: Arc<Attempt>, name: &'a str, put: &'a Put, step: Step) -> Result<Self, FsError> {
        let (part, promise, checksum) = (attempt.part_path(name), attempt.promise_path(name), put.checksum);
        let new = Held { checksum, received: 0, complete: false };
        let held = attempt.held(name).filter(|_| step == Step::Append).unwrap_or(new);
        let failed = |error| FsError::new("write", &part, error);
        if step == Step::Begin {
            let promised = Promise { checksum, total: put.total }.to_string();
            let (part, promise) = (part.clone(), promise.clone());
            blocking(move || {
                // In this order: what is there never counts as a part of something else.
                StdFile::create(&part).map_err(|error| FsError::new("write", &part, error))?;
                write_atomic(&promise, promised.as_bytes())
            })
            .await?;
        }
        let file = OpenOptions::new().append(true).open(&part).await.map_err(failed)?;
        attempt.set_held(name, Some(held));
        Ok(Self { attempt, name, put, file, held })
    }

    /// Where the request has to end at the latest, in bytes of the file.
    fn end(&self) -> u64 {
        self.put.range.as_ref().map(|range| range.end).or(self.put.total).unwrap_or(u64::MAX)
    }

    async fn take<E>(
        &mut self,
        body: impl Stream<Item = Result<Bytes, E>> + Send,
        patience: Patience,
        mine: &CancellationToken,
    ) -> Result<(), ExchangeError> {
        let mut body = std::pin::pin!(body);
        let latest = Instant::now() + patience.request;
        loop {
            let until = latest.min(Instant::now() + patience.idle);
            let piece = tokio::select! {
                () = mine.cancelled() => return Err(ended(&self.attempt).into()),
                piece = timeout_at(until, body.next()) => piece,
            };
            match piece {
                Err(_) => return Err(Refusal::Slow.into()),
                Ok(Some(Err(_))) => return Err(Refusal::Interrupted.into()),
                Ok(Some(Ok(bytes))) => self.add(&bytes).await?,
                Ok(None) if self.put.range.is_some() && self.held.received < self.end() => {
                    return Err(Refusal::Broken("the body is shorter than its Content-Range".to_owned()).into());
                }
                Ok(None) => return Ok(()),
            }
        }
    }

    async fn add(&mut self, bytes: &[u8]) -> Result<(), ExchangeError> {
        let after = self.held.received + bytes.len() as u64;
        let limits = &self.attempt.record.limits;
        if after > self.end() {
            return Err(Refusal::Broken("the body is longer than it was said to be".to_owned()).into());
        }
        if after > limits.file {
            return Err(Refusal::TooLarge { what: Bulk::File, limit: limits.file }.into());
        }
        if self.attempt.usage_beside(self.name).others.saturating_add(after) > limits.attempt {
            return Err(Refusal::TooLarge { what: Bulk::Attempt, limit: limits.attempt }.into());
        }
        let written = self.file.write_all(bytes).await;
        written.map_err(|error| FsError::new("write", &self.attempt.part_path(self.name), error))?;
        self.held.received = after;
        self.attempt.set_held(self.name, Some(self.held));
        Ok(())
    }

    /// Makes what came last, and counts what of it is there.
    async fn keep(&mut self) -> Result<(), FsError> {
        let flushed = self.file.flush().await;
        let synced = self.file.sync_data().await;
        if let Ok(meta) = self.file.metadata().await {
            self.held.received = meta.len();
            self.attempt.set_held(self.name, Some(self.held));
        }
        flushed.and(synced).map_err(|error| FsError::new("write", &self.attempt.part_path(self.name), error))
    }

    /// If that was all, has it become a file.
    async fn conclude(mut self) -> Result<Received, ExchangeError> {
        let total = self.put.total.unwrap_or(self.held.received);
        if self.held.received < total {
            return match self.put.range {
                Some(_) => Ok(Received::Part(self.held.received)),
                None => Err(Refusal::Broken("the body is shorter than its Content-Length".to_owned()).into()),
            };
        }
        let (part, done) = (self.attempt.part_path(self.name), self.attempt.done_path(self.name));
        let (promise, checksum) = (self.attempt.promise_path(self.name), self.held.checksum);
        let failed = |error| FsError::new("write", &self.attempt.done_path(self.name), error);
        let found = blocking(move || settle(&part, &done, &promise, checksum)).await.map_err(failed)?;
        if found != checksum {
            self.attempt.set_held(self.name, None);
            return Err(Refusal::Lie { name: self.name.to_owned(), found }.into());
        }
        self.held.complete = true;
        self.attempt.set_held(self.name, Some(self.held));
        Ok(Received::Complete)
    }
}

/// Moves what came to its place if its checksum is right, and removes it if not. Returns its checksum.
fn settle(part: &Path, done: &Path, promise: &Path, checksum: Checksum) -> io::Result<Checksum> {
    let (_, found) = digest(&mut StdFile::open(part)?, &|| true)?;
    let found = Checksum::from_hex(&found).expect("a digest is a checksum");
    if found == checksum {
        fs::rename(part, done)?;
        sync_dir(done.parent().expect("it lies in a directory"))?;
    } else {
        fs::remove_file(part)?;
        fs::remove_file(promise)?;
    }
    Ok(found)
}
