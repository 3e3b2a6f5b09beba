//! Small answers of others that may be asked for again: validators of conditional requests and the like.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};

use super::sql::Millis;
use super::{Store, StoreError};

impl Store {
    /// The value kept under a key.
    pub async fn cached(&self, key: &str) -> Result<Option<String>, StoreError> {
        let key = key.to_owned();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached("SELECT value FROM cache WHERE key = ?")?;
            Ok(statement.query_row([key], |row| row.get(0)).optional()?)
        })
        .await
    }

    /// Keeps a value under a key, in place of what was there.
    pub async fn cache(&self, key: &str, value: &str, now: Timestamp) -> Result<(), StoreError> {
        let (key, value) = (key.to_owned(), value.to_owned());
        self.write(move |tx| {
            let sql = "INSERT INTO cache (key, value, updated_at) VALUES (?, ?, ?)
                       ON CONFLICT (key) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at";
            tx.prepare_cached(sql)?.execute(params![key, value, Millis(now)])?;
            Ok(())
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::at;
    use super::*;

    #[tokio::test]
    async fn the_last_value_stays() {
        let store = Store::in_memory().unwrap();
        store.cache("etag", "1", at(0)).await.unwrap();
        store.cache("etag", "2", at(1)).await.unwrap();
        assert_eq!(store.cached("etag").await.unwrap().as_deref(), Some("2"));
        assert_eq!(store.cached("other").await.unwrap(), None);
    }
}
