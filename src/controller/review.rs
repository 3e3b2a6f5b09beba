//! What a review proposes, as the faces show it.

use anyhow::Result;
use jiff::Timestamp;

use super::site::Look;
use super::view::{ApprovalsView, FileDiff, ReviewView};
use super::{Kept, ReviewKey, bind, observe};
use crate::domain::classify::{self, Context, Subject, Verdict};
use crate::domain::desired::Snapshot;
use crate::domain::name::{Oid, PkgBase};
use crate::domain::observed::Proposal;
use crate::domain::review::group::group_of;
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
    let keys: Vec<_> =
        packages.into_iter().filter_map(|it| Some((it.clone(), key(&look.snapshot, it, now)?))).collect();
    let is_known = |(pkgbase, key): &(PkgBase, ReviewKey)| {
        let known = kept.reviews.lock().expect("nobody panics with it");
        known.get(pkgbase).is_some_and(|(same, _)| same == key)
    };
    let unknown: Vec<_> = keys.iter().filter(|it| !is_known(it)).cloned().collect();
    if !unknown.is_empty() {
        let snapshot = look.snapshot.clone();
        let read = kept.site().with_git(move |git| {
            let views = git.map(&unknown, |git, (pkgbase, key)| read(git, &snapshot, pkgbase, key, now))?;
            Ok(unknown.into_iter().zip(views).collect::<Vec<_>>())
        });
        let read = read.await?.into_iter().map(|((pkgbase, key), view)| (pkgbase, (key, view)));
        kept.reviews.lock().expect("nobody panics with it").extend(read);
    }
    let known = kept.reviews.lock().expect("nobody panics with it");
    let groups = &kept.site().policy.reviews.groups;
    let grouped =
        |view: ReviewView| ReviewView { group: group_of(groups, &view.pkgbase).map(ToString::to_string), ..view };
    Ok(keys.iter().filter_map(|(pkgbase, _)| known.get(pkgbase)?.1.clone()).map(grouped).collect())
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
