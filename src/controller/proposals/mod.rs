//! Looks after what people propose on a forge, in pull or merge requests of their own.
//!
//! What is said of one is recorded with the commit that it is said of, and the forge is told through the outbox
//! ([`super::statuses`]). What could not be asked or read leads to no vote; the next pass tries it again.

mod assess;
mod rests;
pub(super) mod trial;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use self::rests::Rests;
use super::run::Runner;
use super::site::{Look, tracking};
use crate::domain::finding::Finding;
use crate::domain::name::Oid;
use crate::domain::review::policy::TestBuild;
use crate::domain::review::proposal::{is_built, text};
use crate::domain::review::{Offer, Permission};
use crate::forge::{Forge, ForgeError};
use crate::git::Repository;
use crate::store::trials::Judgement;
use crate::telemetry::progress;

/// So many proposals are judged in one pass; the others follow in the next.
const MOST: usize = 30;
/// Where forges keep what is proposed.
const PROPOSED: [&str; 2] = ["refs/pull/*", "refs/merge-requests/*"];

impl Runner {
    /// Judges what is proposed on the forge and was not judged yet, one run at a time.
    ///
    /// # Errors
    /// If the record cannot be used.
    pub async fn attend(&self) -> Result<Vec<Finding>> {
        let _turn = self.turns.take().await?;
        self.attend_proposals().await
    }

    /// As [`Runner::attend`], by whoever has the turn.
    pub(super) async fn attend_proposals(&self) -> Result<Vec<Finding>> {
        let policy = self.site.policy.proposals;
        let Some(hosted) = self.hosted.as_ref().filter(|_| policy.classify || policy.test_build != TestBuild::Never)
        else {
            return Ok(Vec::new());
        };
        let offers = match hosted.forge.offers().await {
            Ok(offers) => offers,
            Err(error) => return Ok(vec![later("proposals are not looked at", &error)]),
        };
        self.forget_fetched(&offers).await?;
        let offers: Vec<Offer> = offers.into_iter().filter(|offer| offer.base == self.site.branch).collect();
        let (repository, now) = (&self.site.name, self.clock.now());
        let open: BTreeMap<u64, Oid> = offers.iter().map(|offer| (offer.number, offer.head)).collect();
        let mut rests = Rests::read(&self.store, repository).await?;
        rests.keep(&open);
        self.store.keep_proposals(repository, open, now).await?;
        let judged = self.store.judged(repository).await?;
        let is_new =
            |&Offer { number, head, .. }: &Offer| judged.get(&number) != Some(&head) && !rests.rests(number, head, now);
        let mut new: Vec<Offer> = offers.into_iter().filter(is_new).collect();
        // What failed before does not stand in the way of others.
        new.sort_by_key(|offer| rests.failures(offer.number, offer.head));
        new.truncate(MOST);
        if new.is_empty() {
            return Ok(Vec::new());
        }
        let _progress = progress::task(format!("judging {} proposals on {}", new.len(), hosted.forge.shown()));
        let look = self.site.look().await?;
        let mut findings = Vec::new();
        for offer in &new {
            match self.consider(&*hosted.forge, &look, offer).await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => {
                    let message = format!("the proposal {} is not judged yet: {error:#}", offer.number);
                    findings.push(Finding::warning("proposal-later", message).hint("later runs try it again"));
                }
            }
            rests.failed(offer.number, offer.head, self.clock.now());
            rests.write(&self.store, repository, now).await?;
        }
        Ok(findings)
    }

    /// Forgets what was fetched of proposals that are not open any more.
    async fn forget_fetched(&self, offers: &[Offer]) -> Result<()> {
        let open: BTreeSet<String> = offers.iter().map(|offer| tracking(&offer.fetch)).collect();
        let forget =
            move |git: &Repository| PROPOSED.iter().try_for_each(|name| Ok(git.forget_refs(&tracking(name), &open)?));
        self.site.with_git(forget).await
    }

    /// Judges one proposal at exactly the commit that the forge named. One that has moved meanwhile is left to the next
    /// pass. Answers whether it is judged.
    async fn consider(&self, forge: &dyn Forge, look: &Look, offer: &Offer) -> Result<bool> {
        if self.site.fetch_ref(&offer.fetch).await? != Some(offer.head) {
            tracing::debug!(proposal = offer.number, "it was pushed to meanwhile");
            return Ok(false);
        }
        let (snapshot, head, arch, now) = (look.snapshot.clone(), offer.head, self.site.arch.clone(), self.clock.now());
        let found = self.site.with_git(move |git| assess::assess(git, &snapshot, head, &arch, now)).await?;
        let Some(assess::Assessed { assessment, trials }) = found else {
            tracing::info!(proposal = offer.number, "the clone is too shallow to tell what it changes");
            return Ok(false);
        };
        let opinion = assessment.opinion();
        let policy = self.site.policy.proposals;
        let author = match policy.test_build {
            TestBuild::Trusted => permission(forge, &offer.author).await?,
            TestBuild::Never | TestBuild::Always => Permission::Read,
        };
        let builds = !self.leaves_builds_to_others() && is_built(policy.test_build, author, opinion.vote);
        let judgement = Judgement {
            repository: self.site.name.clone(),
            number: offer.number,
            head: offer.head,
            fetch: offer.fetch.clone(),
            vote: policy.classify.then_some(opinion.vote),
            summary: opinion.summary,
            comment: opinion.has_more.then(|| text::comment(&assessment, offer.head)),
        };
        tracing::info!(proposal = offer.number, head = %offer.head, judged = judgement.summary, "a proposal was judged");
        self.store.judge(judgement, if builds { trials } else { Vec::new() }, now).await?;
        Ok(true)
    }
}

async fn permission(forge: &dyn Forge, person: &str) -> Result<Permission, ForgeError> {
    match forge.permission(person.to_owned()).await {
        Err(ForgeError::Missing { .. }) => Ok(Permission::Read),
        other => other,
    }
}

fn later(what: &str, error: &ForgeError) -> Finding {
    let finding = Finding::warning("forge-later", format!("{what}: {error}"));
    finding.hint(error.hint().unwrap_or("later runs try it again").to_owned())
}
