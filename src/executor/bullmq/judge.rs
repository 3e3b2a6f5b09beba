//! Which builder has an attempt: the one whose lock is on its job.

use std::path::PathBuf;

use bullmq::QueueKeys;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::link::Link;
use super::task::task;
use crate::executor::exchange::{Judge, Verdict};

/// Looks at locks.
pub struct Locks {
    /// Where they are.
    pub link: Link,
    /// Where attempts have their directories.
    pub work_dir: PathBuf,
}

impl Locks {
    async fn look(&self, attempt: &str, claim: &str) -> Verdict {
        let Some(record) = task(&self.work_dir, attempt).record() else { return Verdict::Lost };
        let keys = QueueKeys::new(&record.place.queue, Some(self.link.prefix()));
        let lock = format!("{}:lock", keys.job_key(&record.place.id));
        match self.link.ask::<Option<String>>(redis::cmd("GET").arg(lock)).await {
            Ok(Some(holder)) if holder == claim => Verdict::Holds,
            Ok(Some(_)) => Verdict::Lost,
            // Whoever takes it now is told apart then; a builder that lives takes it back.
            Ok(None) => Verdict::Unsure("nobody has its job".to_owned()),
            Err(error) => Verdict::Unsure(error.to_string()),
        }
    }
}

impl Judge for Locks {
    fn judge<'a>(&'a self, attempt: &'a str, claim: &'a str) -> BoxFuture<'a, Verdict> {
        self.look(attempt, claim).boxed()
    }
}
