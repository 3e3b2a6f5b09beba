//! What forges have told by themselves: kept before they are told that it was taken, once each, until it was seen to.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, Row, params};

use super::sql::{Millis, some_time};
use super::{Store, StoreError};
use crate::domain::event::{Event, EventKind, Purpose};

/// How long deliveries are remembered that were seen to: what comes again within that time is known.
pub const KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How long those wait that nobody has seen to.
pub const KEPT_OPEN: SignedDuration = SignedDuration::from_hours(30 * 24);

/// A delivery that has just arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDelivery {
    /// The repository it is for.
    pub repository: String,
    /// The forge's id of it.
    pub id: String,
    /// SHA-256 of its body.
    pub digest: [u8; 32],
    /// What it says.
    pub event: Event,
}

/// A delivery of the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The order of arrival: later ones have higher numbers.
    pub number: i64,
    /// The forge's id of it.
    pub id: String,
    /// What it says.
    pub event: Event,
    /// When it arrived.
    pub received_at: Timestamp,
}

impl Store {
    /// Records deliveries, all together or none. For each whether it is new: neither its id nor its content was
    /// delivered before. What nothing has to be done about counts as seen to.
    pub async fn record_deliveries(
        &self,
        deliveries: Vec<NewDelivery>,
        now: Timestamp,
    ) -> Result<Vec<bool>, StoreError> {
        self.write(move |tx| deliveries.iter().map(|delivery| record(tx, delivery, now)).collect()).await
    }

    /// Deliveries of these kinds that nobody has seen to, in the order of arrival.
    pub async fn open_deliveries(
        &self,
        repository: &str,
        kinds: &'static [EventKind],
        limit: u32,
    ) -> Result<Vec<Delivery>, StoreError> {
        let repository = repository.to_owned();
        self.read(move |connection| {
            let mut found = Vec::new();
            let mut statement = connection.prepare_cached(
                "SELECT number, id, event, received_at FROM deliveries
                 WHERE done_at IS NULL AND repository = ? AND kind = ? ORDER BY number LIMIT ?",
            )?;
            for kind in kinds {
                let rows = statement.query_map(params![repository, kind.as_str(), limit], raw)?;
                found.extend(rows.map(|row| parse(row?)).collect::<Result<Vec<_>, _>>()?);
            }
            found.sort_by_key(|delivery| delivery.number);
            found.truncate(limit as usize);
            Ok(found)
        })
        .await
    }

    /// The latest delivery of these kinds that nobody has seen to; `None` if there is none.
    pub async fn last_open_delivery(
        &self,
        repository: &str,
        kinds: &'static [EventKind],
    ) -> Result<Option<i64>, StoreError> {
        let repository = repository.to_owned();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT max(number) FROM deliveries WHERE done_at IS NULL AND repository = ? AND kind = ?",
            )?;
            let mut last = None;
            for kind in kinds {
                last = last.max(statement.query_row(params![repository, kind.as_str()], |row| row.get(0))?);
            }
            Ok(last)
        })
        .await
    }

    /// Marks the deliveries of these kinds as seen to, up to a number and with it.
    pub async fn see_to_deliveries(
        &self,
        repository: &str,
        kinds: &'static [EventKind],
        last: i64,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let repository = repository.to_owned();
        self.write(move |tx| {
            let mut statement = tx.prepare_cached(
                "UPDATE deliveries SET done_at = ?
                 WHERE done_at IS NULL AND repository = ? AND kind = ? AND number <= ?",
            )?;
            for kind in kinds {
                statement.execute(params![Millis(now), repository, kind.as_str(), last])?;
            }
            Ok(())
        })
        .await
    }

    /// Marks single deliveries as seen to.
    pub async fn deliveries_done(&self, numbers: Vec<i64>, now: Timestamp) -> Result<(), StoreError> {
        self.write(move |tx| {
            let mut statement =
                tx.prepare_cached("UPDATE deliveries SET done_at = ? WHERE done_at IS NULL AND number = ?")?;
            for number in numbers {
                statement.execute(params![Millis(now), number])?;
            }
            Ok(())
        })
        .await
    }

    /// Forgets deliveries that are older than [`KEPT`], or [`KEPT_OPEN`] if nobody has seen to them. Returns how many.
    pub async fn forget_deliveries(&self, now: Timestamp) -> Result<usize, StoreError> {
        self.write(move |tx| {
            let sql = "DELETE FROM deliveries WHERE received_at < ? AND (done_at IS NOT NULL OR received_at < ?)";
            Ok(tx.prepare_cached(sql)?.execute(params![Millis(now - KEPT), Millis(now - KEPT_OPEN)])?)
        })
        .await
    }
}

fn record(tx: &Connection, delivery: &NewDelivery, now: Timestamp) -> Result<bool, StoreError> {
    let mut statement = tx.prepare_cached(
        "INSERT INTO deliveries (repository, id, digest, kind, event, received_at, done_at)
         VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
    )?;
    let done = (delivery.event.purpose() == Purpose::Nothing).then_some(Millis(now));
    let (kind, event) = (delivery.event.kind().as_str(), serde_json::to_string(&delivery.event)?);
    let row = params![delivery.repository, delivery.id, delivery.digest, kind, event, Millis(now), done];
    Ok(statement.execute(row)? == 1)
}

type Raw = (i64, String, String, Timestamp);

fn raw(row: &Row<'_>) -> rusqlite::Result<Raw> {
    Ok((row.get("number")?, row.get("id")?, row.get("event")?, some_time(row, "received_at")?))
}

fn parse((number, id, event, received_at): Raw) -> Result<Delivery, StoreError> {
    Ok(Delivery { number, id, event: serde_json::from_str(&event)?, received_at })
}

#[cfg(test)]
mod tests {
    use super::super::testing::at;
    use super::*;
    use crate::domain::event::{Comment, CommentAction, Push};

    const COMMENTS: &[EventKind] = &[EventKind::Comment];
    const WAKING: &[EventKind] = &EventKind::WAKING;

    fn delivery(id: &str, content: u8, event: Event) -> NewDelivery {
        NewDelivery { repository: "repo".into(), id: id.into(), digest: [content; 32], event }
    }

    fn push() -> Event {
        Event::Push(Push { name: "refs/heads/main".into(), before: None, after: None })
    }

    fn comment(id: u64) -> Event {
        let (author, text) = ("alice".into(), "/pkgwarden hold".into());
        Event::Comment(Comment { number: 1, on_review: true, id, action: CommentAction::Created, author, text })
    }

    #[tokio::test]
    async fn what_comes_twice_by_id_or_by_content_is_there_once() {
        let store = Store::in_memory().unwrap();
        let three = vec![delivery("a", 1, push()), delivery("a", 2, push()), delivery("b", 1, push())];
        assert_eq!(store.record_deliveries(three, at(0)).await.unwrap(), [true, false, false]);
        let elsewhere = NewDelivery { repository: "other".into(), ..delivery("a", 1, push()) };
        let more = vec![elsewhere, delivery("c", 3, push())];
        assert_eq!(store.record_deliveries(more, at(1)).await.unwrap(), [true, true]);
        let open = store.open_deliveries("repo", WAKING, 9).await.unwrap();
        assert_eq!(
            open.iter().map(|it| (it.id.as_str(), it.received_at)).collect::<Vec<_>>(),
            [("a", at(0)), ("c", at(1))]
        );
    }

    #[tokio::test]
    async fn what_arrives_while_others_are_seen_to_stays_open() {
        let store = Store::in_memory().unwrap();
        store.record_deliveries(vec![delivery("a", 1, push()), delivery("b", 2, comment(7))], at(0)).await.unwrap();
        let last = store.last_open_delivery("repo", WAKING).await.unwrap().unwrap();
        store.record_deliveries(vec![delivery("c", 3, push())], at(1)).await.unwrap();
        store.see_to_deliveries("repo", WAKING, last, at(2)).await.unwrap();
        let ids = |open: Vec<Delivery>| open.into_iter().map(|delivery| delivery.id).collect::<Vec<_>>();
        assert_eq!(ids(store.open_deliveries("repo", WAKING, 9).await.unwrap()), ["c"]);
        let comments = store.open_deliveries("repo", COMMENTS, 9).await.unwrap();
        assert_eq!(comments[0].event, comment(7));
        store.deliveries_done(vec![comments[0].number], at(3)).await.unwrap();
        assert_eq!(store.last_open_delivery("repo", COMMENTS).await.unwrap(), None);
    }

    #[tokio::test]
    async fn what_nothing_has_to_be_done_about_is_remembered_and_not_open() {
        let store = Store::in_memory().unwrap();
        assert_eq!(store.record_deliveries(vec![delivery("a", 1, Event::Ping)], at(0)).await.unwrap(), [true]);
        assert_eq!(store.open_deliveries("repo", &[EventKind::Ping], 9).await.unwrap(), []);
        assert_eq!(store.record_deliveries(vec![delivery("a", 1, Event::Ping)], at(0)).await.unwrap(), [false]);
    }

    #[tokio::test]
    async fn old_deliveries_go_and_those_that_wait_go_later() {
        let store = Store::in_memory().unwrap();
        let two = vec![delivery("done", 1, Event::Ping), delivery("open", 2, comment(1))];
        store.record_deliveries(two, at(0)).await.unwrap();
        assert_eq!(store.forget_deliveries(at(0) + KEPT).await.unwrap(), 0);
        assert_eq!(store.forget_deliveries(at(1) + KEPT).await.unwrap(), 1);
        assert_eq!(store.open_deliveries("repo", COMMENTS, 9).await.unwrap().len(), 1);
        assert_eq!(store.forget_deliveries(at(1) + KEPT_OPEN).await.unwrap(), 1);
    }
}
