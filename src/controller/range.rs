//! Reads what people did since builds were last handed out.

use anyhow::Result;

use crate::domain::changes::Changes;
use crate::domain::desired::Refs;
use crate::domain::name::Oid;
use crate::domain::plan::{Commit, RangeBase, Since};
use crate::git::{self, Entry, Repository};

/// The range from `scheduled` to the tip of the branch.
///
/// # Errors
/// If the object database cannot be read.
pub fn since_scheduled(git: &Repository, refs: &Refs) -> Result<Since> {
    let Some(main) = refs.main else { return between(git, RangeBase::Empty, None, None) };
    match refs.scheduled {
        Some(scheduled) if !git.contains(scheduled) => between(git, RangeBase::LastCommit, None, Some(main)),
        Some(scheduled) if git.is_ancestor(scheduled, main)? => {
            between(git, RangeBase::Scheduled(scheduled), Some(scheduled), Some(main))
        }
        Some(scheduled) => between(git, RangeBase::Rewritten(scheduled), Some(scheduled), Some(main)),
        None => between(git, RangeBase::LastCommit, None, Some(main)),
    }
}

/// Whether the range from `scheduled` is here as a whole. In a shallow clone it may not be: a commit at
/// which history was cut off hides its parents, with what they changed and asked for.
///
/// # Errors
/// If the object database cannot be read.
pub fn is_whole(git: &Repository, refs: &Refs) -> Result<bool> {
    let cut = git.cut_at();
    let Some(main) = refs.main.filter(|_| !cut.is_empty()) else { return Ok(true) };
    let Some(scheduled) = refs.scheduled.filter(|&id| git.contains(id)) else { return Ok(!cut.contains(&main)) };
    Ok(!git.history(Some(scheduled), main)?.iter().any(|commit| cut.contains(&commit.id)))
}

/// The range between two commits; without a start it is the last commit alone.
///
/// # Errors
/// If the object database cannot be read.
pub fn between(git: &Repository, base: RangeBase, from: Option<Oid>, to: Option<Oid>) -> Result<Since> {
    let Some(to) = to else {
        return Ok(Since { base, commits: Vec::new(), changes: Changes::default(), head: None });
    };
    let head = git.commit_facts(to)?;
    let start = from.or_else(|| head.parents.first().copied());
    let commits = match from {
        Some(from) => git.history(Some(from), to)?.into_iter().map(commit).collect(),
        None => vec![commit(head.clone())],
    };
    let (before, after) = (root(git, start)?, root(git, Some(to))?);
    // Folders with unusable names are reported by the snapshot already.
    let (changes, _) = Changes::between(named(&before), named(&after));
    Ok(Since { base, commits, changes, head: Some(commit(head)) })
}

/// The folders of a commit, with their trees.
pub(super) fn root(git: &Repository, commit: Option<Oid>) -> Result<Vec<(String, Oid)>> {
    let Some(commit) = commit else { return Ok(Vec::new()) };
    let folders = git.entries(git.tree_of(commit)?)?.into_iter().filter(|entry| entry.is_tree);
    Ok(folders.map(|Entry { name, id, .. }| (name, id)).collect())
}

fn commit(commit: git::Commit) -> Commit {
    Commit { id: commit.id, parents: commit.parents, author: commit.author, message: commit.message }
}

/// A commit in a few words: its id, who made it, and its subject.
pub(super) fn in_words(commit: &git::Commit) -> String {
    let subject = commit.message.lines().next().unwrap_or_default().escape_debug().to_string();
    format!("{} of {}: {subject}", commit.id.short(), commit.author.escape_debug())
}

/// The same as pairs of references.
pub(super) fn named(folders: &[(String, Oid)]) -> impl Iterator<Item = (&str, Oid)> {
    folders.iter().map(|(name, id)| (name.as_str(), *id))
}
