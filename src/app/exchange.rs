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
    let kind = building(settings).map(|repository| repository.executor.kind);
    if !matches!(kind, Some(ExecutorKind::Command | ExecutorKind::Bullmq)) {
        return Ok(None);
    }
    let data_dir = &settings.server.data_dir;
    let key = Key::keep(&data_dir.join("attempts.key"))?;
    let folders = |(name, kept): (&String, &Kept)| Some(kept.outlets.as_ref()?.folders(name));
    let published = kept.iter().filter_map(folders).flatten().map(|(name, dir)| (dir, name)).collect();
    Ok(Some(Exchange::open(data_dir.join("attempts"), logs.clone(), key, published)?))
}
