//! The branches of groups: one commit for each update of a group that waits, so that one review is about all of them.
//!
//! They follow from the branches of the packages, which stay what is decided about. So a branch of a group can be
//! written anew at any time, unless people work on it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};

use super::waiting::Waiting;
use crate::controller::apply::folder_at;
use crate::controller::handwork;
use crate::domain::desired::Snapshot;
use crate::domain::name::Oid;
use crate::domain::review::group::{self, Candidate, Fate, Group, GroupName, Standing, fate};
use crate::git::{NewCommit, RefUpdate, Repository, TREE_MODE, TreeEdit};

/// A group with its branch.
#[derive(Debug)]
pub struct Together {
    /// Its name.
    pub name: GroupName,
    /// What waits of it, sorted by package.
    pub waiting: Vec<Waiting>,
    /// How its branch stands.
    pub standing: Standing,
    fate: Fate,
    /// The tip that was written.
    written: Option<Oid>,
}

/// What has to be done with the branch of a group.
#[derive(Debug)]
pub struct Move {
    /// Its name, without `refs/heads/`.
    pub branch: String,
    /// What is pushed.
    pub update: RefUpdate,
}

impl Together {
    /// The tip of its branch once it has moved; `None` if there is nothing to review.
    pub fn head(&self) -> Option<Oid> {
        let head = self.written.or(self.standing.head);
        head.filter(|_| !self.waiting.is_empty())
    }

    /// Whether its branch holds exactly what waits once it has moved.
    pub fn is_what_waits(&self) -> bool {
        self.fate != Fate::Kept
    }

    /// How its branch has to move.
    pub fn movement(&self) -> Option<Move> {
        let new = match self.fate {
            Fate::Stays | Fate::Kept => return None,
            Fate::Written => self.written,
            Fate::Goes => None,
        };
        let branch = self.name.branch();
        let update = RefUpdate { name: format!("refs/heads/{branch}"), old: self.standing.head, new };
        Some(Move { branch, update })
    }
}

/// What waits, by group, and what has a review of its own.
pub fn grouped(waiting: Vec<Waiting>, groups: &[Group]) -> (BTreeMap<GroupName, Vec<Waiting>>, Vec<Waiting>) {
    fn candidate(one: &Waiting) -> Candidate<'_> {
        let is_free = !one.conflict && one.people.is_empty() && one.newer.is_none();
        Candidate { pkgbase: &one.member.pkgbase, weight: one.verdict.severity, is_free }
    }
    let found = group::together(groups, &waiting.iter().map(candidate).collect::<Vec<_>>());
    let (mut together, mut alone) = (BTreeMap::<GroupName, Vec<Waiting>>::new(), Vec::new());
    for (one, group) in waiting.into_iter().zip(found) {
        match group {
            Some(name) => together.entry(name.clone()).or_default().push(one),
            None => alone.push(one),
        }
    }
    (together, alone)
}

/// The groups of which something waits or a branch is there, with what becomes of their branches. Commits that are needed
/// are written, and nothing leads to them yet.
///
/// # Errors
/// If objects cannot be read or written.
pub fn branches(
    git: &Repository,
    snapshot: &Snapshot,
    mut groups: BTreeMap<GroupName, Vec<Waiting>>,
) -> Result<Vec<Together>> {
    for name in snapshot.refs.groups.keys() {
        groups.entry(name.clone()).or_default();
    }
    let one = |(name, waiting): (GroupName, Vec<Waiting>)| {
        let standing = standing(git, snapshot, snapshot.refs.groups.get(&name).copied(), &waiting)?;
        let fate = fate(&standing, waiting.len());
        let written = if fate == Fate::Written { Some(write(git, snapshot, &waiting)?) } else { None };
        Ok(Together { name, waiting, standing, fate, written })
    };
    groups.into_iter().map(one).collect()
}

fn standing(git: &Repository, snapshot: &Snapshot, head: Option<Oid>, waiting: &[Waiting]) -> Result<Standing> {
    let (Some(head), Some(tip)) = (head, snapshot.main) else { return Ok(Standing { head, ..Standing::default() }) };
    let ours = snapshot.settings.identity.to_string();
    let commits = handwork::beside(git, tip.commit, head)?;
    let both = commits.iter().flat_map(|(author, committer)| [author, committer]);
    let people = both.filter(|who| **who != ours).cloned().collect();
    Ok(Standing { head: Some(head), is_right: is_right(git, tip.commit, head, waiting)?, people })
}

/// Whether a branch changes what waits as it waits, and nothing else, on top of what the main branch still has.
fn is_right(git: &Repository, tip: Oid, head: Oid, waiting: &[Waiting]) -> Result<bool> {
    let Some(base) = git.merge_base(tip, head)? else { return Ok(false) };
    let entries = |commit: Oid| -> Result<BTreeMap<String, Oid>> {
        Ok(git.entries(git.tree_of(commit)?)?.into_iter().map(|entry| (entry.name, entry.id)).collect())
    };
    let (before, after) = (entries(base)?, entries(head)?);
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let changed = names.into_iter().filter(|name| before.get(*name) != after.get(*name)).map(String::as_str);
    if !changed.eq(waiting.iter().map(|it| it.member.pkgbase.as_str())) {
        return Ok(false);
    }
    for one in waiting {
        let pkgbase = &one.member.pkgbase;
        let (Ok(was), Ok(is)) = (folder_at(git, base, pkgbase), folder_at(git, tip, pkgbase)) else { return Ok(false) };
        let meant = git.write_folder(&was.updated_to(&one.proposed))?;
        if was.from_source() != is.from_source() || after.get(pkgbase.as_str()) != Some(&meant) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Writes the commits of a group on top of the main branch. The same updates on the same tip make the same commits.
fn write(git: &Repository, snapshot: &Snapshot, waiting: &[Waiting]) -> Result<Oid> {
    let tip = snapshot.main.context("a review needs a commit to stand on")?;
    let (mut parent, mut tree) = (tip.commit, tip.tree);
    for Waiting { member, proposed, message, .. } in waiting {
        let folder = folder_at(git, tip.commit, &member.pkgbase)?.updated_to(proposed);
        let put = TreeEdit::Put { path: member.pkgbase.to_string(), id: git.write_folder(&folder)?, mode: TREE_MODE };
        tree = git.write_tree(Some(tree), &[put])?;
        let (identity, time) = (snapshot.settings.identity.clone(), member.proposed_at);
        parent = git.commit(&NewCommit { tree, parents: vec![parent], message: message.clone(), identity, time })?;
    }
    Ok(parent)
}
