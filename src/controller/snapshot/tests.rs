//! Reading from a real repository, and remembering what was read.

use tempfile::TempDir;

use super::*;
use crate::domain::folder::Folder;
use crate::domain::policy::Identity;
use crate::git::NewCommit;

/// A repository in which commits are made one after the other.
struct Story {
    dir: TempDir,
    git: Repository,
    refs: Refs,
    reader: SnapshotReader,
}

impl Story {
    fn new() -> Self {
        let dir = TempDir::new().expect("a directory");
        let git = Repository::create_workspace(&dir.path().join("repo"), None).expect("made");
        Self { dir, git, refs: Refs::default(), reader: SnapshotReader::default() }
    }

    fn commit(&self, files: &[(&str, &str)]) -> Oid {
        let folder = files.iter().fold(Folder::default(), |folder, (path, text)| folder.with(path, text));
        let identity = Identity { name: "T".to_owned(), email: "t@example.org".to_owned() };
        let tree = self.git.write_folder(&folder).expect("written");
        let commit =
            NewCommit { tree, parents: Vec::new(), message: "x".to_owned(), identity, time: Timestamp::UNIX_EPOCH };
        self.git.commit(&commit).expect("committed")
    }

    fn review(&mut self, pkgbase: &str, files: &[(&str, &str)]) {
        let head = self.commit(files);
        self.refs.reviews.insert(name(pkgbase), head);
    }

    /// The same from a reader that remembers and from one that does not.
    fn read(&self) -> Snapshot {
        let fresh = SnapshotReader::default().read(&self.git, "r", self.refs.clone()).expect("read");
        assert_eq!(self.reader.read(&self.git, "r", self.refs.clone()).expect("read"), fresh);
        fresh
    }
}

fn name(pkgbase: &str) -> PkgBase {
    PkgBase::new(pkgbase).expect("legal")
}

#[test]
fn what_is_remembered_never_differs_from_what_is_there() {
    let mut story = Story::new();
    assert!(story.read().packages.is_empty());
    story.refs.main = Some(story.commit(&[("a/PKGBUILD", "1"), ("b/PKGBUILD", "1")]));
    story.refs.state = Some(story.commit(&[("a", "A=1\n"), ("b", "A=1\n"), (".version-state", "bash:5-1\n")]));
    story.review("a", &[("a/PKGBUILD", "2")]);
    assert_eq!(story.read().states.len(), 2);
    // The same files under other names, and another version of one.
    story.refs.main = Some(story.commit(&[("c/PKGBUILD", "1"), ("a/PKGBUILD", "2")]));
    story.refs.state = Some(story.commit(&[("c", "A=1\n")]));
    let snapshot = story.read();
    assert_eq!(snapshot.packages.keys().collect::<Vec<_>>(), [&name("a"), &name("c")]);
    assert_eq!(snapshot.states.keys().collect::<Vec<_>>(), [&name("c")]);
    assert!(snapshot.reviews[&name("a")].arrived && snapshot.reviews[&name("a")].identical);
    story.refs = Refs::default();
    story.read();
    assert!(story.reader.packages.lock().expect("free").is_empty());
    assert!(story.reader.reviews.lock().expect("free").is_empty());
}

#[test]
fn a_review_is_compared_without_what_belongs_to_the_monorepo() {
    let mut story = Story::new();
    story.refs.main = Some(story.commit(&[("a/PKGBUILD", "2"), ("a/.CI/config", "B=1"), ("d/PKGBUILD", "2")]));
    story.review("a", &[("a/PKGBUILD", "2"), ("a/.CI/config", "B=0")]);
    story.review("b", &[("a/PKGBUILD", "2")]);
    story.review("c", &[("c/PKGBUILD", "2")]);
    story.review("d", &[("d/PKGBUILD", "2"), ("d/x.patch", "1")]);
    let snapshot = story.read();
    assert_eq!(snapshot.waiting_reviews().collect::<Vec<_>>(), [&name("d")]);
    let reviews = snapshot.reviews;
    assert!(reviews[&name("a")].arrived && !reviews[&name("a")].identical);
    assert_eq!(reviews[&name("b")].folder, None);
    assert!(!reviews[&name("d")].arrived && reviews[&name("d")].folder.is_some());
    let without = story.reader.read_packages(&story.git, "r", story.refs.clone()).expect("read");
    assert!(without.reviews.is_empty() && without.refs.reviews.len() == 4);
}

#[test]
fn many_folders_are_read_from_a_repository_of_any_kind() {
    let mut story = Story::new();
    let names: Vec<String> = (0..500).map(|number| format!("p{number}/PKGBUILD")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
    story.refs.main = Some(story.commit(&files));
    assert_eq!(story.read().packages.len(), 500);
    let path = story.dir.path().join("repo");
    std::fs::create_dir(story.dir.path().join("tree")).expect("made");
    std::fs::rename(&path, story.dir.path().join("tree/.git")).expect("moved");
    let git = Repository::open(&story.dir.path().join("tree/.git")).expect("opened");
    assert_eq!(SnapshotReader::default().read(&git, "r", story.refs.clone()).expect("read").packages.len(), 500);
}
