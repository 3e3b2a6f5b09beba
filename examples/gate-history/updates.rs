//! The updates in a history: which package folders a commit changed.

use std::collections::BTreeMap;

use anyhow::Result;
use pkgwarden::domain::folder::Folder;
use pkgwarden::domain::name::Oid;
use pkgwarden::git::{Limits, Repository};

/// A package folder before and after one commit.
#[derive(Debug, Clone)]
pub struct Update {
    pub commit: Oid,
    pub pkgbase: String,
    old: Oid,
    new: Oid,
}

impl Update {
    /// The files of both sides.
    pub fn folders(&self, git: &Repository) -> Result<(Folder, Folder)> {
        let limits = Limits::default();
        Ok((git.folder(self.old, &limits)?, git.folder(self.new, &limits)?))
    }
}

/// The newest updates, at most `count`: changes of a folder with a PKGBUILD on both sides, in more than what
/// belongs to the monorepo.
pub fn newest(git: &Repository, tip: Oid, count: usize) -> Result<Vec<Update>> {
    let mut updates = Vec::new();
    let mut roots = BTreeMap::new();
    for commit in git.history(None, tip)?.iter().rev() {
        // A merge brings nothing that its parents do not have.
        let [parent] = commit.parents[..] else { continue };
        let new = root(git, commit.id, &mut roots)?;
        let old = root(git, parent, &mut roots)?;
        for (name, id) in &new {
            let Some(before) = old.get(name).filter(|before| *before != id) else { continue };
            if is_update(git, *before, *id)? {
                updates.push(Update { commit: commit.id, pkgbase: name.clone(), old: *before, new: *id });
            }
        }
        roots = BTreeMap::from([(parent, old)]);
        if updates.len() >= count {
            break;
        }
    }
    updates.truncate(count);
    Ok(updates)
}

type Root = BTreeMap<String, Oid>;

/// The folders of a commit.
fn root(git: &Repository, commit: Oid, known: &mut BTreeMap<Oid, Root>) -> Result<Root> {
    if let Some(root) = known.remove(&commit) {
        return Ok(root);
    }
    let entries = git.entries(git.tree_of(commit)?)?;
    Ok(entries.into_iter().filter(|entry| entry.is_tree).map(|entry| (entry.name, entry.id)).collect())
}

fn is_update(git: &Repository, old: Oid, new: Oid) -> Result<bool> {
    let of = |tree| -> Result<BTreeMap<String, Oid>> {
        let entries = git.entries(tree)?.into_iter();
        Ok(entries.filter(|entry| entry.name != ".CI").map(|entry| (entry.name, entry.id)).collect())
    };
    let (before, after) = (of(old)?, of(new)?);
    Ok(before != after && [&before, &after].iter().all(|files| files.contains_key("PKGBUILD")))
}
