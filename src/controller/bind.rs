//! Binds each verdict to the git trees that were compared, so that exactly those are merged or proposed.

use anyhow::{Result, bail};

use crate::domain::desired::Snapshot;
use crate::domain::folder::Folder;
use crate::domain::name::{Oid, PkgBase};
use crate::domain::plan::{Edit, Plan, ReviewStep, Trees};
use crate::git::{GitError, tree_id};

/// Names the trees in the decisions of a plan.
///
/// # Errors
/// If git cannot hash.
pub fn bind(plan: &mut Plan, snapshot: &Snapshot) -> Result<(), GitError> {
    let edits = plan.commit.iter().flat_map(|commit| &commit.edits).filter_map(|edit| match edit {
        Edit::Folder(pkgbase, folder) => Some((pkgbase, folder)),
        Edit::File(..) | Edit::Remove(_) => None,
    });
    let proposed = plan.reviews.iter().filter_map(|step| match step {
        ReviewStep::Propose { pkgbase, folder, .. } => Some((pkgbase, folder)),
        ReviewStep::Close { .. } => None,
    });
    for (pkgbase, folder) in edits.chain(proposed) {
        let decision = plan.packages.iter_mut().find(|decision| decision.pkgbase == *pkgbase);
        let Some(decision) = decision else { continue };
        // What is new stands against nothing.
        let from = match snapshot.packages.get(pkgbase) {
            Some(package) => package.tree,
            None => tree_id(&Folder::default())?,
        };
        decision.trees = Some(trees(from, folder)?);
    }
    Ok(())
}

/// The trees of a folder as it is and as it would be.
///
/// # Errors
/// If git cannot hash.
pub fn trees(from: Oid, to: &Folder) -> Result<Trees, GitError> {
    Ok(Trees { from, to: tree_id(to)? })
}

/// Refuses to write another tree than the one a package's verdict is about.
///
/// # Errors
/// If it is another.
pub fn check(plan: &Plan, pkgbase: &PkgBase, written: Oid) -> Result<()> {
    let decision = plan.packages.iter().find(|decision| decision.pkgbase == *pkgbase);
    match decision.and_then(|decision| decision.trees) {
        Some(trees) if trees.to == written => Ok(()),
        Some(trees) => bail!("the verdict on `{pkgbase}` is about the tree {}, and this is {written}", trees.to),
        None => bail!("there is no verdict on the tree {written} of `{pkgbase}`"),
    }
}
