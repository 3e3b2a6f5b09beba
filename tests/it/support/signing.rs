//! A key of a real gpg, with which a scene signs what it publishes.

use pkgwarden::sys::process::Program;

use super::Scene;

/// The key; its agent ends with it.
pub struct SigningKey {
    home: tempfile::TempDir,
    pub fingerprint: String,
}

impl Drop for SigningKey {
    fn drop(&mut self) {
        let stop = Program::new("gpgconf").args(["--homedir"]).arg(self.home.path()).args(["--kill", "gpg-agent"]);
        let _ = stop.run_blocking();
    }
}

impl SigningKey {
    /// A new key.
    pub fn new() -> Self {
        // Sockets of gpg-agent have short names only.
        let home = tempfile::Builder::new().prefix("g").rand_bytes(6).tempdir_in("/tmp").unwrap();
        let mut key = Self { home, fingerprint: String::new() };
        let make = ["--passphrase", "", "--quick-generate-key", "Test <test@example.org>", "ed25519", "sign", "never"];
        key.gpg(&make);
        let listed = key.gpg(&["--with-colons", "--list-keys"]);
        let line = listed.lines().find(|line| line.starts_with("fpr:")).unwrap();
        line.split(':').nth(9).unwrap().clone_into(&mut key.fingerprint);
        key
    }

    /// Has a scene sign with a new key, by a signer that `serve` starts.
    pub fn signs(scene: &mut Scene) -> Self {
        let key = Self::new();
        let home = key.home.path().display().to_string();
        for (name, value) in [("SIGN", "true"), ("KEY", &key.fingerprint), ("SIGNER_HOME", &home)] {
            scene.env.insert(format!("PKGWARDEN__PUBLISH__{name}"), value.to_owned());
        }
        key
    }

    /// The public key, as it is handed out.
    pub fn public(&self) -> String {
        self.gpg(&["--armor", "--export"])
    }

    fn gpg(&self, arguments: &[&str]) -> String {
        let gpg = Program::new("gpg").args(["--batch", "--homedir"]).arg(self.home.path()).args(arguments);
        let ran = gpg.run_blocking().unwrap();
        assert!(ran.status.success(), "{}", ran.stderr_text());
        String::from_utf8(ran.stdout).unwrap()
    }
}
