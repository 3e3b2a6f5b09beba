//! `[sources]`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Layer;
use crate::config::settings::AurTransport;
use crate::config::value::{Address, GitAddress, Period};

section! {
    /// Where updates come from.
    WrittenSources {
        /// Requests at once. Without it: `CI_MAX_PARALLEL` of the monorepo.
        #[schemars(range(min = 1, max = 512), example = 8)]
        parallel: usize,
        /// How long one request may take.
        #[schemars(example = &"1m")]
        timeout: Period,
        /// How long the `.CI/update.sh` of one package may take.
        #[schemars(example = &"10m")]
        script_timeout: Period,
        ;
        /// The Arch User Repository.
        aur: WrittenAur,
        /// What the `nvchecker.toml` of packages ask for.
        nvchecker: WrittenNvchecker,
        /// GitLab, for `CI_PKGBUILD_SOURCE=gitlab:ID`.
        gitlab: WrittenGitlab,
        /// GitHub, for `CI_PKGBUILD_SOURCE=github:OWNER/REPOSITORY`.
        github: WrittenGithub,
        /// Gitea or Forgejo, for `CI_PKGBUILD_SOURCE=gitea:HOST/OWNER/REPOSITORY`.
        gitea: WrittenGitea,
    }
}

section! {
    /// What the `nvchecker.toml` of packages ask for.
    WrittenNvchecker {
        /// Tokens for services, in a keyfile of nvchecker: a table `[keys]`, by host. The files of packages hold none.
        #[schemars(example = "/etc/pkgwarden/nvchecker-keys.toml")]
        keyfile: PathBuf,
        /// Mirrors and caches of your own that are asked in place of a service.
        #[schemars(example = [serde_json::json!({"address": "https://pypi.org", "instead": "https://cache.example/pypi"})])]
        mirror: Vec<ServiceMirror>,
        /// Where pacman has its databases, for `source = "alpm"`.
        #[schemars(example = "/var/lib/pacman")]
        alpm_dir: PathBuf,
        /// The program nvchecker, for sources that are not known here: a path, or a name in `PATH`.
        #[schemars(example = &"nvchecker")]
        program: PathBuf,
        /// Whether `source = "cmd"` may run its command, in the sandbox and with network.
        commands: bool,
    }
}

section! {
    /// GitLab, for `CI_PKGBUILD_SOURCE=gitlab:ID`.
    WrittenGitlab {
        /// Its address; a source can name another.
        #[schemars(example = "https://gitlab.com")]
        url: Address,
        /// File with an access token. It is shown to this GitLab only.
        #[schemars(example = "/etc/pkgwarden/gitlab-token")]
        token_file: PathBuf,
    }
}

section! {
    /// GitHub, for `CI_PKGBUILD_SOURCE=github:OWNER/REPOSITORY`.
    WrittenGithub {
        /// Its address, below which repositories are.
        #[schemars(example = "https://github.com")]
        url: Address,
        /// Base of its API.
        #[schemars(example = "https://api.github.com")]
        api_url: Address,
        /// File with an access token, with which more may be asked in an hour.
        #[schemars(example = "/etc/pkgwarden/github-token")]
        token_file: PathBuf,
    }
}

section! {
    /// Gitea or Forgejo, for `CI_PKGBUILD_SOURCE=gitea:HOST/OWNER/REPOSITORY`.
    WrittenGitea {
        /// The one that the token is for.
        #[schemars(example = "https://codeberg.org")]
        url: Address,
        /// File with an access token. It is shown to this host only.
        #[schemars(example = "/etc/pkgwarden/gitea-token")]
        token_file: PathBuf,
    }
}

section! {
    /// The Arch User Repository.
    WrittenAur {
        /// The dump of all package metadata.
        #[schemars(example = "https://aur.archlinux.org/packages-meta-ext-v1.json.gz")]
        metadata_url: Address,
        /// Base of the RPC interface, version 5. Not asked by this version: the dump says the same.
        #[schemars(example = "https://aur.archlinux.org/rpc/v5")]
        rpc_url: Address,
        /// One git repository per package; `{pkgbase}` stands for its name.
        #[schemars(example = "https://aur.archlinux.org/{pkgbase}.git")]
        git_url: GitAddress,
        /// One git repository with a branch per package; `""` for none.
        #[schemars(example = "https://github.com/archlinux/aur.git")]
        mirror_url: GitAddress,
        /// Which of the two git addresses is asked.
        prefer: AurTransport,
        /// Where packages with `CI_MANAGE_AUR=true` are pushed to; `{pkgbase}` stands for their names, `""` pushes
        /// nothing. Without it: the AUR by ssh if there is a key file, or `git_url` if that is not the AUR.
        #[schemars(example = "ssh://aur@aur.archlinux.org/{pkgbase}.git")]
        push_url: GitAddress,
        /// The private ssh key for that, without a passphrase.
        #[schemars(example = "/etc/pkgwarden/aur-key")]
        push_key_file: PathBuf,
        /// The ssh program and options of your own for that, in place of `ssh`.
        #[schemars(example = &"ssh -F /etc/pkgwarden/ssh_config")]
        push_ssh_command: String,
    }
}

/// What is asked in place of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ServiceMirror {
    /// What the address of the service begins with, such as `https://api.github.com`; the longest that fits counts.
    pub address: Address,
    /// What takes its place.
    pub instead: Address,
}
