//! Reading a log as it grows: at the reader's own pace, without loss, until its end.

use axum::http::StatusCode;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::controller::face::Face;
use crate::controller::view::BuildPage;
use crate::logstore::{LogError, LogPosition, LogStore};
use crate::web::fault::Fault;

/// The most that is read at once, in bytes.
const CHUNK: usize = 64 * 1024;

/// One reader of one log.
pub struct Follower {
    logs: LogStore,
    attempt: String,
    offset: u64,
    news: watch::Receiver<LogPosition>,
    stop: CancellationToken,
}

impl Follower {
    /// A reader that begins at an offset. It also ends with `stop`.
    pub fn new(logs: &LogStore, attempt: &str, offset: u64, stop: CancellationToken) -> Result<Self, LogError> {
        let news = logs.subscribe(attempt)?;
        Ok(Self { logs: logs.clone(), attempt: attempt.to_owned(), offset, news, stop })
    }

    /// Whether it ends because the program does, and not because the log has ended.
    pub fn is_stopped(&self) -> bool {
        self.stop.is_cancelled() && self.news.borrow().final_len.is_none()
    }

    /// The next bytes, as soon as there are any; `None` at the end of the log.
    pub async fn next(&mut self) -> Option<Result<Vec<u8>, LogError>> {
        loop {
            let position = *self.news.borrow_and_update();
            if self.offset < position.len {
                let read = self.logs.read(&self.attempt, self.offset, CHUNK);
                if let Ok(bytes) = &read {
                    self.offset += bytes.len() as u64;
                }
                return Some(read);
            }
            if position.final_len.is_some() {
                return None;
            }
            tokio::select! {
                () = self.stop.cancelled() => return None,
                changed = self.news.changed() => changed.ok()?,
            }
        }
    }
}

/// A log that cannot be read, as a fault; the reason is logged.
pub fn unreadable(error: &LogError) -> Fault {
    tracing::error!(error = error as &dyn std::error::Error, "a log cannot be read");
    Fault::new(StatusCode::INTERNAL_SERVER_ERROR, "the log cannot be read")
}

/// Which log a request is about: that of the attempt it names, or of the latest one.
pub enum Wanted {
    /// This attempt.
    Attempt(String),
    /// The build ended, or was left alone, before it had any.
    None,
}

/// Finds the log of a build. With `wait`, a build that has not begun is waited for.
pub async fn find(
    face: &dyn Face,
    id: &str,
    attempt: Option<&str>,
    wait: bool,
    stop: &CancellationToken,
) -> Result<Wanted, Fault> {
    let mut news = face.events();
    loop {
        news.mark_unchanged();
        let found = face.build(id).await?.ok_or_else(|| Fault::not_found(format!("there is no build `{id}`")))?;
        if let Some(attempt) = attempt {
            return known(&found, attempt);
        }
        if let Some(attempt) = found.build.attempt {
            return Ok(Wanted::Attempt(attempt));
        }
        if !wait || found.build.state.is_final() {
            return Ok(Wanted::None);
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(Wanted::None),
            changed = news.changed() => if changed.is_err() { return Ok(Wanted::None) },
        }
    }
}

fn known(found: &BuildPage, attempt: &str) -> Result<Wanted, Fault> {
    if found.has_attempt(attempt) {
        Ok(Wanted::Attempt(attempt.to_owned()))
    } else {
        Err(Fault::not_found(format!("build `{}` has no attempt `{attempt}`", found.build.id)))
    }
}
