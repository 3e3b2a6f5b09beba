//! The pacman repositories that builds may install from, by the settings.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::builder::pacman::{PackageRepository, Server, VERIFIED};
use crate::config::settings;
use crate::domain::keyring::PublicKeys;
use crate::sys::fs::FsError;

/// A repository as builds are told of it, with its keys.
///
/// # Errors
/// If its keys cannot be read, or are none.
pub(super) fn package_repository(written: &settings::PacmanRepository) -> Result<PackageRepository> {
    let keys = written.keys.as_deref().map(public_keys).transpose()?;
    let sig_level = written.sig_level.as_ref().map(ToString::to_string);
    // Who names the keys wants them to count for something, on machines without a keyring of their own, too.
    let sig_level = sig_level.or_else(|| keys.is_some().then(|| VERIFIED.to_owned()));
    let server = Server::Url(written.server.clone());
    Ok(PackageRepository { name: written.name.to_string(), server, sig_level, keys })
}

/// The keys in a file that `executor.local.repository` names.
fn public_keys(path: &Path) -> Result<PublicKeys> {
    let bytes = fs::read(path).map_err(|error| FsError::new("read", path, error))?;
    PublicKeys::read(&bytes).with_context(|| format!("`keys` of executor.local.repository: {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::load;

    fn repositories(text: &str) -> Result<Vec<PackageRepository>> {
        let settings = load(Some(("pkgwarden.toml", text)), &BTreeMap::new())?;
        settings.repositories[0].executor.local.repositories.iter().map(package_repository).collect()
    }

    #[test]
    fn who_names_keys_has_packages_verified_by_them() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), [0x98, 0x33, 0xff]).expect("written");
        let one = "[[executor.local.repository]]\nname = \"x\"\nserver = \"https://x.example\"\n";
        let keys = format!("keys = \"{}\"\n", file.path().display());
        let told = |more: &str| {
            let found = repositories(&format!("{one}{more}")).expect("they are right").remove(0);
            (found.sig_level, found.keys.is_some())
        };
        assert_eq!(told(""), (None, false));
        assert_eq!(told(&keys), (Some(VERIFIED.to_owned()), true));
        assert_eq!(told(&format!("{keys}sig_level = \"Required\"\n")), (Some("Required".to_owned()), true));
        let refused = |more: &str| format!("{:#}", repositories(&format!("{one}{more}")).expect_err("it is wrong"));
        assert!(refused("keys = \"/nowhere/x.asc\"\n").contains("cannot read /nowhere/x.asc"));
        assert!(refused("sig_level = \"Sometimes\"\n").contains("write as in pacman.conf"));
        std::fs::write(file.path(), "no key").expect("written");
        assert!(refused(&keys).contains("no OpenPGP public key"));
    }
}
