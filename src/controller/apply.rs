//! Performs a plan: objects, intent, one atomic push, and then the record.
//!
//! The order is what makes a crash harmless. Objects nobody points to mean nothing; the intent in the
//! record says what the push was meant to do; the push moves every ref or none; and only then do
//! builds and outbox entries become visible, in the one transaction that also settles the intent.
//! [`super::recover`] finishes what a crash left between two of these steps.

use anyhow::{Context as _, Result};

use super::bind;
use crate::domain::desired::Snapshot;
use crate::domain::folder::Folder;
use crate::domain::message;
use crate::domain::name::{Oid, PkgBase};
use crate::domain::plan::{Edit, Plan, ReviewStep, Scheduled};
use crate::domain::state::PackageState;
use crate::git::{Limits, NewCommit, RefUpdate, Repository, TreeEdit};

/// The mode git gives a directory.
const TREE_MODE: u32 = 0o040_000;

/// Writes every object a plan needs into the workspace and says which refs have to move where.
///
/// # Errors
/// If an object cannot be written; nothing has moved then.
pub fn write_objects(git: &Repository, snapshot: &Snapshot, plan: &Plan) -> Result<Vec<RefUpdate>> {
    let writer = Writer { git, snapshot, plan };
    let mut updates = Vec::new();
    let tip = writer.main(&mut updates)?;
    writer.state(&mut updates)?;
    if let (Scheduled::Tip, Some(tip)) = (plan.scheduled, tip)
        && snapshot.refs.scheduled != Some(tip)
    {
        updates.push(update("refs/tags/scheduled".to_owned(), snapshot.refs.scheduled, Some(tip)));
    }
    for step in &plan.reviews {
        updates.push(writer.review(step, tip)?);
    }
    Ok(updates)
}

fn update(name: String, old: Option<Oid>, new: Option<Oid>) -> RefUpdate {
    RefUpdate { name, old, new }
}

struct Writer<'a> {
    git: &'a Repository,
    snapshot: &'a Snapshot,
    plan: &'a Plan,
}

impl Writer<'_> {
    /// The commit on the branch with the packages, and the tip after it.
    fn main(&self, updates: &mut Vec<RefUpdate>) -> Result<Option<Oid>> {
        let refs = &self.snapshot.refs;
        let Some(commit) = &self.plan.commit else { return Ok(refs.main) };
        let edits = commit.edits.iter().map(|edit| self.edit(edit)).collect::<Result<Vec<_>>>()?;
        let tree = self.git.write_tree(self.snapshot.main.map(|tip| tip.tree), &edits)?;
        let tip = self.commit(tree, commit.parents.clone(), &commit.message)?;
        updates.push(update(format!("refs/heads/{}", refs.branch), refs.main, Some(tip)));
        Ok(Some(tip))
    }

    fn edit(&self, edit: &Edit) -> Result<TreeEdit> {
        Ok(match edit {
            Edit::Folder(pkgbase, folder) => self.folder(pkgbase, folder)?,
            Edit::File(path, bytes) => {
                TreeEdit::Put { path: path.clone(), id: self.git.write_blob(bytes)?, mode: 0o100_644 }
            }
            Edit::Remove(pkgbase) => TreeEdit::Remove { path: pkgbase.to_string() },
        })
    }

    /// The folder of a package, exactly as it was judged.
    fn folder(&self, pkgbase: &PkgBase, folder: &Folder) -> Result<TreeEdit> {
        let id = self.git.write_folder(folder)?;
        bind::check(self.plan, pkgbase, id)?;
        Ok(TreeEdit::Put { path: pkgbase.to_string(), id, mode: TREE_MODE })
    }

    /// The `state` branch: always one commit without a parent, as Chaotic's scripts keep it.
    fn state(&self, updates: &mut Vec<RefUpdate>) -> Result<()> {
        if !self.plan.moves_state() {
            return Ok(());
        }
        let present = self.snapshot.refs.state;
        let base = present.map(|commit| self.git.tree_of(commit)).transpose()?;
        let tree = self.git.write_tree(base, &self.state_edits()?)?;
        let commit = self.commit(tree, Vec::new(), message::STATE)?;
        updates.push(update("refs/heads/state".to_owned(), present, Some(commit)));
        Ok(())
    }

    fn state_edits(&self) -> Result<Vec<TreeEdit>> {
        let edit = |(pkgbase, state): (&PkgBase, &Option<PackageState>)| {
            let path = pkgbase.to_string();
            Ok(match state {
                Some(state) => {
                    TreeEdit::Put { path, id: self.git.write_blob(state.to_text().as_bytes())?, mode: 0o100_644 }
                }
                None => TreeEdit::Remove { path },
            })
        };
        let file = |(path, text): (&&str, &String)| {
            let id = self.git.write_blob(text.as_bytes())?;
            Ok(TreeEdit::Put { path: (*path).to_owned(), id, mode: 0o100_644 })
        };
        self.plan.states.iter().map(edit).chain(self.plan.state_files.iter().map(file)).collect()
    }

    /// A review branch stands on the tip, so that its diff is the proposal and nothing else.
    fn review(&self, step: &ReviewStep, tip: Option<Oid>) -> Result<RefUpdate> {
        Ok(match step {
            ReviewStep::Propose { pkgbase, folder, message, replaces } => {
                let tip = tip.context("a review needs a commit to stand on")?;
                let put = self.folder(pkgbase, folder)?;
                let tree = self.git.write_tree(Some(self.git.tree_of(tip)?), &[put])?;
                update(branch(pkgbase), *replaces, Some(self.commit(tree, vec![tip], message)?))
            }
            ReviewStep::Close { pkgbase, head, .. } => update(branch(pkgbase), Some(*head), None),
        })
    }

    fn commit(&self, tree: Oid, parents: Vec<Oid>, message: &str) -> Result<Oid> {
        let identity = self.snapshot.settings.identity.clone();
        Ok(self.git.commit(&NewCommit { tree, parents, message: message.to_owned(), identity, time: self.plan.now })?)
    }
}

fn branch(pkgbase: &PkgBase) -> String {
    format!("refs/heads/{}", pkgbase.review_branch())
}

/// The files of one package at one commit: what a build gets.
///
/// # Errors
/// If the commit has no such folder, or the folder must not be handed to anybody.
pub fn folder_at(git: &Repository, commit: Oid, pkgbase: &PkgBase) -> Result<Folder> {
    let entries = git.entries(git.tree_of(commit)?)?;
    let entry = entries.iter().find(|entry| entry.is_tree && entry.name == pkgbase.as_str());
    let entry = entry.with_context(|| format!("commit {} has no folder `{pkgbase}`", commit.short()))?;
    git.folder(entry.id, &Limits::default()).with_context(|| format!("the folder `{pkgbase}` cannot be used"))
}
