//! Asks for the databases of `CI_LIB_DB`, and only once for each time they are written: conditional requests, with
//! what was read kept in a file.
//!
//! Not for what stands in them: that is [`read`].

mod read;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use futures_util::stream::{self, StreamExt as _};
use reqwest::header::{ETAG, HeaderMap, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use reqwest::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use url::Url;

use self::read::{ReadLimits, read};
use super::error_text;
use crate::domain::library::Consulted;
use crate::domain::library::database::LibraryDatabase;
use crate::sys::fs::write_atomic;
use crate::sys::http;

/// Databases that are fetched at once.
const AT_ONCE: usize = 3;
/// How often one is asked for, in all.
const TRIES: usize = 2;
/// How long one may take in all.
const LONGEST: Duration = Duration::from_mins(10);
/// Bytes of one as it is packed: some eight times the largest there is.
const MOST_PACKED: u64 = 512 << 20;
/// Raised when what is kept of a database changes.
const FORMAT: u32 = 3;

/// Asks for the databases of `CI_LIB_DB`.
#[derive(Debug)]
pub struct LibraryDatabases {
    cache_dir: PathBuf,
    /// How long one may stand still.
    idle: Duration,
}

/// What a server said about a database, to be sent back when asking again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Validators {
    etag: Option<String>,
    last_modified: Option<String>,
}

/// What was read last.
#[derive(Serialize, Deserialize)]
struct Kept {
    format: u32,
    url: String,
    validators: Validators,
    database: Arc<LibraryDatabase>,
}

/// Why a database could not be had: what to say, and whether asking once more may help.
struct Trouble {
    message: String,
    may_pass: bool,
}

impl Trouble {
    fn lasting(message: impl Into<String>) -> Self {
        Self { message: message.into(), may_pass: false }
    }
}

impl LibraryDatabases {
    /// Keeps what was read in a folder that may be deleted at any time.
    #[must_use]
    pub fn new(cache_dir: PathBuf, idle: Duration) -> Self {
        Self { cache_dir, idle }
    }

    /// What each database holds now, in the order of the addresses.
    pub async fn consult(&self, urls: &[String]) -> Vec<Consulted> {
        let one = |url: String| async move {
            let origin = shown(&url);
            let answer = self.patiently(&url).await;
            let answer = answer.map_err(|trouble| format!("{origin} is not known: {}", trouble.message));
            Consulted { origin, answer }
        };
        stream::iter(urls.to_vec()).map(one).buffered(AT_ONCE).collect().await
    }

    /// The names of all packages in databases as they were read last. Nobody is asked; one that was never read has
    /// none.
    pub async fn known_names(&self, urls: impl Iterator<Item = &String>) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for url in urls {
            if let Some(kept) = self.load(url).await {
                names.extend(kept.database.names.iter().cloned());
            }
        }
        names
    }

    async fn patiently(&self, url: &str) -> Result<Arc<LibraryDatabase>, Trouble> {
        let mut tries = 1;
        loop {
            match self.one(url).await {
                Err(trouble) if trouble.may_pass && tries < TRIES => tries += 1,
                other => return other,
            }
        }
    }

    async fn one(&self, url: &str) -> Result<Arc<LibraryDatabase>, Trouble> {
        let kept = self.load(url).await;
        if let Some(path) = url.strip_prefix("file://") {
            return self.local(url, Path::new(path), kept).await;
        }
        let deadline = Instant::now() + LONGEST;
        let response = self.ask(url, kept.as_ref().map(|kept| &kept.validators), deadline).await?;
        match (response.status(), kept) {
            (StatusCode::NOT_MODIFIED, Some(kept)) => return Ok(kept.database),
            (StatusCode::OK, _) => {}
            (status, _) => {
                return Err(Trouble { message: format!("it answers {status}"), may_pass: status.is_server_error() });
            }
        }
        let validators = Validators::of(response.headers());
        let packed = self.download(response, deadline).await?;
        self.take_in(url, validators, packed).await
    }

    async fn ask(&self, url: &str, known: Option<&Validators>, deadline: Instant) -> Result<Response, Trouble> {
        let mut request = http::client(LONGEST).get(url);
        if let Some(etag) = known.and_then(|known| known.etag.as_deref()) {
            request = request.header(IF_NONE_MATCH, etag);
        }
        if let Some(date) = known.and_then(|known| known.last_modified.as_deref()) {
            request = request.header(IF_MODIFIED_SINCE, date);
        }
        self.within(deadline, request.send()).await?.map_err(unreachable)
    }

    /// Writes the body into a file that has no name, as it comes.
    async fn download(&self, mut response: Response, deadline: Instant) -> Result<std::fs::File, Trouble> {
        let too_large = || Trouble::lasting(format!("it is larger than {} MiB", MOST_PACKED >> 20));
        if response.content_length().is_some_and(|length| length > MOST_PACKED) {
            return Err(too_large());
        }
        let no_file = |error: std::io::Error| Trouble::lasting(format!("there is no room for it: {error}"));
        let mut file = tempfile::tempfile().map_err(no_file)?;
        let mut left = MOST_PACKED;
        while let Some(piece) = self.within(deadline, response.chunk()).await?.map_err(unreachable)? {
            left = left.checked_sub(piece.len() as u64).ok_or_else(too_large)?;
            file.write_all(&piece).map_err(no_file)?;
        }
        std::io::Seek::rewind(&mut file).map_err(no_file)?;
        Ok(file)
    }

    async fn local(&self, url: &str, path: &Path, kept: Option<Kept>) -> Result<Arc<LibraryDatabase>, Trouble> {
        let opened = std::fs::File::open(path).and_then(|file| Ok((file.metadata()?, file)));
        let (facts, file) = opened.map_err(|error| Trouble::lasting(error.to_string()))?;
        let modified = facts.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let etag = format!("{} {}", facts.len(), modified.unwrap_or_default().as_nanos());
        let validators = Validators { etag: Some(etag), last_modified: None };
        match kept.filter(|kept| kept.validators == validators) {
            Some(kept) => Ok(kept.database),
            None if facts.len() > MOST_PACKED => Err(Trouble::lasting("it is too large")),
            None => self.take_in(url, validators, file).await,
        }
    }

    /// Reads what came, and keeps what is needed of it. Losing that costs a download, so trouble with it is only
    /// logged.
    async fn take_in(
        &self,
        url: &str,
        validators: Validators,
        packed: std::fs::File,
    ) -> Result<Arc<LibraryDatabase>, Trouble> {
        let (path, url) = (self.path(url), url.to_owned());
        let work = move || {
            let database = read(packed, ReadLimits::default())?;
            let kept = Kept { format: FORMAT, url, validators, database: Arc::new(database) };
            let saved = serde_json::to_vec(&kept).map(|bytes| write_atomic(&path, &bytes));
            if let Ok(Err(error)) = saved {
                tracing::warn!(path = %path.display(), error = &error as &dyn std::error::Error, "cannot keep a library database");
            }
            Ok(kept.database)
        };
        let taken = tokio::task::spawn_blocking(work).await.expect("reading a database does not panic");
        taken.map_err(|error: read::ReadError| Trouble::lasting(error_text(&error)))
    }

    async fn load(&self, url: &str) -> Option<Kept> {
        let bytes = tokio::fs::read(self.path(url)).await.ok()?;
        let kept = tokio::task::spawn_blocking(move || serde_json::from_slice::<Kept>(&bytes).ok()).await.ok()??;
        (kept.format == FORMAT && kept.url == url).then_some(kept)
    }

    fn path(&self, url: &str) -> PathBuf {
        let digest = Sha256::digest(url);
        let name = digest.iter().take(8).fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        self.cache_dir.join("libraries").join(format!("{name}.json"))
    }

    /// One step of the conversation.
    async fn within<T>(&self, deadline: Instant, step: impl Future<Output = T>) -> Result<T, Trouble> {
        let limit = deadline.min(Instant::now() + self.idle);
        let slow = |_| Trouble::lasting(format!("it stood still for {} s", self.idle.as_secs_f64()));
        tokio::time::timeout_at(limit, step).await.map_err(slow)
    }
}

fn unreachable(error: reqwest::Error) -> Trouble {
    let may_pass = !error.is_timeout() && !error.is_redirect();
    Trouble { message: format!("it cannot be reached: {}", error_text(&error.without_url())), may_pass }
}

impl Validators {
    fn of(headers: &HeaderMap) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Self { etag: text(ETAG), last_modified: text(LAST_MODIFIED) }
    }
}

/// The name of a pacman repository, by the address of its database.
#[must_use]
pub fn database_name(url: &str) -> &str {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let file = path.rsplit_once('/').map_or(path, |(_, file)| file);
    [".db", ".files"].into_iter().find_map(|ending| Some(file.rsplit_once(ending)?.0)).unwrap_or(file)
}

/// An address as everybody may see it: without login and query.
fn shown(url: &str) -> String {
    let Ok(mut parsed) = Url::parse(url) else { return url.to_owned() };
    // A URL that cannot have a login has none.
    let _ = parsed.set_username("");
    let _ = parsed.set_password(None);
    parsed.set_query(None);
    parsed.set_fragment(None);
    parsed.to_string()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// What is said of a server that answers every request with these bytes and then keeps the connection open.
    async fn said_of(answer: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("bound");
        let server = tokio::spawn(async move {
            let mut open = Vec::new();
            loop {
                let (mut connection, _) = listener.accept().await.expect("accepted");
                let _ = connection.read(&mut [0; 4096]).await;
                connection.write_all(answer).await.expect("written");
                open.push(connection);
            }
        });
        let cache = tempfile::tempdir().expect("a folder");
        let databases = LibraryDatabases::new(cache.path().to_owned(), Duration::from_millis(300));
        let url = format!("http://somebody:secret@{address}/core.db?token=secret");
        let [consulted] = databases.consult(&[url]).await.try_into().expect("one");
        server.abort();
        assert_eq!(consulted.origin, format!("http://{address}/core.db"));
        consulted.answer.expect_err("unusable").replace(&address.to_string(), "HOST")
    }

    #[tokio::test]
    async fn a_server_that_hangs_or_promises_too_much_is_left_in_bounded_time_and_no_login_is_shown() {
        let mut said = Vec::new();
        for answer in [
            &b""[..],
            b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf",
            b"HTTP/1.1 200 OK\r\ncontent-length: 10737418240\r\n\r\n",
            b"HTTP/1.1 304 Not Modified\r\n\r\n",
            b"HTTP/1.1 302 Found\r\nlocation: file:///etc/passwd\r\ncontent-length: 0\r\n\r\n",
        ] {
            said.push(said_of(answer).await);
        }
        insta::assert_snapshot!(said.join("\n"), @"
        http://HOST/core.db is not known: it stood still for 0.3 s
        http://HOST/core.db is not known: it stood still for 0.3 s
        http://HOST/core.db is not known: it is larger than 512 MiB
        http://HOST/core.db is not known: it answers 304 Not Modified
        http://HOST/core.db is not known: it answers 302 Found
        ");
    }

    #[tokio::test]
    async fn an_address_that_is_none_and_a_file_that_is_away_are_said() {
        let cache = tempfile::tempdir().expect("a folder");
        let databases = LibraryDatabases::new(cache.path().to_owned(), Duration::from_secs(9));
        let urls = ["file:///nonexistent/core.db".to_owned(), "http://".to_owned()];
        for consulted in databases.consult(&urls).await {
            let error = consulted.answer.expect_err("unusable");
            assert!(error.contains("is not known: "), "{error}");
        }
    }
}
