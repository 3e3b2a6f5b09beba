//! Finds out whose commits are on the branches of reviews.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use crate::domain::desired::Snapshot;
use crate::domain::folder::OWN_ENTRIES;
use crate::domain::name::{Oid, PkgBase};
use crate::domain::plan::{Pipeline, Plan, ReviewStep};
use crate::domain::review::hands::Handwork;
use crate::git::{Entry, Hands, Limits, Repository};

/// The reviews whose branches a plan moves or deletes by itself. Where a person decided about a review, what it
/// holds was looked at.
pub(super) fn touched(plan: &Plan) -> BTreeSet<PkgBase> {
    if matches!(plan.pipeline, Pipeline::Approve(..) | Pipeline::Reject(..)) {
        return BTreeSet::new();
    }
    let touched = |step: &ReviewStep| match step {
        ReviewStep::Propose { replaces: None, .. } => None,
        ReviewStep::Propose { pkgbase, .. } | ReviewStep::Close { pkgbase, .. } => Some(pkgbase.clone()),
    };
    plan.reviews.iter().filter_map(touched).collect()
}

/// What is on the branches of these reviews, without those on which everything is ours.
///
/// # Errors
/// If the history cannot be read.
pub(super) fn on(
    git: &Repository,
    snapshot: &Snapshot,
    pkgbases: impl IntoIterator<Item = PkgBase>,
) -> Result<BTreeMap<PkgBase, Handwork>> {
    let Some(tip) = snapshot.main else { return Ok(BTreeMap::new()) };
    let head = |pkgbase: PkgBase| Some((snapshot.refs.reviews.get(&pkgbase).copied()?, pkgbase));
    let heads: Vec<(Oid, PkgBase)> = pkgbases.into_iter().filter_map(head).collect();
    if heads.is_empty() {
        return Ok(BTreeMap::new());
    }
    let beside = git.beside(tip.commit, &heads.iter().map(|(head, _)| *head).collect::<Vec<_>>())?;
    let ours = snapshot.settings.identity.to_string();
    let mut found = BTreeMap::new();
    for (head, pkgbase) in heads {
        let commits = leading_to(head, &beside);
        if commits.iter().any(|(author, committer)| *author != ours || *committer != ours) {
            let beyond = is_beyond(git, tip.commit, head, &pkgbase)?;
            let content = content(git, head, &pkgbase)?;
            found.insert(pkgbase, Handwork { commits, beyond, content });
        }
    }
    Ok(found)
}

/// Author and committer of each commit that leads to `head` and not to `main`.
///
/// # Errors
/// If the history cannot be read.
pub(super) fn beside(git: &Repository, main: Oid, head: Oid) -> Result<Vec<(String, String)>> {
    Ok(leading_to(head, &git.beside(main, &[head])?))
}

fn leading_to(head: Oid, beside: &BTreeMap<Oid, Hands>) -> Vec<(String, String)> {
    let (mut open, mut seen, mut commits) = (vec![head], BTreeSet::new(), Vec::new());
    while let Some(id) = open.pop() {
        let Some(hands) = beside.get(&id).filter(|_| seen.insert(id)) else { continue };
        commits.push((hands.author.clone(), hands.committer.clone()));
        open.extend(&hands.parents);
    }
    commits
}

/// Whether a branch changes anything beside what the source of the package has.
fn is_beyond(git: &Repository, main: Oid, head: Oid, pkgbase: &PkgBase) -> Result<bool> {
    let Some(base) = git.merge_base(main, head)? else { return Ok(true) };
    let outside = |commit: Oid| -> Result<(Vec<Entry>, Vec<Entry>)> {
        let (folder, others): (Vec<_>, Vec<_>) =
            git.entries(git.tree_of(commit)?)?.into_iter().partition(|entry| entry.name == pkgbase.as_str());
        let own = match folder.first().filter(|folder| folder.is_tree) {
            Some(folder) => git.entries(folder.id)?,
            None => Vec::new(),
        };
        let own = own.into_iter().filter(|entry| OWN_ENTRIES.contains(&entry.name.as_str())).collect();
        Ok((others, own))
    };
    Ok(outside(base)? != outside(head)?)
}

fn content(git: &Repository, head: Oid, pkgbase: &PkgBase) -> Result<Option<String>> {
    let folder = git.entry_at(git.tree_of(head)?, pkgbase.as_str())?.filter(|entry| entry.is_tree);
    Ok(folder.and_then(|folder| git.folder(folder.id, &Limits::default()).ok()).map(|it| it.from_source().digest()))
}
