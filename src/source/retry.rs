//! Asks again what failed for a reason that may be over by then.

use super::lsremote::LsError;

/// How often something is asked, in all.
const TRIES: usize = 2;

/// Runs a request, and once more if the server had a bad moment. What it answers clearly is not asked again.
pub async fn again<T, F: Future<Output = Result<T, LsError>>>(ask: impl Fn() -> F) -> Result<T, LsError> {
    let mut tries = 1;
    loop {
        match ask().await {
            Err(error) if tries < TRIES && may_pass(&error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "asking once more");
                tries += 1;
            }
            other => return other,
        }
    }
}

/// Waiting once more for a server that was silent for as long as a request may take would only double the wait.
fn may_pass(error: &LsError) -> bool {
    match error {
        LsError::Status { status, .. } => status.is_server_error(),
        LsError::Unreachable { source, .. } => !source.is_timeout() && !source.is_redirect(),
        LsError::Git(error) => error.is_silence(),
        LsError::Advert { .. } | LsError::Refused { .. } | LsError::TooSlow { .. } | LsError::Answer { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use reqwest::StatusCode;

    use super::*;

    async fn asked(status: StatusCode) -> usize {
        let count = Cell::new(0);
        let ask = || {
            count.set(count.get() + 1);
            std::future::ready(Err::<(), _>(LsError::Status { url: "http://host/r".to_owned(), status }))
        };
        again(ask).await.expect_err("it always fails");
        count.get()
    }

    #[tokio::test]
    async fn a_bad_moment_is_given_a_second_try_and_a_refusal_is_not() {
        assert_eq!(asked(StatusCode::BAD_GATEWAY).await, 2);
        assert_eq!(asked(StatusCode::NOT_FOUND).await, 1);
        assert_eq!(asked(StatusCode::TOO_MANY_REQUESTS).await, 1);
    }
}
