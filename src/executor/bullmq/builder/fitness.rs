//! Whether builds can be carried out on this machine, which may change while a builder runs. One that cannot would take build
//! after build, and fail them all.

use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use super::Inner;
use crate::domain::answer::{self, Failure, Kind};
use crate::telemetry::in_full;

/// How long it is waited before it is tried again whether builds can be carried out: at first, and each time twice as long.
const FIRST: Duration = Duration::from_secs(2);
/// The longest of these pauses.
const LONGEST: Duration = Duration::from_mins(5);

/// Whether a build ended so that this machine may be the reason.
fn may_be_ours(thrown: &str) -> bool {
    let thrown = answer::thrown(thrown);
    thrown.kind == Kind::Infrastructure && thrown.status != Failure::Cancelled
}

impl Inner {
    /// Why no build is taken here now, if so.
    pub(super) fn trouble(&self) -> Option<String> {
        self.troubled().clone()
    }

    /// After a build that ended so: if none can be carried out here, none is taken until that is mended. To be called before
    /// the end is told, so that this builder is not the one that tries again.
    pub(super) async fn look_after<T>(self: &Arc<Self>, said: &Result<T, String>) {
        if !said.as_ref().is_err_and(|thrown| may_be_ours(thrown)) {
            return;
        }
        {
            let mut trouble = self.troubled();
            if trouble.is_some() {
                return;
            }
            *trouble = Some("it looks why a build could not be carried out".to_owned());
        }
        self.mind_the_room();
        if let Err(error) = self.executor.fit().await {
            let reason = in_full(&error);
            tracing::warn!(reason, "takes no builds until they can be carried out here again");
            *self.troubled() = Some(reason);
            tokio::spawn(Arc::clone(self).until_fit());
        } else {
            *self.troubled() = None;
            self.mind_the_room();
        }
    }

    /// Tries again and again whether builds can be carried out, and takes them again when they can.
    async fn until_fit(self: Arc<Self>) {
        let mut pause = FIRST;
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.give_back.cancelled() => return,
            }
            match self.executor.fit().await {
                Ok(()) => break,
                Err(error) => *self.troubled() = Some(in_full(&error)),
            }
            pause = LONGEST.min(pause * 2);
        }
        *self.troubled() = None;
        // As loud as what it takes back.
        tracing::warn!("builds can be carried out here again, and are taken");
        self.mind_the_room();
    }

    fn troubled(&self) -> MutexGuard<'_, Option<String>> {
        self.trouble.lock().expect("nobody panics with it")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_package_did_and_what_somebody_stopped_says_nothing_of_this_machine() {
        let thrown = |status: &str, kind: &str| format!(r#"{{"status":"{status}","kind":"{kind}","message":"m"}}"#);
        assert!(may_be_ours(&thrown("failed", "infrastructure")));
        assert!(!may_be_ours(&thrown("failed", "package")) && !may_be_ours(&thrown("timed_out", "package")));
        assert!(!may_be_ours(&thrown("cancelled", "infrastructure")));
    }
}
