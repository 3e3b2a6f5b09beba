//! `[publish]`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Layer;
use crate::config::settings::NamcapUse;
use crate::config::value::Name;
use crate::domain::publication::guard::RemovalLimit;
use crate::domain::publication::key::Fingerprint;

section! {
    /// The pacman repository that built packages go to.
    WrittenPublish {
        /// Its directory; with several repositories, each has its own in it. Without it: `published/<repository>`
        /// in the data directory.
        #[schemars(example = "/srv/http/packages")]
        dir: PathBuf,
        /// Its name in pacman's configuration. Without it: `REPO_NAME` of the monorepo.
        #[schemars(example = &"packages")]
        name: Name,
        /// Whether packages and database are signed, by `pkgwarden signer`. Nothing is published while it is away.
        sign: bool,
        /// The fingerprint of the key that signs.
        #[schemars(with = "String", example = &"0123456789ABCDEF0123456789ABCDEF01234567")]
        key: Fingerprint,
        /// The socket of the signer. Without it: `signer.sock` in the data directory.
        #[schemars(example = "/run/pkgwarden-signer/socket")]
        signer: PathBuf,
        /// gpg's folder with the key: `serve` then starts the signer itself. For one machine that only you use;
        /// elsewhere, run `pkgwarden signer` as another user, so that builds and controller cannot reach the key.
        #[schemars(example = "/var/lib/pkgwarden/gnupg")]
        signer_home: PathBuf,
        /// Earlier generations that are kept.
        #[schemars(range(max = 1000), example = 5)]
        keep: usize,
        /// Days for which the last generation of each day (UTC) is kept besides; with 0, none is.
        #[schemars(range(max = 3650), example = 7)]
        keep_days: u32,
        /// Where files go that no kept generation has any more. Without it: `archive` in the directory.
        #[schemars(example = "/srv/archive")]
        archive_dir: PathBuf,
        /// Days that they stay there; with 0 they are removed at once.
        #[schemars(range(max = 36500), example = 7)]
        archive_days: u32,
        /// Versions of one package that stay there at most. Without it: all, for their days.
        #[schemars(range(min = 1, max = 1000), example = 3)]
        archive_versions: usize,
        /// Whether builds go to a repository `<name>-staging` in the folder `staging` first, from where `pkgwarden repo
        /// promote` moves them.
        staging: bool,
        /// Further repositories, each in a folder of its name, and the packages that go there.
        #[schemars(example = [serde_json::json!({"name": "testing", "packages": ["*-git"]})])]
        target: Vec<WrittenTarget>,
        /// Databases of the distribution: no package may take a name from them, or push out what everybody has.
        #[schemars(example = ["/var/lib/pacman/sync/core.db"])]
        official_databases: Vec<PathBuf>,
        /// Packages that may take names of the distribution.
        #[schemars(example = ["foo"])]
        allow_official: Vec<String>,
        /// Packages that may have `groups`, `replaces` and conflicts with what everybody has, beside those with
        /// `BUILDER_ALLOW_PROHIBITED`.
        #[schemars(example = ["foo"])]
        allow_prohibited: Vec<String>,
        /// Whether namcap is asked about what was built, if it is installed: `off`, `report`, or `refuse` what it calls
        /// an error.
        namcap: NamcapUse,
        /// How many packages may be removed at once without being confirmed: a number, or a share of what is published,
        /// which never stops ten.
        #[schemars(with = "NumberOrText", example = &"10 %")]
        max_removals: RemovalLimit,
    }
}

/// A number, or text, for the schema.
#[derive(JsonSchema)]
#[schemars(untagged, inline)]
#[expect(dead_code, reason = "the schema is made from it")]
enum NumberOrText {
    Number(u64),
    Text(String),
}

/// A further package repository.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct WrittenTarget {
    /// Its name in pacman's configuration, and its folder.
    pub name: Name,
    /// The packages that go there, by name; `*` stands for anything.
    #[schemars(example = ["*-git"])]
    pub packages: Vec<String>,
}
