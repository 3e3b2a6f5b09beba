//! What a review proposes, as the faces show it.

use anyhow::Result;
use jiff::Timestamp;

use super::site::Look;
use super::view::{ApprovalsView, FileDiff, ReviewView};
use super::{Kept, ReviewKey, bind, observe};
use crate::domain::classify::{self, Context, Subject};
use crate::domain::desired::Snapshot;
use crate::domain::name::{Oid, PkgBase};
use crate::domain::observed::Proposal;
use crate::git::Repository;

/// The review of a package; `None` if its branch proposes nothing (it is about to be pruned).
pub async fn review_of(kept: &Kept, look: &Look, pkgbase: &PkgBase, now: Timestamp) -> Result<Option<ReviewView>> {
    let Some(head) = look.snapshot.reviews.get(pkgbase).map(|review| review.head) else { return Ok(None) };
    let tree = look.snapshot.packages.get(pkgbase).map(|package| package.tree);
    let state = look.snapshot.states.get(pkgbase);
    let key = ReviewKey {
        head,
        tree,
        gate: look.snapshot.gate.in_force(now),
        approvals: state.map(|state| state.approvals(head)).unwrap_or_default(),
    };
    if let Some((same, view)) = kept.reviews.lock().expect("nobody panics with it").get(pkgbase)
        && *same == key
    {
        return Ok(view.clone());
    }
    let (snapshot, wanted) = (look.snapshot.clone(), pkgbase.clone());
    let read =
        move |git: &Repository| Ok((observe::proposal(git, &snapshot, &wanted)?, git.commit_facts(head)?.message));
    let (proposal, message) = kept.site().with_git(read).await?;
    let view = match tree.zip(proposal) {
        Some((tree, proposal)) => review_view(pkgbase, (head, message), tree, &proposal, &look.snapshot, now)?,
        None => None,
    };
    kept.reviews.lock().expect("nobody panics with it").insert(pkgbase.clone(), (key, view.clone()));
    Ok(view)
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
    let conflict = "its folder has changed on the branch since the review was opened";
    let settings = snapshot.packages.get(pkgbase).map(|package| package.settings.clone()).unwrap_or_default();
    let line_rules = &settings.line_rules;
    let subject = Subject { package: pkgbase.as_str(), old: present, new: &after, line_rules, now };
    let judged = classify::judge(classify::classify(present, &after), subject, &snapshot.gate, &Context::default());
    let approvals = ApprovalsView {
        needed: snapshot.gate.approvals(&judged.verdict, pkgbase.as_str(), now),
        by: snapshot.states.get(pkgbase).map(|state| state.approvals(head)).unwrap_or_default(),
    };
    Ok(Some(ReviewView {
        pkgbase: pkgbase.clone(),
        branch: pkgbase.review_branch(),
        head,
        trees: bind::trees(tree, &after)?,
        message,
        verdict: judged.verdict,
        approvals,
        files: FileDiff::between(&present.from_source(), &after.from_source()),
        conflict: (base.from_source() != present.from_source()).then(|| conflict.to_owned()),
    }))
}
