//! Reading and writing single objects: the entries of a tree, the bytes of a blob.

use git2::ObjectType;

use super::repository::{from_git, to_git};
use super::{GitError, Repository};
use crate::domain::name::Oid;

/// One entry of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name; bytes that are not UTF-8 are replaced. [`Repository::folder`] refuses such names.
    pub name: String,
    /// Its mode as git writes it, such as `0o100644`.
    pub mode: u32,
    /// What it is.
    pub id: Oid,
    /// Whether it is a folder.
    pub is_tree: bool,
}

impl Repository {
    /// What is in a tree, in git's order.
    ///
    /// # Errors
    /// [`GitError::MissingObject`], or what is wrong with the object.
    pub fn entries(&self, tree: Oid) -> Result<Vec<Entry>, GitError> {
        let tree = self.inner.find_tree(to_git(tree)).map_err(GitError::object(tree))?;
        let entry = |entry: git2::TreeEntry<'_>| Entry {
            name: String::from_utf8_lossy(entry.name_bytes()).into_owned(),
            mode: mode_of(&entry),
            id: from_git(entry.id()),
            is_tree: entry.kind() == Some(ObjectType::Tree),
        };
        Ok(tree.iter().map(entry).collect())
    }

    /// The bytes of a file of at most `max` bytes. Many small ones can be read in a loop: an open
    /// repository keeps its packs mapped.
    ///
    /// # Errors
    /// [`GitError::MissingObject`], [`GitError::TooLarge`], or what is wrong with the object.
    pub fn blob(&self, id: Oid, max: usize) -> Result<Vec<u8>, GitError> {
        let odb = self.inner.odb().map_err(GitError::library("open the objects"))?;
        // Asked first, so that a huge object never gets into memory.
        checked_size(&odb, id, max)?;
        let object = odb.read(to_git(id)).map_err(GitError::object(id))?;
        Ok(object.data().to_vec())
    }

    /// The size of a file of at most `max` bytes, which is not read.
    ///
    /// # Errors
    /// As [`Repository::blob`].
    pub(super) fn blob_size(&self, id: Oid, max: usize) -> Result<usize, GitError> {
        checked_size(&self.inner.odb().map_err(GitError::library("open the objects"))?, id, max)
    }

    /// What is at a path such as `foo/.CI/config` below a tree; `None` if nothing is.
    ///
    /// # Errors
    /// [`GitError`] if a tree on the way cannot be read.
    pub fn entry_at(&self, tree: Oid, path: &str) -> Result<Option<Entry>, GitError> {
        let mut tree = tree;
        let (folders, last) = path.rsplit_once('/').map_or((None, path), |(folders, last)| (Some(folders), last));
        for folder in folders.into_iter().flat_map(|folders| folders.split('/')) {
            match self.entry_of(tree, folder)? {
                Some(entry) if entry.is_tree => tree = entry.id,
                _ => return Ok(None),
            }
        }
        self.entry_of(tree, last)
    }

    /// Looks through the tree as git stores it: the tree of a monorepo has thousands of entries, and making
    /// something of each costs more than finding one.
    fn entry_of(&self, tree: Oid, name: &str) -> Result<Option<Entry>, GitError> {
        let odb = self.inner.odb().map_err(GitError::library("open the objects"))?;
        let object = odb.read(to_git(tree)).map_err(GitError::object(tree))?;
        if object.kind() != ObjectType::Tree {
            return Err(GitError::library(format!("read object {tree}"))(git2::Error::from_str("it is not a tree")));
        }
        Ok(stored_entry(object.data(), name))
    }

    /// The bytes of the file at a path below a tree; `None` if there is no file.
    ///
    /// # Errors
    /// As [`Repository::blob`].
    pub fn file(&self, tree: Oid, path: &str, max: usize) -> Result<Option<Vec<u8>>, GitError> {
        let is_file = |entry: &Entry| entry.mode & 0o170_000 == 0o100_000;
        self.entry_at(tree, path)?.filter(is_file).map(|entry| self.blob(entry.id, max)).transpose()
    }

    /// Writes a file into the repository.
    ///
    /// # Errors
    /// [`GitError::File`] if the disk is full, else [`GitError::Library`].
    pub fn write_blob(&self, bytes: &[u8]) -> Result<Oid, GitError> {
        let id = self.inner.blob(bytes).map_err(GitError::writing(self.path(), "write a file into the repository"))?;
        Ok(from_git(self.note(id)))
    }

    /// Whether the repository has an object.
    #[must_use]
    pub fn contains(&self, id: Oid) -> bool {
        self.inner.odb().is_ok_and(|odb| odb.exists(to_git(id)))
    }
}

/// The mode as it is written in the tree, not as git would have liked it.
pub(super) fn mode_of(entry: &git2::TreeEntry<'_>) -> u32 {
    u32::try_from(entry.filemode_raw()).unwrap_or(0)
}

fn checked_size(odb: &git2::Odb<'_>, id: Oid, max: usize) -> Result<usize, GitError> {
    let (size, kind) = odb.read_header(to_git(id)).map_err(GitError::object(id))?;
    if kind != ObjectType::Blob {
        return Err(GitError::library(format!("read object {id}"))(git2::Error::from_str("it is not a file")));
    }
    if size > max { Err(GitError::TooLarge { id, size, max }) } else { Ok(size) }
}

/// The entry with this name among those of a stored tree: `mode SP name NUL id`, one after the other.
fn stored_entry(mut tree: &[u8], name: &str) -> Option<Entry> {
    const ID: usize = 20;
    while let Some(end) = memchr::memchr(0, tree) {
        let (head, id) = (&tree[..end], tree.get(end + 1..end + 1 + ID)?);
        let mode = head.strip_suffix(name.as_bytes()).and_then(|before| before.strip_suffix(b" "));
        if let Some(mode) = mode.filter(|mode| !mode.contains(&b' ')) {
            let mode = u32::from_str_radix(std::str::from_utf8(mode).ok()?, 8).ok()?;
            let id = Oid::from_bytes(id.try_into().expect("as long as an id"));
            return Some(Entry { name: name.to_owned(), mode, id, is_tree: mode == 0o040_000 });
        }
        tree = &tree[end + 1 + ID..];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::testing::{World, folder, link};
    use super::*;

    #[test]
    fn an_entry_is_found_among_names_that_begin_alike_and_a_cut_tree_has_none() {
        let entry =
            |mode: &str, name: &str, id: u8| [mode.as_bytes(), b" ", name.as_bytes(), b"\0", &[id; 20]].concat();
        let tree = [entry("40000", "foo", 0), entry("100755", "foo-bar", b' '), entry("120000", "fo", 3)].concat();
        let found = stored_entry(&tree, "foo-bar").expect("there");
        assert_eq!((found.mode, found.id, found.is_tree), (0o100_755, Oid::from_bytes([b' '; 20]), false));
        assert!(stored_entry(&tree, "foo").expect("there").is_tree);
        assert_eq!(stored_entry(&tree, "fo").expect("there").mode, 0o120_000);
        assert_eq!(stored_entry(&tree, "oo"), None);
        assert_eq!(stored_entry(&tree[..tree.len() - 1], "fo"), None);
    }

    #[test]
    fn files_are_found_by_their_path() {
        let world = World::new();
        let repository = world.bare("repo");
        let files = link(folder(&[("foo/.CI/config", "A=1"), ("foo/PKGBUILD", "x")]), "foo/link", "PKGBUILD");
        let tree = repository.write_folder(&files).expect("written");
        let read = |path: &str| repository.file(tree, path, 100).expect(path);
        assert_eq!(read("foo/.CI/config").as_deref(), Some(&b"A=1"[..]));
        for absent in ["foo", "foo/none", "foo/PKGBUILD/x", "none/at/all", "foo/link", "", "/"] {
            assert_eq!(read(absent), None, "{absent}");
        }
        let foo = repository.entry_at(tree, "foo").expect("read").expect("there");
        assert!(foo.is_tree && foo.mode == 0o040_000);
        let entries = repository.entries(foo.id).expect("read");
        let seen: Vec<_> = entries.iter().map(|entry| (entry.name.as_str(), entry.mode)).collect();
        assert_eq!(seen, [(".CI", 0o040_000), ("PKGBUILD", 0o100_644), ("link", 0o120_000)]);
    }

    #[test]
    fn a_file_over_the_limit_is_not_read() {
        let world = World::new();
        let repository = world.bare("repo");
        let id = repository.write_blob(b"12345").expect("written");
        assert_eq!(repository.blob(id, 5).expect("fits"), b"12345");
        let error = repository.blob(id, 4).expect_err("too large").to_string();
        assert_eq!(error, format!("object {id} has 5 bytes, and at most 4 are allowed"));
        let tree = repository.write_folder(&folder(&[("a", "1")])).expect("written");
        assert!(matches!(repository.blob(tree, 100), Err(GitError::Library { .. })));
        let absent = Oid::from_bytes([5; 20]);
        assert!(matches!(repository.blob(absent, 100), Err(GitError::MissingObject { id }) if id == absent));
        assert!(matches!(repository.entries(absent), Err(GitError::MissingObject { .. })));
    }

    #[test]
    fn objects_that_the_git_program_adds_later_are_seen() {
        let world = World::new();
        let repository = world.bare("repo");
        repository.write_blob(b"first").expect("written");
        let late = super::super::testing::git(&world.path("repo"), &["hash-object", "-w", "--stdin"], b"late");
        let late = late.trim().parse().expect("an id");
        assert!(repository.contains(late));
        assert_eq!(repository.blob(late, 100).expect("read"), b"late");
        world.git("repo", &["update-ref", "refs/keep", &late.to_string()]);
        world.git("repo", &["repack", "-adq"]);
        assert_eq!(repository.blob(late, 100).expect("read"), b"late");
    }
}
