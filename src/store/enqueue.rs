//! Turns a wave into builds: what is replaced, who stands behind whom, who waits for whom.

use std::collections::HashMap;

use jiff::Timestamp;
use rusqlite::{Connection, params};
use serde_json::json;

use super::builds::{Stop, ask_to_stop};
use super::intents::Enqueued;
use super::schedule::{inherit_lane, paths_of, raise};
use super::settle::{Change, Consequences, happen, move_waits, open_circles, settle};
use super::sql::Millis;
use super::{StoreError, events, statuses};
use crate::domain::build::{BuildEvent, BuildRequest, BuildState, Wave};
use crate::domain::name::PkgBase;
use crate::domain::policy::Overlap;
use crate::domain::queue::{self, Admission, BuildId, Disposition, Present, WaitKind};

/// Architecture and package: what there is at most one live build of.
type Key = (String, PkgBase);

/// One wave on its way into the queue.
struct Entry<'a> {
    tx: &'a Connection,
    wave: &'a Wave,
    number: i64,
    overlap: Overlap,
    now: Timestamp,
    /// The builds that are not final, oldest first.
    lines: HashMap<Key, Vec<Present>>,
    /// Builds that ended badly and that somebody still waits for.
    failed: HashMap<Key, Vec<BuildId>>,
    /// Builds of earlier waves that wait for one of this now.
    waiting: Vec<BuildId>,
    consequences: Consequences,
}

/// Enqueues a wave under its number; gives what became of each request, and what changed.
pub(super) fn enqueue(
    tx: &Connection,
    wave: &Wave,
    number: i64,
    overlap: Overlap,
    now: Timestamp,
) -> Result<(Vec<Enqueued>, Vec<Change>), StoreError> {
    let lines = lines(tx, &wave.repository)?;
    let failed = failed_dependencies(tx, &wave.repository)?;
    let (waiting, consequences) = (Vec::new(), Consequences::default());
    let mut entry = Entry { tx, wave, number, overlap, now, lines, failed, waiting, consequences };
    let before = entry.lines.clone();
    let paths = paths_of(tx, &wave.repository, &wave.builds)?;
    let admit = |(request, path)| entry.admit(request, path);
    let enqueued = wave.builds.iter().zip(paths).map(admit).collect::<Result<Vec<_>, _>>()?;
    entry.connect(&enqueued, &before)?;
    if let Some(first) = enqueued.first() {
        open_circles(tx, first.build, &mut entry.consequences)?;
    }
    raise(tx, std::mem::take(&mut entry.waiting).into_iter().chain(enqueued.iter().map(|one| one.build)).collect())?;
    let changes = settle(tx, now, entry.consequences)?;
    Ok((enqueued, changes))
}

impl Entry<'_> {
    fn admit(&mut self, request: &BuildRequest, path: u64) -> Result<Enqueued, StoreError> {
        let key = (request.arch.clone(), request.pkgbase.clone());
        let line = self.lines.remove(&key).unwrap_or_default();
        let Admission { supersede, behind, disposition } = queue::admit(&line, self.overlap);
        let build = if let Disposition::Discarded { running } = disposition {
            self.lines.insert(key, line);
            self.record_discarded(request, running, path)?
        } else {
            for &old in &supersede {
                happen(self.tx, old, BuildEvent::Supersede, self.now, &mut self.consequences)?;
            }
            let queued = matches!(disposition, Disposition::Queued { .. });
            let build = self.insert(request, BuildState::Waiting, behind, queued, path)?;
            self.consequences.concerned.insert(build);
            self.take_over(&key, build, &supersede)?;
            if let Disposition::Cancels { running } = disposition {
                ask_to_stop(self.tx, running, Stop::Superseded)?;
            }
            let new = Present { id: build, state: BuildState::Waiting, queued };
            let stays = |present: &Present| !supersede.contains(&present.id);
            self.lines.insert(key, line.into_iter().filter(stays).chain([new]).collect());
            build
        };
        Ok(Enqueued { build, pkgbase: request.pkgbase.clone(), arch: request.arch.clone(), disposition })
    }

    fn insert(
        &self,
        request: &BuildRequest,
        state: BuildState,
        behind: Option<BuildId>,
        queued: bool,
        path: u64,
    ) -> Result<BuildId, StoreError> {
        let sql =
            "INSERT INTO builds (wave, repository, arch, pkgbase, commit_id, class, reason, state, queued, behind,
                   requested_at, changed_at, lane, asked_lane, path)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
        self.tx.prepare_cached(sql)?.execute(params![
            self.number,
            self.wave.repository,
            request.arch,
            request.pkgbase,
            self.wave.commit,
            request.class.as_ref().map(|class| &class.0),
            request.reason,
            state,
            queued,
            behind,
            Millis(self.now),
            Millis(self.now),
            request.lane.rank(),
            request.lane.rank(),
            path.cast_signed(),
        ])?;
        let build = BuildId(self.tx.last_insert_rowid());
        let payload = json!({"pkgbase": request.pkgbase, "from": null, "to": state});
        events::note(self.tx, self.now, "build", &build.to_string(), &payload)?;
        statuses::mark_build(self.tx, build, self.now)?;
        Ok(build)
    }

    /// A request that is dropped is still in the record, with the reason.
    fn record_discarded(&self, request: &BuildRequest, running: BuildId, path: u64) -> Result<BuildId, StoreError> {
        let state = BuildState::Waiting.after(BuildEvent::Supersede)?;
        let build = self.insert(request, state, None, false, path)?;
        let message = format!("not built: build {running} of this package was running, and the policy is to discard");
        self.tx
            .prepare_cached("UPDATE builds SET replaced_by = ?, message = ?, finished_at = ? WHERE id = ?")?
            .execute(params![running, message, Millis(self.now), build])?;
        Ok(build)
    }

    /// Whoever waits for a replaced or failed build of the package waits for the new one now.
    fn take_over(&mut self, key: &Key, new: BuildId, superseded: &[BuildId]) -> Result<(), StoreError> {
        let mut replace = self.tx.prepare_cached("UPDATE builds SET replaced_by = ? WHERE id = ?")?;
        for &old in superseded {
            replace.execute(params![new, old])?;
            inherit_lane(self.tx, old, new)?;
        }
        for &old in superseded.iter().chain(self.failed.remove(key).iter().flatten()) {
            let moved = move_waits(self.tx, old, new)?;
            self.waiting.extend(&moved);
            self.consequences.concerned.extend(moved);
        }
        Ok(())
    }

    /// Writes down who waits for whom: inside the wave for what has to come before, and for what was
    /// asked for earlier and is needed.
    fn connect(&self, enqueued: &[Enqueued], before: &HashMap<Key, Vec<Present>>) -> Result<(), StoreError> {
        let effective = |one: &Enqueued| match one.disposition {
            Disposition::Discarded { running } => running,
            _ => one.build,
        };
        let mut members: HashMap<&PkgBase, Vec<(&str, BuildId)>> = HashMap::new();
        for one in enqueued {
            members.entry(&one.pkgbase).or_default().push((&one.arch, effective(one)));
        }
        let sql = "INSERT OR IGNORE INTO waits (build, dependency, kind) VALUES (?, ?, ?)";
        let mut insert = self.tx.prepare_cached(sql)?;
        for (request, one) in self.wave.builds.iter().zip(enqueued) {
            if effective(one) != one.build {
                continue;
            }
            let in_wave = request.after.iter().filter_map(|name| members.get(name)).filter_map(|builds| {
                let same = builds.iter().find(|(arch, _)| *arch == request.arch);
                same.or(builds.first()).map(|&(_, build)| build)
            });
            for dependency in in_wave.filter(|&dependency| dependency != one.build) {
                insert.execute(params![one.build, dependency, WaitKind::After])?;
            }
            let outside = request.needs.iter().filter(|name| !members.contains_key(name));
            for name in outside {
                for present in before.get(&(request.arch.clone(), name.clone())).into_iter().flatten() {
                    insert.execute(params![one.build, present.id, WaitKind::Needs])?;
                }
            }
        }
        Ok(())
    }
}

fn lines(tx: &Connection, repository: &str) -> Result<HashMap<Key, Vec<Present>>, StoreError> {
    let mut statement = tx.prepare_cached(
        "SELECT arch, pkgbase, id, state, queued FROM builds WHERE repository = ?
         AND state IN ('waiting', 'blocked', 'ready', 'dispatched', 'running') ORDER BY id",
    )?;
    let mut rows = statement.query([repository])?;
    let mut lines: HashMap<Key, Vec<Present>> = HashMap::new();
    while let Some(row) = rows.next()? {
        let present = Present { id: row.get(2)?, state: row.get(3)?, queued: row.get(4)? };
        lines.entry((row.get(0)?, row.get(1)?)).or_default().push(present);
    }
    Ok(lines)
}

fn failed_dependencies(tx: &Connection, repository: &str) -> Result<HashMap<Key, Vec<BuildId>>, StoreError> {
    let mut statement = tx.prepare_cached(
        "SELECT DISTINCT failed.arch, failed.pkgbase, failed.id FROM builds
         JOIN waits ON waits.build = builds.id
         JOIN builds AS failed ON failed.id = waits.dependency
         WHERE builds.repository = ? AND builds.state IN ('waiting', 'blocked', 'ready', 'dispatched', 'running')
           AND failed.state IN ('failed', 'timed_out', 'cancelled', 'lost')",
    )?;
    let mut rows = statement.query([repository])?;
    let mut failed: HashMap<Key, Vec<BuildId>> = HashMap::new();
    while let Some(row) = rows.next()? {
        failed.entry((row.get(0)?, row.get(1)?)).or_default().push(row.get(2)?);
    }
    Ok(failed)
}

#[cfg(test)]
mod tests {
    use super::super::Store;
    use super::super::testing::wave;
    use crate::domain::policy::Overlap;

    #[tokio::test]
    async fn a_wave_of_a_whole_monorepo_asked_for_twice_is_in_the_queue_once() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("record.sqlite")).unwrap();
        let written: Vec<_> = (0..2534)
            .map(|n| if n < 4 { format!("p{n}") } else { format!("p{n}:p{},p{}?p{}", n - 1, n / 2, (n + 7) % 2534) })
            .collect();
        let written: Vec<_> = written.iter().map(String::as_str).collect();
        for round in 0..2 {
            store.give(wave(round, &written), Overlap::Coalesce).await;
        }
        assert_eq!(store.queue(None).await.unwrap().len(), 2534);
    }
}
