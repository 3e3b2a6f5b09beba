//! What builders elsewhere bring, for the executors that hand builds to others.

use std::collections::BTreeMap;

use anyhow::Result;

use super::building;
use crate::config::Settings;
use crate::config::settings::ExecutorKind;
use crate::controller::Kept;
use crate::executor::exchange::{Exchange, Key};
use crate::logstore::LogStore;

/// The exchange in the data directory; `None` where builds are carried out here.
pub(super) fn exchange(
    settings: &Settings,
    kept: &BTreeMap<String, Kept>,
    logs: &LogStore,
) -> Result<Option<Exchange>> {
    let Some(executor) = building(settings).map(|repository| &repository.executor) else { return Ok(None) };
    if !matches!(executor.kind, ExecutorKind::Command | ExecutorKind::Bullmq) {
        return Ok(None);
    }
    let data_dir = &settings.server.data_dir;
    let key = Key::keep(&data_dir.join("attempts.key"))?;
    let folders = |(name, kept): (&String, &Kept)| Some(kept.outlets.as_ref()?.folders(name));
    let published = kept.iter().filter_map(folders).flatten().map(|(name, dir)| (dir, name)).collect();
    let exchange = Exchange::open(data_dir.join("attempts"), logs.clone(), key, published)?;
    Ok(Some(exchange.with_limits(executor.uploads)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use std::time::Duration;

    use super::*;
    use crate::builder::remote::{Client, RemoteError, Unwanted};
    use crate::caches::{CacheConfig, Caches};
    use crate::controller::builders::Builders;
    use crate::domain::cache::told::{Told, told};
    use crate::executor::{BuildOrder, testing};
    use crate::http::world::{Served, World};
    use crate::sys::clock::SystemClock;

    fn order(attempt: &str) -> BuildOrder {
        BuildOrder { arch: "any".to_owned(), ..testing::order(attempt) }
    }

    fn archive(action: &str) -> Told {
        let digest = "ab".repeat(32);
        let text = format!(
            r#"[{{"action": "{action}", "repository": "mine", "pkgbase": "foo", "name": "srcdest", "class": "release", "key": "{digest}",
                 "sha256": "{digest}", "size": 3, "files": 1, "bytes": 9, "origin": "0-1-x", "created": "2026-01-01T00:00:00Z"}}]"#
        );
        told(text.as_bytes()).unwrap().remove(0)
    }

    async fn served(dir: &std::path::Path) -> (Exchange, Caches, Served) {
        let logs = LogStore::new(dir.join("logs")).unwrap();
        let key = Key::keep(&dir.join("key")).unwrap();
        let exchange = Exchange::open(dir.join("attempts"), logs, key, BTreeMap::new()).unwrap();
        let config = CacheConfig { dir: dir.join("caches"), quota: 1 << 20 };
        let caches = Caches::open(config, Arc::new(SystemClock)).unwrap();
        let served = World::empty().serve_builders(Builders::new(exchange.clone(), caches.clone())).await;
        exchange.reached_at(&served.url);
        (exchange, caches, served)
    }

    /// Each build has connections of its own, as on as many machines.
    #[tokio::test(flavor = "multi_thread")]
    async fn builds_on_a_large_fleet_leave_places_to_people_and_forges_and_hear_when_they_are_to_stop() {
        let dir = tempfile::tempdir().unwrap();
        let (exchange, _, served) = served(dir.path()).await;
        let attempts: Vec<_> = (0..250).map(|number| format!("{number}-1-a")).collect();
        let mut waiting = tokio::task::JoinSet::new();
        let mut clients = Vec::new();
        for attempt in &attempts {
            let grant = exchange.admit(&order(attempt)).unwrap();
            let client = Client::of(&exchange.job(&order(attempt), &grant).unwrap()).unwrap();
            clients.push(client.clone());
            waiting.spawn(async move { client.until_unwanted().await });
        }
        // Twice, since connections stay open for a while.
        let asked = async || {
            let mut logs = tokio::task::JoinSet::new();
            clients.iter().cloned().for_each(|client| drop(logs.spawn(async move { client.log_length().await })));
            assert!(logs.join_all().await.iter().all(Result::is_ok));
            for (method, path, status) in [("GET", "healthz", 200), ("POST", "hooks/mine", 404)] {
                // A limit below that after which idle connections end.
                let request = crate::sys::http::client(Duration::from_secs(12))
                    .request(method.parse().unwrap(), format!("{}/{path}", served.url));
                assert_eq!(request.send().await.expect("an answer in time").status(), status, "{path}");
            }
        };
        tokio::time::timeout(Duration::from_mins(1), async {
            asked().await;
            asked().await;
        })
        .await
        .expect("in time");
        for attempt in &attempts {
            exchange.cancel(attempt).unwrap();
        }
        let told = tokio::time::timeout(Duration::from_secs(30), waiting.join_all()).await.expect("they hear of it");
        assert!(told.iter().all(|told| *told == Unwanted::Cancelled));
    }

    #[tokio::test]
    async fn what_a_builder_used_on_its_own_machine_is_noted_for_its_build_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (exchange, caches, _served) = served(dir.path()).await;
        let [one, other] = ["1-1-a", "2-1-b"].map(|attempt| {
            let grant = exchange.admit(&order(attempt)).unwrap();
            exchange.job(&order(attempt), &grant).unwrap()
        });
        let client = Client::of(&one).unwrap();
        client.tell_caches(&[archive("used")]).await.unwrap();
        let both = [archive("used"), archive("created")];
        client.tell_caches(&both).await.unwrap();
        assert_eq!(caches.told("1-1-a").unwrap(), both, "said again, it takes the place of what was said");
        let uses = caches.uses(&["1-1-a".to_owned(), "2-1-b".to_owned()]).unwrap();
        assert_eq!(uses.len(), 2, "{uses:?}");
        assert!(uses.iter().all(|one| one.attempt == "1-1-a" && !one.kept), "it is on another machine: {uses:?}");
        assert_eq!(caches.list().unwrap(), [], "nor is it kept here");

        let mut stranger = one.clone();
        stranger.token = other.token;
        let refused = Client::of(&stranger).unwrap().tell_caches(&both[..1]).await;
        assert!(matches!(refused, Err(RemoteError::Refused { .. })), "{refused:?}");
        assert_eq!(caches.told("1-1-a").unwrap(), both);
    }
}
