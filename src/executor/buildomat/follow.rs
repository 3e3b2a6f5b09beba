//! Follows one attempt from wherever it is to its end, which it reports.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use eventsource_stream::Eventsource as _;
use futures_util::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::Buildomat;
use super::state::{Record, State};
use super::wire::{Job, JobEvent, JobOutput};
use crate::builder::artefact::{self, Collected};
use crate::domain::build::Outcome;
use crate::executor::api::ApiError;
use crate::executor::elsewhere::Attempt;
use crate::executor::kept::{Stop, blocking};
use crate::executor::{AttemptReport, Ending};
use crate::logstore::LogError;
use crate::sys::fs::FsError;
use crate::telemetry::in_full;

/// So often in a row the same is asked before all that is known is looked at again.
const TRIES: usize = 5;
/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// How long buildomat may be away until a build that is to stop counts as stopped without its word.
const STOPPING: Duration = Duration::from_mins(10);
/// makepkg's status for what is built already.
const ALREADY_BUILT: i32 = 13;

/// An attempt that is followed.
pub struct Followed<'a> {
    pub(super) buildomat: &'a Buildomat,
    pub(super) state: State,
    pub(super) record: Record,
    pub(super) attempt: &'a mut Attempt,
    /// The number of the next event.
    next: u64,
    /// So many of the next bytes of the log stand in it already.
    known: u64,
    exit_code: Option<i32>,
    /// Why it is to be stopped; also where that could not be written down.
    stop: Option<Stop>,
    /// Its job, likewise.
    job: Option<String>,
    /// When it began, likewise.
    began: Option<Timestamp>,
    /// Since when it cannot be followed.
    away: Option<Instant>,
}

/// Why an attempt cannot be followed, now or at all.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error("buildomat tells of an event that cannot be understood")]
    Event(#[source] serde_json::Error),
    #[error(transparent)]
    Fs(#[from] FsError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("buildomat does not take the package folder: {0}")]
    Input(String),
    #[error("the job is gone from buildomat")]
    Gone,
    #[error("the build is to stop")]
    Stopping,
}

impl Trouble {
    /// Whether it will be there each time; with a job, only what is told of the job itself is believed: refusals may be
    /// somebody's before buildomat, and a token may be replaced.
    const fn is_final(&self, has_job: bool) -> bool {
        match self {
            Self::Gone | Self::Input(_) => true,
            Self::Api(ApiError::Refused { status: 401 | 403, .. }) => false,
            Self::Api(ApiError::Refused { .. } | ApiError::Moved { .. } | ApiError::Insecure { .. }) => !has_job,
            Self::Api(_) | Self::Event(_) | Self::Fs(_) | Self::Log(_) | Self::Stopping => false,
        }
    }
}

impl<'a> Followed<'a> {
    pub fn new(buildomat: &'a Buildomat, state: State, record: Record, attempt: &'a mut Attempt) -> Self {
        let known = attempt.log.length().saturating_sub(record.log_begins);
        let (stop, job, began) = (state.stop(), state.job(), state.began());
        Self { buildomat, state, record, attempt, next: 0, known, exit_code: None, stop, job, began, away: None }
    }

    /// Follows it to its end. What may pass is waited for, for as long as an attempt may be out of sight.
    pub async fn see_through(mut self) -> AttemptReport {
        loop {
            let trouble = match self.work().await {
                Ok(report) => return report,
                Err(Trouble::Stopping) => continue,
                Err(trouble) => trouble,
            };
            if trouble.is_final(self.job.is_some()) || self.is_given_up(&trouble) {
                self.let_go().await;
                let is_cancelled = self.attempt.reins.cancel.is_cancelled();
                return if is_cancelled { self.report(cancelled()) } else { AttemptReport::lost(in_full(&trouble)) };
            }
            self.pause().await;
        }
    }

    async fn work(&mut self) -> Result<AttemptReport, Trouble> {
        let Some(job) = self.made().await? else { return Ok(self.report(cancelled())) };
        let over = loop {
            let told = self.look(&job).await?;
            if told.has_begun() {
                self.attempt.reins.tell_beginning();
            }
            if told.is_over() {
                break told;
            }
            self.stop_if_asked(&job).await?;
            if told.state == "waiting" && self.stop.is_none() {
                self.supply(&job).await?;
            }
            if told.has_begun() {
                self.begin();
            }
            self.listen(&job).await?;
            self.away = None;
        };
        self.read_rest(&job).await?;
        self.conclude(&job, &over).await
    }

    /// Whether it is out of sight for too long.
    fn is_given_up(&mut self, trouble: &Trouble) -> bool {
        if self.away.is_none() {
            tracing::warn!(attempt = self.attempt.id, "a build is followed on later: {}", in_full(trouble));
        }
        let stopping = self.attempt.reins.cancel.is_cancelled();
        let patience = if stopping { STOPPING.min(self.buildomat.lost_after) } else { self.buildomat.lost_after };
        self.away.get_or_insert_with(Instant::now).elapsed() >= patience
    }

    /// Nobody follows the job any more, so that it must not go on: another try would make a second one beside it.
    async fn let_go(&self) {
        let client = &self.buildomat.client;
        let told = async {
            let job = match &self.job {
                Some(job) => Some(job.clone()),
                None if self.state.was_asked() => client.find(&self.attempt.id).await?,
                None => None,
            };
            if let Some(job) = job { client.cancel(&job).await } else { Ok(()) }
        };
        if let Err(error) = told.await {
            tracing::warn!(attempt = self.attempt.id, "its job at buildomat may go on: {}", in_full(&error));
        }
    }

    /// The job, which is made if it was not; `None` if the build was cancelled before that.
    async fn made(&mut self) -> Result<Option<String>, Trouble> {
        if let Some(job) = &self.job {
            return Ok(Some(job.clone()));
        }
        let (client, id) = (&self.buildomat.client, self.attempt.id.clone());
        // It may have been made though no answer says so: it is looked for before it is asked for again.
        let found = if self.state.was_asked() { self.patiently(|| client.find(&id)).await? } else { None };
        if found.is_none() && self.attempt.reins.cancel.is_cancelled() {
            return Ok(None);
        }
        let job = if let Some(job) = found {
            job
        } else {
            self.state.note_asked()?;
            client.submit(&self.job()).await?
        };
        // Where this cannot be written down, it is found again.
        unless_kept(self.state.keep_job(&job));
        self.job = Some(job.clone());
        Ok(Some(job))
    }

    /// From now on its time runs.
    fn begin(&mut self) {
        if self.began.is_none() {
            let now = self.buildomat.clock.now();
            unless_kept(self.state.keep_began(now));
            self.began = Some(now);
        }
    }

    async fn look(&mut self, job: &str) -> Result<Job, Trouble> {
        let client = &self.buildomat.client;
        self.patiently(|| client.job(job)).await?.ok_or(Trouble::Gone)
    }

    /// Cancels the job if it is to end: it ends when buildomat says so.
    async fn stop_if_asked(&mut self, job: &str) -> Result<(), Trouble> {
        let late = |began| self.buildomat.clock.now() >= began + SignedDuration::from_millis(self.record.may_take);
        let is_late = self.began.is_some_and(late);
        if self.stop.is_none() && self.attempt.reins.cancel.is_cancelled() {
            self.stop_for(Stop::Cancelled);
        } else if self.stop.is_none() && is_late {
            self.stop_for(Stop::TimedOut);
        }
        if self.stop.is_some() {
            let client = &self.buildomat.client;
            self.patiently(|| client.cancel(job)).await?;
        }
        Ok(())
    }

    /// It is to be stopped, by later processes too.
    fn stop_for(&mut self, stop: Stop) {
        unless_kept(self.state.keep_stop(stop));
        self.stop = Some(stop);
    }

    /// Listens to what the job prints until there is something else to look at.
    async fn listen(&mut self, job: &str) -> Result<(), Trouble> {
        let cancel = self.attempt.reins.cancel.clone();
        let is_stopping = self.stop.is_some();
        let (client, from) = (&self.buildomat.client, self.next);
        let response = self.patiently(|| client.watch(job, from)).await?;
        let mut events = response.bytes_stream().eventsource();
        let until = tokio::time::Instant::now() + self.time_left();
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                () = cancel.cancelled(), if !is_stopping => return Ok(()),
                () = tokio::time::sleep_until(until) => return Ok(()),
            };
            match event {
                Some(Ok(event)) if event.event == "job" => {
                    let event = serde_json::from_str(&event.data).map_err(Trouble::Event)?;
                    self.take(&event)?;
                }
                // How the job stands is looked at; not at once for ever, if nobody can listen to it.
                Some(Ok(event)) if event.event == "state" => return Ok(()),
                Some(Ok(_) | Err(_)) | None => {
                    self.pause().await;
                    return Ok(());
                }
            }
        }
    }

    /// How long it may still take.
    fn time_left(&self) -> Duration {
        const LONG: Duration = Duration::from_hours(1);
        let ends = self.began.map(|began| began + SignedDuration::from_millis(self.record.may_take));
        let left = ends.map(|ends| ends.duration_since(self.buildomat.clock.now()));
        left.map_or(LONG, |left| Duration::try_from(left).unwrap_or_default()).clamp(self.buildomat.pause, LONG)
    }

    /// Reads what was printed and not heard.
    async fn read_rest(&mut self, job: &str) -> Result<(), Trouble> {
        loop {
            let from = self.next;
            let client = &self.buildomat.client;
            for event in self.patiently(|| client.events(job, from)).await? {
                self.take(&event)?;
            }
            if self.next == from {
                return Ok(());
            }
        }
    }

    /// Writes an event into the log, if it does not stand in it.
    fn take(&mut self, event: &JobEvent) -> Result<(), Trouble> {
        if event.seq < self.next {
            return Ok(());
        }
        let line = event.line();
        let known = usize::try_from(self.known).unwrap_or(usize::MAX).min(line.len());
        let before = self.attempt.log.length();
        match self.attempt.log.write(&line.as_bytes()[known..]) {
            Err(LogError::LimitReached { .. }) if self.stop.is_none() => self.stop_for(Stop::LogLimit),
            Err(LogError::LimitReached { .. }) | Ok(()) => {}
            Err(error) => {
                self.known += self.attempt.log.length() - before;
                return Err(error.into());
            }
        }
        self.known -= known as u64;
        self.next = event.seq + 1;
        self.exit_code = event.exit_code().or(self.exit_code);
        Ok(())
    }

    async fn conclude(&mut self, job: &str, over: &Job) -> Result<AttemptReport, Trouble> {
        let ending = match (self.stop, over.cancelled, over.state.as_str()) {
            (Some(Stop::TimedOut), ..) => done(Outcome::TimedOut, "the build took too long"),
            (Some(Stop::LogLimit), ..) => done(Outcome::Failed, "the build printed more than a log may hold"),
            (Some(Stop::Cancelled), ..) => cancelled(),
            (None, true, _) => done(Outcome::Cancelled, "the job was cancelled at buildomat"),
            (None, false, "completed") => return self.collect(job).await,
            (None, false, _) => self.failure(over),
        };
        Ok(self.report(ending))
    }

    /// Whose fault it is that a job failed: the package's only if its step did.
    fn failure(&self, over: &Job) -> (Ending, String) {
        if !over.tasks.iter().any(|task| task.state == "failed") {
            return (Ending::Infrastructure, "buildomat ended the job before its step was over".to_owned());
        }
        match self.exit_code {
            Some(ALREADY_BUILT) => done(Outcome::AlreadyBuilt, "this version is published already"),
            Some(code) if code == self.record.skip_exit_code => {
                done(Outcome::Skipped, "the package said that there is nothing to build")
            }
            code => {
                let code = code.map_or_else(|| "no status".to_owned(), |code| format!("status {code}"));
                (Ending::Done(Outcome::Failed), format!("the build ended with {code}"))
            }
        }
    }

    /// Brings what the job left, and takes the packages of this build from it.
    async fn collect(&mut self, job: &str) -> Result<AttemptReport, Trouble> {
        let brought = self.state.brought();
        fs::create_dir_all(&brought).map_err(|error| FsError::new("create", &brought, error))?;
        let client = &self.buildomat.client;
        let outputs = self.patiently(|| client.outputs(job)).await?;
        let expected = self.record.expected.clone();
        let named = outputs.into_iter().map(|output| (file_name(&output), output));
        let packages: BTreeMap<_, _> = named.filter(|(name, _)| expected.allows(name)).collect();
        let limits = self.buildomat.limits.for_packages(expected.count().unwrap_or(0));
        let sizes: Vec<u64> = packages.values().map(|output| output.size).collect();
        if let Err(refusal) = limits.admit(&sizes) {
            return Ok(self.report(done(Outcome::Failed, &format!("what the job left is not taken: {refusal}"))));
        }
        for (name, output) in &packages {
            let to = brought.join(name);
            self.patiently(|| client.fetch(job, output, &to)).await?;
        }
        let collected = self.take_packages().await?;
        if collected.artefacts.is_empty() {
            return Ok(self.report(done(Outcome::Failed, "the build succeeded and left no package of this name")));
        }
        let ending = (Ending::Done(Outcome::Succeeded), String::new());
        Ok(AttemptReport { artefacts: collected.artefacts, ..self.report(ending) })
    }

    async fn take_packages(&self) -> Result<Collected, FsError> {
        let (state, expected) = (self.state.clone(), self.record.expected.clone());
        let brought = state.brought();
        let collect = move || artefact::collect(&state.brought(), &state.taken(), &expected, || true);
        blocking(collect).await.map_err(|error| FsError::new("collect packages from", &brought, error))
    }

    fn report(&self, (ending, message): (Ending, String)) -> AttemptReport {
        AttemptReport::ended(ending, message).with_status(self.exit_code)
    }

    /// Asks some times, unless the build is cancelled meanwhile.
    pub(super) async fn patiently<T, F>(&mut self, ask: impl FnMut() -> F) -> Result<T, Trouble>
    where
        F: Future<Output = Result<T, ApiError>>,
    {
        let pauses = ExponentialBuilder::default().with_min_delay(self.buildomat.pause).with_max_delay(LONGEST_PAUSE);
        let attempt = self.attempt.id.clone();
        let tell = |error: &ApiError, _| tracing::debug!(attempt, "it is asked again: {}", in_full(error));
        let answer = ask.retry(pauses.with_max_times(TRIES).with_jitter()).when(ApiError::will_pass).notify(tell);
        tokio::select! {
            answer = answer => Ok(answer?),
            () = self.attempt.reins.cancel.cancelled(), if self.stop.is_none() => {
                self.stop_for(Stop::Cancelled);
                Err(Trouble::Stopping)
            }
        }
    }

    /// Waits a moment, or longer the longer it cannot be followed; not if the build is cancelled, which is not waited
    /// for twice.
    pub(super) async fn pause(&self) {
        let away = self.away.map_or(Duration::ZERO, |since| since.elapsed() / 8);
        tokio::select! {
            () = self.attempt.reins.cancel.cancelled(), if self.stop.is_none() => {}
            () = tokio::time::sleep(away.clamp(self.buildomat.pause, LONGEST_PAUSE)) => {}
        }
    }
}

/// What could not be written down is known as long as we live.
fn unless_kept(kept: Result<(), FsError>) {
    if let Err(error) = kept {
        tracing::warn!(error = &error as &dyn std::error::Error, "what is known of a build is not kept");
    }
}

/// What a file that a job left is called.
fn file_name(output: &JobOutput) -> String {
    output.path.rsplit('/').next().unwrap_or_default().to_owned()
}

fn done(outcome: Outcome, message: &str) -> (Ending, String) {
    (Ending::Done(outcome), message.to_owned())
}

fn cancelled() -> (Ending, String) {
    done(Outcome::Cancelled, "the build was cancelled")
}
