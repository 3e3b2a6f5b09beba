//! `GET /api/v1/builds/{id}/log`: the bytes of a log, whole, in part, or as they come.

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH, IF_RANGE, RANGE,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::stream;

use super::Server;
use super::follow::{Follower, Wanted, find, unreadable};
use crate::logstore::{LogPosition, LogStore};
use crate::web::fault::Fault;

/// What logs are.
pub const PLAIN: &str = "text/plain; charset=utf-8";

/// What part of a log is wanted.
#[derive(Debug, Default, serde::Deserialize)]
pub struct LogQuery {
    follow: Option<String>,
    #[serde(default)]
    offset: u64,
    attempt: Option<String>,
}

impl LogQuery {
    fn follows(&self) -> bool {
        self.follow.as_deref().is_some_and(|value| value != "0")
    }
}

/// The handler.
pub async fn log(
    State(server): State<Server>,
    Path(id): Path<String>,
    Query(query): Query<LogQuery>,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let wanted = find(server.face(), &id, query.attempt.as_deref(), query.follows(), server.stop()).await?;
    let logs = server.face().logs();
    match wanted {
        Wanted::None => whole(None, LogPosition { len: 0, final_len: None }, Body::empty()),
        Wanted::Attempt(attempt) if query.follows() => growing(&server, &attempt, query.offset),
        Wanted::Attempt(attempt) => {
            let position = logs.position(&attempt).map_err(|error| unreadable(&error))?;
            part(logs, &attempt, position, query.offset, &headers)
        }
    }
}

/// The log as it comes, from an offset to its end.
pub fn growing(server: &Server, attempt: &str, offset: u64) -> Result<Response, Fault> {
    let logs = server.face().logs();
    let position = logs.position(attempt).map_err(|error| unreadable(&error))?;
    if position.final_len.is_some_and(|end| offset > end) {
        return Ok(not_satisfiable(position));
    }
    let follower = Follower::new(logs, attempt, offset, server.stop().clone()).map_err(|error| unreadable(&error))?;
    let body = Body::from_stream(stream::unfold(follower, async |mut follower| {
        follower.next().await.map(|bytes| (bytes, follower))
    }));
    Ok(([(CONTENT_TYPE, PLAIN), (CACHE_CONTROL, "no-cache")], body).into_response())
}

/// What is there now: all of it, or the range that is asked for.
fn part(
    logs: &LogStore,
    attempt: &str,
    position: LogPosition,
    offset: u64,
    headers: &HeaderMap,
) -> Result<Response, Fault> {
    let tag = position.final_len.map(|len| format!("\"{attempt}-{len}\""));
    if let (Some(tag), Some(known)) = (&tag, text(headers, &IF_NONE_MATCH))
        && known.split(',').any(|known| known.trim().trim_start_matches("W/") == tag || known.trim() == "*")
    {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, tag.clone())]).into_response());
    }
    let range = text(headers, &RANGE)
        .filter(|_| text(headers, &IF_RANGE).is_none_or(|condition| Some(condition) == tag.as_deref()))
        .map_or(Asked::Whole, |range| Asked::parse(range, position.len));
    match range {
        Asked::Whole if offset > position.len => Ok(not_satisfiable(position)),
        Asked::Whole => {
            let rest = LogPosition { len: position.len - offset, ..position };
            whole(tag, rest, stretch(logs, attempt, offset, position.len))
        }
        Asked::Nowhere => Ok(not_satisfiable(position)),
        Asked::Part(first, last) => {
            let total = position.final_len.map_or_else(|| "*".to_owned(), |len| len.to_string());
            let mut response =
                whole(tag, LogPosition { len: last - first + 1, ..position }, stretch(logs, attempt, first, last + 1))?;
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let content_range = format!("bytes {first}-{last}/{total}");
            response.headers_mut().insert(CONTENT_RANGE, content_range.parse().expect("digits and signs"));
            Ok(response)
        }
    }
}

fn whole(tag: Option<String>, position: LogPosition, body: Body) -> Result<Response, Fault> {
    // While it grows, what was read must not be taken for the whole.
    let cache = if tag.is_some() { "private, max-age=3600" } else { "no-cache" };
    let mut response =
        ([(CONTENT_TYPE, PLAIN), (ACCEPT_RANGES, "bytes"), (CACHE_CONTROL, cache)], body).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(position.len));
    if let Some(tag) = tag {
        let tag =
            tag.parse().map_err(|_| Fault::new(StatusCode::INTERNAL_SERVER_ERROR, "the log has no plain name"))?;
        headers.insert(ETAG, tag);
    }
    Ok(response)
}

fn not_satisfiable(position: LogPosition) -> Response {
    (StatusCode::RANGE_NOT_SATISFIABLE, [(CONTENT_RANGE, format!("bytes */{}", position.len))]).into_response()
}

/// The bytes between two offsets, read as they are sent.
fn stretch(logs: &LogStore, attempt: &str, from: u64, until: u64) -> Body {
    let (logs, attempt) = (logs.clone(), attempt.to_owned());
    Body::from_stream(stream::unfold(from, move |offset| {
        let read = (offset < until).then(|| {
            let wanted = usize::try_from(until - offset).unwrap_or(usize::MAX).min(64 * 1024);
            logs.read(&attempt, offset, wanted)
        });
        async move {
            match read? {
                Ok(bytes) if bytes.is_empty() => None,
                Ok(bytes) => Some((Ok(bytes.clone()), offset + bytes.len() as u64)),
                Err(error) => Some((Err(error), until)),
            }
        }
    }))
}

fn text<'a>(headers: &'a HeaderMap, name: &axum::http::HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// What a `Range` header asks for of so many bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Everything: there is no range, or one that is not understood, which counts as none.
    Whole,
    /// First and last byte.
    Part(u64, u64),
    /// Bytes that are not there.
    Nowhere,
}

impl Asked {
    /// Reads the header.
    pub fn parse(header: &str, len: u64) -> Self {
        let Some(range) = header.strip_prefix("bytes=").map(str::trim).filter(|range| !range.contains(',')) else {
            return Self::Whole;
        };
        let Some((first, last)) = range.split_once('-') else {
            return Self::Whole;
        };
        let number = |text: &str| {
            text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().unwrap_or(u64::MAX))
        };
        match (first.is_empty(), last.is_empty(), number(first), number(last)) {
            (true, true, ..) | (_, _, None, _) | (_, _, _, None) => Self::Whole,
            (true, false, _, Some(0)) => Self::Nowhere,
            (true, false, _, Some(_)) if len == 0 => Self::Nowhere,
            (true, false, _, Some(suffix)) => Self::Part(len.saturating_sub(suffix), len - 1),
            (false, _, Some(first), _) if first >= len => Self::Nowhere,
            (false, true, Some(first), _) => Self::Part(first, len - 1),
            (false, false, Some(first), Some(last)) if last >= first => Self::Part(first, last.min(len - 1)),
            (false, false, ..) => Self::Whole,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_standard_says() {
        let ask = |range| Asked::parse(range, 10);
        assert_eq!(ask("bytes=0-3"), Asked::Part(0, 3));
        assert_eq!(ask("bytes=4-"), Asked::Part(4, 9));
        assert_eq!(ask("bytes=-3"), Asked::Part(7, 9));
        assert_eq!(ask("bytes=-30"), Asked::Part(0, 9));
        assert_eq!(ask("bytes=9-99999999999999999999999"), Asked::Part(9, 9));
        assert_eq!(ask("bytes=10-"), Asked::Nowhere);
        assert_eq!(ask("bytes=99999999999999999999999-"), Asked::Nowhere);
        assert_eq!(ask("bytes=-0"), Asked::Nowhere);
        for ignored in ["bytes=3-1", "bytes=a-b", "bytes=-", "lines=0-1", "bytes=0-1,4-5", "bytes=+1-2", "x"] {
            assert_eq!(ask(ignored), Asked::Whole, "{ignored}");
        }
        assert_eq!(Asked::parse("bytes=0-", 0), Asked::Nowhere);
        assert_eq!(Asked::parse("bytes=-5", 0), Asked::Nowhere);
    }
}
