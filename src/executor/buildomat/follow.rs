//! Follows one attempt from wherever it is to its end, which it reports.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use eventsource_stream::Eventsource as _;
use futures_util::StreamExt as _;
use jiff::SignedDuration;
use sha2::{Digest as _, Sha256};

use super::Buildomat;
use super::client::TAG;
use super::state::{Record, State, Stop};
use super::wire::{Job, JobAddInput, JobEvent, JobOutput, JobSubmit, TaskSubmit};
use crate::builder::artefact::{self, Collected};
use crate::domain::build::Outcome;
use crate::executor::api::ApiError;
use crate::executor::elsewhere::Attempt;
use crate::executor::kept::blocking;
use crate::executor::{AttemptReport, Ending};
use crate::logstore::LogError;
use crate::sys::fs::FsError;
use crate::telemetry::in_full;

/// The largest piece of a file that is sent at once: 4 MiB.
const PIECE: usize = 4 << 20;
/// What the package folder is called for the job.
const INPUT: &str = "package.tar";
/// Where a job leaves packages; they may be none.
const OUTPUTS: &str = "/out/*";
/// makepkg's status for what is built already.
const ALREADY_BUILT: i32 = 13;

/// An attempt that is followed.
pub struct Followed<'a> {
    buildomat: &'a Buildomat,
    state: State,
    record: Record,
    attempt: &'a mut Attempt,
    /// The number of the next event.
    next: u64,
    /// So many of the next bytes of the log stand in it already.
    known: u64,
    exit_code: Option<i32>,
}

/// Why an attempt cannot be followed to its end.
#[derive(Debug, thiserror::Error)]
enum Trouble {
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
}

impl<'a> Followed<'a> {
    pub fn new(buildomat: &'a Buildomat, state: State, record: Record, attempt: &'a mut Attempt) -> Self {
        let known = attempt.log.length().saturating_sub(record.log_begins);
        Self { buildomat, state, record, attempt, next: 0, known, exit_code: None }
    }

    /// Follows it to its end.
    pub async fn see_through(mut self) -> AttemptReport {
        match self.work().await {
            Ok(report) => report,
            Err(trouble) => AttemptReport::lost(in_full(&trouble)),
        }
    }

    async fn work(&mut self) -> Result<AttemptReport, Trouble> {
        let Some(job) = self.made().await? else { return Ok(self.report(cancelled())) };
        let over = loop {
            let told = self.look(&job).await?;
            if told.state == "waiting" && self.state.stop().is_none() {
                self.supply(&job).await?;
            }
            if told.has_begun() {
                self.state.keep_began(self.buildomat.clock.now())?;
                self.attempt.reins.tell_beginning();
            }
            if told.is_over() {
                break told;
            }
            self.stop_if_asked(&job).await?;
            self.listen(&job).await?;
        };
        self.read_rest(&job).await?;
        self.conclude(&job, &over).await
    }

    /// The job, which is made if it was not; `None` if the build was cancelled before that.
    async fn made(&mut self) -> Result<Option<String>, Trouble> {
        if let Some(job) = self.state.job() {
            return Ok(Some(job));
        }
        let client = &self.buildomat.client;
        loop {
            let known = self.state.was_asked();
            let found = if known { self.patiently(|| client.find(&self.attempt.id)).await? } else { None };
            if found.is_none() && self.attempt.reins.cancel.is_cancelled() {
                return Ok(None);
            }
            let made = if let Some(job) = found {
                Ok(job)
            } else {
                self.state.note_asked()?;
                client.submit(&self.job()).await
            };
            match made {
                Ok(job) => {
                    self.state.keep_job(&job)?;
                    return Ok(Some(job));
                }
                // It may have been made: that is looked for before it is asked for again.
                Err(error) if error.will_pass() => {
                    tracing::warn!(attempt = self.attempt.id, "it is asked again: {}", in_full(&error));
                    self.pause().await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn job(&self) -> JobSubmit {
        let making = &self.buildomat.making;
        let env =
            [("PKGWARDEN_BUILD", self.record.build.as_str()), ("PACKAGE_TAR", "/input/package.tar"), ("OUT", "/out")];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let task = TaskSubmit { name: "build".to_owned(), script: making.script.clone(), env_clear: false, env };
        JobSubmit {
            name: self.record.name.clone(),
            target: making.target.clone(),
            output_rules: vec![OUTPUTS.to_owned()],
            tasks: vec![task],
            inputs: vec![INPUT.to_owned()],
            tags: [(TAG.to_owned(), self.attempt.id.clone())].into(),
        }
    }

    async fn look(&self, job: &str) -> Result<Job, Trouble> {
        self.patiently(|| self.buildomat.client.job(job)).await?.ok_or(Trouble::Gone)
    }

    /// Gives the job the package folder, for which it waits.
    async fn supply(&self, job: &str) -> Result<(), Trouble> {
        let path = self.state.package();
        let package = fs::read(&path).map_err(|error| FsError::new("read", &path, error))?;
        let client = &self.buildomat.client;
        let mut chunks = Vec::new();
        for piece in package.chunks(PIECE) {
            chunks.push(self.patiently(|| client.add_chunk(job, piece.to_vec())).await?);
        }
        let commit_id = ulid(&chunks);
        let input = JobAddInput { name: INPUT.to_owned(), chunks, commit_id, size: package.len() as u64 };
        while !self.attempt.reins.cancel.is_cancelled() {
            let result = self.patiently(|| client.add_input(job, &input)).await?;
            if let Some(error) = result.error {
                return Err(Trouble::Input(error));
            }
            if result.complete {
                break;
            }
            self.pause().await;
        }
        Ok(())
    }

    /// Cancels the job if it is to end: it ends when buildomat says so.
    async fn stop_if_asked(&self, job: &str) -> Result<(), Trouble> {
        let late = |began| self.buildomat.clock.now() >= began + SignedDuration::from_millis(self.record.may_take);
        let stop = match self.state.stop() {
            None if self.attempt.reins.cancel.is_cancelled() => Some(Stop::Cancelled),
            None if self.state.began().is_some_and(late) => Some(Stop::TimedOut),
            known => known,
        };
        let Some(stop) = stop else { return Ok(()) };
        self.state.keep_stop(stop)?;
        Ok(self.patiently(|| self.buildomat.client.cancel(job)).await?)
    }

    /// Listens to what the job prints until there is something else to look at.
    async fn listen(&mut self, job: &str) -> Result<(), Trouble> {
        let cancel = self.attempt.reins.cancel.clone();
        let is_stopping = self.state.stop().is_some();
        let response = match self.buildomat.client.watch(job, self.next).await {
            Ok(response) => response,
            Err(error) if error.will_pass() => {
                self.pause().await;
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
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
        let ends = self.state.began().map(|began| began + SignedDuration::from_millis(self.record.may_take));
        let left = ends.map(|ends| ends.duration_since(self.buildomat.clock.now()));
        left.map_or(LONG, |left| Duration::try_from(left).unwrap_or_default()).clamp(self.buildomat.pause, LONG)
    }

    /// Reads what was printed and not heard.
    async fn read_rest(&mut self, job: &str) -> Result<(), Trouble> {
        loop {
            let from = self.next;
            for event in self.patiently(|| self.buildomat.client.events(job, from)).await? {
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
        self.next = event.seq + 1;
        self.exit_code = event.exit_code().or(self.exit_code);
        let line = event.line();
        let known = usize::try_from(self.known).unwrap_or(usize::MAX).min(line.len());
        self.known -= known as u64;
        match self.attempt.log.write(&line.as_bytes()[known..]) {
            Err(LogError::LimitReached { .. }) if self.state.stop().is_none() => {
                Ok(self.state.keep_stop(Stop::LogLimit)?)
            }
            Err(LogError::LimitReached { .. }) | Ok(()) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn conclude(&self, job: &str, over: &Job) -> Result<AttemptReport, Trouble> {
        let ending = match (self.state.stop(), over.cancelled, over.state.as_str()) {
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
    async fn collect(&self, job: &str) -> Result<AttemptReport, Trouble> {
        let brought = self.state.brought();
        fs::create_dir_all(&brought).map_err(|error| FsError::new("create", &brought, error))?;
        let client = &self.buildomat.client;
        let outputs = self.patiently(|| client.outputs(job)).await?;
        let expected = &self.record.expected;
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

    /// Asks until there is an answer that will not change.
    async fn patiently<T, F>(&self, ask: impl FnMut() -> F) -> Result<T, ApiError>
    where
        F: Future<Output = Result<T, ApiError>>,
    {
        let longest = Duration::from_mins(1);
        let pauses = ExponentialBuilder::default()
            .with_min_delay(self.buildomat.pause)
            .with_max_delay(longest)
            .without_max_times();
        let attempt = self.attempt.id.clone();
        let tell = |error: &ApiError, _| tracing::warn!(attempt, "it is asked again: {}", in_full(error));
        ask.retry(pauses.with_jitter()).when(ApiError::will_pass).notify(tell).await
    }

    /// Waits a moment, unless the build is cancelled, which is not waited for twice.
    async fn pause(&self) {
        tokio::select! {
            () = self.attempt.reins.cancel.cancelled(), if self.state.stop().is_none() => {}
            () = tokio::time::sleep(self.buildomat.pause) => {}
        }
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

/// An id in the form that buildomat wants, the same for the same pieces.
fn ulid(chunks: &[String]) -> String {
    const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let digest = Sha256::digest(chunks.join(" "));
    let mut number = u128::from_be_bytes(digest[..16].try_into().expect("a digest has 32 bytes"));
    let mut id = [b'0'; 26];
    for place in id.iter_mut().rev() {
        *place = DIGITS[usize::try_from(number % 32).expect("a digit")];
        number /= 32;
    }
    String::from_utf8(id.into()).expect("digits are text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_128_bits_in_26_digits_and_is_that_of_its_pieces() {
        let id = ulid(&["01H".to_owned(), "01J".to_owned()]);
        assert_eq!(id, ulid(&["01H".to_owned(), "01J".to_owned()]));
        assert_ne!(id, ulid(&["01J".to_owned(), "01H".to_owned()]));
        assert!(id.len() == 26 && id.as_bytes()[0] <= b'7', "{id}");
    }
}
