//! By which key an archive is found.
//!
//! A key is the SHA-256 of everything that it depends on, each part with its length before it, so that no two lists
//! of parts read alike.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::Set;
use crate::domain::folder::Folder;

/// What a key depends on beside its set.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The monorepo.
    pub repository: &'a str,
    /// The package.
    pub pkgbase: &'a str,
    /// The architecture.
    pub arch: &'a str,
    /// The commit that is built.
    pub commit: &'a str,
    /// The package folder at that commit.
    pub files: &'a Folder,
    /// What each tool says its version is; one that is not there says nothing.
    pub tools: &'a BTreeMap<String, String>,
    /// How often the set has been invalidated, or condemned with its package.
    pub epoch: u64,
}

/// What an archive is found by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// What must be the same for an archive to be of any use: 64 hexadecimal digits.
    pub scope: String,
    /// What is the same for exactly this archive: 64 hexadecimal digits.
    pub exact: String,
}

/// The key of a set.
#[must_use]
pub fn key(set: &Set, facts: &Facts<'_>) -> Key {
    let mut scope = Parts::default();
    for part in ["pkgwarden cache 1", facts.repository, facts.pkgbase, set.name.as_str(), facts.arch] {
        scope.text(part);
    }
    scope.text(&set.epoch.to_string());
    scope.text(&facts.epoch.to_string());
    scope.list(set.tools.iter().map(|tool| (tool, facts.tools.get(tool).map(String::as_bytes))));
    let scope = scope.digest();
    let mut exact = Parts::default();
    exact.text(&scope);
    exact.list(set.files.iter().map(|path| (path, facts.files.get(path))));
    exact.text(if set.renew { facts.commit } else { "" });
    Key { exact: exact.digest(), scope }
}

#[derive(Default)]
struct Parts(Sha256);

impl Parts {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// Named things that may be missing; in which order they are named, and how often, says nothing.
    fn list<'a>(&mut self, named: impl Iterator<Item = (&'a String, Option<&'a [u8]>)>) {
        let sorted: BTreeMap<_, _> = named.collect();
        self.text(&sorted.len().to_string());
        for (name, content) in sorted {
            self.text(name);
            match content {
                Some(content) => {
                    self.text("is");
                    self.bytes(content);
                }
                None => self.text("is not"),
            }
        }
    }

    fn digest(self) -> String {
        hex(&self.0.finalize())
    }
}

/// Bytes in hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string");
        text
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::cache::SetName;

    /// Everything a key may depend on.
    #[derive(Debug, Clone, PartialEq)]
    struct World {
        words: [String; 4],
        name: String,
        epochs: [u64; 2],
        files: BTreeMap<String, Option<String>>,
        tools: BTreeMap<String, Option<String>>,
    }

    impl World {
        fn key(&self, renew: bool, reversed: bool) -> Key {
            let present = |map: &BTreeMap<String, Option<String>>| {
                map.iter().filter_map(|(name, value)| Some((name.clone(), value.clone()?))).collect::<Vec<_>>()
            };
            let folder = present(&self.files)
                .into_iter()
                .fold(Folder::default(), |folder, (path, text)| folder.with(&path, text));
            let mut set = Set {
                files: self.files.keys().cloned().collect(),
                tools: self.tools.keys().cloned().collect(),
                epoch: self.epochs[0],
                renew,
                ..Set::by_hand(SetName::new(&self.name).unwrap())
            };
            if reversed {
                set.files.reverse();
                set.tools.reverse();
            }
            let tools = present(&self.tools).into_iter().collect();
            let [repository, pkgbase, arch, commit] = &self.words;
            key(
                &set,
                &Facts { repository, pkgbase, arch, commit, files: &folder, tools: &tools, epoch: self.epochs[1] },
            )
        }
    }

    fn world() -> impl Strategy<Value = World> {
        // A small alphabet, so that parts that run together would read alike.
        let word = "[ab]{0,3}";
        let map = || proptest::collection::btree_map("[ab]{1,3}", proptest::option::of("[ab]{0,3}"), 0..3);
        ([word, word, word, word], "[ab]{1,3}", [0..3u64, 0..3u64], map(), map())
            .prop_map(|(words, name, epochs, files, tools)| World { words, name, epochs, files, tools })
    }

    proptest! {
        #[test]
        fn keys_are_the_same_exactly_where_everything_they_depend_on_is(a in world(), b in world()) {
            prop_assert_eq!(a.key(true, false) == b.key(true, false), a == b);
            prop_assert_eq!(a.key(true, false), a.key(true, true), "the order of names says nothing");
        }

        #[test]
        fn of_each_thing_alone_another_one_makes_another_key(a in world(), which in 0..8usize) {
            let mut b = a.clone();
            match which {
                0..4 => b.words[which].push('c'),
                4 => b.name.push('c'),
                5 | 6 => b.epochs[which - 5] += 1,
                _ => drop(b.files.insert("c".into(), None)),
            }
            prop_assert_ne!(a.key(true, false).exact, b.key(true, false).exact);
            // The commit and the files make another archive of the same kind; all else makes another kind.
            prop_assert_eq!(a.key(true, false).scope == b.key(true, false).scope, which == 3 || which == 7);
        }

        #[test]
        fn a_commit_alone_asks_for_no_other_archive_unless_it_is_renewed(a in world()) {
            let mut b = a.clone();
            b.words[3].push('c');
            prop_assert_eq!(a.key(false, false), b.key(false, false));
        }
    }
}
