//! Follows one attempt from wherever it is to its end, which it reports.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use nix::sys::signal::Signal;
use tokio_util::sync::CancellationToken;

use super::Command;
use super::frames::{Ended, Frames, Said};
use super::task::{Record, Task};
use crate::builder::artefact::{self, Artefact, Collected};
use crate::domain::build::Outcome;
use crate::domain::upload::{ArtefactClaim, Refusal};
use crate::executor::elsewhere::Attempt;
use crate::executor::exchange::ExchangeError;
use crate::executor::kept::{Stop, blocking};
use crate::executor::{AttemptReport, Ending};
use crate::logstore::{LogError, LogWriter};
use crate::sys::fs::FsError;
use crate::sys::lookup::startable;

/// How often it is looked what a program has printed.
const PAUSE: Duration = Duration::from_millis(200);
/// How long a program that was asked to end may take to see to it that nothing of its build goes on.
const GRACE: SignedDuration = SignedDuration::from_secs(30);
/// How long it is waited for what was killed. What left its group lives on, and is nothing that could be waited for.
const KILLED: SignedDuration = SignedDuration::from_secs(5);
/// How long it may take until a program prints its first line, if that is to count.
const SILENT: SignedDuration = SignedDuration::from_secs(5);
/// How much is read at once.
const PIECE: usize = 64 << 10;
/// Statuses of programs that mean something: `ALREADY_BUILT` is makepkg's, `TEMPORARY` that of sysexits.h, `TIMED_OUT`
/// that of timeout(1).
const ALREADY_BUILT: i32 = 13;
const TEMPORARY: i32 = 75;
const TIMED_OUT: i32 = 124;
/// What a shell says of a program that it could not start. A program may end so, too.
const NOT_EXECUTABLE: i32 = 126;
const NOT_FOUND: i32 = 127;
/// What a shell adds to the number of a signal that ended a program, and the last that has one meaning everywhere.
const SIGNALLED: i32 = 128;
const LAST_SIGNAL: i32 = 31;

/// An attempt that is followed.
pub struct Followed<'a> {
    pub program: &'a Command,
    pub task: Task,
    pub record: Record,
    pub attempt: &'a mut Attempt,
}

/// What a program printed, as far as it is known.
#[derive(Default)]
struct Tail {
    frames: Frames,
    read: u64,
    /// What was said and is not written down yet.
    said: VecDeque<Said>,
    /// So many of the next bytes of the log stand in it already.
    known: u64,
    begun: bool,
    ended: Option<Ended>,
}

impl Followed<'_> {
    /// Follows it to its end.
    pub async fn see_through(&mut self) -> AttemptReport {
        let known = self.log_length().saturating_sub(self.record.log_begins);
        let mut tail = Tail { known, ..Tail::default() };
        let mut stopping: Option<(Stop, Timestamp)> = None;
        let silent_until = self.program.clock.now() + SILENT;
        loop {
            // In this order: what was printed before the end is read after it.
            let given_up = stopping.is_some_and(|(_, since)| self.program.clock.now() > since + GRACE + KILLED);
            let (status, lives) = (self.task.status(), self.task.lives());
            let is_over = status.is_some() || !lives || given_up;
            let read = tail.read_on(&self.task, &mut self.attempt.log, is_over);
            if is_over || tail.has_begun(self.program.clock.now() > silent_until) {
                self.tell_beginning();
            }
            match read {
                Err(Trouble::Log(LogError::LimitReached { .. })) => {
                    stopping = stopping.or_else(|| Some(self.stop_for(Stop::LogLimit)));
                    // Nobody reads it any more, and it must not fill the disk until the program has ended.
                    tail.read = 0;
                    if let Err(error) = self.task.drop_output() {
                        tracing::warn!(error = &error as &dyn std::error::Error, "what a build prints is not dropped");
                    }
                }
                Err(trouble) => tracing::warn!("what a build prints is written down later: {trouble}"),
                Ok(()) => {}
            }
            if is_over && tail.said.is_empty() {
                // What it left running must not change what is collected now.
                self.task.signal(Signal::SIGKILL);
                let ended_itself = tail.ended.is_some() || status.is_some_and(|status| !is_signal(status));
                let stop = stopping.map(|(stop, _)| stop).or_else(|| self.task.stop().filter(|_| !ended_itself));
                return self.conclude(status, stop, tail.ended).await;
            }
            stopping = stopping.or_else(|| self.begin_to_stop());
            if stopping.is_some_and(|(_, since)| self.program.clock.now() > since + GRACE) {
                self.task.signal(Signal::SIGKILL);
            }
            rest(&self.attempt.reins.cancel, stopping.is_some()).await;
        }
    }

    fn log_length(&self) -> u64 {
        self.attempt.log.length()
    }

    fn tell_beginning(&self) {
        self.task.began(Some(self.program.clock.now()));
        self.attempt.reins.tell_beginning();
    }

    /// Whether it has to end now, in which case it is asked to.
    fn begin_to_stop(&self) -> Option<(Stop, Timestamp)> {
        let over =
            |began: Timestamp| self.program.clock.now() >= began + SignedDuration::from_millis(self.record.may_take);
        let cancelled = || self.attempt.reins.cancel.is_cancelled().then_some(Stop::Cancelled);
        let late = || self.task.began(None).is_some_and(over).then_some(Stop::TimedOut);
        self.task.stop().or_else(cancelled).or_else(late).map(|stop| self.stop_for(stop))
    }

    fn stop_for(&self, stop: Stop) -> (Stop, Timestamp) {
        if let Err(error) = self.task.ask_to_stop(stop) {
            tracing::warn!(error = &error as &dyn std::error::Error, "that a build has to stop is not kept");
        }
        self.task.signal(Signal::SIGTERM);
        (stop, self.program.clock.now())
    }

    async fn conclude(&mut self, status: Option<i32>, stop: Option<Stop>, said: Option<Ended>) -> AttemptReport {
        let told = said.as_ref().map(|said| said.artefacts.clone()).unwrap_or_default();
        let (ending, message) = match (stop, said, status) {
            (Some(Stop::Cancelled), ..) => (Ending::Done(Outcome::Cancelled), "the build was cancelled".to_owned()),
            (Some(Stop::TimedOut), ..) => (Ending::Done(Outcome::TimedOut), "the build took too long".to_owned()),
            (Some(Stop::LogLimit), ..) => {
                (Ending::Done(Outcome::Failed), "the build printed more than a log may hold".to_owned())
            }
            (None, Some(said), _) => (said.ending, said.message),
            (None, None, Some(status)) => match self.unstartable(status) {
                Some(reason) => (Ending::Infrastructure, format!("the program ended with status {status}: {reason}")),
                None => meaning(status, self.record.skip_exit_code),
            },
            (None, None, None) => {
                let message = "the program is gone, and did not say how it ended".to_owned();
                (Ending::Infrastructure, message)
            }
        };
        let report = |ending, message: String| AttemptReport::ended(ending, message).with_status(status);
        if ending != Ending::Done(Outcome::Succeeded) {
            return report(ending, message);
        }
        if !told.is_empty() {
            return match self.brought(&told) {
                Ok(artefacts) => AttemptReport { artefacts, ..report(ending, message) },
                Err(ExchangeError::Refused(refusal @ Refusal::Foreign(_))) => {
                    report(Ending::Done(Outcome::Failed), refusal.to_string())
                }
                Err(error) => report(Ending::Infrastructure, error.to_string()),
            };
        }
        match self.collect().await {
            Ok(collected) if collected.artefacts.is_empty() => {
                let left = collected.ignored.join(", ");
                let left = if left.is_empty() { "nothing".to_owned() } else { format!("only {left}") };
                let message = format!("the program says that it succeeded, but left {left} in `artefact_dir`");
                report(Ending::Done(Outcome::Failed), message)
            }
            Ok(collected) => AttemptReport { artefacts: collected.artefacts, ..report(ending, message) },
            Err(error) => report(Ending::Infrastructure, error.to_string()),
        }
    }

    /// Why the program cannot be started, if its status may be a shell's that says so.
    fn unstartable(&self, status: i32) -> Option<String> {
        matches!(status, NOT_EXECUTABLE | NOT_FOUND).then(|| startable(&self.program.words[0]).err())?
    }

    /// What was brought over HTTP.
    fn brought(&self, told: &[ArtefactClaim]) -> Result<Vec<Artefact>, ExchangeError> {
        let exchange = self.program.exchange.as_ref();
        let nobody = || Refusal::Untrue("nothing can be brought over HTTP here".to_owned());
        exchange.ok_or_else(nobody)?.artefacts(&self.attempt.id, told)
    }

    async fn collect(&self) -> Result<Collected, FsError> {
        let (task, expected, cancel) =
            (self.task.clone(), self.record.expected.clone(), self.attempt.reins.cancel.clone());
        let collect = move || {
            task.give_back()?;
            artefact::collect(&task.made(), &task.taken(), &expected, || !cancel.is_cancelled())
        };
        let made = self.task.made();
        blocking(collect).await.map_err(|error| FsError::new("collect packages from", &made, error))
    }
}

/// What can go wrong between a program's output and its log.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("cannot read what it prints: {0}")]
    Output(#[from] std::io::Error),
}

impl Tail {
    /// A program without frames begins at once. Whether it has any, its first line tells, for which it has some time.
    fn has_begun(&self, is_silent: bool) -> bool {
        match self.frames.are_used() {
            Some(true) => self.begun,
            Some(false) => true,
            None => is_silent,
        }
    }

    /// Reads what was printed since, and writes down what of it is log. If that fails, nothing more is read before it
    /// is done.
    fn read_on(&mut self, task: &Task, log: &mut LogWriter, is_all: bool) -> Result<(), Trouble> {
        self.write_down(log)?;
        let mut output = match File::open(task.output()) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            output => output?,
        };
        output.seek(SeekFrom::Start(self.read))?;
        let mut piece = vec![0; PIECE];
        loop {
            let length = output.read(&mut piece)?;
            if length == 0 {
                self.said.extend(if is_all { self.frames.rest() } else { None });
                return Ok(self.write_down(log)?);
            }
            self.read += length as u64;
            self.said.extend(self.frames.read(&piece[..length]));
            self.write_down(log)?;
        }
    }

    fn write_down(&mut self, log: &mut LogWriter) -> Result<(), LogError> {
        let mut limit = Ok(());
        while let Some(said) = self.said.front() {
            match said {
                Said::Log(bytes) => {
                    let known = usize::try_from(self.known).unwrap_or(usize::MAX).min(bytes.len());
                    let before = log.length();
                    match log.write(&bytes[known..]) {
                        Ok(()) => self.known -= known as u64,
                        // What comes after the end of a log is not kept.
                        Err(error @ LogError::LimitReached { .. }) => limit = Err(error),
                        Err(error) => {
                            self.known += log.length() - before;
                            return Err(error);
                        }
                    }
                }
                Said::Begun => self.begun = true,
                Said::Ended(ended) => self.ended = Some(ended.clone()),
            }
            self.said.pop_front();
        }
        limit
    }
}

/// What the status of a program means.
fn meaning(status: i32, skip: i32) -> (Ending, String) {
    let ending = match status {
        0 => Ending::Done(Outcome::Succeeded),
        status if status == skip => Ending::Done(Outcome::Skipped),
        ALREADY_BUILT => Ending::Done(Outcome::AlreadyBuilt),
        TEMPORARY => Ending::Infrastructure,
        TIMED_OUT => Ending::Done(Outcome::TimedOut),
        // Nobody here sent it: the machine goes down, or has no memory left.
        status if is_signal(status) => {
            let message = format!("the program was ended by signal {}", status - SIGNALLED);
            return (Ending::Infrastructure, message);
        }
        _ => Ending::Done(Outcome::Failed),
    };
    let message = if status == 0 { String::new() } else { format!("the program ended with status {status}") };
    (ending, message)
}

/// Whether a shell says by this status that a signal ended a program.
fn is_signal(status: i32) -> bool {
    (1..=LAST_SIGNAL).contains(&(status - SIGNALLED))
}

/// Until there may be something new; at once if it is to be stopped and was not asked to.
async fn rest(cancel: &CancellationToken, is_stopping: bool) {
    tokio::select! {
        () = cancel.cancelled(), if !is_stopping => {}
        () = tokio::time::sleep(PAUSE) => {}
    }
}
