//! Answers that the controller does not give: a proxy in front of it says "not found" or "sign in" while it starts anew.
//! Nothing is concluded from them for a while.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Method, StatusCode, Url};
use tokio::time::Instant;

/// How long one question may be answered so before the answer counts.
const PATIENCE: Duration = Duration::from_mins(10);
/// The form of each refusal of the controller.
const PROBLEM: &str = "application/problem+json";

/// Since when which question is answered oddly. Clones know of each other.
#[derive(Clone, Default)]
pub struct Oddities(Arc<Mutex<HashMap<String, Instant>>>);

impl Oddities {
    /// What is asked, whatever the offset.
    pub fn question(method: &Method, url: &Url) -> String {
        format!("{method} {}", url.path())
    }

    /// Whether an answer is to be passed over, since another may come yet.
    pub fn is_passing(&self, question: String, status: StatusCode, headers: &HeaderMap) -> bool {
        // A gate that finds a part too large will find so each time.
        let counts = status.is_success() || status == StatusCode::PAYLOAD_TOO_LARGE || is_problem(headers);
        let mut since = self.0.lock().expect("nobody panics while holding the map of answers");
        if counts {
            since.remove(&question);
            return false;
        }
        since.entry(question).or_insert_with(Instant::now).elapsed() < PATIENCE
    }
}

/// Whether it is the controller that refuses.
pub fn is_problem(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).is_some_and(|kind| kind.starts_with(PROBLEM))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(kind: &str) -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_TYPE, kind.parse().unwrap())])
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_proxy_says_counts_only_when_it_says_so_for_long() {
        let odd = Oddities::default();
        let asked = |question: &str, status: u16, kind: &str| {
            odd.is_passing(question.to_owned(), StatusCode::from_u16(status).unwrap(), &headers(kind))
        };
        for status in [302, 401, 403, 404, 421] {
            assert!(asked("a", status, "text/html"), "{status}");
            assert!(!asked("b", status, PROBLEM), "{status} of the controller");
        }
        assert!(!asked("a", 413, "text/html"), "which no wait changes");
        assert!(asked("a", 404, "text/html"));
        tokio::time::advance(PATIENCE / 2).await;
        assert!(asked("a", 403, "text/plain"));
        assert!(!asked("b", 200, "text/html"));
        tokio::time::advance(PATIENCE / 2).await;
        assert!(!asked("a", 404, "text/html"), "by now it is meant");
        assert!(asked("b", 404, "text/html"), "it was answered meanwhile");
        assert!(!asked("a", 204, ""));
        assert!(asked("a", 404, "text/html"), "and everything begins anew");
    }
}
