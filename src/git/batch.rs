//! Writing many objects at once: kept in memory until all of them are there, then written together.
//!
//! A file for each object costs a millisecond or more; thousands in one pack cost hardly more than one.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::Write as _;

use git2::{Buf, OdbLookupFlags};

use super::{GitError, Repository};

/// Fewer objects than this are written as files of their own, so that packs do not pile up.
const WORTH_A_PACK: usize = 64;

/// The memory is asked before the disk.
const FIRST: i32 = 1_000;

impl Repository {
    /// Runs `write` with a view of this repository in which it writes objects. They are in the
    /// repository once this returns; if `write` fails, none of them are.
    ///
    /// # Errors
    /// What `write` returns, [`GitError::File`] if the disk is full, or [`GitError::Library`] if the objects
    /// cannot be written otherwise.
    pub fn write_at_once<T, E: From<GitError>>(&self, write: impl FnOnce(&Self) -> Result<T, E>) -> Result<T, E> {
        if self.written.is_some() {
            return write(self);
        }
        let mut batch = Self::open(self.path())?;
        batch.written = Some(RefCell::default());
        let odb = batch.inner.odb().map_err(GitError::library("open the objects"))?;
        let _memory = odb.add_new_mempack_backend(FIRST).map_err(GitError::library("collect objects in memory"))?;
        let result = write(&batch)?;
        self.keep(&batch).map_err(GitError::writing(self.path(), "write objects into the repository"))?;
        Ok(result)
    }

    /// Remembers what a batch has to write in the end.
    pub(super) fn note(&self, id: git2::Oid) -> git2::Oid {
        if let Some(written) = &self.written {
            written.borrow_mut().insert(id);
        }
        id
    }

    fn keep(&self, batch: &Self) -> Result<(), git2::Error> {
        let (here, there) = (self.inner.odb()?, batch.inner.odb()?);
        let written: BTreeSet<git2::Oid> = batch.written.as_ref().map(RefCell::take).unwrap_or_default();
        let is_new = |id: &git2::Oid| !here.exists_ext(*id, OdbLookupFlags::NO_REFRESH);
        let new: Vec<git2::Oid> = written.into_iter().filter(is_new).collect();
        if new.len() < WORTH_A_PACK {
            for id in new {
                let object = there.read(id)?;
                here.write(object.kind(), object.data())?;
            }
            return Ok(());
        }
        let mut builder = batch.inner.packbuilder()?;
        builder.set_threads(1);
        for id in new {
            builder.insert_object(id, None)?;
        }
        let mut pack = Buf::new();
        builder.write_buf(&mut pack)?;
        let mut writer = here.packwriter()?;
        writer.write_all(&pack).map_err(|error| git2::Error::from_str(&error.to_string()))?;
        writer.commit()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{World, commit, folder};
    use super::super::{Limits, TreeEdit};
    use super::*;
    use crate::domain::name::Oid;

    fn state(repository: &Repository, count: usize) -> Result<Oid, GitError> {
        let put = |number: usize| {
            let id = repository.write_blob(format!("CI_GIT_COMMIT={number}").as_bytes())?;
            Ok(TreeEdit::Put { path: format!("package-{number}"), id, mode: 0o100_644 })
        };
        let edits: Vec<TreeEdit> = (0..count).map(put).collect::<Result<_, GitError>>()?;
        repository.write_tree(None, &edits)
    }

    #[test]
    fn thousands_of_objects_become_one_pack() {
        let world = World::new();
        let (_hub, work, first) = world.hub_and_workspace();
        let made = work.write_at_once(|work| {
            let tree = state(work, 2_500)?;
            assert_eq!(work.entries(tree)?.len(), 2_500, "what was written can be read at once");
            work.write_at_once(|same| {
                assert!(same.contains(tree));
                Ok::<_, GitError>(commit(same, &[first], &[("README", "hello"), ("new", "x")]))
            })
        });
        let made = made.expect("written");
        assert_eq!(work.history(Some(first), made).expect("there").len(), 1);
        let count = world.git("work", &["count-objects", "-v"]);
        let expected = ["count: 0", "packs: 1", "in-pack: 2504"];
        assert!(expected.iter().all(|line| count.lines().any(|it| it == *line)), "{count}");
        world.set("work", "refs/keep", made);
        world.git("work", &["fsck", "--strict", "--no-dangling"]);
    }

    #[test]
    fn few_objects_become_files_and_none_are_written_if_it_fails() {
        let world = World::new();
        let repository = world.bare("repo");
        let tree = repository.write_at_once(|repository| state(repository, 3)).expect("written");
        assert_eq!(repository.folder(tree, &Limits::default()).expect("read").files.len(), 3);
        assert!(world.git("repo", &["count-objects"]).starts_with("4 objects"));
        let failed: Result<(), GitError> = repository.write_at_once(|repository| {
            repository.write_folder(&folder(&[("lost", "x")]))?;
            Err(GitError::RefusedRef { name: "x".to_owned() })
        });
        assert!(matches!(failed, Err(GitError::RefusedRef { .. })));
        assert!(world.git("repo", &["count-objects"]).starts_with("4 objects"));
    }
}
