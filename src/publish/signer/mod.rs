//! Signatures of packages and databases, made by a process of its own that alone holds the key.
//!
//! Whoever publishes asks that process over a unix socket: a line of JSON with a path and the checksum of what was
//! checked, and a line with the signature back. [`server`] is the other end. What comes back is verified, so that a
//! wrong key or a wrong process is noticed before anything is published.

pub mod gpg;
pub mod server;

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use super::PublishError;
use super::difference::sha256;
use crate::domain::publication::key::Fingerprint;

/// How long the signature of one file may take.
const PATIENCE: Duration = Duration::from_mins(15);
/// More than any answer.
const MAX_ANSWER: u64 = 4 << 20;
/// What the name of a signature ends with.
pub(super) const SUFFIX: &str = ".sig";

/// What is asked of a signer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Request {
    /// Its public key.
    Key {},
    /// The signature of a file with this checksum.
    Sign { path: PathBuf, sha256: String },
}

/// What a signer answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Answer {
    /// Fingerprint and public key, in Base64.
    Key { fingerprint: Fingerprint, public: String },
    /// A detached signature, in Base64.
    Signature { signature: String },
    /// It never signs that.
    Refused { why: String },
    /// It cannot now.
    Unable { why: String },
}

/// Who signs, and with which key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signing {
    /// The key that signatures have to be made with.
    pub key: Fingerprint,
    /// Where the signer listens.
    pub socket: PathBuf,
}

impl Signing {
    /// The public key of the signer, as gpg exports it.
    ///
    /// # Errors
    /// [`PublishError::SignerAway`] if it does not answer, or holds another key.
    pub fn public_key(&self) -> Result<Vec<u8>, PublishError> {
        match self.ask(&Request::Key {})? {
            Answer::Key { fingerprint, public } if fingerprint == self.key => {
                BASE64.decode(public).map_err(|error| self.away(format!("its public key cannot be read: {error}")))
            }
            Answer::Key { fingerprint, .. } => {
                Err(self.away(format!("it signs with {fingerprint}, not with {}", self.key)))
            }
            other => Err(self.not_given(Path::new("its public key"), other)),
        }
    }

    /// Writes the signature of a file that was checked to `signature`; it is there only if it is good.
    pub(super) fn sign(&self, file: &Path, signature: &Path, keyring: &Path) -> Result<(), PublishError> {
        let request = Request::Sign { path: file.to_owned(), sha256: sha256(file)? };
        let made = match self.ask(&request)? {
            Answer::Signature { signature } => {
                BASE64.decode(signature).map_err(|error| self.away(format!("its signature cannot be read: {error}")))?
            }
            other => return Err(self.not_given(file, other)),
        };
        super::layout::write_synced(signature, &made)?;
        gpg::verify(file, signature, keyring, Some(&self.key)).map_err(|problem| {
            // Nobody may take it for a good one.
            let _ = std::fs::remove_file(signature);
            self.away(format!("its signature of {} is not good: {problem}", file.display()))
        })
    }

    fn ask(&self, request: &Request) -> Result<Answer, PublishError> {
        self.exchange(request).map_err(|error| self.away(error.to_string()))
    }

    fn exchange(&self, request: &Request) -> io::Result<Answer> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        stream.write_all(&line)?;
        let mut answer = String::new();
        BufReader::new(stream.take(MAX_ANSWER)).read_line(&mut answer)?;
        if answer.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it hung up without an answer"));
        }
        Ok(serde_json::from_str(&answer)?)
    }

    fn away(&self, why: String) -> PublishError {
        PublishError::SignerAway { socket: self.socket.clone(), why }
    }

    fn not_given(&self, file: &Path, answer: Answer) -> PublishError {
        match answer {
            Answer::Refused { why } => PublishError::NotSigned { file: file.to_owned(), why },
            Answer::Unable { why } => self.away(why),
            Answer::Key { .. } | Answer::Signature { .. } => self.away("it answers something else".to_owned()),
        }
    }
}

/// Where the signature of a file lies.
pub(super) fn signature_of(file: &Path) -> PathBuf {
    let mut path = file.as_os_str().to_owned();
    path.push(SUFFIX);
    path.into()
}
