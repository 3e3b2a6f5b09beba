//! A build as whoever carries it out elsewhere is told of it: one JSON document.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cache::Plan;
use super::keyring::PublicKeys;

/// A build to be carried out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Job {
    /// The version of this document. Only a higher one takes anything away or gives it another meaning.
    pub schema: u32,
    /// The id of this try at the build, unique for ever.
    pub attempt: String,
    /// What the monorepo is called.
    pub repository: String,
    /// Its address for git, without secrets; absent where only this machine has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The commit of the monorepo to build.
    pub commit: String,
    /// The pull or merge request of which this is a test build: to be kept apart from other builds; absent for a build
    /// of the branch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proposal: Option<u64>,
    /// The package: its folder at that commit.
    pub pkgbase: String,
    /// The version that has to come out, with its `pkgrel` raised by `bump`; absent where only the build can tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// `CI_PACKAGE_BUMP`: the number after the dot of `pkgrel`, where the package is rebuilt at the same version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bump: Option<u32>,
    /// The version that `bump` raises: it is left alone if the package has another by then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bump_of: Option<String>,
    /// The architecture to build for.
    pub arch: String,
    /// The class of builders that it asks for: a number is the least, a name is exactly that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// pacman repositories to install from; earlier ones win.
    pub pacman_repositories: Vec<PacmanRepository>,
    /// Keys to verify packages of these by, beside those that a builder trusts by itself.
    #[serde(default)]
    pub pacman_keyrings: Vec<PacmanKeyring>,
    /// Files of this package that are published already: a build that would make one of them again is
    /// `already_built`.
    pub published: Vec<String>,
    /// How long it may take, in seconds.
    pub timeout_s: u64,
    /// Whether downloaded sources are worth keeping for its next build.
    pub cache_sources: bool,
    /// Whether its packages may name groups, and packages that they replace; else both are left out.
    #[serde(default)]
    pub allow_prohibited: bool,
    /// What else it may keep for the next build of its package, and find of an earlier one; absent if it begins with
    /// nothing.
    #[serde(default, skip_serializing_if = "Plan::is_empty")]
    pub caches: Plan,
    /// The time to write into packages, in seconds since 1970.
    pub source_date_epoch: i64,
    /// The exit status of a PKGBUILD's function that says that there is nothing to do.
    pub skip_exit_code: i32,
    /// A directory with the files of the package, for programs on this machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package_dir: Option<String>,
    /// A directory to leave built packages in, for programs on this machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artefact_dir: Option<String>,
    /// Where a builder elsewhere gets and brings what belongs to this build.
    #[serde(flatten)]
    pub places: Option<Places>,
    /// What it proves itself with there, as `Authorization: Bearer TOKEN`. It is good for this build only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<JobToken>,
}

/// Addresses for one build; `docs/builders.md` says how to use them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Places {
    /// The files of the package at the commit, as a tar archive.
    pub files: String,
    /// Takes what the build prints; absent where somebody else reads that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// Takes built packages, each below this address.
    pub artefacts: String,
    /// Tells whether to go on.
    pub wish: String,
    /// Takes the claim of a builder: from then on, nobody else brings anything for this build. Absent where there is
    /// nobody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<String>,
    /// Takes word of the archives that a builder keeps on its own machine and used; absent where nobody wants to know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_caches: Option<String>,
}

impl Places {
    /// The places below the address of an attempt.
    #[must_use]
    pub fn of(attempt: &str) -> Self {
        let below = |name: &str| format!("{attempt}/{name}");
        Self {
            files: below("files"),
            log: Some(below("log")),
            artefacts: below("artefacts"),
            wish: below("wish"),
            claim: None,
            used_caches: Some(below("caches")),
        }
    }

    /// With a place for claims.
    #[must_use]
    pub fn claimed(self, attempt: &str) -> Self {
        Self { claim: Some(format!("{attempt}/claim")), ..self }
    }
}

/// The token of one attempt. It is written into the document, and shown nowhere else.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct JobToken(String);

impl JobToken {
    /// A token.
    #[must_use]
    pub fn new(token: &str) -> Self {
        Self(token.to_owned())
    }

    /// What has to be sent.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for JobToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JobToken")
    }
}

/// A pacman repository to install from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PacmanRepository {
    /// Its section in `pacman.conf`, and its database.
    pub name: String,
    /// Its `Server`.
    pub server: String,
    /// Its `SigLevel`; absent where that is for the builder to say: signed packages if it has a keyring of pacman, and
    /// else nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sig_level: Option<String>,
}

/// Keys of those who sign a pacman repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PacmanKeyring {
    /// The repository.
    pub name: String,
    /// Public keys, as `gpg --export --armor` prints them. Every one of them is to be trusted.
    pub keys: PublicKeys,
}

impl Job {
    /// With directories of this machine.
    #[must_use]
    pub fn with_dirs(self, package: &Path, artefacts: &Path) -> Self {
        let shown = |path: &Path| Some(path.display().to_string());
        Self { package_dir: shown(package), artefact_dir: shown(artefacts), ..self }
    }

    /// For a builder elsewhere.
    #[must_use]
    pub fn for_builders(self, places: Places, token: JobToken) -> Self {
        Self { places: Some(places), token: Some(token), ..self }
    }
}
