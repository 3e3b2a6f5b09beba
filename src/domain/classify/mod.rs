//! May this update go in without a person?
//!
//! [`classify`] compares two package folders and gives a [`Verdict`] with a [`Reason`] for every difference.
//! It never runs anything, and what it does not understand is major. [`judge`] then applies what a maintainer
//! allows beyond the default ([`Policy`]) and what is known about people ([`Context`]); neither can make light
//! what is [`Weight::Trust`] or [`Weight::Hostile`].
//!
//! ```
//! use pkgwarden::domain::classify::{Decision, classify};
//! use pkgwarden::domain::folder::Folder;
//!
//! let package = |text: &str| Folder::default().with("PKGBUILD", text);
//! let old = package("pkgname=tool\npkgver=1.2\npkgrel=1\narch=(any)\n");
//! let new = package("pkgname=tool\npkgver=1.3\npkgrel=1\narch=(any)\nmakedepends=(npm)\n");
//! let verdict = classify(&old, &new);
//! assert_eq!(verdict.verdict, Decision::Major);
//! assert!(verdict.reasons.iter().any(|reason| reason.code == "dependency-added"));
//! ```
//!
//! # How it works
//!
//! `domain::pkgbuild` reads both files by bash's grammar and works out what variables hold. Then each part looks
//! at what is its own and explains it: `files` the other files, `step` the version and what moved with it,
//! `recipe` functions and commands, `fields` the other variables, `sources` with `address` and `verification`
//! what is fetched and what verifies it, `srcinfo` the summary, `scriptlet` what looks like an attack wherever it
//! is. The verdict is minor while all reasons are light, so each part has to give a heavy one for whatever it
//! cannot claim: a text is claimed by its value, never by the look of its line.
//!
//! Where a file runs commands as it is read, two readings are kept. For comparing, commands are taken to set
//! only what they name: if they are not the same on both sides, that is a reason of its own. Against `.SRCINFO`
//! only what is certain is held.

mod address;
mod bodies;
mod configuration;
mod entries;
mod fields;
mod files;
pub(in crate::domain) mod forms;
mod helper;
mod naming;
mod order;
mod policy;
mod recipe;
mod scriptlet;
mod shape;
mod sources;
mod srcinfo;
mod step;
pub(in crate::domain) mod text;
mod unverified;
mod usage;
mod verification;

pub use policy::{
    Age, Approvals, Context, Judged, LineRules, PackagePolicy, PathPattern, Permission, Place, Policy, Subject, Whole,
    codes_of_rules, judge,
};
use serde::Serialize;

use self::recipe::Recipe;
use self::step::Step;
use self::text::shown;
use super::folder::Folder;
use super::srcinfo::Srcinfo;
use super::version::Version;

const PKGBUILD: &str = "PKGBUILD";
const SRCINFO: &str = ".SRCINFO";

/// More reasons than this say nothing new; the heaviest are kept.
const REPORTED: usize = 500;

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// It may go in.
    Minor,
    /// A person has to look.
    Major,
}

/// How much a difference weighs. Everything above `Stronger` needs a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Weight {
    /// Nothing that bash or makepkg would see.
    Cosmetic,
    /// The version moved forward, and what has to move with it.
    Version,
    /// Verification became stronger.
    Stronger,
    /// Somebody should read it.
    Review,
    /// It changes whom or what is trusted.
    Trust,
    /// It looks like an attack.
    Hostile,
}

impl Weight {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cosmetic => "cosmetic",
            Self::Version => "version",
            Self::Stronger => "stronger",
            Self::Review => "review",
            Self::Trust => "trust",
            Self::Hostile => "hostile",
        }
    }
}

/// One difference, and what it means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// Stable, `kebab-case`.
    pub code: &'static str,
    /// How much it weighs.
    pub severity: Weight,
    /// The file it is in.
    pub file: String,
    /// The line in the new file (in the old one if it is gone), from 1.
    pub line: Option<u32>,
    /// The variable that it is about, if it is about the elements of one.
    pub field: Option<String>,
    /// What stood there; control characters are escaped.
    pub old: Option<String>,
    /// What stands there now; control characters are escaped.
    pub new: Option<String>,
    /// The rule that lets it in, or says that it was expected: where the rule stands, and its reason.
    pub rule: Option<String>,
    /// One sentence that a maintainer understands.
    pub message: String,
}

impl Reason {
    /// Says which variable it is about, unless that is said.
    fn about(mut self, field: &str) -> Self {
        self.field.get_or_insert_with(|| shown(field.as_bytes()));
        self
    }
}

/// The answer with every reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Minor exactly if no reason is above [`Weight::Stronger`].
    pub verdict: Decision,
    /// The weight of the heaviest reason.
    pub severity: Weight,
    /// One for every difference, in the order of files and lines; of very many the heaviest.
    pub reasons: Vec<Reason>,
    /// The version before, as far as it can be read.
    pub old_version: Option<Version>,
    /// The version after.
    pub new_version: Option<Version>,
}

impl Verdict {
    /// The verdict that follows from reasons.
    #[must_use]
    pub fn from_reasons(reasons: Vec<Reason>, old_version: Option<Version>, new_version: Option<Version>) -> Self {
        let severity = reasons.iter().map(|reason| reason.severity).max().unwrap_or(Weight::Cosmetic);
        let verdict = if severity > Weight::Stronger { Decision::Major } else { Decision::Minor };
        Self { verdict, severity, reasons, old_version, new_version }
    }
}

/// Compares two package folders. Entries that belong to the monorepo (`.CI`) are not looked at.
#[must_use]
pub fn classify(old: &Folder, new: &Folder) -> Verdict {
    let (old, new) = (&old.from_source(), &new.from_source());
    let written = text::written(old, new);
    let mut reasons = files::compare(old, new);
    reasons.extend(files::hidden_characters(&written));
    let before = Recipe::read(bytes(old, PKGBUILD));
    let after = Recipe::read_after(bytes(new, PKGBUILD), before.as_ref().ok());
    let differs = |path| old.get(path) != new.get(path);
    let mut step = Step::default();
    if !new.files.get(PKGBUILD).is_some_and(files::is_plain_file) {
        let message = "there is no PKGBUILD that could be compared";
        reasons.push(reason("pkgbuild-missing", Weight::Review, (PKGBUILD, None), None, None, message));
    } else if old.get(PKGBUILD).is_some() && differs(PKGBUILD) {
        let (found, movement) = recipes((old, &before), (new, &after));
        reasons.extend(found);
        step = movement;
    }
    reasons.extend(scriptlet::compare(&written));
    if let (Some(summary_old), Some(summary)) = (old.get(SRCINFO), new.get(SRCINFO))
        && (differs(PKGBUILD) || differs(SRCINFO))
    {
        reasons.extend(srcinfo::compare((summary_old, summary), (before.as_ref().ok(), after.as_ref().ok()), &step));
    }
    if reasons.len() > REPORTED {
        reasons.sort_by_key(|reason| std::cmp::Reverse(reason.severity));
        reasons.truncate(REPORTED);
    }
    reasons.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
    Verdict::from_reasons(reasons, version(old, before.as_ref().ok()), version(new, after.as_ref().ok()))
}

/// Everything that differs between two PKGBUILDs, and how the version moved.
fn recipes(
    (old, before): (&Folder, &Result<Recipe<'_>, super::pkgbuild::Unread>),
    (new, after): (&Folder, &Result<Recipe<'_>, super::pkgbuild::Unread>),
) -> (Vec<Reason>, Step) {
    let (before, after) = match (before, after) {
        (Ok(before), Ok(after)) => (before, after),
        (before, after) => {
            let (folder, error) = match (before, after) {
                (_, Err(error)) => (new, error),
                (Err(error), _) => (old, error),
                _ => unreachable!("one of them could not be read"),
            };
            let line = super::pkgbuild::line_of(bytes(folder, PKGBUILD), error.at);
            let message = format!("it cannot be read as bash reads it: {error}");
            let reasons = vec![reason("unreadable", Weight::Review, (PKGBUILD, Some(line)), None, None, &message)];
            return (reasons, Step::default());
        }
    };
    let (step, mut reasons) = step::step(before, after);
    reasons.extend(recipe::compare(before, after, &step));
    reasons.extend(sources::compare((before, old), (after, new), &step));
    if reasons.is_empty() {
        let message = "only comments, white space, quotes or wrapping changed";
        reasons.push(reason("layout", Weight::Cosmetic, (PKGBUILD, None), None, None, message));
    }
    (reasons, step)
}

/// A reason with its texts made safe to show. `place` is the file and the line in it.
fn reason(
    code: &'static str,
    severity: Weight,
    (file, line): (&str, Option<u32>),
    old: Option<&[u8]>,
    new: Option<&[u8]>,
    message: &str,
) -> Reason {
    let file = shown(file.as_bytes());
    let (old, new, message) = (old.map(shown), new.map(shown), message.to_owned());
    Reason { code, severity, file, line, field: None, old, new, rule: None, message }
}

fn bytes<'a>(folder: &'a Folder, path: &str) -> &'a [u8] {
    folder.get(path).unwrap_or_default()
}

/// What the PKGBUILD plainly says, else what the `.SRCINFO` says.
fn version(folder: &Folder, recipe: Option<&Recipe<'_>>) -> Option<Version> {
    let summary = || folder.get(SRCINFO).and_then(|bytes| Srcinfo::parse(bytes).ok()).map(|srcinfo| srcinfo.version);
    recipe.and_then(step::version).map(Version::new).or_else(summary)
}

#[cfg(test)]
mod mutations;
#[cfg(test)]
mod tests;
