//! Deliveries of forges: who sent them, and what they say. Pure: what arrived goes in, an event comes out.
//!
//! Every scheme is verified over the bytes as they arrived, before anything in them is read. Texts are compared as
//! they are written and not as they decode, so that of each signature there is only one form; and always with every
//! secret, in constant time.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

use super::{gitea, github, gitlab};
use crate::domain::event::Event;
use crate::sys::secret::{ExposeSecret as _, SecretString};

/// The longest id of a delivery; those of forges are UUIDs.
const MAX_ID: usize = 200;
/// How far the time that was signed may be from ours, in seconds, as Standard Webhooks has it.
pub const WINDOW: i64 = 5 * 60;

/// How deliveries are signed and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `X-Hub-Signature-256`.
    Github,
    /// `webhook-signature`, or the plain token in `X-Gitlab-Token`.
    Gitlab,
    /// `X-Forgejo-Signature` or `X-Gitea-Signature`.
    Gitea,
}

/// Why a delivery is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nobody who knows a secret has sent it, or not just now. The text is for the log: who sent it is not told.
    #[error("{0}")]
    Unproven(&'static str),
    /// It comes from the forge and cannot be read.
    #[error("the event `{event}` cannot be read: {why}")]
    Unreadable {
        /// What the forge calls it.
        event: String,
        /// What is wrong with it, and where.
        why: String,
    },
}

/// A secret that cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSecret {
    /// There is none.
    #[error("there is no webhook secret; write one into the file, each on a line of its own")]
    None,
    /// A signing token that is not written as one.
    #[error("the webhook secret in line {0} begins with `whsec_`, and base64 has to follow; copy it again from GitLab")]
    NotBase64(usize),
}

/// The headers of a request. A name that comes twice is as good as missing.
#[derive(Debug, Clone, Copy)]
pub struct Headers<'a>(&'a [(String, String)]);

impl<'a> Headers<'a> {
    /// Names in any case, each with its value.
    #[must_use]
    pub const fn new(headers: &'a [(String, String)]) -> Self {
        Self(headers)
    }

    /// The value under a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a str> {
        let mut found = self.0.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        let (_, value) = found.next()?;
        found.next().is_none().then_some(value)
    }
}

/// What the deliveries for one repository are verified with.
pub struct Hook {
    scheme: Scheme,
    /// Keys of HMACs, and of GitLab plain tokens.
    secrets: Vec<SecretString>,
    /// Decoded signing tokens of GitLab.
    signing: Vec<Vec<u8>>,
}

/// Nothing of a secret.
impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hook").field("scheme", &self.scheme).finish_non_exhaustive()
    }
}

/// A delivery that was verified and read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The forge's id of it, or one made from its content.
    pub id: String,
    /// SHA-256 of its body: of most schemes the id is not signed, so that a copy can have another.
    pub digest: [u8; 32],
    /// What it says.
    pub event: Event,
}

impl Hook {
    /// Every secret counts, so that one can be changed while deliveries come.
    ///
    /// # Errors
    /// [`InvalidSecret`] if there is none, or one is written wrongly.
    pub fn new(scheme: Scheme, lines: Vec<SecretString>) -> Result<Self, InvalidSecret> {
        if lines.is_empty() {
            return Err(InvalidSecret::None);
        }
        let (mut secrets, mut signing) = (Vec::new(), Vec::new());
        for (index, secret) in lines.into_iter().enumerate() {
            match secret.expose_secret().strip_prefix(gitlab::webhook::SIGNING_PREFIX) {
                Some(key) if scheme == Scheme::Gitlab => {
                    let key = STANDARD.decode(key).ok().filter(|key| !key.is_empty());
                    signing.push(key.ok_or(InvalidSecret::NotBase64(index + 1))?);
                }
                _ => secrets.push(secret),
            }
        }
        Ok(Self { scheme, secrets, signing })
    }

    /// Verifies a delivery, and only then reads it.
    ///
    /// # Errors
    /// [`Refusal`] if it is not proven to be the forge's, or cannot be read.
    pub fn accept(&self, headers: Headers<'_>, body: &[u8], now: Timestamp) -> Result<Verified, Refusal> {
        match self.scheme {
            Scheme::Github => github::webhook::verify(headers, body, &self.secrets)?,
            Scheme::Gitlab => gitlab::webhook::verify(headers, body, &self.secrets, &self.signing, now)?,
            Scheme::Gitea => gitea::webhook::verify(headers, body, &self.secrets)?,
        }
        let (id, event) = match self.scheme {
            Scheme::Github => (github::webhook::id(headers), github::webhook::event(headers, body)?),
            Scheme::Gitlab => (gitlab::webhook::id(headers), gitlab::webhook::event(headers, body)?),
            Scheme::Gitea => (gitea::webhook::id(headers), gitea::webhook::event(headers, body)?),
        };
        let digest: [u8; 32] = Sha256::digest(body).into();
        let usable = |id: &&str| !id.is_empty() && id.len() <= MAX_ID && id.bytes().all(|byte| byte.is_ascii_graphic());
        let id = id.filter(usable).map_or_else(|| format!("sha256:{}", hex(&digest)), str::to_owned);
        Ok(Verified { id, digest, event })
    }
}

/// Whether one of the keys makes one of the texts that were given. All are tried, whatever comes of the first.
pub(super) fn any_signs<'k>(
    keys: impl Iterator<Item = &'k [u8]>,
    signed: &[&[u8]],
    write: impl Fn(&[u8]) -> String,
    given: &[&str],
) -> bool {
    let mut right = Choice::from(0);
    for key in keys {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("an HMAC takes keys of any length");
        signed.iter().for_each(|part| mac.update(part));
        let wanted = write(&mac.finalize().into_bytes());
        for given in given {
            right |= wanted.as_bytes().ct_eq(given.as_bytes());
        }
    }
    right.into()
}

/// Whether one of the secrets is the text that was given; says nothing about how long they are.
pub(super) fn any_is(secrets: &[SecretString], given: &str) -> bool {
    let given = Sha256::digest(given);
    let mut right = Choice::from(0);
    for secret in secrets {
        right |= Sha256::digest(secret.expose_secret()).ct_eq(&given);
    }
    right.into()
}

/// The bytes of secrets, as keys.
pub(super) fn keys(secrets: &[SecretString]) -> impl Iterator<Item = &[u8]> {
    secrets.iter().map(|secret| secret.expose_secret().as_bytes())
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Standard base64.
pub(super) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}
