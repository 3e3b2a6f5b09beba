//! Packages that left the monorepo and have to leave the published repository.

use jiff::Timestamp;
use rusqlite::{Connection, params};
use serde_json::json;

use super::builds::{Stop, ask_to_stop};
use super::settle::{Change, Consequences, happen, settle};
use super::sql::{Millis, some_time};
use super::{Store, StoreError, events};
use crate::domain::build::{BuildEvent, BuildState, Wave};
use crate::domain::name::PkgBase;
use crate::domain::queue::BuildId;

/// A package to remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// Its id.
    pub id: i64,
    /// The repository.
    pub repository: String,
    /// The package.
    pub pkgbase: PkgBase,
    /// When it was asked for.
    pub requested_at: Timestamp,
}

impl Store {
    /// The packages of a repository that still have to be removed, oldest first.
    pub async fn pending_removals(&self, repository: &str) -> Result<Vec<Removal>, StoreError> {
        let repository = repository.to_owned();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id, repository, pkgbase, requested_at FROM removals
                 WHERE repository = ? AND done_at IS NULL ORDER BY id",
            )?;
            let rows = statement.query_map([repository], |row| {
                Ok(Removal {
                    id: row.get("id")?,
                    repository: row.get("repository")?,
                    pkgbase: row.get("pkgbase")?,
                    requested_at: some_time(row, "requested_at")?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Marks removals as done.
    pub async fn finish_removals(&self, ids: &[i64], now: Timestamp) -> Result<(), StoreError> {
        let ids = ids.to_vec();
        self.write(move |tx| {
            let mut statement = tx
                .prepare_cached("UPDATE removals SET done_at = ? WHERE id = ? AND done_at IS NULL RETURNING pkgbase")?;
            for id in ids {
                let removed = statement.query_map(params![Millis(now), id], |row| row.get::<_, PkgBase>(0))?;
                for pkgbase in removed.collect::<Result<Vec<_>, _>>()? {
                    events::note(tx, now, "removal", pkgbase.as_str(), &json!({"done": true}))?;
                }
            }
            Ok(())
        })
        .await
    }
}

/// Asks for the removals of a wave, and ends the builds of packages that leave. Builds underway are
/// asked to stop, and are given first. A package that is built again is not removed any more.
pub(super) fn request(
    tx: &Connection,
    run_id: &str,
    wave: &Wave,
    now: Timestamp,
) -> Result<(Vec<BuildId>, Vec<Change>), StoreError> {
    let mut consequences = Consequences::default();
    let mut stop = Vec::new();
    let mut insert = tx.prepare_cached(
        "INSERT INTO removals (run_id, repository, pkgbase, requested_at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
    )?;
    for pkgbase in &wave.remove {
        insert.execute(params![run_id, wave.repository, pkgbase, Millis(now)])?;
        events::note(tx, now, "removal", pkgbase.as_str(), &json!({"done": false}))?;
        for (build, state) in live(tx, &wave.repository, pkgbase)? {
            if state.is_underway() {
                ask_to_stop(tx, build, Stop::Superseded)?;
                stop.push(build);
            } else {
                happen(tx, build, BuildEvent::Supersede, now, &mut consequences)?;
            }
        }
    }
    let mut forget =
        tx.prepare_cached("UPDATE removals SET done_at = ? WHERE repository = ? AND pkgbase = ? AND done_at IS NULL")?;
    for request in &wave.builds {
        forget.execute(params![Millis(now), wave.repository, request.pkgbase])?;
    }
    Ok((stop, settle(tx, now, consequences)?))
}

/// The builds of a package that have not ended, oldest first.
pub(super) fn live(
    tx: &Connection,
    repository: &str,
    pkgbase: &PkgBase,
) -> Result<Vec<(BuildId, BuildState)>, StoreError> {
    let mut statement = tx.prepare_cached(
        "SELECT id, state FROM builds WHERE repository = ? AND pkgbase = ?
         AND state IN ('waiting', 'blocked', 'ready', 'dispatched', 'running') ORDER BY id",
    )?;
    let rows = statement.query_map(params![repository, pkgbase], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
