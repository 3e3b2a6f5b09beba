//! What is remembered of proposals that could not be judged, so that others get their turn. Losing it costs questions.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::name::Oid;
use crate::store::outbox::retry_delay;
use crate::store::{Store, StoreError};

/// What could not be judged, by its number.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rests(BTreeMap<u64, Rest>);

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Rest {
    /// What is pushed in its place is tried at once.
    head: Oid,
    failures: u32,
    until: Timestamp,
}

impl Rests {
    /// Reads what is remembered; what cannot be read is nothing.
    pub(super) async fn read(store: &Store, repository: &str) -> Result<Self, StoreError> {
        let text = store.cached(&key(repository)).await?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
    }

    /// Remembers it.
    pub(super) async fn write(&self, store: &Store, repository: &str, now: Timestamp) -> Result<(), StoreError> {
        let text = serde_json::to_string(self).expect("times and ids are JSON");
        store.cache(&key(repository), &text, now).await
    }

    /// Keeps what is still open at that head.
    pub(super) fn keep(&mut self, open: &BTreeMap<u64, Oid>) {
        self.0.retain(|number, rest| open.get(number) == Some(&rest.head));
    }

    /// It could not be judged.
    pub(super) fn failed(&mut self, number: u64, head: Oid, now: Timestamp) {
        let failures = self.failures(number, head).saturating_add(1);
        let until = now.checked_add(retry_delay(failures)).unwrap_or(Timestamp::MAX);
        self.0.insert(number, Rest { head, failures, until });
    }

    /// How often in a row it could not be judged.
    pub(super) fn failures(&self, number: u64, head: Oid) -> u32 {
        self.0.get(&number).filter(|rest| rest.head == head).map_or(0, |rest| rest.failures)
    }

    /// Whether it is left alone for now.
    pub(super) fn rests(&self, number: u64, head: Oid, now: Timestamp) -> bool {
        self.0.get(&number).is_some_and(|rest| rest.head == head && rest.until > now)
    }
}

fn key(repository: &str) -> String {
    format!("proposals/{repository}")
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[tokio::test]
    async fn what_could_not_be_judged_rests_longer_each_time_until_something_else_is_pushed() {
        let now: Timestamp = "2026-05-01T12:00:00Z".parse().expect("a time");
        let [old, new] = [1, 2].map(|byte| Oid::from_bytes([byte; 20]));
        let mut rests = Rests::default();
        rests.failed(7, old, now);
        rests.failed(7, old, now);
        let store = Store::in_memory().expect("a record");
        rests.write(&store, "r", now).await.expect("written");
        let mut read = Rests::read(&store, "r").await.expect("read");
        assert_eq!(read, rests);
        assert_eq!((read.failures(7, old), read.failures(7, new), read.failures(8, old)), (2, 0, 0));
        let after = |seconds| now + SignedDuration::from_secs(seconds);
        assert_eq!([59, 60].map(|it| read.rests(7, old, after(it))), [true, false]);
        assert!(!read.rests(7, new, now) && !read.rests(8, old, now));
        read.keep(&[(7, new)].into());
        assert_eq!(read, Rests::default());
    }
}
