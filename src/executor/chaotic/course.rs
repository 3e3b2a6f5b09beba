//! What became of a build in the queues, out of their events. Values only.

use std::collections::HashMap;

use super::sight::{End, Sight, Stage};
use super::state::Mark;

/// Something that happened to the job of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// It was put into `builds`; the number is that of its log.
    Added(u64),
    /// It waits there, perhaps for what it depends on.
    Waits,
    /// A builder has it.
    Begun,
    /// The builder returned this.
    Returned(String),
    /// The builder threw this.
    Thrown(String),
    /// It was taken out.
    Removed,
    /// What was built is published.
    Published,
    /// That failed.
    NotPublished(String),
}

impl Told {
    /// What an event of a queue says of this job.
    pub fn read(queue: &str, job: &str, event: &HashMap<String, String>) -> Option<Self> {
        let field = |name: &str| event.get(name).map(String::as_str);
        if field("jobId") != Some(job) {
            return None;
        }
        Some(match (queue, field("event")?) {
            ("builds", "added") => Self::Added(field("name")?.strip_prefix(job)?.strip_prefix('-')?.parse().ok()?),
            ("builds", "waiting" | "delayed") => Self::Waits,
            ("builds", "active") => Self::Begun,
            ("builds", "completed") => Self::Returned(field("returnvalue")?.to_owned()),
            ("builds", "failed") => Self::Thrown(field("failedReason").unwrap_or_default().to_owned()),
            ("builds", "removed") => Self::Removed,
            ("database", "completed") => Self::Published,
            ("database", "failed") => Self::NotPublished(field("failedReason").unwrap_or_default().to_owned()),
            _ => return None,
        })
    }
}

/// How far a build is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    /// It is in no queue yet.
    Before,
    /// It waits in `builds`.
    Waiting,
    /// A builder has it.
    Building,
    /// It is built, and waits to be published.
    Publishing,
    /// It is over.
    Over(End),
}

/// A build, as far as its events are read.
#[derive(Debug, Clone)]
pub struct Course {
    /// The last event of `builds` that was read.
    pub builds: String,
    /// The last event of `database` that was read.
    pub database: String,
    phase: Phase,
    /// What the queue `database` told before `builds` told that it is built: nothing keeps them in order.
    early: Option<Told>,
    log: Option<u64>,
    /// The job is not ours now.
    foreign: bool,
}

impl Course {
    /// Of a build that was asked for after this.
    pub fn after(mark: &Mark) -> Self {
        let (builds, database) = (mark.builds.clone(), mark.database.clone());
        Self { builds, database, phase: Phase::Before, early: None, log: None, foreign: false }
    }

    /// Goes on with what happened; `is_ours` says of a job that was added whether it is of the same commit, as far as
    /// that is known.
    pub fn take(&mut self, told: Told, is_ours: Option<bool>) {
        if let Told::Added(log) = told {
            // The first one that comes after ours was asked for is ours, unless it is known better.
            let unknown = is_ours.is_none() && self.log.is_some();
            let is_ours = is_ours.unwrap_or(!unknown);
            (self.foreign, self.early) = (!is_ours, None);
            let is_open = matches!(self.phase, Phase::Waiting | Phase::Building | Phase::Over(End::Cancelled));
            if is_ours {
                (self.phase, self.log) = (Phase::Waiting, Some(log));
            } else if is_open && unknown {
                const GONE: &str = "a build of the package came and went there, and nobody knows of which commit";
                self.phase = Phase::Over(End::Broken(GONE.to_owned()));
            } else if is_open {
                self.phase = Phase::Over(End::Replaced);
            }
            return;
        }
        if self.foreign {
            return;
        }
        let next = match (&self.phase, told) {
            (Phase::Waiting | Phase::Building, told @ (Told::Published | Told::NotPublished(_))) => {
                self.early = Some(told);
                return;
            }
            (Phase::Waiting | Phase::Building, Told::Waits) => Phase::Waiting,
            (Phase::Waiting | Phase::Building, Told::Begun) => Phase::Building,
            (Phase::Waiting | Phase::Building, Told::Returned(value)) => returned(&value),
            (Phase::Waiting | Phase::Building, Told::Thrown(reason)) => Phase::Over(thrown(&reason)),
            (Phase::Waiting | Phase::Building, Told::Removed) => Phase::Over(End::Cancelled),
            (Phase::Publishing, Told::Published) => Phase::Over(End::Succeeded),
            (Phase::Publishing, Told::NotPublished(reason)) => {
                Phase::Over(End::Broken(format!("Chaotic Manager could not publish what was built: {reason}")))
            }
            _ => return,
        };
        self.phase = next;
        if self.phase == Phase::Publishing
            && let Some(told) = self.early.take()
        {
            self.take(told, is_ours);
        }
    }

    /// Ends it, if it is not over.
    pub fn end(&mut self, end: End) {
        if !matches!(self.phase, Phase::Over(_)) {
            self.phase = Phase::Over(end);
        }
    }

    /// Whether it is built and not published.
    pub fn is_in_database(&self) -> bool {
        self.phase == Phase::Publishing
    }

    /// How far it is.
    pub fn sight(&self) -> Sight {
        let stage = match &self.phase {
            Phase::Before => Stage::Missing,
            Phase::Waiting => Stage::Queued,
            Phase::Building | Phase::Publishing => Stage::Running(None),
            Phase::Over(end) => Stage::Over(end.clone()),
        };
        Sight { stage, log: self.log }
    }
}

fn returned(value: &str) -> Phase {
    match value {
        "0" => Phase::Publishing,
        "1" => Phase::Over(End::AlreadyBuilt),
        "2" => Phase::Over(End::Skipped),
        other => {
            Phase::Over(End::Broken(format!("the builder of Chaotic Manager returned `{other}`, which says nothing")))
        }
    }
}

/// What builders throw are sentences of their own, and of `BullMQ`.
fn thrown(reason: &str) -> End {
    match reason {
        "Building failed." => End::Failed,
        "Build timeout reached." => End::TimedOut,
        "Job cancelled." => End::Cancelled,
        other => End::Broken(format!("the builder of Chaotic Manager failed: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(fields: &[(&str, &str)]) -> HashMap<String, String> {
        fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn course(told: impl IntoIterator<Item = Told>) -> Course {
        let mut course = Course::after(&Mark::default());
        for told in told {
            course.take(told, Some(true));
        }
        course
    }

    fn end(told: impl IntoIterator<Item = Told>) -> Stage {
        course([Told::Added(7), Told::Waits, Told::Begun].into_iter().chain(told)).sight().stage
    }

    #[test]
    fn events_of_this_job_are_read_and_others_are_not() {
        let read = |queue, fields: &[(&str, &str)]| Told::read(queue, "repo/small", &event(fields));
        let added = [("event", "added"), ("jobId", "repo/small"), ("name", "repo/small-1700000000000")];
        assert_eq!(read("builds", &added), Some(Told::Added(1_700_000_000_000)));
        assert_eq!(read("database", &added), None);
        assert_eq!(read("builds", &[("event", "active"), ("jobId", "repo/small-git")]), None);
        let returned = [("event", "completed"), ("jobId", "repo/small"), ("returnvalue", "0")];
        assert_eq!(read("builds", &returned), Some(Told::Returned("0".to_owned())));
        assert_eq!(read("database", &returned), Some(Told::Published));
        assert_eq!(read("builds", &[("event", "drained")]), None);
    }

    #[test]
    fn a_build_is_over_when_it_is_published_and_not_before() {
        assert_eq!(end([Told::Returned("0".to_owned())]), Stage::Running(None));
        let published = [Told::Returned("0".to_owned()), Told::Removed, Told::Published];
        assert_eq!(end(published), Stage::Over(End::Succeeded));
        let broken = end([Told::Returned("0".to_owned()), Told::NotPublished("repo-add failed.".to_owned())]);
        assert!(matches!(broken, Stage::Over(End::Broken(_))), "{broken:?}");
    }

    #[test]
    fn that_it_is_published_may_be_told_before_that_it_is_built() {
        let published = [Told::Published, Told::Returned("0".to_owned()), Told::Removed];
        assert_eq!(end(published), Stage::Over(End::Succeeded));
        let broken = end([Told::NotPublished(String::new()), Told::Returned("0".to_owned())]);
        assert!(matches!(broken, Stage::Over(End::Broken(_))), "{broken:?}");
        let failed = end([Told::Published, Told::Thrown("Building failed.".to_owned())]);
        assert_eq!(failed, Stage::Over(End::Failed));
    }

    #[test]
    fn what_builders_say_is_told_apart() {
        assert_eq!(end([Told::Returned("1".to_owned())]), Stage::Over(End::AlreadyBuilt));
        assert_eq!(end([Told::Returned("2".to_owned())]), Stage::Over(End::Skipped));
        assert_eq!(end([Told::Thrown("Building failed.".to_owned())]), Stage::Over(End::Failed));
        assert_eq!(end([Told::Thrown("Build timeout reached.".to_owned())]), Stage::Over(End::TimedOut));
        for reason in ["Upload failed.", "job stalled more than allowable limit", ""] {
            let told = end([Told::Thrown(reason.to_owned())]);
            assert!(matches!(told, Stage::Over(End::Broken(_))), "{reason}: {told:?}");
        }
    }

    #[test]
    fn another_build_in_its_place_ends_it_and_the_same_again_goes_on() {
        let mut replaced = course([Told::Added(7), Told::Begun, Told::Removed]);
        assert_eq!(replaced.sight().stage, Stage::Over(End::Cancelled));
        replaced.take(Told::Added(8), Some(false));
        replaced.take(Told::Thrown("Building failed.".to_owned()), Some(true));
        assert_eq!(replaced.sight(), Sight { stage: Stage::Over(End::Replaced), log: Some(7) });
        let again = course([Told::Added(7), Told::Begun, Told::Removed, Told::Added(8), Told::Begun]);
        assert_eq!(again.sight(), Sight { stage: Stage::Running(None), log: Some(8) });
    }

    #[test]
    fn a_success_of_nobody_knows_what_is_none_of_ours() {
        let mut course = course([Told::Added(7), Told::Begun, Told::Removed]);
        for told in [Told::Added(8), Told::Begun, Told::Returned("0".to_owned()), Told::Published] {
            course.take(told, None);
        }
        assert!(matches!(course.sight().stage, Stage::Over(End::Broken(_))), "{:?}", course.sight());
        let mut lonely = Course::after(&Mark::default());
        lonely.take(Told::Added(7), None);
        assert_eq!(lonely.sight().stage, Stage::Queued, "the first that comes is what was asked for");
    }

    #[test]
    fn a_build_of_others_that_came_before_is_passed_over() {
        let mut course = Course::after(&Mark::default());
        course.take(Told::Added(6), Some(false));
        course.take(Told::Begun, Some(true));
        assert_eq!(course.sight().stage, Stage::Missing);
        course.take(Told::Added(7), Some(true));
        course.take(Told::Begun, Some(true));
        assert_eq!(course.sight(), Sight { stage: Stage::Running(None), log: Some(7) });
    }
}
