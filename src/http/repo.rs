//! The published pacman repositories, read only, so that builders elsewhere can install from them: their files and
//! nothing around them. There is no listing.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io::{self, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path as FilePath, PathBuf};

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    IF_RANGE, LAST_MODIFIED, RANGE,
};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use jiff::fmt::rfc2822::{DateTimeParser, DateTimePrinter};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;

use super::Server;
use super::log::Asked;
use crate::web::fault::Fault;

/// How pages say when something changed.
const DATES: DateTimePrinter = DateTimePrinter::new();
const PARSER: DateTimeParser = DateTimeParser::new();

/// The directories that are served, by repository.
#[derive(Debug, Clone, Default)]
pub struct Published(pub BTreeMap<String, PathBuf>);

/// `GET /repo/{repository}/{file}`
pub async fn file(
    State(server): State<Server>,
    Path((repository, path)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let nothing = || Fault::not_found(format!("nothing of that name is published in `{}`", repository.escape_debug()));
    let dir = server.published().0.get(&repository).ok_or_else(nothing)?.clone();
    let found = tokio::task::spawn_blocking(move || find(&dir, &path)).await.expect("file work does not panic");
    let (file, meta) = found.ok_or_else(nothing)?;
    let opened = Opened { file: tokio::fs::File::from_std(file), meta };
    opened.answer(&headers).await.map_err(|error| {
        tracing::error!(error = &error as &dyn std::error::Error, "a published file cannot be read");
        Fault::new(StatusCode::INTERNAL_SERVER_ERROR, "the file cannot be read")
    })
}

/// The file at a path, if it is one of the repository's own: nothing hidden, and through no link that leads elsewhere.
fn find(dir: &FilePath, path: &str) -> Option<(std::fs::File, Metadata)> {
    let is_plain = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains(['\0', '\\']);
    if !path.split('/').all(is_plain) {
        return None;
    }
    let (root, place) = (dir.canonicalize().ok()?, dir.join(path).canonicalize().ok()?);
    if !place.starts_with(&root) {
        return None;
    }
    // What is neither a file nor a directory could be waited for.
    let flags = nix::fcntl::OFlag::O_NONBLOCK | nix::fcntl::OFlag::O_NOFOLLOW;
    let mut options = std::fs::File::options();
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, flags.bits());
    let file = options.read(true).open(place).ok()?;
    let meta = file.metadata().ok().filter(Metadata::is_file)?;
    Some((file, meta))
}

/// A file that is open, so that it stays the same whatever is published meanwhile.
struct Opened {
    file: tokio::fs::File,
    meta: Metadata,
}

impl Opened {
    fn tag(&self) -> String {
        format!("\"{:x}-{:x}-{:x}\"", self.meta.ino(), self.meta.len(), self.meta.mtime_nsec() ^ self.meta.mtime())
    }

    fn modified(&self) -> Timestamp {
        Timestamp::from_second(self.meta.mtime()).unwrap_or_default()
    }

    async fn answer(mut self, headers: &HeaderMap) -> io::Result<Response> {
        let (tag, length) = (self.tag(), self.meta.len());
        let modified = DATES.timestamp_to_rfc9110_string(&self.modified()).unwrap_or_default();
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let described = [
            (ETAG, tag.clone()),
            (LAST_MODIFIED, modified.clone()),
            (ACCEPT_RANGES, "bytes".to_owned()),
            (CACHE_CONTROL, "no-cache".to_owned()),
            (CONTENT_TYPE, "application/octet-stream".to_owned()),
        ];
        if self.is_known(text(IF_NONE_MATCH), text(IF_MODIFIED_SINCE)) {
            return Ok((StatusCode::NOT_MODIFIED, described).into_response());
        }
        let fits = text(IF_RANGE).is_none_or(|known| known == tag || known == modified);
        let asked = text(RANGE).filter(|_| fits).map_or(Asked::Whole, |range| Asked::parse(range, length));
        let (status, first, count) = match asked {
            Asked::Nowhere => {
                let range = [(CONTENT_RANGE, format!("bytes */{length}"))];
                return Ok((StatusCode::RANGE_NOT_SATISFIABLE, range).into_response());
            }
            Asked::Whole => (StatusCode::OK, 0, length),
            Asked::Part(first, last) => (StatusCode::PARTIAL_CONTENT, first, last - first + 1),
        };
        self.file.seek(SeekFrom::Start(first)).await?;
        let body = Body::from_stream(ReaderStream::new(self.file.take(count)));
        let mut response = (status, described, body).into_response();
        let added = response.headers_mut();
        added.insert(CONTENT_LENGTH, count.into());
        if status == StatusCode::PARTIAL_CONTENT {
            let range = format!("bytes {first}-{}/{length}", first + count - 1);
            added.insert(CONTENT_RANGE, range.parse().expect("digits and signs"));
        }
        Ok(response)
    }

    /// Whether who asks has it as it is.
    fn is_known(&self, tags: Option<&str>, since: Option<&str>) -> bool {
        match (tags, since) {
            (Some(tags), _) => {
                let tag = self.tag();
                tags.split(',').any(|known| known.trim().trim_start_matches("W/") == tag || known.trim() == "*")
            }
            (None, Some(since)) => PARSER.parse_timestamp(since).is_ok_and(|since| self.modified() <= since),
            (None, None) => false,
        }
    }
}
