//! Package files and keys for tests.

use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use super::signer::Signing;
use super::signer::gpg::Gpg;
use super::signer::server::{Options, Signer};
use crate::domain::publication::key::Fingerprint;
use crate::sys::process::Program;

/// What makepkg would write of a package.
pub fn pkginfo(pkgbase: &str, name: &str, version: &str) -> String {
    format!(
        "# Generated\npkgname = {name}\npkgbase = {pkgbase}\npkgver = {version}\npkgdesc = \nurl = \n\
         builddate = 1700000000\npackager = Nobody\nsize = 1\narch = any\n"
    )
}

/// Packs a package file with this `.PKGINFO` beside some content.
pub fn package(path: &Path, pkginfo: &str) -> PathBuf {
    pack(path, pkginfo, "content")
}

/// Packs a package file with this `.PKGINFO` beside this content.
pub fn pack(path: &Path, pkginfo: &str, content: &str) -> PathBuf {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, text) in [(".PKGINFO", pkginfo), ("usr/share/content", content)] {
        let mut header = tar::Header::new_ustar();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, text.as_bytes()).unwrap();
    }
    std::fs::write(path, zstd::encode_all(&*archive.into_inner().unwrap(), 1).unwrap()).unwrap();
    path.to_owned()
}

/// A key of a real gpg, in a folder of its own.
pub struct Key {
    home: tempfile::TempDir,
    pub fingerprint: Fingerprint,
}

impl Drop for Key {
    fn drop(&mut self) {
        let stop = Program::new("gpgconf").args(["--homedir"]).arg(self.home.path()).args(["--kill", "gpg-agent"]);
        let _ = stop.run_blocking();
    }
}

impl Key {
    pub fn new() -> Self {
        // Sockets of gpg-agent have short names only.
        let home = tempfile::Builder::new().prefix("g").rand_bytes(6).tempdir_in("/tmp").unwrap();
        let gpg = || Program::new("gpg").args(["--batch", "--homedir"]).arg(home.path());
        let made = gpg().args([
            "--passphrase",
            "",
            "--quick-generate-key",
            "Test <test@example.org>",
            "ed25519",
            "sign",
            "never",
        ]);
        let made = made.run_blocking().unwrap();
        assert!(made.status.success(), "{}", made.stderr_text());
        let listed = gpg().args(["--with-colons", "--list-keys"]).run_blocking().unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        let line = listed.lines().find(|line| line.starts_with("fpr:")).unwrap();
        let fingerprint = line.split(':').nth(9).unwrap().parse().unwrap();
        Self { home, fingerprint }
    }

    pub fn gpg(&self) -> Gpg {
        Gpg { home: self.home.path().to_owned(), key: self.fingerprint.clone(), passphrase_file: None }
    }

    /// The public key in a file of this folder.
    pub fn keyring(&self, dir: &Path) -> PathBuf {
        let path = dir.join("ring.gpg");
        let export = Program::new("gpg").args(["--batch", "--homedir"]).arg(self.home.path()).arg("--export");
        std::fs::write(&path, export.run_blocking().unwrap().stdout).unwrap();
        path
    }

    /// Begins to sign at a socket, until the token is cancelled.
    pub async fn serves(&self, socket: &Path, folders: &[PathBuf], clients: Vec<u32>) -> (Signing, CancellationToken) {
        let (socket, folders) = (socket.to_owned(), folders.to_vec());
        let options = Options { socket: socket.clone(), folders, gpg: self.gpg(), clients, group: None };
        let signer = Signer::bind(options).await.unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(signer.serve(stop.clone().cancelled_owned()));
        (Signing { key: self.fingerprint.clone(), socket }, stop)
    }
}
