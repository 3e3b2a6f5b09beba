//! Asks for the AUR's metadata dump, and only once for each time it is written: conditional requests,
//! with what was read kept in memory and, beyond a restart, in a file.
//!
//! Not for what stands in it: that is [`super::dump`].

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use reqwest::header::{ETAG, HeaderMap, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use reqwest::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, mpsc};
use tokio::time::Instant;

use super::dump::{self, Dump, DumpError, DumpLimits};
use crate::domain::name::PkgBase;
use crate::source::Patience;
use crate::sys::fs::write_atomic;

/// A longer index, in bytes as it is sent, is not read. The real one has some ten million.
const LARGEST: u64 = 256 << 20;

/// Pieces of the body that may wait to be decompressed.
const PIPE_CAPACITY: usize = 16;

/// An index that could not be had. Nothing is known about any package then.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The server cannot be reached, or the connection broke.
    #[error("cannot reach the AUR index {url}")]
    Unreachable {
        /// What was asked for.
        url: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The server answers with something else than the index.
    #[error("the AUR index {url} answers {status}")]
    Status {
        /// What was asked for.
        url: String,
        /// The answer.
        status: StatusCode,
    },
    /// It takes too long.
    #[error(
        "the AUR index {url} stood still for {} s, or did not arrive within {} s",
        patience.idle.as_secs_f64(), patience.total.as_secs_f64()
    )]
    TooSlow {
        /// What was asked for.
        url: String,
        /// The time it was given.
        patience: Patience,
    },
    /// It says that it is longer than any index.
    #[error("the AUR index {url} claims to be {length} bytes long, and more than {LARGEST} are not read")]
    TooLong {
        /// What was asked for.
        url: String,
        /// The length it claims.
        length: u64,
    },
    /// It arrived and cannot be used.
    #[error("the AUR index {url} is not usable")]
    Unusable {
        /// What was asked for.
        url: String,
        /// Why.
        #[source]
        source: DumpError,
    },
}

/// What a server said about a document, to be sent back when asking again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Validators {
    etag: Option<String>,
    last_modified: Option<String>,
}

/// What was read last.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept {
    url: String,
    validators: Validators,
    /// The packages whose facts were looked for: about others the kept facts say nothing.
    asked: BTreeSet<PkgBase>,
    dump: Arc<Dump>,
}

/// The AUR's metadata dump at some address.
#[derive(Debug)]
pub struct Metadata {
    client: reqwest::Client,
    url: String,
    patience: Patience,
    limits: DumpLimits,
    cache: Option<PathBuf>,
    kept: Mutex<Option<Arc<Kept>>>,
}

impl Metadata {
    /// Reads the dump at `url`, and keeps what was read in the file `cache`.
    pub fn new(client: reqwest::Client, url: String, patience: Patience, cache: Option<PathBuf>) -> Self {
        Self { client, url, patience, limits: DumpLimits::default(), cache, kept: Mutex::new(None) }
    }

    /// What the index says of the wanted packages now. A wanted package that is missing in the facts is not in
    /// the AUR. Nothing is waited for after the `end`.
    pub async fn facts(&self, wanted: &BTreeSet<PkgBase>, end: Instant) -> Result<Arc<Dump>, IndexError> {
        let mut kept = self.kept.lock().await;
        if kept.is_none() {
            *kept = self.load().await;
        }
        let usable = kept.clone().filter(|kept| kept.asked.is_superset(wanted));
        let deadline = end.min(Instant::now() + self.patience.total);
        let response = self.ask(usable.as_ref().map(|kept| &kept.validators), deadline).await?;
        if let Some(usable) = usable
            && response.status() == StatusCode::NOT_MODIFIED
        {
            return Ok(Arc::clone(&usable.dump));
        }
        if response.status() != StatusCode::OK {
            return Err(IndexError::Status { url: self.url.clone(), status: response.status() });
        }
        if let Some(length) = response.content_length().filter(|length| *length > LARGEST) {
            return Err(IndexError::TooLong { url: self.url.clone(), length });
        }
        let validators = Validators::of(response.headers());
        let dump = Arc::new(self.receive(response, wanted, deadline).await?);
        let new = Kept { url: self.url.clone(), validators, asked: wanted.clone(), dump: Arc::clone(&dump) };
        let new = Arc::new(new);
        self.save(Arc::clone(&new)).await;
        *kept = Some(new);
        Ok(dump)
    }

    async fn ask(&self, known: Option<&Validators>, deadline: Instant) -> Result<Response, IndexError> {
        let mut request = self.client.get(&self.url);
        if let Some(etag) = known.and_then(|known| known.etag.as_deref()) {
            request = request.header(IF_NONE_MATCH, etag);
        }
        if let Some(date) = known.and_then(|known| known.last_modified.as_deref()) {
            request = request.header(IF_MODIFIED_SINCE, date);
        }
        let answer = self.within(deadline, request.send()).await?;
        answer.map_err(|source| self.unreachable(source))
    }

    /// Passes the body on, piece by piece, to a thread that decompresses and reads it.
    async fn receive(
        &self,
        mut response: Response,
        wanted: &BTreeSet<PkgBase>,
        deadline: Instant,
    ) -> Result<Dump, IndexError> {
        let (sender, receiver) = mpsc::channel(PIPE_CAPACITY);
        let (wanted, limits) = (wanted.clone(), self.limits);
        let reader = tokio::task::spawn_blocking(move || dump::read(Pipe::new(receiver), &wanted, limits));
        let delivered = loop {
            match self.within(deadline, response.chunk()).await {
                Err(error) => break Err(error),
                Ok(Err(source)) => break Err(self.unreachable(source)),
                Ok(Ok(None)) => break Ok(()),
                Ok(Ok(Some(piece))) => match self.within(deadline, sender.send(Ok(piece))).await {
                    Err(error) => break Err(error),
                    // The reader has given up, and says why.
                    Ok(Err(_)) => break Ok(()),
                    Ok(Ok(())) => {}
                },
            }
        };
        if delivered.is_err() {
            // Whatever is read by now is not the whole; the reader must not take its end for the end.
            let _ = sender.try_send(Err(io::Error::from(io::ErrorKind::UnexpectedEof)));
        }
        drop(sender);
        delivered?;
        let dump = reader.await.expect("reading a dump does not panic");
        dump.map_err(|source| IndexError::Unusable { url: self.url.clone(), source })
    }

    async fn load(&self) -> Option<Arc<Kept>> {
        let text = tokio::fs::read(self.cache.as_ref()?).await.ok()?;
        let kept: Kept = serde_json::from_slice(&text).ok()?;
        (kept.url == self.url).then(|| Arc::new(kept))
    }

    /// Losing the file costs one download, so trouble with it is only logged.
    async fn save(&self, kept: Arc<Kept>) {
        let Some(path) = self.cache.clone() else { return };
        let saved = tokio::task::spawn_blocking(move || {
            let text = serde_json::to_vec(&*kept).expect("plain data");
            if let Err(error) = write_atomic(&path, &text) {
                tracing::warn!(path = %path.display(), error = &error as &dyn std::error::Error, "cannot keep the AUR index");
            }
        });
        saved.await.expect("writing a file does not panic");
    }

    /// One step of the conversation.
    async fn within<T>(&self, deadline: Instant, step: impl Future<Output = T>) -> Result<T, IndexError> {
        let limit = deadline.min(Instant::now() + self.patience.idle);
        let slow = |_| IndexError::TooSlow { url: self.url.clone(), patience: self.patience };
        tokio::time::timeout_at(limit, step).await.map_err(slow)
    }

    fn unreachable(&self, source: reqwest::Error) -> IndexError {
        IndexError::Unreachable { url: self.url.clone(), source: source.without_url() }
    }
}

impl Validators {
    fn of(headers: &HeaderMap) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Self { etag: text(ETAG), last_modified: text(LAST_MODIFIED) }
    }
}

/// The reading end of the pieces.
struct Pipe {
    receiver: mpsc::Receiver<io::Result<bytes::Bytes>>,
    piece: bytes::Bytes,
}

impl Pipe {
    fn new(receiver: mpsc::Receiver<io::Result<bytes::Bytes>>) -> Self {
        Self { receiver, piece: bytes::Bytes::new() }
    }
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.receiver.blocking_recv() {
                Some(piece) => self.piece = piece?,
                None => return Ok(0),
            }
        }
        let count = self.piece.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.piece.split_to(count));
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::source::error_text;
    use crate::source::testing::{Mood, World, name};
    use crate::sys::http;

    /// With whoever answers, however busy the machine is.
    const PATIENCE: Patience = Patience { idle: Duration::from_secs(20), total: Duration::from_secs(20) };
    /// With whoever does not.
    const LITTLE: Patience = Patience { idle: Duration::from_millis(500), ..PATIENCE };

    fn end() -> Instant {
        Instant::now() + PATIENCE.total
    }

    fn metadata(world: &World, patience: Patience) -> Metadata {
        Metadata::new(http::client(PATIENCE.total), world.url("index.json.gz"), patience, None)
    }

    #[tokio::test]
    async fn every_way_of_not_answering_is_told_apart_and_the_next_good_answer_counts() {
        let world = World::start().await;
        world.announce("foo", "1-1", 7);
        let (metadata, hasty) = (metadata(&world, PATIENCE), metadata(&world, LITTLE));
        let wanted = BTreeSet::from([name("foo")]);
        let mut said = Vec::new();
        for mood in [Mood::Status(500), Mood::Status(404), Mood::Status(304), Mood::Page, Mood::Truncated, Mood::Silent]
        {
            world.set_mood(mood);
            let asked = if mood == Mood::Silent { &hasty } else { &metadata };
            let error = asked.facts(&wanted, end()).await.expect_err("no index");
            said.push(error_text(&error).replace(&world.url(""), "URL/"));
        }
        insta::assert_snapshot!(said.join("\n"), @r"
        the AUR index URL/index.json.gz answers 500 Internal Server Error
        the AUR index URL/index.json.gz answers 404 Not Found
        the AUR index URL/index.json.gz answers 304 Not Modified
        the AUR index URL/index.json.gz is not usable: it is not gzip; it begins with `<html>maintenance</html>`
        the AUR index URL/index.json.gz is not usable: it cannot be read: incomplete deflate stream at line 1 column 26
        the AUR index URL/index.json.gz stood still for 0.5 s, or did not arrive within 20 s
        ");
        world.set_mood(Mood::Fine);
        assert_eq!(metadata.facts(&wanted, end()).await.expect("an index").facts["foo"].last_modified, 7);
    }

    #[tokio::test]
    async fn an_index_that_nobody_serves_is_unreachable() {
        // Taken, so that nobody else comes to listen there.
        let taken = tokio::net::TcpSocket::new_v4().expect("a socket");
        taken.bind("127.0.0.1:0".parse().expect("an address")).expect("bound");
        let url = format!("http://{}/index", taken.local_addr().expect("bound"));
        let metadata = Metadata::new(http::client(PATIENCE.total), url, PATIENCE, None);
        let error = metadata.facts(&BTreeSet::from([name("foo")]), end()).await.expect_err("nobody");
        assert!(matches!(error, IndexError::Unreachable { .. }), "{error:?}");
    }

    #[tokio::test]
    async fn a_damaged_file_and_a_file_about_another_address_are_ignored() {
        let world = World::start().await;
        world.announce("foo", "1-1", 7);
        let dir = tempfile::tempdir().expect("dir");
        let cache = dir.path().join("index.json");
        let wanted = BTreeSet::from([name("foo")]);
        let fresh =
            |path: &str| Metadata::new(http::client(PATIENCE.total), world.url(path), PATIENCE, Some(cache.clone()));
        fresh("index.json.gz").facts(&wanted, end()).await.expect("an index");
        world.requests();
        for prepare in
            [|_: &std::path::Path| (), |cache: &std::path::Path| std::fs::write(cache, "{").expect("written")]
        {
            prepare(&cache);
            fresh("other.json.gz").facts(&wanted, end()).await.expect("an index");
            assert_eq!(world.requests(), ["GET index"]);
            fresh("index.json.gz").facts(&wanted, end()).await.expect("an index");
            assert_eq!(world.requests(), ["GET index"]);
        }
    }
}
