//! What to do about a job, by what Redis says of it now. Values only.

use std::time::Duration;

/// How long a job may be missing before it is put back: a builder that lives has long taken it back by then.
pub const GRACE: Duration = Duration::from_secs(10);
/// How long a builder may take to stop before the build counts as stopped without its word.
pub const STOPPING: Duration = Duration::from_secs(45);

/// How long a build may take beyond its own time: to be fetched, and to bring what it made. Builders of ours mind its time
/// themselves; nobody else may keep it for ever.
pub const SLACK: Duration = Duration::from_hours(1);

/// What Redis says of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// Redis does not answer, or makes no sense.
    Unknown,
    /// Redis does not know it; `held` if a builder says that it builds it.
    Missing {
        /// Whether a builder has it.
        held: bool,
    },
    /// It waits for a builder.
    Queued,
    /// A builder has it: how often one has begun it.
    Active(u32),
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
    /// To end it as one that took too long.
    TimedOut,
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
    /// Since when a builder has it, and how often one had begun it then.
    begun: Option<(Duration, u32)>,
    /// How long a builder may have it.
    may_take: Duration,
    /// It was had for longer than that.
    overdue: bool,
}

impl Course {
    /// A job that has been in the queue, or one that never was, and that may take so long.
    #[must_use]
    pub fn of(added: bool, may_take: Duration) -> Self {
        Self { added, may_take: may_take.saturating_add(SLACK), ..Self::default() }
    }

    /// Whether it has taken too long, and is to stop for that.
    #[must_use]
    pub const fn is_overdue(&self) -> bool {
        self.overdue
    }

    /// Begins to count when a builder begins.
    fn count(&mut self, seen: &Seen, now: Duration) {
        match (seen, self.begun) {
            // It may have ended long ago: that Redis is away is not the package's fault.
            (Seen::Unknown, _) => return,
            (Seen::Active(starts), Some((_, known))) if *starts == known => {}
            (Seen::Active(starts), _) => self.begun = Some((now, *starts)),
            (Seen::Missing { held: true }, None) => self.begun = Some((now, 0)),
            (Seen::Queued, _) => self.begun = None,
            _ => {}
        }
        self.overdue |= self.begun.is_some_and(|(since, _)| now.saturating_sub(since) >= self.may_take);
    }

    /// What is to be done now.
    pub fn step(&mut self, seen: Seen, cancelled: bool, now: Duration) -> Step {
        self.count(&seen, now);
        let cancelled = cancelled || self.overdue;
        match seen {
            Seen::Unknown => {}
            Seen::Missing { .. } => _ = self.missing.get_or_insert(now),
            _ => (self.missing, self.added) = (None, true),
        }
        let stopping = cancelled.then(|| *self.stopping.get_or_insert(now));
        let given_up = stopping.is_some_and(|since| now.saturating_sub(since) >= STOPPING);
        match seen {
            Seen::Completed(value) => Step::Returned(value),
            Seen::Failed(reason) => Step::Thrown(reason),
            _ if given_up && self.overdue => Step::TimedOut,
            _ if given_up => Step::Cancelled,
            Seen::Queued if cancelled => Step::Withdraw,
            Seen::Missing { held: false } if self.overdue => Step::TimedOut,
            Seen::Missing { held: false } if cancelled => Step::Cancelled,
            Seen::Active(_) if !cancelled => Step::Begin,
            Seen::Missing { held: false } => {
                let gone = self.missing.map_or(Duration::ZERO, |since| now.saturating_sub(since));
                if !self.added || gone >= GRACE { Step::Add } else { Step::Wait }
            }
            Seen::Unknown | Seen::Missing { held: true } | Seen::Queued | Seen::Active(_) => Step::Wait,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOST: Seen = Seen::Missing { held: false };

    const HOUR: Duration = Duration::from_hours(1);

    fn fresh() -> Course {
        Course::of(false, HOUR)
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_job_that_was_never_there_is_added_at_once_and_one_that_vanished_after_a_while() {
        let mut course = fresh();
        assert_eq!(course.step(LOST, false, at(0)), Step::Add);
        assert_eq!(course.step(Seen::Queued, false, at(1)), Step::Wait);
        assert_eq!(course.step(Seen::Active(1), false, at(2)), Step::Begin);
        assert_eq!(course.step(LOST, false, at(3)), Step::Wait, "its builder may take it back");
        assert_eq!(course.step(Seen::Active(1), false, at(4)), Step::Begin);
        assert_eq!(course.step(LOST, false, at(5)), Step::Wait);
        assert_eq!(course.step(LOST, false, at(5) + GRACE), Step::Add);
    }

    #[test]
    fn what_a_builder_says_it_has_is_never_given_to_another() {
        let mut course = Course::of(true, HOUR);
        for second in 0..7200 {
            assert_eq!(course.step(Seen::Missing { held: true }, false, at(second)), Step::Wait);
        }
    }

    #[test]
    fn a_cancelled_job_is_taken_out_or_waited_for_but_not_for_ever() {
        let mut course = fresh();
        assert_eq!(course.step(Seen::Queued, true, at(0)), Step::Withdraw);
        assert_eq!(course.step(Seen::Active(1), true, at(1)), Step::Wait);
        assert_eq!(course.step(Seen::Active(1), true, at(0) + STOPPING), Step::Cancelled);
        assert_eq!(fresh().step(LOST, true, at(0)), Step::Cancelled);
    }

    #[test]
    fn a_cancelled_job_is_given_up_also_while_redis_does_not_answer() {
        let mut course = fresh();
        assert_eq!(course.step(Seen::Unknown, false, at(0)), Step::Wait, "it may have been added before");
        assert_eq!(course.step(LOST, false, at(1)), Step::Add);
        assert_eq!(course.step(Seen::Unknown, true, at(2)), Step::Wait);
        assert_eq!(course.step(Seen::Unknown, true, at(2) + STOPPING), Step::Cancelled);
    }

    #[test]
    fn a_build_does_not_time_out_while_redis_does_not_answer() {
        let mut course = fresh();
        course.step(Seen::Active(1), false, at(0));
        let late = HOUR + SLACK * 9;
        assert_eq!(course.step(Seen::Unknown, false, late), Step::Wait);
        assert_eq!(course.step(Seen::Unknown, false, late + STOPPING), Step::Wait);
        assert!(!course.is_overdue());
        let end = Seen::Completed("{}".to_owned());
        assert_eq!(course.step(end, false, late + STOPPING), Step::Returned("{}".to_owned()));
    }

    #[test]
    fn an_end_counts_also_when_it_was_to_be_stopped() {
        let end = Seen::Completed("{}".to_owned());
        assert_eq!(fresh().step(end, true, at(99)), Step::Returned("{}".to_owned()));
    }

    #[test]
    fn nobody_keeps_a_job_for_ever() {
        for seen in [Seen::Active(1), Seen::Missing { held: true }] {
            let mut course = fresh();
            course.step(seen.clone(), false, at(0));
            let end = HOUR + SLACK;
            course.step(seen.clone(), false, end.saturating_sub(at(1)));
            assert!(!course.is_overdue());
            assert_eq!(course.step(seen.clone(), false, end), Step::Wait, "it is told to stop");
            assert!(course.is_overdue());
            assert_eq!(course.step(seen, false, end + STOPPING), Step::TimedOut);
        }
    }

    #[test]
    fn another_builder_has_all_the_time_again() {
        let mut course = fresh();
        course.step(Seen::Active(1), false, at(0));
        course.step(Seen::Active(2), false, HOUR);
        course.step(Seen::Active(2), false, HOUR + SLACK);
        assert!(!course.is_overdue());
        course.step(Seen::Queued, false, HOUR + SLACK + at(1));
        course.step(Seen::Active(2), false, HOUR * 5);
        assert!(!course.is_overdue(), "nobody had it meanwhile");
    }
}
