//! The index: which archive is found by which key, how often sets were invalidated, and what builds did.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, TransactionBehavior, params};

use super::archive::Content;
use super::{Action, Entry, Place, Use, Wanted};
use crate::domain::cache::SetName;
use crate::domain::cache::retention::Held;

/// How long to wait for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// So many lines of what builds did are kept.
const USES: i64 = 200_000;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS archive (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    repository TEXT NOT NULL, pkgbase TEXT NOT NULL, name TEXT NOT NULL, class TEXT NOT NULL,
    key TEXT NOT NULL, sha256 TEXT NOT NULL, size INTEGER NOT NULL, members INTEGER NOT NULL, bytes INTEGER NOT NULL,
    origin TEXT NOT NULL, created INTEGER NOT NULL, last_used INTEGER NOT NULL,
    scope TEXT NOT NULL, kind TEXT,
    UNIQUE (class, key)
);
CREATE INDEX IF NOT EXISTS archive_scope ON archive (class, scope, created);
CREATE TABLE IF NOT EXISTS epoch (
    name TEXT NOT NULL, repository TEXT NOT NULL, pkgbase TEXT NOT NULL, number INTEGER NOT NULL,
    PRIMARY KEY (name, repository, pkgbase)
);
CREATE TABLE IF NOT EXISTS used (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    attempt TEXT NOT NULL, action TEXT NOT NULL, at INTEGER NOT NULL, archive INTEGER NOT NULL,
    repository TEXT NOT NULL, pkgbase TEXT NOT NULL, name TEXT NOT NULL, class TEXT NOT NULL,
    key TEXT NOT NULL, sha256 TEXT NOT NULL, size INTEGER NOT NULL, members INTEGER NOT NULL, bytes INTEGER NOT NULL,
    origin TEXT NOT NULL, created INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS used_attempt ON used (attempt);
";

const COLUMNS: &str = "repository, pkgbase, name, class, key, sha256, size, members, bytes, origin, created";

type Sql<T> = rusqlite::Result<T>;

/// Opens the index in a directory.
pub fn open(dir: &Path) -> Sql<Connection> {
    let connection = Connection::open(dir.join("index.sqlite"))?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.execute_batch(SCHEMA)?;
    Ok(connection)
}

/// A transaction that nobody else writes beside.
pub fn begin(connection: &mut Connection) -> Sql<Transaction<'_>> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate)
}

/// How often a set was invalidated: by itself, with all of its repository, and with all there are.
pub fn epoch(connection: &Connection, place: &Place) -> Sql<u64> {
    let sum: i64 = connection.query_row(
        "SELECT COALESCE(SUM(number), 0) FROM epoch
         WHERE name = ?1 AND repository IN ('', ?2) AND pkgbase IN ('', ?3)",
        params![place.set.as_str(), place.repository, place.pkgbase],
        |row| row.get(0),
    )?;
    Ok(u64::try_from(sum).unwrap_or_default())
}

/// Counts an invalidation.
pub fn raise_epoch(
    transaction: &Transaction<'_>,
    set: &SetName,
    repository: Option<&str>,
    pkgbase: Option<&str>,
) -> Sql<()> {
    transaction.execute(
        "INSERT INTO epoch (name, repository, pkgbase, number) VALUES (?1, ?2, ?3, 1)
         ON CONFLICT DO UPDATE SET number = number + 1",
        params![set.as_str(), repository.unwrap_or_default(), pkgbase.unwrap_or_default()],
    )?;
    Ok(())
}

/// Removes the archives of a set.
pub fn remove_set(
    transaction: &Transaction<'_>,
    set: &SetName,
    repository: Option<&str>,
    pkgbase: Option<&str>,
) -> Sql<usize> {
    transaction.execute(
        "DELETE FROM archive WHERE name = ?1 AND (?2 IS NULL OR repository = ?2) AND (?3 IS NULL OR pkgbase = ?3)",
        params![set.as_str(), repository, pkgbase],
    )
}

/// The archive that serves best: by its key, else the newest of its kind; of each, what the build's own kind wrote first.
pub fn choose(transaction: &Transaction<'_>, wanted: &Wanted) -> Sql<Option<Entry>> {
    let exact = format!("SELECT id, {COLUMNS}, last_used FROM archive WHERE class = ?1 AND key = ?2");
    let newest = format!(
        "SELECT id, {COLUMNS}, last_used FROM archive WHERE class = ?1 AND scope = ?2 ORDER BY created DESC, id DESC LIMIT 1"
    );
    let by_key = wanted.class.reads().into_iter().map(|class| (class, &exact, &wanted.key.exact));
    let by_scope = wanted.class.reads().into_iter().map(|class| (class, &newest, &wanted.key.scope));
    for (class, sql, value) in by_key.chain(by_scope.filter(|_| wanted.renew)) {
        let found = transaction.query_row(sql, params![class.word(), value], entry).optional()?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// Whether an archive would be found by that key where it is to be written.
pub fn is_taken(transaction: &Transaction<'_>, wanted: &Wanted) -> Sql<bool> {
    let sql = "SELECT 1 FROM archive WHERE class = ?1 AND key = ?2";
    transaction.prepare(sql)?.exists(params![wanted.class.writes().word(), wanted.key.exact])
}

/// Enters an archive.
pub fn insert(transaction: &Transaction<'_>, entry: Entry, scope: &str, kind: Option<String>) -> Sql<Entry> {
    let sql = format!(
        "INSERT INTO archive ({COLUMNS}, last_used, scope, kind)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?11, ?12, ?13)"
    );
    transaction.execute(
        &sql,
        params![
            entry.place.repository,
            entry.place.pkgbase,
            entry.place.set.as_str(),
            entry.class,
            entry.key,
            entry.sha256,
            signed(entry.size),
            signed(entry.content.members),
            signed(entry.content.bytes),
            entry.origin,
            entry.created.as_millisecond(),
            scope,
            kind,
        ],
    )?;
    Ok(Entry { id: transaction.last_insert_rowid(), ..entry })
}

/// Notes that an archive was used now.
pub fn touch(transaction: &Transaction<'_>, id: i64, now: Timestamp) -> Sql<()> {
    transaction.execute("UPDATE archive SET last_used = ?2 WHERE id = ?1", params![id, now.as_millisecond()])?;
    Ok(())
}

/// Notes what a build did with an archive.
pub fn note_use(connection: &Connection, attempt: &str, action: Action, entry: &Entry, now: Timestamp) -> Sql<()> {
    let sql = format!(
        "INSERT INTO used (attempt, action, at, archive, {COLUMNS})
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)"
    );
    connection.execute(
        &sql,
        params![
            attempt,
            action.as_str(),
            now.as_millisecond(),
            entry.id,
            entry.place.repository,
            entry.place.pkgbase,
            entry.place.set.as_str(),
            entry.class,
            entry.key,
            entry.sha256,
            signed(entry.size),
            signed(entry.content.members),
            signed(entry.content.bytes),
            entry.origin,
            entry.created.as_millisecond(),
        ],
    )?;
    Ok(())
}

/// Forgets what an attempt did.
pub fn forget_uses(connection: &Connection, attempt: &str) -> Sql<()> {
    connection.execute("DELETE FROM used WHERE attempt = ?1", [attempt]).map(drop)
}

/// Everything, as far as it matters for what goes first.
pub fn held(transaction: &Transaction<'_>, is_leased: impl Fn(&str) -> bool) -> Sql<Vec<Held>> {
    let mut statement = transaction.prepare("SELECT id, sha256, size, kind, created, last_used FROM archive")?;
    let rows = statement.query_map([], |row| {
        let sha256: String = row.get(1)?;
        Ok(Held {
            id: row.get(0)?,
            in_use: is_leased(&sha256),
            sha256,
            size: unsigned(row, 2)?,
            kind: row.get(3)?,
            created: time(row, 4)?,
            last_used: time(row, 5)?,
        })
    })?;
    rows.collect()
}

/// Removes an archive.
pub fn remove(transaction: &Transaction<'_>, id: i64) -> Sql<()> {
    transaction.execute("DELETE FROM archive WHERE id = ?1", [id]).map(drop)
}

/// Removes all archives with an object.
pub fn remove_object(transaction: &Transaction<'_>, sha256: &str) -> Sql<()> {
    transaction.execute("DELETE FROM archive WHERE sha256 = ?1", [sha256]).map(drop)
}

/// The objects that archives have.
pub fn objects(transaction: &Transaction<'_>) -> Sql<BTreeSet<String>> {
    transaction.prepare("SELECT DISTINCT sha256 FROM archive")?.query_map([], |row| row.get(0))?.collect()
}

/// Forgets what builds did long ago.
pub fn forget_old_uses(transaction: &Transaction<'_>) -> Sql<()> {
    transaction.execute("DELETE FROM used WHERE id <= (SELECT MAX(id) FROM used) - ?1", [USES]).map(drop)
}

/// Every archive, the one used last first.
pub fn list(connection: &Connection) -> Sql<Vec<Entry>> {
    let sql = format!("SELECT id, {COLUMNS}, last_used FROM archive ORDER BY last_used DESC, id DESC");
    connection.prepare(&sql)?.query_map([], entry)?.collect()
}

/// What attempts did, in order.
pub fn uses(connection: &Connection, attempts: &[String]) -> Sql<Vec<Use>> {
    let sql = format!("SELECT archive, {COLUMNS}, at, action FROM used WHERE attempt = ?1 ORDER BY id");
    let mut statement = connection.prepare(&sql)?;
    let mut all = Vec::new();
    for attempt in attempts {
        let rows = statement.query_map([attempt], |row| {
            let action: String = row.get(13)?;
            let action = if action == Action::Used.as_str() { Action::Used } else { Action::Created };
            Ok(Use { attempt: attempt.clone(), action, entry: entry(row)?, kept: false })
        })?;
        for row in rows {
            all.push(row?);
        }
    }
    Ok(all)
}

fn entry(row: &Row<'_>) -> Sql<Entry> {
    let name: String = row.get(3)?;
    let set =
        SetName::new(&name).map_err(|error| rusqlite::Error::FromSqlConversionFailure(3, Type::Text, error.into()))?;
    Ok(Entry {
        id: row.get(0)?,
        place: Place { repository: row.get(1)?, pkgbase: row.get(2)?, set },
        class: row.get(4)?,
        key: row.get(5)?,
        sha256: row.get(6)?,
        size: unsigned(row, 7)?,
        content: Content { members: unsigned(row, 8)?, bytes: unsigned(row, 9)? },
        origin: row.get(10)?,
        created: time(row, 11)?,
        last_used: time(row, 12)?,
    })
}

fn time(row: &Row<'_>, column: usize) -> Sql<Timestamp> {
    let millis = row.get(column)?;
    let wrong = |error: jiff::Error| rusqlite::Error::FromSqlConversionFailure(column, Type::Integer, error.into());
    Timestamp::from_millisecond(millis).map_err(wrong)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(row: &Row<'_>, column: usize) -> Sql<u64> {
    row.get::<_, i64>(column).map(|number| u64::try_from(number).unwrap_or_default())
}
