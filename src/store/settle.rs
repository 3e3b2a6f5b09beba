//! Moves builds between states and carries the consequences to those that wait for them.
//!
//! The rules are [`crate::domain::queue`]'s; this only looks at the builds a change can concern.

use std::collections::BTreeSet;

use jiff::Timestamp;
use rusqlite::{Connection, params};
use serde::Serialize;
use serde_json::json;

use super::schedule::{lower, needed_by, raise};
use super::sql::Millis;
use super::{StoreError, events, statuses};
use crate::domain::build::{BuildEvent, BuildState};
use crate::domain::name::PkgBase;
use crate::domain::queue::{self, Bond, BuildId, Edge, Pending, WaitKind};

/// The states of builds that have not ended, as they are written in queries.
pub(super) const LIVE: &str = "'waiting', 'blocked', 'ready', 'dispatched', 'running'";

/// A build whose state has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The build.
    pub build: BuildId,
    /// The package.
    pub pkgbase: PkgBase,
    /// Its state before.
    pub from: BuildState,
    /// Its state now.
    pub to: BuildState,
}

/// The changes of one transaction, and the builds they may concern.
#[derive(Debug, Default)]
pub(super) struct Consequences {
    pub changes: Vec<Change>,
    pub concerned: BTreeSet<BuildId>,
}

/// Lets something happen to a build. What follows for others is left in `consequences` for [`settle`].
pub(super) fn happen(
    tx: &Connection,
    build: BuildId,
    event: BuildEvent,
    now: Timestamp,
    consequences: &mut Consequences,
) -> Result<BuildState, StoreError> {
    let (from, pkgbase): (BuildState, PkgBase) = tx
        .prepare_cached("SELECT state, pkgbase FROM builds WHERE id = ?")?
        .query_row([build], |row| Ok((row.get(0)?, row.get(1)?)))
        .map_err(|error| match error {
            rusqlite::Error::QueryReturnedNoRows => StoreError::not_found("build", &build),
            other => other.into(),
        })?;
    let to = from.after(event)?;
    let finished = to.is_final().then_some(Millis(now));
    tx.prepare_cached("UPDATE builds SET state = ?, changed_at = ?, finished_at = ? WHERE id = ?")?
        .execute(params![to, Millis(now), finished, build])?;
    let payload = json!({"pkgbase": pkgbase, "from": from, "to": to});
    events::note(tx, now, "build", &build.to_string(), &payload)?;
    statuses::mark_build(tx, build, now)?;
    if to.is_final() || (to == BuildState::Blocked) != (from == BuildState::Blocked) || from.is_final() {
        consequences.concerned.extend(dependants(tx, build)?);
        consequences.concerned.extend(successor_of(tx, build)?);
    }
    consequences.changes.push(Change { build, pkgbase, from, to });
    if to.is_final() {
        let needed = needed_by(tx, build)?;
        conclude(tx, build, to, consequences)?;
        lower(tx, needed)?;
    }
    Ok(to)
}

/// Moves up who stands behind a build that has ended. If it ended badly, the next in line is what its
/// dependants wait for from now on.
fn conclude(
    tx: &Connection,
    build: BuildId,
    state: BuildState,
    consequences: &mut Consequences,
) -> Result<(), StoreError> {
    let successor = successor_of(tx, build)?;
    let place: Option<BuildId> =
        tx.prepare_cached("SELECT behind FROM builds WHERE id = ?")?.query_row([build], |row| row.get(0))?;
    tx.prepare_cached("UPDATE builds SET behind = NULL WHERE id = ?")?.execute([build])?;
    let Some(successor) = successor else { return Ok(()) };
    tx.prepare_cached("UPDATE builds SET behind = ? WHERE id = ?")?.execute(params![place, successor])?;
    consequences.concerned.insert(successor);
    if state == BuildState::Superseded {
        tx.prepare_cached("UPDATE builds SET replaced_by = ? WHERE id = ?")?.execute(params![successor, build])?;
    }
    if state.blocks_dependants() || state == BuildState::Superseded {
        let moved = move_waits(tx, build, successor)?;
        if !moved.is_empty() {
            raise(tx, moved.clone())?;
            consequences.concerned.extend(moved);
            open_circles(tx, build, consequences)?;
        }
    }
    Ok(())
}

/// The build that stands right behind another of its package.
pub(super) fn successor_of(tx: &Connection, build: BuildId) -> Result<Option<BuildId>, StoreError> {
    let mut statement = tx.prepare_cached("SELECT id FROM builds WHERE behind = ?")?;
    Ok(statement.query_map([build], |row| row.get(0))?.next().transpose()?)
}

/// Makes every live build that waits for `old` wait for `new`; gives those builds.
pub(super) fn move_waits(tx: &Connection, old: BuildId, new: BuildId) -> Result<Vec<BuildId>, StoreError> {
    let waiting = dependants(tx, old)?;
    let mut statement =
        tx.prepare_cached("UPDATE OR REPLACE waits SET dependency = ?, moved = 1 WHERE dependency = ? AND build = ?")?;
    for build in &waiting {
        statement.execute(params![new, old, build])?;
    }
    if !waiting.is_empty() {
        // As long a chain waits for the new one now.
        let sql = "UPDATE builds SET path = max(path, (SELECT path FROM builds WHERE id = ?)) WHERE id = ?";
        tx.prepare_cached(sql)?.execute(params![old, new])?;
    }
    Ok(waiting)
}

/// The live builds that wait for a build.
pub(super) fn dependants(tx: &Connection, build: BuildId) -> Result<Vec<BuildId>, StoreError> {
    let mut statement = tx.prepare_cached(
        "SELECT waits.build FROM waits JOIN builds ON builds.id = waits.build
         WHERE waits.dependency = ? AND builds.state IN ('waiting', 'blocked', 'ready', 'dispatched', 'running')",
    )?;
    let rows = statement.query_map([build], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Gives up the weakest waits where builds of the repository of `build` wait for each other in a circle.
pub(super) fn open_circles(tx: &Connection, build: BuildId, consequences: &mut Consequences) -> Result<(), StoreError> {
    let repository: String =
        tx.prepare_cached("SELECT repository FROM builds WHERE id = ?")?.query_row([build], |row| row.get(0))?;
    let dropped = queue::waits_to_drop(&edges(tx, &repository)?);
    let mut statement = tx.prepare_cached("DELETE FROM waits WHERE build = ? AND dependency = ?")?;
    let mut relieved = Vec::new();
    for edge in dropped {
        tracing::info!(build = %edge.from, on = %edge.to, "builds wait for each other in a circle: one goes first");
        statement.execute(params![edge.from, edge.to])?;
        consequences.concerned.insert(edge.from);
        relieved.push(edge.to);
    }
    lower(tx, relieved)
}

/// Every wait between live builds of a repository.
fn edges(tx: &Connection, repository: &str) -> Result<Vec<Edge>, StoreError> {
    let mut statement = tx.prepare_cached(
        "SELECT waits.build, waits.dependency, waits.kind, waits.moved FROM builds
         JOIN waits ON waits.build = builds.id
         JOIN builds AS dependency ON dependency.id = waits.dependency
         WHERE builds.repository = ?1
           AND builds.state IN ('waiting', 'blocked', 'ready', 'dispatched', 'running')
           AND dependency.state IN ('waiting', 'blocked', 'ready', 'dispatched', 'running')
         UNION ALL
         SELECT id, behind, 'behind', 0 FROM builds WHERE repository = ?1 AND behind IS NOT NULL
           AND state IN ('waiting', 'blocked', 'ready', 'dispatched', 'running')",
    )?;
    let rows = statement.query_map([repository], |row| {
        let bond = match (row.get::<_, String>(2)?.as_str(), row.get::<_, bool>(3)?) {
            ("needs", _) => Bond::Needs,
            ("behind", _) => Bond::Behind,
            (_, true) => Bond::Moved,
            (_, false) => Bond::After,
        };
        Ok(Edge { from: row.get(0)?, to: row.get(1)?, bond })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Applies the rules of the queue to the concerned builds, and on to whom that concerns, until nothing
/// changes.
pub(super) fn settle(
    tx: &Connection,
    now: Timestamp,
    mut consequences: Consequences,
) -> Result<Vec<Change>, StoreError> {
    while !consequences.concerned.is_empty() {
        let view = view(tx, &std::mem::take(&mut consequences.concerned))?;
        for (build, event) in queue::settle(&view) {
            happen(tx, build, event, now, &mut consequences)?;
        }
    }
    Ok(consequences.changes)
}

fn view(tx: &Connection, builds: &BTreeSet<BuildId>) -> Result<Vec<Pending>, StoreError> {
    let mut state = tx.prepare_cached(
        "SELECT builds.state, ahead.state FROM builds LEFT JOIN builds AS ahead ON ahead.id = builds.behind
         WHERE builds.id = ?",
    )?;
    let mut waits = tx.prepare_cached(
        "SELECT waits.kind, builds.state FROM waits JOIN builds ON builds.id = waits.dependency WHERE waits.build = ?",
    )?;
    let mut view = Vec::with_capacity(builds.len());
    for &id in builds {
        let (state, behind): (BuildState, Option<BuildState>) =
            state.query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))?;
        if state.is_final() || state.is_underway() {
            continue;
        }
        let waits = waits.query_map([id], |row| Ok((row.get::<_, WaitKind>(0)?, row.get(1)?)))?;
        view.push(Pending { id, state, behind, waits: waits.collect::<Result<_, _>>()? });
    }
    Ok(view)
}
