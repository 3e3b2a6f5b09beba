//! What the headers of an answer say of how much may be asked.
//!
//! GitHub's `x-ratelimit-*` (primary), `retry-after` and the words of its secondary limit; GitLab's and Gitea's
//! `ratelimit-*` and `retry-after`.

use std::time::Duration;

use bytes::Bytes;
use http::header::{DATE, RETRY_AFTER};
use http::{HeaderMap, Response, StatusCode};
use jiff::Timestamp;
use jiff::fmt::rfc2822;

/// How long is waited where a forge does not say; what GitHub asks for.
const UNSAID: Duration = Duration::from_mins(1);
/// Nobody is waited for longer than that: whoever says so is mistaken.
const LONGEST: Duration = Duration::from_hours(2);

/// A forge that wants to be left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rest {
    /// For how long.
    pub(super) after: Duration,
    /// Whether this question was refused for it, too, and not only the next will be.
    pub(super) refused: bool,
}

/// Whether a forge wants to be left alone after this answer.
pub(super) fn rest(response: &Response<Bytes>) -> Option<Rest> {
    let headers = response.headers();
    let asked = retry_after(headers);
    let spent = spent(headers);
    let refused = match response.status() {
        StatusCode::TOO_MANY_REQUESTS => true,
        StatusCode::FORBIDDEN => asked.is_some() || spent.is_some() || says_so(response.body()),
        StatusCode::SERVICE_UNAVAILABLE => asked.is_some(),
        _ => false,
    };
    let after = if refused { asked.or(spent).unwrap_or(UNSAID) } else { spent? };
    Some(Rest { after: after.clamp(Duration::from_secs(1), LONGEST), refused })
}

/// How long until more may be asked, if nothing may be now.
fn spent(headers: &HeaderMap) -> Option<Duration> {
    let either =
        |name: &str| number(headers, &format!("x-ratelimit-{name}")).or(number(headers, &format!("ratelimit-{name}")));
    if either("remaining")? > 0 {
        return None;
    }
    let Some((reset, now)) = either("reset").zip(date(headers)) else { return Some(UNSAID) };
    Some(Duration::from_secs(u64::try_from(reset - now.as_second()).unwrap_or(0)))
}

/// Seconds, or a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = rfc2822::parse(value).ok()?.timestamp();
    Some(Duration::try_from(until.duration_since(date(headers)?)).unwrap_or_default())
}

/// By the forge's own clock, which may differ from ours.
fn date(headers: &HeaderMap) -> Option<Timestamp> {
    Some(rfc2822::parse(headers.get(DATE)?.to_str().ok()?).ok()?.timestamp())
}

fn number(headers: &HeaderMap, name: &str) -> Option<i64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// GitHub's secondary limit sometimes comes without a header.
fn says_so(body: &Bytes) -> bool {
    let text = String::from_utf8_lossy(body);
    text.contains("secondary rate limit") || text.contains("abuse detection")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: &str = "Fri, 01 May 2026 12:00:00 GMT";

    fn after(status: u16, headers: &[(&str, &str)], body: &'static str) -> Option<(u64, bool)> {
        let mut response = Response::builder().status(status).header(DATE, NOON);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        let rest = rest(&response.body(Bytes::from_static(body.as_bytes())).expect("well formed"))?;
        Some((rest.after.as_secs(), rest.refused))
    }

    /// Noon of that day and so many seconds.
    fn noon_and(seconds: i64) -> String {
        ("2026-05-01T12:00:00Z".parse::<Timestamp>().expect("a time").as_second() + seconds).to_string()
    }

    #[test]
    fn each_way_to_say_so_is_understood() {
        assert_eq!(after(403, &[("retry-after", "7")], ""), Some((7, true)), "secondary");
        assert_eq!(after(429, &[("retry-after", "Fri, 01 May 2026 12:01:30 GMT")], ""), Some((90, true)), "a date");
        let spent = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", &noon_and(600))];
        assert_eq!(after(403, &spent, ""), Some((600, true)), "primary");
        let gitlab = [("ratelimit-remaining", "0"), ("ratelimit-reset", &noon_and(30))];
        assert_eq!(after(429, &gitlab, ""), Some((30, true)));
        assert_eq!(after(429, &[], ""), Some((60, true)), "it does not say how long");
        assert_eq!(after(403, &[], "You have exceeded a secondary rate limit."), Some((60, true)));
        assert_eq!(after(503, &[("retry-after", "5")], ""), Some((5, true)));
    }

    #[test]
    fn an_answer_that_was_the_last_one_stands() {
        let spent = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", &noon_and(600))];
        assert_eq!(after(200, &spent, "[]"), Some((600, false)));
    }

    #[test]
    fn what_is_no_limit_is_none() {
        assert_eq!(after(403, &[("x-ratelimit-remaining", "12")], "Resource not accessible"), None);
        assert_eq!(after(503, &[], ""), None);
        assert_eq!(after(200, &[("retry-after", "7")], ""), None);
        assert_eq!(after(200, &[("x-ratelimit-remaining", "a few")], ""), None);
    }

    #[test]
    fn nobody_is_waited_for_without_end_and_nobody_is_asked_at_once() {
        assert_eq!(after(429, &[("retry-after", "999999999999")], ""), Some((7200, true)));
        assert_eq!(after(429, &[("retry-after", "0")], ""), Some((1, true)));
        let long_ago = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "12")];
        assert_eq!(after(403, &long_ago, ""), Some((1, true)));
    }
}
