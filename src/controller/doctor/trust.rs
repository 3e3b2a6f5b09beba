//! By what builds verify the packages that they install.

use std::path::Path;

use super::Check;
use crate::config::settings::{ExecutorKind, PacmanRepository, Repository};
use crate::domain::keyring::PublicKeys;
use crate::executor::local::is_keyring;

/// What is doubtful or wrong about that, on a machine that has a keyring of pacman or not.
pub(super) fn checks(repository: &Repository, has_keyring: bool) -> Vec<Check> {
    let mut checks: Vec<Check> = repository.executor.local.repositories.iter().filter_map(unusable_keys).collect();
    checks.extend(no_keyring(repository));
    checks.extend(unverified(repository, has_keyring));
    checks
}

/// Mirrors of which builds install whatever they give.
fn unverified(repository: &Repository, has_keyring: bool) -> Option<Check> {
    let local = &repository.executor.local;
    // What builders elsewhere and images have is for those to say who have them.
    let is_here = repository.executor.kind == ExecutorKind::Local && local.image.is_none();
    if !is_here || has_keyring || local.keyring.is_some() {
        return None;
    }
    let is_open = |it: &&PacmanRepository| it.sig_level.is_none() && it.keys.is_none();
    let open: Vec<&str> = local.repositories.iter().filter(is_open).map(|it| it.name.as_str()).collect();
    let detail = format!("packages of {} are not verified: this machine has no keyring of pacman", open.join(", "));
    let hint = "make one with `pacman-key --init` and `pacman-key --populate`, or name one as executor.local.keyring, or \
                the keys of who signs as `keys` of the repository; `sig_level = \"Never\"` says that it is meant so";
    let subject = format!("executor.local.repository of {}", repository.name);
    (!open.is_empty()).then(|| Check::warning("configuration", subject, detail, hint))
}

fn no_keyring(repository: &Repository) -> Option<Check> {
    let keyring = repository.executor.local.keyring.as_deref().filter(|keyring| !is_keyring(keyring))?;
    let subject = format!("executor.local.keyring of {}", repository.name);
    let detail = format!("{} is no keyring of pacman, so that builds install nothing", keyring.display());
    let hint = "name the directory that `pacman-key --gpgdir DIR --init` and `--populate` have made";
    Some(Check::error("configuration", subject, detail, hint))
}

fn unusable_keys(written: &PacmanRepository) -> Option<Check> {
    let path = written.keys.as_deref()?;
    let subject = format!("`keys` of executor.local.repository {}", written.name);
    let (detail, hint) = wrong(path)?;
    Some(Check::error("configuration", subject, format!("{}: {detail}", path.display()), hint))
}

fn wrong(path: &Path) -> Option<(String, &'static str)> {
    const HINT: &str = "name a file with the public keys of who signs the repository";
    match std::fs::read(path) {
        Ok(bytes) => PublicKeys::read(&bytes).err().map(|error| (error.to_string(), HINT)),
        Err(error) => Some((error.to_string(), "create it, readable by the user that runs pkgwarden")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::super::tests::load;
    use super::*;

    fn found(more: &str, repository: &str, has_keyring: bool) -> Vec<Check> {
        let core = "name = \"core\"\nserver = \"https://mirror.example/core\"\n";
        let settings = load(&format!("{more}[[executor.local.repository]]\n{core}{repository}"));
        checks(&settings.repositories[0], has_keyring)
    }

    #[test]
    fn mirrors_that_nobody_verifies_are_a_warning() {
        let [warning] = &found("", "", false)[..] else { panic!("one warning") };
        assert_eq!(warning.status, Status::Warning);
        assert!(warning.detail.contains("packages of core are not verified"), "{warning:?}");
        assert_eq!(found("", "", true), []);
        assert_eq!(found("", "sig_level = \"Never\"\n", false), []);
        assert_eq!(found("[executor.local]\nimage = \"arch\"\n", "", false), [], "the image has one or not");
        assert_eq!(found("[executor]\nkind = \"bullmq\"\n", "", false), [], "builders have one or not");
    }

    #[test]
    fn what_is_named_as_keys_and_is_none_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let ring = format!("[executor.local]\nkeyring = \"{}\"\n", dir.path().display());
        let [error] = &found(&ring, "", false)[..] else { panic!("one error") };
        assert_eq!(error.status, Status::Error);
        assert!(error.hint.contains("pacman-key"), "{error:?}");
        std::fs::write(dir.path().join("trustdb.gpg"), "").unwrap();
        assert_eq!(found(&ring, "", false), []);

        let file = dir.path().join("keys.asc");
        let keys = format!("keys = \"{}\"\n", file.display());
        let [missing] = &found("", &keys, false)[..] else { panic!("one error") };
        assert!(missing.detail.contains("keys.asc"), "{missing:?}");
        std::fs::write(&file, "ssh-ed25519 AAAA").unwrap();
        let [other] = &found("[executor]\nkind = \"bullmq\"\n", &keys, false)[..] else { panic!("one error") };
        assert!(other.detail.contains("no OpenPGP public key"), "{other:?}");
        std::fs::write(&file, [0x98, 0x33, 0xff]).unwrap();
        assert_eq!(found("", &keys, false), []);
    }
}
