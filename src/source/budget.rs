//! How many requests run at once: in all, and to each host.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The right to run one request; it ends when this is dropped.
#[derive(Debug)]
pub struct Permit {
    _host: OwnedSemaphorePermit,
    _total: OwnedSemaphorePermit,
}

/// Counts running requests.
#[derive(Debug)]
pub struct Budget {
    total: Arc<Semaphore>,
    per_host: usize,
    hosts: Mutex<HashMap<String, Arc<Semaphore>>>,
}

impl Budget {
    /// At most `total` requests at once and `per_host` to each host; less than one counts as one.
    #[must_use]
    pub fn new(total: usize, per_host: usize) -> Self {
        Self {
            total: Arc::new(Semaphore::new(total.max(1))),
            per_host: per_host.max(1),
            hosts: Mutex::new(HashMap::new()),
        }
    }

    /// Waits until a request to `host` may run. Waiting for a busy host keeps nobody else waiting.
    pub async fn permit(&self, host: &str) -> Permit {
        let semaphore = self.host(host);
        let host = semaphore.acquire_owned().await.expect("never closed");
        let total = Arc::clone(&self.total).acquire_owned().await.expect("never closed");
        Permit { _host: host, _total: total }
    }

    fn host(&self, host: &str) -> Arc<Semaphore> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let semaphore = hosts.entry(host.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(self.per_host)));
        Arc::clone(semaphore)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_busy_host_keeps_nobody_else_waiting() {
        let budget = Budget::new(2, 1);
        let first = budget.permit("slow").now_or_never().expect("free");
        assert!(budget.permit("slow").now_or_never().is_none(), "one request to a host at once");
        let second = budget.permit("fast").now_or_never().expect("another host");
        assert!(budget.permit("third").now_or_never().is_none(), "two requests in all");
        drop((first, second));
        assert!(budget.permit("slow").now_or_never().is_some());
    }
}
