//! Looks after the reviews on a forge: after each run, what should be there is compared with what is.
//!
//! What has to be done is decided in [`crate::domain::review::reconcile`]. Nothing here stops a run: what fails
//! becomes a finding, rests for a while, and is done by a later run. What could not be asked closes nothing.

mod closing;
mod desire;
mod ledger;
mod perform;
mod together;
mod waiting;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::Result;
use jiff::{RoundMode, SignedDuration, Timestamp, TimestampRound, Unit};

use self::desire::Wants;
use self::ledger::Ledger;
use self::together::Move;
use super::run::Runner;
use super::site::Look;
use crate::domain::finding::Finding;
use crate::domain::name::PkgBase;
use crate::domain::plan::Pipeline;
use crate::domain::policy::Person;
use crate::domain::review::marker::About;
use crate::domain::review::policy::ReviewPolicy;
use crate::domain::review::reconcile::{Desired, Limits, Member, Observed, goes_in_at, reconcile};
use crate::domain::review::{Permission, Seen, Stage};
use crate::domain::state::PackageState;
use crate::forge::{Forge, ForgeError};
use crate::telemetry::progress;

pub(super) use closing::entries;
pub(super) use ledger::{Rest, rest};

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

/// What there should be, and what is known of it.
struct Desires<'a> {
    look: &'a Look,
    reviews: &'a [Desired],
    proposed: &'a BTreeMap<PkgBase, String>,
    /// Branches of groups that could not be brought up to date.
    unmoved: &'a BTreeSet<String>,
    /// The updates that groups have a review for, with the branch of the group, whether it could be moved or not.
    together: &'a BTreeMap<PkgBase, String>,
}

/// What a forge showed.
struct Shown {
    me: String,
    reviews: Vec<Seen>,
    /// Whoever closed one of them and may not push.
    unheard: BTreeSet<String>,
}

impl Runner {
    /// A page of ours, where people can reach them.
    pub(super) fn page(&self, path: &str) -> Option<String> {
        let pages = self.hosted.as_ref()?.pages.as_ref()?;
        Some(format!("{}/{path}", pages.trim_end_matches('/')))
    }

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
        let limits = limits(policy, now);
        let is_due = |it: &Member| goes_in_at(it, limits).is_some_and(|at| at <= now);
        let waiting = desire::alone(&self.site, &look, now).await?.into_iter().flat_map(|it| it.members);
        let due = waiting.filter(is_due);
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
        let Wants { mut reviews, branches } = desire::wants(&self.site, &look, hosted.pages.as_deref(), now).await?;
        let (going, moving): (Vec<Move>, Vec<Move>) = branches.into_iter().partition(|it| it.update.new.is_none());
        let mut findings = Vec::new();
        let together = in_groups(&reviews);
        let unmoved = self.push_each(&moving, &mut findings).await;
        reviews.retain(|it| !unmoved.contains(&it.wanted.branch));
        let proposed = proposed(&look);
        let tended = match self.observe_forge(hosted, &mut ledger, &reviews, &proposed, now).await {
            Ok(shown) => {
                let is_open = |branch: &String| shown.reviews.iter().any(|it| it.is_open_on(branch));
                // What is open is closed first, and told why.
                let going: Vec<Move> = going.into_iter().filter(|it| !is_open(&it.branch)).collect();
                self.push_each(&going, &mut findings).await;
                let (look, reviews, proposed, unmoved) = (&look, &reviews[..], &proposed, &unmoved);
                let wanted = Desires { look, reviews, proposed, unmoved, together: &together };
                self.bring_up_to_date(hosted, &wanted, &shown, &mut ledger).await?
            }
            Err(error) => {
                ledger.forge_failed(&error, now);
                Tended { findings: vec![perform::told(None, &error)], ..Tended::default() }
            }
        };
        ledger.write(&self.store, &self.site.name, now).await?;
        findings.extend(tended.findings);
        Ok(Tended { findings, ..tended })
    }

    /// Moves the branches of groups, each by itself. Answers which could not be moved: somebody else was first, or the
    /// remote does not take it. The next look shows how they stand.
    async fn push_each(&self, moves: &[Move], findings: &mut Vec<Finding>) -> BTreeSet<String> {
        let mut unmoved = BTreeSet::new();
        for Move { branch, update } in moves {
            if let Err(error) = self.site.remote.push(std::slice::from_ref(update), &[]).await {
                findings.push(later(&format!("the branch `{branch}` is not up to date: {error}")));
                unmoved.insert(branch.clone());
            }
        }
        unmoved
    }

    async fn observe_forge(
        &self,
        hosted: &Hosted,
        ledger: &mut Ledger,
        desired: &[Desired],
        proposed: &BTreeMap<PkgBase, String>,
        now: Timestamp,
    ) -> Result<Shown, ForgeError> {
        let oldest = desired.iter().flat_map(|it| &it.members).map(|it| it.proposed_at).min().unwrap_or(now);
        let since = since(ledger.asked_at.unwrap_or(oldest).min(now));
        let me = hosted.forge.me().await?;
        let mut reviews = hosted.forge.reviews(since).await?;
        let waiting = desired.iter().map(|it| it.wanted.branch.clone());
        let branches: BTreeSet<String> = waiting.chain(proposed.keys().map(PkgBase::review_branch)).collect();
        reviews.extend(look_for_absent(hosted, ledger, &reviews, &branches).await?);
        ledger.know(&reviews, &me);
        ledger.keep(&branches);
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
        let unheard = unheard(hosted, &me, &reviews, &branches).await?;
        Ok(Shown { me, reviews, unheard })
    }

    async fn bring_up_to_date(
        &self,
        hosted: &Hosted,
        wanted: &Desires<'_>,
        shown: &Shown,
        ledger: &mut Ledger,
    ) -> Result<Tended> {
        let Desires { look, reviews: desired, proposed, unmoved, together } = *wanted;
        let now = self.clock.now();
        ledger.forge = None;
        let mut pass = perform::Pass::new(hosted, &shown.me, ledger, now);
        let closing = self.bid_farewell(&mut pass, shown).await?;
        let snapshot = &look.snapshot;
        let branches: BTreeSet<String> = snapshot.refs.reviews.keys().map(PkgBase::review_branch).collect();
        let mut resting = pass.resting();
        resting.extend(unmoved.iter().cloned());
        let observed = Observed {
            me: &shown.me,
            reviews: &shown.reviews,
            branches: &branches,
            proposed,
            closing: &closing,
            resting: &resting,
            unheard: &shown.unheard,
        };
        let reconciled = reconcile(desired, observed, limits(&self.site.policy.reviews, now), now);
        let mut tended = pass.perform(reconciled).await;
        match self.listen(hosted, look, &shown.me, &shown.reviews, together).await? {
            Ok(unread) => tended.findings.extend(unread.iter().map(|error| perform::told(None, error))),
            Err(error) => {
                if let ForgeError::Limited { .. } | ForgeError::Unreachable { .. } = error {
                    ledger.forge_failed(&error, now);
                }
                tended.findings.push(perform::told(None, &error));
            }
        }
        tended.findings.extend(resting.iter().filter_map(|branch| ledger.resting(branch, now)));
        // As long as a rejection has not been recorded, whoever made it is asked for again.
        if !tended.decisions.iter().any(|decision| matches!(decision, Pipeline::Reject(..))) {
            ledger.asked_at = Some(now);
        }
        Ok(tended)
    }
}

/// The updates that have their review with a group, with its branch.
fn in_groups(reviews: &[Desired]) -> BTreeMap<PkgBase, String> {
    let of_groups = reviews.iter().filter(|it| matches!(it.marker.about, About::Group(_)));
    let members = |it: &Desired| {
        it.members.iter().map(|member| (member.pkgbase.clone(), it.wanted.branch.clone())).collect::<Vec<_>>()
    };
    of_groups.flat_map(members).collect()
}

/// From when on what ended is asked for. The same for an hour, so that the same question has the same answer, which need not
/// be sent again.
fn since(last: Timestamp) -> Timestamp {
    let since = last - OVERLAP;
    since.round(TimestampRound::new().smallest(Unit::Hour).mode(RoundMode::Floor)).unwrap_or(since)
}

/// What was proposed last and not decided about, by package.
fn proposed(look: &Look) -> BTreeMap<PkgBase, String> {
    let content = |(pkgbase, state): (&PkgBase, &PackageState)| Some((pkgbase.clone(), state.proposed()?.to_owned()));
    look.snapshot.states.iter().filter_map(content).collect()
}

/// The reviews that lists do not show although they should: one that is closed while a list is read moves the others
/// on its pages, and what ended is left out where the clocks of the forge and of this machine differ. A review that was
/// closed and not seen would be opened again.
async fn look_for_absent(
    hosted: &Hosted,
    ledger: &mut Ledger,
    reviews: &[Seen],
    branches: &BTreeSet<String>,
) -> Result<Vec<Seen>, ForgeError> {
    let mut found = Vec::new();
    for (branch, number) in ledger.absent(reviews, branches) {
        match hosted.forge.review(number).await {
            Ok(seen) => found.push(seen),
            // Somebody deleted it, which decides nothing about its content.
            Err(ForgeError::Missing { .. }) => ledger.forget(&branch),
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// Who closed a review of something that still waits, and may not push here.
async fn unheard(
    hosted: &Hosted,
    me: &str,
    reviews: &[Seen],
    branches: &BTreeSet<String>,
) -> Result<BTreeSet<String>, ForgeError> {
    let waits = |seen: &&Seen| seen.author == me && branches.contains(&seen.branch);
    let closed = reviews.iter().filter(waits).filter(|seen| !reviews.iter().any(|it| it.is_open_on(&seen.branch)));
    let by = closed.filter_map(|seen| match &seen.stage {
        Stage::Closed { by: Some(by) } if by != me => Some(by.clone()),
        _ => None,
    });
    let mut unheard = BTreeSet::new();
    for by in by.collect::<BTreeSet<String>>() {
        let permission = match hosted.forge.permission(by.clone()).await {
            Err(ForgeError::Missing { .. }) => Permission::Read,
            other => other?,
        };
        if permission < Permission::Write {
            unheard.insert(by);
        }
    }
    Ok(unheard)
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
