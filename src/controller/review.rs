//! What a review proposes, as the faces show it.

use std::collections::BTreeSet;

use anyhow::Result;

use super::site::Look;
use super::view::{FileDiff, ReviewView};
use super::{Kept, observe};
use crate::domain::classify;
use crate::domain::folder::Folder;
use crate::domain::name::{Oid, PkgBase};
use crate::domain::observed::Proposal;

/// The review of a package; `None` if its branch proposes nothing (it is about to be pruned).
pub async fn review_of(kept: &Kept, look: &Look, pkgbase: &PkgBase) -> Result<Option<ReviewView>> {
    let Some(head) = look.snapshot.reviews.get(pkgbase).map(|review| review.head) else { return Ok(None) };
    let key = (head, look.snapshot.packages.get(pkgbase).map(|package| package.tree));
    if let Some((same, view)) = kept.reviews.lock().expect("nobody panics with it").get(pkgbase)
        && *same == key
    {
        return Ok(view.clone());
    }
    let (snapshot, wanted) = (look.snapshot.clone(), pkgbase.clone());
    let proposal = kept.site().with_git(move |git| observe::proposal(git, &snapshot, &wanted)).await?;
    let view = proposal.and_then(|proposal| review_view(pkgbase, head, &proposal));
    kept.reviews.lock().expect("nobody panics with it").insert(pkgbase.clone(), (key, view.clone()));
    Ok(view)
}

fn review_view(pkgbase: &PkgBase, head: Oid, proposal: &Proposal) -> Option<ReviewView> {
    let Proposal { base, present, proposed } = proposal;
    let after = present.updated_to(proposed);
    if after.from_source() == present.from_source() {
        return None;
    }
    let conflict = "its folder has changed on the branch since the review was opened";
    Some(ReviewView {
        pkgbase: pkgbase.clone(),
        branch: pkgbase.review_branch(),
        head,
        verdict: classify::classify(present, &after),
        files: file_diffs(&present.from_source(), &after.from_source()),
        conflict: (base.from_source() != present.from_source()).then(|| conflict.to_owned()),
    })
}

fn file_diffs(old: &Folder, new: &Folder) -> Vec<FileDiff> {
    let paths: BTreeSet<&String> = old.files.keys().chain(new.files.keys()).collect();
    let differs = |path: &&&String| old.files.get(**path) != new.files.get(**path);
    let text =
        |folder: &Folder, path: &str| folder.get(path).map(|bytes| std::str::from_utf8(bytes).map(str::to_owned));
    let diff = |path: &String| {
        let (before, after) = (text(old, path), text(new, path));
        let binary = matches!(before, Some(Err(_))) || matches!(after, Some(Err(_)));
        FileDiff { path: path.clone(), old: before.and_then(Result::ok), new: after.and_then(Result::ok), binary }
    };
    paths.iter().filter(differs).map(|path| diff(path)).collect()
}
