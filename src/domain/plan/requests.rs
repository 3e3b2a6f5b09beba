//! What has to be asked before a plan can be made.

use std::sync::Arc;

use super::{Pipeline, Since};
use crate::domain::desired::{Package, Snapshot};
use crate::domain::directive;
use crate::domain::name::PkgBase;
use crate::domain::policy::{Rebuilds, SourceKind};
use crate::domain::state::Cursor;
use crate::domain::version::Version;

/// A question for the source of a package's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The package.
    pub pkgbase: PkgBase,
    /// Where its files come from.
    pub source: SourceKind,
    /// How far that source was read; `None` if its files have to be looked at whatever it says.
    pub cursor: Option<Cursor>,
    /// The version that the monorepo has.
    pub version: Option<Version>,
}

/// What has to be asked in an on-schedule run.
///
/// A package whose proposed update has vanished (its review branch was deleted and the content never
/// reached the branch) is asked anew, so that a deleted branch does not lose an update.
#[must_use]
pub fn requests(snapshot: &Snapshot) -> Vec<Request> {
    let has_source =
        |package: &&Arc<Package>| !matches!(package.settings.source, SourceKind::Custom | SourceKind::Unset);
    let asked = |package: &&Arc<Package>| has_source(package) && !package.settings.nvchecker;
    let request = |package: &Arc<Package>| Request {
        pkgbase: package.pkgbase.clone(),
        source: package.settings.source.clone(),
        cursor: cursor(snapshot, &package.pkgbase),
        version: package.version().cloned(),
    };
    snapshot.packages.values().filter(asked).map(request).collect()
}

/// A package whose newest version is looked for, in place of asking its source (`CI_NVCHECKER`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionCheck {
    /// The package.
    pub pkgbase: PkgBase,
    /// Where in its folder the file stands that says how; `None` if there is none.
    pub file: Option<String>,
    /// The version that was dealt with last; `None` if it has to be looked at whatever it is.
    pub cursor: Option<Cursor>,
    /// The version that the monorepo has.
    pub version: Option<Version>,
}

/// What has to be looked for in an on-schedule run. As with [`requests`], a vanished review is looked for anew.
#[must_use]
pub fn version_checks(snapshot: &Snapshot) -> Vec<VersionCheck> {
    let check = |package: &Arc<Package>| VersionCheck {
        pkgbase: package.pkgbase.clone(),
        file: package.version_file.clone(),
        cursor: cursor(snapshot, &package.pkgbase),
        version: package.version().cloned(),
    };
    snapshot.packages.values().filter(|package| package.settings.nvchecker).map(check).collect()
}

/// Whether a run counts bumps, for which it has to know which versions are published.
#[must_use]
pub fn needs_published(pipeline: &Pipeline, since: &Since, rebuilds: Rebuilds) -> bool {
    let directed = || since.commits.iter().any(|commit| directive::asks_for_a_bump(&commit.message));
    match pipeline {
        Pipeline::OnSchedule | Pipeline::Bump(_) => true,
        Pipeline::OnCommit if rebuilds == Rebuilds::Always => true,
        _ => directed(),
    }
}

fn cursor(snapshot: &Snapshot, pkgbase: &PkgBase) -> Option<Cursor> {
    let state = snapshot.states.get(pkgbase)?;
    let vanished = state.proposed().is_some() && !snapshot.reviews.contains_key(pkgbase);
    state.cursor().filter(|_| !vanished)
}
