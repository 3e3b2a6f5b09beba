//! The key of the controller, and the tokens of attempts that follow from it: none is kept anywhere.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::sys::fs::FsError;
use crate::sys::secret::{ExposeSecret as _, SecretString};

/// Bytes of a key.
const LENGTH: usize = 32;

/// What tokens follow from.
#[derive(Clone)]
pub struct Key(SecretString);

impl Key {
    /// The key in this file, which is made if there is none, so that tokens stay right over restarts.
    ///
    /// # Errors
    /// If it can be neither read nor made.
    pub fn keep(path: &Path) -> Result<Self, FsError> {
        match read(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                make(path).and_then(|()| read(path)).map_err(|error| FsError::new("make the key", path, error))
            }
            other => other.map_err(|error| FsError::new("read the key", path, error)),
        }
    }

    /// The token of an attempt.
    #[must_use]
    pub fn token(&self, attempt: &str) -> SecretString {
        URL_SAFE_NO_PAD.encode(self.mac(attempt).finalize().into_bytes()).into()
    }

    /// Whether a token is that of an attempt; how long that takes tells nothing of the right one.
    #[must_use]
    pub fn accepts(&self, attempt: &str, token: &str) -> bool {
        let Ok(token) = URL_SAFE_NO_PAD.decode(token) else { return false };
        self.mac(attempt).verify_slice(&token).is_ok()
    }

    fn mac(&self, attempt: &str) -> Hmac<Sha256> {
        let mac = Hmac::<Sha256>::new_from_slice(self.0.expose_secret().as_bytes()).expect("any length is a key");
        mac.chain_update("attempt ").chain_update(attempt)
    }
}

fn read(path: &Path) -> io::Result<Key> {
    let text = fs::read_to_string(path)?;
    let text = text.trim_end();
    if text.len() < LENGTH {
        return Err(io::Error::new(ErrorKind::InvalidData, "it is too short; remove it, and a new one is made"));
    }
    Ok(Key(text.into()))
}

/// Nobody else can read it, at no time.
fn make(path: &Path) -> io::Result<()> {
    let mut random = [0; LENGTH];
    fs::File::open("/dev/urandom")?.read_exact(&mut random)?;
    let parent = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent)?;
    let new = path.with_added_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    writeln!(file, "{}", URL_SAFE_NO_PAD.encode(random))?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    fs::File::open(parent)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_token_is_for_one_attempt_and_stays_right_over_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/key");
        let key = Key::keep(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let token = key.token("1-1-a");
        let token = token.expose_secret();
        let again = Key::keep(&path).unwrap();
        assert!(again.accepts("1-1-a", token));
        let shortened = &token[..token.len() - 4];
        for wrong in ["", "x", "====", shortened, &token.to_uppercase(), again.token("1-1-b").expose_secret()] {
            assert!(!again.accepts("1-1-a", wrong), "{wrong}");
        }
        let other = Key::keep(&dir.path().join("other")).unwrap();
        assert!(!other.accepts("1-1-a", token));
    }

    #[test]
    fn half_a_key_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("key"), "abc\n").unwrap();
        assert!(Key::keep(&dir.path().join("key")).is_err());
    }
}
