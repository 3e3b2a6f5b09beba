//! Takes packages that left the monorepo out of its published repositories. This goes on beside the handing out of
//! builds, which never waits for a publication.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;
use jiff::{SignedDuration, Timestamp};

use super::dispatch::Dispatcher;
use crate::publish::outlets::Outlets;

/// How long after the first removal that did not go well it is tried again; twice as long after each further one.
const PAUSE: SignedDuration = SignedDuration::from_secs(15);
/// How long at most.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_mins(10);

/// Why packages of a repository stay published.
#[derive(Debug)]
pub(super) struct Refused {
    /// The removals: with others, or fewer, it is tried at once.
    ids: Vec<i64>,
    /// What was said of it.
    told: String,
    pause: SignedDuration,
    again: Timestamp,
}

impl Dispatcher {
    /// Begins to remove what is to be removed, unless that is going on.
    pub(super) fn begin_removals(self: &Arc<Self>) {
        let Ok(mut refused) = self.removing.clone().try_lock_owned() else { return };
        let this = self.clone();
        self.followers.spawn(async move {
            let mut any = false;
            for (name, outlets) in &this.parts.outlets {
                match this.remove_departed(name, outlets, &mut refused).await {
                    Ok(removed) => any |= removed,
                    Err(error) => {
                        let error = format!("{error:#}");
                        tracing::error!(repository = name, error, "which packages have left cannot be read");
                    }
                }
            }
            drop(refused);
            if any {
                // Others may have left in the meantime.
                this.freed.notify_one();
            }
        });
    }

    /// Removes the packages that left one monorepo; whether there were any.
    async fn remove_departed(
        &self,
        name: &str,
        outlets: &Outlets,
        refused: &mut BTreeMap<String, Refused>,
    ) -> Result<bool> {
        let departed = self.parts.store.pending_removals(name).await?;
        if departed.is_empty() {
            return Ok(false);
        }
        let ids: Vec<i64> = departed.iter().map(|removal| removal.id).collect();
        let (before, now) = (refused.get(name).filter(|before| before.ids == ids), self.parts.clock.now());
        if before.is_some_and(|before| now < before.again) {
            return Ok(false);
        }
        let names: Vec<_> = departed.iter().map(|removal| removal.pkgbase.clone()).collect();
        let removed = self.take_out(name, outlets, &names).await;
        if let Err(error) = &removed {
            // Builds go on; the packages stay published until it works, or somebody confirms it.
            let told = format!("{error:#}");
            if before.is_none_or(|before| before.told != told) {
                tracing::error!(repository = name, error = told, "packages that left stay published");
            }
            let pause = before.map_or(PAUSE, |before| LONGEST_PAUSE.min(before.pause * 2));
            let again = now.checked_add(pause).unwrap_or(now);
            refused.insert(name.to_owned(), Refused { ids, told, pause, again });
            return Ok(false);
        }
        refused.remove(name);
        if !removed? {
            return Ok(false);
        }
        self.parts.store.finish_removals(&ids, self.parts.clock.now()).await?;
        tracing::info!(repository = name, packages = ?names, "removed packages that left the monorepo");
        Ok(true)
    }
}
