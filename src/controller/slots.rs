//! Which builds the dispatcher hands out next: what is underway and what is ready, laid before
//! [`crate::domain::schedule`].

use anyhow::Result;

use super::dispatch::Dispatcher;
use crate::domain::queue::BuildId;
use crate::domain::schedule::{Running, Situation, choose};
use crate::executor::Handle;

/// A build that the executor has.
#[derive(Debug, Clone)]
pub(super) struct Underway {
    pub handle: Handle,
    /// What it counts as.
    pub running: Running,
}

impl Dispatcher {
    /// How many builds more may run at once.
    pub(super) fn free_slots(&self) -> usize {
        let builds = self.underway.lock().expect("nobody panics with it").len();
        let trials = self.trials.lock().expect("nobody panics with it").len();
        let places = self.parts.executor.builders().map_or(usize::MAX, |builders| {
            builders.iter().fold(0_usize, |sum, builder| sum.saturating_add(builder.slots))
        });
        self.limits.borrow().slots.min(places).saturating_sub(builds + trials)
    }

    /// The builds that begin now, in this order.
    pub(super) async fn next_builds(&self) -> Result<Vec<BuildId>> {
        let free = self.free_slots();
        if free == 0 {
            return Ok(Vec::new());
        }
        let heads = self.parts.store.heads(self.parts.clock.now(), free).await?;
        if heads.is_empty() {
            return Ok(Vec::new());
        }
        let running: Vec<Running> = {
            let underway = self.underway.lock().expect("nobody panics with it");
            underway.values().map(|build| build.running.clone()).collect()
        };
        let (builders, limits) = (self.parts.executor.builders(), self.limits.borrow().schedule.clone());
        let builders = builders.as_deref();
        let situation = Situation { heads: &heads, running: &running, free, builders, limits: &limits };
        Ok(choose(&situation, &mut self.turns.lock().expect("nobody panics with it")))
    }
}
