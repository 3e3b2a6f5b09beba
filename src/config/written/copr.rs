//! Builds on COPR, as they are written.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Layer;
use crate::config::copr::{Method, SourcePackage};
use crate::config::value::{Address, GitAddress, Period};

section! {
    /// Builds on COPR.
    WrittenCopr {
        /// The COPR server. Without it: the one in `login_file`.
        #[schemars(example = "https://copr.fedorainfracloud.org/")]
        url: Address,
        /// The project, with its owner.
        #[schemars(example = "owner/packages")]
        project: String,
        /// File with the API login, as COPR hands it out. Without it: `.config/copr` in the home directory.
        #[schemars(example = "/etc/pkgwarden/copr")]
        login_file: PathBuf,
        /// What COPR makes the source package from: the folder of the package in the monorepo, which it clones; a
        /// source package at an address; the one that lies in the folder; or what a script makes.
        method: Method,
        /// The chroots to build in, patterns allowed; without any, all of the project.
        #[schemars(example = ["fedora-*-x86_64"])]
        chroots: Vec<String>,
        /// Whether builds give way to those of others.
        background: bool,
        /// Whether builds may use the network. Without it: as the project says.
        #[schemars(example = false)]
        enable_net: bool,
        /// With `method = "scm"`: where COPR clones from. Without it: the address of the monorepo.
        #[schemars(example = "https://git.example/packages.git")]
        clone_url: GitAddress,
        /// With `method = "scm"`: the spec file in the folder. Without it, COPR looks for one.
        #[schemars(example = "{pkgbase}.spec")]
        spec: String,
        /// With `method = "scm"`: what makes the source package.
        source_package: SourcePackage,
        /// With `method = "url"`: the address of the source package or spec file.
        #[schemars(example = "https://example.org/{pkgbase}-{version}.src.rpm")]
        source_url: String,
        /// With `method = "custom"`: the file with the script.
        #[schemars(example = "/etc/pkgwarden/copr-script")]
        script: PathBuf,
        /// With `method = "custom"`: the chroot that the script runs in. Without it, COPR takes one.
        #[schemars(example = "fedora-latest-x86_64")]
        script_chroot: String,
        /// With `method = "custom"`: what is installed for the script.
        #[schemars(example = ["git", "rpm-build"])]
        script_packages: Vec<String>,
        /// With `method = "custom"`: where the script leaves the sources. Without it: where it runs.
        #[schemars(example = &"sources")]
        script_results: String,
        /// How long a build may run before its log is given up if it has none; the build goes on.
        #[schemars(example = &"10m")]
        log_patience: Period,
    }
}
