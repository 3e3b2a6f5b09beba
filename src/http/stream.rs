//! Streams of server-sent events: every state change, and the log of one build as text.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, stream};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::Server;
use super::follow::{Follower, Wanted, find, unreadable};
use super::hub::Heard;
use crate::web::fault::Fault;
use crate::web::log::{LogDecoder, Piece, plain_text};
use crate::web::text::visible;

const KEEP_ALIVE: Duration = Duration::from_secs(15);

fn last_event_id(headers: &HeaderMap) -> Option<&str> {
    headers.get("last-event-id").and_then(|value| value.to_str().ok())
}

fn answer(events: impl Stream<Item = Result<Event, Infallible>> + Send + 'static) -> Response {
    let events = Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    // Proxies must hand events on as they come.
    ([("x-accel-buffering", "no")], events).into_response()
}

fn event(kind: &str, id: impl std::fmt::Display, data: &Value) -> Event {
    Event::default().event(kind).id(id.to_string()).data(data.to_string())
}

struct Listener {
    server: Server,
    news: watch::Receiver<u64>,
    /// Whether it has yet to be told from where it begins.
    new: bool,
    /// The latest number that it says it has heard.
    claimed: Option<u64>,
    heard: u64,
    ready: VecDeque<Event>,
}

impl Listener {
    fn id(&self, number: u64) -> String {
        format!("{}-{number}", self.server.epoch())
    }

    /// Takes what happened since; `false` if nothing has.
    fn collect(&mut self) -> bool {
        match self.server.hub().after(self.heard) {
            Heard::All(changes) => {
                for change in &changes {
                    let id = self.id(change.number);
                    self.ready.push_back(event(change.kind, id, &change.data));
                    self.heard = change.number;
                }
            }
            Heard::Missed(latest) => self.reset(latest),
        }
        !self.ready.is_empty()
    }

    /// Tells the listener to look at everything again.
    fn reset(&mut self, latest: u64) {
        self.heard = latest;
        let id = self.id(latest);
        self.ready.push_back(event("reset", id, &json!({})));
    }

    /// Begins where the listener was, or at the present.
    async fn begin(&mut self) -> Option<()> {
        // Before the first look at the world nobody could say what changes after it.
        let latest = tokio::select! {
            () = self.server.stop().cancelled() => return None,
            latest = self.news.wait_for(|latest| *latest > 0) => *latest.ok()?,
        };
        match self.claimed {
            Some(number) => self.heard = number,
            None => self.reset(latest),
        }
        Some(())
    }

    async fn next(&mut self) -> Option<Event> {
        if std::mem::take(&mut self.new) {
            self.begin().await?;
        }
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            self.news.mark_unchanged();
            if self.collect() {
                continue;
            }
            tokio::select! {
                () = self.server.stop().cancelled() => return None,
                changed = self.news.changed() => changed.ok()?,
            }
        }
    }
}

/// `GET /api/v1/events`. A listener begins with `reset`, unless it goes on after an id it knows.
pub async fn events(State(server): State<Server>, headers: HeaderMap) -> Response {
    let news = server.hub().latest();
    let claimed = last_event_id(&headers)
        .and_then(|id| id.rsplit_once('-'))
        .filter(|(epoch, _)| *epoch == server.epoch())
        .and_then(|(_, number)| number.parse().ok());
    let listener = Listener { server, news, new: true, claimed, heard: 0, ready: VecDeque::new() };
    answer(stream::unfold(listener, async |mut listener| listener.next().await.map(|event| (Ok(event), listener))))
}

/// From where, and how.
#[derive(Debug, serde::Deserialize)]
pub struct LogEventsQuery {
    #[serde(default)]
    offset: u64,
    attempt: Option<String>,
    styled: Option<String>,
}

struct LogListener {
    follower: Option<Follower>,
    decoder: LogDecoder,
    styled: bool,
    attempt: Option<String>,
}

impl LogListener {
    fn log_event(&self, pieces: &[Piece]) -> Event {
        let mut data = json!({ "offset": self.decoder.offset() });
        if self.styled {
            let shown = |piece: &Piece| json!({"style": piece.style, "text": visible(&piece.text)});
            data["pieces"] = pieces.iter().map(shown).collect();
        } else {
            data["text"] = plain_text(pieces).into();
        }
        event("log", self.decoder.offset(), &data)
    }

    /// The next event; after the one that says that the log has ended, none.
    async fn next(&mut self) -> Option<Event> {
        loop {
            let follower = self.follower.as_mut()?;
            match follower.next().await {
                Some(Ok(bytes)) => {
                    let pieces = self.decoder.push(&bytes);
                    if !pieces.is_empty() {
                        return Some(self.log_event(&pieces));
                    }
                }
                Some(Err(error)) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "a log cannot be followed");
                    self.follower = None;
                    return None;
                }
                None if follower.is_stopped() => return None,
                None => {
                    let rest = self.decoder.finish();
                    if !rest.is_empty() {
                        return Some(self.log_event(&rest));
                    }
                    self.follower = None;
                    let data = json!({"offset": self.decoder.offset(), "attempt": self.attempt});
                    return Some(event("end", self.decoder.offset(), &data));
                }
            }
        }
    }
}

/// `GET /api/v1/builds/{id}/events`: ids are byte offsets, and the one that the client knows wins over
/// the query.
pub async fn log_events(
    State(server): State<Server>,
    Path(id): Path<String>,
    Query(query): Query<LogEventsQuery>,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let offset = last_event_id(&headers).and_then(|id| id.parse().ok()).unwrap_or(query.offset);
    let wanted = find(server.face(), &id, query.attempt.as_deref(), true, server.stop()).await?;
    let (follower, attempt) = match wanted {
        Wanted::None => (None, None),
        Wanted::Attempt(attempt) => {
            let logs = server.face().logs();
            let follower = Follower::new(logs, &attempt, offset, server.stop().clone());
            (Some(follower.map_err(|error| unreadable(&error))?), Some(attempt))
        }
    };
    if follower.is_none() {
        let end = event("end", 0, &json!({"offset": 0, "attempt": null}));
        return Ok(answer(stream::iter([Ok(end)])));
    }
    let styled = query.styled.is_some_and(|value| value != "0");
    let listener = LogListener { follower, decoder: LogDecoder::starting_at(offset), styled, attempt };
    Ok(answer(stream::unfold(listener, async |mut listener| listener.next().await.map(|event| (Ok(event), listener)))))
}
