//! `[publish]` as it is needed.

use std::collections::BTreeSet;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::resolve::given;
use super::settings::Server;
use super::value::Name;
use super::written::{WrittenPublish, WrittenTarget};
use crate::domain::publication::guard::RemovalLimit;
use crate::domain::publication::key::Fingerprint;
use crate::domain::publication::target::Target;

/// Where packages go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// The directory of the repository.
    pub dir: PathBuf,
    /// Its name; `None` leaves it to `REPO_NAME`.
    pub name: Option<String>,
    /// The key that packages and database are signed with, if they are.
    pub key: Option<Fingerprint>,
    /// Where the signer listens.
    pub signer: PathBuf,
    /// gpg's folder with the key, if `serve` starts the signer.
    pub signer_home: Option<PathBuf>,
    /// Generations that are kept, the current one included.
    pub keep: usize,
    /// Days of which the last generation is kept besides.
    pub keep_days: u32,
    /// Where replaced files go.
    pub archive_dir: PathBuf,
    /// Days that they stay there; with 0 there is no archive.
    pub archive_days: u32,
    /// Versions of a package that stay there at most.
    pub archive_versions: Option<usize>,
    /// Whether builds go to a staging repository first.
    pub staging: bool,
    /// Further repositories.
    pub targets: Vec<Target>,
    /// Databases of the distribution.
    pub official_databases: Vec<PathBuf>,
    /// Packages that may take names from them.
    pub allow_official: BTreeSet<String>,
    /// Packages that may have `groups` and `replaces`.
    pub allow_prohibited: BTreeSet<String>,
    /// Whether namcap is asked.
    pub namcap: NamcapUse,
    /// How many packages may be removed at once.
    pub max_removals: RemovalLimit,
}

/// Whether namcap is asked about what was built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NamcapUse {
    /// No.
    Off,
    /// Yes, and what it says is kept with the build.
    Report,
    /// Yes, and what it calls an error is not published.
    Refuse,
}

pub(super) fn resolve(publish: WrittenPublish, repository: &str, server: &Server) -> Publish {
    let dir = publish.dir.unwrap_or_else(|| server.data_dir.join("published").join(repository));
    let set = |names: Option<Vec<String>>| given(names).into_iter().collect();
    Publish {
        name: publish.name.as_ref().map(Name::to_string),
        key: publish.key.filter(|_| given(publish.sign)),
        signer: publish.signer.unwrap_or_else(|| server.data_dir.join("signer.sock")),
        signer_home: publish.signer_home,
        keep: given(publish.keep),
        keep_days: given(publish.keep_days),
        archive_dir: publish.archive_dir.unwrap_or_else(|| dir.join("archive")),
        archive_days: given(publish.archive_days),
        archive_versions: publish.archive_versions,
        staging: given(publish.staging),
        targets: publish.target.unwrap_or_default().iter().filter_map(|target| read(target).ok()).collect(),
        official_databases: given(publish.official_databases),
        allow_official: set(publish.allow_official),
        allow_prohibited: set(publish.allow_prohibited),
        namcap: given(publish.namcap),
        max_removals: given(publish.max_removals),
        dir,
    }
}

fn read(target: &WrittenTarget) -> Result<Target, globset::Error> {
    Target::new(target.name.as_str(), &target.packages)
}

/// What can be written, and cannot be done so: the place, what is wrong, and what to write instead.
pub(super) fn impossible(publish: &WrittenPublish) -> Vec<([&'static str; 2], String, &'static str)> {
    const KEY: &str = "write its fingerprint, as `gpg --fingerprint` shows it, as publish.key";
    const TARGET: &str = "give each further repository another name, and patterns such as \"*-git\"";
    let mut found = Vec::new();
    if publish.sign == Some(true) && publish.key.is_none() {
        found.push((["publish", "sign"], "publish.sign = true needs a key".to_owned(), KEY));
    }
    let mut names: BTreeSet<&str> = publish.name.iter().map(Name::as_str).chain(["staging", "archive"]).collect();
    for target in publish.target.iter().flatten() {
        if !names.insert(target.name.as_str()) {
            let message = format!("the name `{}` of publish.target is taken", target.name);
            found.push((["publish", "target"], message, TARGET));
        }
        if let Err(error) = read(target) {
            let message = format!("a pattern of the publish.target `{}` cannot be read: {error}", target.name);
            found.push((["publish", "target"], message, TARGET));
        }
    }
    found
}
