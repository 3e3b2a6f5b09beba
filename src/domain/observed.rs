//! What sources said. A failure is an answer too: *unknown*, never *current*.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::finding::Finding;
use super::folder::Folder;
use super::keepers::Keepers;
use super::library::Libraries;
use super::name::PkgBase;
use super::review::hands::Handwork;
use super::revision::{Revision, Seen};
use super::standing::Standing;
use super::state::Cursor;

/// What the source of a package's files said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observation {
    /// Nothing has moved. `cursor` is what to remember, if that is news.
    Current {
        /// The cursor, moved or confirmed.
        cursor: Option<Cursor>,
    },
    /// The files are different from what was last dealt with.
    Changed {
        /// What to remember once the change is dealt with.
        cursor: Cursor,
        /// The files of the source.
        incoming: Folder,
        /// The files of the monorepo they would replace.
        present: Folder,
    },
    /// It could not be asked, or its answer cannot be relied on.
    Unknown {
        /// What happened.
        error: String,
        /// When to ask again; the next pass if `None`.
        retry_at: Option<Timestamp>,
    },
    /// The source has no such package (any more).
    Gone,
}

/// A package of the AUR that somebody may have meant who named one that is not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meant {
    /// The package.
    pub pkgbase: PkgBase,
    /// Whether it builds a package of exactly that name; else its own name is the nearest.
    pub builds_it: bool,
}

/// What the floating sources of a package said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upstream {
    /// What a build would use now, in the order of the sources.
    At(Vec<Revision>),
    /// Some could not be asked.
    Partly {
        /// What a build would use now, in the order of the sources; `None` where that is not known.
        seen: Vec<Option<Revision>>,
        /// What happened with the first that is not known.
        error: String,
        /// When that is asked again; the next pass if `None`.
        retry_at: Option<Timestamp>,
    },
    /// None could be asked.
    Unknown {
        /// What happened.
        error: String,
        /// When to ask again; the next pass if `None`.
        retry_at: Option<Timestamp>,
    },
}

impl Upstream {
    /// Where each source stands, in their order; `None` where that is not known. Empty if nothing is.
    #[must_use]
    pub fn seen(&self) -> Vec<Option<Revision>> {
        match self {
            Self::At(revisions) => revisions.iter().cloned().map(Some).collect(),
            Self::Partly { seen, .. } => seen.clone(),
            Self::Unknown { .. } => Vec::new(),
        }
    }
}

/// What the `.CI/changed.sh` of a package said: whether it has to be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opinion {
    /// It has, and this is what the script saw, if it wrote that down.
    Build {
        /// To be shown to it the next time.
        seen: Option<Seen>,
    },
    /// Nothing has changed.
    Unchanged,
    /// It did not come to an answer.
    None {
        /// What happened.
        error: String,
    },
}

/// The three sides of a review.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The folder when the review branch left the branch with the packages.
    pub base: Folder,
    /// The folder now.
    pub present: Folder,
    /// The folder on the review branch.
    pub proposed: Folder,
}

/// Everything that was asked in one run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observations {
    /// By package: its source of files. A package that was not asked is not here.
    pub files: BTreeMap<PkgBase, Observation>,
    /// By package whose files have changed: its PKGBUILD as it is committed, where that is not as it came.
    pub formatted: BTreeMap<PkgBase, Vec<u8>>,
    /// By package: who may push to its source, where that can be known.
    pub keepers: BTreeMap<PkgBase, Keepers>,
    /// By package: what the AUR's index says beside that.
    pub standing: BTreeMap<PkgBase, Standing>,
    /// By package that the AUR has not: what may have been meant, where that was looked for.
    pub meant: BTreeMap<PkgBase, Meant>,
    /// By package: its floating sources.
    pub upstream: BTreeMap<PkgBase, Upstream>,
    /// By package with a `.CI/changed.sh`: what that said. It decides in place of the floating sources.
    pub opinions: BTreeMap<PkgBase, Opinion>,
    /// What a person decides about, by package.
    pub proposals: BTreeMap<PkgBase, Proposal>,
    /// By package whose source has changed: digest of the files that its review proposes, without the
    /// monorepo's own.
    pub waiting: BTreeMap<PkgBase, String>,
    /// By package: what is on the branch of its review, where a plan would move or delete that branch.
    pub handwork: BTreeMap<PkgBase, Handwork>,
    /// By package: why its folder must not be handed to a build.
    pub unbuildable: BTreeMap<PkgBase, Finding>,
    /// Packages with builds that have not ended, if somebody quarantines some.
    pub in_queue: BTreeSet<PkgBase>,
    /// What the repositories have that packages are built against, if that was looked at.
    pub libraries: Option<Libraries>,
    /// What went wrong with a source as a whole.
    pub findings: Vec<Finding>,
}
