//! What to do about a job, by what Redis says of it now. Values only.

use std::time::Duration;

/// How long a job may be missing before it is put back: a builder that lives has long taken it back by then.
pub const GRACE: Duration = Duration::from_secs(10);
/// How long a builder may take to stop before the build counts as stopped without its word.
pub const STOPPING: Duration = Duration::from_secs(45);

/// What Redis says of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// Redis does not know it; `held` if a builder says that it builds it.
    Missing {
        /// Whether a builder has it.
        held: bool,
    },
    /// It waits for a builder.
    Queued,
    /// A builder has it: its name, if it has one.
    Active(Option<String>),
    /// It has ended well: what was returned, as JSON.
    Completed(String),
    /// It has failed: what was thrown.
    Failed(String),
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// To wait.
    Wait,
    /// To put it into the queue.
    Add,
    /// To tell that it has begun.
    Begin,
    /// To take it out of the queue before somebody begins.
    Withdraw,
    /// To end it as one that was cancelled.
    Cancelled,
    /// To read what was returned.
    Returned(String),
    /// To read what was thrown.
    Thrown(String),
}

/// What is remembered of a job between two looks; times since its first.
#[derive(Debug, Clone, Default)]
pub struct Course {
    /// It has been in the queue.
    added: bool,
    /// Since when it is missing.
    missing: Option<Duration>,
    /// Since when it is to stop.
    stopping: Option<Duration>,
}

impl Course {
    /// A job that has been in the queue, or one that never was.
    #[must_use]
    pub fn of(added: bool) -> Self {
        Self { added, ..Self::default() }
    }

    /// What is to be done now.
    pub fn step(&mut self, seen: Seen, cancelled: bool, now: Duration) -> Step {
        let missing = if matches!(seen, Seen::Missing { .. }) { Some(*self.missing.get_or_insert(now)) } else { None };
        self.missing = missing;
        if !matches!(seen, Seen::Missing { .. }) {
            self.added = true;
        }
        let stopping = cancelled.then(|| *self.stopping.get_or_insert(now));
        let given_up = stopping.is_some_and(|since| now.saturating_sub(since) >= STOPPING);
        match seen {
            Seen::Completed(value) => Step::Returned(value),
            Seen::Failed(reason) => Step::Thrown(reason),
            _ if given_up => Step::Cancelled,
            Seen::Queued if cancelled => Step::Withdraw,
            Seen::Missing { held: false } if cancelled => Step::Cancelled,
            Seen::Active(_) if !cancelled => Step::Begin,
            Seen::Missing { held: false } => {
                let gone = missing.map_or(Duration::ZERO, |since| now.saturating_sub(since));
                if !self.added || gone >= GRACE { Step::Add } else { Step::Wait }
            }
            Seen::Missing { held: true } | Seen::Queued | Seen::Active(_) => Step::Wait,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOST: Seen = Seen::Missing { held: false };

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_job_that_was_never_there_is_added_at_once_and_one_that_vanished_after_a_while() {
        let mut course = Course::default();
        assert_eq!(course.step(LOST, false, at(0)), Step::Add);
        assert_eq!(course.step(Seen::Queued, false, at(1)), Step::Wait);
        assert_eq!(course.step(Seen::Active(None), false, at(2)), Step::Begin);
        assert_eq!(course.step(LOST, false, at(3)), Step::Wait, "its builder may take it back");
        assert_eq!(course.step(Seen::Active(None), false, at(4)), Step::Begin);
        assert_eq!(course.step(LOST, false, at(5)), Step::Wait);
        assert_eq!(course.step(LOST, false, at(5) + GRACE), Step::Add);
    }

    #[test]
    fn what_a_builder_says_it_has_is_never_given_to_another() {
        let mut course = Course::of(true);
        for second in 0..3600 {
            assert_eq!(course.step(Seen::Missing { held: true }, false, at(second)), Step::Wait);
        }
    }

    #[test]
    fn a_cancelled_job_is_taken_out_or_waited_for_but_not_for_ever() {
        let mut course = Course::default();
        assert_eq!(course.step(Seen::Queued, true, at(0)), Step::Withdraw);
        assert_eq!(course.step(Seen::Active(None), true, at(1)), Step::Wait);
        assert_eq!(course.step(Seen::Active(None), true, at(0) + STOPPING), Step::Cancelled);
        assert_eq!(Course::default().step(LOST, true, at(0)), Step::Cancelled);
    }

    #[test]
    fn an_end_counts_also_when_it_was_to_be_stopped() {
        let end = Seen::Completed("{}".to_owned());
        assert_eq!(Course::default().step(end, true, at(99)), Step::Returned("{}".to_owned()));
    }
}
