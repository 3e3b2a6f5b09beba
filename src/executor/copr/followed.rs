//! Follows one attempt from wherever it is to its end, which it reports.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::record::{Asked, Got, Record, Task, Wish, taken};
use super::tailer::{SharedSink, locked};
use super::watch::{Control, Watched};
use super::{Copr, CoprError};
use crate::domain::build::Outcome;
use crate::domain::copr::State;
use crate::executor::api::ApiError;
use crate::executor::tracked::Reins;
use crate::executor::{AttemptReport, Ending};
use crate::logstore::LogWriter;
use crate::sys::fs::FsError;
use crate::telemetry::in_full;

/// So often a build is looked for whose answer did not come: COPR may take its time over it.
const LOOKS: u32 = 3;
/// Pauses grow to so many times the usual.
const LONGEST_PAUSE: u32 = 30;
/// How long COPR may be away until a build that is to stop, and may be there, counts as stopped without its word.
const STOPPING: Duration = Duration::from_mins(10);

/// An attempt that is followed.
pub struct Followed<'a> {
    pub copr: &'a Copr,
    pub task: Task,
    pub wish: Wish,
    pub reins: &'a Reins,
}

/// Why there is no build to follow.
#[derive(Debug, thiserror::Error)]
enum NoBuild {
    #[error("the build was cancelled before COPR was asked")]
    Cancelled,
    #[error("{}", in_full(.0))]
    Copr(#[from] CoprError),
    #[error("{0}")]
    Away(String),
    #[error("{}; it was looked for, and is not there", in_full(.0))]
    NotMade(CoprError),
    #[error(transparent)]
    Fs(#[from] FsError),
}

impl Followed<'_> {
    /// Follows it to its end.
    pub async fn see_through(&self, log: &mut LogWriter) -> AttemptReport {
        let record = Arc::new(Mutex::new(Record::open(&self.task, log, self.reins)));
        let sink: SharedSink<'_> = record.clone();
        let report = self.observe(&sink).await;
        if let Err(error) = record.lock().expect("nobody panics while writing logs").settle() {
            tracing::warn!("the end of a log is not written: {error}");
        }
        report
    }

    async fn observe(&self, sink: &SharedSink<'_>) -> AttemptReport {
        let id = match self.build(sink).await {
            Ok(id) => id,
            Err(none @ NoBuild::Cancelled) => {
                return AttemptReport::ended(Ending::Done(Outcome::Cancelled), none.to_string());
            }
            Err(error) => return AttemptReport::lost(error.to_string()),
        };
        let control = Control::default();
        let watched = tokio::select! {
            watched = self.copr.watcher.watch(id, sink, &control) => watched,
            () = self.cancel_when_asked(id, sink, &control) => Ok(Watched::Stopped),
        };
        let page = self.copr.watcher.client.page(id);
        match watched {
            Ok(Watched::Ended(state)) => AttemptReport::ended(Ending::Done(outcome(state)), self.message(state, &page)),
            Ok(Watched::Stopped) => AttemptReport::lost(format!("nobody follows {page} any more")),
            Err(error) if error.is_gone() => {
                AttemptReport::lost(format!("COPR does not know build {id} any more; somebody deleted it"))
            }
            Err(error) => AttemptReport::lost(in_full(&error)),
        }
    }

    fn message(&self, state: State, page: &str) -> String {
        match state {
            State::Canceled if self.is_to_stop() => "the build was cancelled".to_owned(),
            State::Canceled => format!("somebody cancelled it at COPR: {page}"),
            State::Skipped => format!("COPR has built it before: {page}"),
            state if state.is_good() => String::new(),
            _ => format!("it failed at COPR: {page}"),
        }
    }

    fn is_to_stop(&self) -> bool {
        self.reins.cancel.is_cancelled() || self.task.is_to_stop()
    }

    /// The number of the build: that which is known, that which is found, or that of a new one. Whoever waits for
    /// COPR lets others have their turn.
    async fn build(&self, sink: &SharedSink<'_>) -> Result<u64, NoBuild> {
        if let Some(got) = self.task.got() {
            return Ok(got.id);
        }
        let (since, mut failures) = (self.copr.watcher.clock.now(), 0);
        loop {
            let turn = tokio::select! {
                turn = self.copr.asking.lock() => turn,
                () = self.given_back() => return Err(NoBuild::Cancelled),
            };
            let asked = self.ask(sink).await;
            drop(turn);
            let (reason, after) = match asked {
                Err(NoBuild::Copr(error)) if error.is_passing() => {
                    (in_full(&error), error.api().and_then(ApiError::after))
                }
                // If it is there and that could not be written down, it is found.
                Err(NoBuild::Fs(error)) => (in_full(&error), None),
                asked => return asked,
            };
            let (now, patience) = (self.copr.watcher.clock.now(), self.copr.watcher.pacing.lost_after);
            let stopping = self.reins.cancel.is_cancelled();
            if is_over(now, since, if stopping { STOPPING.min(patience) } else { patience }) {
                return Err(if stopping { NoBuild::Cancelled } else { NoBuild::Away(reason) });
            }
            if failures == 0 {
                note(sink, &format!("{reason}; it is asked again"));
            }
            failures += 1;
            tokio::select! {
                () = tokio::time::sleep(self.pause_after(after, failures)) => {}
                // Then it is looked for at once.
                () = self.reins.cancel.cancelled(), if !stopping => {}
            }
        }
    }

    /// Until somebody wants it to stop, if nothing of it can be at COPR.
    async fn given_back(&self) {
        if self.task.asked().is_some() {
            std::future::pending::<()>().await;
        }
        self.reins.cancel.cancelled().await;
    }

    /// Asks for it once, unless it is there.
    async fn ask(&self, sink: &SharedSink<'_>) -> Result<u64, NoBuild> {
        if let Some(asked) = self.task.asked()
            && let Some(id) = self.look_for_ours(asked).await?
        {
            return self.have(id, sink);
        }
        if self.is_to_stop() {
            return Err(NoBuild::Cancelled);
        }
        let project = &self.copr.config.project;
        let client = &self.copr.watcher.client;
        let after = client.last_build(project).await?;
        // First, so that a build whose answer is lost is looked for.
        self.task.set_asked(Asked { after })?;
        match client.submit_once(project, &self.wish.source, &self.wish.options).await {
            Ok(ids) => self.have(ids[0], sink),
            Err(error) if error.may_have_worked() => {
                note(sink, &format!("{}; it is looked for", in_full(&error)));
                match self.look_for_ours(Asked { after }).await? {
                    Some(id) => self.have(id, sink),
                    None => Err(NoBuild::NotMade(error)),
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    fn have(&self, id: u64, sink: &SharedSink<'_>) -> Result<u64, NoBuild> {
        self.task.set_got(Got { id })?;
        note(sink, &format!("build {id}: {}", self.copr.watcher.client.page(id)));
        Ok(id)
    }

    /// Looks for a build that COPR was asked for, some times before it counts as not there.
    async fn look_for_ours(&self, asked: Asked) -> Result<Option<u64>, CoprError> {
        for look in 0..LOOKS {
            if look > 0 {
                tokio::time::sleep(self.copr.config.pacing.status).await;
            }
            let found = self.ours(asked).await?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    async fn ours(&self, asked: Asked) -> Result<Option<u64>, CoprError> {
        let (client, config) = (&self.copr.watcher.client, &self.copr.config);
        let taken = taken(&config.work_dir);
        let dirname = self.wish.options.dirname.as_ref().unwrap_or(&config.project.name);
        let mut builds = client.builds_since(&config.project, asked.after).await?;
        builds.reverse();
        for build in builds {
            let is_mine = client.username().is_none_or(|me| build.submitter.as_deref() == Some(me));
            let is_here = build.project_dirname.as_ref().is_none_or(|there| there == dirname);
            if is_mine && is_here && !taken.contains(&build.id) {
                match client.source_config(build.id).await {
                    Ok(config) if self.wish.source.made(&config) => return Ok(Some(build.id)),
                    Ok(_) => {}
                    Err(error) if error.is_gone() => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(None)
    }

    /// Asks until there is an answer, or for too long.
    async fn insist<T, F>(&self, sink: &SharedSink<'_>, ask: impl Fn() -> F) -> Result<T, CoprError>
    where
        F: Future<Output = Result<T, CoprError>>,
    {
        let (watcher, mut failures) = (&self.copr.watcher, 0);
        let since = watcher.clock.now();
        loop {
            match ask().await {
                Err(error) if error.is_passing() && !is_over(watcher.clock.now(), since, watcher.pacing.lost_after) => {
                    if failures == 0 {
                        note(sink, &format!("{}; it is asked again", in_full(&error)));
                    }
                    failures += 1;
                    tokio::time::sleep(self.pause_after(error.api().and_then(ApiError::after), failures)).await;
                }
                answer => return answer,
            }
        }
    }

    /// How long to wait after so many questions without an answer.
    fn pause_after(&self, after: Option<Duration>, failures: u32) -> Duration {
        after.unwrap_or_default().max(self.copr.watcher.pacing.status * failures.min(LONGEST_PAUSE))
    }

    /// Cancels the build once somebody wants that; its end is told by COPR, so that this has none.
    async fn cancel_when_asked(&self, id: u64, sink: &SharedSink<'_>, control: &Control) {
        if !self.task.is_to_stop() {
            self.reins.cancel.cancelled().await;
            if let Err(error) = self.task.ask_to_stop() {
                tracing::warn!(error = &error as &dyn std::error::Error, "that a build has to stop is not kept");
            }
        }
        if let Err(error) = self.insist(sink, || self.copr.watcher.client.cancel(id)).await {
            note(sink, &format!("it cannot be cancelled: {}", in_full(&error)));
        }
        control.look.notify_one();
        std::future::pending::<()>().await;
    }
}

fn is_over(now: Timestamp, since: Timestamp, limit: Duration) -> bool {
    now.duration_since(since) >= SignedDuration::try_from(limit).unwrap_or(SignedDuration::MAX)
}

fn note(sink: &SharedSink<'_>, text: &str) {
    if let Err(error) = locked(sink).note(text) {
        tracing::debug!("not written: {error}");
    }
}

/// What the end of a build at COPR means here.
const fn outcome(state: State) -> Outcome {
    match state {
        State::Succeeded | State::Forked => Outcome::Succeeded,
        State::Skipped => Outcome::AlreadyBuilt,
        State::Canceled => Outcome::Cancelled,
        _ => Outcome::Failed,
    }
}
