//! The monorepo as it is: everything known about one commit, its `state` branch and its `scheduled`
//! tag.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::classify;
use super::finding::Finding;
use super::name::{Oid, PkgBase};
use super::policy::{PackageSettings, RepositorySettings};
use super::review::group::GroupName;
use super::srcinfo::Srcinfo;
use super::state::PackageState;
use super::version::Version;

/// What a build does beside the PKGBUILD itself: a file of the `.CI` folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Interfere {
    /// `prepare`: runs before the build.
    Prepare,
    /// `interfere.patch`: applied to the folder.
    Patch,
    /// `PKGBUILD.prepend`: goes before the PKGBUILD.
    Prepend,
    /// `PKGBUILD.append`: goes after the PKGBUILD.
    Append,
    /// `on-failure.sh`: runs after a failed build.
    OnFailure,
    /// `on-success.sh`: runs after a successful build.
    OnSuccess,
    /// `update.sh`: updates the files.
    Update,
    /// `changed.sh`: says whether what the package is built from has changed.
    Changed,
}

impl Interfere {
    /// Every kind, in the order in which they act.
    pub const ALL: [Self; 8] = [
        Self::Update,
        Self::Changed,
        Self::Prepare,
        Self::Patch,
        Self::Prepend,
        Self::Append,
        Self::OnFailure,
        Self::OnSuccess,
    ];

    /// The name of the file inside `.CI`.
    #[must_use]
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Patch => "interfere.patch",
            Self::Prepend => "PKGBUILD.prepend",
            Self::Append => "PKGBUILD.append",
            Self::OnFailure => "on-failure.sh",
            Self::OnSuccess => "on-success.sh",
            Self::Update => "update.sh",
            Self::Changed => "changed.sh",
        }
    }
}

/// One package folder.
#[derive(Debug, Clone, PartialEq)]
pub struct Package {
    /// Its name: the name of the folder.
    pub pkgbase: PkgBase,
    /// The git tree of the folder.
    pub tree: Oid,
    /// What its `.SRCINFO` says; `None` if there is none that can be read, and `findings` says why.
    pub srcinfo: Option<Srcinfo>,
    /// What its `.CI/config` asks for.
    pub settings: PackageSettings,
    /// The text of its `.CI/config`, for changes that keep what people wrote there.
    pub config: Arc<str>,
    /// Interfere files it has.
    pub interfere: Vec<Interfere>,
    /// Whether there is a PKGBUILD at all.
    pub has_pkgbuild: bool,
    /// Where in the folder the file stands that says, in nvchecker's form, how the newest version is found.
    pub version_file: Option<String>,
    /// What is wrong in the folder.
    pub findings: Vec<Finding>,
}

impl Package {
    /// The version that `.SRCINFO` gives.
    #[must_use]
    pub fn version(&self) -> Option<&Version> {
        self.srcinfo.as_ref().map(|srcinfo| &srcinfo.version)
    }

    /// Whether upstream commits decide when it is built: by name (`-git`) or by `CI_FORCE_VCS`.
    #[must_use]
    pub fn follows_upstream(&self) -> bool {
        self.pkgbase.is_vcs() || self.settings.force_vcs
    }

    /// Whether a script of its own decides when it is built, in place of upstream commits.
    #[must_use]
    pub fn decides_itself(&self) -> bool {
        self.interfere.contains(&Interfere::Changed)
    }
}

/// A branch tip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tip {
    /// The commit.
    pub commit: Oid,
    /// Its root tree.
    pub tree: Oid,
}

/// The refs that matter, as one look at the remote found them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refs {
    /// The branch with the packages, by its short name: usually `main`.
    pub branch: String,
    /// Its commit; `None` while the repository is empty.
    pub main: Option<Oid>,
    /// Branch `state`.
    pub state: Option<Oid>,
    /// Tag `scheduled`.
    pub scheduled: Option<Oid>,
    /// Branches `update-<pkgbase>`.
    pub reviews: BTreeMap<PkgBase, Oid>,
    /// Branches `updates-<group>`.
    pub groups: BTreeMap<GroupName, Oid>,
}

/// A branch `update-<pkgbase>` and what it would change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReviewBranch {
    /// Its tip.
    pub head: Oid,
    /// The git tree of the folder it proposes; `None` if it has no such folder.
    pub folder: Option<Oid>,
    /// Whether the branch with the packages has these files now, the monorepo's own aside.
    pub arrived: bool,
    /// Whether it has the very same files, the monorepo's own among them: the branch makes no difference at all.
    pub identical: bool,
}

/// Everything known about one commit of the monorepo.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// The name of the repository in the configuration.
    pub repository: String,
    /// The refs it was read at.
    pub refs: Refs,
    /// The tip of the branch with the packages; `None` while the repository is empty.
    pub main: Option<Tip>,
    /// What `.ci/config` asks for.
    pub settings: RepositorySettings,
    /// `.ci/policy.toml`: which updates may go in beyond the default.
    pub gate: classify::Policy,
    /// The packages, sorted by name.
    pub packages: BTreeMap<PkgBase, Arc<Package>>,
    /// What waits for a person, as far as it was read; the refs name all.
    pub reviews: BTreeMap<PkgBase, ReviewBranch>,
    /// What the `state` branch says.
    pub states: BTreeMap<PkgBase, PackageState>,
    /// Lines of `state:.version-state`, kept as they are.
    pub version_state: Option<String>,
    /// Lines of `state:.soname-state`, kept as they are.
    pub soname_state: Option<String>,
    /// What is wrong outside the package folders.
    pub findings: Vec<Finding>,
}

impl Snapshot {
    /// The class a package is built with, if any is asked for.
    #[must_use]
    pub fn class_of(&self, package: &Package) -> Option<super::policy::BuildClass> {
        package.settings.class.clone().or_else(|| self.settings.default_class.clone())
    }

    /// The review branches that propose something. The others are about to be closed, because their content
    /// arrived or their package left.
    pub fn waiting_reviews(&self) -> impl Iterator<Item = &PkgBase> {
        let proposes = |pkgbase: &&PkgBase| self.waits_for_a_person(pkgbase);
        self.reviews.keys().filter(proposes)
    }

    /// Whether an update of the package waits for a person.
    #[must_use]
    pub fn waits_for_a_person(&self, pkgbase: &PkgBase) -> bool {
        let review = self.reviews.get(pkgbase);
        self.packages.contains_key(pkgbase) && review.is_some_and(|review| review.folder.is_some() && !review.arrived)
    }

    /// Everything that is wrong, packages included.
    pub fn all_findings(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().chain(self.packages.values().flat_map(|package| &package.findings))
    }
}
