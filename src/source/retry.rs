//! Asks again what failed for a reason that may be over by then.

use std::time::Duration;

use super::lsremote::LsError;

/// How often something is asked, in all.
const TRIES: usize = 2;
/// A server that wants to be left alone for no longer than this is waited for.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Runs a request, and once more if the server had a bad moment or wants a short rest. What it answers clearly is
/// not asked again.
pub async fn again<T, F: Future<Output = Result<T, LsError>>>(ask: impl Fn() -> F) -> Result<T, LsError> {
    repeat(ask, may_pass).await
}

/// Runs a request, and once more if the server wants a short rest: for those of whom there are so many that each
/// must cost one request only.
pub async fn after_rest<T, F: Future<Output = Result<T, LsError>>>(ask: impl Fn() -> F) -> Result<T, LsError> {
    repeat(ask, |error| matches!(error, LsError::Status { after: Some(after), .. } if *after <= PATIENCE)).await
}

async fn repeat<T, F: Future<Output = Result<T, LsError>>>(
    ask: impl Fn() -> F,
    may_pass: impl Fn(&LsError) -> bool,
) -> Result<T, LsError> {
    let mut tries = 1;
    loop {
        match ask().await {
            Err(error) if tries < TRIES && may_pass(&error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "asking once more");
                tokio::time::sleep(rest(&error)).await;
                tries += 1;
            }
            other => return other,
        }
    }
}

fn rest(error: &LsError) -> Duration {
    if let LsError::Status { after: Some(after), .. } = error { *after } else { Duration::ZERO }
}

/// Waiting once more for a server that was silent for as long as a request may take would only double the wait.
fn may_pass(error: &LsError) -> bool {
    match error {
        LsError::Status { after: Some(after), .. } => *after <= PATIENCE,
        LsError::Status { status, .. } => status.is_server_error(),
        LsError::Unreachable { source, .. } => !source.is_timeout() && !source.is_redirect(),
        LsError::Git(error) => error.is_silence(),
        LsError::Advert { .. }
        | LsError::Refused { .. }
        | LsError::TooSlow { .. }
        | LsError::Answer { .. }
        | LsError::Program { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use reqwest::StatusCode;

    use super::*;

    async fn asked(status: StatusCode, after: Option<Duration>) -> usize {
        let count = Cell::new(0);
        let ask = || {
            count.set(count.get() + 1);
            std::future::ready(Err::<(), _>(LsError::Status { url: "http://host/r".to_owned(), status, after }))
        };
        again(ask).await.expect_err("it always fails");
        count.get()
    }

    #[tokio::test]
    async fn a_bad_moment_is_given_a_second_try_and_a_refusal_is_not() {
        assert_eq!(asked(StatusCode::BAD_GATEWAY, None).await, 2);
        assert_eq!(asked(StatusCode::NOT_FOUND, None).await, 1);
        assert_eq!(asked(StatusCode::TOO_MANY_REQUESTS, None).await, 1);
    }

    #[tokio::test]
    async fn a_short_rest_is_waited_for_and_a_long_one_is_not() {
        let before = tokio::time::Instant::now();
        let short = Duration::from_millis(20);
        assert_eq!(asked(StatusCode::TOO_MANY_REQUESTS, Some(short)).await, 2);
        assert!(before.elapsed() >= short);
        assert_eq!(asked(StatusCode::SERVICE_UNAVAILABLE, Some(Duration::from_mins(10))).await, 1);
    }
}
