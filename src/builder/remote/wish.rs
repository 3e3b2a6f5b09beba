//! Hears from the controller whether to go on.

use std::time::Duration;

use reqwest::{Method, StatusCode};

use super::{Came, Client, RemoteError, refused};

/// How long the controller may think about one question.
const WAIT: Duration = Duration::from_secs(50);
/// How long to rest before asking again after no answer, or one that came too early.
const REST: Duration = Duration::from_secs(1);

/// Why a build is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unwanted {
    /// Somebody cancelled it; the controller wants to hear of its end.
    Cancelled,
    /// The attempt is over; nobody takes anything of it.
    Over,
}

#[derive(serde::Deserialize)]
struct Wish {
    wish: String,
}

impl Client {
    /// Waits until the build is to stop; for ever, if it is not. While the controller is away, the build goes on.
    ///
    /// # Errors
    /// [`RemoteError::Refused`].
    pub async fn until_unwanted(&self) -> Result<Unwanted, RemoteError> {
        let url = format!("{}?wait={}", self.places.wish, WAIT.as_secs());
        loop {
            let begun = tokio::time::Instant::now();
            let request = self.request(Method::GET, &url).timeout(WAIT + Duration::from_secs(20));
            match self.ask(request).await {
                Came::Answer(answer) if answer.status() == StatusCode::GONE => return Ok(Unwanted::Over),
                Came::Answer(answer) if answer.status().is_success() => {
                    if answer.json::<Wish>().await.is_ok_and(|wish| wish.wish == "cancelled") {
                        return Ok(Unwanted::Cancelled);
                    }
                }
                Came::Answer(answer) => return Err(refused("to say whether to go on", answer).await),
                Came::Nothing(_) => {}
            }
            if begun.elapsed() < REST {
                tokio::time::sleep(REST).await;
            }
        }
    }
}
