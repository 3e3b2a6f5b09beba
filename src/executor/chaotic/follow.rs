//! Follows one attempt from wherever it is to its end, which it reports.

use std::time::Duration;

use tokio::time::Instant;

use super::coordinator::AtCoordinator;
use super::logs::Logs;
use super::queues::InQueues;
use super::sight::{Course, End, Sight, Stage, Step};
use super::state::{Mark, Place, Record, State};
use super::{Pacing, Trouble};
use crate::domain::build::Outcome;
use crate::executor::elsewhere::Attempt;
use crate::executor::{AttemptReport, Ending};
use crate::logstore::LogError;

/// How long a manager may be away until a build that is to stop counts as stopped without its word.
const STOPPING: Duration = Duration::from_mins(10);

/// The way to a manager, for one build.
pub enum Line {
    /// Over the bus.
    Coordinator(Box<AtCoordinator>),
    /// Through the queues.
    Queues(Box<InQueues>),
}

impl Line {
    async fn mark(&self) -> Result<Mark, Trouble> {
        match self {
            Self::Coordinator(coordinator) => coordinator.mark().await,
            Self::Queues(queues) => queues.mark().await,
        }
    }

    async fn ask(&self) -> Result<(), Trouble> {
        match self {
            Self::Coordinator(coordinator) => coordinator.ask().await,
            Self::Queues(queues) => queues.ask().await,
        }
    }

    async fn look(&mut self, mark: &Mark, log: Option<u64>) -> Result<Sight, Trouble> {
        match self {
            Self::Coordinator(coordinator) => coordinator.look(mark, log).await,
            Self::Queues(queues) => queues.look(mark).await,
        }
    }

    async fn stop(&mut self, stage: &Stage) -> Result<(), Trouble> {
        match self {
            Self::Coordinator(coordinator) => coordinator.stop(stage).await,
            Self::Queues(queues) => queues.stop(stage).await,
        }
    }

    /// Waits until something is told; of queues nothing is.
    async fn news(&mut self) {
        match self {
            Self::Coordinator(coordinator) => coordinator.news().await,
            Self::Queues(_) => std::future::pending().await,
        }
    }
}

/// An attempt that is followed.
pub struct Followed<'a> {
    line: Line,
    logs: Logs,
    pacing: Pacing,
    state: State,
    record: Record,
    attempt: &'a mut Attempt,
    course: Course,
    began: Instant,
    /// Since when it cannot be followed.
    away: Option<Instant>,
}

impl<'a> Followed<'a> {
    pub fn new(
        line: Line,
        logs: Logs,
        pacing: Pacing,
        (state, record): (State, Record),
        attempt: &'a mut Attempt,
    ) -> Self {
        let course = Course::of(state.place().is_some());
        Self { line, logs, pacing, state, record, attempt, course, began: Instant::now(), away: None }
    }

    /// Follows it to its end.
    pub async fn see_through(mut self) -> AttemptReport {
        loop {
            match self.turn().await {
                Ok(Some(end)) => return self.report(end),
                Ok(None) => self.away = None,
                // Whatever it is, the build goes on at the manager, and would be published.
                Err(trouble) => {
                    let (reason, stopping) = (trouble.to_string(), self.attempt.reins.cancel.is_cancelled());
                    if self.is_given_up(&reason, if stopping { STOPPING } else { self.pacing.lost_after }) {
                        return if stopping { self.report(End::Cancelled) } else { AttemptReport::lost(reason) };
                    }
                }
            }
            self.rest().await;
        }
    }

    /// Looks once, and does what is to be done; the end if it is over.
    async fn turn(&mut self) -> Result<Option<End>, Trouble> {
        let Some(mark) = self.state.mark() else {
            if self.attempt.reins.cancel.is_cancelled() {
                return Ok(Some(End::Cancelled));
            }
            self.state.keep_mark(&self.line.mark().await?)?;
            return self.ask().await;
        };
        let sight = self.line.look(&mark, self.state.place().map(|place| place.log)).await?;
        // What cannot be written down now keeps nobody from stopping the build.
        let copied = self.copy(&sight).await;
        match self.course.step(&sight, self.is_stopping(), self.began.elapsed(), self.pacing.grace) {
            Step::Wait => {}
            Step::Ask => return self.ask().await,
            Step::Begin => self.attempt.reins.tell_beginning(),
            Step::Stop => self.line.stop(&sight.stage).await?,
            Step::End(end) => {
                copied?;
                tokio::time::sleep(self.pacing.rest).await;
                self.copy(&sight).await?;
                return Ok(Some(end));
            }
        }
        copied.map(|()| None)
    }

    /// Asks for the build; one that the manager refuses is not there, and that is its end.
    async fn ask(&self) -> Result<Option<End>, Trouble> {
        match self.line.ask().await {
            Err(Trouble::Refused(reason)) => Ok(Some(End::Broken(reason))),
            asked => asked.map(|()| None),
        }
    }

    /// Waits for something to happen, and reads the log meanwhile.
    async fn rest(&mut self) {
        let until = Instant::now() + self.pacing.look;
        let was_stopping = self.is_stopping();
        while Instant::now() < until && self.is_stopping() == was_stopping {
            tokio::select! {
                () = self.line.news() => return,
                () = self.attempt.reins.cancel.cancelled(), if !was_stopping => return,
                () = tokio::time::sleep(self.pacing.log) => {}
            }
            if let Some(place) = self.state.place()
                && self.copy_from(place).await.is_err()
            {
                return;
            }
        }
    }

    fn is_stopping(&self) -> bool {
        self.attempt.reins.cancel.is_cancelled() || self.state.is_too_long()
    }

    fn is_given_up(&mut self, reason: &str, patience: Duration) -> bool {
        if self.away.is_none() {
            tracing::warn!(attempt = self.attempt.id, reason, "a build at Chaotic Manager is followed on later");
        }
        self.away.get_or_insert_with(Instant::now).elapsed() >= patience
    }

    /// Copies what is new in the log of the build.
    async fn copy(&mut self, sight: &Sight) -> Result<(), Trouble> {
        let Some(log) = sight.log else { return Ok(()) };
        let place = match self.state.place() {
            Some(place) if place.log == log => place,
            known => {
                if known.is_some() {
                    self.attempt.log.note("Chaotic Manager began anew, and so does the log")?;
                }
                let place = Place { log, begins: self.attempt.log.length() };
                self.state.keep_place(place)?;
                place
            }
        };
        self.copy_from(place).await
    }

    /// Every byte once: how much of it is here tells what is missing.
    async fn copy_from(&mut self, place: Place) -> Result<(), Trouble> {
        while !self.state.is_too_long() {
            let known = self.attempt.log.length().saturating_sub(place.begins);
            let bytes = self.logs.read(&self.record.pkgbase, place.log, known).await?;
            if bytes.is_empty() {
                break;
            }
            match self.attempt.log.write(&bytes) {
                Ok(()) => {}
                Err(LogError::LimitReached { .. }) => self.state.note_too_long()?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn report(&self, end: End) -> AttemptReport {
        let is_success = end == End::Succeeded;
        let (ending, message) = if self.state.is_too_long() && !is_success {
            (Ending::Done(Outcome::Failed), "the build printed more than a log may hold".to_owned())
        } else {
            end.told(self.attempt.reins.cancel.is_cancelled())
        };
        AttemptReport { ending, artefacts: Vec::new(), exit_code: None, message }
    }
}
