//! Why a question has no answer, as far as that decides when it is asked again.

use std::time::Duration;

use reqwest::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};

use super::lsremote::LsError;
use super::{SourceAnswer, error_text};

/// A question that has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What happened, for people.
    pub text: String,
    /// Whose doing it is.
    pub cause: Cause,
}

/// Whose doing a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The same question would get the same answer: it is asked less and less often.
    Question,
    /// The server has trouble, or is not to be reached: it is asked a little less often.
    Server,
    /// The server wants to be left alone, for so long if it says so.
    Wait(Option<Duration>),
    /// It was asked, and what it said will pass: it is asked in the next pass.
    Passing,
    /// It was not asked: it is asked in the next pass.
    Elsewhere,
}

impl Failure {
    /// The fault lies in what is asked for.
    pub fn question(text: impl Into<String>) -> Self {
        Self { text: text.into(), cause: Cause::Question }
    }

    /// What was said will pass.
    pub fn passing(text: impl Into<String>) -> Self {
        Self { text: text.into(), cause: Cause::Passing }
    }

    /// It was not asked.
    pub fn elsewhere(text: impl Into<String>) -> Self {
        Self { text: text.into(), cause: Cause::Elsewhere }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<LsError> for Failure {
    fn from(error: LsError) -> Self {
        Self { text: error_text(&error), cause: error.cause() }
    }
}

/// What was asked is at fault.
impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self::question(text)
    }
}

impl From<Failure> for String {
    fn from(failure: Failure) -> Self {
        failure.text
    }
}

impl From<Failure> for SourceAnswer {
    fn from(failure: Failure) -> Self {
        Self::Unknown { error: failure.text, retry_at: None, cause: failure.cause }
    }
}

/// For how long a server wants to be left alone, if it says so: `Retry-After` in seconds or as a date, and what
/// GitHub and GitLab say of an allowance that is used up.
pub fn rest_asked_for(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: HeaderName| headers.get(name)?.to_str().ok().map(str::trim);
    // By the server's own clock, which need not be ours.
    let date = |text: &str| jiff::fmt::rfc2822::parse(text).ok().map(|date| date.timestamp().as_second());
    let now = || text(DATE).and_then(date);
    let until = |second: i64| u64::try_from(second - now()?).ok().map(Duration::from_secs);
    if let Some(after) = text(RETRY_AFTER) {
        return after.parse().ok().map(Duration::from_secs).or_else(|| until(date(after)?));
    }
    ["x-ratelimit", "ratelimit"].into_iter().find_map(|prefix| {
        let number = |name: &str| headers.get(format!("{prefix}-{name}"))?.to_str().ok()?.trim().parse::<i64>().ok();
        (number("remaining") == Some(0)).then(|| until(number("reset")?))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(headers: &[(&str, &str)]) -> Option<u64> {
        let header = |(name, value): &(&str, &str)| (name.parse().expect("a name"), value.parse().expect("a value"));
        rest_asked_for(&headers.iter().map(header).collect::<HeaderMap>()).map(|rest| rest.as_secs())
    }

    #[test]
    fn how_long_to_wait_is_read_by_the_clock_of_the_server() {
        let now = ("date", "Fri, 01 May 2026 12:00:00 GMT");
        assert_eq!(asked(&[("retry-after", "120")]), Some(120));
        assert_eq!(asked(&[now, ("retry-after", "Fri, 01 May 2026 12:01:30 GMT")]), Some(90));
        assert_eq!(asked(&[("retry-after", "Fri, 01 May 2026 12:01:30 GMT")]), None, "by which clock?");
        let reset = ("x-ratelimit-reset", "1777637100");
        assert_eq!(asked(&[now, ("x-ratelimit-remaining", "0"), reset]), Some(300));
        assert_eq!(asked(&[now, ("x-ratelimit-remaining", "3"), reset]), None);
        assert_eq!(asked(&[now, ("ratelimit-remaining", "0"), ("ratelimit-reset", "1777637100")]), Some(300));
        assert_eq!(asked(&[("retry-after", "soon")]), None);
        assert_eq!(asked(&[]), None);
    }
}
