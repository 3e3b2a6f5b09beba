//! A key of a real gpg, with which a scene signs what it publishes.

use pkgwarden::sys::process::Program;

use super::Scene;

/// The key; its agent ends with it.
pub struct SigningKey(tempfile::TempDir);

impl Drop for SigningKey {
    fn drop(&mut self) {
        let stop = Program::new("gpgconf").args(["--homedir"]).arg(self.0.path()).args(["--kill", "gpg-agent"]);
        let _ = stop.run_blocking();
    }
}

impl SigningKey {
    /// Has a scene sign with a new key, by a signer that `serve` starts.
    pub fn signs(scene: &mut Scene) -> Self {
        // Sockets of gpg-agent have short names only.
        let key = Self(tempfile::Builder::new().prefix("g").rand_bytes(6).tempdir_in("/tmp").unwrap());
        let gpg = || Program::new("gpg").args(["--batch", "--homedir"]).arg(key.0.path());
        let made =
            gpg().args(["--passphrase", "", "--quick-generate-key", "Test <test@example.org>", "ed25519", "sign"]);
        let made = made.arg("never").run_blocking().unwrap();
        assert!(made.status.success(), "{}", made.stderr_text());
        let listed = gpg().args(["--with-colons", "--list-keys"]).run_blocking().unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        let line = listed.lines().find(|line| line.starts_with("fpr:")).unwrap();
        let fingerprint = line.split(':').nth(9).unwrap();
        let home = key.0.path().display().to_string();
        for (name, value) in [("SIGN", "true"), ("KEY", fingerprint), ("SIGNER_HOME", &home)] {
            scene.env.insert(format!("PKGWARDEN__PUBLISH__{name}"), value.to_owned());
        }
        key
    }
}
