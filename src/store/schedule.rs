//! What builds are handed out by: their lanes, how long they take, and the first of each flow. The choice is
//! [`crate::domain::schedule`]'s.

use std::collections::HashMap;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::settle::LIVE;
use super::sql::{Millis, time};
use super::{Store, StoreError};
use crate::domain::build::BuildRequest;
use crate::domain::name::PkgBase;
use crate::domain::policy::BuildClass;
use crate::domain::queue::BuildId;
use crate::domain::schedule::{Heads, Lane, Turns, UNKNOWN, paths};

impl Store {
    /// The first builds of each flow of those that may be handed to an executor now: by path and by age, of each
    /// at most so many. What this costs does not depend on how many builds there are.
    pub async fn heads(&self, now: Timestamp, each: usize) -> Result<Vec<Heads>, StoreError> {
        self.let_go(now).await?;
        let each = i64::try_from(each).unwrap_or(i64::MAX);
        self.read(move |connection| {
            let mut heads = Vec::new();
            for Flow { repository, lane, wish } in flows(connection)? {
                let longest = first(connection, "path DESC, id", &repository, lane, &wish, each)?;
                let oldest = first(connection, "id", &repository, lane, &wish, each)?;
                let class = (!wish.is_empty()).then_some(BuildClass(wish));
                heads.push(Heads { repository, lane: Lane::of_rank(lane), class, longest, oldest });
            }
            Ok(heads)
        })
        .await
    }

    /// Lets builds stand among the others again that had to wait for their next attempt until now.
    async fn let_go(&self, now: Timestamp) -> Result<(), StoreError> {
        let due = move |connection: &Connection| {
            let sql = &format!("SELECT EXISTS (SELECT 1 {LATER} AND not_before <= ?)");
            Ok::<bool, StoreError>(connection.prepare_cached(sql)?.query_row([Millis(now)], |row| row.get(0))?)
        };
        if !self.read(due).await? {
            return Ok(());
        }
        self.write(move |tx| {
            let sql = "UPDATE builds INDEXED BY ready_later SET not_before = NULL
                       WHERE state = 'ready' AND not_before IS NOT NULL AND not_before <= ?";
            tx.prepare_cached(sql)?.execute([Millis(now)])?;
            Ok(())
        })
        .await
    }

    /// The time at which the next ready build that has to wait for another attempt may begin.
    pub async fn next_retry(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.read(move |connection| {
            let sql = format!("SELECT min(not_before) AS next {LATER} AND not_before > ?");
            Ok(connection.prepare_cached(&sql)?.query_row([Millis(now)], |row| time(row, "next"))?)
        })
        .await
    }

    /// Who had how many turns, as [`Store::keep_turns`] left it.
    pub async fn turns(&self) -> Result<Turns, StoreError> {
        let kept = |connection: &Connection| {
            let mut statement = connection.prepare_cached("SELECT body FROM turns")?;
            Ok(statement.query_row([], |row| row.get::<_, String>(0)).optional()?)
        };
        match self.read(kept).await? {
            Some(body) => Ok(serde_json::from_str(&body)?),
            None => Ok(Turns::default()),
        }
    }

    /// Keeps who had how many turns, for the next process that hands out builds.
    pub async fn keep_turns(&self, turns: &Turns) -> Result<(), StoreError> {
        let body = serde_json::to_string(turns)?;
        self.write(move |tx| {
            let sql = "INSERT INTO turns (id, body) VALUES (1, ?) ON CONFLICT DO UPDATE SET body = excluded.body";
            tx.prepare_cached(sql)?.execute([body])?;
            Ok(())
        })
        .await
    }
}

#[derive(Debug)]
struct Flow {
    repository: String,
    lane: u8,
    wish: String,
}

/// Ready builds that have to wait for their next attempt.
const LATER: &str = "FROM builds INDEXED BY ready_later WHERE state = 'ready' AND not_before IS NOT NULL";

/// Ready builds that need not wait for another attempt; by an index that has them by flow.
const READY: &str = "FROM builds INDEXED BY ready_by_age WHERE state = 'ready' AND not_before IS NULL";

/// Every flow with a ready build, each found by one step in the index: the next class of the lane, or else of the
/// repository's next lane, or else of the next repository. Compared together, all builds of a flow would be read.
fn flows(connection: &Connection) -> Result<Vec<Flow>, StoreError> {
    let mut class = connection.prepare_cached(&format!(
        "SELECT repository, lane, wish {READY} AND repository = ? AND lane = ? AND wish > ? ORDER BY wish LIMIT 1"
    ))?;
    let mut lane = connection.prepare_cached(&format!(
        "SELECT repository, lane, wish {READY} AND repository = ? AND lane > ? ORDER BY lane, wish LIMIT 1"
    ))?;
    let mut repository = connection.prepare_cached(&format!(
        "SELECT repository, lane, wish {READY} AND repository > ? ORDER BY repository, lane, wish LIMIT 1"
    ))?;
    let read = |row: &Row<'_>| Ok(Flow { repository: row.get(0)?, lane: row.get(1)?, wish: row.get(2)? });
    let mut flows: Vec<Flow> = Vec::new();
    let mut next = repository.query_row([""], read).optional()?;
    while let Some(flow) = next {
        next = class.query_row(params![flow.repository, flow.lane, flow.wish], read).optional()?;
        if next.is_none() {
            next = lane.query_row(params![flow.repository, flow.lane], read).optional()?;
        }
        if next.is_none() {
            next = repository.query_row([&flow.repository], read).optional()?;
        }
        flows.push(flow);
    }
    Ok(flows)
}

fn first(
    connection: &Connection,
    order: &'static str,
    repository: &str,
    lane: u8,
    wish: &str,
    limit: i64,
) -> Result<Vec<BuildId>, StoreError> {
    let sql = format!(
        "SELECT id FROM builds WHERE state = 'ready' AND not_before IS NULL
         AND repository = ? AND lane = ? AND wish = ? ORDER BY {order} LIMIT ?"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params![repository, lane, wish, limit], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// How long the longest chain is that begins with each build of a wave, in milliseconds.
pub(super) fn paths_of(tx: &Connection, repository: &str, builds: &[BuildRequest]) -> Result<Vec<u64>, StoreError> {
    let mut known =
        tx.prepare_cached("SELECT millis FROM durations WHERE repository = ? AND arch = ? AND pkgbase = ?")?;
    let usual = usual_duration(tx, repository)?;
    let mut durations = Vec::with_capacity(builds.len());
    for build in builds {
        let duration = known.query_row(params![repository, build.arch, build.pkgbase], |row| row.get(0));
        durations.push(duration.optional()?.map_or(usual, i64::cast_unsigned));
    }
    let members: HashMap<(&str, &PkgBase), usize> =
        builds.iter().enumerate().map(|(place, build)| ((build.arch.as_str(), &build.pkgbase), place)).collect();
    let place = |build: &BuildRequest, name| members.get(&(build.arch.as_str(), name)).copied();
    let after: Vec<Vec<usize>> =
        builds.iter().map(|build| build.after.iter().filter_map(|name| place(build, name)).collect()).collect();
    Ok(paths(&durations, &after))
}

/// The median of what is known of a repository, in milliseconds.
fn usual_duration(tx: &Connection, repository: &str) -> Result<u64, StoreError> {
    let sql = "SELECT millis FROM durations WHERE repository = ?1 ORDER BY millis LIMIT 1
               OFFSET (SELECT count(*) / 2 FROM durations WHERE repository = ?1)";
    let median = tx.prepare_cached(sql)?.query_row([repository], |row| row.get(0)).optional()?;
    Ok(median.map_or(UNKNOWN, i64::cast_unsigned))
}

/// Keeps how long a build took that has succeeded now.
pub(super) fn note_duration(tx: &Connection, build: BuildId) -> Result<(), StoreError> {
    let sql = "INSERT INTO durations (repository, arch, pkgbase, millis)
               SELECT repository, arch, pkgbase, max(finished_at - started_at, 0) FROM builds
               WHERE id = ? AND started_at IS NOT NULL AND finished_at IS NOT NULL
               ON CONFLICT DO UPDATE SET millis = (millis + excluded.millis) / 2";
    tx.prepare_cached(sql)?.execute([build])?;
    Ok(())
}

/// Who asked urgently for a build does not wait longer because it was asked for again. What waits for it is another
/// matter: that may wait for neither of them soon.
pub(super) fn inherit_lane(tx: &Connection, old: BuildId, new: BuildId) -> Result<(), StoreError> {
    let sql =
        "UPDATE builds SET lane = min(builds.lane, old.asked_lane), asked_lane = min(builds.asked_lane, old.asked_lane)
               FROM builds AS old WHERE old.id = ? AND builds.id = ?";
    tx.prepare_cached(sql)?.execute(params![old, new])?;
    Ok(())
}

/// The live builds that a build waits for, or stands behind.
pub(super) fn needed_by(tx: &Connection, build: BuildId) -> Result<Vec<BuildId>, StoreError> {
    let mut statement = tx.prepare_cached(&format!(
        "SELECT needed.id FROM waits JOIN builds AS needed ON needed.id = waits.dependency
         WHERE waits.build = ?1 AND needed.state IN ({LIVE})
         UNION ALL SELECT behind FROM builds WHERE id = ?1 AND behind IS NOT NULL"
    ))?;
    let rows = statement.query_map([build], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Has these builds, and what they wait for, be no more urgent than they were asked for or than what waits for them now:
/// something that waited does so no more. Nothing may wait for itself in a circle.
pub(super) fn lower(tx: &Connection, mut builds: Vec<BuildId>) -> Result<(), StoreError> {
    let mut update = tx.prepare_cached(&format!(
        "UPDATE builds SET lane = reckoned.lane FROM (
             SELECT min(lane) AS lane FROM (
                 SELECT asked_lane AS lane FROM builds WHERE id = ?1
                 UNION ALL SELECT waiting.lane FROM waits JOIN builds AS waiting ON waiting.id = waits.build
                     WHERE waits.dependency = ?1 AND waiting.state IN ({LIVE})
                 UNION ALL SELECT lane FROM builds WHERE behind = ?1)
         ) AS reckoned WHERE id = ?1 AND builds.lane <> reckoned.lane AND state IN ({LIVE})"
    ))?;
    while let Some(build) = builds.pop() {
        if update.execute([build])? > 0 {
            builds.extend(needed_by(tx, build)?);
        }
    }
    Ok(())
}

/// Makes whatever these builds wait for as urgent as they are, and so on. One of them may have ended: it waits for nothing.
pub(super) fn raise(tx: &Connection, mut builds: Vec<BuildId>) -> Result<(), StoreError> {
    let mut needed = tx.prepare_cached(&format!(
        "SELECT needed.id, waiting.lane FROM builds AS waiting
         JOIN waits ON waits.build = waiting.id JOIN builds AS needed ON needed.id = waits.dependency
         WHERE waiting.id = ?1 AND needed.lane > waiting.lane AND needed.state IN ({LIVE}) AND waiting.state IN ({LIVE})
         UNION ALL SELECT needed.id, waiting.lane FROM builds AS waiting JOIN builds AS needed ON needed.id = waiting.behind
         WHERE waiting.id = ?1 AND needed.lane > waiting.lane"
    ))?;
    let mut update = tx.prepare_cached("UPDATE builds SET lane = ? WHERE id = ?")?;
    while let Some(build) = builds.pop() {
        let rows = needed.query_map([build], |row| Ok((row.get(0)?, row.get(1)?)))?;
        for (needed, lane) in rows.collect::<Result<Vec<(BuildId, u8)>, _>>()? {
            update.execute(params![lane, needed])?;
            builds.push(needed);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{at, base, wave};
    use super::*;
    use crate::domain::build::{Outcome, Wave};
    use crate::domain::policy::Overlap;

    fn in_lane(lane: Lane, wave: Wave) -> Wave {
        let builds = wave.builds.into_iter().map(|build| BuildRequest { lane, ..build }).collect();
        Wave { builds, ..wave }
    }

    impl Store {
        async fn lane(&self, name: &str) -> Lane {
            self.build(self.newest(name).await).await.unwrap().unwrap().build.lane
        }

        /// The packages of every flow, by path.
        async fn by_path(&self) -> Vec<Vec<String>> {
            let mut flows = Vec::new();
            for heads in self.heads(at(9), 9).await.unwrap() {
                let mut names = Vec::new();
                for build in heads.longest {
                    names.push(self.build(build).await.unwrap().unwrap().build.pkgbase.to_string());
                }
                flows.push(names);
            }
            flows
        }
    }

    #[tokio::test]
    async fn what_a_deploy_waits_for_is_as_urgent_as_the_deploy() {
        let store = Store::in_memory().unwrap();
        store.give(in_lane(Lane::Mass, wave(1, &["base", "lib:base", "other"])), Overlap::Coalesce).await;
        store.give(in_lane(Lane::Deploy, wave(2, &["app?lib"])), Overlap::Coalesce).await;
        for (name, lane) in
            [("base", Lane::Deploy), ("lib", Lane::Deploy), ("other", Lane::Mass), ("app", Lane::Deploy)]
        {
            assert_eq!(store.lane(name).await, lane, "{name}");
        }
    }

    /// `lib` was raised by a deploy of `app` and is let down again, with what it waits for itself.
    #[tokio::test]
    async fn what_nobody_urgent_waits_for_any_more_is_as_urgent_as_it_was_asked_for() {
        let store = Store::in_memory().unwrap();
        store.give(in_lane(Lane::Mass, wave(1, &["base", "lib:base", "other:lib"])), Overlap::Coalesce).await;
        store.give(in_lane(Lane::Normal, wave(2, &["tool?lib"])), Overlap::Coalesce).await;
        store.give(in_lane(Lane::Deploy, wave(3, &["app?lib"])), Overlap::Coalesce).await;
        assert_eq!(store.lane("base").await, Lane::Deploy);
        store.cancel_build(store.newest("app").await, at(1)).await.unwrap();
        for (name, lane) in [("base", Lane::Normal), ("lib", Lane::Normal), ("other", Lane::Mass)] {
            assert_eq!(store.lane(name).await, lane, "{name}");
        }
        store.retry_build(store.newest("app").await, at(2)).await.unwrap();
        assert_eq!(store.lane("base").await, Lane::Deploy, "it waits again");
        // A newer commit of it needs no library any more.
        store.give(in_lane(Lane::Mass, wave(4, &["app"])), Overlap::Coalesce).await;
        assert_eq!(store.lane("base").await, Lane::Normal);
        assert_eq!(store.lane("app").await, Lane::Deploy, "somebody asked for it urgently");
    }

    #[tokio::test]
    async fn a_build_before_an_urgent_one_of_its_package_is_let_down_with_it() {
        let store = Store::in_memory().unwrap();
        store.give(in_lane(Lane::Mass, wave(1, &["lib"])), Overlap::Queue).await;
        store.start("lib").await;
        store.give(in_lane(Lane::Mass, wave(2, &["lib"])), Overlap::Queue).await;
        let second = store.newest("lib").await;
        store.give(in_lane(Lane::Deploy, wave(3, &["lib"])), Overlap::Queue).await;
        store.cancel_build(store.newest("lib").await, at(1)).await.unwrap();
        assert_eq!(store.build(second).await.unwrap().unwrap().build.lane, Lane::Mass);
    }

    #[tokio::test]
    async fn asking_again_does_not_make_it_less_urgent() {
        let store = Store::in_memory().unwrap();
        store.give(in_lane(Lane::Deploy, wave(1, &["app:lib", "lib"])), Overlap::Coalesce).await;
        store.give(in_lane(Lane::Mass, wave(2, &["lib", "dependency"])), Overlap::Coalesce).await;
        assert_eq!(store.lane("lib").await, Lane::Deploy);
        store.give(in_lane(Lane::Mass, wave(3, &["lib:dependency", "dependency"])), Overlap::Coalesce).await;
        assert_eq!(store.lane("dependency").await, Lane::Deploy, "it is needed by what a deploy needs");
    }

    #[tokio::test]
    async fn a_build_of_the_same_package_that_stands_before_an_urgent_one_is_urgent() {
        let store = Store::in_memory().unwrap();
        store.give(in_lane(Lane::Mass, wave(1, &["lib"])), Overlap::Queue).await;
        let attempt = store.start("lib").await;
        store.give(in_lane(Lane::Mass, wave(2, &["lib"])), Overlap::Queue).await;
        let second = store.newest("lib").await;
        store.give(in_lane(Lane::Deploy, wave(3, &["lib"])), Overlap::Queue).await;
        store.end(&attempt, Outcome::Succeeded).await;
        assert_eq!(store.build(second).await.unwrap().unwrap().build.lane, Lane::Deploy);
    }

    #[tokio::test]
    async fn the_longest_path_is_known_from_what_builds_took() {
        let store = Store::in_memory().unwrap();
        store.give(wave(1, &["slow"]), Overlap::Coalesce).await;
        let attempt = store.begin_attempt(store.newest("slow").await, "local", at(0)).await.unwrap();
        store.attempt_started(&attempt, at(0)).await.unwrap();
        let end = super::super::attempts::AttemptEnd {
            ending: super::super::attempts::AttemptEnding::Done(Outcome::Succeeded),
            exit_code: Some(0),
            message: String::new(),
            log_length: 0,
        };
        store.finish_attempt(&attempt, end, at(100)).await.unwrap();
        let named = |name: &str, after: &[&str]| BuildRequest {
            pkgbase: base(name),
            after: after.iter().map(|name| base(name)).collect(),
            ..wave(2, &["x"]).builds.remove(0)
        };
        // What nothing is known of takes as long as is usual: 100 s.
        let builds = vec![named("alone", &[]), named("lib", &[]), named("slow", &["lib"]), named("top", &["slow"])];
        store.give(Wave { builds, ..wave(2, &[]) }, Overlap::Coalesce).await;
        assert_eq!(store.by_path().await, [["lib", "alone"]]);
        let path = "SELECT path FROM builds WHERE pkgbase = 'lib'";
        let path: i64 = store.read(move |tx| Ok(tx.query_row(path, [], |row| row.get(0))?)).await.unwrap();
        assert_eq!(path, 300_000);
    }

    /// A fix of a library comes while its wave waits: what waits for it is as long as before.
    #[tokio::test]
    async fn asking_again_does_not_make_the_path_shorter() {
        let store = Store::in_memory().unwrap();
        store.give(wave(1, &["lib", "app:lib", "top:app", "other", "more:other"]), Overlap::Coalesce).await;
        assert_eq!(store.by_path().await, [["lib", "other"]]);
        store.give(wave(2, &["lib"]), Overlap::Coalesce).await;
        assert_eq!(store.by_path().await, [["lib", "other"]]);
        // So it is where the one before fails.
        let attempt = store.start("lib").await;
        store.give(wave(3, &["lib"]), Overlap::Coalesce).await;
        store.end(&attempt, Outcome::Failed).await;
        assert_eq!(store.by_path().await, [["lib", "other"]]);
    }

    #[tokio::test]
    async fn every_repository_lane_and_class_has_its_own_head() {
        let store = Store::in_memory().unwrap();
        let mut normal = wave(1, &["a", "b", "c", "z"]);
        normal.builds[1].class = Some(BuildClass("5".into()));
        normal.builds[2].lane = Lane::Mass;
        store.give(normal, Overlap::Coalesce).await;
        store.give(Wave { repository: "other".into(), ..wave(2, &["d"]) }, Overlap::Coalesce).await;
        assert_eq!(store.by_path().await, [vec!["d"], vec!["a", "z"], vec!["b"], vec!["c"]]);
        assert_eq!(store.heads(at(9), 1).await.unwrap()[1].longest.len(), 1);
    }

    /// Handing out reads some rows of an index for each flow, however many builds there are.
    #[tokio::test]
    async fn no_query_of_handing_out_reads_the_whole_queue() {
        let store = Store::in_memory().unwrap();
        let flow = "SELECT id FROM builds WHERE state = 'ready' AND not_before IS NULL
                    AND repository = 'r' AND lane = 2 AND wish = ''";
        let queries = [
            (format!("{flow} ORDER BY path DESC, id LIMIT 1"), "ready_by_path (repository=? AND lane=? AND wish=?)"),
            (format!("{flow} ORDER BY id LIMIT 1"), "ready_by_age (repository=? AND lane=? AND wish=?)"),
            (
                format!("SELECT wish {READY} AND repository = 'r' AND lane = 2 AND wish > '' ORDER BY wish LIMIT 1"),
                "ready_by_age (repository=? AND lane=? AND wish>?)",
            ),
            (
                format!("SELECT wish {READY} AND repository = 'r' AND lane > 2 ORDER BY lane, wish LIMIT 1"),
                "ready_by_age (repository=? AND lane>?)",
            ),
            (
                format!("SELECT wish {READY} AND repository > 'r' ORDER BY repository, lane, wish LIMIT 1"),
                "ready_by_age (repository>?)",
            ),
            (format!("SELECT min(not_before) {LATER} AND not_before > 1"), "ready_later (not_before>?)"),
            (format!("SELECT 1 {LATER} AND not_before <= 1"), "ready_later (not_before>? AND not_before<?)"),
        ];
        for (query, expected) in queries {
            let explain = format!("EXPLAIN QUERY PLAN {query}");
            let plan: Vec<String> = store
                .read(move |tx| {
                    let mut statement = tx.prepare(&explain)?;
                    let rows = statement.query_map([], |row| row.get("detail"))?;
                    Ok(rows.collect::<Result<_, _>>()?)
                })
                .await
                .unwrap();
            let plan = plan.join("; ");
            assert!(plan.contains(expected) && plan.contains("SEARCH") && !plan.contains("B-TREE"), "{query}: {plan}");
        }
    }
}
