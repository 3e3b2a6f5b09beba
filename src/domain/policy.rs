//! What a repository and its packages ask for, as needed: defaults filled in, values checked.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::cache::policy::CachePolicy;
use super::classify::LineRules;
use super::review::policy::{ProposalPolicy, ReviewPolicy, StatusPolicy};

/// Where the files of a package come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceKind {
    /// The package of the same name in the AUR.
    Aur,
    /// Some git repository that holds the package folder.
    Git(GitFolder),
    /// The newest release of a project; the monorepo has the files, and the version in them is raised.
    Release(Project),
    /// Kept by people in this repository.
    Custom,
    /// Nothing is said; treated as `Custom`, and reported.
    Unset,
}

impl SourceKind {
    /// The word used in output.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Aur => "aur",
            Self::Git(_) => "git",
            Self::Release(Project::Gitlab { .. }) => "gitlab",
            Self::Release(Project::Github { .. }) => "github",
            Self::Release(Project::Gitea { .. }) => "gitea",
            Self::Release(Project::Git { .. }) => "tags",
            Self::Custom => "custom",
            Self::Unset => "unset",
        }
    }
}

/// As it is written in `CI_PKGBUILD_SOURCE`.
impl std::fmt::Display for SourceKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Git(GitFolder { url, branch, folder }) => {
                let parts = [("branch", branch), ("subfolder", folder)];
                let parts = parts.iter().filter_map(|(name, value)| Some(format!("{name}={}", value.as_ref()?)));
                let parts = parts.collect::<Vec<_>>().join("&");
                if parts.is_empty() { f.write_str(url) } else { write!(f, "{url}#{parts}") }
            }
            Self::Release(project) => project.fmt(f),
            Self::Aur | Self::Custom | Self::Unset => f.write_str(self.name()),
        }
    }
}

/// A folder in some git repository.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GitFolder {
    /// The address of the repository.
    pub url: String,
    /// The branch; the default branch if none is named.
    pub branch: Option<String>,
    /// The folder, `/` between parts; the whole repository if none is named.
    pub folder: Option<String>,
}

/// A project whose tags say what its newest release is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Project {
    /// On a GitLab.
    Gitlab {
        /// Address of the GitLab, without a slash at the end; the one of the settings if `None`.
        base: Option<String>,
        /// Its numeric id, or its path.
        project: String,
    },
    /// On GitHub.
    Github {
        /// `owner/repository`.
        project: String,
    },
    /// On a Gitea or Forgejo.
    Gitea {
        /// Address of the Gitea, without a slash at the end.
        base: String,
        /// `owner/repository`.
        project: String,
    },
    /// Any git repository.
    Git {
        /// Its address.
        url: String,
    },
}

impl std::fmt::Display for Project {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Gitlab { base: None, project } => write!(f, "gitlab:{project}"),
            Self::Gitlab { base: Some(base), project } => write!(f, "gitlab:{base}/{project}"),
            Self::Github { project } => write!(f, "github:{project}"),
            Self::Gitea { base, project } => write!(f, "gitea:{base}/{project}"),
            Self::Git { url } => write!(f, "tags:{url}"),
        }
    }
}

/// A build class: which builders may take a build.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BuildClass(pub String);

impl std::fmt::Display for BuildClass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

/// `[epoch:]pkgver-pkgrel/N`: while the package still has that version, its pkgrel becomes
/// `pkgrel.N`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bump {
    /// The version it applies to.
    pub version: super::version::Version,
    /// How often it has been rebuilt at that version.
    pub count: u32,
}

/// A `CI_PACKAGE_BUMP` that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a bump: {reason}; write `[epoch:]pkgver-pkgrel` or `[epoch:]pkgver-pkgrel/N`")]
pub struct InvalidBump {
    /// The text as it was given.
    pub text: String,
    /// Which part is wrong.
    pub reason: &'static str,
}

impl Bump {
    /// Reads the value of `CI_PACKAGE_BUMP`: `[epoch:]pkgver-pkgrel/N`, or without `/N` for the first.
    ///
    /// # Errors
    /// [`InvalidBump`] with the part that is wrong. A bare number is refused too: Chaotic's manual
    /// describes it, and Chaotic's builder reads it as a version that no package has.
    pub fn parse(text: &str) -> Result<Self, InvalidBump> {
        let fail = |reason| InvalidBump { text: text.to_owned(), reason };
        let written = text.trim();
        let (version, count) = match written.rsplit_once('/') {
            Some((version, count)) => (version, count_of(count).ok_or_else(|| fail("N is not a number from 1"))?),
            None => (written, 1),
        };
        let version = super::version::Version::new(version);
        let (_, pkgver, pkgrel) = version.parts();
        let in_pkgver = |c: char| c.is_ascii_graphic() && !":/".contains(c);
        if pkgver.is_empty() || !pkgver.chars().all(in_pkgver) {
            return Err(fail("pkgver is missing or holds characters that makepkg refuses"));
        }
        if !pkgrel.is_some_and(is_release) {
            return Err(fail("pkgrel is missing or not a number"));
        }
        Ok(Self { version, count })
    }

    /// The value of `CI_PACKAGE_BUMP` as Chaotic's scripts write it, always with `/N`.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!("{}/{}", self.version, self.count)
    }
}

fn count_of(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|&count| digits && count > 0)
}

/// Whether makepkg takes it as `pkgrel`: digits, or digits, a dot and digits.
pub(crate) fn is_release(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    match text.split_once('.') {
        Some((major, minor)) => digits(major) && digits(minor),
        None => digits(text),
    }
}

/// What one package's `.CI/config` asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct PackageSettings {
    /// `CI_PKGBUILD_SOURCE`.
    pub source: SourceKind,
    /// `CI_ON_TRIGGER`: builds of updates wait for this trigger.
    pub trigger: Option<String>,
    /// `BUILDER_CLASS`.
    pub class: Option<BuildClass>,
    /// `CI_PACKAGE_BUMP`.
    pub bump: Option<Bump>,
    /// `CI_FORCE_VCS`.
    pub force_vcs: bool,
    /// `CI_MANAGE_AUR`.
    pub manage_aur: bool,
    /// `CI_NVCHECKER`.
    pub nvchecker: bool,
    /// `CI_REBUILD_TRIGGERS`.
    pub rebuild_triggers: Vec<String>,
    /// `CI_PKGBUILD_CHANGE_ALLOW_REGEX`.
    pub line_rules: LineRules,
    /// `BUILDER_EXTRA_TIMEOUT`: the build may take this many times as long.
    pub extra_timeout: f64,
    /// `BUILDER_CACHE_SOURCES`.
    pub cache_sources: bool,
    /// `BUILDER_ALLOW_PROHIBITED`.
    pub allow_prohibited: bool,
    /// `CI_UPDATE_NETWORK`: its `.CI/update.sh` and `.CI/changed.sh` may use the network.
    pub update_network: bool,
}

impl Default for PackageSettings {
    fn default() -> Self {
        Self {
            source: SourceKind::Unset,
            trigger: None,
            class: None,
            bump: None,
            force_vcs: false,
            manage_aur: false,
            nvchecker: false,
            rebuild_triggers: Vec::new(),
            line_rules: LineRules::default(),
            extra_timeout: 1.0,
            cache_sources: false,
            allow_prohibited: false,
            update_network: false,
        }
    }
}

/// Who the commits of the program are by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// `GIT_AUTHOR_NAME`.
    pub name: String,
    /// `GIT_AUTHOR_EMAIL`.
    pub email: String,
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} <{}>", self.name, self.email)
    }
}

/// How Chaotic's scripts reach a manager where nothing else is said.
pub const MANAGER_DEFAULTS: [(&str, &str); 4] =
    [("REDIS_PORT", "6379"), ("REDIS_SSH_HOST", "localhost"), ("REDIS_SSH_PORT", "22"), ("REDIS_SSH_USER", "redis")];

/// What the repository's `.ci/config` asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct RepositorySettings {
    /// `REPO_NAME`: the repository packages are published to, if it is said.
    pub target_repository: Option<String>,
    /// `BUILD_REPO`: the name builders know this monorepo by.
    pub source_repository: String,
    /// `GIT_AUTHOR_NAME` and `GIT_AUTHOR_EMAIL`.
    pub identity: Identity,
    /// `CI_HUMAN_REVIEW`; `None` if nothing is said.
    pub human_review: Option<bool>,
    /// `CI_HUMAN_REVIEW_ASSIGNEE`: who is asked to care for reviews on a forge.
    pub review_assignees: BTreeSet<String>,
    /// `CI_OVERWRITE_COMMITS`: replace the last automated commit in place of adding one.
    pub overwrite_commits: bool,
    /// `CI_DEFAULT_CLASS`.
    pub default_class: Option<BuildClass>,
    /// `CI_CODE_SKIP`: the exit status by which `prepare` says that there is nothing to build.
    pub skip_exit_code: i32,
    /// `CI_MANAGE_AUR`.
    pub manage_aur: bool,
    /// `CI_NVCHECKER_REVIEW`: updates to versions found by nvchecker wait for a person.
    pub nvchecker_review: bool,
    /// `CI_MAX_PARALLEL`: requests at once.
    pub max_parallel: usize,
    /// `CI_CLONE_DELAY`, in seconds.
    pub clone_delay: f64,
    /// `CI_AUR_PROXY`.
    pub aur_proxy: Option<String>,
    /// `CI_LIB_DB`: databases of the repositories packages are built against.
    pub library_databases: Vec<String>,
    /// `CI_REBUILD_BLACKLIST`.
    pub rebuild_blacklist: BTreeSet<String>,
    /// `REDIS_…`: how Chaotic's CI job reaches its manager, for the files that are written for it.
    pub manager_variables: BTreeMap<String, String>,
    /// `TEMPLATE_ENABLE_UPDATES`: keep the files current that have a CI service run us.
    pub template_updates: bool,
    /// `TEMPLATE_REPO`: where these come from, in place of this program.
    pub template_repository: Option<String>,
    /// `.ci/aur-maintainers`: AUR accounts whose updates are trusted.
    pub trusted_maintainers: BTreeSet<String>,
}

impl Default for RepositorySettings {
    fn default() -> Self {
        Self {
            target_repository: None,
            source_repository: "chaotic-aur".into(),
            identity: Identity { name: "pkgwarden".into(), email: "pkgwarden@localhost".into() },
            human_review: None,
            review_assignees: BTreeSet::new(),
            overwrite_commits: false,
            default_class: None,
            skip_exit_code: 123,
            manage_aur: false,
            nvchecker_review: true,
            max_parallel: 8,
            clone_delay: 0.0,
            aur_proxy: None,
            library_databases: Vec::new(),
            rebuild_blacklist: BTreeSet::new(),
            manager_variables: MANAGER_DEFAULTS.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            template_updates: false,
            template_repository: None,
            trusted_maintainers: BTreeSet::new(),
        }
    }
}

/// What to do about a directive that names no package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UnknownDirective {
    /// Report it; everything else in the range still happens.
    #[default]
    Report,
    /// Do nothing at all until it is gone, as Chaotic's pipeline does.
    Stop,
}

/// What to do with a request for a package that is being built already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Overlap {
    /// Keep exactly one waiting, always for the newest commit.
    #[default]
    Coalesce,
    /// Build each request, one after the other.
    Queue,
    /// Drop it, and say so.
    Discard,
    /// Stop the running build and start anew.
    Cancel,
}

/// What is built anew because something that it needs was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Rebuilds {
    /// Only what asks for it by name, with `CI_REBUILD_TRIGGERS`.
    Never,
    /// That, and exactly what needs a shared library that is gone.
    #[default]
    Sonames,
    /// That, and all that needs a package which was changed, whatever changed.
    Always,
}

/// What the operator of the controller decides, beside what stands in the monorepo.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// Unknown names in directives.
    pub unknown_directive: UnknownDirective,
    /// Requests for a package that is being built.
    pub overlap: Overlap,
    /// What is built anew because something that it needs was.
    pub rebuilds: Rebuilds,
    /// Overrides `CI_HUMAN_REVIEW`.
    pub human_review: Option<bool>,
    /// Whether PKGBUILDs are formatted before they are committed.
    pub format: bool,
    /// Reviews on a forge.
    pub reviews: ReviewPolicy,
    /// The title of the issue on the forge that shows how the repository stands, if there is to be one.
    pub dashboard: Option<String>,
    /// What people propose on a forge.
    pub proposals: ProposalPolicy,
    /// Statuses of builds on a forge.
    pub statuses: StatusPolicy,
    /// What builds may keep for the next one.
    pub caches: CachePolicy,
}

impl Policy {
    /// Whether major updates wait for a person. If nobody says anything, they do.
    #[must_use]
    pub fn wants_review(&self, repository: &RepositorySettings) -> bool {
        self.human_review.or(repository.human_review).unwrap_or(true)
    }
}

/// The name that stands for nobody where people approve.
const AUTOMATIC: &str = "automerge";

/// Whoever approves a review, by the name they go by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Person(String);

/// A name that nobody can be recorded by.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("that is not a name for the record: use up to 64 letters, digits and ._@+-")]
pub struct InvalidPerson;

impl Person {
    /// Checks a name.
    ///
    /// # Errors
    /// If it is empty, too long, or has other signs than letters, digits and `._@+-`.
    pub fn new(name: &str) -> Result<Self, InvalidPerson> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._@+-".contains(&byte);
        let fits = (1..=64).contains(&name.len()) && name.bytes().all(legal);
        fits.then(|| Self(name.to_owned())).ok_or(InvalidPerson)
    }

    /// Nobody: an update that went in because its time was up.
    #[must_use]
    pub fn automatic() -> Self {
        Self(AUTOMATIC.to_owned())
    }

    /// Whether this is nobody.
    #[must_use]
    pub fn is_automatic(&self) -> bool {
        self.0 == AUTOMATIC
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Person {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}
