//! Tells a forge by statuses beside commits how builds stand and what is said of proposals, from the outbox.
//!
//! An entry says what a status is about ([`crate::store::statuses`]); what it says follows from the record at the moment
//! that it is told. One at a time is told for a repository, so nothing older is told after something newer.

use std::time::Duration;

use anyhow::Result;
use jiff::{SignedDuration, Timestamp};

use super::run::Runner;
use super::tend::{Hosted, rest};
use crate::domain::name::{Oid, PkgBase};
use crate::domain::review::proposal::trial;
use crate::domain::review::status::{GATE, TOGETHER, TRIAL, Told, context, of_build, together};
use crate::domain::review::{Stage, Status, Thread, Vote};
use crate::forge::{ForgeError, Patience};
use crate::store::StoreError;
use crate::store::outbox::Entry;
use crate::store::statuses::{KIND, Subject, ToldBuild};

/// What the comment below a proposal is known by.
const COMMENT: &str = "proposal";
/// How often one that does not fit to what is there is tried.
const MOST_CONFLICTS: u32 = 5;
/// The longest pause between two looks: a clock that is set must not silence anything for long.
const LONGEST: Duration = Duration::from_secs(30);

/// Why something was not told.
#[derive(Debug, thiserror::Error)]
enum Untold {
    #[error(transparent)]
    Forge(#[from] ForgeError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Runner {
    /// Whether anybody is told anything.
    #[must_use]
    pub const fn tells(&self) -> bool {
        self.hosted.is_some()
    }

    /// Tells what is due, oldest first, until nothing is, or the forge has to be left alone. How long until the next
    /// look at the latest.
    ///
    /// # Errors
    /// If the record cannot be used.
    pub async fn tell(&self) -> Result<Duration> {
        let Some(hosted) = &self.hosted else { return Ok(LONGEST) };
        let open = self.store.outbox_open(&self.site.name, KIND).await?;
        if open.is_empty() {
            return Ok(LONGEST);
        }
        let _turn = self.telling.take().await?;
        let (mut next, mut patience) = (None, Patience::default());
        // Whoever had the turn before may have told some.
        for entry in self.store.outbox_open(&self.site.name, KIND).await? {
            let now = self.clock.now();
            if let Some(due) = entry.not_before.filter(|due| *due > now) {
                next = Some(next.map_or(due, |next: Timestamp| next.min(due)));
                continue;
            }
            if let Some(rest) = self.tell_one(hosted, &entry, &mut patience).await? {
                return Ok(pause(rest));
            }
        }
        let now = self.clock.now();
        Ok(next.map_or(LONGEST, |next| pause(next.duration_since(now))))
    }

    /// Tells one. How long the forge has to be left alone, if it has to be.
    async fn tell_one(
        &self,
        hosted: &Hosted,
        entry: &Entry,
        patience: &mut Patience,
    ) -> Result<Option<SignedDuration>> {
        let Ok(subject) = serde_json::from_value::<Subject>(entry.entry.payload.clone()) else {
            tracing::error!(entry = entry.id, "an entry of the outbox cannot be read");
            self.store.outbox_drop(entry.id).await?;
            return Ok(None);
        };
        match self.tell_about(hosted, &subject).await {
            Ok(()) => {
                patience.answered();
                fail::fail_point!("statuses.told", |_| crate::sys::signal::die());
                self.store.outbox_drop(entry.id).await?;
                Ok(None)
            }
            Err(Untold::Store(error)) => Err(error.into()),
            Err(Untold::Forge(error)) => {
                let is_away = patience.ends_with(&error);
                self.not_told(entry, &subject, &error, is_away).await
            }
        }
    }

    /// What becomes of an entry that could not be told. How long the forge has to be left alone, if it has to be.
    async fn not_told(
        &self,
        entry: &Entry,
        subject: &Subject,
        error: &ForgeError,
        is_away: bool,
    ) -> Result<Option<SignedDuration>> {
        let (now, said) = (self.clock.now(), error.to_string());
        match error {
            ForgeError::Limited { .. } | ForgeError::Unreachable { .. } if is_away => {
                tracing::warn!(repository = self.site.name, error = said, "statuses are told later");
                let pause = rest(entry.attempts + 1, error);
                let until = now.checked_add(pause).unwrap_or(Timestamp::MAX);
                self.store.outbox_rest(&self.site.name, KIND, entry.id, &said, until).await?;
                return Ok(Some(pause));
            }
            // It may be this one alone that cannot be told.
            ForgeError::Limited { .. } | ForgeError::Unreachable { .. } => {
                tracing::warn!(?subject, error = said, "a status is told later");
                self.store.outbox_failed(entry.id, &said, now).await?;
            }
            ForgeError::Conflict { .. } if entry.attempts < MOST_CONFLICTS => {
                self.store.outbox_failed(entry.id, &said, now).await?;
            }
            ForgeError::Conflict { .. } | ForgeError::Refused { .. } | ForgeError::Missing { .. } => {
                let hint = error.hint().unwrap_or_default();
                tracing::error!(?subject, error = said, hint, "a status is not told");
                self.store.outbox_drop(entry.id).await?;
            }
        }
        Ok(None)
    }

    async fn tell_about(&self, hosted: &Hosted, subject: &Subject) -> Result<(), Untold> {
        match subject {
            Subject::Build { commit, pkgbase } => {
                let builds = self.told(*commit, Told::Each, Some(pkgbase.clone())).await?;
                let Some(build) = builds.last() else { return Ok(()) };
                let (vote, summary) = of_build(build.state, build.message.as_deref());
                let page = self.page(&format!("builds/{}", build.id));
                let line = line(*commit, context(pkgbase), vote, summary);
                Ok(hosted.forge.tell(Status { url: page, pipeline: build.pipeline, ..line }).await?)
            }
            Subject::Builds { commit } => {
                let builds = self.told(*commit, Told::Together, None).await?;
                if builds.is_empty() {
                    return Ok(());
                }
                let pipeline = builds.iter().find_map(|build| build.pipeline);
                let states: Vec<_> = builds.into_iter().map(|build| (build.pkgbase, build.state)).collect();
                let (vote, summary) = together(&states);
                let line = line(*commit, TOGETHER.to_owned(), vote, summary);
                Ok(hosted.forge.tell(Status { url: self.page("builds"), pipeline, ..line }).await?)
            }
            Subject::Gate { number, head } => self.tell_judgement(hosted, *number, *head).await,
            Subject::Trial { number, head } => self.tell_trial(hosted, *number, *head).await,
        }
    }

    async fn told(&self, commit: Oid, told: Told, pkgbase: Option<PkgBase>) -> Result<Vec<ToldBuild>, StoreError> {
        self.store.told_builds(&self.site.name, commit, told, pkgbase).await
    }

    async fn tell_judgement(&self, hosted: &Hosted, number: u64, head: Oid) -> Result<(), Untold> {
        let Some((judgement, commented)) = self.store.judgement(&self.site.name, number).await? else { return Ok(()) };
        let Some(vote) = judgement.vote.filter(|_| judgement.head == head) else { return Ok(()) };
        if !is_current(hosted, number, head).await? {
            return Ok(());
        }
        hosted.forge.tell(line(head, GATE.to_owned(), vote, judgement.summary.clone())).await?;
        let text = match judgement.comment {
            Some(text) => text,
            // What was said of an earlier commit must not go on standing there.
            None if commented => format!("{}.\n\nThis is about the commit `{}`.", judgement.summary, head.short()),
            None => return Ok(()),
        };
        hosted.forge.say(Thread::Review(number), COMMENT.to_owned(), text).await?;
        Ok(self.store.commented(&self.site.name, number).await?)
    }

    async fn tell_trial(&self, hosted: &Hosted, number: u64, head: Oid) -> Result<(), Untold> {
        let trials = self.store.trials_of(&self.site.name, number, head).await?;
        if trials.is_empty() || !is_current(hosted, number, head).await? {
            return Ok(());
        }
        let parts: Vec<trial::Part> = trials.into_iter().map(|trial| trial.part).collect();
        let (vote, summary) = trial::vote(&parts);
        Ok(hosted.forge.tell(line(head, TRIAL.to_owned(), vote, summary)).await?)
    }
}

/// Whether that is what is proposed, now: nothing is said of a commit that was replaced meanwhile.
async fn is_current(hosted: &Hosted, number: u64, head: Oid) -> Result<bool, ForgeError> {
    match hosted.forge.review(number).await {
        Ok(seen) => Ok(seen.stage == Stage::Open && seen.head == head),
        Err(ForgeError::Missing { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

fn line(commit: Oid, context: String, vote: Vote, summary: String) -> Status {
    Status { commit, context, vote, summary, url: None, pipeline: None }
}

fn pause(rest: SignedDuration) -> Duration {
    Duration::try_from(rest).unwrap_or_default().min(LONGEST)
}

/// The number of a pipeline, if it is for the commit of a wave: GitLab takes no status on any other commit into it.
pub(super) fn pipeline_of(pipeline: Option<(u64, Oid)>, commit: Option<Oid>) -> Option<u64> {
    pipeline.filter(|(_, its)| commit == Some(*its)).map(|(number, _)| number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wave_is_of_a_pipeline_only_at_its_commit() {
        let [its, other] = [1, 2].map(|byte| Oid::from_bytes([byte; 20]));
        assert_eq!(pipeline_of(Some((4711, its)), Some(its)), Some(4711));
        assert_eq!(pipeline_of(Some((4711, its)), Some(other)), None);
        assert_eq!((pipeline_of(Some((4711, its)), None), pipeline_of(None, Some(its))), (None, None));
    }
}
