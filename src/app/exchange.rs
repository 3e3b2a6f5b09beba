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

    use super::*;
    use crate::builder::remote::{Client, RemoteError};
    use crate::caches::{CacheConfig, Caches};
    use crate::controller::builders::Builders;
    use crate::domain::cache::told::{Told, told};
    use crate::executor::{BuildOrder, testing};
    use crate::http::world::World;
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

    #[tokio::test]
    async fn what_a_builder_used_on_its_own_machine_is_noted_for_its_build_alone() {
        let dir = tempfile::tempdir().unwrap();
        let logs = LogStore::new(dir.path().join("logs")).unwrap();
        let key = Key::keep(&dir.path().join("key")).unwrap();
        let exchange = Exchange::open(dir.path().join("attempts"), logs, key, BTreeMap::new()).unwrap();
        let config = CacheConfig { dir: dir.path().join("caches"), quota: 1 << 20 };
        let caches = Caches::open(config, Arc::new(SystemClock)).unwrap();
        let served = World::empty().serve_builders(Builders::new(exchange.clone(), caches.clone())).await;
        exchange.reached_at(&served.url);
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
