//! The steps of a build and the sandbox each runs in.
//!
//! Databases are synchronised, the repository's own patch is applied, the keys of those who sign the sources are
//! imported, sources and dependencies are fetched with the network, and the package is built without it.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::interfere;
use super::pacman::{self, DEPENDENCIES, PackageRepository, ROOT, Server};
use super::workspace::Workspace;
use crate::domain::keyring::PublicKeys;
use crate::sys::sandbox::{Access, Mount, Network, SandboxSpec, System};

const CONFIG: &str = "/etc/pkgwarden";

/// Where the keys of one build are, and nobody else's.
const KEYRING: &str = "/gnupg";

/// Takes the keys of the repositories into the keyring of the private root, and trusts each of them as `pacman-key` would
/// have its owner do, but without a key of our own to sign them with.
const TRUST: &str = r#"set -euo pipefail
keyring() { gpg --homedir /pacman/etc/pacman.d/gnupg --batch --no-autostart --no-tty "$@"; }
keyring --import /etc/pkgwarden/keys.asc
keyring --with-colons --show-keys /etc/pkgwarden/keys.asc |
    sed -n '/^pub:/,/^fpr:/s/^fpr:*\([0-9A-F]*\):$/\1:6:/p' | keyring --import-ownertrust"#;

/// Makes makepkg leave out what would have pacman replace packages of others, or put a package into their groups.
const WITHOUT_PROHIBITED: &str = r#"if declare -F write_kv_pair >/dev/null && ! declare -F write_any_pair >/dev/null; then
    eval "write_any_pair() $(declare -f write_kv_pair | tail -n +2)"
    write_kv_pair() {
        case $1 in
            replaces | group)
                [[ -z ${2-} ]] || echo "==> left out of the package: $1 = ${*:2} (BUILDER_ALLOW_PROHIBITED is not set)" >&2
                ;;
            *) write_any_pair "$@" ;;
        esac
    }
fi
"#;

/// One step of a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Run the monorepo's script.
    Prepare,
    /// Apply the monorepo's patch.
    Patch,
    /// Have pacman trust those who sign what the build installs.
    Trust,
    /// Fetch the package databases.
    Sync,
    /// Ask makepkg which sources are signed, and by whom. It prints into `pkgdest/printed`.
    Inspect,
    /// Import the keys of those who sign.
    Keys,
    /// Install what the build needs, fetch its sources and check them.
    Fetch,
    /// Build and package.
    Build,
    /// Run the script for a build that succeeded.
    OnSuccess,
    /// Run the script for a build that failed.
    OnFailure,
}

impl Phase {
    /// The word used in logs and messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Patch => "patch",
            Self::Trust => "trust",
            Self::Sync => "sync",
            Self::Inspect => "inspect",
            Self::Keys => "keys",
            Self::Fetch => "fetch",
            Self::Build => "build",
            Self::OnSuccess => "on-success",
            Self::OnFailure => "on-failure",
        }
    }

    /// The script in the package folder that it runs, if that is what it does.
    #[must_use]
    pub const fn script(self) -> Option<&'static str> {
        match self {
            Self::Prepare => Some(interfere::PREPARE),
            Self::OnSuccess => Some(".CI/on-success.sh"),
            Self::OnFailure => Some(".CI/on-failure.sh"),
            Self::Patch | Self::Trust | Self::Sync | Self::Inspect | Self::Keys | Self::Fetch | Self::Build => None,
        }
    }

    /// The program and its arguments. `keys` are the files of the package folder with the keys by which signatures
    /// are verified; without any, none are.
    #[must_use]
    pub fn command(self, keys: &[String]) -> Vec<String> {
        let words: &[&str] = match self {
            Self::Prepare => &["/bin/bash", "-c", "set -euo pipefail; . ./.CI/prepare"],
            Self::OnSuccess => &["/bin/bash", "-c", "set -uo pipefail; . ./.CI/on-success.sh"],
            Self::OnFailure => &["/bin/bash", "-c", "set -uo pipefail; . ./.CI/on-failure.sh"],
            Self::Patch => &["patch", "-p1", "--batch", "--no-backup-if-mismatch", "-i", interfere::PATCH],
            Self::Trust => &["/bin/bash", "-c", TRUST],
            Self::Sync => &["fakeroot", "pacman", "-Sy", "--noconfirm", "--noprogressbar", "--color", "never"],
            Self::Inspect => &["/bin/sh", "-c", "exec makepkg --printsrcinfo --nocolor >/pkgdest/printed"],
            Self::Keys => &["gpg", "--batch", "--no-autostart", "--import"],
            Self::Fetch => &["makepkg", "--verifysource", "--syncdeps", "--noconfirm", "--noprogressbar", "--nocolor"],
            Self::Build => &["makepkg", "--cleanbuild", "--holdver", "--noconfirm", "--nocolor"],
        };
        let mut command: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        match self {
            Self::Keys => command.extend(keys.iter().map(|file| format!("/startdir/{file}"))),
            Self::Fetch | Self::Build if keys.is_empty() => command.push("--skippgpcheck".to_owned()),
            _ => {}
        }
        command
    }
}

/// What every step of one build shares.
#[derive(Debug, Clone)]
pub struct Job {
    /// The system that its steps run on.
    pub system: System,
    /// The architecture to build for.
    pub arch: String,
    /// Where its dependencies come from.
    pub repositories: Vec<PackageRepository>,
    /// Who is named as the packager.
    pub packager: String,
    /// The time that is written into the package, in seconds since 1970.
    pub source_date_epoch: i64,
    /// The exit status by which the package says that there is nothing to build.
    pub skip_exit_code: i32,
    /// `BUILDER_ALLOW_PROHIBITED`: its packages may name groups, and packages that they replace.
    pub allow_prohibited: bool,
    /// Compiler processes at once (`MAKEFLAGS=-jN`); what the machine's makepkg.conf says if not given.
    pub jobs: Option<usize>,
    /// Whether packages that it installs are verified by the keyring in its private root.
    pub verified: bool,
    /// Variables that name the proxies, for steps with the network.
    pub proxies: BTreeMap<String, String>,
    /// Further variables: those of its cache sets.
    pub variables: BTreeMap<String, String>,
}

impl Job {
    /// The configuration files that the steps read, by name.
    #[must_use]
    pub fn config_files(&self) -> [(&'static str, String); 5] {
        let uid = crate::sys::sandbox::INSIDE_UID;
        [
            ("makepkg.conf", self.makepkg_conf()),
            ("pacman.conf", pacman::config(&self.arch, &self.repositories, self.verified)),
            ("keys.asc", self.keys()),
            ("passwd", format!("build:x:{uid}:{uid}:build:/home/build:/bin/bash\n")),
            ("group", format!("build:x:{uid}:\n")),
        ]
    }

    /// The keys that its repositories bring; empty if none does.
    #[must_use]
    pub fn keys(&self) -> String {
        self.repositories.iter().filter_map(|repository| repository.keys.as_ref()).map(PublicKeys::armored).collect()
    }

    /// The machine's makepkg.conf with what a build here needs otherwise.
    fn makepkg_conf(&self) -> String {
        let mut text = "source /etc/makepkg.conf\n\
             PKGEXT='.pkg.tar.zst'\n\
             BUILDENV+=(!sign !distcc !color)\n\
             PACMAN_AUTH=(fakeroot)\n\
             DLAGENTS=(\"${DLAGENTS[@]/curl /curl -sS }\")\n"
            .to_owned();
        if let Some(jobs) = self.jobs {
            writeln!(text, "MAKEFLAGS='-j{jobs}'").expect("writing to a string");
        }
        if !self.allow_prohibited {
            text.push_str(WITHOUT_PROHIBITED);
        }
        text
    }

    /// The sandbox of a step, with the keys that it is to verify signatures by.
    #[must_use]
    pub fn sandbox(&self, phase: Phase, workspace: &Workspace, keys: &[String]) -> SandboxSpec {
        let network = match phase {
            Phase::Patch
            | Phase::Trust
            | Phase::Inspect
            | Phase::Keys
            | Phase::Build
            | Phase::OnSuccess
            | Phase::OnFailure => Network::None,
            Phase::Sync => pacman::network_for(&self.repositories),
            Phase::Prepare | Phase::Fetch => Network::Shared,
        };
        let mut env = self.env();
        env.insert("GNUPGHOME".to_owned(), KEYRING.to_owned());
        if network == Network::Shared {
            env.extend(self.proxies.clone());
        }
        SandboxSpec {
            system: self.system.clone(),
            network,
            mounts: Self::mounts(phase, workspace),
            repositories: self.directories(),
            env,
            directory: "/startdir",
            command: phase.command(keys),
        }
    }

    fn mounts(phase: Phase, workspace: &Workspace) -> Vec<Mount> {
        let mount = |from: &str, to, access| Mount { from: workspace.path(from), to, access };
        let over = matches!(phase, Phase::OnSuccess | Phase::OnFailure);
        let root = if phase == Phase::Build || over { Access::Read } else { Access::Write };
        let made = if over { Access::Read } else { Access::Write };
        vec![
            mount("etc/makepkg.conf", "/etc/pkgwarden/makepkg.conf", Access::Read),
            mount("etc/pacman.conf", "/etc/pacman.conf", Access::Read),
            mount("etc/keys.asc", "/etc/pkgwarden/keys.asc", Access::Read),
            mount("etc/passwd", "/etc/passwd", Access::Read),
            mount("etc/group", "/etc/group", Access::Read),
            mount("start", "/startdir", Access::Write),
            mount("build", "/build", Access::Write),
            mount("pkgdest", "/pkgdest", made),
            mount("gnupg", KEYRING, Access::Write),
            // What is in memory is the machine's, and small.
            mount("home", "/home/build", Access::Write),
            mount("tmp", "/tmp", Access::Write),
            mount("srcdest", "/srcdest", Access::Write),
            mount("root", ROOT, root),
            mount("root/usr", DEPENDENCIES, Access::Read),
        ]
    }

    fn directories(&self) -> Vec<(std::path::PathBuf, String)> {
        let directory = |repository: &PackageRepository| match &repository.server {
            Server::Directory(path) => Some((path.clone(), repository.mount_point())),
            Server::Url(_) => None,
        };
        self.repositories.iter().filter_map(directory).collect()
    }

    pub(super) fn env(&self) -> BTreeMap<String, String> {
        let mut env = pacman::search_paths();
        env.extend(self.variables.clone());
        let values = [
            ("HOME", "/home/build".to_owned()),
            ("USER", "build".to_owned()),
            ("LANG", "C.UTF-8".to_owned()),
            ("LC_ALL", "C.UTF-8".to_owned()),
            ("TZ", "UTC".to_owned()),
            ("MAKEPKG_CONF", format!("{CONFIG}/makepkg.conf")),
            ("CARCH", self.arch.clone()),
            ("BUILDDIR", "/build".to_owned()),
            ("PKGDEST", "/pkgdest".to_owned()),
            ("SRCDEST", "/srcdest".to_owned()),
            ("PACKAGER", self.packager.clone()),
            ("SOURCE_DATE_EPOCH", self.source_date_epoch.to_string()),
            ("CI_CODE_SKIP", self.skip_exit_code.to_string()),
        ];
        env.extend(values.map(|(name, value)| (name.to_owned(), value)));
        env
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::user::BuildUser;

    fn job() -> Job {
        Job {
            system: System::of_this_machine(),
            arch: "x86_64".into(),
            repositories: Vec::new(),
            packager: "A B <a@b.example>".into(),
            source_date_epoch: 1_700_000_000,
            skip_exit_code: 123,
            allow_prohibited: false,
            jobs: Some(2),
            verified: false,
            proxies: [("https_proxy".to_owned(), "http://proxy:3128".to_owned())].into(),
            variables: BTreeMap::new(),
        }
    }

    fn workspace() -> (tempfile::TempDir, Workspace) {
        let dir = tempfile::tempdir().unwrap();
        let workspace = Workspace::create(dir.path().join("a"), BuildUser::resolve("nobody").unwrap()).unwrap();
        (dir, workspace)
    }

    #[test]
    fn only_steps_that_fetch_have_the_network_and_the_proxies() {
        let (_dir, workspace) = workspace();
        let offline = [Phase::Patch, Phase::Trust, Phase::Sync, Phase::Inspect, Phase::Keys, Phase::Build];
        let offline = offline.into_iter().chain([Phase::OnSuccess, Phase::OnFailure]);
        for phase in offline.chain([Phase::Prepare, Phase::Fetch]) {
            let spec = job().sandbox(phase, &workspace, &[]);
            let fetching = matches!(phase, Phase::Prepare | Phase::Fetch);
            assert_eq!(spec.network == Network::Shared, fetching, "{phase:?}");
            assert_eq!(spec.env.contains_key("https_proxy"), fetching, "{phase:?}");
        }
    }

    #[test]
    fn the_building_step_cannot_change_what_is_installed() {
        let (_dir, workspace) = workspace();
        let spec = job().sandbox(Phase::Build, &workspace, &[]);
        let root = spec.mounts.iter().find(|mount| mount.to == ROOT).unwrap();
        assert_eq!(root.access, Access::Read);
    }

    #[test]
    fn signatures_are_left_out_only_without_keys() {
        let key = ["keys/pgp/A.asc".to_owned()];
        for phase in [Phase::Fetch, Phase::Build] {
            assert!(phase.command(&[]).contains(&"--skippgpcheck".to_owned()), "{phase:?}");
            assert!(!phase.command(&key).contains(&"--skippgpcheck".to_owned()), "{phase:?}");
        }
        assert_eq!(Phase::Keys.command(&key).last().unwrap(), "/startdir/keys/pgp/A.asc");
    }

    #[test]
    fn the_environment_is_fixed() {
        let env: Vec<_> = job().env().into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        insta::assert_snapshot!(env.join("\n"), @r#"
        BUILDDIR=/build
        CARCH=x86_64
        CI_CODE_SKIP=123
        CMAKE_PREFIX_PATH=/deps/usr
        CPATH=/deps/usr/include
        HOME=/home/build
        LANG=C.UTF-8
        LC_ALL=C.UTF-8
        LD_LIBRARY_PATH=/deps/usr/lib
        LIBRARY_PATH=/deps/usr/lib
        MAKEPKG_CONF=/etc/pkgwarden/makepkg.conf
        PACKAGER=A B <a@b.example>
        PATH=/deps/usr/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
        PKGDEST=/pkgdest
        PKG_CONFIG_PATH=/deps/usr/lib/pkgconfig:/deps/usr/share/pkgconfig
        SOURCE_DATE_EPOCH=1700000000
        SRCDEST=/srcdest
        TZ=UTC
        USER=build
        "#);
    }
}
