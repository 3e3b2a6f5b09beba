//! What one pass over the sources may cost: how many requests run at once, in all and to each host, how
//! often a host may stay silent before it is left alone, and how long all of it may take.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::error_text;
use super::failure::{Cause, Failure};
use super::lsremote::LsError;
use super::retry::PATIENCE;

/// A host that stays silent so often in a row is not asked again in the same pass.
pub const SILENCES: usize = 3;

/// The right to run one request; it ends when this is dropped.
#[derive(Debug)]
struct Permit {
    _host: OwnedSemaphorePermit,
    _total: OwnedSemaphorePermit,
}

/// One host, as it was met in this pass.
#[derive(Debug)]
struct Host {
    permits: Arc<Semaphore>,
    met: Mutex<Met>,
}

/// How often in a row a host was silent, what was said about the first time, and until when it wants to be left
/// alone.
#[derive(Debug, Default)]
struct Met {
    silences: usize,
    first: String,
    rests_until: Option<Instant>,
}

/// The budget of one pass.
#[derive(Debug)]
pub struct Budget {
    total: Arc<Semaphore>,
    per_host: usize,
    hosts: Mutex<HashMap<String, Arc<Host>>>,
    /// Whether anybody answered: if nobody does, the fault is not theirs.
    answered: AtomicBool,
    time: Duration,
    deadline: Instant,
}

impl Budget {
    /// At most `total` requests at once and `per_host` to each host (less than one counts as one), for
    /// this long from now.
    #[must_use]
    pub fn new(total: usize, per_host: usize, time: Duration) -> Self {
        Self {
            total: Arc::new(Semaphore::new(total.max(1))),
            per_host: per_host.max(1),
            hosts: Mutex::new(HashMap::new()),
            answered: AtomicBool::new(false),
            time,
            deadline: Instant::now() + time,
        }
    }

    /// Leaves these hosts alone for so long from now, because they asked for it in an earlier pass.
    #[must_use]
    pub fn resting(self, hosts: impl IntoIterator<Item = (String, Duration)>) -> Self {
        for (name, rest) in hosts {
            self.host(&name).met().rests_until = Some(Instant::now() + rest);
        }
        self
    }

    /// The hosts that want to be left alone, and for how long from now.
    pub fn rests(&self) -> Vec<(String, Duration)> {
        let hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.iter().filter_map(|(name, host)| Some((name.clone(), host.met().rest()?))).collect()
    }

    /// Whether anybody has answered in this pass.
    pub fn has_heard(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }

    /// When the pass is over.
    pub const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether the pass is over.
    pub fn is_over(&self) -> bool {
        Instant::now() >= self.deadline
    }

    /// Runs a request to `host` when its turn comes. Waiting for a busy host keeps nobody else waiting;
    /// a host that is left alone, or the end of the pass, answers at once with the reason.
    pub async fn ask<T>(&self, host: &str, request: impl Future<Output = Result<T, LsError>>) -> Result<T, Failure> {
        let permit = tokio::time::timeout_at(self.deadline, self.permit(host)).await;
        let _permit = permit.map_err(|_| self.over())?;
        self.try_on(host, request).await
    }

    /// As [`Budget::ask`], for those who count their requests themselves.
    pub async fn try_on<T>(&self, host: &str, request: impl Future<Output = Result<T, LsError>>) -> Result<T, Failure> {
        let rest = self.host(host).met().rest().filter(|rest| *rest <= PATIENCE);
        if let Some(rest) = rest {
            tokio::time::sleep_until(self.deadline.min(Instant::now() + rest)).await;
        }
        self.refusal(host)?;
        let host = host.to_ascii_lowercase();
        let result = tokio::time::timeout_at(self.deadline, request).await.map_err(|_| self.over())?;
        let error = result.as_ref().err();
        if !error.is_some_and(LsError::is_silence) {
            self.answered.store(true, Ordering::Relaxed);
        }
        self.host(&host).heard(&host, error);
        result.map_err(Failure::from)
    }

    /// Why nothing is asked of this host any more in this pass; `Ok` if it may be asked.
    pub fn refusal(&self, host: &str) -> Result<(), Failure> {
        if self.is_over() {
            return Err(self.over());
        }
        self.host(host).refusal(host)
    }

    /// A failure as it counts at the end of a pass: where nobody at all answers, the fault is not the server's.
    pub fn weighed(&self, failure: Failure) -> Failure {
        let cause = if failure.cause == Cause::Server && !self.has_heard() { Cause::Passing } else { failure.cause };
        Failure { cause, ..failure }
    }

    /// What is said of whatever the pass had no time for.
    pub fn over(&self) -> Failure {
        let time = self.time.as_secs_f64();
        Failure::elsewhere(format!("not asked in time: a pass over the sources may take {time} s, and these are over"))
    }

    async fn permit(&self, host: &str) -> Permit {
        let semaphore = Arc::clone(&self.host(host).permits);
        let host = semaphore.acquire_owned().await.expect("never closed");
        let total = Arc::clone(&self.total).acquire_owned().await.expect("never closed");
        Permit { _host: host, _total: total }
    }

    fn host(&self, host: &str) -> Arc<Host> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(hosts.entry(host.to_ascii_lowercase()).or_insert_with(|| Arc::new(Host::new(self.per_host))))
    }
}

impl Host {
    fn new(permits: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(permits)), met: Mutex::default() }
    }

    fn met(&self) -> MutexGuard<'_, Met> {
        self.met.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refusal(&self, host: &str) -> Result<(), Failure> {
        let met = self.met();
        if let Some(rest) = met.rest() {
            let text = format!("{host} asked to be left alone for {} s more", rest.as_secs().max(1));
            return Err(Failure { text, cause: Cause::Wait(Some(rest)) });
        }
        if met.silences < SILENCES {
            return Ok(());
        }
        Err(Failure::elsewhere(format!(
            "{host} did not answer {SILENCES} times in a row and is left alone in this pass; first: {}",
            met.first
        )))
    }

    /// An answer of any kind ends a silence, unless the host has been given up already.
    fn heard(&self, host: &str, error: Option<&LsError>) {
        let mut met = self.met();
        let cause = error.map(LsError::cause);
        if let Some(Cause::Wait(Some(rest))) = cause {
            tracing::warn!(host, seconds = rest.as_secs(), "{host} asks to be left alone");
            met.rests_until = Some(Instant::now() + rest);
        }
        if met.silences >= SILENCES {
            return;
        }
        let Some(error) = error.filter(|error| error.is_silence() || cause == Some(Cause::Wait(None))) else {
            met.silences = 0;
            return;
        };
        if met.silences == 0 {
            met.first = error_text(error);
        }
        met.silences += 1;
        if met.silences == SILENCES {
            tracing::warn!(host, error = met.first, "{host} does not answer and is left alone in this pass");
        }
    }
}

impl Met {
    /// For how long it still wants to be left alone.
    fn rest(&self) -> Option<Duration> {
        let rest = self.rests_until?.saturating_duration_since(Instant::now());
        (!rest.is_zero()).then_some(rest)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const LONG: Duration = Duration::from_hours(1);

    fn silent(url: &str) -> LsError {
        LsError::TooSlow { url: url.to_owned(), after: Duration::from_secs(1) }
    }

    fn answered() -> LsError {
        LsError::Status { url: "http://host/r".to_owned(), status: reqwest::StatusCode::NOT_FOUND, after: None }
    }

    #[tokio::test]
    async fn a_busy_host_keeps_nobody_else_waiting() {
        let budget = Budget::new(2, 1, LONG);
        let first = budget.permit("slow").now_or_never().expect("free");
        assert!(budget.permit("slow").now_or_never().is_none(), "one request to a host at once");
        let second = budget.permit("fast").now_or_never().expect("another host");
        assert!(budget.permit("third").now_or_never().is_none(), "two requests in all");
        drop((first, second));
        assert!(budget.permit("slow").now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_host_that_stays_silent_is_left_alone_and_the_first_reason_is_told() {
        let budget = Budget::new(8, 4, LONG);
        let mut asked = 0;
        for turn in 0..10 {
            let request = async {
                asked += 1;
                Err::<(), _>(silent(&format!("http://Dead/{turn}")))
            };
            budget.ask(if turn % 2 == 0 { "Dead" } else { "dead" }, request).await.expect_err("silent");
        }
        assert_eq!(asked, SILENCES);
        insta::assert_snapshot!(budget.ask("dead", async { Ok(()) }).await.expect_err("left alone").text, @"dead did not answer 3 times in a row and is left alone in this pass; first: http://Dead/0 did not answer within 1 s");
        assert_eq!(budget.ask("alive", async { Ok(1) }).await, Ok(1), "other hosts are asked");
    }

    #[tokio::test]
    async fn any_answer_even_a_refusal_ends_a_silence() {
        let budget = Budget::new(8, 4, LONG);
        for _ in 0..5 {
            for _ in 1..SILENCES {
                budget.ask("host", async { Err::<(), _>(silent("http://host/r")) }).await.expect_err("silent");
            }
            budget.ask("host", async { Err::<(), _>(answered()) }).await.expect_err("answered");
        }
        assert_eq!(budget.ask("host", async { Ok(1) }).await, Ok(1));
    }

    #[tokio::test]
    async fn when_the_pass_is_over_nothing_is_asked_and_it_is_said() {
        let budget = Budget::new(8, 4, Duration::ZERO);
        let asked = budget.ask::<()>("host", async { panic!("asked") }).await;
        insta::assert_snapshot!(asked.expect_err("over").text, @"not asked in time: a pass over the sources may take 0 s, and these are over");
    }

    #[tokio::test]
    async fn a_request_ends_with_the_pass_and_so_does_the_wait_for_a_turn() {
        let budget = Budget::new(1, 1, Duration::from_millis(1));
        let hangs = budget.ask("host", std::future::pending::<Result<(), LsError>>());
        let (first, second) = tokio::join!(hangs, budget.ask("host", async { Ok(()) }));
        for error in [first.expect_err("over"), second.expect_err("over")] {
            assert!(error.text.contains("may take 0.001 s"), "{error:?}");
        }
    }

    fn throttled(after: u64) -> LsError {
        let status = reqwest::StatusCode::TOO_MANY_REQUESTS;
        LsError::Status { url: "http://busy/r".to_owned(), status, after: Some(Duration::from_secs(after)) }
    }

    #[tokio::test]
    async fn a_host_that_asks_for_it_is_left_alone_for_so_long_also_by_the_next_pass() {
        let budget = Budget::new(8, 4, LONG);
        budget.ask("busy", async { Err::<(), _>(throttled(600)) }).await.expect_err("throttled");
        let refused = budget.ask::<()>("Busy", async { panic!("asked") }).await.expect_err("left alone");
        assert!(refused.text.starts_with("Busy asked to be left alone for "), "{}", refused.text);
        assert!(matches!(refused.cause, Cause::Wait(Some(rest)) if rest > Duration::from_secs(500)), "{refused:?}");
        assert_eq!(budget.ask("other", async { Ok(1) }).await, Ok(1));
        let next = Budget::new(8, 4, LONG).resting(budget.rests());
        assert!(next.refusal("busy").is_err() && next.refusal("other").is_ok());
        let later = Budget::new(8, 4, LONG).resting([("busy".to_owned(), Duration::ZERO)]);
        assert_eq!(later.ask("busy", async { Ok(1) }).await, Ok(1), "until that is over");
        assert!(later.rests().is_empty());
    }

    #[tokio::test]
    async fn a_short_rest_of_a_host_is_waited_for() {
        let short = Duration::from_millis(30);
        let budget = Budget::new(8, 4, LONG).resting([("busy".to_owned(), short)]);
        let before = Instant::now();
        assert_eq!(budget.ask("busy", async { Ok(1) }).await, Ok(1));
        assert!(before.elapsed() >= short);
    }

    #[tokio::test]
    async fn whether_anybody_answers_is_known() {
        let budget = Budget::new(8, 4, LONG);
        budget.ask("dead", async { Err::<(), _>(silent("http://dead/r")) }).await.expect_err("silent");
        assert!(!budget.has_heard());
        budget.ask("host", async { Err::<(), _>(answered()) }).await.expect_err("answered");
        assert!(budget.has_heard());
    }
}
