//! What a builder elsewhere tells of the archives that it used and saved on its own machine, for the page of the build.
//!
//! It is shown as what the builder says. Nothing is decided by it, but whether whoever names a set has mistyped it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::SetName;
use crate::domain::name::PkgBase;

/// The longest list, as it is sent: 256 KiB.
pub const LONGEST: usize = 256 << 10;
/// The most that is told of one build.
const MOST: usize = 400;
/// The longest id of an attempt, and the longest name of a monorepo.
const LONGEST_NAME: usize = 100;

/// What a build did with an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It began with it.
    Used,
    /// It saved it.
    Created,
}

impl Action {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Used => "used",
            Self::Created => "created",
        }
    }
}

/// One archive, and what a build did with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// What it did.
    pub action: Action,
    /// The monorepo.
    pub repository: String,
    /// The package.
    pub pkgbase: PkgBase,
    /// The set.
    pub name: SetName,
    /// For what the build was that saved it: `release`, or `proposal/N`.
    pub class: String,
    /// Its key, in hexadecimal.
    pub key: String,
    /// The SHA-256 of the archive, in hexadecimal.
    pub sha256: String,
    /// Its size in bytes.
    pub size: u64,
    /// How many files, directories and links it holds.
    pub files: u64,
    /// The bytes of all its files.
    pub bytes: u64,
    /// The attempt that saved it.
    pub origin: String,
    /// When.
    pub created: Timestamp,
}

/// Reads what a builder tells.
///
/// # Errors
/// What is wrong with it, in a sentence.
pub fn told(json: &[u8]) -> Result<Vec<Told>, String> {
    let all: Vec<Told> =
        serde_json::from_slice(json).map_err(|error| format!("this is no list of archives: {error}"))?;
    if all.len() > MOST {
        return Err(format!("more than {MOST} archives are told of"));
    }
    match all.iter().find_map(Told::fault) {
        Some(fault) => Err(fault.to_owned()),
        None => Ok(all),
    }
}

impl Told {
    fn fault(&self) -> Option<&'static str> {
        let is_digest = |text: &str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_name = |text: &str| {
            text.len() <= LONGEST_NAME
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"@._+-".contains(&byte))
        };
        let number = self.class.strip_prefix("proposal/").map(str::parse::<u64>);
        match () {
            () if !is_digest(&self.key) => Some("a key is no 64 hexadecimal digits"),
            () if !is_digest(&self.sha256) => Some("a sha256 is no 64 hexadecimal digits"),
            () if self.class != "release" && !matches!(number, Some(Ok(_))) => {
                Some("a class is neither `release` nor `proposal/N`")
            }
            () if !is_name(&self.origin) => Some("an origin is no id of an attempt"),
            () if !is_name(&self.repository) => Some("a repository has no name that one can have"),
            () => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn archive() -> Value {
        json!({"action": "used", "repository": "mine", "pkgbase": "foo", "name": "srcdest", "class": "release", "key": "a".repeat(64), "sha256": "b".repeat(64),
               "size": 3, "files": 1, "bytes": 9, "origin": "7-1-x", "created": "2026-01-01T00:00:00Z"})
    }

    fn read(value: &Value) -> Result<Vec<Told>, String> {
        told(value.to_string().as_bytes())
    }

    #[test]
    fn what_a_builder_tells_comes_through_as_it_was_said() {
        let all = read(&json!([archive()])).unwrap();
        assert_eq!((all[0].action, all[0].size, &*all[0].origin), (Action::Used, 3, "7-1-x"));
        assert_eq!(told(&serde_json::to_vec(&all).unwrap()).unwrap(), all);
        assert_eq!(read(&json!([])).unwrap(), []);
    }

    #[test]
    fn nothing_is_shown_that_no_builder_tells() {
        for (field, value) in [
            ("action", json!("sold")),
            ("name", json!("../x")),
            ("repository", json!("<i>")),
            ("pkgbase", json!("a/b")),
            ("class", json!("<b>")),
            ("class", json!("proposal/x")),
            ("key", json!("a")),
            ("sha256", json!("g".repeat(64))),
            ("size", json!(-1)),
            ("origin", json!("x\n")),
            ("origin", json!("x".repeat(101))),
            ("created", json!("yesterday")),
        ] {
            let mut one = archive();
            one[field] = value.clone();
            assert!(read(&json!([one])).is_err(), "{field} {value}");
        }
        assert!(read(&json!(vec![archive(); MOST + 1])).is_err() && read(&json!({})).is_err());
    }
}
