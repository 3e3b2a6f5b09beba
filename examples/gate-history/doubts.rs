//! A second opinion that knows nothing of the gate: what the two `.SRCINFO` of an update say about changes
//! that must never go in without a person.
//!
//! A `.SRCINFO` may be stale, so a doubt is a question for the eye and no proof.

use std::collections::BTreeSet;

use pkgwarden::domain::folder::Folder;
use pkgwarden::domain::srcinfo::Srcinfo;
use pkgwarden::domain::version::vercmp;

/// What looks wrong with an update.
pub fn about(old: &Folder, new: &Folder) -> Vec<&'static str> {
    let text = |folder: &Folder| folder.get(".SRCINFO").map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let (Some(before), Some(after)) = (text(old), text(new)) else { return Vec::new() };
    if Srcinfo::parse(after.as_bytes()).is_err() {
        return if before == after { Vec::new() } else { vec!["the .SRCINFO became unreadable"] };
    }
    if Srcinfo::parse(before.as_bytes()).is_err() {
        return Vec::new();
    }
    let (before, after) = (Summary::read(&before), Summary::read(&after));
    before.doubts(&after)
}

/// `key = value`, in order.
struct Summary<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Summary<'a> {
    fn read(text: &'a str) -> Self {
        let pairs = text.lines().filter_map(|line| line.trim().split_once('='));
        Self(pairs.map(|(key, value)| (key.trim(), value.trim())).collect())
    }

    fn one(&self, key: &str) -> &'a str {
        self.all(key).next().unwrap_or_default()
    }

    fn all(&self, key: &str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(name, _)| *name == key).map(|(_, value)| *value)
    }

    fn sums(&self) -> Vec<(&'a str, &'a str)> {
        self.0.iter().filter(|(name, _)| name.contains("sums")).copied().collect()
    }

    fn strength(&self) -> usize {
        let names: BTreeSet<_> =
            self.sums().into_iter().filter(|(_, sum)| *sum != "SKIP").map(|(name, _)| name).collect();
        let rank = |name: &&str| match name.split("sums").next().unwrap_or_default() {
            "ck" => 1,
            "md5" => 2,
            "sha1" => 3,
            "sha224" => 4,
            _ => 5,
        };
        names.iter().map(rank).max().unwrap_or(0)
    }

    fn skips(&self) -> usize {
        self.sums().iter().filter(|(_, sum)| *sum == "SKIP").count()
    }

    /// Whether something is downloaded and nothing verifies any of it.
    fn is_blind(&self) -> bool {
        let vcs = |source: &&str| {
            let address = source.split_once("::").map_or(*source, |(_, address)| address);
            !address.contains("://") || ["git", "hg", "svn", "bzr", "fossil"].iter().any(|vcs| address.starts_with(vcs))
        };
        let keys = self.all("validpgpkeys").next().is_some();
        let sources = || self.0.iter().filter(|(name, _)| name.starts_with("source")).map(|(_, value)| value);
        !keys && !sources().all(vcs_of(&vcs)) && !self.sums().is_empty() && self.strength() == 0
    }

    fn doubts(&self, after: &Self) -> Vec<&'static str> {
        let mut doubts = Vec::new();
        let order = vercmp(after.one("pkgver"), self.one("pkgver"));
        let same_sources = self.all("source").count() == after.all("source").count();
        if self.one("epoch") == after.one("epoch") && order.is_lt() {
            doubts.push("the version went back");
        }
        if same_sources && after.skips() > self.skips() && self.sums().len() == after.sums().len() {
            doubts.push("a checksum became SKIP");
        }
        if after.strength() < self.strength() {
            doubts.push("the algorithm is weaker");
        }
        if order.is_eq() && self.all("source").eq(after.all("source")) && self.sums() != after.sums() {
            doubts.push("a checksum changed and the version did not");
        }
        if order.is_gt() && after.is_blind() {
            doubts.push("nothing verifies the new version");
        }
        doubts
    }
}

fn vcs_of(fits: &impl Fn(&&str) -> bool) -> impl Fn(&&str) -> bool {
    move |source| fits(source)
}
