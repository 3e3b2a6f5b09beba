//! Writing trees and commits without a work tree.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::objects::mode_of;
use super::repository::{from_git, to_git};
use super::{GitError, Repository};
use crate::domain::folder::Folder;
use crate::domain::name::Oid;
use crate::domain::policy::Identity;

/// The mode of a folder in a tree.
pub const TREE_MODE: u32 = 0o040_000;

/// One change to a tree. Paths have `/` between parts and none around them: `foo/.CI/config`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TreeEdit {
    /// Puts an object at a path, in place of whatever is there; folders on the way are made. With
    /// [`TREE_MODE`] the object is a whole folder.
    Put {
        /// Where.
        path: String,
        /// What; it must be in the repository.
        id: Oid,
        /// Its mode as git writes it, such as `0o100644`.
        mode: u32,
    },
    /// Removes a file or a folder; nothing happens if it is not there. Folders that become empty go as
    /// well, since git has no empty folders.
    Remove {
        /// Where.
        path: String,
    },
}

impl TreeEdit {
    fn path(&self) -> &str {
        match self {
            Self::Put { path, .. } | Self::Remove { path } => path,
        }
    }
}

/// A commit to be made, by the same person as author and committer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCommit {
    /// The root tree.
    pub tree: Oid,
    /// The commits before it; none makes it the first of a history.
    pub parents: Vec<Oid>,
    /// The whole message.
    pub message: String,
    /// Who makes it.
    pub identity: Identity,
    /// When.
    pub time: Timestamp,
}

/// What becomes of one name in a folder.
enum Change {
    Put { id: Oid, mode: u32 },
    Remove,
    Within(Changes),
}

/// What becomes of the entries of a folder.
struct Changes {
    start: Start,
    by_name: BTreeMap<String, Change>,
}

/// What is in a folder before its changes.
enum Start {
    /// What the base has there.
    Base,
    /// Nothing, because an earlier edit removed it or put a file in its place.
    Nothing,
    /// A folder that an earlier edit put there.
    Tree(Oid),
}

impl Changes {
    const fn from(start: Start) -> Self {
        Self { start, by_name: BTreeMap::new() }
    }

    fn add(&mut self, edit: &TreeEdit) -> Result<(), GitError> {
        let path = edit.path();
        let (folders, name) = path.rsplit_once('/').map_or(("", path), |(folders, name)| (folders, name));
        let name = legal(path, name)?;
        let mut here = self;
        for folder in folders.split('/').filter(|_| !folders.is_empty()) {
            let folder = legal(path, folder)?;
            if matches!(edit, TreeEdit::Remove { .. }) && here.holds_nothing_below(folder) {
                return Ok(());
            }
            here = here.within(folder);
        }
        let change = match edit {
            TreeEdit::Put { id, mode, .. } => Change::Put { id: *id, mode: *mode },
            TreeEdit::Remove { .. } => Change::Remove,
        };
        here.by_name.insert(name.to_owned(), change);
        Ok(())
    }

    /// Whether an earlier edit has left no folder under this name.
    fn holds_nothing_below(&self, name: &str) -> bool {
        match self.by_name.get(name) {
            Some(Change::Remove) => true,
            Some(Change::Put { mode, .. }) => *mode != TREE_MODE,
            Some(Change::Within(_)) | None => false,
        }
    }

    /// The changes inside a folder, which starts out as earlier edits left it.
    fn within(&mut self, name: &str) -> &mut Self {
        let change = self.by_name.entry(name.to_owned()).or_insert(Change::Within(Self::from(Start::Base)));
        match change {
            Change::Put { id, mode: TREE_MODE } => *change = Change::Within(Self::from(Start::Tree(*id))),
            Change::Put { .. } | Change::Remove => *change = Change::Within(Self::from(Start::Nothing)),
            Change::Within(_) => {}
        }
        match change {
            Change::Within(changes) => changes,
            Change::Put { .. } | Change::Remove => unreachable!("it was just made one"),
        }
    }
}

fn legal<'a>(path: &str, part: &'a str) -> Result<&'a str, GitError> {
    let bad = |reason| Err(GitError::BadPath { path: path.to_owned(), reason });
    match part {
        "" => bad("it has an empty part"),
        "." | ".." => bad("`.` and `..` are not names"),
        _ if part.eq_ignore_ascii_case(".git") => bad("`.git` belongs to git"),
        _ if part.contains('\0') => bad("it has a zero byte"),
        _ => Ok(part),
    }
}

impl Repository {
    /// Writes a tree that is `base` with the edits made in their order; without a base, only what the
    /// edits put. Folders nobody edits are not read, so the cost is that of the edits and of the
    /// folders they lie in.
    ///
    /// # Errors
    /// [`GitError::BadPath`], [`GitError::MissingObject`], or what is wrong with an object.
    pub fn write_tree(&self, base: Option<Oid>, edits: &[TreeEdit]) -> Result<Oid, GitError> {
        let mut changes = Changes::from(Start::Base);
        for edit in edits {
            changes.add(edit)?;
        }
        match self.write_changes(base, &changes)? {
            Some(tree) => Ok(tree),
            None => self.write_empty(),
        }
    }

    /// Writes a folder, with everything in it, as a tree.
    ///
    /// # Errors
    /// As [`Repository::write_tree`].
    pub fn write_folder(&self, folder: &Folder) -> Result<Oid, GitError> {
        let put = |(path, file): (&String, &crate::domain::folder::File)| {
            let id = self.write_blob(&file.bytes)?;
            Ok(TreeEdit::Put { path: path.clone(), id, mode: file.mode.as_octal() })
        };
        let edits: Vec<TreeEdit> = folder.files.iter().map(put).collect::<Result<_, GitError>>()?;
        self.write_tree(None, &edits)
    }

    /// Writes a commit. No ref is moved.
    ///
    /// # Errors
    /// [`GitError::MissingObject`] if its tree or a parent is not there; [`GitError::Library`] if the
    /// identity has no name.
    pub fn commit(&self, new: &NewCommit) -> Result<Oid, GitError> {
        let Identity { name, email } = &new.identity;
        let time = git2::Time::new(new.time.as_second(), 0);
        let who = git2::Signature::new(name, email, &time);
        let who = who.map_err(GitError::library(format!("make a commit by `{name} <{email}>`")))?;
        let tree = self.inner.find_tree(to_git(new.tree)).map_err(GitError::object(new.tree))?;
        let find = |&id: &Oid| self.inner.find_commit(to_git(id)).map_err(GitError::object(id));
        let parents: Vec<git2::Commit<'_>> = new.parents.iter().map(find).collect::<Result<_, _>>()?;
        let parents: Vec<&git2::Commit<'_>> = parents.iter().collect();
        let made = self.inner.commit(None, &who, &who, &new.message, &tree, &parents);
        Ok(from_git(made.map_err(GitError::library("write a commit"))?))
    }

    /// Writes the changed folder; `None` if nothing is left in it.
    fn write_changes(&self, base: Option<Oid>, changes: &Changes) -> Result<Option<Oid>, GitError> {
        let failed = || GitError::library("write a tree");
        let base = match changes.start {
            Start::Base => base,
            Start::Nothing => None,
            Start::Tree(id) => Some(id),
        };
        let find = |id: Oid| self.inner.find_tree(to_git(id)).map_err(GitError::object(id));
        let base = base.map(find).transpose()?;
        let mut builder = self.inner.treebuilder(base.as_ref()).map_err(failed())?;
        for (name, change) in &changes.by_name {
            let old = base.as_ref().and_then(|base| base.get_name(name));
            match self.apply(old.as_ref(), change)? {
                Some((id, mode)) => {
                    builder.insert(name, to_git(id), i32::try_from(mode).unwrap_or(0)).map_err(failed())?;
                }
                None if old.is_some() => builder.remove(name).map_err(failed())?,
                None => {}
            }
        }
        if builder.is_empty() { Ok(None) } else { Ok(Some(from_git(builder.write().map_err(failed())?))) }
    }

    /// The object that stands under a name after a change, if any.
    fn apply(&self, old: Option<&git2::TreeEntry<'_>>, change: &Change) -> Result<Option<(Oid, u32)>, GitError> {
        let inner = match change {
            Change::Put { id, mode } => return Ok(Some((*id, *mode))),
            Change::Remove => return Ok(None),
            Change::Within(inner) => inner,
        };
        let is_tree = |entry: &&git2::TreeEntry<'_>| entry.kind() == Some(git2::ObjectType::Tree);
        let folder = old.filter(is_tree).map(|entry| from_git(entry.id()));
        let written = self.write_changes(folder, inner)?.map(|id| (id, TREE_MODE));
        // Removing something below a file must leave the file.
        let file = old.filter(|_| folder.is_none() && matches!(inner.start, Start::Base));
        Ok(written.or_else(|| file.map(|entry| (from_git(entry.id()), mode_of(entry)))))
    }

    fn write_empty(&self) -> Result<Oid, GitError> {
        let builder = self.inner.treebuilder(None).map_err(GitError::library("write a tree"))?;
        Ok(from_git(builder.write().map_err(GitError::library("write a tree"))?))
    }
}
