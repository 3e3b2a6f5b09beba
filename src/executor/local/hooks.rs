//! What a package has run when its build has ended: `.CI/on-success.sh` or `.CI/on-failure.sh`, in the sandbox of
//! a build, without network and secrets. Nothing they do changes how the build ended or what it made.

use std::time::Duration;

use tokio::time::Instant;

use super::attempt::{Attempt, Stop};
use super::step::Limits;
use crate::builder::makepkg::{Job, Phase};
use crate::builder::verdict::Verdict;
use crate::builder::workspace::Workspace;
use crate::domain::build::Outcome;

/// How long such a script may take, whatever time is left of the build.
const TIME: Duration = Duration::from_mins(5);

impl Attempt {
    /// Runs the script for this end, if the package has it; how that failed, in a sentence, if it did.
    pub(super) async fn hook(&mut self, phase: Phase, workspace: &Workspace, job: &Job) -> Option<String> {
        let script = phase.script()?;
        self.order.files.get(script)?;
        let limits = Limits { cancel: self.limits.cancel.clone(), deadline: Instant::now() + TIME };
        let own = std::mem::replace(&mut self.limits, limits);
        let ended = self.step(phase, workspace, job).await;
        self.limits = own;
        let remark = match ended {
            Ok(()) => return None,
            Err(Stop::Verdict(Verdict::Ended(_, message) | Verdict::Infrastructure(message), _)) => message,
            Err(other) => format!("{script}: {}", other.report().message),
        };
        // The build is over; what is lost here is a remark.
        self.remark(&remark);
        Some(remark)
    }
}

/// Whether it is the package itself that failed, so that its script is run.
pub(super) const fn is_failure(stop: &Stop) -> bool {
    match stop {
        Stop::Verdict(Verdict::Ended(outcome, _), _) => matches!(outcome, Outcome::Failed | Outcome::TimedOut),
        Stop::Step(error) => error.is_the_packages(),
        Stop::Package(_) => true,
        Stop::Verdict(..) | Stop::Fs(_) => false,
    }
}
