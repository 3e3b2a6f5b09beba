//! Looks after the reviews on a forge: after each run, what should be there is compared with what is.
//!
//! What has to be done is decided in [`crate::domain::review::reconcile`]. Nothing here stops a run: what fails
//! becomes a finding, rests for a while, and is done by a later run. What could not be asked closes nothing.

mod closing;
mod desire;
mod ledger;
mod perform;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::Result;
use jiff::{SignedDuration, Timestamp};

use self::ledger::Ledger;
use super::run::Runner;
use super::site::Look;
use crate::domain::finding::Finding;
use crate::domain::name::PkgBase;
use crate::domain::plan::Pipeline;
use crate::domain::policy::Person;
use crate::domain::review::Seen;
use crate::domain::review::policy::ReviewPolicy;
use crate::domain::review::reconcile::{Desired, Limits, Observed, goes_in_at, reconcile};
use crate::domain::state::PackageState;
use crate::forge::{Forge, ForgeError};
use crate::telemetry::progress;

pub(super) use closing::entries;
pub(super) use ledger::rest;

/// What ended shortly before the last look is looked at again: clocks differ, and answers may lag behind.
const OVERLAP: SignedDuration = SignedDuration::from_hours(1);

/// Where a monorepo is hosted.
#[derive(Debug, Clone)]
pub struct Hosted {
    /// The forge.
    pub forge: Arc<dyn Forge>,
    /// Where our own pages are, if people can reach them.
    pub pages: Option<String>,
}

/// What came of looking after reviews.
#[derive(Debug, Default)]
pub(super) struct Tended {
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// What people decided on the forge: runs that have to follow.
    pub decisions: Vec<Pipeline>,
}

/// What a forge showed.
struct Shown {
    me: String,
    reviews: Vec<Seen>,
}

impl Runner {
    /// Brings the reviews on the forge up to date, if there is one.
    pub(super) async fn tend(&self) -> Result<Tended> {
        match &self.hosted {
            Some(hosted) => self.tend_on(hosted).await,
            None => self.tend_locally().await,
        }
    }

    /// Without a forge, branches are all there is. Only their time may be up.
    async fn tend_locally(&self) -> Result<Tended> {
        let policy = &self.site.policy.reviews;
        if policy.automerge_after.is_none() {
            return Ok(Tended::default());
        }
        let look = self.site.look().await?;
        let now = self.clock.now();
        let desired = desire::desired(&self.site, &look, None, now).await?;
        let limits = limits(policy, now);
        let is_due = |it: &&Desired| goes_in_at(it, limits).is_some_and(|at| at <= now);
        let due = desired.into_iter().filter(|it| is_due(&it));
        let decisions = due.map(|it| Pipeline::Approve(it.pkgbase, it.head, Person::automatic())).collect();
        Ok(Tended { decisions, ..Tended::default() })
    }

    /// Whether the forge has to be left alone for now.
    pub(super) async fn forge_rests(&self) -> Result<bool> {
        let ledger = Ledger::read(&self.store, &self.site.name).await?;
        Ok(ledger.forge.is_some_and(|rest| rest.until > self.clock.now()))
    }

    async fn tend_on(&self, hosted: &Hosted) -> Result<Tended> {
        let mut ledger = Ledger::read(&self.store, &self.site.name).await?;
        let now = self.clock.now();
        if let Some(rest) = ledger.forge.as_ref().filter(|rest| rest.until > now) {
            let message = format!("reviews are not looked after before {}: {}", rest.until, rest.error);
            return Ok(Tended { findings: vec![later(&message)], ..Tended::default() });
        }
        let _progress = progress::task(format!("looking after the reviews on {}", hosted.forge.shown()));
        let look = self.site.look().await?;
        let desired = desire::desired(&self.site, &look, hosted.pages.as_deref(), now).await?;
        let tended = match self.observe_forge(hosted, &mut ledger, &desired, now).await {
            Ok(shown) => self.bring_up_to_date(hosted, &look, &desired, &shown, &mut ledger).await?,
            Err(error) => {
                ledger.forge_failed(&error, now);
                Tended { findings: vec![perform::told(None, &error)], ..Tended::default() }
            }
        };
        ledger.write(&self.store, &self.site.name, now).await?;
        Ok(tended)
    }

    async fn observe_forge(
        &self,
        hosted: &Hosted,
        ledger: &mut Ledger,
        desired: &[Desired],
        now: Timestamp,
    ) -> Result<Shown, ForgeError> {
        let oldest = desired.iter().map(|it| it.proposed_at).min().unwrap_or(now);
        let since = ledger.asked_at.unwrap_or(oldest).min(now) - OVERLAP;
        let me = hosted.forge.me().await?;
        let mut reviews = hosted.forge.reviews(since).await?;
        if self.site.policy.reviews.approvals {
            for number in ledger.choose(&reviews, desired, since) {
                match hosted.forge.review(number).await {
                    Ok(whole) => {
                        let of_it = reviews.iter_mut().filter(|seen| seen.number == number);
                        of_it.for_each(|seen| *seen = whole.clone());
                    }
                    Err(ForgeError::Missing { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(Shown { me, reviews })
    }

    async fn bring_up_to_date(
        &self,
        hosted: &Hosted,
        look: &Look,
        desired: &[Desired],
        shown: &Shown,
        ledger: &mut Ledger,
    ) -> Result<Tended> {
        let now = self.clock.now();
        ledger.forge = None;
        let mut pass = perform::Pass::new(hosted, ledger, now);
        let closing = self.bid_farewell(&mut pass, shown).await?;
        let snapshot = &look.snapshot;
        let branches: BTreeSet<String> = snapshot.refs.reviews.keys().map(PkgBase::review_branch).collect();
        let content =
            |(pkgbase, state): (&PkgBase, &PackageState)| Some((pkgbase.clone(), state.proposed()?.to_owned()));
        let proposed: BTreeMap<PkgBase, String> = snapshot.states.iter().filter_map(content).collect();
        let resting = pass.resting();
        let observed = Observed {
            me: &shown.me,
            reviews: &shown.reviews,
            branches: &branches,
            proposed: &proposed,
            closing: &closing,
            resting: &resting,
        };
        let reconciled = reconcile(desired, observed, limits(&self.site.policy.reviews, now), now);
        let mut tended = pass.perform(reconciled).await;
        if let Err(error) = self.listen(hosted, look, &shown.me, &shown.reviews).await? {
            if let ForgeError::Limited { .. } | ForgeError::Unreachable { .. } = error {
                ledger.forge_failed(&error, now);
            }
            tended.findings.push(perform::told(None, &error));
        }
        tended.findings.extend(resting.iter().filter_map(|branch| ledger.resting(branch, now)));
        // As long as a rejection has not been recorded, whoever made it is asked for again.
        if !tended.decisions.iter().any(|decision| matches!(decision, Pipeline::Reject(..))) {
            ledger.asked_at = Some(now);
        }
        Ok(tended)
    }
}

fn limits(policy: &ReviewPolicy, now: Timestamp) -> Limits {
    Limits {
        per_run: policy.per_run,
        per_hour: policy.per_hour,
        at_once: policy.at_once,
        quiet: policy.quiet.as_ref().is_some_and(|quiet| quiet.is_now(now)),
        approvals: policy.approvals,
        automerge_after: policy.automerge_after,
    }
}

fn later(message: &str) -> Finding {
    Finding::warning("forge-later", message).hint("later runs try it again")
}
