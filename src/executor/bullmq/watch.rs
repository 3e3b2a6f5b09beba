//! What happens by itself while the executor is there: hearing of jobs, of builders, and taking out what is over.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bullmq::{QueueEvent, QueueEvents, QueueEventsOptions};
use tokio::sync::Notify;

use super::link::Link;
use super::server::RedisError;
use super::task::{Place, Task};
use crate::builder::workspace::remove_all;
use crate::executor::kept::blocking;

/// How long it is waited before something that went wrong is tried again.
const PAUSE: Duration = Duration::from_millis(500);

/// Who waits for news of which job.
#[derive(Debug, Default)]
pub struct Bells {
    bells: Mutex<HashMap<String, Arc<Notify>>>,
}

impl Bells {
    /// The bell of a job.
    pub fn of(&self, job: &str) -> Arc<Notify> {
        Arc::clone(self.bells().entry(job.to_owned()).or_default())
    }

    /// Nobody waits for news of it any more.
    pub fn forget(&self, job: &str) {
        self.bells().remove(job);
    }

    fn ring(&self, job: &str) {
        if let Some(bell) = self.bells().get(job) {
            bell.notify_one();
        }
    }

    /// Has everybody look: something may have been missed.
    pub fn ring_all(&self) {
        self.bells().values().for_each(|bell| bell.notify_one());
    }

    fn bells(&self) -> MutexGuard<'_, HashMap<String, Arc<Notify>>> {
        self.bells.lock().expect("nobody panics while holding the map of bells")
    }
}

/// Follows the events of a queue, for ever. After a break it goes on behind the last one that it heard, and everybody
/// looks for themselves, too.
pub async fn listen(link: Link, queue: String, bells: Arc<Bells>) {
    let mut last = None;
    loop {
        if let Err(error) = hear(&link, &queue, &bells, &mut last).await {
            tracing::debug!(queue, error = error.to_string(), "the events of a queue are not heard");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn hear(link: &Link, queue: &str, bells: &Bells, last: &mut Option<String>) -> Result<(), RedisError> {
    let server = link.server().await?;
    let options = QueueEventsOptions {
        connection: server.options.clone(),
        prefix: link.prefix().to_owned(),
        last_event_id: last.clone(),
        ..QueueEventsOptions::default()
    };
    let events = QueueEvents::with_options(queue, options).await.map_err(|error| link.config().unusable(&error))?;
    bells.ring_all();
    while let Some(entry) = events.next_event().await {
        if let QueueEvent::Error { message } = entry.event {
            events.close().await;
            return Err(link.config().unusable(&message));
        }
        if let Some(job) = entry.event.job_id() {
            bells.ring(job);
        }
        *last = Some(entry.id);
    }
    Ok(())
}

/// Takes jobs whose attempt is over out of Redis, when nobody has them any more; their records go with them.
pub struct Sweeper {
    link: Link,
    left: Mutex<HashMap<Place, Task>>,
}

impl Sweeper {
    /// Nothing is to be taken out yet.
    pub fn new(link: Link) -> Self {
        Self { link, left: Mutex::default() }
    }

    /// Takes a job out, now if possible, and otherwise as soon as it is.
    pub async fn take_out(&self, place: Place, task: Task) {
        if !self.sweep(&place, &task).await {
            self.left().insert(place, task);
        }
    }

    /// Goes on with what was not possible, for ever.
    pub async fn run(self: Arc<Self>) {
        loop {
            tokio::time::sleep(PAUSE * 2).await;
            let left: Vec<_> = self.left().iter().map(|(place, task)| (place.clone(), task.clone())).collect();
            for (place, task) in left {
                if self.sweep(&place, &task).await {
                    self.left().remove(&place);
                }
            }
        }
    }

    /// Whether nothing is left of it.
    async fn sweep(&self, place: &Place, task: &Task) -> bool {
        let Ok(queue) = self.link.queue(&place.queue).await else { return false };
        let removed = match queue.remove(&place.id).await {
            Ok(true) => true,
            // Somebody has it, or there is none.
            Ok(false) => matches!(queue.get_job(&place.id).await, Ok(None)),
            Err(_) => false,
        };
        let dir = task.dir.clone();
        removed && blocking(move || remove_all(&dir)).await.is_ok()
    }

    fn left(&self) -> MutexGuard<'_, HashMap<Place, Task>> {
        self.left.lock().expect("nobody panics while holding the map of leftovers")
    }
}
