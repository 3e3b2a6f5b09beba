//! What changed between two commits of the monorepo, seen from their root folders alone.

use std::collections::BTreeMap;

use serde::Serialize;

use super::finding::Finding;
use super::name::{Oid, PkgBase};

/// Package folders that differ between two commits, each list sorted. A renamed folder is one that was
/// removed and one that was added.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// In both, with different content.
    pub changed: Vec<PkgBase>,
    /// Only in the newer one.
    pub added: Vec<PkgBase>,
    /// Only in the older one.
    pub removed: Vec<PkgBase>,
}

impl Changes {
    /// Compares the top-level folders (name and tree id) of two commits.
    ///
    /// Folders whose name starts with a dot belong to the repository itself and are passed over. A
    /// folder of the newer commit whose name cannot be a package name is left out and reported.
    #[must_use]
    pub fn between<'a>(
        old: impl IntoIterator<Item = (&'a str, Oid)>,
        new: impl IntoIterator<Item = (&'a str, Oid)>,
    ) -> (Self, Vec<Finding>) {
        let (mut before, _) = packages(old);
        let (after, findings) = packages(new);
        let mut changes = Self::default();
        for (pkgbase, tree) in after {
            match before.remove(&pkgbase) {
                None => changes.added.push(pkgbase),
                Some(previous) if previous != tree => changes.changed.push(pkgbase),
                Some(_) => {}
            }
        }
        changes.removed = before.into_keys().collect();
        (changes, findings)
    }

    /// Whether no package folder differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.added.is_empty() && self.removed.is_empty()
    }

    /// Whether the folder of a package differs, or is there on one side only.
    #[must_use]
    pub fn touch(&self, pkgbase: &PkgBase) -> bool {
        [&self.changed, &self.added, &self.removed].into_iter().any(|packages| packages.contains(pkgbase))
    }

    /// The packages there are files of, to be built: changed and added, sorted.
    #[must_use]
    pub fn to_build(&self) -> Vec<PkgBase> {
        let mut packages: Vec<_> = self.changed.iter().chain(&self.added).cloned().collect();
        packages.sort();
        packages
    }
}

fn packages<'a>(folders: impl IntoIterator<Item = (&'a str, Oid)>) -> (BTreeMap<PkgBase, Oid>, Vec<Finding>) {
    let mut packages = BTreeMap::new();
    let mut findings = Vec::new();
    for (name, tree) in folders.into_iter().filter(|(name, _)| !name.starts_with('.')) {
        match PkgBase::new(name) {
            Ok(pkgbase) => drop(packages.insert(pkgbase, tree)),
            Err(invalid) => findings.push(
                Finding::warning("folder-name", invalid.to_string())
                    .at(name.escape_debug().to_string(), None)
                    .hint("rename the folder, or start its name with a dot if it is not a package"),
            ),
        }
    }
    (packages, findings)
}

/// A directive of a commit in the range, as the document shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DirectiveEntry {
    /// The commit whose message holds it.
    pub commit: Oid,
    /// As it was written, brackets included.
    pub text: String,
    /// The packages it names that exist.
    pub packages: Vec<PkgBase>,
}

/// What `pkgwarden changes` prints as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChangesDocument {
    /// How many commits the range has.
    pub commits: usize,
    /// The package folders that differ.
    #[serde(flatten)]
    pub changes: Changes,
    /// Directives in the messages of those commits, oldest first.
    pub directives: Vec<DirectiveEntry>,
    /// What is wrong with the range.
    pub problems: Vec<Finding>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(digit: char) -> Oid {
        digit.to_string().repeat(40).parse().expect("valid")
    }

    fn names(packages: &[PkgBase]) -> Vec<&str> {
        packages.iter().map(PkgBase::as_str).collect()
    }

    #[test]
    fn a_renamed_folder_is_removed_and_added() {
        let old = [("a", tree('1')), ("b", tree('2')), ("same", tree('3')), ("c++", tree('4'))];
        let new = [("a", tree('9')), ("renamed", tree('2')), ("same", tree('3')), ("c++", tree('5'))];
        let (changes, findings) = Changes::between(old, new);
        assert_eq!(names(&changes.changed), ["a", "c++"]);
        assert_eq!(names(&changes.added), ["renamed"]);
        assert_eq!(names(&changes.removed), ["b"]);
        assert_eq!(names(&changes.to_build()), ["a", "c++", "renamed"]);
        assert!(findings.is_empty());
    }

    #[test]
    fn dot_folders_are_not_packages() {
        let (changes, findings) = Changes::between([(".ci", tree('1'))], [(".ci", tree('2')), (".github", tree('3'))]);
        assert!(changes.is_empty());
        assert!(findings.is_empty());
    }

    #[test]
    fn a_folder_that_cannot_be_a_package_is_reported_and_stops_nothing() {
        let (changes, findings) = Changes::between([], [("not a package", tree('1')), ("good", tree('2'))]);
        assert_eq!(names(&changes.added), ["good"]);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].file.as_deref(), Some("not a package"));
    }

    #[test]
    fn the_document_has_the_fields_of_the_contract() {
        let (changes, problems) = Changes::between([], [("a", tree('1'))]);
        let directive =
            DirectiveEntry { commit: tree('c'), text: "[deploy a]".to_owned(), packages: changes.added.clone() };
        let document = ChangesDocument { commits: 1, changes, directives: vec![directive], problems };
        insta::assert_json_snapshot!(document, @r#"
        {
          "commits": 1,
          "changed": [],
          "added": [
            "a"
          ],
          "removed": [],
          "directives": [
            {
              "commit": "cccccccccccccccccccccccccccccccccccccccc",
              "text": "[deploy a]",
              "packages": [
                "a"
              ]
            }
          ],
          "problems": []
        }
        "#);
    }
}
