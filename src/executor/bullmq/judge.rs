//! Which builder has an attempt: the one whose lock is on its job.

use std::path::PathBuf;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::bounded;
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
        match bounded::holder(&self.link, &record.place.queue, &record.place.id).await {
            // Whoever takes it now is told apart then; a builder that lives takes it back.
            Ok(holder) if holder.is_empty() => Verdict::Unsure("nobody has its job".to_owned()),
            Ok(holder) if holder == claim => Verdict::Holds,
            Ok(_) => Verdict::Lost,
            Err(error) => Verdict::Unsure(error.to_string()),
        }
    }
}

impl Judge for Locks {
    fn judge<'a>(&'a self, attempt: &'a str, claim: &'a str) -> BoxFuture<'a, Verdict> {
        self.look(attempt, claim).boxed()
    }
}
