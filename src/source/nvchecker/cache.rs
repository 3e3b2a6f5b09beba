//! Answers that are kept between passes, so that a server may say that nothing has changed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::header::{ETAG, HeaderMap, LAST_MODIFIED};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::sys::fs::{age, write_atomic};

/// A larger answer is not kept.
const LARGEST: usize = 4 << 20;

/// Whatever is older is forgotten, and asked for in full again.
const OLDEST: Duration = Duration::from_hours(24 * 30);

/// What a server is told about the answer that is there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validators {
    /// `ETag`.
    pub etag: Option<String>,
    /// `Last-Modified`.
    pub last_modified: Option<String>,
}

impl Validators {
    /// Those of an answer; `None` if it has none.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let found = Self { etag: text(ETAG), last_modified: text(LAST_MODIFIED) };
        (found != Self::default()).then_some(found)
    }
}

/// A directory of answers, which may be deleted at any time.
#[derive(Debug, Clone)]
pub struct Cache {
    dir: PathBuf,
}

impl Cache {
    /// In this directory, which need not be there.
    #[must_use]
    pub const fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// The answer that is there for a request.
    #[must_use]
    pub fn load(&self, request: &str) -> Option<(Validators, Vec<u8>)> {
        let bytes = std::fs::read(self.path(request)).ok()?;
        let end = bytes.iter().position(|&byte| byte == b'\n')?;
        Some((serde_json::from_slice(&bytes[..end]).ok()?, bytes[end + 1..].to_vec()))
    }

    /// Keeps an answer. If that fails, it is asked for in full the next time.
    pub fn store(&self, request: &str, validators: &Validators, body: &[u8]) {
        if body.len() > LARGEST {
            return;
        }
        let mut bytes = serde_json::to_vec(validators).expect("texts are JSON");
        bytes.push(b'\n');
        bytes.extend_from_slice(body);
        let path = self.path(request);
        let written = std::fs::create_dir_all(&self.dir).map_err(|error| error.to_string());
        let written = written.and_then(|()| write_atomic(&path, &bytes).map_err(|error| error.to_string()));
        if let Err(error) = written {
            tracing::warn!(error, "an answer of a server cannot be kept");
        }
    }

    /// Forgets what is old.
    pub fn prune(&self) {
        let entries = std::fs::read_dir(&self.dir).into_iter().flatten().filter_map(Result::ok);
        let old = |path: &Path| age(path).is_some_and(|age| age > OLDEST);
        for path in entries.map(|entry| entry.path()).filter(|path| old(path)) {
            if let Err(error) = std::fs::remove_file(&path) {
                tracing::warn!(path = %path.display(), %error, "an old answer of a server cannot be removed");
            }
        }
    }

    fn path(&self, request: &str) -> PathBuf {
        let digest = Sha256::digest(request.as_bytes());
        let digits: Vec<_> = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        self.dir.join(digits.concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_there_with_what_the_server_called_it() {
        let dir = tempfile::tempdir().expect("dir");
        let cache = Cache::new(dir.path().join("answers"));
        let validators = Validators { etag: Some("\"a\"".to_owned()), last_modified: None };
        assert_eq!(cache.load("x"), None);
        cache.store("x", &validators, b"one\ntwo");
        assert_eq!(cache.load("x"), Some((validators.clone(), b"one\ntwo".to_vec())));
        cache.store("y", &validators, &vec![0; LARGEST + 1]);
        assert_eq!(cache.load("y"), None);
        cache.prune();
        assert!(cache.load("x").is_some(), "it is new");
    }
}
