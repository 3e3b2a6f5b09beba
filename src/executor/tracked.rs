//! The attempts that this process carries out: how far each has come, and how it is stopped.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::AttemptReport;

/// How far an attempt has come.
#[derive(Debug, Clone)]
pub enum Progress {
    /// It waits for its turn.
    Queued,
    /// It has begun.
    Running,
    /// It is over.
    Ended(Arc<AttemptReport>),
}

/// What whoever carries out an attempt holds.
#[derive(Debug)]
pub struct Reins {
    /// Somebody wants it to stop.
    pub cancel: CancellationToken,
    /// Tells how far it has come.
    pub progress: watch::Sender<Progress>,
}

impl Reins {
    /// Tells that the build has begun, unless that was told.
    pub fn tell_beginning(&self) {
        self.progress.send_if_modified(|progress| {
            let queued = matches!(progress, Progress::Queued);
            if queued {
                *progress = Progress::Running;
            }
            queued
        });
    }
}

#[derive(Debug, Clone)]
struct Known {
    cancel: CancellationToken,
    progress: watch::Receiver<Progress>,
}

/// The attempts of this process.
#[derive(Debug, Default)]
pub struct Tracked {
    attempts: Mutex<HashMap<String, Known>>,
}

impl Tracked {
    /// Takes an attempt up; `None` if it has been.
    pub fn begin(&self, attempt: &str) -> Option<Reins> {
        let mut attempts = self.attempts();
        if attempts.contains_key(attempt) {
            return None;
        }
        let (progress, watched) = watch::channel(Progress::Queued);
        let cancel = CancellationToken::new();
        attempts.insert(attempt.to_owned(), Known { cancel: cancel.clone(), progress: watched });
        Some(Reins { cancel, progress })
    }

    /// Whether an attempt has been taken up.
    pub fn has(&self, attempt: &str) -> bool {
        self.attempts().contains_key(attempt)
    }

    /// Waits until an attempt has begun, or is over, or nobody has it.
    pub async fn started(&self, attempt: &str) {
        if let Some(mut known) = self.known(attempt) {
            // A channel that closed means that the build is over, which `ended` tells.
            let _ = known.progress.wait_for(|progress| !matches!(progress, Progress::Queued)).await;
        }
    }

    /// Waits until an attempt is over; `None` if nobody has it.
    pub async fn ended(&self, attempt: &str) -> Option<AttemptReport> {
        let mut known = self.known(attempt)?;
        let ended = known.progress.wait_for(|progress| matches!(progress, Progress::Ended(_))).await;
        match ended.as_deref() {
            Ok(Progress::Ended(report)) => Some((**report).clone()),
            Ok(Progress::Queued | Progress::Running) | Err(_) => {
                Some(AttemptReport::lost("the build stopped without a report; this is a defect of pkgwarden"))
            }
        }
    }

    /// Has an attempt stopped, if somebody has it.
    pub fn cancel(&self, attempt: &str) {
        if let Some(known) = self.known(attempt) {
            known.cancel.cancel();
        }
    }

    /// Has an attempt stopped, and forgets it once it is over.
    pub async fn forget(&self, attempt: &str) {
        self.cancel(attempt);
        self.ended(attempt).await;
        self.attempts().remove(attempt);
    }

    fn known(&self, attempt: &str) -> Option<Known> {
        self.attempts().get(attempt).cloned()
    }

    fn attempts(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.attempts.lock().expect("nobody panics while holding the map of attempts")
    }
}
