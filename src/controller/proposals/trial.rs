//! Test builds of what people propose, in the slots that builds leave free.
//!
//! They are isolated from builds: what they make goes into a repository of the proposal's commit, from which only other
//! packages of the same proposal are built, and which goes with the last of them. They read what is published, and never
//! write there; what they keep is found by test builds of the same proposal alone.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::{Context as _, Result};

use crate::builder::pacman::{PackageRepository, Server};
use crate::builder::workspace::remove_all;
use crate::config;
use crate::controller::apply::folder_at;
use crate::controller::dispatch::{Dispatcher, not_taken};
use crate::controller::order::{facts, settings_in};
use crate::domain::build::Outcome;
use crate::domain::cache::policy::RefClass;
use crate::domain::chaotic::Route;
use crate::domain::name::PkgName;
use crate::domain::policy::RepositorySettings;
use crate::executor::kept::blocking;
use crate::executor::{AttemptReport, BuildOrder, Ending, Handle};
use crate::git::Repository;
use crate::publish::{Expected, Publisher};
use crate::store::attempts::AttemptEnding;
use crate::store::trials::Trial;
use crate::sys::fs::FsError;

/// What the repository of a proposal is called in pacman's configuration.
const NAME: &str = "pkgwarden-proposal";
/// Its folder, in that of the proposal's commit.
const REPOSITORY: &str = "repository";

impl Dispatcher {
    /// Takes up the test builds that an earlier process began.
    pub(in crate::controller) fn take_up_trials(self: &Arc<Self>, running: Vec<Trial>) {
        for trial in running {
            let attempt = trial.attempt.clone().unwrap_or_default();
            self.follow_trial(trial, attempt);
        }
    }

    /// Stops test builds that nobody wants any more.
    pub(in crate::controller) async fn stop_trials(&self) -> Result<()> {
        for id in self.parts.store.trials_to_stop().await? {
            let handle = self.trials.lock().expect("nobody panics with it").get(&id).cloned();
            if let Some(handle) = handle {
                self.stop(&handle).await;
            }
        }
        Ok(())
    }

    /// Begins test builds while there are free slots.
    pub(in crate::controller) async fn hand_out_trials(self: &Arc<Self>) -> Result<()> {
        // In an outage a place is for what tells whether it is over.
        while !self.is_outage() && self.free_slots() > 0 {
            let Some((trial, attempt)) = self.parts.store.begin_trial(self.parts.clock.now()).await? else { break };
            match self.submit_trial(&trial, &attempt).await {
                Ok(()) => self.follow_trial(trial, attempt),
                Err(error) => {
                    let (ending, message) = not_taken(&error);
                    tracing::error!(proposal = trial.number, package = trial.part.pkgbase.as_str(), "{message}");
                    self.give_up(trial, attempt, ending, message);
                }
            }
        }
        Ok(())
    }

    fn give_up(self: &Arc<Self>, trial: Trial, attempt: String, ending: AttemptEnding, message: String) {
        let this = self.clone();
        self.followers.spawn(async move {
            if let Err(error) = this.end_trial(&trial, &attempt, ending, &message).await {
                let error = format!("{error:#}");
                tracing::error!(attempt, error, "the end of a test build could not be recorded");
            }
        });
    }

    async fn submit_trial(&self, trial: &Trial, attempt: &str) -> Result<()> {
        let order = self.trial_order(trial, attempt).await?;
        self.parts.executor.submit(order).await?;
        Ok(())
    }

    /// As for a build of the proposed commit, but for what is shared with others.
    async fn trial_order(&self, trial: &Trial, attempt: &str) -> Result<BuildOrder> {
        let site = self.site_of(&trial.repository)?;
        let (commit, pkgbase) = (trial.head, trial.part.pkgbase.clone());
        if !site.with_git(move |git| Ok(git.contains(commit))).await? {
            let judged = self.parts.store.judgement(&trial.repository, trial.number).await?;
            let (judgement, _) = judged.context("the proposal is not open any more")?;
            site.fetch_ref(&judgement.fetch).await?;
        }
        let work = move |git: &Repository| Ok((folder_at(git, commit, &pkgbase)?, git.commit_facts(commit)?.time));
        let (files, time) = site.with_git(work).await?;
        let settings = settings_in(&files);
        let overlay = self.overlay(trial).join(REPOSITORY);
        let own = PackageRepository {
            name: NAME.to_owned(),
            server: Server::Directory(overlay),
            sig_level: None,
            keys: None,
        };
        let caches = config::cache::declared(&files, settings.cache_sources);
        let caches = site.policy.caches.plan(caches, RefClass::Proposal(trial.number));
        let caches = self.trusted(caches, &trial.repository, &trial.part.pkgbase).await?;
        Ok(BuildOrder {
            attempt: attempt.to_owned(),
            repository: trial.repository.clone(),
            // No branch there has the commit.
            url: None,
            arch: trial.arch.clone(),
            class: None,
            pkgbase: trial.part.pkgbase.clone(),
            commit,
            proposal: Some(trial.number),
            expected_version: None,
            bump: settings.bump,
            package_repositories: [own].into_iter().chain(self.repositories_for(&trial.repository)).collect(),
            published: Vec::new(),
            timeout: self.limits.borrow().timeout,
            // What is proposed has no say in how long it may hold a place that builds need.
            extra_timeout: 1.0,
            // What a stranger's build leaves is found by test builds of the same proposal, and by nobody else's.
            cache_sources: settings.cache_sources && site.policy.caches.proposals,
            caches,
            allow_prohibited: false,
            source_date_epoch: time.as_second(),
            // What a proposal says of that has no say.
            skip_exit_code: RepositorySettings::default().skip_exit_code,
            route: Route::default(),
            files,
        })
    }

    fn follow_trial(self: &Arc<Self>, trial: Trial, attempt: String) {
        let handle = Handle { executor: self.parts.executor.name().to_owned(), attempt };
        self.trials.lock().expect("nobody panics with it").insert(trial.id, handle.clone());
        let this = self.clone();
        self.followers.spawn(async move {
            if let Err(error) = this.see_trial_through(&trial, &handle).await {
                let error = format!("{error:#}");
                tracing::error!(proposal = trial.number, error, "the end of a test build could not be recorded");
            }
            this.trials.lock().expect("nobody panics with it").remove(&trial.id);
            this.freed.notify_one();
        });
    }

    async fn see_trial_through(&self, trial: &Trial, handle: &Handle) -> Result<()> {
        let (package, proposal) = (trial.part.pkgbase.as_str(), trial.number);
        tracing::info!(package, proposal, "a test build began");
        let (ending, message) = match self.parts.executor.finished(handle).await {
            Ok(report) if self.ending.load(Ordering::Relaxed) && report.ending == Ending::Done(Outcome::Cancelled) => {
                (AttemptEnding::Interrupted, "the controller was stopped during this build".to_owned())
            }
            Ok(report) => self.conclude_trial(trial, report).await,
            Err(error) => (AttemptEnding::Infrastructure, error.to_string()),
        };
        self.end_trial(trial, &handle.attempt, ending, &message).await?;
        tracing::info!(package, proposal, ending = ending.as_str(), "a test build ended");
        self.parts.executor.discard(handle).await?;
        Ok(())
    }

    /// Keeps what was made for other packages of the same proposal.
    async fn conclude_trial(&self, trial: &Trial, report: AttemptReport) -> (AttemptEnding, String) {
        let AttemptReport { ending, artefacts, message, .. } = report;
        let ending = match ending {
            Ending::Infrastructure => AttemptEnding::Infrastructure,
            Ending::Interrupted => AttemptEnding::Interrupted,
            Ending::Done(outcome) => AttemptEnding::Done(outcome),
        };
        // Nothing comes back from who publishes by himself: there, others see it.
        if ending != AttemptEnding::Done(Outcome::Succeeded) || self.parts.executor.publishes() {
            return (ending, message);
        }
        let paths: Vec<PathBuf> = artefacts.into_iter().map(|artefact| artefact.path).collect();
        let members = match self.trial_members(trial).await {
            Ok(members) => members,
            Err(error) => return (AttemptEnding::Infrastructure, format!("{error:#}")),
        };
        let expected = Expected {
            pkgbase: trial.part.pkgbase.clone(),
            version: None,
            arch: trial.arch.clone(),
            members,
            build: None,
            // Nobody but other test builds sees it.
            allow_prohibited: true,
            official: std::sync::Arc::default(),
        };
        let publisher = Publisher::new(self.overlay(trial).join(REPOSITORY), NAME).keep_generations(1);
        match publisher.publish(&paths, &expected).await {
            Ok(_) => (ending, message),
            Err(error) if error.is_the_builds_fault() => (AttemptEnding::Done(Outcome::Failed), error.to_string()),
            Err(error) => (AttemptEnding::Infrastructure, format!("{:#}", anyhow::Error::from(error))),
        }
    }

    async fn trial_members(&self, trial: &Trial) -> Result<BTreeSet<PkgName>> {
        let (commit, pkgbase) = (trial.head, trial.part.pkgbase.clone());
        let site = self.site_of(&trial.repository)?;
        let files = site.with_git(move |git| folder_at(git, commit, &pkgbase)).await?;
        Ok(facts(&files).map(|facts| facts.members.into_iter().map(|member| member.name).collect()).unwrap_or_default())
    }

    async fn end_trial(&self, trial: &Trial, attempt: &str, ending: AttemptEnding, message: &str) -> Result<()> {
        let finish = || self.parts.store.finish_trial(trial.id, ending, message, self.parts.clock.now());
        if self.until_recorded(attempt, finish).await? {
            self.clear_trials().await;
        }
        Ok(())
    }

    /// Removes what test builds made for each other of commits of which none waits or runs.
    pub(in crate::controller) async fn clear_trials(&self) {
        let _turn = self.clearing.lock().await;
        if let Err(error) = self.keep_live().await {
            tracing::warn!(error = format!("{error:#}"), "what test builds made for each other is not cleared up");
        }
    }

    async fn keep_live(&self) -> Result<()> {
        let dir = self.parts.trials_dir.clone();
        // Before it is asked which are live: what begins meanwhile is not among them.
        let found = blocking(move || overlays(&dir).map_err(|error| FsError::new("list", &dir, error))).await?;
        if found.is_empty() {
            return Ok(());
        }
        let live: BTreeSet<PathBuf> =
            self.parts.store.live_trials().await?.iter().map(|trial| self.overlay(trial)).collect();
        let remove = move || {
            let mut over = found.iter().filter(|overlay| !live.contains(*overlay));
            over.try_for_each(|overlay| remove_all(overlay).map_err(|error| FsError::new("remove", overlay, error)))
        };
        Ok(blocking(remove).await?)
    }

    /// Where what test builds of a commit make is kept until all of them are over.
    fn overlay(&self, trial: &Trial) -> PathBuf {
        let name = format!("{}-{}", trial.number, trial.head.short());
        self.parts.trials_dir.join(&trial.repository).join(name)
    }
}

/// The folders that there are, in those of their repositories.
fn overlays(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let within = |dir: &Path| match std::fs::read_dir(dir) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<PathBuf>>>(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    };
    let mut found = Vec::new();
    for repository in within(dir)? {
        found.extend(within(&repository)?);
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
