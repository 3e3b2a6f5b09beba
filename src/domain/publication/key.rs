//! Which `OpenPGP` key signs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The fingerprint of an `OpenPGP` key, in capital hexadecimal digits without spaces.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint(String);

/// Text that is no fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not the fingerprint of a key: write all 40 (or 64) hexadecimal digits that `gpg --fingerprint` shows"
)]
pub struct InvalidFingerprint(String);

impl Fingerprint {
    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Fingerprint {
    type Err = InvalidFingerprint;

    fn from_str(text: &str) -> Result<Self, InvalidFingerprint> {
        let digits: String = text.strip_prefix("0x").unwrap_or(text).chars().filter(|c| *c != ' ').collect();
        let right = matches!(digits.len(), 40 | 64) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        if right { Ok(Self(digits.to_ascii_uppercase())) } else { Err(InvalidFingerprint(text.to_owned())) }
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = InvalidFingerprint;
    fn try_from(text: String) -> Result<Self, InvalidFingerprint> {
        text.parse()
    }
}

impl From<Fingerprint> for String {
    fn from(key: Fingerprint) -> Self {
        key.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_as_people_and_gpg_write_it() {
        let plain: Fingerprint = "0123456789ABCDEF0123456789abcdef01234567".parse().unwrap();
        let spaced = "0123 4567 89AB CDEF 0123  4567 89AB CDEF 0123 4567".parse().unwrap();
        assert_eq!(plain, spaced);
        assert_eq!(plain.as_str(), "0123456789ABCDEF0123456789ABCDEF01234567");
        // A short id can be made to fit another key.
        for wrong in ["", "01234567", "0x89ABCDEF01234567", "me@example.org", &"g".repeat(40)] {
            assert!(wrong.parse::<Fingerprint>().is_err(), "{wrong}");
        }
    }
}
