//! Which commit wrote which file: the whole history at once, through the git program, which reads it many
//! times faster than one commit after the other.

use std::time::Duration;

use super::command::{self, Ending};
use super::{GitError, Repository};
use crate::domain::audit::Written;
use crate::domain::name::Oid;

/// A history whose list takes longer is not read.
const PATIENCE: Duration = Duration::from_mins(10);
/// The list of 100,000 commits of a few files each has about half of this.
const MOST_BYTES: usize = 256 << 20;

/// The mode of an entry that is no file, but a commit of another repository.
const SUBMODULE: &str = "160000";
/// The mode of what is not there any more.
const NOTHING: &str = "000000";

/// What commits wrote, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// Commit by commit.
    pub commits: Vec<Written>,
    /// Whether this is everything: neither the limit, nor the edge of a shallow clone cut it off.
    pub whole: bool,
}

impl Repository {
    /// What the commits that lead to `until` wrote, at most so many of them. A merge is compared with its
    /// first parent. Removed files are not told: what they held was written by an earlier commit.
    ///
    /// # Errors
    /// If the git program is missing or fails, or takes longer than ten minutes.
    pub fn history_files(&self, until: Oid, most: usize) -> Result<History, GitError> {
        let program = command::git(self.path(), &[], PATIENCE).output_limit(MOST_BYTES);
        // Only what is here is read: nothing is fetched for a clone that lacks objects.
        let program = program.env("GIT_NO_LAZY_FETCH", "1").args([
            "log",
            "--raw",
            "-z",
            "--no-abbrev",
            "--no-renames",
            "--diff-merges=first-parent",
            "--no-show-signature",
            "--no-mailmap",
            "--format=%H %an <%ae>",
        ]);
        let program = program.arg(format!("--max-count={}", most.saturating_add(1))).arg(until.to_string()).arg("--");
        let output = match command::run_blocking(program)? {
            Ending::Done(output) => output,
            Ending::Failed(output) => {
                let (message, hint) = command::explain(&output);
                return Err(GitError::History { message: format!("{message}{hint}") });
            }
            Ending::TooSlow(after) => {
                return Err(GitError::History { message: format!("it took longer than {} s", after.as_secs()) });
            }
        };
        let mut commits = parse(&output.stdout);
        let whole = !output.truncated && commits.len() <= most && self.cut_at().is_empty();
        commits.truncate(most);
        Ok(History { commits, whole })
    }
}

/// Reads what `git log --raw -z --format='%H %an <%ae>'` prints: a commit, then for each of its files the
/// modes and ids, and the path. What is cut off at the end is passed over.
fn parse(text: &[u8]) -> Vec<Written> {
    let mut commits: Vec<Written> = Vec::new();
    let mut parts = text.split(|&byte| byte == 0);
    while let Some(part) = parts.next() {
        let part = part.strip_prefix(b"\n").unwrap_or(part);
        if let Some(change) = part.strip_prefix(b":") {
            let (Some(path), Some(commit)) = (parts.next(), commits.last_mut()) else { continue };
            let change = String::from_utf8_lossy(change);
            let mut words = change.split(' ').skip(1);
            let (mode, id) = (words.next(), words.nth(1).and_then(|id| id.parse().ok()));
            let id = id.filter(|_| mode != Some(SUBMODULE) && mode != Some(NOTHING));
            commit.files.extend(id.map(|id| (String::from_utf8_lossy(path).into_owned(), id)));
        } else {
            let text = String::from_utf8_lossy(part);
            let Some((id, author)) = text.split_once(' ') else { continue };
            let Ok(commit) = id.parse() else { continue };
            commits.push(Written { commit, author: author.to_owned(), files: Vec::new() });
        }
    }
    commits
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{World, commit};
    use super::*;

    #[test]
    fn each_commit_is_told_with_what_it_wrote() {
        let world = World::new();
        let repository = world.bare("repo");
        let first = commit(&repository, &[], &[("a/x", "1"), ("a/\u{e4} \n:y", "2")]);
        let second = commit(&repository, &[first], &[("a/x", "3")]);
        let removed = commit(&repository, &[second], &[("b", "3")]);
        let same = commit(&repository, &[removed], &[("b", "3")]);
        let history = repository.history_files(same, 10).expect("read");
        let files = |commit: &Written| commit.files.iter().map(|(path, _)| path.clone()).collect::<Vec<_>>();
        let told: Vec<_> = history.commits.iter().map(|commit| (commit.commit, files(commit))).collect();
        let path = |text: &str| text.to_owned();
        assert_eq!(
            told,
            [
                (same, vec![]),
                (removed, vec![path("b")]),
                (second, vec![path("a/x")]),
                (first, vec![path("a/x"), path("a/\u{e4} \n:y")])
            ]
        );
        assert_eq!(repository.blob(history.commits[2].files[0].1, 10).expect("there"), b"3");
        assert_eq!(history.commits[0].author, "T <t@example.org>");
        assert!(history.whole);
        let part = repository.history_files(same, 2).expect("read");
        assert_eq!((part.commits.len(), part.whole), (2, false));
    }

    #[test]
    fn a_merge_is_told_with_what_it_brought_to_its_branch() {
        let world = World::new();
        let repository = world.bare("repo");
        let base = commit(&repository, &[], &[("a", "1")]);
        let side = commit(&repository, &[base], &[("a", "1"), ("b", "2")]);
        let merge = commit(&repository, &[base, side], &[("a", "1"), ("b", "evil")]);
        let history = repository.history_files(merge, 10).expect("read");
        let merged = &history.commits[0];
        assert_eq!((merged.commit, merged.files[0].0.as_str()), (merge, "b"));
        assert_eq!(history.commits.len(), 3);
    }

    proptest! {
        #[test]
        fn any_output_is_read_to_its_end(bytes in prop::collection::vec(prop_oneof![Just(0), Just(b':'), Just(b'\n'), any::<u8>()], 0..200)) {
            parse(&bytes);
        }
    }
}
