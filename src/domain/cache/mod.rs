//! Cache sets: files that a build leaves for the next one of its package, which otherwise begins with nothing.
//!
//! Here is what a set is and every decision about sets: who may read and write which ([`policy`]), by which key one is
//! found ([`key`]), what an archive may hold ([`archive`]), and what goes first where room is short ([`retention`]).

pub mod archive;
pub mod key;
pub mod policy;
pub mod ready;
pub mod retention;
pub mod sources;
pub mod told;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the sets of a package are declared, in its folder.
pub const PATH: &str = ".CI/cache.toml";

/// Where a build sees its home, which `~` stands for.
pub const HOME: &str = "/home/build";

/// The directories of a build from which anything can be kept, as it sees them.
pub const ROOTS: [&str; 3] = ["/home/build", "/build", "/srcdest"];

/// The most an archive may hold where nothing is said: 2 GiB.
pub const DEFAULT_MAX: u64 = 2 << 30;

/// The longest name of a set, in bytes.
const LONGEST_NAME: usize = 64;

/// What a set is called: letters, digits and `._-`, not beginning with a dot or dash.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = "^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$"))]
pub struct SetName(String);

/// A name that no set can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` cannot be the name of a cache set: write up to 64 letters, digits or any of . _ -", .0.escape_debug())]
pub struct BadName(String);

impl SetName {
    /// Reads a name.
    ///
    /// # Errors
    /// If it is empty, too long, begins with a dot or dash, or holds anything but letters, digits and `._-`.
    pub fn new(name: &str) -> Result<Self, BadName> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let sound = (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(legal);
        if sound && !name.starts_with(['.', '-']) { Ok(Self(name.to_owned())) } else { Err(BadName(name.to_owned())) }
    }

    /// The text of it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for SetName {
    type Error = BadName;

    fn try_from(name: String) -> Result<Self, BadName> {
        Self::new(&name)
    }
}

impl std::str::FromStr for SetName {
    type Err = BadName;

    fn from_str(name: &str) -> Result<Self, BadName> {
        Self::new(name)
    }
}

impl From<SetName> for String {
    fn from(name: SetName) -> Self {
        name.0
    }
}

impl std::fmt::Display for SetName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// One set of files that outlives a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Set {
    /// What it is called.
    pub name: SetName,
    /// Globs of what belongs to it, as the build sees it. Without any, only `pkgwarden-cache` saves and restores it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<String>,
    /// Globs of what does not belong to it all the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// Files of the package folder of which another content asks for another archive.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// Programs of which another version asks for another archive.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<String>,
    /// A number to raise by hand, so that nothing that was saved before counts.
    #[serde(default)]
    pub epoch: u64,
    /// Whether each commit saves an archive of its own, and begins with the newest there is.
    #[serde(default)]
    pub renew: bool,
    /// Whether only those of its files are kept and found that makepkg compares with a sum in the PKGBUILD.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub verified: bool,
    /// Whether a build fails where it cannot be saved or restored. That there is none yet is no failure.
    #[serde(default)]
    pub required: bool,
    /// The most bytes its archive may hold, unpacked.
    pub max_bytes: u64,
    /// Variables that builds with it are given.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
}

impl Set {
    /// A set that only `pkgwarden-cache` saves and restores.
    #[must_use]
    pub const fn by_hand(name: SetName) -> Self {
        Self {
            name,
            include: Vec::new(),
            exclude: Vec::new(),
            files: Vec::new(),
            tools: Vec::new(),
            epoch: 0,
            renew: false,
            verified: false,
            required: false,
            max_bytes: DEFAULT_MAX,
            env: BTreeMap::new(),
        }
    }

    /// Whether it holds what makepkg fetched: it is restored before sources are fetched, and packed when they are.
    /// Everything else is restored when the tools are there that its key names, and packed in the end.
    #[must_use]
    pub fn is_early(&self) -> bool {
        self.name.as_str() == ready::SRCDEST
    }
}

/// What one build may keep and find.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// Its sets, each name once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sets: Vec<Set>,
    /// Whether `pkgwarden-cache` works inside it.
    #[serde(default)]
    pub commands: bool,
    /// How often what was saved of the package has been condemned: nothing from before counts.
    #[serde(default, skip_serializing_if = "is_none")]
    pub condemned: u64,
    /// How often what was saved of a set has been invalidated, of sets of which it was: nothing from before counts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub invalidated: BTreeMap<SetName, u64>,
}

/// Whether a number says nothing.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it")]
fn is_none(number: &u64) -> bool {
    *number == 0
}

impl Plan {
    /// Whether nothing is kept or found, so that the build begins with nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sets.is_empty() && !self.commands
    }

    /// How often what was saved of a set has been condemned or invalidated, as whoever gives the order knows.
    #[must_use]
    pub fn epoch(&self, set: &SetName) -> u64 {
        self.invalidated.get(set).copied().unwrap_or_default().saturating_add(self.condemned)
    }

    /// With the ready-made set of sources, as far as they are verified, if it is wanted and not there.
    #[must_use]
    pub fn with_sources(mut self, wanted: bool) -> Self {
        if wanted && !self.sets.iter().any(Set::is_early) {
            self.sets.push(Set { verified: true, ..ready::srcdest() });
        }
        self
    }

    /// The variables that the build is given.
    #[must_use]
    pub fn env(&self) -> BTreeMap<String, String> {
        self.sets.iter().flat_map(|set| set.env.clone()).collect()
    }

    /// The most bytes that the archive of any set may hold.
    #[must_use]
    pub fn largest(&self) -> u64 {
        self.sets.iter().map(|set| set.max_bytes).max().unwrap_or_default().max(DEFAULT_MAX)
    }

    /// The set that `pkgwarden-cache` means by a name.
    ///
    /// # Errors
    /// Why it may not be saved or restored by hand.
    pub fn by_hand(&self, name: &str) -> Result<Set, String> {
        if !self.commands {
            return Err("caches are off for builds of this kind".to_owned());
        }
        let name = SetName::new(name).map_err(|error| error.to_string())?;
        if ready::set(name.as_str()).is_some() {
            return Err(format!("`{name}` is a ready-made set: it is saved and restored by itself"));
        }
        match self.sets.iter().find(|set| set.name == name) {
            Some(set) if !set.include.is_empty() => {
                Err(format!("`{name}` has `include` in {PATH}: it is saved and restored by itself"))
            }
            Some(set) => Ok(set.clone()),
            None => Ok(Set::by_hand(name)),
        }
    }
}

/// What is wrong with a glob as one of a set, if anything is.
#[must_use]
pub fn fault_of(pattern: &str) -> Option<&'static str> {
    let full = expanded(pattern);
    let parts: Vec<&str> = full.split('/').skip(1).collect();
    if !full.starts_with('/') {
        return Some("begin it with ~/ or /");
    }
    if parts.iter().any(|part| matches!(*part, ".." | "." | "")) {
        return Some("write it without `.`, `..` and empty parts");
    }
    // What is in `/build` is cleared by makepkg after it could be restored.
    let inside = |root| full.strip_prefix(root).is_some_and(|rest: &str| rest.starts_with('/'));
    if !inside(HOME) && !inside("/srcdest") {
        return Some("name something in ~/ or /srcdest/; from /build, `pkgwarden-cache save` keeps what is named");
    }
    None
}

/// A glob with the home in place of `~`.
#[must_use]
pub fn expanded(pattern: &str) -> String {
    match pattern.strip_prefix("~/") {
        Some(rest) => format!("{HOME}/{rest}"),
        None => pattern.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_words_without_paths() {
        for good in ["a", "cargo-registry", "x.y_z", "0"] {
            assert_eq!(SetName::new(good).unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", "-x", "a/b", "a b", "ä", "a\n", &"x".repeat(65)] {
            assert!(SetName::new(bad).is_err(), "{bad:?}");
        }
        assert!(serde_json::from_str::<SetName>("\"../x\"").is_err());
    }

    #[test]
    fn a_glob_stays_in_the_home_or_the_sources() {
        for good in ["~/.cache/x/**", "/home/build/x", "/srcdest/*.tar", "~/.cargo/{registry,git}/**"] {
            assert_eq!(fault_of(good), None, "{good}");
        }
        for bad in [
            "x",
            "~x",
            "/etc/passwd",
            "~/../x",
            "/home/build",
            "~/",
            "/home/builder/x",
            "/build/x",
            "~//x",
            "/srcdest/./x",
        ] {
            assert!(fault_of(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn what_is_restored_by_itself_is_not_to_be_had_by_hand() {
        let deps = Set { include: vec!["~/deps/**".into()], ..Set::by_hand(SetName::new("deps").unwrap()) };
        let plan = Plan { sets: vec![deps], commands: true, ..Plan::default() };
        assert!(plan.by_hand("deps").unwrap_err().contains("include"));
        assert!(plan.by_hand("srcdest").unwrap_err().contains("ready-made"));
        assert!(plan.by_hand("../x").is_err());
        assert_eq!(plan.by_hand("other").unwrap().max_bytes, DEFAULT_MAX);
        assert!(Plan::default().by_hand("other").unwrap_err().contains("off"));
    }
}
