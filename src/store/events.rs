//! What changed, in order: for pages that follow along.

use jiff::Timestamp;
use rusqlite::{Connection, params};
use serde::Serialize;
use serde_json::Value;

use super::sql::{Millis, some_time};
use super::{Store, StoreError};

/// How many events are kept.
pub const KEPT: u64 = 20_000;

/// Something that changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    /// Its number: later events have higher ones.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// What kind: `run`, `build`, `removal`.
    pub kind: String,
    /// The id of what changed.
    pub subject: String,
    /// What it is now.
    pub payload: Value,
}

impl Store {
    /// The events after the given number, oldest first, at most `limit`.
    pub async fn events_after(&self, seq: u64, limit: u32) -> Result<Vec<Event>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT seq, at, kind, subject, payload FROM events WHERE seq > ? ORDER BY seq LIMIT ?",
            )?;
            let rows = statement.query_map(params![seq.cast_signed(), limit], |row| {
                Ok((
                    row.get::<_, i64>("seq")?,
                    some_time(row, "at")?,
                    row.get("kind")?,
                    row.get("subject")?,
                    row.get::<_, String>("payload")?,
                ))
            })?;
            rows.map(|row| {
                let (seq, at, kind, subject, payload) = row?;
                Ok(Event { seq: seq.cast_unsigned(), at, kind, subject, payload: serde_json::from_str(&payload)? })
            })
            .collect()
        })
        .await
    }

    /// Forgets all but so many of the newest events; subscribers that are further behind start over.
    pub async fn prune_events(&self, kept: u64) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.execute("DELETE FROM events WHERE seq <= ?", [(last(tx)?.saturating_sub(kept)).cast_signed()])?;
            Ok(())
        })
        .await
    }
}

/// The number of the last event.
pub(super) fn last(connection: &Connection) -> rusqlite::Result<u64> {
    let mut statement = connection.prepare_cached("SELECT coalesce(max(seq), 0) FROM events")?;
    statement.query_row([], |row| row.get::<_, i64>(0)).map(i64::cast_unsigned)
}

/// Writes an event down.
pub(super) fn note(
    connection: &Connection,
    at: Timestamp,
    kind: &str,
    subject: &str,
    payload: &Value,
) -> rusqlite::Result<()> {
    let mut statement =
        connection.prepare_cached("INSERT INTO events (at, kind, subject, payload) VALUES (?, ?, ?, ?)")?;
    statement.execute(params![Millis(at), kind, subject, payload.to_string()])?;
    Ok(())
}
