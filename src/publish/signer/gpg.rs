//! gpg, which makes signatures where the key is, and gpgv, which verifies them anywhere.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;

use crate::domain::publication::key::Fingerprint;
use crate::sys::process::Program;

/// How long one signature may take: that of a file of some GiB on a slow disk.
const PATIENCE: Duration = Duration::from_mins(14);
/// How long gpg may take for what it does without a file.
const SHORT: Duration = Duration::from_mins(1);
/// More than any signature or public key.
const MAX_OUTPUT: usize = 1 << 20;

/// A key and the folder of gpg that it is in.
#[derive(Debug, Clone)]
pub struct Gpg {
    /// gpg's folder (`GNUPGHOME`); its gpg-agent has the key.
    pub home: PathBuf,
    /// The key.
    pub key: Fingerprint,
    /// A file with the passphrase; without it, the agent has to know it already, or there is none.
    pub passphrase_file: Option<PathBuf>,
}

impl Gpg {
    fn program(&self) -> Program {
        Program::new("gpg")
            .args(["--batch", "--no-tty", "--quiet", "--homedir"])
            .arg(&self.home)
            .env("GNUPGHOME", &self.home)
    }

    /// The public key in gpg's binary form.
    ///
    /// # Errors
    /// What gpg says, for instance that there is no such key.
    pub async fn public_key(&self) -> Result<Vec<u8>, String> {
        let program = self.program().args(["--export", "--export-options", "export-minimal"]).arg(self.key.as_str());
        let output = program.timeout(SHORT).output_limit(MAX_OUTPUT).run().await.map_err(|error| error.to_string())?;
        if output.status.success() && !output.stdout.is_empty() {
            return Ok(output.stdout);
        }
        Err(format!("gpg has no key {} in {}: {}", self.key, self.home.display(), output.stderr_text()))
    }

    /// Whether the secret key is there.
    ///
    /// # Errors
    /// That it is not.
    pub async fn has_secret_key(&self) -> Result<(), String> {
        let program = self.program().arg("--list-secret-keys").arg(self.key.as_str());
        let output = program.timeout(SHORT).output_limit(MAX_OUTPUT).run().await.map_err(|error| error.to_string())?;
        let missing = || format!("gpg has no secret key {} in {}", self.key, self.home.display());
        if output.status.success() { Ok(()) } else { Err(missing()) }
    }

    /// Makes a detached signature of what can be read from `content`.
    pub(super) async fn sign(&self, content: std::fs::File) -> Result<Vec<u8>, String> {
        let mut program = self.program();
        if let Some(file) = &self.passphrase_file {
            program = program.args(["--pinentry-mode", "loopback", "--passphrase-file"]).arg(file);
        }
        let program = program.args(["--detach-sign", "--no-armor", "--local-user"]).arg(self.key.as_str());
        let mut child = program.args(["--output", "-"]).open_stdin().spawn().map_err(|error| error.to_string())?;
        let (stdin, stdout, stderr) = (child.stdin(), child.stdout(), child.stderr());
        let feed = async move {
            let mut pipe = stdin.expect("it was left open");
            // gpg that ends early says why by itself.
            let _ = tokio::io::copy(&mut tokio::fs::File::from_std(content), &mut pipe).await;
            let _ = pipe.shutdown().await;
        };
        let work = async { tokio::join!(feed, drain(stdout), drain(stderr)) };
        let Ok(((), signature, said)) = tokio::time::timeout(PATIENCE, work).await else {
            child.stop(Duration::from_secs(1)).await;
            return Err("gpg took too long".to_owned());
        };
        let status = child.wait().await.map_err(|error| error.to_string())?;
        if status.success() && !signature.is_empty() {
            return Ok(signature);
        }
        let said = String::from_utf8_lossy(&said);
        let said = said.lines().last().unwrap_or("it does not say why").trim();
        // gpg that would have to ask for a passphrase complains of the terminal that it has not.
        let passphrase = match &self.passphrase_file {
            None => "; if the key has a passphrase, gpg-agent has to know it, or --passphrase-file names it",
            Some(_) => "",
        };
        Err(format!("gpg does not sign: {said}{passphrase}"))
    }
}

async fn drain(stream: Option<impl tokio::io::AsyncRead + Unpin>) -> Vec<u8> {
    use tokio::io::AsyncReadExt as _;
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        let _ = stream.take(MAX_OUTPUT as u64).read_to_end(&mut bytes).await;
    }
    bytes
}

/// Whether `signature` is one of `file` by a key of `keyring`, a file as gpg exports it, and by `key` if one is named.
///
/// # Errors
/// What is wrong with it.
pub fn verify(file: &Path, signature: &Path, keyring: &Path, key: Option<&Fingerprint>) -> Result<(), String> {
    let folder = keyring.parent().unwrap_or(Path::new("/"));
    let program = Program::new("gpgv").args(["--status-fd", "1", "--homedir"]).arg(folder);
    let program = program.arg("--keyring").arg(keyring).arg("--").arg(signature).arg(file);
    let output = program.timeout(PATIENCE).run_blocking().map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stdout);
    let valid = said.lines().filter_map(|line| line.strip_prefix("[GNUPG:] VALIDSIG "));
    // The first word is the key that signed, the last the primary key that it belongs to.
    let keys: Vec<&str> =
        valid.flat_map(|line| line.split(' ').next().into_iter().chain(line.split(' ').next_back())).collect();
    if !output.status.success() || keys.is_empty() {
        let said = output.stderr_text();
        return Err(said.lines().last().unwrap_or("gpgv refuses it").to_owned());
    }
    match key {
        Some(key) if !keys.contains(&key.as_str()) => Err(format!("it was made with {}, not with {key}", keys[0])),
        _ => Ok(()),
    }
}
