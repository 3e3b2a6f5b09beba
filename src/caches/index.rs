//! The index: which archive is found by which key, how often sets were invalidated, and what builds did.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::types::{Type, Value};
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, TransactionBehavior, params, params_from_iter};

use super::archive::Content;
use super::entry::TOLD;
use super::{Action, Entry, Place, Use, Wanted};
use crate::domain::cache::SetName;
use crate::domain::cache::policy::RefClass;
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
-- How often what was saved of a package was condemned, and why it is held now, if it is.
CREATE TABLE IF NOT EXISTS condemned (
    repository TEXT NOT NULL, pkgbase TEXT NOT NULL, number INTEGER NOT NULL, held TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (repository, pkgbase)
);
-- Archives that nobody finds any more, and why.
CREATE TABLE IF NOT EXISTS condemned_archive (id INTEGER PRIMARY KEY, why TEXT NOT NULL);
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

/// How often a set was invalidated: by itself, with all of its repository, with all there are, and with all that its package
/// had saved.
pub fn epoch(connection: &Connection, place: &Place) -> Sql<u64> {
    let sum: i64 = connection.query_row(
        "SELECT COALESCE(SUM(number), 0) FROM epoch
         WHERE name = ?1 AND repository IN ('', ?2) AND pkgbase IN ('', ?3)",
        params![place.set.as_str(), place.repository, place.pkgbase],
        |row| row.get(0),
    )?;
    Ok(u64::try_from(sum).unwrap_or_default() + condemnations(connection, &place.repository, &place.pkgbase)?)
}

/// How often each set of a package was invalidated, of those that were.
pub fn invalidations(connection: &Connection, repository: &str, pkgbase: &str) -> Sql<BTreeMap<SetName, u64>> {
    let mut statement = connection.prepare(
        "SELECT name, SUM(number) FROM epoch WHERE repository IN ('', ?1) AND pkgbase IN ('', ?2) GROUP BY name",
    )?;
    let rows = statement.query_map([repository, pkgbase], |row| Ok((set_name(row, 0)?, unsigned(row, 1)?)))?;
    rows.collect()
}

/// Whether a builder elsewhere has told that it used or saved a set.
pub fn is_told(connection: &Connection, set: &SetName, repository: Option<&str>, pkgbase: Option<&str>) -> Sql<bool> {
    let sql = "SELECT 1 FROM used WHERE archive = ?4 AND name = ?1 AND (?2 IS NULL OR repository = ?2)
               AND (?3 IS NULL OR pkgbase = ?3)";
    connection.prepare(sql)?.exists(params![set.as_str(), repository, pkgbase, TOLD])
}

/// How often what was saved of a package was condemned.
pub fn condemnations(connection: &Connection, repository: &str, pkgbase: &str) -> Sql<u64> {
    let sql = "SELECT number FROM condemned WHERE repository = ?1 AND pkgbase = ?2";
    let number = connection.query_row(sql, [repository, pkgbase], |row| unsigned(row, 0)).optional()?;
    Ok(number.unwrap_or_default())
}

/// Condemns what was saved of a package until now; says how many archives that are.
pub fn condemn(transaction: &Transaction<'_>, repository: &str, pkgbase: &str, why: &str) -> Sql<usize> {
    transaction.execute(
        "INSERT INTO condemned (repository, pkgbase, number) VALUES (?1, ?2, 1) ON CONFLICT DO UPDATE SET number = number + 1",
        [repository, pkgbase],
    )?;
    transaction.execute(
        "INSERT OR IGNORE INTO condemned_archive (id, why) SELECT id, ?3 FROM archive WHERE repository = ?1 AND pkgbase = ?2",
        [repository, pkgbase, why],
    )
}

/// The packages of a repository that were last told to be held, with why.
pub fn holds(connection: &Connection, repository: &str) -> Sql<BTreeMap<String, String>> {
    let mut statement =
        connection.prepare("SELECT pkgbase, held FROM condemned WHERE repository = ?1 AND held <> ''")?;
    statement.query_map([repository], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// Notes why a package that was condemned is held; nothing, if it is not any more.
pub fn set_hold(transaction: &Transaction<'_>, repository: &str, pkgbase: &str, why: &str) -> Sql<()> {
    let sql = "UPDATE condemned SET held = ?3 WHERE repository = ?1 AND pkgbase = ?2";
    transaction.execute(sql, [repository, pkgbase, why]).map(drop)
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
    let trusted = format!(
        "SELECT id, {COLUMNS}, last_used, NULL FROM archive WHERE id NOT IN (SELECT id FROM condemned_archive) AND class = ?1"
    );
    let exact = format!("{trusted} AND key = ?2");
    let newest = format!("{trusted} AND scope = ?2 ORDER BY created DESC, id DESC LIMIT 1");
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

/// What stands in [`COLUMNS`] of an archive.
fn values(entry: &Entry) -> [Value; 11] {
    let Place { repository, pkgbase, set } = entry.place.clone();
    [
        repository.into(),
        pkgbase.into(),
        set.to_string().into(),
        entry.class.clone().into(),
        entry.key.clone().into(),
        entry.sha256.clone().into(),
        signed(entry.size).into(),
        signed(entry.content.members).into(),
        signed(entry.content.bytes).into(),
        entry.origin.clone().into(),
        entry.created.as_millisecond().into(),
    ]
}

/// Enters an archive.
pub fn insert(transaction: &Transaction<'_>, entry: Entry, scope: &str, kind: Option<String>) -> Sql<Entry> {
    let sql = format!(
        "INSERT INTO archive ({COLUMNS}, last_used, scope, kind)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    );
    let more: [Value; 3] = [entry.created.as_millisecond().into(), scope.to_owned().into(), kind.into()];
    transaction.execute(&sql, params_from_iter(values(&entry).into_iter().chain(more)))?;
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
        "INSERT INTO used ({COLUMNS}, attempt, action, at, archive)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    );
    let more: [Value; 4] =
        [attempt.to_owned().into(), action.as_str().to_owned().into(), now.as_millisecond().into(), entry.id.into()];
    connection.execute(&sql, params_from_iter(values(entry).into_iter().chain(more))).map(drop)
}

/// Forgets what an attempt did.
pub fn forget_uses(connection: &Connection, attempt: &str) -> Sql<()> {
    connection.execute("DELETE FROM used WHERE attempt = ?1", [attempt]).map(drop)
}

/// Everything, as far as it matters for what goes first.
pub fn held(transaction: &Transaction<'_>, is_leased: impl Fn(&str) -> bool) -> Sql<Vec<Held>> {
    let mut statement = transaction.prepare(
        "SELECT id, sha256, size, kind, created, last_used, id IN (SELECT id FROM condemned_archive),
                repository || '/' || pkgbase, class FROM archive",
    )?;
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
            condemned: row.get(6)?,
            package: row.get(7)?,
            proposed: row.get::<_, String>(8)? != RefClass::Release.word(),
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

/// The bytes of all objects that archives have.
pub fn size(connection: &Connection) -> Sql<u64> {
    let sql = "SELECT COALESCE(SUM(size), 0) FROM (SELECT DISTINCT sha256, size FROM archive)";
    connection.query_row(sql, [], |row| unsigned(row, 0))
}

/// Forgets what builds did long ago, and why archives were condemned of which nothing is left.
pub fn forget_old_uses(transaction: &Transaction<'_>) -> Sql<()> {
    transaction.execute("DELETE FROM used WHERE id <= (SELECT MAX(id) FROM used) - ?1", [USES])?;
    let sql = "DELETE FROM condemned_archive
               WHERE id NOT IN (SELECT id FROM archive) AND id NOT IN (SELECT archive FROM used)";
    transaction.execute(sql, []).map(drop)
}

/// Every archive, the one used last first.
pub fn list(connection: &Connection) -> Sql<Vec<Entry>> {
    let sql = format!(
        "SELECT id, {COLUMNS}, last_used, (SELECT why FROM condemned_archive WHERE id = archive.id) FROM archive
         ORDER BY last_used DESC, id DESC"
    );
    connection.prepare(&sql)?.query_map([], entry)?.collect()
}

/// What attempts did, in order.
pub fn uses(connection: &Connection, attempts: &[String]) -> Sql<Vec<Use>> {
    let sql = format!(
        "SELECT archive, {COLUMNS}, at, (SELECT why FROM condemned_archive WHERE id = used.archive), action FROM used
         WHERE attempt = ?1 ORDER BY id"
    );
    let mut statement = connection.prepare(&sql)?;
    let mut all = Vec::new();
    for attempt in attempts {
        let rows = statement.query_map([attempt], |row| {
            let action: String = row.get(14)?;
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
    let set = set_name(row, 3)?;
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
        condemned: row.get(13)?,
    })
}

fn set_name(row: &Row<'_>, column: usize) -> Sql<SetName> {
    let wrong = |error: crate::domain::cache::BadName| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into())
    };
    SetName::new(&row.get::<_, String>(column)?).map_err(wrong)
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
