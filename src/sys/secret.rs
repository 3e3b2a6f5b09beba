//! Secrets: where they are read, and how their values are kept out of what people see.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
pub use secrecy::{ExposeSecret, SecretString};

use super::fs::FsError;

/// Random bytes of a secret that is made here.
const DRAWN: usize = 32;

/// A secret shorter than this is not redacted: its value would be found in innocent text.
const MIN_REDACTED: usize = 4;

/// What stands in place of a secret.
const MARK: &str = "[secret]";

/// A secret that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("cannot read the secret in {}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// There is a place for it, with nothing in it.
    #[error("the secret in {place} is empty; write the token into it")]
    Empty {
        /// The file or the variable.
        place: String,
    },
}

/// Reads a secret from a file; white space at its end is not part of it.
///
/// # Errors
/// [`SecretError`] if it cannot be read or is empty.
pub fn from_file(path: &Path) -> Result<SecretString, SecretError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| SecretError::Unreadable { path: path.to_owned(), source })?;
    non_empty(text, || path.display().to_string())
}

/// Reads secrets from a file, one from each line that is not blank; white space around them is not part of them.
///
/// # Errors
/// [`SecretError`] if it cannot be read, or no line holds anything.
pub fn lines_from_file(path: &Path) -> Result<Vec<SecretString>, SecretError> {
    let text = from_file(path)?;
    let lines = text.expose_secret().lines().map(str::trim).filter(|line| !line.is_empty());
    Ok(lines.map(SecretString::from).collect())
}

/// Reads a secret from an environment variable; `None` if it is unset.
///
/// # Errors
/// [`SecretError::Empty`] if it is set to nothing.
pub fn from_env(name: &str) -> Result<Option<SecretString>, SecretError> {
    super::env::var(name).map(|text| non_empty(text, || name.to_owned())).transpose()
}

/// The secret in this file, which is drawn at random if there is none, so that it stays the same over restarts.
///
/// # Errors
/// If it can be neither read nor made.
pub fn kept(path: &Path) -> Result<SecretString, FsError> {
    match read_kept(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            make(path).and_then(|()| read_kept(path)).map_err(|error| FsError::new("make the key", path, error))
        }
        other => other.map_err(|error| FsError::new("read the key", path, error)),
    }
}

fn read_kept(path: &Path) -> io::Result<SecretString> {
    let text = std::fs::read_to_string(path)?;
    let text = text.trim_end();
    if text.len() < DRAWN {
        return Err(io::Error::new(ErrorKind::InvalidData, "it is too short; remove it, and a new one is made"));
    }
    Ok(text.into())
}

/// Nobody else can read it, at no time.
fn make(path: &Path) -> io::Result<()> {
    let mut random = [0; DRAWN];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    let parent = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent)?;
    let new = path.with_added_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    writeln!(file, "{}", URL_SAFE_NO_PAD.encode(random))?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    File::open(parent)?.sync_all()
}

fn non_empty(mut text: String, place: impl FnOnce() -> String) -> Result<SecretString, SecretError> {
    text.truncate(text.trim_end().len());
    if text.is_empty() { Err(SecretError::Empty { place: place() }) } else { Ok(text.into()) }
}

/// Knows the values of secrets and takes them out of text. Clones share what they know.
#[derive(Clone, Default)]
pub struct Redactor(Arc<RwLock<Vec<String>>>);

impl Redactor {
    /// Learns a secret, also in the forms in which it travels: percent-encoded and base64.
    pub fn learn(&self, secret: &SecretString) {
        let value = secret.expose_secret();
        if value.len() < MIN_REDACTED {
            return;
        }
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for form in [value.to_owned(), percent_encoded(value), STANDARD.encode(value)] {
            if !known.contains(&form) {
                known.push(form);
            }
        }
        // A secret that contains another one must go first, or a part of it would stay.
        known.sort_by_key(|form| std::cmp::Reverse(form.len()));
    }

    /// The text with every known secret replaced by `[secret]`.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known
            .iter()
            .filter(|form| text.contains(form.as_str()))
            .fold(text.to_owned(), |text, form| text.replace(form, MARK))
    }
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Redactor")
    }
}

fn percent_encoded(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    value.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_redacted_in_every_form_it_travels_in() {
        let redactor = Redactor::default();
        redactor.clone().learn(&"hun/ter2".into());
        assert_eq!(redactor.redact("x hun/ter2 hun%2Fter2 aHVuL3RlcjI= y"), "x [secret] [secret] [secret] y");
        assert_eq!(redactor.redact("nothing"), "nothing");
    }

    #[test]
    fn of_two_secrets_the_longer_goes_first() {
        let redactor = Redactor::default();
        redactor.learn(&"token".into());
        redactor.learn(&"token-and-more".into());
        assert_eq!(redactor.redact("token-and-more token"), "[secret] [secret]");
    }

    #[test]
    fn a_very_short_secret_does_not_eat_text() {
        let redactor = Redactor::default();
        redactor.learn(&"a".into());
        assert_eq!(redactor.redact("banana"), "banana");
    }

    #[test]
    fn a_secret_file_ends_before_its_newline_and_must_not_be_empty() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("token");
        std::fs::write(&path, "abc\n").expect("write");
        assert_eq!(from_file(&path).expect("read").expose_secret(), "abc");
        std::fs::write(&path, "\n").expect("write");
        assert!(from_file(&path).expect_err("empty").to_string().contains("is empty"));
        let missing = from_file(&dir.path().join("none")).expect_err("missing");
        assert!(matches!(missing, SecretError::Unreadable { .. }), "{missing}");
    }

    #[test]
    fn a_file_can_hold_several_secrets() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("secrets");
        std::fs::write(&path, "\n new \r\n\nold\n").expect("write");
        let secrets = lines_from_file(&path).expect("read");
        assert_eq!(secrets.iter().map(ExposeSecret::expose_secret).collect::<Vec<_>>(), ["new", "old"]);
        std::fs::write(&path, " \n\n").expect("write");
        assert!(matches!(lines_from_file(&path), Err(SecretError::Empty { .. })));
    }

    #[test]
    fn a_key_is_drawn_once_and_nobody_else_reads_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("deep/key");
        let drawn = kept(&path).expect("made");
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(kept(&path).expect("read").expose_secret(), drawn.expose_secret());
        let other = kept(&dir.path().join("other")).expect("made");
        assert_ne!(other.expose_secret(), drawn.expose_secret());
        std::fs::write(&path, "abc\n").expect("write");
        assert!(kept(&path).is_err(), "half a key is not used");
    }

    #[test]
    fn nothing_prints_a_secret() {
        let secret: SecretString = "visible".into();
        let redactor = Redactor::default();
        redactor.learn(&secret);
        assert!(!format!("{secret:?} {redactor:?}").contains("visible"));
    }
}
