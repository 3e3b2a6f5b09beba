//! One rule that lets a kind of difference in, or says that it is expected.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Subject;
use super::codes::{self, Effect, Shows};
use super::pattern::{PathPattern, Whole};
use crate::domain::classify::{Reason, Weight};
use crate::domain::pkgbuild::Source;

/// One kind of difference that may go in, for a reason and, perhaps, for a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Permission {
    /// The package; all if nothing is said.
    #[serde(default)]
    pub package: Option<String>,
    /// The code of the reason: `dependency-added`.
    pub code: String,
    /// The variable: `makedepends`; any if nothing is said.
    #[serde(default)]
    pub field: Option<String>,
    /// The file; any if nothing is said. `*` stands for anything in one folder, `**` for anything.
    #[serde(default)]
    pub file: Option<PathPattern>,
    /// The whole old text; any if nothing is said.
    #[serde(default)]
    pub old: Option<String>,
    /// The whole new text; any if nothing is said.
    #[serde(default)]
    pub new: Option<String>,
    /// A regular expression for the whole new text.
    #[serde(default)]
    pub matches: Option<Whole>,
    /// The host of the old address.
    #[serde(default)]
    pub from: Option<String>,
    /// The host of the new address.
    #[serde(default)]
    pub to: Option<String>,
    /// Why it is allowed.
    pub because: String,
    /// The end of the permission.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub until: Option<Timestamp>,
    /// Where it begins.
    #[serde(skip)]
    pub place: Place,
}

/// Where a rule stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: Option<u32>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        self.line.map_or(Ok(()), |line| write!(f, ":{line}"))
    }
}

/// Whether a rule may let in reasons of this kind.
pub(super) fn can_permit(code: &str) -> bool {
    codes::of(code).is_some_and(|(effect, _)| matches!(effect, Effect::Permits | Effect::Expects))
}

impl Permission {
    /// A permission for everything of one kind.
    #[must_use]
    pub fn about(code: &str, because: &str) -> Self {
        Self {
            package: None,
            code: code.to_owned(),
            field: None,
            file: None,
            old: None,
            new: None,
            matches: None,
            from: None,
            to: None,
            because: because.to_owned(),
            until: None,
            place: Place::default(),
        }
    }

    /// Whether it has not ended.
    #[must_use]
    pub fn counts(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    /// Whether it speaks of the elements themselves.
    pub(super) fn names_texts(&self) -> bool {
        self.names_new() || self.old.is_some() || self.from.is_some()
    }

    fn names_new(&self) -> bool {
        self.new.is_some() || self.matches.is_some() || self.to.is_some()
    }

    /// Whether it is about one thing in one package, so that what weighs more than reading can be expected.
    pub(super) fn is_narrow(&self) -> bool {
        self.package.is_some() && (self.names_new() || self.old.is_some())
    }

    pub(super) fn covers(&self, reason: &Reason, subject: Subject<'_>) -> bool {
        let fits = |wanted: &Option<String>, is: Option<&str>| wanted.as_deref().is_none_or(|text| Some(text) == is);
        self.code == reason.code
            && can_permit(reason.code)
            && (reason.severity == Weight::Review || self.is_narrow())
            && fits(&self.package, Some(subject.package))
            && fits(&self.field, reason.field.as_deref())
            && self.file.as_ref().is_none_or(|file| file.fits(&reason.file))
            && self.covers_texts(reason)
            && self.counts(subject.now)
    }

    /// What is cut, or only a part of what changed, is not the whole text that a rule has to cover.
    fn covers_texts(&self, reason: &Reason) -> bool {
        if !self.names_texts() {
            return true;
        }
        let whole = |text: &Option<String>| text.clone().filter(|text| !text.ends_with('…'));
        let (old, new) = (whole(&reason.old), whole(&reason.new));
        let fits = |wanted: &Option<String>, is: &Option<String>| wanted.is_none() || wanted == is;
        let host = |text: &Option<String>| text.as_deref().map(|text| Source::split(text).authority.to_owned());
        codes::of(reason.code).is_some_and(|(_, shows)| shows == Shows::Element)
            && fits(&self.old, &old)
            && fits(&self.new, &new)
            && self.matches.as_ref().is_none_or(|regex| new.as_deref().is_some_and(|text| regex.fits(text)))
            && (self.from.is_none() || self.from == host(&old))
            && (self.to.is_none() || self.to == host(&new))
    }
}
