//! The key of the controller, and the tokens of attempts that follow from it: none is kept anywhere.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::sys::fs::FsError;
use crate::sys::secret::{self, ExposeSecret as _, SecretString};

/// What tokens follow from.
#[derive(Clone)]
pub struct Key(SecretString);

impl Key {
    /// The key in this file, which is made if there is none, so that tokens stay right over restarts.
    ///
    /// # Errors
    /// If it can be neither read nor made.
    pub fn keep(path: &Path) -> Result<Self, FsError> {
        secret::kept(path).map(Self)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_for_one_attempt_and_stays_right_over_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/key");
        let key = Key::keep(&path).unwrap();
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
}
