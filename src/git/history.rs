//! Walking from commit to commit.

use git2::Sort;
use jiff::Timestamp;

use super::repository::{from_git, to_git};
use super::{GitError, Repository};
use crate::domain::name::Oid;

/// One commit, without its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its id.
    pub id: Oid,
    /// The commits before it; none for the first, several for a merge.
    pub parents: Vec<Oid>,
    /// Who wrote it, as `name <address>`; bytes that are not UTF-8 are replaced.
    pub author: String,
    /// When it was committed.
    pub time: Timestamp,
    /// The whole message; bytes that are not UTF-8 are replaced.
    pub message: String,
}

impl Repository {
    /// The commits that lead to `until` and not to `after`, parents before children; without `after`,
    /// all that lead to `until`.
    ///
    /// # Errors
    /// [`GitError::MissingObject`], or what is wrong with a commit.
    pub fn history(&self, after: Option<Oid>, until: Oid) -> Result<Vec<Commit>, GitError> {
        let failed = || GitError::library(format!("walk the history of {until}"));
        let mut walk = self.inner.revwalk().map_err(failed())?;
        walk.set_sorting(Sort::TOPOLOGICAL | Sort::TIME | Sort::REVERSE).map_err(failed())?;
        walk.push(to_git(until)).map_err(GitError::object(until))?;
        if let Some(after) = after {
            walk.hide(to_git(after)).map_err(GitError::object(after))?;
        }
        walk.map(|id| self.commit_facts(from_git(id.map_err(failed())?))).collect()
    }

    /// One commit by its id.
    ///
    /// # Errors
    /// [`GitError::MissingObject`], or what is wrong with the object.
    pub fn commit_facts(&self, id: Oid) -> Result<Commit, GitError> {
        let commit = self.inner.find_commit(to_git(id)).map_err(GitError::object(id))?;
        let author = commit.author();
        let name = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Commit {
            id,
            parents: commit.parent_ids().map(from_git).collect(),
            author: format!("{} <{}>", name(author.name_bytes()), name(author.email_bytes())),
            time: Timestamp::from_second(commit.time().seconds()).unwrap_or_default(),
            message: name(commit.message_bytes()),
        })
    }

    /// Whether `older` is `newer` or leads to it.
    ///
    /// # Errors
    /// [`GitError::MissingObject`] if either is not there.
    pub fn is_ancestor(&self, older: Oid, newer: Oid) -> Result<bool, GitError> {
        if older == newer {
            return Ok(true);
        }
        for id in [older, newer] {
            self.inner.find_commit(to_git(id)).map_err(GitError::object(id))?;
        }
        let compared = self.inner.graph_descendant_of(to_git(newer), to_git(older));
        compared.map_err(GitError::library(format!("compare the histories of {older} and {newer}")))
    }
}
