//! What happens by itself while the executor is there: hearing of jobs, of builders, and taking out what is over.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bullmq::QueueKeys;
use tokio::sync::Notify;

use super::bounded;
use super::link::Link;
use super::task::{Place, Task};
use crate::builder::workspace::remove_all;
use crate::executor::kept::blocking;

/// How long it is waited before something that went wrong is tried again.
const PAUSE: Duration = Duration::from_millis(500);
/// How often it is asked what happened.
const LISTEN: Duration = Duration::from_millis(100);
/// So many events are asked for at once.
const PORTION: usize = 200;

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
///
/// It asks again and again. A read that waits for events gets them whole, and whoever writes them may make them of any
/// size.
pub async fn listen(link: Link, queue: String, bells: Arc<Bells>) {
    let (mut last, mut is_deaf) = (None::<String>, true);
    loop {
        let pause = match bounded::events(&link, &queue, last.as_deref(), None, ["jobId"], PORTION).await {
            Ok(heard) => {
                if is_deaf {
                    bells.ring_all();
                }
                is_deaf = false;
                heard.events.iter().for_each(|[job]| bells.ring(job));
                last = Some(heard.last);
                if heard.more { Duration::ZERO } else { LISTEN }
            }
            Err(error) => {
                if !is_deaf {
                    tracing::debug!(queue, error = error.to_string(), "the events of a queue are not heard");
                }
                is_deaf = true;
                PAUSE
            }
        };
        tokio::time::sleep(pause).await;
    }
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
            Ok(false) => {
                let job = QueueKeys::new(&place.queue, Some(self.link.prefix())).job_key(&place.id);
                matches!(self.link.ask::<bool>(redis::cmd("EXISTS").arg(job)).await, Ok(false))
            }
            Err(_) => false,
        };
        let dir = task.dir.clone();
        removed && blocking(move || remove_all(&dir)).await.is_ok()
    }

    fn left(&self) -> MutexGuard<'_, HashMap<Place, Task>> {
        self.left.lock().expect("nobody panics while holding the map of leftovers")
    }
}
