//! Walking from commit to commit.

use std::collections::BTreeMap;

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

/// Whose hands a commit went through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hands {
    /// The commits before it.
    pub parents: Vec<Oid>,
    /// Who wrote it, as `name <address>`; bytes that are not UTF-8 are replaced.
    pub author: String,
    /// Who made the commit of it, alike.
    pub committer: String,
}

impl Repository {
    /// The commits that lead to any of `heads` and not to `main`, by their ids. One walk, however many heads.
    ///
    /// # Errors
    /// [`GitError::MissingObject`], or what is wrong with a commit.
    pub fn beside(&self, main: Oid, heads: &[Oid]) -> Result<BTreeMap<Oid, Hands>, GitError> {
        let failed = || GitError::library(format!("walk the history beside {main}"));
        let mut walk = self.inner.revwalk().map_err(failed())?;
        for &head in heads {
            walk.push(to_git(head)).map_err(GitError::object(head))?;
        }
        walk.hide(to_git(main)).map_err(GitError::object(main))?;
        walk.map(|id| {
            let id = from_git(id.map_err(failed())?);
            let commit = self.inner.find_commit(to_git(id)).map_err(GitError::object(id))?;
            let parents = commit.parent_ids().map(from_git).collect();
            let (author, committer) = (shown(&commit.author()), shown(&commit.committer()));
            Ok((id, Hands { parents, author, committer }))
        })
        .collect()
    }

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
        Ok(Commit {
            id,
            parents: commit.parent_ids().map(from_git).collect(),
            author: shown(&commit.author()),
            time: Timestamp::from_second(commit.time().seconds()).unwrap_or_default(),
            message: String::from_utf8_lossy(commit.message_bytes()).into_owned(),
        })
    }

    /// The commit at which the histories of two commits parted; `None` if they never met.
    ///
    /// # Errors
    /// [`GitError`] if the histories cannot be read.
    pub fn merge_base(&self, one: Oid, other: Oid) -> Result<Option<Oid>, GitError> {
        match self.inner.merge_base(to_git(one), to_git(other)) {
            Ok(base) => Ok(Some(from_git(base))),
            Err(error) if error.code() == git2::ErrorCode::NotFound => Ok(None),
            Err(error) => Err(GitError::library(format!("find where {one} and {other} parted"))(error)),
        }
    }

    /// All the commits at which the histories of two commits parted: where they crossed, no one of them is before
    /// another.
    ///
    /// # Errors
    /// [`GitError`] if the histories cannot be read.
    pub fn merge_bases(&self, one: Oid, other: Oid) -> Result<Vec<Oid>, GitError> {
        match self.inner.merge_bases(to_git(one), to_git(other)) {
            Ok(bases) => Ok(bases.iter().map(|id| from_git(*id)).collect()),
            Err(error) if error.code() == git2::ErrorCode::NotFound => Ok(Vec::new()),
            Err(error) => Err(GitError::library(format!("find where {one} and {other} parted"))(error)),
        }
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

/// `name <address>`; bytes that are not UTF-8 are replaced.
fn shown(person: &git2::Signature<'_>) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{} <{}>", text(person.name_bytes()), text(person.email_bytes()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::testing::{World, commit, commit_at};
    use super::*;

    fn ids(commits: &[Commit]) -> Vec<Oid> {
        commits.iter().map(|commit| commit.id).collect()
    }

    fn listed(world: &World, args: &[&str]) -> Vec<Oid> {
        world.git("repo", args).lines().map(|line| line.parse().expect("an id")).collect()
    }

    #[test]
    fn a_commit_tells_who_when_and_why() {
        let world = World::new();
        let repository = world.bare("repo");
        let first = commit(&repository, &[], &[("a", "1")]);
        let message = "chore: one\n\nbody with [deploy x]\n";
        let second = commit_at(&repository, &[first], &[("a", "2")], message, 1_700_000_001);
        let history = repository.history(Some(first), second).expect("walk");
        let expected = Commit {
            id: second,
            parents: vec![first],
            author: "T <t@example.org>".to_owned(),
            time: Timestamp::from_second(1_700_000_001).expect("in range"),
            message: message.to_owned(),
        };
        assert_eq!(history, [expected]);
        assert_eq!(repository.history(Some(second), second).expect("walk"), []);
    }

    #[test]
    fn commits_beside_a_branch_tell_whose_hands_they_went_through() {
        let world = World::new();
        let repository = world.bare("repo");
        let first = commit(&repository, &[], &[("a", "1")]);
        let main = commit(&repository, &[first], &[("a", "2")]);
        let [one, other] = ["3", "4"].map(|text| commit(&repository, &[first], &[("a", text)]));
        let second = commit(&repository, &[one], &[("a", "5")]);
        let beside = repository.beside(main, &[second, other, main]).expect("walk");
        assert_eq!(beside.keys().copied().collect::<BTreeSet<_>>(), [one, other, second].into());
        let who = "T <t@example.org>".to_owned();
        assert_eq!(beside[&second], Hands { parents: vec![one], author: who.clone(), committer: who });
    }

    #[test]
    fn histories_that_crossed_parted_at_several_commits() {
        let world = World::new();
        let repository = world.bare("repo");
        let first = commit(&repository, &[], &[("a", "1")]);
        let [one, other] = ["2", "3"].map(|text| commit(&repository, &[first], &[("a", text)]));
        let merged = commit(&repository, &[one, other], &[("a", "4")]);
        let crossed = commit(&repository, &[one, other], &[("a", "2")]);
        let bases =
            |one, other| -> BTreeSet<Oid> { repository.merge_bases(one, other).expect("walk").into_iter().collect() };
        assert_eq!(bases(merged, crossed), [one, other].into());
        assert_eq!(
            bases(merged, crossed),
            listed(&world, &["merge-base", "--all", &merged.to_string(), &crossed.to_string()]).into_iter().collect()
        );
        assert_eq!((bases(one, other), bases(merged, one)), ([first].into(), [one].into()));
        let stranger = commit(&repository, &[], &[("b", "1")]);
        assert_eq!(bases(merged, stranger), BTreeSet::new());
    }

    #[test]
    fn history_is_oldest_first_even_when_every_commit_has_the_same_time() {
        let world = World::new();
        let repository = world.bare("repo");
        let mut made: Vec<Oid> = Vec::new();
        for number in 0..120 {
            let parents: Vec<Oid> = made.last().copied().into_iter().collect();
            made.push(commit(&repository, &parents, &[("n", &number.to_string())]));
        }
        assert_eq!(ids(&repository.history(None, made[119]).expect("walk")), made);
        assert_eq!(ids(&repository.history(Some(made[9]), made[40]).expect("walk")), made[10..=40]);
        let last = made[119].to_string();
        assert_eq!(listed(&world, &["rev-list", "--reverse", "--topo-order", &last]), made);
    }

    #[test]
    fn a_message_that_is_not_utf8_is_still_read() {
        let world = World::new();
        let repository = world.bare("repo");
        let tree = repository.write_folder(&crate::domain::folder::Folder::default()).expect("tree");
        let raw = [
            format!("tree {tree}\nauthor ").as_bytes(),
            b"J\xf6rg <j@example.org> 1700000000 +0000\ncommitter T <t@example.org> 1700000000 +0000\n\nGr\xfc\xdfe\n",
        ]
        .concat();
        let id =
            super::super::testing::git(&world.path("repo"), &["hash-object", "-t", "commit", "-w", "--stdin"], &raw);
        let facts = repository.commit_facts(id.trim().parse().expect("an id")).expect("read");
        assert_eq!(
            (facts.author.as_str(), facts.message.as_str()),
            ("J\u{fffd}rg <j@example.org>", "Gr\u{fffd}\u{fffd}e\n")
        );
    }

    #[test]
    fn a_commit_that_is_not_there_is_called_missing() {
        let world = World::new();
        let repository = world.bare("repo");
        let first = commit(&repository, &[], &[]);
        let absent = Oid::from_bytes([7; 20]);
        let missing =
            |result: Result<(), GitError>| matches!(result, Err(GitError::MissingObject { id }) if id == absent);
        assert!(missing(repository.commit_facts(absent).map(drop)));
        assert!(missing(repository.history(None, absent).map(drop)));
        assert!(missing(repository.history(Some(absent), first).map(drop)));
        assert!(missing(repository.is_ancestor(absent, first).map(drop)));
        assert!(missing(repository.is_ancestor(first, absent).map(drop)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        /// Merges, several roots, and clocks that go backwards: the commits are those git finds, and
        /// parents come before their children.
        #[test]
        fn history_is_what_git_says_it_is(shape in vec((vec(any::<prop::sample::Index>(), 0..3), 0_i64..1000), 2..40)) {
            let world = World::new();
            let repository = world.bare("repo");
            let mut made: Vec<Oid> = Vec::new();
            for (number, (parents, second)) in shape.iter().enumerate() {
                let parents = if made.is_empty() { BTreeSet::new() } else { parents.iter().map(|index| *index.get(&made)).collect() };
                let parents: Vec<Oid> = parents.into_iter().collect();
                made.push(commit_at(&repository, &parents, &[("n", &number.to_string())], "m", 1_700_000_000 + second));
            }
            let (after, until) = (made[made.len() / 2], made[made.len() - 1]);
            let history = repository.history(Some(after), until).expect("walk");
            let range = format!("{after}..{until}");
            let expected: BTreeSet<Oid> = listed(&world, &["rev-list", &range]).into_iter().collect();
            prop_assert_eq!(ids(&history).into_iter().collect::<BTreeSet<_>>(), expected.clone());
            prop_assert_eq!(history.len(), expected.len());
            let mut seen = BTreeSet::new();
            for commit in &history {
                prop_assert!(commit.parents.iter().all(|parent| seen.contains(parent) || !expected.contains(parent)));
                seen.insert(commit.id);
            }
            let above: BTreeSet<Oid> = listed(&world, &["rev-list", &until.to_string()]).into_iter().collect();
            for id in &made {
                prop_assert_eq!(repository.is_ancestor(*id, until).expect("there"), above.contains(id));
            }
        }
    }
}
