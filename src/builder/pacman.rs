//! The private pacman of one build: where its packages come from and what it is configured with.
//!
//! Real pacman resolves and installs what a build needs into a root of the build's own, so a dependency
//! that is not published is an error of the build, as on a user's machine. What is installed there is
//! seen by the build under [`DEPENDENCIES`], because `/usr` is the system's.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use crate::domain::keyring::PublicKeys;
use crate::domain::signature::is_sig_level;
use crate::sys::sandbox::Network;

/// Where a build sees the `/usr` of its private root.
pub const DEPENDENCIES: &str = "/deps/usr";

/// Where a build sees its private root.
pub const ROOT: &str = "/pacman";

/// Where packages come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Server {
    /// A directory of this machine, which holds `NAME.db` and packages.
    Directory(PathBuf),
    /// An address as pacman's `Server` takes it, `$repo` and `$arch` included.
    Url(String),
}

/// A package repository that builds may take their dependencies from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageRepository {
    /// Its name, which is also that of its database.
    pub name: String,
    /// Where it is.
    pub server: Server,
    /// pacman's `SigLevel` for it. Without one, packages of a directory of this machine are trusted as they are, and
    /// others have to be signed by somebody whom the machine's keyring trusts, if it has one.
    pub sig_level: Option<String>,
    /// Keys that it is verified by, beside the keyring of the machine that builds. pacman knows one keyring only: who
    /// signs for one repository of a build signs for all of them.
    pub keys: Option<PublicKeys>,
}

/// What is demanded of a repository that brings its keys, where nothing else is said: as Arch Linux has it, its packages
/// have to be signed, and its database need not be.
pub const VERIFIED: &str = "Required DatabaseOptional";

/// A repository that cannot be written into a `pacman.conf`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` cannot be used as the name, address or SigLevel of a package repository: it is empty or holds a space, a bracket, a slash in its name, a control character, or what is no SigLevel"
)]
pub struct BadRepository(pub String);

impl PackageRepository {
    /// Checks what will stand in a configuration file.
    pub fn checked(self) -> Result<Self, BadRepository> {
        let plain = |text: &str| !text.is_empty() && !text.contains(|c: char| c.is_control() || c.is_whitespace());
        let name_is_fine = plain(&self.name) && !self.name.contains(['[', ']', '/']) && !self.name.starts_with('.');
        if !name_is_fine || self.name == "options" {
            return Err(BadRepository(self.name));
        }
        if let Some(level) = self.sig_level.as_ref().filter(|level| !is_sig_level(level)) {
            return Err(BadRepository(level.clone()));
        }
        match &self.server {
            Server::Url(url) if !plain(url) => Err(BadRepository(url.clone())),
            Server::Url(_) | Server::Directory(_) => Ok(self),
        }
    }

    /// Where a build sees the packages, if they are in a directory of this machine.
    #[must_use]
    pub fn mount_point(&self) -> String {
        format!("/repos/{}", self.name)
    }
}

/// Whether the databases can be had without the network.
#[must_use]
pub fn network_for(repositories: &[PackageRepository]) -> Network {
    let remote = |repository: &PackageRepository| matches!(repository.server, Server::Url(_));
    if repositories.iter().any(remote) { Network::Shared } else { Network::None }
}

/// The `pacman.conf` a build sees, `verified` by the keyring of the machine or not. Earlier repositories win over later
/// ones.
#[must_use]
pub fn config(arch: &str, repositories: &[PackageRepository], verified: bool) -> String {
    let level = if verified { VERIFIED } else { "Never" };
    let mut text = format!(
        "[options]\n\
         RootDir = {ROOT}\n\
         DBPath = {ROOT}/var/lib/pacman\n\
         CacheDir = {ROOT}/var/cache/pacman/pkg\n\
         LogFile = {ROOT}/var/log/pacman.log\n\
         HookDir = {ROOT}/etc/pacman.d/hooks\n\
         GPGDir = {ROOT}/etc/pacman.d/gnupg\n\
         Architecture = {arch}\n\
         SigLevel = {level}\n"
    );
    for repository in repositories {
        let server = match &repository.server {
            Server::Directory(_) => format!("file://{}", repository.mount_point()),
            Server::Url(url) => url.clone(),
        };
        let own = matches!(repository.server, Server::Directory(_)).then_some("Never");
        let level =
            repository.sig_level.as_deref().or(own).map_or(String::new(), |level| format!("SigLevel = {level}\n"));
        write!(text, "\n[{}]\nServer = {server}\n{level}", repository.name).expect("writing to a string");
    }
    text
}

/// Lets compilers, linkers, `pkg-config` and the shell find what is installed in the private root.
#[must_use]
pub fn search_paths() -> BTreeMap<String, String> {
    let paths = |parts: &[&str]| parts.iter().map(|part| format!("{DEPENDENCIES}{part}")).collect::<Vec<_>>().join(":");
    let system = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    [
        ("PATH", format!("{}:{system}", paths(&["/bin"]))),
        ("CPATH", paths(&["/include"])),
        ("LIBRARY_PATH", paths(&["/lib"])),
        ("LD_LIBRARY_PATH", paths(&["/lib"])),
        ("PKG_CONFIG_PATH", paths(&["/lib/pkgconfig", "/share/pkgconfig"])),
        ("CMAKE_PREFIX_PATH", paths(&[""])),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(name: &str) -> PackageRepository {
        PackageRepository { name: name.into(), server: Server::Directory("/srv".into()), sig_level: None, keys: None }
    }

    #[test]
    fn the_configuration_names_each_repository_in_order() {
        let remote = PackageRepository {
            name: "extra".into(),
            server: Server::Url("https://mirror.example/$repo/os/$arch".into()),
            sig_level: Some("Optional TrustAll".into()),
            keys: None,
        };
        let both = [local("mine"), remote];
        insta::assert_snapshot!(config("x86_64", &both, true), @r#"
        [options]
        RootDir = /pacman
        DBPath = /pacman/var/lib/pacman
        CacheDir = /pacman/var/cache/pacman/pkg
        LogFile = /pacman/var/log/pacman.log
        HookDir = /pacman/etc/pacman.d/hooks
        GPGDir = /pacman/etc/pacman.d/gnupg
        Architecture = x86_64
        SigLevel = Required DatabaseOptional

        [mine]
        Server = file:///repos/mine
        SigLevel = Never

        [extra]
        Server = https://mirror.example/$repo/os/$arch
        SigLevel = Optional TrustAll
        "#);
        assert!(config("x86_64", &both, false).contains("\nSigLevel = Never\n\n[mine]"), "without a keyring");
        assert_eq!(network_for(&both), Network::Shared);
        assert_eq!(network_for(&both[..1]), Network::None);
    }

    #[test]
    fn a_name_cannot_add_lines_or_sections() {
        for bad in ["", "a b", "a]\n[b", "../x", "options", "a\nServer = file:///", ".x"] {
            assert!(local(bad).checked().is_err(), "{bad:?}");
        }
        assert!(local("chaotic-aur").checked().is_ok());
        let url = Server::Url("https://x/\nSigLevel = Never".into());
        assert!(PackageRepository { server: url, ..local("a") }.checked().is_err());
        let level = |level: &str| PackageRepository { sig_level: Some(level.into()), ..local("a") }.checked();
        assert!(level("PackageRequired DatabaseOptional TrustedOnly").is_ok());
        for bad in ["", "Never\nServer = file:///", "Sometimes", "Required  Never"] {
            assert!(level(bad).is_err(), "{bad:?}");
        }
    }
}
