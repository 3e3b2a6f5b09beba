//! Writing trees and commits without a work tree.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::objects::mode_of;
use super::repository::{from_git, to_git};
use super::{GitError, Repository};
use crate::domain::folder::{File, Folder};
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
    /// Whether anything has been put below, so that a file which stood here is gone.
    is_folder: bool,
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
        Self { start, is_folder: false, by_name: BTreeMap::new() }
    }

    fn add(&mut self, edit: &TreeEdit) -> Result<(), GitError> {
        let path = edit.path();
        let (folders, name) = path.rsplit_once('/').map_or(("", path), |(folders, name)| (folders, name));
        path.split('/').try_for_each(|part| legal(path, part))?;
        let removes = matches!(edit, TreeEdit::Remove { .. });
        let mut here = self;
        for folder in folders.split('/').filter(|folder| !folder.is_empty()) {
            if removes && here.holds_nothing_below(folder) {
                return Ok(());
            }
            here = here.within(folder);
            here.is_folder |= !removes;
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

fn legal(path: &str, part: &str) -> Result<(), GitError> {
    let bad = |reason| Err(GitError::BadPath { path: path.to_owned(), reason });
    match part {
        "" => bad("it has an empty part"),
        "." | ".." => bad("`.` and `..` are not names"),
        _ if part.eq_ignore_ascii_case(".git") => bad("`.git` belongs to git"),
        _ if part.contains('\0') => bad("it has a zero byte"),
        _ => Ok(()),
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
        Ok(from_git(self.note(made.map_err(GitError::writing(self.path(), "write a commit"))?)))
    }

    /// Writes the changed folder; `None` if nothing is left in it.
    fn write_changes(&self, base: Option<Oid>, changes: &Changes) -> Result<Option<Oid>, GitError> {
        let failed = || GitError::writing(self.path(), "write a tree");
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
        if builder.is_empty() {
            return Ok(None);
        }
        let written = builder.write().map_err(failed())?;
        Ok(Some(from_git(self.note(written))))
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
        let file = old.filter(|_| folder.is_none() && matches!(inner.start, Start::Base) && !inner.is_folder);
        Ok(written.or_else(|| file.map(|entry| (from_git(entry.id()), mode_of(entry)))))
    }

    fn write_empty(&self) -> Result<Oid, GitError> {
        let builder = self.inner.treebuilder(None).map_err(GitError::writing(self.path(), "write a tree"))?;
        let written = builder.write().map_err(GitError::writing(self.path(), "write a tree"))?;
        Ok(from_git(self.note(written)))
    }
}

/// The id of the tree that [`Repository::write_folder`] would write, without writing anything.
///
/// # Errors
/// [`GitError::Library`] if git cannot hash.
pub fn tree_id(folder: &Folder) -> Result<Oid, GitError> {
    let files: Vec<(&str, &File)> = folder.files.iter().map(|(path, file)| (path.as_str(), file)).collect();
    hashed_tree(&files).map_err(GitError::library("compute the id of a tree".to_owned()))
}

fn hashed_tree(files: &[(&str, &File)]) -> Result<Oid, git2::Error> {
    let mut folders: BTreeMap<&str, Vec<(&str, &File)>> = BTreeMap::new();
    // Git sorts folders as if their names ended with a slash.
    let mut entries: BTreeMap<String, (u32, &str, Oid)> = BTreeMap::new();
    for &(path, file) in files {
        if let Some((folder, rest)) = path.split_once('/') {
            folders.entry(folder).or_default().push((rest, file));
        } else {
            let id = from_git(git2::Oid::hash_object(git2::ObjectType::Blob, &file.bytes)?);
            entries.insert(path.to_owned(), (file.mode.as_octal(), path, id));
        }
    }
    for (name, files) in &folders {
        entries.insert(format!("{name}/"), (TREE_MODE, name, hashed_tree(files)?));
    }
    let mut bytes = Vec::new();
    for (mode, name, id) in entries.values() {
        bytes.extend(format!("{mode:o} {name}\0").into_bytes());
        bytes.extend(id.as_bytes());
    }
    git2::Oid::hash_object(git2::ObjectType::Tree, &bytes).map(from_git)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::testing::{World, folder};
    use super::super::{FolderError, Limits};
    use super::*;
    use crate::domain::folder::FileMode;

    fn put(repository: &Repository, path: &str, text: &str) -> TreeEdit {
        let id = repository.write_blob(text.as_bytes()).expect("blob");
        TreeEdit::Put { path: path.to_owned(), id, mode: FileMode::Regular.as_octal() }
    }

    /// Edits, and the files there are after them.
    type EditCase<'a> = (&'a [TreeEdit], &'a [(&'a str, &'a str)]);

    fn remove(path: &str) -> TreeEdit {
        TreeEdit::Remove { path: path.to_owned() }
    }

    fn read(repository: &Repository, tree: Oid) -> Folder {
        repository.folder(tree, &Limits::default()).expect("readable")
    }

    #[test]
    fn a_folder_is_written_as_git_would_write_it() {
        let world = World::new();
        let repository = world.bare("repo");
        let mut folder = folder(&[("PKGBUILD", "x"), (".CI/config", "y"), ("a-b", "1"), ("a/b/c", "2"), ("a.b", "3")]);
        folder.files.get_mut("a.b").expect("there").mode = FileMode::Executable;
        let folder = super::super::testing::link(folder, "a/link", "../PKGBUILD");
        let tree = repository.write_folder(&folder).expect("written");
        assert_eq!(read(&repository, tree), folder);
        assert_eq!(tree_id(&folder).expect("hashed"), tree);
        world.git("repo", &["fsck", "--strict"]);
        let empty = repository.write_folder(&Folder::default()).expect("written");
        assert_eq!(empty.to_string(), "4b825dc642cb6eb9a060e54bf8d69288fbee4904");
    }

    #[test]
    fn edits_are_made_in_their_order() {
        let world = World::new();
        let repository = world.bare("repo");
        let base = repository.write_folder(&folder(&[("a/x", "1"), ("a/y", "2"), ("b", "3"), ("z/only", "4")]));
        let base = base.expect("written");
        let whole = repository.write_folder(&folder(&[("p", "5"), ("q", "6")])).expect("written");
        let cases: [EditCase<'_>; 9] = [
            (&[], &[("a/x", "1"), ("a/y", "2"), ("b", "3"), ("z/only", "4")]),
            (
                &[put(&repository, "a/n/m", "9")],
                &[("a/n/m", "9"), ("a/x", "1"), ("a/y", "2"), ("b", "3"), ("z/only", "4")],
            ),
            (&[remove("z/only"), remove("a/x"), remove("none"), remove("no/ne")], &[("a/y", "2"), ("b", "3")]),
            (&[remove("a"), put(&repository, "a/new", "7")], &[("a/new", "7"), ("b", "3"), ("z/only", "4")]),
            (&[put(&repository, "a/new", "7"), remove("a")], &[("b", "3"), ("z/only", "4")]),
            (&[put(&repository, "b/c", "8"), remove("a"), remove("z")], &[("b/c", "8")]),
            (&[remove("b/c"), remove("a"), remove("z")], &[("b", "3")]),
            (&[put(&repository, "b", "8"), remove("b/c"), remove("a"), remove("z")], &[("b", "8")]),
            (
                &[
                    TreeEdit::Put { path: "a".to_owned(), id: whole, mode: TREE_MODE },
                    remove("a/p"),
                    put(&repository, "a/r", "7"),
                    remove("z"),
                    remove("b"),
                ],
                &[("a/q", "6"), ("a/r", "7")],
            ),
        ];
        for (edits, expected) in cases {
            let tree = repository.write_tree(Some(base), edits).expect("written");
            assert_eq!(read(&repository, tree), folder(expected), "{edits:?}");
        }
    }

    #[test]
    fn paths_that_git_does_not_allow_are_refused() {
        let world = World::new();
        let repository = world.bare("repo");
        for path in ["", "/a", "a/", "a//b", ".", "a/../b", ".git/config", "a/.GIT/x", "a\0b"] {
            let error = repository.write_tree(None, &[put(&repository, path, "x")]).expect_err(path);
            assert!(matches!(error, GitError::BadPath { .. }), "{path}: {error}");
            assert!(matches!(repository.write_tree(None, &[remove(path)]), Err(GitError::BadPath { .. })), "{path}");
        }
    }

    #[test]
    fn what_is_written_goes_into_the_workspace_alone() {
        let world = World::new();
        let (hub, work, first) = world.hub_and_workspace();
        let tree = work.write_tree(Some(work.tree_of(first).expect("read")), &[put(&work, "new", "text")]);
        let tree = tree.expect("written");
        assert_eq!(read(&work, tree), folder(&[("README", "hello"), ("new", "text")]));
        assert!(work.contains(first) && !hub.contains(tree));
        assert!(matches!(hub.folder(tree, &Limits::default()), Err(FolderError::Git(GitError::MissingObject { .. }))));
    }

    #[test]
    fn a_commit_needs_its_tree_and_its_parents() {
        let world = World::new();
        let repository = world.bare("repo");
        let absent = Oid::from_bytes([9; 20]);
        let identity = Identity { name: "N".to_owned(), email: "n@example.org".to_owned() };
        let tree = repository.write_folder(&Folder::default()).expect("written");
        let good = NewCommit { tree, parents: vec![], message: "m".to_owned(), identity, time: Timestamp::UNIX_EPOCH };
        repository.commit(&good).expect("made");
        let without_tree = NewCommit { tree: absent, ..good.clone() };
        assert!(matches!(repository.commit(&without_tree), Err(GitError::MissingObject { .. })));
        let without_parent = NewCommit { parents: vec![absent], ..good.clone() };
        assert!(matches!(repository.commit(&without_parent), Err(GitError::MissingObject { .. })));
        let nameless = NewCommit { identity: Identity { name: String::new(), email: "e".to_owned() }, ..good };
        assert!(repository.commit(&nameless).expect_err("no name").to_string().contains("a commit by ` <e>`"));
    }

    /// What edits mean, said without trees: a map from path to text.
    fn model(files: &mut BTreeMap<String, String>, path: &str, text: Option<&str>) {
        let below = |name: &str| name.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        files.retain(|name, _| !below(name));
        if let Some(text) = text {
            files.retain(|name, _| !path.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with('/')));
            files.insert(path.to_owned(), text.to_owned());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn edits_do_what_they_would_do_to_files(
            base in vec(("[ab](/[ab]){0,2}", "[x-z]"), 0..6),
            edits in vec(("[ab](/[ab]){0,2}", proptest::option::of("[x-z]")), 0..8),
        ) {
            let world = World::new();
            let repository = world.bare("repo");
            let mut files = BTreeMap::new();
            for (path, text) in &base {
                model(&mut files, path, Some(text));
            }
            let as_folder = |files: &BTreeMap<String, String>| {
                files.iter().fold(Folder::default(), |folder, (path, text)| folder.with(path, text))
            };
            let tree = repository.write_folder(&as_folder(&files)).expect("written");
            let mut made = Vec::new();
            for (path, text) in &edits {
                model(&mut files, path, text.as_deref());
                made.push(text.as_ref().map_or_else(|| remove(path), |text| put(&repository, path, text)));
            }
            let edited = repository.write_tree(Some(tree), &made).expect("written");
            prop_assert_eq!(edited, repository.write_folder(&as_folder(&files)).expect("written"));
            prop_assert_eq!(edited, tree_id(&as_folder(&files)).expect("hashed"));
        }
    }
}
