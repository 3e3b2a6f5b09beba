//! What can be seen of a build at a Chaotic Manager, and what to do about it. Values only.

use std::time::Duration;

use crate::domain::build::Outcome;
use crate::executor::Ending;

/// How a build ended there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// It was built and published.
    Succeeded,
    /// What it would make is published already.
    AlreadyBuilt,
    /// It said itself that there is nothing to do.
    Skipped,
    /// It failed.
    Failed,
    /// It took longer than the builder lets it.
    TimedOut,
    /// Somebody stopped it.
    Cancelled,
    /// Somebody asked for another build of the same package.
    Replaced,
    /// Something else failed.
    Broken(String),
}

impl End {
    /// As whoever waits for the build is told, `asked` if we wanted it to stop.
    #[must_use]
    pub fn told(self, asked: bool) -> (Ending, String) {
        let (outcome, message) = match self {
            Self::Succeeded => (Outcome::Succeeded, ""),
            Self::AlreadyBuilt => (Outcome::AlreadyBuilt, "this version is published already"),
            Self::Skipped => (Outcome::Skipped, "the package said that there is nothing to build"),
            Self::Cancelled | Self::Replaced | Self::Failed if asked => (Outcome::Cancelled, "the build was cancelled"),
            Self::Failed => (Outcome::Failed, "the build failed at Chaotic Manager"),
            Self::TimedOut => (Outcome::TimedOut, "the build took longer than the builder of Chaotic Manager lets it"),
            Self::Cancelled => (Outcome::Cancelled, "somebody cancelled the build at Chaotic Manager"),
            Self::Replaced => {
                (Outcome::Cancelled, "somebody asked Chaotic Manager for another build of the package in its place")
            }
            Self::Broken(message) => return (Ending::Infrastructure, message),
        };
        (Ending::Done(outcome), message.to_owned())
    }
}

/// How far a build is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// The manager does not know it.
    Missing,
    /// It waits.
    Queued,
    /// It is being built, by this node if that is known.
    Running(Option<String>),
    /// It is over.
    Over(End),
}

/// What is seen in one look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// How far it is.
    pub stage: Stage,
    /// The number of its log, once it has one: milliseconds since 1970.
    pub log: Option<u64>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// To wait.
    Wait,
    /// To ask for the build again: the manager never heard of it.
    Ask,
    /// To tell that it has begun.
    Begin,
    /// To take it back, or to have it stopped.
    Stop,
    /// To end the attempt so.
    End(End),
}

/// What is remembered of a build between two looks; times since its first.
#[derive(Debug, Clone, Default)]
pub struct Course {
    /// The manager knew it once.
    known: bool,
    /// Since when it is missing.
    missing: Option<Duration>,
}

impl Course {
    /// Of a build that the manager has known, or not.
    #[must_use]
    pub fn of(known: bool) -> Self {
        Self { known, missing: None }
    }

    /// What is to be done now; `grace` is how long a build may be missing until that is believed.
    pub fn step(&mut self, sight: &Sight, stopping: bool, now: Duration, grace: Duration) -> Step {
        self.known |= sight.log.is_some() || sight.stage != Stage::Missing;
        if sight.stage != Stage::Missing {
            self.missing = None;
        }
        match &sight.stage {
            Stage::Over(end) => Step::End(end.clone()),
            Stage::Queued | Stage::Running(_) if stopping => Step::Stop,
            Stage::Queued => Step::Wait,
            Stage::Running(_) => Step::Begin,
            Stage::Missing => {
                let since = *self.missing.get_or_insert(now);
                if now.saturating_sub(since) < grace {
                    return Step::Wait;
                }
                self.missing = None;
                match (stopping, self.known) {
                    (true, _) => Step::End(End::Cancelled),
                    (false, true) => {
                        Step::End(End::Broken("Chaotic Manager does not know the build any more".to_owned()))
                    }
                    (false, false) => Step::Ask,
                }
            }
        }
    }
}

/// How the build with this id ended, by what the coordinator wrote into its log last; `None` if it wrote nothing of an
/// end. A build may print such a line, too, but the coordinator's comes after it.
#[must_use]
pub fn end_in_log(tail: &str, id: &str) -> Option<End> {
    let mut lines = tail.lines().rev().map(str::trim_end).filter(|line| !line.is_empty());
    let last = lines.next()?;
    if last.starts_with("Job was canceled and replaced with a new job before execution") {
        return Some(End::Replaced);
    }
    if last.strip_prefix("Build job ").and_then(|rest| rest.strip_prefix(id)).is_some_and(|rest| rest.starts_with(' '))
    {
        return Some(End::Succeeded);
    }
    let said = last.strip_prefix("Job ")?.strip_prefix(id)?.strip_prefix(' ')?;
    Some(match said {
        "failed" => End::Failed,
        "skipped because all packages were already built." => End::AlreadyBuilt,
        "skipped intentionally via build tools." => End::Skipped,
        "reached a timeout during the build phase." => End::TimedOut,
        "was canceled." => End::Cancelled,
        "was canceled and replaced by a newer build request." => End::Replaced,
        _ => return None,
    })
}

/// A failure whose log says that the packages could not be brought to the manager, which is not the package's fault.
#[must_use]
pub fn is_upload(tail: &str) -> bool {
    tail.lines().rev().filter(|line| !line.trim().is_empty()).take(3).any(|line| line.starts_with("Failed to upload"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(10);

    fn seen(stage: Stage) -> Sight {
        Sight { stage, log: None }
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_build_the_manager_never_heard_of_is_asked_for_again_and_one_that_it_lost_is_lost() {
        let mut course = Course::default();
        assert_eq!(course.step(&seen(Stage::Missing), false, at(0), GRACE), Step::Wait);
        assert_eq!(course.step(&seen(Stage::Missing), false, at(9), GRACE), Step::Wait);
        assert_eq!(course.step(&seen(Stage::Missing), false, at(10), GRACE), Step::Ask);
        assert_eq!(course.step(&seen(Stage::Missing), false, at(11), GRACE), Step::Wait, "it is given time anew");
        assert_eq!(course.step(&seen(Stage::Queued), false, at(12), GRACE), Step::Wait);
        assert_eq!(course.step(&seen(Stage::Running(None)), false, at(13), GRACE), Step::Begin);
        assert_eq!(course.step(&seen(Stage::Missing), false, at(14), GRACE), Step::Wait);
        let lost = course.step(&seen(Stage::Missing), false, at(24), GRACE);
        assert!(matches!(lost, Step::End(End::Broken(_))), "{lost:?}");
    }

    #[test]
    fn a_log_is_proof_that_it_was_known() {
        let mut course = Course::of(false);
        let sight = Sight { stage: Stage::Missing, log: Some(1) };
        assert_eq!(course.step(&sight, false, at(0), GRACE), Step::Wait);
        assert!(matches!(course.step(&sight, false, at(10), GRACE), Step::End(End::Broken(_))));
    }

    #[test]
    fn what_is_to_stop_is_stopped_where_it_is_and_an_end_counts_all_the_same() {
        let mut course = Course::default();
        assert_eq!(course.step(&seen(Stage::Queued), true, at(0), GRACE), Step::Stop);
        assert_eq!(course.step(&seen(Stage::Running(None)), true, at(1), GRACE), Step::Stop);
        assert_eq!(course.step(&seen(Stage::Over(End::Succeeded)), true, at(2), GRACE), Step::End(End::Succeeded));
        let mut course = Course::default();
        course.step(&seen(Stage::Missing), true, at(0), GRACE);
        assert_eq!(course.step(&seen(Stage::Missing), true, at(10), GRACE), Step::End(End::Cancelled));
        assert_eq!(End::Failed.told(true).0, Ending::Done(Outcome::Cancelled), "a killed container fails");
        assert_eq!(End::Succeeded.told(true).0, Ending::Done(Outcome::Succeeded));
    }

    #[test]
    fn only_the_last_line_of_a_log_and_only_of_this_build_tells_its_end() {
        let id = "repo/x86_64/small";
        let told = |tail: &str| end_in_log(tail, id);
        assert_eq!(told("x\r\nJob repo/x86_64/small failed\r\n"), Some(End::Failed));
        assert_eq!(
            told("Build job repo/x86_64/small finished at 1/2/2026, 3:04:05 UTC...\r\n\r\n"),
            Some(End::Succeeded)
        );
        assert_eq!(told("Job repo/x86_64/small was canceled."), Some(End::Cancelled));
        assert_eq!(told("Job repo/x86_64/small-git failed"), None);
        assert_eq!(told("Build job repo/x86_64/small-git finished at x"), None);
        assert_eq!(told("Job repo/x86_64/small failed\r\nand so on"), None);
        assert_eq!(told(""), None);
        assert!(is_upload("Failed to upload: Error: x\r\nJob repo/x86_64/small failed\r\n"));
        assert!(!is_upload("Failed to upload: x\na\nb\nc\nJob repo/x86_64/small failed\n"));
    }
}
