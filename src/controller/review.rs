//! What a review proposes, as the faces show it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use jiff::Timestamp;

use super::site::Look;
use super::view::{ApprovalsView, FileDiff, ReviewView};
use super::{Kept, ReviewKey, bind, handwork, observe};
use crate::domain::classify::{self, Context, Subject, Verdict};
use crate::domain::desired::Snapshot;
use crate::domain::name::{Oid, PkgBase};
use crate::domain::observed::Proposal;
use crate::domain::policy::Identity;
use crate::domain::review::group::{Candidate, Group, together};
use crate::domain::review::hands;
use crate::domain::state::PackageState;
use crate::git::Repository;

/// Why a review cannot be merged as it is.
pub(super) const CONFLICT: &str = "its folder has changed on the branch since the review was opened";

/// The review of a package; `None` if its branch proposes nothing (it is about to be pruned).
pub async fn review_of(kept: &Kept, look: &Look, pkgbase: &PkgBase, now: Timestamp) -> Result<Option<ReviewView>> {
    Ok(reviews_of(kept, look, [pkgbase], now).await?.pop())
}

/// The reviews of these packages. What none was asked about before is read at once, so that the
/// repository is opened once.
pub async fn reviews_of<'a>(
    kept: &Kept,
    look: &Look,
    packages: impl IntoIterator<Item = &'a PkgBase>,
    now: Timestamp,
) -> Result<Vec<ReviewView>> {
    let groups = &kept.site().policy.reviews.groups;
    let asked: BTreeSet<&PkgBase> = packages.into_iter().collect();
    // With what one is decided about depends on all the others.
    let others = look.snapshot.waiting_reviews().filter(|_| !groups.is_empty());
    let all: BTreeSet<&PkgBase> = others.chain(asked.iter().copied()).collect();
    let keys: Vec<_> = all.into_iter().filter_map(|it| Some((it.clone(), key(&look.snapshot, it, now)?))).collect();
    let is_known = |(pkgbase, key): &(PkgBase, ReviewKey)| {
        let known = kept.reviews.lock().expect("nobody panics with it");
        known.get(pkgbase).is_some_and(|(same, _)| same == key)
    };
    let unknown: Vec<_> = keys.iter().filter(|it| !is_known(it)).cloned().collect();
    if !unknown.is_empty() {
        let snapshot = look.snapshot.clone();
        let read = kept.site().with_git(move |git| {
            let work = handwork::on(git, &snapshot, unknown.iter().map(|(pkgbase, _)| pkgbase.clone()))?;
            let by_people = |pkgbase: &PkgBase, (ours, proposed): &(Identity, Option<String>)| {
                work.get(pkgbase).is_some_and(|work| !hands::people(work, ours, proposed.as_deref()).is_empty())
            };
            let view = |git: &Repository, (pkgbase, key): &(PkgBase, ReviewKey)| -> Result<_> {
                let view = read(git, &snapshot, pkgbase, key, now)?;
                Ok(view.map(|view| ReviewView { by_people: by_people(pkgbase, &key.ours), ..view }))
            };
            let views = git.map(&unknown, view)?;
            Ok(unknown.into_iter().zip(views).collect::<Vec<_>>())
        });
        let read = read.await?.into_iter().map(|((pkgbase, key), view)| (pkgbase, (key, view)));
        kept.reviews.lock().expect("nobody panics with it").extend(read);
    }
    let known = kept.reviews.lock().expect("nobody panics with it");
    let views = keys.iter().filter_map(|(pkgbase, _)| known.get(pkgbase)?.1.clone()).collect();
    let mut views = grouped(&look.snapshot, groups, views);
    views.retain(|view| asked.contains(&view.pkgbase));
    Ok(views)
}

/// Says of each with what it is decided about.
fn grouped(snapshot: &Snapshot, groups: &[Group], mut views: Vec<ReviewView>) -> Vec<ReviewView> {
    let waiting: BTreeSet<&PkgBase> = snapshot.waiting_reviews().collect();
    let has_newer = |pkgbase: &PkgBase| snapshot.states.get(pkgbase).is_some_and(|state| state.newer().is_some());
    let candidate = |view: &ReviewView| {
        let is_free = view.conflict.is_none() && !view.by_people && !has_newer(&view.pkgbase);
        (view.pkgbase.clone(), view.verdict.severity, is_free)
    };
    let facts: Vec<_> = views.iter().filter(|view| waiting.contains(&view.pkgbase)).map(candidate).collect();
    let candidates: Vec<_> = facts
        .iter()
        .map(|(pkgbase, weight, is_free)| Candidate { pkgbase, weight: *weight, is_free: *is_free })
        .collect();
    let found = facts.iter().map(|(pkgbase, ..)| pkgbase).zip(together(groups, &candidates));
    let found: BTreeMap<_, _> = found.filter_map(|(pkgbase, group)| Some((pkgbase, group?.to_string()))).collect();
    for view in &mut views {
        view.group = found.get(&view.pkgbase).cloned();
    }
    views
}

/// What a view of a review follows from; `None` if there is no review.
fn key(snapshot: &Snapshot, pkgbase: &PkgBase, now: Timestamp) -> Option<ReviewKey> {
    let head = snapshot.reviews.get(pkgbase)?.head;
    Some(ReviewKey {
        head,
        tree: snapshot.packages.get(pkgbase).map(|package| package.tree),
        gate: snapshot.gate.in_force(now),
        people: context(snapshot, pkgbase),
        approvals: snapshot.states.get(pkgbase).map(|state| state.approvals(head)).unwrap_or_default(),
        ours: (
            snapshot.settings.identity.clone(),
            snapshot.states.get(pkgbase).and_then(PackageState::proposed).map(str::to_owned),
        ),
    })
}

fn read(
    git: &Repository,
    snapshot: &Snapshot,
    pkgbase: &PkgBase,
    key: &ReviewKey,
    now: Timestamp,
) -> Result<Option<ReviewView>> {
    let Some((tree, proposal)) = key.tree.zip(observe::proposal(git, snapshot, pkgbase)?) else { return Ok(None) };
    let message = git.commit_facts(key.head)?.message;
    review_view(pkgbase, (key.head, message), tree, &proposal, snapshot, now)
}

fn review_view(
    pkgbase: &PkgBase,
    (head, message): (Oid, String),
    tree: Oid,
    proposal: &Proposal,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Result<Option<ReviewView>> {
    let Proposal { base, present, proposed } = proposal;
    let after = present.updated_to(proposed);
    if after.from_source() == present.from_source() {
        return Ok(None);
    }
    let verdict = judged(snapshot, pkgbase, proposal, now);
    let approvals = ApprovalsView {
        needed: snapshot.gate.approvals(&verdict, pkgbase.as_str(), now),
        by: snapshot.states.get(pkgbase).map(|state| state.approvals(head)).unwrap_or_default(),
    };
    Ok(Some(ReviewView {
        pkgbase: pkgbase.clone(),
        branch: pkgbase.review_branch(),
        group: None,
        by_people: false,
        head,
        trees: bind::trees(tree, &after)?,
        message,
        verdict,
        approvals,
        files: FileDiff::between(&present.from_source(), &after.from_source()),
        conflict: (base.from_source() != present.from_source()).then(|| CONFLICT.to_owned()),
    }))
}

/// What the gate says of a review, weighed by who could push to the package when it was proposed.
pub(super) fn judged(snapshot: &Snapshot, pkgbase: &PkgBase, proposal: &Proposal, now: Timestamp) -> Verdict {
    let Proposal { present, proposed, .. } = proposal;
    let after = present.updated_to(proposed);
    let settings = snapshot.packages.get(pkgbase).map(|package| package.settings.clone()).unwrap_or_default();
    let line_rules = &settings.line_rules;
    let subject = Subject { package: pkgbase.as_str(), old: present, new: &after, line_rules, now };
    let context = context(snapshot, pkgbase);
    classify::judge(classify::classify(present, &after), subject, &snapshot.gate, &context).verdict
}

/// What is recorded about who can push to a package.
fn context(snapshot: &Snapshot, pkgbase: &PkgBase) -> Context {
    let state = snapshot.states.get(pkgbase);
    let Some(now) = state.and_then(PackageState::proposed_keepers) else { return Context::default() };
    let before = state.and_then(PackageState::keepers);
    Context {
        trusted: now.trusted_since(before.as_ref(), &snapshot.settings.trusted_maintainers),
        newcomers: before.and_then(|before| now.newcomers_since(&before)),
    }
}
