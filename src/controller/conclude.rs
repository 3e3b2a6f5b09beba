//! The end of a build: what it made is published, and how it ended is recorded, both as soon as there is room
//! on the disk. A build that is over is not lost for that.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::{Context as _, Result};

use super::apply::folder_at;
use super::dispatch::{Dispatcher, ROOM_PAUSE};
use super::linkage;
use super::order::{expected_version, facts, repository_settings, settings_in};
use super::site::Site;
use crate::domain::build::Outcome;
use crate::domain::finding::Finding;
use crate::domain::library;
use crate::domain::library::soname::Soname;
use crate::domain::name::PkgBase;
use crate::domain::policy::RepositorySettings;
use crate::executor::kept::blocking;
use crate::executor::{AttemptReport, Ending, Handle};
use crate::git::Repository;
use crate::publish::outlets::Outlets;
use crate::publish::{Expected, Generation, PublishError, Publisher};
use crate::source::libraries::database_name;
use crate::store::StoreError;
use crate::store::attempts::{AttemptEnd, AttemptEnding, Finished};
use crate::store::builds::Build;
use crate::telemetry::in_full;

/// What cannot be published is tried again after so many looks whether it is still wanted, at most.
const MOST_LOOKS: u32 = 32;
/// What may be for the packages themselves is not tried for ever: each try keeps others from publishing.
const MOST_PUZZLED: u32 = 8;
/// Findings that are kept with a build.
const MOST_TOLD: usize = 40;

impl Dispatcher {
    /// Waits for the end of a build, publishes what it made and records how it ended.
    pub(super) async fn see_through(&self, build: &Build, handle: &Handle) -> Result<()> {
        let executor = &self.parts.executor;
        let report = match executor.started(handle).await {
            Ok(()) => {
                let recorded = self.parts.store.attempt_started(&handle.attempt, self.parts.clock.now()).await;
                if let Err(error) = recorded {
                    tracing::warn!(error = error.to_string(), "the beginning of a build could not be recorded");
                }
                tracing::info!(package = build.pkgbase.as_str(), "a build began");
                executor.finished(handle).await
            }
            Err(error) => Err(error),
        };
        let end = match report {
            Ok(report) => self.conclude(build, &handle.attempt, report).await,
            Err(error) => Some(end(AttemptEnding::Infrastructure, None, error.to_string())),
        };
        let Some(end) = end else { return Ok(()) };
        let end = self.weigh(build, end);
        let log_length = self.parts.logs.position(&handle.attempt).map_or(0, |position| position.len);
        let reason = (!matches!(end.ending, AttemptEnding::Done(_))).then(|| end.message.clone());
        let finished = self.record(&handle.attempt, AttemptEnd { log_length, ..end }).await?;
        let (package, state) = (build.pkgbase.as_str(), finished.state.as_str());
        if let Some(reason) = reason {
            tracing::warn!(package, state, reason, "a build ended without a result");
        } else {
            tracing::info!(package, state, "a build ended");
        }
        if let Err(error) = executor.discard(handle).await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(package, attempt = handle.attempt, error, "what a build left stays until the next start");
        }
        Ok(())
    }

    /// Looks at the end of a build beside those of others: what all of them are lost for counts against none.
    pub(super) fn weigh(&self, build: &Build, mut end: AttemptEnd) -> AttemptEnd {
        let (now, mut outage) = (self.parts.clock.now(), self.outage.lock().expect("nobody panics with it"));
        let was_on = outage.is_on();
        match end.ending {
            AttemptEnding::Infrastructure => {
                if outage.lost(build.id, &build.repository, build.pkgbase.as_str(), now) {
                    end.ending = AttemptEnding::Outage;
                    end.message.push_str("; builds of other packages end like this, so it does not count");
                }
                if !was_on && outage.is_on() {
                    let reason = end.message.as_str();
                    tracing::error!(
                        reason,
                        "builds are lost one after the other: one at a time is tried until one ends by itself"
                    );
                }
            }
            AttemptEnding::Done(Outcome::Cancelled) => outage.stopped(build.id),
            AttemptEnding::Done(_) if outage.over() => tracing::info!("builds end by themselves again"),
            AttemptEnding::Outage | AttemptEnding::Interrupted | AttemptEnding::Done(_) => {}
        }
        end
    }

    /// Records the end of an attempt, as soon as it can be written.
    pub(super) async fn record(&self, attempt: &str, end: AttemptEnd) -> Result<Finished, StoreError> {
        let finish = || self.parts.store.finish_attempt(attempt, end.clone(), self.parts.clock.now());
        self.until_recorded(attempt, finish).await
    }

    /// Writes the end of an attempt, as soon as it can be written: a disk may be full, or fail for a while. If the program
    /// ends before, the next start finds the attempt open and asks the executor again.
    pub(super) async fn until_recorded<T, F>(&self, attempt: &str, write: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut told = false;
        loop {
            match write().await {
                Err(error) if error.may_pass() && !self.ending.load(Ordering::Relaxed) => {
                    if !told {
                        tracing::error!(attempt, error = error.to_string(), "the end of a build waits to be recorded");
                    }
                    told = true;
                    tokio::time::sleep(ROOM_PAUSE).await;
                }
                other => return other,
            }
        }
    }

    /// How an attempt ended; `None` if that is left to the next process.
    async fn conclude(&self, build: &Build, attempt: &str, report: AttemptReport) -> Option<AttemptEnd> {
        let AttemptReport { ending, artefacts, exit_code, message } = report;
        let ending = match ending {
            Ending::Infrastructure => AttemptEnding::Infrastructure,
            Ending::Interrupted => AttemptEnding::Interrupted,
            Ending::Done(Outcome::Cancelled) if self.ending.load(Ordering::Relaxed) => {
                let message = "the controller was stopped during this build".to_owned();
                return Some(end(AttemptEnding::Interrupted, exit_code, message));
            }
            Ending::Done(outcome) => AttemptEnding::Done(outcome),
        };
        let ours = !self.parts.executor.publishes();
        let outlets = self.parts.outlets.get(&build.repository).filter(|_| ours);
        let (AttemptEnding::Done(Outcome::Succeeded), Some(outlets)) = (ending, outlets) else {
            return Some(end(ending, exit_code, message));
        };
        let paths: Vec<_> = artefacts.into_iter().map(|artefact| artefact.path).collect();
        let expected = match self.expected(build).await {
            Ok(expected) => expected,
            Err(error) => return Some(end(AttemptEnding::Infrastructure, exit_code, format!("{error:#}"))),
        };
        match self.publish(build, &outlets.entrance(&build.pkgbase), &paths, &expected).await {
            Ok(generation) => {
                if let Err(error) = outlets.remove_elsewhere(&build.pkgbase).await {
                    let (package, error) = (build.pkgbase.as_str(), &error as &dyn std::error::Error);
                    tracing::warn!(package, error, "it is still published where it went before");
                }
                self.note_linkage(&build.repository, outlets, &build.pkgbase).await;
                Some(end(ending, exit_code, with_findings(message, &generation.findings)))
            }
            Err(PublishError::Unwanted(_)) => {
                let message = "it was to stop, so what it made is not published".to_owned();
                Some(end(AttemptEnding::Done(Outcome::Cancelled), exit_code, message))
            }
            Err(error) if error.is_the_builds_fault() => {
                if matches!(error, PublishError::NotTheBuilds { .. }) {
                    self.distrust(build, &error.to_string()).await;
                }
                self.tell_unpublished(attempt, &error);
                Some(end(AttemptEnding::Done(Outcome::Failed), exit_code, error.to_string()))
            }
            Err(_) if self.ending.load(Ordering::Relaxed) => None,
            Err(error) => {
                if error.asks_for_another_build() {
                    self.tell_unpublished(attempt, &error);
                }
                let message = format!("publishing: {:#}", anyhow::Error::from(error));
                Some(end(AttemptEnding::Infrastructure, exit_code, message))
            }
        }
    }

    /// Says why nothing is published in the log of a build, which ends as if all were well.
    fn tell_unpublished(&self, attempt: &str, why: &PublishError) {
        if let Err(error) = self.parts.logs.amend(attempt, &format!("not published: {}", in_full(why))) {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(attempt, error, "the log does not say that a build is not published");
        }
    }

    /// Has nobody find what a package kept whose build made what it was not to make: whoever did that may have left more.
    async fn distrust(&self, build: &Build, why: &str) {
        let (caches, repository, pkgbase) =
            (self.parts.caches.clone(), build.repository.clone(), build.pkgbase.clone());
        let why = format!("build {}: {why}", build.id);
        let condemned = blocking(move || caches.condemn(&repository, &pkgbase, &why)).await;
        let package = build.pkgbase.as_str();
        match condemned {
            Ok(archives) => {
                tracing::warn!(package, archives, "what its builds kept for the next one is not found any more");
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(package, error, "what its builds kept for the next one could not be condemned");
            }
        }
    }

    /// Records which libraries what was published of a package needs and has, and has users of one that is gone
    /// looked for at once. If that fails, the next schedule does it.
    pub(super) async fn note_linkage(&self, repository: &str, outlets: &Outlets, pkgbase: &PkgBase) {
        match self.lost_libraries(repository, outlets, pkgbase).await {
            Ok(lost) if lost.is_empty() => {}
            Ok(lost) => {
                let lost: Vec<String> = lost.iter().map(ToString::to_string).collect();
                tracing::info!(repository, gone = ?lost, "packages have to be rebuilt, so the next schedule runs at once");
                self.parts.wakes.get(repository).inspect(|wake| wake.notify_one());
            }
            Err(error) => {
                let package = pkgbase.as_str();
                tracing::warn!(
                    package,
                    error = format!("{error:#}"),
                    "which libraries it needs is read in the next run"
                );
            }
        }
    }

    async fn lost_libraries(&self, repository: &str, outlets: &Outlets, pkgbase: &PkgBase) -> Result<BTreeSet<Soname>> {
        let (store, now) = (&self.parts.store, self.parts.clock.now());
        let before = linkage::recorded(store, repository, false).await?;
        linkage::survey(outlets, store, repository, Some(pkgbase), now).await?;
        Ok(library::lost(&before, &linkage::recorded(store, repository, false).await?))
    }

    /// Publishes what a build made. A finished build is too dear to be thrown away: whatever keeps us from publishing
    /// it and is not its own fault is waited for, until it is there or nobody wants it any more; but not for the time that
    /// a wrong clock has written into its files.
    pub(super) async fn publish(
        &self,
        build: &Build,
        publisher: &Publisher,
        paths: &[PathBuf],
        expected: &Expected,
    ) -> Result<Generation, PublishError> {
        let (mut told, mut looks, mut puzzled) = (String::new(), 1, 0);
        loop {
            let error = match publisher.publish_if(paths, expected, self.wanted(build)).await {
                Err(error) if error.may_pass() => error,
                // Whether it is wanted could not be read.
                Err(error @ PublishError::Unwanted(_)) if !self.is_unwanted(build).await => error,
                other => return other,
            };
            if told != error.to_string() {
                {
                    let (package, error) = (build.pkgbase.as_str(), &error as &dyn std::error::Error);
                    tracing::error!(package, error, "what was built waits to be published");
                }
                self.tell_waiting(build, &error).await;
            }
            told = error.to_string();
            puzzled += u32::from(error.is_puzzling());
            if puzzled >= MOST_PUZZLED {
                return Err(error);
            }
            for _ in 0..looks {
                // What is gone has to be built again.
                if self.is_unwanted(build).await || !paths.iter().all(|path| path.exists()) {
                    return Err(error);
                }
                tokio::time::sleep(ROOM_PAUSE).await;
            }
            looks = if error.has_to_wait() { 1 } else { MOST_LOOKS.min(2 * looks) };
        }
    }

    /// Says, whenever it is asked, whether a build was not to stop: not by who may ask only from a thread of his own.
    fn wanted(&self, build: &Build) -> impl Fn() -> bool + Send + 'static {
        let (store, id, runtime) = (self.parts.store.clone(), build.id, tokio::runtime::Handle::current());
        move || runtime.block_on(store.to_stop()).is_ok_and(|builds| !builds.contains(&id))
    }

    /// Has whoever looks at the build see why it does not end.
    async fn tell_waiting(&self, build: &Build, reason: &PublishError) {
        let note = format!("built, and waits to be published: {reason}");
        if let Err(error) = self.parts.store.note_build(build.id, note).await {
            tracing::warn!(error = error.to_string(), "why a build waits to be published is not on record");
        }
    }

    /// Whether nobody waits for what a build made, or nobody will be there to publish it.
    async fn is_unwanted(&self, build: &Build) -> bool {
        self.ending.load(Ordering::Relaxed)
            || self.parts.store.to_stop().await.is_ok_and(|builds| builds.contains(&build.id))
    }

    async fn expected(&self, build: &Build) -> Result<Expected> {
        let site = self.parts.sites.get(&build.repository).context("the repository is not configured any more")?;
        let (commit, pkgbase) = (build.commit, build.pkgbase.clone());
        let read = move |git: &Repository| Ok((folder_at(git, commit, &pkgbase)?, repository_settings(git, commit)?));
        let (files, common) = site.with_git(read).await?;
        self.name_publisher(&build.repository, &common);
        let settings = settings_in(&files);
        let version = expected_version(&files, &settings);
        let members = facts(&files)
            .map(|facts| facts.members.into_iter().map(|member| member.name).collect())
            .unwrap_or_default();
        Ok(Expected {
            pkgbase: build.pkgbase.clone(),
            version,
            arch: build.arch.clone(),
            members,
            build: Some(build.id),
            allow_prohibited: settings.allow_prohibited,
            official: Arc::new(self.official_names(&build.repository, site, &common).await),
        })
    }
}

impl Dispatcher {
    /// Names of packages in the databases of `CI_LIB_DB` as they were read last, but for those in what we publish
    /// ourselves: Chaotic's lists name that, too.
    async fn official_names(&self, repository: &str, site: &Site, common: &RepositorySettings) -> BTreeSet<String> {
        let outlets = self.parts.outlets.get(repository);
        let own: BTreeSet<&str> =
            outlets.iter().flat_map(|outlets| outlets.all()).filter_map(Publisher::name).collect();
        let others = common.library_databases.iter().filter(|url| !own.contains(database_name(url)));
        site.library_databases().known_names(others).await
    }
}

/// What was said of a build, and of the files that it made.
fn with_findings(message: String, findings: &[Finding]) -> String {
    let told = findings.iter().take(MOST_TOLD).map(ToString::to_string);
    let mut lines: Vec<String> = Some(message).into_iter().filter(|text| !text.is_empty()).chain(told).collect();
    if findings.len() > MOST_TOLD {
        lines.push(format!("and {} more warnings", findings.len() - MOST_TOLD));
    }
    lines.join("\n")
}

/// An end without a log.
pub(super) fn end(ending: AttemptEnding, exit_code: Option<i32>, message: String) -> AttemptEnd {
    AttemptEnd { ending, exit_code, message, log_length: 0 }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use rusqlite::ffi;

    use super::*;

    fn failing(code: i32) -> StoreError {
        StoreError::Sqlite(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None))
    }

    /// How often it is written until it is answered, while the record answers so.
    async fn written(answers: Vec<Result<(), StoreError>>) -> (usize, Result<(), StoreError>) {
        let dir = tempfile::tempdir().unwrap();
        let dispatcher = super::super::dispatch::tests::idle(dir.path());
        let (count, answers) = (answers.len(), RefCell::new(answers.into_iter()));
        let write = || std::future::ready(answers.borrow_mut().next().expect("no more is asked"));
        let answered = dispatcher.until_recorded("an attempt", write).await;
        (count - answers.borrow().len(), answered)
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_a_build_is_on_record_as_soon_as_a_disk_that_fails_works_again() {
        let passing = [ffi::SQLITE_IOERR_WRITE, ffi::SQLITE_BUSY, ffi::SQLITE_READONLY, ffi::SQLITE_FULL];
        let answers = passing.into_iter().map(|code| Err(failing(code))).chain([Ok(()), Ok(())]).collect();
        let (asked, answered) = written(answers).await;
        assert!(asked == 5 && answered.is_ok(), "{asked} {answered:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_will_never_be_recorded_is_told_at_once() {
        let (asked, answered) = written(vec![Err(failing(ffi::SQLITE_CONSTRAINT)), Ok(())]).await;
        assert!(asked == 1 && answered.is_err(), "{asked} {answered:?}");
    }
}
