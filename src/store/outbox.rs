//! The outbox: what others have to be told. Entries are tried until they succeed, and told once.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, Row, params};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::sql::{Millis, some_time, time};
use super::{Store, StoreError};

/// Something to tell others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewEntry {
    /// The repository it belongs to.
    pub repository: String,
    /// What kind it is: who handles it.
    pub kind: String,
    /// Its idempotency key: an entry with a key that is there already is not added again.
    pub key: String,
    /// What the handler needs.
    pub payload: Value,
}

/// An entry of the outbox.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its id.
    pub id: i64,
    /// What it says.
    pub entry: NewEntry,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was written.
    pub created_at: Timestamp,
    /// When to try again.
    pub not_before: Option<Timestamp>,
    /// Why the last try failed.
    pub last_error: Option<String>,
}

/// How long to wait after the given number of tries: doubles from half a minute to an hour.
#[must_use]
pub fn retry_delay(attempts: u32) -> SignedDuration {
    SignedDuration::from_secs((30 << attempts.saturating_sub(1).min(10)).min(3600))
}

impl Store {
    /// Adds entries that follow from no push.
    pub async fn outbox_put(&self, entries: Vec<NewEntry>, now: Timestamp) -> Result<(), StoreError> {
        self.write(move |tx| put(tx, &entries, now)).await
    }

    /// Entries that may be tried now, oldest first.
    pub async fn outbox_due(&self, now: Timestamp, limit: u32) -> Result<Vec<Entry>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT * FROM outbox WHERE done_at IS NULL AND coalesce(not_before, 0) <= ? ORDER BY id LIMIT ?",
            )?;
            statement.query_map(params![Millis(now), limit], raw)?.map(|row| parse(row?)).collect()
        })
        .await
    }

    /// Entries of a repository and a kind that have not been told yet, due or not, oldest first.
    pub async fn outbox_open(&self, repository: &str, kind: &str) -> Result<Vec<Entry>, StoreError> {
        let (repository, kind) = (repository.to_owned(), kind.to_owned());
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT * FROM outbox WHERE done_at IS NULL AND repository = ? AND kind = ? ORDER BY id",
            )?;
            statement.query_map(params![repository, kind], raw)?.map(|row| parse(row?)).collect()
        })
        .await
    }

    /// Marks an entry as told.
    pub async fn outbox_done(&self, id: i64, now: Timestamp) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.execute(
                "UPDATE outbox SET done_at = ?, attempts = attempts + 1 WHERE id = ?",
                params![Millis(now), id],
            )?;
            Ok(())
        })
        .await
    }

    /// Notes that a try failed because whoever is told of these has to be left alone: none of them is due before then.
    pub async fn outbox_rest(
        &self,
        repository: &str,
        kind: &str,
        id: i64,
        error: &str,
        until: Timestamp,
    ) -> Result<(), StoreError> {
        let (repository, kind, error) = (repository.to_owned(), kind.to_owned(), error.to_owned());
        self.write(move |tx| {
            let sql = "UPDATE outbox SET attempts = attempts + 1, last_error = ? WHERE id = ?";
            tx.execute(sql, params![error, id])?;
            tx.execute(
                "UPDATE outbox SET not_before = max(coalesce(not_before, 0), ?)
                 WHERE done_at IS NULL AND repository = ? AND kind = ?",
                params![Millis(until), repository, kind],
            )?;
            Ok(())
        })
        .await
    }

    /// Takes an entry out, with its key: it was told and may come again, or never will be told.
    pub async fn outbox_drop(&self, id: i64) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.execute("DELETE FROM outbox WHERE id = ?", [id])?;
            Ok(())
        })
        .await
    }

    /// Notes that a try failed; the entry is due again after [`retry_delay`].
    pub async fn outbox_failed(&self, id: i64, error: &str, now: Timestamp) -> Result<(), StoreError> {
        let error = error.to_owned();
        self.write(move |tx| {
            let attempts: u32 = tx.query_row("SELECT attempts + 1 FROM outbox WHERE id = ?", [id], |row| row.get(0))?;
            tx.execute(
                "UPDATE outbox SET attempts = ?, last_error = ?, not_before = ? WHERE id = ?",
                params![attempts, error, Millis(now + retry_delay(attempts)), id],
            )?;
            Ok(())
        })
        .await
    }
}

fn raw(row: &Row<'_>) -> rusqlite::Result<(Entry, String)> {
    let entry = NewEntry {
        repository: row.get("repository")?,
        kind: row.get("kind")?,
        key: row.get("key")?,
        payload: Value::Null,
    };
    let entry = Entry {
        id: row.get("id")?,
        entry,
        attempts: row.get("attempts")?,
        created_at: some_time(row, "created_at")?,
        not_before: time(row, "not_before")?,
        last_error: row.get("last_error")?,
    };
    Ok((entry, row.get("payload")?))
}

fn parse((entry, payload): (Entry, String)) -> Result<Entry, StoreError> {
    Ok(Entry { entry: NewEntry { payload: serde_json::from_str(&payload)?, ..entry.entry }, ..entry })
}

/// Puts an entry in the place of the one with its key, told or not: what it is about has changed, so whoever is telling
/// the older one must not end this one.
pub(super) fn renew(tx: &Connection, entry: &NewEntry, now: Timestamp) -> Result<(), StoreError> {
    tx.prepare_cached("DELETE FROM outbox WHERE key = ?")?.execute([&entry.key])?;
    put(tx, std::slice::from_ref(entry), now)
}

/// Adds the entries whose keys are new.
pub(super) fn put(tx: &Connection, entries: &[NewEntry], now: Timestamp) -> Result<(), StoreError> {
    let mut statement = tx.prepare_cached(
        "INSERT INTO outbox (repository, kind, key, payload, created_at) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT (key) DO NOTHING",
    )?;
    for entry in entries {
        let payload = entry.payload.to_string();
        statement.execute(params![entry.repository, entry.kind, entry.key, payload, Millis(now)])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::at;
    use super::*;

    fn entry(key: &str) -> NewEntry {
        NewEntry { repository: "repo".into(), kind: "status".into(), key: key.into(), payload: json!({"a": 1}) }
    }

    #[tokio::test]
    async fn an_entry_is_told_once_and_tried_again_when_it_fails() {
        let store = Store::in_memory().unwrap();
        store.outbox_put(vec![entry("a"), entry("a"), entry("b")], at(0)).await.unwrap();
        let due = store.outbox_due(at(0), 9).await.unwrap();
        assert_eq!(due.iter().map(|entry| entry.entry.key.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(due[0].entry.payload, json!({"a": 1}));
        store.outbox_failed(due[0].id, "no answer", at(0)).await.unwrap();
        store.outbox_done(due[1].id, at(0)).await.unwrap();
        assert!(store.outbox_due(at(29), 9).await.unwrap().is_empty());
        let again = store.outbox_due(at(30), 9).await.unwrap();
        assert_eq!((again[0].attempts, again[0].last_error.as_deref()), (1, Some("no answer")));
        assert_eq!(store.outbox_open("repo", "status").await.unwrap(), again);
        assert_eq!(store.outbox_open("other", "status").await.unwrap(), []);
        store.outbox_put(vec![entry("b")], at(31)).await.unwrap();
        assert_eq!(store.outbox_due(at(31), 9).await.unwrap().len(), 1);
    }

    #[test]
    fn the_delay_between_tries_stops_growing_at_an_hour() {
        let delays: Vec<_> = [1, 2, 8, 400].map(|attempts| retry_delay(attempts).as_secs()).to_vec();
        assert_eq!(delays, [30, 60, 3600, 3600]);
    }
}
