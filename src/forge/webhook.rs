//! Deliveries of forges: who sent them, and what they say. Pure: what arrived goes in, an event comes out.
//!
//! Every scheme is verified over the bytes as they arrived, before anything in them is read. Texts are compared as
//! they are written and not as they decode, so that of each signature there is only one form; and always with every
//! secret, in constant time.

use std::fmt::{self, Write as _};

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
        for part in signed {
            mac.update(part);
        }
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
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string succeeds");
        text
    })
}

/// Standard base64.
pub(super) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: i64 = 1_614_265_330;

    fn now() -> Timestamp {
        Timestamp::from_second(NOW).expect("a time")
    }

    fn hook(scheme: Scheme, secrets: &[&str]) -> Hook {
        Hook::new(scheme, secrets.iter().map(|&secret| secret.into()).collect()).expect("right secrets")
    }

    fn headers(headers: &[(&str, &str)]) -> Vec<(String, String)> {
        headers.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// Whether the delivery is proven to be the forge's; whether it can be read is another matter.
    fn is_proven(hook: &Hook, with: &[(String, String)], body: &[u8]) -> bool {
        !matches!(hook.accept(Headers::new(with), body, now()), Err(Refusal::Unproven(_)))
    }

    /// From GitHub's page "Validating webhook deliveries".
    #[test]
    fn the_example_that_github_documents_is_verified() {
        let hook = hook(Scheme::Github, &["It's a Secret to Everybody"]);
        let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let with = headers(&[("X-Hub-Signature-256", signature)]);
        assert!(is_proven(&hook, &with, b"Hello, World!"));
        assert!(!is_proven(&hook, &with, b"Hello, World"));
        let upper = headers(&[("X-Hub-Signature-256", &signature.to_uppercase())]);
        assert!(!is_proven(&hook, &upper, b"Hello, World!"), "there is one form of a signature");
    }

    /// Made with the npm package standardwebhooks 1.1.1, the reference of that specification.
    fn standard() -> (Hook, Vec<(String, String)>, &'static [u8]) {
        let with = headers(&[
            ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
            ("webhook-timestamp", "1614265330"),
            ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
        ]);
        (hook(Scheme::Gitlab, &["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]), with, b"{\"test\": 2432232314}")
    }

    #[test]
    fn what_the_reference_of_standard_webhooks_signs_is_verified() {
        let (hook, with, body) = standard();
        assert!(is_proven(&hook, &with, body));
        let verified = hook.accept(Headers::new(&with), body, now()).expect("verified");
        assert_eq!(verified.id, "msg_p5jXN8AQM9LWM0D4loKWxJek");
        let mut several = with.clone();
        several[2].1 = format!("v1a,abcd v1,bm9uc2Vuc2U= {}", with[2].1);
        assert!(is_proven(&hook, &several, body), "one of several is enough");
        let mut other_id = with;
        other_id[0].1.push('x');
        assert!(!is_proven(&hook, &other_id, body), "the id is signed");
    }

    #[test]
    fn what_was_signed_long_ago_or_for_later_is_refused() {
        let (hook, with, body) = standard();
        let at = |offset: i64| {
            let now = Timestamp::from_second(NOW + offset).expect("a time");
            hook.accept(Headers::new(&with), body, now).is_ok()
        };
        assert!(at(WINDOW) && at(-WINDOW));
        assert!(!at(WINDOW + 1) && !at(-WINDOW - 1));
    }

    #[test]
    fn a_plain_token_is_no_way_around_a_wrong_signature() {
        let (_, mut with, body) = standard();
        let both = hook(Scheme::Gitlab, &["plain", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]);
        with.push(("X-Gitlab-Token".into(), "plain".into()));
        assert!(is_proven(&both, &with, body));
        with[2].1 = "v1,AAAA".into();
        assert!(!is_proven(&both, &with, body));
        let only_plain = headers(&[("x-gitlab-token", "plain")]);
        assert!(is_proven(&both, &only_plain, body), "of a webhook that was not changed yet");
        let signing_only = hook(Scheme::Gitlab, &["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]);
        let as_token = headers(&[("x-gitlab-token", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]);
        assert!(!is_proven(&signing_only, &as_token, body), "a key never travels");
    }

    #[test]
    fn nothing_is_taken_without_proof_or_with_two() {
        let cases = [
            (Scheme::Github, "x-hub-signature-256"),
            (Scheme::Gitlab, "x-gitlab-token"),
            (Scheme::Gitea, "x-gitea-signature"),
        ];
        for (scheme, name) in cases {
            let (hook, body) = (hook(scheme, &["secret"]), b"{}");
            let right = proof(scheme, "secret", body);
            assert!(is_proven(&hook, std::slice::from_ref(&right), body), "{scheme:?}");
            assert!(!is_proven(&hook, &[], body), "{scheme:?}");
            assert!(!is_proven(&hook, &headers(&[(name, "")]), body), "{scheme:?}");
            assert!(!is_proven(&hook, &[right.clone(), (name.to_uppercase(), "x".into())], body), "{scheme:?}: twice");
        }
    }

    #[test]
    fn every_secret_counts_and_wrong_ones_are_said() {
        for scheme in [Scheme::Github, Scheme::Gitlab, Scheme::Gitea] {
            let hook = hook(scheme, &["new", "old"]);
            for (secret, right) in [("new", true), ("old", true), ("other", false)] {
                assert_eq!(is_proven(&hook, &[proof(scheme, secret, b"{}")], b"{}"), right, "{scheme:?} {secret}");
            }
        }
        assert_eq!(Hook::new(Scheme::Github, Vec::new()).expect_err("none"), InvalidSecret::None);
        let wrong = Hook::new(Scheme::Gitlab, vec!["plain".into(), "whsec_?".into()]).expect_err("no base64");
        assert_eq!(wrong, InvalidSecret::NotBase64(2));
        assert!(!format!("{:?}", hook(Scheme::Gitlab, &["visible"])).contains("visible"));
    }

    #[test]
    fn forgejo_goes_by_its_own_name_first() {
        let hook = hook(Scheme::Gitea, &["secret"]);
        let (_, right) = proof(Scheme::Gitea, "secret", b"{}");
        assert!(is_proven(&hook, &headers(&[("X-Forgejo-Signature", &right), ("X-Gitea-Signature", &right)]), b"{}"));
        assert!(!is_proven(&hook, &headers(&[("X-Forgejo-Signature", "0"), ("X-Gitea-Signature", &right)]), b"{}"));
    }

    #[test]
    fn a_delivery_without_a_usable_id_goes_by_its_content() {
        let hook = hook(Scheme::Github, &["secret"]);
        let id = |id: &str| {
            let mut with = headers(&[("X-GitHub-Event", "ping"), ("X-GitHub-Delivery", id)]);
            with.push(proof(Scheme::Github, "secret", b"{}"));
            hook.accept(Headers::new(&with), b"{}", now()).expect("verified").id
        };
        assert_eq!(id("0b989ba4-242f-11e5-81e1-c7b6966d2516"), "0b989ba4-242f-11e5-81e1-c7b6966d2516");
        let made = format!("sha256:{}", hex(&Sha256::digest(b"{}")));
        for unusable in ["", "two words", &"x".repeat(MAX_ID + 1)] {
            assert_eq!(id(unusable), made);
        }
    }

    #[test]
    fn what_cannot_be_read_says_what_is_wrong_only_to_those_who_proved_themselves() {
        let hook = hook(Scheme::Github, &["secret"]);
        let body = b"{\"ref\": \"refs/heads/main\", \"before\": \"x\", \"after\": \"y\"}";
        let mut with = headers(&[("X-GitHub-Event", "push")]);
        assert!(!is_proven(&hook, &with, body));
        with.push(proof(Scheme::Github, "secret", body));
        let refusal = hook.accept(Headers::new(&with), body, now()).expect_err("unreadable").to_string();
        insta::assert_snapshot!(refusal, @"the event `push` cannot be read: `x` is not a git object id at line 1 column 40");
    }

    /// What a forge sends beside the body.
    fn proof(scheme: Scheme, secret: &str, body: &[u8]) -> (String, String) {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length");
        mac.update(body);
        let signature = hex(&mac.finalize().into_bytes());
        match scheme {
            Scheme::Github => ("X-Hub-Signature-256".into(), format!("sha256={signature}")),
            Scheme::Gitlab => ("X-Gitlab-Token".into(), secret.into()),
            Scheme::Gitea => ("X-Gitea-Signature".into(), signature),
        }
    }

    fn flipped(bytes: &[u8], bit: usize) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        let bit = bit % (bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    }

    /// The value with a bit flipped, as it comes out of an HTTP header; `None` if it cannot be in one.
    fn flipped_value(value: &str, bit: usize) -> Option<String> {
        let value = String::from_utf8(flipped(value.as_bytes(), bit)).ok()?;
        (!value.contains(char::is_control)).then(|| value.trim().to_owned())
    }

    proptest! {
        #[test]
        fn one_flipped_bit_of_body_or_signature_is_refused(
            body in prop::collection::vec(any::<u8>(), 1..300),
            secret in "[!-~]{1,40}",
            bit in any::<usize>(),
        ) {
            for scheme in [Scheme::Github, Scheme::Gitea] {
                let hook = hook(scheme, &["another", &secret]);
                let (name, value) = proof(scheme, &secret, &body);
                prop_assert!(is_proven(&hook, &[(name.clone(), value.clone())], &body));
                prop_assert!(!is_proven(&hook, &[(name.clone(), value.clone())], &flipped(&body, bit)));
                if let Some(value) = flipped_value(&value, bit) {
                    prop_assert!(!is_proven(&hook, &[(name, value)], &body));
                }
            }
        }

        #[test]
        fn one_flipped_bit_of_a_signed_delivery_of_gitlab_is_refused(
            body in prop::collection::vec(any::<u8>(), 1..300),
            key in prop::collection::vec(any::<u8>(), 1..64),
            bit in any::<usize>(),
        ) {
            let hook = hook(Scheme::Gitlab, &[&format!("whsec_{}", base64(&key))]);
            let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("any length");
            mac.update(format!("msg_1.{NOW}.").as_bytes());
            mac.update(&body);
            let signature = format!("v1,{}", base64(&mac.finalize().into_bytes()));
            let time = NOW.to_string();
            let with = headers(&[("webhook-id", "msg_1"), ("webhook-timestamp", &time), ("webhook-signature", &signature)]);
            prop_assert!(is_proven(&hook, &with, &body));
            prop_assert!(!is_proven(&hook, &with, &flipped(&body, bit)));
            for place in 0..with.len() {
                let mut with = with.clone();
                let Some(value) = flipped_value(&with[place].1, bit) else { continue };
                with[place].1 = value;
                prop_assert!(!is_proven(&hook, &with, &body), "{}", with[place].0);
            }
        }

        #[test]
        fn whatever_is_signed_is_read_or_refused(name in "[a-z_ ]{0,20}", body in "\\PC{0,200}") {
            for parse in [github::webhook::parse, gitea::webhook::parse] {
                let _ = parse(&name, body.as_bytes());
            }
            let with = headers(&[("X-Gitlab-Event", &name)]);
            let _ = gitlab::webhook::event(Headers::new(&with), body.as_bytes());
        }
    }
}
