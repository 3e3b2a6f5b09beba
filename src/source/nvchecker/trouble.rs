//! How servers say that they are asked too much, or refuse an answer.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::StatusCode;
use reqwest::header::HeaderMap;

/// A server that wants to be left alone for longer than this is asked again after this.
const LONGEST: Duration = Duration::from_hours(24);

/// Left alone for this long if the server does not say for how long.
const USUAL: Duration = Duration::from_mins(10);

/// For how long to leave a server alone, if it says that it is asked too much.
#[must_use]
pub fn throttled(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<i64>().ok();
    let exhausted = ["x-ratelimit-remaining", "ratelimit-remaining"].iter().any(|name| number(name) == Some(0));
    let wait = number("retry-after");
    let refused = match status {
        StatusCode::TOO_MANY_REQUESTS => true,
        StatusCode::FORBIDDEN => exhausted || wait.is_some(),
        StatusCode::SERVICE_UNAVAILABLE => wait.is_some(),
        _ => false,
    };
    if !refused {
        return None;
    }
    let reset = ["x-ratelimit-reset", "ratelimit-reset"].iter().find_map(|name| number(name));
    let after = wait.or_else(|| reset.map(|reset| reset.saturating_sub(now.as_second())));
    let after = after.and_then(|seconds| u64::try_from(seconds).ok()).map_or(USUAL, Duration::from_secs);
    Some(after.min(LONGEST))
}

/// What a status means for whoever wrote the file.
#[must_use]
pub fn remedy(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND => ": it is private, has moved, or is gone",
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ": a token for this host in the keyfile may help",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    fn after(status: u16, headers: &[(&'static str, &str)]) -> Option<i64> {
        let header = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).expect("legal"))
        };
        let now = Timestamp::from_second(1_000_000).expect("in range");
        let headers = headers.iter().map(header).collect();
        let rest = throttled(StatusCode::from_u16(status).expect("a status"), &headers, now)?;
        i64::try_from(rest.as_secs()).ok()
    }

    #[test]
    fn a_server_says_in_several_ways_when_to_come_back() {
        assert_eq!(after(429, &[("retry-after", "30")]), Some(30));
        assert_eq!(after(403, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1000060")]), Some(60));
        assert_eq!(after(429, &[("ratelimit-reset", "1000090")]), Some(90));
        assert_eq!(after(503, &[("retry-after", "5")]), Some(5));
        assert_eq!(after(429, &[]), Some(600));
        assert_eq!(after(429, &[("retry-after", "999999999")]), Some(86_400));
        assert_eq!(after(403, &[("x-ratelimit-remaining", "12")]), None);
        assert_eq!(after(503, &[]), None);
    }
}
