//! `OpenPGP` public keys as settings and documents carry them: as text.
//!
//! Nothing is verified here; gpg and pacman do that. What is looked at is whether this can be public keys at all, so that
//! a wrong file is told to whoever named it, and not to the builds that would need it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// More than the keys of those who sign one repository: 256 KiB. They travel with every build.
const MAX: usize = 256 << 10;
const BEGIN: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
const END: &str = "-----END PGP PUBLIC KEY BLOCK-----";
const SECRET: &str = "PRIVATE KEY BLOCK";

/// Public keys, in the armour that `gpg --export --armor` makes.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKeys(String);

/// What is no public key that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoKeys {
    /// It is something else.
    #[error("it holds no OpenPGP public key: write into it what `gpg --export --armor FINGERPRINT` prints")]
    Other,
    /// It is a key that nobody else may have.
    #[error("it holds a secret key, which must not leave its owner: put in its place what `gpg --export` prints")]
    Secret,
    /// It is the keyring of a whole distribution.
    #[error(
        "it has more than {} KiB: name only who signs this repository; for a whole distribution, give the machines that \
         build a keyring of pacman (executor.local.keyring)",
        MAX >> 10
    )]
    TooLarge,
}

impl PublicKeys {
    /// Reads what `gpg --export` prints, with `--armor` or without.
    ///
    /// # Errors
    /// [`NoKeys`], if it is something else.
    pub fn read(bytes: &[u8]) -> Result<Self, NoKeys> {
        if bytes.len() > MAX {
            return Err(NoKeys::TooLarge);
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::of_text(text),
            Err(_) => Self::of_packets(bytes),
        }
    }

    /// As text for gpg.
    #[must_use]
    pub fn armored(&self) -> &str {
        &self.0
    }

    fn of_text(text: &str) -> Result<Self, NoKeys> {
        let plain = |char: char| char.is_ascii_graphic() || matches!(char, ' ' | '\t' | '\r' | '\n');
        if text.contains(SECRET) {
            return Err(NoKeys::Secret);
        }
        let blocks = text.matches(BEGIN).count();
        // What stands around the blocks is for people, in any language; gpg passes over it, and so it is left out.
        let first = text.find(BEGIN).ok_or(NoKeys::Other)?;
        let end = text.rfind(END).ok_or(NoKeys::Other)? + END.len();
        let keys = text.get(first..end).filter(|keys| keys.chars().all(plain)).ok_or(NoKeys::Other)?;
        if blocks == keys.matches(END).count() { Ok(Self(format!("{keys}\n"))) } else { Err(NoKeys::Other) }
    }

    fn of_packets(bytes: &[u8]) -> Result<Self, NoKeys> {
        // The kind of the first packet, in the old format or the new one (RFC 9580, 4.2).
        let kind = match bytes.first() {
            Some(first) if first & 0xc0 == 0xc0 => first & 0x3f,
            Some(first) if first & 0x80 != 0 => (first & 0x3c) >> 2,
            _ => return Err(NoKeys::Other),
        };
        match kind {
            5 => Err(NoKeys::Secret),
            6 => Ok(Self(armored(bytes))),
            _ => Err(NoKeys::Other),
        }
    }
}

fn armored(bytes: &[u8]) -> String {
    let encoded = STANDARD.encode(bytes);
    let lines = encoded.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("Base64 is ASCII"));
    let body: Vec<&str> = lines.collect();
    // gpg takes the last line for one of the key if neither a sum nor padding stands before it.
    let sum = STANDARD.encode(&checksum(bytes).to_be_bytes()[1..]);
    format!("{BEGIN}\n\n{}\n={sum}\n{END}\n", body.join("\n"))
}

/// The sum of armour, CRC-24 (RFC 4880, 6.1).
fn checksum(bytes: &[u8]) -> u32 {
    let shifted = |sum: u32| if sum & 0x80_0000 == 0 { sum << 1 } else { (sum << 1) ^ 0x186_4cfb };
    let add = |sum: u32, byte: &u8| (0..8).fold(sum ^ (u32::from(*byte) << 16), |sum, _| shifted(sum));
    bytes.iter().fold(0xb7_04ce, add) & 0xff_ffff
}

impl TryFrom<String> for PublicKeys {
    type Error = NoKeys;

    fn try_from(text: String) -> Result<Self, NoKeys> {
        if text.len() > 2 * MAX { Err(NoKeys::TooLarge) } else { Self::of_text(&text) }
    }
}

impl From<PublicKeys> for String {
    fn from(keys: PublicKeys) -> Self {
        keys.0
    }
}

impl fmt::Debug for PublicKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKeys({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_are_read_as_gpg_exports_them() {
        let block = format!("{BEGIN}\n\nmDMEawKi\n=abcd\n{END}\n");
        assert_eq!(PublicKeys::read(block.as_bytes()).unwrap().armored(), block);
        let two = format!("{block}\n{block}");
        assert_eq!(PublicKeys::read(two.as_bytes()).unwrap().armored(), two);
        let told = format!("Schlüssel von Jörg:\n{block}");
        assert_eq!(PublicKeys::read(told.as_bytes()).unwrap().armored(), block, "what is for people is left out");
        for packet in [[0x98, 0x33, 0xff], [0xc6, 0x33, 0xff]] {
            let keys = PublicKeys::read(&packet).unwrap();
            assert!(
                keys.armored().starts_with(&format!("{BEGIN}\n\n{}\n=", STANDARD.encode(packet))),
                "{}",
                keys.armored()
            );
            let document = serde_json::to_string(&keys).unwrap();
            assert_eq!(serde_json::from_str::<PublicKeys>(&document).unwrap(), keys);
        }
    }

    #[test]
    fn the_sum_is_that_of_the_standard() {
        assert_eq!(checksum(b"123456789"), 0x21_cf02);
        assert_eq!(checksum(b""), 0xb7_04ce);
    }

    #[test]
    fn what_is_no_public_key_is_refused_with_what_to_write() {
        let secret = "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nlFgE\n-----END PGP PRIVATE KEY BLOCK-----\n";
        let half = format!("{BEGIN}\n\nmDME\n");
        let hidden = format!("{BEGIN}\n\n\x1b[2J\n{END}\n");
        for (bytes, wrong) in [
            (&b""[..], NoKeys::Other),
            (b"ssh-ed25519 AAAA", NoKeys::Other),
            (half.as_bytes(), NoKeys::Other),
            (hidden.as_bytes(), NoKeys::Other),
            (secret.as_bytes(), NoKeys::Secret),
            (&[0x94, 0x58, 0xff], NoKeys::Secret),
            (&[0xc5, 0x58, 0xff], NoKeys::Secret),
            (&[0xa3, 0x01, 0xff], NoKeys::Other),
            (&vec![0x98; MAX + 1], NoKeys::TooLarge),
        ] {
            assert_eq!(PublicKeys::read(bytes), Err(wrong), "{:?}", &bytes[..bytes.len().min(40)]);
        }
        assert!(serde_json::from_value::<PublicKeys>(serde_json::json!("no key")).is_err());
    }

    proptest! {
        #[test]
        fn whatever_is_taken_is_one_text_that_is_taken_again(bytes: Vec<u8>, kind in 0_u8..=255) {
            let bytes = [&[kind], &*bytes, &[0xff]].concat();
            if let Ok(keys) = PublicKeys::read(&bytes) {
                prop_assert_eq!(PublicKeys::read(keys.armored().as_bytes()), Ok(keys));
            }
        }
    }
}
