//! What was found upstream.

use jiff::Timestamp;

/// One version that upstream has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Release {
    /// The version, after all options of the file (`prefix`, `from_pattern`, …) have been applied.
    pub version: String,
    /// The git ref it was read from (`refs/tags/v1.0`), where there is one.
    pub gitref: Option<String>,
    /// The commit or, where nvchecker says so too, the annotated tag.
    pub revision: Option<String>,
    /// A page about it.
    pub url: Option<String>,
    /// When it was published, where the source says so.
    pub created: Option<Timestamp>,
}

impl Release {
    /// A version about which nothing else is known.
    #[must_use]
    pub fn new(version: impl Into<String>) -> Self {
        Self { version: version.into(), ..Self::default() }
    }
}

/// What a source says: one version, or several to choose from by the options for lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// The version.
    One(Release),
    /// The versions, in the order of the source.
    Many(Vec<Release>),
}
