//! What pages and commands ask about builds.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};
use serde::Serialize;

use super::attempts::{self, Attempt};
use super::builds::{Build, SELECT, read};
use super::{Store, StoreError};
use crate::domain::build::BuildState;
use crate::domain::name::PkgBase;
use crate::domain::queue::{BuildId, WaitKind};

/// A build that another one waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Wait {
    /// The build.
    pub build: BuildId,
    /// Its package.
    pub pkgbase: PkgBase,
    /// Why it is waited for.
    pub kind: WaitKind,
    /// Where it stands.
    pub state: BuildState,
}

/// A build with everything around it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BuildDetail {
    /// The build.
    pub build: Build,
    /// Its attempts, first to last.
    pub attempts: Vec<Attempt>,
    /// What it waits for, or waited for.
    pub waits: Vec<Wait>,
}

/// A build that is not final, with what it still waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Queued {
    /// The build.
    pub build: Build,
    /// The builds that keep it from going; those behind each other not repeated.
    pub waits: Vec<Wait>,
}

/// Which builds to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuildFilter {
    /// Of this repository.
    pub repository: Option<String>,
    /// Of this package.
    pub pkgbase: Option<PkgBase>,
    /// For this architecture.
    pub arch: Option<String>,
    /// In one of these states; any if empty.
    pub states: Vec<BuildState>,
    /// Asked for by this run.
    pub run_id: Option<String>,
    /// Older than this one: the last of the page before.
    pub before: Option<BuildId>,
}

impl Store {
    /// One build with its attempts and waits.
    pub async fn build(&self, id: BuildId) -> Result<Option<BuildDetail>, StoreError> {
        self.read(move |connection| {
            let sql = format!("{SELECT} WHERE builds.id = ?");
            let Some(build) = connection.prepare_cached(&sql)?.query_row([id], read).optional()? else {
                return Ok(None);
            };
            let attempts = attempts::of_build(connection, id)?;
            Ok(Some(BuildDetail { build, attempts, waits: waits(connection, id)? }))
        })
        .await
    }

    /// The runs that asked for these builds, as far as they are on record.
    pub async fn runs_of_builds(&self, builds: BTreeSet<BuildId>) -> Result<BTreeMap<BuildId, String>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT waves.run_id FROM builds JOIN waves ON waves.id = builds.wave WHERE builds.id = ?",
            )?;
            let mut runs = BTreeMap::new();
            for build in builds {
                if let Some(run) = statement.query_row([build], |row| row.get(0)).optional()? {
                    runs.insert(build, run);
                }
            }
            Ok(runs)
        })
        .await
    }

    /// The build an attempt belongs to.
    pub async fn build_of_attempt(&self, attempt: &str) -> Result<Option<Build>, StoreError> {
        let attempt = attempt.to_owned();
        self.read(move |connection| {
            let sql = format!("{SELECT} WHERE builds.id = (SELECT build FROM attempts WHERE id = ?)");
            Ok(connection.prepare_cached(&sql)?.query_row([attempt], read).optional()?)
        })
        .await
    }

    /// Builds, newest first, at most `limit`.
    pub async fn builds(&self, filter: BuildFilter, limit: u32) -> Result<Vec<Build>, StoreError> {
        self.read(move |connection| {
            let (conditions, mut values) = conditions(&filter);
            values.push(limit.into());
            let mut statement =
                connection.prepare_cached(&format!("{SELECT} WHERE {conditions} ORDER BY builds.id DESC LIMIT ?"))?;
            let rows = statement.query_map(params_from_iter(values), read)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// The last builds of a package, newest first.
    pub async fn last_builds(&self, repository: &str, pkgbase: &PkgBase, limit: u32) -> Result<Vec<Build>, StoreError> {
        let (repository, pkgbase) = (Some(repository.to_owned()), Some(pkgbase.clone()));
        self.builds(BuildFilter { repository, pkgbase, ..BuildFilter::default() }, limit).await
    }

    /// The newest build of every package of a repository.
    pub async fn newest_builds(&self, repository: &str) -> Result<BTreeMap<PkgBase, Build>, StoreError> {
        let repository = repository.to_owned();
        self.read(move |connection| {
            let sql = format!(
                "{SELECT} WHERE builds.id IN (SELECT max(id) FROM builds WHERE repository = ? GROUP BY pkgbase)"
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map([repository], read)?;
            rows.map(|row| row.map(|build| (build.pkgbase.clone(), build)).map_err(StoreError::from)).collect()
        })
        .await
    }

    /// The builds that are not final, oldest first, with what each still waits for.
    pub async fn queue(&self, repository: Option<&str>) -> Result<Vec<Queued>, StoreError> {
        let repository = repository.map(str::to_owned);
        self.read(move |connection| {
            let sql = format!(
                "{SELECT} WHERE (?1 IS NULL OR builds.repository = ?1)
                 AND state IN ('waiting', 'blocked', 'ready', 'dispatched', 'running') ORDER BY builds.id"
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map([repository], read)?;
            rows.map(|row| {
                let build = row?;
                let waits = waits(connection, build.id)?;
                let holds = |wait: &Wait| !wait.state.is_final() || wait.state.blocks_dependants();
                Ok(Queued { build, waits: waits.into_iter().filter(holds).collect() })
            })
            .collect()
        })
        .await
    }

    /// How many builds are in each state; states without builds are left out.
    pub async fn build_counts(&self, repository: Option<&str>) -> Result<BTreeMap<BuildState, u64>, StoreError> {
        let repository = repository.map(str::to_owned);
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT state, count(*) FROM builds WHERE ?1 IS NULL OR repository = ?1 GROUP BY state",
            )?;
            let rows = statement.query_map([repository], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?)))?;
            Ok(rows.map(|row| row.map(|(state, count)| (state, count.cast_unsigned()))).collect::<Result<_, _>>()?)
        })
        .await
    }
}

fn waits(connection: &Connection, build: BuildId) -> Result<Vec<Wait>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT builds.id, builds.pkgbase, waits.kind, builds.state FROM waits
         JOIN builds ON builds.id = waits.dependency WHERE waits.build = ? ORDER BY builds.id",
    )?;
    let rows = statement.query_map(params![build], |row| {
        Ok(Wait { build: row.get(0)?, pkgbase: row.get(1)?, kind: row.get(2)?, state: row.get(3)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn conditions(filter: &BuildFilter) -> (String, Vec<Value>) {
    let mut parts = vec!["1".to_owned()];
    let mut values: Vec<Value> = Vec::new();
    let mut add = |part: &str, value: Option<Value>| {
        if let Some(value) = value {
            parts.push(part.to_owned());
            values.push(value);
        }
    };
    add("builds.repository = ?", filter.repository.clone().map(Value::from));
    add("builds.pkgbase = ?", filter.pkgbase.as_ref().map(|pkgbase| pkgbase.to_string().into()));
    add("builds.arch = ?", filter.arch.clone().map(Value::from));
    add("waves.run_id = ?", filter.run_id.clone().map(Value::from));
    add("builds.id < ?", filter.before.map(|before| before.0.into()));
    if !filter.states.is_empty() {
        parts.push(format!("builds.state IN ({})", vec!["?"; filter.states.len()].join(", ")));
        values.extend(filter.states.iter().map(|state| Value::from(state.as_str().to_owned())));
    }
    (parts.join(" AND "), values)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{base, wave};
    use super::*;
    use crate::domain::policy::Overlap;

    #[tokio::test]
    async fn lists_are_filtered_and_paged() {
        let store = Store::in_memory().unwrap();
        store.give(wave(1, &["a", "b:a", "c"]), Overlap::Coalesce).await;
        store.give(wave(2, &["a", "d"]), Overlap::Coalesce).await;
        let list = async |filter: BuildFilter, limit| {
            let builds = store.builds(filter, limit).await.unwrap();
            builds.iter().map(|build| format!("{}{}", build.pkgbase, build.id)).collect::<Vec<_>>()
        };
        assert_eq!(list(BuildFilter::default(), 2).await, ["d5", "a4"]);
        let next = BuildFilter { before: Some(BuildId(4)), ..BuildFilter::default() };
        assert_eq!(list(next, 2).await, ["c3", "b2"]);
        let states = vec![BuildState::Superseded, BuildState::Waiting];
        assert_eq!(list(BuildFilter { states, ..BuildFilter::default() }, 9).await, ["b2", "a1"]);
        let run_id = Some(store.build(BuildId(5)).await.unwrap().unwrap().build.run_id);
        let (arch, repository) = (Some("x86_64".to_owned()), Some("repo".to_owned()));
        let filter = BuildFilter { run_id, arch, repository, pkgbase: Some(base("a")), ..BuildFilter::default() };
        assert_eq!(list(filter, 9).await, ["a4"]);
        let newest = store.newest_builds("repo").await.unwrap();
        assert_eq!(newest.values().map(|build| build.id.0).collect::<Vec<_>>(), [4, 2, 3, 5]);
        assert!(newest.values().all(|build| build.last_attempt.is_none()), "nothing was begun");
        let counts = store.build_counts(Some("repo")).await.unwrap();
        assert_eq!(counts[&BuildState::Ready], 3);
        assert!(store.build(BuildId(99)).await.unwrap().is_none());
    }
}
