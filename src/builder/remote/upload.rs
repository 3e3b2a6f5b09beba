//! Brings what was built, in parts: what arrived is not sent again, whoever of the two was away meanwhile.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use reqwest::header::CONTENT_RANGE;
use reqwest::{Method, StatusCode};

use super::{Came, Client, RemoteError, Rest, number, refused, retry_after};
use crate::builder::artefact::Artefact;
use crate::domain::upload::{ArtefactClaim, Checksum};
use crate::sys::fs::FsError;

/// How much is sent, and in memory, at once: 8 MiB.
const PART: u64 = 8 << 20;
/// How often a file that arrived with another checksum is sent again.
const SPOILED: usize = 3;
const UPLOAD_OFFSET: &str = "upload-offset";
const REPR_DIGEST: &str = "repr-digest";

/// What to do next about a file.
enum Next {
    /// To send on from here.
    From(u64),
    /// It did not go on; to ask again where to.
    Unclear(Option<std::time::Duration>),
    /// It arrived with another checksum.
    Spoiled,
    Done,
}

impl Client {
    /// Brings a package, and says what is to be told of it at the end.
    ///
    /// # Errors
    /// [`RemoteError::Over`] or [`RemoteError::Refused`]; an absent controller is waited for.
    pub async fn bring(&self, artefact: &Artefact) -> Result<ArtefactClaim, RemoteError> {
        let failed = |error| FsError::new("read", &artefact.path, error);
        let file = Arc::new(File::open(&artefact.path).map_err(failed)?);
        let invalid = || failed(std::io::Error::other("its checksum is none"));
        let checksum = Checksum::from_hex(&artefact.sha256).ok_or_else(invalid)?;
        let sending = Sending { client: self, artefact, file, checksum };
        sending.to_the_end().await?;
        let (name, size, sha256) = (artefact.name.clone(), artefact.size, artefact.sha256.clone());
        Ok(ArtefactClaim { name, size, sha256 })
    }
}

struct Sending<'a> {
    client: &'a Client,
    artefact: &'a Artefact,
    file: Arc<File>,
    checksum: Checksum,
}

impl Sending<'_> {
    async fn to_the_end(&self) -> Result<(), RemoteError> {
        let (mut rest, mut spoiled, mut furthest) = (Rest::default(), 0, 0);
        let mut next = self.asked().await?;
        loop {
            next = match next {
                Next::Done => return Ok(()),
                Next::From(offset) => {
                    if offset > furthest {
                        furthest = offset;
                        rest.reset();
                    }
                    self.send(offset).await?
                }
                Next::Unclear(after) => {
                    rest.take(after).await;
                    self.asked().await?
                }
                Next::Spoiled if spoiled < SPOILED => {
                    spoiled += 1;
                    rest.take(None).await;
                    Next::From(0)
                }
                Next::Spoiled => {
                    let detail = "it arrived with another checksum each time".to_owned();
                    return Err(RemoteError::Refused { what: self.artefact.name.clone(), detail });
                }
            };
        }
    }

    fn url(&self) -> String {
        format!("{}/{}", self.client.places.artefacts, escaped(&self.artefact.name))
    }

    /// Where the controller wants it to go on.
    async fn asked(&self) -> Result<Next, RemoteError> {
        let answer = match self.client.ask(self.client.request(Method::HEAD, &self.url())).await {
            Came::Nothing(after) => return Ok(Next::Unclear(after)),
            Came::Answer(answer) => answer,
        };
        match answer.status() {
            StatusCode::OK => Ok(Next::From(number(answer.headers(), UPLOAD_OFFSET).unwrap_or(0))),
            StatusCode::NOT_FOUND => Ok(Next::From(0)),
            _ => Err(refused(&self.artefact.name, answer).await),
        }
    }

    async fn send(&self, offset: u64) -> Result<Next, RemoteError> {
        let size = self.artefact.size;
        let part = self.read(offset, PART.min(size.saturating_sub(offset))).await?;
        let end = offset + part.len() as u64;
        let mut request = self.client.request(Method::PUT, &self.url()).header(REPR_DIGEST, self.checksum.to_header());
        if !part.is_empty() {
            request = request.header(CONTENT_RANGE, format!("bytes {offset}-{}/{size}", end - 1));
        }
        let answer = match self.client.ask(request.body(part)).await {
            Came::Nothing(after) => return Ok(Next::Unclear(after)),
            Came::Answer(answer) => answer,
        };
        let at = number(answer.headers(), UPLOAD_OFFSET);
        match (answer.status(), at) {
            (StatusCode::OK | StatusCode::CREATED, _) => Ok(Next::Done),
            (StatusCode::ACCEPTED, at) => Ok(Next::From(at.unwrap_or(end))),
            (StatusCode::CONFLICT, Some(at)) if at != offset => Ok(Next::From(at)),
            (StatusCode::CONFLICT, None) if retry_after(answer.headers()).is_none() => {
                Err(refused(&self.artefact.name, answer).await)
            }
            (StatusCode::CONFLICT, _) => Ok(Next::Unclear(None)),
            (StatusCode::UNPROCESSABLE_ENTITY, _) => Ok(Next::Spoiled),
            _ => Err(refused(&self.artefact.name, answer).await),
        }
    }

    async fn read(&self, offset: u64, length: u64) -> Result<Vec<u8>, FsError> {
        let (file, path) = (Arc::clone(&self.file), self.artefact.path.clone());
        let read = move || {
            let mut part = vec![0; usize::try_from(length).expect("a part fits into memory")];
            file.read_exact_at(&mut part, offset).map(|()| part)
        };
        let part = tokio::task::spawn_blocking(read).await.expect("file work does not panic");
        part.map_err(|error| FsError::new("read", &path, error))
    }
}

/// A name as a part of an address.
fn escaped(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    name.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
